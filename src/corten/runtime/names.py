"""Names for containers that nobody named: two words and a number, which people can say and type."""

from __future__ import annotations

import os

_ADJECTIVES = (
    "amber",
    "brisk",
    "calm",
    "deft",
    "eager",
    "fair",
    "glad",
    "hale",
    "keen",
    "mild",
    "neat",
    "swift",
)
_NOUNS = ("alder", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "yew")


def random_name() -> str:
    """One of 144,000 names. The random module would cost every start its import."""
    first, second, *rest = os.urandom(4)
    number = int.from_bytes(rest) % 1000
    return f"{_ADJECTIVES[first % len(_ADJECTIVES)]}-{_NOUNS[second % len(_NOUNS)]}-{number:03d}"
