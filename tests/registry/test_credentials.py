"""Files and helpers that hold credentials."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from corten.errors import RegistryError
from corten.events import Event, Note, Warned
from corten.registry import helpers
from corten.registry.credentials import Credential, Keychain, credential_files
from corten.registry.helpers import ask_helper
from support.plain_user import interpreter, plain_user

HUB = "docker.io"
HUB_KEY = f"https://index.{HUB}/v1/"
SECRET = "hunter2-very-secret"

HELPER = """#!/usr/bin/env python3
import json, pathlib, sys
kept = pathlib.Path({folder!r}) / "kept.json"
data = json.loads(kept.read_text()) if kept.exists() else {{}}
given = sys.stdin.read()
if sys.argv[1] == "store":
    entry = json.loads(given)
    data[entry["ServerURL"]] = [entry["Username"], entry["Secret"]]
elif sys.argv[1] == "erase":
    data.pop(given.strip(), None)
elif given.strip() not in data:
    print("credentials not found in native keychain")
    sys.exit(1)
else:
    user, secret = data[given.strip()]
    print(json.dumps({{"ServerURL": given.strip(), "Username": user, "Secret": secret}}))
kept.write_text(json.dumps(data))
"""


def packed(user: str, password: str = SECRET) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def helper(folder: Path, name: str, kept: dict[str, list[str]] | None = None, text: str = "") -> None:
    """A credential helper in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(text or HELPER.format(folder=str(folder)))
    program.chmod(0o755)
    if kept:
        (folder / "kept.json").write_text(json.dumps(kept))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Somebody whose files are all below `tmp_path`."""
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    }


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def user_of(environment: dict[str, str], name: str) -> str | None:
    found = Keychain(environment).find(name)
    return None if found is None else found.user


def test_without_files_there_is_nobody(environment: dict[str, str]) -> None:
    assert Keychain(environment).find("registry.example/a") is None


def test_the_files_in_their_order(environment: dict[str, str], tmp_path: Path) -> None:
    paths = [
        tmp_path / "run/containers/auth.json",
        tmp_path / "config/containers/auth.json",
        tmp_path / "docker/config.json",
    ]
    assert credential_files(environment) == paths
    for number, path in reversed(list(enumerate(paths))):
        write(path, {"auths": {"registry.example": packed(f"user{number}")}})
        assert user_of(environment, "registry.example/a") == f"user{number}"
    alone = write(tmp_path / "alone", {"auths": {"registry.example": packed("alone")}})
    assert user_of({**environment, "REGISTRY_AUTH_FILE": str(alone)}, "registry.example/a") == "alone"
    assert (
        user_of({**environment, "REGISTRY_AUTH_FILE": str(tmp_path / "none")}, "registry.example/a") is None
    )


def test_the_longest_path_wins(environment: dict[str, str], tmp_path: Path) -> None:
    keys = ["registry.example", "registry.example/a", "registry.example/a/b", "registry.example/ab"]
    write(tmp_path / "docker/config.json", {"auths": {key: packed(key.replace("/", "-")) for key in keys}})
    assert user_of(environment, "registry.example/a/b/c") == "registry.example-a-b"
    assert user_of(environment, "registry.example/a/x") == "registry.example-a"
    assert user_of(environment, "registry.example/abc") == "registry.example"
    assert user_of(environment, "registry.example:80/a") is None


@pytest.mark.parametrize("key", [HUB_KEY, HUB, f"index.{HUB}", f"https://registry-1.{HUB}"])
def test_the_names_of_docker_io(environment: dict[str, str], tmp_path: Path, key: str) -> None:
    write(tmp_path / "docker/config.json", {"auths": {key: packed("hub")}})
    assert user_of(environment, "docker.io/library/python") == "hub"


def test_addresses_as_keys(environment: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "docker/config.json", {"auths": {"https://registry.example/v1/": packed("old")}})
    assert user_of(environment, "registry.example/a") == "old"


def test_tokens_and_colons(environment: dict[str, str], tmp_path: Path) -> None:
    auths = {
        "a.example": {"identitytoken": "identity", **packed("<token>", "")},
        "b.example": {"registrytoken": "bearer"},
        "c.example": packed("user", "a:b:ü"),
        "d.example": {"username": "plain", "password": "text"},
        "e.example": {},
    }
    write(tmp_path / "docker/config.json", {"auths": auths})
    chain = Keychain(environment)
    assert chain.find("a.example") == Credential("<token>", "", identity_token="identity")
    assert chain.find("b.example") == Credential(registry_token="bearer")
    assert chain.find("c.example") == Credential("user", "a:b:ü")
    assert chain.find("d.example") == Credential("plain", "text")
    assert chain.find("e.example") is None


def test_helpers_win_over_auths(environment: dict[str, str], tmp_path: Path) -> None:
    helper(tmp_path / "bin", "mine", {"registry.example": ["kept", SECRET], HUB_KEY: ["<token>", "identity"]})
    auths = {"registry.example/a": packed("listed"), "other.example": packed("other")}
    write(
        tmp_path / "docker/config.json",
        {"auths": auths, "credHelpers": {"registry.example": "mine", "docker.io": "mine"}},
    )
    chain = Keychain(environment)
    assert chain.find("registry.example/a") == Credential("kept", SECRET)
    assert chain.find("docker.io/a/b") == Credential(identity_token="identity")
    assert user_of(environment, "other.example/a") == "other"


def test_the_store_of_all_hosts(environment: dict[str, str], tmp_path: Path) -> None:
    helper(tmp_path / "bin", "all", {"registry.example": ["kept", SECRET]})
    write(
        tmp_path / "docker/config.json",
        {"auths": {"registry.example": {}, "other.example": packed("listed")}, "credsStore": "all"},
    )
    assert user_of(environment, "registry.example/a") == "kept"
    assert user_of(environment, "other.example") == "listed"
    assert user_of(environment, "third.example") is None


@pytest.mark.parametrize(
    "text",
    [
        f'{{"auths": {SECRET}',
        f'["{SECRET}"]',
        f'{{"auths": ["{SECRET}"]}}',
        f'{{"auths": {{"registry.example": "{SECRET}"}}}}',
        f'{{"auths": {{"registry.example": {{"auth": "{SECRET}"}}}}}}',
        f'{{"auths": {{"registry.example": {{"auth": ["{SECRET}"]}}}}}}',
        f'{{"credHelpers": "{SECRET}"}}',
        "[" * 100_000,
    ],
)
def test_a_broken_file_is_one_error_without_its_content(
    environment: dict[str, str], tmp_path: Path, text: str
) -> None:
    path = write(tmp_path / "docker/config.json", text)
    with pytest.raises(RegistryError) as caught:
        Keychain(environment).find("registry.example/a")
    assert str(path) in caught.value.message
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in repr(error) + str(error)
        error = error.__cause__


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"#!/bin/sh\necho {SECRET}\nexit 3\n", r"failed at 'get' \(exit code 3\)"),
        (f"#!/bin/sh\necho {SECRET}\n", "answered with something else"),
        (f'#!/bin/sh\necho \'{{"Secret": ["{SECRET}"]}}\'\n', "answered with something else"),
        (f"{SECRET}\n", "cannot be started"),
    ],
)
def test_a_broken_helper_is_one_error_without_its_words(
    environment: dict[str, str], tmp_path: Path, text: str, why: str
) -> None:
    helper(tmp_path / "bin", "broken", text=text)
    path = tmp_path / "docker/config.json"
    with pytest.raises(RegistryError, match=why) as caught:
        ask_helper("broken", "registry.example", environment, path)
    assert SECRET not in repr(caught.value) + str(caught.value.hint)


@pytest.mark.parametrize("name", ["absent", "failing", "../evil", "a b"])
@pytest.mark.parametrize("section", ["credsStore", "credHelpers"])
def test_a_helper_that_is_missing_or_fails_is_done_without_and_told(
    environment: dict[str, str], tmp_path: Path, name: str, section: str
) -> None:
    """A left-over of Docker Desktop or gcloud does not block images that everybody may have, nor the file's other logins."""
    helper(tmp_path / "bin", "failing", text="#!/bin/sh\nexit 3\n")
    named = name if section == "credsStore" else {"registry.example": name, "public.example": name}
    auths = {"registry.example": packed("listed"), "public.example": {}}
    path = write(tmp_path / "docker/config.json", {section: named, "auths": auths})
    said: list[Event] = []
    chain = Keychain(environment, said.append)
    assert chain.find("registry.example/a") == Credential("listed", SECRET)
    assert chain.find("registry.example/b") == Credential("listed", SECRET), "and it is told once for a host"
    assert chain.find("public.example/a") is None
    assert [type(event) for event in said] == [Warned, Warned]
    for event in said:
        assert "going on without it" in event.message  # type: ignore[union-attr]
        assert name == "failing" or str(path) in event.message + str(event.hint)  # type: ignore[union-attr]


@pytest.mark.parametrize("ends", [True, False])
def test_a_helper_that_hangs_is_told(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """After a moment, and it may still answer: perhaps it waits for somebody. One that never does is given up."""
    monkeypatch.setattr(helpers, "_TOLD", 0.05)
    monkeypatch.setattr(helpers, "_PATIENCE", 60.0 if ends else 0.1)
    os.mkfifo(tmp_path / "gate")
    answer = json.dumps({"Username": "slow", "Secret": SECRET})
    # A child of its own keeps the pipes open, whatever becomes of the helper.
    helper(tmp_path / "bin", "slow", text=f"#!/bin/sh\ncat {tmp_path}/gate\necho '{answer}'\n")
    write(tmp_path / "docker/config.json", {"credsStore": "slow"})
    said: list[Event] = []

    def observe(event: Event) -> None:
        said.append(event)
        if ends:
            (tmp_path / "gate").write_text("")

    found = Keychain(environment, observe).find("registry.example/a")
    assert found == (Credential("slow", SECRET) if ends else None)
    assert isinstance(said[0], Note)
    assert "waiting for the credential helper 'docker-credential-slow'" in said[0].message
    assert [type(event) for event in said[1:]] == ([] if ends else [Warned])
    if not ends:
        os.close(os.open(tmp_path / "gate", os.O_WRONLY))  # lets the child end


def test_nothing_shows_a_secret() -> None:
    credential = Credential("user", SECRET, identity_token=SECRET, registry_token=SECRET)
    assert SECRET not in repr(credential) + str(credential)


def test_a_folder_of_somebody_else_holds_nothing_for_a_plain_user(open_directory: Path) -> None:
    """Root's podman leaves /run/containers behind, which nobody else may enter."""
    closed = open_directory / "closed"
    (closed / "1").mkdir(parents=True)
    (closed / "1" / "auth.json").write_text("{}")
    closed.chmod(0o700)
    code = (
        "from pathlib import Path; from corten.registry.credentials import read_document; "
        f"print(read_document(Path({str(closed / '1' / 'auth.json')!r})))"
    )
    command, variables = interpreter()
    user = plain_user()
    done = subprocess.run(
        [*command, "-c", code],
        env=variables,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert done.stdout == "None\n"
