"""The `corten` command as the tests run it: a real process with a store of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Corten:
    """The command with a store of its own choice."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str | Path) -> list[str]:
        """What to execute."""
        return [sys.executable, "-P", "-m", "corten", *map(str, arguments)]

    def variables(self) -> dict[str, str]:
        """The environment to execute it in."""
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        return {**inherited, "CORTEN_HOME": str(self.home), **self.environment}

    def __call__(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        code: int | None = 0,
        timeout: float = 300,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end. `code` is the exit code that must come; None for any."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=cwd,
            env=self.variables(),
            text=True,
            timeout=timeout,
            check=False,
            **{"stdin": subprocess.DEVNULL, "capture_output": True, **options},
        )
        if code is not None:
            assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def build(self, project: Path, *arguments: str) -> dict[str, Any]:
        """`corten build --json`."""
        document: dict[str, Any] = json.loads(self("build", project, "--json", *arguments).stdout)
        return document

    def at(self, home: Path, **environment: str) -> Corten:
        """The same command with another store or environment."""
        return Corten(home, {**self.environment, **environment})


def link_files(source: Path, home: Path, *, names: Sequence[str] = ("files",)) -> None:
    """Give a store the fetched files of another, by hard links; `debian` is what it knows of Debian's signed indexes."""
    for name in names:
        subprocess.run(["cp", "-al", f"{source}/{name}", f"{home}/"], check=True)
