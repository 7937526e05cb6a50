"""Platforms: `linux/amd64`, `linux/arm64/v8` (image-spec, image-index.md, "platform")."""

from __future__ import annotations

import os

from corten.errors import UsageError
from corten.values import dataclass

_MACHINES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
}


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and an architecture, in Go's and OCI's words. Corten makes linux/amd64 and linux/arm64."""

    os: str
    architecture: str

    def __lt__(self, other: Platform) -> bool:
        return (self.os, self.architecture) < (other.os, other.architecture)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """`linux/amd64`, `amd64`, `linux/arm64/v8`, `aarch64`, … Raises UsageError for what Corten cannot make."""
        parts = text.strip().lower().split("/")
        if len(parts) == 1:
            parts = ["linux", *parts]
        if len(parts) == 3 and (parts[1], parts[2]) in {("arm64", "v8"), ("aarch64", "v8")}:
            parts = parts[:2]
        machine = _MACHINES.get(parts[1]) if len(parts) == 2 else None
        if parts[0] != "linux" or machine is None:
            raise UsageError(f"unknown platform '{text[:60]}'", hint="use linux/amd64 or linux/arm64")
        return cls("linux", machine)

    @classmethod
    def host(cls) -> Platform:
        """The platform of containers on this machine."""
        return cls.parse(os.uname().machine)

    @property
    def machine(self) -> str:
        """The architecture in the kernel's words: `x86_64` or `aarch64`."""
        return "x86_64" if self.architecture == "amd64" else "aarch64"

    def to_json(self) -> dict[str, str]:
        """The platform object of an index's entry (image-index.md). An arm64 without its variant is v8, and is said so
        because some engines compare literally."""
        value = {"architecture": self.architecture, "os": self.os}
        return value | {"variant": "v8"} if self.architecture == "arm64" else value

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"
