"""`cog.yaml` (cog.run/yaml): packages, system packages, the Python, variables and steps of the build of a project for Cog."""

from __future__ import annotations

import re
from typing import Any

from corten.errors import FormatError
from corten.lazy import regex
from corten.project.hints import debian_names, documents, installs, shell
from corten.project.hints.hint import MOST_HINTS, Hint, Reads

FILE = "cog.yaml"
_PYTHON = regex(r"(3\.\d{1,2})(?:\.\d+)?")
_ONLY_COG = regex(r"(?:python3? -m )?pip3? install (?:-\S+ )*(?:cog|coglet|pip|setuptools|wheel)\S*")
"""Steps that nothing is missing of when they are left out."""
_OF_CUDA = regex(
    r"(?:lib)?(?:cuda|cudnn|cublas|cufft|curand|cusolver|cusparse|nccl|nvinfer|tensorrt)\d*(?:-|\d|$)|nvidia-"
)
_MOST_KEYS = 100
_KEYS = frozenset(
    ("build", "image", "predict", "run", "train", "environment", "weights", "concurrency", "tests")
)
_OF_BUILD = frozenset(
    (
        *(
            "gpu",
            "cuda",
            "cudnn",
            "fast",
            "sdk_version",
            "python_version",
            "python_packages",
            "python_requirements",
        ),
        *("system_packages", "pre_install", "run"),
    )
)
_OF_COG = regex(r"(?i)(?:cog|coglet)\s*(?:[\[<>=!~;@].*)?")


def read(folder: Reads) -> tuple[Hint, ...]:
    """The hints of `cog.yaml`. A file that is no YAML gives none: the recogniser says so."""
    text = folder.text(FILE)
    if text is None:
        return ()

    def there(hint: Hint) -> Hint:
        if hint.key != "requirements" or folder.exists(hint.text):
            return hint
        return Hint("unused", f"'{hint.text[:100]}' is not in the project", FILE, hint.line)

    return tuple(map(there, read_text(text)))


def read_text(text: str) -> tuple[Hint, ...]:
    """The hints of such a file with the contents `text`."""
    try:
        config = documents.yaml(text)
    except FormatError:
        return ()
    if not isinstance(config, dict):
        return ()
    build = config.get("build")
    found = _build(build, text) if isinstance(build, dict) else []
    for pair in _texts(config.get("environment")):
        name, sign, value = pair.partition("=")
        if sign and re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            found.append(Hint("env", value, FILE, _line(text, pair), name=name))
    weights = config.get("weights")
    if isinstance(weights, list) and weights:
        said = "weights are not fetched; 'models' in [tool.corten] names files that are"
        found.append(Hint("unused", said, FILE, _line(text, "weights:")))
    found += _unknown(config, _KEYS, "", text)
    if isinstance(build, dict):
        found += _unknown(build, _OF_BUILD, "build.", text)
    return tuple(found[:MOST_HINTS])


def _unknown(table: dict[str, Any], known: frozenset[str], within: str, text: str) -> list[Hint]:
    """A hint for each key that Corten does not know, so nothing of it is done."""
    return [
        Hint("unused", f"'{within}{str(key)[:60]}' is not known, and not used", FILE, _line(text, f"{key}:"))
        for key in list(table)[:_MOST_KEYS]
        if key not in known
    ]


def _build(build: dict[str, Any], text: str) -> list[Hint]:
    found: list[Hint] = []
    python = build.get("python_version")
    if isinstance(python, str) and (match := _PYTHON.fullmatch(python.strip())):
        found.append(Hint("python", match[1], FILE, _line(text, "python_version")))
    file = build.get("python_requirements")
    if isinstance(file, str) and file.strip():
        found.append(Hint("requirements", file.strip(), FILE, _line(text, "python_requirements")))
    packages = [each for each in _texts(build.get("python_packages")) if not _OF_COG.fullmatch(each.strip())]
    found += [Hint("requirement", each.strip(), FILE, _line(text, each)) for each in packages]
    for name in _texts(build.get("system_packages")):
        spelled = debian_names.spelled(name.strip())
        if spelled and _OF_CUDA.match(spelled):
            said = f"'{spelled}' is not in Debian; CUDA comes with the packages that need it"
            found.append(Hint("unused", said, FILE, _line(text, name)))
        elif spelled:
            found.append(Hint("system", spelled, FILE, _line(text, name)))
    if build.get("gpu") is False:
        found.append(Hint("gpu", "none", FILE, _line(text, "gpu:")))
    cuda = build.get("cuda")
    if isinstance(cuda, str):
        said = f"CUDA {cuda[:20]} comes with the packages that need it, and not from the base"
        found.append(Hint("unused", said, FILE, _line(text, "cuda:")))
    for step in (*_steps(build.get("pre_install")), *_steps(build.get("run"))):
        found += _step(step, _line(text, step))
    return found


def _step(step: str, line: int) -> list[Hint]:
    """What a line of `run` installs or fetches; what it does beside is not done, and said."""
    asked = installs.read(step)
    found = [Hint("system", name, FILE, line) for name in asked.system]
    found += [
        Hint("requirement", name, FILE, line) for name in asked.requirements if not _OF_COG.fullmatch(name)
    ]
    found += [Hint("requirements", name, FILE, line) for name in asked.files]
    found += [Hint("index", address, FILE, line) for address in asked.indexes]
    found += [Hint("download", address, FILE, line, name=target) for address, target in asked.downloads]
    found += [Hint("unused", f"not run: {rest[:80]}", FILE, line) for rest in asked.rest]
    if not found and any(_is_missed(each.text) for each in shell.steps(step)):
        found.append(Hint("unused", f"not run: {' '.join(step.split())[:80]}", FILE, line))
    return found


def _is_missed(step: str) -> bool:
    """Whether something may be missing where a step is left out."""
    fetches = shell.words(step)[:1] in (("curl",), ("wget",), ("git",))
    return fetches or (not installs.is_housekeeping(step) and _ONLY_COG.fullmatch(step.strip()) is None)


def _steps(value: Any) -> list[str]:
    items = value[:200] if isinstance(value, list) else []
    commands = [item.get("command") if isinstance(item, dict) else item for item in items]
    return [command for command in commands if isinstance(command, str)]


def _texts(value: Any) -> list[str]:
    items = value[:500] if isinstance(value, list) else []
    return [str(item) for item in items if isinstance(item, str | int | float)]


def _line(text: str, word: str) -> int:
    return documents.line_of(text, word.partition("\n")[0])
