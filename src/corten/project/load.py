"""A folder → Project: reads pyproject.toml, validates `[tool.corten]`, and finds what is not written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corten.errors import ProjectError
from corten.oci.platform import Platform
from corten.project import dependencies, interpreter, locate
from corten.project import settings as written
from corten.project.build_needs import build_needs
from corten.project.distributions import normal
from corten.project.hints.hint import Taken
from corten.project.hints.sources import Hints
from corten.project.kinds import MODEL_FILES, TABLE, VARIABLE, described
from corten.project.model import Command, Dependencies, Implied, Predictor, Project, Unlisted
from corten.project.needed import Needed
from corten.project.recognize.candidates import Candidate
from corten.project.recognize.choose import choose
from corten.project.recognize.facts import Facts
from corten.project.recognize.folder import Folder
from corten.project.regular import open_regular
from corten.project.settings import Settings
from corten.values import replace

if TYPE_CHECKING:
    from corten.project.recognize.absent import Absent

NONROOT = "65532:65532"
_USERS = {"root": 0, "daemon": 1, "bin": 2, "sys": 3, "www-data": 33, "nobody": 65534, "nonroot": 65532}
"""Users that an image on Debian has (base-passwd, and Corten's own)."""
_MARKS = (
    *(
        "uv.lock",
        "requirements",
        "src",
        "setup.cfg",
        ".python-version",
        "cog.yaml",
        "bentofile.yaml",
        "template.yaml",
    ),
    *("serverless.yml", "MLmodel", "MLproject", "model-settings.json"),
)
_MOST_BYTES = 10_000_000


def load(path: Path) -> Project:
    """The project in the folder `path`, complete and validated; where that has none, the only one below it. Nothing of the
    project is imported or run, and nothing is written. Raises ProjectError."""
    return _loaded(path, lambda table: written.read(table))


def find(path: Path) -> Project:
    """The same without what `[tool.corten]` says: only what is found."""
    return _loaded(path, lambda _: Settings())


def _loaded(path: Path, read: Callable[[object], Settings]) -> Project:
    root, pyproject, table = _read(path)
    below = "" if pyproject is not None or _is_project(root) else _only_below(path, root, read)
    if below:
        project = _loaded(root / below, read)
        return _moved(project, f"the project is in '{below}'")
    settings = read(table)
    project = complete(root, settings, pyproject or {}, str(path))
    own = any(
        path.parent == root or path.parent.name == "requirements" for path in project.dependencies.files
    )
    if not own and "/" in project.source and settings.requirements is None:
        with Folder(str(root), settings.exclude) as folder:
            inner = locate.home(folder, project.source)
        if inner:
            project = _loaded(root / inner, read)
            return _moved(project, f"the project is in '{inner}', which lists its requirements")
    return project


def _moved(project: Project, note: str) -> Project:
    return replace(project, notes=(*project.notes, note), taken=(note, *project.taken))


def _only_below(path: Path, root: Path, read: Callable[[object], Settings]) -> str:
    """The folder below `root` that has the only project, or the only one that serves something. Raises ProjectError."""
    from corten.project.recognize.candidates import SERVED

    with Folder(str(root)) as folder:
        found = locate.projects_below(folder)
    serving: list[str] = []
    for below in found if len(found) > 1 else ():
        try:
            serves = _loaded(root / below, read).kind in SERVED
        except ProjectError:
            serves = True  # of several things that it could serve, or in a way that has to be said
        if serves:
            serving.append(below)
    found = serving or found
    if not found:
        raise ProjectError(
            f"there is no Python project in '{path}'",
            hint="go to the project's folder, or start one with 'corten init --example NAME'",
        )
    if len(found) > 1:
        raise locate.several(str(path), found)
    return found[0]


def _read(path: Path) -> tuple[Path, dict[str, Any] | None, object]:
    """The project's folder (absolute, without links), its pyproject.toml, and `[tool.corten]` as it is written."""
    root = Path(os.path.realpath(path))
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise ProjectError(f"'{path}' {what}", hint="give the folder that has the project's pyproject.toml")
    pyproject = read_pyproject(root)
    tool = (pyproject or {}).get("tool", {})
    if not isinstance(tool, dict):
        raise ProjectError("'tool' in pyproject.toml must be a table")
    return root, pyproject, tool.get("corten", {})


def complete(root: Path, settings: Settings, pyproject: dict[str, Any], shown: str = ".") -> Project:
    """The project that `settings` and the files in `root` make together. `root` is absolute, without links; `shown` is how the
    user wrote it."""
    table = _project_table(pyproject)
    scripts = _names_of_scripts(table)
    candidate = None
    hub = tuple(model for model in settings.models if model.startswith("hf://"))
    settings = replace(settings, models=tuple(model for model in settings.models if model not in hub))
    entry: Predictor | Command | None
    with Folder(str(root), settings.exclude) as folder:
        hints = Hints(folder)
        settings, taken = _with_requirements(settings, hints)
        found = dependencies.find(root, settings, pyproject, folder.files)
        requires = table.get("requires-python")
        chosen, requires = _python(root, settings, requires, hints)
        notes = [*found.notes, *chosen.notes]
        needed = Needed(found.dependencies, pyproject, root, folder)
        if settings.predict is not None:
            entry = _predictor(settings.predict)
        elif settings.command is not None:
            entry = Command(settings.command)
        else:
            facts = Facts(
                folder,
                dict(scripts),
                settings.models,
                needed.names,
                hints,
                lambda: needed.listed,
            )
            candidate = choose(facts, shown=shown)
            beside_it = _requirements_beside(candidate, found.dependencies, settings, folder)
            if beside_it:
                return complete(root, replace(settings, requirements=(beside_it,)), pyproject, shown)
            entry = candidate.entry if candidate else None
            notes.insert(0, candidate.note if candidate else "nothing runs by default")
        beside = _beside(hints, candidate, settings, chosen.base, needed)
        taken = [*([candidate.note] if candidate and candidate.source else []), *taken, *beside.said]
        notes += [*taken[1 if candidate and candidate.source else 0 :], *beside.quiet]
        implied = needed.implied(_merged(_implied(candidate), beside.implied), entry)
        taken += needed.left_out(entry)
        unknown = needed.unknown(entry)
        implied, unlisted = needed.unlisted(entry, implied)
        if settings.command is not None and chosen.base.startswith("debian:"):
            more = _run_by(settings.command, needed.names() | {normal(item.requirement) for item in implied})
            if found.dependencies.kind == "none":
                implied += tuple(Implied(item.requirement, item.reason) for item in more)
            else:
                unlisted += more
    notes += needed.notes(implied)
    _refuse_shell_without_one(entry, chosen.base)
    name = settings.name or normal_name(str(table.get("name") or root.name))
    return Project(
        root=root,
        name=name,
        entry=entry,
        dependencies=found.dependencies,
        platforms=settings.platforms or (Platform.host(),),
        python=chosen.python,
        python_source=chosen.source,
        python_open=chosen.python is None and settings.base is None and chosen.unmet is None,
        requires_python=requires,
        base=chosen.base,
        system=settings.system or beside.system,
        build_system=settings.build_system_packages,
        build_needs=build_needs(pyproject),
        models=_with_files(settings.models, entry),
        hub=hub,
        include=settings.include,
        exclude=settings.exclude,
        allow_secrets=settings.allow_secrets,
        env={**beside.env, **(candidate.env if candidate else {}), **settings.env},
        user=_user(settings.user, chosen.base),
        workdir=settings.workdir or _workdir(candidate),
        alias=_alias({**(candidate.env if candidate else {}), **settings.env}, chosen.base),
        gpu=settings.gpu or beside.gpu or "auto",
        network=settings.network or "none",
        shm_size=settings.shm_size,
        volumes=settings.volumes or _of_project(beside.volumes, name),
        folders=beside.folders if isinstance(entry, Command) else (),
        ready=_ready(settings.ready, entry) or (candidate.ready if candidate else None),
        labels=settings.labels,
        strict=settings.strict,
        scripts=scripts,
        version=table.get("version"),
        compression=settings.compression or "gzip",
        notes=tuple(notes),
        unmet=chosen.unmet,
        implied=implied,
        taken=tuple(taken),
        optional_system=() if settings.system else beside.system,
        kind=candidate.kind if candidate else _kind(entry),
        source=candidate.path if candidate and not candidate.source else "",
        unlisted=unlisted,
        unknown=unknown,
        unused=found.unused,
    )


def fetches(project: Project, *, reaches: bool, locked: Collection[str] = ()) -> list[str]:
    """Weights that the code fetches by name when it runs: a line for each kind. `reaches`: the container has a network; `locked` are the
    models that the lock has."""
    from corten.project.around.look import look, of_weights

    with Folder(str(project.root), project.exclude) as folder:
        return of_weights(look(folder, project), reaches, locked)


def needs(
    project: Project, given: Collection[str] = (), *, reaches: bool = False, env_file: bool = True
) -> list[str]:
    """What must be set or run beside the project, by its code and by files of other tools: a line for each. Variables in `given` are
    set, and with `env_file` those of the project's `.env`. `reaches`: the container has a network."""
    from corten.project.around import dotenv, tables
    from corten.project.around.look import SECRETS, lines, look, missing
    from corten.project.hints import take

    folders = dict.fromkeys(("", project.workdir.removeprefix("/app").strip("/")))
    secrets = any(
        dotenv.read_file(project.root, f"{place}/{SECRETS}".lstrip("/")) is not None for place in folders
    )
    known = {*project.env, *given}
    if env_file:
        for place in folders:
            known |= dotenv.variables(project.root, f"{place}/.env".lstrip("/")).keys()
    with Folder(str(project.root), project.exclude) as folder:
        around = look(folder, project)
        said = lines(around, known, has_secrets=secrets, reaches=reaches)
        named = [name for item in missing(around, known, secrets) for name in item.names]
        unmade = tables.line(folder, project)
        return [*said, *take.needs(Hints(folder), {*known, *named}), *([unmade] if unmade else [])]


def strangers(project: Project) -> tuple[Unlisted, ...]:
    """Modules that the project imports as it starts, and of which it is not known which package has them, beside what it lists."""
    pyproject = read_pyproject(project.root) or {}
    with Folder(str(project.root), project.exclude) as folder:
        return Needed(project.dependencies, pyproject, project.root, folder).strangers(project.entry)


def candidates(project: Project) -> list[Candidate]:
    """Everything that could run, the likeliest first; empty where the project says itself what runs."""
    if not project.source:
        return []
    from corten.project.recognize.choose import every

    pyproject = read_pyproject(project.root) or {}
    with Folder(str(project.root), project.exclude) as folder:
        needed = Needed(project.dependencies, pyproject, project.root, folder)
        return every(Facts(folder, dict(project.scripts), project.models, needed.names, Hints(folder)))


def absent_files(project: Project) -> list[Absent]:
    """Files that the program opens by name, and that its image will not have."""
    if not project.source.endswith(".py"):
        return []
    from corten.project.recognize.absent import absent

    with Folder(str(project.root), project.exclude) as folder:
        found = absent(folder, project.source, project.workdir.removeprefix("/app").strip("/"))
    # These are passed on when it runs.
    return [file for file in found if not file.path.endswith((".env", ".streamlit/secrets.toml"))]


def passed_over(project: Project) -> tuple[str, ...]:
    """Folders of the project with too many files to be looked into."""
    with Folder(str(project.root), project.exclude) as folder:
        folder.files()
        return folder.passed_over


def _with_requirements(settings: Settings, hints: Hints) -> tuple[Settings, list[str]]:
    """`settings` with the requirements files that cog.yaml or the Dockerfile installs, where nothing is written. They stand above a
    uv.lock: the image that people have is made of them, and such a lock is often stale."""
    if settings.requirements is not None or settings.extras or settings.groups:
        return settings, []
    if not hints.of("cog") and not hints.of("Dockerfile"):
        return settings, []
    from corten.project.hints import take

    installed = take.requirements_files(hints)
    plain = ("requirements.txt",)
    if installed is None or (installed[0] == plain and not hints.folder.exists("uv.lock")):
        return settings, []
    files, place = installed
    return replace(settings, requirements=files), [f"requirements from {place}: {', '.join(files)}"]


def _requirements_beside(
    candidate: Candidate | None, dependencies: Dependencies, settings: Settings, folder: Folder
) -> str:
    """The requirements file beside what a Procfile or its like starts in a folder below, where the project's folder lists
    nothing; empty where there is none."""
    if candidate is None or not candidate.source or settings.requirements is not None:
        return ""
    if dependencies.kind != "none" or "/" not in candidate.file:
        return ""
    inner = locate.home(folder, candidate.file)
    path = f"{inner}/requirements.txt"
    return path if inner and folder.has_file(path) else ""


def _python(
    root: Path, settings: Settings, requires: str | None, hints: Hints
) -> tuple[interpreter.Choice, str | None]:
    """The Python and the base, and the range of Pythons that the project admits."""
    if settings.python is not None or settings.base is not None:
        return interpreter.choose(settings.python, settings.base, requires, None), requires
    hint = interpreter.find_hint(root)
    others = hints.of_python() if hint is None else []
    exact = next((other for other in others if other.key == "python"), None)
    if exact is not None:
        hint = interpreter.Hint(exact.text, exact.source, firm=False)
    if requires is None:
        ranges = [other.text for other in others if other.key == "requires-python"]
        # A range of another tool's, which no base meets, is no reason to refuse: the project may run all the same.
        requires = next((text for text in ranges if interpreter.offered(text)), None)
        others = [other for other in others if other.key == "requires-python"]
        if requires is None and hint is None and others:
            beside = interpreter.choose_for(others[0].text, others[0].source)
            if beside is not None:
                return beside, None
    return interpreter.choose(None, None, requires, hint), requires


def _beside(
    hints: Hints, candidate: Candidate | None, settings: Settings, base: str, needed: Needed
) -> Taken:
    """What files of other tools add beside the command."""
    if not hints.any_beside(candidate.source if candidate else ""):
        return Taken()
    from corten.project.hints import take

    written = {
        name: value
        for name, value in (
            ("system", settings.system),
            ("env", settings.env),
            ("gpu", settings.gpu),
            ("volumes", settings.volumes),
        )
        if value
    }
    release = base.removeprefix("debian:").removesuffix("-minimal") if base.startswith("debian:") else None
    return take.beside(hints, candidate.source if candidate else "", written, needed.listed, release)


def _of_project(volumes: dict[str, str], project: str) -> dict[str, str]:
    """A compose file's volumes by names of their own: its names count for its project alone, and Corten's for the whole store."""
    return {f"{project}-{name}"[:64].rstrip("-_."): target for name, target in volumes.items()}


def _merged(one: tuple[Implied, ...], other: tuple[Implied, ...]) -> tuple[Implied, ...]:
    """Both, with those of `other` for a package that both have: they may have a version."""
    names = {normal(item.requirement) for item in other}
    return (*(item for item in one if normal(item.requirement) not in names), *other)


def _alias(env: Mapping[str, str], base: str) -> str:
    """Where Cog has the project's folder, for what is written to run there. A base that is an image keeps its own."""
    return "/src" if env.get("CORTEN_COG") and base.startswith("debian:") else ""


def _kind(entry: Predictor | Command | None) -> str:
    """What a project that says itself what runs has."""
    return "predictor" if isinstance(entry, Predictor) else "command" if entry is not None else ""


def _workdir(candidate: Candidate | None) -> str:
    return f"/app/{candidate.cwd}" if candidate is not None and candidate.cwd else "/app"


def _run_by(command: tuple[str, ...], packages: Collection[str]) -> tuple[Unlisted, ...]:
    """The server or the program that a command of the project's own names, where no requirement has it."""
    if command[0] in packages or (command[0] == "python" and command[1:2] != ("-m",)):
        return ()
    from corten.project.hints import take

    return tuple(
        Unlisted(item, (normal(item.partition("[")[0]),), item.partition("[")[0], "command", "runs")
        for item in take.missing(command, packages)
    )


def _implied(candidate: Candidate | None) -> tuple[Implied, ...]:
    """What the candidate needs beyond the project's dependencies."""
    if candidate is None:
        return ()
    return tuple(Implied(requirement, candidate.reason) for requirement in candidate.requires)


def _ready(ready: str | None, entry: Predictor | Command | None) -> str | None:
    if ready is not None and not isinstance(entry, Command):
        raise ProjectError(
            f"'ready' in {TABLE} is for a 'command', and this project has none",
            hint="leave it out: a predictor says itself when it is ready",
        )
    return ready


def read_pyproject(root: Path) -> dict[str, Any] | None:
    """pyproject.toml in `root`; None when there is none. Raises ProjectError, with the line, for broken TOML."""
    path = root / "pyproject.toml"
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise ProjectError(
            "'pyproject.toml' is a link that leads out of the project",
            hint="put the file itself into the project",
        )
    try:
        with open_regular(path) as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProjectError(
            f"'pyproject.toml' cannot be read: {(error.strerror or 'error').lower()}"
        ) from error
    if len(data) > _MOST_BYTES:
        raise ProjectError("'pyproject.toml' is larger than 10 MB")
    import tomllib

    from corten.toml import parse

    try:
        return parse(data.decode().replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProjectError(f"'pyproject.toml' is not UTF-8 in line {line}") from error
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).rpartition(" (at ")
        said = reason[:1].lower() + reason[1:]
        raise ProjectError(f"'pyproject.toml' is not valid TOML at {place.rstrip(')')}: {said}") from error
    except RecursionError as error:
        raise ProjectError("'pyproject.toml' is nested too deeply") from error


def normal_name(text: str) -> str:
    """`text` as one component of a repository's name (distribution-spec): small ASCII letters, digits, single separators."""
    import unicodedata

    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+|[^a-z0-9]+", plain)
    joined = "".join(
        word if word.isalnum() else word if word in (".", "_", "__") or not word.strip("-") else "-"
        for word in words
    )
    return re.sub(r"^[^a-z0-9]+|[^a-z0-9]+$", "", joined[:100]) or "project"


def _is_project(root: Path) -> bool:
    """Whether a folder without pyproject.toml has Python in it: a module, a package, requirements, `src`, or a Dockerfile or Procfile
    that starts something in a folder below."""
    with os.scandir(root) as listing:
        names = [entry.name for entry in listing]
    return any(
        (name in _MARKS and (name != "src" or _has_python(root / name)))
        or name.endswith((".py", ".ipynb"))
        or (name == "README.md" and _is_space(root / name))
        or re.fullmatch(r"requirements.*\.txt", name)
        or os.path.isfile(root / name / "__init__.py")
        for name in names
    ) or (_hinted(root) and not {"package.json", "go.mod", "Cargo.toml", "pom.xml"} & set(names))


def _hinted(root: Path) -> bool:
    """Whether a Procfile or a Dockerfile starts something that the folder has."""
    with Folder(str(root)) as folder:
        hints = Hints(folder)
        for source in ("Procfile", "Dockerfile", "devcontainer"):
            if hints.with_key("command", source):
                from corten.project.hints import take

                if any(service.program.file for service in take.services(hints, source, (), ())):
                    return True
    return False


def _has_python(folder: Path) -> bool:
    """Whether a folder has Python in it, as far as is looked: projects of other languages have a `src` too."""
    with Folder(str(folder)) as inside:
        return bool(inside.files(".py"))


def _is_space(readme: Path) -> bool:
    """Whether a README begins as that of a Space of Hugging Face does."""
    text = interpreter.read_text(readme) or ""
    return text.startswith("---") and re.search(r"^sdk\s*:", text, re.MULTILINE) is not None


def _project_table(pyproject: dict[str, Any]) -> dict[str, Any]:
    """`[project]`, with the keys that Corten reads in the form that PEP 621 gives them."""
    table = pyproject.get("project", {})
    expected: tuple[tuple[dict[str, Any], str, type, str], ...] = (
        (pyproject, "project", dict, "a table"),
        (pyproject, "dependency-groups", dict, "a table"),
    )
    if isinstance(table, dict):
        expected += (
            (table, "name", str, "text"),
            (table, "version", str, "text"),
            (table, "requires-python", str, "text"),
            (table, "dependencies", list, "a list"),
            (table, "dynamic", list, "a list"),
            (table, "optional-dependencies", dict, "a table"),
            (table, "scripts", dict, "a table"),
        )
    for holder, key, kind, words in expected:
        if key in holder and not isinstance(holder[key], kind):
            where = "[project] of pyproject.toml" if holder is table else "pyproject.toml"
            raise ProjectError(f"'{key}' in {where} must be {words}, not {described(holder[key])}")
    for item in table.get("dependencies", []):
        if not isinstance(item, str):
            raise ProjectError("'dependencies' in [project] of pyproject.toml must be a list of texts")
    return dict(table)


def _predictor(written: str | dict[str, str]) -> Predictor:
    return Predictor(written) if isinstance(written, str) else Predictor("", tuple(written.items()))


def _with_files(models: tuple[str, ...], entry: Predictor | Command | None) -> tuple[str, ...]:
    """`models` with the files that are served themselves: they have to be there, whatever git ignores."""
    targets = entry.targets if isinstance(entry, Predictor) else ()
    files = [target for target in targets if target.endswith(MODEL_FILES) and ":" not in target]
    return tuple(dict.fromkeys((*models, *files)))


def _user(user: str | None, base: str) -> str:
    """`uid:gid`; a name stays one where the base is an image, whose users are not known yet."""
    if user is None:
        return NONROOT
    parts = user.split(":")
    if base.startswith("debian:"):
        for part in parts:
            if not part.isdigit() and part not in _USERS:
                raise ProjectError(
                    f"'user' in {TABLE} is '{user}', and the base has no '{part}'",
                    hint=f"use a number, or one of {', '.join(_USERS)}",
                )
        parts = [part if part.isdigit() else str(_USERS[part]) for part in parts]
    elif not all(part.isdigit() for part in parts):
        return user
    return f"{int(parts[0])}:{int(parts[-1])}"


def _refuse_shell_without_one(entry: Predictor | Command | None, base: str) -> None:
    if not isinstance(entry, Command) or not base.endswith("-minimal"):
        return
    if entry.argv[:2] == ("/bin/sh", "-c") or any(re.search(VARIABLE, word) for word in entry.argv):
        raise ProjectError(
            f"the command needs a shell, and '{base}' has none: {' '.join(entry.argv)}",
            hint=f'use base = "{base.removesuffix("-minimal")}", or a command without variables and pipes',
        )


def _names_of_scripts(table: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """`[project.scripts]` as (name, "module:function"). Raises ProjectError for anything else (entry points
    specification, "name" and "object reference")."""
    scripts = table.get("scripts") or {}
    for name, target in scripts.items():
        usable = re.fullmatch(r"[\w.-]+", name) and isinstance(target, str)
        if not usable or not re.fullmatch(r"\s*[\w.]+\s*:\s*[\w.]+\s*(?:\[.*\])?\s*", target):
            raise ProjectError(
                f"'{name}' in [project.scripts] must lead to a 'module:function', not {target!r}",
                hint='for example predict = "package.cli:main"',
            )
    return tuple(
        (name, re.sub(r"\s|\[.*\]", "", target))
        for name, target in scripts.items()
        if name not in (".", "..")
    )
