"""The process between Corten and a program in a sandbox: makes the namespaces, starts the program as their first process, and
sees that all of it ends. Run by `process.py` with a bare interpreter for every program, so it imports only what starts fast.

    Corten ── this process ── the program (process 1 of its namespace)

Two pipes come with it. On the leash Corten writes the confinement (`confinement.encode`) and keeps its end open: when that closes, because
Corten ends the program or is gone itself, this process kills the program. The kernel then ends everything else in the process
namespace, before `waitpid` returns; so when this process is gone, the sandbox is. On the other pipe this process says what
refused, and nothing when the program was started.
"""

from __future__ import annotations

# `signal` makes enumerations of these numbers, which takes longer than they save.
import _signal as signal  # type: ignore[import-not-found]
import marshal
import os
import resource
import select
import sys
import time

from corten.sandbox import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_STAGES = ("/tmp", "/mnt", "/run", "/usr")
_DEVICES = ("null", "zero", "full", "random", "urandom")
NOBODY = 65534
"""The user and the group that root runs programs as (`nobody`), and that everybody else is called inside."""
LATE = 124
REFUSED = 125


def main() -> None:
    """Run the program of the confinement that comes over the leash. Ends with the program's own code, 128 more than the
    signal that ended it, or LATE when its time was up."""
    status, leash = int(sys.argv[1]), int(sys.argv[2])
    for descriptor in (status, leash):
        os.set_inheritable(descriptor, False)
    given = marshal.loads(_exactly(leash, int.from_bytes(_exactly(leash, 8), "little")))  # noqa: S302  from Corten
    spaces = given["namespaces"]
    mapped = spaces and not (os.geteuid() == 0 and kernel.has_capability(kernel.CAP_SYS_ADMIN))
    try:
        if mapped:
            _become_mapped()
        if spaces:
            kernel.unshare(kernel.CLONE_NEWPID)
        child = os.fork()
    except OSError as error:
        _refuse(status, error, "namespaces")
        return
    if child == 0:
        _program(given, mapped, status)
    for descriptor in (status, 0, 1, 2):
        os.close(descriptor)
    os._exit(_attend(child, leash, given["seconds"]))


def _exactly(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := os.read(descriptor, count - len(data))):
        data += piece
    return data


def _refuse(status: int, error: OSError, what: str) -> None:
    text = f"{error.errno or 0}\t{what}\t{error.filename or ''}"
    try:
        os.write(status, text.encode(errors="replace")[:4000])
    finally:
        os._exit(REFUSED)


def _attend(child: int, leash: int, seconds: float | None) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    deadline = None if seconds is None else time.monotonic() + seconds
    poll = select.poll()
    poll.register(leash, select.POLLHUP)
    ended = -1
    try:
        ended = os.pidfd_open(child)
        poll.register(ended, select.POLLIN)
    except OSError:  # Linux before 5.3: looked at now and then
        pass
    while True:
        pause = None if ended >= 0 else 0.05
        if deadline is not None:
            left = max(0.0, deadline - time.monotonic())
            pause = left if pause is None else min(pause, left)
        events = poll.poll(None if pause is None else pause * 1000)
        pid, code = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(code)
            return code if code >= 0 else 128 - code
        late = deadline is not None and time.monotonic() >= deadline
        if late or any(descriptor == leash for descriptor, _ in events):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return LATE if late else 128 + signal.SIGKILL


def _program(given: dict[str, Any], mapped: bool, status: int) -> None:
    """Become the program. Does not return."""
    what = "the mount namespace"
    os.umask(0o022)
    try:
        command = given["command"]
        root = os.geteuid() == 0
        if given["expendable"]:
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write("1000")
        if given["namespaces"]:
            kinds = kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
            kernel.unshare(kinds | (0 if given["network"] else kernel.CLONE_NEWNET))
            what = "its root"
            _mount(given)
            kernel.pivot_root()
            kernel.set_host_name("sandbox")
        elif root:
            what = "chroot"
            os.chroot(given["root"])
            os.chdir("/")
        else:
            command = given["unrooted"]
        what = "its rights"
        _drop(given, become_nobody=root and not mapped and not given["owner"])
        os.chdir(given["directory"])
        what = "the system-call filter"
        kernel.set_filter(given["filter"])
        what = "the program"
        os.execve(command[0], command, given["environment"])
    except OSError as error:
        _refuse(status, error, what)
    finally:
        os._exit(REFUSED)


def _become_mapped() -> None:
    """Enter a user namespace in which the caller is `nobody`, and no other user exists."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {uid} 1"),
        ("gid_map", f"{NOBODY} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def _drop(given: dict[str, Any], become_nobody: bool) -> None:
    kernel.leave_keyring()
    kernel.bound_capabilities()
    if become_nobody:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    kernel.drop_capabilities()
    kernel.no_new_privileges()
    # After the change of user: before it, the kernel would count that user's other processes and refuse execve.
    for kind, value in (
        (resource.RLIMIT_AS, given["memory"]),
        (resource.RLIMIT_FSIZE, given["file_size"]),
        (resource.RLIMIT_NPROC, given["processes"]),
        (resource.RLIMIT_CORE, 0),
    ):
        if value is not None:
            hard = resource.getrlimit(kind)[1]
            least = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (least, least))
    kernel.die_with_parent(signal.SIGKILL)


def _mount(given: dict[str, Any]) -> None:
    """Make the sandbox's root the working directory."""
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    stage = next(place for place in _STAGES if os.path.isdir(place))
    if given["root"] is not None:
        kernel.bind(given["root"], stage)
        kernel.harden(stage, writable=False)
        os.chdir(stage)
        return
    # What is bound may lie below the stage, which is hidden from here on.
    sources = [(_kept(source), target, writable) for source, target, writable in given["binds"]]
    devices = []
    if given["devices"]:
        devices = [(_kept(f"/dev/{name}"), name) for name in _DEVICES]
    kernel.mount("tmpfs", stage, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=4m")
    os.chdir(stage)
    for descriptor, target, writable in sources:
        _show(f"/proc/self/fd/{descriptor}", target, writable=writable)
    for descriptor, name in devices:
        _show(f"/proc/self/fd/{descriptor}", f"/dev/{name}", writable=True, devices=True)
    for path, size in given["scratch"]:
        place = _point(path, directory=True)
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        kernel.mount("tmpfs", place, "tmpfs", flags, f"mode=0700,size={size}")
        if os.geteuid() == 0 and not given["owner"]:
            os.chown(place, NOBODY, NOBODY)
    if given["proc"]:
        place = _point("/proc", directory=True)
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        try:  # noqa: SIM105  `contextlib` would have to be imported
            kernel.mount("proc", place, "proc", flags)
        except OSError:  # in a container that hides parts of its own
            pass
    _seal(".")


def _kept(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _show(source: str, target: str, *, writable: bool, devices: bool = False) -> None:
    place = _point(target, directory=os.path.isdir(source))
    kernel.bind(source, place)
    kernel.harden(place, writable=writable, devices=devices)


def _point(target: str, *, directory: bool) -> str:
    """The place of a mount in the new root, made where it is missing."""
    place = f".{os.path.normpath('/' + target)}"
    if directory:
        os.makedirs(place, mode=0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
        if not os.path.lexists(place):
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))
    return place


def _seal(root: str) -> None:
    """Make the new root itself read-only, and none of what is mounted in it."""
    flags = kernel.MS_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("none", root, None, flags | kernel.MS_BIND)


if __name__ == "__main__":
    main()
