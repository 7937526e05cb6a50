"""`corten run`: a command in an image, or in a project's own image, in the foreground."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.container_options import (
    add_engine_argument,
    add_isolation_arguments,
    add_limit_arguments,
    add_mount_arguments,
    add_network_arguments,
    with_container_options,
)
from corten.cli.context import Context
from corten.cli.devices import add_gpu_arguments, gpus_of
from corten.cli.docker_options import add_docker_arguments, log_of, network_of, say_notes, with_docker_options
from corten.cli.finding import add_accepted
from corten.cli.living import add_life_arguments, life_of
from corten.cli.serving_options import variables_of_files
from corten.cli.terminal import HINT
from corten.errors import RuntimeFailure, UsageError
from corten.events import Note, Observer
from corten.oci.platform import Platform
from corten.values import replace

if TYPE_CHECKING:
    from corten.runtime.made import Life
    from corten.runtime.network.ports import Port
    from corten.runtime.options import RunOptions
    from corten.store.images import Image

EXAMPLES = """\
examples:
  corten run iris python -V                        in an image
  corten run registry.example/team/iris python -V  in one that is pulled first, if it is not here
  corten run . python -m pytest                    in the image of this folder's project
  corten run -v .:/app . python train.py           with the project mounted, so that it can write there
  corten run -d --name train . python train.py     in the background; 'corten logs -f train' follows
  corten run -e DEBUG=1 --memory 2g --network host . python download.py

Options stand before the image. What follows it is the command, also where it begins with '-'; '--' may stand between.

By default a container has no network, a read-only root, no capabilities, and a user that is not root.
With a writable volume and no -u it runs as the owner of that folder."""

TAKES_COMMAND = True
"""`main` puts what follows the image into `arguments.command`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.usage = "corten run [OPTIONS] IMAGE|FOLDER [[--] COMMAND …]"
    parser.add_argument(
        "image", metavar="IMAGE|FOLDER", help="an image's name or ID, or a project's folder, as in '.'"
    )
    add_mount_arguments(parser)
    parser.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set a variable, or pass one on",
    )
    parser.add_argument(
        "--env-file", action="append", default=[], type=Path, metavar="FILE", help="variables from a file"
    )
    parser.add_argument("-w", "--workdir", metavar="DIR", help="the working directory")
    parser.add_argument(
        "-u", "--user", metavar="USER[:GROUP]", help="the user, by number or by the image's names"
    )
    add_network_arguments(parser)
    add_limit_arguments(parser)
    parser.add_argument(
        "--read-write", action="store_true", help="let it write to its root (what it writes is dropped)"
    )
    parser.add_argument("--entrypoint", metavar="PROGRAM", help="instead of the image's entry point")
    add_isolation_arguments(parser)
    add_gpu_arguments(parser)
    add_engine_argument(parser)
    add_life_arguments(parser)
    add_docker_arguments(parser)
    add_accepted(parser)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Run, and return the container's own exit code; 125, 126 or 127 where it did not start."""
    from corten.runtime import container, launch

    options = reachable(options_of(arguments), context.observe)
    if options.ports and (refused := _taken(options.ports)) is not None:
        context.terminal.error(refused.message, refused.hint)
        return 125
    image, folder = image_of(
        arguments.image, context, arguments.command, pull=arguments.pull, platform=platform_of(arguments)
    )
    from corten.cli import isolation

    if folder is not None:
        from corten.cli.around import tell_before

        options = isolation.of_project(options, folder, context)
        given = [name for name, _ in options.environment]
        network = "private" if options.ports else options.network
        tell_before(
            folder,
            str(image.id),
            arguments.command,
            given,
            network,
            context,
            env_file=not arguments.env_file,
        )
    else:
        options = isolation.of_image(options, image, context)
    life = life_of(arguments, image, context)
    say_notes(arguments, context)
    if arguments.replace and (context.store.containers_directory / arguments.name).is_dir():
        from corten.runtime.control import remove

        remove(context.store, arguments.name, force=True)
    context.terminal.close()
    try:
        if arguments.detach:
            context.terminal.print(container.detach(image, options, context.store, context.observe, life))
            return 0
        return _in_foreground(image, options, life, context, folder is not None)
    except launch.NotFound as error:
        context.terminal.error(error.message, error.hint)
        return 127
    except launch.NotExecutable as error:
        context.terminal.error(error.message, error.hint)
        return 126
    except RuntimeFailure as error:
        context.terminal.error(error.message, error.hint)
        return 125


def _in_foreground(image: Image, options: RunOptions, life: Life, context: Context, project: bool) -> int:
    """Run it, and say why it failed where the last lines that it printed tell. Other images than Corten's own have other causes.
    Raises RuntimeFailure."""
    from corten.oci.media import OURS
    from corten.runtime import container

    if not project and not any(label.startswith(OURS) for label in image.config.labels):
        return container.run(image, options, context.store, context.observe, life)
    from corten.runtime.last_lines import LastLines

    last = LastLines()
    try:
        code = container.run(image, options, context.store, context.observe, life, last)
    finally:
        lines = last.finish()
    if code in (0, 130, 137, 143):
        return code
    from corten.supervise.causes import cause

    found = cause(lines)
    if found is not None:
        context.terminal.say(found, HINT)
    return code


def reachable(options: RunOptions, observe: Observer) -> RunOptions:
    """`options` without published ports where the network is this machine's own: docker discards them too, and says so."""
    if not options.ports or options.network != "host":
        return options
    other = [str(port) for port in options.ports if port.outside not in (0, port.inside)]
    more = f", so {', '.join(other[:4])} is not done" if other else ""
    observe(Note(f"-p has no effect with --network host: the program's own ports are this machine's{more}"))
    return replace(options, ports=())


def platform_of(arguments: argparse.Namespace) -> Platform | None:
    """The platform that `--platform` spells. Raises UsageError."""
    return Platform.parse(arguments.platform) if arguments.platform else None


def _taken(ports: tuple[Port, ...]) -> RuntimeFailure | None:
    """Why they cannot be published: a port in use is told before a build of minutes, not after it. Raises UsageError."""
    from corten.runtime.network.preparing import check_free

    try:
        check_free(ports)
    except RuntimeFailure as error:
        return error
    return None


def image_of(
    text: str,
    context: Context,
    command: Sequence[str],
    *,
    pull: str = "missing",
    platform: Platform | None = None,
) -> tuple[Image, Path | None]:
    """The image called `text`; or the one that the project in the folder `text` is built into, and that folder. A folder is
    meant where `text` looks like a path, or exists while no such image does. Where both exist, it is said which one is run."""
    path = Path(text).expanduser()
    spelled = text in (".", "..") or text.startswith(("./", "../", "/", "~"))
    if spelled or os.path.isdir(path):
        if spelled or not _is_image(text, context):
            if command and command[0].startswith("-"):
                raise UsageError(
                    f"'{command[0]}' is not a program: what follows the folder is the command",
                    hint=f"options stand before it: corten run {command[0]} … {text}",
                )
            if platform not in (None, Platform.host()):
                raise UsageError(
                    f"a folder is built for this machine, and --platform is {platform}",
                    hint=f"build it for that one, and run its image: corten build --platform {platform} {text}",
                )
            return context.build(path, without_models=bool(command)), path
        from corten.cli.isolation import say_once

        say_once(
            f"{os.path.realpath(path)} or image",
            f"'{text}' is the image of that name; the folder is './{text}'",
            context,
        )
    from corten.cli.finding import runnable_image

    return runnable_image(text, context, pull, platform), None


def is_folder(text: str, context: Context) -> bool:
    """Whether `text` means a project's folder: it looks like a path, or exists while no such image does."""
    spelled = text in (".", "..") or text.startswith(("./", "../", "/", "~"))
    return spelled or (os.path.isdir(os.path.expanduser(text)) and not _is_image(text, context))


def _is_image(text: str, context: Context) -> bool:
    from corten.errors import ImageNotFound

    try:
        context.store.images.get(text)
    except ImageNotFound:
        return False
    return True


def options_of(arguments: argparse.Namespace) -> RunOptions:
    """The values that the arguments spell. Raises UsageError."""
    from corten.runtime.options import (
        RunOptions,
        parse_name,
        parse_variable,
    )

    variables = variables_of_files(arguments.env_file)
    variables += [item for text in arguments.env if (item := parse_variable(text, os.environ)) is not None]
    if arguments.workdir is not None and not arguments.workdir.startswith("/"):
        raise UsageError(
            f"the working directory '{arguments.workdir}' is not an absolute path", hint="as in -w /app"
        )
    log_size, log_files, log = log_of(arguments)
    options = RunOptions(
        command=tuple(arguments.command),
        entrypoint=tuple(shlex.split(arguments.entrypoint)) if arguments.entrypoint is not None else None,
        environment=tuple(variables),
        env_file_given=bool(arguments.env_file),
        workdir=arguments.workdir,
        user=arguments.user,
        network=network_of(arguments.network),
        read_write=arguments.read_write,
        name=parse_name(arguments.name) if arguments.name else None,
        gpus=gpus_of(arguments),
        cdi_directories=tuple(arguments.cdi_spec_dir),
        engine=arguments.engine,
        log_size=log_size,
        log_files=log_files,
        log=log,
    )
    return with_docker_options(with_container_options(options, arguments), arguments)
