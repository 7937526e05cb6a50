"""The registries of the tests are what they say: skopeo and plain requests, not ours, are asked."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlencode

import pytest

from support.registries import (
    PASSWORD,
    READER,
    READER_PASSWORD,
    USER,
    Protected,
    Secured,
    Tokened,
    distribution,
    stored_blobs,
)
from support.tokens import SERVICE


def _status(url: str, context: ssl.SSLContext | None = None, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _skopeo_push(address: str, directory: Path, user: str, password: str) -> int:
    layout = directory / "layout"
    if not layout.exists():
        subprocess.run(["umoci", "init", "--layout", layout], check=True)
        subprocess.run(["umoci", "new", "--image", f"{layout}:x"], check=True)
    done = subprocess.run(
        [
            *("skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false"),
            f"--dest-creds={user}:{password}",
            *(f"oci:{layout}:x", f"docker://{address}/team/x:y"),
        ],
        check=False,
        capture_output=True,
    )
    return done.returncode


def test_a_plain_registry_takes_an_image_and_counts_it(tmp_path: Path) -> None:
    with distribution(tmp_path / "registry") as address:
        assert _skopeo_push(address, tmp_path, "no", "body") == 0
        stored = stored_blobs(tmp_path / "registry")
    assert len(stored) == 2
    assert all(name.startswith("sha256:") and size > 0 for name, size in stored.items())
    with pytest.raises(OSError):
        _status(f"http://{address}/v2/")


def test_a_login_is_asked_for(registry_with_login: Protected) -> None:
    url = f"http://{registry_with_login.address}/v2/"
    assert _status(url) == 401
    assert _status(url, Authorization=_basic(USER, "wrong")) == 401
    assert _status(url, Authorization=_basic(USER, PASSWORD)) == 200


def test_certificates_are_of_the_authority_alone(
    registry_with_tls: Secured,
    registry_with_wrong_host: Secured,
    registry_with_expired_certificate: Secured,
) -> None:
    trusting = ssl.create_default_context(cafile=str(registry_with_tls.ca))
    assert _status(f"https://{registry_with_tls.address}/v2/", trusting) == 200
    for registry, context, reason in (
        (registry_with_tls, ssl.create_default_context(), "unable to get local issuer"),
        (registry_with_wrong_host, trusting, "not valid for"),
        (registry_with_expired_certificate, trusting, "expired"),
    ):
        with pytest.raises(urllib.error.URLError, match=reason):
            _status(f"https://{registry.address}/v2/", context)


def test_tokens_carry_a_users_rights_and_end(registry_with_token: Tokened, tmp_path: Path) -> None:
    tokens = registry_with_token.tokens
    address = registry_with_token.address
    assert _status(f"http://{address}/v2/") == 401
    assert _skopeo_push(address, tmp_path, USER, "wrong") != 0
    assert _skopeo_push(address, tmp_path, READER, READER_PASSWORD) != 0
    assert _skopeo_push(address, tmp_path, USER, PASSWORD) == 0
    assert {asked.status for asked in tokens.asked} == {200, 401}

    manifest = f"http://{address}/v2/team/x/manifests/y"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    scope = {"service": SERVICE, "scope": "repository:team/x:pull"}

    def ask(**form: str) -> dict[str, str]:
        with urllib.request.urlopen(tokens.url, urlencode({**scope, **form}).encode()) as answer:
            document: dict[str, str] = json.load(answer)
            return document

    first = ask(grant_type="password", username=READER, password=READER_PASSWORD, access_type="offline")
    assert _status(manifest, Authorization=f"Bearer {first['token']}", **accept) == 200
    tokens.expires_in = -1
    try:
        late = ask(grant_type="refresh_token", refresh_token=first["refresh_token"])
    finally:
        tokens.expires_in = 300
    assert _status(manifest, Authorization=f"Bearer {late['token']}", **accept) == 401
    assert _status(f"{tokens.url}?{urlencode(scope)}") == 200
