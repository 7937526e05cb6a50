"""Regular expressions that are compiled when they are first asked: a command imports far more of them than it uses, and each costs
a fifth of a millisecond."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, AnyStr

if TYPE_CHECKING:

    def regex(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
        """As `re.compile`. A pattern that is wrong raises `re.error` when it is first used."""

else:

    class regex:
        """As `re.compile`. A pattern that is wrong raises `re.error` when it is first used."""

        __slots__ = ("__dict__", "_flags", "_text")

        def __init__(self, text, flags=0):
            self._text, self._flags = text, flags

        def __getattr__(self, name):
            # The method stays on this object: it is looked up this way once.
            found = getattr(re.compile(self._text, self._flags), name)
            setattr(self, name, found)
            return found
