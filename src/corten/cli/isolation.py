"""What a container may reach where the caller does not say it: a project's own pyproject.toml may ask for more than the
default. An image may not: its labels, variables and fields say what runs inside, and nothing else.

A project's folder is what the user has on this disk and built here. An image by name may come from anywhere, also one that
carries the name of a project: `load` and `pull` give names too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from corten.events import Note
from corten.oci.digest import Digest
from corten.values import replace

if TYPE_CHECKING:
    from corten.cli.context import Context
    from corten.project.model import Project
    from corten.runtime.mounts import NamedVolume
    from corten.runtime.options import RunOptions
    from corten.store.images import Image

_SHOWN = 6
_NETWORK_LABEL = "dev.corten.network"
_REACHES = {
    "host": "this machine's network, with its loopback",
    "private": "a network of its own with a way out",
}


def of_project(options: RunOptions, path: Path, context: Context) -> RunOptions:
    """`options` for the image that was built from the project in the folder `path`: what its pyproject.toml asks for holds
    where the caller says nothing. That it widens the default is said once. Raises ProjectError."""
    from corten.project.load import load
    from corten.project.model import Command

    project = load(path)
    network = None if project.network == "none" else project.network
    if network is not None and options.network is None and not options.ports:
        text = (
            f"the container has {_REACHES[network]}: 'network' in [tool.corten] of '{project.name}' says so "
            "(--network none takes it away)"
        )
        say_once(f"{os.path.realpath(path)} {network}", text, context)
    options = replace(
        options,
        project_network=network,
        project_shm_size=_shm_size(project, options, path, context),
        project_volumes=_volumes(project, options, path, context),
    )
    options = _with_files(options, project, path, context)
    if isinstance(project.entry, Command) or project.env.get("CORTEN_COG"):
        _tell_writable(f"{os.path.realpath(path)} /app", project.name, options, context)
    return options


def of_image(options: RunOptions, image: Image, context: Context) -> RunOptions:
    """`options` for an image by name: it gets what the caller says. That it wishes for a network is said once."""
    wish = image.config.labels.get(_NETWORK_LABEL)
    if wish in _REACHES and options.network is None and not options.ports:
        text = (
            f"'{image.name}' has no network: its label asks for '{wish}', and an image does not decide what it may "
            f"reach (--network {wish} gives it)"
        )
        say_once(f"{image.id} {wish}", text, context)
    return replace(
        options,
        project_network=None,
        project_shm_size=None,
        project_volumes=(),
        project_environment=(),
        project_secrets=(),
    )


def _with_files(options: RunOptions, project: Project, path: Path, context: Context) -> RunOptions:
    """`options` with the variables of the project's `.env` and with Streamlit's secrets: both are files beside the code that no image
    has, and that the program finds there where it runs without a container. As with docker compose, `--env-file` takes the place of
    `.env`. What is passed on is said once, by its names."""
    from corten.project.around import dotenv
    from corten.project.around.look import SECRETS

    folders = list(dict.fromkeys(("", project.workdir.removeprefix("/app").strip("/"))))
    found: dict[str, str] = {}
    if not options.env_file_given:
        for folder in folders:
            found |= dotenv.variables(project.root, f"{folder}/.env".lstrip("/"))
    given = {*project.env, *(name for name, _ in options.environment)}
    names = sorted(found.keys() - given)
    if names:
        shown = ", ".join(names[:_SHOWN]) + (
            f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        )
        text = f"variables of '.env' are set in the container: {shown} (--env-file FILE takes another file)"
        say_once(f"{os.path.realpath(path)} .env {' '.join(names)}", text, context)
    secrets = []
    for folder in folders:
        place = f"{folder}/{SECRETS}".lstrip("/")
        if dotenv.read_file(project.root, place) is not None:
            secrets.append((str(project.root), place, f"/app/{place}"))
            text = f"'{place}' is in the container, read-only, and in no image"
            say_once(f"{os.path.realpath(path)} {place}", text, context)
    return replace(options, project_environment=tuple(found.items()), project_secrets=tuple(secrets))


def _tell_writable(key: str, name: str, options: RunOptions, context: Context) -> None:
    places = [item.target for item in options.volumes] + [item.target for item in options.every_volume]
    if options.read_only or options.read_write or "/app" in places:
        return
    text = (
        f"'{name}' may write below /app; what it writes there is kept until its container is removed "
        "(-v NAME:/app/FOLDER keeps a folder)"
    )
    say_once(key, text, context)


def _volumes(project: Project, options: RunOptions, path: Path, context: Context) -> tuple[NamedVolume, ...]:
    if not project.volumes:
        return ()
    from corten.runtime.mounts import NamedVolume, parse_target

    volumes = tuple(
        NamedVolume(name, parse_target(target, "volume")) for name, target in project.volumes.items()
    )
    for volume in replace(options, project_volumes=volumes).every_volume:
        if volume in volumes:
            text = (
                f"the container has the volume '{volume.name}' at {volume.target}: 'volumes' in [tool.corten] of "
                f"'{project.name}' says so (-v NAME:{volume.target} mounts another one)"
            )
            say_once(f"{os.path.realpath(path)} {volume.name} {volume.target}", text, context)
    return volumes


def _shm_size(project: Project, options: RunOptions, path: Path, context: Context) -> int | None:
    from corten.runtime.bounds import SHARED, machine_memory, share
    from corten.runtime.options import parse_shm_size

    if project.shm_size is None:
        return None
    size = parse_shm_size(project.shm_size)
    if options.shm_size is None and size > share(SHARED, machine_memory()):
        text = (
            f"/dev/shm may hold {project.shm_size}: 'shm-size' in [tool.corten] of '{project.name}' says so "
            "(--shm-size sets another size)"
        )
        say_once(f"{os.path.realpath(path)} {project.shm_size}", text, context)
    return size


def settled(options: RunOptions, image: Image, path: Path, context: Context) -> RunOptions:
    """`of_project` where `path` is a project's folder, `of_image` where it spells an image."""
    return of_project(options, path, context) if path.is_dir() else of_image(options, image, context)


def say_once(key: str, text: str, context: Context) -> None:
    """Tell `text` as a note, unless what `key` names has been told before."""
    if first_time(key, context):
        context.observe(Note(text))


def first_time(key: str, context: Context) -> bool:
    """Whether this was not asked before for what `key` names."""
    name = f"said-{Digest.of(key.encode(errors='surrogateescape')).hex[:16]}"
    said = context.store.cache_directory("isolation") / name
    if said.exists():
        return False
    said.touch(0o600)
    return True
