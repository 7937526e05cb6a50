"""Options of `run` that people know from docker and podman: what they mean here, and what is said about it.

Each is accepted with docker's meaning, or refused with the way there is. An option that changes nothing here, or that opens more
than a container has by default, is accepted and told once.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from corten.errors import UsageError
from corten.values import replace

if TYPE_CHECKING:
    from corten.cli.context import Context
    from corten.runtime.options import RunOptions

LOG_DRIVERS = ("json-file", "local", "k8s-file", "none")
_MOST_LOGS = 1000
_PRIVILEGED = (
    "--privileged gives every device of this machine, every capability that this user can give, and no filter of system calls: "
    "root inside is as strong as the user who started it"
)
_IPC_HOST = (
    "--ipc host shares this machine's /dev/shm and System V IPC: the container and other programs can read and change what "
    "each other keeps there"
)
_PID_HOST = (
    "--pid host shows this machine's processes: the container sees their arguments, and can signal and trace those of the user that it "
    "runs as"
)
_UNLESS_STOPPED = (
    "--restart unless-stopped is --restart always here: 'corten stop' ends it for good, and nothing is started when the machine "
    "starts"
)


def add_docker_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that this module decides."""
    group = parser.add_argument_group("as docker and podman have them")
    group.add_argument("--privileged", action="store_true", help="all devices and capabilities, no filter")
    group.add_argument(
        "--read-only",
        action="store_true",
        help="also /app of an application, which may write there otherwise",
    )
    group.add_argument(
        "--ipc",
        metavar="private|shareable|host|container:NAME",
        help="whose shared memory and System V IPC: its own, this machine's, or another container's",
    )
    group.add_argument(
        "--pid",
        metavar="private|host|container:NAME",
        help="whose processes it sees: this machine's, or another's",
    )
    group.add_argument(
        "--userns",
        metavar="keep-id|host|private",
        help="keep-id: a plain user is seen by its own number inside",
    )
    group.add_argument(
        "--group-add", action="append", default=[], metavar="GROUP", help="one more group of its user"
    )
    group.add_argument("--runtime", metavar="NAME", help="crun or runc, as --engine; nvidia with --gpus")
    group.add_argument(
        "-a",
        "--attach",
        action="append",
        default=[],
        metavar="stdin|stdout|stderr",
        help="what is attached in the foreground: all three are",
    )
    group.add_argument(
        "--log-driver", metavar="|".join(LOG_DRIVERS), help="with -d: keep a log (a file), or none"
    )
    group.add_argument(
        "--log-opt",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="max-size=SIZE of the log, max-file=N of them",
    )
    group.add_argument("--platform", metavar="OS/ARCH", help="which of an image's platforms")
    group.add_argument(
        "--expose", action="append", default=[], metavar="PORT", help="changes nothing: see -p"
    )
    group.add_argument(
        "--replace", action="store_true", help="with --name: remove a container of that name first"
    )
    group.add_argument(
        "--stop-signal", metavar="SIGNAL", help="what 'corten stop' sends (default: the image's)"
    )
    group.add_argument(
        "--stop-timeout", type=float, metavar="SECONDS", help="until 'corten stop' kills it (default: 10)"
    )
    group.add_argument("--sig-proxy", nargs="?", const="true", default="true", help=argparse.SUPPRESS)


def with_docker_options(options: RunOptions, arguments: argparse.Namespace) -> RunOptions:
    """`options` with what the arguments of this module spell. Raises UsageError."""
    _check(arguments)
    if arguments.runtime:
        options = _with_runtime(options, arguments)
    if arguments.group_add:
        if "keep-groups" in arguments.group_add:
            raise UsageError(
                "--group-add keep-groups is not here", hint="name the groups: --group-add video or a number"
            )
        options = replace(options, groups=tuple(arguments.group_add))
    if arguments.ipc not in (None, "", "shareable"):
        options = replace(options, ipc=arguments.ipc)
    if arguments.pid not in (None, "", "private"):
        options = replace(options, pid=arguments.pid)
    if arguments.userns not in (None, "", "host"):
        options = replace(options, userns=_userns_of(arguments.userns))
    if arguments.stop_signal is not None:
        from corten.runtime.control import parse_signal

        parse_signal(arguments.stop_signal)
        options = replace(options, stop_signal=arguments.stop_signal)
    if arguments.stop_timeout is not None:
        options = replace(options, stop_timeout=max(0.0, arguments.stop_timeout))
    if arguments.read_only:
        options = replace(options, read_only=True)
    if arguments.privileged:
        options = _privileged(options)
    return options


def _check(arguments: argparse.Namespace) -> None:
    """Raise UsageError for what is not here, with what is."""
    for flag, value, kinds in (
        ("--ipc", arguments.ipc, ("private", "shareable", "host")),
        ("--pid", arguments.pid, ("private", "host")),
    ):
        if value and value not in kinds and not (value.startswith("container:") and value[10:]):
            raise UsageError(
                f"{flag} {value[:60]} is not here", hint=f"use {', '.join(kinds)} or container:NAME"
            )
    if arguments.read_only and arguments.read_write:
        raise UsageError("--read-only and --read-write contradict each other", hint="leave one of them out")
    if arguments.replace and not arguments.name:
        raise UsageError("--replace is for a name", hint="add --name NAME")
    streams = {item.strip().lower() for text in arguments.attach for item in text.split(",")}
    if streams - {"stdin", "stdout", "stderr"}:
        raise UsageError(
            f"'{arguments.attach[0][:40]}' is none of its streams", hint="use -a stdin, stdout or stderr"
        )
    if streams and arguments.detach:
        raise UsageError(
            "-a and -d contradict each other", hint="leave -a out; 'corten attach' joins it later"
        )
    if streams and not {"stdout", "stderr"} <= streams:
        raise UsageError(
            "in the foreground both outputs are attached",
            hint=f"leave -a out, and redirect the other one: {'2>' if 'stdout' in streams else '>'}/dev/null",
        )
    driver = arguments.log_driver
    if driver is not None and driver not in LOG_DRIVERS:
        raise UsageError(
            f"there is no log driver '{driver[:40]}': a log is a file here",
            hint="leave --log-driver out; 'corten logs -f NAME' can be piped to another program",
        )


def network_of(text: str | None) -> str | None:
    """The network that `text` means: docker's and podman's usual ones are a private one."""
    usual = text is not None and text.partition(":")[0] in ("bridge", "default", "pasta", "slirp4netns")
    return "private" if usual else text


def log_of(arguments: argparse.Namespace) -> tuple[int | None, int | None, bool]:
    """The size at which a log begins anew and how many files it may have (None: the default), and whether there is a log at all.
    Raises UsageError."""
    from corten.runtime.options import parse_size

    size = files = None
    for text in arguments.log_opt:
        key, _, value = text.partition("=")
        if key == "max-size":
            size = None if value == "-1" else parse_size(value, "a log")
        elif key == "max-file":
            if not (value.isascii() and value.isdecimal() and 0 < int(value[:5]) <= _MOST_LOGS):
                raise UsageError(
                    f"'{value[:40]}' is not a number of log files",
                    hint=f"write max-file=3; at most {_MOST_LOGS}",
                )
            files = int(value)
        else:
            raise UsageError(
                f"the log option '{key[:40]}' is not here",
                hint="use max-size=10m and max-file=3, or leave it out",
            )
    return size, files, arguments.log_driver != "none"


def _userns_of(text: str) -> str | None:
    """What `--userns` means: a plain user's containers have a private user namespace anyway, root's are in the machine's."""
    from corten.runtime.identity import is_privileged
    from corten.runtime.keeping import parse_userns

    if text != "private":
        return parse_userns(text)
    if is_privileged():
        raise UsageError(
            "--userns private is for plain users: root's containers have no user namespace",
            hint="run it as a plain user, or leave it out",
        )
    return None


def _with_runtime(options: RunOptions, arguments: argparse.Namespace) -> RunOptions:
    name = arguments.runtime.rpartition("/")[2].lower()
    if name in ("crun", "runc"):
        return replace(options, engine=name)
    if name.startswith("nvidia"):
        if options.gpus is not None or options.vendor_devices:
            return options
        names = dict(options.environment).get("NVIDIA_VISIBLE_DEVICES", "all")
        wanted = "all" if names in ("all", "", "void", "none") else f"device={names}"
        raise UsageError(
            "--runtime nvidia alone gives no GPU here",
            hint=f"write --gpus {shlex.quote(wanted)} instead",
        )
    raise UsageError(f"there is no runtime '{name[:40]}'", hint="use crun or runc; for GPUs --gpus all")


def _privileged(options: RunOptions) -> RunOptions:
    from corten.runtime.mounts import machine_devices
    from corten.runtime.privileges import Security

    security = options.security or Security()
    known = {device.target for device in options.devices}
    return replace(
        options,
        privileged=True,
        cap_add=tuple(dict.fromkeys((*options.cap_add, "ALL"))),
        security=replace(
            security,
            no_new_privileges=False,
            seccomp=security.seccomp or "unconfined",
            unmask=("all",),
        ),
        devices=(*options.devices, *(item for item in machine_devices() if item.target not in known)),
    )


def say_notes(arguments: argparse.Namespace, context: Context) -> None:
    """Tell once what options of docker's change here, or do not."""
    from corten.cli.isolation import say_once

    for text in notes(arguments):
        say_once(text, text, context)


def say_volume_notes(volumes: Sequence[str], context: Context) -> None:
    """The same of the options of volumes alone."""
    from corten.cli.isolation import say_once

    for text in _volume_notes(volumes):
        say_once(text, text, context)


def notes(arguments: argparse.Namespace) -> Iterator[str]:
    """What is told about the arguments."""
    if arguments.privileged:
        yield _PRIVILEGED
    if arguments.ipc == "host":
        yield _IPC_HOST
        if arguments.shm_size is not None:
            yield "--shm-size has no effect with --ipc host: /dev/shm is this machine's"
    if arguments.pid == "host":
        yield _PID_HOST
    if arguments.restart == "unless-stopped":
        yield _UNLESS_STOPPED
    if arguments.expose:
        yield "--expose changes nothing: -p publishes a port"
    if (arguments.log_driver or arguments.log_opt) and not arguments.detach:
        yield "--log-driver and --log-opt have no effect in the foreground, which keeps no log"
    elif "max-file=1" in arguments.log_opt:
        yield "--log-opt max-file=1 keeps one former log all the same, so that 'corten logs -f' loses no line"
    if arguments.runtime and arguments.runtime.startswith("nvidia"):
        yield "--runtime nvidia changes nothing beside --gpus"
    for text in arguments.security_opt:
        if text.startswith(("apparmor", "label")):
            yield f"--security-opt {text.partition('=')[0]} changes nothing: no AppArmor profile and no label is set"
    if arguments.volume:
        yield from _volume_notes(arguments.volume)


def _volume_notes(volumes: Sequence[str]) -> Iterator[str]:
    from corten.runtime.mounts import IDLE, idle_options

    for option in dict.fromkeys(item for text in volumes for item in idle_options(text)):
        yield f"':{option}' of a volume changes nothing: {IDLE[option]}"
