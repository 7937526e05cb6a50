"""Running a service at boot: units for systemd whose socket is systemd's own, and what systemd is told (sd_notify(3)).

systemd holds the socket, so a connection that comes before the service starts, or while it is restarted, waits.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Mapping, Sequence

from corten.errors import UsageError
from corten.values import dataclass

_NAME = re.compile(r"[A-Za-z0-9:_.-]{1,200}")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


@dataclass(frozen=True, slots=True)
class Units:
    """What the units say. `command` is executed as it is, no shell; `environment` are variables for it; `listen` is an address
    and a port (`127.0.0.1:8000`); `user` who runs it where that is not root; `per_user`: for a user's own systemd."""

    name: str
    description: str
    command: tuple[str, ...]
    listen: str
    environment: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    per_user: bool = False


def files(units: Units) -> dict[str, str]:
    """File name → text of the socket's and the service's unit (systemd.socket(5), systemd.service(5)). Raises UsageError for
    what a unit cannot hold."""
    if not _NAME.fullmatch(units.name):
        raise UsageError(f"'{units.name[:80]}' is no name for a unit", hint="give one with --name")
    name = f"corten-{units.name}"
    variables = "".join(f"Environment={quoted(f'{key}={value}')}\n" for key, value in units.environment)
    user = f"User={units.user}\n" if units.user and not units.per_user else ""
    network = "" if units.per_user else "After=network.target local-fs.target\n"
    sock = (
        f"[Unit]\nDescription={_line(units.description)} (socket)\n\n"
        f"[Socket]\nListenStream={units.listen}\nBacklog=4096\nNoDelay=true\n\n"
        "[Install]\nWantedBy=sockets.target\n"
    )
    target = "default.target" if units.per_user else "multi-user.target"
    service = (
        f"[Unit]\nDescription={_line(units.description)}\nRequires={name}.socket\nAfter={name}.socket\n{network}\n"
        f"[Service]\nType=notify\nNotifyAccess=main\n{user}{variables}"
        f"ExecStart={' '.join(argument(word) for word in units.command)}\n"
        "KillMode=mixed\nTimeoutStartSec=infinity\nTimeoutStopSec=30\nRestart=on-failure\nRestartSec=1\n"
        "Delegate=yes\n\n"
        f"[Install]\nWantedBy={target}\nAlso={name}.socket\n"
    )
    return {f"{name}.socket": sock, f"{name}.service": service}


def quoted(word: str) -> str:
    """An assignment for `Environment=` (systemd.syntax(7)): `%` stands for itself. Raises UsageError."""
    if any(character in word for character in "\n\r\0"):
        raise UsageError("a unit cannot hold a value with several lines", hint="put it into a file")
    text = word.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def argument(word: str) -> str:
    """A word of `ExecStart=` (systemd.service(5), "Command lines"): `$` stands for itself too. Raises UsageError."""
    return quoted(word).replace("$", "$$")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("%", "%%")


def say(environment: Mapping[str, str], *words: str) -> None:
    """Tell systemd (`READY=1`, `STOPPING=1`) where it asked for that. It is no error when nobody listens."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto("\n".join(words).encode(), address)


def up_command(interpreter: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """`corten up` as a unit executes it, with nothing of the caller's environment."""
    return (interpreter, "-P", "-m", "corten", "up", *arguments)


def is_root() -> bool:
    """Whether units are the machine's, not a user's own."""
    return os.geteuid() == 0
