"""Who a container's process is: `USER` of an image, looked up in the image's own passwd and group files.

The files are the image's and thus hostile: a small parser with bounds, never the C library's.
"""

from __future__ import annotations

from corten.errors import RuntimeFailure
from corten.values import dataclass

LARGEST_ID = 2**31 - 1
_LINES = 20_000


@dataclass(frozen=True, slots=True)
class User:
    """A resolved user. `name` and `home` are None where the image's passwd has no entry for the ID."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    name: str | None = None
    home: str | None = None


def resolve_user(text: str, passwd: bytes, group: bytes) -> User:
    """The user that `text` (`user`, `uid`, `user:group`, `uid:gid`, empty for root) means with these files.

    As docker has it: a number needs no entry; without a group it is the entry's own, else 0, and then the user's
    supplementary groups count too. Raises RuntimeFailure for a name that the files do not have."""
    user_text, _, group_text = text.partition(":")
    user_text = user_text or "0"
    entry = _find_user(user_text, passwd)
    if entry is not None:
        uid, gid, name, home = entry
    else:
        number = _number(user_text)
        if number is None:
            raise RuntimeFailure(
                f"the image has no user '{user_text[:64]}'", hint="give a number: -u UID or -u UID:GID"
            )
        uid, gid, name, home = number, 0, None, None
    if group_text:
        return User(uid, resolve_group(group_text, group, "-u UID:GID"), (), name, home)
    return User(uid, gid, _groups_of(name, gid, group) if name else (), name, home)


def resolve_group(text: str, group: bytes, way: str = "--group-add GID") -> int:
    """The group that `text`, a number or a name, means with this file. Raises RuntimeFailure for a name that it does not have."""
    found = _number(text)
    if found is None:
        found = _find_group(text, group)
    if found is None:
        raise RuntimeFailure(f"the image has no group '{text[:64]}'", hint=f"give a number: {way}")
    return found


def _records(data: bytes, fields: int) -> list[list[str]]:
    lines = data.decode("utf-8", "surrogateescape").split("\n")[:_LINES]
    return [parts for line in lines if len(parts := line.split(":")) >= fields]


def _number(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= LARGEST_ID:
        return int(text)
    return None


def _find_user(text: str, passwd: bytes) -> tuple[int, int, str, str | None] | None:
    wanted = _number(text)
    for parts in _records(passwd, 6):
        uid, gid = _number(parts[2]), _number(parts[3])
        if uid is None or gid is None:
            continue
        if parts[0] == text or uid == wanted:
            home = parts[5] if parts[5].startswith("/") and "\x00" not in parts[5] else None
            return uid, gid, parts[0], home
    return None


def _find_group(text: str, group: bytes) -> int | None:
    for parts in _records(group, 3):
        if parts[0] == text:
            return _number(parts[2])
    return None


def _groups_of(name: str, own: int, group: bytes) -> tuple[int, ...]:
    found = set()
    for parts in _records(group, 4):
        gid = _number(parts[2])
        if gid is not None and gid != own and name in parts[3].split(","):
            found.add(gid)
    return tuple(sorted(found))[:64]
