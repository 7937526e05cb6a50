"""The command as some user of this machine, with containers in a store of its own, and what they could leave on the machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from corten.runtime import cgroups
from support.command import Corten
from support.plain_user import as_user, interpreter, plain_user
from support.stores import copy_for

PROJECT = {"main.py": "print('main')\n"}


@dataclass(frozen=True)
class Commander:
    """The command as some user, with a store of its own that has the image `runner`."""

    kind: str
    prefix: tuple[str, ...]
    environment: dict[str, str]
    home: Path
    folder: Path

    def with_variables(self, **variables: str) -> Commander:
        """The same with more variables in its environment."""
        if self.environment:
            return replace(self, environment={**self.environment, **variables})
        place = self.prefix.index("-i") + 1
        kept = tuple(item for item in self.prefix[place:] if item.partition("=")[0] not in variables)
        added = tuple(f"{key}={value}" for key, value in variables.items())
        return replace(self, prefix=(*self.prefix[:place], *added, *kept))

    def argv(self, *arguments: str) -> list[str]:
        return [*self.prefix, *arguments]

    def __call__(
        self, *arguments: str, code: int | None = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=self.folder,
            env=self.environment or None,
            **{"stdin": subprocess.DEVNULL, **options},
        )
        if code is not None:
            assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def list(self) -> dict[str, dict[str, Any]]:
        """What `ps` says of all, by name."""
        return {item["name"]: item for item in json.loads(self("ps", "--all", "--json").stdout)}

    def inside(self, name: str) -> int:
        """The process that the kernel would end the container with."""
        return int((self.home / "containers" / name / "inside").read_text().split()[0])


def without_conmon(command: Commander) -> Commander:
    """The command on a machine that has no conmon."""
    hide = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$(command -v conmon)" && exec "$@"', "sh"]
    return replace(command, prefix=(*hide, *command.prefix))


@pytest.fixture(scope="session", params=["root", "subuids", "none"])
def whole(request: pytest.FixtureRequest, corten: Corten, base_home: Path, open_directory: Path) -> Commander:
    """The command as each kind of user."""
    source = open_directory / f"source-{request.param}" / "runner"
    # Tests come in any order: what this kind of user has was made when it was needed first.
    known = source.exists()
    if not known:
        source.mkdir(parents=True)
        (source / "main.py").write_text(PROJECT["main.py"])
    if request.param == "root":
        home = open_directory / "root-store"
        if not known:
            subprocess.run(["cp", "-al", base_home, home], check=True)
        at = corten.at(home)
        return Commander("root", tuple(at.command()), at.variables(), home, source.parent)
    user = plain_user(
        "corten-plain" if request.param == "subuids" else "corten-nosub", subuids=request.param == "subuids"
    )
    home = open_directory / f"life-{user.pw_name}"
    if not known:
        home.mkdir()
        copy_for(user, base_home, home / "store")
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", source.parent, home], check=True)
    python, variables = interpreter()
    store = home / "store"
    prefix = as_user(user, [*python, "-m", "corten"], {**variables, "CORTEN_HOME": str(store)})
    return Commander(request.param, tuple(prefix), {}, store, source.parent)


@pytest.fixture
def command(whole: Commander) -> Iterator[Commander]:
    """The command, with the machine found as it was left: no process, mount, group or file of a container stays."""
    before = left_behind(whole)
    yield whole
    whole("rm", "--force", "--all")
    until(lambda: left_behind(whole) == before, lambda: f"{before} became {left_behind(whole)}")


def left_behind(command: Commander) -> dict[str, list[str]]:
    """What containers of this store could leave on the machine."""
    home = str(command.home)
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if home in line]
    return {
        "processes": sorted(processes(command).values()),
        "names": sorted(_entries(command.home / "containers")),
        "groups": groups(command),
        "mounts": mounts,
    }


def processes(command: Commander) -> dict[int, str]:
    """The command lines of what has to do with containers of this store, by its process: Corten's, the engine's, and programs
    that were started with the variable `MARK`."""
    home = os.fsencode(command.home)
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if b"corten.store.sync" in line:
                # Flushes what was built to the disk, some seconds later.
                continue
            if line and (home in line or b"CORTEN_HOME=" + home in variables or b"MARK=" + home in variables):
                found[int(pid)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


def groups(command: Commander) -> list[str]:
    """The control groups of this store's containers, in every hierarchy."""
    roots = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")]
    names = cgroups.group_name(command.home / "containers" / "*")
    return sorted({str(path) for root in roots for path in root.glob(f"corten/{names}/")})


def namespaces(pids: Iterable[int]) -> set[str]:
    """The namespaces of these processes, as `mnt:[4026531841]`."""
    found = set()
    for pid in pids:
        for kind in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    return found


def _entries(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def until(
    done: Callable[[], bool], what: Callable[[], str] = lambda: "it never came", seconds: float = 60
) -> None:
    """Wait for something that is on its way."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


def start(command: Commander, name: str, *script: str, options: tuple[str, ...] = ()) -> None:
    done = command("run", "-d", "--name", name, *options, "runner", "--", *script)
    assert done.stdout == f"{name}\n"
