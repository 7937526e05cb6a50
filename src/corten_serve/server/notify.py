"""Telling whoever passed the listening socket in that requests are taken (`CORTEN_NOTIFY_FD`, as sd_notify(3) with a pipe).

Whoever holds the socket beside us can give it to another server. So while it waits for our word, nothing is accepted: what
waits in the socket's queue is answered by the server that is ready, whichever that is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from corten_serve.settings import SettingsError

VARIABLE = "CORTEN_NOTIFY_FD"


class Notice:
    """The word that this server is ready, to be said once. `awaited`: somebody waits for it."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)

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
        return self._descriptor is not None

    def ready(self) -> None:
        """Say it. It is no error when whoever waited is gone."""
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, b"READY=1\n")
        except OSError:
            pass
        finally:
            os.close(self._descriptor)
            self._descriptor = None
