"""The live display of long work on a terminal, by rich. Imported only when something takes long enough to be watched."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from corten.cli.terminal import DONE, cell, size_text
from corten.events import Phase, TaskAdvanced, TaskFinished, TaskStarted

_DOING = {
    "resolve": "resolving",
    "download": "downloading",
    "install": "installing",
    "build": "building",
    "compile": "compiling",
    "hash": "hashing",
    "verify": "verifying",
    "start": "starting",
    "copy": "copying",
    "push": "pushing",
    "pull": "pulling",
    "predict": "predicting",
}
_IN_BYTES = {"download", "hash", "copy", "install", "push", "pull"}
_ROWS = 8
# Columns beside the name: spinner, verb, bar, amount, seconds, and the gaps between them.
_BAR, _AMOUNT, _SECONDS = 14, 15, 5
_REST = 2 + 12 + _BAR + 1 + _AMOUNT + 1 + _SECONDS + 1


class _Seconds(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.elapsed or 0:.0f} s".rjust(_SECONDS), style="progress.elapsed")


class _Rows(Progress):
    """The rows, and under them one line across that sums up what is done."""

    summary = ""
    began = 0.0

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        line = f"  {self.summary}{time.monotonic() - self.began:.0f} s in all"
        yield Text(line, style="dim", no_wrap=True, overflow="ellipsis")


class Live:
    """Rows for the tasks that run, and one line that sums up what is done since `started`, a time of
    `time.monotonic`."""

    def __init__(self, stream: TextIO, started: float) -> None:
        console = Console(file=stream, highlight=False)
        self._name = max(12, min(40, console.width - _REST))
        self._progress = _Rows(
            SpinnerColumn(),
            TextColumn("{task.fields[doing]:<11}"),
            TextColumn(
                "{task.description}", table_column=Column(width=self._name, no_wrap=True), markup=False
            ),
            BarColumn(bar_width=_BAR),
            TextColumn(
                "{task.fields[amount]}", table_column=Column(width=_AMOUNT, no_wrap=True, justify="right")
            ),
            _Seconds(),
            console=console,
            transient=True,
            refresh_per_second=12,
        )
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._done: dict[Phase, int] = {}
        self._progress.began = started
        self._progress.start()

    def start_task(self, event: TaskStarted) -> None:
        """Show a row for the task."""
        name = cell(event.name)
        if name.endswith(".whl"):
            name = " ".join(name.split("-")[:2])
        name = name if len(name) <= self._name else name[: self._name - 1] + "…"
        task = self._progress.add_task(
            name, total=event.total, doing=_DOING[event.phase], amount="", visible=len(self._tasks) < _ROWS
        )
        self._tasks[event.phase, event.name] = task

    def advance_task(self, event: TaskAdvanced) -> None:
        """Move its bar."""
        task = self._tasks.get((event.phase, event.name))
        if task is None:
            return
        self._progress.advance(task, event.amount)
        if event.phase in _IN_BYTES:
            row = next(row for row in self._progress.tasks if row.id == task)
            total = f"/{size_text(int(row.total))}" if row.total else ""
            self._progress.update(task, amount=size_text(int(row.completed)) + total)

    def finish_task(self, event: TaskFinished) -> None:
        """Take its row away and count it."""
        task = self._tasks.pop((event.phase, event.name), None)
        if task is not None:
            self._progress.remove_task(task)
        self._done[event.phase] = self._done.get(event.phase, 0) + 1
        for waiting in list(self._tasks.values())[:_ROWS]:
            self._progress.update(waiting, visible=True)
        counts = ", ".join(f"{count} {DONE[phase]}" for phase, count in self._done.items())
        hidden = len(self._tasks) - _ROWS
        more = f", {hidden} more under way" if hidden > 0 else ""
        self._progress.summary = f"{counts}{more}, "

    def line(self, text: str) -> None:
        """Write a line above the rows."""
        self._progress.console.print(Text.from_ansi(text), soft_wrap=True)

    def stop(self) -> None:
        """Take the display away."""
        self._progress.stop()
