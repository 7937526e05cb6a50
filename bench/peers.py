"""What every tool is asked to do, and Corten doing it.

A row is something that happens in a project's life. `job` does everything that comes before, off the clock, and returns the
one command that is timed. Nothing is deleted while measuring: on ext4, making files is much slower for a while after many
were deleted, for everybody.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import projects
from measure import Failed, Job, environment, output_of, run

ROWS = {
    "base-new": "all layers new, base included",
    "all-new": "all layers new",
    "other-project": "another project with the same wheels",
    "other-project-lock": "another project, lock included",
    "unchanged": "nothing changed",
    "code-line": "one code line changed",
    "dependency": "one small dependency added, lock included",
}
"""Rows that are builds, in the order of the table."""

LIGHT_ROWS = frozenset({"unchanged", "code-line"})
"""Rows that even a tool that installs everything anew does in a moment."""


class Peer(Protocol):
    """A tool that builds images."""

    name: str

    def missing(self) -> str | None:
        """Why it cannot take part here; None when it can."""

    def prepare(self) -> None:
        """Bring base image and files to where the tool expects them. Raises Failed."""

    def build_once(self, size: str) -> None:
        """Build the project of a set, so that there is something to reuse. Raises Failed."""

    def job(self, row: str, size: str) -> Job | None:
        """The next run of a row; None when the row means nothing for this tool. Raises Failed."""

    def close(self) -> None:
        """End what was started."""


class Corten:
    """Corten, with a store for every situation: hard-linked copies of prepared ones, so that a copy costs no bytes."""

    name = "corten"

    def __init__(self, work: Path, sizes: list[str], notes: list[str]) -> None:
        self.work = work / "corten"
        self.sizes = sizes
        """The sets that take part; `prepare` takes out those whose packages the configured indexes do not have."""
        self.notes = notes
        self.command = str(Path(sys.executable).with_name("corten"))
        self.seed = self.work / "homes" / "seed"
        """A store that has every file and no layer."""
        self.base = self.work / "homes" / "base"
        """The same with the base layer."""
        self.bundle = work / "bundle"
        """Every file of every set, for `--offline` and for the other tools."""
        self.layout = self.work / "layout"
        """The base as an OCI layout."""
        self._numbers = itertools.count(1)

    def missing(self) -> str | None:
        """Why Corten cannot take part: never."""
        return None

    def home(self, size: str) -> Path:
        """The store in which the project of a set was built."""
        return self.work / "homes" / f"built-{size}"

    def project(self, size: str) -> Path:
        """The project of a set, with its lock."""
        return self.work / "projects" / size

    def invoke(self, home: Path, *arguments: str, **more: Any) -> Job:
        """A command of Corten over the store at `home`."""
        return Job([self.command, *arguments], environment(CORTEN_HOME=str(home)), self.work, **more)

    def call(self, home: Path, *arguments: str) -> str:
        """Run it off the clock and return what it printed. Raises Failed."""
        log = self.new("logs")
        run(self.invoke(home, *arguments), log)
        return output_of(log).read_text()

    def new(self, kind: str) -> Path:
        """A path below `kind` that was never used."""
        return self.work / kind / f"n{next(self._numbers)}"

    def copy(self, home: Path) -> Path:
        """A store like `home`."""
        target = self.new("homes")
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-al", home, target], check=True)
        return target

    def prepare(self) -> None:
        """Lock the sets, fetch every file, make the base layer and export it."""
        self.work.mkdir(parents=True)
        for size in list(self.sizes):
            project = projects.write_project(self.project(size), projects.requirements(size))
            try:
                self.call(self.seed, "lock", str(project), "--download", str(self.bundle))
            except Failed as error:
                self.sizes.remove(size)
                self.notes.append(f"{size} is left out, its packages cannot be had here: {error}")
        if self.sizes:
            # The small dependency's file is here as everything else is, but the resolver has not met it yet.
            scratch = self.copy(self.seed)
            pins = [*projects.requirements(self.sizes[0]), projects.DEPENDENCY]
            changed = projects.write_project(self.new("projects"), pins)
            self.call(scratch, "lock", str(changed), "--download", str(self.bundle))
            subprocess.run(["cp", "-aln", f"{scratch}/files", self.seed], check=True)
        empty = self.work / "projects" / "empty"
        empty.mkdir(parents=True)
        (empty / "main.py").write_text("print(1)\n")
        (empty / "pyproject.toml").write_text('[tool.corten]\ncommand = ["python3", "main.py"]\n')
        self.call(self.seed, "lock", str(empty))
        self.base = self.copy(self.seed)
        self.call(self.base, "build", str(empty))
        self.call(self.base, "save", "empty", str(self.layout))

    def base_archive(self) -> Path:
        """The base layer as a plain tar file."""
        index = json.loads((self.layout / "index.json").read_bytes())
        blobs = self.layout / "blobs" / "sha256"
        manifest = json.loads((blobs / index["manifests"][0]["digest"].split(":")[1]).read_bytes())
        return blobs / manifest["layers"][0]["digest"].split(":")[1]

    def build_once(self, size: str) -> None:
        """Build the set's project in a store of its own."""
        subprocess.run(["cp", "-al", self.base, self.home(size)], check=True)
        self.call(self.home(size), "build", str(self.project(size)))

    def build(self, home: Path, project: Path, *arguments: str) -> Job:
        """A build, as a user types it."""
        return self.invoke(home, "build", str(project), *arguments)

    def job(self, row: str, size: str) -> Job | None:
        """The next run of a row."""
        pins = projects.requirements(size)
        match row:
            case "base-new":
                return self.build(self.copy(self.seed), self._again(size))
            case "all-new":
                return self.build(self.copy(self.base), self._again(size))
            case "other-project" | "other-project-lock":
                place = self.new("projects")
                project = projects.write_project(place, pins[::-1], note=place.name)
                if row == "other-project":
                    self.call(self.home(size), "lock", str(project))
                return self.build(self.home(size), project)
            case "unchanged":
                return self.build(self.home(size), self.project(size))
            case "code-line":
                projects.change_code(self.project(size), self.new("").name)
                return self.build(self.home(size), self.project(size))
            case "dependency":
                project = self._again(size)
                (project / "requirements.txt").write_text("\n".join([*pins, projects.DEPENDENCY, ""]))
                return self.build(self.copy(self.home(size)), project)
        return None

    def document(self, home: Path, project: Path, *arguments: str) -> dict[str, Any]:
        """What `build --json` says. Raises Failed."""
        document: dict[str, Any] = json.loads(self.call(home, "build", str(project), "--json", *arguments))
        return document

    def close(self) -> None:
        """Nothing stays running."""

    def _again(self, size: str) -> Path:
        return projects.copy_project(self.project(size), self.new("projects"))
