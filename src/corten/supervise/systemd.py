"""Running a service at boot: units for systemd whose socket is systemd's own, and what systemd is told (sd_notify(3)).

systemd holds the socket, so a connection that comes before the service starts, or while it is restarted, waits.

Everybody can read a unit (`systemctl cat`, `systemctl show`), so the container's variables are in a file beside it that is
its owner's alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence

from corten.errors import UsageError
from corten.lazy import regex
from corten.values import dataclass

_NAME = regex(r"[A-Za-z0-9:_.-]{1,200}")
_PLAIN = regex(r"[A-Za-z0-9_@%+=:,./-]+")
_VARIABLE = regex(r"[A-Za-z0-9_]+")
_NEEDS_BACKSLASH = regex(r'["\\`$]')
_BACKSLASH = r"\\\g<0>"
PREFIX = "CORTEN_ENV_"
"""What the container's variables begin with in the file: without it `PATH` or `LD_PRELOAD` would be Corten's own."""


@dataclass(frozen=True, slots=True)
class Units:
    """What the units say. `command` is executed as it is, no shell; `environment` are variables for it; `listen` is an address
    and a port (`127.0.0.1:8000`); `user` who runs it where that is not root; `per_user`: for a user's own systemd; `variables` are
    the container's, which may be secrets, and `directory` is where the files will lie."""

    name: str
    description: str
    command: tuple[str, ...]
    listen: str
    environment: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    per_user: bool = False
    variables: tuple[tuple[str, str], ...] = ()
    directory: str = "/etc/systemd/system"


@dataclass(frozen=True, slots=True)
class File:
    """A file for systemd: its text, and the mode that it must have."""

    text: str
    mode: int = 0o644


def files(units: Units) -> dict[str, File]:
    """File name → the socket's and the service's unit (systemd.socket(5), systemd.service(5)), and the file of variables where
    there are some, which only its owner may read. Raises UsageError for what they cannot hold."""
    if not _NAME.fullmatch(units.name):
        raise UsageError(f"'{units.name[:80]}' is no name for a unit", hint="give one with --name")
    name = f"corten-{units.name}"
    variables = "".join(f"Environment={quoted(f'{key}={value}')}\n" for key, value in units.environment)
    if units.variables:
        variables += _file_line(units.directory, name)
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
    found = {f"{name}.socket": File(sock), f"{name}.service": File(service)}
    if units.variables:
        found[f"{name}.env"] = File(environment_file(units.variables), 0o600)
    return found


def environment_file(variables: Sequence[tuple[str, str]]) -> str:
    """The text of a file for `EnvironmentFile=` (systemd.exec(5)), each name with PREFIX. Within double quotes a newline and `%`
    stand for themselves, and a backslash comes before what would not. Raises UsageError for what systemd would ignore."""
    lines = ["# Variables of the container. They may be secrets: only the owner of this file may read it.\n"]
    for name, value in variables:
        if not _VARIABLE.fullmatch(name):
            raise UsageError(
                f"systemd has no variable that is called '{name[:80]}'",
                hint="a name has letters of ASCII, digits and '_'",
            )
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the value of '{name}' is not UTF-8, and systemd ignores it") from None
        lines.append(f'{PREFIX}{name}="{_NEEDS_BACKSLASH.sub(_BACKSLASH, value)}"\n')
    return "".join(lines)


def _file_line(directory: str, name: str) -> str:
    """`EnvironmentFile=`: the path is taken as it stands but for specifiers. Raises UsageError for one that a line cannot hold."""
    path = f"{directory}/{name}.env"
    if not path.isprintable():
        raise UsageError(f"a unit cannot name a file in '{directory}'", hint="choose another folder")
    return f"EnvironmentFile={path.replace('%', '%%')}\n"


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
