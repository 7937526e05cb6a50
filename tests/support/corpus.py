"""The projects in tests/corpus: what each is, and what is expected of it (tests/corpus/README.md)."""

from __future__ import annotations

import json
import shutil
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import sessions

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
_NAME = "corpus.toml"


@dataclass(frozen=True)
class Project:
    """One project. `expect`, `asks` and `error` are as they are written."""

    name: str
    long: bool = False
    folder: str = "."
    arguments: tuple[str, ...] = ()
    expect: dict[str, Any] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    asks: tuple[dict[str, Any], ...] = ()
    error: dict[str, str] = field(default_factory=dict)

    def copy(self, place: Path) -> Path:
        """The project in the new folder `place / name`, and there the folder that the commands get."""
        root = place / self.name
        shutil.copytree(CORPUS / self.name, root, ignore=shutil.ignore_patterns(_NAME, "__pycache__"))
        return root / self.folder

    def __str__(self) -> str:
        return self.name


def projects() -> list[Project]:
    """Every project, by name."""
    return [_read(path.parent) for path in sorted(CORPUS.glob(f"*/{_NAME}"))]


def _read(folder: Path) -> Project:
    document = tomllib.loads((folder / _NAME).read_text())
    said = document.pop("said", {})
    asks = document.pop("ask", [])
    unknown = document.keys() - {"long", "folder", "arguments", "expect", "error"}
    assert not unknown, f"{folder.name}: {unknown}"
    document["arguments"] = tuple(document.get("arguments", ()))
    return Project(folder.name, said=tuple(said.get("lines", ())), asks=tuple(asks), **document)


def ask(url: str, wanted: dict[str, Any]) -> None:
    """Send one request and check its answer."""
    wanted = dict(wanted)
    session = wanted.pop("session", "")
    if session == "streamlit":
        assert wanted["text"] in sessions.streamlit(url)
        return
    if session == "gradio":
        assert wanted["text"] in sessions.gradio(url, wanted["path"], wanted["json"])
        return
    body, headers = _body(wanted)
    request = urllib.request.Request(
        url.rstrip("/") + wanted.pop("path", "/"),
        body,
        {**headers, **wanted.pop("headers", {})},
        method=wanted.pop("method", None),
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            status, text = response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode(errors="replace")
    assert status == wanted.pop("status", 200), text
    if "answer" in wanted:
        assert json.loads(text) == wanted.pop("answer"), text
    if "text" in wanted:
        assert wanted.pop("text") in text
    assert not wanted, f"unknown keys: {wanted}"


def _body(wanted: dict[str, Any]) -> tuple[bytes | None, dict[str, str]]:
    if "json" in wanted:
        return json.dumps(wanted.pop("json")).encode(), {"Content-Type": "application/json"}
    if "form" in wanted:
        text = urllib.parse.urlencode(wanted.pop("form"))
        return text.encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    if "body" in wanted:
        return wanted.pop("body").encode(), {"Content-Type": wanted.pop("type", "text/plain")}
    return None, {}
