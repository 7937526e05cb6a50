"""Digests as the OCI image specification writes them (image-spec, descriptor.md, "Digests"): `sha256:<64 hex>`, and
`sha512:<128 hex>` where others chose it. What Corten makes is called by its sha256."""

from __future__ import annotations

import sys

from corten.errors import FormatError
from corten.lazy import regex

# `hashlib` brings OpenSSL with it, which takes as long to load as a third of Corten. It is worth that for what is large.
try:
    if sys.version_info >= (3, 12):
        from _sha2 import sha256 as _sha256_of_little
    else:
        from _sha256 import sha256 as _sha256_of_little  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    # Builds for FIPS 140 have OpenSSL's alone (`--with-builtin-hashlib-hashes=no`).
    from hashlib import sha256 as _sha256_of_little

_LITTLE = 1 << 16
_FORM = regex(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LENGTHS = {64: "sha256:", 128: "sha512:"}
ALGORITHMS = ("sha256", "sha512")


class Digest(str):
    """A `sha256:…` or `sha512:…` digest. `Digest.parse` accepts only the canonical form, so a value is safe as part of a
    path; its digits alone tell the algorithm."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Digest:
        """The digest that `text` spells. Raises FormatError for other algorithms, lengths, cases or types."""
        if not isinstance(text, str) or not _FORM.fullmatch(text):
            raise FormatError(f"'{str(text)[:100]}' is not a sha256 or sha512 digest")
        return cls(text)

    @classmethod
    def of(cls, data: bytes | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest of `data` by `algorithm`, one of ALGORITHMS."""
        if len(data) <= _LITTLE and algorithm == "sha256":
            return cls("sha256:" + _sha256_of_little(data).hexdigest())
        import hashlib

        return cls.from_hex(hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def from_hex(cls, digits: str) -> Digest:
        """The digest with these 64 (sha256) or 128 (sha512) hexadecimal digits."""
        return cls.parse(_LENGTHS.get(len(digits), "sha256:") + digits)

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self[:6]

    def is_of(self, data: bytes | memoryview) -> bool:
        """Whether it is the digest of `data`."""
        return Digest.of(data, self.algorithm) == self

    @property
    def hex(self) -> str:
        """The hexadecimal digits."""
        return self[7:]

    @property
    def short(self) -> str:
        """The first 12 digits, for people."""
        return self[7:19]
