"""Lists of Debian packages that platforms read: `packages.txt` (Streamlit, Spaces), `Aptfile` (Heroku), `apt.txt` (Binder)."""

from __future__ import annotations

from corten.project.hints import debian_names, names
from corten.project.hints.hint import MOST_HINTS, Hint, Reads, lines


def read(folder: Reads) -> tuple[Hint, ...]:
    """A package in each line, or several; comments begin with `#`."""
    hints: list[Hint] = []
    for name in names.PACKAGES:
        text = folder.text(name)
        if text is not None:
            hints += read_text(text, name)
    return tuple(hints[:MOST_HINTS])


def read_text(text: str, source: str) -> tuple[Hint, ...]:
    """The hints of such a file with the contents `text`."""
    hints = []
    for number, line in enumerate(lines(text), 1):
        for word in line.partition("#")[0].replace(",", " ").split():
            if word.startswith((":repo:", "http://", "https://", "deb")) or "://" in word:
                hints.append(Hint("unused", f"'{word[:60]}' is not in Debian's archive", source, number))
                break
            package = debian_names.spelled(word)
            if package is None or word.startswith("-"):
                continue
            hints.append(Hint("system", package, source, number))
    return tuple(hints[:MOST_HINTS])
