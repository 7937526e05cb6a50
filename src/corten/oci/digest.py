"""Digests as the OCI image specification writes them (image-spec, descriptor.md, "Digests"): `sha256:<64 hex>`."""

from __future__ import annotations

import hashlib
import re

from corten.errors import FormatError

_FORM = re.compile(r"sha256:[0-9a-f]{64}")


class Digest(str):
    """A `sha256:…` digest. `Digest.parse` accepts only the canonical form, so a value is safe as part of a path."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Digest:
        """The digest that `text` spells. Raises FormatError for other algorithms, lengths, cases or types."""
        if not isinstance(text, str) or not _FORM.fullmatch(text):
            raise FormatError(f"'{str(text)[:100]}' is not a sha256 digest")
        return cls(text)

    @classmethod
    def of(cls, data: bytes | memoryview) -> Digest:
        """The digest of `data`."""
        return cls("sha256:" + hashlib.sha256(data).hexdigest())

    @classmethod
    def from_hex(cls, digits: str) -> Digest:
        """The digest with these 64 hexadecimal digits."""
        return cls.parse("sha256:" + digits)

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits."""
        return self[7:]

    @property
    def short(self) -> str:
        """The first 12 digits, for people."""
        return self[7:19]
