"""What the documentation shows is true: its commands run (`support.pages` says how), its links lead somewhere, the paths it
names exist."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from support.command import Corten
from support.pages import BLOCK, ROOT, followed, has_commands

PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
ALL = sorted(
    [
        *PAGES,
        *ROOT.glob("examples/*/README.md"),
        ROOT / "ARCHITECTURE.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
    ]
)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# What the examples' own pages show runs in test_examples.py, which then looks closer at what they started.
@pytest.mark.e2e
@pytest.mark.parametrize("page", [page for page in PAGES if has_commands(page)], ids=name_of)
def test_shown_commands_run(page: Path, corten: Corten, base_home: Path, tmp_path: Path) -> None:
    # `prune` and `stop --all` would hit what other tests have in the shared store, so a page has its own, beside it.
    with tempfile.TemporaryDirectory(prefix="page-", dir=corten.home.parent) as home:
        # What is missed because it goes away meanwhile is made again.
        parts = [*base_home.iterdir(), corten.home / "caches"]
        subprocess.run(["cp", "-al", *(part for part in parts if part.exists()), home], check=False)
        with followed(page, tmp_path, corten.at(Path(home)), ending=("stop", "--all")):
            pass


def test_every_page_of_an_example_is_followed() -> None:
    """By a test of its own."""
    tests = (ROOT / "tests/e2e/test_examples.py").read_text()
    names = {page.parent.name for page in ROOT.glob("examples/*/README.md")}
    assert names == set(re.findall(r'followed_example\("([\w-]+)"\)', tests))


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path) if path else page
        assert place.exists(), f"{target} in {name_of(page)}"
        if anchor:
            assert anchor in {slug(title) for title in headings(place)}, f"{target} in {name_of(page)}"


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)


def slug(title: str) -> str:
    """The anchor of a heading, as it is made for a rendered page."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_every_path_in_the_map_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    missing = []
    room = ROOT
    for line in text.splitlines():
        for name in re.findall(r"`([\w./-]+)`", line):
            if "/" not in name and not name.endswith((".py", ".toml", ".md")):
                continue
            if name.startswith("src/") and name.endswith("/"):
                room = ROOT / name
            places = [ROOT / name, ROOT / "src/corten" / name, room / name, ROOT / "src/corten_serve" / name]
            rooted = name.startswith(("/", "opt/")) or name == "corten.lock"
            if not rooted and not any(place.exists() for place in places):
                missing.append(name)
    assert missing == []


def test_the_configuration_page_is_the_schema_s() -> None:
    """Every key has its section, and no section is without a key."""
    from corten.project.settings import KEYS

    titles = [title.strip("`") for title in headings(ROOT / "docs/configuration.md") if title.startswith("`")]
    assert titles == [str(key) for key in KEYS]


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_named_verbs_and_options_exist(page: Path) -> None:
    """`corten VERB --option`, wherever it is shown, is one that the command has."""
    from corten.cli.main import VERBS, parser_of
    from corten.cli.words import split

    for line in re.findall(r"\bcorten ((?:[a-z]+)(?: [^`\n'\"|]*)?)", "\n".join(shown(page.read_text()))):
        verb, *arguments = line.split(" -- ")[0].split()
        assert verb in VERBS, f"'corten {line}' in {name_of(page)}"
        parser, module = parser_of(verb)
        if getattr(module, "TAKES_COMMAND", False):
            arguments = split(parser, arguments).own
        known = {text for action in parser._actions for text in action.option_strings}
        options = [item.partition("=")[0].rstrip(",.;:)") for item in arguments if item.startswith("-")]
        assert set(options) <= known | {"--", "-"}, f"'corten {line}' in {name_of(page)}"


def shown(text: str) -> list[str]:
    """Code: blocks and inline."""
    return [body for language, body in BLOCK.findall(text) if language in ("sh", "text")] + re.findall(
        r"`([^`\n]+)`", BLOCK.sub("", text)
    )


def test_no_page_asks_a_stranger_for_anything() -> None:
    """The picture and the pages load nothing from elsewhere."""
    for path in ROOT.glob("docs/*.svg"):
        text = path.read_text()
        assert not re.search(r"(?:href|src|url)\s*[=(]\s*[\"']?https?:", text), name_of(path)
    assert os.path.getsize(ROOT / "docs/terminal.svg") < 200_000


def test_explained_messages_are_corten_s() -> None:
    """Headings in code form on the page of troubles are what the code says, with … for what varies."""
    source = " ".join(path.read_text() for path in sorted((ROOT / "src/corten").rglob("*.py")))
    # Texts may be written in pieces, with names of constants, and with braces for what varies.
    source = source.replace("{TABLE}", "[tool.corten]").replace("{LOCK_NAME}", "corten.lock")
    source = re.sub(r'"\s+f?"', "", source)
    source = re.sub(r"\{[^{}]*\}", "…", source)
    messages = [
        message
        for title in headings(ROOT / "docs/troubleshooting.md")
        for message in re.findall(r"`([^`]+)`", title)
    ]
    assert len(messages) > 20
    unknown = [
        message
        for message in messages
        if not all(
            piece.strip(" '") in source or piece.strip(" '").replace("corten.lock", "…") in source
            for piece in message.split("…")
        )
    ]
    assert unknown == []
