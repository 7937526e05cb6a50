"""The entry of an image with a predictor: `serve` (the default), `train`, or any command.

Started as process 1 it has that process's duties: the server reaps orphans itself, a command is run by `init`.
Only light imports happen before the worker is started; the server's own are done while the worker does its.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress

from corten_serve.settings import Settings, SettingsError

_MEMORY = "dirty_decay_ms:0,muzzy_decay_ms:0"
"""What Granian's jemalloc is told: it would keep what connections had, and after some bursts that is twice the highest need.
Not for the workers: they have allocators of their own."""


def main(argv: Sequence[str]) -> int:
    """The exit code of what the arguments ask for: 1 for a failure with a reason, 2 for wrong usage."""
    verb = argv[0] if argv else "serve"
    if verb == "serve":
        if len(argv) > 1:
            return _fail(
                f"'serve' takes no arguments, got '{argv[1]}'", "it is configured by the environment", 2
            )
        return _serve()
    if verb == "train":
        return _fail(
            "this image serves a predictor and has no training command",
            "run the training script as a command: 'python train.py'",
            2,
        )
    from corten_serve.init import run_command

    return run_command(argv)


def _serve() -> int:
    begun = time.perf_counter()
    # Process 1 ignores signals that it has no handler for. Until the server has its own, the end is immediate.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    environment = dict(os.environ)
    os.environ.setdefault("_RJEM_MALLOC_CONF", _MEMORY)
    _stand_in()
    try:
        from corten_serve.server.files import raise_limit
        from corten_serve.server.listener import open_listener
        from corten_serve.server.process import spawn_first

        settings = Settings.from_environment(environment)
        listener = open_listener(settings)
        files = raise_limit()
        workers = spawn_first(settings, environment)
    except SettingsError as error:
        return _fail(error.message, error.hint, 1)
    from corten_serve.server.serving import run

    return run(settings, listener, workers, environment, begun, files)


def _stand_in() -> None:
    """Give standard streams that are closed a place. The next file that is opened would get their numbers, and our log."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)


def _fail(message: str, hint: str | None, code: int) -> int:
    from corten_serve.server.lines import Said, as_json, as_text

    write = as_json if os.environ.get("CORTEN_LOG_FORMAT", "").lower() == "json" else as_text
    with suppress(OSError):  # Where nobody can be told, the exit code says it.
        os.write(2, write(Said(time.time(), f"error: {message}", hint, {})).encode(errors="backslashreplace"))
    return code
