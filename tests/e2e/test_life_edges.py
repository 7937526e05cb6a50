"""Detached containers at the edges of what they meet: no monitor, an image's own health check, registries, long logs, a command
that is killed at a terminal, fifty at once."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.platform import Platform
from corten.runtime.emulation import REGISTERED, is_emulated
from corten.runtime.processes import children
from corten.store.store import Store
from support.command import Corten
from support.commander import Commander, processes, start, until, without_conmon
from support.file_systems import cuts_heads

pytestmark = pytest.mark.e2e
LOG_SIZE = 10 << 20


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


def changed(
    command: Commander, name: str, platform: Platform, change: Callable[[dict[str, Any]], object]
) -> None:
    """Put an image like `runner`, but with another configuration, into the store."""
    store = Store.open(command.home)
    before = Manifest.decode(store.blobs.read(store.images.get("runner", Platform.host()).digest))
    document = json.loads(store.blobs.read(before.config.digest))
    change(document)
    config = json.dumps(document).encode()
    described = Descriptor(before.config.media_type, store.blobs.put(config), len(config))
    store.images.set(name, platform, store.blobs.put(replace(before, config=described).encode()))
    owner = command.home.stat()
    subprocess.run(["chown", "-R", "--from=0:0", f"{owner.st_uid}:{owner.st_gid}", command.home], check=True)


@pytest.mark.parametrize(
    "test", [["CMD-SHELL", "test ! -e /tmp/bad"], ["CMD", "test", "!", "-e", "/tmp/bad"]]
)
def test_an_images_own_health_check(command: Commander, test: list[str]) -> None:
    second = 1_000_000_000
    check = {"Test": test, "Interval": second // 5, "Retries": 2, "Timeout": 5 * second}
    changed(
        command, "healthy", Platform.host(), lambda document: document["config"].update(Healthcheck=check)
    )
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
    if monitor == "conmon" or cuts_heads(folder):
        assert kept == list(range(150000 - len(kept), 150000))
    else:
        # The log was copied and emptied, once at most for each time that it was full: lines in between may be lost, and a cut line
        # may look like another number.
        whole = [int(line) for line in command("logs", "life-a").stdout.splitlines() if len(line) == 79]
        gaps = sum(1 for one, next_one in pairwise(whole) if next_one != one + 1)
        assert whole == sorted(set(whole))
        assert whole[-1] == 149999
        assert gaps <= 2
    if monitor == "conmon":
        # With their times they fill one log and a part of the next, and the first is kept whole.
        assert len(kept) == 150000


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
    seen, end = b"", time.monotonic() + 60
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


def test_an_image_of_another_platform(command: Commander) -> None:
    machine = "arm64" if Platform.host().architecture == "amd64" else "amd64"
    foreign = Platform("linux", machine)
    runs = command
    if is_emulated(foreign):
        # As on a machine that does not.
        hide = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {REGISTERED} && exec "$@"', "sh"]
        runs = replace(command, prefix=(*hide, *command.prefix))
    changed(command, "foreign", foreign, lambda document: document.update(architecture=machine))
    for detached in ((), ("-d",)):
        refused = runs("run", *detached, "foreign", "--", "true", code=125)
        assert refused.stderr.startswith(
            f"error: the image is for {foreign}, and this machine is {Platform.host()}\n"
        )
        assert "qemu-user-static" in refused.stderr
    assert command.list() == {}
    command("rmi", "foreign")


ASKED_WRONGLY: list[tuple[tuple[str, ...], int, str]] = [
    (("-v", "./nowhere:/x"), 2, "the source './nowhere' of a volume does not exist"),
    (("--mount", "type=bind,source=/nowhere,target=/x"), 2, "the source '/nowhere' of a volume does not exist"),
    (("-v", "/tmp:/"), 2, "a volume cannot be mounted at '/'"),
    (("--tmpfs", "/"), 2, "a tmpfs cannot be mounted at '/'"),
    (("--mount", "type=bind,source=/tmp,target=/"), 2, "a volume cannot be mounted at '/'"),
    (("--device", "/dev/nowhere"), 2, "the device '/dev/nowhere' is not there"),
    (("--device", "example.com/gpu=0"), 125, "no CDI specification of 'example.com/gpu'"),
    (("--memory", "1m"), 2, "a container cannot run with '1m' of memory"),
    (("--pids-limit", "0"), 2, "'0' is not a number of processes"),
    (("--ulimit", "nofile=1:99999999999"), 2, "above what this process may set"),
    (("--name", "a/b"), 2, "'a/b' is not a container's name"),
    (("--name", "a.lock"), 2, "'a.lock' is not a container's name"),
    (("--name", "life-taken"), 2, "a container called 'life-taken' is running"),
    (("--restart", "always"), 2, "are for detached containers"),
]  # fmt: skip


def test_what_is_asked_wrongly(command: Commander) -> None:
    start(command, "life-taken", "sleep", "100")
    for arguments, code, says in ASKED_WRONGLY:
        done = command("run", *arguments, "runner", "--", "true", code=code)
        assert says in done.stderr
        assert "hint: " in done.stderr
        assert "Traceback" not in done.stderr
        assert set(command.list()) == {"life-taken"}, arguments


@pytest.mark.parametrize("detached", [(), ("-d",)], ids=["foreground", "detached"])
def test_programs_that_are_none(command: Commander, detached: tuple[str, ...]) -> None:
    assert "no program 'nosuch'" in command("run", *detached, "runner", "--", "nosuch", code=127).stderr
    assert (
        "not an executable file" in command("run", *detached, "runner", "--", "/etc/passwd", code=126).stderr
    )
    assert command.list() == {}


def test_a_port_of_a_shell(corten: Corten, project: Callable[..., Path]) -> None:
    """A network of its own, where nothing else can be reached from outside: for notebooks and debuggers."""
    root = project({"main.py": "print(1)\n"}, "notebook")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = "import socket; s = socket.create_server(('0.0.0.0', 8888)); print('up', flush=True); s.accept()[0].sendall(b'inside')"
    argv = corten.command("shell", "-p", f"{port}:8888", root, "--", "python", "-c", serve)
    with subprocess.Popen(
        argv, env=corten.variables(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"up\n"
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            assert client.recv(100) == b"inside"
        assert shell.wait(20) == 0
    both = corten("shell", "-p", f"{port}:8888", "--network", "host", root, "--", "true", code=2)
    assert "ports of a private network" in both.stderr
