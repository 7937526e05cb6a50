"""A container is started from an image of the store, in the foreground or detached. What it leaves on the disk, and who
reads that later, is `inventory.py`'s."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corten.errors import RuntimeFailure, UsageError
from corten.events import Note, Observer
from corten.runtime import cgroups, kernel, launch
from corten.runtime.engine import Engine, complaint
from corten.runtime.identity import Identity, check_ids, current_identity
from corten.runtime.inventory import is_at, lock_path, read_state, remove, sweep
from corten.runtime.options import RunOptions
from corten.runtime.probe import find_engine
from corten.runtime.rootfs import Root
from corten.runtime.seccomp import default_profile, oci_seccomp
from corten.runtime.spec import ROOT_CAPABILITIES, Container, runtime_spec
from corten.runtime.users import User, resolve_user
from corten.store.disk import explained, write_atomically
from corten.store.images import Image
from corten.store.store import Store

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NETWORK_LABEL = "dev.corten.network"
_ENTRY_LABEL = "dev.corten.entry"
_ADJECTIVES = (
    "amber",
    "brisk",
    "calm",
    "deft",
    "eager",
    "fair",
    "glad",
    "hale",
    "keen",
    "mild",
    "neat",
    "swift",
)
_NOUNS = ("alder", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "yew")


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
        code = launch.wait(pid)
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
            name = wanted or (_random_name())
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
        inner = "given" if forward is not None else self.network()
        served = listener is not None and forward is None

        def prepare(root: str) -> None:
            container = self._decide(root, identity, engine, inner, terminal, served)
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

    def network(self) -> str:
        """`none` or `host`: what was asked for, else what the image says. Raises UsageError."""
        asked = self.options.network
        network = asked or self.image.config.labels.get(_NETWORK_LABEL, "none")
        if network == "private":
            raise UsageError(
                "a private network is not there yet", hint="use --network none or --network host"
            )
        if network not in ("none", "host"):
            raise UsageError(f"unknown network '{network[:40]}'", hint="use none or host")
        return network

    def _decide(
        self, root: str, identity: Identity, engine: Engine, network: str, terminal: bool, served: bool
    ) -> Container:
        config, options = self.image.config, self.options
        inside = Root(root)
        user, capable = self._user(inside, identity)
        check_ids(identity, user.uid, user.gid)
        environment = dict(item.split("=", 1) for item in config.env if "=" in item)
        environment.setdefault("PATH", _SYSTEM_PATH)
        environment.setdefault("HOME", user.home or "/")
        if terminal:
            environment.setdefault("TERM", os.environ.get("TERM", "xterm"))
        environment |= dict(options.environment)
        if served:
            environment |= {"LISTEN_FDS": "1"}
        # getpass.getuser() fails for an ID without a passwd entry unless this is set (torch calls it).
        environment.setdefault("USER", user.name or f"user{user.uid}")
        arguments = self._arguments(inside, environment["PATH"])
        home = _writable_home(inside, environment["HOME"])
        capabilities = ROOT_CAPABILITIES if capable and user.uid == 0 else ()
        return Container(
            root=root,
            hostname=self.name,
            arguments=arguments,
            environment=tuple(environment.items()),
            workdir=options.workdir or config.workdir or "/",
            user=user,
            capable=capable,
            home=home,
            home_is_kept=home is not None
            and inside.status(home) is not None
            and not inside.is_empty_directory(home),
            identity=identity,
            network=network,
            volumes=options.volumes,
            files=self._files(network),
            limits=self.limits,
            read_write=options.read_write,
            terminal=terminal,
            size=_terminal_size() if terminal else None,
            cgroup=self.cgroup,
            kernel=kernel.version(),
            seccomp=oci_seccomp(
                default_profile(), config.platform.architecture, capabilities, kernel.version()
            ),
        )

    def _user(self, inside: Root, identity: Identity) -> tuple[User, bool]:
        """The user of the first process, and whether root inside may have capabilities (DECISIONS 26, 28)."""
        writable = [volume for volume in self.options.volumes if volume.writable]
        if identity.kind == "single":
            if self.options.user not in (None, "0", "0:0", "root"):
                raise RuntimeFailure(
                    f"the user '{self.options.user}' does not exist inside: this user has no subordinate IDs",
                    hint="leave -u out, or as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
                )
            return User(0, 0), False
        if self.options.user is None and writable:
            if identity.kind == "range":
                return User(0, 0), False
            status = os.stat(writable[0].source)
            return User(status.st_uid, status.st_gid), False
        text = self.options.user if self.options.user is not None else self.image.config.user
        return resolve_user(text, inside.read("/etc/passwd"), inside.read("/etc/group")), True

    def _arguments(self, inside: Root, path: str) -> tuple[str, ...]:
        config, options = self.image.config, self.options
        if options.entrypoint is not None:
            arguments = (*options.entrypoint, *options.command)
        elif (
            options.command and _ENTRY_LABEL in config.labels and options.command[0] not in ("serve", "train")
        ):
            # The launcher of our own images would only execute it.
            arguments = options.command
        else:
            arguments = (*config.entrypoint, *(options.command or config.cmd))
        if not arguments:
            raise UsageError(
                f"'{self.image.name}' has no command", hint="give one: corten run IMAGE -- COMMAND"
            )
        program = arguments[0]
        workdir = options.workdir or config.workdir or "/"
        places = (
            [f"{workdir}/{program}"]
            if "/" in program
            else [f"{place}/{program}" for place in path.split(":")]
        )
        if program.startswith("/"):
            places = [program]
        targets = tuple(volume.target + "/" for volume in options.volumes)
        if any((os.path.normpath(place) + "/").startswith(targets) for place in places):
            # It may be in a folder that is mounted only later: the engine will say.
            return arguments
        found = [status for place in places if (status := inside.status(place)) is not None]
        if not found:
            raise launch.NotFound(
                f"the image has no program '{program}'",
                hint="'corten run IMAGE -- ls /opt/venv/bin' lists scripts",
            )
        if not any(stat.S_ISREG(status.st_mode) and status.st_mode & 0o111 for status in found):
            raise launch.NotExecutable(
                f"'{program}' in the image is not an executable file",
                hint="run it with its interpreter: -- python FILE",
            )
        return arguments

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


def _writable_home(inside: Root, home: str) -> str | None:
    """Where $HOME lies, if it is a place of its own that can be made writable by itself: the machine's kernel must find the
    same place there as the container's, so no part of it may be a link."""
    home = os.path.normpath(home)
    taken = ("/tmp", "/run", "/proc", "/sys", "/dev")
    if not home.startswith("/") or home.strip("/") == "" or "\x00" in home:
        return None
    home = "/" + home.lstrip("/")
    if any(home == place or home.startswith(place + "/") for place in taken) or not inside.is_plain(home):
        return None
    return home


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


def _random_name() -> str:
    """A name that people can say. The random module would cost every start its import."""
    first, second, *rest = os.urandom(4)
    number = int.from_bytes(rest) % 1000
    return f"{_ADJECTIVES[first % len(_ADJECTIVES)]}-{_NOUNS[second % len(_NOUNS)]}-{number:03d}"


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
