"""Whether the kernel can run a file at all. runc finds out only when the container has begun, and then it ends as a program would
that returns 1; so it is looked at before."""

from __future__ import annotations

import os
import stat

from corten.runtime.emulation import REGISTERED

_ELF = b"\x7fELF"
_NATIVE = {"x86_64": (62, 3), "aarch64": (183, 40)}
"""e_machine of an ELF header (elf(5)) that a kernel for this machine may run, the 32-bit one too."""
HEAD = 64
UNKNOWN_HINT = "run it with its interpreter, such as -- sh FILE; a program must be built for this processor"


def unknown_format(name: str) -> str:
    """What is said of the file `name` where `is_unknown` holds."""
    return f"'{name}' is neither a program for this machine nor a script that begins with #!"


def program_places(program: str, workdir: str, path: str) -> list[str]:
    """Where `program` may lie in a container: itself, or in the folders of `path`."""
    if program.startswith("/"):
        return [program]
    if "/" in program:
        return [f"{workdir}/{program}"]
    return [f"{place}/{program}" for place in path.split(":")]


def may_execute(status: os.stat_result) -> bool:
    """Whether it is a file that somebody may execute."""
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)


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
