"""Merging hints with what the project wrote: pure decisions, each said in one line.

What `[tool.corten]` says holds, key by key; a hint counts where it says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from corten.lazy import regex
from corten.project.hints import debian_names, programs, shell
from corten.project.hints.hint import NOT_DONE, Hint, Taken
from corten.project.hints.sources import Hints
from corten.project.model import Implied
from corten.values import dataclass

_SHOWN = 6
_MOST_MODULES = 300
_NOT_FOR_RUNNING = regex(
    r"(?:pytest|black|flake8|mypy|ruff|pylint|isort|tox|nox|pre-commit|debugpy|awscli|ipykernel|jupyter|jupyterlab|notebook|ipython|"
    r"coverage|twine|build|supervisor|pip-audit|safety|bandit)(?:[-_].*)?"
)
_MIRROR = regex(r"https?://(?:[^/@]*@)?(?:pypi\.[^/]+/simple|[^/]+(?:/[\w.-]+)*/pypi(?:/web)?/simple)/?$")
_NAME = regex(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*((?:\[[^\]]*\])?)\s*(.*)")
_TRAINING = regex(
    r"(?i)(?:^|[/_-])(?:train|training|finetune|fine_tune|evaluate|eval|preprocess|benchmark)(?:ing|r)?(?:[_-]\w+)?\.py$"
)


@dataclass(frozen=True, slots=True)
class Service:
    """A command that a file of the project gives and that can be kept running."""

    hint: Hint
    program: programs.Program
    requires: tuple[str, ...] = ()


def services(hints: Hints, source: str, scripts: Collection[str], packages: Collection[str]) -> list[Service]:
    """The commands of one source that start something of the project which can be served. Why another is not taken is
    remembered in `hints`. Of several in an editor's file, a Makefile or a README none counts, unless one alone serves."""
    found: list[Service] = []
    for hint in hints.with_key("command", source):
        assert not isinstance(hint.value, str)
        program = programs.classify(hint.value, hints.folder, hint.folder, tuple(scripts))
        known = {_normal(name) for name in packages}
        first = (
            _normal(hint.value[2] if hint.value[:2] == ("python", "-m") else hint.value[0])
            if hint.value
            else ""
        )
        if program.starts == "foreign" and first in known:
            program = programs.Program("script", program.name)
        if program.starts == "absent":
            hints.refuse(f"{hint.place} starts '{program.file}', which is not in the project")
        elif program.starts == "foreign":
            hints.refuse(
                f"{hint.place} starts '{program.name or hint.value[0]}', which the image does not have"
            )
        elif program.starts == "notebook":
            hints.refuse(f"{hint.place} opens notebooks, which is no service")
        elif program.starts == "nothing":
            hints.refuse(f"{hint.place} starts nothing that serves: {_short(hint)}")
        else:
            found.append(Service(hint, program, _missing(hint, known)))
    if source in ("Procfile", "Dockerfile", "compose", "devcontainer"):
        return found
    for kinds in (("ui", "web"), ("worker",), ("script",)):
        best = [service for service in found if service.program.starts in kinds]
        if len(best) == 1:
            return best
        if best:
            listed = " or ".join(f"'{_short(service.hint)}'" for service in best[:3])
            hints.refuse(f"{best[0].hint.source} shows several commands: {listed}")
            return []
    return []


def starting(
    hints: Hints, source: str, files: Collection[str], scripts: Collection[str]
) -> dict[str, Service]:
    """Which of `files` the commands of one source start, each with the first command that does."""
    found: dict[str, Service] = {}
    for hint in hints.with_key("command", source):
        assert not isinstance(hint.value, str)
        program = programs.classify(hint.value, hints.folder, hint.folder, tuple(scripts))
        if program.file in files:
            found.setdefault(program.file, Service(hint, program))
    return found


def workers(hints: Hints, scripts: Collection[str], packages: Collection[str]) -> list[Service]:
    """The process type of a Procfile without `web:` that is kept running: the only one, or the one named `worker` or `bot`."""
    if hints.with_key("command", "Procfile"):
        return []
    known = {_normal(name) for name in packages}
    found = []
    for hint in hints.with_key("worker", "Procfile"):
        assert not isinstance(hint.value, str)
        program = programs.classify(hint.value, hints.folder, hint.folder, tuple(scripts))
        if program.starts in ("worker", "script", "web", "ui"):
            found.append(Service(hint, program, _missing(hint, known)))
    named = [service for service in found if service.hint.name in ("worker", "bot")]
    return named[:1] if len(found) > 1 else found


def is_training(service: Service) -> bool:
    """Whether the command is a script that trains or prepares, by its name, and ends."""
    return service.program.starts == "script" and _TRAINING.search(service.program.file) is not None


def beside(
    hints: Hints,
    chosen: str,
    written: Mapping[str, object],
    packages: Collection[str],
    release: str | None,
) -> Taken:
    """What the hints add beside the command. `chosen` is the source of the command (`""`: none of the hints'); `written` has
    the keys of `[tool.corten]`; `release` is the Debian release of the base, None for another one."""
    said: list[str] = []
    builds = _builds(hints, chosen)
    implied = _implied(hints, builds, packages, said)
    quiet = list(hints.refused)
    system = _system(hints, builds, written, packages, release, said, quiet)
    env = _env(hints, chosen, builds, written, said)
    volumes: dict[str, str] = {}
    for hint in (
        hints.with_key("volume", "compose") if chosen == "compose" and "volumes" not in written else ()
    ):
        if hint.text not in volumes.values():
            volumes.setdefault(hint.name, hint.text)
    if volumes:
        listed = ", ".join(f"{name} at {target}" for name, target in volumes.items())
        said.append(f"volumes from {hints.with_key('volume', 'compose')[0].source}: {listed}")
    folders = _folders(hints, builds, {*volumes.values(), *_targets(written)}, said)
    gpu = None
    for hint in hints.with_key("gpu", *builds):
        pinned = hints.folder.exists("uv.lock")  # it has the builds that it has
        if "gpu" not in written and hint.value == "none" and gpu is None and not pinned:
            gpu = "none"
            said.append(f"packages for CPUs, as {hint.place} has them")
    for hint in hints.with_key("download", *builds):
        target = f" -o {hint.name}" if hint.name else ""
        what = f"curl -L{target} {hint.text}" if "://" in hint.text else hint.text
        said.append(f"{hint.place} downloads what is not in the project: {what}")
    for hint in hints.with_key("index", *builds):
        # A mirror of the whole index is what this machine's own configuration stands for.
        mirrors = _MIRROR.match(hint.text) is not None
        address = re.sub(r"//[^/@]*@", "//", hint.text)
        (quiet if mirrors else said).append(
            f"{hint.place} installs from '{address}': packages come from the indexes that this machine's configuration names, and "
            f"'--extra-index-url {address}' in the requirements adds this one"
        )
    for hint in hints.with_key("unused", "Dockerfile", "Procfile", "packages", "app.json"):
        (said if hint.text.startswith(NOT_DONE) else quiet).append(f"{hint.place}: {hint.text}")
    said.extend(f"{hint.place}: {hint.text}" for hint in hints.with_key("unused", "cog", "spaces"))
    said.extend(
        f"{hint.place} has a step to run first: corten run . -- {_in_folder(hint)} (what it writes into the project's folder "
        f"stays with the container that runs it: then 'corten exec -w /app NAME {_in_folder(hint)}' once it is up)"
        for hint in [*hints.with_key("release", "Procfile", "app.json")]
    )
    said += _other_commands(hints, chosen)
    return Taken(
        tuple(system),
        env,
        gpu,
        volumes,
        folders,
        tuple(implied),
        tuple(said),
        tuple(dict.fromkeys(quiet)),
    )


def _targets(written: Mapping[str, object]) -> Collection[str]:
    volumes = written.get("volumes")
    return tuple(map(str, volumes.values())) if isinstance(volumes, Mapping) else ()


def _folders(
    hints: Hints, builds: tuple[str, ...], taken: Collection[str], said: list[str]
) -> tuple[str, ...]:
    """Folders that the Dockerfile makes and that the program may write to, without those where volumes are mounted."""
    found = [hint for hint in hints.with_key("folder", *builds) if hint.text not in taken]
    paths = tuple(dict.fromkeys(hint.text for hint in found))
    outside = [path for path in paths if not path.startswith("/app/")]
    if outside:
        more = f" and {len(outside) - _SHOWN} more" if len(outside) > _SHOWN else ""
        said.append(
            f"folders to write to from {found[0].source}: {', '.join(outside[:_SHOWN])}{more} (-v NAME:FOLDER keeps what is written)"
        )
    return paths


def needs(hints: Hints, env: Collection[str]) -> list[str]:
    """Lines about what must be set or run beside the project, of variables that are not in `env`."""
    lines: list[str] = []
    seen: set[str] = set(env)
    for source in ("app.json", "env", "compose", "Dockerfile"):
        names: dict[str, list[str]] = {}
        for hint in hints.with_key("needs-env", source):
            if hint.name not in seen:
                seen.add(hint.name)
                names.setdefault(hint.source, []).append(hint.name)
        for file, listed in names.items():
            more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
            lines.append(
                f"needs {', '.join(listed[:_SHOWN])}{more}, says '{file}': give them with --env-file .env"
            )
    kinds: dict[str, list[Hint]] = {}
    for hint in hints.with_key("needs-service", "compose"):
        kinds.setdefault(hint.text, []).append(hint)
    for kind, found in kinds.items():
        lines.append(f"needs {kind}: '{found[0].name}' in '{found[0].source}', which Corten does not start")
    return lines


def requirements_files(hints: Hints) -> tuple[tuple[str, ...], str] | None:
    """The requirements files that cog.yaml or the Dockerfile installs, and its place; None where they install none that is there."""
    found = hints.with_key("requirements", "cog") or hints.with_key("requirements", "Dockerfile")
    files = tuple(dict.fromkeys(hint.text for hint in found))
    return (files, found[-1].place) if files else None


def _builds(hints: Hints, chosen: str) -> tuple[str, ...]:
    """The files that say how the image of what was chosen is built: cog.yaml, where its predictor is served, says all of it."""
    return ("cog",) if chosen in ("", "cog") and hints.of("cog") else ("Dockerfile",)


def _system(
    hints: Hints,
    builds: tuple[str, ...],
    written: Mapping[str, object],
    packages: Collection[str],
    release: str | None,
    said: list[str],
    quiet: list[str],
) -> list[str]:
    found = hints.with_key("system", "packages", *builds)
    if not found or "system" in written:
        return []
    sources = ", ".join(dict.fromkeys(hint.source for hint in found))
    if release is None:
        quiet.append(f"packages of {sources} are not added: the base is an image")
        return []
    kept = {"git"} & {hint.text for hint in found} if "gitpython" in packages else set()
    named = debian_names.for_release([hint.text for hint in found], release, kept=tuple(kept))
    if named.packages:
        said.append(f"system packages from {sources}: {', '.join(named.packages)}")
    for old, new in named.renamed:
        quiet.append(f"'{old}' is '{new}' in Debian {release}")
    by_reason: dict[str, list[str]] = {}
    for name, reason in named.dropped:
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        quiet.append(f"left out of {sources}: {', '.join(names)} ({reason})")
    return list(named.packages)


def _env(
    hints: Hints, chosen: str, builds: tuple[str, ...], written: Mapping[str, object], said: list[str]
) -> dict[str, str]:
    own = written.get("env")
    taken: dict[str, str] = {}
    sources = ("app.json", *(("compose",) if chosen == "compose" else ()), *builds)
    by_source: dict[str, list[str]] = {}
    for hint in hints.with_key("env", *sources):
        if hint.name in taken or (isinstance(own, Mapping) and hint.name in own):
            continue
        taken[hint.name] = hint.text
        by_source.setdefault(hint.source, []).append(hint.name)
    for source, names in by_source.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        said.append(f"variables from {source}: {', '.join(names[:_SHOWN])}{more}")
    return taken


def _implied(
    hints: Hints, builds: tuple[str, ...], packages: Collection[str], said: list[str]
) -> list[Implied]:
    """Packages that cog.yaml or the Dockerfile installs by name and that are not among the dependencies. Those of an image in FROM come
    without a version, as that may be of another Python, and only where the code imports them."""
    known = {_normal(name.partition("[")[0]) for name in packages}
    found: list[Implied] = []
    for hint in hints.with_key("requirement", *builds):
        match = _NAME.fullmatch(hint.text)
        if match is None or "://" in hint.text or "@" in hint.text:
            sentence = f"{hint.place} installs '{hint.text[:80]}', which is no name of a package"
            if hint.source == "cog.yaml":
                said.append(f"{sentence}: it is not installed")
            else:
                hints.refuse(sentence)
            continue
        name = _normal(match[1])
        if name in known or _NOT_FOR_RUNNING.fullmatch(name):
            continue
        if hint.note == "image":
            if _is_imported(hints, match[1]):
                known.add(name)
                found.append(Implied(match[1] + match[2], f"the image of {hint.place} has it"))
            continue
        known.add(name)
        # Builds of PyTorch for one device have a local version, which no index but PyTorch's has; `gpu` says the same.
        text = re.sub(r"\+(?:cpu|cu\d+|rocm[\d.]+)\b", "", hint.text.replace(" ", ""))
        found.append(Implied(text, f"{hint.source} installs it"))
    return found


def _is_imported(hints: Hints, name: str) -> bool:
    """Whether a module of the project imports `name`, found by its text."""
    pattern = re.compile(rf"^\s*(?:import|from)\s+{re.escape(name.replace('-', '_'))}\b", re.MULTILINE)
    return any(
        pattern.search(hints.folder.text(path) or "")
        for path in list(hints.folder.files(".py"))[:_MOST_MODULES]
    )


def _other_commands(hints: Hints, chosen: str) -> list[str]:
    """Lines about a command of the Dockerfile that starts something else than the chosen one of the Procfile."""
    if chosen != "Procfile":
        return []
    mine = hints.with_key("command", "Procfile")
    said = []
    for hint in hints.with_key("command", "Dockerfile"):
        assert not isinstance(hint.value, str)
        program = programs.classify(hint.value, hints.folder, hint.folder)
        if program.starts in ("web", "ui", "worker", "script") and mine and not _same(mine[0], hint):
            said.append(f"not taken from {hint.place}, as the Procfile has a command: {_short(hint)}")
    return said


def _same(one: Hint, other: Hint) -> bool:
    """Whether two commands start the same application: their target is the same, or the file."""

    def key(hint: Hint) -> str:
        assert not isinstance(hint.value, str)
        target = programs.target_of(hint.value) if programs.target_in(hint.value) else None
        files = [word.removeprefix("./") for word in hint.value if word.endswith(".py")]
        module = (target or (files[0] if files else hint.text)).partition(":")[0]
        return module.removesuffix(".py").replace("/", ".")

    return key(one) == key(other)


def _missing(hint: Hint, known: Collection[str]) -> tuple[str, ...]:
    """The distributions that the hint's command needs and that are not among the dependencies `known`."""
    assert not isinstance(hint.value, str)
    return missing(hint.value, known)


def missing(argv: tuple[str, ...], known: Collection[str]) -> tuple[str, ...]:
    """The distributions that a command needs and that are not among the dependencies `known` (normal names, with extras)."""
    bundled = {"uvicorn"} if known & {"fastapi[standard]", "fastapi[all]"} else set()  # type: ignore[operator]
    return tuple(
        item
        for item in programs.requirements(argv)
        if _normal(item.partition("[")[0]) not in {*known, *bundled}
        or (item == "fastapi[standard]" and not known & {item, "fastapi-cli", "fastapi[all]"})  # type: ignore[operator]
    )


def _in_folder(hint: Hint) -> str:
    command = (
        hint.text
        if not isinstance(hint.value, tuple) or hint.value[:2] != ("/bin/sh", "-c")
        else f"sh -c {shell.quoted(hint.value[2])}"
    )
    return f"sh -c {shell.quoted(f'cd {hint.folder} && {command}')}" if hint.folder else command


def shown(argv: tuple[str, ...]) -> str:
    """The command in a line, as people write it."""
    return argv[2] if argv[:2] == ("/bin/sh", "-c") and len(argv) > 2 else " ".join(argv)


def _short(hint: Hint) -> str:
    text = hint.value if isinstance(hint.value, str) else shown(hint.value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _normal(name: str) -> str:
    head, sign, tail = name.partition("[")
    return re.sub(r"[-_.]+", "-", head).lower() + sign + tail.lower()
