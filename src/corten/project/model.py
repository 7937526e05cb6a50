"""The project as values, after validation and detection."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from corten.oci.platform import Platform
from corten.project.build_needs import BuildNeeds
from corten.project.interpreter import Unmet
from corten.values import dataclass, field

Network = Literal["none", "host", "private"]


@dataclass(frozen=True, slots=True)
class Predictor:
    """What is served: `module:Class` or `module:function`, importable with /app and /app/src on the path, or the file of a model
    (`model.joblib`), relative to the project. Where an image serves several, `several` has them as (name, target) in
    the project's order, and `target` is empty."""

    target: str
    several: tuple[tuple[str, str], ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Every target, without the names."""
        return tuple(target for _, target in self.several) or (self.target,)


@dataclass(frozen=True, slots=True)
class Command:
    """What the image runs, in exec form. A web app among them listens on $PORT."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Where the project's dependencies are written; paths are absolute.

    `kind` is the first input that exists in the order of DESIGN section 5: `uv.lock`; `pylock` (pylock.toml); `requirements` (one or more
    files, hashed or loose); `pyproject` (`[project.dependencies]`, with `extras` and `groups`); `none`."""

    kind: Literal["uv.lock", "pylock", "requirements", "pyproject", "none"]
    files: tuple[Path, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Implied:
    """A requirement (PEP 508) that Corten adds to the project's own, and why: `no server is among the dependencies`."""

    requirement: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A module that the program imports as it starts, and that nothing among the dependencies is known to have. One of
    `distributions` (normal names) may come with another package; where none does, `requirement` is added. `where`: `app.py:3`."""

    requirement: str
    distributions: tuple[str, ...]
    module: str
    where: str
    how: str = "imports"

    @property
    def reason(self) -> str:
        """Why it is added, in words."""
        return f"'{self.where}' {self.how} {self.module}, and no requirement brings it"


@dataclass(frozen=True, slots=True)
class Project:
    """A project that can be locked and built. Every value is final: detection and defaults are done.

    `python` is the version that the project asks for (`3.11`, `3.10.4`, `3.13t`), or None when any will do; `python_source` is the
    file that asks for it where it only says how the project runs without Corten; `python_open`: nothing says which one. `base` is
    `debian:bookworm`, `debian:trixie` (each also with `-minimal`), `oci:PATH[:TAG]` or `registry/name@sha256:…`.
    `user` is `uid:gid`, or what the project wrote when it names a user of a base that is an image. `notes` say how what was
    not written was found; `unmet` is what it asks for and cannot have of a Python. `entry` is None for a project that has nothing to run by default (`run . -- CMD` still works).
    `hub` are models of a hub, `hf://org/name@revision`.
    `kind` is what the entry is: `predictor`, `web`, `ui`, `worker`, `command`, `script` and others (`corten.project.recognize.candidates`).
    `source` is the file in which the entry was found; empty where the project says it itself.
    `folders` are folders that a command may write to, as a Dockerfile makes them; absolute in the image.
    `alias` is a path that leads to /app, where the tool that the project was written for puts it: `/src`.
    `implied` are requirements beyond those that the project writes; they are locked and hashed like these. `taken` has a line for
    each thing that files of other tools gave (`corten.project.hints`). `optional_system` are those of `system` that
    may be left out where Debian does not have them. `unlisted` are imports
    that may need more. `unknown` are modules, each with its place, of which it is not known where they come from.
    `unused` are files with dependencies that are not read.
    `build_system` are Debian packages that sources are built with and no image has.
    `scripts` are `[project.scripts]` as (name, "module:function"). `ready` is the path that a command is asked until it answers,
    or `tcp`; None: `/`."""

    root: Path
    name: str
    entry: Predictor | Command | None
    dependencies: Dependencies
    platforms: tuple[Platform, ...]
    python: str | None = None
    python_source: str = ""
    python_open: bool = False
    requires_python: str | None = None
    base: str = "debian:bookworm"
    system: tuple[str, ...] = ()
    build_system: tuple[str, ...] = ()
    build_needs: BuildNeeds = BuildNeeds()
    models: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_secrets: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    user: str = "65532:65532"
    workdir: str = "/app"
    alias: str = ""
    gpu: str = "auto"
    network: Network = "none"
    shm_size: str | None = None
    volumes: dict[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    ready: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    scripts: tuple[tuple[str, str], ...] = ()
    version: str | None = None
    compression: str = "gzip"
    notes: tuple[str, ...] = ()
    unmet: Unmet | None = None
    implied: tuple[Implied, ...] = ()
    taken: tuple[str, ...] = ()
    optional_system: tuple[str, ...] = ()
    kind: str = ""
    source: str = ""
    unlisted: tuple[Unlisted, ...] = ()
    unknown: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the project as `lstat` saw it. `path` is relative to the root, with `/`; `link` the target of a
    symbolic link that stays inside the project, None for a regular file. Times are nanoseconds."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    executable: bool
    link: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """What of the project goes where, each sorted by path: `code` to /app, `weights` to /models with a link in /app.
    `left_out` lists what the default and the project's own excludes kept out, for `build -v`. `missing` are declared
    models that match nothing. `stores` are folders that hold a store of Corten, which never enters an image. Of what is left
    out, `secrets` are those that hold secrets and `by_docker` those that `.dockerignore` names; `brought` are files that hold
    secrets and go into the image all the same; `unread` are ignore files that another one stands in for. `although_ignored` are weights that go
    in although git ignores them; `in_ignored` are some that stay out because git ignores their whole folder. `unknown_tracked`:
    git's index cannot be read, so what git both tracks and ignores stays out."""

    code: tuple[SourceFile, ...]
    weights: tuple[SourceFile, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    by_docker: tuple[str, ...] = ()
    brought: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    although_ignored: tuple[str, ...] = ()
    in_ignored: tuple[str, ...] = ()
    unknown_tracked: bool = False
