"""Every kind of file that gives hints, in the order in which their commands count, and reading each of them once."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from corten.project.hints import names
from corten.project.hints.hint import Hint, Key, Reads
from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """`reader` is `module:function` of this package; `strength` is that of its commands among what else is recognised
    (`corten.project.recognize.candidates`), 0 where it gives none. `names` are where its files lie: no reader is loaded without one. `files` and `gives` are the words of the documentation."""

    name: str
    reader: str
    strength: int
    files: str
    gives: str
    names: tuple[str, ...]


SOURCES: tuple[Source, ...] = (
    Source(
        "Procfile",
        "procfile:read",
        95,
        "`Procfile`",
        "`web:` is the command; `release:` is named as a step to run first; without `web:`, the only other type is a worker",
        names.PROCFILE,
    ),
    Source(
        "Dockerfile",
        "docker:read",
        70,
        "`Dockerfile`, `Containerfile`, one in `docker/` or `deploy/`, or the only `Dockerfile.*`: its last stage with what it stands on",
        "`CMD` and `ENTRYPOINT` with `WORKDIR` and `COPY` (the command and its folder), the Python of `FROM`, `apt-get install`, "
        "`pip install` of packages and files, `ENV`, the folders that it creates (the application can write to them); downloads and other steps of `RUN` are named",
        names.DOCKERFILE,
    ),
    Source(
        "compose",
        "compose:read",
        65,
        "`compose.yaml`, `docker-compose.yml`: the services that are built from the project",
        "`command`, `environment`, named volumes, the names of variables that must be set, and databases, queues and stores beside them",
        names.COMPOSE,
    ),
    Source(
        "devcontainer",
        "editors:read_devcontainer",
        60,
        "`.devcontainer/devcontainer.json`",
        "`postAttachCommand`",
        names.DEVCONTAINER,
    ),
    Source(
        "launch",
        "editors:read_launch",
        42,
        "`.vscode/launch.json`",
        "the only configuration that starts a program of the project",
        names.LAUNCH,
    ),
    Source(
        "scripts",
        "tool_scripts:read",
        41,
        "`pyproject.toml`: scripts of Poetry, PDM, taskipy, Poe the Poet and Hatch named `serve`, `start`, `run` and the like",
        "the command",
        names.PYPROJECT,
    ),
    Source(
        "Makefile",
        "makefile:read",
        40,
        "`Makefile`, `justfile`: targets of those names",
        "the command",
        names.MAKEFILE,
    ),
    Source(
        "README",
        "readme:read",
        30,
        "`README`",
        "the only command shown that serves something of the project, such as `streamlit run app.py`",
        names.README,
    ),
    Source(
        "cog",
        "cog_yaml:read",
        0,
        "`cog.yaml`",
        "the Python, packages, requirements files, system packages, variables; what its `run` lines install; its other steps are named",
        names.COG,
    ),
    Source(
        "spaces",
        "spaces:read",
        0,
        "`README.md` of a Space of Hugging Face",
        "the Python; models that would be loaded from the hub are named",
        names.SPACES,
    ),
    Source(
        "mlflow",
        "mlflow:read",
        0,
        "`python_env.yaml` beside `MLmodel`",
        "the Python of a model of MLflow",
        names.MLFLOW,
    ),
    Source(
        "app.json",
        "appjson:read",
        0,
        "`app.json`",
        "variables, with their values or as names that must be set",
        names.APP_JSON,
    ),
    Source(
        "env",
        "env_example:read",
        0,
        "`.env.example`, `.env.sample`, `.env.template`",
        "names of variables that must be set: those without a value, with a placeholder, or named like a key or password",
        names.ENV_EXAMPLE,
    ),
    Source(
        "packages",
        "apt_files:read",
        0,
        "`packages.txt`, `Aptfile`, `apt.txt`",
        "Debian packages",
        names.PACKAGES,
    ),
    Source(
        "python",
        "pythons:read",
        0,
        "`.python-version`, `runtime.txt`, `.tool-versions`, `Pipfile`, `environment.yml`, `setup.cfg`, `setup.py`, Poetry's `python`",
        "the Python",
        names.PYTHON,
    ),
)
_BESIDE = ("Procfile", "cog", "Dockerfile", "app.json", "packages", "spaces")
_BY_NAME = {source.name: source for source in SOURCES}


class Hints:
    """The hints of one project's folder. A file is read when something asks for what it gives."""

    def __init__(self, folder: Reads) -> None:
        self.folder = folder
        self.refused: list[str] = []
        """Sentences about commands that were not taken."""
        self._read: dict[str, tuple[Hint, ...]] = {}

    def of(self, name: str) -> tuple[Hint, ...]:
        """Every hint of one source."""
        if name not in self._read and not self._present(_BY_NAME[name]):
            self._read[name] = ()
        if name not in self._read:
            module, _, function = _BY_NAME[name].reader.partition(":")
            read = getattr(importlib.import_module(f"corten.project.hints.{module}"), function)
            self._read[name] = cast(Callable[[Reads], tuple[Hint, ...]], read)(self.folder)
        return self._read[name]

    def _present(self, source: Source) -> bool:
        if any(self.folder.exists(path) for path in source.names):
            return True
        return source.name == "Dockerfile" and any(
            "/" not in path and "dockerfile" in path.lower() for path in self.folder.files()
        )

    def with_key(self, key: Key, *names: str) -> list[Hint]:
        """The hints with `key` of the sources `names`, in that order."""
        return [hint for name in names for hint in self.of(name) if hint.key == key]

    def of_python(self) -> list[Hint]:
        """The hints about a Python beside `.python-version` and `runtime.txt`, the clearest first."""
        return [
            hint
            for hint in (
                *self.of("cog"),
                *self.of("spaces"),
                *self.of("mlflow"),
                *self.of("python"),
                *self.of("Dockerfile"),
            )
            if hint.key in ("python", "requires-python")
            and hint.source not in (".python-version", "runtime.txt")
        ]

    def any_beside(self, chosen: str) -> bool:
        """Whether a file may add something beside the command of the source `chosen`, or a command was not taken."""
        return bool(self.refused) or any(self.of(name) for name in (*_BESIDE, *([chosen] if chosen else [])))

    def refuse(self, sentence: str) -> None:
        """Remember why a command was not taken."""
        if sentence not in self.refused:
            self.refused.append(sentence)


def strength_of(name: str) -> int:
    """The strength of a source's commands."""
    return _BY_NAME[name].strength
