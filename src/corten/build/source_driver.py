"""What runs in the sandbox in which a source becomes a wheel: unpacks the source, asks its build backend (PEP 517), and writes what
came of it to the standard output as it was when this started.

Nothing here is trusted, for a source runs code of its own beside it: whoever reads the output checks it. It is started by `source_wheels.py` with
`-c`, by a Python of another version than Corten's, so it imports the standard library alone and keeps to Python 3.8.

    python -c SCRIPT look          → {"pyproject": text or null, "native": bool}
    python -c SCRIPT build REQUEST → {"requires": [...]}: the backend wants these as well
                                     {"wheel": file name, "size": bytes} and then the wheel
                                     {"error": one line}
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tarfile
import zipfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO, Any

GIVEN = "/source"
PLACE = "/build/src"
EPOCH = 315532800  # the first moment that a zip archive can say
NATIVE = (".c", ".cc", ".cpp", ".cxx", ".c++", ".pyx", ".f", ".f90", ".f77", ".for", ".s", ".cu", ".rs")
NO_CODE = ("test", "tests", "testing", "doc", "docs", "example", "examples", "benchmark", "benchmarks")
LARGEST_TEXT = 1 << 20


def main() -> None:
    output = os.dup(1)
    os.set_inheritable(output, False)
    os.dup2(2, 1)  # what a backend prints is no answer
    sys.path[:] = [path for path in sys.path if path not in ("", "/build")]
    try:
        answer, data = look() if sys.argv[1] == "look" else build(json.loads(sys.argv[2]))
    except Refused as error:
        answer, data = {"error": str(error)}, b""
    say(output, json.dumps(answer).encode() + b"\n" + data)


class Refused(Exception):
    pass


def say(output: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(output, left) :]


def look() -> tuple[dict[str, Any], bytes]:
    unpack()
    text = None
    try:
        with open(PLACE + "/pyproject.toml", encoding="utf-8-sig", errors="replace") as file:
            text = file.read(LARGEST_TEXT)
    except OSError:
        if not os.path.exists(PLACE + "/setup.py") and not os.path.exists(PLACE + "/setup.cfg"):
            raise Refused("it has neither pyproject.toml nor setup.py") from None
    return {"pyproject": text, "native": is_native()}, b""


def is_native() -> bool:
    """Whether there are sources beside Python's among the files."""
    for _, names, files in os.walk(PLACE):
        names[:] = [name for name in names if name.lower() not in NO_CODE]
        if any(name.lower().endswith(NATIVE) for name in files):
            return True
    return False


def build(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    unpack()
    os.chdir(PLACE)
    for name in ("home", "out"):
        os.makedirs("/build/" + name)
    os.environ["PWD"] = PLACE
    backend = load(request["backend"], request["path"])
    if hasattr(backend, "get_requires_for_build_wheel"):
        wanted = list(backend.get_requires_for_build_wheel(request["settings"] or None) or ())
        known = set(request["known"])
        if not set(wanted) <= known:
            return {"requires": [str(item) for item in wanted]}, b""
    name = backend.build_wheel("/build/out", request["settings"] or None)
    place = os.path.join("/build/out", os.path.basename(name))
    with open(place, "rb") as file:
        data = file.read()
    return {"wheel": os.path.basename(name), "size": len(data)}, data


def load(written: str, paths: list[str]) -> Any:
    """The backend's object, with its own folders of the source first on the path."""
    import importlib

    sys.path[:0] = [os.path.join(PLACE, path) for path in paths]
    module, _, names = written.partition(":")
    found: Any = importlib.import_module(module)
    for name in filter(None, names.split(".")):
        found = getattr(found, name)
    return found


def unpack() -> None:
    """Put the source, whether it is an archive or a folder, into PLACE: with fixed modes and times, without anything but files, folders and
    links."""
    os.makedirs(PLACE)
    if os.path.isdir(GIVEN):
        copy(GIVEN, PLACE)
    elif zipfile.is_zipfile(GIVEN):
        with zipfile.ZipFile(GIVEN) as zipped:
            unzip(zipped)
    else:
        with tarfile.open(GIVEN) as tarred:
            untar(tarred)
    for folder, names, files in os.walk(PLACE):
        for name in names + files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.utime(path, (EPOCH, EPOCH))


def unzip(archive: zipfile.ZipFile) -> None:
    top = common(item.filename for item in archive.infolist())
    for item in archive.infolist():
        path = inside(item.filename, top)
        if path and not item.filename.endswith("/"):
            with archive.open(item) as file:
                put(path, file, bool(item.external_attr >> 16 & 0o111))


def untar(archive: tarfile.TarFile) -> None:
    members = archive.getmembers()
    top = common(item.name for item in members)
    for item in members:
        path = inside(item.name, top)
        if not path:
            continue
        if item.isdir():
            os.makedirs(path, exist_ok=True)
        elif item.issym():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(item.linkname, path)
        elif item.isfile() or item.islnk():
            file = archive.extractfile(item)
            if file is not None:
                put(path, file, bool(item.mode & 0o111))


def common(names: Iterable[str]) -> str:
    """The one folder that everything lies in; empty where there is none."""
    tops = {name.lstrip("./").split("/")[0] for name in names if name.strip("./")}
    return tops.pop() if len(tops) == 1 else ""


def inside(name: str, top: str) -> str:
    path = os.path.normpath("/" + name.lstrip("./"))
    if top:
        path = path[len(top) + 1 :]
    return PLACE + path if path.strip("/") else ""


def put(path: str, file: IO[bytes], executable: bool) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as target:
        while True:
            piece = file.read(1 << 20)
            if not piece:
                break
            target.write(piece)
    os.chmod(path, 0o755 if executable else 0o644)


def copy(source: str, target: str) -> None:
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        place = os.path.join(target, entry.name)
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(entry.path), place)
        elif stat.S_ISDIR(mode):
            os.mkdir(place)
            copy(entry.path, place)
        elif stat.S_ISREG(mode):
            with open(entry.path, "rb") as file:
                put(place, file, bool(mode & 0o111))


if __name__ == "__main__":
    main()
