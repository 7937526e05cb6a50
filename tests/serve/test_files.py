"""Few files may be open: connections are fewer then, and workers are replaced all the same."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress

import pytest

from corten_serve.server.files import connections
from corten_serve.server.process import spawn
from corten_serve.settings import Settings, SettingsError

ECHO = """
    import os, resource

    def predict(die: bool = False) -> list[int]:
        if die:
            os._exit(3)
        return list(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.fixture
def soft():
    """Sets the soft limit of this process, and of what it starts, for one test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda files: resource.setrlimit(resource.RLIMIT_NOFILE, (files, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("files", "most"), [(1 << 20, 16384), (20_000, 16384), (1024, 896), (96, 56), (40, 8), (0, 8)]
)
def test_connections_leave_files_for_everything_else(files, most):
    assert connections(16384, files) == most


def test_the_soft_limit_is_raised_for_the_server_and_not_for_its_workers(start, soft):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft(512)
    server = start(ECHO)
    assert server.predict({}).json == [512, hard]
    assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0] == hard


def test_a_worker_is_replaced_while_clients_hold_every_connection(start):
    server = start(ECHO, CORTEN_LOG="warning", files=96)
    assert "at most 56 connections are taken at once" in server.log()
    clients: list[socket.socket] = []
    try:
        for _ in range(120):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            clients.append(client)
        time.sleep(0.2)
        for pid in server.children():
            os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 60
        while "it is started again" not in server.log():
            assert time.monotonic() < end, server.log()
            time.sleep(0.02)
    finally:
        for client in clients:
            with suppress(OSError):
                client.close()
    end = time.monotonic() + 60
    while (answer := server.predict({})).status != 200:
        assert time.monotonic() < end, server.log()
        time.sleep(0.05)
    assert answer.json == [96, 96]
    assert "Too many open files" not in server.log()
    assert "too many open files" not in server.log()


def test_a_worker_that_cannot_be_started_for_want_of_files_is_said(soft, tmp_path):
    settings = Settings(predict="a:b", models=(("m", "a:b"),), python=sys.executable)
    opened = len(os.listdir("/proc/self/fd")) - 1
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    soft(lowest)
    for _ in range(3):
        with pytest.raises(SettingsError, match="no worker can be started: too many open files"):
            spawn(settings, {}, "m", 0)
    soft(lowest + 3)
    with pytest.raises(SettingsError, match="no worker can be started"):
        spawn(settings, {}, "m", 0)
    soft(1024)
    assert len(os.listdir("/proc/self/fd")) - 1 == opened
