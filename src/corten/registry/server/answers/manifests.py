"""Manifests: pulling, pushing and deleting by tag and by digest (spec.md, "Pulling manifests", "Pushing Manifests")."""

from __future__ import annotations

from corten.errors import FormatError
from corten.oci.digest import Digest
from corten.registry.server.contents import Contents
from corten.registry.server.exchange import Answer, Request
from corten.registry.server.manifests import LARGEST, Contained, contained
from corten.registry.server.refusals import Refusal, digest_invalid, manifest_invalid, manifest_unknown
from corten.registry.server.repository import Repository
from corten.registry.server.routes import target_of


def pull(contents: Contents, request: Request) -> Answer:
    """GET and HEAD: the manifest's bytes as they were pushed, and as what."""
    target = target_of(request.route.last)
    repository = contents.repository(request.route.name)
    digest = target if isinstance(target, Digest) else repository.tag(target)
    if digest is None or not contents.note_need(repository.manifest_link(digest)):
        raise manifest_unknown(str(target))
    found = repository.manifest(digest)
    if found is None:
        raise manifest_unknown(str(target))
    media_type, data = found
    headers = {"Content-Type": media_type, "Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}
    if digest in request.headers.get("if-none-match", ""):
        return Answer(304, headers)
    return Answer(200, headers, data)


def push(contents: Contents, request: Request) -> Answer:
    """PUT: keep the manifest, if all that it leads to is here, and let the tag name it; by digest, the tags of the query."""
    target = target_of(request.route.last)
    data = request.body.read(LARGEST)
    if data is None:
        raise manifest_invalid(f"a manifest may have {LARGEST} bytes", 413)
    digest = Digest.of(data, target.algorithm if isinstance(target, Digest) else "sha256")
    if isinstance(target, Digest) and target != digest:
        raise digest_invalid(f"what was sent has the digest {digest}")
    tags = request.route.tags if isinstance(target, Digest) else (target,)
    try:
        found = contained(data, request.headers.get("content-type"))
    except FormatError as error:
        raise manifest_invalid(error.message) from None
    name = request.route.name
    with contents.ordered(name):
        repository = contents.repository(name)
        _require(repository, found, sparse=contents.sparse)
        contents.put_document(data, digest)
        repository.put_manifest(digest, found, len(data))
        for tag in tags:
            repository.put_tag(tag, digest)
    headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": str(digest)}
    if found.subject is not None:
        headers["OCI-Subject"] = str(found.subject)
    if tags and isinstance(target, Digest):
        headers["OCI-Tag"] = ", ".join(tags)
    return Answer(201, headers)


def _require(repository: Repository, found: Contained, *, sparse: bool) -> None:
    """Raise Refusal if the repository lacks something that a manifest leads to, which a `sparse` one may, or has it in another
    size."""
    for blob in found.blobs:
        there = repository.blob_size(blob.digest)
        if there is not None or not sparse:
            _same(there, blob.size, "blob", blob.digest)
    for child in found.manifests:
        size = repository.manifest_size(child.digest)
        # An index may also list what is not a manifest (image-index.md).
        size = repository.blob_size(child.digest) if size is None else size
        if size is not None or not sparse:
            _same(size, child.size, "manifest", child.digest)


def _same(there: int | None, said: int, what: str, digest: Digest) -> None:
    if there is None:
        raise Refusal(
            400,
            "MANIFEST_BLOB_UNKNOWN",
            f"the manifest leads to a {what} that the repository does not have",
            {"digest": digest},
        )
    if there != said:
        raise manifest_invalid(f"the manifest gives the {what} {digest} {said} bytes, and it has {there}")


def delete(contents: Contents, request: Request) -> Answer:
    """DELETE: by tag, the tag; by digest, the manifest and every tag that names it."""
    target = target_of(request.route.last)
    with contents.ordered(request.route.name):
        repository = contents.repository(request.route.name)
        if not isinstance(target, Digest):
            if not repository.delete_tag(target):
                raise manifest_unknown(target)
            return Answer(202)
        if repository.media_type(target) is None:
            raise manifest_unknown(target)
        repository.delete_manifest(target, _subject(repository, target))
    return Answer(202)


def _subject(repository: Repository, digest: Digest) -> Digest | None:
    """The subject of a manifest; none if it can be read no more, because what is damaged must be deletable."""
    try:
        found = repository.manifest(digest)
        return contained(found[1], found[0]).subject if found else None
    except FormatError:
        return None
