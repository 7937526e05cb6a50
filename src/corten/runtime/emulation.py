"""Whether this machine can run images of another platform: only through an emulator that its kernel calls (binfmt_misc).

It must be registered with the flag `F`: the kernel opens the emulator when it is registered, not in the container, where it is
not to be found (Documentation/admin-guide/binfmt-misc.rst)."""

from __future__ import annotations

import os

from corten.errors import RuntimeFailure
from corten.oci.platform import Platform

REGISTERED = "/proc/sys/fs/binfmt_misc"
_MACHINES = {"amd64": "3e00", "arm64": "b700"}
"""e_machine of an ELF header (elf(5)) as it lies in a file, by architecture."""
_PLACE = 18


def check_platform(platform: Platform, registered: str = REGISTERED) -> None:
    """Raise RuntimeFailure where neither this machine nor an emulator of it runs programs of `platform`."""
    host = Platform.host()
    if platform != host and not is_emulated(platform, registered):
        raise RuntimeFailure(
            f"the image is for {platform}, and this machine is {host}",
            hint=f"build or pull it for {host}; or have it emulated, slowly (as root: apt install qemu-user-static)",
        )


def is_emulated(platform: Platform, registered: str = REGISTERED) -> bool:
    """Whether an emulator for programs of `platform` is registered and works in containers."""
    try:
        names = [name for name in os.listdir(registered) if name not in ("register", "status")]
    except OSError:
        return False
    return any(_serves(f"{registered}/{name}", _MACHINES[platform.architecture]) for name in names)


def _serves(path: str, machine: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read(1 << 16).splitlines()
    except OSError:
        return False
    fields = {key: value.strip() for key, _, value in (line.partition(" ") for line in lines)}
    magic = fields.get("magic", "")
    at = 2 * _PLACE
    return (
        "enabled" in lines
        and fields.get("offset") == "0"
        and magic.startswith("7f454c46")
        and magic[at : at + 4] == machine
        and "F" in fields.get("flags:", "")
    )
