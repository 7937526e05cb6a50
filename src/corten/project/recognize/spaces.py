"""Finding what a Space of Hugging Face runs: `sdk` and `app_file` at the top of its `README.md`.

A Space with `sdk: docker` is its Dockerfile's (`corten.project.hints`)."""

from __future__ import annotations

import posixpath

from corten.errors import ProjectError
from corten.project.hints import spaces
from corten.project.model import Command
from corten.project.recognize.candidates import PLATFORM, Candidate
from corten.project.recognize.facts import Facts
from corten.project.recognize.ui_frameworks import GRADIO, STREAMLIT

STRENGTH = PLATFORM - 1
"""A project that is also one of Cog's has its demonstration there."""
_BESIDE = {
    # `HfFolder` is gone, schemas may be booleans, and templates take the request first.
    ("gradio", "3"): ("huggingface_hub<1", "pydantic<2.11", "starlette<1"),
    ("gradio", "4"): ("huggingface_hub<1", "pydantic<2.11", "starlette<1"),
    ("gradio", "5"): ("huggingface_hub<1",),
}


def find(facts: Facts) -> list[Candidate]:
    """The application of the Space. Raises ProjectError for one that is not there."""
    folder = facts.folder
    said = spaces.front(folder) if folder.exists(spaces.FILE) else None
    if said is None or said["sdk"] == "docker":
        return []
    sdk = said["sdk"]
    written = said.get("app_file")
    default = "index.html" if sdk == "static" else "app.py"
    file = posixpath.normpath(written) if isinstance(written, str) and written.strip() else default
    if not folder.exists(file) or file.startswith(("/", "../")):
        raise ProjectError(
            f"'{spaces.FILE}' is a Space's and names '{file[:100]}', which is not in the project",
            hint="correct 'app_file' at its top, or name what runs by 'command' in [tool.corten]",
        )
    note = f"'{spaces.FILE}' is a Space's: {sdk} runs '{file}'"
    if sdk == "static":
        where = posixpath.dirname(file) or "."
        served = Command(("python", "-m", "http.server", "--directory", where, "$PORT"))
        return [Candidate("web", served, spaces.FILE, note, STRENGTH, target=file)]
    listed = {name.partition("[")[0] for name in facts.listed}
    requires: tuple[str, ...] = ()
    reason = ""
    if sdk not in listed:
        beside = [each for each in _works_with(sdk, said.get("sdk_version")) if _name(each) not in listed]
        requires = (_pinned(sdk, said.get("sdk_version")), *beside)
        reason = f"'{spaces.FILE}' names the SDK of the Space" + (
            ", and it works with these" if beside else ""
        )
    framework = GRADIO if sdk == "gradio" else STREAMLIT
    command = ("python", file) if sdk == "gradio" else framework.argv(file)
    return [
        Candidate(
            "ui",
            Command(command),
            spaces.FILE,
            note,
            STRENGTH,
            requires=requires,
            reason=reason,
            env=dict(framework.env),
            ready=framework.ready,
            writable=True,
            target=file,
        )
    ]


def _works_with(sdk: str, version: object) -> tuple[str, ...]:
    """What an older SDK does not name, and cannot work without: releases of its dependencies that came after it."""
    major = str(version).partition(".")[0] if spaces.is_version(version) else ""
    return _BESIDE.get((sdk, major), ())


def _name(requirement: str) -> str:
    return requirement.partition("<")[0].replace("_", "-")


def _pinned(sdk: str, version: object) -> str:
    return f"{sdk}=={version}" if spaces.is_version(version) else sdk
