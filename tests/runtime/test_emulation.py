"""Images of another platform: what the kernel says of its emulators (Documentation/admin-guide/binfmt-misc.rst)."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import RuntimeFailure
from corten.oci.platform import Platform
from corten.runtime.emulation import check_platform, is_emulated

ARM = "7f454c460201010000000000000000000200b700"
OTHER = Platform("linux", "arm64" if Platform.host().architecture == "amd64" else "amd64")


def registered(folder: Path, *, state: str = "enabled", flags: str = "OCF", magic: str = ARM) -> str:
    (folder / "status").write_text("enabled\n")
    (folder / "qemu-x").write_text(
        f"{state}\ninterpreter /usr/bin/qemu-x-static\nflags: {flags}\noffset 0\nmagic {magic}\nmask {'ff' * 20}\n"
    )
    return str(folder)


def test_an_emulator_is_known_by_what_it_takes(tmp_path: Path) -> None:
    arm, amd = Platform("linux", "arm64"), Platform("linux", "amd64")
    assert is_emulated(arm, registered(tmp_path))
    assert not is_emulated(amd, registered(tmp_path))
    assert not is_emulated(arm, registered(tmp_path, state="disabled"))
    assert not is_emulated(arm, registered(tmp_path, flags="OC"))
    assert not is_emulated(arm, registered(tmp_path, magic="cafebabe"))
    assert is_emulated(amd, registered(tmp_path, magic=ARM.replace("b700", "3e00")))


def test_without_one_the_image_is_refused(tmp_path: Path) -> None:
    check_platform(Platform.host(), str(tmp_path / "none"))
    with pytest.raises(
        RuntimeFailure, match=f"the image is for {OTHER}, and this machine is {Platform.host()}"
    ) as said:
        check_platform(OTHER, str(tmp_path / "none"))
    assert "qemu-user-static" in (said.value.hint or "")
