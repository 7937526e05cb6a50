"""Makes the package layers that a store lacks, each once, also when several builds want it at the same time.

Everything runs in threads: inflating, hashing and writing leave Python's lock, and bytecode is compiled by processes of
its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from corten.build import make
from corten.build.bytecode import Compiler, Interpreter, interpreter_in, standalone_in
from corten.build.interpreters import Interpreters
from corten.build.known import Known
from corten.build.plan import (
    BaseLayer,
    BucketLayer,
    ConfiguredLayer,
    EnvironmentLayer,
    FolderLayer,
    PackageLayer,
    PythonLayer,
    ServingLayer,
    SystemLayer,
    WheelLayer,
)
from corten.errors import BuildError, CortenError
from corten.events import Note, Observer, Phase, TaskAdvanced, TaskFinished, TaskStarted
from corten.oci.digest import Digest
from corten.packages.files import Deb, PythonArchive, Wheel
from corten.store.disk import explained
from corten.store.locks import Busy
from corten.store.store import Store

# Locks that layer keys share: a build waits only for one that makes the same layer, give or take one in 256.
_STRIPES = 256
# Seconds between two looks whether another build has finished the layer.
_POLL = 0.05


class Workshop:
    """Makes layers for one platform of a lock, whose bytecode `interpreters` compile; `beside` does it for Debian's own Python, where
    the project has another one. `made` holds the keys of those that were not
    there before."""

    def __init__(
        self,
        store: Store,
        known: Known,
        interpreters: Interpreters,
        supply: make.Supply,
        observe: Observer,
        *,
        jobs: int,
        server: Sequence[tuple[str, Path]] = (),
        beside: Interpreters | None = None,
    ) -> None:
        self._store, self._known, self._interpreters = store, known, interpreters
        self._supply, self._observe, self._jobs = supply, observe, jobs
        self._server = server
        self._guard = threading.Lock()
        self._files: dict[str, Path] = {}
        self._compiler: Compiler | None = None
        self._debian = beside
        self._debian_compiler: Compiler | None = None
        self._base_compiler: Compiler | None = None
        self._stopped = threading.Event()
        self._told: set[str] = set()
        self.made: set[str] = set()

    def ensure(self, plan: Sequence[PackageLayer]) -> dict[str, Digest]:
        """The diff IDs of the layers in `plan` by key; the missing ones are made. Files are fetched for those only.
        Raises FetchError, BuildError, FormatError, StoreError."""
        known = {layer.key: self._known.find(layer.key) for layer in plan}
        missing = [layer for layer in plan if known[layer.key] is None]
        if missing:
            for layer in missing:
                if isinstance(layer, ConfiguredLayer) and layer.mode != "files":
                    from corten.build.configuring import identity_for

                    identity_for(layer)  # what this user cannot do is said before anything is made
            self._store.sweep()
            self._fetch(missing)
            try:
                self._make_all(missing)
            finally:
                self.close()
        return {layer.key: known[layer.key] or self._expect(layer) for layer in plan}

    def stop(self) -> None:
        """Let what is under way in other threads fail soon: a build that failed or was interrupted wants to end."""
        self._stopped.set()
        for compiler in (self._compiler, self._debian_compiler, self._base_compiler):
            if compiler:
                compiler.stop()

    def close(self) -> None:
        """End the compile servers."""
        for compiler in (self._compiler, self._debian_compiler):
            if compiler:
                compiler.__exit__(None, None, None)
        self._compiler = self._debian_compiler = None

    def _expect(self, layer: PackageLayer) -> Digest:
        found = self._known.find(layer.key)
        if found is None:
            raise BuildError(f"the layer '{layer.title}' vanished while it was used", hint="build again")
        return found

    # Files.

    def _fetch(self, missing: Sequence[PackageLayer]) -> None:
        debs: dict[str, Deb] = {}
        wheels: dict[str, Wheel] = {}
        archives: list[PythonArchive] = []
        for layer in missing:
            match layer:
                case BaseLayer():
                    debs |= {deb.sha256: deb for deb in layer.base.debs}
                case SystemLayer():
                    debs |= {deb.sha256: deb for deb in layer.debs}
                case PythonLayer():
                    archives.append(layer.archive)
                case ConfiguredLayer():
                    debs |= {deb.sha256: deb for deb in (*layer.system.debs, *layer.tools)}
                case WheelLayer():
                    wheels[layer.wheel.sha256] = layer.wheel
                case ServingLayer():
                    wheels |= {inner.wheel.sha256: inner.wheel for inner in layer.wheels}
                case BucketLayer():
                    wheels |= {inner.wheel.sha256: inner.wheel for inner in self._lacking(layer)}
        if debs:
            self._files |= self._supply.debs(list(debs.values()))
        if archives:
            self._files |= self._supply.pythons(archives)
        if wheels:
            self._files |= self._supply.wheels(list(wheels.values()))

    def _lacking(self, bucket: BucketLayer) -> list[WheelLayer]:
        return [inner for inner in bucket.wheels if self._known.find(inner.key) is None]

    # Layers. Their order matters only in that the base has the compiler and buckets are made of finished wheels.

    def _make_all(self, missing: Sequence[PackageLayer]) -> None:
        for layer in missing:
            if isinstance(layer, BaseLayer):
                self._base(layer)
        for layer in missing:
            if isinstance(layer, PythonLayer):
                self._python(layer)
        jobs: list[_Work] = []
        wheels: dict[str, WheelLayer] = {}
        for layer in missing:
            match layer:
                case SystemLayer():
                    jobs.append((layer, partial(self._system, layer)))
                case FolderLayer():
                    jobs.append((layer, partial(make.make_folder, layer)))
                case EnvironmentLayer():
                    jobs.append((layer, partial(make.make_environment, layer)))
                case ServingLayer():
                    jobs.append((layer, partial(self._serving, layer)))
                case WheelLayer():
                    wheels[layer.key] = layer
                case BucketLayer():
                    wheels |= {inner.key: inner for inner in self._lacking(layer)}
        # The largest first: its compilation is what everything else fits beside.
        ordered = sorted(wheels.values(), key=lambda layer: -layer.wheel.size)
        self._in_turns([*((layer, partial(self._wheel, layer)) for layer in ordered), *jobs])
        for layer in missing:
            if isinstance(layer, BucketLayer):
                self._bucket(layer)
            elif isinstance(layer, ConfiguredLayer):
                self._configured(layer)

    def _in_turns(self, work: Sequence[_Work]) -> None:
        """Make the trees of these layers, end the compile servers, and only then hash what they had a part in: nothing of a
        sandbox is left that could know of a layer which has a name. What another build is making waits for the next turn, so
        nobody waits for a lock who holds others."""
        waiting = list(work)
        while waiting:
            with ExitStack() as stack:
                turn = _Turn(stack)
                try:
                    _run_all(
                        [partial(self._place, turn, layer, fill) for layer, fill in waiting],
                        self._jobs + 1,
                        self.stop,
                    )
                except Exception:
                    # The layers that are complete need not be made again.
                    self.close()
                    with suppress(CortenError, OSError):
                        for layer, directory in turn.made:
                            self._store.layers.commit(directory, layer.key)
                    raise
                self.close()
                _run_all([partial(self._commit, *made) for made in turn.made], self._jobs, self.stop)
            waiting = turn.busy
            if waiting and not turn.made:
                self._stopped.wait(_POLL)
            self._check(0)

    def _place(self, turn: _Turn, layer: PackageLayer, fill: Callable[[Path], None]) -> None:
        """Make the tree of a layer, unless somebody has it or makes it."""
        self._check(0)
        with explained(self._store.root):
            if not turn.holds(self._store, _stripe(layer)):
                if layer.key not in self._told:
                    self._told.add(layer.key)
                    self._observe(Note(f"waiting for another build that makes '{layer.title}'", verbose=True))
                turn.busy.append((layer, fill))
                return
            if self._store.layers.find(layer.key) is not None:
                return
            self._observe(TaskStarted("install", layer.title, None))
            self._store.headroom.need()
            directory = turn.enter(self.directory())
            fill(_fresh(directory))
            turn.made.append((layer, directory))
            self._observe(TaskFinished("install", layer.title))

    def _commit(self, layer: PackageLayer, directory: Path) -> None:
        with explained(self._store.root):
            self._store.layers.commit(directory, layer.key, self._check)
        self.made.add(layer.key)

    @contextmanager
    def _making(
        self, layer: PackageLayer, phase: Phase = "install", total: int | None = None
    ) -> Iterator[Path | None]:
        """A temporary tree that becomes the layer when the block ends well; None when somebody has made it by now."""
        with explained(self._store.root), self._alone(layer):
            if self._store.layers.find(layer.key) is not None:
                yield None
                return
            self._store.headroom.need()
            self._observe(TaskStarted(phase, layer.title, total))
            with self.directory() as directory:
                yield _fresh(directory)
                self._store.layers.commit(directory, layer.key, self._check)
            self.made.add(layer.key)
            self._observe(TaskFinished(phase, layer.title))

    @contextmanager
    def _alone(self, layer: PackageLayer) -> Iterator[None]:
        """Hold the lock that builds share which make this layer. A thread that waits for it can be stopped."""
        stripe = _stripe(layer)
        told = False
        while True:
            self._check(0)
            with ExitStack() as stack:
                try:
                    stack.enter_context(self._store.lock(stripe, blocking=False))
                except Busy:
                    if not told:
                        self._observe(
                            Note(f"waiting for another build that makes '{layer.title}'", verbose=True)
                        )
                    told = True
                    self._stopped.wait(_POLL)
                    continue
                yield
                return

    def _check(self, amount: int) -> None:
        if self._stopped.is_set():
            raise BuildError("the build was stopped")

    def _advance(self, layer: PackageLayer) -> Callable[[int], None]:
        def advance(amount: int) -> None:
            self._check(amount)
            self._store.headroom.spend(amount)
            self._observe(TaskAdvanced("install", layer.title, amount))

        return advance

    def _base(self, layer: BaseLayer) -> None:
        with self._making(layer) as tree:
            if tree is None:
                return
            make.make_base(layer, self._files, tree, self._store.headroom.spend)
            if not layer.base.python:
                return
            own = partial(interpreter_in, tree, layer.base.python)
            with (self._debian or self._interpreters).base_compiler(self._jobs, own) as compiler:
                self._base_compiler = compiler
                compiler.compile(tree, make.base_sources(layer, tree), "unchecked")

    def _python(self, layer: PythonLayer) -> None:
        with self._making(layer) as tree, self.directory() as beside:
            if tree is None:
                return
            file = self._files[layer.archive.sha256]
            make.make_python(layer, file, tree, self._store.headroom.spend, self._store.unpacking.wheel)

            def own() -> Interpreter:
                base = self._known.tree(layer.base.key, layer.base.title)
                root = _fresh(beside)
                make.make_beside([base, tree], root)
                return standalone_in(root, layer.archive)

            with self._interpreters.python_compiler(self._jobs, own) as compiler:
                self._base_compiler = compiler
                compiler.compile(tree, make.sources_below(tree, "usr/local/lib"), "unchecked")

    def _system(self, layer: SystemLayer, tree: Path) -> None:
        base = self._known.tree(layer.base.key, layer.base.title)
        make.make_system(layer, self._files, base, tree, self._store.headroom.spend)
        # Without Debian's Python nothing runs them.
        if layer.base.base.python and (sources := make.system_sources(tree)):
            self.debian_compiler().compile(tree, sources, "unchecked")

    def _configured(self, layer: ConfiguredLayer) -> None:
        # Imported for such packages alone.
        from corten.build.configuring import configure

        system = layer.system
        lower = [self._known.tree(item.key, item.title) for item in (system.base, system)]
        store = self._store
        with explained(store.root), self._alone(layer):
            if store.layers.find(layer.key) is not None:
                return
            store.headroom.need()
            self._observe(TaskStarted("install", layer.title, None))
            with self.directory() as directory:
                captured = configure(
                    layer, self._files, lower, store.root, directory, self._observe, store.headroom.spend
                )
                with store.temporary_directory("layer") as target:
                    made = store.layers.receive(target, captured.stream(), captured.digest())
            store.layers.remember(layer.key, made.diff_id)
            self.made.add(layer.key)
            self._observe(TaskFinished("install", layer.title))

    def _wheel(self, layer: WheelLayer, tree: Path) -> None:
        file = self._files[layer.wheel.sha256]
        make.make_wheel(layer, file, tree, self.compiler(), self._advance(layer), self._store.unpacking.wheel)

    def _serving(self, layer: ServingLayer, tree: Path) -> None:
        make.make_serving(
            layer,
            self._files,
            self._server,
            tree,
            self.debian_compiler(),
            self._advance(layer),
            self._store.unpacking.wheel,
            self.compiler() if layer.worker else None,
        )

    def _bucket(self, layer: BucketLayer) -> None:
        with self._making(layer) as tree:
            if tree is not None:
                trees = [self._known.tree(inner.key, inner.title) for inner in layer.wheels]
                make.make_bucket(layer, trees, tree)

    # The compiler.

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """A temporary directory for a layer."""
        with self._store.temporary_directory("layer") as directory:
            yield directory

    def compiler(self) -> Compiler:
        """The compile servers for this platform's Python, started when they are first needed."""
        with self._guard:
            self._check(0)
            return self._started_compiler()

    def debian_compiler(self) -> Compiler:
        """The compile servers for Debian's own Python."""
        if self._debian is None:
            return self.compiler()
        with self._guard:
            self._check(0)
            if self._debian_compiler is None:
                self._debian_compiler = self._debian.compiler(self._jobs)
            return self._debian_compiler

    def _started_compiler(self) -> Compiler:
        if self._compiler is None:
            self._compiler = self._interpreters.compiler(self._jobs)
        return self._compiler


_Work = tuple[PackageLayer, Callable[[Path], None]]
"""A layer, and what fills its tree."""


class _Turn:
    """What one turn has made and holds: the locks of its layers and their temporary directories, until all are committed."""

    def __init__(self, stack: ExitStack) -> None:
        self.made: list[tuple[PackageLayer, Path]] = []
        self.busy: list[_Work] = []
        self._stack, self._stripes = stack, set[str]()
        self._guard = threading.Lock()

    def holds(self, store: Store, stripe: str) -> bool:
        """Whether this build has the lock `stripe`, taken now or before."""
        with self._guard:
            if stripe not in self._stripes:
                try:
                    self._stack.enter_context(store.lock(stripe, blocking=False))
                except Busy:
                    return False
                self._stripes.add(stripe)
            return True

    def enter(self, directory: AbstractContextManager[Path]) -> Path:
        """A directory that is there until the turn ends."""
        with self._guard:
            return self._stack.enter_context(directory)


def _stripe(layer: PackageLayer) -> str:
    return f"layer-{int(Digest.of(layer.key.encode()).hex[:8], 16) % _STRIPES:02x}"


def _fresh(directory: Path) -> Path:
    """An empty tree in a temporary directory. Another user has it for its root, where it is the compiler's."""
    tree = directory / "fs"
    tree.mkdir()
    tree.chmod(0o755)
    return tree


def _run_all(jobs: Iterable[Callable[[], None]], workers: int, stop: Callable[[], None]) -> None:
    """Run `jobs` in threads, in order of their start. The first failure cancels what has not begun, calls `stop` for
    what has, and is raised when all have ended."""
    with ThreadPoolExecutor(workers, thread_name_prefix="layer") as executor:
        futures = [executor.submit(job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            stop()
            raise
