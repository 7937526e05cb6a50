"""Content types: what a request has, and which one of those on offer its client would rather have (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST = 2000
"""Characters of a header that are looked at: browsers send some 150."""
_CHARSETS = {
    "": "",
    "utf-8": "",
    "utf8": "",
    "us-ascii": "",
    "ascii": "",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "latin-1": "latin-1",
    "windows-1252": "cp1252",
}


def parse(header: str) -> tuple[str, dict[str, str]]:
    """The content type in lower case and its parameters, their names in lower case, quotes taken off. Whatever is
    no parameter is left out."""
    head, _, rest = header[:_LONGEST].partition(";")
    parameters: dict[str, str] = {}
    while rest:
        name, equals, rest = rest.lstrip("; \t").partition("=")
        if not equals:
            break
        if rest.startswith('"'):
            value, rest = _quoted(rest)
        else:
            value, _, rest = rest.partition(";")
            value = value.strip()
        parameters.setdefault(name.strip().lower(), value)
    return head.strip().lower(), parameters


def charset(parameters: dict[str, str]) -> str | None:
    """The codec for a text with these parameters: empty for UTF-8, None for one that is not known here."""
    return _CHARSETS.get(parameters.get("charset", "").lower())


def choose(header: str, offers: Sequence[str]) -> str | None:
    """The one of `offers` that `header` prefers; the first of equals, and the first of all where there is no header.
    None where it allows none of them. What is malformed in a header is passed over."""
    ranges = [found for part in header[:_LONGEST].split(",") if (found := _range(part))]
    if not ranges:
        return offers[0]
    best, most = None, 0.0
    for offer in offers:
        # The most specific range that fits an offer says how much it is wanted, whatever the others say.
        fits = [(specific, quality) for name, specific, quality in ranges if _fits(name, offer)]
        quality = max(fits)[1] if fits else 0.0
        if quality > most:
            best, most = offer, quality
    return best


def _fits(name: str, offer: str) -> bool:
    """Whether a range of a header allows `offer`, which may itself be a range where the type is known only afterwards."""
    main = offer.partition("/")[0]
    if name in ("*/*", f"{main}/*", offer):
        return True
    return (offer == "*/*" and name != "application/json") or (
        offer.endswith("/*") and name.startswith(f"{main}/")
    )


def _range(part: str) -> tuple[str, int, float] | None:
    name, parameters = parse(part)
    if not all(name.partition("/")):
        return None
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        return None
    if not 0 <= quality <= 1:
        return None
    return name, 0 if name == "*/*" else 1 if name.endswith("/*") else 2, quality


def _quoted(text: str) -> tuple[str, str]:
    """The value of a quoted string at the beginning of `text`, and what follows it."""
    value, position = [], 1
    while position < len(text) and text[position] != '"':
        if text[position] == "\\":
            position += 1
        value.append(text[position : position + 1])
        position += 1
    return "".join(value), text[position + 1 :].partition(";")[2]
