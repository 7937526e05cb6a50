from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)}
LAUNCH = [sys.executable, "-m", "corten_serve"]
# A process namespace of its own, in which the launcher is process 1.
AS_FIRST = [
    *("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *LAUNCH,
]


def launch(*arguments: str, first: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*(AS_FIRST if first else LAUNCH), *arguments]
    return subprocess.run(
        command, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=20, check=False
    )


def test_train_is_not_there_yet():
    result = launch("train")
    assert result.returncode == 2
    assert "no training command" in result.stderr
    assert "hint: " in result.stderr


@pytest.mark.parametrize("first", [False, True])
def test_a_command_runs_and_its_exit_code_is_passed_on(first):
    result = launch("sh", "-c", "echo out; echo err >&2; exit 5", first=first)
    assert (result.returncode, result.stdout, result.stderr) == (5, "out\n", "err\n")


@pytest.mark.parametrize("first", [False, True])
def test_a_command_that_does_not_exist(first):
    result = launch("no-such-command", first=first)
    assert result.returncode == 127
    assert result.stderr == "error: there is no command 'no-such-command' in this image\n"


def test_as_process_1_signals_reach_the_command_and_orphans_are_reaped():
    script = """
        trap 'echo stopped; exit 3' TERM
        (sh -c 'exit 0' & exec sleep 0.1) &   # its grandchild becomes an orphan
        wait
        sleep 0.4
        echo zombies: $(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l)
        while :; do sleep 0.05; done
    """
    process = subprocess.Popen(
        [*AS_FIRST, "sh", "-c", script], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "zombies: 0\n"
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        assert process.stdout.read() == "stopped\n"
        assert process.wait(60) == 3
    finally:
        process.kill()
        process.wait()


def test_a_command_killed_by_a_signal_is_128_and_its_number():
    assert launch("sh", "-c", "kill -9 $$", first=True).returncode == 137


def test_without_a_predictor_or_an_interpreter_the_reason_is_given():
    nothing = launch()
    assert nothing.returncode == 1
    assert "'CORTEN_PREDICT' is not set" in nothing.stderr
    missing = launch(CORTEN_PREDICT="m:P", CORTEN_WORKER_PYTHON="/no/python", PORT=_free())
    assert missing.returncode == 1
    assert "'/no/python' cannot be started: no such file" in missing.stderr


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = launch(
            CORTEN_PREDICT="m:P", CORTEN_HOST="127.0.0.1", PORT=port, CORTEN_WORKER_PYTHON="/bin/true"
        )
    assert result.returncode == 1
    assert f"cannot listen on '127.0.0.1:{port}': address already in use" in result.stderr


def test_the_server_as_process_1_ends_cleanly(tmp_path):
    (tmp_path / "predict.py").write_text("def predict() -> int: return 1\n")
    process = subprocess.Popen(
        AS_FIRST,
        env={
            **ENVIRONMENT,
            "CORTEN_PREDICT": "predict:predict",
            "CORTEN_APP": str(tmp_path),
            "CORTEN_WORKER_PYTHON": sys.executable,
            "CORTEN_HOST": "127.0.0.1",
            "CORTEN_DRAIN": "0",
            "PORT": _free(),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert process.stderr.readline().startswith("ready after")
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def _free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])
