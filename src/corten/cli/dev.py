"""`corten dev`: like `up`, and when the project's files change it is built and started again, behind the same socket.

The socket is this process's, and a relay leads from it to the container that serves: a new one takes over when it is ready,
and only then the old one ends. So nobody is refused, and code that does not start never serves.
"""

from __future__ import annotations

import argparse
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.cli.devices import gpus_of
from corten.cli.finding import add_accepted
from corten.cli.serving_options import (
    HOST,
    PORT,
    add_project_arguments,
    add_socket_arguments,
    environment_of,
    inner_port,
    kind_of,
)
from corten.errors import CortenError, RuntimeFailure, UsageError
from corten.values import dataclass

if TYPE_CHECKING:
    from corten.cli.relay import Relay
    from corten.cli.serving import Interrupts, Output
    from corten.store.images import Image
    from corten.supervise.starting import Served, Starter

EXAMPLES = """\
examples:
  corten dev                       the project in this folder, on http://127.0.0.1:8000
  corten dev ./iris --port 9000
  corten dev -e LOG_LEVEL=debug

What was served before is served until the new one is ready, and on where that cannot be built or started."""

_PAUSE = 0.25
"""Seconds between two looks at the files, at least; ten times what a look takes where that is longer."""
_GRACE = 10.0
_HANDING_OVER = 0.2
"""Seconds that the old container has to accept what was led to it just before."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    add_project_arguments(parser)
    add_socket_arguments(parser)
    add_accepted(parser)


def run(arguments: argparse.Namespace, context: Context, starter: Starter | None = None) -> int:
    """Serve until Ctrl-C, and build and start again at every change. Returns 0."""
    from corten.cli import serving
    from corten.supervise import sockets, starting

    arguments.path = arguments.path or Path()
    if not arguments.path.is_dir():
        raise UsageError(f"'{arguments.path}' is not a folder", hint="give a project's folder")
    environment_of(arguments)
    port = PORT if arguments.port is None else arguments.port
    with sockets.listen(arguments.host or HOST, port) as listener, serving.interrupts() as asked:
        from corten.cli.relay import Relay  # with asyncio behind it

        relay = Relay(listener)
        start = starter or starting.starter(context.store, context.observe)
        server = _Server(arguments, context, relay, sockets.url_of(listener), start, asked)
        try:
            while not asked.count:
                seen = snapshot(arguments.path)
                server.renew()
                _wait_for_change(arguments.path, seen, server, asked, context)
        finally:
            server.stop()
            relay.close()
    return 0


def snapshot(path: Path) -> object:
    """What tells one state of a project's files from another: sizes and times of those that go into its image, and of
    those that say how. A project that cannot be read now has a state as well."""
    from corten.project.files import scan
    from corten.project.load import load

    found: list[object] = []
    try:
        project = load(path)
        found.append(scan(project))
        files = {*project.dependencies.files, path / "pyproject.toml"}
    except (CortenError, OSError) as error:
        found.append(str(error))
        files = {path / name for name in ("pyproject.toml", "requirements.txt", "uv.lock")}
    for file in sorted(files):
        try:
            status = os.stat(file)
            found.append((str(file), status.st_size, status.st_mtime_ns, status.st_ino))
        except OSError:
            found.append((str(file), None))
    return found


def _wait_for_change(path: Path, seen: object, server: _Server, asked: Interrupts, context: Context) -> None:
    told = False
    while not asked.count:
        begun = time.monotonic()
        if snapshot(path) != seen:
            return
        if not told and server.has_ended():
            context.terminal.say("waiting for a change")
            told = True
        asked.wait(max(_PAUSE, 10 * (time.monotonic() - begun)))


@dataclass
class _Running:
    image: Image
    served: Served
    output: Output
    listener: socket.socket


class _Server:
    """What is served now, each container behind a socket of its own, to which the relay leads."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        context: Context,
        relay: Relay,
        url: str,
        starter: Starter,
        asked: Interrupts,
    ) -> None:
        self._arguments, self._context = arguments, context
        self._relay, self._url = relay, url
        self._starter, self._asked = starter, asked
        self._now: _Running | None = None
        self._told = False

    def renew(self) -> None:
        """Build the project, and serve it in place of what is served now if it became another image. An error is told,
        and changes nothing."""
        begun = time.monotonic()
        before = self._now
        try:
            image = self._context.build(self._arguments.path)
            if before is not None and before.image.id == image.id and before.served.poll() is None:
                return
            kind_of(image)
        except CortenError as error:
            self._tell(error)
            return
        try:
            fresh = self._begin(image)
        except CortenError as error:
            self._tell(error)
            return
        self._now = fresh
        if before is not None:
            self._asked.wait(_HANDING_OVER)
            self._end(before)
            if not self._asked.count:
                self._context.terminal.say(f"reloaded in {time.monotonic() - begun:.1f} s")

    def has_ended(self) -> bool:
        """Whether nothing is served."""
        return self._now is None or self._now.served.poll() is not None

    def stop(self) -> None:
        """End what is served; what is in flight is finished first."""
        if self._now is not None:
            self._end(self._now)

    def _begin(self, image: Image) -> _Running:
        """Start a container of `image`, and lead to it when it is ready. Raises RuntimeFailure."""
        from corten.cli import serving, up
        from corten.cli.around import tell_before
        from corten.cli.isolation import of_project
        from corten.project.kinds import RUNNING
        from corten.runtime.options import RunOptions
        from corten.supervise import sockets
        from corten.supervise.starting import Start, ready_of

        kind = kind_of(image)
        options = RunOptions(
            environment=environment_of(self._arguments),
            gpus=gpus_of(self._arguments),
            cdi_directories=tuple(self._arguments.cdi_spec_dir),
            engine=self._arguments.engine,
            network=self._arguments.network,
            env_file_given=bool(self._arguments.env_file),
        )
        options = of_project(options, self._arguments.path, self._context)
        given = [name for name, _ in options.environment]
        no_file = not self._arguments.env_file
        tell_before(
            self._arguments.path,
            str(image.id),
            (),
            given,
            options.network,
            self._context,
            env_file=no_file,
        )
        listener = sockets.listen("127.0.0.1", 0)
        output = serving.Output(self._context.terminal.relay)
        forward = None if kind == "predict" else inner_port(image, options.environment)
        heard, notify = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if forward is not None else (None, None)
        how = Start(listener, forward, options, output.descriptor, notify)
        try:
            served = self._starter(image, how)
        except BaseException:
            output.finish()
            listener.close()
            raise
        finally:
            if notify is not None:
                os.close(notify)
        fresh = _Running(image, served, output, listener)
        address = sockets.address_of(listener)
        try:
            if heard is None:
                serving.wait_until_ready(served, address, "/readyz", self._asked)
            else:
                serving.wait_until_told(served, heard, self._context.terminal.say, self._asked)
        except RuntimeFailure as error:
            self._end(fresh)
            raise output.explain(error) from None
        except BaseException:
            self._end(fresh)
            raise
        finally:
            if heard is not None:
                os.close(heard)
        self._relay.lead_to(address)
        if not self._told and not self._asked.count:
            self._told = True
            portless = forward is not None and ready_of(None, image) == RUNNING
            up.show(self._context, None if portless else self._url, address, kind == "predict", None)
        return fresh

    def _end(self, running: _Running) -> None:
        from corten.cli import serving

        if running.served.poll() is None:
            serving.stop(running.served, _GRACE, self._asked)
        running.output.finish()
        running.listener.close()

    def _tell(self, error: CortenError) -> None:
        self._context.terminal.error(error.message, error.hint)
