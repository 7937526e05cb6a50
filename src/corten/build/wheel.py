"""One wheel becomes a file tree, by PyPA's `installer` (the binary distribution format, PEP 427, and PEP 376's RECORD).

The tree holds what the wheel installs and nothing that depends on the request: INSTALLER is `corten`, there is no REQUESTED
and no direct_url.json, and bytecode is not in RECORD (DECISIONS 8).
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import posixpath
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from installer import install
from installer.destinations import WheelDestination
from installer.records import Hash, RecordEntry
from installer.scripts import Script
from installer.sources import WheelFile
from installer.utils import Scheme, construct_record_file, fix_shebang

from corten.build.environment import Environment
from corten.errors import BuildError, FormatError
from corten.lazy import regex
from corten.oci.bound import WHEEL, Bound
from corten.oci.inside import Inside
from corten.oci.zipped import Guarded

_PIECE = 1 << 20
_LARGEST_METADATA = 64 << 20
_DEEPEST = 128
# Refusals of a disk that a wheel's own paths provoke: a file where it wants a folder, names that are too long.
_ITS_OWN_FAULT = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
# What the environment itself has: a wheel that wrote these would take the interpreter away from all others.
_ENVIRONMENTS_OWN = regex(r"pyvenv\.cfg|bin/python[0-9.]*")


def place_wheel(
    wheel: Path,
    file_name: str,
    environment: Environment,
    tree: Path,
    advance: Callable[[int], None] | None = None,
    bound: Bound = WHEEL,
) -> None:
    """Install the wheel file `wheel`, called `file_name`, below `tree`, which stands for the image's root.

    Nothing is written outside of `tree`. `advance` hears the bytes written. Raises BuildError naming the wheel when it
    is not a wheel, is damaged, has a path that leaves the environment, or would unpack to more than `bound` allows: then nothing is
    written."""
    tree.mkdir(parents=True, exist_ok=True)
    try:
        with Guarded(wheel) as file, zipfile.ZipFile(file) as archive, Inside(tree) as inside:
            archive.filename = file_name
            _check_size(archive, file_name, wheel.stat().st_size, bound)
            _check_size_of_metadata(archive)
            source = WheelFile(archive)
            destination = _Tree(environment, source.distribution, inside, advance)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                install(source, destination, {"INSTALLER": b"corten\n"})
    except (MemoryError, BuildError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _ITS_OWN_FAULT:
            raise
        # A wheel is foreign input with a zip archive, a CSV file, an INI file and mail headers in it: whatever a parser
        # of those stumbles over is the wheel's fault.
        text = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        reason = text.splitlines()[:1] or [type(error).__name__]
        raise BuildError(
            f"the wheel '{file_name}' cannot be installed: {reason[0][:300]}",
            hint="its bytes are the ones that the lock names; report it to the package's authors",
        ) from error


def _check_size(archive: zipfile.ZipFile, name: str, packed: int, bound: Bound) -> None:
    """Raises BuildError for more files or bytes than a wheel may have. `zipfile` never reads more of a member than it declares."""
    members = archive.infolist()
    try:
        bound.check_entries(len(members), f"the wheel '{name}'")
        bound.check(sum(member.file_size for member in members), packed, f"the wheel '{name}'")
    except FormatError as error:
        raise BuildError(error.message, error.hint) from None


def _check_size_of_metadata(archive: zipfile.ZipFile) -> None:
    """The files in .dist-info are read into memory, and so are scripts whose first line is changed; a zip archive can say that a
    megabyte is a gigabyte."""
    for entry in archive.infolist():
        if entry.file_size <= _LARGEST_METADATA:
            continue
        read = ".dist-info/" in entry.filename
        if not read and ".data/scripts/" in entry.filename:
            with archive.open(entry) as script:
                read = script.read(8) == b"#!python"
        if read:
            raise ValueError(f"its '{entry.filename}' has {entry.file_size} bytes")


class _Tree(WheelDestination):
    """A destination that writes below a directory with as few system calls as it takes: torch has 12,000 files."""

    def __init__(
        self, environment: Environment, distribution: str, tree: Inside, advance: Callable[[int], None] | None
    ) -> None:
        self.prefix = environment.prefix
        self.interpreter = environment.interpreter
        self.schemes = environment.schemes(distribution)
        self.inside = tree
        self.advance = advance

    def write_script(self, name: str, module: str, attr: str, section: object) -> RecordEntry:
        """Write the script of an entry point."""
        script_name, data = Script(name, module, attr, section).generate(self.interpreter, "posix")  # type: ignore[arg-type]
        return self._write(Scheme("scripts"), script_name, io.BytesIO(data), executable=True)

    def write_file(
        self, scheme: Scheme, path: str | os.PathLike[str], stream: BinaryIO, is_executable: bool
    ) -> RecordEntry:
        """Write one file of the wheel; scripts get the environment's interpreter."""
        if scheme == "scripts":
            with fix_shebang(stream, self.interpreter) as fixed:
                return self._write(scheme, os.fspath(path), fixed, executable=True)
        return self._write(scheme, os.fspath(path), stream, is_executable)

    def finalize_installation(
        self, scheme: Scheme, record_file_path: str, records: Iterable[tuple[Scheme, RecordEntry]]
    ) -> None:
        """Write RECORD."""

        def prefix_for_scheme(file_scheme: str) -> str | None:
            if self.schemes[file_scheme] == self.schemes[scheme]:
                return None
            return posixpath.relpath(self.schemes[file_scheme], self.schemes[scheme]) + "/"

        with construct_record_file(list(records), prefix_for_scheme) as stream:
            self._write(scheme, record_file_path, stream, executable=False)

    def _write(self, scheme: Scheme, path: str, stream: BinaryIO, executable: bool) -> RecordEntry:
        base = self.schemes[scheme]
        if scheme == "data" and path.split("/")[0] == "lib64":
            # A link to lib in the environment: a folder of that name would hide it (DECISIONS 7).
            path = "lib" + path[5:]
        if path.startswith("/") or "\0" in path or "\n" in path or ".." in path.split("/"):
            raise ValueError(f"the path '{path}' leaves the environment")
        if path.count("/") >= _DEEPEST:
            raise ValueError(f"the path '{path[:100]}…' is too deep")
        place = posixpath.normpath(f"{base}/{path}")
        if _ENVIRONMENTS_OWN.fullmatch(place.removeprefix(f"{self.prefix}/")):
            raise ValueError(f"it would replace the environment's own '{place}'")
        if isinstance(stream, zipfile.ZipExtFile):
            # Read a megabyte of the archive at a time instead of 4 KiB: large members inflate twice as fast. Of other
            # compressions `zipfile` does not bound what comes out of one read.
            bounded = getattr(stream, "_compress_type", None) in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            stream.MIN_READ_SIZE = _PIECE if bounded else 4096
        sha256 = hashlib.sha256()
        size = 0
        descriptor = self.inside.create(place, 0o755 if executable else 0o644, replace=True)
        try:
            while piece := stream.read(_PIECE):
                sha256.update(piece)
                size += len(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
                if self.advance:
                    self.advance(len(piece))
        finally:
            os.close(descriptor)
        digits = base64.urlsafe_b64encode(sha256.digest()).decode("ascii").rstrip("=")
        return RecordEntry(path, Hash("sha256", digits), size)
