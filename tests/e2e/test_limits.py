"""Limits with a real engine: bombs that go off inside and nowhere else, and what plain users are told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.runtime import cgroups
from support.command import Corten
from support.runner import Plain

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def image(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("limits") / "limited"
    root.mkdir()
    (root / "main.py").write_text("print('main')\n")
    corten("build", root, "--name", "limited")
    return "limited"


def group(controller: str, directory: Path, *, memory: bool) -> Path:
    """Where the kernel keeps the group of the container in `directory`."""
    root = Path(cgroups.ROOT) if cgroups.version() == "v2" else Path(cgroups.ROOT, controller)
    place = root / "corten" / cgroups.group_name(directory)
    return place / "limited" if memory else place


def test_a_memory_bomb_goes_off_inside(corten: Corten, image: str) -> None:
    bomb = "blocks = []\nwhile True: blocks.append(bytearray(8 << 20))"
    done = corten("run", "--memory", "64m", image, "--", "python", "-c", bomb, code=137)
    assert "it used more than its 64 MiB of memory" in done.stderr


def test_what_ended_a_detached_container_is_told_later(corten: Corten, image: str) -> None:
    bomb = "blocks = []\nwhile True: blocks.append(bytearray(8 << 20))"
    corten("run", "-d", "--name", "exhausted", "--memory", "64m", image, "--", "python", "-c", bomb)
    try:
        assert corten("wait", "exhausted", code=None).stdout.strip() in ("137", "exhausted 137")
        assert "it used more than its 64 MiB of memory" in corten("ps", "--all").stdout
    finally:
        corten("rm", "-f", "exhausted")


def test_a_fork_bomb_goes_off_inside(corten: Corten, image: str) -> None:
    bomb = (
        "import os, signal\n"
        "count = 0\n"
        "try:\n"
        "    while True:\n"
        "        if os.fork() == 0:\n"
        "            signal.pause()\n"
        "        count += 1\n"
        "except OSError:\n"
        "    print(count)"
    )
    done = corten("run", "--name", "bombed", "--pids-limit", "30", image, "--", "python", "-c", bomb)
    assert 0 < int(done.stdout) < 30
    assert not group("pids", corten.home / "containers" / "bombed", memory=False).exists()


def test_limits_are_what_the_kernel_has(corten: Corten, image: str) -> None:
    """Read from the kernel's own files while the container runs."""
    processor = max(os.sched_getaffinity(0))
    process = subprocess.Popen(
        corten.command(
            "run", "--name", "measured", "--memory", "64m", "--memory-swap", "96m", "--memory-reservation",
            "32m", "--cpus", "0.5", "--cpuset-cpus", str(processor), "--pids-limit", "50", image,
            "--", "sh", "-c", "python -c 'import os; print(sorted(os.sched_getaffinity(0)))'; read end",
        ),
        env=corten.variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == f"[{processor}]\n"

    directory = corten.home / "containers" / "measured"

    def kernel(controller: str, file: str) -> str:
        return (group(controller, directory, memory=True) / file).read_text().strip()

    mib = 1 << 20
    if cgroups.version() == "v2":
        assert (kernel("", "memory.max"), kernel("", "memory.swap.max")) == (str(64 * mib), str(32 * mib))
        assert (kernel("", "memory.low"), kernel("", "cpu.max")) == (str(32 * mib), "50000 100000")
    else:
        assert kernel("memory", "memory.limit_in_bytes") == str(64 * mib)
        assert kernel("memory", "memory.memsw.limit_in_bytes") == str(96 * mib)
        assert kernel("memory", "memory.soft_limit_in_bytes") == str(32 * mib)
        assert kernel("cpu", "cpu.cfs_quota_us") == "50000"
    assert kernel("cpuset", "cpuset.cpus") == str(processor)
    assert kernel("pids", "pids.max") == "50"
    process.communicate("end\n")
    assert process.returncode == 0
    assert not group("memory", directory, memory=False).exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--memory", "1m"], "cannot run with '1m' of memory"),
        (["--memory", "64m", "--memory-swap", "32m"], "below the memory's own limit"),
        (["--memory-swap", "64m"], "is a limit beside --memory"),
        (["--memory", "64m", "--memory-reservation", "65m"], "is above --memory"),
        (["--cpuset-cpus", "4095"], "this machine has no processor 4095"),
        (["--cpus", "0.001"], "not a number of processors"),
        (["--pids-limit", "0"], "not a number of processes"),
        (["--shm-size", "none"], "not a size for /dev/shm"),
        (["--ulimit", "nofile=1:99999999999"], "above what this process may set"),
        (["--device", "/dev/nowhere"], "is not there"),
        (["--cap-add", "CAP_NOTHING"], "is not a capability"),
        (["--security-opt", "seccomp=/nowhere"], "cannot be read"),
        (["--dns", "9.9.9.9"], "no use without a network"),
    ],
)
def test_mistakes(corten: Corten, image: str, arguments: list[str], says: str) -> None:
    done = corten("run", *arguments, image, "--", "true", code=2)
    assert says in done.stderr
    assert "hint:" in done.stderr


def test_options_reach_the_process(corten: Corten, image: str) -> None:
    shown = (
        "hostname; ulimit -n; grep -c '10.0.0.5 db' /etc/hosts; grep /scratch /proc/mounts; grep ' /dev/shm ' /proc/mounts; "
        "grep CapEff /proc/self/status; cat /proc/1/comm; test -c /dev/nothing && echo device; test -r /proc/kcore || echo masked"
    )
    done = corten(
        "run", "--hostname", "box", "--ulimit", "nofile=64:128", "--add-host", "db:10.0.0.5", "--tmpfs", "/scratch:size=1m", "--shm-size",
        "8m", "--cap-add", "NET_RAW", "--init", "--device", "/dev/null:/dev/nothing", image, "--", "sh", "-c", shown,
    )  # fmt: skip
    name, files, hosts, scratch, shm, capabilities, first, *rest = done.stdout.splitlines()
    assert (name, files, hosts, first) == ("box", "64", "1", "corten-init")
    assert "size=1024k" in scratch
    assert "size=8192k" in shm
    assert capabilities.split()[1] == f"{1 << 13:016x}"
    assert rest == ["device", "masked"]
    profile = '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}'
    (corten.home / "profile-of-limits.json").write_text(profile)
    try:
        own = f"seccomp={corten.home}/profile-of-limits.json"
        refused = corten("run", "--security-opt", own, image, "--", "mkdir", "/tmp/x", code=1)
        assert "Permission denied" in refused.stderr
    finally:
        (corten.home / "profile-of-limits.json").unlink()


@pytest.fixture
def plain(plain_runners: Callable[[str], Plain]) -> Plain:
    """The command as a plain user of this machine, with a store of its own that has an image."""
    return plain_runners("subuids")


def test_a_plain_user_is_told_what_is_not_enforced(
    plain: Plain,
) -> None:
    limits = ("--memory", "64m", "--pids-limit", "20")
    refused = plain("run", *limits, "runner", "--", "true")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "--memory and --pids-limit cannot be enforced" in refused.stderr
    assert "or add --best-effort" in refused.stderr
    done = plain("run", *limits, "--best-effort", "runner", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "not enforced here: --memory, --pids-limit" in done.stderr
    assert "--best-effort" not in done.stderr
    said = plain("doctor")
    assert "limits" in said.stdout + said.stderr


def test_a_plain_user_and_devices(plain: Plain) -> None:
    shown = plain(
        "run",
        "--device",
        "/dev/null:/dev/nothing",
        "runner",
        "--",
        "sh",
        "-c",
        "echo x > /dev/nothing && echo ok",
    )
    assert shown.stdout == "ok\n", shown.stderr
    refused = plain("run", "--device", "/dev/kmsg", "runner", "--", "true")
    assert refused.returncode == 125
    assert "a plain user's container cannot open the device '/dev/kmsg'" in refused.stderr
