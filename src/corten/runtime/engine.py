"""The engine of this machine, crun or runc, and where neither works bubblewrap or PRoot (`fallback/`): which one there is, and
how it is called.

Which one works is found by asking it: it starts a container whose program does not exist. An engine that complains about
the program has got past everything that depends on the machine. The answer is remembered for this boot and this user.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from corten.errors import RuntimeFailure
from corten.runtime.identity import find_program
from corten.store.disk import boot_identity, write_atomically
from corten.store.store import Store
from corten.values import dataclass

CANDIDATES = ("crun", "runc")
FALLBACKS = ("bwrap", "proot")
UNSAFE = ("proot",)
"""Those that protect nothing from a program that means harm."""
PACKAGES = {"crun": "crun", "runc": "runc", "bwrap": "bubblewrap", "proot": "proot"}
"""What Debian calls them."""
CHOICES = ("auto", *CANDIDATES, *FALLBACKS)
PROBE = "/corten-probe"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine: `name` as in `CANDIDATES`, `path` of its program."""

    name: str
    path: str

    def command(self, state: str, log: str, *arguments: str) -> list[str]:
        """The command line of one of its verbs, with its state below `state` and its errors in `log`."""
        return [self.path, "--root", state, "--log", log, "--log-format", "json", *arguments]


def chosen(asked: str | None, environ: os._Environ[str] | dict[str, str] = os.environ) -> str | None:
    """The one engine that is wanted, by name or path: the one that was asked for, else `CORTEN_ENGINE`'s; None for any."""
    wanted = asked or environ.get("CORTEN_ENGINE")
    return None if wanted in (None, "", "auto") else wanted


def installed(wanted: str | None = None) -> list[Engine]:
    """The engines on this machine, in the order in which they are tried, or just the one that is `wanted`. PRoot isolates
    nothing, so unless it is wanted it is only among them in a container or a pod. Raises RuntimeFailure when there is none."""
    names = (wanted,) if wanted else tuple(name for name in (*CANDIDATES, *FALLBACKS) if may_choose(name))
    found = []
    for name in names:
        path = name if name.startswith("/") and os.access(name, os.X_OK) else find_program(name)
        if path:
            found.append(Engine(os.path.basename(path), path))
    if not found:
        what = (
            f"the engine '{wanted}' is not installed" if wanted else "there is no OCI runtime on this machine"
        )
        hint = "install one: apt install crun (or runc; bubblewrap where neither works)"
        raise RuntimeFailure(what, hint=hint + ("" if wanted else last_resort()))
    return found


def may_choose(name: str) -> bool:
    """Whether the engine `name` may be used though nobody asked for it: it isolates, or something around it does."""
    if name not in UNSAFE:
        return True
    # Where an engine isolates, nothing of this is needed.
    from corten.runtime.surroundings import is_contained, look

    return is_contained(look())


def last_resort() -> str:
    """The end of a hint: what there is beside the engines that isolate, for who wants it all the same."""
    if find_program("proot") is None or may_choose("proot"):
        return ""
    return "; PRoot is here, but isolates nothing: --engine proot, for programs that you trust with all your files"


def remembered(store: Store, wanted: str | None) -> Engine | None:
    """The engine that worked when `wanted` (None: any) was last asked for, if it is the same program, the machine has not
    restarted, and this process is confined as the one that asked was."""
    try:
        known = json.loads(_memory(store, wanted).read_bytes())
        engine = Engine(known["name"], known["path"])
        return engine if known["state"] == _state(engine) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(store: Store, engine: Engine, wanted: str | None) -> None:
    """Note that `engine` works for who asks for `wanted`."""
    known = {"name": engine.name, "path": engine.path, "state": _state(engine)}
    write_atomically(_memory(store, wanted), json.dumps(known).encode())


def _memory(store: Store, wanted: str | None) -> Path:
    name = (wanted or "auto").replace("/", "-")[-100:]
    return store.cache_directory("engine") / f"{os.geteuid()}-{name}.json"


def _state(engine: Engine) -> str:
    # A store may be shared with a container, where namespaces are other ones and less is allowed.
    space = os.readlink("/proc/self/ns/mnt")
    return f"{boot_identity()} {space} {os.stat(engine.path).st_mtime_ns}"


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
