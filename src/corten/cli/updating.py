"""`corten up --update`: what serves is replaced by a new container, which gets the same socket."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.cli.serving_options import inner_port, kind_of, patience_of, ready_of, seconds_of, with_options
from corten.errors import RuntimeFailure, UsageError

if TYPE_CHECKING:
    from corten.store.images import Image
    from corten.supervise.services import Plan, Service, State


def update(arguments: argparse.Namespace, context: Context) -> int:
    """Build, start beside what serves, hand over. Returns 0; what served before serves on when this raises."""
    from corten.cli.up import image_of
    from corten.events import TaskFinished, TaskStarted
    from corten.supervise import control
    from corten.values import asdict

    service, state = _running(arguments, context)
    path = arguments.path
    if path is None:
        path = Path(state.plan.path or state.plan.image)
    image = image_of(path, context)
    plan = _plan(arguments, state, image, path, context)
    terminal = context.terminal
    if plan == state.plan and service.status == "ready":
        terminal.say(f"'{service.name}' runs this image already")
        terminal.print(state.url)
        return 0
    context.observe(TaskStarted("start", image.name))
    try:
        control.tell(service.directory, do="update", plan=asdict(plan))
    except control.Refused as error:
        for line in error.lines:
            terminal.say(line)
        from corten.supervise.causes import cause

        found = cause(error.lines)
        error.hint = f"{found}; {error.hint}" if found and error.hint else found or error.hint
        raise
    context.observe(TaskFinished("start", image.name))
    terminal.print(state.url)
    terminal.say(f"'{service.name}' is updated; the old container finishes what it has")
    return 0


def _running(arguments: argparse.Namespace, context: Context) -> tuple[Service, State]:
    """The service that is meant, which has a supervisor. Raises RuntimeFailure, UsageError."""
    from corten.supervise import services

    if arguments.port is not None or arguments.host is not None:
        raise UsageError(
            "an update keeps the socket, so --port and --host have no say",
            hint="for another address: corten down, and then corten up --port PORT",
        )
    path = arguments.path or Path()
    service = services.the_service(
        context.store, arguments.name, path, strictly=arguments.path is not None or path.is_dir()
    )
    if not service.supervised or service.state is None:
        raise RuntimeFailure(
            f"'{service.name}' has no supervisor any more, so it cannot be updated",
            hint=f"corten down {service.name}, and then corten up --detach",
        )
    return service, service.state


def _plan(arguments: argparse.Namespace, state: State, image: Image, path: Path, context: Context) -> Plan:
    """What ran, with what the arguments change. Raises UsageError."""
    import os

    from corten.cli.isolation import settled
    from corten.values import replace

    before = state.plan
    kind = kind_of(image)
    # What the project before asked for is not passed on to what comes in its place.
    options = settled(with_options(before.options, arguments, kind), image, path, context)
    return replace(
        before,
        image=image.name,
        image_id=str(image.id),
        forward=None if kind == "predict" else inner_port(image, options.environment),
        options=options,
        path=os.path.realpath(path) if path.is_dir() else None,
        idle=seconds_of(arguments.idle, before.idle),
        patience=seconds_of(arguments.start_timeout, before.patience)
        if (before.forward is None) == (kind == "predict")
        else patience_of(arguments, kind),
        ready=ready_of(arguments, kind, before.ready),
    )
