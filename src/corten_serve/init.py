"""Process 1 for commands: starts one, forwards signals to it, reaps orphans, and ends as it ends.

The kernel gives process 1 no default action for signals, and makes it the parent of every orphan; a program that was
not written for that ignores SIGTERM and leaves zombies behind.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
)
_RESTORED = (*_FORWARDED, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTTOU)


def run_command(argv: Sequence[str]) -> int:
    """Run `argv`. As process 1 its exit code is returned (128 + n for signal n); otherwise it replaces this process.

    A command that does not exist is 127, one that cannot be executed 126, as a shell gives them."""
    try:
        if os.getpid() != 1:
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.execvp(argv[0], list(argv))
        return _supervise(argv)
    except FileNotFoundError:
        print(f"error: there is no command '{argv[0]}' in this image", file=sys.stderr)
        return 127
    except OSError as error:
        print(
            f"error: '{argv[0]}' cannot be executed: {(error.strerror or str(error)).lower()}",
            file=sys.stderr,
        )
        return 126


def _supervise(argv: Sequence[str]) -> int:
    terminal = os.isatty(0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    child = os.posix_spawnp(argv[0], list(argv), os.environ, setpgroup=0, setsigmask=(), setsigdef=_RESTORED)
    if terminal:
        # A group of its own, in front: the terminal's Ctrl-C reaches the command once, and not twice through us.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(OSError):  # Not our terminal: then its signals do not come from it either.
            os.tcsetpgrp(0, child)
    while True:
        number = signal.sigwait({*_FORWARDED, signal.SIGCHLD})
        if number != signal.SIGCHLD:
            with suppress(ProcessLookupError):
                os.kill(child, number)
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
