"""System-call filters (seccomp(2), classic BPF): what a program in a sandbox may ask of the kernel. Pure: words to bytes.

`refusing` goes with namespaces, which hide everything already: it takes away the calls with which a program would make
namespaces of its own, and parts of the kernel that programs have no use for.

`reading` stands alone, where a machine has no namespaces: a program under it can read, compute, and write to its standard
output and error. It cannot open a file for writing, make one, connect, start a process or signal one.

Both let only the machine's own kind of calls through; a call of another kind (32 bits) ends the process.
"""

from __future__ import annotations

import struct

from corten.values import dataclass

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
_X32 = 0x40000000

_LOAD, _JUMP_EQUAL, _JUMP_FROM, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ERROR, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_EPERM, _EACCES, _ENOTTY, _ENOSYS = 1, 13, 25, 38

_CLONE_NEW = 0x7E020080
"""Every CLONE_NEW* flag."""
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000 | 0o20000000
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND and the bit of O_TMPFILE, equal on both machines."""
_TERMINAL, _CLOSE_ON_EXEC, _KEEP_ON_EXEC = 0x5401, 0x5451, 0x5450
_DESCRIPTOR_COMMANDS = (0, 1, 2, 3, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC. F_SETFL and F_SETOWN together would send signals."""

# Name: number on x86_64, on aarch64; None where it does not exist.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    **{"unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39)},
    **{"pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429)},
    **{"fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433)},
    **{"mount_setattr": (442, 442), "ptrace": (101, 117), "process_vm_readv": (310, 270)},
    **{"process_vm_writev": (311, 271), "pidfd_getfd": (438, 438), "bpf": (321, 280), "keyctl": (250, 219)},
    **{"add_key": (248, 217), "request_key": (249, 218), "io_uring_setup": (425, 425)},
    **{"io_uring_enter": (426, 426), "io_uring_register": (427, 427), "userfaultfd": (323, 282)},
    **{"perf_event_open": (298, 241), "memfd_create": (319, 279), "memfd_secret": (447, 447)},
    **{"init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106)},
    **{"kexec_load": (246, 104), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265)},
}
_CLONE, _CLONE3 = (56, 220), (435, 435)

_FREE: dict[str, tuple[int | None, int | None]] = {
    **{"read": (0, 63), "pread64": (17, 67), "close": (3, 57), "fstat": (5, 80), "stat": (4, None)},
    **{"lstat": (6, None), "newfstatat": (262, 79), "statx": (332, 291), "lseek": (8, 62)},
    **{"access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439), "readlink": (89, None)},
    **{"readlinkat": (267, 78), "getdents64": (217, 61), "getcwd": (79, 17), "dup": (32, 23)},
    **{"close_range": (436, 436), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215)},
    **{"brk": (12, 214), "mremap": (25, 216), "madvise": (28, 233), "rt_sigaction": (13, 134)},
    **{"rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "futex": (202, 98)},
    **{"set_tid_address": (218, 96), "set_robust_list": (273, 99), "rseq": (334, 293)},
    **{"arch_prctl": (158, None), "execve": (59, 221), "exit": (60, 93), "exit_group": (231, 94)},
    **{"getpid": (39, 172), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175)},
    **{"getgid": (104, 176), "getegid": (108, 177), "uname": (63, 160), "sysinfo": (99, 179)},
    **{"getrlimit": (97, 163), "sched_getaffinity": (204, 123), "getrandom": (318, 278)},
    **{"clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169)},
}
_OPEN, _OPENAT = (2, None), (257, 56)
_WRITE, _WRITEV = (1, 64), (20, 66)
_IOCTL, _FCNTL, _PRLIMIT = (16, 29), (72, 25), (302, 261)


@dataclass(frozen=True, slots=True)
class _Step:
    """One instruction: code, jumps if true and if false, operand."""

    code: int
    true: int
    false: int
    value: int


def refusing(machine: str) -> bytes:
    """The filter that goes with namespaces. Raises KeyError for a machine that nobody has looked up."""
    index = _column(machine)
    steps = _start(machine)
    for numbers in _REFUSED.values():
        steps += _on(numbers[index], [_error(_EPERM)])
    flags = [*_argument(0), _Step(_JUMP_SET, 0, 1, _CLONE_NEW), _error(_EPERM), _allow()]
    steps += _on(_CLONE[index], flags)
    # Its flags lie in memory, where a filter cannot look. The C library then takes clone.
    steps += _on(_CLONE3[index], [_error(_ENOSYS)])
    return _packed([*steps, _allow()])


def reading(machine: str) -> bytes:
    """The filter for a program that may read files and write to its standard output and error, and nothing else."""
    index = _column(machine)
    steps = _start(machine)
    for numbers in _FREE.values():
        steps += _on(numbers[index], [_allow()])
    for numbers, argument in ((_OPEN, 1), (_OPENAT, 2)):
        flags = [*_argument(argument), _Step(_JUMP_SET, 0, 1, _WRITING), _error(_EACCES), _allow()]
        steps += _on(numbers[index], flags)
    for numbers in (_WRITE, _WRITEV):
        steps += _on(numbers[index], _among(0, (1, 2), _EPERM))
    steps += _on(_IOCTL[index], _among(1, (_TERMINAL, _CLOSE_ON_EXEC, _KEEP_ON_EXEC), _ENOTTY))
    steps += _on(_FCNTL[index], _among(1, _DESCRIPTOR_COMMANDS, _EPERM))
    asked = [*_argument(2), _Step(_JUMP_EQUAL, 1, 0, 0), _error(_EPERM)]
    asked += [_Step(_LOAD, 0, 0, 16 + 8 * 2 + 4), _Step(_JUMP_EQUAL, 1, 0, 0), _error(_EPERM), _allow()]
    steps += _on(_PRLIMIT[index], asked)
    return _packed([*steps, _error(_EPERM)])


def _column(machine: str) -> int:
    return {"x86_64": 0, "aarch64": 1}[machine]


def _start(machine: str) -> list[_Step]:
    steps = [
        _Step(_LOAD, 0, 0, 4),
        _Step(_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        _Step(_RETURN, 0, 0, _KILL),
        _Step(_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":
        steps += [_Step(_JUMP_FROM, 0, 1, _X32), _Step(_RETURN, 0, 0, _KILL)]
    return steps


def _on(number: int | None, block: list[_Step]) -> list[_Step]:
    """`block`, which returns on every way through it, for the call `number`."""
    return [] if number is None else [_Step(_JUMP_EQUAL, 0, len(block), number), *block]


def _argument(index: int) -> list[_Step]:
    """Load the lower half of an argument; both machines are little-endian."""
    return [_Step(_LOAD, 0, 0, 16 + 8 * index)]


def _among(argument: int, values: tuple[int, ...], code: int) -> list[_Step]:
    tests = [_Step(_JUMP_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [*_argument(argument), *tests, _error(code), _allow()]


def _allow() -> _Step:
    return _Step(_RETURN, 0, 0, _ALLOW)


def _error(code: int) -> _Step:
    return _Step(_RETURN, 0, 0, _ERROR | code)


def _packed(steps: list[_Step]) -> bytes:
    return b"".join(struct.pack("<HBBI", step.code, step.true, step.false, step.value) for step in steps)
