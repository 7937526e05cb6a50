"""What is said before a start of what the code needs around it: variables, services, devices, and weights of a hub."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from corten.cli.context import Context
from corten.project.model import Command, Project
from corten.values import replace


def tell_needs(
    project: Project, given: Collection[str], network: str | None, context: Context, *, env_file: bool
) -> None:
    """What must be set or run beside `project`. Variables in `given` are set, and with `env_file` those of its `.env`."""
    from corten.project.load import needs

    reaches = (network or project.network) != "none"
    for line in needs(project, given, reaches=reaches, env_file=env_file):
        context.terminal.say(line)


def tell_fetches(project: Project, network: str | None, context: Context) -> None:
    """Which weights the code fetches when it runs, of those that the lock does not have."""
    from corten.lock.format import LOCK_NAME, read_lock
    from corten.project.load import fetches

    reaches = (network or project.network) != "none"
    path = project.root / LOCK_NAME
    locked = [model.name for model in read_lock(path).models] if path.exists() else []
    for line in fetches(project, reaches=reaches, locked=locked):
        context.terminal.say(line)


def tell_before(
    path: Path,
    image_id: str,
    command: Sequence[str],
    given: Collection[str],
    network: str | None,
    context: Context,
    *,
    env_file: bool,
) -> None:
    """Both for the project in the folder `path`, which `command` runs instead of what it runs by default; once for each image, command and
    set of variables: to read the code takes time at each start."""
    from corten.cli.isolation import first_time

    key = [os.path.realpath(path), image_id, *command, "", *sorted(given), network or ""]
    if not first_time("\0".join(key), context):
        return
    from corten.project.load import load

    project = load(path)
    if command:
        project = replace(project, entry=Command(tuple(command)))
    tell_needs(project, given, network, context, env_file=env_file)
    tell_fetches(project, network, context)
