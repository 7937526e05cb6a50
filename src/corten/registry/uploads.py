"""A blob on its way to a registry (distribution-spec, "Pushing blobs"): one request where its digest is known, a stream where
it is not, pieces where the registry or a proxy before it refuses the whole.

A cut is resumed where the registry says it got to; one that does not say, or forgets the upload, gets it from the start. An
upload that is given up is cancelled.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from corten.errors import CortenError, NotInRegistry, RegistryError
from corten.network.connection import Answer
from corten.oci.digest import Digest
from corten.registry.exchange import Trying
from corten.registry.failures import DigestMismatch, Interrupted, Unsupported
from corten.registry.headers import length, range_end
from corten.registry.settings import Patience
from corten.registry.streams import Content, Stream, chunked
from corten.values import dataclass

Body = bytes | Callable[[], Iterable[bytes]] | None

_CHUNK = 16 << 20
"""Bytes of one piece where the whole is refused: held in memory while it is sent, when its length is not known ahead."""
_LARGEST_CHUNK = 64 << 20
_PASSING = frozenset(
    {
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "RANGE_INVALID",
        "SIZE_INVALID",
        "UNKNOWN",
    }
)
"""Codes of errors that an upload from its start may not meet again."""


class Requests(Protocol):
    """What an upload asks of its repository. Every call is one attempt."""

    def send(
        self, method: str, path: str, accept: frozenset[int], headers: Mapping[str, str], body: Body = None
    ) -> Answer:
        """The answer, with a status in `accept`. Raises RegistryError."""

    def has(self, digest: Digest) -> bool:
        """Whether the repository has the blob. Raises RegistryError."""

    host: str
    start: str
    """The path where uploads begin."""


@dataclass(frozen=True, slots=True)
class _Upload:
    location: str
    smallest: int = 0
    """OCI-Chunk-Min-Length: bytes that a chunk must have at least, the last one excepted."""


class BlobUpload:
    """One blob. `content()` gives the same bytes whenever it is called."""

    def __init__(
        self,
        requests: Requests,
        content: Content,
        digest: Digest | None,
        size: int | None,
        advance: Callable[[int], None] | None,
        patience: Patience,
    ) -> None:
        self._requests = requests
        self._content = content
        self._digest = digest
        self._algorithm = digest.algorithm if digest else "sha256"
        self._size = size
        self._advance = advance
        self._patience = patience
        self._upload: _Upload | None = None
        self._shown = 0
        self._reached = 0
        """The most bytes that the registry is known to have had."""
        self._in_chunks = False
        self._begun_anew = False

    def run(self) -> tuple[Digest, int]:
        """Upload it; its digest and size. Raises RegistryError, and as they are the errors of `content`."""
        trying = Trying(self._patience)
        done = 0
        uncertain = False
        while True:
            try:
                if uncertain and self._upload is not None:
                    if (
                        self._digest is not None
                        and self._size is not None
                        and self._requests.has(self._digest)
                    ):
                        return self._finished(self._digest, self._size)
                    done = self._resume()
                uncertain = False
                if self._upload is None:
                    self._upload, done = self._begin(), 0
                return self._attempt(done)
            except Interrupted as error:
                uncertain = True
                try:
                    trying.wait(error, self._reached)
                except RegistryError:
                    self._cancel()
                    raise
            except Unsupported as error:
                if not self._worth_another_way(error):
                    self._cancel()
                    raise
                self._cancel()
            except NotInRegistry:
                # The registry has forgotten the upload, as after a restart; the repository itself need not exist yet.
                if self._upload is None or self._begun_anew:
                    raise
                self._upload, self._begun_anew = None, True
            except Exception:
                self._cancel()
                raise

    def _attempt(self, done: int) -> tuple[Digest, int]:
        """All that the registry lacks, from byte `done` on."""
        if self._digest is not None and self._size is not None and not self._in_chunks:
            return self._whole(self._digest, self._size, done)
        # What goes on in the middle says where: the registry may have got more since it was asked. Where a stream
        # ends cannot be said ahead.
        return self._chunks(done) if self._in_chunks or done else self._stream()

    def _whole(self, digest: Digest, size: int, done: int) -> tuple[Digest, int]:
        headers = {"Content-Length": str(size - done), "Content-Type": "application/octet-stream"}
        if done:
            headers["Content-Range"] = f"{done}-{size - 1}"
        stream = self._from(done, hashed=False)  # the registry compares it with the digest
        self._send(
            "PUT", _with_digest(self._location, digest), frozenset({201}), headers, stream.pieces, digest
        )
        return self._finished(digest, size)

    def _stream(self) -> tuple[Digest, int]:
        stream = self._from(0)
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._send("PATCH", self._location, frozenset({202, 204}), headers, stream.pieces)
        self._moved(answer)
        if not stream.complete:
            raise Interrupted(f"'{self._requests.host}' answered before the upload was complete")
        self._reached = max(self._reached, stream.sent)
        return self._commit(stream)

    def _chunks(self, done: int) -> tuple[Digest, int]:
        stream = self._from(done)
        pieces = stream.pieces()
        smallest = self._upload.smallest if self._upload else 0
        size = min(max(_CHUNK, smallest), _LARGEST_CHUNK)
        for chunk in chunked(pieces, size):
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(len(chunk)),
                "Content-Range": f"{done}-{done + len(chunk) - 1}",
            }
            answer = self._send("PATCH", self._location, frozenset({202, 204}), headers, chunk)
            self._moved(answer)
            done += len(chunk)
            self._reached = max(self._reached, done)
        return self._commit(stream)

    def _commit(self, stream: Stream) -> tuple[Digest, int]:
        """The PUT that ends an upload whose bytes the registry has."""
        digest = Digest.from_hex(stream.hash.hexdigest())
        if self._digest not in (None, digest) or self._size not in (None, stream.sent):
            raise RegistryError(f"what was to be uploaded is not '{self._digest}' any more")
        self._digest, self._size = digest, stream.sent
        headers = {"Content-Length": "0", "Content-Type": "application/octet-stream"}
        self._send("PUT", _with_digest(self._location, digest), frozenset({201}), headers, b"", digest)
        return self._finished(digest, stream.sent)

    def _send(
        self,
        method: str,
        path: str,
        accept: frozenset[int],
        headers: Mapping[str, str],
        body: Body,
        digest: Digest | None = None,
    ) -> Answer:
        try:
            answer = self._requests.send(method, path, accept, headers, body)
        except Unsupported as error:
            if error.status == 416:  # it is elsewhere by now than it has said: it is asked again
                raise Interrupted(error.message, error.hint) from error
            raise
        answer.close()
        told = answer.headers.get("docker-content-digest", "")
        if digest is not None and told.startswith(f"{digest.algorithm}:") and told != digest:
            raise DigestMismatch(f"'{self._requests.host}' stored '{digest}' as '{told[:80]}'")
        return answer

    def _begin(self) -> _Upload:
        start = self._requests.start
        if self._algorithm != "sha256":
            start += f"?digest-algorithm={self._algorithm}"
        answer = self._requests.send("POST", start, frozenset({202}), {"Content-Length": "0"}, b"")
        answer.close()
        self._show(0)
        return opened(answer, self._requests.host)

    def _resume(self) -> int:
        """Where the registry is in the upload; the upload is forgotten when that cannot be found out."""
        if self._upload is None:
            return 0
        try:
            answer = self._requests.send("GET", self._location, frozenset({204, 202, 200}), {})
        except Interrupted:
            raise
        except RegistryError:
            self._upload = None
            return 0
        answer.close()
        done = range_end(answer.headers.get("range"))
        if done is None or (self._size is not None and done > self._size):
            self._cancel()
            return 0
        self._moved(answer)
        self._reached = max(self._reached, done)
        return done

    def _worth_another_way(self, error: Unsupported) -> bool:
        """Whether the upload may work from its start, once more or in another way: bytes damaged on their way, a whole that is
        too large, an upload that the registry does not know any more."""
        if error.status in {411, 413, 501} and not self._in_chunks:
            self._in_chunks = True
            return True
        passing = error.status == 400 and (not error.codes or bool(_PASSING & set(error.codes)))
        if passing and not self._begun_anew:
            self._begun_anew = True
            return True
        return False

    def _cancel(self) -> None:
        """Leave nothing behind in the registry, as well as that can be done now."""
        upload, self._upload = self._upload, None
        if upload is not None:
            with contextlib.suppress(CortenError):
                self._requests.send("DELETE", upload.location, frozenset({200, 202, 204}), {}).close()

    def _from(self, done: int, hashed: bool = True) -> Stream:
        return Stream(self._content, done, self._size, self._show, hashed, self._algorithm)

    def _show(self, sent: int) -> None:
        """Tell how far it is; less than before after a cut."""
        if self._advance is not None and sent != self._shown:
            self._advance(sent - self._shown)
        self._shown = sent

    def _finished(self, digest: Digest, size: int) -> tuple[Digest, int]:
        self._upload = None
        self._show(size)
        return digest, size

    @property
    def _location(self) -> str:
        assert self._upload is not None
        return self._upload.location

    def _moved(self, answer: Answer) -> None:
        """Registries put the state of an upload into its address, so the newest one counts."""
        if self._upload is not None and answer.headers.get("location"):
            self._upload = _Upload(_location_of(answer, self._requests.host), self._upload.smallest)


def opened(answer: Answer, host: str) -> _Upload:
    """The upload that a registry has opened by an answer 202. Raises RegistryError."""
    smallest = length(answer.headers.get("oci-chunk-min-length")) or 0
    return _Upload(_location_of(answer, host), smallest)


def _location_of(answer: Answer, host: str) -> str:
    location = answer.headers.get("location", "")
    try:
        joined = urllib.parse.urljoin(answer.url, location) if location else ""
    except ValueError:
        joined = ""
    if not joined.startswith(("http://", "https://")):
        raise RegistryError(f"'{host}' does not say where to upload to")
    return joined


def _with_digest(location: str, digest: Digest) -> str:
    joint = "&" if urllib.parse.urlsplit(location).query else "?"
    return f"{location}{joint}digest={urllib.parse.quote(digest)}"
