"""The live display of long work on a terminal, by rich. Imported only when something takes long enough to be watched."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from corten.events import TaskAdvanced, TaskFinished, TaskStarted

_DOING = {
    "resolve": "resolving",
    "download": "downloading",
    "install": "installing",
    "compile": "compiling",
    "hash": "hashing",
    "verify": "verifying",
    "start": "starting",
    "copy": "copying",
}
_IN_BYTES = {"download", "hash", "copy"}
_ROWS = 8


class Live:
    """Rows for the tasks that run, and one line that sums up what is done."""

    def __init__(self, stream: TextIO) -> None:
        console = Console(file=stream, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[doing]:<11}"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            refresh_per_second=12,
        )
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._done: dict[str, int] = {}
        self._total: TaskID = self._progress.add_task("", total=None, doing="total", amount="")
        self._progress.start()

    def start_task(self, event: TaskStarted) -> None:
        """Show a row for the task."""
        name = event.name if len(event.name) <= 40 else event.name[:39] + "…"
        task = self._progress.add_task(
            name, total=event.total, doing=_DOING[event.phase], amount="", visible=len(self._tasks) < _ROWS
        )
        self._tasks[event.phase, event.name] = task

    def advance_task(self, event: TaskAdvanced) -> None:
        """Move its bar."""
        from corten.cli.terminal import size_text

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
        counts = ", ".join(f"{count} {_PAST[phase]}" for phase, count in self._done.items())
        self._progress.update(self._total, description=counts)

    def line(self, text: str) -> None:
        """Write a line above the rows."""
        from rich.text import Text

        self._progress.console.print(Text.from_ansi(text), soft_wrap=True)

    def stop(self) -> None:
        """Take the display away."""
        self._progress.stop()


_PAST = {
    "resolve": "resolved",
    "download": "downloaded",
    "install": "installed",
    "compile": "compiled",
    "hash": "hashed",
    "verify": "verified",
    "start": "started",
    "copy": "copied",
}
