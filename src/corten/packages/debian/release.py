"""InRelease files: a suite's hashes of all its indexes, signed by Debian (Debian repository format, "Release" files).

The signature is checked with Sequoia against the archive keys that ship with Corten (from Debian's package
debian-archive-keyring), on any system, in 5 ms; gpgv gives the same answers but is not on macOS, nor in most images.
What is signed is what is parsed: bytes outside the signed text are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from importlib import resources

from corten.errors import FetchError, FormatError, SignatureError
from corten.lazy import regex
from corten.packages.debian import paragraph
from corten.values import dataclass, field

LARGEST = 16 << 20
"""No InRelease is read beyond this many bytes."""

_CLEARSIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
_LINE = regex(r"^ ([0-9a-f]{64})[ \t]+([0-9]{1,15})[ \t]+(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Release:
    """A suite as Debian signed it. `date` is ISO 8601 in UTC; `files` maps paths to (sha256, size in bytes)."""

    codename: str
    date: str
    by_hash: bool
    files: dict[str, tuple[str, int]] = field(repr=False)


@cache
def archive_keys() -> tuple[bytes, ...]:
    """Debian's archive keys, as they ship with Corten."""
    directory = resources.files("corten.packages.debian") / "keys"
    return tuple(
        entry.read_bytes()
        for entry in sorted(directory.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".gpg")
    )


def read_release(
    data: bytes,
    codename: str,
    mirror: str,
    *,
    keys: Sequence[bytes] | None = None,
    now: datetime | None = None,
    outdated: bool = False,
) -> Release:
    """The Release of `codename` in the InRelease file `data` that `mirror` gave.

    Guarantees that one of `keys` (Debian's) signed it, that it is Debian's, of this very suite and, unless it may be
    `outdated`, not past its Valid-Until. Raises FetchError for something else than an InRelease (a login page), SignatureError otherwise."""
    name = f"the index of '{codename}' from '{mirror}'"
    if not data.startswith(_CLEARSIGNED):
        if data.lstrip()[:200].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
            raise FetchError(
                f"'{mirror}' answered with a web page instead of the index of '{codename}'",
                hint="check the mirror's address, and whether a proxy or a login page is in between",
            )
        raise SignatureError(f"{name} is not signed", hint="use another mirror")
    text = _verified(data, name, archive_keys() if keys is None else keys)
    try:
        fields = paragraph.parse(text, name)
    except FormatError as error:
        raise SignatureError(error.message, hint="use another mirror") from error
    if fields.get("origin") != "Debian":
        raise SignatureError(f"{name} is not Debian's, but from {fields.get('origin', '')[:60]!r}")
    if fields.get("codename") != codename:
        raise SignatureError(
            f"{name} belongs to {fields.get('codename', '')[:60]!r}",
            hint="use another mirror: this one mixes up suites",
        )
    date = _moment(fields.get("date"), name)
    if date is None:
        raise SignatureError(f"{name} has no date")
    until = _moment(fields.get("valid-until"), name)
    if not outdated and until is not None and until < (now or datetime.now(UTC)):
        raise SignatureError(
            f"{name} has expired on {until:%Y-%m-%d %H:%M} UTC",
            hint="the mirror is out of date, or this machine's clock is wrong; use another mirror, "
            "or accept it with --allow-older-release",
        )
    files = {
        path: (sha256, int(size)) for sha256, size, path in _LINE.findall(_indented(fields.get("sha256", "")))
    }
    return Release(codename, f"{date:%Y-%m-%dT%H:%M:%SZ}", fields.get("acquire-by-hash") == "yes", files)


def _verified(data: bytes, name: str, keys: Sequence[bytes]) -> str:
    """The text that one of `keys` has signed."""
    import pysequoia

    wrong = SignatureError(
        f"{name} is not signed by Debian, or was changed since",
        hint="use another mirror; if Debian has new archive keys, a newer Corten",
    )
    try:
        certificates = [pysequoia.Cert.from_bytes(key) for key in keys]
        result = pysequoia.verify(data, lambda _wanted: certificates)
        if result.bytes is None or not result.valid_sigs:
            raise wrong
        return result.bytes.decode()
    except UnicodeDecodeError as error:
        raise SignatureError(f"{name} is not UTF-8") from error
    except SignatureError:
        raise
    except Exception:  # pysequoia raises bare exceptions, with pages of its own stack as their text
        raise wrong from None


def _indented(text: str) -> str:
    # `paragraph.parse` takes each continuation line's first character away.
    return "\n".join(" " + line.strip() for line in text.splitlines())


def _moment(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError) as error:
        raise SignatureError(f"{name} has a date that is none: {text[:60]!r}") from error
