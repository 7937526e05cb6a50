"""Networks with real engines, as root and as plain users. There is no internet: a listener on this machine's own address
stands in for it. What must not be reached answers with a secret, so that it does not matter who answers in its place."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.command import Corten
from support.runner import Plain

pytestmark = pytest.mark.e2e
Command = Callable[..., subprocess.CompletedProcess[str]]
OVER = 'mount --bind "$0" /dev/net/tun && exec "$@"'

ASK = """
import socket, sys, threading
heard = {}
def ask(place):
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 2) as peer:
            peer.settimeout(2)
            heard[place] = peer.recv(99).decode() or "nothing"
    except OSError as error:
        heard[place] = "refused"
threads = [threading.Thread(target=ask, args=(place,)) for place in sys.argv[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
for place in sys.argv[1:]: print(place, heard[place])
"""
SERVE = """
import socket, threading
stream, datagrams = socket.create_server(("0.0.0.0", 8000)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", 8001))
def answer():
    while True:
        data, peer = datagrams.recvfrom(99)
        datagrams.sendto(b"inside " + data, peer)
threading.Thread(target=answer, daemon=True).start()
print("ready", flush=True)
while True:
    peer, _ = stream.accept()
    peer.sendall(b"inside")
    peer.close()
"""


@pytest.fixture(scope="session")
def with_device(
    corten: Corten, runner: str, plain_runners: Callable[[str], Plain], open_directory: Path
) -> Callable[[str, int], Command]:
    """The command as a kind of user, where the device of networks has this mode. Only the command sees it so."""

    def make(kind: str, mode: int) -> Command:
        device = open_directory / f"tun-{mode:o}"
        if not device.exists():
            os.mknod(device, stat.S_IFCHR, os.makedev(10, 200))
            device.chmod(mode)
        plain = None if kind == "root" else plain_runners(kind)

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            argv = plain.command(*arguments) if plain else corten.command(*arguments)
            return subprocess.run(
                ["unshare", "--mount", "sh", "-c", OVER, device, *argv],
                env=None if plain else corten.variables(),
                cwd=plain.home if plain else None,
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=120,
            )

        return run

    return make


@pytest.fixture(params=["root", "subuids", "none"])
def command(request: pytest.FixtureRequest, with_device: Callable[[str, int], Command]) -> Command:
    """The command as root and as plain users, each with a store that has the image. Everybody may open the device of networks,
    as on most machines."""
    return with_device(request.param, 0o666)


@contextmanager
def listening(address: str, answer: str) -> Iterator[int]:
    """A listener on this machine that says `answer` to everybody; its port."""
    with socket.create_server(
        (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET
    ) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(answer.encode())

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def own_address() -> str:
    """This machine's own address on its network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))
        return str(probe.getsockname()[0])


def asked(command: Command, *arguments: str) -> dict[str, str]:
    """What a program in a container hears at the places that come last, after `--`."""
    split = arguments.index("--")
    done = command("run", *arguments[:split], "runner", "--", "python", "-c", ASK, *arguments[split + 1 :])
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


@contextmanager
def server(command: Command, name: str, *arguments: str) -> Iterator[list[str]]:
    """A container that serves a stream at 8000 and datagrams at 8001; the ports that it publishes."""
    started = command("run", "-d", "--name", name, *arguments, "runner", "--", "python", "-c", SERVE)
    assert started.returncode == 0, started.stderr
    try:
        deadline = time.monotonic() + 30
        while "ready" not in command("logs", name).stdout:
            assert time.monotonic() < deadline, command("logs", name).stderr
        yield json.loads(command("inspect", "--type", "container", name).stdout)["ports"]
    finally:
        removed = command("rm", "-f", name)
        assert removed.returncode == 0, removed.stderr


def number(published: str) -> int:
    """The machine's side of a published port."""
    return int(published.partition("->")[0].rpartition(":")[2])


def hears(address: str, port: int) -> str:
    """What a stream at a place of this machine says."""
    try:
        with socket.create_connection((address, port), 2) as peer:
            peer.settimeout(5)
            return peer.recv(99).decode()
    except OSError:
        return "refused"


def free_port(first: int, end: int) -> int:
    """A port of the loopback interface from `first` up to `end`, at which nobody listens. Processes beside this one begin
    elsewhere."""
    begin = os.getpid() * 7 % (end - first)
    ports = [*range(first + begin, end), *range(first, first + begin)]
    return next(port for port in ports if hears("127.0.0.1", port) == "refused")


def answers(address: str, port: int) -> str:
    """What comes back for a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(5)
        peer.connect((address, port))
        peer.send(b"hello")
        return peer.recv(99).decode()


def with_words(*words: str) -> list[str]:
    """The processes of this machine whose command line has all of `words`."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if all(word in line for word in words):
            found.append(line)
    return found


def gone(*words: str) -> bool:
    """Whether those processes end."""
    deadline = time.monotonic() + 60
    while with_words(*words):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_way_out_and_no_way_to_the_loopback(command: Command) -> None:
    own = own_address()
    with (
        listening(own, "out") as out,
        listening("127.0.0.1", "secret") as secret,
        listening("::1", "secret") as secret6,
        server(command, "neighbour", "--network", "private") as published,
    ):
        assert published == []
        outside = f"{own}:{out}"
        places = [
            f"{host}:{secret}" for host in ("127.0.0.1", "127.0.0.2", "10.0.2.2", "10.0.2.3", own, "0.0.0.0")
        ]
        places += [f"{host}:{secret6}" for host in ("::1", "::ffff:127.0.0.1")]
        places += [f"{host}:8000" for host in ("127.0.0.1", "10.0.2.2", "10.0.2.100", own)]
        heard = asked(command, "--network", "private", "--", outside, *places)
        assert heard.pop(outside) == "out"
        assert set(heard) == set(places)
        assert not {"secret", "inside", "out"} & set(heard.values()), heard
        # Without one nothing is reached, and the machine's own has it all, so the question is a fair one.
        assert asked(command, "--", outside) == {outside: "refused"}
        assert (
            asked(command, "--network", "host", "--", f"127.0.0.1:{secret}")[f"127.0.0.1:{secret}"]
            == "secret"
        )


def test_published_ports_on_the_chosen_address_only(command: Command) -> None:
    own = own_address()
    options = ("-p", "0:8000", "-p", f"{own}:0:8000", "-p", "0:8001/udp", "-p", f"{own}:0:8001/udp")
    with server(command, "web", *options) as ports:
        assert [port.partition("->")[2] for port in ports] == ["8000/tcp", "8000/tcp", "8001/udp", "8001/udp"]
        here, there, datagrams, far = map(number, ports)
        assert (hears("127.0.0.1", here), hears(own, here)) == ("inside", "refused")
        assert (hears(own, there), hears("127.0.0.1", there)) == ("inside", "refused")
        assert answers("127.0.0.1", datagrams) == answers(own, far) == "inside hello"
        with pytest.raises(OSError, match=r"refused|timed out"):
            answers("127.0.0.1", far)
        assert str(here) in command("ps").stdout
        # What is started beside it is in the same network, not in the machine's.
        beside = command("exec", "web", "--", "python", "-c", ASK, "127.0.0.1:8000", "10.0.2.100:8000")
        assert beside.stdout.split() == ["127.0.0.1:8000", "inside", "10.0.2.100:8000", "inside"], (
            beside.stderr
        )
        assert with_words("pasta", f"127.0.0.1/{here}:8000")
    assert gone("pasta", f"127.0.0.1/{here}:8000")
    assert hears("127.0.0.1", here) == "refused"


def test_low_ports_are_roots(corten: Corten, command: Command, runner: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        assert free
    low = free_port(600, 1000)
    done = command("run", "-p", f"{low}:8000", "runner", "--", "true")
    if done.returncode != 0:
        assert "may not listen on port" in done.stderr
        assert "ip_unprivileged_port_start" in done.stderr
        return
    with server(command, "low", "-p", f"{low}:8000"):
        assert hears("127.0.0.1", low) == "inside"
    assert hears("127.0.0.1", low) == "refused"


def test_a_port_in_use_is_told_before_anything_starts(command: Command) -> None:
    with listening("127.0.0.1", "taken") as taken:
        done = command("run", "--name", "late", "-p", f"{taken}:80", "runner", "--", "true")
        assert done.returncode == 125
        assert f"the port 127.0.0.1:{taken}/tcp is in use" in done.stderr
        assert "late" not in command("ps", "--all").stdout
    assert command("run", "-p", "81:80", "-p", "81:82", "runner", "--", "true").returncode == 2


def test_containers_that_share_a_network(command: Command) -> None:
    with server(command, "first", "--network", "private"):
        shared = asked(command, "--network", "container:first", "--", "127.0.0.1:8000")
        assert shared == {"127.0.0.1:8000": "inside"}
        with server(command, "on-host", "--network", "host"):
            done = command("run", "--network", "container:on-host", "runner", "--", "true")
            assert done.returncode == 125
            assert "has no network of its own" in done.stderr
        done = command("run", "-p", "0:1", "--network", "container:first", "runner", "--", "true")
        assert done.returncode == 2
    done = command("run", "--network", "container:first", "runner", "--", "true")
    assert (done.returncode, "there is no container 'first'" in done.stderr) == (125, True)
    with server(command, "alone", "--network", "none"):
        assert asked(command, "--network", "container:alone", "--", "127.0.0.1:8000") == {
            "127.0.0.1:8000": "inside"
        }


def test_nothing_outlives_a_container_that_is_killed(corten: Corten, runner: str) -> None:
    port = free_port(22000, 32000)
    started = subprocess.Popen(
        corten.command(
            "run", "-p", f"{port}:8000", "-p", f"{port}:8001/udp", runner, "--", "python", "-c", SERVE
        ),
        env=corten.variables(),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    assert (hears("127.0.0.1", port), answers("127.0.0.1", port)) == ("inside", "inside hello")
    started.kill()
    started.wait()
    assert gone(f"{port}:8000")
    assert hears("127.0.0.1", port) == "refused"


@pytest.mark.parametrize("options", [("-w", "/etc/passwd"), ("-p", "0:80", "-w", "/etc/passwd")])
def test_a_detached_container_in_a_private_network_that_cannot_start_is_told_and_leaves_nothing(
    command: Command, options: tuple[str, ...]
) -> None:
    """The monitor is the first process of a namespace in which pasta and the forwarder are: it ends when they are waited for."""
    name = "network-fails"
    done = command("run", "-d", "--network", "private", "--name", name, *options, "runner", "--", "true")
    assert done.returncode == 125, done.stderr
    assert "the engine says" in done.stderr
    assert command("ps", "--all", "--quiet", "--filter", f"name={name}").stdout == ""


def test_without_the_device(corten: Corten, runner: str, with_device: Callable[[str, int], Command]) -> None:
    """Root's ports are published all the same, without a way out, which is said; a plain user is told what is missing."""

    def hidden(*arguments: str) -> subprocess.CompletedProcess[str]:
        hide = 'mount -t tmpfs none /dev/net && exec "$@"'
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", hide, "sh", *corten.command(*arguments)],
            env=corten.variables(),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    (corten.home / "caches" / "engine" / "said-no-way-out").unlink(missing_ok=True)
    with listening(own_address(), "out") as out:
        done = hidden("run", "-p", "0:80", runner, "--", "python", "-c", ASK, f"{own_address()}:{out}")
    assert done.stdout == f"{own_address()}:{out} refused\n", done.stderr
    assert "no way out" in done.stderr
    with server(hidden, "bare", "-p", "0:8000", "-p", "0:8001/udp") as (stream, datagrams):
        assert (hears("127.0.0.1", number(stream)), answers("127.0.0.1", number(datagrams))) == (
            "inside",
            "inside hello",
        )
    done = hidden("run", "--network", "private", runner, "--", "true")
    assert done.returncode == 125
    assert "needs '/dev/net/tun'" in done.stderr
    done = with_device("none", 0o600)("run", "-p", "0:80", "runner", "--", "true")
    assert (done.returncode, "chmod 0666 /dev/net/tun" in done.stderr) == (125, True), done.stderr
    # Root needs nobody to open it.
    with listening(own_address(), "out") as out:
        place = f"{own_address()}:{out}"
        assert asked(with_device("root", 0o600), "--network", "private", "--", place) == {place: "out"}


def test_name_servers(corten: Corten, runner: str, tmp_path: Path) -> None:
    """One on the machine's loopback is reached by an address that stands for it, and nothing else there."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\nsearch example.com\n")
    ask = (
        "import socket; print(open('/etc/resolv.conf').read().split()); "
        "s = socket.socket(2, 2); s.settimeout(5); s.connect(('10.0.2.3', 53)); s.send(b'q'); print(s.recv(99))"
    )
    command = corten.command("run", "--network", "private", runner, "--", "python", "-c", ask)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
        names.bind(("127.0.0.53", 53))

        def answer() -> None:
            data, peer = names.recvfrom(99)
            names.sendto(b"answer to " + data, peer)

        threading.Thread(target=answer, daemon=True).start()
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"',
             tmp_path / "resolv.conf", *command],
            env=corten.variables(),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    assert done.stdout.splitlines() == [
        "['nameserver', '10.0.2.3', 'search', 'example.com']",
        "b'answer to q'",
    ], done.stderr
    asked_for = corten(
        "run", "--network", "private", "--dns", "9.9.9.9", runner, "--", "cat", "/etc/resolv.conf"
    )
    assert asked_for.stdout == "nameserver 9.9.9.9\n"


def test_a_project_asks_for_a_private_network(corten: Corten, project: Callable[..., Path]) -> None:
    """`run` and `up` of an image whose project says so."""
    serve = (
        "import http.server, os\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "        self.wfile.write(open('/proc/net/route', 'rb').read())\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()\n"
    )
    settings = '[project]\nname = "outward"\nversion = "1"\n[tool.corten]\nnetwork = "private"\ncommand = "python main.py"\n'
    root = project({"main.py": serve, "pyproject.toml": settings}, "outward")
    assert "eth0" in corten("run", root, "--", "cat", "/proc/net/route").stdout
    assert "eth0" not in corten("run", "--network", "none", root, "--", "cat", "/proc/net/route").stdout
    started = corten("up", root, "--detach", "--port", "0")
    name = json.loads(corten("ps", "--json").stdout)[0]["name"]
    try:
        with urllib.request.urlopen(started.stdout.strip(), timeout=60) as fetched:
            assert b"eth0" in fetched.read()
    finally:
        corten("stop", name)


def test_the_engine_gets_no_right_over_the_machine(corten: Corten, runner: str) -> None:
    """pasta of root's container is nobody, and has no right in the machine's user namespace."""
    with server(lambda *words: corten(*words, code=None), "watched", "-p", "0:8000") as (port,):
        spec = f"127.0.0.1/{number(port)}:8000"
        pids = [
            place.parent
            for place in Path("/proc").glob("[0-9]*/cmdline")
            if spec.encode() in place.read_bytes() and b"pasta" in place.read_bytes()
        ]
        assert len(pids) == 1
        status = dict(
            line.split(":\t", 1) for line in (pids[0] / "status").read_text().splitlines() if ":\t" in line
        )
        assert set(status["Uid"].split()) == {"65534"}
        assert os.readlink(pids[0] / "ns" / "user") != os.readlink("/proc/self/ns/user")
