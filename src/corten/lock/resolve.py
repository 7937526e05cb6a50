"""Project → Lock: for each platform the base, the system packages, the wheels and the model server's wheels.

What the last lock decided holds as long as it can: a base is looked at again only when it is another one or when an
upgrade is asked for, versions of wheels stay while the project's requirements allow them.
"""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from corten import __version__
from corten.errors import (
    BuildError,
    FetchError,
    NoSandbox,
    ProjectError,
    ResolutionError,
    UsageError,
    listed,
)
from corten.events import Event, Note, Observer, TaskFinished, TaskStarted, Warned, ignore, once
from corten.lock import pylock
from corten.lock.accelerators import builds, has_gpu
from corten.lock.build_headers import known_headers
from corten.lock.dating import as_of_settings, chosen_day, deciding, mismatches, old_project_note, trials
from corten.lock.format import LOCK_NAME
from corten.lock.hub import lock_models
from corten.lock.inputs import (
    built_days,
    inputs_digest,
    local_packages,
    read_pyproject,
    repair_notes,
    requirements_of,
    written_requirements,
)
from corten.lock.libraries import needed_packages
from corten.lock.model import Base, DebianBase, ImageBase, Lock, PlatformLock, python_in
from corten.lock.model_versions import Models
from corten.lock.pythons import as_before, other_pythons, standalone_archives, with_python
from corten.lock.referenced import Fetcher, References, of_lock
from corten.lock.references import in_folders, on_target
from corten.lock.scripts import with_scripts
from corten.lock.serving import OLDEST_PYTHON, REQUIREMENTS, serving_digest
from corten.lock.sources import SourceBuilders, Sources, built_before, refuse_sources
from corten.lock.strangers import unexplained
from corten.lock.uvlock import check_current, locked_packages, read_uv_lock
from corten.lock.wanted import (
    fetching_indexes,
    refuse_links_out,
    resolving_indexes,
    wanted_beside,
    wanted_wheels,
)
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.packages.compatibility import Target
from corten.packages.cpu_builds import is_cuda, pinned_note
from corten.packages.debian.archive import DebianArchive, check_python
from corten.packages.fetch import fetch_wheels
from corten.packages.files import STRICT, Accepted, Deb, PythonArchive, Wheel
from corten.packages.http import Http
from corten.packages.indexes import Indexes, read_indexes
from corten.packages.libraries import Libraries, is_known, is_native, libraries_of
from corten.packages.other_pythons import OtherPython
from corten.packages.pip_rules import Rules, read_rules
from corten.packages.requirements import Local, normal_name
from corten.packages.sdists import Built, ForeignSource
from corten.packages.sources import WheelBuilder
from corten.packages.torch_index import without_it
from corten.packages.uv import Request
from corten.packages.wheels import PREFER_CPU, Wanted, WheelResolver
from corten.project import interpreter
from corten.project.build_needs import check_constraints
from corten.project.dependencies import package_names
from corten.project.files import scan
from corten.project.formats.translate import LOCKS
from corten.project.last_commit import last_commit
from corten.project.local_packages import UNKNOWN, LocalPackage, compiled_parts, describe
from corten.project.model import Implied, Predictor, Project, Unlisted
from corten.project.saved_models import ENDINGS, Saved, look
from corten.store.store import Store
from corten.values import dataclass, field, replace

_SERVING = {re.split(r"[^a-z0-9-]", line)[0]: (line,) for line in REQUIREMENTS}
_GLIBC = {"bookworm": 36, "trixie": 41}
_GLIBC_OF_UNKNOWN = 28
_COMPILERS = ("gcc", "g++", "libc6-dev", "make", "pkg-config", "libpython{}-dev")
_MOST_MODELS = 50


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """A base image as it was found: its part of the lock, the second number of its glibc (36 for 2.36) or None, and the shared libraries
    in the folders that its loader searches (None: not looked at)."""

    base: ImageBase
    glibc: int | None = None
    libraries: frozenset[str] | None = None


def lasting_name(reference: str) -> str:
    """What a lock says of a base image: its name without the host, because a mirror has it too, and without the folders
    above a layout, because they are this machine's. Raises UsageError for what is no reference."""
    if reference.startswith("oci:"):
        return "oci:" + reference.removeprefix("oci:").rstrip("/").rsplit("/", 1)[-1]
    parsed = Reference.parse(reference)
    tag = f":{parsed.tag}" if parsed.tag else ""
    digest = f"@{parsed.digest}" if parsed.digest else ""
    return f"{parsed.repository}{tag}{digest}"


class BaseResolver(Protocol):
    """Finds base images: `oci:PATH[:TAG]`, `registry/name:tag`, `registry/name@sha256:…`."""

    def resolve(
        self, reference: str, root: Path, platform: Platform, pinned: Digest | None = None
    ) -> ResolvedImage:
        """The image that `reference` names for `platform`; paths are relative to `root`. `pinned` is the one that the last
        lock took from there, which holds while it can be had. Raises CortenError."""


def lock_project(
    project: Project,
    store: Store,
    *,
    previous: Lock | None = None,
    upgrade: bool = False,
    upgrade_packages: Sequence[str] = (),
    observe: Observer = ignore,
    images: BaseResolver | None = None,
    environment: Mapping[str, str] | None = None,
    debian: DebianArchive | None = None,
    accepted: Accepted = STRICT,
    sources: SourceBuilders | None = None,
    as_of: str | None = None,
) -> Lock:
    """The lock of `project`. With `upgrade` nothing of `previous` holds; the packages in `upgrade_packages` are free to
    move. `sources` makes builders of packages that have no wheel; without them they are refused. `as_of` says of which day versions
    are (`2024-06-30`, `commit`, `model`, `now`); without it the day of `previous` holds. Raises ProjectError, ResolutionError,
    FetchError, SignatureError, LockOutdated (a stale uv.lock)."""
    interpreter.check(project.unmet)
    digest = inputs_digest(project)
    saved = _saved_models(project, store)
    commit = last_commit(str(project.root))
    if as_of is not None:
        _refuse_day(project)
        day = chosen_day(as_of, commit, saved)
    else:
        day = previous.as_of if previous is not None and not _is_pinned(project) else None
    locking = _Locking(
        project,
        store,
        None if upgrade else previous,
        # Debian's names have dots and plus signs that count.
        frozenset(spelled for name in upgrade_packages for spelled in (name, normal_name(name))),
        observe,
        images,
        environment,
        debian or DebianArchive(store, accepted=accepted),
        upgrade,
        saved,
        read_rules(environment, lambda url, most: _fetched(project, environment, url, most)),
        day,
        None if as_of == "now" else commit,
        Models(project, store),
    )
    locking.check_names(upgrade_packages)
    refuse_links_out(project, environment)
    for note in repair_notes(project):
        observe(Note(note))
    compiled = compiled_parts(project.root)
    if compiled:
        observe(
            Warned(
                f"the project itself {compiled}, and Corten uses its code without building it: parts that are not compiled yet are missing in the image",
                "move the package into a folder of its own and require that (./libs/NAME): it is built into a wheel",
            )
        )
    if day is not None:
        observe(Note(f"versions are those of {day}" + ("" if as_of else f", as {LOCK_NAME} says")))
    # What the user has to confirm is asked before anything is done.
    indexes = resolving_indexes(project, environment)
    foreign = project.dependencies.kind in ("uv.lock", "pylock")
    if project.dependencies.kind != "none" or project.implied:
        for note in locking.rules.notes(project.dependencies.files[0].name if foreign else ""):
            observe(Note(note))
        merged = indexes.merged_note()
        if merged is not None and not foreign:
            observe(Note(merged))
    wanted = sorted(set(project.platforms))
    variables = os.environ if environment is None else environment
    sysconfig.get_config_vars()  # CPython fills these in without a lock: not first in two threads at once

    def attempt(asked: Project, others: bool = False) -> tuple[_Locking, list[PlatformLock | Platform]]:
        archives = standalone_archives(asked, store, wanted, locking.previous, variables, observe)
        one = replace(locking, project=asked, archives=archives)
        if others:
            one = replace(one, others=lambda: other_pythons(asked, store, variables, observe))
        if sources is not None:
            one = replace(one, sources=Sources(partial(one.builder, sources)))
        if len(wanted) == 1:
            # In this thread Ctrl-C ends it at once; another one is waited for.
            return one, [one.platform(wanted[0])]
        with ThreadPoolExecutor(max(1, len(wanted))) as pool:
            return one, list(pool.map(one.if_possible, wanted))

    chosen = as_before(project, locking.previous, digest)
    try:
        locking, found = attempt(chosen, others=project.python_open and chosen is project)
    except OtherPython as other:
        lacks = f"{listed(other.names)} {'has' if len(other.names) == 1 else 'have'} no wheel for Debian's"
        try:
            locking, found = attempt(with_python(project, other.python))
        except (FetchError, ResolutionError) as error:
            observe(
                Warned(
                    f"{lacks} Python, and Python {other.python} does not help: {error.message}", error.hint
                )
            )
            locking, found = attempt(project)
        else:
            observe(Note(f"Python {other.python} is used: {lacks}"))
    platforms = tuple(part for part in found if isinstance(part, PlatformLock))
    return Lock(
        corten=__version__,
        project=digest,
        platforms=platforms,
        serving=serving_digest() if isinstance(project.entry, Predictor) else None,
        compilers=(compilers := locking.compilers(platforms)),
        interpreters={name: item for name, item in locking.archives.items() if name in compilers},
        models=lock_models(project, store, None if upgrade else previous, observe, environment),
        as_of=day,
        left_out=tuple(part for part in found if isinstance(part, Platform)),
    )


@dataclass(frozen=True, slots=True)
class _Locking:
    """One making of a lock. `previous` is what holds of the last one."""

    project: Project
    store: Store
    previous: Lock | None
    again: frozenset[str]
    observe: Observer
    images: BaseResolver | None
    environment: Mapping[str, str] | None
    debian: DebianArchive
    upgrade: bool
    saved: tuple[Saved, ...] = ()
    rules: Rules = field(default_factory=Rules)
    day: str | None = None
    commit: str | None = None
    models: Models = field(default_factory=Models)
    told: set[str] = field(default_factory=set)
    """What was said already, and need not be said again."""
    sources: Sources | None = None
    archives: Mapping[str, PythonArchive] = field(default_factory=dict)
    """The Python in the place of Debian's, by architecture."""
    others: Callable[[], Sequence[str]] | None = None
    """The Pythons that may be taken where nothing says which one."""
    referenced: tuple[tuple[Wheel, Built], ...] = ()
    """Wheels of sources that requirements name, of which uv gets the places."""

    def if_possible(self, platform: Platform) -> PlatformLock | Platform:
        """The part for `platform`; the platform itself where a source cannot be built for it on this machine, which is said."""
        try:
            return self.platform(platform)
        except ForeignSource as error:
            same = self.previous is not None and self.previous.project == inputs_digest(self.project)
            before = self.previous.platforms if self.previous is not None and same else ()
            kept = next((part for part in before if part.platform == platform), None)
            if kept is not None:
                self.observe(Note(f"{error.message}: the lock keeps what it has for {platform}"))
                return kept
            self.observe(Warned(f"{error.message}; the lock leaves {platform} out", error.hint))
            return platform

    def platform(self, platform: Platform) -> PlatformLock:
        before = None
        if self.previous is not None:
            before = next((part for part in self.previous.platforms if part.platform == platform), None)
        base, glibc, kept, in_image = self._base(platform, before)
        interpreter.check(interpreter.unmet(self.project.requires_python, base.python, self.project.base))
        observe = once(self.observe)
        system = self._system(platform, base, before if kept else None, observe)
        target = Target(platform, base.python, glibc, _is_threaded(base))
        minor = PlatformLock(platform, base).python
        same_python = before is not None and before.python == minor
        held = before.wheels if before and same_python else ()
        own, local = self._wheels(target, held)
        wheels, without = replace(self, others=None)._with_imports(base, target, own, held)
        if isinstance(base, DebianBase):
            for message, hint in (*mismatches(self.saved, wheels), *self.models.mismatches(wheels)):
                self._tell(Warned(message, hint))
            strange = unexplained(self.project, wheels, self._fetched)
            if strange is not None:
                self._tell(Warned(*strange))
        self._tell_cuda(wheels, held)
        served = target
        if isinstance(base, DebianBase) and base.interpreter is not None:
            served = Target(platform, base.debian_python, glibc)
            same_python = before is not None and before.debian.base.python == base.debian_python
        serving = self._serving(served, before.serving if before and same_python else ())
        names = tuple(sorted(set(self.project.system)))
        added = needed_packages(
            base,
            platform,
            system,
            wheels,
            lambda items: self._libraries(items, platform),
            self.debian,
            self.observe,
            before=before.library_names if before is not None else (),
            in_image=in_image,
        )
        if added:
            system = self._system(platform, base, before if kept else None, observe, added)
        part = PlatformLock(
            platform, base, system, wheels, serving, names, without, library_names=tuple(added), local=local
        )
        part = part if self.sources is None else self._with_sources(part, self.sources)
        return with_scripts(part, before, self.debian, self.observe)

    def _with_sources(self, part: PlatformLock, sources: Sources) -> PlatformLock:
        """`part` with what it says of the wheels that were built."""
        sdists, wheels = sources.of(part.wheels)
        debs = self._compilers(self._host_base()) if any(sdist.native for sdist in sdists) else ()
        return replace(part, sdists=sdists, build_wheels=wheels, build_debs=debs)

    def builder(self, sources: SourceBuilders) -> WheelBuilder:
        """What builds sources, in the project's base for this machine. Raises BuildError where the base is an image, ProjectError for
        constraints that are no names with versions."""
        check_constraints(self.project.build_needs)
        base = self._host_base()
        host = Platform.host()
        glibc = _GLIBC.get(base.suite, _GLIBC_OF_UNKNOWN)
        target = Target(host, base.python, glibc, _is_threaded(base))

        def resolve(lines: Sequence[str]) -> tuple[Wheel, ...]:
            constraints = self.project.build_needs.constraints
            asked = Wanted(Request(target, lines=tuple(lines), constraints=constraints), gpu="any")
            return replace(self, sources=None)._resolve(
                resolving_indexes(self.project, self.environment), asked, ()
            )

        part = PlatformLock(host, base)
        further = dict(self.project.build_needs.further)
        # What was built within other bounds does not count.
        anew = self.upgrade or bool(self.project.build_needs.constraints)
        return sources.builder(part, resolve, partial(self._compilers, base), further, anew=anew)

    def _host_base(self) -> DebianBase:
        if not self.project.base.startswith("debian:"):
            raise refuse_sources(self.project.base)
        host = Platform.host()
        before = self.previous.platforms if self.previous is not None else ()
        base = self._base(host, next((part for part in before if part.platform == host), None))[0]
        assert isinstance(base, DebianBase)
        return base

    def _compilers(self, base: DebianBase) -> tuple[Deb, ...]:
        """The packages beyond `base` that native code is compiled with."""
        minor = ".".join(base.python.split(".")[:2])
        # A Python that is not Debian's brings its own headers.
        own = [name for name in _COMPILERS if base.interpreter is None or "{}" not in name]
        known = {} if self.project.build_system else known_headers(self._names())
        for name, headers in known.items():
            self._tell(Note(f"builds {name} with {', '.join(headers)}"))
        more = [*self.project.build_system, *(header for headers in known.values() for header in headers)]
        if "libpq-dev" in more:
            more.append("perl-base")  # pg_config is written in Perl, which every Debian has
        names = (*(name.format(minor) for name in own), *dict.fromkeys(more))
        return self.debian.system(base.suite, Platform.host().architecture, names, base.debs, self.observe)

    def _names(self) -> set[str]:
        """The normal names of the packages that the project names, or that its code imports."""
        project = self.project
        listed = package_names(project.dependencies, read_pyproject(project.root) or {}, project.root)
        more = [item.requirement for item in project.implied] + [
            item.requirement for item in project.unlisted
        ]
        return {*listed, *(normal_name(_bare(item)) for item in more)}

    def _libraries(self, wheels: Sequence[Wheel], platform: Platform) -> Mapping[str, Libraries]:
        """The shared libraries of those of `wheels` that are made for one kind of machine. Raises FetchError, FormatError."""
        native = [wheel for wheel in wheels if is_native(wheel)]
        if not native:
            return {}
        indexes = fetching_indexes(self.project, self.environment)
        unknown = [wheel for wheel in native if not is_known(self.store, wheel, platform.architecture)]
        places = fetch_wheels(self.store, unknown, indexes, self.observe)
        return libraries_of(self.store, places, native, platform.architecture)

    def _tell(self, event: Note | Warned) -> None:
        """Say it once for all platforms."""
        if event.message not in self.told:
            self.told.add(event.message)
            self.observe(event)

    def _fetched(self, wheels: Sequence[Wheel]) -> Mapping[str, Path]:
        """The places of `wheels` in the store. Raises FetchError."""
        return fetch_wheels(
            self.store, wheels, fetching_indexes(self.project, self.environment), self.observe
        )

    def _tell_cuda(self, wheels: Sequence[Wheel], before: Sequence[Wheel]) -> None:
        """Say that a file pins packages of CUDA which this machine has no GPU for; not again where the last lock has them."""
        files, gpu = self.project.dependencies.files, self.project.gpu
        pinned = _is_pinned(self.project) or self._is_hashed
        if pinned and gpu == "auto" and not has_gpu() and not is_cuda(wheel.name for wheel in before):
            note = pinned_note((wheel.name for wheel in wheels), files[0].name)
            if note is not None:
                self._tell(Note(note))

    def check_names(self, names: Sequence[str]) -> None:
        """Raises ProjectError when a package to upgrade is in no part of the last lock: it is misspelt."""
        if self.previous is None:
            return
        known = {wheel.name for part in self.previous.platforms for wheel in (*part.wheels, *part.serving)}
        known |= {deb.name for part in self.previous.platforms for deb in _debs(part)}
        for name in (name for name in names if not {name, normal_name(name)} & known):
            raise ProjectError(
                f"there is no package '{name}' in the lock to upgrade", hint="check its spelling"
            )

    def _base(
        self, platform: Platform, before: PlatformLock | None
    ) -> tuple[Base, int, bool, frozenset[str] | None]:
        """The base, its glibc, whether it is the last lock's, and the libraries of one that is an image."""
        written = self.project.base
        if not written.startswith("debian:"):
            return self._image(platform, before)
        suite, _, variant = written.removeprefix("debian:").partition("-")
        variant = variant or "default"
        archive = self.archives.get(platform.architecture)
        # A Python that could not be had has been said.
        check_python(suite, None if archive or self.project.python_source else self.project.python)
        glibc = _GLIBC.get(suite, _GLIBC_OF_UNKNOWN)
        if before is not None and isinstance(before.base, DebianBase):
            same = (before.base.suite, before.base.variant) == (suite, variant)
            same = same and bool(before.base.debian_python) == self._with_debians
            if same and not self.again & {deb.name for deb in _debs(before)}:
                own = archive.version if archive else before.base.debian_python
                return replace(before.base, python=own, interpreter=archive), glibc, True, None
        found = self.debian.base(
            suite, variant, platform.architecture, self.observe, with_python=self._with_debians
        )
        python = archive.version if archive else found.python
        return DebianBase(suite, variant, python, found.debs, archive), glibc, False, None

    @property
    def _with_debians(self) -> bool:
        """Whether the base has Debian's own Python: the project's, or that of the model server."""
        return not self.archives or isinstance(self.project.entry, Predictor)

    def _image(
        self, platform: Platform, before: PlatformLock | None
    ) -> tuple[Base, int, bool, frozenset[str] | None]:
        written = self.project.base
        if self.images is None:
            raise ProjectError(
                f"the base '{written}' cannot be used here",
                hint="use debian:bookworm or debian:trixie",
            )
        pinned = None
        if before is not None and isinstance(before.base, ImageBase):
            pinned = before.base.digest if before.base.reference == lasting_name(written) else None
        found = self.images.resolve(written, self.project.root, platform, pinned)
        minor = ".".join(found.base.python.split(".")[:2])
        if self.project.python is not None and self.project.python != minor:
            raise ProjectError(
                f"the base '{written}' has Python {minor}, not {self.project.python}",
                hint=f'set python = "{minor}", or use an image with Python {self.project.python}',
            )
        kept = before is not None and before.base == found.base
        return found.base, found.glibc or _GLIBC_OF_UNKNOWN, kept, found.libraries

    def _system(
        self,
        platform: Platform,
        base: Base,
        before: PlatformLock | None,
        observe: Observer,
        added: tuple[str, ...] = (),
    ) -> tuple[Deb, ...]:
        """The closure of the project's own system packages and of those that are `added` for its wheels."""
        names = tuple(sorted(set(self.project.system)))
        if not names and not added:
            return ()
        if not isinstance(base, DebianBase):
            raise ProjectError(
                "`system` needs a Debian base", hint='leave out `system`, or set base = "debian:bookworm"'
            )
        if before is not None and (before.system_names, before.library_names) == (names, added):
            return before.system
        optional = {*self.project.optional_system, *added}
        wanted = tuple(sorted({*names, *added}))
        return self.debian.system(
            base.suite, platform.architecture, wanted, base.debs, self.observe, optional
        )

    def _wheels(self, target: Target, before: Sequence[Wheel]) -> tuple[tuple[Wheel, ...], tuple[str, ...]]:
        """The project's wheels, and the folders of packages that are used where they lie. Where another package needs one of
        those by name, an index's package of that name does not come in its place."""
        dependencies, implied = self.project.dependencies, self.project.implied
        if dependencies.kind == "none" and not implied:
            return (), ()
        with self._watched(f"Python packages for {target.platform}"):
            if dependencies.kind in ("uv.lock", "pylock"):
                packages = (self._in_uv_lock if dependencies.kind == "uv.lock" else self._in_pylock)(target)
                packages, local = in_folders(self.project.root, packages)
                items = {id(package): of_lock(package) for package in packages}
                with self._references(target) as references:
                    built = [references.wheel(item, target) for item in items.values() if item is not None]
                    self._note_built(references)
                packages = [package for package in packages if items[id(package)] is None]
                own = tuple(
                    sorted((*self._pinned(packages, target, before), *built), key=lambda wheel: wheel.name)
                )
                _check_lock_gpu(self.project, own)
                self._tell_local(local)
                wheels = self._beside(target, own, before) if implied else own
                return wheels, tuple(item.path for item in local)
            local = on_target(local_packages(self.project, self.environment), target)
            self._tell_local(local)
            with self._references(target) as references:
                wanted = wanted_wheels(
                    self.project, target, self.environment, lambda item: references.line(item, target)
                )
                overrides = references.overrides(target)
                if overrides:
                    wanted = replace(wanted, request=replace(wanted.request, overrides=overrides))
                wanted = self.rules.applied(wanted)
                kind = builds(wanted.gpu, wanted.request.lines, before, has_gpu())
                wanted = replace(wanted, gpu="auto" if wanted.hashed and kind == PREFER_CPU else kind)
                indexes = references.allowed(self._indexes())
                self._note_built(references)
                with_built = replace(self, referenced=references.all)
                own = with_built._of_their_time(indexes, wanted, before)
            self.rules.check(own, self.sources.wheels() if self.sources is not None else ())
            wheels = self._beside(target, own, before) if implied and wanted.hashed else own
            names = {item.name for item in local}
            return tuple(item for item in wheels if item.name not in names), tuple(
                item.path for item in local
            )

    @contextmanager
    def _references(self, target: Target) -> Iterator[References]:
        """What brings and builds the sources that requirements name."""
        root = self.project.root
        with self.store.temporary_directory("references") as folder:
            yield References(
                root,
                Fetcher(root, self.store, self._indexes, self._say),
                self.store,
                folder,
                self._say,
                self.sources,
                self._built_before(target),
            )

    def _built_before(self, target: Target) -> list[tuple[Wheel, Built]]:
        """The wheels that the last lock has from sources. What was built for another Python, and with that one's wheels, does not count."""
        python = f"{target.minor}t" if target.threaded else target.minor
        parts = self.previous.platforms if self.previous is not None else ()
        same = (part for part in parts if (part.platform, part.python) == (target.platform, python))
        return built_before(next(same, None), self.again)

    def _note_built(self, references: References) -> None:
        if self.sources is not None:
            self.sources.note({wheel.sha256: built for wheel, built in references.all})

    def _say(self, event: Event) -> None:
        """Tell a note once, for however many platforms it holds."""
        if isinstance(event, Note):
            if event.message in self.told:
                return
            self.told.add(event.message)
        self.observe(event)

    def _tell_local(self, local: Sequence[Local]) -> None:
        if local:
            shown = ", ".join(f"'{item.path}'" for item in local[:6])
            shown += f" and {len(local) - 6} more" if len(local) > 6 else ""
            one = len(local) == 1
            self._say(Note(f"{shown} {'is' if one else 'are'} used in place"))
        for item in local:
            package = describe(self.project.root, item.path)
            if isinstance(package, LocalPackage) and package.version == UNKNOWN:
                self._say(
                    Note(f"no file of '{item.path}' contains its version: it is installed as {UNKNOWN}")
                )

    def _indexes(self) -> Indexes:
        """The indexes of the project's own packages, as of the day that is asked for."""
        indexes = resolving_indexes(self.project, self.environment)
        return replace(indexes, settings=as_of_settings(indexes.settings, self.day))

    def _of_their_time(self, indexes: Indexes, wanted: Wanted, before: Sequence[Wheel]) -> tuple[Wheel, ...]:
        """The wheels for `wanted`, of the time that fits the project where it does not say which versions it wants."""
        derived = self.project.dependencies.kind == "none"
        commit = self.commit if derived else None
        saved = None if wanted.hashed or self.day else deciding(self.saved, wanted.named, before)
        if self.previous is None and not derived and not wanted.hashed and not self.day:
            today = datetime.now(UTC).strftime("%Y-%m-%d")
            python = wanted.request.target.minor
            lines = wanted.request.lines
            note = old_project_note(self.commit, python, lines, indexes.settings, today)
            if note is not None and saved is None and note not in self.told:
                self.told.add(note)
                self.observe(Note(note))
        *first, plain = trials(
            indexes.settings, commit, saved, wanted.request.target.minor, built_days(self.project)
        )
        for trial in first:
            try:
                wheels = self._resolve(replace(indexes, settings=trial.settings), wanted, before, trying=True)
            except (ResolutionError, FetchError):
                continue
            if not trial.only_with or any(wheel.name == trial.only_with for wheel in wheels):
                for note in trial.notes:
                    self.observe(Note(note))
                return wheels
        for note in plain.notes:
            self.observe(Note(note))
        return self._resolve(indexes, wanted, before)

    def _with_imports(
        self, base: Base, target: Target, own: tuple[Wheel, ...], before: Sequence[Wheel]
    ) -> tuple[tuple[Wheel, ...], tuple[str, ...]]:
        """`own`, with what the project imports as it starts and nothing among them has; and what of that cannot be had."""
        if not isinstance(base, DebianBase):
            return own, ()
        there = {wheel.name for wheel in own}
        asked = [item for item in self.project.unlisted if not there & {*item.distributions}]
        without: list[str] = []
        added: list[Implied] = []
        for item in asked:
            if self._is_hashed:
                self._tell_without(item, "the requirements have hashes")
                without.append(normal_name(_bare(item.requirement)))
                continue
            implied = Implied(item.requirement, "")
            try:
                alone = replace(self, project=replace(self.project, implied=(implied,)))
                own = alone._beside(target, own, before)
            except (ResolutionError, FetchError, ProjectError, BuildError, NoSandbox) as error:
                anew = self._together((*added, implied), target, before)
                if anew is None:
                    self._tell_without(item, error.message.partition("\n")[0].rstrip(":"), error.hint)
                    without.append(normal_name(_bare(item.requirement)))
                    continue
                own = anew
            added.append(implied)
            self.observe(Note(f"adds {item.requirement}: {item.reason}"))
        return own, tuple(sorted(without))

    def _together(
        self, added: Sequence[Implied], target: Target, before: Sequence[Wheel]
    ) -> tuple[Wheel, ...] | None:
        """All packages, chosen anew so that `added` fit among them. None where another tool's lock pins them, or nothing fits."""
        if self.project.dependencies.kind in ("uv.lock", "pylock"):
            return None
        project = replace(self.project, implied=(*self.project.implied, *added))
        try:
            return replace(self, project=project)._wheels(target, before)[0]
        except (ResolutionError, FetchError, ProjectError, BuildError, NoSandbox):
            return None

    @property
    def _is_hashed(self) -> bool:
        dependencies = self.project.dependencies
        return dependencies.kind == "requirements" and requirements_of(self.project, self.environment).hashed

    def _tell_without(self, item: Unlisted, why: str, way: str | None = None) -> None:
        line = f"add a line to the project's dependencies: {item.requirement}"
        better = way if way is not None and "[tool.corten]" in way else line
        self.observe(Warned(f"{item.reason}; it is not added: {why}", better))

    def _beside(self, target: Target, own: tuple[Wheel, ...], before: Sequence[Wheel]) -> tuple[Wheel, ...]:
        """`own`, which is pinned, with what Corten adds and what that needs."""
        wanted = self.rules.applied(wanted_beside(self.project, target, own))
        wanted = replace(wanted, gpu=builds(wanted.gpu, wanted.request.lines, own, has_gpu()))
        there = {wheel.name for wheel in own}
        found = self._resolve(self._indexes(), wanted, before)
        added = [wheel for wheel in found if wheel.name not in there]
        self.rules.check(added, self.sources.wheels() if self.sources is not None else ())
        return tuple(sorted((*own, *added), key=lambda wheel: wheel.name))

    def _in_uv_lock(self, target: Target) -> list[dict[str, Any]]:
        dependencies = self.project.dependencies
        pyproject = read_pyproject(self.project.root)
        check_current(dependencies.files[0], pyproject)
        table = pyproject.get("project")
        name = str(table.get("name") if isinstance(table, dict) else "") or self.project.name
        return locked_packages(
            read_uv_lock(dependencies.files[0]),
            name,
            target,
            dependencies.extras,
            dependencies.groups,
            self.project.root,
        )

    def _in_pylock(self, target: Target) -> list[dict[str, Any]]:
        dependencies = self.project.dependencies
        path = dependencies.files[0]
        packages = pylock.packages_for(
            path, target, dependencies.extras, dependencies.groups, self.project.root
        )
        pylock.check_current(packages, written_requirements(self.project), path, target)
        return packages

    def _pinned(
        self, packages: Sequence[Mapping[str, Any]], target: Target, before: Sequence[Wheel]
    ) -> tuple[Wheel, ...]:
        """The wheels for `packages`, which another tool's lock has for `target`."""
        indexes = resolving_indexes(self.project, self.environment)
        with self.store.temporary_directory("lock") as directory:
            resolver = self._resolver(indexes, directory, target)
            wheels = resolver.from_pylock(packages, target, before)
            self._note(resolver)
            return wheels

    def _resolver(
        self,
        indexes: Indexes,
        directory: Path,
        target: Target,
        hashes: Mapping[str, Sequence[str]] | None = None,
    ) -> WheelResolver:
        """`hashes` are those that the requirements allow, by name: what was built from another file before is not used."""
        allowed = hashes or {}
        before = [
            (wheel, built)
            for wheel, built in self._built_before(target)
            if wheel.name not in allowed or {wheel.sha256, built.sdist.sha256} & {*allowed[wheel.name]}
        ]
        before += self.referenced
        return WheelResolver(self.store, indexes, directory, self.observe, self.sources, before, self.others)

    def _note(self, resolver: WheelResolver) -> None:
        if self.sources is not None and resolver.sources is not None:
            self.sources.note(resolver.sources.built)

    def _serving(self, target: Target, before: Sequence[Wheel]) -> tuple[Wheel, ...]:
        if not isinstance(self.project.entry, Predictor):
            return ()
        if tuple(int(part) for part in target.minor.split(".")) < OLDEST_PYTHON:
            oldest = ".".join(map(str, OLDEST_PYTHON))
            raise ProjectError(
                f"the model server needs Python {oldest}, and the base has {target.minor}",
                hint="use a newer base, or a `command` that serves by itself",
            )
        if _satisfies(before, REQUIREMENTS) and not self.again & {wheel.name for wheel in before}:
            return tuple(before)
        wanted = Wanted(Request(target, lines=REQUIREMENTS), named=_SERVING)
        with self._watched(f"the model server for {target.platform}"):
            return self._resolve(read_indexes(self.project.root, self.environment), wanted, before)

    def _resolve(
        self, indexes: Indexes, wanted: Wanted, before: Sequence[Wheel], trying: bool = False
    ) -> tuple[Wheel, ...]:
        with self.store.temporary_directory("lock") as directory:
            resolver = self._resolver(indexes, directory, wanted.request.target, wanted.allowed)
            again = sorted(self.again & {wheel.name for wheel in before})
            try:
                wheels = resolver.resolve(wanted, before, upgrade=self.upgrade, again=again, trying=trying)
                self._note(resolver)
                return wheels
            except FetchError as error:
                smaller = without_it(indexes, wanted, error)
                if smaller is None:
                    raise
                if error.message not in self.told:
                    self.told.add(error.message)
                    self.observe(
                        Warned(
                            f"{error.message}: PyTorch comes from the other indexes, perhaps with CUDA",
                            "when it can be reached again, 'corten lock --upgrade' takes its builds",
                        )
                    )
        return self._resolve(*smaller, before, trying)

    def compilers(self, platforms: Sequence[PlatformLock]) -> dict[str, tuple[Deb, ...]]:
        """The interpreter for this machine, where the lock has no platform of its architecture. Builders of another architecture need
        that one's index of packages, so they add it when they lock; what the last lock has for them stays while it can compile."""
        base = platforms[0].base
        if not isinstance(base, DebianBase):
            return {}
        kept = fitting_compilers(self.previous, platforms) if self.previous is not None else {}
        here = Platform.host().architecture
        wanted = {*kept, here} - {part.platform.architecture for part in platforms}
        return {
            name: kept[name]
            if name in kept
            else self.debian.compiler(base.suite, name, self.observe, with_python=self._with_debians)
            for name in sorted(wanted)
        }

    def _watched(self, name: str) -> _Watched:
        return _Watched(self.observe, name)


class _Watched:
    """Tells the observer that work begins and ends."""

    def __init__(self, observe: Observer, name: str) -> None:
        self._observe = observe
        self._name = name

    def __enter__(self) -> None:
        self._observe(TaskStarted("resolve", self._name))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._observe(TaskFinished("resolve", self._name))


def _is_threaded(base: Base) -> bool:
    return isinstance(base, DebianBase) and base.interpreter is not None and base.interpreter.threaded


def _saved_models(project: Project, store: Store) -> tuple[Saved, ...]:
    """What the project's weights say of the packages that they were made with; without those that cannot be looked at."""
    try:
        weights = scan(project, store.root).weights
    except ProjectError:  # the build says it
        return ()
    paths = [file.path for file in weights if file.path.endswith(ENDINGS)][:_MOST_MODELS]
    return tuple(found for path in paths if (found := look(project.root, path)) is not None)


def _is_pinned(project: Project) -> bool:
    """Whether a lock of another tool says every version."""
    return project.dependencies.kind in ("uv.lock", "pylock") or (
        bool(project.dependencies.files) and all(file.name in LOCKS for file in project.dependencies.files)
    )


def _refuse_day(project: Project) -> None:
    if _is_pinned(project):
        name = project.dependencies.files[0].name
        raise UsageError(
            f"'{name}' sets the versions, so they cannot be those of a day",
            hint=f"make '{name}' for that day (uv lock --exclude-newer DAY), or name another file with `requirements`",
        )
    if project.dependencies.kind == "requirements" and requirements_of(project).hashed:
        raise UsageError(
            "the requirements have hashes, so their versions cannot be those of a day",
            hint="leave out --as-of, or remove all hashes",
        )


def _fetched(project: Project, environment: Mapping[str, str] | None, url: str, most: int) -> bytes:
    """What the user's own configuration names by an address. Raises FetchError."""
    return Http(read_indexes(project.root, environment).network()).get(url, limit=most)


def _bare(requirement: str) -> str:
    """The name in a requirement of Corten's own table."""
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0]


def fitting_compilers(previous: Lock, platforms: Sequence[PlatformLock]) -> dict[str, tuple[Deb, ...]]:
    """The compilers of the last lock that `platforms` still need: for an architecture that no platform has, with exactly the
    suite and the Python of their bases. A build on such a machine would refuse any other Python, and no 'corten lock' there would
    help."""
    if previous.suites != tuple(
        sorted({part.base.suite for part in platforms if isinstance(part.base, DebianBase)})
    ):
        return {}
    theirs = {part.platform.architecture for part in platforms}
    pythons = {part.base.debian_python for part in platforms if isinstance(part.base, DebianBase)}
    return {
        architecture: debs
        for architecture, debs in previous.compilers.items()
        if architecture not in theirs and {python_in(debs)} == pythons
    }


def _debs(part: PlatformLock) -> tuple[Deb, ...]:
    return (*(part.base.debs if isinstance(part.base, DebianBase) else ()), *part.system, *part.tools)


def _satisfies(wheels: Sequence[Wheel], requirements: Sequence[str]) -> bool:
    """Whether `wheels` hold a version of every requirement."""
    from packaging.requirements import Requirement

    versions = {wheel.name: wheel.version for wheel in wheels}
    parsed = [Requirement(text) for text in requirements]
    return all(
        normal_name(item.name) in versions and versions[normal_name(item.name)] in item.specifier
        for item in parsed
    )


def _check_lock_gpu(project: Project, wheels: Sequence[Wheel]) -> None:
    """Raises ResolutionError as `_check_gpu`, for the lock of another tool."""
    hint = "make the lock file with the other builds, or remove `gpu`"
    if project.dependencies.kind == "uv.lock":
        hint = "choose torch's index in [tool.uv.sources] and run 'uv lock', or remove `gpu`"
    _check_gpu(project.gpu, wheels, project.dependencies.files[0].name, hint)


def _check_gpu(gpu: str, wheels: Sequence[Wheel], file: str, hint: str) -> None:
    """Raises ResolutionError when the lock `file` has pinned other builds than `gpu` asks for: Corten does not change them."""
    if gpu == "none":
        for wheel in wheels:
            if wheel.name.startswith("nvidia-"):
                raise ResolutionError(f"`gpu` is none, but {file} has '{wheel.name}'", hint=hint)
    elif gpu not in ("auto", "any"):
        for wheel in wheels:
            if wheel.name == "torch" and not wheel.version.endswith(f"+{gpu}"):
                raise ResolutionError(f"`gpu` is {gpu}, but {file} has torch {wheel.version}", hint=hint)
