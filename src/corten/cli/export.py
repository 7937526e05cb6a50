"""`corten export`: what another system needs to run a service."""

from __future__ import annotations

import argparse
import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.cli.served_containers import words_of_container
from corten.cli.serving_options import (
    HOST,
    PORT,
    add_project_arguments,
    add_service_arguments,
    add_socket_arguments,
    check_served,
    kind_of,
    ready_of,
    seconds_of,
    with_options,
)
from corten.errors import UsageError

if TYPE_CHECKING:
    from corten.runtime.options import RunOptions
    from corten.supervise.services import Plan

EXAMPLES = """\
examples:
  corten export systemd                       units for the project in this folder, on standard output
  corten export systemd iris                  for a service that runs, as it was started
  corten export systemd . --port 80 --host 0.0.0.0 --memory 2g --output /etc/systemd/system
  systemctl daemon-reload && systemctl enable --now corten-iris.socket corten-iris.service

systemd holds the socket: whoever connects while the service starts, or is restarted, waits. As a plain user the units are for
'systemctl --user' (--output ~/.config/systemd/user), and 'loginctl enable-linger' lets them run from boot on.

Everybody can read a unit. Values of -e go into a file beside it, NAME.env, that is its owner's alone."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("system", choices=("systemd",), help="for whom")
    add_project_arguments(parser, "a service's name, or the project's folder, or an image")
    add_socket_arguments(parser)
    add_service_arguments(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="write the units there, instead of showing them"
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Show the units, or write them and print their paths."""
    from corten.store.disk import explained, write_atomically
    from corten.supervise import systemd

    plan = _plan(arguments, context)
    root = os.geteuid() == 0
    units = systemd.Units(
        name=plan.name,
        description=f"{plan.name}, served by Corten",
        command=systemd.up_command(sys.executable, words_of(plan)),
        listen=f"[{plan.host}]:{plan.port}" if ":" in plan.host else f"{plan.host}:{plan.port}",
        environment=(("CORTEN_HOME", str(context.store.root)), ("PATH", os.environ.get("PATH", os.defpath))),
        user=None if root else pwd.getpwuid(os.geteuid()).pw_name,
        per_user=not root,
        variables=plan.options.environment,
        directory=os.path.abspath(arguments.output or _usual(root)),
    )
    files = systemd.files(units)
    for name, file in files.items():
        if arguments.output is None:
            context.terminal.print(f"# {name}\n{file.text}")
            continue
        with explained(arguments.output, ""):
            arguments.output.mkdir(parents=True, exist_ok=True)
            write_atomically(arguments.output / name, file.text.encode(), file.mode)
        context.terminal.print(str(arguments.output / name))
    private = [name for name, file in files.items() if file.mode == 0o600]
    for name in private if arguments.output is None else ():
        context.terminal.say(f"put '{name}' into '{units.directory}' with mode 0600: it has the values of -e")
    if arguments.output is not None:
        manager = "systemctl" if root else "systemctl --user"
        enabled = " ".join(name for name in files if name not in private)
        context.terminal.say(
            f"start it with '{manager} daemon-reload' and '{manager} enable --now {enabled}'"
        )
    return 0


def _usual(root: bool) -> str:
    """Where an administrator's units lie, and a user's own (systemd.unit(5))."""
    if root:
        return "/etc/systemd/system"
    return f"{os.environ.get('XDG_CONFIG_HOME') or os.path.expanduser('~/.config')}/systemd/user"


def _plan(arguments: argparse.Namespace, context: Context) -> Plan:
    """The plan of the service that is meant, or one made of the arguments. Raises UsageError, RuntimeFailure."""
    from corten.runtime.options import RunOptions
    from corten.supervise import services
    from corten.supervise.services import Plan
    from corten.supervise.starting import free_name
    from corten.values import replace

    path = arguments.path or Path()
    if not path.is_dir() and (services.directory_of(context.store) / path).is_dir():
        service = services.find(context.store, str(path))
        if service.state is None:
            raise UsageError(f"'{path}' is only starting", hint="wait until it is ready")
        plan, kind = service.state.plan, "command" if service.state.plan.forward is not None else "predict"
    else:
        image, kind = _named(path, context)
        folder = os.path.realpath(path) if path.is_dir() else None
        name = free_name(image, set())
        plan = Plan(name, image, "", None, RunOptions(), HOST, PORT, folder)
    return replace(
        plan,
        name=arguments.name or plan.name,
        options=with_options(plan.options, arguments, kind),
        host=arguments.host or plan.host,
        port=plan.port if arguments.port is None else arguments.port,
        idle=seconds_of(arguments.idle, plan.idle),
        patience=seconds_of(arguments.start_timeout, plan.patience),
        ready=ready_of(arguments, kind, plan.ready),
    )


def _named(path: Path, context: Context) -> tuple[str, str]:
    """The name of a project's image, or of the image that `path` spells, and what it serves. Raises UsageError."""
    from corten.cli.finding import local_image

    if not path.is_dir():
        image = local_image(str(path), context)
        return image.name, kind_of(image)
    from corten.project.load import load
    from corten.project.model import Command

    project = load(path)
    check_served(project, path)
    return project.name, "command" if isinstance(project.entry, Command) else "predict"


def words_of(plan: Plan) -> list[str]:
    """The arguments of `corten up` that ask for the plan; the socket comes from outside, and so do the container's variables:
    everybody on the machine can read a command line."""
    from corten.supervise.systemd import PREFIX

    options = plan.options
    words = [plan.path or plan.image, "--name", plan.name]
    if options.environment:
        words += ["--env-prefix", PREFIX]
    limits = options.limits
    found: dict[str, object] = {
        "--memory": limits.memory,
        "--cpus": limits.cpus,
        "--pids-limit": limits.pids,
        "--gpus": _gpus(options),
        "--engine": options.engine,
        "--network": options.network,
        "--shm-size": options.shm_size,
        "--idle": f"{plan.idle:g}s" if plan.idle is not None else None,
        "--start-timeout": _patience(plan),
        "--ready": plan.ready,
    }
    for flag, given in found.items():
        if given is not None:
            words += [flag, str(given)]
    for item in options.tmpfs:
        words += ["--tmpfs", f"{item.target}:{','.join(item.options)}"]
    for directory in options.cdi_directories:
        words += ["--cdi-spec-dir", directory]
    words += words_of_container(options)
    return words


def _patience(plan: Plan) -> str | None:
    if plan.patience is not None:
        return f"{plan.patience:g}s"
    # A command's own default is not to wait for ever.
    return "never" if plan.forward is not None else None


def _gpus(options: RunOptions) -> str | None:
    gpus = options.gpus
    if gpus is None:
        return None
    return "all" if gpus.everything else ",".join(gpus.names) or f"count={gpus.count}"
