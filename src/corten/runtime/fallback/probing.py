"""Which of bubblewrap and PRoot works here. bubblewrap is asked as the OCI engines are, by starting a program that does not
exist; PRoot, which looks for it before it does anything, by starting one that does nothing."""

from __future__ import annotations

import os
import re
import subprocess

from corten.errors import RuntimeFailure
from corten.runtime.attend import wait
from corten.runtime.engine import PROBE, Engine
from corten.runtime.fallback.arguments import bwrap_arguments
from corten.runtime.fallback.confine import filter_file, install_filter, path_filter, terminal_filter
from corten.runtime.fallback.scratch import Scratch
from corten.runtime.fallback.shim import Prepared, Watched, start_shim
from corten.runtime.identity import Identity, find_program
from corten.runtime.options import Limits
from corten.runtime.spec import Container
from corten.runtime.users import User
from corten.sandbox import kernel
from corten.store.store import Store


def probe_fallback(engine: Engine, store: Store) -> str | None:
    """None where `engine` (`bwrap` or `proot`) works for containers of this user, else what it complains about."""
    with store.temporary_directory("probe") as directory:
        for part in ("upper", "tree", "tree/proc", "tree/sys", "tree/dev", "tree/tmp", "tree/run"):
            (directory / part).mkdir(mode=0o755)
        container = _container(f"{directory}/tree")

        def prepare() -> Prepared:
            if engine.name == "bwrap":
                descriptor = os.dup2(filter_file(terminal_filter()), 30)
                command = bwrap_arguments(engine.path, container, Scratch(), descriptor)
                return Prepared(command, {"PATH": "/usr/bin:/bin"}, lambda: None, (descriptor,))
            # PRoot looks for the program before it traces anything, so this one must exist.
            command = [engine.path, "-v", "-1", "-r", "/", find_program("true") or engine.path]
            environment = {"PROOT_TMP_DIR": f"{directory}/upper"}
            return Prepared(command, environment, lambda: install_filter(path_filter()))

        try:
            with open(directory / "said", "wb") as output:
                watched = Watched(engine, str(directory), output=output.fileno(), session=True)
                code = wait(start_shim(watched, prepare))
        except RuntimeFailure as error:
            return error.message
        said = (directory / "said").read_text(errors="replace").strip().splitlines()
        # bubblewrap says one thing; PRoot says what is wrong first, and then how to get help.
        last = (said[-1] if engine.name == "bwrap" else said[0])[:300] if said else f"exit code {code}"
        works = code == 0 if engine.name == "proot" else "execvp" in last and PROBE in last
        return None if works else last


def _container(tree: str) -> Container:
    return Container(
        root=tree,
        hostname="probe",
        arguments=(PROBE,),
        environment=(),
        workdir="/",
        user=User(os.geteuid(), os.getegid()),
        capable=False,
        home=None,
        home_is_kept=False,
        identity=Identity("root"),
        network="none",
        volumes=(),
        files=(),
        limits=Limits(),
        read_write=False,
        terminal=False,
        size=None,
        cgroup=None,
        kernel=kernel.version(),
        seccomp=None,
    )


def loses_heap(path: str) -> bool:
    """Whether the PRoot at `path` is older than 5.2, or does not say."""
    return _version(path) < (5, 2)


def knows_sizes(path: str) -> bool:
    """Whether the bubblewrap at `path` can bound a temporary file system (`--size`)."""
    return _version(path) >= (0, 8)


def _version(path: str) -> tuple[int, int]:
    """What the program says of itself; (0, 0) where it does not."""
    try:
        command = [path, "--version"]
        said = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=10
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    found = re.search(rb"\b(\d{1,4})\.(\d{1,4})\.\d", said[:4096])
    return (int(found[1]), int(found[2])) if found else (0, 0)
