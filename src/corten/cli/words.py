"""Which words of a command line are Corten's, and which are the command's, by docker's and podman's rule.

Options come first, then one word (an image, a container or a folder), and everything after it is the command, with its own
options. `--` may stand between the two, and is dropped once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from corten.values import dataclass

_TRUE, _FALSE = ("true", "t", "1"), ("false", "f", "0")


@dataclass(frozen=True, slots=True)
class Words:
    """`own` are the words for the parser. `named`: the image, container or folder is among them. `command` is what follows it,
    and `marked` says that `--` stood before it."""

    own: list[str]
    named: bool
    command: list[str]
    marked: bool


def split(parser: argparse.ArgumentParser, words: Sequence[str], *, bare: bool = False) -> Words:
    """`words` in two parts. `bare`: the image or folder may be missing, so `--` before it begins the command too."""
    options, place = _options(parser, words)
    if place < len(words) and words[place] == "--":
        place += 1
        if bare:
            return Words(options, False, list(words[place:]), True)
    if place >= len(words):
        return Words(options, False, [], False)
    command = list(words[place + 1 :])
    marked = command[:1] == ["--"]
    return Words([*options, "--", words[place]], True, command[1:] if marked else command, marked)


def misplaced(parser: argparse.ArgumentParser, words: Words) -> tuple[list[str], list[str]] | None:
    """The options of Corten that stand after the image with `--` behind them, and the command after that; None where there
    are none. Without `--` nothing tells them from the command's own."""
    command = words.command
    if words.marked or not command[:1] or not command[0].startswith("-") or "--" not in command:
        return None
    found = leading(parser, command[: command.index("--")])
    return (found[0], command[command.index("--") + 1 :]) if found is not None and not found[1] else None


def leading(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """The options at the beginning of `words`, and what is behind them; None where `parser` does not know one of them."""
    found, place = _options(parser, words)
    known = parser._option_string_actions
    if any(word.partition("=")[0] not in known for word in found if word.startswith("-")):
        return None
    return list(words[:place]), list(words[place:])


def _options(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[list[str], int]:
    """The options at the beginning, each in a form that argparse takes as it is meant (a value may begin with '-'), and how
    many words they are."""
    found: list[str] = []
    place = 0
    while place < len(words):
        word = words[place]
        if word in ("-", "--") or not word.startswith("-"):
            break
        place += 1
        following = words[place] if place < len(words) else None
        known = parser._option_string_actions
        if word == "-h" and following is not None and "--hostname" in known:
            # docker's shorthand; alone it asks for help, as everywhere.
            found.append(f"--hostname={following}")
            place += 1
        elif word.startswith("--"):
            place += _long(known, word, following, found)
        else:
            place += _short(known, word, following, found)
    return found, place


def _long(known: dict[str, argparse.Action], word: str, following: str | None, found: list[str]) -> int:
    """Append what `--word` means to `found`. Returns 1 where it takes the following word too."""
    name, equals, value = word.partition("=")
    action = known.get(name)
    if action is None:
        found.append(word)
    elif action.nargs == 0:
        found += _flag(name, value if equals else None)
    elif equals or following is None:
        found.append(word)
    else:
        found.append(f"{name}={following}")
        return 1
    return 0


def _short(known: dict[str, argparse.Action], word: str, following: str | None, found: list[str]) -> int:
    """The same for `-abc`: flags, the last of which may take a value, joined or as the following word."""
    for number, letter in enumerate(word[1:], 1):
        name, rest = f"-{letter}", word[number + 1 :]
        action = known.get(name)
        if action is None:
            found.append(word if number == 1 else name)
            return 0
        if action.nargs != 0:
            long = next((item for item in action.option_strings if item.startswith("--")), None)
            value = rest.removeprefix("=") if rest else following
            if value is None:
                found.append(name)
            else:
                found += [f"{long}={value}"] if long is not None else [name, value]
            return 0 if rest else 1
        if rest.startswith("="):
            found += _flag(name, rest[1:])
            return 0
        found.append(name)
    return 0


def _flag(name: str, value: str | None) -> list[str]:
    if value is None or value.lower() in _TRUE:
        return [name]
    return [] if value.lower() in _FALSE else [f"{name}={value}"]
