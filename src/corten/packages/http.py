"""Whole bodies and whole files from the web or from `file://`, tried again where that can help.

`get` reads something small into memory, with a bound. `download` writes a file piece by piece, goes on where an earlier
attempt stopped, hashes every byte and gives only what has the hash that was asked for. Both raise `FetchError` with one
sentence; `Absent` when the host simply does not have it, `HashMismatch` when it has something else.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, TypeVar

from corten.errors import FetchError, HashMismatch, StoreError
from corten.events import Observer, TaskAdvanced, TaskFinished, TaskStarted, ignore
from corten.network.connection import Absent, Answer, Connections, NetworkSettings, Transient, host_of, shown
from corten.network.settings import network_from
from corten.values import dataclass

__all__ = ["Absent", "Cancelled", "Http", "Patience", "download", "get", "network_from"]

T = TypeVar("T")

_CHUNK = 1 << 18


class Cancelled(FetchError):
    """Another part of the same work failed, so this one was stopped."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on. `attempts` per address, `knocks` where nobody opens; pauses double from `pause` seconds, with jitter, up to `longest`, unless
    the host says how long to wait. Fewer than `slowest` bytes a second over `window` seconds counts as a cut."""

    attempts: int = 5
    knocks: int = 3
    pause: float = 0.4
    longest: float = 30.0
    slowest: int = 500
    window: float = 30.0


@dataclass(frozen=True, slots=True)
class Body:
    """The answer to a small request. `status` is 200, or 304 where `headers` asked for changes only."""

    status: int
    headers: Mapping[str, str]
    url: str
    data: bytes


class Http:
    """Requests with this machine's settings; one per run, shared by threads."""

    def __init__(self, settings: NetworkSettings | None = None, patience: Patience | None = None) -> None:
        self.connections = Connections(settings or network_from(os.environ))
        self.patience = patience or Patience()

    def get(
        self, url: str, *, limit: int, headers: Mapping[str, str] | None = None, page: bool = False
    ) -> bytes:
        """What `url` holds, at most `limit` bytes. See `request`."""
        return self.request(url, limit=limit, headers=headers, page=page).data

    def request(
        self, url: str, *, limit: int, headers: Mapping[str, str] | None = None, page: bool = False
    ) -> Body:
        """The answer to GET, at most `limit` bytes of it, unpacked if it came gzipped. A web page is an error unless
        `page`. Raises Absent, or FetchError."""

        def once() -> Body:
            answer = self.connections.open(url, {"Accept-Encoding": "gzip", **(headers or {})})
            try:
                data = b"" if answer.status == 304 else _bounded(answer, limit, _Pace(self.patience, url))
            finally:
                answer.close()
            if not page and _is_page(answer, data):
                raise _page_error(url, url.rpartition("/")[2] or shown(url))
            return Body(answer.status, answer.headers, answer.url, data)

        return self._patiently(once, None)

    def size(self, url: str) -> int | None:
        """How many bytes the file at `url` has, by its host's word. Raises Absent, or FetchError."""

        def once() -> int | None:
            answer = self.connections.open(url, {}, method="HEAD")
            answer.close()
            return _length(answer) if answer.status == 200 else None

        return self._patiently(once, None)

    def download(
        self,
        urls: Iterable[str],
        target: Path,
        *,
        sha256: str,
        size: int | None = None,
        observe: Observer = ignore,
        name: str | None = None,
        cancelled: threading.Event | None = None,
    ) -> int:
        """Fill `target` with the file that has `sha256`, from the first of `urls` that gives it; the number of bytes.
        `urls` is asked for the next address only when the ones before have failed.

        What `target` already holds is kept and continued. Afterwards it is complete and verified, or it holds a beginning
        worth continuing, or it does not exist. The caller makes sure that nobody else writes to it. Raises Absent
        when no address has the file, HashMismatch when what they have is something else, FetchError otherwise."""
        name = name or target.name
        work = _Download(self, target, sha256, size, observe, name, cancelled)
        observe(TaskStarted("download", name, size))
        failure: FetchError | None = None
        for url in urls:
            try:
                total = work.from_address(url)
            except Cancelled:
                raise
            except FetchError as error:
                # The most telling failure is reported: something wrong beats something missing.
                if failure is None or (isinstance(failure, Absent) and not isinstance(error, Absent)):
                    failure = error
                continue
            observe(TaskFinished("download", name))
            return total
        raise failure or FetchError(f"nothing says where '{name}' can be fetched")

    def _patiently(
        self,
        once: Callable[[], T],
        cancelled: threading.Event | None,
        progress: Callable[[], int] | None = None,
    ) -> T:
        """`once()`, again while it fails in a way that may pass. Attempts count anew whenever `progress()` has grown."""
        patience = self.patience
        attempt, reached = 0, progress() if progress else 0
        while True:
            try:
                return once()
            except Transient as error:
                if progress and progress() > reached:
                    attempt, reached = 0, progress()
                attempt += 1
                wait = patience.pause * 2 ** (attempt - 1)
                wait *= random.uniform(0.5, 1.5)  # noqa: S311 - jitter, so that many clients do not come back at once
                if error.retry_after is not None:
                    wait = max(wait, error.retry_after)
                allowed = patience.knocks if error.down else patience.attempts
                if attempt >= allowed or (error.retry_after or 0) > patience.longest:
                    raise
                _sleep(min(wait, patience.longest), cancelled)


class _Download:
    """One file on its way into `target`."""

    def __init__(
        self,
        http: Http,
        target: Path,
        sha256: str,
        size: int | None,
        observe: Observer,
        name: str,
        cancelled: threading.Event | None,
    ) -> None:
        self.http = http
        self.target = target
        self.sha256 = sha256
        self.size = size
        self.observe = observe
        self.name = name
        self.cancelled = cancelled
        self.done = 0
        self.hash = hashlib.sha256()
        self.continued = False

    def from_address(self, url: str) -> int:
        """The whole file from `url`, in as many attempts as it takes."""
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.target, flags, 0o600)
        except OSError as error:
            raise _disk_error(error, self.target) from error
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            try:
                self._take_in(file)
                self.http._patiently(lambda: self._attempt(url, file), self.cancelled, lambda: self.done)
                return self.done
            except HashMismatch:
                self._restart(file)
                with contextlib.suppress(OSError):
                    self.target.unlink()
                raise
            except OSError as error:
                raise _disk_error(error, self.target) from error

    def _take_in(self, file: IO[bytes]) -> None:
        """Hash what an earlier attempt has left."""
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StoreError(f"'{self.target}' is not a file, so nothing can be downloaded into it")
        self._count(-self.done)
        self.hash = hashlib.sha256()
        file.seek(0)
        while chunk := file.read(_CHUNK):
            self.hash.update(chunk)
            self._count(len(chunk))
        self.continued = self.done > 0
        if self.size is not None and self.done > self.size:
            self._restart(file)

    def _restart(self, file: IO[bytes]) -> None:
        file.seek(0)
        file.truncate()
        self._count(-self.done)
        self.hash = hashlib.sha256()
        self.continued = False

    def _attempt(self, url: str, file: IO[bytes]) -> None:
        if not (self.done and self.done == self.size):
            self._transfer(url, file)
        if self.size is not None and self.done != self.size:
            raise HashMismatch(
                f"'{self.name}' from '{host_of(url)}' has {self.done} bytes instead of {self.size}",
                hint="the mirror has another file under this name; use another mirror, or lock again",
            )
        if self.hash.hexdigest() == self.sha256:
            return
        if self.continued:  # the beginning may have come from elsewhere: once more, from the start
            self._restart(file)
            self._attempt(url, file)
            return
        raise HashMismatch(
            f"'{self.name}' from '{host_of(url)}' has the sha256 {self.hash.hexdigest()[:12]}… "
            f"instead of {self.sha256[:12]}…",
            hint="the file was changed or damaged on its way; use another mirror, or lock again if it was replaced",
        )

    def _transfer(self, url: str, file: IO[bytes]) -> None:
        headers = {"Range": f"bytes={self.done}-"} if self.done else {}
        answer = self.http.connections.open(url, headers)
        try:
            if answer.status == 416 and self.done:
                if self.size is None and _total(answer) == self.done:
                    return
                self._restart(file)
                answer.close()
                answer = self.http.connections.open(url, {})
            if self.done and (answer.status != 206 or _start(answer) != self.done):
                self._restart(file)
                if answer.status == 206:
                    raise Transient(f"'{host_of(url)}' sent another part of '{self.name}' than was asked for")
            self._receive(url, answer, file)
        finally:
            answer.close()

    def _receive(self, url: str, answer: Answer, file: IO[bytes]) -> None:
        length = _length(answer)
        if self.size is not None and length is not None and self.done + length != self.size:
            if self.done == 0 and _is_page(answer, answer.read1(512)):
                raise _page_error(url, self.name)
            raise HashMismatch(
                f"'{self.name}' at '{host_of(url)}' has {self.done + length} bytes instead of {self.size}",
                hint="the mirror has another file under this name; use another mirror, or lock again",
            )
        pace = _Pace(self.http.patience, url)
        received = 0
        while chunk := answer.read1(_CHUNK):
            if self.cancelled is not None and self.cancelled.is_set():
                raise Cancelled(f"the download of '{self.name}' was stopped")
            if self.done == 0 and _is_page(answer, chunk):
                raise _page_error(url, self.name)
            received += len(chunk)
            if self.size is not None and self.done + len(chunk) > self.size:
                raise HashMismatch(f"'{self.name}' from '{host_of(url)}' is longer than {self.size} bytes")
            file.seek(self.done)
            _write(file, chunk)
            self.hash.update(chunk)
            self._count(len(chunk))
            pace.check(len(chunk))
        if length is not None and received < length:
            raise Transient(
                f"'{host_of(url)}' cut the connection", hint="try again, or configure another mirror"
            )

    def _count(self, amount: int) -> None:
        self.done += amount
        if amount:
            self.observe(TaskAdvanced("download", self.name, amount))


class _Pace:
    """Notices a host that sends, but so slowly that it would never end."""

    def __init__(self, patience: Patience, url: str) -> None:
        self._patience = patience
        self._url = url
        self._since = time.monotonic()
        self._bytes = 0

    def check(self, amount: int) -> None:
        self._bytes += amount
        elapsed = time.monotonic() - self._since
        if elapsed < self._patience.window:
            return
        if self._bytes < self._patience.slowest * elapsed:
            raise Transient(
                f"'{host_of(self._url)}' sends only {self._bytes / elapsed:.0f} bytes a second",
                hint="try again, or configure another mirror",
            )
        self._since, self._bytes = time.monotonic(), 0


def _bounded(answer: Answer, limit: int, pace: _Pace) -> bytes:
    """The body, unpacked; never more than `limit` bytes in memory."""
    gzipped = answer.headers.get("content-encoding", "").strip().lower() in {"gzip", "x-gzip"}
    unpack = zlib.decompressobj(wbits=31) if gzipped else None
    length, received, parts, total = _length(answer), 0, [], 0
    while chunk := answer.read1(_CHUNK):
        received += len(chunk)
        pace.check(len(chunk))
        try:
            data = unpack.decompress(chunk, limit + 1 - total) if unpack else chunk
        except zlib.error as error:
            raise Transient(f"'{host_of(answer.url)}' sent a damaged answer") from error
        total += len(data)
        if total > limit:
            raise FetchError(f"'{shown(answer.url)}' is larger than {limit} bytes, which is refused")
        parts.append(data)
    if (length is not None and received < length) or (unpack is not None and received and not unpack.eof):
        raise Transient(
            f"'{host_of(answer.url)}' cut the connection", hint="try again, or configure another mirror"
        )
    return b"".join(parts)


def _length(answer: Answer) -> int | None:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isdigit() else None


def _total(answer: Answer) -> int | None:
    text = answer.headers.get("content-range", "").rpartition("/")[2]
    return int(text) if text.isdigit() else None


def _start(answer: Answer) -> int | None:
    """The first byte's place by `Content-Range: bytes 100-199/200` (RFC 9110, section 14.4)."""
    text = answer.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0].strip()
    return int(text) if text.isdigit() else None


def _is_page(answer: Answer, beginning: bytes) -> bool:
    """Whether this is a web page, as login pages and captive portals answer in place of a file."""
    start = beginning[:512].lstrip().lower()
    looks = start.startswith((b"<!doctype html", b"<html"))
    return looks and not answer.url.endswith((".html", ".htm"))


def _page_error(url: str, name: str) -> FetchError:
    return FetchError(
        f"'{host_of(url)}' answered with a web page instead of '{name}'",
        hint="a proxy, a login page or a wrong address may be in between; open the address in a browser",
    )


def _write(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _disk_error(error: OSError, target: Path) -> StoreError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StoreError(
            f"the disk (or this user's share of it) is full: '{target.name}' does not fit",
            hint="free some space, or run 'corten prune'",
        )
    return StoreError(f"'{target}' cannot be written: {(error.strerror or str(error)).lower()}")


def _sleep(seconds: float, cancelled: threading.Event | None) -> None:
    if cancelled is None:
        time.sleep(seconds)
    elif cancelled.wait(seconds):
        raise Cancelled("the download was stopped")


_default: Http | None = None


def default() -> Http:
    """The client with the environment's settings and no credentials, for what has no index: Debian mirrors."""
    global _default
    if _default is None:
        _default = Http()
    return _default


def get(url: str, *, limit: int, headers: Mapping[str, str] | None = None, page: bool = False) -> bytes:
    """`Http.get` with the environment's settings."""
    return default().get(url, limit=limit, headers=headers, page=page)


def download(
    urls: Iterable[str],
    target: Path,
    size: int | None,
    sha256: str,
    observe: Observer = ignore,
    *,
    name: str | None = None,
    cancelled: threading.Event | None = None,
) -> int:
    """`Http.download` with the environment's settings."""
    return default().download(
        urls, target, sha256=sha256, size=size, observe=observe, name=name, cancelled=cancelled
    )
