"""What a container is, decided from its image, the caller's options and the machine: pure, but for looking into the root.

`decide` turns them into the value that `spec.py` writes as a specification. Whoever gives containers something new gives
`RunOptions` and `Container` a field each and translates here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from corten.errors import RuntimeFailure, UsageError
from corten.oci.config import ImageConfig
from corten.oci.platform import Platform
from corten.runtime import launch
from corten.runtime.bounds import machine_memory, throttle_files
from corten.runtime.formats import HEAD, UNKNOWN_HINT, is_unknown, may_execute, program_places, unknown_format
from corten.runtime.identity import Identity, check_ids
from corten.runtime.initial import INSIDE
from corten.runtime.options import RunOptions
from corten.runtime.rootfs import Root
from corten.runtime.seccomp import custom_seccomp, default_profile, oci_seccomp
from corten.runtime.spec import ROOT_CAPABILITIES, Container
from corten.runtime.users import User, resolve_group, resolve_user
from corten.sandbox import kernel
from corten.store.images import Image
from corten.values import dataclass, replace

if TYPE_CHECKING:
    from corten.runtime.cdi.model import Edits
    from corten.runtime.mounts import Device, Volume
    from corten.runtime.network.ports import Port
    from corten.runtime.privileges import Security

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENTRY_LABEL = "dev.corten.entry"
_COG = "CORTEN_COG=1"


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known at the start of a container beside its image and options. `network` is as `Container` has it;
    `served`: descriptor 3 of its process is a listening socket, and with `notifies` descriptor 4 a pipe on which it says that it is
    ready; `terminal`: it gets a terminal of its own, of
    `size` (columns, lines) where that is known; `files` are its own small files (`Container.files`);
    `edits` are what its vendors' devices need; `processes`, `pid`, `ipc` and `shared_memory` are as `Container` has them."""

    name: str
    identity: Identity
    network: str
    cgroup: str | None
    files: tuple[tuple[str, str], ...]
    terminal: bool = False
    size: tuple[int, int] | None = None
    served: bool = False
    edits: Edits | None = None
    notifies: bool = False
    processes: int | None = None
    pid: str = "private"
    ipc: str = "private"
    shared_memory: str | None = None


def network_of(options: RunOptions) -> str:
    """`none`, `host`, `private` or `container:NAME`: what was asked for, else what the project's own configuration says.
    An image has no say. Raises UsageError."""
    network = options.network or options.project_network or "none"
    if network in ("none", "host") and not options.ports:
        return network
    # Every start would pay for this.
    from corten.runtime.network.plan import choose

    return choose(options.network, options.project_network, options.ports)


def rooms_of(config: ImageConfig, options: RunOptions) -> tuple[str, ...]:
    """Folders of the root that are writable because of what the image is: those that it calls volumes, and /app of an application, or of
    a predictor that was written for Cog, which may write beside its code. What is written there goes with the container."""
    writes = config.labels.get(_ENTRY_LABEL) == "command" or _COG in config.env
    own = ("/app",) if writes and not options.read_only else ()
    return (*own, *config.volumes)


def served_here(labels: Mapping[str, str], ports: Sequence[Port]) -> dict[str, str]:
    """The variable that tells a model server to answer to names of this machine alone, where it is published on the loopback
    address: from inside the container it cannot see that, and a page in a browser must not reach it by another name."""
    if labels.get(_ENTRY_LABEL) != "predict" or not ports:
        return {}
    here = all(port.address.startswith("127.") or port.address == "::1" for port in ports)
    return {"CORTEN_HOSTS": "localhost"} if here else {}


def decide(image: Image, options: RunOptions, situation: Situation, root: str) -> Container:
    """The container of `image` whose layers are mounted at `root`. Raises RuntimeFailure, UsageError."""
    config, identity = image.config, situation.identity
    inside = Root(root)
    user, capable = _user(image, options, inside, identity)
    if options.groups:
        user = _with_groups(user, options.groups, inside, identity)
    check_ids(identity, user.uid, user.gid)
    environment = dict(item.split("=", 1) for item in config.env if "=" in item)
    for name, value in options.project_environment:
        environment.setdefault(name, value)
    environment.setdefault("PATH", _SYSTEM_PATH)
    if options.user is not None:
        _drop_names_of_another(environment, config.user, user, inside)
    environment.setdefault("HOME", user.home or "/")
    if situation.terminal:
        environment.setdefault("TERM", os.environ.get("TERM", "xterm"))
    environment |= dict(options.environment)
    for name, value in served_here(config.labels, options.ports).items():
        environment.setdefault(name, value)
    if situation.served:
        environment |= {"LISTEN_FDS": "1"}
        if situation.notifies:
            environment |= {"CORTEN_NOTIFY_FD": "4"}
    # getpass.getuser() fails for an ID without a passwd entry unless this is set (torch calls it).
    environment.setdefault("USER", user.name or f"user{user.uid}")
    arguments = _arguments(image, options, inside, environment["PATH"])
    workdir = options.workdir or config.workdir or "/"
    check_workdir(workdir, inside)
    home = _writable_home(inside, environment["HOME"])
    capabilities = _capabilities(options, user, capable)
    if options.ulimits:
        from corten.runtime.privileges import check_ulimits, may_raise_limits

        check_ulimits(options.ulimits, may_raise_limits(identity.kind == "root"))
    _check_devices(options.devices, identity, user)
    volumes = options.volumes
    if options.init is not None:
        arguments = (INSIDE, "--", *arguments)
        from corten.runtime.mounts import Volume

        volumes = (*volumes, Volume(options.init, INSIDE, writable=False))
    return Container(
        root=root,
        hostname=options.hostname or situation.name,
        arguments=arguments,
        environment=tuple(environment.items()),
        workdir=workdir,
        user=user,
        capable=capable,
        home=home,
        home_is_kept=home is not None
        and inside.status(home) is not None
        and not inside.is_empty_directory(home),
        identity=identity,
        network=situation.network,
        volumes=volumes,
        files=situation.files,
        limits=options.limits,
        read_write=options.read_write,
        terminal=situation.terminal,
        size=situation.size,
        cgroup=situation.cgroup,
        kernel=kernel.version(),
        seccomp=_seccomp(options.security, Platform.host().architecture, capabilities),
        edits=situation.edits,
        capabilities=capabilities,
        security=options.security,
        ulimits=options.ulimits,
        shm_size=options.shm_size if options.shm_size is not None else options.project_shm_size,
        tmpfs=options.tmpfs,
        devices=options.devices,
        memory=machine_memory(),
        processes=_most_processes(situation.processes),
        masked=throttle_files(),
        pid=situation.pid,
        ipc=situation.ipc if situation.ipc != "private" else "host" if options.ipc == "host" else "private",
        shared_memory=situation.shared_memory,
        privileged=options.privileged,
    )


def _drop_names_of_another(environment: dict[str, str], usual: str, user: User, inside: Root) -> None:
    """Take HOME and USER out of an image's variables where they are those of its own user, and the container has another. What lies
    in the one home, as caches do, moves to the other. A user without a home keeps the image's, which it can write to."""
    try:
        own = resolve_user(usual, inside.read("/etc/passwd"), inside.read("/etc/group"))
    except RuntimeFailure:
        return
    if own.uid == user.uid:
        return
    for name in ("USER", "LOGNAME"):
        if own.name is not None and environment.get(name) == own.name:
            del environment[name]
    if own.home in (None, "/") or user.home is None or environment.get("HOME") != own.home:
        return
    for name, value in environment.items():
        if value == own.home or value.startswith(f"{own.home}/"):
            environment[name] = user.home + value.removeprefix(own.home)


def _most_processes(wanted: int | None) -> int | None:
    """The same, or this process's own limit where that is lower: nobody here could raise it."""
    if wanted is None:
        return None
    import resource

    own = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return wanted if own == resource.RLIM_INFINITY else min(wanted, own)


def _capabilities(options: RunOptions, user: User, capable: bool) -> tuple[str, ...]:
    usual = ROOT_CAPABILITIES if capable and user.uid == 0 else ()
    if not options.cap_add and not options.cap_drop:
        return usual
    from corten.runtime.privileges import granted, held_capabilities

    return granted(usual, options.cap_add, options.cap_drop, held_capabilities())


def _seccomp(
    security: Security | None, architecture: str, capabilities: tuple[str, ...]
) -> dict[str, Any] | None:
    if security is None or security.seccomp is None:
        return oci_seccomp(default_profile(), architecture, capabilities, kernel.version())
    if security.seccomp == "unconfined":
        return None
    return custom_seccomp(json.loads(security.seccomp), architecture, capabilities, kernel.version())


def _check_devices(devices: tuple[Device, ...], identity: Identity, user: User) -> None:
    """Raise RuntimeFailure for a device that a plain user's container could not open: inside, its IDs give no right."""
    if identity.kind == "root":
        return
    caller = identity.uid_map[0][1]
    for device in devices:
        needed = 4 * ("r" in device.access) + 2 * ("w" in device.access)
        rights = device.mode & 7
        if device.uid == caller and identity.shim_ids(user.uid, user.gid)[0] == 0:
            rights |= device.mode >> 6 & 7
        if needed & ~rights:
            raise RuntimeFailure(
                f"a plain user's container cannot open the device '{device.source}': only its owner and group may",
                hint=f"ask for what everybody may ({device.source}:r), open it to everybody (as root: chmod o+rw, or a "
                "udev rule), or run as root",
            )


def _user(image: Image, options: RunOptions, inside: Root, identity: Identity) -> tuple[User, bool]:
    """The user of the first process, and whether root inside may have capabilities (DECISIONS 26, 28)."""
    writable = [volume for volume in options.volumes if volume.writable]
    if identity.kind == "single":
        if options.user not in (None, "0", "0:0", "root") and not is_caller(identity, options.user):
            raise RuntimeFailure(
                f"the user '{options.user}' does not exist inside: this user has no subordinate IDs",
                hint="leave -u out, or as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
            )
        return User(0, 0), False
    if identity.inner_uids and options.user is None:
        # As podman has it: whoever keeps the number, wants to be that one.
        kept = f"{identity.inner_uid}:{identity.inner_gid}"
        return resolve_user(kept, inside.read("/etc/passwd"), inside.read("/etc/group")), False
    if options.user is None and writable:
        if identity.kind == "range":
            return User(0, 0), False
        status = os.stat(writable[0].source)
        return User(status.st_uid, status.st_gid), False
    text = options.user if options.user is not None else image.config.user
    return resolve_user(text, inside.read("/etc/passwd"), inside.read("/etc/group")), True


def is_caller(identity: Identity, text: str) -> bool:
    """Whether `-u` names a plain user who asks, by number. Without a look at this, `-u $(id -u):$(id -g)` would be one of the
    subordinate IDs, which owns nothing of the user's, or nobody at all."""
    if identity.kind == "root":
        return False
    (_, uid, _), (_, gid, _) = identity.uid_map[0], identity.gid_map[0]
    return uid != 0 and text in (f"{uid}", f"{uid}:{gid}")


def _with_groups(user: User, asked: tuple[str, ...], inside: Root, identity: Identity) -> User:
    if identity.kind == "single":
        raise RuntimeFailure(
            "--group-add needs subordinate IDs, which this user has not: there is one group inside",
            hint="leave it out, or as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
        )
    found = tuple(resolve_group(text, inside.read("/etc/group")) for text in asked)
    for gid in found:
        check_ids(identity, user.uid, gid)
    return replace(user, groups=tuple(sorted({*user.groups, *found})))


def _arguments(image: Image, options: RunOptions, inside: Root, path: str) -> tuple[str, ...]:
    config = image.config
    if options.entrypoint is not None:
        arguments = (*options.entrypoint, *options.command)
    elif options.command and _ENTRY_LABEL in config.labels and options.command[0] not in ("serve", "train"):
        # The launcher of our own images would only execute it.
        arguments = options.command
    else:
        arguments = (*config.entrypoint, *(options.command or config.cmd))
    if not arguments:
        raise UsageError(f"'{image.name}' has no command", hint="give one: corten run IMAGE -- COMMAND")
    program = arguments[0]
    workdir = options.workdir or config.workdir or "/"
    places = program_places(program, workdir, path)
    targets = tuple(
        f"{target}/"
        for target in (
            *(volume.target for volume in options.volumes),
            *(volume.target for volume in options.every_volume),
        )
    )
    if any((os.path.normpath(place) + "/").startswith(targets) for place in places):
        # It may be in a folder that is mounted only later: the engine will say.
        if len(places) == 1:
            _check_mounted(places[0], options.volumes, targets)
        return arguments
    there = [(place, status) for place in places if (status := inside.status(place)) is not None]
    found = [status for _, status in there]
    if not found:
        raise launch.NotFound(
            f"the image has no program '{program}'",
            hint="options stand before the image; what follows it is the command"
            if program.startswith("-")
            else "'corten run IMAGE ls /opt/venv/bin' lists scripts",
        )
    if not any(may_execute(status) for status in found):
        raise launch.NotExecutable(
            f"'{program}' in the image is not an executable file",
            hint="run it with its interpreter: -- python FILE",
        )
    _check_format(*next(each for each in there if may_execute(each[1])), inside)
    return arguments


def _check_mounted(
    place: str, volumes: Sequence[Volume], others: Iterable[str] = (), *, root: Root | None = None
) -> bool:
    """`_check_format` for a program in a folder, or a file, of this machine that is shown inside. Returns whether there is one, which
    nobody can tell below `others`. What is in none of `volumes` is looked for in `root`."""
    place = os.path.normpath(place)
    targets = [*(f"{volume.target}/" for volume in volumes), *others]
    nearest = max((target for target in targets if f"{place}/".startswith(target)), key=len, default=None)
    rest = place
    for volume in volumes:
        if f"{volume.target}/" == nearest:
            folder, rest = volume.source, f"{place}/".removeprefix(nearest).rstrip("/")
            if not rest:
                folder, rest = os.path.split(volume.source)
            root = Root(folder)
    if root is None:
        return False
    status = root.status(rest)
    if status is None or not may_execute(status):
        return False
    _check_format(rest, status, root, place)
    return True


def check_in_volumes(container: Container) -> None:
    """Raise NotExecutable for a program in one of the container's volumes that the kernel cannot run. Those with a name are known
    only when it is decided."""
    arguments = container.arguments[2:] if container.arguments[0] == INSIDE else container.arguments
    path = dict(container.environment)["PATH"]
    for place in program_places(arguments[0], container.workdir, path):
        if _check_mounted(place, container.volumes, root=Root(container.root)):
            return


def _check_format(place: str, status: os.stat_result, root: Root, name: str | None = None) -> None:
    """Raise NotExecutable for a program that the kernel cannot run."""
    try:
        head = root.read(place, HEAD)
    except OSError:
        return
    if is_unknown(head) and (head or status.st_size == 0):
        raise launch.NotExecutable(unknown_format(name or place), hint=UNKNOWN_HINT)


def check_workdir(workdir: str, inside: Root) -> None:
    """Raise RuntimeFailure for a working directory among the kernel's files: /proc/self/fd/7 is a folder of this machine where
    an engine has one open (CVE-2024-21626)."""
    meant = inside.meaning(workdir)
    if any(f"{meant}/".startswith(f"{place}/") for place in ("/proc", "/sys", "/dev")):
        raise RuntimeFailure(
            f"the working directory '{workdir}' lies among the kernel's files ('{meant}')",
            hint="give another one with -w, such as -w /",
        )


def _writable_home(inside: Root, home: str) -> str | None:
    """Where $HOME lies, if it is a place of its own that can be made writable by itself: the machine's kernel must find the
    same place there as the container's, so no part of it may be a link."""
    home = os.path.normpath(home)
    taken = ("/tmp", "/run", "/proc", "/sys", "/dev")
    if not home.startswith("/") or home.strip("/") == "" or "\x00" in home:
        return None
    home = "/" + home.lstrip("/")
    if any(home == place or home.startswith(place + "/") for place in taken) or not inside.is_plain(home):
        return None
    return home
