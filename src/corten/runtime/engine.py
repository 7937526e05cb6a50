"""The OCI engine of this machine, crun or runc: which one works, and how it is called. The only module that starts engines.

Which one works is found by asking it: it starts a container whose program does not exist. An engine that complains about
the program has got past everything that depends on the machine. The answer is remembered for this boot and this user.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from corten.errors import RuntimeFailure
from corten.runtime.identity import find_program
from corten.store.disk import boot_identity, write_atomically
from corten.store.store import Store

CANDIDATES = ("crun", "runc")
PROBE = "/corten-probe"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine: `name` as in `CANDIDATES`, `path` of its program."""

    name: str
    path: str

    def command(self, state: str, log: str, *arguments: str) -> list[str]:
        """The command line of one of its verbs, with its state below `state` and its errors in `log`."""
        return [self.path, "--root", state, "--log", log, "--log-format", "json", *arguments]


def installed(environ: os._Environ[str] | dict[str, str] = os.environ) -> list[Engine]:
    """The engines on this machine, in the order in which they are tried; `CORTEN_ENGINE` names the only one, by name or
    path. Raises RuntimeFailure when there is none."""
    wanted = environ.get("CORTEN_ENGINE")
    names = (wanted,) if wanted else CANDIDATES
    found = []
    for name in names:
        path = name if name.startswith("/") and os.access(name, os.X_OK) else find_program(name)
        if path:
            found.append(Engine(os.path.basename(path), path))
    if not found:
        what = (
            f"the engine '{wanted}' is not installed" if wanted else "there is no OCI runtime on this machine"
        )
        raise RuntimeFailure(what, hint="install one: apt install crun (or runc)")
    return found


def remembered(store: Store) -> Engine | None:
    """The engine that worked when it was last asked, if it is the same program and the machine has not restarted."""
    try:
        known = json.loads(_memory(store).read_bytes())
        engine = Engine(known["name"], known["path"])
        fits = known["state"] == _state(engine)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (
        engine
        if fits and (os.environ.get("CORTEN_ENGINE") or engine.path) in (engine.path, engine.name)
        else None
    )


def remember(store: Store, engine: Engine) -> None:
    """Note that `engine` works."""
    known = {"name": engine.name, "path": engine.path, "state": _state(engine)}
    write_atomically(_memory(store), json.dumps(known).encode())


def _memory(store: Store) -> Path:
    return store.cache_directory("engine") / f"{os.geteuid()}.json"


def _state(engine: Engine) -> str:
    return f"{boot_identity()} {os.stat(engine.path).st_mtime_ns}"


def complaint(log: str) -> str | None:
    """The last error in an engine's log, or None."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 20).splitlines()
    except OSError:
        return None
    said = None
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level", "error") in ("error", "fatal"):
            said = str(entry.get("msg", ""))[:500].replace("\n", " ")
    return said
