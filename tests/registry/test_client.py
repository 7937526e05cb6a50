"""The client against a real registry, directly and through a proxy that misbehaves."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.errors import AccessDenied, NotInRegistry, RegistryError
from corten.network.settings import NetworkSettings
from corten.oci import media
from corten.oci.digest import Digest
from corten.oci.reference import Reference
from corten.registry.client import (
    DigestMismatch,
    Interrupted,
    Patience,
    Registry,
    RegistrySettings,
    Repository,
    open_repository,
)
from corten.registry.credentials import Credential, Given
from corten.registry.failures import Unsupported
from support.embedded import serving
from support.faults import (
    Action,
    Answer,
    Corrupt,
    CutRequest,
    CutResponse,
    Drop,
    FaultProxy,
    Garbage,
    Lose,
    Redirect,
    Stall,
)
from support.registries import Protected, Secured

SIZE = 3 << 20
PIECE = 100_000

Content = Callable[[], Iterator[bytes]]


def settings(**changes: object) -> RegistrySettings:
    """Somebody without credentials who waits for nobody long."""
    network = NetworkSettings(connect=5, read=2, environment={})
    patience = Patience(attempts=3, knocks=2, pause=0.01, longest=2)
    base = RegistrySettings(network=network, credentials=Given(None), patience=patience)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def blob(seed: int, size: int = SIZE) -> bytes:
    return random.Random(seed).randbytes(size)


def streamed(data: bytes) -> Content:
    return lambda: (data[start : start + PIECE] for start in range(0, len(data), PIECE))


def known(data: bytes) -> dict[str, object]:
    return {"digest": Digest.of(data), "size": len(data)}


def pulled(repository: Repository, data: bytes) -> bytes:
    return b"".join(repository.pull_blob(Digest.of(data), len(data)))


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own."""
    return "client/" + re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:100].strip("-")


@pytest.fixture
def repository(registry: str, name: str) -> Repository:
    return Registry(registry, settings()).repository(name)


@pytest.fixture
def proxy(registry: str) -> Iterator[FaultProxy]:
    with FaultProxy(registry) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: FaultProxy, name: str) -> Repository:
    """The repository as it is seen through the proxy."""
    return Registry(proxy.address, settings()).repository(name)


def image(repository: Repository, label: str = "") -> bytes:
    """A manifest whose configuration is in the repository."""
    digest, size = repository.push_blob(lambda: iter([b"{}"]))
    document = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": {"mediaType": media.CONFIG, "digest": digest, "size": size},
        "layers": [],
        "annotations": {"label": label},
    }
    return json.dumps(document).encode()


@pytest.mark.parametrize("ahead", [True, False], ids=["digest known", "digest unknown"])
@pytest.mark.parametrize("size", [0, 1, PIECE, SIZE])
def test_what_is_pushed_can_be_pulled(repository: Repository, ahead: bool, size: int) -> None:
    data, steps = blob(size, size), []
    assert not repository.has_blob(Digest.of(data))
    told = repository.push_blob(streamed(data), **(known(data) if ahead else {}), advance=steps.append)
    assert told == (Digest.of(data), size)
    assert sum(steps) == size
    assert repository.has_blob(Digest.of(data))
    assert pulled(repository, data) == data


def test_a_small_blob_is_read_whole_and_a_large_one_refused(repository: Repository) -> None:
    digest, size = repository.push_blob(lambda: iter([b"{}"]))
    assert repository.read_blob(digest, size, 10) == b"{}"
    with pytest.raises(RegistryError, match="11 bytes"):
        repository.read_blob(digest, 11, 10)


def test_two_requests_are_enough_where_the_digest_is_known(through: Repository, proxy: FaultProxy) -> None:
    data = blob(1)
    through.push_blob(streamed(data), **known(data))
    assert [item.method for item in proxy.asked(path="/blobs/")] == ["POST", "PUT"]


def test_a_blob_is_mounted_from_another_repository(registry: str, name: str) -> None:
    here = Registry(registry, settings())
    data = blob(2, 1000)
    here.repository(f"{name}/a").push_blob(streamed(data))
    other = here.repository(f"{name}/b")
    assert other.mount_blob(Digest.of(data), f"{name}/a")
    assert other.has_blob(Digest.of(data))


def test_what_cannot_be_mounted_leaves_no_upload(through: Repository, proxy: FaultProxy) -> None:
    assert not through.mount_blob(Digest.of(b"nowhere"), "client/nothing")
    (deleted,) = proxy.asked("DELETE", "/uploads/")
    assert deleted.status == 204


@pytest.mark.parametrize("action", [Answer(500), Answer(503), Drop()], ids=str)
def test_a_mount_that_fails_becomes_an_upload(through: Repository, proxy: FaultProxy, action: Action) -> None:
    """Some registries fail at mounts alone."""
    proxy.on("POST", "mount=", action, times=None)
    assert not through.mount_blob(Digest.of(b"there"), "client/other")
    assert len(proxy.asked("POST", "mount=")) == 2


def test_manifests(repository: Repository) -> None:
    data = image(repository)
    assert repository.has_manifest("v1") is None
    assert repository.put_manifest("v1", data, media.MANIFEST) == Digest.of(data)
    assert repository.has_manifest("v1") == Digest.of(data)
    for target in ("v1", Digest.of(data)):
        fetched = repository.manifest(target)
        assert (fetched.data, fetched.media_type, fetched.digest) == (data, media.MANIFEST, Digest.of(data))
    repository.delete_manifest(Digest.of(data))
    assert repository.has_manifest("v1") is None


def test_an_absent_tag_is_named(repository: Repository) -> None:
    with pytest.raises(NotInRegistry) as caught:
        repository.manifest("nope")
    assert f"{repository.repository}:nope" in caught.value.message
    assert "404" in caught.value.message
    assert "manifest unknown" in caught.value.message
    assert "tag" in str(caught.value.hint)


def test_tags_come_in_pages(repository: Repository, proxy: FaultProxy, name: str) -> None:
    data = image(repository)
    tags = [f"v{number:02}" for number in range(7)]
    for tag in tags:
        repository.put_manifest(tag, data, media.MANIFEST)
    # The registry's own pages are larger, so the proxy hands out the first: its link is the registry's form.
    first = json.dumps({"name": name, "tags": tags[:3]}).encode()
    link = f'</v2/{name}/tags/list?last={tags[2]}&n=100>; rel="next"'
    proxy.on("GET", "/tags/list", Answer(200, {"Link": link, "Content-Type": "application/json"}, first))
    found = list(Registry(proxy.address, settings()).repository(name).tags())
    assert found[:3] == tags[:3]
    assert sorted(found[3:]) == tags  # this registry's pages are in no order and always all
    assert [f"last={tags[2]}" in item.path for item in proxy.asked("GET", "/tags/list")] == [False, True]


def test_pages_of_another_host_are_not_followed(through: Repository, proxy: FaultProxy) -> None:
    link = '<http://localhost:1/v2/x/tags/list>; rel="next"'
    proxy.on("GET", "/tags/list", Answer(200, {"Link": link}, b'{"tags": ["a"]}'))
    with pytest.raises(RegistryError, match="elsewhere"):
        list(through.tags())


def test_pages_without_end_end(through: Repository, proxy: FaultProxy) -> None:
    link = f'</v2/{through.repository}/tags/list?n=1000>; rel="next"'
    proxy.on("GET", "/tags/list", Answer(200, {"Link": link}, b'{"tags": ["a"]}'), times=None)
    with pytest.raises(RegistryError, match="elsewhere"):
        list(through.tags())


def test_referrers_by_the_tag(repository: Repository) -> None:
    subject = image(repository)
    repository.put_manifest("v1", subject, media.MANIFEST)
    assert repository.referrers(Digest.of(subject)) == ()
    other = image(repository, "signature")
    repository.put_manifest(Digest.of(other), other, media.MANIFEST)
    entry = {
        "mediaType": media.MANIFEST,
        "digest": Digest.of(other),
        "size": len(other),
        "artifactType": "x/sig",
    }
    index = json.dumps({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [entry]}).encode()
    repository.put_manifest(f"sha256-{Digest.of(subject).hex}", index, media.INDEX)
    (found,) = repository.referrers(Digest.of(subject))
    assert found.digest == Digest.of(other)
    assert repository.referrers(Digest.of(subject), "x/sig") == (found,)
    assert repository.referrers(Digest.of(subject), "x/other") == ()


def test_referrers_by_the_api(through: Repository, proxy: FaultProxy) -> None:
    entry = {"mediaType": media.MANIFEST, "digest": Digest.of(b"s"), "size": 1, "artifactType": "x/sig"}
    index = json.dumps({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [entry]}).encode()
    proxy.on("GET", "/referrers/", Answer(200, {"Content-Type": media.INDEX}, index), times=None)
    assert [item.digest for item in through.referrers(Digest.of(b"x"), "x/sig")] == [Digest.of(b"s")]
    assert through.referrers(Digest.of(b"x"), "x/other") == ()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"Content-Type": "text/html"}, b"<html>Welcome</html>"),
        Answer(200, {"Content-Type": "application/json"}, b"{}"),
        Answer(200, {"Content-Type": "application/json"}, b"[]"),
        Answer(404),
        Answer(405),
    ],
    ids=str,
)
def test_where_there_is_no_referrers_api_the_tag_counts(
    through: Repository, proxy: FaultProxy, answer: Answer
) -> None:
    subject, other = image(through), image(through, "signature")
    through.put_manifest(Digest.of(other), other, media.MANIFEST)
    entry = {"mediaType": media.MANIFEST, "digest": Digest.of(other), "size": len(other)}
    index = json.dumps({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [entry]}).encode()
    through.put_manifest(f"sha256-{Digest.of(subject).hex}", index, media.INDEX)
    proxy.on("GET", "/referrers/", answer, times=None)
    assert [item.digest for item in through.referrers(Digest.of(subject))] == [Digest.of(other)]


def test_several_link_headers_count(through: Repository, proxy: FaultProxy) -> None:
    links = (
        '</v2/elsewhere>; rel="help"',
        f'</v2/{through.repository}/tags/list?last=a>; rel="next"',
        "<x>; rel=up",
    )
    proxy.on("GET", "/tags/list", Answer(200, {"Link": links}, b'{"tags": ["a"]}'))
    proxy.on("GET", "/tags/list", Answer(200, {}, b'{"tags": ["b"]}'), nth=2)
    assert list(through.tags()) == ["a", "b"]


# Faults on the way down.


@pytest.mark.parametrize("after", [0, 1, 1_000_000])
def test_a_cut_download_goes_on_where_it_was(
    through: Repository, proxy: FaultProxy, repository: Repository, after: int
) -> None:
    data = blob(3)
    repository.push_blob(streamed(data))
    proxy.on("GET", "/blobs/", CutResponse(after=after))
    assert pulled(through, data) == data
    assert proxy.received("GET", "/blobs/") <= SIZE + after
    assert len(proxy.asked("GET", "/blobs/")) == 2


def test_many_cuts_with_progress_are_survived(
    through: Repository, proxy: FaultProxy, repository: Repository
) -> None:
    data = blob(4)
    repository.push_blob(streamed(data))
    proxy.on("GET", "/blobs/", CutResponse(after=300_000), times=8)
    assert pulled(through, data) == data


def test_cuts_without_progress_end_with_an_error(
    through: Repository, proxy: FaultProxy, repository: Repository
) -> None:
    data = blob(5)
    repository.push_blob(streamed(data))
    proxy.on("GET", "/blobs/", CutResponse(after=0), times=None)
    with pytest.raises(Interrupted, match="cut the connection"):
        pulled(through, data)
    assert len(proxy.asked("GET", "/blobs/")) == 3


def test_a_registry_that_does_not_know_range(
    through: Repository, proxy: FaultProxy, repository: Repository
) -> None:
    data = blob(6)
    repository.push_blob(streamed(data))
    proxy.on("GET", "/blobs/", CutResponse(after=1_000_000))
    proxy.on("GET", "/blobs/", Answer(200, {}, data), nth=2)
    assert pulled(through, data) == data


def test_a_registry_that_does_not_know_range_and_has_changed_its_mind(
    through: Repository, proxy: FaultProxy, repository: Repository
) -> None:
    data = blob(7)
    repository.push_blob(streamed(data))
    proxy.on("GET", "/blobs/", CutResponse(after=1_000_000))
    proxy.on("GET", "/blobs/", Answer(200, {}, blob(8)), nth=2)
    with pytest.raises(DigestMismatch):
        pulled(through, data)


@pytest.mark.parametrize("at", [0, 1_500_000, SIZE - 1])
def test_a_changed_byte_is_noticed(
    through: Repository, proxy: FaultProxy, repository: Repository, at: int
) -> None:
    data = blob(9)
    repository.push_blob(streamed(data))
    proxy.on("GET", "/blobs/", Corrupt(at))
    with pytest.raises(DigestMismatch, match=str(Digest.of(data))):
        pulled(through, data)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_blob_of_another_size_is_refused(
    through: Repository, proxy: FaultProxy, repository: Repository, change: int
) -> None:
    data = blob(10)
    repository.push_blob(streamed(data))
    with pytest.raises(DigestMismatch, match="than"):
        list(repository.pull_blob(Digest.of(data), SIZE + change))


def test_a_silent_registry_counts_as_cut(
    through: Repository, proxy: FaultProxy, repository: Repository
) -> None:
    data = blob(11)
    repository.push_blob(streamed(data))
    proxy.on("GET", "/blobs/", Stall(1_000_000, 10))
    assert pulled(through, data) == data


@pytest.mark.parametrize(
    "action", [Answer(503), Answer(429, {"Retry-After": "1"}), Answer(500), Drop(), Garbage()], ids=str
)
def test_what_passes_is_tried_again(
    through: Repository, proxy: FaultProxy, repository: Repository, action: object
) -> None:
    data = blob(12, 1000)
    manifest = image(repository)
    repository.push_blob(streamed(data))
    for method, path in (("GET", "/blobs/"), ("HEAD", "/blobs/"), ("*", "/uploads/"), ("*", "/manifests/")):
        proxy.on(method, path, action)  # type: ignore[arg-type]
    assert through.has_blob(Digest.of(data))
    assert pulled(through, data) == data
    through.push_blob(streamed(blob(13, 1000)))
    through.put_manifest("v1", manifest, media.MANIFEST)
    assert through.manifest("v1").data == manifest


def test_a_registry_that_wants_a_long_pause_is_not_waited_for(through: Repository, proxy: FaultProxy) -> None:
    proxy.on("*", "/manifests/", Answer(429, {"Retry-After": "7200"}), times=None)
    with pytest.raises(Interrupted) as caught:
        through.manifest("v1")
    assert "429" in caught.value.message
    assert "limits requests: try again after" in str(caught.value.hint)
    assert len(proxy.asked(path="/manifests/")) == 1


def test_a_changed_manifest_is_noticed(
    through: Repository, proxy: FaultProxy, repository: Repository
) -> None:
    data = image(repository)
    digest = repository.put_manifest("v1", data, media.MANIFEST)
    proxy.on("GET", "/manifests/", Corrupt(20), times=None)
    for target in ("v1", digest):  # the tag by what the registry tells, the digest by itself
        with pytest.raises(DigestMismatch):
            through.manifest(target)


def test_a_huge_manifest_is_refused(through: Repository, proxy: FaultProxy) -> None:
    proxy.on("GET", "/manifests/", Answer(200, {"Content-Type": media.MANIFEST}, b" " * (5 << 20)))
    with pytest.raises(RegistryError, match="4194304"):
        through.manifest("v1")


def test_a_manifest_that_is_two_things_is_refused(through: Repository, proxy: FaultProxy) -> None:
    body = json.dumps({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": []}).encode()
    proxy.on("GET", "/manifests/", Answer(200, {"Content-Type": media.MANIFEST}, body))
    with pytest.raises(RegistryError, match="calls itself"):
        through.manifest("v1")


# Faults on the way up.


@pytest.mark.parametrize("ahead", [True, False], ids=["digest known", "digest unknown"])
@pytest.mark.parametrize("after", [0, 1, 2_000_000])
def test_a_cut_upload_arrives(through: Repository, proxy: FaultProxy, ahead: bool, after: int) -> None:
    data, steps = blob(14), []
    proxy.on("PUT" if ahead else "PATCH", "/uploads/", CutRequest(after=after))
    through.push_blob(streamed(data), **(known(data) if ahead else {}), advance=steps.append)
    assert sum(steps) == SIZE
    assert pulled(through, data) == data


@pytest.mark.parametrize("ahead", [True, False], ids=["digest known", "digest unknown"])
def test_an_upload_goes_on_where_the_registry_is(tmp_path: Path, ahead: bool) -> None:
    """Against our own registry: Debian's gives up an upload that was cut."""
    data = blob(24)
    with serving(tmp_path) as own, FaultProxy(own.address) as proxy:
        through = Registry(proxy.address, settings()).repository("a/b")
        proxy.on("PUT" if ahead else "PATCH", "/uploads/", CutRequest(after=2_000_000))
        through.push_blob(streamed(data), **(known(data) if ahead else {}))
        later = [item for item in proxy.asked("PUT|PATCH", "/uploads/") if "content-range" in item.headers]
        assert later  # where it got to when it was asked is its own matter, as long as it is not the start
        assert len(proxy.asked("POST", "/uploads/")) == 1
        assert pulled(through, data) == data


def test_an_upload_whose_answer_is_lost_is_not_sent_again(through: Repository, proxy: FaultProxy) -> None:
    data = blob(15)
    proxy.on("PUT", "/uploads/", Lose())
    through.push_blob(streamed(data), **known(data))
    assert proxy.sent("PUT", "/uploads/") == SIZE
    assert pulled(through, data) == data


def test_a_stream_whose_answer_is_lost_is_not_sent_again(through: Repository, proxy: FaultProxy) -> None:
    data = blob(16)
    proxy.on("PUT", "/uploads/", Lose())
    through.push_blob(streamed(data))
    assert proxy.sent("PATCH", "/uploads/") == SIZE


def test_a_byte_damaged_on_its_way_up_is_sent_again(through: Repository, proxy: FaultProxy) -> None:
    data = blob(17)
    proxy.on("PUT", "/uploads/", Corrupt(1000, sent=True))
    through.push_blob(streamed(data), **known(data))
    assert pulled(through, data) == data


def test_content_that_is_not_what_it_is_said_to_be(repository: Repository) -> None:
    with pytest.raises(RegistryError, match="digest"):
        repository.push_blob(streamed(blob(18)), **known(blob(19)))
    with pytest.raises(RegistryError, match="instead of"):
        repository.push_blob(streamed(blob(18)), digest=Digest.of(blob(18)), size=SIZE + 1)
    with pytest.raises(RegistryError, match="more than"):
        repository.push_blob(streamed(blob(18)), digest=Digest.of(blob(18)), size=SIZE - 1)


@pytest.mark.parametrize("ahead", [True, False], ids=["digest known", "digest unknown"])
def test_an_upload_that_is_too_large_goes_in_pieces(
    through: Repository, proxy: FaultProxy, ahead: bool
) -> None:
    data = blob(20, 40 << 20)
    proxy.on("PUT" if ahead else "PATCH", "/uploads/", Answer(413, early=True))
    through.push_blob(streamed(data), **(known(data) if ahead else {}))
    pieces = [item.sent for item in proxy.asked("PATCH", "/uploads/") if item.status == 202]
    assert pieces == [16 << 20, 16 << 20, 8 << 20]
    assert pulled(through, data) == data


@pytest.mark.parametrize(
    ("why", "kind", "hint"),
    [("push", AccessDenied, "login"), ("quota", Unsupported, "space for this is used up")],
)
def test_an_upload_that_is_refused_is_reported_as_that_and_cancelled(
    through: Repository, proxy: FaultProxy, why: str, kind: type[RegistryError], hint: str
) -> None:
    body = b'{"errors": [{"code": "DENIED", "message": "%b\\u001b[31m refused\\n"}]}' % why.encode()
    proxy.on("PUT", "/uploads/", Answer(403, {"Content-Type": "application/json"}, body, early=True))
    data = blob(21, 20 << 20)
    with pytest.raises(kind) as caught:
        through.push_blob(streamed(data), **known(data))
    assert f"{why} [31m refused" in caught.value.message
    assert hint in str(caught.value.hint)
    assert proxy.asked("DELETE", "/uploads/")


def test_errors_of_the_content_are_its_own_and_the_upload_is_cancelled(
    through: Repository, proxy: FaultProxy
) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 1000
        raise OSError("the disk is broken")

    with pytest.raises(OSError, match="the disk is broken"):
        through.push_blob(broken)
    assert proxy.asked("DELETE", "/uploads/")


# Where the registry is, and whether it can be trusted.


def trusting(registry: Secured, **changes: object) -> RegistrySettings:
    network = NetworkSettings(certificates=registry.ca, environment={}, read=5)
    return settings(network=network, **changes)


def test_https_with_an_authority_of_ones_own(registry_with_tls: Secured, tmp_path: Path) -> None:
    address = registry_with_tls.address
    Registry(address, trusting(registry_with_tls)).check()
    with pytest.raises(RegistryError, match="not trusted") as caught:
        Registry(address, settings()).check()
    assert f"certs.d/{address}/ca.crt" in str(caught.value.hint)
    Registry(address, settings(insecure=True)).check()
    # What docker and podman look for.
    (tmp_path / address).mkdir()
    (tmp_path / address / "ca.crt").write_bytes(registry_with_tls.ca.read_bytes())
    network = NetworkSettings(host_certificates=(tmp_path,), environment={})
    repository = open_repository(Reference.parse(f"{address}/x"), settings(network=network))
    data = blob(22)
    repository.push_blob(streamed(data))
    assert pulled(repository, data) == data


def test_a_certificate_for_another_host(registry_with_wrong_host: Secured) -> None:
    with pytest.raises(RegistryError, match="not trusted") as caught:
        Registry(registry_with_wrong_host.address, trusting(registry_with_wrong_host)).check()
    assert "another name" in str(caught.value.hint)


def test_a_certificate_that_has_ended(registry_with_expired_certificate: Secured) -> None:
    with pytest.raises(RegistryError, match="expired") as caught:
        Registry(
            registry_with_expired_certificate.address, trusting(registry_with_expired_certificate)
        ).check()
    assert "clock says" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "quota exceeded for project team"),
        (412, "adding 3 MiB of storage resource, which will exceed the configured upper limit of 1 MiB"),
        (400, "Storage limit reached"),
        (507, ""),
    ],
)
def test_a_registry_without_room_says_so_at_once(
    through: Repository, proxy: FaultProxy, status: int, words: str
) -> None:
    """And not that the login may not do this."""
    body = json.dumps({"errors": [{"code": "DENIED", "message": words}]}).encode()
    proxy.on("PUT", "/manifests/", Answer(status, {"Content-Type": "application/json"}, body), times=None)
    with pytest.raises(RegistryError) as caught:
        through.put_manifest("v1", b"{}", media.MANIFEST)
    assert "space for this is used up" in str(caught.value.hint)
    assert len(proxy.asked("PUT")) == 1


def test_a_limit_of_requests_is_no_lack_of_room(through: Repository, proxy: FaultProxy) -> None:
    body = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "Quota exceeded for requests per minute"}]}'
    proxy.on("PUT", "/manifests/", Answer(429, {}, body), times=None)
    with pytest.raises(Interrupted, match="429"):
        through.put_manifest("v1", b"{}", media.MANIFEST)


def test_an_address_that_is_absent_is_no_thing_that_is_absent(through: Repository, proxy: FaultProxy) -> None:
    proxy.on("POST", "/uploads/", Answer(404), times=None)
    with pytest.raises(NotInRegistry, match=r"answered 404 for upload in"):
        through.push_blob(streamed(b"x"))


def test_a_proxy_s_refusal_is_no_missing_login(through: Repository, proxy: FaultProxy) -> None:
    proxy.on("GET", "/manifests/", Answer(407), times=None)
    with pytest.raises(RegistryError, match=r"proxy for .* wants credentials") as caught:
        through.manifest("v1")
    assert "HTTPS_PROXY" in str(caught.value.hint)


def test_a_registry_that_is_down() -> None:
    with pytest.raises(Interrupted, match="down"):
        Registry("127.0.0.1:9", settings()).check()


def test_plain_http_is_for_this_machine_alone() -> None:
    """No request is made: what would be spoken is decided by the name."""
    assert Registry("registry.example", settings()).exchange.base() == "https://registry.example"
    assert Registry("127.0.0.1.example", settings()).exchange.base() == "https://127.0.0.1.example"


def test_a_proxy_is_not_asked_for_this_machine(registry: str) -> None:
    proxies = {
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "no_proxy": "other.example",
    }
    Registry(registry, settings(network=NetworkSettings(environment=proxies, connect=2))).check()
    with pytest.raises(RegistryError, match="the proxy for"):
        Registry(
            "registry.example", settings(network=NetworkSettings(environment=proxies, connect=2))
        ).check()


def test_a_redirect_takes_no_credentials_along(
    registry_with_login: Protected, registry: str, name: str, repository: Repository
) -> None:
    data = blob(23)
    repository.push_blob(streamed(data))
    protected = registry_with_login.address
    user, password = registry_with_login.user, registry_with_login.password
    with FaultProxy(registry) as store, FaultProxy(protected) as front:
        target = f"http://localhost:{store.address.partition(':')[2]}/v2/{name}/blobs/{Digest.of(data)}"
        front.on("GET", "/blobs/", Answer(307, {"Location": target}), times=None)
        mine = settings(credentials=Given(Credential(user, password)))
        assert pulled(Registry(front.address, mine).repository(name), data) == data
        (asked,) = store.asked("GET", "/blobs/")
        assert "authorization" not in {key.lower() for key in asked.headers}
        assert any("authorization" in {key.lower() for key in item.headers} for item in front.log)


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("ahead", [True, False])
def test_an_upload_follows_a_redirect_that_keeps_its_method_and_body(
    through: Repository, proxy: FaultProxy, registry: str, status: int, ahead: bool
) -> None:
    """Of the registry itself, and to another host, which gets the body too."""
    with FaultProxy(registry) as store:
        moved = f"/v2/{through.repository}/blobs/uploads/?again"
        proxy.on("POST", "/uploads/$", Answer(status, {"Location": moved}), times=None)
        proxy.on("PUT|PATCH", "/uploads/", Redirect(status, store.address), times=None)
        data = blob(31, 300_000)
        through.push_blob(streamed(data), **(known(data) if ahead else {}))
        assert pulled(through, data) == data
        assert store.sent("PUT|PATCH") == len(data)


def test_a_redirect_within_the_registry_keeps_the_login(registry_with_login: Protected, name: str) -> None:
    user, password = registry_with_login.user, registry_with_login.password
    with FaultProxy(registry_with_login.address) as front:
        mine = settings(credentials=Given(Credential(user, password)))
        data = blob(24, 1000)
        Registry(front.address, mine).repository(name).push_blob(streamed(data))
        front.on(
            "GET", "/alias/", Answer(302, {"Location": f"/v2/{name}/blobs/{Digest.of(data)}"}), times=None
        )
        front.on("PUT", "/alias/", Answer(307, {"Location": f"/v2/{name}/manifests/1"}), times=None)
        alias = Registry(front.address, mine).repository("alias/a")
        assert pulled(alias, data) == data
        assert alias.put_manifest("1", image(Registry(front.address, mine).repository(name)), media.MANIFEST)
