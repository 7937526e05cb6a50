"""What a package's source can do while it is built into a wheel: its build backend is any program."""

from __future__ import annotations

import http.server
import os
import pickle
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.build.source_failures import explained, lacks_compiler
from corten.build.wheel import place_wheel
from corten.errors import BuildError
from corten.events import TaskStarted
from corten.packages.files import Wheel
from corten.packages.sources import Source
from corten.sandbox.confinement import Limits
from corten.sandbox.process import Finished
from corten.values import replace
from support.confined import WITHOUT_NAMESPACES, Caller
from support.plain_user import interpreter
from support.sdists import Workbench, backend, locked_base, workbench
from support.shared import corten
from support.wheels import make_wheel

__all__ = ["corten", "locked_base", "workbench"]

pytestmark = pytest.mark.e2e

REPORT = """
import os
def attempt(what):
    try:
        return repr(what())[:2000]
    except BaseException as error:
        return type(error).__name__ + ": " + str(error)[:200]

def contents():
    return {"said.txt": "\\n".join(attempt(one) for one in ATTEMPTS)}
"""


def report(bench: Workbench, name: str, attempts: str) -> list[str]:
    """What the attempts (a list of functions, as text) came to inside of a build."""
    source = bench.source(name, backend(name, more=f"{REPORT}\nATTEMPTS = {attempts}\n"))
    built = bench.build(source)
    place = bench.store.files.path(built.wheel.sha256, "wheel")
    assert place is not None
    with zipfile.ZipFile(place) as wheel:
        return wheel.read("said.txt").decode().splitlines()


def test_a_build_reads_nothing_of_the_host(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "open sesame")
    secret = tmp_path / "secret"
    secret.write_text("open sesame")
    secret.chmod(0o644)
    tmp_path.chmod(0o755)
    places = [str(secret), "/root", "/home", str(workbench.store.root), "/proc/1/root/root", "/work", "/var"]
    seen = report(
        workbench,
        "reader",
        f"[lambda: open({str(secret)!r}).read(), lambda: sorted(os.listdir('/')), *[(lambda p=p: os.listdir(p)) for p in {places[1:]!r}],"
        " lambda: sorted(os.environ)]",
    )
    assert seen[0].startswith("FileNotFoundError")
    assert set(eval(seen[1])) <= {  # a list that this test's own program printed
        *("bin", "build", "dev", "etc", "lib", "lib64", "opt", "proc", "sbin", "source", "tmp", "usr")
    }
    assert all(line.split(":")[0] in {"FileNotFoundError", "PermissionError"} for line in seen[2:-1]), seen
    assert "SECRET_OF_THE_HOST" not in seen[-1]


def test_a_build_writes_nowhere_but_in_its_own_place(workbench: Workbench) -> None:
    """Whoever it runs as: the mounts themselves are read-only."""
    places = ["/", "/usr", "/usr/lib/python3.11", "/bin", "/lib", "/opt/venv", "/etc", "/source"]
    seen = report(
        workbench,
        "writer",
        f"[(lambda p=p: bool(os.statvfs(p).f_flag & os.ST_RDONLY)) for p in {places!r}]"
        f" + [(lambda p=p: open(p + '/x', 'w').write('x')) for p in {places!r}]"
        " + [lambda: os.remove('/usr/bin/python3.11'), lambda: os.chmod('/usr', 0o777),"
        " lambda: open('/build/x', 'w').write('x')]",
    )
    assert seen[: len(places)] == ["True"] * len(places)
    refused = seen[len(places) : -1]
    words = ("Read-only", "Not a directory", "not permitted", "denied")
    assert all(any(word in line for word in words) for line in refused), refused
    assert seen[-1] == "1"


@pytest.fixture
def listening() -> Iterator[tuple[int, list[str]]]:
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1], heard
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_build_has_no_network(
    workbench: Workbench, listening: tuple[int, list[str]], tmp_path: Path
) -> None:
    port, heard = listening
    own = socket.socket(socket.AF_UNIX)
    own.bind(f"\0corten-test-{os.getpid()}")
    own.listen()
    seen = report(
        workbench,
        "caller",
        f"[lambda: __import__('urllib.request').request.urlopen('http://127.0.0.1:{port}/', timeout=5).read(),"
        f" lambda: __import__('socket').socket(1).connect('\\0corten-test-{os.getpid()}'),"
        " lambda: __import__('socket').gethostbyname('index.example'),"
        " lambda: [name for _, name in __import__('socket').if_nameindex()]]",
    )
    own.close()
    assert heard == []
    assert [line.split(":")[0] for line in seen[:3]] == ["URLError", "ConnectionRefusedError", "gaierror"]
    assert set(eval(seen[3])) <= {
        "lo",
        "tunl0",
        "sit0",
        "ip6tnl0",
        "gre0",
        "gretap0",
        "erspan0",
        "ip_vti0",
        "ip6_vti0",
        "ip6gre0",
    }


def test_a_build_has_no_capabilities_and_makes_no_namespaces(workbench: Workbench) -> None:
    seen = report(
        workbench,
        "climber",
        "[lambda: [line for line in open('/proc/self/status') if line.startswith(('Cap', 'NoNewPrivs'))],"
        " lambda: os.getuid(), lambda: __import__('ctypes').CDLL(None).unshare(0x10000000), lambda: os.setuid(0)]",
    )
    lines = eval(seen[0])
    assert all(line.split()[1].strip("0") == "" for line in lines if line.startswith("Cap"))
    assert "NoNewPrivs:\t1\n" in lines
    assert seen[1] == "65534"
    assert seen[2] == "-1"
    assert seen[3].startswith(("PermissionError", "OSError"))


def test_nothing_of_a_build_runs_on(workbench: Workbench) -> None:
    """A process in a session of its own, whose parent is gone, ends with the build."""
    mark = f"corten-left-{os.getpid()}"
    more = f"""
import os, subprocess, sys
def hostile():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", {mark!r}], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""
    workbench.build(workbench.source("stayer", backend("stayer", more=more)))
    left = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                left.append(path)
        except OSError:
            continue
    assert left == []


def test_a_build_cannot_fill_the_disk_or_the_memory(workbench: Workbench) -> None:
    from corten.build import source_wheels

    sizes = source_wheels._PLACE_SIZE, source_wheels._TMP_SIZE, source_wheels._LIMITS.memory
    assert all(size is not None and size <= 4 << 30 for size in sizes)
    seen = report(
        workbench,
        "filler",
        "[lambda: __import__('mmap').mmap(-1, 5 << 30), lambda: bytearray(5 << 30),"
        " lambda: os.truncate(os.open('/tmp/large', os.O_CREAT | os.O_RDWR), 2 << 30),"
        " lambda: os.posix_fallocate(os.open('/tmp/more', os.O_CREAT | os.O_RDWR), 0, 1000 << 20),"
        " lambda: open('/proc/self/oom_score_adj').read()]",
    )
    assert seen[0].startswith(("OSError", "MemoryError"))
    assert seen[1].startswith("MemoryError")
    assert "too large" in seen[2] or "File too large" in seen[2]
    assert "No space left" in seen[3]
    assert "1000" in seen[4]


def test_a_build_starts_a_bounded_number_of_processes(workbench: Workbench) -> None:
    more = """
def contents():
    import os, signal
    children = []
    try:
        while len(children) < 2000:
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
        said = "all"
    except OSError as error:
        said = str(error)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return {"said.txt": said}
"""
    built = workbench.build(workbench.source("forker", backend("forker", more=more)))
    place = workbench.store.files.path(built.wheel.sha256, "wheel")
    assert place is not None
    with zipfile.ZipFile(place) as wheel:
        assert "temporarily unavailable" in wheel.read("said.txt").decode()


def test_what_a_build_prints_cannot_write_to_the_terminal(workbench: Workbench) -> None:
    more = "def hostile():\n    raise ValueError('\\x1b]0;owned\\x07\\x1b[2Jgone\\x00 error: all fine')\n"
    with pytest.raises(BuildError) as caught:
        workbench.build(workbench.source("printer", backend("printer", more=more)))
    assert "gone error: all fine" in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "unit",
    ["a", "a.", " ", "\n", "'", "FileNotFoundError: ", "FileNotFoundError: 'a", "command '", "command 'cc", "cargo ", "Package a",
     "pkg-config --a ", "fatal error: a/", "cannot find -la", "\x1b[", "\x1b]", "Error: a", "could not be found for a"],
)  # fmt: skip
def test_what_a_build_prints_cannot_hold_up_the_host(unit: str) -> None:
    done = Finished(1, b"", (unit * (8_000_000 // len(unit))).encode() + b"\nValueError: odd")
    begin = time.process_time()
    assert len(explained("thing", done, Limits())[0]) <= 300
    assert not lacks_compiler(done)
    # It takes less than a second; the square of the size would be hours.
    assert time.process_time() - begin < 20


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("b'no json\\n'", "cannot be built"),
        ("b'[1]\\n'", "cannot be built"),
        ('b\'{"wheel": "../../x-1.0-py3-none-any.whl", "size": 1}\\nx\'', "not named like a wheel"),
        ('b\'{"wheel": "liar-1.0-py3-none-any.whl", "size": 1}\\nx\'', "damaged"),
        ('b\'{"wheel": "liar-1.0-py3-none-any.whl", "size": 9}\\nx\'', "did not produce a wheel"),
        ('b\'{"wheel": "other-1.0-py3-none-any.whl", "size": 1}\\nx\'', "a wheel of 'other'"),
        ("b'{' * 100000 + b'\\n'", "cannot be built"),
    ],
)
def test_the_answer_of_a_build_is_not_believed(workbench: Workbench, answer: str, said: str) -> None:
    """A backend can write to the pipe itself, and end before the program that should have written there."""
    more = f"""
def hostile():
    for number in range(3, 20):
        try:
            os.write(number, {answer})
        except OSError:
            continue
    os._exit(0)
"""
    with pytest.raises(BuildError, match=said):
        workbench.build(workbench.source("liar", backend("liar", more=more)))


@pytest.mark.parametrize(
    "requirement",
    [
        "x @ http://127.0.0.1:9/x-1.0-py3-none-any.whl",
        "x @ file:///etc/passwd",
        "git+https://index.example/x",
        "./x",
        "-r /etc/passwd",
        "--index-url=https://index.example/simple",
        "x\\n--find-links=/",
    ],
)
@pytest.mark.parametrize("where", ["static", "asked"])
def test_a_source_names_no_address_for_its_build_requirements(
    workbench: Workbench, requirement: str, where: str
) -> None:
    files = backend("asker")
    if where == "static":
        files["pyproject.toml"] = files["pyproject.toml"].replace("[]", f'["{requirement}"]')
    else:
        files["backend.py"] += (
            f"\ndef get_requires_for_build_wheel(config_settings=None):\n    return ['{requirement}']\n"
        )
    with pytest.raises(BuildError, match="is not a name with versions"):
        workbench.build(workbench.source("asker", files))
    assert workbench.asked == []


def test_a_wheel_is_not_taken_from_a_build_with_other_requirements(
    workbench: Workbench, tmp_path: Path
) -> None:
    """One project's index may have another file under the same name and version. Its build ran that file, and says which requirements are
    resolved next: the last resolution may look as that of everybody."""
    tools = {}
    for word, asked in (("evil", ["tool==1.0"]), ("honest", [])):
        wheel = make_wheel(tmp_path / word, "tool", files={"tool.py": f"WORD, ASKED = {word!r}, {asked}\n"})
        workbench.store.files.add(tmp_path / word / wheel.file, wheel.sha256, "wheel")
        tools[word] = wheel
    more = """
def contents():
    import tool
    return {"said.txt": tool.WORD}
"""
    asking = """
def get_requires_for_build_wheel(config_settings=None):
    import tool
    return tool.ASKED
"""

    def source(name: str, more: str) -> Source:
        files = backend(name, more=f"{more}\n# {tmp_path}\n")  # the shared store knows it from no earlier run
        files["pyproject.toml"] = files["pyproject.toml"].replace("[]", '["tool"]', 1)
        return workbench.source(name, files)

    def said(source: Source, tool: Wheel, pinned: Wheel) -> str:
        bench = replace(workbench)
        bench.resolve = lambda lines: (pinned if "tool==1.0" in lines else tool,)  # type: ignore[method-assign]
        place = bench.store.files.path(bench.build(source).wheel.sha256, "wheel")
        assert place is not None
        with zipfile.ZipFile(place) as built:
            return built.read("said.txt").decode()

    evil, honest = tools["evil"], tools["honest"]
    plain, staged = source("taken", more), source("staged", more + asking)
    assert said(plain, evil, evil) == "evil"
    assert said(plain, honest, honest) == "honest"
    # The first project's tool asks for the honest one, which builds: but only that tool asked for it.
    assert said(staged, evil, honest) == "honest"
    before = _builds(workbench)
    assert said(staged, honest, honest) == "honest"
    assert said(staged, honest, honest) == "honest"
    assert _builds(workbench) == before + 1


def _builds(bench: Workbench) -> int:
    return sum(1 for event in bench.events if isinstance(event, TaskStarted) and event.phase == "build")


_BUILD = """
import pickle, sys
from corten.build.source_wheels import _confined
try:
    result = _confined(*pickle.load(sys.stdin.buffer))
except Exception as error:
    result = type(error).__name__, error.message, error.hint
pickle.dump(result, sys.stdout.buffer)
"""


@pytest.mark.parametrize("caller", WITHOUT_NAMESPACES, ids=lambda caller: caller.name)
def test_without_namespaces_nothing_is_built(
    workbench: Workbench, caller: Caller, open_directory: Path
) -> None:
    """Neither as root nor as a plain user; what to do is said."""
    source = replace(workbench.source("open", backend("open")), place=Path("/source"))
    asked = source, open_directory, [open_directory], open_directory, ("look",)
    python, environment = interpreter()
    done = subprocess.run(
        caller.command([*python, "-c", _BUILD], environment),
        input=pickle.dumps(asked),
        capture_output=True,
        timeout=60,
    )
    assert done.stdout, done.stderr.decode()
    kind, message, hint = pickle.loads(done.stdout)
    assert kind == "NoSandbox"
    assert "Corten builds a source only in a sandbox" in message
    assert "doctor" in hint
    assert "--find-links" in hint


def test_a_wheel_that_leaves_the_environment_is_refused_where_it_is_installed(
    workbench: Workbench, tmp_path: Path
) -> None:
    from corten.build.environment import Environment

    more = "def contents():\n    return {'../../../../../etc/escaped': 'x'}\n"
    built = workbench.build(workbench.source("leaver", backend("leaver", more=more)))
    place = workbench.store.files.path(built.wheel.sha256, "wheel")
    assert place is not None
    with pytest.raises(BuildError):
        place_wheel(place, built.wheel.file, Environment("/opt/venv", "3.11"), tmp_path / "tree")


def test_an_unpacked_source_is_shown_without_what_its_links_lead_to(
    workbench: Workbench, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("open sesame")
    tree = tmp_path / "tree"
    more = """
def contents():
    try:
        return {"said.txt": open("link").read()}
    except OSError as error:
        return {"said.txt": str(error)}
"""
    for path, text in backend("linker", more=more).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    (tree / "link").symlink_to(secret)
    os.mkfifo(tree / "pipe")
    started = time.monotonic()
    built = workbench.build(Source("linker", "1.0", "e" * 64, tree))
    assert time.monotonic() - started < 60
    place = workbench.store.files.path(built.wheel.sha256, "wheel")
    assert place is not None
    with zipfile.ZipFile(place) as wheel:
        assert "No such file" in wheel.read("said.txt").decode()
