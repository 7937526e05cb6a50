"""Rights that a process gives up before it becomes a container's engine, and the small seccomp filters that go with it.

Filters are classic BPF programs over `struct seccomp_data` (seccomp(2)), the same on amd64 and arm64 but for their numbers.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
from collections.abc import Sequence

from corten.runtime.privileges import ULIMITS, UNLIMITED, Ulimit

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_CAPABILITY_VERSION = 0x20080522
CAP_DAC_OVERRIDE = 1

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_X32 = 0x40000000

# AUDIT_ARCH, ioctl, statx
_NUMBERS = {"x86_64": (0xC000003E, 16, 332), "aarch64": (0xC00000B7, 29, 291)}

# Numbers from 424 on are the same everywhere. These of them take no path; PRoot 5.1 knows none of them, so every other
# one (openat2, faccessat2, io_uring …) would see the machine's files instead of the image's.
_FIRST_COMMON = 424
_WITHOUT_PATHS = (424, 434, 435, 436, 438, 440, 441, 447, 448, 449, 450, 451, 453, 454, 455, 456)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def terminal_filter(machine: str | None = None) -> bytes:
    """No process puts input into its terminal (TIOCSTI), which would be typed on the machine when the container ends."""
    arch, ioctl, _ = _numbers(machine)
    return _assemble(arch, [], ioctl)


def path_filter(machine: str | None = None) -> bytes:
    """The same, and system calls with paths that PRoot does not translate are answered as by an older kernel, so that the C
    library uses those that it does."""
    arch, ioctl, statx = _numbers(machine)
    return _assemble(arch, [statx], ioctl, newest=True)


def _numbers(machine: str | None) -> tuple[int, int, int]:
    return _NUMBERS.get(machine or os.uname().machine, (0, 0, 0))


def _assemble(arch: int, absent: Sequence[int], ioctl: int, *, newest: bool = False) -> bytes:
    if not arch:  # another processor: there is no filter for it
        return _instruction(_RETURN, 0, 0, _ALLOW)
    code = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
    ]
    for number in absent:
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    if newest:
        for number in _WITHOUT_PATHS:
            code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
        code += [(_AT_LEAST, 0, 1, _FIRST_COMMON), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    code += [(_EQUAL, 1, 0, ioctl), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 24)]
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
