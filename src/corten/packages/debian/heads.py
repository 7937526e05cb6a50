"""The control files of packages that are not here, read from the first bytes of each.

They are not verified: a hash covers a whole package. So they may only say what is going to be needed; a build reads them again from
packages that are verified, and says what is different.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from corten.errors import FetchError, FormatError
from corten.packages.debian.deb import Control, control_end, read_control, read_control_of
from corten.packages.debian.mirrors import Mirrors, locate
from corten.packages.files import Deb

_FIRST = 24 << 10
_MOST = 32 << 20
_PIECE = 1 << 16
_AT_ONCE = 8


def controls(mirrors: Mirrors, debs: Sequence[Deb]) -> list[Control]:
    """The control files of `debs`, in their order: of the packages in the store, else of the mirrors. Raises FetchError,
    FormatError."""
    if not debs:
        return []
    with ThreadPoolExecutor(min(_AT_ONCE, len(debs)), thread_name_prefix="control") as pool:
        return list(pool.map(lambda deb: _control(mirrors, deb), debs))


def _control(mirrors: Mirrors, deb: Deb) -> Control:
    path = mirrors.store.files.path(deb.sha256, "deb")
    if path is not None:
        return read_control(path)
    failure: FetchError | None = None
    for url in locate(mirrors.store, deb, mirrors.sources):
        try:
            data = _beginning(mirrors, url, min(_FIRST, deb.size))
            end = control_end(data)
            if end is None or end > min(deb.size, _MOST):
                raise FormatError(f"'{deb.file}' is not a Debian package")
            if end > len(data):
                data = _beginning(mirrors, url, end)
            return read_control_of(io.BytesIO(data[:end]), deb.file)
        except FetchError as error:
            failure = failure or error
    raise failure or FetchError(f"nothing says where '{deb.file}' can be fetched")


def _beginning(mirrors: Mirrors, url: str, size: int) -> bytes:
    """At most `size` bytes from the start of what `url` holds."""
    answer = mirrors.http.connections.open(url, {"Range": f"bytes=0-{size - 1}"})
    data = bytearray()
    try:
        while len(data) < size and (piece := answer.read1(_PIECE)):
            data += piece
    finally:
        answer.close()
    return bytes(data[:size])
