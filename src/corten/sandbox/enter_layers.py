"""The process that runs programs in a sandbox whose root is layers with a writable one above, and then keeps what they wrote. Run by
`over_layers.py` with a bare interpreter.

    Corten ── this process ── process 1 of its namespace ── one program after the other

Process 1 is this code, in the sandbox's root: it starts the programs and keeps no right of its own for them. When it ends, the kernel
ends everything that they left behind. Only then is the writable layer read, from outside, by this process: as an archive in which a
file that the programs removed is a whiteout (image-spec, layer.md).
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import marshal
import os
import resource
import stat
import sys

from corten.sandbox import kernel
from corten.sandbox.enter import REFUSED, _attend, _exactly, _kept, _refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEVICES = ("null", "zero", "full", "random", "urandom")
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID: what it takes to own files and to change users, and nothing else.
KEPT = (0, 1, 3, 4, 5, 6, 7)
_FAILED = 1


def main() -> None:
    """Run the steps of the document that comes over the leash, and write the archive. Ends with 0, LATE, REFUSED, or 1 where a step
    that has to succeed did not."""
    status, leash = int(sys.argv[1]), int(sys.argv[2])
    for descriptor in (status, leash):
        os.set_inheritable(descriptor, False)
    given = marshal.loads(_exactly(leash, int.from_bytes(_exactly(leash, 8), "little")))  # noqa: S302  from Corten
    what = "namespaces"
    try:
        if given["mapped"]:
            kernel.unshare(kernel.CLONE_NEWUSER)
            os.write(status, b"u")
            if _exactly(leash, 1) != b"m":
                os._exit(REFUSED)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        kernel.unshare(
            kernel.CLONE_NEWNS
            | kernel.CLONE_NEWPID
            | kernel.CLONE_NEWNET
            | kernel.CLONE_NEWIPC
            | kernel.CLONE_NEWUTS
        )
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        what = "its root"
        os.umask(0o022)
        _overlay(given)
        child = os.fork()
    except OSError as error:
        _refuse(status, error, what)
        return
    if child == 0:
        os.close(leash)
        _first(given, status)
    os.close(0)
    code = _attend(child, leash, given["seconds"])
    try:
        if code == 0:
            write_archive(given["upper"], given["archive"])
    except OSError as error:
        _refuse(status, error, "what it wrote")
    finally:
        _clear(given["upper"], given["work"])
    os._exit(code)


def _overlay(given: dict[str, Any]) -> None:
    """Mount the layers, which are paths below the directory `place`."""
    options = (
        f"lowerdir={':'.join(reversed(given['layers']))},upperdir={given['upper_name']},workdir={given['work_name']},"
        "metacopy=off,redirect_dir=nofollow,index=off"
    )
    os.chdir(given["place"])
    if given["mapped"]:
        options += ",userxattr"
    kernel.mount("overlay", given["stage"], "overlay", kernel.MS_NODEV | kernel.MS_NOSUID, options)


def _first(given: dict[str, Any], status: int) -> None:
    """Process 1. Does not return."""
    what = "its root"
    try:
        kernel.die_with_parent(signal.SIGKILL)
        # Of its own: the change of root must not move the process outside, which shares these mounts.
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        devices = [(_kept(f"/dev/{name}"), name) for name in _DEVICES]
        os.chdir(given["stage"])
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        for place, mode in (("dev", "0755"), ("tmp", "1777"), ("run", "0755")):
            kernel.mount("tmpfs", place, "tmpfs", flags, f"mode={mode},size={given['scratch']}")
        for descriptor, name in devices:
            os.close(os.open(f"dev/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            kernel.bind(f"/proc/self/fd/{descriptor}", f"dev/{name}")
            kernel.harden(f"dev/{name}", writable=True, devices=True)
            os.close(descriptor)
        for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
            os.symlink(f"/proc/self/{target}", f"dev/{name}")
        for name in ("dev/shm", "run/lock"):
            os.mkdir(name)
            os.chmod(name, 0o1777)
        try:
            kernel.mount("proc", "proc", "proc", flags | kernel.MS_NOEXEC)
            # Root's own user could change settings of this machine there.
            kernel.harden("proc", writable=False)
        except OSError:  # in a container that hides parts of its own
            pass
        kernel.pivot_root()
        kernel.set_host_name("sandbox")
        kernel.leave_keyring()
        try:  # noqa: SIM105  `contextlib` would have to be imported
            os.setgroups([])
        except OSError:
            pass
        code = 0
        for number, (command, output, needed) in enumerate(given["steps"]):
            what = "a program"
            child = os.fork()
            if child == 0:
                _program(given, command, output, status)
            _, ended = os.waitpid(child, 0)
            said = os.waitstatus_to_exitcode(ended)
            if said != 0:
                os.write(status, f"step\t{number}\t{said}\n".encode())
                if needed:
                    code = _FAILED
                    break
        os._exit(code)
    except OSError as error:
        _refuse(status, error, what)
    finally:
        os._exit(REFUSED)


def _program(given: dict[str, Any], command: list[str], output: str, status: int) -> None:
    """Become one program. Does not return."""
    try:
        kernel.keep_capabilities(KEPT)
        kernel.no_new_privileges()
        for kind, value in (
            (resource.RLIMIT_FSIZE, given["file_size"]),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(kind, (value, value))
        if output:
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 1)
        kernel.set_filter(given["filter"])
        os.execve(command[0], command, given["environment"])
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def write_archive(upper: str, archive: str) -> None:
    """Write what lies in `upper` to the archive: folders before what is in them."""
    import tarfile

    with tarfile.open(archive, "x", format=tarfile.PAX_FORMAT) as target:
        waiting = [""]
        while waiting:
            above = waiting.pop()
            for name in sorted(os.listdir(f"{upper}/{above}")):
                path = f"{above}/{name}" if above else name
                place = f"{upper}/{path}"
                status = os.lstat(place)
                entry = tarfile.TarInfo(path)
                entry.mode, entry.uid, entry.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
                if stat.S_ISDIR(status.st_mode):
                    entry.type = tarfile.DIRTYPE
                    target.addfile(entry)
                    if _hides_below(place):
                        target.addfile(tarfile.TarInfo(f"{path}/.wh..wh..opq"))
                    waiting.append(path)
                elif name.startswith(".wh."):
                    continue  # it would be taken for a whiteout
                elif stat.S_ISLNK(status.st_mode):
                    entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(place)
                    target.addfile(entry)
                elif stat.S_ISREG(status.st_mode):
                    entry.size = status.st_size
                    with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                        target.addfile(entry, file)
                elif stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                    target.addfile(tarfile.TarInfo(f"{above}/.wh.{name}" if above else f".wh.{name}"))


def _hides_below(place: str) -> bool:
    for name in ("user.overlay.opaque", "trusted.overlay.opaque"):
        try:
            if os.getxattr(place, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            pass
    return False


def _clear(*places: str) -> None:
    """Remove what only users of this namespace may remove."""
    import shutil

    for place in places:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
