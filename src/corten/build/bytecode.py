"""Bytecode for image files, compiled on this machine by the interpreter that the image will run (DECISIONS 9).

The compiler is the base's own interpreter, started from its unpacked files through its own dynamic loader, so nothing of
this machine's Python has a say in the bytes. It compiles sources; it never runs them.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Literal

from corten.build import sandbox
from corten.errors import BuildError
from corten.oci.platform import Platform
from corten.values import dataclass

Form = Literal["unchecked", "checked"]

SERVER = Path(__file__).with_name("compile_server.py")


# Files of one request: enough to hide the round trip, few enough to share torch's 2,400 evenly.
_CHUNK = 40
_LOADERS = {"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython that can be started here: its command line, and the exact version that it must say it is. `server` is
    where it sees the compile server, `view` a folder of this machine and where it sees that, None for everything as it
    is here."""

    argv: tuple[str, ...]
    version: str
    server: str = str(SERVER)
    view: tuple[str, str] | None = None

    def seen(self, path: str) -> str:
        """Where this interpreter sees `path`."""
        if self.view is None:
            return path
        return self.view[1] + path.removeprefix(self.view[0])

    def environment(self) -> dict[str, str]:
        """What this machine's Python needs to start the sandbox: where Corten's own modules are."""
        return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)} if self.view else {}


def interpreter_in(tree: Path, python: str) -> Interpreter:
    """The interpreter of exact version `python` that lies unpacked in `tree` and runs on this machine's processor,
    started through the dynamic loader beside it. Raises BuildError when it is not there."""
    host = Platform.host()
    loader_name = _LOADERS[host.architecture]
    triplet = f"{host.machine}-linux-gnu"
    candidates = [f"usr/lib/{triplet}/{loader_name}", f"usr/lib64/{loader_name}", f"usr/lib/{loader_name}"]
    loader = next((tree / name for name in candidates if (tree / name).is_file()), None)
    minor = ".".join(python.split(".")[:2])
    binary = next(
        (
            path
            for path in (tree / f"usr/bin/python{minor}", tree / f"usr/local/bin/python{minor}")
            if path.is_file()
        ),
        None,
    )
    if loader is None or binary is None:
        raise BuildError(f"there is no Python {minor} for {host} in '{tree}'")
    libraries = ":".join(str(tree / name) for name in (f"usr/lib/{triplet}", "usr/lib", "usr/local/lib"))
    return Interpreter((str(loader), "--library-path", libraries, str(binary)), python)


def confined_interpreter(root: Path, work: Path, interpreter: str, python: str) -> Interpreter:
    """The interpreter of a base image that was made elsewhere and lies merged at `root`, in a sandbox in which it can
    write below `work` and nowhere else."""
    command = (sys.executable, "-P", "-m", "corten.build.sandbox", str(root), str(work), interpreter)
    return Interpreter(command, python, f"{sandbox.SERVER}/{SERVER.name}", (str(work), sandbox.WORK))


class _DiskRefused(OSError):
    """What a compile server heard from the disk."""


class Compiler:
    """A pool of compile servers. Use it as a context manager; `compile` may be called from several threads, and the
    files of one call are shared out over all servers."""

    def __init__(self, interpreter: Interpreter, jobs: int) -> None:
        self._interpreter = interpreter
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes] | None] = queue.SimpleQueue()
        self._executor = ThreadPoolExecutor(jobs, thread_name_prefix="compile")
        self._servers: list[subprocess.Popen[bytes]] = []
        self._guard = threading.Lock()
        self._stopped = False
        for _ in range(jobs):
            self._idle.put(None)

    def __enter__(self) -> Compiler:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._executor.shutdown(wait=True)
        for server in self._servers:
            with suppress(ValueError):  # a failure has read and closed its pipes
                server.communicate()

    def stop(self) -> None:
        """Compile nothing more: what is under way fails."""
        with self._guard:
            self._stopped = True
            for server in self._servers:
                server.kill()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def compile(
        self, tree: Path, files: Sequence[str], form: Form, advance: Callable[[int], None] | None = None
    ) -> int:
        """Write the pycs of `files`, paths relative to `tree` as they are relative to the image's root. Sources that
        this Python cannot compile (templates, other versions' syntax) stay without. Returns how many were compiled;
        `advance` hears the number of files done. Raises BuildError when the compiler itself fails, OSError when the
        disk refuses."""
        ordered = sorted(files)
        chunks = [ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK)]
        futures: list[Future[int]] = [
            self._executor.submit(self._chunk, tree, chunk, form, advance) for chunk in chunks
        ]
        try:
            return sum(future.result() for future in futures)
        finally:
            # After a failure nothing writes into the tree any more, which its owner will remove.
            wait([future for future in futures if not future.cancel()])

    def _chunk(self, tree: Path, files: list[str], form: Form, advance: Callable[[int], None] | None) -> int:
        server = self._idle.get()
        failed = True
        try:
            server = server or self._start()
            root = self._interpreter.seen(os.fspath(tree))
            lines = [f"{form[0]}\t{len(files)}"]
            for file in files:
                lines += [f"{root}/{file}", f"/{file}"]
            stdin, stdout = server.stdin, server.stdout
            if stdin is None or stdout is None:  # both are pipes: see _start
                raise BuildError("the bytecode compiler has no pipes")
            stdin.write("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
            stdin.flush()
            said = stdout.readline()
            if said.startswith(b"!") and int(said[1:]):
                server.kill()
                raise _DiskRefused(int(said[1:]), os.strerror(int(said[1:])))
            answer = said.split(b"\t")
            if len(answer) != 2:
                raise self._failure(server, f"between '{files[0]}' and '{files[-1]}'")
            if advance:
                advance(len(files))
            failed = False
            return int(answer[0])
        except _DiskRefused:
            raise
        except OSError as error:
            raise self._failure(server, (error.strerror or str(error)).lower()) from error
        finally:
            # A failed server is gone; who waits for one starts the next.
            self._idle.put(None if failed else server)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._guard:
            if self._stopped:
                raise BuildError("the build was stopped")
            server = subprocess.Popen(
                [*self._interpreter.argv, "-s", "-S", "-B", "-W", "ignore", self._interpreter.server],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Frozen sets are marshalled in the order of their hashes: the seed is fixed, whoever builds.
                env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", **self._interpreter.environment()},
                cwd="/",
            )
            self._servers.append(server)
        said = (server.stdout.readline() if server.stdout else b"").decode(errors="replace").split()
        if len(said) != 3:
            raise self._failure(server, "it did not start")
        if said[:2] != ["cpython", self._interpreter.version]:
            raise BuildError(
                f"bytecode must be compiled by CPython {self._interpreter.version}, and this is {said[0]} {said[1]}",
                hint="run 'corten lock' again",
            )
        return server

    def _failure(self, server: subprocess.Popen[bytes] | None, where: str) -> BuildError:
        output = b""
        if server is not None:
            server.kill()
            with suppress(ValueError, OSError):
                output = server.communicate()[1]
        lines = (output or b"").decode(errors="replace").strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        return BuildError(
            f"the bytecode compiler failed ({where}){said}",
            hint="the base's Python could not run on this machine; run 'corten doctor'",
        )
