"""Telling whoever passed the listening socket in that requests are taken (`CORTEN_NOTIFY_FD`, as sd_notify(3) with a pipe).

`READY=1` comes once, and then `BUSY=1` once a second while requests are worked on, so that whoever holds the socket knows when
nobody needs us. It can give the socket to another server. So while it waits for our word, nothing is accepted: what
waits in the socket's queue is answered by the server that is ready, whichever that is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from corten_serve.settings import SettingsError

VARIABLE = "CORTEN_NOTIFY_FD"


class Notice:
    """What this server says. `awaited`: somebody waits for the word that it is ready; `lately`: there was work when it was
    last looked for."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self.lately = False
        self._said = False
        self._work = 0
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
            # Nobody who does not read may hold a server up.
            os.set_blocking(descriptor, False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Notice:
        """As the environment says. Raises SettingsError where the descriptor is none."""
        text = environment.get(VARIABLE, "")
        if not text:
            return cls(None)
        try:
            return cls(int(text))
        except (ValueError, OSError):
            raise SettingsError(
                f"'{VARIABLE}' is '{text[:20]}', which is no open descriptor", hint=f"unset {VARIABLE}"
            ) from None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits, who has not been told."""
        return self._descriptor is not None and not self._said

    def ready(self) -> None:
        """Say that requests are taken. It is no error when whoever waited is gone."""
        self._said = True
        self._say(b"READY=1\n")

    def worked(self, done: int, going: bool) -> None:
        """Say whether there was work since the last time: `done` counts it, `going` says that there is some now."""
        self.lately = going or done != self._work
        self._work = done
        if self._said and self.lately:
            self._say(b"BUSY=1\n")

    def _say(self, word: bytes) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.write(self._descriptor, word)
