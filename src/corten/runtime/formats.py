"""Whether the kernel can run a file at all. runc finds out only when the container has begun, and then it ends as a program would
that returns 1; so it is looked at before."""

from __future__ import annotations

import os

from corten.runtime.emulation import REGISTERED

_ELF = b"\x7fELF"
_NATIVE = {"x86_64": (62, 3), "aarch64": (183, 40)}
"""e_machine of an ELF header (elf(5)) that a kernel for this machine may run, the 32-bit one too."""
HEAD = 64


def is_unknown(head: bytes, machine: str | None = None, registered: str = REGISTERED) -> bool:
    """Whether execve(2) must fail with ENOEXEC for a file that begins with `head`: no script, and no program for this `machine`.
    Where other formats are registered (binfmt_misc), nobody can tell, and the answer is no."""
    native = _NATIVE.get(machine or os.uname().machine)
    if native is None or head.startswith(b"#!") or _knows_more(registered):
        return False
    if not head.startswith(_ELF):
        return True
    order = "big" if head[5:6] == b"\x02" else "little"
    return int.from_bytes(head[18:20], order) not in native  # type: ignore[arg-type]


def _knows_more(registered: str) -> bool:
    try:
        return bool({*os.listdir(registered)} - {"register", "status"})
    except OSError:
        return False
