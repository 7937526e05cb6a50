"""From one registry to another: everything that a reference leads to, byte for byte, so that every digest stays.

Blobs are streamed through, or mounted where both sides are one registry; nothing is kept on this machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from corten.errors import FormatError, UsageError
from corten.events import Note, Observer, TaskFinished, TaskStarted
from corten.oci import media
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.registry.client import Fetched, Registries, RegistrySettings, Repository
from corten.registry.manifests import referrers_tag
from corten.registry.progress import Progress
from corten.registry.referrers import put_referrer, subject_of
from corten.registry.remote import find_image
from corten.registry.together import Together
from corten.values import dataclass

TRANSFERS = 6
"""Blobs that are copied at a time. Nothing is computed but digests."""

_MOST_DOCUMENTS = 1000
_DEEPEST = 8
_COSIGN = ("sig", "att", "sbom")
"""How cosign's tags end, `sha256-DIGITS.sig`: signatures, attestations and SBOMs where they are no referrers."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did. `digest` is what both references lead to; `sent` counts the bytes of the blobs that were streamed;
    `blobs` how every blob got there."""

    digest: Digest
    sent: int
    blobs: dict[str, int]


def copy(
    source: Reference,
    target: Reference,
    platforms: Sequence[Platform] | None,
    settings: RegistrySettings,
    observe: Observer,
    *,
    referrers: bool = False,
) -> Copied:
    """Copy the image, index or artifact at `source` to `target`: the whole of it, or with `platforms` the manifest of the
    one platform that is named. With `referrers` also what refers to it (signatures, SBOMs): by the API, by the tag that stands
    in for it, and by cosign's own tags. The target leads to it when
    all of it is there. Raises RegistryError, FormatError, UsageError."""
    if target.digest is not None:
        raise UsageError(f"'{target}' names a digest, which a copy keeps anyway", hint="name a tag")
    registries = Registries(settings)
    work = _Copy(registries.repository(source), registries.repository(target).for_pushing(), observe)
    wanted = source.target
    if platforms is not None:
        if len(platforms) != 1:
            raise UsageError("a copy takes one platform, or all of them", hint="leave --platform out for all")
        wanted = find_image(work.source, source.target, platforms[0]).digest
    root = work.source.manifest(wanted)
    documents, blobs = work.reach(root, referrers)
    work.blobs(blobs)
    later: list[Fetched] = []
    for document in documents:
        if document.digest == root.digest:
            continue
        if subject_of(document.data) is not None:
            later.append(document)
        else:
            work.target.put_manifest(document.digest, document.data, document.media_type)
    digest = work.target.put_manifest(target.target, root.data, root.media_type, root.digest.algorithm)
    if digest != root.digest:
        note = f"'{target.registry}' gives tags to sha256 digests alone: '{target}' is '{digest}' there"
        observe(Note(note))
    for document in later:
        put_referrer(work.target, document.data, document.media_type, document.digest)
    for tag, document in work.tagged.items():
        work.target.put_manifest(tag, document.data, document.media_type, document.digest.algorithm)
    return Copied(digest, work.sent, work.ways)


class _Copy:
    """One copy between two repositories."""

    def __init__(self, source: Repository, target: Repository, observe: Observer) -> None:
        self.source, self.target, self.observe = source, target, observe
        self.sent = 0
        self.ways = {"sent": 0, "mounted": 0, "there": 0}
        self.tagged: dict[str, Fetched] = {}
        """Documents that belong to others by their tags alone."""
        self._guard = threading.Lock()

    def reach(self, root: Fetched, referrers: bool) -> tuple[list[Fetched], list[Descriptor]]:
        """The documents that `root` leads to, what they need before them, and their blobs."""
        documents: list[Fetched] = []
        blobs: dict[Digest, Descriptor] = {}
        seen: set[Digest] = set()

        def visit(fetched: Fetched, depth: int = 0) -> None:
            if fetched.digest in seen:
                return
            seen.add(fetched.digest)
            if depth > _DEEPEST:
                raise FormatError(f"the manifests of '{self.source.name}' lie too deep in each other")
            if len(seen) > _MOST_DOCUMENTS:
                raise FormatError(f"'{self.source.name}' leads to more than {_MOST_DOCUMENTS} manifests")
            if fetched.media_type in media.INDEXES:
                for item in Index.decode(fetched.data).manifests:
                    if item.digest not in seen:
                        visit(self.source.manifest(item.digest), depth + 1)
            elif fetched.media_type in media.MANIFESTS:
                manifest = Manifest.decode(fetched.data)
                for blob in (manifest.config, *manifest.layers):
                    if media.is_elsewhere(blob.media_type):
                        self.observe(Note(f"left out: the layer '{blob.digest.short}' is not distributed"))
                    else:
                        blobs[blob.digest] = blob
            else:
                raise FormatError(
                    f"'{self.source.name}' has something of the type '{fetched.media_type[:80]}' there, which is not an image"
                )
            documents.append(fetched)
            if referrers:
                for item in self.source.referrers(fetched.digest):
                    if item.digest not in seen:
                        visit(self.source.manifest(item.digest), depth + 1)
                for ending in _COSIGN:
                    tag = f"{referrers_tag(fetched.digest)}.{ending}"
                    # Nothing is signed by the tag of a signature.
                    if depth < _DEEPEST and self.source.has_manifest(tag) is not None:
                        self.tagged[tag] = found = self.source.manifest(tag)
                        visit(found, _DEEPEST)

        visit(root)
        return documents, list(blobs.values())

    def blobs(self, blobs: Sequence[Descriptor]) -> None:
        """Bring `blobs` over, several at a time, the largest first."""
        together = Together(TRANSFERS)
        ordered = sorted(blobs, key=lambda blob: -blob.size)
        together.run(self._job(blob, together) for blob in ordered)

    def _job(self, blob: Descriptor, together: Together) -> Callable[[], None]:
        return lambda: self._blob(blob, together)

    def _blob(self, blob: Descriptor, together: Together) -> None:
        together.check()
        # A mount says at once that the blob is there.
        same = self.source.registry == self.target.registry and self.source.name != self.target.name
        if same and self.target.mount_blob(blob.digest, self.source.repository):
            return self._count("mounted", 0)
        if self.target.has_blob(blob.digest):
            return self._count("there", 0)
        name = blob.digest.short
        self.observe(TaskStarted("copy", name, blob.size))
        progress = Progress(self.observe, "copy", name)

        def content() -> Iterator[bytes]:
            return together.watched(self.source.pull_blob(blob.digest, blob.size), progress.of_attempt())

        self.target.push_blob(content, digest=blob.digest, size=blob.size)
        self.observe(TaskFinished("copy", name))
        return self._count("sent", blob.size)

    def _count(self, way: str, size: int) -> None:
        with self._guard:
            self.ways[way] += 1
            self.sent += size
