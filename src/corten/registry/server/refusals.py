"""What the server refuses, in the form of the specification (spec.md, "Error Codes")."""

from __future__ import annotations

import json
from typing import Any


class Refusal(Exception):
    """The answer to a request that is not done: status, error code, a sentence, and headers where the status wants them."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        detail: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.detail = detail
        self.headers = headers or {}

    def body(self) -> bytes:
        """The JSON document that clients show."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.detail:
            error["detail"] = self.detail
        return json.dumps({"errors": [error]}).encode()


def blob_unknown(digest: str) -> Refusal:
    """404: the repository has no such blob."""
    return Refusal(404, "BLOB_UNKNOWN", "the repository has no such blob", {"digest": digest})


def manifest_unknown(target: str) -> Refusal:
    """404: the repository has no such manifest."""
    return Refusal(404, "MANIFEST_UNKNOWN", "the repository has no such manifest", {"reference": target})


def name_unknown(name: str) -> Refusal:
    """404: nothing was ever pushed there."""
    return Refusal(404, "NAME_UNKNOWN", "there is no such repository", {"name": name})


def upload_unknown() -> Refusal:
    """404: the upload was finished, cancelled or swept, or belongs to another repository."""
    return Refusal(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload: begin a new one")


def digest_invalid(message: str) -> Refusal:
    """400: not a digest that this server knows, or not that of what was sent."""
    return Refusal(400, "DIGEST_INVALID", message)


def manifest_invalid(message: str, status: int = 400) -> Refusal:
    """400 or 413: what was sent is no manifest that can be kept."""
    return Refusal(status, "MANIFEST_INVALID", message)


def out_of_order(offset: int, location: str) -> Refusal:
    """416: a chunk that does not begin where the upload stands (spec.md, "Pushing a blob in chunks")."""
    return Refusal(
        416,
        "BLOB_UPLOAD_INVALID",
        f"the next byte of this upload is number {offset}",
        headers={"Location": location, "Range": upload_range(offset)},
    )


def upload_range(offset: int) -> str:
    """The `Range` of an upload of which `offset` bytes have arrived; `0-0` for none, as Distribution says it."""
    return f"0-{max(offset - 1, 0)}"
