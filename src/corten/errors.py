"""The error tree: one class for every decision that a caller can make.

    CortenError                 anything that ends a verb with exit code 1; has an optional hint
    ├ UsageError                the command line or a configuration value is wrong (exit code 2)
    │ └ ProjectError            the project's files or `[tool.corten]` are wrong
    ├ NotConfirmed              the project names a host or a file that only the user can allow
    ├ LockOutdated              the lock is missing or does not belong to the project any more
    ├ ResolutionError           no set of packages satisfies the project
    ├ FetchError                a file could not be had from any source
    │ └ HashMismatch            a file was had, but it is not the one that the lock names
    ├ RegistryError             a registry cannot be reached, or does not do what it was asked for
    │ ├ AccessDenied            it wants other credentials, or these may not do this
    │ └ NotInRegistry           it has no such repository, tag, manifest or blob
    ├ SignatureError            an archive's signature is missing, wrong or expired
    ├ FormatError               bytes from outside are not what their format allows
    ├ StoreError                this disk's store cannot do it (full, not writable, unknown image)
    │ └ ImageNotFound           no image of that name or digest
    ├ BuildError                a layer or image cannot be made
    ├ NoSandbox                 this machine cannot confine a program that is not trusted
    └ RuntimeFailure            a container cannot be started here, or a limit cannot be enforced

Messages start in lower case, put names in quotes and end without a full stop. The hint says what to do next.
Nothing below `corten.cli` prints or exits.
"""

from __future__ import annotations

from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal


MOST_NAMES = 8


def listed(names: Iterable[str]) -> str:
    """Names for a message: the first few, and how many more there are."""
    found = list(names)
    more = len(found) - MOST_NAMES
    return ", ".join(found[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


class CortenError(Exception):
    """A failure with a reason that is worth reading: `message` says what happened, `hint` what to do about it."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(CortenError):
    """The command line or a configuration value is wrong."""


class ProjectError(UsageError):
    """The project's files or its `[tool.corten]` table are wrong."""


class NotConfirmed(CortenError):
    """The project at `root` names a `place` (`kind`: index or path) that its user has not confirmed. `question` asks for it."""

    def __init__(
        self, message: str, root: Path, kind: Literal["index", "path"], place: str, question: str
    ) -> None:
        super().__init__(message, hint=f"if you trust it: corten lock --trust-{kind} {place}")
        self.root, self.kind, self.place, self.question = root, kind, place, question


class LockOutdated(CortenError):
    """The lock is missing, or does not belong to the project any more."""


class ResolutionError(CortenError):
    """No set of packages satisfies what the project asks for."""


class FetchError(CortenError):
    """A file could not be had from any source."""


class HashMismatch(FetchError):
    """A file was had, but its bytes are not the ones that were asked for."""


class RegistryError(CortenError):
    """A registry cannot be reached, or does not do what it was asked for. The message names the registry, the
    repository, the status and the registry's own words, where there are any."""


class AccessDenied(RegistryError):
    """The registry wants credentials, or these credentials may not do this (401, 403)."""


class NotInRegistry(RegistryError):
    """The registry has no such repository, tag, manifest or blob (404)."""


class SignatureError(CortenError):
    """A signature is missing, wrong or expired."""


class FormatError(CortenError):
    """Bytes from outside are not what their format allows."""


class StoreError(CortenError):
    """The store on this disk cannot do what was asked (full, not writable, unknown name)."""


class ImageNotFound(StoreError):
    """The store has no image of that name or digest."""


class BuildError(CortenError):
    """A layer or an image cannot be made."""


class RuntimeFailure(CortenError):
    """A container cannot be started here, or something asked for cannot be honoured."""


class NoSandbox(CortenError):
    """This machine does not let a program that is not trusted be confined as it has to be."""
