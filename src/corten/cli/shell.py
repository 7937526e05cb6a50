"""`corten shell`: a shell in a project's image, with the project itself at /app, to work on it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.container_options import add_engine_argument, add_network_arguments
from corten.cli.context import Context
from corten.cli.devices import add_gpu_arguments, gpus_of
from corten.cli.finding import add_accepted
from corten.errors import RuntimeFailure
from corten.oci.digest import Digest

if TYPE_CHECKING:
    from corten.store.store import Store

EXAMPLES = """\
examples:
  corten shell                              a shell with this project's packages
  corten shell . -- python train.py         one command there
  corten shell . -- python -m pytest        with the packages of the group 'dev', or of requirements-dev.txt
  corten shell --group test . -- tox        with those of another group
  corten shell -v ~/data:/data              with a folder of this machine beside it
  corten shell -p 8888                      with a network of its own, and one port of it

What is written in /app is written in the project, as you. The home folder there is kept: it is the volume
NAME-…-home of 'corten volume ls'. The network is this machine's, unless -p or --network says otherwise."""

TAKES_COMMAND = FOLDER_MAY_BE_MISSING = True
HOME = "/home/dev"
_SHELLS = ("/bin/bash", "/bin/sh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.usage = "corten shell [OPTIONS] [FOLDER] [[--] COMMAND …]"
    parser.add_argument(
        "path", nargs="?", type=Path, default=Path(), help="the project's folder (default: this one)"
    )
    parser.add_argument(
        "-v",
        "--volume",
        action="append",
        default=[],
        metavar="SRC:DST[:ro]",
        help="show a file or folder of this machine inside (./DIR or a path), or a volume (a name)",
    )
    parser.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set a variable, or pass one on",
    )
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME",
        help="use the packages of this group, or of requirements-NAME.txt, instead of 'dev'; may be given more than once",
    )
    add_network_arguments(
        parser, default="this machine's, where a notebook's port is reached; with -p a private one"
    )
    add_gpu_arguments(parser)
    add_engine_argument(parser)
    add_accepted(parser)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Build, enter, and return the shell's or the command's own exit code; 125, 126 or 127 where it did not start."""
    from corten.cli.development import development_image
    from corten.cli.isolation import of_project
    from corten.runtime import container, launch, mounts
    from corten.runtime.network.ports import parse_ports
    from corten.runtime.options import RunOptions, parse_variable

    project, image = development_image(
        arguments.path, context.store, context.observe, context.accepted, arguments.group
    )
    volumes, named, _ = mounts.split_mounts([mounts.parse_volume(text) for text in arguments.volume])
    variables = [parse_variable(text, os.environ) for text in arguments.env]
    ports = tuple(port for text in arguments.publish for port in parse_ports(text))
    root = str(project.root)
    # What is in a container must not write to the layers that others start from.
    hidden = _within(context.store.root, project.root)
    if hidden:
        context.terminal.say(f"'{hidden}' is Corten's store: it is empty in the shell")
    options = RunOptions(
        command=tuple(arguments.command) or (_shell(context.store, image.config.diff_ids),),
        entrypoint=(),
        environment=(
            ("HOME", HOME),
            ("PS1", f"({project.name}) $ "),
            *(variable for variable in variables if variable is not None),
        ),
        workdir="/app",
        volumes=(mounts.Volume(root, "/app"), *volumes),
        named_volumes=(mounts.NamedVolume(home_volume(project.name, root), HOME, seeded=False), *named),
        tmpfs=(mounts.parse_tmpfs(f"/app/{hidden}:ro,size=64k"),) if hidden else (),
        network=arguments.network or ("private" if ports else "host"),
        ports=ports,
        gpus=gpus_of(arguments),
        cdi_directories=tuple(arguments.cdi_spec_dir),
        engine=arguments.engine,
    )
    options = of_project(options, arguments.path, context)
    if arguments.volume:
        from corten.cli.docker_options import say_volume_notes

        say_volume_notes(arguments.volume, context)
    context.terminal.close()
    try:
        return container.run(image, options, context.store, context.observe)
    except RuntimeFailure as error:
        context.terminal.error(error.message, error.hint)
        kinds = {launch.NotFound: 127, launch.NotExecutable: 126}
        return kinds.get(type(error), 125)


def _within(store: Path, project: Path) -> str | None:
    """Where the store lies in the project's folder; None where it does not."""
    place, root = store.resolve(), project.resolve()
    return str(place.relative_to(root)) if place != root and place.is_relative_to(root) else None


def home_volume(name: str, root: str) -> str:
    """The name of the volume that is home in the shells of the project `name` in the folder `root`."""
    from corten.oci.digest import Digest

    return f"{name[:40]}-{Digest.of(root.encode()).hex[:6]}-home"


def _shell(store: Store, layers: tuple[Digest, ...]) -> str:
    """The best shell that the image has."""
    for shell in _SHELLS:
        for layer in layers:
            tree = store.layers.tree(layer)
            if os.path.lexists(f"{tree}{shell}") or os.path.lexists(f"{tree}/usr{shell}"):
                return shell
    raise RuntimeFailure(
        "the image has no shell", hint="give a command: corten shell . -- python; or another `base`"
    )
