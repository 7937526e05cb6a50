"""Runs a confinement as everybody who may want to: root, a plain user with subordinate IDs or without, and each where the
machine has no namespaces."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass

from corten.sandbox.confinement import Confinement
from corten.sandbox.process import Finished
from support.plain_user import as_user, interpreter, plain_user

PYTHON = interpreter()[0][0]
"""An interpreter of this machine that every user may run."""

_SCRIPT = (
    "import pickle, sys\n"
    "from corten.sandbox.process import run\n"
    "try: result = run(pickle.load(sys.stdin.buffer))\n"
    "except Exception as error: result = error\n"
    "pickle.dump(result, sys.stdout.buffer)\n"
)

_EVERYBODY = """
import ctypes, os, sys
ready, written = os.pipe(), os.pipe()
if os.fork() == 0:
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{os.getppid()}/{name}", "w") as file:
            file.write("0 0 65536")
    os.write(written[1], b"x")
    os._exit(0)
assert ctypes.CDLL(None).unshare(0x10000000) == 0
os.write(ready[1], b"x")
os.read(written[0], 1)
os.wait()
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Root's user namespace in which everybody exists: its limits are its own, and those of this machine stay as they are."""


@dataclass(frozen=True)
class Caller:
    """Who runs it: `prefix` is the command that makes this process that user on such a machine."""

    name: str
    namespaces: bool
    root: bool

    def command(self, rest: list[str], environment: dict[str, str]) -> list[str]:
        """`rest`, run by this caller."""
        if not self.root:
            user = plain_user(
                "corten-alone" if self.name == "single" else "corten-plain", subuids=self.name != "single"
            )
            inner = rest if self.namespaces else [*_without("0", "1"), *_mapped("1234"), *rest]
            return as_user(user, inner, environment)
        rest = ["env", *(f"{key}={value}" for key, value in environment.items()), *rest]
        if self.namespaces:
            return rest
        limited = [*_limited("0", "0"), "setpriv", "--bounding-set=-sys_admin", "--", *rest]
        return [sys.executable, "-c", _EVERYBODY, *limited]

    def run(self, confinement: Confinement) -> Finished:
        """How the program ended, or the exception that said why it was not started."""
        python, environment = interpreter()
        done = subprocess.run(
            self.command([*python, "-c", _SCRIPT], environment),
            input=pickle.dumps(confinement),
            capture_output=True,
            timeout=60,
        )
        assert done.stdout, done.stderr.decode(errors="replace")
        result = pickle.loads(done.stdout)
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, Finished)
        return result


def _without(pids: str, users: str) -> list[str]:
    return ["unshare", "--user", "--map-root-user", *_limited(pids, users)]


def _limited(pids: str, users: str) -> list[str]:
    """At most so many namespaces may be made below this user namespace, whose limits are its own (namespaces(7))."""
    limits = (
        f"echo {pids} >/proc/sys/user/max_pid_namespaces; echo {users} >/proc/sys/user/max_user_namespaces"
    )
    return ["sh", "-c", f'{limits}; exec "$@"', "sh"]


def _mapped(uid: str) -> list[str]:
    return ["unshare", "--user", f"--map-user={uid}", f"--map-group={uid}"]


ROOT = Caller("root", True, True)
RANGE = Caller("range", True, False)
SINGLE = Caller("single", True, False)
ROOT_WITHOUT = Caller("root", False, True)
USER_WITHOUT = Caller("user", False, False)

WITH_NAMESPACES = [ROOT, RANGE, SINGLE]
WITHOUT_NAMESPACES = [ROOT_WITHOUT, USER_WITHOUT]


def python(code: str, *options: str) -> tuple[str, ...]:
    """The command that runs `code`."""
    return (PYTHON, "-I", "-S", *options, "-c", code)
