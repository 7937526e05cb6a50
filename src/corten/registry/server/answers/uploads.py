"""Uploads: pushing blobs in one piece, streamed or in chunks, and mounting them (spec.md, "Pushing blobs")."""

from __future__ import annotations

import re

from corten.oci.digest import ALGORITHMS, Digest
from corten.registry.server.contents import Contents
from corten.registry.server.exchange import Answer, Request
from corten.registry.server.refusals import (
    Refusal,
    digest_invalid,
    out_of_order,
    upload_range,
    upload_unknown,
)
from corten.registry.server.routes import digest_of, repository_name
from corten.registry.server.uploads import Upload, Uploads

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?")


def begin(contents: Contents, uploads: Uploads, request: Request) -> Answer:
    """POST: a mount if it is asked for and possible, a whole blob with `?digest=`, else the address of a new upload."""
    name, query = request.route.name, request.route.query
    if "mount" in query:
        digest = digest_of(query["mount"])
        source = query.get("from")
        if _mount(contents, digest, None if source is None else repository_name(source), name):
            return _created(name, digest)
    elif "digest" in query:
        digest = digest_of(query["digest"])
        upload = uploads.begin(name, digest.algorithm)
        uploads.hold(upload)
        try:
            upload.append(request.body.readinto)
            uploads.finish(upload, digest)
        except BaseException:
            # The client does not know this upload's address, so it can never go on with it.
            uploads.cancel(upload)
            raise
        finally:
            uploads.release(upload)
        return _created(name, digest)
    algorithm = query.get("digest-algorithm", "sha256")
    if algorithm not in ALGORITHMS:
        raise digest_invalid("this registry knows sha256 and sha512 digests only")
    return Answer(202, _state(uploads.begin(name, algorithm)))


def _mount(contents: Contents, digest: Digest, source: str | None, name: str) -> bool:
    """Take the blob over from the repository `source`, or from whichever has it (spec.md, "Mounting a blob from another
    repository"): whoever may ask here may read them all. Returns whether that could be done."""
    with contents.changing():
        sources = contents.names() if source is None else (source,)
        if not any(contents.repository(other).blob_size(digest) is not None for other in sources):
            return False
        contents.repository(name).link_blob(digest)
    return True


def state(uploads: Uploads, request: Request) -> Answer:
    """GET: how much has arrived."""
    return Answer(204, _state(uploads.find(request.route.name, request.route.last)))


def append(uploads: Uploads, request: Request) -> Answer:
    """PATCH: a chunk, or a stream without a `Content-Range`."""
    upload = uploads.find(request.route.name, request.route.last)
    uploads.hold(upload)
    try:
        _receive(upload, request)
    except FileNotFoundError:
        # Garbage was collected meanwhile, and it had lain there for a day.
        uploads.cancel(upload)
        raise upload_unknown() from None
    except OSError:
        uploads.cancel(upload)
        raise
    finally:
        uploads.release(upload)
    return Answer(202, _state(upload))


def finish(uploads: Uploads, request: Request) -> Answer:
    """PUT: what is left of the blob, and its digest."""
    upload = uploads.find(request.route.name, request.route.last)
    if "digest" not in request.route.query:
        raise digest_invalid("an upload is finished with '?digest='")
    digest = digest_of(request.route.query["digest"])
    uploads.hold(upload)
    try:
        upload.expect(digest.algorithm)
        _receive(upload, request)
        uploads.finish(upload, digest)
    except FileNotFoundError:
        # Garbage was collected meanwhile, and it had lain there for a day.
        uploads.cancel(upload)
        raise upload_unknown() from None
    except OSError:
        uploads.cancel(upload)
        raise
    finally:
        uploads.release(upload)
    return _created(upload.repository, digest)


def cancel(uploads: Uploads, request: Request) -> Answer:
    """DELETE: throw what has arrived away."""
    upload = uploads.find(request.route.name, request.route.last)
    uploads.hold(upload)
    try:
        uploads.cancel(upload)
    finally:
        uploads.release(upload)
    return Answer(204)


def _receive(upload: Upload, request: Request) -> None:
    """Append the body, if it begins where the upload stands and is as long as it says."""
    given = request.headers.get("content-range")
    if given is not None:
        found = _CONTENT_RANGE.fullmatch(given)
        if not found:
            raise Refusal(400, "SIZE_INVALID", "the Content-Range cannot be read")
        first, last = int(found[1]), int(found[2])
        if first != upload.offset:
            raise out_of_order(upload.offset, upload.location)
        if request.body.length is not None and request.body.length != last - first + 1:
            raise Refusal(400, "SIZE_INVALID", "Content-Range and Content-Length do not agree")
    if not request.body.ended:
        upload.append(request.body.readinto)


def _state(upload: Upload) -> dict[str, str]:
    return {
        "Location": upload.location,
        "Range": upload_range(upload.offset),
        "Docker-Upload-UUID": upload.identity,
    }


def _created(name: str, digest: str) -> Answer:
    return Answer(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})
