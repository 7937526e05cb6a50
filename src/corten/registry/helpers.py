"""Credential helpers: programs `docker-credential-NAME` that speak JSON (docker-credential-helpers' protocol).

Their words are never repeated: by accident they could hold a secret.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from corten.errors import RegistryError
from corten.events import Note, Observer, ignore
from corten.lazy import regex

_NAME = regex(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATIENCE = 120.0
"""Seconds: a helper may ask the user to unlock something."""
_TOLD = 5.0
"""Seconds after which it is told that a helper is waited for."""
_ABSENT = b"credentials not found in native keychain"
_LARGEST = 1 << 20


def ask_helper(
    helper: str, key: str, environment: Mapping[str, str], path: Path, observe: Observer = ignore
) -> tuple[str, str] | None:
    """User and secret for the registry `key`, None when the helper has none. Raises RegistryError; `path` is the file that
    names the helper. `observe` hears of one that takes long."""
    code, output = _run(helper, "get", key.encode(), environment, path, observe)
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
    helper: str,
    action: str,
    given: bytes,
    environment: Mapping[str, str],
    path: Path,
    observe: Observer = ignore,
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
        with subprocess.Popen(
            [program, action],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
        ) as process:
            return _answer(process, helper, given, path, observe)
    except OSError as error:
        reason = (error.strerror or "unusable").lower()
        raise RegistryError(
            f"the credential helper 'docker-credential-{helper}' cannot be started: {reason}"
        ) from error


def _answer(
    process: subprocess.Popen[bytes], helper: str, given: bytes, path: Path, observe: Observer
) -> tuple[int, bytes]:
    """What the helper answers to `given`. One that is given up is killed."""
    name = f"the credential helper 'docker-credential-{helper}'"
    try:
        try:
            output, _ = process.communicate(given, timeout=_TOLD)
        except subprocess.TimeoutExpired:
            observe(Note(f"waiting for {name}, which '{path}' names"))
            output, _ = process.communicate(timeout=_PATIENCE - _TOLD)
    except BaseException as error:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # a child of its own may hold the other end
                if pipe is not None:
                    pipe.close()
        if isinstance(error, subprocess.TimeoutExpired):
            # Not chained: the exception holds what was said so far.
            raise RegistryError(
                f"{name} does not answer", hint=f"take it out of '{path}' if it is not used any more"
            ) from None
        raise
    return process.returncode, output


def _failed(helper: str, action: str, code: int) -> RegistryError:
    return RegistryError(
        f"the credential helper 'docker-credential-{helper}' failed at '{action}' (exit code {code})",
        hint=f"run 'docker-credential-{helper} list' to see what is wrong",
    )
