"""What counts as a container or a pod around this process."""

from __future__ import annotations

import pytest

from corten.runtime.surroundings import FIRST_PROCESS_NAMESPACE, Seen, is_contained, root_kind
from corten.values import replace

OWN = "pid:[4026532999]"
LAPTOP = Seen(root="ext4", groups="0::/init.scope\n")


@pytest.mark.parametrize(
    "seen",
    [
        Seen(OWN, marks=("/.dockerenv",), root="overlay", groups="0::/\n"),
        Seen(OWN, marks=("/run/.containerenv",), root="overlay"),
        Seen(OWN, pod=True, root="overlay", groups="0::/\n"),
        Seen(OWN, pod=True, root="9p"),  # gVisor
        Seen(OWN, root="overlay"),
        Seen(OWN, root="btrfs", groups="12:pids:/kubepods/besteffort/pod1/2\n"),
    ],
)
def test_containers_and_pods(seen: Seen) -> None:
    assert is_contained(seen)


@pytest.mark.parametrize(
    "seen",
    [
        LAPTOP,
        replace(LAPTOP, marks=("/.dockerenv",)),  # a file system that was copied out of docker
        replace(LAPTOP, pod=True),  # a variable that somebody set
        replace(LAPTOP, root="overlay"),  # a live system
        replace(LAPTOP, groups="0::/system.slice/docker.service\n"),
        Seen(OWN, root="ext4", groups="0::/\n"),  # `unshare --pid`
        Seen(FIRST_PROCESS_NAMESPACE, marks=("/run/.containerenv",), root="overlay"),  # toolbox, --pid=host
        Seen(OWN, marks=("/.dockerenv",), root="ext4", subsystem=True),
        Seen("", marks=("/.dockerenv",), root="overlay"),
    ],
)
def test_machines(seen: Seen) -> None:
    assert not is_contained(seen)


def test_the_root_is_the_last_that_was_mounted() -> None:
    text = (
        "20 1 0:2 / / rw - rootfs rootfs rw\n"
        "27 20 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n"
        "30 27 0:9 / /proc rw - proc proc rw\nbroken line\n"
    )
    assert root_kind(text) == "ext4"
    assert root_kind("") == ""
