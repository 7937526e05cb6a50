"""A container under bubblewrap or PRoot, from its image and options to its shim."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from corten.errors import RuntimeFailure
from corten.events import Note, Observer
from corten.runtime.decide import Situation, decide, network_of, rooms_of
from corten.runtime.engine import Engine
from corten.runtime.fallback import confine
from corten.runtime.fallback.arguments import bwrap_arguments, proot_arguments, variables
from corten.runtime.fallback.probing import knows_sizes, loses_heap
from corten.runtime.fallback.refusals import MISSING, TITLES, refuse
from corten.runtime.fallback.scratch import Scratch, make_scratch, rooms_in
from corten.runtime.fallback.shim import Prepared, Watched, start_shim
from corten.runtime.identity import Identity
from corten.runtime.network.ports import free_port
from corten.runtime.options import Limits, RunOptions
from corten.runtime.port_variables import telling_port
from corten.runtime.rootfs import Root
from corten.runtime.spec import Container
from corten.runtime.volumes import with_volumes
from corten.store.images import Image
from corten.store.merged import merged
from corten.store.store import Store
from corten.values import replace

_FILTER, _VARIABLES = 30, 31
"""Descriptors above those that are passed on."""
Files = Callable[[str], tuple[tuple[str, str], ...]]


def begin(
    image: Image,
    options: RunOptions,
    store: Store,
    observe: Observer,
    watched: Watched,
    *,
    name: str,
    files: Files,
    terminal: bool,
    ended: Callable[[int], None] | None,
) -> int:
    """Start the shim of the container `name` and return its process ID. `files(network)` makes the container's own small
    files. Raises RuntimeFailure for what the engine cannot honour, and what the image or the machine refuse."""
    engine = watched.engine
    refuse(engine.name, options)
    if options.limits:
        observe(Note(f"{TITLES[engine.name]} enforces no limits"))
        options = replace(options, limits=Limits())
    say_once(engine, store, observe)
    tree = merged(store, image.config.diff_ids, "copied" if engine.name == "proot" else "linked")
    try:
        network = _network(engine, image, options, store, observe)
        if watched.forward is not None and network == "none":
            watched = replace(watched, enclosed=True)
        elif watched.forward is not None:
            port = free_port(watched.forward)
            watched = replace(watched, forward=port)
            options = telling_port(options, port, image)
        served = watched.listener is not None and watched.forward is None

        def prepare() -> Prepared:
            situation = Situation(
                name,
                Identity("root"),
                network,
                None,
                files(network),
                terminal,
                None,
                served,
                notifies=watched.notify is not None,
            )
            container = decide(image, options, situation, os.fspath(tree.path))
            if options.every_volume:
                # There is one user inside, who is this one.
                alone = replace(container, identity=Identity("single"))
                container = with_volumes(alone, options.every_volume, (), store)
            if options.project_secrets:
                from corten.runtime.secret_files import secret_files

                shown = secret_files(Path(watched.directory), options, None)
                container = replace(container, files=(*container.files, *shown))
            _check_workdir(container)
            rooms = rooms_in(rooms_of(image.config, options), container)
            scratch = make_scratch(watched.directory, container, rooms, mounts=engine.name == "bwrap")
            if engine.name == "bwrap":
                return _bubblewrap(engine, container, scratch)
            return _proot(engine, container, scratch, watched.directory, options.user is not None)

        return start_shim(replace(watched, kept=(*watched.kept, tree.lock)), prepare, ended)
    finally:
        # The shim holds a copy, so `prune` leaves the tree alone as long as it lives.
        tree.release()


def say_once(engine: Engine, store: Store, observe: Observer) -> None:
    """Which of the default protections are missing here; whoever wonders has been told."""
    text = (
        f"{TITLES[engine.name]} is used in place of an OCI runtime: {MISSING[engine.name]} "
        "('corten doctor' says what crun and runc need here)"
    )
    _say(store, engine.name, text, observe)
    if engine.name == "proot" and loses_heap(engine.path):
        text = (
            "PRoot before 5.2 loses memory at posix_spawn and system: both fail in programs, subprocess works"
        )
        _say(store, "proot-heap", text, observe)


def _say(store: Store, what: str, text: str, observe: Observer) -> None:
    said = store.cache_directory("engine") / f"said-{what}-{os.geteuid()}"
    if not said.exists():
        observe(Note(text))
        said.touch(0o600)


def _network(engine: Engine, image: Image, options: RunOptions, store: Store, observe: Observer) -> str:
    """`none` or `host`. bubblewrap gives what is wanted, or refuses; under PRoot everything has this machine's network, and what was
    asked for by an option has been refused. Raises RuntimeFailure."""
    wanted = network_of(options)
    if engine.name == "bwrap":
        if wanted == "private":
            raise RuntimeFailure(
                f"'{image.name}' asks for a private network in its pyproject.toml, and bubblewrap can make none with a way out",
                hint="--network none, or --network host for this machine's, with its loopback",
            )
        return wanted
    if wanted == "private":
        text = f"'{image.name}' wants a private network; under PRoot it has this machine's, with its loopback"
        _say(store, f"proot-network-{image.name.replace('/', '-')[-100:]}", text, observe)
    return "host"


def _check_workdir(container: Container) -> None:
    place = container.workdir
    below = tuple(f"{volume.target}/" for volume in container.volumes)
    if Root(container.root).status(place) is None and not f"{place}/".startswith((*below, "/tmp/", "/run/")):
        if container.home and f"{place}/".startswith(f"{container.home}/"):
            return
        raise RuntimeFailure(f"the image has no folder '{place}' to work in", hint="give one with -w")


def _bubblewrap(engine: Engine, container: Container, scratch: Scratch) -> Prepared:
    descriptor = os.dup2(confine.filter_file(confine.terminal_filter()), _FILTER)
    variables_file = os.dup2(confine.filter_file(variables(dict(container.environment))), _VARIABLES)
    if not knows_sizes(engine.path):
        container = replace(container, memory=0)
    command = bwrap_arguments(engine.path, container, scratch, descriptor)
    command[1:1] = ["--args", str(variables_file)]
    inherited = (descriptor, variables_file)
    return Prepared(command, {}, lambda: confine.set_limits(container.ulimits), inherited)


def _proot(
    engine: Engine, container: Container, scratch: Scratch, directory: str, asked_for_user: bool
) -> Prepared:
    user, pretended = container.user, None
    if asked_for_user and (user.uid, user.gid) != (os.geteuid(), os.getegid()):
        pretended = (user.uid, user.gid)
    # It puts its loader there and executes it, which /tmp may forbid (since 5.2; 5.1 knows /tmp alone).
    environment = {**dict(container.environment), "PROOT_TMP_DIR": os.fspath(Path(directory, "work"))}
    # Root has to write to the folders of others that it is given, as it would under an OCI engine as their owner.
    others = any(item.writable and os.stat(item.source).st_uid != 0 for item in container.volumes)

    program = confine.path_filter(loses_heap=loses_heap(engine.path))

    def give_up() -> None:
        confine.set_limits(container.ulimits)
        if os.geteuid() == 0:
            confine.keep_capabilities((confine.CAP_DAC_OVERRIDE,) if others else ())
        confine.install_filter(program)

    return Prepared(proot_arguments(engine.path, container, scratch, pretended), environment, give_up)
