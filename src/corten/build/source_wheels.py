"""A source becomes a wheel, in a sandbox (PEP 517, PEP 518, DECISIONS 49).

Its root is a Debian base, in which the wheels of its build requirements lie in a virtual environment, all of it read-only. It has no network, no
capabilities, and one writable place of bounded size, which is gone afterwards. What Corten takes from it is one file through a pipe, which is
looked at as any wheel from elsewhere. It is built twice: whether both give the same bytes is what `reproducible` says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from corten import __version__
from corten.build import make
from corten.build.interpreters import Interpreters
from corten.build.known import Known
from corten.build.plan import (
    VENV,
    BucketLayer,
    EnvironmentLayer,
    PythonLayer,
    WheelLayer,
    base_layer,
    compiler_identity,
    interpreter_path,
)
from corten.build.wheel_contents import WAYS, differing, marks, named_in
from corten.build.workshop import Workshop
from corten.errors import BuildError, NoSandbox
from corten.events import Note, Observer, TaskFinished, TaskStarted, Warned
from corten.lazy import regex
from corten.lock.model import DebianBase, Lock, PlatformLock
from corten.oci.config import canonical_json
from corten.oci.digest import Digest
from corten.packages.files import STRICT, Accepted, Deb, Wheel
from corten.packages.sources import BuiltWheel, Recorded, Resolve, Source
from corten.project.build_needs import is_plain
from corten.sandbox.confinement import Bind, Confinement, Limits
from corten.sandbox.process import Confined, Finished, run
from corten.store.disk import write_atomically
from corten.store.store import Store
from corten.values import asdict, dataclass, field

FORM = 1
"""The number of the way in which sources are built: another one may give other wheels."""

_Round = tuple[tuple[str, ...], list[str]]
"""Build requirements, and the sha256 of the wheels that they led to."""

LEGACY = "setuptools.build_meta:__legacy__"
# A source without `[build-system]` is older than setuptools 81, which takes pkg_resources away.
LEGACY_REQUIRES = ("setuptools>=40.8,<81", "wheel")

_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
# These lie in memory, and two builds run at a time.
_PLACE_SIZE, _TMP_SIZE, _SHARED_SIZE = min(4 << 30, _MEMORY // 4), 512 << 20, 64 << 20
_LARGEST_WHEEL = 256 << 20
_LARGEST_ANSWER = 1 << 20
_LIMITS = Limits(memory=4 << 30, file_size=1 << 30, processes=256, seconds=1800)
_DRIVER = Path(__file__).with_name("source_driver.py")
_OWN_PROCESSOR = regex(rb"(?<!\S)-m(?:arch|cpu)=native(?!\S)")
_BACKEND = regex(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?", re.ASCII)
_ENVIRONMENT = {
    "PATH": f"{VENV}/bin:/usr/bin:/bin",
    "HOME": "/build/home",
    "TMPDIR": "/tmp",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": "315532800",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "CFLAGS": "-g0 -ffile-prefix-map=/build/src=.",
    "CXXFLAGS": "-g0 -ffile-prefix-map=/build/src=.",
}


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a builder works with: a Debian base for this machine's processor; `resolve` finds the wheels of build requirements, `supply` has the
    files. `compilers` are the packages beyond the base that native code is compiled with, asked for when they are first needed.
    `further` are as in `SourceBuilders`."""

    part: PlatformLock
    resolve: Resolve
    supply: make.Supply
    compilers: Callable[[], tuple[Deb, ...]]
    further: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Builders:
    """Makes builders (`corten.lock.sources.SourceBuilders`). `supply` gives the files of a lock."""

    def __init__(
        self,
        store: Store,
        supply: Callable[[Lock], make.Supply],
        observe: Observer,
        accepted: Accepted = STRICT,
    ) -> None:
        self._store, self._supply, self._observe, self._accepted = store, supply, observe, accepted

    def builder(
        self,
        part: PlatformLock,
        resolve: Resolve,
        compilers: Callable[[], tuple[Deb, ...]],
        further: Mapping[str, tuple[str, ...]],
        *,
        anew: bool = False,
    ) -> SourceWheels:
        """See `SourceBuilders`."""
        lock = Lock(__version__, Digest.of(b""), (part,))
        if self._accepted.unauthenticated:
            lock = lock.apart()
        workplace = Workplace(lock.platforms[0], resolve, self._supply(lock), compilers, further)
        return SourceWheels(self._store, workplace, self._observe, anew=anew)


class SourceWheels:
    """Builds wheels (`corten.packages.sources.WheelBuilder`). May be shared by threads, which build one after the other."""

    def __init__(self, store: Store, workplace: Workplace, observe: Observer, *, anew: bool = False) -> None:
        self._store, self._workplace, self._observe, self._anew = store, workplace, observe, anew
        self._guard = threading.RLock()
        self._known = Known(store)
        self._built: dict[str, BuiltWheel] = {}
        self._resolved: dict[tuple[str, ...], tuple[Wheel, ...]] = {}

    def build(
        self, source: Source, recorded: Recorded | None = None, settings: Sequence[tuple[str, str]] = ()
    ) -> BuiltWheel:
        """See `WheelBuilder`."""
        with self._guard:
            memory = self._memory(source, recorded, settings)
            found = self._built.get(memory.name)
            if found is None and not self._anew:
                found = self._remembered(memory, source, recorded)
            if found is None:
                self._observe(TaskStarted("build", f"{source.title} from source", None))
                found, rounds = self._made(source, recorded, settings)
                document = {**asdict(found), "debs": self._debs(found.native), "rounds": rounds}
                write_atomically(memory, json.dumps(document).encode())
                self._observe(TaskFinished("build", f"{source.title} from source"))
            self._built[memory.name] = found
            return found

    # What was built before.

    def _memory(self, source: Source, recorded: Recorded | None, settings: Sequence[tuple[str, str]]) -> Path:
        inputs = {
            "form": FORM,
            "source": source.sha256,
            "python": compiler_identity(self._workplace.part),
            "platform": str(self._workplace.part.platform),
            "settings": [list(pair) for pair in settings],
            "further": list(self._workplace.further.get(source.name, ())),
            "requires": None if recorded is None else [wheel.sha256 for wheel in recorded.requires],
        }
        name = hashlib.sha256(canonical_json(inputs)).hexdigest()
        return self._store.cache_directory("built-wheels") / f"{name}.json"

    def _remembered(self, memory: Path, source: Source, recorded: Recorded | None) -> BuiltWheel | None:
        """The wheel of an earlier build that had the same build requirements. Another project's indexes may have given that build other
        wheels for the same names, so all of its resolutions are repeated: the wheels of each decide what the next one asks for."""
        try:
            document = json.loads(memory.read_bytes())
            wheel, *requires = (Wheel(**item) for item in (document["wheel"], *document["requires"]))
            native, reproducible = document["native"], document["reproducible"]
            found = BuiltWheel(wheel, tuple(requires), native, reproducible, document["marks"])
            if document["debs"] != self._debs(native):  # another compiler, or other headers
                return None
            rounds = [(tuple(map(str, lines)), wheels) for lines, wheels in document["rounds"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if self._store.files.path(found.wheel.sha256, "wheel") is None:
            return None
        if recorded is None and any(
            [wheel.sha256 for wheel in self._resolve(source, lines)] != wheels for lines, wheels in rounds
        ):
            return None
        return found

    def _debs(self, native: bool) -> str:
        """What stands for the packages that native code is compiled with."""
        debs = [deb.sha256 for deb in self._workplace.compilers()] if native else []
        return hashlib.sha256(canonical_json(debs)).hexdigest()

    # Building.

    def _made(
        self, source: Source, recorded: Recorded | None, settings: Sequence[tuple[str, str]]
    ) -> tuple[BuiltWheel, list[_Round]]:
        """The wheel, and each resolution of its build requirements, in order; none where they are recorded."""
        rounds: list[_Round] = []
        with ExitStack() as stack:
            directory = stack.enter_context(self._store.temporary_directory("source"))
            given = _readable(source.place, directory)
            looked = self._asked(source, given, self._environment(stack, ()), False, "look")
            system = _build_system(source, looked.get("pyproject"))
            native = recorded.native if recorded else looked.get("native") is True
            asked = (*system.requires, *self._workplace.further.get(source.name, ()))

            def resolved(lines: tuple[str, ...]) -> tuple[Wheel, ...]:
                found = self._resolve(source, lines)
                rounds.append((lines, [wheel.sha256 for wheel in found]))
                return found

            requires = recorded.requires if recorded else resolved(asked)
            further: tuple[str, ...] = ()
            for _ in range(3):
                tree = self._environment(stack, requires)
                request = {
                    "backend": system.backend,
                    "path": list(system.path),
                    "known": list(further),
                    "settings": dict(settings),
                }
                try:
                    answers = self._twice(source, given, tree, native, request)
                except _LacksCompiler:
                    if native:
                        raise
                    native = True
                    answers = self._twice(source, given, tree, native, request)
                wanted = _texts(answers[0][0].get("requires"))
                if wanted is None:
                    break
                further = (*further, *wanted)
                if recorded is None:
                    requires = resolved((*asked, *further))
            else:
                raise BuildError(
                    f"the build requirements of {source.title!r} are different each time", hint=WAYS
                )
            (first, data), (_, again) = answers
            wheel = named_in(source, str(first.get("wheel")), data)
            reproducible = data == again
            if not reproducible:
                self._observe(
                    Note(
                        f"two builds of {source.title} differ in '{differing(data, again)}'; its wheel is kept"
                    )
                )
            if first["own-processor"]:
                self._observe(
                    Warned(
                        f"the build of {source.title!r} asks for the instructions of this machine's processor (-march=native): its wheel may not run "
                        "on others",
                        "lock on the oldest kind of machine that it will run on, or choose a version that has a wheel",
                    )
                )
            place = directory / "wheel"
            place.write_bytes(data)
            self._store.files.add(place, wheel.sha256, "wheel")
            return BuiltWheel(wheel, requires, native, reproducible, marks(data)), rounds

    def _resolve(self, source: Source, lines: tuple[str, ...]) -> tuple[Wheel, ...]:
        _check_names(source, lines)
        if lines not in self._resolved:
            self._resolved[lines] = self._workplace.resolve(lines) if lines else ()
        return self._resolved[lines]

    def _environment(self, stack: ExitStack, wheels: Sequence[Wheel]) -> Path:
        """A folder that has `opt/venv` with `wheels`, by hard links from their layers."""
        part = self._workplace.part
        identity = compiler_identity(part)
        layers = tuple(WheelLayer(wheel, VENV, part.python, identity) for wheel in wheels)
        self._workshop().ensure([base_layer(part), *self._python_layer(), *layers])
        tree = stack.enter_context(self._store.temporary_directory("environment")) / "fs"
        tree.mkdir()
        tree.chmod(0o755)
        make.make_environment(EnvironmentLayer(VENV, part.base.python, interpreter_path(part), ()), tree)
        make.make_bucket(
            BucketLayer(0, layers), [self._known.tree(one.key, one.title) for one in layers], tree
        )
        return tree

    def _python_layer(self) -> tuple[PythonLayer, ...]:
        """The Python that is not Debian's, where the project has one."""
        part = self._workplace.part
        if not isinstance(part.base, DebianBase) or part.base.interpreter is None:
            return ()
        return (PythonLayer(part.base.interpreter, base_layer(part), compiler_identity(part)),)

    def _workshop(self) -> Workshop:
        part, supply = self._workplace.part, self._workplace.supply
        lock = Lock(__version__, Digest.of(b""), (part,))
        interpreters, beside = (
            Interpreters(self._store, self._known, lock, one, supply, self._observe)
            for one in (part, part.debian)
        )
        jobs = len(os.sched_getaffinity(0))
        return Workshop(
            self._store,
            self._known,
            interpreters,
            supply,
            self._observe,
            jobs=jobs,
            beside=beside if part.debian is not part else None,
        )

    def _roots(self, native: bool) -> tuple[Path, ...]:
        """The tree of the base, with a compiler where that is needed; and that of a Python that is not Debian's."""
        base = base_layer(self._workplace.part)
        pythons = tuple(self._known.tree(layer.key, layer.title) for layer in self._python_layer())
        if not native:
            return (self._known.tree(base.key, base.title), *pythons)
        from corten.build.build_roots import build_root

        root = build_root(
            self._store, base, self._workplace.compilers(), self._workplace.supply, self._observe
        )
        return (root, *pythons)

    # The sandbox.

    def _twice(
        self, source: Source, given: Path, environment: Path, native: bool, request: Mapping[str, Any]
    ) -> list[tuple[dict[str, Any], bytes]]:
        text = json.dumps(request)
        roots = self._roots(native)
        running = _Running()
        with ThreadPoolExecutor(2) as pool:
            words = ("build", text)
            tasks = [
                pool.submit(_confined, source, given, roots, environment, words, running.add)
                for _ in range(2)
            ]
            try:
                return [task.result() for task in tasks]
            except BaseException:
                # Also at Ctrl-C: the pool waits for what runs in it.
                running.end()
                raise

    def _asked(
        self, source: Source, given: Path, environment: Path, native: bool, *words: str
    ) -> dict[str, Any]:
        return _confined(source, given, self._roots(native), environment, words)[0]


class _Running:
    """Programs in sandboxes, to be ended together."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._programs: list[Confined] = []
        self._ended = False

    def add(self, program: Confined) -> None:
        """Take note of a program; it is ended immediately where the others are."""
        with self._guard:
            self._programs.append(program)
            ended = self._ended
        if ended:
            program.end()

    def end(self) -> None:
        """End all of them, and those that come later."""
        with self._guard:
            self._ended = True
        for program in self._programs:
            program.end()


class _LacksCompiler(BuildError):
    """It was built without a compiler, and wants one."""


@dataclass(frozen=True, slots=True)
class _BuildSystem:
    backend: str
    requires: tuple[str, ...]
    path: tuple[str, ...] = ()


def _build_system(source: Source, text: object) -> _BuildSystem:
    """What `[build-system]` of a pyproject.toml says. Raises BuildError for what PEP 518 does not allow."""
    from corten.toml import parse

    try:
        table = parse(text).get("build-system") if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        raise BuildError(f"the pyproject.toml of {source.title!r} is not TOML", hint=WAYS) from error
    if table is None:
        return _BuildSystem(LEGACY, LEGACY_REQUIRES)
    requires = _texts(table.get("requires")) if isinstance(table, dict) else None
    backend = table.get("build-backend", LEGACY) if isinstance(table, dict) else None
    paths = _texts(table.get("backend-path", [])) if isinstance(table, dict) else None
    if requires is None or paths is None or not isinstance(backend, str) or not _BACKEND.fullmatch(backend):
        raise BuildError(f"the [build-system] of {source.title!r} does not follow PEP 518", hint=WAYS)
    if any(path.startswith("/") or ".." in path.split("/") for path in paths):
        raise BuildError(f"the backend-path of {source.title!r} leads out of the source", hint=WAYS)
    return _BuildSystem(backend, requires, paths)


def _check_names(source: Source, lines: Sequence[str]) -> None:
    """Raises BuildError for a build requirement that is not a name with versions: a source decides no address that is asked."""
    for line in lines:
        if not is_plain(line):
            raise BuildError(
                f"{source.title!r} asks for the build requirement {line[:100]!r}, which is not a name with versions",
                hint=WAYS,
            )


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list) or len(value) > 1000 or not all(isinstance(item, str) for item in value):
        return None
    return tuple(value)


def _readable(place: Path, directory: Path) -> Path:
    """What is shown to the sandbox, whose user is another one: a copy that everybody may read."""
    import shutil

    copy = directory / "source"
    if place.is_dir():
        _copy_tree(place, copy)
        return copy
    shutil.copyfile(place, copy)
    copy.chmod(0o444)
    return copy


def _copy_tree(source: Path, target: Path) -> None:
    """The folders, files and links of `source`; what else may lie there is left out, and no link is followed."""
    import shutil

    target.mkdir()
    target.chmod(0o755)
    for entry in os.scandir(source):
        place = target / entry.name
        if entry.is_symlink():
            place.symlink_to(os.readlink(entry.path))
        elif entry.is_dir(follow_symlinks=False):
            _copy_tree(Path(entry.path), place)
        elif entry.is_file(follow_symlinks=False):
            shutil.copyfile(entry.path, place, follow_symlinks=False)
            place.chmod(0o755 if entry.stat(follow_symlinks=False).st_mode & 0o111 else 0o644)


def _confinement(given: Path, roots: Sequence[Path], environment: Path, words: Sequence[str]) -> Confinement:
    root, *pythons = roots
    usr = root / "usr"
    shown = {"/usr": usr, "/etc": root / "etc", VENV: environment / VENV.strip("/")}
    if pythons:
        shown["/usr/local"] = pythons[0] / "usr/local"
    # The base's own links are not followed: its tree is merged (DECISIONS 11).
    shown |= {f"/{name}": usr / name for name in ("bin", "sbin", "lib", "lib64")}
    binds = [Bind(os.fspath(path), target) for target, path in shown.items() if path.is_dir()]
    return Confinement(
        (f"{VENV}/bin/python", "-c", _DRIVER.read_text(encoding="utf-8"), *words),
        binds=(*binds, Bind(os.fspath(given), "/source")),
        # Python's locks between processes lie in /dev/shm.
        scratch=(("/build", _PLACE_SIZE), ("/tmp", _TMP_SIZE), ("/dev/shm", _SHARED_SIZE)),
        proc=True,
        devices=True,
        environment=_ENVIRONMENT,
        directory="/build",
        limits=_LIMITS,
        expendable=True,
    )


def _confined(
    source: Source,
    given: Path,
    roots: Sequence[Path],
    environment: Path,
    words: Sequence[str],
    started: Callable[[Confined], None] | None = None,
) -> tuple[dict[str, Any], bytes]:
    """The answer of the driver, and the bytes that follow it."""
    try:
        done = run(
            _confinement(given, roots, environment, words),
            most=_LARGEST_WHEEL + _LARGEST_ANSWER,
            started_one=started,
        )
    except NoSandbox as error:
        raise NoSandbox(
            f"{source.title!r} has no wheel that fits, only source, and Corten builds a source only in a sandbox: "
            f"{error.message}",
            hint=f"allow user namespaces ('corten doctor' says how), or {WAYS}",
        ) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BuildError(f"{source.title!r} cannot be built: {reason}", hint=WAYS) from error
    head, _, data = done.output.partition(b"\n")
    try:
        answer = json.loads(head) if len(head) <= _LARGEST_ANSWER else None
    except (ValueError, RecursionError):
        answer = None
    if done.code != 0 or done.late or done.overlong or not isinstance(answer, dict):
        raise _failed(source, done)
    if "error" in answer:
        raise BuildError(f"{source.title!r} cannot be built: {str(answer['error'])[:300]}", hint=WAYS)
    if answer.get("size", 0) != len(data):
        raise BuildError(f"the build of {source.title!r} did not produce a wheel", hint=WAYS)
    return {**answer, "own-processor": _OWN_PROCESSOR.search(done.errors) is not None}, data


def _failed(source: Source, done: Finished) -> BuildError:
    from corten.build.source_failures import explained, lacks_compiler

    message, hint = explained(source.name, done, _LIMITS)
    kind = _LacksCompiler if lacks_compiler(done) else BuildError
    return kind(
        f"{source.title!r} has no wheel that fits and cannot be built from source: {message}",
        hint=hint or WAYS,
    )
