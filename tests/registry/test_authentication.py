"""Basic authentication and tokens, against a real registry that checks them."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from corten.errors import AccessDenied, RegistryError
from corten.network.connection import Connections
from corten.network.settings import NetworkSettings
from corten.oci.digest import Digest
from corten.registry.authentication import Authenticator
from corten.registry.client import Patience, Registry, RegistrySettings
from corten.registry.credentials import Credential, Given
from support.faults import Answer, FaultProxy
from support.registries import READER, READER_PASSWORD, Protected, Tokened

NETWORK = NetworkSettings(connect=5, read=5, environment={})
PATIENCE = Patience(attempts=2, knocks=2, pause=0.01)


def settings(user: str = "", password: str = "", **tokens: str) -> RegistrySettings:
    credential = Credential(user, password, **tokens) if user or tokens else None
    return RegistrySettings(NETWORK, Given(credential), patience=PATIENCE)


def put(registry: Registry, repository: str, data: bytes) -> Digest:
    return registry.repository(repository).push_blob(lambda: iter([data]))[0]


def test_basic(registry_with_login: Protected) -> None:
    known = Registry(
        registry_with_login.address, settings(registry_with_login.user, registry_with_login.password)
    )
    known.check()
    digest = put(known, "a/b", b"basic")
    assert known.repository("a/b").read_blob(digest, 5, 5) == b"basic"


def test_without_credentials_a_login_is_proposed(registry_with_login: Protected) -> None:
    address = registry_with_login.address
    with pytest.raises(AccessDenied) as caught:
        put(Registry(address, settings()), "a/b", b"basic")
    assert "401" in caught.value.message
    assert f"corten login {address}" in str(caught.value.hint)


def test_wrong_credentials_are_told_without_the_password(registry_with_login: Protected) -> None:
    with pytest.raises(AccessDenied) as caught:
        Registry(registry_with_login.address, settings("somebody", "wrong-secret")).check()
    assert "somebody" in str(caught.value.hint)
    assert "wrong-secret" not in caught.value.message + str(caught.value.hint)


@pytest.fixture
def tokened(registry_with_token: Tokened) -> Tokened:
    """The registry, with what its token server was asked for forgotten."""
    registry_with_token.tokens.asked.clear()
    return registry_with_token


@pytest.fixture
def known(tokened: Tokened) -> Registry:
    return Registry(tokened.address, settings(tokened.user, tokened.password))


def test_tokens_are_asked_for_once_for_every_scope(tokened: Tokened, known: Registry) -> None:
    digest = put(known, "a/b", b"token")
    repository = known.repository("a/b")
    assert repository.has_blob(digest)
    assert repository.read_blob(digest, 5, 5) == b"token"
    assert [(item.grant, item.scopes) for item in tokened.tokens.asked] == [
        ("basic", ("repository:a/b:pull,push",))
    ]


def test_threads_share_a_token(tokened: Tokened, known: Registry) -> None:
    put(known, "a/shared", b"token")
    reader = Registry(tokened.address, settings(tokened.user, tokened.password)).repository("a/shared")
    tokened.tokens.asked.clear()
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(reader.has_blob(Digest.of(b"token")))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8
    assert len(tokened.tokens.asked) == 1


def test_anonymous_pulls_what_is_public(tokened: Tokened, known: Registry) -> None:
    digest = put(known, "public/a", b"public")
    tokened.tokens.asked.clear()
    anonymous = Registry(tokened.address, settings())
    assert anonymous.repository("public/a").read_blob(digest, 6, 6) == b"public"
    assert [item.grant for item in tokened.tokens.asked] == ["anonymous"]
    with pytest.raises(AccessDenied) as caught:
        anonymous.repository("private/a").manifest("v1")
    assert f"corten login {tokened.address}" in str(caught.value.hint)


def test_who_may_not_push_is_told_so(tokened: Tokened) -> None:
    reader = Registry(tokened.address, settings(READER, READER_PASSWORD))
    reader.check()
    with pytest.raises(AccessDenied) as caught:
        put(reader, "a/b", b"nothing")
    assert READER in str(caught.value.hint)
    assert READER_PASSWORD not in caught.value.message + str(caught.value.hint)


def test_a_wrong_password_at_the_token_server(tokened: Tokened) -> None:
    with pytest.raises(AccessDenied) as caught:
        Registry(tokened.address, settings(tokened.user, "wrong-secret")).check()
    assert "does not accept these credentials" in caught.value.message
    assert "wrong-secret" not in caught.value.message + str(caught.value.hint)


def test_an_identity_token_is_exchanged(tokened: Tokened) -> None:
    tokened.tokens.refresh_tokens["an identity+&="] = tokened.user
    known = Registry(tokened.address, settings(identity_token="an identity+&="))
    put(known, "a/b", b"identity")
    assert [(item.method, item.grant) for item in tokened.tokens.asked] == [("POST", "refresh_token")]


def test_a_registry_token_is_used_as_it_is(tokened: Tokened) -> None:
    scopes = ("repository:a/c:pull,push",)
    token = tokened.tokens.sign(tokened.user, tokened.tokens.granted(tokened.user, scopes))
    put(Registry(tokened.address, settings(registry_token=token)), "a/c", b"bearer")
    assert tokened.tokens.asked == []


def test_a_mount_asks_for_both_repositories(tokened: Tokened, known: Registry) -> None:
    digest = put(known, "source/a", b"mounted")
    tokened.tokens.asked.clear()
    target = known.repository("target/a")
    assert target.mount_blob(digest, "source/a")
    assert target.has_blob(digest)
    put(known, "target/a", b"pushed with the same token")
    (asked,) = tokened.tokens.asked
    assert asked.scopes == ("repository:target/a:pull,push", "repository:source/a:pull")


def test_a_source_that_may_not_be_read_is_no_error(tokened: Tokened, known: Registry) -> None:
    put(known, "secret/a", b"secret")
    tokened.tokens.users["guest"] = dataclasses.replace(
        tokened.tokens.users[READER], password="g", rights={"guest/*": ("pull", "push")}
    )
    guest = Registry(tokened.address, settings("guest", "g")).repository("guest/a")
    assert not guest.mount_blob(Digest.of(b"secret"), "secret/a")


def test_a_token_that_has_ended_is_renewed(tokened: Tokened, known: Registry) -> None:
    """The registry refuses it, though it should have lasted: a clock is wrong, or a key was changed."""
    with FaultProxy(tokened.address) as proxy:
        through = Registry(proxy.address, settings(tokened.user, tokened.password))
        repository = through.repository("a/renewed")
        digest = put(through, "a/renewed", b"renewed")
        tokened.tokens.asked.clear()
        challenge = (
            f'Bearer realm="{tokened.tokens.url}",service="registry of the tests",error="invalid_token"'
        )
        proxy.on("HEAD", "/blobs/", Answer(401, {"WWW-Authenticate": challenge}))
        assert repository.has_blob(digest)
        assert len(tokened.tokens.asked) == 1
        # In the middle of an upload, with a body that has to be sent again.
        proxy.on("PUT", "/uploads/", Answer(401, {"WWW-Authenticate": challenge}))
        proxy.on("PATCH", "/uploads/", Answer(401, {"WWW-Authenticate": challenge}, early=True))
        assert put(through, "a/renewed", b"again" * 1_000_000) == Digest.of(b"again" * 1_000_000)
        # What is refused for good is asked for once more only.
        proxy.on("HEAD", "/blobs/", Answer(401, {"WWW-Authenticate": challenge}), times=None)
        before = len(proxy.asked("HEAD"))
        with pytest.raises(AccessDenied):
            repository.has_blob(Digest.of(b"other"))
        assert len(proxy.asked("HEAD")) - before == 2


def test_of_several_challenge_headers_the_bearer_s_counts(tokened: Tokened) -> None:
    """It counted only when it came last."""
    bearer = f'Bearer realm="{tokened.tokens.url}",service="registry of the tests"'
    with FaultProxy(tokened.address) as proxy:
        for lines in ((bearer, 'Basic realm="x"'), ('Basic realm="x"', bearer)):
            proxy.clear()
            proxy.on("GET", "/v2/$", Answer(401, {"WWW-Authenticate": lines}), times=2)
            Registry(proxy.address, settings(tokened.user, tokened.password)).check()


def test_a_redirect_to_a_registry_that_wants_an_anonymous_token(
    registry: str, tokened: Tokened, known: Registry
) -> None:
    """The login of the first one stays behind; the token is for what the other one's challenge says."""
    first, second = put(known, "public/moved", b"moved"), put(known, "public/moved", b"other")
    tokened.tokens.asked.clear()
    with FaultProxy(registry) as front, FaultProxy(tokened.address) as other:
        host = f"localhost:{other.address.partition(':')[2]}"
        for digest in (first, second):
            target = f"http://{host}/v2/public/moved/blobs/{digest}"
            front.on("GET", f"/blobs/{digest}", Answer(307, {"Location": target}), times=None)
        repository = Registry(front.address, settings("user", "secret-of-the-first")).repository("alias")
        assert repository.read_blob(first, 5, 5) == b"moved"
        assert repository.read_blob(second, 5, 5) == b"other"
        assert [(item.grant, item.scopes) for item in tokened.tokens.asked] == [
            ("anonymous", ("repository:public/moved:pull",))
        ]
        assert len(other.asked("GET", "/blobs/")) == 3
        sent = [item.headers.get("authorization", "") for item in other.log]
        assert not [text for text in sent if text.startswith("Basic")]


@pytest.mark.parametrize(
    "answer",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"token": 5}',
        b'{"token": "a\\r\\nX-Injected: 1"}',
        b'{"token": ""}',
        b"{" * 2_000_000,
    ],
)
def test_a_token_server_that_answers_nonsense(registry: str, answer: bytes) -> None:
    with FaultProxy(registry) as proxy:
        realm = f"http://{proxy.address}/token"
        proxy.on("GET", "/v2/", Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}), times=None)
        proxy.on("GET", "/token", Answer(200, {}, answer), times=None)
        with pytest.raises(RegistryError, match=r"token|bytes"):
            Registry(proxy.address, settings()).check()


class _Said:
    """An answer 401 that names a token server."""

    def __init__(self, realm: str) -> None:
        self.status, self.reason, self.url = 401, "", ""
        self.headers = {"www-authenticate": f'Bearer realm="{realm}",service="s"'}

    def read1(self, size: int) -> bytes:
        return b""

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "realm",
    ["http://tokens.example/token", "file:///etc/passwd", "nonsense", "http://[/", "ftp://tokens.example/"],
)
def test_credentials_go_to_no_unprotected_token_server(realm: str) -> None:
    asked = Authenticator(Connections(NETWORK), "registry.example", Given(Credential("user", "secret")))
    with pytest.raises(RegistryError, match=r"refused|no address"):
        asked.challenged(
            _Said(realm), "registry.example/a", ("repository:a:pull",), "https://registry.example", None
        )


def test_a_token_server_that_redirects_gets_nothing_there(registry: str) -> None:
    with FaultProxy(registry) as proxy, FaultProxy(registry) as other:
        realm = f"http://{proxy.address}/token"
        proxy.on("GET", "/v2/", Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}), times=None)
        proxy.on("GET", "/token", Answer(302, {"Location": f"http://{other.address}/token"}), times=None)
        with pytest.raises(RegistryError, match="redirects"):
            Registry(proxy.address, settings("user", "secret")).check()
        assert other.log == []


def test_an_absent_token_server_is_named_as_that(registry: str) -> None:
    with FaultProxy(registry) as proxy:
        realm = f"http://{proxy.address}/token"
        proxy.on("GET", "/v2/", Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}), times=None)
        proxy.on("GET", "/token", Answer(404), times=None)
        with pytest.raises(
            RegistryError, match=r"the token server '.*' gives no tokens at its address \(404\)"
        ):
            Registry(proxy.address, settings()).check()
