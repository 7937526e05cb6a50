"""Credentials for registries, where docker and podman keep them (containers-auth.json(5), docker's config.json).

The first file that has something for a name wins; in one file `credHelpers` win over `credsStore`, that over `auths`; among
`auths` the longest matching path wins. A helper is a program, `docker-credential-NAME` (`corten.registry.helpers`). One that is
missing or fails has nothing, as for docker: a file names helpers for every registry, and most images are public. Nothing of
a file or a helper's answer is ever in a message.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from corten.errors import RegistryError
from corten.events import Observer, Warned, ignore
from corten.oci.reference import DEFAULT_REGISTRY
from corten.registry.helpers import ask_helper
from corten.values import dataclass, field

_LARGEST_FILE = 4 << 20
_IDENTITY = "<token>"
"""The user's name that marks a helper's secret as an identity token."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A name and password, or a token in their place. `user` is for people; nothing else of it is ever shown."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """A refresh token for the registry's token server."""
    registry_token: str = field(default="", repr=False)
    """A bearer token for the registry itself."""


class Credentials(Protocol):
    """Where credentials come from."""

    def find(self, name: str) -> Credential | None:
        """Those for `HOST` or `HOST/PATH`. Raises RegistryError when the place where they are cannot be read."""


@dataclass(frozen=True, slots=True)
class Given:
    """One credential for everything, as `login` tries it; None for nobody's."""

    credential: Credential | None = field(repr=False)

    def find(self, name: str) -> Credential | None:
        """The credential."""
        return self.credential


class Keychain:
    """The credentials that this environment's files and helpers have. `observe` hears of helpers that fail."""

    def __init__(self, environment: Mapping[str, str], observe: Observer = ignore) -> None:
        self._environment = dict(environment)
        self._observe = observe
        self._answers: dict[tuple[str, str], tuple[str, str] | None] = {}

    def __repr__(self) -> str:
        return "Keychain()"

    def find(self, name: str) -> Credential | None:
        """See `Credentials`."""
        return self.place_of(name)[1]

    def place_of(self, name: str) -> tuple[Path | None, Credential | None]:
        """The credentials for `name` and the file that leads to them."""
        for path in credential_files(self._environment):
            document = read_document(path)
            found = document and _in_document(document, name, path, self._ask)
            if found:
                return path, found
        return None, None

    def _ask(self, helper: str, host: str, path: Path) -> tuple[str, str] | None:
        """What a helper has for a host; it is asked once, and what fails is told once."""
        key = (helper, host)
        if key not in self._answers:
            self._answers[key] = None
            try:
                self._answers[key] = ask_helper(helper, key_of(host), self._environment, path, self._observe)
            except RegistryError as error:
                self._observe(Warned(f"{error.message}; going on without it", error.hint))
        return self._answers[key]


def credential_files(environment: Mapping[str, str]) -> list[Path]:
    """The files that may hold credentials, the winning one first."""
    if environment.get("REGISTRY_AUTH_FILE"):
        return [Path(environment["REGISTRY_AUTH_FILE"])]
    home = _home(environment)
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.geteuid()}"
    shared = Path(runtime) / "containers" if environment.get("XDG_RUNTIME_DIR") else Path(runtime)
    own = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    return [shared / "auth.json", own / "auth.json", docker_file(environment)]


def docker_file(environment: Mapping[str, str]) -> Path:
    """Docker's configuration file."""
    return Path(environment.get("DOCKER_CONFIG") or _home(environment) / ".docker") / "config.json"


def read_document(path: Path) -> dict[str, Any] | None:
    """The JSON object in a credential file, None when there is no file. Raises RegistryError, without any content."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if isinstance(error, PermissionError) and not os.access(path.parent, os.X_OK):
            return None  # somebody else's folder: what root's podman made, for a plain user
        reason = (error.strerror or "unreadable").lower()
        raise RegistryError(f"the credentials in '{path}' cannot be read: {reason}") from error
    if not data.strip():
        return {}
    try:
        document = json.loads(data) if len(data) <= _LARGEST_FILE else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        # Not chained: a JSON error carries the text.
        raise _broken(path)
    return document


def key_of(host: str) -> str:
    """The key under which docker keeps a host's credentials; docker.io's is an address of its past."""
    return f"https://index.{DEFAULT_REGISTRY}/v1/" if host == DEFAULT_REGISTRY else host


def normal(key: str) -> str:
    """`HOST` or `HOST/PATH` for a key of `auths` or `credHelpers`: older ones are addresses, of which the host counts."""
    for scheme in ("https://", "http://"):
        if key.startswith(scheme):
            key = key.removeprefix(scheme).partition("/")[0]
    host, slash, path = key.rstrip("/").partition("/")
    if host in {f"index.{DEFAULT_REGISTRY}", f"registry-1.{DEFAULT_REGISTRY}"}:
        host = DEFAULT_REGISTRY
        if path in {"v1", "v2"}:
            slash = path = ""
    return f"{host}{slash}{path}"


def section(document: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """An object of a credential file, empty when it is missing. Raises RegistryError when it is something else."""
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _broken(path)
    return value


def helper_for(document: Mapping[str, Any], host: str, path: Path) -> str | None:
    """The name of the helper that keeps the credentials of `host` by this file."""
    for key, helper in section(document, "credHelpers", path).items():
        if normal(key) == host:
            return _text(helper, path) or None
    return _text(document.get("credsStore"), path) or None


def _in_document(
    document: Mapping[str, Any],
    name: str,
    path: Path,
    ask: Callable[[str, str, Path], tuple[str, str] | None],
) -> Credential | None:
    host = name.partition("/")[0]
    helper = helper_for(document, host, path)
    if helper is not None:
        answer = ask(helper, host, path)
        if answer is not None:
            user, secret = answer
            return Credential(identity_token=secret) if user == _IDENTITY else Credential(user, secret)
    entries = {normal(key): value for key, value in section(document, "auths", path).items()}
    for candidate in _prefixes(name):
        found = _entry(entries[candidate], path) if candidate in entries else None
        if found is not None:
            return found
    return None


def _prefixes(name: str) -> Iterator[str]:
    """`host/a/b`, `host/a`, `host`."""
    while name:
        yield name
        name = name.rpartition("/")[0]


def _entry(value: object, path: Path) -> Credential | None:
    """The credential of one entry of `auths`; None for an empty one, which says that a helper has it."""
    if not isinstance(value, dict):
        raise _broken(path)
    user, password = _text(value.get("username"), path), _text(value.get("password"), path)
    packed = _text(value.get("auth"), path)
    if packed:
        try:
            text = base64.b64decode(packed, validate=True).decode()
        except (binascii.Error, ValueError):
            text = ""
        user, colon, password = text.partition(":")
        if not colon:
            raise _broken(path)
        password = password.strip("\0")
    credential = Credential(
        user,
        password,
        identity_token=_text(value.get("identitytoken"), path),
        registry_token=_text(value.get("registrytoken"), path),
    )
    return credential if credential != Credential() else None


def _text(value: object, path: Path) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _broken(path)
    return value


def _broken(path: Path) -> RegistryError:
    return RegistryError(
        f"the credentials in '{path}' are not what the format allows",
        hint="correct the file, or move it away and log in again",
    )


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment["HOME"]) if environment.get("HOME") else Path.home()
