"""What a container gets where nobody limits it."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.runtime.bounds import SHARES, share, throttle_files, tmpfs_options


@pytest.mark.parametrize("memory", [1 << 29, 16 << 30, 3 << 40])
def test_the_shares_are_half_together(memory: int) -> None:
    sizes = [share(place, memory) for place in SHARES]
    assert memory * 0.49 < sum(sizes) <= memory // 2
    assert all(size % 4096 == 0 for size in sizes)


def test_small_machines_may_have_many_small_files() -> None:
    assert tmpfs_options("/run", 1 << 30)[1] == "nr_inodes=65536"
    assert tmpfs_options("/dev/shm", 0) == []


def test_the_heat_of_every_processor_is_hidden_where_it_is_told(tmp_path: Path) -> None:
    assert throttle_files(str(tmp_path)) == ()
    for name in ("cpu0", "cpu11", "cpufreq", "cpuidle"):
        (tmp_path / name / "thermal_throttle").mkdir(parents=True)
    assert throttle_files(str(tmp_path)) == tuple(
        f"{tmp_path}/{name}/thermal_throttle" for name in ("cpu0", "cpu11")
    )
