"""What a recogniser found: one thing that the project could run."""

from __future__ import annotations

from typing import Literal

from corten.project.model import Command, Predictor
from corten.values import dataclass, field

Kind = Literal[
    "predictor",
    "web",
    "ui",
    "worker",
    "command",
    "script",
    "terminal",
    "desktop",
    "notebook",
    "infrastructure",
]
"""`command` is what the project's own files say by name; `script` is a file that runs and ends."""

SERVED: frozenset[Kind] = frozenset({"predictor", "web", "ui", "worker", "command"})
"""Kinds that `corten up` keeps running. The others are named, and `corten run` may run them."""

PLATFORM = 90
"""A file that another tool's projects have says what runs: cog.yaml, a Space's README.md."""
DECLARED = 80
"""A class that derives from `Predictor`."""
APPLICATION = 50
"""A predictor, a web application, an application of a UI framework. One in an unusual place has a little less."""
SCRIPT = 20
"""A script. `main.py` and `[project.scripts]` have a little more."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing that could run. `entry` is None for what Corten can only name; `note` then says what to do.

    `path` is the file where it was found, `note` one sentence about that. `cwd` is the folder, relative to the project, that becomes
    the working directory below /app. `requires` are requirements that Corten adds, and `reason` says why. `env` are variables of the image,
    `ready` what a command is asked until it is ready. `writable`: it writes beside its code. Of several candidates the one
    with the greatest `strength` is taken; equals are an error that lists them."""

    kind: Kind
    entry: Predictor | Command | None
    path: str
    note: str
    strength: int
    cwd: str = ""
    requires: tuple[str, ...] = ()
    reason: str = ""
    env: dict[str, str] = field(default_factory=dict)
    ready: str | None = None
    writable: bool = False
    source: str = ""
    """Which hints it comes from (`corten.project.hints.sources`); empty for what the code says."""
    file: str = ""
    """What of the project a command of `source` starts."""
    target: str = ""
    """What it is called in errors that list several: `app:app`."""
    covers: frozenset[str] = frozenset()
    """Files of the project that it imports: what was found in them is part of it."""

    @property
    def line(self) -> str:
        """The line of `[tool.corten]` that chooses it; empty where none does."""
        import json

        if isinstance(self.entry, Predictor):
            return f"predict = {json.dumps(self.entry.target, ensure_ascii=False)}"
        if isinstance(self.entry, Command):
            command = f"command = {json.dumps(shown(self.entry.argv), ensure_ascii=False)}"
            return f'{command} with workdir = "/app/{self.cwd}"' if self.cwd else command
        return ""


def shown(argv: tuple[str, ...]) -> str:
    """A command as one would write it: words with spaces and the like are quoted, `$PORT` stays a variable."""
    import re
    import shlex

    return " ".join(
        word if re.fullmatch(r"[^\s\"'\\`|&;<>()#~]+", word) else shlex.quote(word) for word in argv
    )
