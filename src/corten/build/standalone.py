"""A Python from python-build-standalone, unpacked at /usr/local: a hostile archive, placed by descriptors and nowhere else.

The archives are made to lie anywhere, in a folder `python/`. What names the folder of their build, `/install`, gets the true place;
compilers that only the build had become the usual names. Tk, the tests of the library, IDLE and pip's own copy are left out: an
image without a screen runs none of them, and its packages come from the lock.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

from corten.errors import FormatError
from corten.lazy import regex
from corten.oci.bound import WHEEL, Bound
from corten.oci.compression import unpacked
from corten.oci.inside import Inside
from corten.oci.placing import ITS_OWN_FAULT, clean
from corten.oci.tar_stream import Member, TarStream, printable
from corten.packages.files import PythonArchive

PREFIX = "usr/local"

_FOLDER = b"python/"
_LARGEST_TEXT = 16 << 20
_LARGEST_LINKED = 256 << 20
_PIECE = 1 << 20
_ITS_OWN_FAULT = ITS_OWN_FAULT | {errno.EEXIST, errno.ENOENT}
_FILE, _HARD_LINK, _SYMBOLIC_LINK, _DIRECTORY, _GLOBAL = b"0125g"
_LEFT_OUT = regex(
    r"bin/(?:idle|pip|easy_install)[^/]*$"
    r"|lib/(?:tcl|tk|itcl|tdbc|thread|libtcl|libtk)[^/]*(?:/|$)"
    r"|lib/python[^/]+/(?:test|tests|idlelib|turtledemo|tkinter|lib2to3/tests|ensurepip/_bundled|site-packages|__phello__)(?:/|$)"
    r"|lib/python[^/]+/(?:[^/]+/)*(?:test|tests)/"
    r"|lib/python[^/]+/(?:turtle\.py|lib-dynload/(?:_tkinter|_test[a-z]*|_ctypes_test|xxlimited)[^/]*)$"
    r"|lib/python[^/]+/config-[^/]+/[^/]+\.(?:a|o)$"
    r"|lib/[^/]+\.a$"
    r"|share/(?:man|doc)(?:/|$)"
    r"|share/terminfo/(?!a/ansi$|d/dumb$|l/linux$|r/rxvt|s/screen|t/tmux|v/vt[12]|x/xterm)"
    r"|(?:.*/)?__pycache__(?:/|$)"
)
# Files in which the place of the build stands.
_REWRITTEN = regex(
    r"lib/python[^/]+/(?:_sysconfigdata_[^/]+\.(?:py|json)|_sysconfig_vars_[^/]+\.json|config-[^/]+/Makefile|build-details\.json)$"
    r"|lib/pkgconfig/[^/]+\.pc$|bin/[^/]+-config$"
)
_BUILT_AT = regex(rb"(?<![\w./-])/install(?=[/'\" \n:]|$)")
_COMPILERS = (
    (re.compile(rb"(?<![\w./-])(?:[\w./-]*/)?(?:clang\+\+|[\w]+-linux-gnu-g\+\+)(?![\w+-])"), b"c++"),
    (re.compile(rb"(?<![\w./-])(?:[\w./-]*/)?(?:clang|[\w]+-linux-gnu-gcc)(?![\w+-])"), b"cc"),
    (re.compile(rb"(?<![\w./-])(?:[\w./-]*/)?llvm-(ar|ranlib|nm)(?![\w-])"), rb"\1"),
    (
        re.compile(
            rb" ?-(?:fdebug-default-version=4|fuse-ld=lld|-rtlib=compiler-rt|-unwindlib=\w+)(?=[ '\"\n])"
        ),
        b"",
    ),
)


def kept(path: str) -> bool:
    """Whether the file of an archive at `path`, relative to its `python/`, goes into an image."""
    return _LEFT_OUT.match(path) is None


def place_python(
    file: Path,
    archive: PythonArchive,
    tree: Path,
    spend: Callable[[int], None] | None = None,
    bound: Bound = WHEEL,
) -> None:
    """Unpack `file`, which is `archive`, at /usr/local in the directory `tree`. `spend` hears the bytes that are written. Raises
    FormatError for an archive that is damaged, leads out of its folder, is too large, or is another Python than its name says."""
    what, packed, linked = f"'{archive.file}'", file.stat().st_size, 0
    with file.open("rb") as source, Inside(tree) as inside:
        stream = TarStream(unpacked(iter(lambda: source.read(_PIECE), b""), "gzip", bound))
        try:
            while (member := stream.next()) is not None:
                bound.check_entries(stream.entries, what)
                # A hard link costs the archive a header, and a copy on the disk.
                linked += _place(member, stream, inside, spend)
                bound.check(linked, packed, what)
        except FormatError as error:
            raise FormatError(
                f"'{archive.file}' cannot be unpacked: {error.message}", hint=error.hint
            ) from error
        _check(inside, archive)
        # Programs that install into it, and `site`, look for this folder.
        inside.directory(f"{PREFIX}/lib/python{archive.minor}/site-packages", make=True)


def _place(member: Member, stream: TarStream, inside: Inside, spend: Callable[[int], None] | None) -> int:
    """Place one entry. The bytes that were copied from another file of the archive."""
    path = None if member.flag == _GLOBAL else _path(member.path)
    if path is None or member.flag == _DIRECTORY or not kept(path):
        for _ in stream.data(member.size if member.flag == _FILE else 0):
            pass
        stream.padding(member.size if member.flag == _FILE else 0)
        return 0
    place = f"{PREFIX}/{path}"
    try:
        if member.flag == _FILE:
            _write(inside, place, member, stream, path, spend)
            stream.padding(member.size)
        elif member.flag == _SYMBOLIC_LINK:
            target = os.fsdecode(member.link)
            if target.startswith("/") or os.path.normpath(f"{os.path.dirname(path)}/{target}").startswith(
                ".."
            ):
                raise FormatError(f"the link '{printable(member.path)}' leads out of it")
            inside.symlink(place, target)
        elif member.flag == _HARD_LINK:
            other = _path(member.link)
            data = inside.read(f"{PREFIX}/{other}", _LARGEST_LINKED + 1) if other else b""
            if len(data) > _LARGEST_LINKED:
                raise FormatError(f"'{printable(member.path)}' is a link to a file of more than 256 MiB")
            inside.write(place, data, 0o755 if member.mode & 0o111 else 0o644)
            if spend:
                spend(len(data))
            return len(data)
        else:
            raise FormatError(f"'{printable(member.path)}' is neither a file nor a link")
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in _ITS_OWN_FAULT:
            raise
        raise FormatError(f"'{printable(member.path)}' is at a path that is not allowed") from error
    return 0


def _path(name: bytes) -> str | None:
    """The path below `python/`; None for the folder itself. Raises FormatError for what is not in it."""
    path = clean(name)
    if path + b"/" == _FOLDER or not path:
        return None
    if not path.startswith(_FOLDER):
        raise FormatError(f"'{printable(name)}' is not in its folder 'python'")
    return os.fsdecode(path.removeprefix(_FOLDER))


def _write(
    inside: Inside,
    place: str,
    member: Member,
    stream: TarStream,
    path: str,
    spend: Callable[[int], None] | None,
) -> None:
    mode = 0o755 if member.mode & 0o111 else 0o644
    if _REWRITTEN.match(path) and member.size <= _LARGEST_TEXT:
        data = rewritten(b"".join(stream.data(member.size)))
        inside.write(place, data, mode)
        if spend:
            spend(len(data))
        return
    descriptor = inside.create(place, mode)
    try:
        for piece in stream.data(member.size):
            view = memoryview(piece)
            while view:
                view = view[os.write(descriptor, view) :]
            if spend:
                spend(len(piece))
    finally:
        os.close(descriptor)


def rewritten(text: bytes) -> bytes:
    """A file that says how this Python was built, for its place in an image."""
    text = _BUILT_AT.sub(f"/{PREFIX}".encode(), text)
    for form, usual in _COMPILERS:
        text = form.sub(usual, text)
    return text


def _check(inside: Inside, archive: PythonArchive) -> None:
    for place in (f"bin/python{archive.minor}", f"lib/python{archive.minor}/os.py"):
        found = inside.resolve(f"{PREFIX}/{place}")
        if found is None or not found.startswith(f"{PREFIX}/"):
            raise FormatError(f"'{archive.file}' has no '{place}'", hint="run 'corten lock --upgrade'")
