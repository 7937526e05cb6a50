"""Whose rights a container really has: root's, or a plain user's in a user namespace (DECISIONS 26).

root     this process may do everything: no user namespace, IDs inside are IDs of the machine
range    a plain user with subordinate IDs: 0 inside is the caller, 1 and up are the caller's range. A container that keeps its
         caller's number (`keep`) has a second user namespace below that one, where the caller's number is the caller
single   a plain user without: one ID inside is the caller, no other exists. With crun that is the image's own user;
         runc cannot switch to another ID than 0 then, so there 0 is the caller, without any capability
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

from corten.errors import RuntimeFailure
from corten.sandbox import kernel
from corten.values import dataclass, replace

Mapping = tuple[int, int, int]
"""First ID inside, first ID outside, how many (user_namespaces(7))."""

_NEEDED = 65536
_MAPPINGS = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """How IDs inside relate to IDs outside. The mappings are empty for `root`. `inner_uids` and `inner_gids` map IDs in the
    container to those of `uid_map` and `gid_map`, where the container has a user namespace below that one."""

    kind: Literal["root", "range", "single"]
    uid_map: tuple[Mapping, ...] = ()
    gid_map: tuple[Mapping, ...] = ()
    inner_uids: tuple[Mapping, ...] = ()
    inner_gids: tuple[Mapping, ...] = ()

    def has_uid(self, uid: int) -> bool:
        """Whether the user ID `uid` exists inside."""
        return self.kind == "root" or _mapped(uid, self.inner_uids or self.uid_map) is not None

    def has_gid(self, gid: int) -> bool:
        """Whether the group ID `gid` exists inside."""
        return self.kind == "root" or _mapped(gid, self.inner_gids or self.gid_map) is not None

    @property
    def inner_uid(self) -> int:
        """The caller's number in a container that keeps it, else 0."""
        return next((first for first, outside, _ in self.inner_uids if outside == 0), 0)

    @property
    def inner_gid(self) -> int:
        """The same of the caller's group."""
        return next((first for first, outside, _ in self.inner_gids if outside == 0), 0)

    def shim_ids(self, uid: int, gid: int) -> tuple[int, int]:
        """The numbers in the shim's user namespace of the user and group that are `uid` and `gid` in the container."""
        if not self.inner_uids:
            return uid, gid
        outer_uid, outer_gid = _mapped(uid, self.inner_uids), _mapped(gid, self.inner_gids)
        return uid if outer_uid is None else outer_uid, gid if outer_gid is None else outer_gid


def _mapped(number: int, mappings: Sequence[Mapping]) -> int | None:
    for first, outside, count in mappings:
        if first <= number < first + count:
            return outside + number - first
    return None


def keep(identity: Identity, uid: int, gid: int) -> Identity:
    """`identity`, which is a `range`, for a container in which the caller is `uid`:`gid`, as podman's keep-id has it. The
    subordinate IDs have the other numbers, from 0 up."""
    return replace(identity, inner_uids=_kept(uid, identity.uid_map), inner_gids=_kept(gid, identity.gid_map))


def _kept(own: int, mappings: Sequence[Mapping]) -> tuple[Mapping, ...]:
    """The caller, who is 0 outside, is `own` inside. No piece crosses the end of one of `mappings`: the kernel refuses that."""
    found: list[Mapping] = [(own, 0, 1)]
    inside = 0
    for start, _, left in mappings[1:]:
        while left:
            if inside == own:
                inside += 1
            count = left if inside > own else min(left, own - inside)
            found.append((inside, start, count))
            inside, start, left = inside + count, start + count, left - count
    return tuple(sorted(found))


def decide_identity(
    uid: int,
    gid: int,
    privileged: bool,
    subuids: Sequence[tuple[int, int]],
    subgids: Sequence[tuple[int, int]],
    newuidmap: bool,
) -> Identity:
    """The identity of containers of the user `uid`:`gid`. `privileged`: it is root with CAP_SYS_ADMIN. The ranges are
    (first, count); they count only where `newuidmap` and `newgidmap` exist to hand them out."""
    if privileged:
        return Identity("root")
    if newuidmap and subuids and subgids:
        return Identity("range", _ranges(uid, subuids), _ranges(gid, subgids))
    return Identity("single", ((0, uid, 1),), ((0, gid, 1),))


def _ranges(own: int, subordinate: Sequence[tuple[int, int]]) -> tuple[Mapping, ...]:
    mappings: list[Mapping] = [(0, own, 1)]
    inside = 1
    for first, count in subordinate[:_MAPPINGS]:
        mappings.append((inside, first, count))
        inside += count
    return tuple(mappings)


def parse_subordinate(text: str, uid: int, name: str | None) -> list[tuple[int, int]]:
    """The ranges of the user `uid` called `name` in the text of /etc/subuid or /etc/subgid (subuid(5))."""
    found = []
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner in (str(uid), name) and first.isdecimal() and count.isdecimal() and 0 < int(count) < 2**32:
            found.append((int(first), int(count)))
    return found


def subordinate_ranges() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """This user's subordinate user IDs and group IDs."""
    # A user's name comes from the machine's own databases, which may be a network's: only pwd knows them all.
    import pwd

    uid = os.getuid()
    try:
        name: str | None = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = None
    found = []
    for path in ("/etc/subuid", "/etc/subgid"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found.append(parse_subordinate(file.read(), uid, name))
        except OSError:
            found.append([])
    return found[0], found[1]


def find_program(name: str) -> str | None:
    """Where `name` lies, on PATH or where system programs lie though a plain user's PATH leaves them out."""
    places = [*os.environ.get("PATH", "").split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"]
    for place in places:
        path = os.path.join(place, name)
        if place.startswith("/") and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


def is_privileged() -> bool:
    """Whether this process is root with the right to mount: then no user namespace is needed."""
    return os.geteuid() == 0 and kernel.has_capability(kernel.CAP_SYS_ADMIN)


def current_identity() -> Identity:
    """The identity of containers that this process starts."""
    if is_privileged():
        return Identity("root")
    subuids, subgids = subordinate_ranges()
    helpers = find_program("newuidmap") is not None and find_program("newgidmap") is not None
    return decide_identity(os.geteuid(), os.getegid(), False, subuids, subgids, helpers)


def write_mappings(pid: int, identity: Identity) -> None:
    """Give the new user namespace of process `pid` its mappings. Raises RuntimeFailure with the reason."""
    if identity.kind == "single":
        try:
            _write(f"/proc/{pid}/setgroups", "deny")
            _write(f"/proc/{pid}/uid_map", "{} {} {}".format(*identity.uid_map[0]))
            _write(f"/proc/{pid}/gid_map", "{} {} {}".format(*identity.gid_map[0]))
        except OSError as error:
            raise RuntimeFailure(
                f"this machine refuses a user namespace to this user ({error.strerror})",
                hint=why_no_namespace(),
            ) from error
        return
    for program, mappings in (("newuidmap", identity.uid_map), ("newgidmap", identity.gid_map)):
        path = find_program(program) or program
        status, said = run_quietly([path, str(pid), *(str(number) for item in mappings for number in item)])
        if status != 0:
            raise RuntimeFailure(
                f"'{program}' refused this user's subordinate IDs: {said or f'exit code {status}'}",
                hint=f"'{program}' must be set-uid root (package uidmap), and /etc/subuid and /etc/subgid must give "
                "this user a range; run 'corten doctor'",
            )


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def run_quietly(argv: Sequence[str]) -> tuple[int, str]:
    """Run a small program and wait: its exit code and the last line that it said on standard error."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, writing, 2),
        ]
        pid = os.posix_spawn(argv[0], list(argv), os.environ, file_actions=actions)
    except OSError as error:
        os.close(reading)
        return 127, error.strerror or "cannot be run"
    finally:
        os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read(65536).decode(errors="replace").strip()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said.rsplit("\n", 1)[-1][:300]


def why_no_namespace() -> str:
    """The likeliest reason why a plain user gets no user namespace here, as what to do about it."""
    if _number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1:
        return (
            "AppArmor restricts user namespaces here (Ubuntu 23.10 and later); as root: "
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if _number("/proc/sys/kernel/unprivileged_userns_clone") == 0:
        return "user namespaces are switched off; as root: sysctl -w kernel.unprivileged_userns_clone=1"
    if _number("/proc/sys/user/max_user_namespaces") == 0:
        return "user namespaces are switched off; as root: sysctl -w user.max_user_namespaces=15000"
    return "run 'corten doctor' to see what this machine allows, or run as root"


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def check_ids(identity: Identity, uid: int, gid: int) -> None:
    """Raise RuntimeFailure where the IDs of the process do not exist inside a `range` namespace."""
    if identity.kind == "range" and not (identity.has_uid(uid) and identity.has_gid(gid)):
        raise RuntimeFailure(
            f"the user {uid}:{gid} of the container lies outside this user's subordinate IDs",
            hint=f"give this user {_NEEDED} of them (as root: usermod --add-subuids 100000-165535 "
            "--add-subgids 100000-165535 USER), or run as -u 0",
        )
