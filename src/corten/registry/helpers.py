"""Credential helpers: programs `docker-credential-NAME` that speak JSON (docker-credential-helpers' protocol).

Their words are never repeated: by accident they could hold a secret.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from corten.errors import RegistryError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATIENCE = 120.0
"""Seconds: a helper may ask the user to unlock something."""
_ABSENT = b"credentials not found in native keychain"
_LARGEST = 1 << 20


def ask_helper(helper: str, key: str, environment: Mapping[str, str], path: Path) -> tuple[str, str] | None:
    """User and secret for the registry `key`, None when the helper has none. Raises RegistryError; `path` is the file that
    names the helper."""
    code, output = _run(helper, "get", key.encode(), environment, path)
    if code != 0:
        if output.strip() == _ABSENT:
            return None
        raise _failed(helper, "get", code)
    try:
        answer = json.loads(output) if len(output) <= _LARGEST else None
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        user, secret = answer.get("Username"), answer.get("Secret")
        if isinstance(user, str) and isinstance(secret, str):
            return (user, secret) if secret else None
    raise RegistryError(f"the credential helper 'docker-credential-{helper}' answered with something else")


def tell_helper(
    helper: str, key: str, user: str, secret: str, environment: Mapping[str, str], path: Path
) -> None:
    """Have the helper keep user and secret for the registry `key`. Raises RegistryError."""
    document = json.dumps({"ServerURL": key, "Username": user, "Secret": secret}).encode()
    code, _ = _run(helper, "store", document, environment, path)
    if code != 0:
        raise _failed(helper, "store", code)


def erase_from_helper(helper: str, key: str, environment: Mapping[str, str], path: Path) -> bool:
    """Have the helper forget the registry `key`; whether it had something. Raises RegistryError."""
    had = ask_helper(helper, key, environment, path) is not None
    if had:
        code, _ = _run(helper, "erase", key.encode(), environment, path)
        if code != 0:
            raise _failed(helper, "erase", code)
    return had


def _run(
    helper: str, action: str, given: bytes, environment: Mapping[str, str], path: Path
) -> tuple[int, bytes]:
    if not _NAME.fullmatch(helper):
        raise RegistryError(f"'{path}' names a credential helper that is no program's name")
    program = shutil.which(f"docker-credential-{helper}", path=environment.get("PATH"))
    if program is None:
        raise RegistryError(
            f"the credential helper 'docker-credential-{helper}' is not installed",
            hint=f"install it, or take it out of '{path}'",
        )
    try:
        done = subprocess.run(
            [program, action],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        # Not chained: the exception holds what was said so far.
        raise RegistryError(f"the credential helper 'docker-credential-{helper}' does not answer") from None
    except OSError as error:
        reason = (error.strerror or "unusable").lower()
        raise RegistryError(
            f"the credential helper 'docker-credential-{helper}' cannot be started: {reason}"
        ) from error
    return done.returncode, done.stdout


def _failed(helper: str, action: str, code: int) -> RegistryError:
    return RegistryError(
        f"the credential helper 'docker-credential-{helper}' failed at '{action}' (exit code {code})",
        hint=f"run 'docker-credential-{helper} list' to see what is wrong",
    )
