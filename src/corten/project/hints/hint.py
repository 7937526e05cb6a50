"""A hint: one value that a file of the project gives, with the place that gives it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, Protocol

from corten.project.model import Implied
from corten.values import dataclass, field

Key = Literal[
    "command",
    "release",
    "worker",
    "python",
    "requires-python",
    "system",
    "env",
    "needs-env",
    "needs-service",
    "volume",
    "folder",
    "port",
    "index",
    "requirement",
    "requirements",
    "download",
    "app",
    "gpu",
    "unused",
]

NOT_DONE = "steps of RUN are not done"
"""How an `unused` hint begins that is about something which may be missing in the image."""
MOST_HINTS = 500
"""How many hints one file can give."""


@dataclass(frozen=True, slots=True)
class Hint:
    """`value` for `key`, from line `line` of the file `source` (0: the file as a whole).

    A command's value is its words, with the folder that it runs in (`folder`, relative to the project, `""` for the project's
    own) and the variables that it sets (`env`). `name` is a variable's name, a process type, or a service. `note` says what
    was changed or left out, in words. An `unused` hint is a sentence about something that was read and cannot be taken."""

    key: Key
    value: str | tuple[str, ...]
    source: str
    line: int = 0
    name: str = ""
    folder: str = ""
    env: tuple[tuple[str, str], ...] = ()
    note: str = ""
    others: tuple[str, ...] = ()
    """Further folders of the project that lie in the one that a command runs in (of a Dockerfile that puts several into one)."""

    @property
    def text(self) -> str:
        """The value in one line."""
        import shlex

        return self.value if isinstance(self.value, str) else shlex.join(self.value)

    @property
    def place(self) -> str:
        """The file with its line, as in `Procfile:2`."""
        return f"{self.source}:{self.line}" if self.line else self.source


_MOST_LINES = 5_000
_MOST_IN_LINE = 1_000


def lines(text: str) -> list[str]:
    """The lines of a file, as many and as long as people write them: some expressions take the square of a line's length."""
    return [line[:_MOST_IN_LINE] for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What the hints add to a project beside its command. `said` has a line for each thing taken, or refused although it was
    named; `quiet` those that matter less."""

    system: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    gpu: str | None = None
    volumes: dict[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    implied: tuple[Implied, ...] = ()
    said: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()


class Reads(Protocol):
    """What a reader needs of a project's folder; `corten.project.recognize.folder.Folder` is one. Paths are relative, with `/`."""

    def files(self, ending: str = "") -> Collection[str]:
        """The project's files that end with `ending`."""
        ...

    def has_file(self, path: str) -> bool:
        """Whether `files` has `path`."""
        ...

    def has_folder(self, path: str) -> bool:
        """Whether `path` is a folder of the project; the root is `""`."""
        ...

    def exists(self, path: str) -> bool:
        """Whether something is at `path`, also where it is ignored."""
        ...

    def text(self, path: str, limit: int = ...) -> str | None:
        """The text of a small file; None where there is none, or where it cannot be read."""
        ...
