"""Who may use the registry: an htpasswd file with bcrypt entries (`htpasswd -B`), and HTTP's Basic scheme (RFC 7617)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import threading
import time
from pathlib import Path

import bcrypt

from corten.errors import UsageError

_ENTRY = re.compile(rb"([^:\x00-\x1f\x7f]{1,255}):(\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53})")
_LARGEST_FILE = 1 << 20
_HARDEST = 15
_REMEMBERED = 60.0
_MOST_REMEMBERED = 1024
_BCRYPT_LIMIT = 72


class Passwords:
    """The users of an htpasswd file. A password that was right is remembered for a minute, by a keyed hash and in memory only,
    because bcrypt is slow on purpose and a push makes hundreds of requests."""

    def __init__(self, entries: dict[bytes, bytes]) -> None:
        self._entries = entries
        self._key = os.urandom(32)
        self._known: dict[bytes, tuple[float, bool]] = {}
        self._guard = threading.Lock()
        # Guesses cost 50 ms of a processor each: whoever makes them must not take all processors.
        self._workers = threading.BoundedSemaphore(2)
        # What an unknown user is checked against, so that it takes as long as a known one.
        self._decoy = next(iter(entries.values()))

    @classmethod
    def read(cls, path: Path) -> Passwords:
        """The users in the file at `path`. Raises UsageError that names the line, never what is in it."""
        try:
            with open(path, "rb") as file:
                data = file.read(_LARGEST_FILE + 1)
        except OSError as error:
            raise UsageError(
                f"cannot read the htpasswd file '{path}': {(error.strerror or 'unknown').lower()}"
            ) from None
        if len(data) > _LARGEST_FILE:
            raise UsageError(f"the htpasswd file '{path}' is too large")
        entries: dict[bytes, bytes] = {}
        for number, line in enumerate(data.splitlines(), 1):
            text = line.strip()
            if not text or text.startswith(b"#"):
                continue
            found = _ENTRY.fullmatch(text)
            if not found:
                raise UsageError(
                    f"line {number} of the htpasswd file '{path}' is not a user with a bcrypt password",
                    hint="make entries with 'htpasswd -B'",
                )
            if not 4 <= int(found[3]) <= _HARDEST:
                raise UsageError(
                    f"line {number} of the htpasswd file '{path}' asks for more work than this server does",
                    hint=f"make entries with a cost of 4 to {_HARDEST}, as in 'htpasswd -B -C 10'",
                )
            entries[found[1]] = found[2]
        if not entries:
            raise UsageError(f"the htpasswd file '{path}' names no user", hint="add one with 'htpasswd -B'")
        return cls(entries)

    def admit(self, authorization: str | None) -> bool:
        """Whether a request with this `Authorization` header may pass."""
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            credentials = base64.b64decode(value.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        user, colon, password = credentials.partition(b":")
        if not colon or b"\0" in password:
            return False
        mark = hmac.digest(self._key, credentials, hashlib.sha256)
        with self._guard:
            expires, right = self._known.get(mark, (0.0, False))
        if time.monotonic() < expires:
            return right
        with self._workers:
            right = self._check(user, password)
        self._remember(mark, right)
        return right

    def _check(self, user: bytes, password: bytes) -> bool:
        entry = self._entries.get(user)
        # htpasswd looks at the first 72 bytes only, and so must whoever checks its entries.
        right = bcrypt.checkpw(password[:_BCRYPT_LIMIT], entry or self._decoy)
        return right and entry is not None

    def _remember(self, mark: bytes, right: bool) -> None:
        with self._guard:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[mark] = (time.monotonic() + _REMEMBERED, right)
