"""The worker process: the project's code in the project's environment, answering frame by frame.

Started by the server with the socket as descriptor 3 and the board as descriptor 4. The board is memory that both share:
in its first word the worker notes the id of the request that it began last, so that the server knows, when the worker dies,
which requests were never begun and can safely be given to the next one; in its second the server names the request that is
to be given up.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import sys

from corten_serve import frames
from corten_serve.errors import PredictorError
from corten_serve.worker import forks
from corten_serve.worker.answering import Answering
from corten_serve.worker.channel import Channel
from corten_serve.worker.held import Held
from corten_serve.worker.lifetime import Guard, end_with_the_server
from corten_serve.worker.output import install
from corten_serve.worker.starting import concurrency, prepare_path, ready_document, start
from corten_serve.worker.tracebacks import user_traceback

CHANNEL, BOARD = 3, 4


def main() -> int:
    """The process: descriptors 3 and 4, and `CORTEN_` variables (see `starting`, `output`). Returns the exit code."""
    end_with_the_server()
    for descriptor in (CHANNEL, BOARD):
        os.set_inheritable(descriptor, False)
    channel = socket.socket(fileno=CHANNEL)
    channel.setblocking(True)
    board = memoryview(mmap.mmap(BOARD, frames.BOARD_SIZE))
    guard, held = Guard(board[: frames.HELD_AT].cast("Q")), Held(board)
    environment = dict(os.environ)
    output = install(environment)
    prepare_path(environment.get("CORTEN_APP", "/app"))
    speak = Channel(channel)
    forks.part((CHANNEL, BOARD), guard.forget, held.forget)
    try:
        answering = start(environment, output)
        most = concurrency(answering, environment)
    except PredictorError as error:
        if forks.child:
            forks.end(error)
        body = f"{error.message}\0{error.hint or ''}".encode(errors="replace")
        speak.send([frames.Item(0, frames.FAILED, body=body)])
        return 1
    try:
        _serve(channel, speak, guard, held, answering, most)
    except (BrokenPipeError, ConnectionResetError):
        pass  # The server is gone, and with it everybody who could want an answer.
    finally:
        if forks.child:
            forks.end()
        _teardown(answering)
    return 0


def _serve(
    channel: socket.socket, speak: Channel, guard: Guard, held: Held, answering: Answering, most: int
) -> None:
    """Announce the predictor and answer calls until the server closes the channel, or SIGTERM."""
    import gc

    described = ready_document(answering, most)
    # What the project has loaded stays for good; going through it again and again would only stop requests.
    gc.collect()
    gc.freeze()
    guard.install()
    speak.send([frames.Item(0, frames.READY, body=described)])
    if answering.loaded.asynchronous:
        from corten_serve.worker.async_service import AsyncService

        AsyncService(guard, held, answering, most).run(channel)
    else:
        from corten_serve.worker.sync_service import SyncService

        SyncService(speak, guard, held, answering).run()


def _teardown(answering: Answering) -> None:
    """Let the project clean up. What it raises is logged, and changes nothing any more."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        answering.loaded.teardown()
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        answering.output.report(user_traceback(error))


if __name__ == "__main__":
    sys.exit(main())
