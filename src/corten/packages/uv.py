"""The one module that runs uv: resolving requirements for a target.

uv reads no file of the project. It gets lines and a configuration that Corten has written from what it parsed
(`corten.packages.uv_lines`, `corten.packages.indexes`), in a directory of the store that only this user can read. It has an empty home,
no programs to call (no git, no ssh), and of this process's variables those that say how the network is reached. It never builds
(`--only-binary`) and never downloads a Python. Where this machine has namespaces it runs in a sandbox (`uv_confinement.py`).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from corten.errors import CortenError, FormatError, NoSandbox
from corten.events import Note, Observer, ignore
from corten.lazy import regex
from corten.packages.compatibility import Target
from corten.packages.indexes import Indexes
from corten.packages.requirements import normal_name, parse_requirement
from corten.packages.uv_confinement import confinement, interpreter
from corten.packages.uv_lines import local_wheel
from corten.packages.uvconfig import project_toml
from corten.sandbox.process import Finished, run
from corten.values import dataclass, field

_PIN = regex(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:==\s*([^\s;]+)|@\s*(\S+))")
_WORD = regex(r"[A-Za-z0-9](?:[A-Za-z0-9._+!-]*[A-Za-z0-9])?")
_LONGEST = 900
_MOST = 64 << 20


class UvFailed(Exception):
    """uv ended with an error; the argument is what it printed, without credentials."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to resolve: `lines` of requirements, `sources` of single packages (their entries of uv's `tool.uv.sources`, by
    name) and `constraints`. `preferences` are versions that hold as long as they can. `backend` is uv's torch backend; `alone`
    leaves dependencies out."""

    target: Target
    lines: tuple[str, ...] = ()
    sources: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    preferences: Mapping[str, str] = field(default_factory=dict)
    backend: str | None = None
    alone: bool = False
    overrides: tuple[str, ...] = ()
    """Requirements that hold in the place of all others of their names."""
    hasty: bool = False
    """An index that does not answer at once is not asked again."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What uv may take from its cache. `alone`: everything, however old, and nothing else; otherwise what the indexes
    allow, but nothing about the packages `without`, or about any with `anew`."""

    alone: bool = False
    without: tuple[str, ...] = ()
    anew: bool = False


class Uv:
    """uv with these `indexes`. `directory` is empty and private, and lives as long as this."""

    def __init__(self, indexes: Indexes, directory: Path, cache: Path, observe: Observer = ignore) -> None:
        self.indexes = indexes
        self._observe = observe
        self._wheels: set[str] = set()
        self._directory = directory
        self._environment = indexes.uv_environment()
        self._cache = cache
        self._default: str | None = None
        self._count = 0

    def default_index(self) -> str:
        """The address of the index that uv asks where nobody configured one, by uv's own word."""
        if self._default is None:
            printed = self._run(
                [
                    "pip",
                    "compile",
                    "-",
                    "--no-config",
                    "--offline",
                    "--emit-index-url",
                    f"--python={interpreter()}",
                ],
                text="\n",
            )
            match = re.search(r"^--index-url\s+(\S+)", printed, re.MULTILINE)
            if match is None:
                raise CortenError("uv does not say what its default index is", hint="set PIP_INDEX_URL")
            self._default = match[1]
        return self._default

    def pins(self, request: Request, memory: Memory) -> dict[str, str]:
        """Every package of the resolution with its version, or with the address that it comes from. Reads no wheel.
        Raises UvFailed."""
        work = self._work()
        output = work / "requirements.txt"
        output.write_text(
            "".join(f"{name}=={version}\n" for name, version in _preferred(request)), encoding="utf-8"
        )
        self._compile(request, memory, work, output, "requirements.txt")
        pins: dict[str, str] = {}
        for line in output.read_text(encoding="utf-8").splitlines():
            match = _PIN.match(line)
            if match is not None:
                pins[normal_name(match[1])] = match[2] or match[3]
        return pins

    def packages(self, request: Request, memory: Memory) -> list[dict[str, Any]]:
        """Every package of the resolution as pylock.toml's `packages` has it (PEP 751). Raises UvFailed."""
        work = self._work()
        output = work / "pylock.toml"
        preferred = _preferred(request)
        if preferred:
            lines = ['lock-version = "1.0"', 'created-by = "corten"']
            for name, version in preferred:
                lines += ["[[packages]]", f'name = "{name}"', f'version = "{version}"']
            output.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._compile(request, memory, work, output, "pylock.toml")
        return _packages(output.read_text(encoding="utf-8"))

    def _work(self) -> Path:
        self._count += 1
        work = self._directory / str(self._count)
        work.mkdir(mode=0o700)
        return work

    def _compile(self, request: Request, memory: Memory, work: Path, output: Path, form: str) -> None:
        config = work / "uv.toml"
        _write(config, self.indexes.uv_toml())
        lines = [self._line(text) for text in request.lines]
        if request.sources:
            asked = work / "pyproject.toml"
            _write(asked, project_toml(lines, request.sources, self.indexes.uv_indexes()))
        else:
            asked = work / "requirements.in"
            _write(asked, "\n".join(lines) + "\n")
        command = ["pip", "compile", str(asked)]
        if request.constraints:
            constraints = work / "constraints.in"
            _write(constraints, "\n".join(self._line(text) for text in request.constraints) + "\n")
            command.append(f"--constraint={constraints}")
        if request.overrides:
            overrides = work / "overrides.in"
            _write(overrides, "\n".join(self._line(text) for text in request.overrides) + "\n")
            command.append(f"--override={overrides}")
        command += [f"--output-file={output}", f"--format={form}", f"--config-file={config}"]
        command += ["--no-header", "--no-annotate", "--only-binary=:all:", f"--python={interpreter()}"]
        command += [
            f"--python-version={request.target.python}",
            f"--python-platform={request.target.uv_platform}",
        ]
        if request.backend is not None:
            command.append(f"--torch-backend={request.backend}")
        if request.alone:
            command.append("--no-deps")
        if memory.anew:
            command.append("--refresh")
        if memory.alone:
            command.append("--offline")
        command += [f"--refresh-package={name}" for name in memory.without]
        self._run(command, work, hasty=request.hasty)

    def _line(self, text: str) -> str:
        """A requirement once more through the reader: whoever made it, uv gets nothing but names and addresses of wheels."""
        item = parse_requirement(text)
        wheel = local_wheel(item)
        if wheel is not None:
            self._wheels.add(str(wheel))
        return self.indexes.line(item)

    def _run(
        self,
        arguments: Sequence[str],
        work: Path | None = None,
        text: str | None = None,
        hasty: bool = False,
    ) -> str:
        """What uv prints. Raises UvFailed."""
        environment = {"UV_CACHE_DIR": str(self._cache), **self._environment}
        if hasty:
            environment = {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "20", **environment}
        done = run_uv(
            [*arguments, "--quiet"],
            environment,
            directory=self._directory,
            places=[*self.indexes.local_places(), *self._wheels],
            working=work or self._directory,
            data=(text or "").encode(),
            observe=self._observe,
        )
        if done.late:
            raise CortenError(
                f"uv did not finish within {_LONGEST // 60} minutes", hint="check the network and the index"
            )
        if done.code != 0:
            said = done.errors.decode(errors="replace")
            raise UvFailed(self.indexes.redacted(said.replace(f"{self._directory}/", "")))
        return done.output.decode(errors="replace")


def run_uv(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    directory: Path,
    places: Sequence[str] = (),
    working: Path | None = None,
    data: bytes = b"",
    observe: Observer = ignore,
) -> Finished:
    """uv's end, in a sandbox where this machine has namespaces. It may write to `directory` and to the folder that `UV_CACHE_DIR` in
    `environment` names, and read `places` of this machine. Raises CortenError where uv is not installed or does not start."""
    from uv import find_uv_bin

    try:
        command = [find_uv_bin(), *arguments]
    except FileNotFoundError as error:
        raise CortenError(
            "uv is not installed beside Corten", hint="install Corten again, or: pip install uv"
        ) from error
    # An empty PATH would be searched as the current folder, and without one the system's own is searched.
    nothing = directory / "empty"
    nothing.mkdir(mode=0o700, exist_ok=True)
    environment = {**environment, "TMPDIR": str(directory)}
    for name in ("PATH", "HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME"):
        environment[name] = str(nothing)
    cache = Path(environment["UV_CACHE_DIR"])
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        confined = confinement(
            command,
            environment,
            directory=directory,
            cache=cache,
            places=places,
            working=working or directory,
            seconds=_LONGEST,
        )
        done = run(confined, data, most=_MOST)
    except NoSandbox as error:
        _tell_once(observe, error)
        done = _without_sandbox(command, environment, working or directory, data)
    except OSError as error:
        raise CortenError(f"uv cannot be started: {(error.strerror or str(error)).lower()}") from error
    _make_private(cache / ".lock")
    return done


def _make_private(path: Path) -> None:
    """uv opens its lock file to everybody."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


def _without_sandbox(
    command: Sequence[str], environment: Mapping[str, str], working: Path, data: bytes
) -> Finished:
    try:
        done = subprocess.run(
            command,
            input=data,
            capture_output=True,
            cwd=working,
            env=environment,
            timeout=_LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finished(1, b"", b"", late=True)
    except OSError as error:
        raise CortenError(f"uv cannot be started: {(error.strerror or str(error)).lower()}") from error
    return Finished(done.returncode, done.stdout, done.stderr)


_told = False


def _tell_once(observe: Observer, error: NoSandbox) -> None:
    global _told
    if not _told:
        _told = True
        observe(Note(f"uv runs without a sandbox: {error.message}", verbose=True))


def _preferred(request: Request) -> list[tuple[str, str]]:
    """The preferences that are a name and a version. They come from a lock, and so from elsewhere."""
    return [pair for pair in request.preferences.items() if all(_WORD.fullmatch(word) for word in pair)]


def _write(path: Path, text: str) -> None:
    """A new file that only this user can read: there may be credentials in it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _packages(text: str) -> list[dict[str, Any]]:
    import tomllib

    try:
        packages = tomllib.loads(text).get("packages", [])
    except ValueError as error:
        raise FormatError("uv's answer is not TOML", hint="update uv") from error
    if not isinstance(packages, list) or not all(isinstance(item, dict) for item in packages):
        raise FormatError("uv's answer has no packages", hint="update uv")
    return packages
