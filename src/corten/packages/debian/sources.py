"""Which mirrors this machine takes Debian from.

The environment comes first (`CORTEN_DEBIAN_MIRROR`, `CORTEN_DEBIAN_SECURITY_MIRROR`, `CORTEN_DEBIAN_SNAPSHOT`), then the user's
configuration (`[debian]` in `corten/config.toml`), then apt's sources (sources.list(5), one-line and deb822). Corten itself
names no host. What apt lists is a candidate and no more: an address counts once its Release is signed by Debian.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from corten.errors import FetchError, FormatError, UsageError
from corten.lazy import regex
from corten.packages.debian import paragraph
from corten.values import dataclass

MAIN = "debian"
SECURITY = "debian-security"
ARCHIVES = (MAIN, SECURITY)

_VARIABLES = {MAIN: "CORTEN_DEBIAN_MIRROR", SECURITY: "CORTEN_DEBIAN_SECURITY_MIRROR"}
_KEYS = {MAIN: "mirror", SECURITY: "security-mirror"}
_SNAPSHOT_VARIABLE = "CORTEN_DEBIAN_SNAPSHOT"
_APT = Path("/etc/apt")
_LARGEST = 1 << 20

# Suites of Debian itself. Third parties use them too; the signature decides.
_SUITE = regex(
    r"(buster|bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)"
    r"(-updates|-security|-backports|-proposed-updates|/updates)?/?"
)


@dataclass(frozen=True, slots=True)
class Sources:
    """Base addresses without a trailing slash, the most likely first. `origin` names where they were read, for hints.
    `snapshot` is the base of a dated archive (`{snapshot}/archive/debian/20250520T000000Z/…`)."""

    mirrors: Mapping[str, tuple[str, ...]]
    origin: str
    snapshot: str | None = None

    def of(self, archive: str) -> tuple[str, ...]:
        """The candidates for `archive`. Raises FetchError with a hint when there are none."""
        if found := self.mirrors.get(archive):
            return found
        raise FetchError(
            f"no mirror of the archive '{archive}' is configured on this machine",
            hint=f"set {_VARIABLES.get(archive, _VARIABLES[MAIN])} to the address of one (http, https or file)",
        )


def read_sources(
    environment: Mapping[str, str] | None = None, config: Path | None = None, apt: Path = _APT
) -> Sources:
    """The mirrors by the environment, the user's configuration file and the apt directory `apt`, archive by archive.
    Raises UsageError for an address that is none and for a broken configuration file; broken apt files are passed over."""
    environment = os.environ if environment is None else environment
    configured = _configured(config if config is not None else _config_file(environment))
    mirrors: dict[str, tuple[str, ...]] = {}
    origins: list[str] = []
    for archive in ARCHIVES:
        for text, origin in (
            (environment.get(_VARIABLES[archive], ""), _VARIABLES[archive]),
            (configured.get(_KEYS[archive], ""), "the user's configuration"),
        ):
            if text.strip():
                mirrors[archive] = tuple(_address(part, origin) for part in text.split())
                origins.append(origin)
                break
    if missing := [archive for archive in ARCHIVES if archive not in mirrors]:
        found = _apt_candidates(apt)
        for archive in missing:
            # Most mirrors carry the security archive beside the main one.
            beside = [_sibling(url, archive) for other in mirrors.values() for url in other]
            candidates = tuple(dict.fromkeys([*found[archive], *filter(None, beside)]))
            if candidates:
                mirrors[archive] = candidates
        if any(found.values()):
            origins.append(f"the apt sources in '{apt}'")
    snapshot = environment.get(_SNAPSHOT_VARIABLE, "").strip() or configured.get("snapshot", "").strip()
    return Sources(
        mirrors,
        " and ".join(dict.fromkeys(origins)),
        _address(snapshot, _SNAPSHOT_VARIABLE) if snapshot else None,
    )


def _config_file(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(
        environment.get("HOME") or os.path.expanduser("~"), ".config"
    )
    return Path(base) / "corten" / "config.toml"


def _configured(path: Path) -> dict[str, str]:
    """The `[debian]` table of the user's configuration."""
    text = _text(path)
    if text is None:
        return {}
    import tomllib

    try:
        table = tomllib.loads(text).get("debian", {})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"'{path}' is not TOML: {error}", hint="mend the file") from error
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise UsageError(f"'debian' in '{path}' is not a table of strings")
    known = {*_KEYS.values(), "snapshot"}
    for key in table:
        if key not in known:
            import difflib

            close = difflib.get_close_matches(key, known, 1)
            meant = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(sorted(known))}"
            raise UsageError(f"unknown key '{key}' in [debian] of '{path}'", hint=meant)
    return table


def _address(text: str, origin: str) -> str:
    address = text.strip().rstrip("/")
    if address.startswith("/"):
        address = "file://" + address
    if not _usable(address):
        raise UsageError(
            f"'{text.strip()[:200]}' in {origin} is not the address of a mirror",
            hint="write http://…, https://… or file:///…",
        )
    return address


def _usable(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    if not address.isprintable() or " " in address:
        return False
    return bool(parts.netloc) if parts.scheme in ("http", "https") else parts.scheme == "file"


def _sibling(url: str, archive: str) -> str | None:
    """The same mirror's address for another archive: `…/debian` ↔ `…/debian-security`."""
    head, _, last = url.rpartition("/")
    return f"{head}/{archive}" if last in ARCHIVES and last != archive else None


# --- apt -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    uri: str
    suites: tuple[str, ...]
    signed_by: str = ""


def _apt_candidates(apt: Path) -> dict[str, list[str]]:
    """The addresses of apt's sources for each archive, the most likely first. Those of Debian's own suites are kept;
    others only where nothing looks like Debian, since any address may be a mirror."""
    entries = list(_apt_entries(apt))
    likely = [entry for entry in entries if any(_SUITE.fullmatch(suite) for suite in entry.suites)]
    found: dict[str, list[str]] = {archive: [] for archive in ARCHIVES}
    for archive in ARCHIVES:
        ranked = sorted(likely, key=lambda entry: -_likeness(entry, archive))
        for entry in ranked:
            if _likeness(entry, archive) >= 0 and entry.uri not in found[archive]:
                found[archive].append(entry.uri)
        if not found[archive]:
            beside = [_sibling(entry.uri, archive) for entry in ranked]
            found[archive] = list(dict.fromkeys(filter(None, beside)))
    return found


def _likeness(entry: _Entry, archive: str) -> int:
    """How much an apt source looks like `archive`; negative for one that is the other archive."""
    secure = any(suite.rstrip("/").endswith(("-security", "/updates")) for suite in entry.suites)
    plain = any(not suite.rstrip("/").endswith(("-security", "/updates")) for suite in entry.suites)
    score = 2 if "debian-archive" in entry.signed_by else 0
    score += 1 if entry.uri.rpartition("/")[2] == archive else 0
    if archive == SECURITY:
        return score + 2 if secure else (-1 if entry.uri.endswith("/" + MAIN) else score - 4)
    return score if plain else -1


def _apt_entries(apt: Path) -> Iterable[_Entry]:
    parts = apt / "sources.list.d"
    files = [apt / "sources.list"]
    with contextlib.suppress(OSError):
        files += sorted(parts.iterdir())
    for path in files:
        text = _text(path)
        if text is None:
            continue
        read = _deb822 if path.suffix == ".sources" else _one_line if path.suffix == ".list" else None
        if read is None:
            continue
        for entry in read(text):
            for uri in _expanded(entry.uri):
                yield _Entry(uri, entry.suites, entry.signed_by)


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        return None


def _one_line(text: str) -> Iterable[_Entry]:
    """`deb [options] uri suite [component…]`, one on each line."""
    for line in text.splitlines():
        match = re.fullmatch(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+).*", line.partition("#")[0].strip())
        if match is None:
            continue
        options, uri, suite = match.groups()
        try:
            words = shlex.split(options or "")
        except ValueError:
            continue
        signed = next((word.partition("=")[2] for word in words if word.startswith("signed-by=")), "")
        yield _Entry(uri, (suite,), signed)


def _deb822(text: str) -> Iterable[_Entry]:
    for part in paragraph.split(text):
        try:
            fields = paragraph.parse(part, "an apt source")
        except FormatError:
            continue
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").strip().lower() in {"no", "false", "0", "off", "without", "disable"}:
            continue
        for uri in fields.get("uris", "").split():
            yield _Entry(uri, tuple(fields.get("suites", "").split()), fields.get("signed-by", ""))


def _expanded(uri: str) -> Iterable[str]:
    """The http, https and file addresses that an apt URI stands for; `mirror+file:` names a file of them."""
    if uri.startswith("mirror+file:"):
        path = Path(unquote(urlsplit(uri.removeprefix("mirror+")).path))
        for line in (_text(path) or "").splitlines():
            if line.strip() and not line.startswith("#"):
                yield from _expanded(line.split()[0])
        return
    if uri.startswith("copy:"):
        uri = "file:" + uri.removeprefix("copy:")
    if uri.startswith("file:/") and not uri.startswith("file://"):
        uri = "file://" + uri.removeprefix("file:")
    uri = uri.rstrip("/")
    if _usable(uri):
        yield uri
