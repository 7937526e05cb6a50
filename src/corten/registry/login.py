"""Logging in and out: credentials are tried first, then kept where docker or podman keep theirs.

Written is `$REGISTRY_AUTH_FILE` if it is set, else docker's configuration; into the helper that the file names for a host, if it
names one. Everything else in the file stays as it was.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corten.errors import AccessDenied, RegistryError
from corten.registry.client import Registry
from corten.registry.credentials import (
    Credential,
    Given,
    Keychain,
    credential_files,
    docker_file,
    helper_for,
    key_of,
    normal,
    read_document,
    section,
)
from corten.registry.helpers import erase_from_helper, tell_helper
from corten.registry.settings import RegistrySettings
from corten.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Kept:
    """Where credentials were kept. `helper` is the helper's program, None where they lie in the file, readable for whoever can
    read it. `shadowed` is another file whose credentials for the host win over these."""

    path: Path
    helper: str | None
    shadowed: Path | None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What logging out has done: from `path` the logins for `hosts` are gone; `elsewhere` are files that still have some."""

    path: Path
    hosts: tuple[str, ...]
    elsewhere: tuple[Path, ...]


def log_in(
    host: str, user: str, password: str, settings: RegistrySettings, environment: Mapping[str, str]
) -> Kept:
    """Try the credentials at the registry, and keep them if it takes them. Raises AccessDenied when it does not, RegistryError
    when it cannot be asked or they cannot be kept."""
    verify(host, user, password, settings)
    return keep(host, user, password, environment)


def verify(host: str, user: str, password: str, settings: RegistrySettings) -> None:
    """Ask the registry whether it takes these credentials. Raises AccessDenied, RegistryError."""
    credential = Credential(user, password)
    try:
        Registry(host, replace(settings, credentials=Given(credential))).check()
    except AccessDenied as error:
        raise AccessDenied(
            f"'{host}' does not accept the user '{user}' with this password",
            hint="check both; many registries want an access token in place of the password",
        ) from error


def keep(host: str, user: str, password: str, environment: Mapping[str, str]) -> Kept:
    """Keep the credentials for `host`. Raises RegistryError."""
    if not user or ":" in user:
        raise RegistryError("a user's name is not empty and has no ':'")
    path = _written_file(environment)
    document = read_document(path) or {}
    helper = helper_for(document, host, path)
    if helper is not None:
        tell_helper(helper, key_of(host), user, password, environment, path)
        entry: dict[str, str] = {}  # as docker does: the host is listed, its helper has the rest
    else:
        packed = base64.b64encode(f"{user}:{password}".encode()).decode()
        entry = {"auth": packed}
    auths = {key: value for key, value in section(document, "auths", path).items() if normal(key) != host}
    document["auths"] = {**auths, key_of(host): entry}
    write_document(path, document)
    winner, _ = Keychain(environment).place_of(host)
    shadowed = winner if winner not in (None, path) else None
    return Kept(path, f"docker-credential-{helper}" if helper else None, shadowed)


def forget(host: str | None, environment: Mapping[str, str]) -> Forgotten:
    """Forget the credentials for `host`, or for every host when it is None. Raises RegistryError."""
    path = _written_file(environment)
    document = read_document(path) or {}
    auths = section(document, "auths", path)
    hosts = (
        {host}
        if host
        else {normal(key) for key in auths} | {normal(key) for key in section(document, "credHelpers", path)}
    )
    gone = {normal(key) for key in auths if normal(key) in hosts}
    for name in sorted(hosts):
        helper = helper_for(document, name, path)
        if helper is not None and erase_from_helper(helper, key_of(name), environment, path):
            gone.add(name)
    if gone & {normal(key) for key in auths}:
        document["auths"] = {key: value for key, value in auths.items() if normal(key) not in hosts}
        write_document(path, document)
    return Forgotten(path, tuple(sorted(gone)), _elsewhere(hosts if host else None, path, environment))


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Put `document` in the place of what `path` holds, whole or not at all, readable for its owner alone. A link stays a link.
    Raises RegistryError."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file, indent="\t", ensure_ascii=False)
                file.write("\n")
                file.flush()
                _same_owner(file.fileno(), target)
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        reason = (error.strerror or "not writable").lower()
        raise RegistryError(f"the credentials cannot be kept in '{path}': {reason}") from error


def _same_owner(descriptor: int, target: Path) -> None:
    """As root in another user's home (`sudo`), the file stays that user's."""
    with contextlib.suppress(OSError):
        before = target.lstat()
        if stat.S_ISREG(before.st_mode) and os.geteuid() == 0:
            os.fchown(descriptor, before.st_uid, before.st_gid)


def _written_file(environment: Mapping[str, str]) -> Path:
    chosen = environment.get("REGISTRY_AUTH_FILE")
    return Path(chosen) if chosen else docker_file(environment)


def _elsewhere(hosts: set[str] | None, written: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files besides `written` that have logins for `hosts`, or any."""
    found = []
    for path in credential_files(environment):
        if path == written:
            continue
        try:
            document = read_document(path) or {}
            listed = {normal(key) for key in section(document, "auths", path)}
        except RegistryError:  # somebody else's file
            continue
        if listed & hosts if hosts is not None else listed:
            found.append(path)
    return tuple(found)
