"""Runs programs over unpacked layers, one after the other, and gives what they wrote: for packages that configure themselves.

The programs are root in the sandbox, with the capabilities that it takes to own files and to change users, and none else. They have their own
mount, process, network, IPC and UTS namespaces; no network, no device but null, zero, full, random and urandom, no file of this
machine, no new privileges, and the filter `filters.refusing`. As a plain user they are in a user namespace too, whose IDs the caller maps.
"""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from corten.errors import NoSandbox
from corten.sandbox import filters
from corten.sandbox.process import _LATE, Finished, _collected, _refusal
from corten.values import dataclass, field

_SOURCES = str(Path(__file__).parents[2])
_ENTER = f"import sys; sys.path.insert(0, {_SOURCES!r}); from corten.sandbox.enter_layers import main; main()"


@dataclass(frozen=True, slots=True)
class Program:
    """A command, the file inside that takes its output (empty: it is collected), and whether the next ones are worth nothing without it."""

    command: tuple[str, ...]
    output: str = ""
    needed: bool = True


@dataclass(frozen=True, slots=True)
class OverLayers:
    """`programs` over the trees `layers` (bottom to top), which lie below the directory `place`, as paths relative to it.

    `folder` is an empty directory of this program's own below `place`, on a file system that can have the upper directory of an
    overlay. It may hold `upper` already, which is then what the programs find changed; in the end it has `archive.tar`. `scratch` and `file_size` are the
    bytes of each folder in memory and of the largest file."""

    programs: tuple[Program, ...]
    layers: tuple[str, ...]
    place: str
    folder: str
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 900.0
    scratch: int = 1 << 30
    file_size: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Ran:
    """How it went: the process's end with what the programs said, and the number and the exit code of those that failed."""

    finished: Finished
    failed: tuple[tuple[int, int], ...]
    archive: Path


def run(value: OverLayers, map_ids: Callable[[int], None] | None) -> Ran:
    """Run all of it. `map_ids` gives the user namespace of a process its IDs; None: this process is root and needs none. Raises
    NoSandbox where this machine refuses, and whatever `map_ids` raises."""
    folder = Path(value.place, value.folder)
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(mode=0o755, exist_ok=True)
    try:
        program = filters.refusing(os.uname().machine)
    except KeyError:
        raise NoSandbox(f"Corten knows no system-call filter for '{os.uname().machine}' machines") from None
    data = marshal.dumps(
        {
            "mapped": map_ids is not None,
            "layers": tuple(value.layers),
            "place": value.place,
            "upper": str(folder / "upper"),
            "work": str(folder / "work"),
            "upper_name": f"{value.folder}/upper",
            "work_name": f"{value.folder}/work",
            "stage": str(folder / "root"),
            "archive": str(folder / "archive.tar"),
            "steps": tuple((item.command, item.output, item.needed) for item in value.programs),
            "environment": dict(value.environment),
            "seconds": value.seconds,
            "scratch": value.scratch,
            "file_size": value.file_size,
            "filter": program,
        }
    )
    return _run(len(data).to_bytes(8, "little") + data, folder, map_ids)


def _run(document: bytes, folder: Path, map_ids: Callable[[int], None] | None) -> Ran:
    status, status_end = os.pipe()
    leash_end, leash = os.pipe()
    try:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _ENTER, str(status_end), str(leash_end)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(status_end, leash_end),
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(status_end)
            os.close(leash_end)
        with process:
            try:
                _write(leash, document)
                said = b""
                if map_ids is not None and (said := os.read(status, 1)) == b"u":
                    map_ids(process.pid)
                    _write(leash, b"m")
                    said = b""
                output, errors, overlong = _collected(process, b"", 16 << 20)
                if overlong:
                    os.close(leash)
                    leash = -1
                while piece := os.read(status, 1 << 16):
                    said += piece
                code = process.wait()
            except BaseException:
                if leash >= 0:
                    os.close(leash)
                    leash = -1
                process.wait()
                raise
    finally:
        os.close(status)
        if leash >= 0:
            os.close(leash)
    failed = []
    for line in said.decode(errors="replace").splitlines():
        words = line.split("\t")
        if words[0] != "step":
            raise _refusal(line.encode())
        failed.append((int(words[1]), int(words[2])))
    finished = Finished(code, output, errors, code == _LATE, overlong)
    return Ran(finished, tuple(failed), folder / "archive.tar")


def _write(descriptor: int, data: Sequence[int] | bytes) -> None:
    left = memoryview(bytes(data))
    with suppress(BrokenPipeError):
        while left:
            left = left[os.write(descriptor, left) :]
