"""A Debian base, and system packages above it, as file trees: packages unpacked, and what their scripts would have made.

No maintainer script is run. The trees depend on the packages alone: no time, locale, user, umask or order of a directory has
a part in them. Owners and times are the layer writer's; modes are 0644 and 0755, and 1777 for what everybody writes to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from corten.build import debian_alternatives, debian_configuration, debian_linker, debian_records
from corten.errors import FormatError
from corten.lazy import regex
from corten.packages.debian.deb import Control, contents_of, read_control
from corten.packages.debian.tree import Tree
from corten.packages.files import Deb
from corten.store.disk import explained

# Manual pages, translations and the like: 40 % of some packages, and nobody reads them in a container. Copyright
# files stay, and the links between directories of documentation that lead to them. Of iconv's tables (64 KiB each on
# arm64, 19 MB in all) those stay that files and protocols in use are written in: not mainframes', not telex machines'.
_LEFT_OUT = regex(
    r"usr/share/(?:bug|doc-base|gtk-doc|help|info|linda|lintian|locale|man|menu)(?:/|$)"
    r"|usr/share/doc/[^/]+/(?!copyright)"
    r"|usr/share/zoneinfo/right(?:/|$)"
    r"|usr/lib/[^/]+/gconv/(?!lib|UTF|UNICODE|ANSI|ARMSCII|BIG5|CP|EUC|GB|GEORGIAN|IBM(?:437|85[025]|866)\.|ISO-2022|ISO8859"
    r"|JOHAB|KOI8|MACINTOSH|SHIFT|SJIS|TCVN|TIS|UHC|VISCII)[^/]+\.so$"
)


def stdlib_directories(python: str) -> tuple[str, ...]:
    """Where a base has the standard library of `python` (`3.11` or `3.11.2`), relative to its root."""
    return (f"usr/lib/python{_minor(python)}",)


def kept(path: str) -> bool:
    """Whether a package's file goes into an image."""
    return _LEFT_OUT.match(path) is None


def place_base(
    debs: Sequence[tuple[Deb, Path]], tree: Path, *, python: str, spend: Callable[[int], None] | None = None
) -> None:
    """Make a base of `debs`, in this order, in the empty directory `tree`. A part of a base does as well (an
    interpreter to compile with). `spend` hears the bytes that are written. Raises FormatError for a broken package, BuildError when two have the same file."""
    base = Tree(tree, spend=spend)
    with explained(tree):
        debian_configuration.merge_usr(base)
        scripts = _unpack(base, debs)
        debian_configuration.configure(base, _minor(python))
        debian_alternatives.write_alternatives(base, scripts, kept)
        debian_linker.write_cache(base)


def place_system(
    debs: Sequence[tuple[Deb, Path]],
    tree: Path,
    *,
    base_debs: Sequence[Deb],
    base_tree: Path,
    spend: Callable[[int], None] | None = None,
) -> None:
    """Make the layer of `debs` above the base in `base_tree` in the empty directory `tree`: what is new or different.
    Packages that are in the base are passed over. Raises as `place_base`."""
    there = {(deb.name, deb.version) for deb in base_debs}
    layer = Tree(tree, [base_tree], spend)
    added = [(deb, path) for deb, path in debs if (deb.name, deb.version) not in there]
    with explained(tree):
        scripts = _unpack(layer, added)
        if layer.added("usr/share/ca-certificates"):
            debian_configuration.write_bundle(layer)
        debian_alternatives.write_alternatives(layer, scripts, kept)
        debian_linker.write_cache(layer)


def place_tools(
    debs: Sequence[tuple[Deb, Path]],
    tree: Path,
    lower: Sequence[Path],
    *,
    spend: Callable[[int], None] | None = None,
) -> Tree:
    """Unpack `debs` above the trees `lower` in the empty directory `tree`, for programs that run over it and no image. Raises as
    `place_base`."""
    layer = Tree(tree, lower, spend)
    with explained(tree):
        scripts = _unpack(layer, debs)
        debian_alternatives.write_alternatives(layer, scripts, kept)
        debian_linker.write_cache(layer)
    return layer


def _unpack(tree: Tree, debs: Sequence[tuple[Deb, Path]]) -> list[str]:
    """Unpack and record `debs`. Returns their post-installation scripts."""
    scripts = []
    with contents_of([path for _, path in debs]) as contents:
        for (deb, path), entries in zip(debs, contents, strict=True):
            control = read_control(path)
            _check(deb, control)
            debian_records.write_record(tree, control, tree.unpack(entries, control, kept))
            scripts.append(control.scripts.get("postinst", ""))
    return scripts


def _check(deb: Deb, control: Control) -> None:
    found = (control.name, control.fields.get("version", ""))
    if found != (deb.name, deb.version):
        raise FormatError(
            f"'{deb.file}' holds '{found[0]}' {found[1]} instead of '{deb.name}' {deb.version}",
            hint="run 'corten lock' again",
        )


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])
