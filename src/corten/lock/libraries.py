"""The Debian packages that a project's wheels need and nobody names: shared libraries by what their ELF files say, and what they load
or start by name.

Wheels are fetched for it, as the build that follows would; one that was looked at before is not opened again. Debian's list of files
is fetched only where a library is missing that is not known to be in a package of the base.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from corten.errors import FetchError, FormatError
from corten.events import Note, Observer, Warned
from corten.lock.model import Base, DebianBase
from corten.oci.platform import Platform
from corten.packages.debian.archive import DebianArchive
from corten.packages.debian.contents import decide
from corten.packages.files import Deb, Wheel
from corten.packages.known_libraries import NAMED_ONLY, brought_by, by_name, is_optional, is_wanted
from corten.packages.libraries import Libraries
from corten.values import dataclass

Fetched = Callable[[Sequence[Wheel]], Mapping[str, Libraries]]
"""The libraries of wheels by the wheels' names. Raises FetchError, FormatError."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A library that nothing brings, and what needs it: a module where one is known, else the distribution."""

    library: str
    who: str


def missing_from(found: Mapping[str, Libraries], present: Collection[str]) -> tuple[Missing, ...]:
    """The libraries that wheels need and that neither any of them nor `present` brings. A loader that has a library loaded takes it
    for every later file that needs one of that name, so each wheel counts for all."""
    brought = set(present).union(*(item.brings for item in found.values()))
    missing: dict[str, str] = {}
    for distribution, item in sorted(found.items()):
        for library, path in sorted(item.needs.items()):
            if library in brought or is_optional(path):
                continue
            if is_wanted(library, distribution, brought):
                missing.setdefault(library, _who(distribution, path))
    return tuple(Missing(library, who) for library, who in sorted(missing.items()))


def _who(distribution: str, path: str) -> str:
    top = path.partition("/")[0]
    return top if "/" in path and top.isidentifier() else distribution


def needed_packages(
    base: Base,
    platform: Platform,
    system: Sequence[Deb],
    wheels: Sequence[Wheel],
    look: Fetched,
    debian: DebianArchive,
    observe: Observer,
    *,
    before: Collection[str] = (),
    in_image: Collection[str] | None = None,
) -> tuple[str, ...]:
    """The names of the packages to add to `base` and `system` for what `wheels` need; each is said, and so is what cannot be added.
    `before`: those of the last lock. `in_image`: the libraries of a base that is an image. Raises SignatureError."""
    for wheel in wheels:
        if wheel.name in NAMED_ONLY:
            observe(Warned(*NAMED_ONLY[wheel.name]))
    if not isinstance(base, DebianBase) and in_image is None:
        return ()
    kept: Collection[str] = ()
    try:
        found = look(wheels)
    except (FetchError, FormatError) as error:
        found, kept = {}, before
        more = f"; the packages of the last lock stay: {', '.join(sorted(before))}" if before else ""
        observe(
            Warned(
                f"the shared libraries that the packages for {platform} need were not looked at: {error.message}{more}",
                "run 'corten lock' again when the package can be had",
            )
        )
    if not isinstance(base, DebianBase):
        if in_image is not None:
            _tell_image(base.reference, missing_from(found, {*in_image, *brought_by(())}), observe)
        return ()
    present = {deb.name for deb in (*base.debs, *system)}
    named: dict[str, list[str]] = {}
    for package, why in by_name(wheels, base.suite):
        if package not in present:
            named.setdefault(why, []).append(package)
    added = {package for packages in named.values() for package in packages}
    missing = missing_from(found, brought_by({*present, *added}))
    for_libraries = _looked_up(base, platform, missing, present, debian, observe, before) if missing else {}
    for why, packages in named.items():
        _tell_added(packages, why, before, observe)
    by_who: dict[str, list[str]] = {}
    for package, items in for_libraries.items():
        by_who.setdefault(", ".join(sorted({item.who for item in items})), []).append(package)
    for packages in by_who.values():
        _tell_added(
            packages, _needs([item for name in packages for item in for_libraries[name]]), before, observe
        )
    return tuple(sorted({*added, *for_libraries, *kept} - present))


def _looked_up(
    base: DebianBase,
    platform: Platform,
    missing: Sequence[Missing],
    present: Collection[str],
    debian: DebianArchive,
    observe: Observer,
    before: Collection[str],
) -> dict[str, list[Missing]]:
    """The packages for `missing`, each with what it is for."""
    by_library = {item.library: item for item in missing}
    try:
        having = debian.having(base.suite, platform.architecture, by_library, observe)
    except (FetchError, FormatError) as error:
        kept = f"; the packages of the last lock stay: {', '.join(sorted(before))}" if before else ""
        observe(
            Warned(
                f"{_needs(missing)}, and Debian's list of files, which says what has it, cannot be had: {error.message}{kept}",
                "run 'corten lock' again, or name the package in `system`",
            )
        )
        return {name: [] for name in before}
    added, choices, nowhere = decide(by_library, having, present)
    for library, packages in choices.items():
        shown = ", ".join(packages[:5])
        observe(
            Warned(
                f"{_needs([by_library[library]])}, and several packages of Debian have it: {shown}",
                f'choose one: system = ["{packages[0]}"]',
            )
        )
    by_who: dict[str, list[Missing]] = {}
    for library in nowhere:
        by_who.setdefault(by_library[library].who, []).append(by_library[library])
    for items in by_who.values():
        observe(
            Warned(
                f"{_needs(items)}, which no package of Debian {base.suite} has",
                "add the Python package that brings it; without it, the part that needs it cannot be used",
            )
        )
    result: dict[str, list[Missing]] = {}
    for library, package in added.items():
        result.setdefault(package, []).append(by_library[library])
    return result


def _tell_added(packages: Sequence[str], why: str, before: Collection[str], observe: Observer) -> None:
    """Say what is added, unless the last lock has it already."""
    fresh = sorted({*packages} - {*before})
    if fresh:
        observe(Note(f"adds {', '.join(fresh)}: {why}"))


def _tell_image(reference: str, missing: Sequence[Missing], observe: Observer) -> None:
    by_who: dict[str, list[Missing]] = {}
    for item in missing:
        by_who.setdefault(item.who, []).append(item)
    for items in by_who.values():
        observe(
            Warned(
                f"{_needs(items)}, which the base '{reference}' has not",
                'use an image that has it, or base = "debian:bookworm", where Corten adds it',
            )
        )


def _needs(items: Sequence[Missing]) -> str:
    """In words: `cv2 needs libGL.so.1 and libX.so.6`."""
    if not items:
        return ""
    who = sorted({item.who for item in items})
    names = sorted({item.library for item in items})
    shown = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    subject = ", ".join(who[:3])
    libraries = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
    return f"{subject} {'needs' if len(who) == 1 else 'need'} {libraries}"
