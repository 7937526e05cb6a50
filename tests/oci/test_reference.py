"""References, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import UsageError
from corten.oci.digest import Digest
from corten.oci.reference import Reference, is_loopback, parse_host

HUB = "docker.io"
ZERO = Digest("sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("python", "docker.io", "library/python", "latest", None),
        ("python:3.12", "docker.io", "library/python", "3.12", None),
        ("team/model", "docker.io", "team/model", "latest", None),
        ("docker.io/python", "docker.io", "library/python", "latest", None),
        (f"index.{HUB}/team/model", "docker.io", "team/model", "latest", None),
        ("registry.example/a/b/c:1.0", "registry.example", "a/b/c", "1.0", None),
        ("Registry.Example/a", "registry.example", "a", "latest", None),
        ("localhost/x", "localhost", "x", "latest", None),
        ("localhost:5000/x:y", "localhost:5000", "x", "y", None),
        ("[::1]:5000/x", "[::1]:5000", "x", "latest", None),
        (f"docker://registry.example/a@{ZERO}", "registry.example", "a", None, ZERO),
        (f"registry.example/a:1@{ZERO}", "registry.example", "a", "1", ZERO),
        ("x:5", "docker.io", "library/x", "5", None),
    ],
)
def test_parse(text: str, registry: str, repository: str, tag: str | None, digest: Digest | None) -> None:
    assert Reference.parse(text) == Reference(registry, repository, tag, digest)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no name"),
        ("localhost:5000", "not a repository"),
        ("registry.example/", "no name"),
        ("Team/Model", "lower case"),
        ("registry.example/a/../b", "not a repository"),
        ("registry.example//a", "not a repository"),
        ("a:b c", "a tag is"),
        ("a:" + "b" * 129, "a tag is"),
        ("a@sha256:12", "digest"),
        ("a@", "digest"),
        ("evil\n.example/a", "not a host"),
        ("user@registry.example/a", "digest"),
        ("-x.example/a", "not a host"),
        ("registry.example/" + "a" * 250, "longer"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Reference.parse(text)


COMPONENT = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,2}", fullmatch=True)
REFERENCES = st.builds(
    Reference,
    st.sampled_from(
        ["docker.io", "localhost", "localhost:5000", "registry.example", "10.0.0.1:80", "[::1]:5000"]
    ),
    st.lists(COMPONENT, min_size=2, max_size=4).map("/".join),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.none() | st.binary(max_size=4).map(Digest.of),
)


@given(REFERENCES)
def test_what_is_written_is_read_again(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(f"docker://{reference}") == reference
    if reference.digest is not None:
        at = reference.at(reference.digest)
        assert (Reference.parse(str(at)), at.tag, at.target) == (at, None, reference.digest)


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except UsageError:
        return
    assert Reference.parse(str(reference)) == reference
    assert not set(reference.name + reference.target) & set(" \n\t%?#\\\"'<>@&=")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("registry.example", "registry.example"),
        ("https://registry.example/", "registry.example"),
        (f"https://index.{HUB}/v1/", "docker.io"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_hosts(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize("text", ["", "a/b", "user:password@host", "ho st"])
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(UsageError, match="host"):
        parse_host(text)


def test_loopback_by_name_alone() -> None:
    assert all(
        map(is_loopback, ["localhost", "LOCALHOST:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:5000", "[::1]"])
    )
    assert not any(
        map(is_loopback, ["127.0.0.1.example", "localhost.example", "10.0.0.1", "1270.0.0.1", "[::2]:80", ""])
    )
