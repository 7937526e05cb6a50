"""Services that `corten up --detach` keeps running, for tests: told, asked, and looked at."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support.command import Corten
from support.runner import Plain

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Kept:
    """A service that `corten up --detach` keeps running. `run` is the command, as root or a plain user."""

    def __init__(self, run: Run, name: str) -> None:
        self.run, self.name = run, name

    @property
    def status(self) -> dict[str, Any]:
        (found,) = json.loads(self.run("status", self.name, "--json").stdout)
        return dict(found)

    @property
    def port(self) -> int:
        return int(self.status["url"].rpartition(":")[2])

    def ask(self, x: int = 1) -> int:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/predict", json.dumps({"x": x}).encode()
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.read())

    def supervisor(self, store: Path) -> int:
        document = json.loads((store / "services" / self.name / "state.json").read_text())
        return int(document["pid"])

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + 60
        while not condition(found := self.status):
            assert time.monotonic() < end, found
            time.sleep(0.1)
        return found


@contextlib.contextmanager
def kept(run: Run, root: Path, *arguments: str) -> Iterator[Kept]:
    done = run("up", root, "--detach", "--port", "0", "--name", root.name, *arguments, code=0)
    service = Kept(run, root.name)
    assert service.status["url"] == done.stdout.strip()
    try:
        yield service
    finally:
        run("down", root.name)
    assert f'"{root.name}"' not in run("status", "--json").stdout
    assert f'"{root.name}"' not in run("ps", "--json").stdout


def running_as_root(corten: Corten) -> Run:
    def run(*arguments: str | Path, code: int | None = None) -> subprocess.CompletedProcess[str]:
        return corten(*arguments, code=code)

    return run


def running_as(plain: Plain) -> Run:
    def run(*arguments: str | Path, code: int | None = None) -> subprocess.CompletedProcess[str]:
        done = plain(*arguments, timeout=300)
        assert code is None or done.returncode == code, done.stderr
        return done

    return run
