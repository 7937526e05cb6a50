"""What people type for docker does here what it does there: a few shapes of such lines, really run."""

from __future__ import annotations

import io
import os
import pty
import resource
import socket
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from corten.runtime.names_inside import own_address
from corten.sandbox import kernel
from support.command import Corten
from support.commander import until
from support.runner import Plain
from support.vendor import write_vendor

pytestmark = pytest.mark.e2e
_SYS_RESOURCE = 24


def typed(corten: Corten, *words: str | Path, cwd: Path | None = None) -> tuple[int, str]:
    """The exit code of a command at a terminal, and what it showed there."""
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as screen:
        done = subprocess.Popen(
            corten.command(*words), stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=corten.variables()
        )
        os.close(slave)
        shown = b""
        try:
            while piece := screen.read(4096):
                shown += piece
        except OSError:  # the last one who had the terminal has closed it
            pass
    return done.wait(60), shown.decode().replace("\r\n", "\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_line_of_a_vendors_framework_images_runs(corten: Corten, runner: str, tmp_path: Path) -> None:
    specs = write_vendor(tmp_path)
    (tmp_path / "train.py").write_text("print('trained')\n")
    # Only a process that may raise limits can ask for more than its own.
    most = (
        "-1" if kernel.has_capability(_SYS_RESOURCE) else str(resource.getrlimit(resource.RLIMIT_MEMLOCK)[1])
    )
    look = "test -t 0 && ls /dev/gpu0 && ulimit -s && ulimit -l && ls /dev/shm && ls /sys/class/net && python train.py"
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="of-the-machine-") as shared:
        code, shown = typed(
            corten, "run", "--gpus", "all", "--ipc=host", "--ulimit", f"memlock={most}", "--ulimit", "stack=67108864", "-it", "--rm",
            "-v", f"{tmp_path}:/workspace", "-w", "/workspace", "-p", f"{free_port()}:8888", "--cdi-spec-dir", specs, runner,
            "sh", "-c", look,
        )  # fmt: skip
        assert code == 0, shown
        lines = shown.split()
        assert os.path.basename(shared.name) in lines
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    assert {"/dev/gpu0", "65536", "unlimited" if most == "-1" else str(locked >> 10), "trained"} <= set(lines)


def test_a_detached_container_with_the_usual_options(corten: Corten, runner: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("FROM_FILE=yes\n")
    try:
        done = corten(
            "run", "-dit", "--name", "hands", "--restart", "unless-stopped", "--log-opt", "max-size=1m", "-v", f"{tmp_path}:/data:Z,cached",
            "-v", "/work", "--group-add", "44", "--add-host=host.docker.internal:host-gateway", "-h", "box", "--platform", "linux/amd64"
            if os.uname().machine == "x86_64" else "linux/arm64", "--net", "none", "-u", "1234", "--security-opt", "apparmor=unconfined",
            "--expose", "80", runner, "sh", "-c", "touch /work/x && id -G && cat /etc/hosts && hostname; exec sleep 100",
        )  # fmt: skip
        assert done.stdout == "hands\n"
        until(lambda: "box" in corten("logs", "hands").stdout.split("\n"))
        said = corten("logs", "--tail", "all", "hands").stdout
        assert "0 44" in said
        assert f"{own_address('none')} host.docker.internal" in said
        assert corten("logs", "--until", "1h", "hands").stdout == ""
        both = corten("logs", "hands", "hands").stdout
        assert both.count("hands | box") == 2
        corten("wait", "--condition", "running", "hands")
        inside = corten(
            "exec", "--env-file", tmp_path / "env", "hands", "sh", "-c", "echo $FROM_FILE; ls /work"
        ).stdout
        assert inside == "yes\nx\n"
        assert (
            corten("exec", "-d", "hands", "sh", "-c", "echo lost; sleep 0.1; touch /work/later").stdout == ""
        )
        until(lambda: "later" in corten("exec", "hands", "ls", "/work").stdout)
        assert "no program 'nosuch'" in corten("exec", "-d", "hands", "nosuch", code=127).stderr
        corten(
            "run",
            "-d",
            "--name",
            "hands",
            "--replace",
            "--log-driver",
            "none",
            runner,
            "sh",
            "-c",
            "echo unseen; sleep 100",
        )
        assert "keeps no log" in corten("logs", "hands", code=1).stderr
        assert "unseen" not in "".join(
            path.read_text() for path in corten.home.glob("containers/hands/output.log")
        )
        corten("stop", "--timeout", "0", "hands")
    finally:
        corten("rm", "-f", "hands", code=None)


def test_a_privileged_container_has_all_that_its_user_can_give(corten: Corten, runner: str) -> None:
    look = "grep -E 'Seccomp:|NoNewPrivs|CapEff' /proc/self/status; ls -d /dev/kmsg; grep -c /proc/kcore /proc/self/mountinfo || true"
    done = corten("run", "--rm", "--privileged", "-u", "0", runner, "sh", "-c", look)
    words = done.stdout.split()
    bounding = next(
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapBnd")
    )
    assert words == ["CapEff:", bounding, "NoNewPrivs:", "0", "Seccomp:", "0", "/dev/kmsg", "0"]


def test_what_an_option_widens_or_leaves_alone_is_told_once(
    corten: Corten, runner: str, tmp_path: Path
) -> None:
    own = corten.at(corten.home)
    words = (
        "run",
        "--ipc",
        "host",
        "--pid",
        "host",
        "--privileged",
        "-v",
        f"{tmp_path}:/x:z",
        "--net",
        "host",
        "-p",
        "80:8000",
        runner,
        "true",
    )
    for said in (corten.home / "caches" / "isolation").glob("said-*"):
        said.unlink()
    first, second = own(*words).stderr, own(*words).stderr
    for text in (
        "--ipc host shares",
        "--pid host shows this machine's processes",
        "every capability",
        "no SELinux label",
    ):
        assert text in first
        assert text not in second
    assert "127.0.0.1:80->8000/tcp is not done" in first


def test_archives_go_into_a_container_and_out_of_it(corten: Corten, runner: str, tmp_path: Path) -> None:
    def packed(data: bytes) -> dict[str, tuple[int, bytes]]:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return {
                member.name: (member.uid, file.read() if (file := archive.extractfile(member)) else b"")
                for member in archive
            }

    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/deep/file").write_text("hello")
    (tmp_path / "in/deep/link").symlink_to("file")
    try:
        corten("run", "-d", "--name", "packed", "-u", "0", "--read-write", runner, "sleep", "100")
        tar = subprocess.run(
            ["tar", "cz", "--owner=7:7", "-C", tmp_path / "in", "deep/file", "deep/link"],
            capture_output=True,
            check=True,
        ).stdout
        for flags, owner in (((), 0), (("-a",), 7)):
            corten("exec", "packed", "mkdir", f"/opt/{owner}")
            done = subprocess.run(
                corten.command("cp", *flags, "-", f"packed:/opt/{owner}"), input=tar, env=corten.variables(), capture_output=True,
                check=True,
            )  # fmt: skip
            assert done.stdout == b""
            done = subprocess.run(
                corten.command("cp", "-L", f"packed:/opt/{owner}", "-"),
                env=corten.variables(),
                capture_output=True,
                check=True,
            )
            found = packed(done.stdout)
            assert set(found) == {str(owner), f"{owner}/deep", f"{owner}/deep/file", f"{owner}/deep/link"}
            assert found[f"{owner}/deep/file"] == (owner, b"hello")
        corten("cp", "-a", "packed:/opt/7/deep/file", tmp_path / "kept")
        corten("cp", "packed:/opt/7/deep/file", tmp_path / "own")
        assert [(tmp_path / name).stat().st_uid for name in ("kept", "own")] == [7, os.getuid()]
        with (tmp_path / "kept").open() as text:
            assert "is no tar archive" in corten("cp", "-", "packed:/opt", stdin=text, code=2).stderr
        elsewhere = subprocess.run(
            corten.command("cp", "-", "packed:/none"),
            input=tar,
            env=corten.variables(),
            capture_output=True,
            check=False,
        )
        assert b"there is no folder '/none'" in elsewhere.stderr
    finally:
        corten("rm", "-f", "packed", code=None)


def test_plain_users_may_widen_what_is_theirs(plain_runner: Plain) -> None:
    look = "ls /dev/shm; id -G; grep -c /proc/kcore /proc/self/mountinfo"
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="of-the-machine-") as shared:
        done = plain_runner("run", "--ipc=host", "--privileged", "-v", "/work", "runner", "sh", "-c", look)
        assert os.path.basename(shared.name) in done.stdout.split(), done.stderr
    assert done.stdout.split()[-1] == "0"
    done = plain_runner("run", "--group-add", "44", "runner", "id", "-G")
    if "subordinate IDs" in done.stderr:
        assert done.returncode == 125
    else:
        assert "44" in done.stdout.split()


def test_logs_of_several_are_followed_together(corten: Corten, runner: str) -> None:
    names = ("said-a", "said-b")
    try:
        for name in names:
            corten(
                "run", "-d", "--name", name, runner, "sh", "-c", f"echo first; sleep 0.2; echo of-{name} >&2"
            )
        done = corten("logs", "-f", *names)
        assert sorted(done.stdout.splitlines()) == ["said-a | first", "said-b | first"]
        assert sorted(done.stderr.splitlines()) == ["said-a | of-said-a", "said-b | of-said-b"]
        assert "there is no container 'nobody'" in corten("logs", "-f", "said-a", "nobody", code=1).stderr
    finally:
        corten("rm", "-f", *names, code=None)


def test_a_container_says_how_it_is_stopped(corten: Corten, runner: str) -> None:
    script = "trap 'echo asked; exit 5' USR1; trap '' TERM; echo ready; while :; do sleep 0.05; done"
    try:
        corten(
            "run",
            "-d",
            "--name",
            "stopped",
            "--stop-signal",
            "USR1",
            "--stop-timeout",
            "30",
            runner,
            "sh",
            "-c",
            script,
        )
        until(lambda: "ready" in corten("logs", "stopped").stdout)
        corten("restart", "stopped")
        until(lambda: corten("logs", "stopped").stdout.count("ready") == 2)
        corten("stop", "stopped")
        assert corten("logs", "stopped").stdout.split() == ["ready", "asked", "ready", "asked"]
        assert "'NONE' is not a signal" in corten("run", "--stop-signal", "NONE", runner, code=2).stderr
    finally:
        corten("rm", "-f", "stopped", code=None)
