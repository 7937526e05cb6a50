"""Waiting for what serves."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from corten.cli.serving import Interrupts, get


class Runs:
    """What serves, and does not end."""

    name = "demo"
    forwarded = False

    def poll(self) -> int | None:
        return None

    def signal(self, number: int) -> None:
        pass


def test_an_interrupt_counts_while_an_answer_comes_and_comes() -> None:
    asked, over = Interrupts(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while not over.wait(0.002):
                    connection.sendall(b"x")

        def interrupt() -> None:
            time.sleep(0.3)
            asked.count += 1
            # What does not hear that ends with the connection, and has an answer.
            over.wait(2)
            over.set()

        threads = [threading.Thread(target=target) for target in (answer, interrupt)]
        for thread in threads:
            thread.start()
        assert get(listener.getsockname()[:2], "/", Runs(), asked) is None
        over.set()
        for thread in threads:
            thread.join()
