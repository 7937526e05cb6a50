"""`corten shell` and `corten dev` with a real engine: what is written there, whose it is, and that no request is refused."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.command import Corten

pytestmark = pytest.mark.e2e
PREDICT = "class Predictor:\n    def predict(self, x: int) -> int:\n        return x + {}\n"


@pytest.fixture
def root(project: Callable[..., Path]) -> Path:
    return project({"predict.py": PREDICT.format(1)}, "adder")


@contextlib.contextmanager
def developing(corten: Corten, root: Path) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    process = subprocess.Popen(
        corten.command("dev", root, "--port", "0"),
        env=corten.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        yield process, process.stdout.readline().strip(), said
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        reader.join(10)


def ask(url: str, x: int = 1) -> int:
    body = json.dumps({"x": x}).encode()
    request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})
    answer = json.loads(urllib.request.urlopen(request, timeout=60).read())
    return int(answer["output"] if isinstance(answer, dict) and "output" in answer else answer)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def test_a_change_is_served_and_no_request_is_refused(corten: Corten, root: Path) -> None:
    with developing(corten, root) as (process, url, said):
        assert ask(url) == 2
        failures: list[str] = []
        done = threading.Event()

        def keep_asking() -> None:
            while not done.is_set():
                try:
                    ask(url)
                except urllib.error.HTTPError as error:
                    failures.append(error.read().decode())
                except OSError as error:
                    failures.append(str(error))

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            (root / "predict.py").write_text(PREDICT.format(10))
            until(lambda: ask(url) == 11)
            (root / "predict.py").write_text("import nothing_like_this\n" + PREDICT.format(20))
            until(lambda: any("ended before it was ready" in line for line in said))
            assert ask(url) == 11
            (root / "predict.py").write_text(PREDICT.format(30))
            until(lambda: ask(url) == 31)
            (root / "pyproject.toml").write_text("this is no TOML")
            until(lambda: any("pyproject.toml" in line for line in said))
            assert ask(url) == 31
            assert process.poll() is None
        finally:
            done.set()
            asking.join()
        assert failures == []
    assert process.returncode == 0
    assert any("No module named 'nothing_like_this'" in line for line in said)
    assert not any("Traceback" in line and "corten/cli" in line for line in said)
    with pytest.raises(urllib.error.URLError):
        ask(url)


def test_a_project_that_is_broken_at_first_is_waited_for(corten: Corten, root: Path) -> None:
    (root / "predict.py").write_text("import nothing_like_this\n" + PREDICT.format(1))
    process = subprocess.Popen(
        corten.command("dev", root, "--port", "0"),
        env=corten.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "waiting for a change" in line:
                break
        (root / "predict.py").write_text(PREDICT.format(1))
        assert ask(process.stdout.readline().strip()) == 2
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stdout.close()
        process.stderr.close()


def test_a_shell_has_the_project_its_dev_group_and_a_home_that_is_kept(
    corten: Corten, project: Callable[..., Path]
) -> None:
    root = project(
        {
            "pyproject.toml": '[project]\nname = "tools"\nversion = "1"\nrequires-python = ">=3.11"\n'
            '[dependency-groups]\ndev = ["iniconfig"]\n',
            "main.py": "print('main')\n",
        },
        "tools",
    )
    os.chown(root, 1234, 1234)
    command = "python -c 'import iniconfig'; id -u; pwd; echo kept > ~/file; echo here > made; python main.py"
    done = corten("shell", root, "--", "sh", "-c", command)
    assert done.stdout.split() == ["1234", "/app", "main"], done.stderr
    assert (root / "made").stat().st_uid == 1234
    lock = (root / "corten.lock").read_bytes()
    assert b"iniconfig" not in lock
    assert corten("shell", root, "--", "sh", "-c", "cat ~/file").stdout == "kept\n"
    assert (root / "corten.lock").read_bytes() == lock
    # In production there is no such package.
    assert corten("run", root, "--", "python", "-c", "import iniconfig", code=1)
    volumes = [row["name"] for row in json.loads(corten("volume", "ls", "--json").stdout)]
    mine = next(name for name in volumes if name.startswith("tools-") and name.endswith("-home"))
    corten("volume", "rm", mine)


@pytest.mark.parametrize(("command", "code"), [(["sh", "-c", "exit 9"], 9), (["nosuch"], 127)])
def test_exit_codes_of_a_shell(corten: Corten, root: Path, command: list[str], code: int) -> None:
    assert "Traceback" not in corten("shell", root, "--", *command, code=code).stderr
