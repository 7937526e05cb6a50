"""One repository of a registry (distribution-spec 1.1): what the spec's end points do, with every byte checked.

Shared by the threads of one command. The bodies are in `transfer` (tries, resuming), `uploads` and `downloads`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from corten.network.connection import NetworkSettings
from corten.oci.descriptor import Descriptor
from corten.oci.digest import Digest
from corten.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How registries are reached."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest as the registry has it: exactly its bytes, and the digest that they have."""

    media_type: str
    digest: Digest
    data: bytes


def settings_from(environ: Mapping[str, str], insecure: bool = False) -> RegistrySettings:
    """The settings that this environment asks for."""
    raise NotImplementedError


def open_repository(reference: Reference, settings: RegistrySettings) -> Repository:
    """The repository of `reference`. Nothing is asked of the registry yet."""
    raise NotImplementedError


class Repository:
    """A repository of a registry."""

    def __init__(self, registry: Registry, repository: str) -> None:
        self.registry = registry.host
        self.repository = repository
        self.name = f"{self.registry}/{repository}"

    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository has the blob."""
        raise NotImplementedError

    def mount_blob(self, digest: Digest, source: str) -> bool:
        """Take the blob over from the repository `source` of the same registry; False when it could not be had so."""
        raise NotImplementedError

    def push_blob(
        self,
        content: Callable[[], Iterator[bytes]],
        *,
        digest: Digest | None = None,
        size: int | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> tuple[Digest, int]:
        """Upload a stream that can be produced again; returns its digest and size."""
        raise NotImplementedError

    def pull_blob(self, digest: Digest, size: int) -> Iterator[bytes]:
        """The blob's bytes; raises at the end when they are not the ones asked for."""
        raise NotImplementedError

    def read_blob(self, digest: Digest, size: int, limit: int) -> bytes:
        """The whole of a small blob."""
        raise NotImplementedError

    def manifest(self, target: str) -> Fetched:
        """The manifest or index of a tag or digest."""
        raise NotImplementedError

    def has_manifest(self, target: str) -> Digest | None:
        """The digest of the manifest at a tag or digest, None when there is none."""
        raise NotImplementedError

    def put_manifest(self, target: str, data: bytes, media_type: str) -> Digest:
        """Store a manifest under a tag or its digest."""
        raise NotImplementedError

    def tags(self) -> Iterator[str]:
        """The repository's tags."""
        raise NotImplementedError

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """What refers to the manifest `digest`."""
        raise NotImplementedError

    def delete_manifest(self, target: str) -> None:
        """Delete a manifest or a tag."""
        raise NotImplementedError


class Registry:
    """One registry's host."""

    def __init__(self, host: str, settings: RegistrySettings) -> None:
        self.host = host
        self.settings = settings

    def repository(self, repository: str) -> Repository:
        """One of its repositories."""
        return Repository(self, repository)
