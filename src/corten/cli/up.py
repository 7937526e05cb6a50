"""`corten up`: a project is built, started and served on a port of this machine, and kept running."""

from __future__ import annotations

import argparse
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.cli.finding import add_accepted
from corten.cli.serving_options import (
    HOST,
    PORT,
    add_project_arguments,
    add_service_arguments,
    add_socket_arguments,
    inner_port,
    kind_of,
    patience_of,
    ready_of,
    seconds_of,
    with_options,
)
from corten.errors import RuntimeFailure, UsageError
from corten.events import Warned
from corten.project.kinds import RUNNING

if TYPE_CHECKING:
    from corten.store.images import Image
    from corten.supervise.services import House, Plan
    from corten.supervise.starting import Starter

EXAMPLES = """\
examples:
  corten up                                  the project in this folder, on http://127.0.0.1:8000
  corten up ./iris --port 9000
  corten up registry.example/team/iris:1.4   an image; pulled first, if it is not here
  corten up --host 0.0.0.0                   reachable from other machines
  corten up --detach                         return when it is ready; 'corten down' ends it
  corten up --update                         build it again, and let the new one take over without losing a request
  corten up --detach --idle 10m --workers auto --memory 2g

A container that ends is started again; what comes meanwhile waits. 'corten status' shows what runs, 'corten export
systemd' starts it at boot."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    add_project_arguments(parser, "the project's folder, or an image")
    add_socket_arguments(parser)
    parser.add_argument(
        "-d", "--detach", action="store_true", help="return when it is ready, and let it serve on"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="replace what serves already: build, start beside it, hand over when it is ready",
    )
    add_service_arguments(parser)
    add_accepted(parser)


def run(arguments: argparse.Namespace, context: Context, starter: Starter | None = None) -> int:
    """Build, hold the socket, keep it running until it is asked to end. Returns 0."""
    if arguments.update:
        from corten.cli.updating import update

        return update(arguments, context)
    from corten.cli.around import tell_fetches
    from corten.cli.terminal import size_text
    from corten.project.load import load
    from corten.supervise import services
    from corten.supervise.starting import free_name

    path = arguments.path or Path()
    # A port in use, a name that is taken and a project that serves nothing are told before a build of minutes, not after it.
    portless = starter is None and path.is_dir() and _check_entry(path, arguments, context)
    if arguments.name is not None:
        _check_name(arguments.name, context)
    check_values(arguments)
    if arguments.volume:
        from corten.cli.docker_options import say_volume_notes

        say_volume_notes(arguments.volume, context)
    with _listener(arguments, context, path, portless) as listener:
        if arguments.name is None and path.is_dir():
            _check_only_one(path, context)
        image = image_of(path, context)
        if path.is_dir():
            tell_fetches(load(path), arguments.network, context)
        context.terminal.say(f"{image.name}: {size_text(image.size)} in {len(image.config.diff_ids)} layers")
        name = arguments.name or free_name(image.name, set())
        plan = plan_of(arguments, image, name, path if path.is_dir() else None, listener, context)
        house = services.reserve(context.store, name, numbered=arguments.name is None)
        plan = _renamed(plan, house)
        if arguments.detach:
            return _detach(plan, image, house, listener, context)
        return _keep(plan, image, house, listener, context, starter)


def image_of(path: Path, context: Context) -> Image:
    """The image of the project in the folder `path`, built; or the image that `path` spells."""
    if path.is_dir():
        return context.build(path)
    from corten.cli.finding import runnable_image

    return runnable_image(str(path), context)


def plan_of(
    arguments: argparse.Namespace,
    image: Image,
    name: str,
    path: Path | None,
    listener: socket.socket,
    context: Context,
) -> Plan:
    """What the arguments ask for, for the project in the folder `path`, else for an image by name. Raises UsageError."""
    from corten.cli.isolation import of_image, of_project
    from corten.runtime.options import RunOptions
    from corten.supervise.services import Plan

    kind = kind_of(image)
    options = with_options(RunOptions(), arguments, kind)
    options = of_project(options, path, context) if path else of_image(options, image, context)
    host, port = listener.getsockname()[:2]
    return Plan(
        name=name,
        image=image.name,
        image_id=str(image.id),
        forward=None if kind == "predict" else inner_port(image, options.environment),
        options=options,
        host=host,
        port=port,
        path=os.path.realpath(path) if path is not None else None,
        idle=seconds_of(arguments.idle, None),
        patience=patience_of(arguments, kind),
        ready=ready_of(arguments, kind),
    )


def _renamed(plan: Plan, house: House) -> Plan:
    from corten.values import replace

    return replace(plan, name=house.name)


def _listener(arguments: argparse.Namespace, context: Context, path: Path, portless: bool) -> socket.socket:
    """The socket that systemd passed in, else one of our own; `portless`: on any port, for nobody comes. What a killed supervisor of the same project left on the port is
    ended first. Raises PortInUse, UsageError."""
    from corten.supervise import services, sockets
    from corten.supervise.ending import end
    from corten.supervise.sockets import PortInUse

    given = sockets.adopt(os.environ)
    if given is not None:
        if arguments.port is not None or arguments.host is not None:
            given.close()
            raise UsageError(
                "the socket was passed in, so --port and --host have no say", hint="leave them out"
            )
        return given
    usual = 0 if portless else PORT
    host, port = arguments.host or HOST, usual if arguments.port is None else arguments.port
    try:
        return sockets.listen(host, port)
    except PortInUse as error:
        for service in services.services(context.store):
            state = service.state
            if state is None or state.plan.port != port or service.status == "ended":
                continue
            if service.status == "unsupervised" and state.plan.path == os.path.realpath(path):
                end(context.store, service.name, 10.0)
                return sockets.listen(host, port)
            renewing = "'corten up --update' renews it, " if state.plan.path == os.path.realpath(path) else ""
            raise PortInUse(
                f"port {port} is in use: '{service.name}' is served there",
                hint=f"{renewing}'corten down {service.name}' ends it; {error.hint}",
            ) from error
        raise


def _check_entry(path: Path, arguments: argparse.Namespace, context: Context) -> bool:
    """Raise UsageError for a project that serves nothing; say what must be set or run beside it. Returns whether it listens on no
    port."""
    from corten.cli.around import tell_needs
    from corten.cli.serving_options import check_served, environment_of
    from corten.project.load import absent_files, load

    project = load(path)
    check_served(project, path)
    for file in absent_files(project):
        context.observe(Warned(file.line, file.hint))
    given = [name for name, _ in environment_of(arguments)]
    tell_needs(project, given, arguments.network, context, env_file=not arguments.env_file)
    return (arguments.ready or project.ready) == RUNNING


def check_values(arguments: argparse.Namespace) -> None:
    """Raise UsageError for what the arguments ask for and nothing can give, whatever is served."""
    from corten.runtime.options import RunOptions

    with_options(RunOptions(), arguments, "predict")
    seconds_of(arguments.idle, None)
    seconds_of(arguments.start_timeout, None)


def _check_only_one(path: Path, context: Context) -> None:
    """Raise UsageError where the project is served already: a second service of it is made only under a name. What a killed
    supervisor of it left is ended."""
    from corten.supervise import services
    from corten.supervise.ending import end

    folder = os.path.realpath(path)
    for service in services.services(context.store):
        state = service.state
        if state is None or state.plan.path != folder or service.status == "ended":
            continue
        if service.status == "unsupervised":
            end(context.store, service.name, 10.0)
            continue
        raise UsageError(
            f"'{service.name}' serves this project already{f', on {state.url}' if state.url else ''}",
            hint=f"'corten up --update' renews it, 'corten down {service.name}' ends it; --name NAME starts one more",
        )


def _check_name(name: str, context: Context) -> None:
    from corten.runtime.options import parse_name
    from corten.supervise import services

    parse_name(name)
    services.check_free(context.store, name)


def _keep(
    plan: Plan,
    image: Image,
    house: House,
    listener: socket.socket,
    context: Context,
    starter: Starter | None,
) -> int:
    """Supervise it in this process."""
    from corten.cli.serving import Output
    from corten.events import TaskFinished, TaskStarted
    from corten.supervise import systemd
    from corten.supervise.starting import starter as containers
    from corten.supervise.supervisor import Supervisor, Surroundings

    terminal = context.terminal

    def ready(name: str) -> None:
        context.observe(TaskFinished("start", image.name))
        systemd.say(os.environ, "READY=1")
        # It asks the server, which may end at this moment: whoever starts it again must not wait for its answer.
        threading.Thread(target=told, daemon=True).start()

    def told() -> None:
        tell(context, listener, plan, image, None)
        _say_exception(output.last, plan.name, context)

    output = Output(terminal.relay)
    try:
        context.observe(TaskStarted("start", image.name))
        start = starter or containers(context.store, context.observe)
        around = Surroundings(
            context.store, house, listener, start, output.descriptor, False, terminal.say, ready
        )
        Supervisor(plan, image, around).run()
        return 0
    except RuntimeFailure as error:
        output.finish()
        raise output.explain(error) from None
    finally:
        output.finish()
        house.remove()


def _detach(plan: Plan, image: Image, house: House, listener: socket.socket, context: Context) -> int:
    """Let a process in the background supervise it; return when it is ready."""
    from corten.events import TaskFinished, TaskStarted
    from corten.supervise.log import last_lines
    from corten.supervise.process import NotStarted, detach

    context.observe(TaskStarted("start", image.name))
    try:
        detach(house, plan, context.store, listener, context.observe)
    except NotStarted as error:
        for line in error.lines:
            context.terminal.say(line)
        raise
    house.release()
    context.observe(TaskFinished("start", image.name))
    tell(context, listener, plan, image, plan.name)
    with suppress(OSError):
        _say_exception(last_lines(house.log), plan.name, context)
    return 0


def _say_exception(lines: Sequence[str], name: str, context: Context) -> None:
    """Say it where a service that answers has printed an exception."""
    from corten.supervise.causes import cause, exception_in

    found = exception_in(lines)
    if found is not None:
        hint = cause(lines) or "its log has the traceback"
        context.observe(Warned(f"'{name}' answers, and has printed an exception: {found}", hint))


def tell(context: Context, listener: socket.socket, plan: Plan, image: Image, detached: str | None) -> None:
    """The URL on standard output, and beside it how to call it and how to stop it. What listens on no port has none."""
    from corten.supervise.sockets import address_of, url_of
    from corten.supervise.starting import ready_of

    portless = plan.forward is not None and ready_of(plan.ready, image) == RUNNING
    url = None if portless else url_of(listener)
    show(context, url, address_of(listener), plan.forward is None, detached)


def show(
    context: Context, url: str | None, address: tuple[str, int], predictor: bool, detached: str | None
) -> None:
    """The same for any URL, whose server is at `address`; None for what listens on no port."""
    from corten.cli.example import command
    from corten.supervise.asking import document

    terminal = context.terminal
    if url is None:
        terminal.say("it runs; it has no URL, for it listens on no port")
        _say_end(context, detached)
        return
    terminal.print(url)
    terminal.say("")
    if predictor:
        found = document(address, "/openapi.json")
        terminal.say(f"  {command(url, found)}")
    else:
        terminal.say(f"  curl {url}/")
    terminal.say("")
    _say_end(context, detached)


def _say_end(context: Context, detached: str | None) -> None:
    context.terminal.say(
        f"end it with 'corten down {detached}', read its log with 'corten logs {detached}'"
        if detached
        else "Ctrl-C stops it"
    )
