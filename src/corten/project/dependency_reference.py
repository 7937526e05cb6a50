"""The table in docs/dependencies.md that says which file is read, from `corten.project.dependencies.ORDER`. Write it with
`python -m corten.project.dependency_reference docs/dependencies.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from corten.project.dependencies import ORDER

BEGIN, END = "<!-- which file is read: from the code -->\n", "<!-- end -->\n"


def reference() -> str:
    """The table."""
    rows = [
        f"| {number} | {place.what} | {place.gives} | {place.chosen} |"
        for number, place in enumerate(ORDER, 1)
    ]
    head = [
        "| | Where the dependencies are | What it gives | `extras` and `groups` |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows]) + "\n"


def within(page: str) -> str:
    """The page with the table of now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(within(path.read_text(encoding="utf-8")), encoding="utf-8")
