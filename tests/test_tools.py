"""What the Makefile's targets call: they do all of their work, say what they do, and install what the tests need."""

from __future__ import annotations

import ast
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from support.certificates import Authority

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    foreign = ("PYTEST_", "PIP_", "MAKE", "SSL_", "REQUESTS_CA", "CURL_CA")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return subprocess.run(
        command, cwd=cwd, env={**kept, **variables}, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout's tools, without its tests, with this interpreter as its environment."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n  alone: x\naddopts = -p xdist -p no:cacheprovider\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("first", "second", "code", "said"),
    [
        (
            False,
            True,
            1,
            ["tests beside each other: FAILED (pytest ended with 1)", "tests that run alone: passed"],
        ),
        (True, None, 0, ["tests beside each other: passed", "tests that run alone: no test selected"]),
    ],
)
def test_both_parts_of_the_tests_run_and_are_reported_whatever_becomes_of_the_first(
    checkout: Path, first: bool | None, second: bool | None, code: int, said: list[str]
) -> None:
    lines = ["import pytest"]
    if first is not None:
        lines += [f"def test_first(): assert {first}"]
    if second is not None:
        lines += ["@pytest.mark.alone", f"def test_second(): assert {second}"]
    (checkout / "test_it.py").write_text("\n".join(lines) + "\n")
    done = run("tools/test", "-q", cwd=checkout, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert done.returncode == code, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line in said] == said


class Index(BaseHTTPRequestHandler):
    """A package index that has nothing, and notes what it was asked."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """An index behind a certificate that nobody knows: its address, the authority's certificate, what it was asked."""
    asked: list[str] = []
    authority = Authority.make(tmp_path / "authority")
    issued = authority.issue("index")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Index,), {"asked": asked}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}/simple/", authority.ca, asked
    server.shutdown()
    server.server_close()


def test_setup_takes_the_certificate_from_pips_configuration_and_says_what_it_does(
    index: tuple[str, Path, list[str]], checkout: Path
) -> None:
    """As behind a proxy that inspects TLS: its certificate stands in pip.conf and nowhere else."""
    address, certificate, asked = index
    (checkout / "pip.conf").write_text(
        f"[global]\nindex-url = {address}\nextra-index-url =\nfind-links =\ncert = {certificate}\nretries = 0\n"
    )
    (checkout / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\n[dependency-groups]\ndev = ["nothing"]\n'
    )
    done = run("tools/python-packages", ".venv", cwd=checkout, PIP_CONFIG_FILE=str(checkout / "pip.conf"))
    assert done.returncode != 0
    assert asked, done.stderr
    assert "certificate" not in done.stderr.lower()
    assert done.stderr.splitlines()[0].startswith("installing ")


def test_every_program_that_the_tests_call_is_installed_by_make_test() -> None:
    """Of the programs that are named where a process is started. Debian's own required packages are everywhere."""
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    found = dict(re.findall(r"^(SYSTEM_\w+) := (.*)$", makefile, re.MULTILINE))
    installed = f"{found['SYSTEM_DEMO']} {found['SYSTEM_TEST']}".split()
    # Python comes before `make`; it makes the environment.
    missing = {
        program: packages
        for program, packages in owners(programs()).items()
        if not any(name in installed or name.startswith("python3") for name in packages)
    }
    assert missing == {}


def programs() -> set[str]:
    """The programs that the tests start, as far as they are literal."""
    names = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(parsed(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called, first = ast.unparse(node.func), node.args[0]
            if called in (
                "subprocess.run",
                "subprocess.Popen",
                "subprocess.check_output",
                "subprocess.check_call",
            ):
                first = first.elts[0] if isinstance(first, ast.List) and first.elts else first
            elif called != "shutil.which":
                continue
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                names.add(first.value)
    return names


def parsed(text: str) -> ast.Module:
    """The syntax tree. CPython 3.11 counts recursion wrongly when another thread parses at the same time, and says so with a
    SystemError (python/cpython#106905)."""
    for _ in range(20):
        try:
            return ast.parse(text)
        except SystemError:
            continue
    return ast.parse(text)


def owners(names: set[str]) -> dict[str, set[str]]:
    """The Debian packages of these programs, for those that not every Debian has; nothing if this is no Debian."""
    if shutil.which("dpkg") is None:
        return {}
    places: dict[str, str] = {}
    for name in names:
        if path := shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin"):
            for place in (path, os.path.realpath(path)):
                places |= {place: name, place.removeprefix("/usr"): name}
    found: dict[str, set[str]] = {}
    for line in run("dpkg", "-S", *places).stdout.splitlines():
        packages, _, place = line.rpartition(": ")
        if place in places:
            found.setdefault(places[place], set()).update(
                package.strip().partition(":")[0] for package in packages.split(",")
            )
    everywhere = {
        line.split()[0]
        for line in run("dpkg-query", "-W", "-f", "${Package} ${Essential} ${Priority}\n").stdout.splitlines()
        if line.endswith(" required")
    }
    return {name: packages for name, packages in found.items() if not packages & everywhere}
