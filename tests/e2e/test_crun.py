"""crun, which refuses machines that have both versions of cgroups: plain users run it where only the second is mounted, which a
mount namespace of the tests' own arranges. (Root's crun limits devices by a program in the kernel, for which it raises a
resource limit: that needs a right over the machine that not every tester has.)"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from support.commander import Commander, start, until
from support.escapes import HOSTILE_TO_STREAMS, program

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("whole", ["subuids", "none"], indirect=True)]


@pytest.fixture
def crun(command: Commander) -> Commander:
    """The command where crun works."""
    only_second = ["unshare", "-m", "sh", "-c", 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"', "sh"]
    asking = command.with_variables(CORTEN_ENGINE="crun")
    return replace(asking, prefix=(*only_second, *asking.prefix))


def test_a_life_under_crun(crun: Commander) -> None:
    crun("run", "-d", "--name", "life-a", "runner", "--", "sh", "-c", "echo out; echo err >&2; sleep 100")
    document = json.loads(crun("inspect", "life-a").stdout)
    assert (document["status"], document["monitor"]) == ("running", "conmon")
    until(lambda: crun("logs", "life-a").stderr == "err\n")
    assert crun("logs", "life-a").stdout == "out\n"
    done = crun("exec", "-i", "-e", "X=y", "-w", "/tmp", "life-a", "--", "sh", "-c", "cat; pwd; echo $X; exit 7",
                code=7, stdin=None, input="in\n")  # fmt: skip
    assert done.stdout == "in\n/tmp\ny\n"
    for flags in ((), ("-d",)):
        assert "has no program 'nosuch'" in crun("exec", *flags, "life-a", "nosuch", code=127).stderr
    crun("exec", "-d", "life-a", "sh", "-c", "sleep 0.1; touch /tmp/later")
    until(lambda: crun("exec", "life-a", "ls", "/tmp").stdout == "later\n")
    crun("stop", "life-a")
    assert crun.list()["life-a"]["exit_code"] in (137, 143)
    crun("restart", "life-a")
    assert crun.list()["life-a"]["status"] == "running"
    crun("rm", "--force", "life-a")


def test_exit_codes_under_crun(crun: Commander, open_directory: Path) -> None:
    crun("run", "runner", "--", "sh", "-c", "exit 9", code=9)
    assert "no program" in crun("run", "runner", "--", "nosuch", code=127).stderr
    assert "not an executable" in crun("run", "-d", "runner", "--", "/etc/passwd", code=126).stderr
    folder = open_directory / f"tools-{crun.kind}"
    folder.mkdir()
    (folder / "text").write_text("echo hello\n")
    for path in (folder, folder / "text"):
        path.chmod(0o755)
    crun("run", "-d", "--name", "life-f", "-v", f"{folder}:/tools", "runner", "--", "sleep", "100")
    said = crun("exec", "life-f", "--", "/tools/text", code=126).stderr
    assert "neither a program for this machine" in said
    crun("rm", "--force", "life-f")
    refused = crun("run", "--memory", "64m", "runner", "--", "true", code=125)
    assert "--memory cannot be enforced" in refused.stderr
    assert crun.list() == {}


@pytest.mark.parametrize("options", [(), ("-u", "0")], ids=["default", "as root inside"])
def test_nothing_that_is_tried_works_under_crun(crun: Commander, options: tuple[str, ...]) -> None:
    secret = crun.folder / "secret-of-the-host"
    secret.write_text("secret")
    secret.chmod(0o644)
    done = crun("run", *options, "runner", "--", "python", "-c", program(), str(os.getpid()), str(secret))
    outcome = json.loads(done.stdout)
    assert len(outcome) > 50
    assert {name for name, said in outcome.items() if said == "worked"} == set()


def test_a_file_that_is_a_stream_is_read_or_written_under_crun(crun: Commander) -> None:
    given, printed = crun.folder / "given", crun.folder / "printed"
    owner = crun.folder.stat()
    for path, text in ((given, "0123456789" * 10_000), (printed, "")):
        path.write_text(text)
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)
    crun("run", "-d", "-u", "0", "--name", "life-a", "runner", "--", "sleep", "100")
    for words in (("exec", "-i", "life-a"), ("run", "-u", "0", "runner")):
        with given.open() as source, printed.open("w") as target:
            argv = crun.argv(*words, "--", "python", "-c", HOSTILE_TO_STREAMS)
            done = subprocess.run(
                argv,
                stdin=source,
                stdout=target,
                stderr=subprocess.PIPE,
                text=True,
                cwd=crun.folder,
                env=crun.environment or None,
                timeout=60,
            )
        assert done.returncode == 3, done.stderr
        assert "was" not in done.stderr
        assert given.read_text() == printed.read_text() == "0123456789" * 10_000
        assert [path.stat().st_mode & 0o7777 for path in (given, printed)] == [0o600, 0o600]
    crun("rm", "--force", "life-a")


def test_shared_namespaces_and_a_kept_number_under_crun(crun: Commander) -> None:
    start(crun, "life-a", "sleep", "100")
    start(crun, "life-b", "sh", "-c", "sleep 100 & sleep 100", options=("--pid", "container:life-a"))
    until(
        lambda: (
            crun("exec", "life-a", "--", "cat", "/proc/1/cmdline").stdout.split("\0")[:2] == ["sleep", "100"]
        )
    )
    crun("exec", "life-b", "--", "sh", "-c", "kill -TERM 1; test $$ -gt 2")
    look = "test -e /proc/$0 && readlink /proc/self/ns/pid"
    done = crun(
        "run",
        "--pid",
        "host",
        "--ipc",
        "container:life-a",
        "runner",
        "--",
        "sh",
        "-c",
        look,
        str(os.getpid()),
    )
    assert done.stdout == f"{os.readlink('/proc/self/ns/pid')}\n"
    crun("stop", "--time", "0", "life-b")
    assert crun.list()["life-b"]["exit_code"] == 137
    kept = crun("run", "--userns", "keep-id", "runner", "--", "id", "-u", code=None)
    if crun.kind == "subuids":
        assert kept.stdout == f"{pwd.getpwnam('corten-plain').pw_uid}\n"
    else:
        assert "needs subordinate IDs" in kept.stderr


def test_volumes_and_networks_under_crun(crun: Commander) -> None:
    crun("run", "-v", "kept:/kept", "runner", "--", "sh", "-c", "echo 42 > /kept/x")
    assert crun("run", "-v", "kept:/kept:ro", "runner", "--", "cat", "/kept/x").stdout == "42\n"
    crun("volume", "rm", "kept")
    shared = crun(
        "run",
        "--ipc",
        "host",
        "--privileged",
        "-v",
        "/work",
        "runner",
        "sh",
        "-c",
        "touch /work/x && grep -c mqueue /proc/mounts",
        code=1,
    )
    assert shared.stdout == "0\n"
    names = "import socket; print(sorted(n for _, n in socket.if_nameindex()))"
    assert crun("run", "runner", "--", "python", "-c", names).stdout == "['lo']\n"
    assert "lo" in crun("run", "--network", "host", "runner", "--", "python", "-c", names).stdout
