"""What a supervisor is told: one JSON document in a line, and one in answer, on a socket that only its owner reaches.

    {"do": "update", "plan": {...}}      answered when the new container serves, or why it does not
    {"do": "end", "grace": seconds}      answered at once; the lock is free when it is done

Whoever leaves before the answer takes an update back.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corten.errors import CortenError, RuntimeFailure
from corten.supervise.services import CONTROL

_LONGEST = 1 << 20


class Conversation:
    """Somebody who said something, and waits for the answer."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._heard = b""

    def fileno(self) -> int:
        """For select(2)."""
        return self._connection.fileno()

    def hear(self) -> dict[str, Any] | None:
        """What was said, once it is whole. Raises EOFError when the other side has left, or speaks nonsense."""
        try:
            data = self._connection.recv(1 << 16)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        self._heard += data
        if not data or len(self._heard) > _LONGEST:
            raise EOFError
        if not self._heard.endswith(b"\n"):
            return None
        try:
            document = json.loads(self._heard)
        except ValueError:
            raise EOFError from None
        self._heard = b""
        if not isinstance(document, dict):
            raise EOFError
        return document

    def answer(self, **document: Any) -> None:
        """Answer and part. It is no error when nobody listens any more."""
        try:
            self._connection.setblocking(True)
            self._connection.settimeout(2)
            self._connection.sendall(json.dumps(document).encode() + b"\n")
        except OSError:
            pass
        finally:
            self._connection.close()

    def refuse(self, error: CortenError, lines: list[str] | None = None) -> None:
        """Answer with a failure; `lines` of the log show it."""
        self.answer(failed=error.message, hint=error.hint, lines=lines or [])

    def close(self) -> None:
        """Part without an answer."""
        self._connection.close()


class Control:
    """The supervisor's end."""

    def __init__(self, directory: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        with _short(directory) as name:
            path = directory / CONTROL
            path.unlink(missing_ok=True)
            self._listener.bind(name)
        self._listener.listen(16)
        self._listener.setblocking(False)

    def fileno(self) -> int:
        """For select(2)."""
        return self._listener.fileno()

    def accept(self) -> Conversation | None:
        """Whoever comes; None where they have left again."""
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return None
        connection.setblocking(False)
        return Conversation(connection)

    def close(self) -> None:
        """Hear nobody any more."""
        self._listener.close()


class Refused(RuntimeFailure):
    """A supervisor's answer that it could not do it. `lines` of its log show why."""

    def __init__(self, message: str, hint: str | None, lines: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.lines = lines


def tell(directory: Path, **document: Any) -> dict[str, Any]:
    """Tell the supervisor of the service in `directory` something, and return its answer, however long that takes. Raises
    RuntimeFailure with its reason, and where it is gone."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with _short(directory) as name:
                connection.connect(name)
            connection.sendall(json.dumps(document).encode() + b"\n")
            with connection.makefile("rb") as reading:
                answer = json.loads(reading.readline(_LONGEST) or b"null")
        except (OSError, ValueError):
            answer = None
    if not isinstance(answer, dict):
        raise RuntimeFailure(
            f"the supervisor of '{directory.name}' does not answer",
            hint=f"'corten status {directory.name}' tells what is left; 'corten down {directory.name}' ends it",
        )
    if "failed" in answer:
        raise Refused(str(answer["failed"]), answer.get("hint"), tuple(map(str, answer.get("lines") or ())))
    return answer


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """A name for the socket in `directory` that fits into an address: the kernel takes 107 bytes (unix(7))."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{CONTROL}"
    finally:
        os.close(descriptor)
