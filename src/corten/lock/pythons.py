"""Which Python a lock has where Debian's own is not the one that a project wants (DECISIONS 50)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corten.errors import FetchError
from corten.events import Note, Observer, Warned
from corten.lock.model import DebianBase, Lock
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.debian.archive import PYTHONS
from corten.packages.files import PythonArchive
from corten.packages.pythons import Pythons, Wish, wish
from corten.project import interpreter
from corten.project.model import Project
from corten.store.store import Store
from corten.values import replace


def wanted_python(project: Project) -> Wish | None:
    """The CPython that `project` wants in the place of that of its base; None: the base's own does."""
    if project.python is None or not project.base.startswith("debian:"):
        return None
    found = wish(project.python, project.requires_python)
    suite = project.base.removeprefix("debian:").partition("-")[0]
    own = PYTHONS.get(suite)
    if own is None or (own == found.minor and found.exact is None and not found.threaded):
        return None
    return found


def standalone_archives(
    project: Project,
    store: Store,
    platforms: Sequence[Platform],
    previous: Lock | None,
    environment: Mapping[str, str],
    observe: Observer,
) -> dict[str, PythonArchive]:
    """The archive of the Python that `project` wants, for the architectures of `platforms` and for this machine's; empty where Debian's
    is used. What `previous` has holds while it is what is wanted. Raises FetchError; but a wish that only says how the project runs
    without Corten gives way to Debian's Python, which is said."""
    wanted = wanted_python(project)
    if wanted is None:
        return {}
    architectures = {*(platform.architecture for platform in platforms), Platform.host().architecture}
    kept = _kept(previous, wanted, architectures)
    if kept is not None:
        return kept
    try:
        found = Pythons(store, environment, observe).find(wanted, architectures)
        version = next(iter(found.values())).version
        observe(Note(f"Python {version} comes from python-build-standalone: '{project.base}' has another"))
        return found
    except FetchError as error:
        suite = project.base.removeprefix("debian:").partition("-")[0]
        if not project.python_source:
            raise
        interpreter.check(interpreter.unmet(project.requires_python, PYTHONS[suite], project.base))
        observe(
            Warned(
                f"'{project.python_source}' names Python {wanted.named}; the image has {PYTHONS[suite]}, that of "
                f"'{project.base}': {error.message}",
                error.hint,
            )
        )
        return {}


def other_pythons(
    project: Project, store: Store, environment: Mapping[str, str], observe: Observer
) -> list[str]:
    """The Pythons that `project`, which does not say which one it wants, may have in the place of its base's: Debian's first, then the
    newest."""
    own = interpreter.DEBIAN_PYTHONS[project.base.removeprefix("debian:").partition("-")[0]]
    debians = [python for python in interpreter.DEBIAN_PYTHONS.values() if python != own]
    try:
        listed = Pythons(store, environment, observe).minors()
    except FetchError:
        listed = []
    found = [python for python in (*debians, *listed) if python != own]
    return [
        python for python in dict.fromkeys(found) if interpreter.admits(project.requires_python or "", python)
    ]


def with_python(project: Project, python: str) -> Project:
    """`project` with that Python, on the release of Debian that has it where one does."""
    suites = (suite for suite, found in interpreter.DEBIAN_PYTHONS.items() if found == python)
    base = next((f"debian:{suite}" for suite in suites), project.base)
    return replace(project, python=python, base=base)


def as_before(project: Project, previous: Lock | None, digest: Digest) -> Project:
    """`project`, which does not say which Python it wants, with the one that was found for it when `previous` was made."""
    if not project.python_open or previous is None or not previous.platforms or previous.project != digest:
        return project
    base = previous.platforms[0].base
    if not isinstance(base, DebianBase) or (
        base.interpreter is None and project.base == f"debian:{base.suite}"
    ):
        return project
    return replace(project, python=previous.platforms[0].python, base=f"debian:{base.suite}")


def _kept(previous: Lock | None, wanted: Wish, architectures: set[str]) -> dict[str, PythonArchive] | None:
    """The archives of the last lock, where they are what is wanted."""
    if previous is None:
        return None
    for part in previous.platforms:
        if not isinstance(part.base, DebianBase) or part.base.interpreter is None:
            continue
        archive = part.base.interpreter
        fits = archive.minor == wanted.minor + ("t" if wanted.threaded else "")
        fits = fits and wanted.exact in (None, archive.version)
        if not fits or not interpreter.admits(wanted.requires or "", archive.version):
            continue
        found = {name: previous.archive_on(name, archive.version) for name in architectures}
        kept = {name: item for name, item in found.items() if item is not None}
        if kept.keys() == architectures and len({item.release for item in kept.values()}) == 1:
            return kept
    return None
