"""What a Dockerfile says: the Python, packages, variables, the working directory and the command."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from corten.lazy import regex
from corten.project.hints import debian_names, dockerfile, images, installs, names, programs, shell, variables
from corten.project.hints.dockerfile import Stage
from corten.project.hints.hint import NOT_DONE, Hint, Reads
from corten.project.hints.places import Places
from corten.values import dataclass

ROOT = "/app"
"""Where the project's files are in Corten's image."""

_MOST_REST = 3


def find(folder: Reads, walk: bool = True) -> tuple[str, str] | None:
    """The path and the text of the Dockerfile that a build without options would take, or (with `walk`) the only other one."""
    for name in names.DOCKERFILE:
        text = folder.text(name)
        if text is not None:
            return name, text
    if not walk:
        return None
    others = [
        path
        for path in folder.files()
        if "/" not in path
        and re.fullmatch(r"(?i)(?:dockerfile\.[\w-]+|[\w-]+\.dockerfile)", path)
        and not re.search(r"(?i)dev|test|gpu|cuda|base", path)
    ]
    if len(others) == 1 and (text := folder.text(others[0])) is not None:
        return others[0], text
    return None


def read(folder: Reads) -> tuple[Hint, ...]:
    """The hints of the project's Dockerfile; none where it is not about Python."""
    found = find(folder)
    return read_text(folder, found[0], found[1]) if found else ()


@dataclass(frozen=True, slots=True)
class Built:
    """What a Dockerfile comes to: its last stage, the image below it, and where its files come from."""

    stage: Stage
    base: images.Implied
    places: Places
    foreign: bool


def built(
    folder: Reads,
    text: str,
    context: str = "",
    target: str = "",
    arguments: Mapping[str, str] | None = None,
) -> Built | None:
    """The Dockerfile with the contents `text`, built in the project's folder `context` up to the stage `target` with the build
    arguments `arguments`; None where it has no stage."""
    instructions = dockerfile.parse(text)
    if target:
        instructions = _until(instructions, target)
    stage = dockerfile.last_stage(instructions, arguments or {})
    if stage is None:
        return None
    system_python = any(
        debian_names.is_python(name) for run in stage.runs for name in installs.read(run.text).system
    )
    base = images.implied(stage.image, system_python)
    places = Places(stage.copied, folder, context, stage.workdir)
    return Built(stage, base, places, base.foreign and not system_python)


def read_text(folder: Reads, source: str, text: str) -> tuple[Hint, ...]:
    """The hints of the Dockerfile `source` with the contents `text`, built in the project's folder."""
    found = built(folder, text)
    return hints_of(found, source, folder) if found is not None else ()


def hints_of(image: Built, source: str, folder: Reads, context: str = "") -> tuple[Hint, ...]:
    """The hints of a Dockerfile that is read already."""
    stage, base, places = image.stage, image.base, image.places
    if image.foreign:
        return (Hint("unused", f"it is for '{stage.image}', not for Python", source, stage.image_line),)
    runs = [(run, installs.read(run.text)) for run in stage.runs]
    others = [(run, installs.read(run.text)) for run in stage.other_runs]
    hints: list[Hint] = []
    conda_python = next((found.python for _, found in [*runs, *others] if found.python), None)
    python = conda_python or base.python
    if python:
        hints.append(Hint("python", python, source, stage.image_line))
    if re.search(r"(?:^|/)pypy:", stage.image):
        hints.append(
            Hint("unused", f"'{stage.image}' is PyPy; the image has CPython", source, stage.image_line)
        )
    hints += [Hint("requirement", item, source, stage.image_line, note="image") for item in base.requirements]
    hints += _of_runs(runs, others, source, places, folder, context)
    hints += _of_env(stage, source, places)
    hints += _folders(stage, runs, source, places)
    for port, line in stage.ports:
        if port.isdigit() and 0 < int(port) < 65536:
            hints.append(Hint("port", port, source, line))
    hints += _command(stage, base, source, places, folder)
    return tuple(hints)


def _until(instructions: list[dockerfile.Instruction], target: str) -> list[dockerfile.Instruction]:
    """The instructions up to the end of the stage `target`; all of them where there is none."""
    inside = False
    for index, instruction in enumerate(instructions):
        if instruction.name != "FROM":
            continue
        if inside:
            return instructions[:index]
        words = instruction.value.split()
        inside = len(words) > 2 and words[1].upper() == "AS" and words[2].lower() == target.lower()
    return instructions


def _of_runs(
    runs: Sequence[tuple[dockerfile.Run, installs.Installed]],
    others: Sequence[tuple[dockerfile.Run, installs.Installed]],
    source: str,
    places: Places,
    folder: Reads,
    context: str,
) -> list[Hint]:
    hints: list[Hint] = []
    rest: list[tuple[str, int]] = []
    for run, found in runs:
        hints += [Hint("system", name, source, run.line) for name in found.system]
        if found.alpine:
            hints.append(
                Hint(
                    "unused",
                    f"packages of Alpine are not Debian's: {' '.join(found.alpine[:8])}",
                    source,
                    run.line,
                )
            )
        hints += [
            Hint("download", address, source, run.line, name=target) for address, target in found.downloads
        ]
        rest += [(step, run.line) for step in found.rest]
    for run, found in [*others, *runs]:
        hints += [Hint("requirement", item, source, run.line) for item in found.requirements]
        for item in found.conda:
            name = _PYPI_OF_CONDA.get(re.split(r"[=<>]", item)[0])
            if name:
                hints.append(Hint("requirement", name, source, run.line, note="conda"))
        for address in found.indexes:
            if installs.CPU_INDEX.fullmatch(address):
                hints.append(Hint("gpu", "none", source, run.line))
            elif cuda := installs.CUDA_INDEX.fullmatch(address):
                hints.append(Hint("gpu", cuda[1], source, run.line))
            else:
                hints.append(Hint("index", address, source, run.line))
        for file in found.files:
            path = _requirements_file(file, run.folder, places, folder, context)
            if path is not None:
                hints.append(Hint("requirements", path, source, run.line))
    if rest:
        shown = "; ".join(f"'{step}' in line {line}" for step, line in rest[:_MOST_REST])
        more = f" and {len(rest) - _MOST_REST} more" if len(rest) > _MOST_REST else ""
        hints.append(Hint("unused", f"{NOT_DONE}: {shown}{more}", source, rest[0][1]))
    return hints


def _folders(
    stage: Stage, runs: Sequence[tuple[dockerfile.Run, installs.Installed]], source: str, places: Places
) -> list[Hint]:
    """Folders that the Dockerfile makes and that the program may write to, as Corten's image has them."""
    made = [
        (posixpath.normpath(posixpath.join(run.folder, path)), run.line)
        for run, found in runs
        for path in found.folders
    ]
    paths: dict[str, int] = {}
    for path, line in [*made, *stage.folders]:
        inner = _in_image(path, places)
        if inner is not None and len(paths) < _MOST_FOLDERS:
            paths.setdefault(inner, line)
    return [Hint("folder", path, source, line) for path, line in paths.items()]


_MOST_FOLDERS = 20
_OF_SYSTEM = regex(
    r"/(?:(?:app|models|tmp|run|proc|sys|dev|usr|etc|bin|sbin|lib\w*|boot|root|opt/(?:venv|corten|conda|poetry|uv)|home/nonroot|"
    r"var/(?:run|lib/(?:apt|dpkg)|cache|spool|tmp))(?:/.*)?|var|opt|home|srv|mnt|home/[^/]+|var/(?:lib|log))?"
)
"""Folders that the base has, or Corten's image for itself. What is below /app in a Dockerfile is translated before."""


def _in_image(path: str, places: Places) -> str | None:
    """Where the Dockerfile's folder `path` is in Corten's image; None for one that is there anyway, or not the program's."""
    if not re.fullmatch(r"/[\w./@+-]{0,200}", path):
        return None
    above, rest = path, ""
    while above != "/":
        inner = places.project_path(above)
        if inner is not None:
            below = posixpath.normpath(posixpath.join(inner, rest)) if rest else inner
            return f"{ROOT}/{below}" if rest and not below.startswith("..") else None
        above, _, name = above.rpartition("/")
        above = above or "/"
        rest = posixpath.join(name, rest) if rest else name
    return None if _OF_SYSTEM.fullmatch(path) else path


_PYPI_OF_CONDA = {
    "pytorch": "torch",
    "opencv": "opencv-python-headless",
    "py-opencv": "opencv-python-headless",
    "tensorflow-gpu": "tensorflow",
    "faiss-cpu": "faiss-cpu",
    **{
        name: name
        for name in (
            *(
                "flask",
                "fastapi",
                "uvicorn",
                "gunicorn",
                "numpy",
                "pandas",
                "scipy",
                "scikit-learn",
                "matplotlib",
                "pillow",
                "requests",
            ),
            *(
                "python-multipart",
                "streamlit",
                "gradio",
                "dash",
                "torchvision",
                "torchaudio",
                "tensorflow",
                "keras",
                "xgboost",
                "lightgbm",
            ),
            *(
                "joblib",
                "seaborn",
                "plotly",
                "nltk",
                "spacy",
                "gensim",
                "transformers",
                "django",
                "sqlalchemy",
                "pydantic",
                "scikit-image",
            ),
            *(
                "flask-cors",
                "statsmodels",
                "catboost",
                "bokeh",
                "panel",
                "shap",
                "openpyxl",
                "pyyaml",
                "tqdm",
                "networkx",
                "sympy",
            ),
        )
    },
}
"""What packages of conda that a RUN installs are called elsewhere; others are not taken."""


def _requirements_file(file: str, workdir: str, places: Places, folder: Reads, context: str) -> str | None:
    path = places.project_path(posixpath.join(workdir, file))
    if path is not None and folder.exists(path):
        return path
    base = posixpath.basename(file)
    for inner in (posixpath.normpath(posixpath.join(context, file)), posixpath.join(context, base)):
        if not inner.startswith(("/", "..")) and folder.has_file(inner):
            return inner
    return None


def _of_env(stage: Stage, source: str, places: Places) -> list[Hint]:
    hints: list[Hint] = []
    for name, (value, line) in stage.env.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or variables.is_of_tools(name):
            continue
        if name == "PORT":
            if value.isdigit():
                hints.append(Hint("port", value, source, line, name="PORT"))
        elif variables.is_secret(name) and (variables.is_placeholder(value) or variables.looks_real(value)):
            note = "its value stays out of the image" if variables.looks_real(value) else ""
            hints.append(Hint("needs-env", name, source, line, name=name, note=note))
        elif name == "PYTHONPATH":
            kept = import_path(value, stage.workdir, places)
            if kept:
                hints.append(Hint("env", kept, source, line, name=name))
        else:
            hints.append(Hint("env", places.translated(value, ROOT), source, line, name=name))
    return hints


def import_path(value: str, workdir: str, places: Places) -> str:
    """`PYTHONPATH` with the project's folders in Corten's image, without those that are on the import path anyway."""
    kept: dict[str, None] = {}
    for path in value.split(":"):
        if not path or "$" in path:
            continue
        path = posixpath.join(workdir, path)
        inner = places.project_path(path)
        if inner is None:
            inner = next(iter(places.homes(path)), None)
        if inner:
            kept[posixpath.join(ROOT, inner)] = None
    return ":".join(path for path in kept if path not in (ROOT, f"{ROOT}/src"))


def _command(stage: Stage, base: images.Implied, source: str, places: Places, folder: Reads) -> list[Hint]:
    if "lambda/python" in stage.image and stage.cmd is not None and not isinstance(stage.cmd.value, str):
        return [
            Hint("app", stage.cmd.value[0], source, stage.cmd.line)
        ]  # a handler, which AWS's image starts
    start = stage.entrypoint or stage.cmd
    if start is None:
        if not base.command:
            return []
        return choose(shell.cleaned(base.command), source, stage.image_line, "/app", places, folder)
    at = start.line
    value = start.value
    if stage.entrypoint is not None and stage.cmd is not None and not isinstance(stage.entrypoint.value, str):
        after = stage.cmd.value
        value = (
            *stage.entrypoint.value,
            *(("/bin/sh", "-c", after) if isinstance(after, str) else after),
        )
        at = stage.cmd.line
    return choose(shell.cleaned(value), source, at, stage.workdir, places, folder)


def choose(
    line: shell.Line | None, source: str, at: int, workdir: str, places: Places, folder: Reads
) -> list[Hint]:
    """The command `line`, which starts in the image's folder `workdir`, with the folder of the project in which what it starts is
    found."""
    if line is None:
        return []
    fallback: Hint | None = None
    inside = posixpath.join(workdir, line.folder)
    homes = list(dict.fromkeys([*places.homes(workdir), ""]))
    for mapped, home in [(False, home) for home in homes] + [(True, home) for home in homes]:
        cwd = _cwd(line.folder, home, places)
        if cwd is None:
            continue
        argv = tuple(_translated(word, cwd, inside if mapped else None, places, folder) for word in line.argv)
        if argv[:2] == ("/bin/sh", "-c"):
            argv = (*argv[:2], places.translated(line.argv[2], ROOT))
        argv = shell.with_shell(argv, folder, cwd)
        program = programs.classify(argv, folder, cwd)
        env = tuple((name, places.translated(text, ROOT)) for name, text in line.env)
        note = f"without {', '.join(line.dropped)}" if line.dropped else ""
        others = tuple(other for other in places.homes(workdir) if other != cwd) if not line.folder else ()
        hint = Hint("command", argv, source, at, folder=cwd, env=env, note=note, others=others)
        if program.starts not in ("absent", "nothing", "foreign"):
            return [hint]
        fallback = fallback or hint
    return [fallback] if fallback else []


def _cwd(inner: str, home: str, places: Places) -> str | None:
    if not inner:
        return home
    if inner.startswith("/"):
        return places.project_path(inner)
    path = posixpath.normpath(posixpath.join(home, inner))
    return None if path.startswith("..") else "" if path == "." else path


def _translated(word: str, cwd: str, inside: str | None, places: Places, folder: Reads) -> str:
    """A word that is a path of the project, relative to `cwd`; with an option in front (`--config=/code/x.py`) too. A relative path
    counts from the image's folder `inside`, where that is given and the path is not one of the project's as it stands."""
    option, sign, path = word.partition("=") if word.startswith("-") else ("", "", word)
    if not path.startswith("/"):
        if inside is None or option or not ("/" in path or path.endswith((".py", ".sh"))) or "://" in path:
            return word
        if folder.exists(posixpath.normpath(posixpath.join(cwd, path))):
            return word
        path = posixpath.join(inside, path)
    inner = places.project_path(path)
    if inner is None:
        return word
    relative = posixpath.relpath(inner or ".", cwd or ".")
    if not (option or "/" in relative or relative.endswith((".py", ".sh"))):
        relative = f"./{relative}"
    return f"{option}{sign}{relative}"
