"""Bytecode for image files, compiled on this machine by the interpreter that the image will run (DECISIONS 9).

The compiler is the base's own interpreter from its unpacked files, so nothing of this machine's Python has a say in the bytes.
It compiles sources; it never runs them. Neither the interpreter nor what it is fed is trusted: it runs in a sandbox
(`corten.sandbox`) that has its tree read-only and nothing to write to. Corten reads the sources and sends them through a pipe,
checks what comes back, and writes the files itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import queue
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from corten.errors import BuildError, NoSandbox
from corten.oci.inside import Inside
from corten.oci.platform import Platform
from corten.packages.files import PythonArchive
from corten.sandbox.confinement import Confinement, Limits
from corten.sandbox.process import Confined, start
from corten.values import dataclass

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Form = Literal["unchecked", "checked"]

LARGEST_SOURCE = 16 << 20
"""Bytes of a source. A larger one stays without bytecode."""

# Files of one request: enough to hide the round trip, few enough to share torch's 2,400 evenly.
_CHUNK = 40
# Bytes of sources of one frame, give or take one file.
_FRAME = 8 << 20
# Frames that a server has at a time: it works on one while the other's bytes are on their way.
_IN_FLIGHT = 2
_PIPE = 1 << 20
# Seconds for the answer to a frame; the slowest file that is known takes 20.
_PATIENCE = 600
# A function of nothing is 9 bytes of source and 300 of bytecode, for each carries its file's name.
_LARGEST_PYC, _PYC_PER_SOURCE = 1 << 20, 256
_HEADER = 16
_F_SETPIPE_SZ = 1031
_MEMORY = 4 << 30
# Python 3.14 and later compile each file in a child; others start no process.
_FORKS_FROM, _CHILDREN = (3, 14), 512
_MAGIC = {
    "3.6": 3379,
    "3.7": 3394,
    "3.8": 3413,
    "3.9": 3425,
    "3.10": 3439,
    "3.11": 3495,
    "3.12": 3531,
    "3.13": 3571,
    "3.14": 3627,
}
_FLAGS = {"unchecked": 0b01, "checked": 0b11}
_LOADERS = {"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}
# Where a tree has something else than a file: links are never followed.
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO)
_NO_PLACE = (errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENAMETOOLONG)
_SCRIPT = Path(__file__).with_name("compile_server.py")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython that can be started here: the tree that is its root, its path there, and the exact version that it must say it
    is. `verified`: it comes from Debian packages with Debian's signature."""

    tree: Path
    program: str
    version: str
    verified: bool = False

    @property
    def forks(self) -> bool:
        """Whether it compiles each file in a child of its own."""
        return tuple(int(part) for part in self.version.split(".")[:2]) >= _FORKS_FROM


def interpreter_in(tree: Path, python: str) -> Interpreter:
    """Debian's interpreter of exact version `python` that lies unpacked in `tree` and runs on this machine's processor. Raises
    BuildError when it is not there."""
    host = Platform.host()
    minor = ".".join(python.split(".")[:2])
    with Inside(tree) as inside:
        for place in (f"usr/bin/python{minor}", f"usr/local/bin/python{minor}"):
            if (found := inside.resolve(place)) is not None and _loader(inside, host) is not None:
                return Interpreter(tree, f"/{found}", python, verified=True)
    raise BuildError(f"there is no Python {minor} for {host} in '{tree}'")


def standalone_in(tree: Path, archive: PythonArchive) -> Interpreter:
    """The Python of `archive` at /usr/local in `tree`, which has a C library too. Raises BuildError when it is not there."""
    place = f"usr/local/bin/python{archive.minor}"
    with Inside(tree) as inside:
        found = inside.resolve(place)
        if found is None or _loader(inside, Platform.host()) is None:
            raise BuildError(f"there is no Python {archive.version} for {Platform.host()} in '{tree}'")
    return Interpreter(tree, f"/{found}", archive.version)


def _loader(inside: Inside, host: Platform) -> str | None:
    name = _LOADERS[host.architecture]
    places = (f"usr/lib/{host.machine}-linux-gnu/{name}", f"usr/lib64/{name}", f"usr/lib/{name}")
    return next((found for place in places if (found := inside.resolve(place))), None)


class Compiler:
    """A pool of compile servers. Use it as a context manager; `compile` may be called from several threads, and the
    files of one call are shared out over all servers. `own`: the interpreter's own tree is what is compiled, so it may not
    read any bytecode that lies there. `say` hears once what a user has to know of how this machine confines it, `spend` the bytes
    that are written."""

    def __init__(
        self,
        interpreter: Interpreter,
        jobs: int,
        *,
        own: bool = False,
        say: Callable[[str], None] | None = None,
        spend: Callable[[int], None] | None = None,
    ) -> None:
        self._interpreter, self._own, self._say = interpreter, own, say
        self._magic = _MAGIC.get(".".join(interpreter.version.split(".")[:2]))
        self._idle: queue.SimpleQueue[_Seat] = queue.SimpleQueue()
        self._jobs, self._spend = jobs, spend
        self._threads: ThreadPoolExecutor | None = None
        self._servers: list[_Server] = []
        self._guard = threading.Lock()
        self._isolation: Literal["namespaces", "filter"] = "namespaces"
        self._stopped = False
        seats = [_Seat() for _ in range(jobs)]
        for _ in range(_IN_FLIGHT):
            for seat in seats:
                self._idle.put(seat)

    def __enter__(self) -> Compiler:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        if self._threads is not None:
            self._threads.shutdown(wait=True)
        for server in self._servers:
            server.close()

    def stop(self) -> None:
        """Compile nothing more: what is under way fails. Nothing of a sandbox is left when this comes back."""
        with self._guard:
            self._stopped = True
            servers, threads = list(self._servers), self._threads
        for server in servers:
            server.end()
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    def _executor(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        with self._guard:
            if self._threads is None:
                if self._stopped:
                    raise BuildError("the build was stopped")
                self._threads = ThreadPoolExecutor(self._jobs * _IN_FLIGHT, thread_name_prefix="compile")
            return self._threads

    def compile(
        self, tree: Path, files: Sequence[str], form: Form, advance: Callable[[int], None] | None = None
    ) -> int:
        """Write the pycs of `files`, paths relative to `tree` as they are relative to the image's root. Sources that
        this Python cannot compile (templates, other versions' syntax) stay without, and so does what is not a regular file,
        as a link to one is not. Returns how many were compiled; `advance` hears the number of files done. Raises
        BuildError when the compiler itself fails, OSError when the disk refuses."""
        ordered = sorted(files)
        chunks = [ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK)]
        if len(chunks) <= 1:
            # A project's code: one server, and no threads, whose import takes longer than a small file.
            return sum(self._chunk(tree, chunk, form, advance) for chunk in chunks)
        from concurrent.futures import FIRST_EXCEPTION, wait

        executor = self._executor()
        futures: list[Future[int]] = [
            executor.submit(self._chunk, tree, chunk, form, advance) for chunk in chunks
        ]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # After a failure nothing writes into the tree any more, which its owner will remove.
            wait([future for future in futures if not future.cancel()])
        failures = [error for future in futures if not future.cancelled() and (error := future.exception())]
        # A failure ends its server, and with it what else that server was asked for: the disk is the cause.
        for error in sorted(failures, key=lambda error: not isinstance(error, OSError)):
            raise error
        return sum(future.result() for future in futures)

    def _chunk(self, tree: Path, files: list[str], form: Form, advance: Callable[[int], None] | None) -> int:
        seat = self._idle.get()
        try:
            server = self._seated(seat)
            compiled = 0
            with Inside(tree) as inside:
                for frame in _frames(inside, files):
                    compiled += self._frame(server, inside, frame, form)
            if advance:
                advance(len(files))
            return compiled
        finally:
            self._idle.put(seat)

    def _frame(self, server: _Server, inside: Inside, frame: list[_Source], form: Form) -> int:
        first = frame[0].path
        where = f"between '{first}' and '{frame[-1].path}'" if len(frame) > 1 else f"at '{first}'"
        compiled = 0
        try:
            with server.asked(frame, form) as answers:
                lengths = answers.lengths(frame)
                for source, length in zip(frame, lengths, strict=True):
                    if length >= 0:
                        data = answers.exactly(length)
                        _check(data, form, self._magic, source.path)
                        if self._spend:
                            self._spend(length)
                        compiled += _place(inside, source.path, data, server.tag)
        except (_ServerFailed, EOFError) as error:
            raise self._failure(server, where, str(error)) from error
        return compiled

    def _seated(self, seat: _Seat) -> _Server:
        """The server of a seat, started when it has none that works."""
        with seat.guard:
            if seat.server is None or seat.server.failed:
                seat.server = self._start()
            return seat.server

    def _start(self) -> _Server:
        with self._guard:
            if self._stopped:
                raise BuildError("the build was stopped")
        try:
            confined = self._confined()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise BuildError(
                f"the bytecode compiler did not start: '{self._interpreter.program}' of the base: {reason}",
                hint="the base's Python must be one that every user may run; run 'corten doctor'",
            ) from error
        server = _Server(confined)
        with self._guard:
            self._servers.append(server)
            stopped = self._stopped
        if stopped:
            server.end()
            raise BuildError("the build was stopped")
        try:
            said = server.greeting().decode(errors="replace").split()
        except (_ServerFailed, EOFError) as error:
            raise self._failure(server, "it did not start", str(error)) from error
        version = self._interpreter.version
        if len(said) != 3:
            raise self._failure(server, "it did not start", "")
        # Free-threaded builds are of another kind, and some name their files so.
        if said[:2] != ["cpython", version] or said[2].removesuffix("t") != _cache_tag(version):
            server.end()
            raise BuildError(
                f"bytecode must be compiled by CPython {version}, and this is {said[0][:50]} {said[1][:50]}",
                hint="run 'corten lock' again",
            )
        server.tag = said[2]
        return server

    def _confined(self) -> Confined:
        """A started interpreter, confined as this machine can. Raises BuildError where it can not."""
        isolation = self._isolation
        try:
            return start(_confinement(self._interpreter, isolation, self._own))
        except NoSandbox as error:
            if isolation == "filter":
                raise
            self._without_namespaces(error)
            return start(_confinement(self._interpreter, "filter", self._own))

    def _without_namespaces(self, error: NoSandbox) -> None:
        if not self._interpreter.verified:
            raise BuildError(
                f"the Python of a base image is run only where it can be confined, and {error.message}",
                hint="allow user namespaces, or use a Debian base; 'corten doctor' says what this machine lacks",
            ) from error
        if self._interpreter.forks:
            raise BuildError(
                f"Python {self._interpreter.version} compiles each file in a process of its own, and {error.message}",
                hint="allow user namespaces, or use a base with an older Python",
            ) from error
        with self._guard:
            told, self._isolation = self._isolation == "filter", "filter"
        if not told and self._say:
            self._say(
                f"{error.message}; so Debian's Python compiles under a system-call filter alone: it cannot write, connect or "
                "start a process, but it can read files of this machine"
            )

    def _failure(self, server: _Server, where: str, reason: str) -> BuildError:
        lines = server.last_words().decode(errors="replace").strip().splitlines()
        said = f": {lines[-1][:300]}" if lines else f": {reason}" if reason else ""
        return BuildError(
            f"the bytecode compiler failed ({where}){said}",
            hint="the base's Python could not run on this machine; run 'corten doctor'",
        )


@dataclass(frozen=True, slots=True)
class _Source:
    path: str
    data: bytes


class _Seat:
    """A place for one server after the other."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.server: _Server | None = None


class _ServerFailed(Exception):
    """The server is late, gone, or says what it should not."""


class _Server:
    """A compile server: several threads may ask it, and the answers are read in the order of the questions."""

    def __init__(self, confined: Confined) -> None:
        self._confined = confined
        self.failed = False
        self.tag = ""
        stdin, stdout = confined.process.stdin, confined.process.stdout
        assert stdin is not None
        assert stdout is not None
        self._input, self._output = stdin.fileno(), stdout.fileno()
        for descriptor in (self._input, self._output):
            with suppress(OSError):  # a limit of this machine: a smaller pipe is slower
                fcntl.fcntl(descriptor, _F_SETPIPE_SZ, _PIPE)
            os.set_blocking(descriptor, False)
        self._writing = threading.Lock()
        self._turn = threading.Condition()
        self._asked = self._answered = 0
        self._buffer = bytearray()
        self._deadline = time.monotonic() + _PATIENCE

    def greeting(self) -> bytes:
        """The first line."""
        return self._line(200)

    def asked(self, frame: list[_Source], form: Form) -> _Question:
        """Ask for the pycs of `frame`; the block that follows reads the answer."""
        return _Question(self, frame, form)

    def end(self) -> None:
        """Kill it and wait until nothing of it is left."""
        self.failed = True
        self._confined.end()
        with self._turn:
            self._turn.notify_all()

    def last_words(self) -> bytes:
        """End it, and return what it has written to standard error, as far as that is read."""
        self.end()
        errors = self._confined.process.stderr
        try:
            return os.read(errors.fileno(), 1 << 16) if errors else b""
        except (OSError, ValueError):
            return b""

    def close(self) -> None:
        """End it and close its pipes: nobody may be asking any more."""
        self._confined.__exit__(None, None, None)

    # --- one question ----------------------------------------------------------------------------------------

    def send(self, frame: list[_Source], form: Form) -> int:
        """Write a frame. Returns the number of the answer."""
        paths = [f"/{source.path}".encode("utf-8", "surrogateescape") for source in frame]
        lengths = " ".join(
            f"{len(path)} {len(source.data)}" for path, source in zip(paths, frame, strict=True)
        )
        pieces = [part for path, source in zip(paths, frame, strict=True) for part in (path, source.data)]
        total = sum(map(len, pieces))
        head = f"{form[0]} {len(frame)} {total}\n{lengths}\n".encode()
        with self._writing:
            self._write(b"".join([head, *pieces]))
            self._asked += 1
            return self._asked - 1

    def await_turn(self, number: int) -> None:
        """Wait until the answers before are read."""
        with self._turn:
            while self._answered != number and not self.failed:
                self._turn.wait()
        if self.failed:
            raise _ServerFailed("it ended")
        self._deadline = time.monotonic() + _PATIENCE

    def answered(self) -> None:
        """Let the next one read."""
        with self._turn:
            self._answered += 1
            self._turn.notify_all()

    def lengths(self, frame: list[_Source]) -> list[int]:
        """The lengths of the answer's pycs. Raises _ServerFailed for what no compiler would say."""
        words = self._line(16 * len(frame) + 16).split()
        try:
            lengths = [int(word) for word in words]
        except ValueError:
            lengths = []
        if len(lengths) != len(frame):
            raise _ServerFailed("its answer has another form")
        for length, source in zip(lengths, frame, strict=True):
            most = _LARGEST_PYC + _PYC_PER_SOURCE * len(source.data)
            if length < -1 or length > most or 0 <= length <= _HEADER:
                raise _ServerFailed(f"the bytecode of '{source.path}' would have {length} bytes")
        return lengths

    def exactly(self, count: int) -> memoryview:
        """The next `count` bytes of the answer."""
        while len(self._buffer) < count:
            self._read()
        data = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return memoryview(data)

    def _line(self, most: int) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > most:
                raise _ServerFailed("its answer has another form")
            self._read()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._output, _PIPE)
            except BlockingIOError:
                self._wait(self._output, select.POLLIN, self._deadline)
                continue
            if not piece:
                raise _ServerFailed("it ended")
            self._buffer += piece
            return

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        deadline = time.monotonic() + 2 * _PATIENCE
        while left:
            try:
                left = left[os.write(self._input, left) :]
            except BlockingIOError:
                self._wait(self._input, select.POLLOUT, deadline)
            except OSError as error:
                raise _ServerFailed("it ended") from error

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise _ServerFailed(f"it did not answer within {_PATIENCE} seconds")


class _Question:
    """A question to a server: entered when it is asked and the answer's turn has come. A block that ends badly ends the server,
    whose output would be another's answer."""

    def __init__(self, server: _Server, frame: list[_Source], form: Form) -> None:
        self._server, self._frame, self._form = server, frame, form

    def __enter__(self) -> _Server:
        try:
            number = self._server.send(self._frame, self._form)
            self._server.await_turn(number)
        except BaseException:
            self._server.end()
            raise
        return self._server

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._server.answered()
        else:
            self._server.end()


def _confinement(
    interpreter: Interpreter, isolation: Literal["namespaces", "filter"], own: bool
) -> Confinement:
    """How the interpreter runs: its tree is its root, and there is nothing in it that can be written."""
    # Half-written bytecode of its own library would be read while it is made.
    apart = ["-X", "pycache_prefix=/nowhere"] if own else []
    options = ("-s", "-S", "-B", "-W", "ignore", *apart, "-c", _SCRIPT.read_text(encoding="utf-8"))
    # Frozen sets are marshalled in the order of their hashes: the seed is fixed, whoever builds.
    environment = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    if not interpreter.verified:
        # Builds that find their libraries by $ORIGIN would need /proc for that.
        prefix = os.path.dirname(os.path.dirname(interpreter.program))
        environment["LD_LIBRARY_PATH"] = f"{prefix.rstrip('/')}/lib"
    return Confinement(
        (interpreter.program, *options),
        root=os.fspath(interpreter.tree),
        environment=environment,
        limits=Limits(_MEMORY, 0, _CHILDREN if interpreter.forks else 1),
        isolation=isolation,
        unrooted=(*_on_this_machine(interpreter), *options) if isolation == "filter" else (),
    )


def _on_this_machine(interpreter: Interpreter) -> tuple[str, ...]:
    """The command that starts the interpreter from its unpacked files, with the dynamic loader and the libraries beside it."""
    host, tree = Platform.host(), os.fspath(interpreter.tree)
    with Inside(tree) as inside:
        loader = _loader(inside, host)
        if loader is None:
            raise BuildError(f"there is no dynamic loader for {host} in '{tree}'")
    folders = (f"usr/lib/{host.machine}-linux-gnu", "usr/lib", "usr/local/lib")
    libraries = ":".join(f"{tree}/{name}" for name in folders)
    return f"{tree}/{loader}", "--library-path", libraries, f"{tree}{interpreter.program}"


def _frames(inside: Inside, files: Sequence[str]) -> Iterator[list[_Source]]:
    """The sources of `files` in frames; what is not a regular file of a source's size is left out."""
    frame: list[_Source] = []
    size = 0
    for path in files:
        try:
            data = inside.read(path, LARGEST_SOURCE + 1)
        except OSError as error:
            if error.errno in _NO_FILE:
                continue
            raise
        if len(data) > LARGEST_SOURCE:
            continue
        frame.append(_Source(path, data))
        size += len(data)
        if size >= _FRAME:
            yield frame
            frame, size = [], 0
    if frame:
        yield frame


def _check(data: memoryview, form: Form, magic: int | None, path: str) -> None:
    """Raises _ServerFailed unless `data` begins as a pyc of that form does (PEP 552)."""
    number = int.from_bytes(data[:2], "little")
    if bytes(data[2:4]) != b"\r\n" or number != (number if magic is None else magic):
        raise _ServerFailed(f"the bytecode of '{path}' is another Python's")
    if int.from_bytes(data[4:8], "little") != _FLAGS[form]:
        raise _ServerFailed(f"the bytecode of '{path}' is of another form")


def _place(inside: Inside, path: str, data: memoryview, tag: str) -> bool:
    """Write a pyc beside its source. False where the tree has something else in its place."""
    folder, _, name = path.rpartition("/")
    place = f"__pycache__/{name.removesuffix('.py')}.{tag}.pyc"
    try:
        inside.write(f"{folder}/{place}" if folder else place, data, replace=True)
    except OSError as error:
        if error.errno in _NO_PLACE:
            return False
        raise
    return True


def _cache_tag(version: str) -> str:
    return "cpython-" + "".join(version.split(".")[:2])
