"""A container is started from an image of the store, in the foreground or detached. What it leaves on the disk, and who
reads that later, is `inventory.py`'s."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corten.errors import RuntimeFailure, UsageError
from corten.events import Note, Observer
from corten.runtime import attend, cgroups, launch
from corten.runtime.decide import Situation, decide, network_of
from corten.runtime.engine import complaint
from corten.runtime.identity import Identity, current_identity
from corten.runtime.inventory import is_at, lock_path, read_state, remove, sweep
from corten.runtime.names import random_name
from corten.runtime.options import RunOptions
from corten.runtime.probe import find_engine
from corten.runtime.spec import runtime_spec
from corten.store.disk import explained, write_atomically
from corten.store.images import Image
from corten.store.store import Store

if TYPE_CHECKING:
    from corten.runtime.cdi.model import Edits


class Running:
    """A container that was started here and is not waited for yet."""

    def __init__(self, name: str, pid: int, log: Path | None) -> None:
        self.name, self.log = name, log
        self._pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code as a shell gives it, or None while it runs."""
        if self._code is None:
            done, status = os.waitpid(self._pid, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                self._code = code if code >= 0 else 128 - code
        return self._code

    def signal(self, number: int) -> None:
        """Send a signal to its first process. It is no error when it has ended."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)


def run(image: Image, options: RunOptions, store: Store, observe: Observer) -> int:
    """Run in the foreground and return the exit code as a shell gives it. Raises RuntimeFailure, UsageError."""
    terminal = os.isatty(0) and os.isatty(1)
    with _made(image, options, store) as made:
        pid = made.start(store, observe, terminal=terminal)
        code = attend.wait(pid)
        made.report(code, observe)
        return made.explain(code)


def start(
    image: Image,
    options: RunOptions,
    store: Store,
    observe: Observer,
    *,
    listener: int | None = None,
    forward: int | None = None,
    output: int | None = None,
    url: str | None = None,
) -> Running:
    """Start and return. `output` takes what it prints; without it the container is detached: it lives on when this
    process ends, and prints to its log. Raises RuntimeFailure, UsageError."""
    detached = output is None
    made = _Made(image, options, store, detached=detached, url=url)
    try:
        log = made.directory / "output.log" if detached else None
        if log is not None:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        pid = made.start(store, observe, listener=listener, forward=forward, output=output, session=True)
        if log is not None and output is not None:
            os.close(output)
        return Running(made.name, pid, log)
    except BaseException:
        made.remove()
        raise
    finally:
        made.release()


class _Made:
    """A container's directory and lock, while this process has to do with them."""

    def __init__(
        self,
        image: Image,
        options: RunOptions,
        store: Store,
        *,
        detached: bool = False,
        url: str | None = None,
    ) -> None:
        self.image, self.options = image, options
        self.store = store
        self.detached = detached
        self.limits = options.limits
        with explained(store.root):
            store.containers_directory.mkdir(parents=True, exist_ok=True)
            self.name, self.directory, self._lock = self._reserve(options.name)
            for part in ("upper", "work", "rootfs", "names", "bundle", "engine"):
                (self.directory / part).mkdir(mode=0o755)
                os.chmod(self.directory / part, 0o755)
            self._state: dict[str, Any] = {
                "image": image.name,
                "id": image.id,
                "layers": list(image.config.diff_ids),
                "started": time.time(),
                "detached": detached,
                "url": url,
                "command": list(options.command or (*image.config.entrypoint, *image.config.cmd)),
                "uid": os.geteuid(),
            }
            self._write_state()

    def _reserve(self, wanted: str | None) -> tuple[str, Path, int]:
        for _ in range(50):
            name = wanted or (random_name())
            directory = self.store.containers_directory / name
            descriptor = os.open(lock_path(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not is_at(descriptor, lock_path(directory)):
                    # Whoever held it has just removed it: this lock is nobody's any more.
                    os.close(descriptor)
                    continue
                try:
                    directory.mkdir(mode=0o711)
                except FileExistsError:
                    # Nobody holds its lock: it has ended, and gives its name to the next.
                    remove(directory)
                    os.close(descriptor)
                    continue
                return name, directory, descriptor
            except BlockingIOError:
                os.close(descriptor)
                if wanted:
                    raise UsageError(
                        f"a container called '{wanted}' is running",
                        hint=f"stop it with 'corten stop {wanted}'",
                    ) from None
        raise RuntimeFailure("no free name for a container was found", hint="give one with --name")

    def _write_state(self) -> None:
        write_atomically(self.directory / "state.json", json.dumps(self._state).encode())

    def start(
        self,
        store: Store,
        observe: Observer,
        *,
        terminal: bool = False,
        listener: int | None = None,
        forward: int | None = None,
        output: int | None = None,
        session: bool = False,
    ) -> int:
        """Start the shim; returns its process ID."""
        identity = current_identity()
        if identity.kind == "single":
            _say_once(store, observe)
        engine = find_engine(store, identity)
        edits = self._vendor_edits(identity, observe)
        self.cgroup = cgroups.path_for(self.name, identity, self.limits)
        try:
            cgroups.prepare(self.name, self.limits)
        except OSError as error:
            raise RuntimeFailure(
                f"the memory limit cannot be enforced: {error.strerror}", hint="leave --memory out"
            ) from error
        layers = tuple(str(store.layers.tree(diff_id)) for diff_id in self.image.config.diff_ids)
        plan = launch.Launch(
            engine=engine,
            identity=identity,
            name=self.name,
            directory=str(self.directory),
            layers=layers,
            listener=listener,
            forward=forward,
            output=output,
            session=session,
            detached=self.detached,
            lock=self._lock,
        )
        inner = "given" if forward is not None else network_of(self.image, self.options)
        served = listener is not None and forward is None

        def prepare(root: str) -> None:
            situation = Situation(
                self.name,
                identity,
                inner,
                self.cgroup,
                self._files(inner),
                terminal,
                _terminal_size() if terminal else None,
                served,
                edits,
            )
            container = decide(self.image, self.options, situation, root)
            spec = json.dumps(runtime_spec(container)).encode()
            (self.directory / "bundle" / "config.json").write_bytes(spec)

        def ended(code: int) -> None:
            if self.detached:
                write_atomically(
                    self.directory / "state.json", json.dumps({**self._state, "exit": code}).encode()
                )

        pid = launch.start_shim(plan, prepare, ended)
        self._state["pid"] = pid
        if read_state(self.directory) and "exit" not in (read_state(self.directory) or {}):
            self._write_state()
        return pid

    def _vendor_edits(self, identity: Identity, observe: Observer) -> Edits | None:
        """What the devices that are asked for need. Raises RuntimeFailure for one that is not there."""
        options = self.options
        if options.gpus is None and not options.vendor_devices:
            return None
        from corten.runtime.cdi.wanted import wanted_edits

        return wanted_edits(options.gpus, options.vendor_devices, options.cdi_directories, identity, observe)

    def _files(self, network: str) -> tuple[tuple[str, str], ...]:
        own = self.directory / "etc"
        own.mkdir(exist_ok=True)
        hosts = f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {self.name}\n"
        texts = {"hostname": f"{self.name}\n", "hosts": hosts, "resolv.conf": ""}
        if network == "host":
            for name in ("hosts", "resolv.conf"):
                with contextlib.suppress(OSError), open(f"/etc/{name}", errors="replace") as file:
                    texts[name] = file.read(1 << 20)
        for name, text in texts.items():
            (own / name).write_text(text)
            os.chmod(own / name, 0o644)
        return tuple((str(own / name), f"/etc/{name}") for name in texts)

    def report(self, code: int, observe: Observer) -> None:
        """Say when the memory limit ended the container."""
        if self.limits.memory is not None and (self.directory / launch.RAN_OUT_OF_MEMORY).exists():
            limit = self.limits.memory >> 20
            observe(Note(f"the container was killed: it used more than its {limit} MiB of memory"))

    def explain(self, code: int) -> int:
        """The exit code, or what the engine complained about. Raises RuntimeFailure."""
        said = complaint(str(self.directory / "engine.log"))
        if said is None or code not in (1, 125, 126, 127, 255):
            return code
        raise RuntimeFailure(
            f"the engine says: {said}", hint="run 'corten doctor' to see what this machine allows"
        )

    def release(self) -> None:
        """Let go of the lock; the shim holds it on."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def remove(self) -> None:
        remove(self.directory)


def _say_once(store: Store, observe: Observer) -> None:
    """DECISIONS 26: without subordinate IDs there is one user inside, and whoever wonders has been told."""
    said = store.cache_directory("engine") / "said-single"
    if not said.exists():
        observe(
            Note(
                "this user has no subordinate IDs: inside, root without capabilities is you "
                "(as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER)"
            )
        )
        said.touch()


def _terminal_size() -> tuple[int, int]:
    size = os.get_terminal_size(1)
    return size.columns, size.lines


@contextlib.contextmanager
def _made(image: Image, options: RunOptions, store: Store) -> Iterator[_Made]:
    sweep(store)
    made = _Made(image, options, store)
    try:
        yield made
    finally:
        made.remove()
        made.release()
