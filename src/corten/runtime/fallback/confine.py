"""Rights that a process gives up before it becomes a container's engine, and the small seccomp filters that go with it.

Filters are classic BPF programs over `struct seccomp_data` (seccomp(2)), the same on amd64 and arm64 but for their numbers.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from corten.runtime.privileges import ULIMITS, UNLIMITED, Ulimit

_Instruction = tuple[int, int, int, int]
"""Operation, instructions to leave out if it holds and if it does not, operand."""

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_CAPABILITY_VERSION = 0x20080522
CAP_DAC_OVERRIDE = 1

_LOAD, _EQUAL, _AT_LEAST, _HAS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24
"""Places in `struct seccomp_data`: the call's number, the processor, the low halves of the first arguments."""
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_X32 = 0x40000000
_CLONE_VM, _CLONE_VFORK = 0x100, 0x4000


class _Numbers(NamedTuple):
    arch: int
    ioctl: int
    statx: int
    clone: int


_NUMBERS = {"x86_64": _Numbers(0xC000003E, 16, 332, 56), "aarch64": _Numbers(0xC00000B7, 29, 291, 220)}

# Numbers from 424 on are the same everywhere. These of them take no path; PRoot 5.1 knows none of them, so every other
# one (openat2, faccessat2, io_uring …) would see the machine's files instead of the image's. It does not see that the
# threads that clone3 (435) makes share their memory either, and loses track of their heap; those of `clone` it knows.
_FIRST_COMMON = 424
_WITHOUT_PATHS = (424, 434, 436, 438, 440, 441, 447, 448, 449, 450, 451, 453, 454, 455, 456)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def terminal_filter(machine: str | None = None) -> bytes:
    """No process puts input into its terminal (TIOCSTI), which would be typed on the machine when the container ends."""
    return _assemble(machine, lambda numbers: [])


def path_filter(machine: str | None = None, *, loses_heap: bool = False) -> bytes:
    """The same, and system calls with paths that PRoot does not translate are answered as by an older kernel, so that the C
    library uses those that it does. `loses_heap`: posix_spawn(3) and system(3) fail with ENOSYS, which they would survive
    under PRoot before 5.2, but not their caller."""

    def absent(numbers: _Numbers) -> list[_Instruction]:
        code = [(_EQUAL, 0, 1, numbers.statx), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
        if loses_heap:
            code += _own_stack(numbers.clone)
        for number in _WITHOUT_PATHS:
            code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
        return [*code, (_AT_LEAST, 0, 1, _FIRST_COMMON), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]

    return _assemble(machine, absent)


def _own_stack(clone: int) -> list[_Instruction]:
    """A child that shares its parent's memory until it executes something, on a stack of its own. PRoot 5.1 forgets the
    parent's heap when it does (execve/exit.c, mended in 5.2). vfork(2) has the parent's stack, and is told from it."""
    return [
        (_EQUAL, 0, 6, clone),
        (_LOAD, 0, 0, _FIRST),
        (_HAS, 0, 4, _CLONE_VFORK),
        (_HAS, 0, 3, _CLONE_VM),
        (_LOAD, 0, 0, _SECOND),
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
    ]


def _assemble(machine: str | None, absent: Callable[[_Numbers], list[_Instruction]]) -> bytes:
    numbers = _NUMBERS.get(machine or os.uname().machine)
    if numbers is None:  # another processor: there is no filter for it
        return _instruction(_RETURN, 0, 0, _ALLOW)
    code = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, numbers.arch),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
        *absent(numbers),
        (_EQUAL, 1, 0, numbers.ioctl),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _SECOND),
    ]
    for request in (_TIOCSTI, _TIOCLINUX):
        code += [(_EQUAL, 0, 1, request), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(_instruction(*item) for item in code)


def _instruction(operation: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("<HBBI", operation, if_true, if_false, value)


def filter_file(program: bytes) -> int:
    """A descriptor to read `program` from, which a program that is executed inherits."""
    descriptor = os.memfd_create("filter", 0)
    os.write(descriptor, program)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def install_filter(program: bytes) -> None:
    """Put this process, and all that come of it, under `program`, and let them gain no rights by executing anything.
    Where the kernel has no filters they go without."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return
    text = ctypes.create_string_buffer(program, len(program))
    value = _Program(len(program) // 8, ctypes.cast(text, ctypes.c_void_p))
    libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(value), 0, 0)


def set_limits(ulimits: Sequence[Ulimit]) -> None:
    """Set the resource limits of this process. Raises OSError, ValueError where one is above what it may have."""
    for item in ulimits:
        pair = [resource.RLIM_INFINITY if value == UNLIMITED else value for value in (item.soft, item.hard)]
        resource.setrlimit(ULIMITS[item.name], (pair[0], pair[1]))


def keep_capabilities(kept: Sequence[int]) -> None:
    """Give up every capability but those in `kept`: without any, root keeps its files and no more (capset(2)). With
    `install_filter` also after executing a program. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("<Ii", _CAPABILITY_VERSION, 0)
    low = sum(1 << number for number in kept)
    if libc.capset(header, struct.pack("<6I", low, low, 0, 0, 0, 0)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
