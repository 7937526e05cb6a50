"""One repository of a registry (distribution-spec 1.1): what the specification's end points do, with every byte checked.

Shared by the threads of one command. How requests are sent, authorised and tried again is in `exchange`, blobs on their way in
`uploads` and `downloads`.
"""

from __future__ import annotations

import functools
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from corten.errors import AccessDenied, FormatError, NotInRegistry, RegistryError
from corten.network.addresses import origin
from corten.network.connection import Answer
from corten.oci import media
from corten.oci.descriptor import Descriptor
from corten.oci.digest import Digest
from corten.oci.reference import Reference
from corten.registry.downloads import download
from corten.registry.exchange import Exchange
from corten.registry.failures import (
    DigestMismatch,
    Interrupted,
    Unsupported,
    small_body,
)
from corten.registry.headers import next_link
from corten.registry.manifests import (
    LARGEST_MANIFEST,
    Fetched,
    entries,
    is_list,
    json_object,
    media_type_of,
    referrers_tag,
    told_digest,
)
from corten.registry.settings import Patience, RegistrySettings, settings_from
from corten.registry.uploads import BlobUpload, Body, opened
from corten.values import replace

__all__ = [
    "DigestMismatch",
    "Fetched",
    "Interrupted",
    "Patience",
    "Registries",
    "Registry",
    "RegistrySettings",
    "Repository",
    "open_repository",
    "settings_from",
]

_ACCEPTED = (media.INDEX, media.MANIFEST, media.DOCKER_INDEX, media.DOCKER_MANIFEST)
_MOST_PAGES = 1000
_PAGE = 1000


def open_repository(reference: Reference, settings: RegistrySettings) -> Repository:
    """The repository of `reference`. Nothing is asked of the registry yet."""
    return Registry(reference.registry, settings).repository(reference.repository)


class Registries:
    """The registries that one command speaks to, each with the connections and tokens that all its repositories share.
    Shared by threads."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        self._known: dict[str, Registry] = {}
        self._lock = threading.Lock()

    def repository(self, reference: Reference) -> Repository:
        """The repository of `reference`. Nothing is asked of its registry yet."""
        with self._lock:
            registry = self._known.get(reference.registry)
            if registry is None:
                registry = self._known[reference.registry] = Registry(reference.registry, self.settings)
        return registry.repository(reference.repository)


class Registry:
    """One registry's host. One per command, so that connections and tokens are shared."""

    def __init__(self, host: str, settings: RegistrySettings) -> None:
        self.host = host
        self.settings = settings
        self.exchange = Exchange(host, settings)
        self._repositories: dict[str, Repository] = {}
        self._lock = threading.Lock()

    def repository(self, repository: str) -> Repository:
        """One of its repositories."""
        with self._lock:
            if repository not in self._repositories:
                self._repositories[repository] = Repository(self, repository)
            return self._repositories[repository]

    def check(self) -> None:
        """Ask whether the registry is there and takes the credentials. Raises AccessDenied, RegistryError."""
        try:
            self.exchange.ask("GET", "/v2/", frozenset({200}), what="its API").close()
        except NotInRegistry as error:
            raise RegistryError(f"'{self.host}' is no registry: {error.message}", error.hint) from error


class Repository:
    """A repository of a registry. Every method raises RegistryError: AccessDenied, NotInRegistry, Interrupted when trying
    again has not helped, DigestMismatch, or one of the rest."""

    def __init__(self, registry: Registry, repository: str) -> None:
        self.registry = registry.host
        self.repository = repository
        self.name = f"{self.registry}/{repository}"
        self._exchange = registry.exchange
        self._path = f"/v2/{repository}"
        self._reading = (f"repository:{repository}:pull",)
        self._writing = (f"repository:{repository}:pull,push",)
        self._pushed = False

    def for_pushing(self) -> Repository:
        """This repository, which is going to be pushed to: every request asks for the right to do that. A registry may
        refuse even a look at a repository that does not exist yet to those who do not say that they will push."""
        self._pushed = True
        return self

    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository has the blob, as far as the registry can tell."""
        try:
            self._ask("HEAD", f"/blobs/{digest}", {200}, f"blob '{digest.short}'").close()
        except NotInRegistry:
            return False
        except Unsupported as error:
            if error.status != 400:
                raise
            return False  # Distribution answers so while another client writes it
        return True

    def mount_blob(self, digest: Digest, source: str) -> bool:
        """Take the blob over from the repository `source` of the same registry. False when that is not to be had: an upload
        that the registry has opened instead is cancelled."""
        scopes = (*self._writing, f"repository:{source}:pull")
        path = f"/blobs/uploads/?mount={digest}&from={urllib.parse.quote(source)}"
        headers = {"Content-Length": "0"}
        try:
            # Some registries fail at mounts alone: what cannot be had soon is uploaded.
            answer = self._exchange.patiently(
                lambda: self._once("POST", path, {201, 202}, "mount", headers, b"", scopes),
                replace(self._exchange.patience, attempts=2, knocks=2),
            )
        except (AccessDenied, NotInRegistry, Unsupported, Interrupted):
            return False
        answer.close()
        if answer.status == 201:
            return True
        try:
            location = opened(answer, self.registry).location
            self._ask("DELETE", location, {200, 202, 204}, "upload", scopes=self._writing).close()
        except RegistryError:
            pass  # it is the registry's to forget
        return False

    def push_blob(
        self,
        content: Callable[[], Iterator[bytes]],
        *,
        digest: Digest | None = None,
        size: int | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> tuple[Digest, int]:
        """Upload what `content()` gives, the same bytes whenever it is called; the digest and size that the registry has now.
        `digest` and `size` are what is known ahead: with both it takes two requests. `advance` hears how many bytes were
        sent, negative where they have to be sent again. Errors of `content` are raised as they are."""
        self._pushed = True
        requests = _UploadRequests(self)
        return BlobUpload(requests, content, digest, size, advance, self._exchange.patience).run()

    def pull_blob(self, digest: Digest, size: int) -> Iterator[bytes]:
        """The blob's bytes. A cut is resumed; DigestMismatch is raised at the end when they are others than asked for, so
        nothing of them may be trusted before."""

        def get(headers: Mapping[str, str]) -> Answer:
            return self._once("GET", f"/blobs/{digest}", {200, 206, 416}, f"blob '{digest.short}'", headers)

        return download(get, digest, size, self.registry, self._exchange.patience)

    def read_blob(self, digest: Digest, size: int, limit: int) -> bytes:
        """The whole of a small blob. Raises RegistryError when `size` is more than `limit` bytes."""
        if size > limit:
            raise RegistryError(
                f"the blob '{digest}' of '{self.name}' has {size} bytes, more than the {limit} that are read"
            )
        return b"".join(self.pull_blob(digest, size))

    def manifest(self, target: str) -> Fetched:
        """The manifest or index of a tag or digest, by what it is: its digest is the one asked for, and the one that the
        registry tells."""
        what = self._shown(target)

        def once() -> Fetched:
            accept = {"Accept": ", ".join(_ACCEPTED)}
            answer = self._once("GET", f"/manifests/{target}", {200}, what, accept)
            return self._checked(answer, target, what)

        return self._exchange.patiently(once)

    def has_manifest(self, target: str) -> Digest | None:
        """The digest of the manifest at a tag or digest, None when there is none."""
        headers = {"Accept": ", ".join(_ACCEPTED)}
        try:
            answer = self._ask("HEAD", f"/manifests/{target}", {200}, self._shown(target), headers=headers)
        except NotInRegistry:
            return None
        answer.close()
        told = told_digest(answer)
        if ":" in target:
            asked = Digest.parse(target)
            if told is not None and told.algorithm == asked.algorithm and told != asked:
                raise DigestMismatch(f"'{self.registry}' has '{told}' at '{target}' of '{self.name}'")
            return asked
        return told or self.manifest(target).digest  # the header is no duty of the registry's

    def put_manifest(self, target: str, data: bytes, media_type: str, algorithm: str = "sha256") -> Digest:
        """Store a manifest or index under a tag, or under its digest; its digest there. A tag leads to a digest by
        `algorithm`, where the registry can do that with another one than sha256 (it knows `?tag=`)."""
        if ":" in target:
            algorithm = Digest.parse(target).algorithm
        digest = Digest.of(data, algorithm)
        if ":" not in target and algorithm != "sha256":
            query = urllib.parse.urlencode({"tag": target})
            answer = self._put(f"/manifests/{digest}?{query}", target, digest, data, media_type)
            tags = [tag.strip() for tag in answer.headers.get("oci-tag", "").split(",")]
            if target in tags:
                return digest
            digest = Digest.of(data)
        self._put(f"/manifests/{target}", target, digest, data, media_type)
        return digest

    def _put(self, path: str, target: str, digest: Digest, data: bytes, media_type: str) -> Answer:
        answer = self._ask(
            "PUT",
            path,
            {200, 201, 202},
            self._shown(target),
            headers={"Content-Type": media_type, "Content-Length": str(len(data))},
            body=data,
            scopes=self._writing,
        )
        answer.close()
        told = told_digest(answer)
        if told is not None and told.algorithm == digest.algorithm and told != digest:
            raise DigestMismatch(f"'{self.registry}' stored the manifest '{digest}' as '{told}'")
        return answer

    def delete_manifest(self, target: str) -> None:
        """Delete a manifest by its digest, or a tag. Where a registry cannot delete a tag, what it leads to is deleted."""
        scopes = (f"repository:{self.repository}:delete,pull",)
        ask = functools.partial(self._ask, "DELETE", accept={202, 200, 204}, scopes=scopes)
        try:
            ask(f"/manifests/{target}", what=self._shown(target)).close()
        except Unsupported:
            digest = None if ":" in target else self.has_manifest(target)
            if digest is None:
                raise
            ask(f"/manifests/{digest}", what=self._shown(target)).close()

    def tags(self) -> Iterator[str]:
        """The repository's tags, in the registry's order."""
        for page, _ in self._pages(f"/tags/list?n={_PAGE}", "repository"):
            tags = page.get("tags") or []
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise RegistryError(f"'{self.registry}' lists tags of '{self.name}' that are not text")
            yield from tags

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """What refers to the manifest `digest`, of one type or of all: by the API, or by the tag that stands in for it
        (distribution-spec, "Referrers Tag Schema")."""
        items: list[object] = []
        try:
            for page, _ in self._pages(f"/referrers/{digest}", "the referrers", lists="manifests"):
                items += entries(page)
        except (NotInRegistry, Unsupported):
            try:
                items = entries(json_object(self.manifest(referrers_tag(digest)).data, self.registry))
            except NotInRegistry:
                return ()
        wanted = [
            item
            for item in items
            if artifact_type is None or (isinstance(item, dict) and item.get("artifactType") == artifact_type)
        ]
        try:
            return tuple(Descriptor.from_json(item) for item in wanted)
        except FormatError as error:
            raise RegistryError(
                f"'{self.registry}' lists referrers of '{self.name}': {error.message}"
            ) from error

    def _checked(self, answer: Answer, target: str, what: str) -> Fetched:
        data = small_body(answer, LARGEST_MANIFEST, self.registry)
        told = told_digest(answer)
        asked = Digest.parse(target) if ":" in target else None
        wanted = asked or told
        digest = Digest.of(data, wanted.algorithm if wanted else "sha256")
        wrong = next((other for other in (asked, told) if other is not None and not other.is_of(data)), None)
        if wrong is not None:
            raise DigestMismatch(
                f"'{self.registry}' gave {what} with the digest '{Digest.of(data, wrong.algorithm)}' instead of '{wrong}'",
                hint="it was damaged on its way or in the registry; try again",
            )
        return Fetched(media_type_of(answer, data, self.registry), digest, data)

    def _pages(self, path: str, what: str, lists: str = "") -> Iterator[tuple[dict[str, Any], Answer]]:
        """The JSON objects of a list that comes in pages. Only pages of the same registry are followed. Raises NotInRegistry
        where the first is none with a list `lists`: a registry without this end point may answer it by a page for people.
        """
        base = self._exchange.patiently(self._exchange.base)
        url = f"{base}{self._path}{path}"
        for number in range(_MOST_PAGES):

            def once(url: str = url, number: int = number) -> tuple[dict[str, Any], Answer]:
                answer = self._once("GET", url, {200}, f"{what} '{self.repository}'", {})
                data = small_body(answer, LARGEST_MANIFEST, self.registry)
                if lists and number == 0 and not is_list(data, lists):
                    raise NotInRegistry(f"'{self.registry}' has no {what}")
                return json_object(data, self.registry), answer

            page, answer = self._exchange.patiently(once)
            yield page, answer
            link = next_link(answer.headers.get("link"))
            if link is None:
                return
            url = self._next(url, link)
        raise RegistryError(f"'{self.registry}' has no end of pages for {what} of '{self.name}'")

    def _next(self, url: str, link: str) -> str:
        target = self._exchange.own(link, url)
        if origin(target) != origin(url) or target == url:
            raise RegistryError(f"'{self.registry}' leads elsewhere for the next page of '{self.name}'")
        return target

    def _shown(self, target: str) -> str:
        joint = "@" if ":" in target else ":"
        return f"'{self.repository}{joint}{target}'"

    def _once(
        self,
        method: str,
        path: str,
        accept: set[int],
        what: str,
        headers: Mapping[str, str],
        body: Body = None,
        scopes: tuple[str, ...] | None = None,
    ) -> Answer:
        """One attempt; the path is the repository's unless it is an address."""
        url = path if "://" in path else self._path + path
        named = what if self.repository in what else f"{what} in '{self.repository}'"
        # Where something was pushed already, the token for that serves for looking too.
        scopes = scopes or (self._writing if self._pushed else self._reading)
        return self._exchange.once(
            method,
            url,
            frozenset(accept),
            what=named,
            name=self.name,
            scopes=scopes,
            headers=headers,
            body=body,
        )

    def _ask(
        self,
        method: str,
        path: str,
        accept: set[int],
        what: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        scopes: tuple[str, ...] | None = None,
    ) -> Answer:
        """`_once`, tried again."""
        return self._exchange.patiently(
            lambda: self._once(method, path, accept, what, headers or {}, body, scopes)
        )


class _UploadRequests:
    """What an upload asks of its repository, one attempt each."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.host = repository.registry
        self.start = "/blobs/uploads/"

    def send(
        self, method: str, path: str, accept: frozenset[int], headers: Mapping[str, str], body: Body = None
    ) -> Answer:
        return self._repository._once(method, path, set(accept), "upload", headers, body)

    def has(self, digest: Digest) -> bool:
        try:
            self.send("HEAD", f"/blobs/{digest}", frozenset({200}), {}).close()
        except NotInRegistry:
            return False
        return True
