"""`python -m corten.build.sandbox ROOT WORK COMMAND…`: run a base image's own program beside a build, and let it reach nothing.

A base image comes from elsewhere, and its Python compiles our bytecode (DECISIONS 9). It runs in namespaces of its own
(user, mount, process, network, IPC), with `ROOT` read-only as its root, `WORK` at /tmp/work as the one place that it may
write to, the folder of the compile server at /tmp/server, no network and no capabilities (namespaces(7), pivot_root(2)).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from corten.sandbox import kernel

_TMP = "/tmp"
WORK = f"{_TMP}/work"
SERVER = f"{_TMP}/server"

_MS_REMOUNT, _MS_BIND, _MS_PRIVATE = 32, 4096, 1 << 18
_NEWIPC = 0x08000000
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_LAST_CAPABILITY = 63


def main(arguments: list[str]) -> int:
    """Enter the sandbox and run the command. Returns its exit code, to the parent only."""
    root, work, *command = arguments
    server = str(Path(__file__).parent)
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(
        kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | _NEWIPC
    )
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    child = os.fork()
    if child:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    kernel.die_with_parent(signal.SIGKILL)
    _enter(root, work, server)
    os.execve(command[0], command, {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"})
    return 127  # not reached: execve returns only by raising


def _enter(root: str, work: str, server: str) -> None:
    kernel.mount("none", "/", None, kernel.MS_REC | _MS_PRIVATE)
    kernel.mount(root, root, None, _MS_BIND | kernel.MS_REC)
    kernel.mount("tmpfs", f"{root}{_TMP}", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755")
    for source, name, flags in ((work, "work", 0), (server, "server", kernel.MS_RDONLY)):
        target = f"{root}{_TMP}/{name}"
        os.mkdir(target)
        kernel.mount(source, target, None, _MS_BIND)
        hardened = _MS_REMOUNT | _MS_BIND | kernel.MS_NOSUID | kernel.MS_NODEV | flags
        kernel.mount("none", target, None, hardened)
    kernel.mount(
        "none", root, None, _MS_REMOUNT | _MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    )
    libc = ctypes.CDLL(None, use_errno=True)
    os.chdir(root)
    if libc.syscall(_SYS_PIVOT_ROOT[os.uname().machine], b".", b".") != 0:
        raise OSError(ctypes.get_errno(), "pivot_root", root)
    kernel.unmount(".")
    os.chdir("/")
    for number in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
