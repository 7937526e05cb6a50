"""Ways out of a container, tried from inside by Python alone. `program()` is the text of a program that tries each and prints
one JSON object: for every attempt `refused` with the reason, or `worked` with what it got. Nothing here harms a machine on
which it works: what is written is what was there."""

from __future__ import annotations

import inspect

HOSTILE_TO_STREAMS = """
import os, sys
def tried(name, action):
    try: action()
    except OSError: return
    print(name, file=sys.stderr)
sys.stdout.write(sys.stdin.read())
tried("stdin was written", lambda: open("/proc/self/fd/0", "r+").write("changed"))
os.fchmod(0, 0o777); os.fchmod(1, 0o4777)
tried("stdout was read", lambda: open("/proc/self/fd/1", "r+").read())
sys.exit(3)
"""
"""Copies its standard input to its output, tries what else can be done to the files that they are, and exits with 3."""


def attempts() -> None:
    """The program."""
    import ctypes
    import errno
    import json
    import os
    import platform
    import resource
    import signal
    import socket
    import stat
    import struct
    import sys

    libc = ctypes.CDLL(None, use_errno=True)
    numbers = {
        "x86_64": {"add_key": 248, "keyctl": 250, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
                   "io_uring_setup": 425, "init_module": 175, "kexec_load": 246, "swapon": 167, "acct": 163,
                   "pivot_root": 155, "clone": 56, "clone3": 435, "fsopen": 430, "open_tree": 428,
                   "name_to_handle_at": 303, "open_by_handle_at": 304, "process_vm_readv": 310,
                   "clock_settime": 227, "pidfd_open": 434, "iopl": 172, "mount_setattr": 442},
        "aarch64": {"add_key": 217, "keyctl": 219, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
                    "io_uring_setup": 425, "init_module": 105, "kexec_load": 104, "swapon": 224, "acct": 89,
                    "pivot_root": 41, "clone": 220, "clone3": 435, "fsopen": 430, "open_tree": 428,
                    "name_to_handle_at": 264, "open_by_handle_at": 265, "process_vm_readv": 270,
                    "clock_settime": 112, "pidfd_open": 434, "iopl": 105, "mount_setattr": 442},
    }[platform.machine()]  # fmt: skip
    host_pid = int(sys.argv[1])
    secret = sys.argv[2]

    def check(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def call(name: str, *arguments: object) -> int:
        return check(libc.syscall(numbers[name], *arguments))

    def child(action: object) -> None:
        """In a process of its own, so that what works changes nothing for the next attempt."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                action()  # type: ignore[operator]
                os.write(writing, b"worked")
            except OSError as error:
                os.write(writing, str(error.errno).encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(pid, 0)
        said = os.read(reading, 100)
        os.close(reading)
        if said != b"worked":
            number = int(said or errno.EPERM)
            raise OSError(number, os.strerror(number))

    def mount(source: str | None, target: str, kind: str | None, flags: int = 0) -> None:
        encoded = [None if text is None else text.encode() for text in (source, target, kind)]
        check(libc.mount(*encoded, flags, None))
        if not flags & 32:
            libc.umount2(target.encode(), 2)

    def reached(answer: int, name: str, *arguments: object) -> None:
        """A call that the kernel itself would answer with this error, as its arguments do no harm."""
        try:
            call(name, *arguments)
        except OSError as error:
            if error.errno != answer:
                raise

    def limits() -> None:
        resource.setrlimit(7, tuple(value + 1 for value in resource.getrlimit(7)))  # type: ignore[arg-type]

    def write(path: str, content: bytes | None = None) -> None:
        """What is there already, unless said otherwise."""
        if content is None:
            with open(path, "rb") as file:
                content = file.read(4096)
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)

    def clone_user() -> None:
        pid = call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    def clone3_user() -> None:
        arguments = struct.pack("8Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
        pid = call("clone3", ctypes.c_char_p(arguments), len(arguments))
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    def by_handle() -> None:
        handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
        mount_id = ctypes.c_int()
        call("name_to_handle_at", -100, b"/etc", handle, ctypes.byref(mount_id), 0)
        root = os.open("/etc", os.O_RDONLY)
        os.close(call("open_by_handle_at", root, handle, os.O_RDONLY))

    def read_other() -> None:
        buffer = ctypes.create_string_buffer(8)
        vector = struct.pack("PN", ctypes.addressof(buffer), 8)
        call("process_vm_readv", host_pid, ctypes.c_char_p(vector), 1, ctypes.c_char_p(vector), 1, 0)

    def node(kind: int, number: tuple[int, int]) -> None:
        for place in ("/tmp/node", "/dev/node"):
            try:
                os.mknod(place, kind | 0o600, os.makedev(*number))
                os.close(os.open(place, os.O_RDONLY))
                return
            except OSError as error:
                refused = error
        raise refused

    def opened(path: str, flags: int = os.O_RDONLY) -> None:
        descriptor = os.open(path, flags)
        try:
            if flags == os.O_RDONLY and os.read(descriptor, 1) == b"":
                raise OSError(errno.ENODATA, "empty")
        finally:
            os.close(descriptor)

    def sockets(family: int, kind: int, protocol: int = 0) -> None:
        socket.socket(family, kind, protocol).close()

    def in_front_of_all() -> None:
        write("/proc/self/oom_score_adj", b"-999")

    def become_root() -> None:
        if os.getuid() == 0:
            raise OSError(errno.EPERM, "it is root already, with what its capabilities allow")
        os.setuid(0)

    def other_disks() -> None:
        with open("/proc/self/mountinfo") as file:
            numbers = sorted({line.split()[2] for line in file})
        for number in numbers:
            major, minor = map(int, number.split(":"))
            if major:
                node(stat.S_IFBLK, (major, minor))
                return
        node(stat.S_IFBLK, (254, 0))

    namespace = {
        "user": 0x10000000,
        "mount": 0x20000,
        "network": 0x40000000,
        "pid": 0x20000000,
        "cgroup": 0x2000000,
    }
    tries = {
        "mount a tmpfs": lambda: mount("none", "/tmp", "tmpfs"),
        "mount proc": lambda: mount("proc", "/tmp", "proc"),
        "mount cgroups": lambda: mount("cgroup", "/tmp", "cgroup2"),
        "bind a folder": lambda: mount("/etc", "/tmp", None, 4096),
        "make the root writable": lambda: mount(None, "/", None, 32 | 4096),
        "make /proc/sys writable": lambda: mount(None, "/proc/sys", None, 32 | 4096),
        "unmount a mask": lambda: child(lambda: check(libc.umount2(b"/proc/timer_list", 2))),
        "open a file system": lambda: os.close(call("fsopen", b"tmpfs", 0)),
        "clone a mount": lambda: os.close(call("open_tree", -100, b"/etc", 1)),
        "pivot the root": lambda: reached(errno.ENOENT, "pivot_root", b"/nowhere", b"/nowhere"),
        "chroot": lambda: child(lambda: os.chroot("/tmp")),
        **{
            f"unshare a {name} namespace": lambda flag=flag: child(lambda: check(libc.unshare(flag)))
            for name, flag in namespace.items()
        },
        "clone into a user namespace": clone_user,
        "clone3 into a user namespace": clone3_user,
        "enter a mount namespace": lambda: child(
            lambda: check(libc.setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0))
        ),
        "see a process of the host": lambda: os.kill(host_pid, 0),
        "trace a process of the host": lambda: check(libc.ptrace(16, host_pid, 0, 0)),
        "read a process of the host": read_other,
        "hold a process of the host": lambda: os.close(call("pidfd_open", host_pid, 0)),
        "write a setting": lambda: write("/proc/sys/vm/swappiness"),
        "write the core pattern": lambda: write("/proc/sys/kernel/core_pattern"),
        "write a setting below /proc": lambda: write("/proc/irq/default_smp_affinity"),
        "open the system request key": lambda: opened("/proc/sysrq-trigger", os.O_WRONLY),
        "read the kernel's memory": lambda: opened("/proc/kcore"),
        "read the keys": lambda: opened("/proc/keys"),
        "read timers": lambda: opened("/proc/timer_list"),
        "read the firmware": lambda: (
            os.stat("/sys/firmware/" + os.listdir("/sys/firmware")[0])
            if os.listdir("/sys/firmware")
            else opened("/sys/firmware")
        ),
        "write below /sys": lambda: write("/sys/kernel/mm/transparent_hugepage/enabled", b"madvise"),
        "escape the out-of-memory killer": in_front_of_all,
        "add a key": lambda: call("add_key", b"user", b"x", b"y", 1, ctypes.c_int(-3)),
        "read a keyring": lambda: call("keyctl", 0, ctypes.c_int(-3), 0),
        "load a program into the kernel": lambda: os.close(
            call("bpf", 0, ctypes.c_char_p(struct.pack("5I", 2, 4, 4, 1, 0) + bytes(100)), 72)
        ),
        "watch the processor": lambda: os.close(
            call("perf_event_open", ctypes.c_char_p(struct.pack("IIQ", 1, 112, 0) + bytes(96)), 0, -1, -1, 0)
        ),
        "handle page faults": lambda: os.close(call("userfaultfd", 0)),
        "use io_uring": lambda: os.close(call("io_uring_setup", 1, ctypes.create_string_buffer(120))),
        "load a module": lambda: reached(errno.ENOEXEC, "init_module", b"x" * 64, 64, b""),
        "load a kernel": lambda: reached(errno.EINVAL, "kexec_load", 0, 0, None, 0x80000000),
        "swap": lambda: reached(errno.ENOENT, "swapon", b"/nowhere", 0),
        "set the clock": lambda: reached(errno.EFAULT, "clock_settime", 0, None),
        "switch accounting": lambda: reached(errno.ENOENT, "acct", b"/nowhere"),
        "open a file by its handle": by_handle,
        "make a disk's node": other_disks,
        "make a node of the memory": lambda: node(stat.S_IFCHR, (1, 1)),
        "capture packets": lambda: sockets(17, socket.SOCK_RAW, 0x300),
        "send raw packets": lambda: sockets(socket.AF_INET, socket.SOCK_RAW, 1),
        "reach the host of a virtual machine": lambda: sockets(40, socket.SOCK_STREAM),
        "overwrite the program": lambda: write("/proc/self/exe", b""),
        "overwrite the first program": lambda: write("/proc/1/exe", b""),
        "become root": become_root,
        "raise a limit": limits,
        "set the host's name": lambda: socket.sethostname("x"),
        "find the host's secret": lambda: os.stat(secret),
        "find it through the first process": lambda: os.stat("/proc/1/root" + secret),
        "find it through a working directory": lambda: os.stat("/proc/1/cwd/../../../../../.." + secret),
        "write to the root": lambda: os.close(os.open("/etc/new", os.O_CREAT | os.O_WRONLY)),
    }
    said = {}
    for name, action in tries.items():
        try:
            action()
            said[name] = "worked"
        except OSError as error:
            said[name] = "refused: " + errno.errorcode.get(error.errno or 0, "?")
        except ValueError:
            # How Python words a limit that it may not raise.
            said[name] = "refused: EPERM"
    print(json.dumps(said))


def program() -> str:
    """The text, to be given to `python -c` with a process ID and a path of the host."""
    return f"from __future__ import annotations\n{inspect.getsource(attempts)}\nattempts()\n"
