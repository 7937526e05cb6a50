"""The kernel's calls that Python 3.11 does not have: namespaces, mounts, privileges, and what happens when a parent dies.

Every function raises OSError with the kernel's own errno; what to say about it is decided by the caller, who knows why
it was called. Flags are those of <sched.h>, <sys/mount.h> and <sys/prctl.h> and are the same on amd64 and arm64.
"""

from __future__ import annotations

import ctypes
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
CAP_SYS_ADMIN = 21

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_LAST_CAPABILITY = 63
_CAPABILITY_VERSION = 0x20080522
_KEYCTL_JOIN_SESSION_KEYRING = 1
_PR_SET_CHILD_SUBREAPER = 36
_AT_FDCWD, _OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = -100, 1, 4
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_ST_KEPT = {2: MS_NOSUID, 4: MS_NODEV, 8: MS_NOEXEC, 1024: 1024, 2048: 2048, 4096: 1 << 21}
"""Flags of statvfs(3) and of mount(2): those of a mount that a user namespace may not take away."""
_CALLS = {
    "x86_64": {"pivot_root": 155, "keyctl": 250, "open_tree": 428, "move_mount": 429, "mount_setattr": 442},
    "aarch64": {"pivot_root": 41, "keyctl": 219, "open_tree": 428, "move_mount": 429, "mount_setattr": 442},
}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str | None = None) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def unshare(flags: int) -> None:
    """Leave the namespaces in `flags` for new ones (unshare(2)). A new user namespace needs a single thread."""
    _check(_libc.unshare(flags))


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace of type `kind` that `descriptor` refers to (setns(2))."""
    _check(_libc.setns(descriptor, kind))


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """Attach a file system (mount(2)). `data` may be a page long at most; a longer one is refused with EINVAL."""
    text = data.encode(errors="surrogateescape") if data is not None else None
    if text is not None and len(text) >= os.sysconf("SC_PAGESIZE"):
        raise OSError(22, os.strerror(22), target)
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            text,
        ),
        target,
    )


def copy_mount(source: str) -> int:
    """A descriptor of a copy of the mount at `source`, which is nowhere yet (open_tree(2), Linux 5.2)."""
    flags = ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC)
    result = _call("open_tree", ctypes.c_int(_AT_FDCWD), os.fsencode(source), flags)
    if result < 0:
        _check(result, source)
    return result


def move_mount(descriptor: int, target: str) -> None:
    """Attach what `copy_mount` gave at `target` (move_mount(2))."""
    flags = ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH)
    _check(
        _call(
            "move_mount", ctypes.c_int(descriptor), b"", ctypes.c_int(_AT_FDCWD), os.fsencode(target), flags
        ),
        target,
    )


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0))


def unmount(target: str) -> None:
    """Detach what is mounted at `target`, at once for whoever looks, when its last user leaves in fact."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), target)


def _call(name: str, *arguments: object) -> int:
    """A system call that the C library has no function for. ENOSYS for a machine that nobody has looked up."""
    number = _CALLS.get(os.uname().machine, {}).get(name)
    if number is None:
        ctypes.set_errno(errno.ENOSYS)
        return -1
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def bind(source: str, target: str) -> None:
    """Show `source` with all that is mounted below it at `target` too."""
    mount(source, target, None, MS_BIND | MS_REC)


def harden(target: str, *, writable: bool, devices: bool = False) -> None:
    """Let nobody write to the mount `target` and those below it unless `writable`, and let no program there gain rights;
    device files work only with `devices`."""
    wanted = _MOUNT_ATTR_NOSUID
    wanted |= 0 if writable else _MOUNT_ATTR_RDONLY
    wanted |= 0 if devices else _MOUNT_ATTR_NODEV
    attributes = (ctypes.c_uint64 * 4)(wanted, 0, 0, 0)
    descriptor = os.open(target, os.O_PATH | os.O_CLOEXEC)
    try:
        flags = ctypes.c_uint(_AT_RECURSIVE | _AT_EMPTY_PATH)
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        result = _call("mount_setattr", ctypes.c_int(descriptor), b"", flags, attributes, size)
    finally:
        os.close(descriptor)
    if result == 0:
        return
    if ctypes.get_errno() != errno.ENOSYS:
        _check(result, target)
    # Linux before 5.12 changes one mount at a time.
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        places = [line.split()[4].encode().decode("unicode_escape") for line in file]
    top = os.path.realpath(target)
    for place in [item for item in places if item == top or item.startswith(f"{top.rstrip('/')}/")]:
        kept = os.statvfs(place).f_flag
        held = sum(flag for bit, flag in _ST_KEPT.items() if kept & bit and not (devices and bit == MS_NODEV))
        asked = MS_NOSUID | (0 if writable else MS_RDONLY) | (0 if devices else MS_NODEV)
        mount("none", place, None, MS_REMOUNT | MS_BIND | held | (kept & MS_RDONLY) | asked)


def pivot_root() -> None:
    """Make the working directory, which is a mount, the root, and let go of the old one (pivot_root(2))."""
    _check(_call("pivot_root", b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")


def set_host_name(name: str) -> None:
    """Name the machine in this UTS namespace."""
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")


def leave_keyring() -> None:
    """Take an empty session keyring in place of the caller's (keyctl(2)); nothing where the kernel has none."""
    _call("keyctl", ctypes.c_int(_KEYCTL_JOIN_SESSION_KEYRING), None)


def bound_capabilities() -> None:
    """Empty the bounding set: no program that this process starts can have a capability. Needs CAP_SETPCAP."""
    for number in range(_LAST_CAPABILITY + 1):
        _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0)


def drop_capabilities() -> None:
    """Give up every capability of this process (capset(2))."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def keep_capabilities(numbers: Sequence[int]) -> None:
    """Keep the capabilities `numbers`, all below 32, and no other: in this process, which has them, and in every program that it
    starts as root."""
    for number in range(_LAST_CAPABILITY + 1):
        if number not in numbers:
            _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    mask = sum(1 << number for number in numbers)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)), "capset")


def no_new_privileges() -> None:
    """Let no program that this process starts have more rights than it has (PR_SET_NO_NEW_PRIVS)."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "no_new_privs")


def set_filter(program: bytes) -> None:
    """Put the seccomp filter `program`, an array of `struct sock_filter`, over this process and all that it starts. Needs
    `no_new_privileges`."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    value = Program(len(program) // 8, program)
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    _check(_libc.prctl(_PR_SET_SECCOMP, mode, ctypes.byref(value), 0, 0), "seccomp")


def die_with_parent(signal: int) -> None:
    """Send this process `signal` when the thread that made it ends (prctl(2), PR_SET_PDEATHSIG).

    The kernel forgets this at a change of credentials: call it after entering a user namespace."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal), 0, 0, 0))


def version() -> tuple[int, int]:
    """The kernel's version, as far as features depend on it."""
    parts = os.uname().release.split(".")
    digits = [part for part in parts[:2] if part.isdigit()]
    return (int(digits[0]), int(digits[1])) if len(digits) == 2 else (0, 0)


def has_capability(number: int) -> bool:
    """Whether this process may use the capability `number` in its own user namespace."""
    with open("/proc/self/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


def in_initial_user_namespace() -> bool:
    """Whether user IDs here are those of the machine (`/proc/self/uid_map` maps all of them onto themselves)."""
    try:
        with open("/proc/self/uid_map", encoding="utf-8") as file:
            return file.read().split() == ["0", "0", "4294967295"]
    except OSError:
        return True
