from __future__ import annotations

from pathlib import Path

from corten.project.recognize.order import ORDER
from corten.project.recognize.reference import reference

PAGE = Path(__file__).resolve().parents[3] / "docs/what-runs.md"


def test_the_page_is_what_the_code_says() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == reference(), "run: python -m corten.project.recognize.reference docs/what-runs.md"


def test_every_recogniser_is_there_with_its_words() -> None:
    for item in ORDER:
        assert item.finds.endswith(".")
        assert item.runs
        assert item.say
        assert "\n" not in item.finds + item.runs + item.say
