"""A blob on its way here: resumed where a cut left it, every byte hashed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping

from corten.errors import FetchError, RegistryError
from corten.network.connection import Answer
from corten.oci.digest import Digest
from corten.registry.exchange import Trying
from corten.registry.failures import DigestMismatch, Interrupted, from_network
from corten.registry.headers import content_range_start, length
from corten.registry.settings import Patience

_PIECE = 1 << 19

Get = Callable[[Mapping[str, str]], Answer]
"""The answer 200, 206 or 416 to a GET of the blob with these headers. Raises RegistryError."""


def download(get: Get, digest: Digest, size: int, host: str, patience: Patience) -> Iterator[bytes]:
    """The bytes of the blob `digest`, `size` of them. When a connection is cut, the rest is asked for. Raises Interrupted
    when that does not help any more, DigestMismatch at the end when the bytes were not the ones asked for: until then
    nothing that was given may be trusted."""
    return _Download(get, digest, size, host, patience).pieces()


class _Download:
    def __init__(self, get: Get, digest: Digest, size: int, host: str, patience: Patience) -> None:
        self.get = get
        self.digest = digest
        self.size = size
        self.host = host
        self.patience = patience
        self.done = 0
        self.hash = hashlib.new(digest.algorithm)

    def pieces(self) -> Iterator[bytes]:
        trying = Trying(self.patience)
        while self.done < self.size:
            try:
                yield from self._attempt()
            except Interrupted as error:
                trying.wait(error, self.done)
        found = f"{self.digest.algorithm}:{self.hash.hexdigest()}"
        if found != self.digest:
            raise DigestMismatch(
                f"'{self.host}' gave the blob '{self.digest}' with the digest '{found}'",
                hint="it was damaged on its way or in the registry; try again",
            )

    def _attempt(self) -> Iterator[bytes]:
        answer = self.get({"Range": f"bytes={self.done}-"} if self.done else {})
        try:
            skip = self._place(answer)
            pace = Pace(self.patience, self.host)
            while piece := self._read(answer):
                pace.check(len(piece))
                if skip:
                    dropped = min(skip, len(piece))
                    skip -= dropped
                    piece = piece[dropped:]
                    if not piece:
                        continue
                if self.done + len(piece) > self.size:
                    raise self._other_size("more")
                self.hash.update(piece)
                self.done += len(piece)
                yield piece
                pace.resume()
        finally:
            answer.close()
        if self.done < self.size:
            raise Interrupted(f"'{self.host}' cut the connection", hint="try again later")

    def _place(self, answer: Answer) -> int:
        """How many bytes of the answer are known already. A registry that does not know Range sends all of them; if they
        are others than before, the digest tells."""
        if answer.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
            raise RegistryError(f"'{self.host}' gave the blob '{self.digest}' in an encoding of its own")
        if answer.status == 416:
            raise self._other_size("fewer")
        partial = answer.status == 206
        if partial and content_range_start(answer.headers.get("content-range")) != self.done:
            raise Interrupted(
                f"'{self.host}' sent another part of the blob '{self.digest}' than was asked for"
            )
        expected = self.size - self.done if partial else self.size
        announced = length(answer.headers.get("content-length"))
        if announced is not None and announced != expected:
            raise self._other_size("more" if announced > expected else "fewer")
        return 0 if partial else self.done

    def _read(self, answer: Answer) -> bytes:
        try:
            return answer.read1(_PIECE)
        except FetchError as error:
            raise from_network(error, self.host) from error

    def _other_size(self, how: str) -> DigestMismatch:
        return DigestMismatch(
            f"'{self.host}' has {how} than {self.size} bytes for the blob '{self.digest}'",
            hint="the registry's copy is damaged, or the manifest is wrong",
        )


class Pace:
    """Notices a registry that sends, but so slowly that it would never end. The time that the reader takes for itself does
    not count."""

    def __init__(self, patience: Patience, host: str) -> None:
        self._patience = patience
        self._host = host
        self._since = time.monotonic()
        self._waited = 0.0
        self._bytes = 0

    def check(self, amount: int) -> None:
        """`amount` bytes have come since the last call of `resume`."""
        now = time.monotonic()
        self._waited += now - self._since
        self._since = now
        self._bytes += amount
        if self._waited < self._patience.window:
            return
        if self._bytes < self._patience.slowest * self._waited:
            raise Interrupted(
                f"'{self._host}' sends only {self._bytes / self._waited:.0f} bytes a second",
                hint="try again later",
            )
        self._waited, self._bytes = 0.0, 0

    def resume(self) -> None:
        """The reader waits again."""
        self._since = time.monotonic()
