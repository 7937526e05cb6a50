"""A suite of escapes: what a program inside may try, as root and as a plain user, and that none of it works."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.runtime.spec import ROOT_CAPABILITIES
from support.command import Corten
from support.escapes import program
from support.runner import Plain

pytestmark = pytest.mark.e2e
Run = Callable[..., "subprocess.CompletedProcess[str]"]
OPEN = ("-u", "0", "--read-write", "--cap-add", "ALL", "--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL")  # fmt: skip
FIRST_CAPABILITIES = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_NET_BIND_SERVICE": 10}  # fmt: skip


@pytest.fixture
def secret(open_directory: Path) -> Iterator[Path]:
    """A file of the host that every user of the host can read."""
    path = open_directory / "secret-of-the-host"
    path.write_text("secret")
    path.chmod(0o644)
    yield path
    path.unlink()


@pytest.fixture(params=["root", "subuids", "none"])
def run(
    request: pytest.FixtureRequest, corten: Corten, runner: str, plain_runners: Callable[[str], Plain]
) -> Run:
    """`corten run … runner -- …` as root, and as plain users with subordinate IDs and without."""
    if request.param != "root":
        plain = plain_runners(request.param)
        return lambda *options: plain("run", *options[:-1], "runner", "--", *options[-1])
    return lambda *options: corten("run", *options[:-1], runner, "--", *options[-1], code=None)


def tried(run: Run, secret: Path, *options: str) -> dict[str, str]:
    """What became of every attempt."""
    done = run(*options, ["python", "-c", program(), str(os.getpid()), str(secret)])
    assert done.returncode == 0, done.stderr
    outcome: dict[str, str] = json.loads(done.stdout)
    assert len(outcome) > 50
    return outcome


def worked(outcome: dict[str, str]) -> set[str]:
    return {name for name, said in outcome.items() if said == "worked"}


@pytest.mark.parametrize("options", [(), ("-u", "0")], ids=["default", "as root inside"])
def test_nothing_that_is_tried_works(run: Run, secret: Path, options: tuple[str, ...]) -> None:
    assert worked(tried(run, secret, *options)) == set()


def test_the_attempts_are_real(corten: Corten, runner: str, secret: Path) -> None:
    """Without the protections most of them work: what refuses them above is the protection, not a mistake in the attempt."""
    open_run: Run = lambda *options: corten("run", *options[:-1], runner, "--", *options[-1])  # noqa: E731
    outcome = tried(open_run, secret, *OPEN)
    refused = set(outcome) - worked(outcome)
    assert len(worked(outcome)) >= 30, refused
    assert {"mount a tmpfs", "make the root writable", "unshare a user namespace", "clone3 into a user namespace",
            "write a setting", "write the core pattern", "add a key", "load a program into the kernel",
            "use io_uring", "capture packets", "set the clock", "read the keys", "write to the root"} <= worked(outcome)  # fmt: skip
    # Each by itself is needed: with the filter alone switched off, these are possible for a user without any capability.
    by_filter = worked(tried(open_run, secret, "--security-opt", "seccomp=unconfined"))
    assert {"unshare a user namespace", "add a key", "use io_uring"} <= by_filter
    # Walls that hold without those: namespaces, the device cgroup and the engine's own protection of itself.
    assert not {
        "see a process of the host",
        "find the host's secret",
        "overwrite the first program",
    } & worked(outcome)


def test_capabilities_are_the_documented_ones(run: Run) -> None:
    status = "import re; print(*re.findall(r'(Cap\\w+|NoNewPrivs|Seccomp):\\s*(\\w+)', open('/proc/self/status').read()))"
    for options, mask in (
        ((), 0),
        (("-u", "0"), sum(1 << FIRST_CAPABILITIES[name] for name in ROOT_CAPABILITIES)),
    ):
        said = run(*options, ["python", "-c", status]).stdout
        found = dict(item.split("', '") for item in said.strip().strip("(')").split("') ('"))
        assert {int(found[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} <= {0, mask}, said
        assert (found["CapInh"], found["CapAmb"]) == ("0" * 16, "0" * 16)
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_a_set_uid_program_gives_nothing(corten: Corten, runner: str) -> None:
    """Made by root inside, started by another user there."""
    script = 'cp /usr/bin/id /opt/mine && chmod 4755 /opt/mine && exec python -c \'import os; os.setgid(7); os.setuid(7); os.execv("/opt/mine", ["id", "-u"])\''
    done = corten("run", "-u", "0", "--read-write", runner, "--", "sh", "-c", script)
    assert done.stdout.strip() == "7"


def test_nobody_else_of_the_machine_reaches_a_container(
    corten: Corten, runner: str, plain_runner: Plain, tmp_path: Path
) -> None:
    """A set-uid program that root inside leaves behind (CVE-2021-41091), and the variables in the specification."""
    corten("run", "-d", "--name", "open-book", "-e", "TOKEN=secret", "-u", "0", "--read-write", runner, "--", "sh", "-c",
           "cp /usr/bin/id /opt/mine; chmod 4755 /opt/mine; sleep 60")  # fmt: skip
    try:
        place = corten.home / "containers" / "open-book"
        assert (place / "bundle" / "config.json").exists()
        for path in ("bundle/config.json", "upper/opt/mine", "state.json", "output.log"):
            seen = subprocess.run(
                ["setpriv", f"--reuid={plain_runner.user.pw_uid}", "--clear-groups", "cat", place / path],
                capture_output=True,
                check=False,
            )
            assert seen.returncode != 0, path
    finally:
        corten("rm", "-f", "open-book", code=None)


def test_a_fork_bomb_stays_inside(run: Run) -> None:
    bomb = "import os\nn = 0\nwhile True:\n  try:\n    pid = os.fork()\n  except OSError:\n    print(n); break\n  n += 1\n  if pid == 0:\n    import time; time.sleep(60)"
    done = run("--pids-limit", "30", ["python", "-c", bomb])
    if done.returncode == 125:
        # A plain user's limits hold only where systemd delegates: refused, never dropped.
        assert "cannot be enforced" in done.stderr
        assert os.geteuid() != 0 or "plain user" in done.stderr
    else:
        assert 5 < int(done.stdout) < 31


@pytest.mark.parametrize(
    "bomb",
    [
        "x = [bytearray(1 << 20) for _ in range(300)]",
        "f = open('/tmp/x', 'wb')\nfor _ in range(300): f.write(b'x' * (1 << 20))",
        "f = open('/dev/shm/x', 'wb')\nfor _ in range(300): f.write(b'x' * (1 << 20))",
    ],
    ids=["heap", "temporary files", "shared memory"],
)
def test_a_memory_bomb_stays_inside(run: Run, bomb: str) -> None:
    done = run("--memory", "64m", ["python", "-c", bomb])
    if done.returncode == 125:
        assert "cannot be enforced" in done.stderr
    else:
        assert done.returncode == 137
        assert "64 MiB of memory" in done.stderr


def test_filling_the_disk_stays_inside(run: Run) -> None:
    """The root and a home with files in it: what is written there would lie on the host's disk."""
    fill = "import os\nn = 0\ntry:\n  with open(os.path.expanduser('~/big'), 'wb', 0) as f:\n    while n < 100: n += f.write(b'x' * (1 << 20)) >> 20\nexcept OSError as error: print(n, error.strerror)"
    for options in (("--read-write", "-e", "HOME=/opt"), ("-e", "HOME=/app")):
        done = run("-u", "0", "--storage-size", "20m", *options, ["python", "-c", fill])
        if done.returncode == 125:
            assert "cannot be enforced for a plain user on this kernel" in done.stderr
            continue
        assert done.returncode == 0, done.stderr
        written, _, why = done.stdout.strip().partition(" ")
        assert why == "No space left on device"
        assert int(written) <= 20


def test_descriptors_are_not_inherited(
    corten: Corten, runner: str, plain_runner: Plain, secret: Path
) -> None:
    look = "import os\nfor pid in ('self', '1'):\n  for fd in os.listdir(f'/proc/{pid}/fd'):\n    try: print(fd, os.readlink(f'/proc/{pid}/fd/{fd}'))\n    except OSError: pass"
    folder = os.open(secret.parent, os.O_RDONLY)
    file = os.open(secret, os.O_RDONLY)
    try:
        commands = [
            (corten.command("run", runner, "--", "python", "-c", look), corten.variables()),
            (plain_runner.command("run", "runner", "--", "python", "-c", look), None),
        ]
        for command, environment in commands:
            done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True,
                                  stdin=subprocess.DEVNULL, pass_fds=(folder, file))  # fmt: skip
            seen = [line.split(" ", 1) for line in done.stdout.splitlines()]
            assert seen
            assert str(secret.parent) not in done.stdout
            assert {number for number, target in seen if not target.startswith("/proc/")} <= {"0", "1", "2"}
        corten(
            "run",
            "-d",
            "--name",
            "no-descriptors",
            runner,
            "--",
            "python",
            "-c",
            look,
            pass_fds=(folder, file),
        )
        corten("wait", "no-descriptors")
        assert str(secret.parent) not in corten("logs", "no-descriptors").stdout
    finally:
        os.close(folder)
        os.close(file)
        corten("rm", "-f", "no-descriptors", code=None)


def test_the_environment_does_not_leak(corten: Corten, runner: str, plain_runner: Plain) -> None:
    look = "import glob\nprint(b''.join(open(path, 'rb').read() for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline')))"
    leaky = corten.at(corten.home, SECRET_OF_THE_HOST="leaked")
    assert "leaked" not in leaky("run", runner, "--", "python", "-c", look).stdout
    done = leaky("run", "-e", "SECRET_OF_THE_HOST", runner, "--", "python", "-c", look)
    assert "leaked" in done.stdout
    done = plain_runner("run", "runner", "--", "python", "-c", look)
    assert "CORTEN_HOME" not in done.stdout
    assert str(plain_runner.home) not in done.stdout


def test_the_network_of_the_host_is_not_there(run: Run) -> None:
    """Neither its loopback nor its abstract sockets, which have no place in any file system."""
    with socket.socket() as port, socket.socket(socket.AF_UNIX) as abstract:
        port.bind(("127.0.0.1", 0))
        port.listen()
        name = f"corten-isolation-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        script = f"import socket\nfor f, a in ((socket.AF_INET, ('127.0.0.1', {port.getsockname()[1]})), (socket.AF_UNIX, '\\0{name}')):\n  try: socket.socket(f).connect(a); print('connected')\n  except ConnectionRefusedError: print('refused')"
        assert run(["python", "-c", script]).stdout.split() == ["refused", "refused"]
        assert run("--network", "host", ["python", "-c", script]).stdout.split() == ["connected", "connected"]


def test_containers_do_not_see_each_other(corten: Corten, runner: str) -> None:
    """Processes, temporary files, shared memory and message queues of one, looked for in another."""
    leave = "import os, time; [open(f'{d}/left-here', 'w') for d in ('/tmp', '/dev/shm', '/dev/mqueue')]; print('left', flush=True); time.sleep(60)"
    one = subprocess.Popen(
        corten.command("run", "--name", "first-of-two", "--hostname", "first-host", runner, "--", "python", "-c", leave),
        env=corten.variables(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert one.stdout is not None
        assert one.stdout.readline() == "left\n"
        look = f"import os, glob\nprint([p for d in ('/tmp', '/dev/shm', '/dev/mqueue') for p in os.listdir(d) if p == 'left-here'], len(glob.glob('/proc/[0-9]*')), os.path.exists({str(corten.home)!r}))"
        assert corten("run", runner, "--", "python", "-c", look).stdout.split() == ["[]", "1", "False"]
    finally:
        one.terminate()
        one.wait(20)


def test_links_in_volumes_and_images_do_not_lead_out(
    corten: Corten, runner: str, open_directory: Path, plain_runner: Plain, tmp_path: Path
) -> None:
    """A volume whose owner has put links where another mount, a home or a working directory is to be."""
    outside = open_directory / "outside"
    inner = open_directory / "inner"
    volume = open_directory / "volume"
    for folder in (outside, inner, volume):
        folder.mkdir()
        folder.chmod(0o777)
    (outside / "secret").write_text("secret")
    (volume / "absolute").symlink_to(outside)
    (volume / "relative").symlink_to(f"../../../../../../../..{outside}")
    (volume / "root").symlink_to("/proc/1/root")
    try:
        for place in ("absolute", "relative", "root"):
            look = f"import os; print(os.path.exists('/data/{place}/secret'), os.path.exists('/data/{place}/made/mark'))"
            for command in (corten, plain_runner):
                options = (
                    "-v",
                    f"{volume}:/data",
                    "-v",
                    f"{inner}:/data/{place}/made:ro",
                    "runner",
                    "--",
                    "python",
                    "-c",
                    look,
                )
                done = (
                    corten("run", *options, code=None) if command is corten else plain_runner("run", *options)
                )
                # Refused, or mounted inside; never made outside.
                assert done.stdout.startswith("False") or done.returncode != 0, done.stdout
                assert sorted(os.listdir(outside)) == ["secret"]
                assert "Traceback" not in done.stderr
        for option in ("-w", "-e"):
            value = "/data/absolute" if option == "-w" else "HOME=/data/absolute"
            corten(
                "run",
                option,
                value,
                "-v",
                f"{volume}:/data",
                runner,
                "--",
                "sh",
                "-c",
                "echo x > $HOME/x; echo x > x",
                code=None,
            )
            assert sorted(os.listdir(outside)) == ["secret"]
    finally:
        for folder in (outside, inner, volume):
            shutil.rmtree(folder)


def test_a_home_that_is_a_link_in_the_image_does_not_lead_out(
    corten: Corten, project: Callable[..., Path], open_directory: Path
) -> None:
    outside = open_directory / "outside-of-the-image"
    outside.mkdir()
    outside.chmod(0o777)
    (outside / "present").touch()
    root = project({"main.py": "print(1)\n"}, "linked")
    (root / "home").symlink_to(outside)
    corten("build", root, "--name", "linked", code=None)
    write = "import os\ntry: open(os.environ['HOME'] + '/escaped', 'w')\nexcept OSError: print('refused')"
    for home in ("/app/home", "/app/home/../home", "/app/home/deeper"):
        corten("run", "-u", "0", "-e", f"HOME={home}", "linked", "--", "python", "-c", write, code=None)
    assert os.listdir(outside) == ["present"]
    shutil.rmtree(outside)


def engines() -> dict[str, str]:
    """The digest of every engine's program."""
    found = {}
    for name in ("runc", "crun", "conmon"):
        path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if path:
            found[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return found


def test_the_engine_cannot_be_overwritten(corten: Corten, runner: str, tmp_path: Path) -> None:
    """CVE-2019-5736: a program whose interpreter is /proc/self/exe makes the engine start itself inside, where it would be
    open to be written; once as the first program, once for an `exec` that a process inside lies in wait for."""
    before = engines()
    tools = tmp_path / "tools"
    tools.mkdir()
    tmp_path.chmod(0o755)
    (tools / "trap").write_text("#!/proc/self/exe\n")
    (tools / "trap").chmod(0o755)
    corten("run", "-u", "0", "-v", f"{tools}:/tools:ro", runner, "--", "/tools/trap", code=None, timeout=30)
    assert engines() == before
    wait = """
import os, time
print('waiting', flush=True)
end, seen = time.monotonic() + 20, set()
while time.monotonic() < end:
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        try:
            held = os.open(f'/proc/{pid}/exe', os.O_RDONLY)
            seen.add(os.readlink(f'/proc/{pid}/exe'))
        except OSError:
            continue
        for _ in range(1000):
            try:
                os.write(os.open(f'/proc/self/fd/{held}', os.O_WRONLY | os.O_TRUNC), b'#!/bin/false')
                print('overwritten', flush=True)
            except OSError:
                pass
        os.close(held)
"""
    corten(
        "run",
        "-d",
        "--name",
        "trap",
        "-u",
        "0",
        "-v",
        f"{tools}:/tools:ro",
        runner,
        "--",
        "python",
        "-c",
        wait,
    )
    try:
        for _ in range(5):
            corten("exec", "trap", "--", "/tools/trap", code=None, timeout=30)
        assert "overwritten" not in corten("logs", "trap").stdout
        assert engines() == before
    finally:
        corten("rm", "-f", "trap", code=None)


def test_a_program_that_is_started_later_is_held_as_well(corten: Corten, runner: str, secret: Path) -> None:
    """`exec` enters with the container's own protections, not with its caller's."""
    corten("run", "-d", "--name", "entered", runner, "--", "sleep", "60")
    try:
        done = corten("exec", "entered", "--", "python", "-c", program(), str(os.getpid()), str(secret))
        assert worked(json.loads(done.stdout)) == set()
    finally:
        corten("rm", "-f", "entered", code=None)


def test_the_host_keeps_what_containers_see_of_it_read_only(run: Run) -> None:
    """With the host's network a plain user's container shows the host's /sys: below it too, nothing can be written."""
    look = """
import os
found = []
for line in open('/proc/self/mountinfo'):
    place, options = line.split()[4:6]
    if (place + '/').startswith('/sys/') and 'ro' not in options.split(',') and '/firmware' not in place:
        found.append(place)
print(found)
"""
    for network in ("none", "host"):
        done = run("--network", network, ["python", "-c", look])
        assert done.stdout == "[]\n", done.stdout + done.stderr
