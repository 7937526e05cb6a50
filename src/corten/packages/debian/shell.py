"""The commands of a maintainer script that a first installation may reach, read as text. Pure; nothing is run.

It understands as much of sh as such scripts use: lists, pipes, `if`, `case`, loops, functions, redirections and here-documents.
Branches for an upgrade or a removal are left out. Whatever it cannot read, it raises `Unreadable` for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from corten.lazy import regex

LARGEST = 1 << 20
_DEEPEST = 40
_MOST_ROUNDS = 100
# Looks at tokens, and characters of words. The scripts of libc6 come to 12,000.
_MOST_WORK = 200_000
_MOST_DOCUMENTS = 1000
_TOKEN = regex(
    r"""(?P<space>(?:[ \t\r]|\\\n)+)
    |(?P<comment>\#[^\n]*)
    |(?P<here><<-?[ \t]*(?P<mark>\\?[A-Za-z_]+|'[^'\n]+'|"[^"\n]+"))
    |(?P<redirect>[0-9]*(?:>>|>\||>&|<&|<>|>|<)-?)
    |(?P<operator>;;|&&|\|\||[;&|()\n])
    |(?P<word>(?:\\[^\n]|"(?:\\[\s\S]|[^"\\])*"|'[^']*'|`[^`]*`|\$\(\([^()]*\)\)|\$\((?:[^()]|\([^()]*\))*\)|\$\{[^{}]*\}|[^\s;&|()<>"'`\\])+)
    """,
    re.VERBOSE,
)
_INNER = regex(r"\$\((?!\()\s*([^()`]+)|`([^`]+)`")
_VARIABLE = regex(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_PLAIN = regex(r"[A-Za-z0-9_/.+@:=,~-]+")
_ASSIGNMENT = regex(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_OTHER_TIMES = regex(
    r"\$\{?1\}?[\"']? (?:=|==) [\"']?(?:upgrade|abort-[a-z-]+|triggered|remove|purge|deconfigure|disappear|failed-upgrade|reconfigure)\b"
)
_OLD_VERSION = regex(
    r"-n [\"']?\$\{?2\}?\b|[\"']?x\$\{?2\}?[\"']? != [\"']?x[\"']?(?: |$)|[\"']\$\{?2\}?[\"'] != (?:\"\"|'')"
)
_COMPARED = regex(
    r"dpkg --compare-versions (?:-- )?[\"']?\$\{?2(?::-|-)?\}?[\"']? [\"']?(?:lt-nl|le-nl|eq|ge|gt|gt-nl|ge-nl|>>|>=|=)\b"
)
_KEYWORDS = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "}", ")", ";;"})


class Unreadable(Exception):
    """The script has something that is not understood."""


@dataclass(frozen=True)
class Command:
    """A simple command by its words, as written, and what it redirects its output to."""

    words: tuple[str, ...]
    writes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(self.words)


def commands(script: str, action: str) -> tuple[Command, ...]:
    """The commands that `script`, called with `action` (`configure`, `install`) and no older version, may run. Those in
    command substitutions follow the command that has them. Raises Unreadable."""
    if len(script) > LARGEST:
        raise Unreadable("a script of more than a mebibyte")
    tokens = list(_tokens(script))
    reader = _Reader(tokens, action, constants=_constants(tokens))
    reader.sequence(frozenset())
    if reader.at < len(reader.tokens):
        raise Unreadable(reader.tokens[reader.at][1])
    return tuple(reader.found)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at, pending, documents = 0, list[str](), 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.end() == at:
            raise Unreadable(text[at : at + 20].split("\n")[0])
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "mark":
            kind = "here"
        if kind == "here":
            documents += 1
            if documents > _MOST_DOCUMENTS:
                raise Unreadable("a script of very many here-documents")
            pending.append(match["mark"].strip("\"'\\"))
        elif match["operator"] == "\n" and pending:
            for mark in pending:
                end = re.compile(rf"^\t*{re.escape(mark)}$", re.MULTILINE).search(text, at)
                if end is None:
                    raise Unreadable(f"<<{mark}")
                at = end.end()
            pending = []
        if kind in ("word", "operator", "redirect"):
            yield kind, match[0]


def _constants(tokens: list[tuple[str, str]]) -> dict[str, str]:
    """The variables that are set once, to plain text."""
    found: dict[str, str | None] = {}
    for kind, text in tokens:
        match = _ASSIGNMENT.fullmatch(text) if kind == "word" else None
        if match is not None:
            value = match[2].strip("\"'")
            found[match[1]] = value if match[1] not in found and _PLAIN.fullmatch(value) else None
    return {name: value for name, value in found.items() if value is not None}


@dataclass
class _Reader:
    tokens: list[tuple[str, str]]
    action: str
    at: int = 0
    depth: int = 0
    dead: int = 0
    found: list[Command] = field(default_factory=list)
    functions: dict[str, tuple[int, int]] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    work: int = 0
    constants: dict[str, str] = field(default_factory=dict)

    def spend(self, amount: int) -> None:
        """Loops in loops, and functions that call each other, reach more commands than any machine can read."""
        self.work += amount
        if self.work > _MOST_WORK:
            raise Unreadable("a script of very many commands")

    def peek(self) -> str:
        text = self.tokens[self.at][1] if self.at < len(self.tokens) else ""
        self.spend(1 + (len(text) >> 4))
        return text

    def word(self) -> str | None:
        return (
            self.tokens[self.at][1]
            if self.at < len(self.tokens) and self.tokens[self.at][0] == "word"
            else None
        )

    def expect(self, text: str) -> None:
        self.blank()
        if self.peek() != text:
            raise Unreadable(self.peek() or "the end of the script")
        self.at += 1

    def blank(self) -> None:
        while self.peek() in ("\n", ";", "&") and self.at < len(self.tokens):
            self.at += 1

    def sequence(self, ends: frozenset[str]) -> bool:
        """Commands up to one of `ends`, which stays. Whether the last of them cannot hold on a first installation."""
        never = False
        while True:
            self.blank()
            if self.at >= len(self.tokens) or self.peek() in ends:
                return never
            if self.peek() in _KEYWORDS:
                raise Unreadable(self.peek())
            never = self.and_or()

    def and_or(self) -> bool:
        never = self.pipeline()
        while self.peek() in ("&&", "||"):
            operator = self.peek()
            self.at += 1
            while self.peek() == "\n":
                self.at += 1
            skipped = operator == "&&" and never
            self.dead += skipped
            other = self.pipeline()
            self.dead -= skipped
            never = (never or other) if operator == "&&" else (never and other)
        return never

    def pipeline(self) -> bool:
        negated = False
        while self.word() == "!":
            negated = not negated
            self.at += 1
        never = self.command()
        while self.peek() == "|":
            self.at += 1
            while self.peek() == "\n":
                self.at += 1
            self.command()
            never = False
        return never and not negated

    def command(self) -> bool:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unreadable("commands within each other")
        try:
            return self._command()
        finally:
            self.depth -= 1

    def _command(self) -> bool:
        word = self.peek()
        if word == "(":
            self.at += 1
            self.sequence(frozenset({")"}))
            self.expect(")")
        elif word == "{":
            self.at += 1
            self.sequence(frozenset({"}"}))
            self.expect("}")
        elif word == "if":
            self._if()
        elif word in ("while", "until"):
            self.at += 1
            self.sequence(frozenset({"do"}))
            self._loop()
        elif word == "for":
            self._for()
        elif word == "case":
            self._case()
        elif word == "function" or (
            self.word() is not None
            and [text for _, text in self.tokens[self.at + 1 : self.at + 3]] == ["(", ")"]
        ):
            self._function()
            return False
        else:
            return self._simple()
        self._redirections()
        return False

    def _loop(self) -> None:
        self.expect("do")
        self.sequence(frozenset({"done"}))
        self.expect("done")

    def _for(self) -> None:
        """A loop over plain words is read once for each of them, any other once."""
        start = self.at
        while self.at < len(self.tokens) and self.peek() != "do":
            self.at += 1
        words = [text for _, text in self.tokens[start + 1 : self.at] if text not in ("\n", ";")]
        self.spend(sum(map(len, words)))
        name, values = words[0] if words else "", words[2:]
        self.constants.pop(name, None)
        if len(values) > _MOST_ROUNDS or not all(_PLAIN.fullmatch(value) for value in values):
            values = []
        body = self.at
        for value in values or [""]:
            self.at = body
            if value:
                self.constants[name] = value
            self._loop()
        self.constants.pop(name, None)

    def _if(self) -> None:
        self.at += 1
        while True:
            never = self.sequence(frozenset({"then"}))
            self.expect("then")
            self.dead += never
            self.sequence(frozenset({"elif", "else", "fi"}))
            self.dead -= never
            word = self.peek()
            self.at += 1
            if word == "else":
                self.sequence(frozenset({"fi"}))
                self.expect("fi")
                return
            if word == "fi":
                return
            if word != "elif":
                raise Unreadable(word or "if")

    def _case(self) -> None:
        self.at += 1
        subject = self.peek().strip("\"'")
        self.at += 1
        self.expect("in")
        own = subject in ("$1", "${1}", "$1-$2")
        matched = False
        while True:
            self.blank()
            if self.peek() == "esac":
                self.at += 1
                return
            patterns = []
            while self.peek() != ")":
                if self.at >= len(self.tokens):
                    raise Unreadable("case")
                if self.peek() not in ("(", "|"):
                    patterns.append(self.peek().strip("\"'"))
                self.at += 1
            self.at += 1
            mine = self.action in patterns
            skipped = own and not mine and (matched or "*" not in patterns)
            matched = matched or mine
            self.dead += skipped
            self.sequence(frozenset({";;", "esac"}))
            self.dead -= skipped
            if self.peek() == ";;":
                self.at += 1

    def _function(self) -> None:
        if self.peek() == "function":
            self.at += 1
        name = self.peek()
        self.at += 1
        if self.peek() == "(":
            self.at += 2
        self.blank()
        start = self.at
        # Read once as dead code, to find its end; again wherever it is called.
        self.dead += 1
        self.command()
        self.dead -= 1
        self.functions[name] = (start, self.at)

    def _simple(self) -> bool:
        words: list[str] = []
        writes: list[str] = []
        while self.at < len(self.tokens):
            kind, text = self.tokens[self.at]
            if kind == "word":
                self.spend(len(text))
                words.append(text)
                self.at += 1
            elif kind == "redirect":
                writes += self._redirection()
            else:
                break
        while words and _ASSIGNMENT.match(words[0]):
            self._inner(words.pop(0))
        words = [self._expanded(word) for word in words]
        if not words and not writes:
            return False
        command = Command(tuple(words), tuple(writes))
        for word in words:
            self._inner(word)
        if self.dead:
            return _never(command)
        name = words[0] if words else ""
        if name in self.functions:
            self._call(name)
        else:
            self.found.append(command)
        return _never(command)

    def _expanded(self, word: str) -> str:
        if word.startswith("'") or "$" not in word:
            return word
        return _VARIABLE.sub(self._value, word)

    def _value(self, match: re.Match[str]) -> str:
        value = self.constants.get(match[1] or match[2], match[0])
        self.spend(len(value))
        return value

    def _call(self, name: str) -> None:
        if name in self.running or len(self.running) > _DEEPEST:
            return
        back, (self.at, _) = self.at, self.functions[name]
        self.running.append(name)
        action, self.action = self.action, "\0"  # its $1 is another
        self.command()
        self.action = action
        self.running.pop()
        self.at = back

    def _inner(self, word: str) -> None:
        """The commands that are substituted in a word."""
        if self.dead or word.startswith("'"):
            return
        for match in _INNER.finditer(word):
            words = (match[1] or match[2]).split()
            if words:
                self.found.append(Command(tuple(words[:2])))

    def _redirections(self) -> None:
        while self.at < len(self.tokens) and self.tokens[self.at][0] == "redirect":
            writes = self._redirection()
            if writes and not self.dead:
                self.found.append(Command((), tuple(writes)))

    def _redirection(self) -> list[str]:
        operator = self.peek()
        self.at += 1
        if operator.endswith("-"):
            return []
        target = self.word()
        if target is None:
            raise Unreadable(operator)
        self.at += 1
        reads = "<" in operator and ">" not in operator
        return [] if reads or operator.endswith("&") or target.strip("\"'") == "/dev/null" else [target]


def _never(command: Command) -> bool:
    """Whether a condition cannot hold where the package was not there before."""
    text = str(command)
    if _COMPARED.search(text):
        return True
    if not text.startswith(("[ ", "test ", "[[ ")) or " -o " in text:
        return False
    return bool(_OLD_VERSION.search(text) or _OTHER_TIMES.search(text)) and "! -n" not in text
