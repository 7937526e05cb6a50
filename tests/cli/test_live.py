"""The live display, on a real terminal of 80 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

SCRIPT = """
import time
from corten.cli.terminal import Terminal
from corten.events import Note, TaskAdvanced, TaskFinished, TaskStarted
terminal = Terminal.standard()
names = [f"a_package_with_quite_a_long_name_{number}-1.0-cp311-manylinux_2_28_x86_64.whl" for number in range(12)]
for name in names:
    terminal.observe(TaskStarted("download", name, 987_654_321))
terminal.observe(TaskStarted("install", "odd \\x1b[2J[red]name", None))
for _ in range(6):
    for name in names:
        terminal.observe(TaskAdvanced("download", name, 123_456_789))
    time.sleep(0.06)
terminal.observe(Note("a note between"))
for name in names[:6]:
    terminal.observe(TaskFinished("download", name))
time.sleep(0.2)
terminal.error("it failed", "mend it")
terminal.print("a result")
"""


def test_eighty_columns() -> None:
    """Rows fit, times are whole, foreign names do nothing, and the terminal is as it was when it is over."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=other,
        env={**environment, "TERM": "xterm-256color"},
        text=True,
    )
    os.close(other)
    shown = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(main)
    assert process.stdout is not None
    assert process.stdout.read() == "a result\n"
    assert process.wait() == 0
    text = shown.decode()
    assert "\x1b[2J" not in text
    assert "[red]name" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor comes back"
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", text)]
    rows = [line for line in lines if "downloading" in line]
    assert rows
    assert all(len(line.rstrip()) <= 80 and re.search(r"\d s *$", line) for line in rows), rows
    assert any("MB/988 MB" in line for line in rows)
    assert any("6 downloaded" in line and "s in all" in line for line in lines)
    assert "a note between" in lines
    assert [line for line in lines if line.startswith(("error", "hint"))] == [
        "error: it failed",
        "hint: mend it",
    ]
