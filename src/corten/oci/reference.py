"""References to images in registries, as people write them: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.

The grammar is distribution-spec 1.1's ("Pulling manifests") with the host in front, as docker and podman read it: the
first component is a host if it has a dot or a colon or is `localhost`, otherwise the reference is docker.io's.
"""

from __future__ import annotations

import ipaddress

from corten.errors import FormatError, UsageError
from corten.lazy import regex
from corten.oci.digest import Digest
from corten.values import dataclass, replace

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = regex(rf"(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-fA-F:.]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = regex(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HINT = "write HOST/NAME:TAG, as in 'registry.example/team/model:1.0'"
_LONGEST = 255
"""Characters of host and repository together that registries accept (distribution-spec, "Pulling manifests")."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's place in a registry. At least one of `tag` and `digest` is there."""

    registry: str
    """The host, with its port if one was written: `localhost:5000`, `docker.io`."""
    repository: str
    """The path below the host: `team/model`."""
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The place that `text` names; the tag is `latest` when neither tag nor digest is written. Raises UsageError."""
        rest = text.removeprefix("docker://")
        digest = tag = None
        rest, at, written = rest.partition("@")
        if at:
            try:
                digest = Digest.parse(written)
            except FormatError as error:
                raise _wrong(text, "what follows '@' is not a sha256 digest") from error
        head, colon, tail = rest.rpartition(":")
        if colon and "/" not in tail and not _is_bare_host(rest):
            rest, tag = head, tail
            if not _TAG.fullmatch(tag):
                raise _wrong(text, "a tag is up to 128 letters, digits, '_', '.' and '-'")
        registry, repository = _split(rest)
        if not _HOST.fullmatch(registry):
            raise _wrong(text, f"'{registry[:80]}' is not a host")
        if not _REPOSITORY.fullmatch(repository):
            raise _wrong(text, _why_not_a_repository(repository))
        if len(registry) + 1 + len(repository) > _LONGEST:
            raise _wrong(text[:80] + "…", f"host and name are longer than {_LONGEST} characters")
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(registry, repository, tag, digest)

    @property
    def name(self) -> str:
        """Host and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str:
        """What `/manifests/<target>` takes: the digest if there is one, else the tag."""
        return str(self.digest or self.tag or DEFAULT_TAG)

    def at(self, digest: Digest) -> Reference:
        """The same repository by digest, without a tag."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse_host(text: str) -> str:
    """The registry's host that `text` names, as in `login HOST`: a scheme and a trailing slash are let go, every name of
    docker.io is docker.io. Raises UsageError."""
    host = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    if host.endswith("/v1") or host.endswith("/v2"):
        host = host[:-3]
    if not _HOST.fullmatch(host):
        raise UsageError(f"'{text[:200]}' is not a registry's host", hint="write HOST or HOST:PORT")
    return _canonical(host)


def is_loopback(host: str) -> bool:
    """Whether `host` (and its port) is this machine by its name alone: 127.0.0.0/8, ::1, localhost."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower().rstrip(".") == "localhost"


def _split(rest: str) -> tuple[str, str]:
    first, slash, path = rest.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        registry, repository = _canonical(first), path
    else:
        registry, repository = DEFAULT_REGISTRY, rest
    if registry == DEFAULT_REGISTRY and "/" not in repository and repository:
        repository = f"library/{repository}"
    return registry, repository


def _canonical(host: str) -> str:
    host = host.lower()
    return (
        DEFAULT_REGISTRY if host in {"index." + DEFAULT_REGISTRY, "registry-1." + DEFAULT_REGISTRY} else host
    )


def _is_bare_host(rest: str) -> bool:
    """Whether `rest` is `HOST:PORT` with nothing behind it: `localhost:5000` is no image called `localhost`."""
    head, _, tail = rest.rpartition(":")
    return "/" not in rest and tail.isdigit() and (head == "localhost" or "." in head or ":" in head)


def _why_not_a_repository(repository: str) -> str:
    if not repository:
        return "it has no name behind the host"
    if repository.lower() != repository:
        return "a repository's name is in lower case"
    return f"'{repository[:80]}' is not a repository's name"


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(f"'{text[:200]}' is not an image's reference: {why}", hint=_HINT)
