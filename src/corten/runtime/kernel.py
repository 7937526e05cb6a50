"""The kernel's calls that Python 3.11 does not have: namespaces, mounts, and what happens when a parent dies.

Every function raises OSError with the kernel's own errno; what to say about it is decided by the caller, who knows why
it was called. Flags are those of <sched.h>, <sys/mount.h> and <sys/prctl.h> and are the same on amd64 and arm64.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REC = 16384
MS_SLAVE = 1 << 19
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
CAP_SYS_ADMIN = 21

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


def unmount(target: str) -> None:
    """Detach what is mounted at `target`, at once for whoever looks, when its last user leaves in fact."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), target)


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
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


def in_initial_user_namespace() -> bool:
    """Whether user IDs here are those of the machine (`/proc/self/uid_map` maps all of them onto themselves)."""
    try:
        with open("/proc/self/uid_map") as file:
            return file.read().split() == ["0", "0", "4294967295"]
    except OSError:
        return True
