"""The pool of compile servers: what it writes, and that it always comes to an end."""

from __future__ import annotations

import errno
import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from corten.build.bytecode import Compiler, Interpreter
from corten.errors import BuildError
from support.confined import PYTHON

VERSION = subprocess.run(
    [PYTHON, "-c", "import platform; print(platform.python_version())"],
    capture_output=True,
    text=True,
    check=True,
).stdout.strip()
HERE = Interpreter(Path("/"), PYTHON, VERSION)
"""This machine's own interpreter: its root is the one of the sandbox."""


def program(directory: Path, script: str) -> Interpreter:
    """A shell script for an interpreter."""
    path = Path(tempfile.mkdtemp(dir=directory)) / "python3.11"
    path.parent.chmod(0o755)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Interpreter(Path("/"), str(path), "3.11.2")


def sources(tree: Path, count: int, text: str = "x = {'a', 'b', 'c'}\n") -> list[str]:
    names = [f"package/module_{number}.py" for number in range(count)]
    (tree / "package").mkdir(parents=True)
    for number, name in enumerate(names):
        (tree / name).write_text(f"{text}y = {number}\n")
    return names


def compiled(tree: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in sorted(tree.rglob("*.pyc"))}


def test_bytecode_depends_on_the_source_and_its_path_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order, the number of servers and this process's hash seed, flags and paths."""
    found = []
    for turn, jobs in enumerate((1, 3)):
        tree = tmp_path / str(turn) / ("deep" * turn)
        names = sources(tree, 120)
        monkeypatch.setenv("PYTHONHASHSEED", str(turn))
        with Compiler(HERE, jobs) as compiler:
            assert compiler.compile(tree, names if turn else names[::-1], "unchecked") == 120
        found.append(compiled(tree))
    assert found[0] == found[1]
    assert len(found[0]) == 120


@pytest.mark.parametrize(("form", "flags"), [("unchecked", 0b01), ("checked", 0b11)])
def test_pycs_are_found_by_hash(tmp_path: Path, form: str, flags: int) -> None:
    (name,) = sources(tmp_path, 1)
    with Compiler(HERE, 1) as compiler:
        compiler.compile(tmp_path, [name], form)  # type: ignore[arg-type]
    (data,) = compiled(tmp_path).values()
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(data[4:8], "little") == flags
    assert data[8:16] == importlib.util.source_hash((tmp_path / name).read_bytes())


def test_what_cannot_be_compiled_stays_without(tmp_path: Path) -> None:
    """Templates, null bytes, other encodings, and a folder where the bytecode would lie."""
    names = sources(tmp_path, 4)
    (tmp_path / names[0]).write_text("{% if x %}\n")
    (tmp_path / names[1]).write_bytes(b"\0")
    (tmp_path / names[2]).write_bytes(b"# coding: nonsense\n")
    tag = sys.implementation.cache_tag
    (tmp_path / f"package/__pycache__/module_3.{tag}.pyc").mkdir(parents=True)
    with Compiler(HERE, 2) as compiler:
        assert compiler.compile(tmp_path, names, "unchecked") == 0


def test_an_interpreter_that_does_not_start(tmp_path: Path, open_directory: Path) -> None:
    """More work than servers: nobody waits for a server that never comes."""
    names = sources(tmp_path, 400)
    for interpreter in (
        program(open_directory, "exit 1"),
        Interpreter(Path("/"), "/nowhere/python", "3.11.2"),
        program(open_directory, "echo cpython 2.7.18 cpython-27"),
    ):
        with (
            Compiler(interpreter, 2) as compiler,
            pytest.raises(BuildError, match=r"failed|must be compiled|did not start"),
        ):
            compiler.compile(tmp_path, names, "unchecked")


def test_servers_that_die_at_work(tmp_path: Path, open_directory: Path) -> None:
    """The first answers and dies at the first file. It is said once, whichever piece of work hears of it."""
    names = sources(tmp_path, 400)
    script = "echo cpython 3.11.2 cpython-311; read line; echo 'oh no' >&2"
    with (
        Compiler(program(open_directory, script), 2) as compiler,
        pytest.raises(BuildError, match="the bytecode compiler failed"),
    ):
        compiler.compile(tmp_path, names, "unchecked")


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    """What the disk says is an OSError here, and not a compiler that failed. It is full for this process alone."""
    names = sources(tmp_path, 3)
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from corten.build.bytecode import Compiler, Interpreter\n"
        "interpreter = Interpreter(Path('/'), sys.argv[1], sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))\n"
        "with Compiler(interpreter, 1) as compiler:\n"
        "    try: compiler.compile(Path(sys.argv[3]), sys.argv[4:], 'unchecked')\n"
        "    except OSError as error: print(type(error).__name__, error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, PYTHON, VERSION, str(tmp_path), *names], capture_output=True, text=True
    )
    assert done.stdout.split() == ["OSError", str(errno.EFBIG)], done.stderr


def test_a_compiler_that_is_stopped_ends_at_once(tmp_path: Path) -> None:
    """Nothing is written into the tree after `compile` has come back, and no server stays."""
    names = sources(tmp_path, 2000, "x = [" + "(1, 2, 3), " * 500 + "]\n")
    before = threading.active_count()
    with Compiler(HERE, 2) as compiler:
        threading.Timer(0.5, compiler.stop).start()
        started = time.monotonic()
        with pytest.raises(Exception):  # noqa: B017  cancelled, or killed at work
            compiler.compile(tmp_path, names, "unchecked")
        assert time.monotonic() - started < 30
        count = len(list(tmp_path.rglob("*.pyc")))
        time.sleep(0.2)
        assert len(list(tmp_path.rglob("*.pyc"))) == count < 2000
    assert threading.active_count() <= before
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not [pid for pid in children if b"sandbox.enter" in Path(f"/proc/{pid}/cmdline").read_bytes()]
