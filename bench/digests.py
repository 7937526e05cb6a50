"""Whether a set gives one image, whatever is different around the build."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import projects
from measure import Failed, Job, output_of, run
from peers import Corten

_NOBODY = 65534


def compare(corten: Corten, size: str, notes: list[str]) -> dict[str, Any]:
    """Build a set in every way that must not matter, each time every layer anew, and compare. Several circumstances
    change in one build: if the image is the same, none of them mattered."""
    reference = corten.document(corten.home(size), corten.project(size))
    found = {"in place": _identity(reference)}
    for title, build in {
        "other directory (spaces, Unicode), umask 077, Turkish locale, Kathmandu's time, hash seed 1, fresh store": _elsewhere,
        "one job, umask 000, from the offline folder, fresh store": _offline,
        "a file system in memory (other file order), another user, fresh store": _other_user,
    }.items():
        try:
            found[title] = _identity(build(corten, size))
        except (Failed, OSError, subprocess.CalledProcessError) as error:
            notes.append(f"{size}, {title}: not compared: {error}")
    values = set(found.values())
    return {
        "set": size,
        "equal": len(values) == 1,
        "id": reference["id"],
        "digest": reference["digest"],
        "ways": list(found),
        "found": {title: list(value) for title, value in found.items()},
    }


def _identity(document: dict[str, Any]) -> tuple[str, str]:
    return document["id"], document["digest"]


def _document(corten: Corten, job: Job) -> dict[str, Any]:
    log = corten.new("logs")
    run(job, log)
    document: dict[str, Any] = json.loads(output_of(log).read_text())
    return document


def _elsewhere(corten: Corten, size: str) -> dict[str, Any]:
    place = corten.new("projects") / "ein Ordner – другой" / size
    project = projects.copy_project(corten.project(size), place)
    job = corten.build(corten.copy(corten.seed), project, "--json")
    circumstances = {
        "LC_ALL": "tr_TR.UTF-8",
        "LANGUAGE": "tr",
        "TZ": "Asia/Kathmandu",
        "PYTHONHASHSEED": "1",
        "HOME": str(place),
    }
    return _document(corten, replace(job, env=job.env | circumstances, umask=0o077))


def _offline(corten: Corten, size: str) -> dict[str, Any]:
    project = projects.copy_project(corten.project(size), corten.new("projects") / size)
    options = ("--json", "--jobs", "1", "--offline", str(corten.bundle))
    job = corten.build(corten.new("homes"), project, *options)
    circumstances = {"LC_ALL": "C", "TZ": "UTC-14", "PYTHONHASHSEED": "4294967295"}
    return _document(corten, replace(job, env=job.env | circumstances, umask=0))


def _other_user(corten: Corten, size: str) -> dict[str, Any]:
    if os.geteuid() != 0:
        raise Failed("only root can build as somebody else")
    place = Path("/dev/shm") / f"corten-bench-{os.getpid()}-{size}"
    if shutil.disk_usage("/dev/shm").free < 4 << 30:
        raise Failed("/dev/shm has less than 4 GB")
    place.mkdir()
    try:
        project = projects.copy_project(corten.project(size), place / size)
        subprocess.run(["cp", "-a", corten.bundle, place / "bundle"], check=True)
        subprocess.run(["chown", "-R", f"{_NOBODY}:{_NOBODY}", place], check=True)
        job = corten.build(place / "home", project, "--json", "--offline", str(place / "bundle"))
        return _document(corten, replace(job, env=job.env | {"HOME": str(place)}, cwd=place, user=_NOBODY))
    finally:
        # In memory, so deleting it does not slow down the disk.
        shutil.rmtree(place)
