"""What was measured on what: the machine, and the versions of everything that took part."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path


def describe(work: Path) -> dict[str, object]:
    """The machine's state when a run begins. `work` is the folder whose file system is used."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _first(Path("/proc/cpuinfo"), r"^model name\s*:\s*(.+)$"),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "system": _first(Path("/etc/os-release"), r'^PRETTY_NAME="?([^"\n]+)'),
        "file_system": _file_system(work),
        "free_gib": round(shutil.disk_usage(work).free / 2**30, 1),
        "load": [round(value, 2) for value in os.getloadavg()],
        "root": os.geteuid() == 0,
        "python": platform.python_version(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The version of every tool that is here."""
    found = {"corten": _say([str(Path(sys.executable).with_name("corten")), "--version"])}
    found["uv"] = _say([str(Path(sys.executable).with_name("uv")), "--version"])
    for tool in ("dockerd", "buildah", "podman", "skopeo", "docker-registry", "runc", "crun"):
        if shutil.which(tool):
            found[tool] = _say([tool, "--version"])
    return {name: match[0] for name, said in found.items() if (match := re.search(r"\d+\.\d+[\w.+-]*", said))}


def _say(argv: list[str]) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout
    except OSError:
        return ""


def _first(path: Path, pattern: str) -> str:
    try:
        match = re.search(pattern, path.read_text(), re.MULTILINE)
    except OSError:
        return "unknown"
    return match[1].strip() if match else "unknown"


def _file_system(path: Path) -> str:
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, found, *_ = line.split()
        inside = place == "/" or str(path) == place or str(path).startswith(place + "/")
        if inside and len(place) >= len(best):
            best, kind = place, found
    return kind
