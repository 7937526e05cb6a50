"""Environment variables of other tools' files: which of them are an image's, which must be set by the user. Pure."""

from __future__ import annotations

import re

_BEGINNINGS = (
    *(
        "PIP_",
        "POETRY_",
        "UV_",
        "PIPENV_",
        "PDM_",
        "CONDA_",
        "MAMBA_",
        "DEBIAN_",
        "APT_",
        "DOCKER_",
        "BUILDKIT_",
        "COMPOSE_",
        "GIT_",
    ),
    *("NVIDIA_", "NVARCH", "NV_", "NCCL_", "LESS", "NODE_", "NPM_", "YARN_"),
)
_NAMES = {
    *(
        "PATH",
        "HOME",
        "USER",
        "SHELL",
        "TERM",
        "LANG",
        "LANGUAGE",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "HOSTNAME",
        "VIRTUAL_ENV",
    ),
    *(
        "LD_LIBRARY_PATH",
        "LIBRARY_PATH",
        "CUDA_HOME",
        "CUDA_PATH",
        "CFLAGS",
        "CXXFLAGS",
        "LDFLAGS",
        "CC",
        "CXX",
        "DISPLAY",
    ),
    *(
        "PYTHON_VERSION",
        "PYTHON_PIP_VERSION",
        "PYTHONUNBUFFERED",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONFAULTHANDLER",
    ),
    *(
        "PYTHONHASHSEED",
        "PYTHONIOENCODING",
        "QT_X11_NO_MITSHM",
        "PS1",
        "JAVA_HOME",
        "RUSTUP_HOME",
        "CARGO_HOME",
        "FORCE_COLOR",
    ),
}
"""Variables of the build and of the image around the program, which Corten's image sets by itself or has no use for."""
_CONFIDENTIAL = r"(?:\w*_)?(?:API_?KEY|SECRET(?:_KEY)?|SECRET_ACCESS_KEY|ACCESS_KEY(?:_ID)?|TOKEN|PASSWORD|PASSWD|CREDENTIALS?|PRIVATE_KEY|KEY|PASS)"
_PLACEHOLDER = (
    r"(?i)\s*(?:|<.*>|\[.*\]|\{.*\}|x{3,}.*|\.{3,}|your[-_ ].*|.*(?:your|placeholder|replace|changeme|change[-_]me|insert|example|todo|enter|fill).*"
    r"|sk-\.*x*|sk-\.\.\.|none|null|\*+|…)\s*"
)


def is_of_tools(name: str) -> bool:
    """Whether `name` belongs to what builds or surrounds a program."""
    return name in _NAMES or name.startswith(_BEGINNINGS)


def is_secret(name: str) -> bool:
    """Whether `name` is one of a password or key."""
    return re.fullmatch(_CONFIDENTIAL, name[:200], re.IGNORECASE) is not None


def is_placeholder(value: str) -> bool:
    """Whether `value` only says that something belongs here."""
    return re.fullmatch(_PLACEHOLDER, value.strip()[:500]) is not None


def looks_real(value: str) -> bool:
    """Whether the value of a password or key looks like one that is in use: long, and made of letters and digits."""
    text = value.strip()
    return (
        len(text) >= 20
        and " " not in text
        and re.search(r"[a-z]", text, re.IGNORECASE) is not None
        and re.search(r"\d", text) is not None
        and not is_placeholder(text)
    )
