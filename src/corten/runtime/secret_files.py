"""Files of this machine that a container's user alone may read: those of `--secret`, and those that lie in a project's folder and in no
image. They are copies in the container's own directory, made at each start."""

from __future__ import annotations

import os
from pathlib import Path

from corten.errors import FormatError, RuntimeFailure
from corten.oci.inside import Inside
from corten.runtime.options import SECRET_LIMIT, RunOptions
from corten.store.disk import remove_tree

Shown = tuple[tuple[str, str], ...]
"""Places on this machine, each with its place inside."""


def secret_files(directory: Path, options: RunOptions, owner: tuple[int, int] | None) -> Shown:
    """The files that `options` ask for, below `directory`, the container's own; they belong to `owner`, None for this user. Raises
    RuntimeFailure."""
    own = directory / "secrets"
    remove_tree(own)
    own.mkdir(mode=0o700)
    found = []
    for number, (folder, path, inside) in enumerate(options.project_secrets):
        try:
            # The project says what is at `path`: no link of it leads to other files of this machine.
            with Inside(folder) as tree:
                data = tree.read(path, SECRET_LIMIT)
        except (OSError, FormatError):
            continue  # it was taken away since
        found.append(_placed(own / f"project-{number}", data, owner, inside))
    for name, path in options.secrets:
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise RuntimeFailure(
                f"the file '{path}' of the secret '{name}' cannot be read: {(error.strerror or '').lower()}",
                hint="check its path",
            ) from error
        found.append(_placed(own / f"secret-{name}", data, owner, f"/run/secrets/{name}"))
    return tuple(found)


def _placed(place: Path, data: bytes, owner: tuple[int, int] | None, inside: str) -> tuple[str, str]:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        if owner is not None:
            os.fchown(descriptor, *owner)
        file.write(data)
    return str(place), inside
