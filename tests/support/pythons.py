"""Archives in the form that python-build-standalone publishes, and the list with which uv finds and verifies them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.parse
from pathlib import Path

RELEASE = "20240224"
SYSCONFIG = (
    "# system configuration generated and used by the sysconfig module\n"
    "build_time_vars = {'CC': '/tools/llvm/bin/clang -pthread', 'CXX': 'clang++ -pthread', 'AR': '/tools/llvm/bin/llvm-ar',\n"
    " 'prefix': '/install', 'LIBDIR': '/install/lib', 'CFLAGS': '-fPIC -fdebug-default-version=4',\n"
    " 'CONFIG_ARGS': \"'--prefix=/install' '--with-x=/reinstall'\"}\n"
)

Entries = dict[str, "bytes | str | tuple[bytes, int]"]
"""Files by path: their bytes, their bytes and mode, or the target of a link."""


def tiny(minor: str) -> Entries:
    """As little as uv takes for a Python."""
    return {
        f"python/bin/python{minor}": (b"#!/bin/sh\n", 0o755),
        "python/bin/python3": f"python{minor}",
        f"python/lib/python{minor}/os.py": b"'''os'''\n",
        f"python/lib/python{minor}/_sysconfigdata__linux_x86_64-linux-gnu.py": SYSCONFIG.encode(),
    }


def packed(entries: Entries) -> bytes:
    """The archive of `entries`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, value in entries.items():
            item = tarfile.TarInfo(path)
            item.mode = 0o644
            if isinstance(value, str):
                item.type, item.linkname = tarfile.SYMTYPE, value
                archive.addfile(item)
                continue
            data, item.mode = value if isinstance(value, tuple) else (value, 0o644)
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


class Releases:
    """A folder of releases at `root`, and the list of what is in it at `url`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.listing: dict[str, object] = {}
        self.url = (root / "list.json").as_uri()
        self._write()

    def add(
        self,
        version: str,
        data: bytes,
        *,
        machine: str = "x86_64",
        release: str = RELEASE,
        threaded: bool = False,
        sha256: str | None = None,
    ) -> Path:
        """Publish an archive, with its true hash or another one in the list."""
        variant = "-freethreaded" if threaded else ""
        file = (
            f"cpython-{version}+{release}-{machine}-unknown-linux-gnu{variant}-install_only_stripped.tar.gz"
        )
        place = self.root / release / file
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
        major, minor, patch = version.split(".")
        key = f"cpython-{version}{'+freethreaded' if threaded else ''}-linux-{machine}-gnu"
        self.listing[key] = {
            "name": "cpython",
            "arch": {"family": machine, "variant": None},
            "os": "linux",
            "libc": "gnu",
            "major": int(major),
            "minor": int(minor),
            "patch": int(patch),
            "prerelease": "",
            "url": f"{self.root.as_uri()}/{release}/{urllib.parse.quote(file)}",
            "sha256": sha256 or hashlib.sha256(data).hexdigest(),
            "variant": "freethreaded" if threaded else None,
            "build": release,
        }
        self._write()
        return place

    def both(self, version: str, data: bytes | None = None, **options: object) -> None:
        """The same for both architectures."""
        minor = ".".join(version.split(".")[:2])
        for machine in ("x86_64", "aarch64"):
            self.add(version, data or packed(tiny(minor)), machine=machine, **options)  # type: ignore[arg-type]

    def _write(self) -> None:
        (self.root / "list.json").write_text(json.dumps(self.listing))


def of_debian(home: Path, work: Path) -> tuple[str, bytes]:
    """Debian's own Python from the base in the store `home`, as python-build-standalone would publish it, and its exact version: with the
    libraries that it needs beside it, in the place of those that are built into the real ones."""
    version, base = _debian_base(home)
    minor = ".".join(version.split(".")[:2])
    python = work / "python"
    (python / "bin").mkdir(parents=True)
    program = python / "bin" / f"python{minor}"
    shutil.copy(base / f"usr/bin/python{minor}", program)
    (python / "bin/python3").symlink_to(program.name)
    ignore = shutil.ignore_patterns("__pycache__", "sitecustomize.py")
    library = python / "lib" / f"python{minor}"
    shutil.copytree(base / f"usr/lib/python{minor}", library, symlinks=True, ignore=ignore)
    for name in ("libexpat.so.1", "libz.so.1"):
        (found,) = base.glob(f"usr/lib/*-linux-gnu/{name}")
        shutil.copy(found.resolve(), python / "lib" / name)
    subprocess.run(["patchelf", "--set-rpath", "$ORIGIN/../lib", program], check=True, env=_beside())
    for path in library.glob("_sysconfigdata*.py"):
        text = path.read_text().replace("'/usr'", "'/install'").replace("'/usr/", "'/install/")
        path.write_text(text)
    entries: Entries = {}
    for path in sorted(python.rglob("*")):
        name = path.relative_to(work).as_posix()
        if path.is_symlink():
            entries[name] = os.readlink(path)
        elif path.is_file():
            entries[name] = (path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)
    return version, packed(entries)


def _debian_base(home: Path) -> tuple[str, Path]:
    """The exact version of the Python in the store's Debian base, and the base's tree."""
    for layer in (home / "layers").iterdir():
        records = layer / "fs/var/lib/dpkg/status.d/python3.11-minimal"
        text = records.read_text(errors="replace") if records.is_file() else ""
        found = re.search(r"^Version: ([0-9.]+)-", text, re.MULTILINE)
        if found is not None and (layer / "fs/usr/bin/python3.11").is_file():
            return found[1], layer / "fs"
    raise AssertionError("the store has no Debian base")


def _beside() -> dict[str, str]:
    """The environment in which the programs of this virtual environment are found."""
    return {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
