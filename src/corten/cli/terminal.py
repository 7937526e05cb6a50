"""What the command shows: results on standard output, everything else on standard error; live progress on a terminal,
plain lines in a log.

Every text passes `escaped` here, at the edge: names, labels and messages come from images, registries and projects of
others, and must not steer the terminal. Styles are given beside a text, never inside it. The only texts that stay as they
are come through `relay`: a container's own output.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from corten.errors import CortenError
from corten.events import Event, Note, Phase, TaskAdvanced, TaskFinished, TaskStarted, Warned

if TYPE_CHECKING:
    from corten.cli.live import Live

DONE: dict[Phase, str] = {
    "resolve": "resolved",
    "download": "downloaded",
    "install": "installed",
    "build": "built",
    "compile": "compiled",
    "hash": "hashed",
    "verify": "verified",
    "start": "started",
    "copy": "copied",
    "push": "pushed",
    "pull": "pulled",
    "predict": "answered",
}
_ERROR, _WARNING, HINT = ("error:", "1;31"), ("warning:", "1;33"), ("hint:", "1;36")
REPORT = "this is a bug in Corten; please report it with the lines above and 'corten --version'"

# Compiled by `re` when a text has something odd in it: that takes as long as a hundred lines of output.
_UNSAFE = (
    # Control characters (C0 without tab and newline, DEL, C1).
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    # Format characters: soft hyphen, marks of scripts, zero width, directions, isolates, byte order, annotations.
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    # Line and paragraph separators, and bytes that are not UTF-8.
    "\u2028\u2029\ud800-\udfff"
    # Format characters beyond the first plane, tags among them.
    "\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
Style = tuple[str, str]
"""A first word with its style (SGR): `("error:", "1;31")`."""
_CLEAR = "\x1b[H\x1b[J"

# A terminal shows nothing for work that is over sooner than one can read it, and imports no display for it.
_PATIENCE = 0.15


# Plain lines are for what takes a while; below this many seconds work is only counted.
_BRIEF = 0.5
_SIZED = ("download", "copy", "push", "pull")
_COUNTED = ("download", "copy", "install", "hash", "push", "pull")


class _Brief:
    """Finished tasks that are told together."""

    def __init__(self) -> None:
        self.phases: dict[Phase, list[int]] = {}

    def add(self, phase: Phase, amount: int) -> None:
        self.phases.setdefault(phase, []).append(amount)

    def lines(self) -> list[str]:
        lines = []
        for phase, amounts in self.phases.items():
            total = sum(amounts, 0)
            size = f", {size_text(total)}" if phase in _SIZED and total else ""
            things = "layer" if phase in ("install", "push", "pull") else "file"
            plural = "" if len(amounts) == 1 else "s"
            lines.append(f"{DONE[phase]} {len(amounts)} {things}{plural}{size}")
        return lines


class Terminal:
    """Standard output and error of one command. Its `observe` is the observer that verbs pass down."""

    def __init__(self, out: TextIO, err: TextIO, live: bool, colour: bool) -> None:
        self._out, self._err = out, err
        self._may_be_live, self.colour = live, colour
        self.quiet = self.verbose = False
        self._guard = threading.RLock()
        self._running: dict[tuple[str, str], tuple[TaskStarted, float]] = {}
        self._amounts: dict[tuple[str, str], int] = {}
        self._live: Live | None = None
        self._first: float | None = None
        self._brief = _Brief()

    @classmethod
    def standard(cls) -> Terminal:
        """This process's own streams, by the usual rules for colour (NO_COLOR, FORCE_COLOR) and for progress."""
        # A process may be started with its standard streams closed; Python has None for those.
        out, err = (stream or open(os.devnull, "w", encoding="utf-8") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
        terminal = err.isatty() and os.environ.get("TERM") != "dumb"
        forced = os.environ.get("FORCE_COLOR", "") not in ("", "0")
        return cls(out, err, terminal, forced or (terminal and not os.environ.get("NO_COLOR")))

    def configure(self, *, quiet: bool, verbose: bool) -> None:
        """Set how much is said."""
        self.quiet, self.verbose = quiet, verbose

    def print(self, text: str, lead: Style | None = None, *, clear: bool = False) -> None:
        """Write a result to standard output, after `lead` in its style; `clear` empties the screen first. Raises
        BrokenPipeError when nobody reads it any more, and CortenError when it cannot be written for another reason."""
        self.close()
        text = (_CLEAR if clear else "") + self._styled(lead) + escaped(text)
        try:
            try:
                self._out.write(text + "\n")
            except UnicodeEncodeError:
                encoding = self._out.encoding or "ascii"
                self._out.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            self._out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CortenError(
                f"standard output: {(error.strerror or 'cannot be written').lower()}"
            ) from error

    def say(self, text: str, lead: Style | None = None) -> None:
        """Write a line for people to standard error, after `lead` in its style, unless quiet."""
        if not self.quiet:
            if not self._running:
                self._tell_brief()
            self._line(text, lead)

    def ask(self, question: str) -> bool:
        """Whether the answer to `question`, on the terminal, is yes. It is asked even when quiet."""
        self._write(f"{cell(question)} [y/N] ")
        try:
            return sys.stdin.readline().strip().lower() in {"y", "yes"}
        except (OSError, UnicodeDecodeError):
            return False

    def relay(self, text: str) -> None:
        """Write a line of a container's own output to standard error as it is, as a container run in the foreground writes
        it itself. Nothing else may come this way."""
        if not self.quiet:
            self._write(text)

    def error(self, message: str, hint: str | None) -> None:
        """Render a failure. It is shown even when quiet."""
        self.close()
        self._line(message, _ERROR)
        if hint:
            self._line(hint, HINT)

    def bug(self, error: Exception) -> None:
        """Render what should never happen, with the traceback. It is shown even when quiet."""
        import traceback

        self.close()
        self._write(escaped("".join(traceback.format_exception(error)).rstrip()))
        self.error(REPORT, None)

    def end(self) -> None:
        """The last call. What standard output still holds and cannot write must not be tried again at the exit."""
        try:
            self._out.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())

    def _styled(self, lead: Style | None) -> str:
        """The first word in its style, where colours are on, and the space after it."""
        if lead is None:
            return ""
        word, code = cell(lead[0]), lead[1]
        return f"\x1b[{code}m{word}\x1b[0m " if self.colour else f"{word} "

    def observe(self, event: Event) -> None:
        """Show an event. Safe from any thread."""
        with self._guard:
            match event:
                case Note():
                    if not event.verbose or self.verbose:
                        self.say(event.message)
                case Warned():
                    self._line(event.message, _WARNING)
                    if event.hint:
                        self._line(event.hint, HINT)
                case TaskStarted():
                    self._started(event)
                case TaskAdvanced():
                    self._advanced(event)
                case TaskFinished():
                    self._finished(event)

    def close(self) -> None:
        """Take the live display away."""
        with self._guard:
            if self._live:
                self._live.stop()
                self._live = None
            self._running.clear()
            if not self.quiet and (self.verbose or not self._may_be_live):
                self._tell_brief()

    def _started(self, event: TaskStarted) -> None:
        key = (event.phase, event.name)
        if event.phase not in self._brief.phases and not self._running:
            self._tell_brief()
        self._first = self._first or time.monotonic()
        self._running[key] = (event, time.monotonic())
        self._amounts[key] = 0
        if self._live:
            self._live.start_task(event)

    def _advanced(self, event: TaskAdvanced) -> None:
        key = (event.phase, event.name)
        self._amounts[key] = self._amounts.get(key, 0) + event.amount
        if self._live:
            self._live.advance_task(event)
        elif self._is_time_to_show():
            self._begin_live()

    def _finished(self, event: TaskFinished) -> None:
        key = (event.phase, event.name)
        started = self._running.pop(key, None)
        amount = self._amounts.pop(key, 0)
        if self._live:
            self._live.finish_task(event)
        elif self._is_time_to_show() and self._running:
            self._begin_live()
        if started and not self.quiet and (self.verbose or not self._may_be_live):
            seconds = time.monotonic() - started[1]
            if seconds < _BRIEF and not self.verbose and event.phase in _COUNTED:
                self._brief.add(event.phase, amount)
            else:
                size = f", {size_text(amount)}" if event.phase in _SIZED and amount else ""
                self._line(f"{DONE[event.phase]} {cell(event.name)} ({seconds:.1f} s{size})")

    def _tell_brief(self) -> None:
        """Sum up in a line what was over too soon for lines of its own: 60 small downloads are one fact."""
        for line in self._brief.lines():
            self._line(line)
        self._brief = _Brief()

    def _is_time_to_show(self) -> bool:
        return self._may_be_live and not self.quiet and time.monotonic() - (self._first or 0) > _PATIENCE

    def _begin_live(self) -> None:
        from corten.cli.live import Live

        self._live = Live(self._err, self._first or time.monotonic())
        for key, (event, _) in self._running.items():
            self._live.start_task(event)
            if self._amounts.get(key):
                self._live.advance_task(TaskAdvanced(event.phase, event.name, self._amounts[key]))

    def _line(self, text: str, lead: Style | None = None) -> None:
        # Only the first line may look like one of ours: words of others cannot forge an error or a hint below it.
        first, *more = escaped(text).split("\n")
        rest = (line if not line or line[0] in " \t" else f"  {line}" for line in more)
        self._write("\n".join([self._styled(lead) + first, *rest]))

    def _write(self, text: str) -> None:
        with self._guard:
            if self._live:
                self._live.line(text)
                return
            try:
                self._err.write(text + "\n")
                self._err.flush()
            except (OSError, ValueError):
                # A log that cannot be written must not stop the work that it tells of.
                return


def escaped(text: str) -> str:
    """`text` with every character that could steer a terminal or change what a reader sees as its escape (`\\u001b`):
    control characters but tab and newline, format characters, those that turn the direction of text, and separators of
    lines. The escapes are JSON's, so a JSON document remains one with the same meaning."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return re.sub(_UNSAFE, _escape, text)


def cell(text: str) -> str:
    """`escaped` for a text that is one field of a line or a table: its tabs and newlines are escaped too."""
    if text.isprintable():
        return text
    return escaped(text).replace("\n", "\\u000a").replace("\t", "\\u0009")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def size_text(size: int) -> str:
    """Bytes for people, in powers of 1000 as disks and registries count them: `107 MB`."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def table(rows: list[list[str]], header: list[str]) -> str:
    """Rows in columns, as the container tools print them. No cell can end its line."""
    rows = [[cell(text) for text in row] for row in rows]
    widths = [max(len(row[index]) for row in [header, *rows]) for index in range(len(header))]
    pad: Callable[[list[str]], str] = lambda row: "   ".join(  # noqa: E731
        text.ljust(width) for text, width in zip(row, widths, strict=True)
    ).rstrip()
    return "\n".join(pad(row) for row in [header, *rows])
