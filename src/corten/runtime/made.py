"""A container's directory and lock, from its name to the start of its shim; and what its end is explained with."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from corten.errors import RuntimeFailure, UsageError
from corten.events import Note, Observer, Warned, ignore
from corten.runtime import cgroups, launch, records
from corten.runtime.bounds import machine_processes
from corten.runtime.decide import Situation, check_in_volumes, decide, is_caller, network_of, rooms_of
from corten.runtime.descriptors import NOTHING_PASSED, Passed
from corten.runtime.engine import FALLBACKS, Engine, complaint
from corten.runtime.identity import Identity, current_identity
from corten.runtime.inventory import (
    is_at,
    lock_path,
    note_exit,
    remove,
    remove_as_owner,
    take,
)
from corten.runtime.limits import Plan as LimitPlan
from corten.runtime.limits import describe, place_of, plan_limits, prepare_group
from corten.runtime.log_keeper import formers_of
from corten.runtime.monitor import Monitor
from corten.runtime.names import random_name
from corten.runtime.names_inside import name_files, put_into
from corten.runtime.options import RunOptions
from corten.runtime.probe import find_engine
from corten.runtime.processes import INSIDE
from corten.runtime.records import NEVER, Health, Kind, Record, Restart
from corten.runtime.spec import runtime_spec
from corten.store.disk import explained, private_directory, write_atomically
from corten.store.images import Image
from corten.store.store import Store
from corten.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.runtime.cdi.model import Edits
    from corten.runtime.network.preparing import Prepared

PARTS = ("upper", "work", "rootfs", "names", "bundle", "engine", "exit")
"""The directories of a container. `upper` holds what it wrote."""
IMAGE = "image.json"
"""The configuration of its image, which is to be had no more when its name stands for another one."""


@dataclass(frozen=True, slots=True)
class Life:
    """How a container lives: who watches it (`kind`, and `monitor` where that is conmon), and the fields of `Record` that
    its caller decides."""

    kind: Kind = "foreground"
    monitor: Monitor | None = None
    labels: tuple[tuple[str, str], ...] = ()
    remove: bool = False
    ends_with_stop: bool = False
    url: str | None = None
    restart: Restart = NEVER
    health: Health | None = None
    timeout: int | None = None
    terminal: bool = False
    stdin: bool = False


class Made:
    """A container's directory and lock, while this process has to do with them."""

    def __init__(
        self,
        image: Image,
        options: RunOptions,
        store: Store,
        life: Life,
        again: Record | None = None,
        observe: Observer = ignore,
        propose: Callable[[], str] = random_name,
    ) -> None:
        """Take the name and make the directory; or take those of the container `again`, which has ended. `propose` makes names
        for containers that nobody named. Raises UsageError where the name is taken, RuntimeFailure where a layer of the image is missing."""
        self.image, self.options, self.store, self.life = image, options, store, life
        self.limits, self._propose = options.limits, propose
        waiting = Note("waiting for 'corten prune' to end")
        # `prune` keeps the layers of containers that it can see: from the end of this on, of this one too.
        with (
            store.lock("store", shared=True, waiting=lambda: observe(waiting)),
            explained(store.root),
        ):
            private_directory(store.containers_directory)
            if again is None:
                self.name, self.directory, self._lock = self._reserve(options.name)
            else:
                self.name, self.directory = again.name, store.containers_directory / again.name
                self._lock = self._take_again()
            try:
                self._describe(again)
            except BaseException:
                if again is None:
                    self.remove()
                self.release()
                raise

    def _describe(self, again: Record | None) -> None:
        """Make the directory's parts, and write down what the container is."""
        image, options, life = self.image, self.options, self.life
        for part in PARTS:
            (self.directory / part).mkdir(mode=0o755, exist_ok=True)
            os.chmod(self.directory / part, 0o755)
        now = time.time()
        self.record = records.new(
            name=self.name,
            image=image.name if again is None else again.image,
            id=image.id,
            layers=tuple(image.config.diff_ids),
            created=again.created if again else now,
            started=now,
            kind=life.kind,
            uid=os.geteuid(),
            command=tuple(options.command or (*image.config.entrypoint, *image.config.cmd)),
            labels=life.labels,
            remove=life.remove,
            ends_with_stop=life.ends_with_stop,
            url=life.url,
            restarts=again.restarts if again else 0,
            restart=life.restart,
            health=life.health,
            timeout=life.timeout,
            terminal=life.terminal,
            stdin=life.stdin,
            stop_signal=options.stop_signal or image.config.stop_signal,
            stop_timeout=options.stop_timeout,
        )
        records.write(self.directory, self.record, options)
        if again is None:
            write_atomically(self.directory / IMAGE, self.store.blobs.read(image.id), 0o600)
        missing = [diff_id for diff_id in image.config.diff_ids if not self.store.layers.has(diff_id)]
        if missing:
            raise RuntimeFailure(
                f"the layer '{missing[0].short}' of '{image.name}' is not in the store",
                hint="build, pull or load the image again",
            )

    def _take_again(self) -> int:
        """The lock of a container that has ended, and its directory as it was before the start, but for what the container
        wrote. Raises UsageError where it runs."""
        descriptor = os.open(lock_path(self.directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            take(descriptor)
            if not is_at(descriptor, lock_path(self.directory)) or not self.directory.is_dir():
                # Whoever held it has just removed the container: this lock is nobody's any more.
                raise RuntimeFailure(
                    f"there is no container '{self.name}' any more",
                    hint="'corten ps --all' lists those there are",
                )
            self._put_back()
        except BlockingIOError:
            os.close(descriptor)
            raise UsageError(f"'{self.name}' is running", hint=f"corten stop {self.name}") from None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _put_back(self) -> None:
        if os.geteuid() == 0:
            cgroups.remove(cgroups.group_name(self.directory))
        for part in (
            *(part for part in PARTS if part != "upper"),
            "exit",
            INSIDE,
            launch.STARTED,
            "engine.log",
        ):
            remove_as_owner(self.directory / part)
        (self.directory / launch.RAN_OUT_OF_MEMORY).unlink(missing_ok=True)

    def _reserve(self, wanted: str | None) -> tuple[str, Path, int]:
        for _ in range(50):
            name = wanted or self._propose()
            directory = self.store.containers_directory / name
            descriptor = os.open(lock_path(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                take(descriptor)
                if not is_at(descriptor, lock_path(directory)):
                    # Whoever held it has just removed it: this lock is nobody's any more.
                    os.close(descriptor)
                    continue
                try:
                    # What a container's root writes may be set-uid, and its specification has its variables: nobody else
                    # of this machine may reach them.
                    directory.mkdir(mode=0o700)
                except FileExistsError:
                    if wanted is None:
                        # Nobody asked for this name, so whoever has it keeps it.
                        os.close(descriptor)
                        continue
                    self._check_replaceable(directory)
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
            except BaseException:
                os.close(descriptor)
                raise
        raise RuntimeFailure("no free name for a container was found", hint="give one with --name")

    def _check_replaceable(self, directory: Path) -> None:
        """A detached container that has ended keeps its name until it is removed, unless `stop` would have removed it."""
        record = records.read(directory)
        if record is not None and record.is_kept and not record.ends_with_stop:
            raise UsageError(
                f"a container called '{directory.name}' exists, and has ended",
                hint=f"remove it with 'corten rm {directory.name}', or start it with 'corten restart {directory.name}'",
            )

    def start(
        self,
        store: Store,
        observe: Observer,
        *,
        terminal: bool = False,
        size: tuple[int, int] | None = None,
        serving: Passed = NOTHING_PASSED,
        output: int | None = None,
        session: bool = False,
    ) -> int:
        """Start the shim; returns its process ID."""
        identity = current_identity()
        engine = find_engine(store, identity, self.options.engine)
        if engine.name in FALLBACKS:
            output = self._without_monitor(output)
            return self._fall_back(engine, observe, terminal, serving, output, session)
        if identity.kind == "single":
            _say_once(store, observe)
        if self.options.userns is not None or (
            self.options.user is not None and is_caller(identity, self.options.user)
        ):
            # Few ask for this, and every start would pay for it.
            from corten.runtime.keeping import kept

            identity = kept(identity, self.options)
        if (
            self.options.user is not None
            and identity.kind == "single"
            and is_caller(identity, self.options.user)
        ):
            observe(Note("this user is 0 inside, who is the same as you on this machine"))
        edits = self._vendor_edits(identity, observe)
        limited = self._limited(identity, observe)
        layers = tuple(str(store.layers.tree(diff_id)) for diff_id in self.image.config.diff_ids)
        served = serving.listener is not None and serving.forward is None
        inner = network_of(self.options)
        network = self._network(inner, identity, observe, serving)
        if network is not None:
            inner = "given"
            if not served:
                # Those are in the network's own hands.
                serving = NOTHING_PASSED
        elif serving.forward is not None and inner == "host":
            # The port is one of this machine's then.
            from corten.runtime.network.ports import free_port
            from corten.runtime.port_variables import telling_port

            port = free_port(serving.forward)
            serving = replace(serving, forward=port)
            self.options = telling_port(self.options, port, self.image)
        elif serving.forward is not None:
            inner = "given"
        shared = None
        if self.options.pid is not None or self.options.ipc is not None:
            # Few ask for this, and every start would pay for it.
            from corten.runtime import sharing

            shared = sharing.choose(self.options, store, identity)
        plan = launch.Launch(
            engine=engine,
            identity=identity,
            name=self.name,
            directory=str(self.directory),
            layers=layers,
            listener=serving.listener,
            forward=serving.forward,
            notify=serving.notify,
            ready=serving.ready,
            drains=serving.drains,
            output=output,
            session=session,
            detached=self.life.kind != "foreground",
            lock=self._lock,
            monitor=self.life.monitor,
            storage=self.options.storage,
            scope=limited.scope,
            wiring=network.wiring if network else None,
            open=inner == "host",
            shared=shared,
            formers=formers_of(self.options.log_files),
        )

        def prepare(root: str) -> None:
            files = self._files(inner, network.resolvers if network else "")
            if self.options.read_write:
                files = put_into(root, files)
            situation = Situation(
                self.name,
                identity,
                inner,
                place_of(limited, cgroups.group_name(self.directory)),
                files,
                terminal,
                size,
                served,
                edits,
                notifies=serving.notify is not None,
                processes=limited.processes,
            )
            if shared is not None:
                situation = sharing.situated(situation, shared, str(self.directory))
            container = decide(self.image, replace(self.options, limits=limited.limits), situation, root)
            rooms = rooms_of(self.image.config, self.options)
            if self.options.every_volume or rooms or self.options.rooms:
                # Few containers have some, and every start would pay for this.
                from corten.runtime.volumes import with_volumes

                container = with_volumes(
                    container,
                    self.options.every_volume,
                    rooms,
                    self.store,
                    self.options.rooms,
                )
                check_in_volumes(container)
            if self.options.secrets or self.options.project_secrets:
                # Few containers have some, and every start would pay for this.
                from corten.runtime.secret_files import secret_files

                owner = identity.shim_ids(container.user.uid, container.user.gid)
                shown = secret_files(self.directory, self.options, owner)
                container = replace(container, files=(*container.files, *shown))
            spec = json.dumps(runtime_spec(container)).encode()
            # It has the container's variables.
            write_atomically(self.directory / "bundle" / "config.json", spec, 0o600)

        try:
            return launch.start_shim(plan, prepare, self._ended)
        finally:
            if network is not None:
                for descriptor in network.wiring.descriptors:
                    os.close(descriptor)

    def _without_monitor(self, output: int | None) -> int | None:
        """Where no OCI engine works, conmon has nothing to call: a detached container has the shim for its monitor. Returns
        the descriptor for its output. Raises RuntimeFailure where that cannot give what was asked for."""
        if self.life.monitor is None:
            return output
        if self.life.terminal or self.life.stdin or self.life.timeout is not None:
            raise RuntimeFailure(
                "a detached container has no terminal, standard input or --timeout without an OCI engine",
                hint="leave -i, -t and --timeout out, or install crun or runc",
            )
        self.life = replace(self.life, kind="shim", monitor=None)
        self.record = replace(self.record, kind="shim")
        records.write(self.directory, self.record, self.options)
        log = self.directory / "output.log"
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _fall_back(
        self,
        engine: Engine,
        observe: Observer,
        terminal: bool,
        serving: Passed,
        output: int | None,
        session: bool,
    ) -> int:
        """The same under bubblewrap or PRoot."""
        # Where an OCI engine works, nothing of this is needed.
        from corten.runtime.fallback.begin import begin
        from corten.runtime.fallback.shim import Watched

        watched = Watched(
            engine,
            str(self.directory),
            serving.listener,
            serving.forward,
            output,
            session,
            detached=self.life.kind != "foreground",
            kept=(self._lock,),
            notify=serving.notify,
            ready=serving.ready,
            drains=serving.drains,
        )

        return begin(
            self.image,
            self.options,
            self.store,
            observe,
            watched,
            name=self.name,
            files=self._files,
            terminal=terminal,
            ended=self._ended,
        )

    def _ended(self, code: int) -> None:
        """What the shim does last: the exit code is written down, or nothing is kept."""
        if self.record.is_kept:
            note_exit(self.directory, code)
        elif self.life.kind != "foreground":
            # conmon would have done it.
            from corten.runtime.leave import leave

            leave(self.directory)

    def _limited(self, identity: Identity, observe: Observer) -> LimitPlan:
        """How its limits are enforced, with the group above its own made. Raises RuntimeFailure where one cannot be."""
        machine = describe(identity)
        options = self.options
        plan = plan_limits(
            machine,
            identity,
            cgroups.group_name(self.directory),
            options.limits,
            options.best_effort,
            machine_processes(),
        )
        if plan.dropped:
            observe(Warned(f"not enforced here: {', '.join(plan.dropped)} ({plan.reason})", plan.hint))
        if plan.unbounded:
            observe(Note(f"the number of processes is not limited: {plan.unbounded}", verbose=True))
        self.limits = plan.limits
        if plan.scope is None:
            prepare_group(cgroups.group_name(self.directory), plan.limits)
        return plan

    def _vendor_edits(self, identity: Identity, observe: Observer) -> Edits | None:
        """What the devices that are asked for need. Raises RuntimeFailure for one that is not there."""
        options = self.options
        if options.gpus is None and not options.vendor_devices:
            return None
        from corten.runtime.cdi.wanted import wanted_edits

        return wanted_edits(options.gpus, options.vendor_devices, options.cdi_directories, identity, observe)

    def _network(
        self, network: str, identity: Identity, observe: Observer, serving: Passed
    ) -> Prepared | None:
        """A network that the shim makes; None for those that the engine makes, or nobody. Its ports are written down."""
        if network in ("none", "host"):
            return None
        # Every start would pay for this.
        from corten.runtime.network.preparing import prepare

        prepared = prepare(network, self.options.ports, self.store, identity, observe, serving)
        if prepared.ports:
            self.record = replace(self.record, ports=tuple(str(port) for port in prepared.ports))
            records.write(self.directory, self.record, self.options)
        return prepared

    def _files(self, network: str, resolvers: str = "") -> tuple[tuple[str, str], ...]:
        own = self.directory / "etc"
        own.mkdir(mode=0o755, exist_ok=True)
        texts = name_files(self.name, network, self.options, resolvers)
        for name, text in texts.items():
            (own / name).write_text(text, encoding="utf-8")
            os.chmod(own / name, 0o644)
        return tuple((str(own / name), f"/etc/{name}") for name in texts)

    def report(self, code: int, observe: Observer) -> None:
        """Say when the memory limit ended the container."""
        if self.limits.memory is not None and (self.directory / launch.RAN_OUT_OF_MEMORY).exists():
            limit = self.limits.memory >> 20
            what = "the container" if code == 137 else "a process of the container"
            observe(Note(f"{what} was killed: it used more than its {limit} MiB of memory"))

    def explain(self, code: int) -> int:
        """The exit code, or what the engine complained about. Raises RuntimeFailure."""
        said = complaint(str(self.directory / "engine.log"))
        if said is None or code not in (1, 125, 126, 127, 255):
            return code
        if "xec format error" in said:
            raise launch.NotExecutable(
                f"the engine says: {said}", hint="it is no program for this machine, or a script without #!"
            )
        if 'exec: "' in said or "executable" in said:
            # One in a folder that is mounted, which nobody could look at before.
            program = self.record.command[0] if self.record.command else ""
            if "ermission denied" in said:
                raise launch.NotExecutable(
                    f"'{program}' in the container is not an executable file",
                    hint="run it with its interpreter",
                )
            if "not found" in said or "o such file" in said:
                raise launch.NotFound(
                    f"the container has no program '{program}'", hint="give its path, or check its name"
                )
        hint = "run 'corten doctor' to see what this machine allows"
        if self.options.ulimits:
            hint = "the engine starts under the limits of --ulimit itself: raise them, or leave them out"
        raise RuntimeFailure(f"the engine says: {said}", hint=hint)

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
        said.touch(0o600)
