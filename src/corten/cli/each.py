"""Doing the same with several names: one that fails keeps no other from being done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from corten.cli.context import Context
from corten.errors import CortenError


def each(names: Sequence[str], act: Callable[[str], None], context: Context) -> int:
    """Call `act` with each name. A failure is told, and the exit code is 1 then; that of a single name is raised."""
    if len(names) == 1:
        act(names[0])
        return 0
    code = 0
    for name in names:
        try:
            act(name)
        except CortenError as error:
            context.terminal.error(error.message, error.hint)
            code = 1
    return code
