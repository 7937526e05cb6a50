"""An unprivileged user of this machine, and how to run something as that user."""

from __future__ import annotations

import fcntl
import os
import pwd
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def plain_user(name: str = "corten-plain", *, subuids: bool = True) -> pwd.struct_passwd:
    """The user `name`, made when it is not there (as root), with ranges of subordinate ids or without. Every test must say the same
    of one name: others use it at the same time."""
    lock = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _plain_user(name, subuids)
    finally:
        os.close(lock)


def _plain_user(name: str, subuids: bool) -> pwd.struct_passwd:
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        subprocess.run(
            ["useradd", "--create-home", "--shell", "/bin/sh", name], check=True, capture_output=True
        )
        user = pwd.getpwnam(name)
    for file in ("/etc/subuid", "/etc/subgid"):
        path = Path(file)
        lines = path.read_text().splitlines() if path.exists() else []
        has = any(line.startswith(f"{name}:") for line in lines)
        if subuids and not has:
            taken = [
                int(line.split(":")[1]) + int(line.split(":")[2]) for line in lines if line.count(":") == 2
            ]
            path.write_text("\n".join([*lines, f"{name}:{max([100_000, *taken])}:65536", ""]))
        elif has and not subuids:
            path.write_text("\n".join([*(line for line in lines if not line.startswith(f"{name}:")), ""]))
    return user


def interpreter() -> tuple[list[str], dict[str, str]]:
    """A Python that every user may execute, and the environment with which it finds this checkout's packages: the
    virtual environment's own may lie in a private home."""
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    paths = [str(ROOT / "src"), sysconfig.get_path("purelib")]
    return [system if os.path.exists(system) else sys.executable, "-P"], {"PYTHONPATH": ":".join(paths)}


def as_user(user: pwd.struct_passwd, command: list[str], environment: dict[str, str]) -> list[str]:
    """`command` as `user`, with just this environment."""
    variables = {
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **environment,
    }
    identity = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [*identity, "env", "-i", *(f"{key}={value}" for key, value in variables.items()), *command]
