"""Detached containers at the edges of what they meet: no monitor, an image's own health check, registries, long logs, a command
that is killed at a terminal, fifty at once."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.platform import Platform
from corten.runtime.processes import children
from corten.store.store import Store
from support.command import Corten
from support.commander import Commander, processes, start, until

pytestmark = pytest.mark.e2e
LOG_SIZE = 10 << 20


def without_conmon(command: Commander) -> Commander:
    """The command on a machine that has no conmon."""
    hide = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$(command -v conmon)" && exec "$@"', "sh"]
    return replace(command, prefix=(*hide, *command.prefix))


def test_without_conmon_the_shim_is_the_monitor(command: Commander) -> None:
    bare = without_conmon(command)
    script = "echo out; echo err >&2; while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 4"
    said = bare("run", "-d", "--name", "life-a", "runner", "--", "sh", "-c", script)
    assert "conmon is not installed" in said.stderr
    assert json.loads(command("inspect", "life-a").stdout)["monitor"] == "shim"
    until(lambda: "err" in command("logs", "life-a").stdout)
    assert command.list()["life-a"]["status"] == "running"
    command("exec", "life-a", "--", "touch", "/tmp/end")
    assert command("wait", "life-a").stdout == "4\n"
    assert command.list()["life-a"]["exit_code"] == 4
    bare("restart", "life-a")
    os.kill(command.inside("life-a"), signal.SIGKILL)
    assert command("wait", "life-a").stdout == "137\n"
    bare("run", "-d", "--name", "life-b", "runner", "--", "sleep", "100")
    command("stop", "life-b")
    assert command.list()["life-b"]["exit_code"] == 143
    bare("run", "-d", "--rm", "--name", "life-c", "runner", "--", "sleep", "0.1")
    until(lambda: "life-c" not in command.list())
    for asked in (("-t",), ("-i",), ("--timeout", "5s")):
        assert "conmon" in bare("run", "-d", *asked, "runner", "--", "true", code=125).stderr


def test_a_shim_that_is_killed_is_noticed(command: Commander) -> None:
    """It was the monitor: the container ends with it."""
    without_conmon(command)("run", "-d", "--name", "life-a", "runner", "--", "sleep", "100")
    parent = Path(f"/proc/{command.inside('life-a')}/status").read_text().split("PPid:")[1].split()[0]
    os.kill(int(parent), signal.SIGKILL)
    until(lambda: command.list()["life-a"]["status"] == "exited")
    assert command.list()["life-a"]["reason"] == "its monitor was killed"


@pytest.mark.parametrize(
    "test", [["CMD-SHELL", "test ! -e /tmp/bad"], ["CMD", "test", "!", "-e", "/tmp/bad"]]
)
def test_an_images_own_health_check(command: Commander, test: list[str]) -> None:
    store = Store.open(command.home)
    image = store.images.get("runner", Platform.host())
    before = Manifest.decode(store.blobs.read(image.digest))
    document = json.loads(store.blobs.read(before.config.digest))
    second = 1_000_000_000
    document["config"]["Healthcheck"] = {
        "Test": test,
        "Interval": second // 5,
        "Retries": 2,
        "Timeout": 5 * second,
    }
    config = json.dumps(document).encode()
    described = Descriptor(before.config.media_type, store.blobs.put(config), len(config))
    store.images.set("healthy", Platform.host(), store.blobs.put(replace(before, config=described).encode()))
    owner = command.home.stat()
    subprocess.run(["chown", "-R", "--from=0:0", f"{owner.st_uid}:{owner.st_gid}", command.home], check=True)
    command("run", "-d", "--name", "life-a", "healthy", "--", "sleep", "100")
    until(lambda: command.list()["life-a"]["health"] == "healthy")
    command("exec", "life-a", "--", "touch", "/tmp/bad")
    until(lambda: command.list()["life-a"]["health"] == "unhealthy")
    command("run", "-d", "--name", "life-b", "--no-healthcheck", "healthy", "--", "sleep", "100")
    assert command.list()["life-b"]["health"] is None
    command(
        "run",
        "-d",
        "--name",
        "life-c",
        "--health-cmd",
        "false",
        "--health-retries",
        "1",
        "healthy",
        "--",
        "sleep",
        "100",
    )
    until(lambda: command.list()["life-c"]["health"] == "unhealthy")
    command("rmi", "healthy")


def test_when_a_registry_is_asked(corten: Corten, command: Commander, registry: str, tmp_path: Path) -> None:
    name = f"{registry}/pulled-{command.kind}:1"

    def publish(text: str) -> None:
        root = tmp_path / text / "published"
        root.mkdir(parents=True)
        (root / "main.py").write_text(f"print('{text}')\n")
        corten("push", corten.build(root)["digest"], name)

    def printed(when: str) -> str:
        return command("run", "--pull", when, name, "--", "python", "main.py").stdout

    publish("first")
    assert "no image" in command("run", "--pull", "never", name, "--", "true", code=1).stderr
    assert printed("missing") == "first\n"
    publish("second")
    assert (printed("missing"), printed("never")) == ("first\n", "first\n")
    assert printed("always") == "second\n"
    assert printed("never") == "second\n"
    command("rmi", name)


@pytest.mark.parametrize("monitor", ["conmon", "shim"])
def test_a_long_log_is_bounded(command: Commander, monitor: str) -> None:
    """Twelve megabytes of lines: what is kept is the end of them, in order, and no more than two logs' size."""
    script = "import time\nfor n in range(150000): print(f'{n:079}')\nprint('end', flush=True)\ntime.sleep(2.5)\nprint('late')"
    runs = command if monitor == "conmon" else without_conmon(command)
    runs("run", "-d", "--name", "life-a", "runner", "--", "python", "-c", script)
    command("wait", "life-a")
    folder = command.home / "containers" / "life-a"
    assert sum(path.stat().st_size for path in folder.glob("output.log*")) <= 2 * LOG_SIZE + (1 << 20)
    assert command("logs", "--tail", "2", "life-a").stdout == "end\nlate\n"
    kept = [int(line) for line in command("logs", "life-a").stdout.splitlines() if line.isdigit()]
    assert kept == list(range(150000 - len(kept), 150000))


def test_a_terminal_is_given_back_when_the_command_is_killed(command: Commander) -> None:
    """`run` at a shell's terminal, killed as nothing can be killed harder: the terminal echoes again."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(command.folder)
        argv = command.argv("run", "--name", "life-a", "runner", "--", "sh", "-c", "tty; exec sleep 1000")
        os.execvpe(
            "sh", ["sh", "-c", '"$@"; exec sleep 1000', "sh", *argv], {**os.environ, **command.environment}
        )
    wanted = termios.ECHO | termios.ICANON
    before = termios.tcgetattr(master)[3] & wanted
    seen, end = b"", time.monotonic() + 20
    while b"/dev/pts/" not in seen and time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 4096)
    until(lambda: termios.tcgetattr(master)[3] & wanted == 0)
    try:
        for child in children(pid):
            os.kill(child, signal.SIGKILL)
        until(lambda: termios.tcgetattr(master)[3] & wanted == before)
        until(lambda: processes(command).keys() <= {pid})
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)


def test_fifty_at_once_in_the_foreground(command: Commander) -> None:
    with ThreadPoolExecutor(50) as pool:
        done = list(
            pool.map(
                lambda n: command("run", "runner", "--", "sh", "-c", f"echo {n}; exit {n}", code=n), range(50)
            )
        )
    assert [int(one.stdout) for one in done] == list(range(50))
    assert command.list() == {}


def test_a_network_of_another_user_is_not_shared(corten: Corten, command: Commander) -> None:
    """Not even by root, who can read the other's store."""
    if command.kind == "root":
        refused = command("run", "--network", "container:nobodys", "runner", "--", "true", code=125)
        assert "there is no container 'nobodys'" in refused.stderr
        return
    start(command, "life-a", "sleep", "100")
    refused = corten.at(command.home)(
        "run", "--network", "container:life-a", "runner", "--", "true", code=None
    )
    assert refused.returncode == 125
    assert "'life-a' belongs to another user of this machine" in refused.stderr
