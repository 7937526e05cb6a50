"""A container is started from an image of the store: in the foreground, or detached under a monitor. What it leaves on the disk,
and who reads that later, is `inventory.py`'s."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from corten.errors import CortenError, RuntimeFailure, UsageError
from corten.events import Note, Observer
from corten.oci.config import ImageConfig
from corten.oci.digest import Digest
from corten.runtime import attend, records
from corten.runtime.decide import network_of
from corten.runtime.descriptors import Passed
from corten.runtime.emulation import check_platform
from corten.runtime.engine import FALLBACKS
from corten.runtime.identity import current_identity, find_program
from corten.runtime.inventory import SERVICE, STOPPED, find, sweep
from corten.runtime.log_keeper import formers_of
from corten.runtime.made import IMAGE, Life, Made
from corten.runtime.monitor import Monitor
from corten.runtime.options import RunOptions
from corten.runtime.probe import find_engine
from corten.runtime.records import Record
from corten.runtime.supervisor import needs_supervisor, start_supervisor
from corten.runtime.terminals import guarded_terminal, terminal_size
from corten.store.images import Image
from corten.store.store import Store
from corten.values import replace

if TYPE_CHECKING:
    from corten.runtime.last_lines import LastLines


class Running:
    """A container that was started here and is not waited for yet."""

    def __init__(self, name: str, pid: int, forwarded: bool = False) -> None:
        self.name, self.forwarded = name, forwarded
        self._pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code as a shell gives it, or None while it runs."""
        if self._code is None:
            done, status = os.waitpid(self._pid, os.WNOHANG)
            if done:
                self._code = attend.shell_code(status)
        return self._code

    def signal(self, number: int) -> None:
        """Send a signal to its first process. It is no error when it has ended."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)


def run(
    image: Image,
    options: RunOptions,
    store: Store,
    observe: Observer,
    life: Life | None = None,
    last: LastLines | None = None,
) -> int:
    """Run in the foreground and return the exit code as a shell gives it. `life.terminal` demands a terminal, which there is
    anyway where standard input and output are one; `life.timeout` ends it. Without a terminal, `last` keeps the end of what it prints to
    standard error. Raises RuntimeFailure, UsageError."""
    life = life or Life()
    terminal = os.isatty(0) and os.isatty(1)
    if life.terminal and not terminal:
        raise UsageError("standard input and output are no terminal", hint="leave -t out")
    with _made(image, options, store, replace(life, kind="foreground", monitor=None), observe) as made:
        late: list[bool] = []
        with guarded_terminal(terminal):
            with last.replacing() if last is not None and not terminal else contextlib.nullcontext():
                pid = made.start(
                    store, observe, terminal=terminal, size=terminal_size() if terminal else None
                )
            code = attend.wait(pid, life.timeout, lambda: late.append(True))
        if late:
            observe(Note(f"the container was ended: it ran longer than {life.timeout:g} s (--timeout)"))
        made.report(code, observe)
        return made.explain(code)


def start(
    image: Image,
    options: RunOptions,
    store: Store,
    observe: Observer,
    *,
    serving: Passed,
    output: int,
    log: Path | None = None,
    url: str | None = None,
    service: str | None = None,
) -> Running:
    """Start for serving and return. `output` takes what it prints. With `log`, the file that `output` leads to, the container is detached: it lives on when this process ends, and is
    removed by `stop`. `service` is what it belongs to. Raises RuntimeFailure, UsageError."""
    check_platform(image.config.platform)
    if serving.listener is not None and serving.forward is None:
        # Whoever runs a command has no socket to serve on, and every start would pay for this.
        from corten.runtime.passed_socket import forwarded, let_only_accept

        if not let_only_accept(serving.listener) and not _has_network_of_machine(options, store):
            _say_forwarded(store, observe)
            serving, variables = forwarded(serving, (*image.config.env, *map("=".join, options.environment)))
            options = replace(options, environment=(*options.environment, *variables))
    detached = log is not None
    made = Made(
        image,
        options,
        store,
        Life(
            kind="shim" if detached else "foreground",
            ends_with_stop=detached,
            url=url,
            labels=((SERVICE, service),) if service else (),
        ),
        observe=observe,
    )
    try:
        if log is not None:
            (made.directory / "output.log").symlink_to(log)
        pid = made.start(store, observe, serving=serving, output=output, session=True)
        return Running(made.name, pid, serving.forward is not None)
    except BaseException:
        _undo(made, store)
        raise
    finally:
        made.release()


def _has_network_of_machine(options: RunOptions, store: Store) -> bool:
    """Whether the container reaches this machine's network anyway, so that no socket gives it more."""
    engine = find_engine(store, current_identity(), options.engine)
    return engine.name == "proot" or network_of(options) == "host"


def _say_forwarded(store: Store, observe: Observer) -> None:
    """What it costs is told once."""
    said = store.cache_directory("engine") / f"said-socket-{os.geteuid()}"
    if not said.exists():
        observe(
            Note(
                "this kernel lets only root confine a listening socket, so the container gets none: requests go through Corten's "
                "forwarder, which takes some processor time for each"
            )
        )
        said.touch()


def detach(image: Image, options: RunOptions, store: Store, observe: Observer, life: Life) -> str:
    """Start a container that lives on by itself, and return its name. Raises RuntimeFailure, UsageError."""
    check_platform(image.config.platform)
    sweep(store)
    made = Made(image, options, store, _watched(life, options, store, observe), observe=observe)
    try:
        _start_detached(made, store, observe)
        if needs_supervisor(made.record):
            start_supervisor(store, made.directory)
        return made.name
    except BaseException:
        _undo(made, store)
        raise
    finally:
        made.release()


def _undo(made: Made, store: Store) -> None:
    """End and remove what was begun. It may live already: Ctrl-C comes at any moment, and a detached shim goes on."""
    from corten.runtime.control import remove

    made.release()
    remove(store, made.name, force=True)


def start_again(store: Store, name: str, observe: Observer, *, supervised: bool = False) -> None:
    """Start a detached container that has ended, with its options and what it wrote. Its supervisor does so only while nobody
    has asked it to end. Raises RuntimeFailure, UsageError."""
    record = check_startable(store, name)
    directory = find(store, name)
    options = records.read_options(directory)
    image = _image_of(store, directory, record)
    life = Life(
        labels=record.labels,
        remove=record.remove,
        restart=record.restart,
        health=record.health,
        timeout=record.timeout,
        terminal=record.terminal,
        stdin=record.stdin,
    )
    restarts = record.restarts + 1 if supervised else 0
    made = Made(
        image,
        options,
        store,
        _watched(life, options, store, observe),
        again=replace(record, restarts=restarts),
        observe=observe,
    )
    try:
        if supervised and (directory / STOPPED).exists():
            return
        (directory / STOPPED).unlink(missing_ok=True)
        _start_detached(made, store, observe)
        if not supervised and needs_supervisor(made.record):
            start_supervisor(store, directory)
    finally:
        made.release()


def _image_of(store: Store, directory: Path, record: Record) -> Image:
    """The image that a container was started from, whatever its name stands for now. Raises RuntimeFailure, FormatError."""
    try:
        # One that an earlier version started has no file of its own.
        file = directory / IMAGE
        data = file.read_bytes() if file.exists() else store.blobs.read(Digest.parse(record.id))
    except (OSError, CortenError) as error:
        raise RuntimeFailure(
            f"'{directory.name}' cannot be started again: what its image was is not to be read",
            hint="remove it with 'corten rm', and run it again",
        ) from error
    found = Digest.of(data)
    if found != record.id:
        raise RuntimeFailure(
            f"'{directory.name}' cannot be started again: its files were changed",
            hint="remove it with 'corten rm', and run it again",
        )
    return Image(record.image, found, found, ImageConfig.decode(data), 0, record.created)


def check_startable(store: Store, name: str) -> Record:
    """The record of a container that can be started again when it has ended. Raises RuntimeFailure, UsageError."""
    record = records.read(find(store, name))
    if record is None or not record.is_kept or record.ends_with_stop:
        hint = "only what 'corten run -d' started can; run it anew"
        if record is not None and SERVICE in dict(record.labels):
            hint = f"'corten kill {name}' has its service start it anew, 'corten up --update' with what has changed"
        raise UsageError(f"'{name}' cannot be started again", hint=hint)
    return record


def _watched(life: Life, options: RunOptions, store: Store, observe: Observer) -> Life:
    """`life` with conmon as the monitor, or with Corten's own shim where there is none or no OCI engine."""
    engine = find_engine(store, current_identity(), options.engine)
    if engine.name in FALLBACKS:
        asked = {
            "-t": life.terminal,
            "-i": life.stdin,
            "--timeout": life.timeout,
            "--health-cmd": life.health,
        }
        for flag, value in asked.items():
            if value:
                raise RuntimeFailure(
                    f"'{engine.name}' cannot honour {flag} for a detached container",
                    hint="leave it out, or run it in the foreground",
                )
        if options.log_files is not None:
            observe(Note("--log-opt max-file has no effect without an OCI engine: there is one log"))
        return _by_shim(life, options, observe)
    if options.pid is not None:
        return _guarded(life, options, observe)
    path = find_program("conmon")
    if path is None:
        if life.terminal or life.stdin:
            raise RuntimeFailure(
                "a detached container has a terminal or standard input only under conmon",
                hint="install it (apt install conmon), or leave -i and -t out",
            )
        if life.timeout is not None:
            raise RuntimeFailure("--timeout of a detached container needs conmon", hint="apt install conmon")
        observe(Note("conmon is not installed: each detached container takes some 15 MB for its monitor"))
        return _by_shim(life, options, observe)
    monitor = Monitor(
        path,
        life.terminal,
        life.stdin,
        life.timeout,
        life.remove,
        options.log_size,
        formers_of(options.log_files),
        options.log,
    )
    return replace(life, kind="conmon", monitor=monitor)


def _guarded(life: Life, options: RunOptions, observe: Observer) -> Life:
    """For a container that shares process numbers: when conmon is killed, nobody would end it."""
    asked = {"-t": life.terminal, "-i": life.stdin, "--timeout": life.timeout}
    for flag, value in asked.items():
        if value:
            raise RuntimeFailure(
                f"a detached container with --pid {options.pid} cannot have {flag}: conmon does that, and when conmon is killed, "
                "nothing would end a container that shares process numbers",
                hint="leave it out, or run it in the foreground",
            )
    return _by_shim(life, options, observe)


def _by_shim(life: Life, options: RunOptions, observe: Observer) -> Life:
    if options.log_size is not None:
        observe(Note("--log-opt max-size has no effect without conmon: a log begins anew at 10 MB"))
    return replace(life, kind="shim", monitor=None)


def _start_detached(made: Made, store: Store, observe: Observer) -> None:
    output = None
    if made.life.monitor is None:
        log = made.directory / "output.log"
        if not made.options.log and not log.is_symlink():
            log.symlink_to(os.devnull)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        pid = made.start(store, observe, terminal=made.life.terminal, output=output, session=True)
    finally:
        if output is not None:
            os.close(output)
    if made.life.monitor is not None:
        os.waitpid(pid, 0)


@contextlib.contextmanager
def _made(image: Image, options: RunOptions, store: Store, life: Life, observe: Observer) -> Iterator[Made]:
    check_platform(image.config.platform)
    sweep(store)
    made = Made(image, options, store, life, observe=observe)
    try:
        yield made
    finally:
        made.remove()
        made.release()
