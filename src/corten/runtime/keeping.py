"""A plain user's own number in a container, as podman's `--userns keep-id` has it."""

from __future__ import annotations

from corten.errors import RuntimeFailure, UsageError
from corten.lazy import regex
from corten.runtime.identity import Identity, keep
from corten.runtime.options import RunOptions
from corten.runtime.users import LARGEST_ID

_WAY = "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"
_FORM = regex(r"keep-id(?::(?P<pairs>(uid|gid)=[0-9]{1,10}(,(uid|gid)=[0-9]{1,10})?))?")


def parse_userns(text: str) -> str:
    """`keep-id` or `keep-id:uid=N,gid=N`. Raises UsageError."""
    match = _FORM.fullmatch(text)
    if match is None or any(number > LARGEST_ID for number in _numbers(text).values()):
        raise UsageError(
            f"--userns {text[:60]} is not here",
            hint="use keep-id, keep-id:uid=N,gid=N, or leave it out: a plain user's containers have a user namespace of "
            "their own, root's have none",
        )
    return text


def kept(identity: Identity, options: RunOptions) -> Identity:
    """The identity of a container that keeps its caller's number: asked for by `--userns`, or by `-u` with that number.
    Raises RuntimeFailure, UsageError where this user cannot have that."""
    if identity.kind == "root":
        if options.userns is None:
            return identity
        raise UsageError(
            "--userns keep-id is for plain users: root's containers have no user namespace",
            hint="leave it out; -u UID:GID gives the program another number",
        )
    if identity.kind == "single":
        if options.userns is None:
            return identity
        raise RuntimeFailure(
            "--userns keep-id needs subordinate IDs, which this user has not: the engine could not begin as 0",
            hint=f"{_WAY}; or leave it out: 0 inside is you",
        )
    wanted = _numbers(options.userns or "")
    uid, gid = wanted.get("uid", identity.uid_map[0][1]), wanted.get("gid", identity.gid_map[0][1])
    return keep(identity, uid, gid)


def _numbers(text: str) -> dict[str, int]:
    pairs = (item.partition("=") for item in text.partition(":")[2].split(",") if item)
    return {name: int(number) for name, _, number in pairs}
