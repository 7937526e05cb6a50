"""What `up` and its like take of the arguments of `run`: volumes, devices and limits of the container that serves."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from corten.cli.container_options import add_volume_arguments, secrets_of
from corten.cli.devices import split_devices
from corten.values import replace

if TYPE_CHECKING:
    from corten.runtime.mounts import NamedVolume, Tmpfs, Volume
    from corten.runtime.options import RunOptions


def add_served_container_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments, as `run` has them."""
    add_volume_arguments(parser)
    parser.add_argument(
        "--read-write", action="store_true", help="let it write to its root (what it writes is dropped)"
    )
    parser.add_argument(
        "--read-only", action="store_true", help="let it write nothing to its root, also not to /app"
    )
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="PATH[:INSIDE][:rwm]|NAME",
        help="a device of this machine, or a vendor's (CDI: vendor.com/class=name)",
    )
    parser.add_argument(
        "--ulimit",
        action="append",
        default=[],
        metavar="NAME=SOFT[:HARD]",
        help="a limit of each of its processes, such as nofile=4096",
    )
    parser.add_argument(
        "--best-effort",
        action="store_true",
        help="run with a warning where a limit cannot be enforced, instead of refusing",
    )


def with_served_container(options: RunOptions, arguments: argparse.Namespace) -> RunOptions:
    """`options` with what the arguments spell; what they do not name stays as it is. Raises UsageError."""
    from corten.runtime import mounts, privileges

    named: list[Volume | NamedVolume | Tmpfs] = [
        *(mounts.parse_volume(text) for text in arguments.volume if not mounts.is_anonymous(text)),
        *(mounts.parse_mount(text) for text in arguments.mount),
    ]
    rooms = [mounts.parse_target(text, "volume") for text in arguments.volume if mounts.is_anonymous(text)]
    if rooms:
        options = replace(options, rooms=tuple(dict.fromkeys(rooms)))
    if arguments.model_cache:
        from corten.runtime.volumes import MODEL_CACHE, MODEL_CACHE_VARIABLES

        named.append(MODEL_CACHE)
        options = replace(options, environment=(*MODEL_CACHE_VARIABLES, *options.environment))
    if named or arguments.tmpfs:
        if not named:
            named = [*options.volumes, *options.named_volumes]
        named += [mounts.parse_tmpfs(text) for text in arguments.tmpfs] or options.tmpfs
        volumes, volumes_by_name, tmpfs = mounts.split_mounts(named)
        options = replace(options, volumes=volumes, named_volumes=volumes_by_name, tmpfs=tmpfs)
    if arguments.device:
        vendors, paths = split_devices(arguments.device)
        devices = tuple(device for text in paths for device in mounts.parse_device(text))
        options = replace(options, devices=devices, vendor_devices=vendors)
    if arguments.secret:
        options = replace(options, secrets=secrets_of(arguments))
    if arguments.ulimit:
        options = replace(options, ulimits=tuple(privileges.parse_ulimit(text) for text in arguments.ulimit))
    return replace(
        options,
        read_write=arguments.read_write or options.read_write,
        read_only=arguments.read_only or options.read_only,
        best_effort=arguments.best_effort or options.best_effort,
    )


def words_of_container(options: RunOptions) -> list[str]:
    """The arguments that ask for the same, from any folder."""
    from corten.runtime.mounts import NamedVolume
    from corten.runtime.volumes import MODEL_CACHE

    words = []
    mounted: list[Volume | NamedVolume] = [*options.volumes, *options.named_volumes]
    for volume in mounted:
        if volume == MODEL_CACHE:
            words.append("--model-cache")
            continue
        named = isinstance(volume, NamedVolume)
        fields = [f"type={'volume' if named else 'bind'}"]
        fields.append(f"source={volume.name if isinstance(volume, NamedVolume) else volume.source}")
        fields.append(f"target={volume.target}")
        fields += [] if volume.writable else ["readonly"]
        fields += ["volume-nocopy"] if isinstance(volume, NamedVolume) and not volume.seeded else []
        if any("," in field for field in fields):
            mode = "" if volume.writable else ":ro"
            words += ["--volume", f"{fields[1].partition('=')[2]}:{volume.target}{mode}"]
        else:
            words += ["--mount", ",".join(fields)]
    for room in options.rooms:
        words += ["--volume", room]
    for name, path in options.secrets:
        words += ["--secret", f"{name}={path}"]
    for device in options.devices:
        words += ["--device", f"{device.source}:{device.target}:{device.access}"]
    for name in options.vendor_devices:
        words += ["--device", name]
    for limit in options.ulimits:
        words += ["--ulimit", f"{limit.name}={_amount(limit.soft)}:{_amount(limit.hard)}"]
    words += ["--read-write"] if options.read_write else []
    words += ["--read-only"] if options.read_only else []
    words += ["--best-effort"] if options.best_effort else []
    return words


def _amount(value: int) -> str:
    from corten.runtime.privileges import UNLIMITED

    return "-1" if value == UNLIMITED else str(value)
