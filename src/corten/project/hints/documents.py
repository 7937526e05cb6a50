"""YAML and JSON with comments as plain values, within bounds. The libraries are loaded only when there is such a file."""

from __future__ import annotations

import re
from typing import Any

from corten.errors import FormatError

_DEEPEST = 40
_MOST_EVENTS = 50_000
_MOST_VALUES = 50_000
_MOST_CHARACTERS = 1_000_000


def yaml(text: str) -> Any:
    """The first document of `text`: mappings, lists, texts, numbers, true, false and null. A tag that asks for an object has no
    meaning here; anchors and `<<` count, as long as what they come to stays small. Raises FormatError."""
    if len(text) > _MOST_CHARACTERS:
        raise FormatError("it is larger than 1 MB")
    import yaml as library

    loader = getattr(library, "CSafeLoader", library.SafeLoader)
    try:
        depth = 0
        for number, event in enumerate(library.parse(text, Loader=loader)):
            if number > _MOST_EVENTS:
                raise FormatError("it has too many values")
            depth += isinstance(event, library.CollectionStartEvent) - isinstance(
                event, library.CollectionEndEvent
            )
            if depth > _DEEPEST:
                raise FormatError("it is nested too deeply")
            if isinstance(event, library.DocumentEndEvent):
                break
        node = next(iter(library.compose_all(text, Loader=loader)), None)
        return _Values(library).value(node, 0) if node is not None else None
    except (library.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError("it is not YAML") from error


class _Values:
    """The values of nodes. What an anchor names is made again for each use, and counted."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._left = _MOST_VALUES

    def value(self, node: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > 2 * _DEEPEST:
            raise FormatError("its anchors come to too many values")
        if isinstance(node, self._library.ScalarNode):
            return self._scalar(node)
        if isinstance(node, self._library.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, item in node.value:
            name = str(self._scalar(key)) if isinstance(key, self._library.ScalarNode) else ""
            if key.tag == "tag:yaml.org,2002:merge":
                below = self.value(item, depth + 1)
                for part in reversed(below) if isinstance(below, list) else [below]:
                    merged |= part if isinstance(part, dict) else {}
            elif name:
                own[name] = self.value(item, depth + 1)
        return merged | own

    @staticmethod
    def _scalar(node: Any) -> Any:
        tag, text = node.tag, node.value
        if tag == "tag:yaml.org,2002:null":
            return None
        if tag == "tag:yaml.org,2002:bool":
            return text.lower() in ("true", "yes", "on")
        if tag == "tag:yaml.org,2002:int" and re.fullmatch(r"[-+]?[0-9]{1,18}", text):
            return int(text)
        return text


def jsonc(text: str) -> Any:
    """JSON with `//` and `/* */` comments and commas at the end of lists, as editors write it. Raises FormatError."""
    if len(text) > _MOST_CHARACTERS:
        raise FormatError("it is larger than 1 MB")
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    bare = re.sub(
        r"\"(?:[^\"\\\n]|\\.)*+(?:\"|\n|\\?\Z)|//[^\n]*|/\*.*?(?:\*/|\Z)",
        lambda match: match[0] if match[0].startswith('"') else " ",
        text,
        flags=re.DOTALL,
    )
    bare = re.sub(
        r"\"(?:[^\"\\\n]|\\.)*+(?:\"|\n|\\?\Z)|,(?=\s*+[}\]])",
        lambda match: match[0] if match[0] != "," else "",
        bare,
    )
    try:
        return json.loads(bare)
    except (ValueError, RecursionError) as error:
        raise FormatError("it is not JSON") from error


def line_of(text: str, *words: str) -> int:
    """The line in which the last of `words` stands, each looked for behind the one before; 0 where one is missing."""
    at = 0
    for word in words:
        found = text.find(word, at)
        if found == -1:
            return 0
        at = found + len(word)
    return text.count("\n", 0, at) + 1
