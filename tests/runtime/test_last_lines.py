"""The end of what a container prints to standard error is kept on its way, and nothing of it is lost or changes its order."""

from __future__ import annotations

import os
import subprocess
import sys

# A program that starts another one as a container is started, and shows what has been kept.
RUN = """
import subprocess, sys
from corten.runtime.last_lines import LastLines
last = LastLines()
with last.replacing():
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
child.wait()
kept = last.finish()
print("kept", kept, file=open(sys.argv[2], "w"))
"""


def run(code: str, tmp_path, **streams):
    done = subprocess.run(
        [sys.executable, "-c", RUN, code, str(tmp_path / "kept")],
        env={**os.environ},
        check=True,
        timeout=60,
        **streams,
    )
    return done, (tmp_path / "kept").read_text()


def test_everything_arrives_and_the_last_lines_are_kept(tmp_path):
    code = "import sys\nfor n in range(60000): print('line', n, file=sys.stderr)\nprint('out')"
    done, kept = run(code, tmp_path, capture_output=True, text=True)
    assert done.stdout == "out\n"
    assert done.stderr == "".join(f"line {n}\n" for n in range(60000))
    assert kept.startswith("kept ('line 59950', ")
    assert "'line 59999')" in kept


def test_where_both_streams_are_one_pipe_the_order_stays(tmp_path):
    code = "import os\nfor n in range(200): os.write(1 + n % 2, b'%d\\n' % n)"
    done, _ = run(code, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.stdout.split() == [str(n) for n in range(200)]


def test_a_file_gets_it_too(tmp_path):
    with open(tmp_path / "log", "w") as log:
        _, kept = run("import sys; print('gone wrong', file=sys.stderr)", tmp_path, stderr=log)
    assert (tmp_path / "log").read_text() == "gone wrong\n"
    assert kept == "kept ('gone wrong',)\n"


def test_nobody_who_reads_is_heard_of_by_the_program(tmp_path):
    code = (
        "import os, signal\nsignal.signal(signal.SIGPIPE, signal.SIG_IGN)\n"
        "try:\n    while True: os.write(2, b'x' * 9999)\nexcept BrokenPipeError: os._exit(0)"
    )
    reading, writing = os.pipe()
    os.close(reading)
    run(code, tmp_path, stderr=writing)
    os.close(writing)


def test_a_terminal_is_passed_on_as_it_is(tmp_path):
    ours, theirs = os.openpty()
    try:
        _, kept = run("import os; assert os.isatty(2)", tmp_path, stderr=theirs)
    finally:
        os.close(theirs)
        os.close(ours)
    assert kept == "kept ()\n"


def test_no_standard_error_at_all_is_no_error(tmp_path):
    done, kept = run("print(1)", tmp_path, stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2))
    assert (done.stdout, kept) == (b"1\n", "kept ()\n")
