"""Compiling runs foreign programs on foreign input: what they reach, and what is believed of what they say."""

from __future__ import annotations

import os
import pickle
import subprocess
import tempfile
from pathlib import Path

import pytest

from corten.build.bytecode import Compiler, Interpreter, interpreter_in
from corten.build.environment import Environment
from corten.build.make import sources_below
from corten.build.wheel import place_wheel
from corten.errors import BuildError
from support.confined import (
    PYTHON,
    USER_WITHOUT,
    WITH_NAMESPACES,
    WITHOUT_NAMESPACES,
    Caller,
)
from support.plain_user import interpreter
from support.wheels import make_wheel

VERSION = subprocess.run(
    [PYTHON, "-c", "import platform; print(platform.python_version())"],
    capture_output=True,
    text=True,
    check=True,
).stdout.strip()
TAG = "cpython-" + "".join(VERSION.split(".")[:2])
GREETING = f"print('cpython {VERSION} {TAG}', flush=True)"
READ = "import sys\nline = sys.stdin.buffer.readline()\nsizes = sys.stdin.buffer.readline()\n"

_SCRIPT = """
import pickle, sys
from pathlib import Path
from corten.build.bytecode import Compiler, Interpreter
tree, program, version, verified, files = pickle.load(sys.stdin.buffer)
said = []
try:
    with Compiler(Interpreter(Path("/"), program, version, verified), 2, say=said.append) as compiler:
        result = compiler.compile(Path(tree), files, "unchecked")
except Exception as error:
    result = error
pickle.dump((result, said), sys.stdout.buffer)
"""


def project(directory: Path, count: int = 90) -> tuple[Path, list[str]]:
    tree = Path(tempfile.mkdtemp(dir=directory))
    (tree / "pkg").mkdir()
    names = [f"pkg/m{number}.py" for number in range(count)]
    for number, name in enumerate(names):
        (tree / name).write_text(f"def f(x={number}):\n    return {{'a', 'b', x}}\n")
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o644)
    return tree, names


def compiled(tree: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in sorted(tree.rglob("*.pyc"))}


def compile_as(
    caller: Caller, tree: Path, names: list[str], *, version: str = VERSION, verified: bool = True
):  # type: ignore[no-untyped-def]
    """What `compile` returned, or raised, and what it had to say, as this caller."""
    python, environment = interpreter()
    done = subprocess.run(
        caller.command([*python, "-c", _SCRIPT], environment),
        input=pickle.dumps((str(tree), PYTHON, version, verified, names)),
        capture_output=True,
        timeout=60,
    )
    assert done.stdout, done.stderr.decode()
    return pickle.loads(done.stdout)


def hostile(directory: Path, code: str) -> Interpreter:
    """A base image's Python that does what it likes: a program of this machine stands in for it."""
    path = Path(tempfile.mkdtemp(dir=directory)) / "python3"
    path.parent.chmod(0o755)
    path.write_text(f"#!{PYTHON} -ISB\n{code}\n")
    path.chmod(0o755)
    return Interpreter(Path("/"), str(path), VERSION)


@pytest.fixture(scope="module")
def expected(open_directory: Path) -> dict[str, bytes]:
    """The bytecode of `project`."""
    tree, names = project(open_directory)
    with Compiler(Interpreter(Path("/"), PYTHON, VERSION), 1) as compiler:
        assert compiler.compile(tree, names, "unchecked") == len(names)
    return compiled(tree)


@pytest.mark.parametrize("caller", WITH_NAMESPACES, ids=lambda caller: caller.name)
def test_bytecode_is_the_same_whoever_builds(
    caller: Caller, open_directory: Path, expected: dict[str, bytes]
) -> None:
    tree, names = project(open_directory)
    assert compile_as(caller, tree, names, verified=False) == (len(names), [])
    assert compiled(tree) == expected


@pytest.mark.parametrize("caller", WITHOUT_NAMESPACES, ids=lambda caller: caller.name)
def test_without_namespaces_debians_python_compiles_under_a_filter(
    caller: Caller, open_directory: Path, expected: dict[str, bytes]
) -> None:
    tree, names = project(open_directory)
    count, said = compile_as(caller, tree, names)
    assert count == len(names), count
    assert compiled(tree) == expected
    assert len(said) == 1
    assert "it can read files of this machine" in said[0]


@pytest.mark.parametrize("caller", WITHOUT_NAMESPACES, ids=lambda caller: caller.name)
def test_without_namespaces_a_base_images_python_is_not_run(caller: Caller, open_directory: Path) -> None:
    tree, names = project(open_directory, 1)
    error, said = compile_as(caller, tree, names, verified=False)
    assert isinstance(error, BuildError)
    assert "is run only where it can be confined" in error.message
    assert (compiled(tree), said) == ({}, [])


def test_without_namespaces_a_python_that_starts_processes_is_refused(open_directory: Path) -> None:
    tree, names = project(open_directory, 1)
    error, _ = compile_as(USER_WITHOUT, tree, names, version="3.14.1")
    assert isinstance(error, BuildError)
    assert "compiles each file in a process of its own" in error.message


def test_a_base_images_python_cannot_change_what_is_built(open_directory: Path) -> None:
    """It replaces a folder of the layer by a link to the host, writes to it, keeps descriptors, and leaves processes behind."""
    outside = Path(tempfile.mkdtemp(dir=open_directory))
    outside.chmod(0o777)
    tree, names = project(open_directory, 3)
    code = f"""
import os, sys, time
def attempt(call, *arguments):
    try:
        call(*arguments)
        print("WORKED", call, arguments, file=sys.stderr, flush=True)
    except OSError:
        pass
tree, outside = {str(tree)!r}, {str(outside)!r}
attempt(os.rename, tree + "/pkg", tree + "/aside")
attempt(os.symlink, outside, tree + "/opt")
attempt(os.unlink, tree + "/pkg/m0.py")
for path in (outside + "/file", tree + "/pkg/file", tree + "/pkg/m0.py"):
    attempt(os.open, path, os.O_RDWR | os.O_CREAT)
for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ("0", "1", "2", "3", "4", "5"):
    attempt(os.ftruncate, int(name), 0)
attempt(os.fork)
{GREETING}
{READ}
print("it is done", file=sys.stderr)
"""
    with Compiler(hostile(open_directory, code), 2) as compiler, pytest.raises(BuildError) as caught:
        compiler.compile(tree, names, "unchecked")
    assert caught.value.message.endswith(": it is done")
    assert list(outside.iterdir()) == []
    assert sorted(path.name for path in tree.rglob("*")) == ["m0.py", "m1.py", "m2.py", "pkg"]
    assert "def f" in (tree / "pkg/m0.py").read_text()


def test_a_lock_that_names_a_foreign_program_for_its_compiler_reaches_nothing(open_directory: Path) -> None:
    """A .deb, or a wheel that is called one, puts a program of its own at /usr/bin/python3.11: a shell here."""
    outside = Path(tempfile.mkdtemp(dir=open_directory))
    outside.chmod(0o777)
    root = Path(tempfile.mkdtemp(dir=open_directory))
    root.chmod(0o755)
    for path in _needs("/bin/sh"):
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(Path(path).resolve().read_bytes())
        place.chmod(0o755)
    machine = os.uname().machine
    loader = next(path for path in _needs("/bin/sh") if "/ld-linux" in path)
    (root / f"usr/lib/{machine}-linux-gnu").mkdir(parents=True, exist_ok=True)
    (root / f"usr/lib/{machine}-linux-gnu" / Path(loader).name).touch()
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    program = root / "usr/bin/python3.11"
    program.write_text(
        f"#!/bin/sh\nfor place in {outside}/file /file /tmp/file; do echo x >$place && echo WORKED >&2; done\n"
        f"test -e {outside} && echo WORKED >&2\necho it ran >&2\n"
    )
    program.chmod(0o755)
    tree, names = project(open_directory, 3)
    with (
        Compiler(interpreter_in(root, "3.11.2"), 1) as compiler,
        pytest.raises(BuildError, match=r"did not start.*it ran") as caught,
    ):
        compiler.compile(tree, names, "unchecked")
    assert "WORKED" not in caught.value.message
    assert list(outside.iterdir()) == []
    assert not (root / "file").exists()


def _needs(program: str) -> list[str]:
    """A program, and the libraries that it is loaded with."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    words = [word for line in said.splitlines() for word in line.split() if word.startswith("/")]
    return [program, *words]


GOOD = "b'\\xa7\\x0d\\x0d\\x0a' + (1).to_bytes(4, 'little') + bytes(8) + b'N'"
ANSWERS = {
    "another Python's magic": f"data = b'\\x01\\x02\\x0d\\x0a' + ({GOOD})[4:]\nsizes = [len(data)]",
    "checked instead of unchecked": f"data = ({GOOD})[:4] + bytes([3, 0, 0, 0]) + bytes(9)\nsizes = [len(data)]",
    "flags that nobody knows": f"data = ({GOOD})[:4] + bytes([255] * 4) + bytes(9)\nsizes = [len(data)]",
    "a header alone": f"data = ({GOOD})[:16]\nsizes = [16]",
    "more than any source gives": "data = b''\nsizes = [10**12]",
    "less than nothing": "data = b''\nsizes = [-5]",
    "an answer too many": f"data = {GOOD}\nsizes = [len(data), len(data)]",
    "no number": "data = b''\nsizes = ['x']",
    "a line without an end": "data = b''\nsizes = ['1' * (1 << 22)]",
    "less than it said": f"data = ({GOOD})[:10]\nsizes = [17]",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_comes_back_is_checked(open_directory: Path, answer: str) -> None:
    if VERSION.split(".")[:2] != ["3", "11"]:
        pytest.skip("the magic number in this test is that of Python 3.11")
    tree, names = project(open_directory, 1)
    code = (
        f"{GREETING}\n{READ}{ANSWERS[answer]}\n"
        "sys.stdout.buffer.write(' '.join(map(str, sizes)).encode() + b'\\n' + data)\nsys.stdout.flush()\n"
    )
    with (
        Compiler(hostile(open_directory, code), 1) as compiler,
        pytest.raises(BuildError, match="the bytecode compiler failed"),
    ):
        compiler.compile(tree, names, "unchecked")
    assert compiled(tree) == {}


def test_a_server_that_never_stops_talking_is_ended(open_directory: Path) -> None:
    tree, names = project(open_directory, 1)
    flood = "while True: sys.stdout.buffer.write(b'x' * 65536)"
    for code in (f"import sys\n{flood}", f"{GREETING}\n{READ}{flood}"):
        with Compiler(hostile(open_directory, code), 1) as compiler, pytest.raises(BuildError):
            compiler.compile(tree, names, "unchecked")


def test_links_are_neither_compiled_nor_followed(open_directory: Path) -> None:
    """Debian's sitecustomize.py is an absolute link into /etc: on this machine that is another file, or none, or no file."""
    outside = Path(tempfile.mkdtemp(dir=open_directory))
    (outside / "folder").mkdir()
    (outside / "folder/other.py").write_text("x = 1\n")
    (outside / "sitecustomize.py").write_text("hostile = 1\n")
    before = sorted(outside.rglob("*"))
    tree, _ = project(open_directory, 1)
    (tree / "pkg/sitecustomize.py").symlink_to(outside / "sitecustomize.py")
    (tree / "pkg/gone.py").symlink_to("/nowhere")
    (tree / "pkg/inner.py").symlink_to("m0.py")
    (tree / "pkg/folder").symlink_to(outside / "folder")
    (tree / "pkg/directory.py").mkdir()
    os.mkfifo(tree / "pkg/pipe.py")
    (tree / "other").mkdir()
    (tree / "other/m.py").write_text("x = 1\n")
    (tree / "other/__pycache__").symlink_to(outside)
    (tree / "third/__pycache__").mkdir(parents=True)
    (tree / "third/m.py").write_text("x = 1\n")
    (tree / f"third/__pycache__/m.{TAG}.pyc").symlink_to(outside / "sitecustomize.py")
    found = sources_below(tree, "")
    assert sorted(found) == ["other/m.py", "pkg/m0.py", "pkg/pipe.py", "third/m.py"]
    every = [
        *found,
        "pkg/sitecustomize.py",
        "pkg/gone.py",
        "pkg/inner.py",
        "pkg/folder/other.py",
        "pkg/directory.py",
    ]
    with Compiler(Interpreter(Path("/"), PYTHON, VERSION), 1) as compiler:
        assert compiler.compile(tree, every, "unchecked") == 2
    assert sorted(path for path in compiled(tree) if not (tree / path).is_symlink()) == [
        f"pkg/__pycache__/m0.{TAG}.pyc",
        f"third/__pycache__/m.{TAG}.pyc",
    ]
    assert sorted(outside.rglob("*")) == before
    assert (outside / "sitecustomize.py").read_text() == "hostile = 1\n"


def test_a_wheel_is_not_written_through_a_link(open_directory: Path, tmp_path: Path) -> None:
    outside = Path(tempfile.mkdtemp(dir=open_directory))
    wheel = make_wheel(tmp_path / "wheels", "demo", files={"demo.py": "x = 1\n"})
    environment = Environment("/opt/venv", "3.11")
    for place in ("opt", "opt/venv", "opt/venv/lib/python3.11/site-packages"):
        tree = Path(tempfile.mkdtemp(dir=tmp_path))
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).symlink_to(outside)
        with pytest.raises(BuildError, match="cannot be installed"):
            place_wheel(tmp_path / "wheels" / wheel.file, wheel.file, environment, tree)
        assert list(outside.iterdir()) == []
