"""What a line of `RUN` installs, fetches or makes: apt-get, pip, conda, wget, curl. Pure; nothing is run."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from corten.lazy import regex
from corten.project.hints import debian_names, shell
from corten.values import dataclass

WEIGHTS = (
    *(
        ".pt",
        ".pth",
        ".onnx",
        ".h5",
        ".hdf5",
        ".keras",
        ".pkl",
        ".pickle",
        ".joblib",
        ".safetensors",
        ".gguf",
        ".ggml",
    ),
    *(
        ".bin",
        ".tflite",
        ".weights",
        ".caffemodel",
        ".pb",
        ".ckpt",
        ".model",
        ".npz",
        ".npy",
        ".zip",
        ".tar.gz",
    ),
    *(".tgz", ".tar", ".dat", ".xml", ".names", ".cfg", ".csv", ".json", ".parquet"),
)
"""Endings of what a line fetches for the program, rather than for the image."""

CPU_INDEX = regex(r"https?://download\.pytorch\.org/whl/cpu(?:/\S*)?")
CUDA_INDEX = regex(r"https?://download\.pytorch\.org/whl/(cu\d{2,3})(?:/\S*)?")
_TOOLS = {
    "pip",
    "setuptools",
    "wheel",
    "uv",
    "poetry",
    "pipenv",
    "pdm",
    "virtualenv",
    "poetry-core",
    "hatch",
    "pip-tools",
}
_PIP_VALUES = {
    *(
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "-r",
        "--requirement",
        "-c",
        "--constraint",
    ),
    *(
        "-e",
        "--editable",
        "-t",
        "--target",
        "--timeout",
        "--default-timeout",
        "--retries",
        "--trusted-host",
        "--platform",
    ),
    *(
        "--prefix",
        "--root",
        "--python-version",
        "--only-binary",
        "--no-binary",
        "--progress-bar",
        "--cache-dir",
        "--python",
    ),
    *(
        "-p",
        "--index",
        "--upgrade-strategy",
        "--use-feature",
        "--src",
        "--python-platform",
        "--torch-backend",
        "--prerelease",
    ),
}
_REQUIREMENT = regex(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[\w\s,.-]*\])?\s*(?:(?:===?|~=|!=|<=?|>=?)\s*[\w.*+!-]+\s*,?\s*)*"
)
_INSTALLERS = regex(r"python-poetry\.org|astral\.sh|nodesource|get-pip|pdm-project|rustup|get\.docker")
"""Scripts on the web that install a tool which Corten stands in for, or a compiler."""
_HOUSEKEEPING = {
    *(
        "mkdir",
        "chmod",
        "chown",
        "chgrp",
        "useradd",
        "adduser",
        "groupadd",
        "addgroup",
        "usermod",
        "rm",
        "ln",
        "touch",
        "echo",
    ),
    *(
        "cd",
        "ls",
        "cat",
        "pwd",
        "true",
        ":",
        "set",
        "exit",
        "export",
        "printf",
        "cp",
        "mv",
        "sed",
        "find",
        "test",
        "[",
        "[[",
    ),
    *(
        "locale-gen",
        "update-locale",
        "localedef",
        "dpkg-reconfigure",
        "ldconfig",
        "sync",
        "sleep",
        "which",
        "whoami",
        "unzip",
    ),
    *(
        "update-ca-certificates",
        "update-alternatives",
        "gpg",
        "apt-key",
        "add-apt-repository",
        "tee",
        "dpkg",
        "hash",
        "tar",
    ),
    *(
        "gunzip",
        "ulimit",
        "date",
        "if",
        "then",
        "else",
        "fi",
        "for",
        "do",
        "done",
        "uname",
        "env",
        "printenv",
        "source",
        ".",
    ),
    *(
        "poetry",
        "pdm",
        "pipenv",
        "rye",
        "hatch",
        "virtualenv",
        "npm",
        "yarn",
        "node",
        "corepack",
        "alembic",
        "pytest",
        "ruff",
    ),
    *(
        "mypy",
        "flake8",
        "black",
        "fc-cache",
        "timedatectl",
        "wget",
        "curl",
        "pip",
        "pip3",
        "apt",
        "apt-get",
        "echo",
    ),
}
"""Programs of steps that leave nothing behind which a program would miss."""
_NO_MATTER = {
    "conda": {"clean", "init", "config", "activate", "update", "info", "list", "deactivate", "env"},
    "mamba": {"clean", "init", "config", "activate", "update", "info", "list", "env"},
    "uv": {"sync", "venv", "lock", "cache", "export", "python", "pip"},
}
"""The same by a program's first word."""


def _is_housekeeping(words: Sequence[str]) -> bool:
    name = posixpath.basename(words[0])
    if name in _HOUSEKEEPING:
        return True
    if name.startswith("python"):
        return words[1:2] in (["-V"], ["--version"]) or tuple(words[1:3]) in (
            ("-m", "venv"),
            ("-m", "ensurepip"),
            ("-m", "compileall"),
            ("-m", "pip"),
        )
    return bool(words[1:]) and words[1] in _NO_MATTER.get(name, ())


@dataclass(frozen=True, slots=True)
class Installed:
    """What one RUN asks for. `requirements` are PEP 508 lines, `files` requirements files as the line spells them, `indexes`
    addresses, `downloads` (address, target or ""), `python` a minor version of conda's, `local` whether the project itself is
    installed, `rest` all other steps, `folders` what mkdir makes."""

    system: tuple[str, ...] = ()
    alpine: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    downloads: tuple[tuple[str, str], ...] = ()
    python: str | None = None
    local: bool = False
    conda: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def is_housekeeping(step: str) -> bool:
    """Whether a step makes folders, sets modes, cleans up: nothing that an image would miss."""
    words = shell.words(step)
    return not words or _is_housekeeping(words)


def read(text: str) -> Installed:
    """What the shell's line `text` installs."""
    system: list[str] = []
    alpine: list[str] = []
    requirements: list[str] = []
    files: list[str] = []
    indexes: list[str] = []
    downloads: list[tuple[str, str]] = []
    conda: list[str] = []
    rest: list[str] = []
    folders: list[str] = []
    python: str | None = None
    local = False
    piped = ""
    for step in shell.steps(text):
        # Only the beginning of a long script is looked at; options in front of a command are of no matter here.
        words = shell.words(re.sub(r"^(?:if\s.*?then|do|then|else)\s+", "", step.text))
        while words and (
            words[0] in ("sudo", "exec", "time", "!", "-") or re.match(r"[A-Za-z_]\w*=", words[0])
        ):
            words = words[1:]
        if not words:
            continue
        name = posixpath.basename(words[0])
        if piped and name in ("sh", "bash", "python", "python3"):
            if not _INSTALLERS.search(piped):
                rest.append(f"{piped} | {name}"[:80])
            piped = ""
            continue
        piped = " ".join(words) if name in ("curl", "wget") and step.operator == "|" else ""
        pip = _pip(words)
        if name in ("apt-get", "apt", "aptitude") and "install" in words:
            system += _debian(words[words.index("install") + 1 :])
        elif name == "apk" and "add" in words:
            alpine += [word for word in words[words.index("add") + 1 :] if re.match(r"[a-z0-9]", word)]
        elif pip is not None:
            found = _pip_install(pip)
            requirements += found.requirements
            files += found.files
            indexes += found.indexes
            local = local or found.local
        elif name in ("conda", "mamba", "micromamba") and {"install", "create"} & set(words[:3]):
            packages, version = _conda(words)
            conda += packages
            python = version or python
        elif (name in ("wget", "curl") and (fetched := _fetched(words))) or (
            fetched := _named_download(words)
        ):
            downloads += fetched
        elif name == "mkdir":
            folders += _made(words[1:])
        elif not _is_housekeeping(words):
            rest.append(" ".join(words)[:80])
    return Installed(
        system=tuple(dict.fromkeys(system)),
        alpine=tuple(dict.fromkeys(alpine)),
        requirements=tuple(dict.fromkeys(requirements)),
        files=tuple(dict.fromkeys(files)),
        indexes=tuple(dict.fromkeys(indexes)),
        downloads=tuple(dict.fromkeys(downloads)),
        python=python,
        local=local,
        conda=tuple(dict.fromkeys(conda)),
        rest=tuple(dict.fromkeys(rest)),
        folders=tuple(dict.fromkeys(folders)),
    )


def _made(words: Sequence[str]) -> list[str]:
    """The folders that `mkdir` makes, as far as they are known by reading."""
    found: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-m", "--mode"):
            rest[:1] = []
        elif not word.startswith("-") and re.fullmatch(r"[\w./@+-]{1,200}", word):
            found.append(word)
    return found


def _debian(words: Sequence[str]) -> list[str]:
    """The packages of `apt-get install`."""
    found: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-o", "-t", "--target-release", "-c", "--option"):
            rest[:1] = []
        elif not word.startswith("-"):
            package = debian_names.spelled(word)
            if package:
                found.append(package)
    return found


def _pip(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The arguments of `pip install` in one of its spellings; None for anything else."""
    words, _ = shell._unwrapped(words)
    name = posixpath.basename(words[0]) if words else ""
    if re.fullmatch(r"python[\d.]*", name) and words[1:3] == ("-m", "pip"):
        words = ("pip", *words[3:])
    elif name == "uv" and words[1:2] == ("pip",):
        words = ("pip", *words[2:])
    elif not re.fullmatch(r"pip[\d.]*", name):
        return None
    rest = list(words[1:])
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in _PIP_VALUES and rest:
            rest.pop(0)
    return tuple(rest[1:]) if rest[:1] == ["install"] else None


def _pip_install(words: Sequence[str]) -> Installed:
    requirements: list[str] = []
    files: list[str] = []
    indexes: list[str] = []
    local = False
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, sign, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if re.match(r"-[rfice]\S", word) and not word.startswith("--"):
            option, sign, value = word[:2], "=", word[2:]
        if option in _PIP_VALUES:
            if not sign:
                value = rest.pop(0) if rest else ""
            if option in ("-r", "--requirement"):
                files.append(value)
            elif option in ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--index"):
                indexes.append(value)
            elif option in ("-e", "--editable"):
                local = local or _is_local(value)
        elif word.startswith("-") or len(word) > 200:
            continue
        elif _is_local(word):
            local = True
        elif re.match(r"(?:git\+|https?://|file:)", word) or " @ " in word:
            requirements.append(word)
        elif _REQUIREMENT.fullmatch(word) and not re.fullmatch(r"(?i).*\.(?:whl|txt|zip|gz)", word):
            name = re.split(r"[\[<>=!~ ]", word)[0].lower()
            if name.replace("_", "-") not in _TOOLS:
                requirements.append(word)
    return Installed(
        requirements=tuple(requirements), files=tuple(files), indexes=tuple(indexes), local=local
    )


def _is_local(word: str) -> bool:
    return word in (".", "./") or bool(re.fullmatch(r"\.{1,2}(?:/\S*)?(?:\[[\w,\s-]*\])?|/\S+", word))


def _conda(words: Sequence[str]) -> tuple[list[str], str | None]:
    """The packages of `conda install` and the Python among them."""
    found: list[str] = []
    python = None
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if word in ("-c", "--channel", "-n", "--name", "-p", "--prefix", "-f", "--file"):
            rest[:1] = []
        elif word.startswith("-") or word in ("install", "create", "env"):
            continue
        elif match := re.fullmatch(r"python\s*=+\s*(3\.\d{1,2})\S*", word):
            python = match[1]
        elif re.fullmatch(r"[a-z0-9][\w.-]*(?:[=<>]\S*)?", word):
            found.append(word)
    return found, python


def _fetched(words: Sequence[str]) -> list[tuple[str, str]]:
    """What wget or curl fetch for the program: (address, target)."""
    addresses = [word for word in words[1:] if re.match(r"https?://|ftp://", word)]
    target = ""
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if word in ("-O", "-o", "--output", "--output-document") and rest:
            target = rest.pop(0)
        elif re.fullmatch(r"-[a-zA-Z]*[oO]", word) and rest and words[0].endswith(("curl", "wget")):
            target = rest[0] if not re.match(r"https?://", rest[0]) else target
        elif word in ("-P", "--directory-prefix") and rest:
            target = rest.pop(0).rstrip("/") + "/"
        elif match := re.match(r"(?:--output|--output-document|--directory-prefix)=(.+)", word):
            target = match[1]
    found = []
    for address in addresses:
        last = address.partition("?")[0].rstrip("/").rpartition("/")[2]
        if target == "-" or not (last.lower().endswith(WEIGHTS) or target.lower().endswith(WEIGHTS)):
            continue
        found.append((address, target + last if target.endswith("/") else target or last))
    return found


def _named_download(words: Sequence[str]) -> list[tuple[str, str]]:
    """Data that a library's own command fetches: NLTK's, spaCy's, Hugging Face's."""
    if not re.match(r"(?:\S*/)?(?:python|huggingface-cli$|hf$|gdown$|playwright$)", words[0]):
        return []
    text = " ".join(words)
    for pattern, form in (
        (r"python[\d.]* -m nltk\.downloader (?:-\S+ \S+ )*(.+)", "nltk: {}"),
        (r"python[\d.]* -m spacy download (\S+)", "spacy: {}"),
        (r"(?:huggingface-cli|hf) download (\S+)", "hf: {}"),
        (r"gdown (?:--\S+ )*(\S+)", "gdown: {}"),
        (r"playwright install(.*)", "playwright:{}"),
        (r"(?:python[\d.]* -c .*)(?:nltk\.download\([\"']([\w./-]+))", "nltk: {}"),
        (
            r"(?:python[\d.]* -c .*)(?:(?:from_pretrained|SentenceTransformer|YOLO|load_model|pipeline)\([^)\"']*[\"']([^\"']+))",
            "model: {}",
        ),
    ):
        if match := re.match(pattern, text):
            return [(form.format(match[1]).strip(), "")]
    return []
