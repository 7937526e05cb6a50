"""What `run` and its like let people say about a container beside its image and command: arguments, and their values."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from corten.cli.devices import split_devices
from corten.errors import UsageError

if TYPE_CHECKING:
    from corten.runtime.options import Limits, RunOptions

_LISTS = (
    ("--add-host", "HOST:IP", "a line for its /etc/hosts; the IP host-gateway is this machine's address"),
    ("--dns", "IP", "a name server, where it has a network"),
    ("--ulimit", "NAME=SOFT[:HARD]", "a limit of each of its processes, such as nofile=4096"),
    (
        "--device",
        "PATH[:INSIDE][:rwm]|NAME",
        "a device of this machine, or a vendor's (CDI: vendor.com/class=name)",
    ),
    ("--cap-add", "NAME", "a capability, or ALL (default: none for users, a few for root)"),
    ("--cap-drop", "NAME", "take a capability away, or ALL"),
    (
        "--security-opt",
        "OPTION",
        "no-new-privileges=false, seccomp=unconfined, seccomp=FILE, mask=PATH, unmask=PATH or unmask=ALL",
    ),
)


def add_mount_arguments(parser: argparse.ArgumentParser) -> None:
    """`-v`, `--mount`, `--tmpfs`."""
    add_volume_arguments(parser)
    add_memory_file_arguments(parser)


def add_volume_arguments(parser: argparse.ArgumentParser) -> None:
    """`-v`, `--mount`, `--model-cache`."""
    parser.add_argument(
        "-v",
        "--volume",
        action="append",
        default=[],
        metavar="[SRC:]DST[:ro]",
        help="show a file or folder of this machine inside (./DIR or a path), or a volume (a name); DST alone is a folder "
        "that is writable and goes with the container",
    )
    parser.add_argument(
        "--mount",
        action="append",
        default=[],
        metavar="type=…",
        help="type=bind|volume|tmpfs,source=…,target=…[,readonly], as docker has it",
    )
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a file that its user alone can read, as /run/secrets/NAME; it is not in the image, and read at each start",
    )
    parser.add_argument(
        "--model-cache",
        action="store_true",
        help="keep what Hugging Face, torch hub and pip download in the volume 'model-cache'",
    )


def add_memory_file_arguments(parser: argparse.ArgumentParser) -> None:
    """`--shm-size` and `--tmpfs`."""
    parser.add_argument(
        "--shm-size",
        metavar="SIZE",
        help="the size of /dev/shm, where data loaders share tensors (default: a fifth of this machine's memory)",
    )
    parser.add_argument(
        "--tmpfs",
        action="append",
        default=[],
        metavar="PATH[:OPTIONS]",
        help="a folder in memory, such as /scratch:size=1g; also in place of /tmp, /run or the home",
    )


def add_network_arguments(
    parser: argparse.ArgumentParser, default: str = "a project folder's own, else none"
) -> None:
    """`--network` and `-p`. `default` is what holds without them, in words."""
    parser.add_argument(
        "--network",
        "--net",
        metavar="MODE",
        help="none, host (this machine's), private (its own, with a way out; docker's bridge) or container:NAME "
        f"(default: {default})",
    )
    parser.add_argument(
        "-p",
        "--publish",
        action="append",
        default=[],
        metavar="[IP:]HOST:PORT[/udp]",
        help="let a port of this machine lead to one inside; others reach it with IP 0.0.0.0 (default: 127.0.0.1)",
    )


def add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    """The limits of a container."""
    parser.add_argument("-m", "--memory", metavar="SIZE", help="the most memory it may use, such as 2g")
    parser.add_argument(
        "--memory-swap", metavar="SIZE", help="memory and swap together; -1: any swap (default: no swap)"
    )
    parser.add_argument(
        "--memory-reservation", metavar="SIZE", help="what it keeps while this machine's memory is short"
    )
    parser.add_argument("--cpus", metavar="N", help="the most processors it may use, such as 1.5")
    parser.add_argument("--cpuset-cpus", metavar="LIST", help="the processors it may use, such as 0-2,4")
    parser.add_argument(
        "--pids-limit",
        metavar="N",
        help="the most processes and threads it may have; -1: any number (default: 4096, or 128 for each processor)",
    )
    parser.add_argument(
        "--best-effort",
        action="store_true",
        help="run with a warning where a limit cannot be enforced, instead of refusing",
    )
    parser.add_argument(
        "--storage-size",
        metavar="SIZE",
        help="the most that it may write beside volumes, such as 1g; kept in memory, and dropped when it ends",
    )


def add_isolation_arguments(parser: argparse.ArgumentParser) -> None:
    """Names, devices and rights of a container."""
    parser.add_argument("--hostname", metavar="NAME", help="its host name (default: the container's name)")
    for flag, metavar, text in _LISTS:
        parser.add_argument(flag, action="append", default=[], metavar=metavar, help=text)
    parser.add_argument(
        "--init", action="store_true", help="a small init as first process, which reaps the dead"
    )


def add_engine_argument(parser: argparse.ArgumentParser) -> None:
    """`--engine`."""
    parser.add_argument(
        "--engine",
        choices=("auto", "crun", "runc", "bwrap", "proot"),
        help="what starts it (default: CORTEN_ENGINE, else the first that works here; proot isolates nothing and is chosen only inside a container or a pod)",
    )


def with_container_options(options: RunOptions, arguments: argparse.Namespace) -> RunOptions:
    """`options` with what the arguments of this module spell. Raises UsageError, RuntimeFailure."""
    from corten.runtime import options as spelled
    from corten.values import replace

    if arguments.volume or arguments.mount or arguments.tmpfs or arguments.device or arguments.model_cache:
        options = _with_mounts(options, arguments)
    options = replace(
        options,
        limits=limits_of(arguments),
        best_effort=arguments.best_effort,
        storage=spelled.parse_memory(arguments.storage_size) if arguments.storage_size else None,
        hostname=spelled.parse_hostname(arguments.hostname) if arguments.hostname is not None else None,
        hosts=tuple(spelled.parse_host(text) for text in arguments.add_host),
        dns=tuple(spelled.parse_dns(text) for text in arguments.dns),
        shm_size=spelled.parse_shm_size(arguments.shm_size) if arguments.shm_size is not None else None,
    )
    if arguments.secret:
        options = replace(options, secrets=secrets_of(arguments))
    if arguments.publish:
        from corten.runtime.network.ports import parse_ports

        options = replace(
            options, ports=tuple(port for text in arguments.publish for port in parse_ports(text))
        )
    if arguments.init:
        from corten.runtime.initial import find_init

        options = replace(options, init=find_init())
    rights = (arguments.ulimit, arguments.cap_add, arguments.cap_drop, arguments.security_opt)
    return _with_rights(options, arguments) if any(rights) else options


def secrets_of(arguments: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    """The secrets that `--secret` names, each name once. Raises UsageError."""
    from corten.runtime.options import parse_secret

    return tuple(dict(parse_secret(text) for text in arguments.secret).items())


def _with_mounts(options: RunOptions, arguments: argparse.Namespace) -> RunOptions:
    from corten.runtime import mounts
    from corten.values import replace

    rooms = [mounts.parse_target(text, "volume") for text in arguments.volume if mounts.is_anonymous(text)]
    found = [
        *(mounts.parse_volume(text) for text in arguments.volume if not mounts.is_anonymous(text)),
        *(mounts.parse_mount(text) for text in arguments.mount),
        *(mounts.parse_tmpfs(text) for text in arguments.tmpfs),
    ]
    if arguments.model_cache:
        from corten.runtime.volumes import MODEL_CACHE, MODEL_CACHE_VARIABLES

        found.append(MODEL_CACHE)
        options = replace(options, environment=(*MODEL_CACHE_VARIABLES, *options.environment))
    volumes, named, tmpfs = mounts.split_mounts(found)
    vendors, paths = split_devices(arguments.device)
    return replace(
        options,
        volumes=volumes,
        rooms=tuple(dict.fromkeys(rooms)),
        named_volumes=named,
        tmpfs=tmpfs,
        devices=tuple(device for text in paths for device in mounts.parse_device(text)),
        vendor_devices=vendors,
    )


def _with_rights(options: RunOptions, arguments: argparse.Namespace) -> RunOptions:
    from corten.runtime import privileges
    from corten.values import replace

    return replace(
        options,
        ulimits=tuple(privileges.parse_ulimit(text) for text in arguments.ulimit),
        cap_add=tuple(privileges.parse_capability(text) for text in _words(arguments.cap_add)),
        cap_drop=tuple(privileges.parse_capability(text) for text in _words(arguments.cap_drop)),
        security=privileges.parse_security(arguments.security_opt),
    )


def _words(texts: list[str]) -> list[str]:
    return [word for text in texts for word in text.split(",")]


def limits_of(arguments: argparse.Namespace) -> Limits:
    """The limits that the arguments spell. Raises UsageError."""
    from corten.runtime import options

    memory = options.parse_memory(arguments.memory) if arguments.memory else None
    swap, reservation = arguments.memory_swap, arguments.memory_reservation
    limits = options.Limits(
        memory=memory,
        cpus=options.parse_cpus(arguments.cpus) if arguments.cpus else None,
        pids=options.parse_pids(arguments.pids_limit) if arguments.pids_limit else None,
        swap=options.parse_swap(swap, memory) if swap else None,
        reservation=options.parse_memory(reservation) if reservation else None,
        cpuset=options.parse_cpuset(arguments.cpuset_cpus, os.sched_getaffinity(0))
        if arguments.cpuset_cpus
        else None,
    )
    if limits.reservation and memory and limits.reservation > memory:
        raise UsageError(
            f"--memory-reservation {reservation} is above --memory {arguments.memory}",
            hint="what is kept for it is at most what it may use",
        )
    return limits
