"""Looking into an image's root without ever leaving it.

Links in an image lead where the image says, seen from its own root. The kernel would follow them from the machine's root,
so every component is opened here by itself, and a link is resolved by hand. Nothing else may be changing the tree: it is
used between mounting and starting.
"""

from __future__ import annotations

import errno
import os
import stat

_LINKS = 40


class Root:
    """The tree at `path` as its own processes will see it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """The first `limit` bytes of a regular file; empty when there is none."""
        found = self._find(path)
        if found is None or not stat.S_ISREG(os.lstat(found).st_mode):
            return b""
        descriptor = os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit)

    def status(self, path: str) -> os.stat_result | None:
        """What is at `path`, links followed; None when there is nothing."""
        found = self._find(path)
        return os.lstat(found) if found is not None else None

    def place(self, path: str) -> str | None:
        """Where on this machine `path` lies, links followed; None when there is nothing."""
        return self._find(path)

    def is_empty_directory(self, path: str) -> bool:
        """Whether there is a directory at `path` with nothing in it."""
        found = self._find(path)
        return found is not None and stat.S_ISDIR(os.lstat(found).st_mode) and not os.listdir(found)

    def is_plain(self, path: str) -> bool:
        """Whether no part of `path` is a link and all that exist are directories: then the machine's kernel finds
        under `self.path + path` the same place as the container's processes."""
        place = self.path
        for part in _parts(path):
            place = f"{place}/{part}"
            try:
                mode = os.lstat(place).st_mode
            except FileNotFoundError:
                return part != ".."
            if part == ".." or not stat.S_ISDIR(mode):
                return False
        return True

    def meaning(self, path: str) -> str:
        """The path inside that `path` leads to, links followed as far as there is something; / where there are too many links."""
        found = self._find(path, partly=True)
        return "/" if found is None else os.path.normpath(found[len(self.path) :] or "/")

    def _find(self, path: str, *, partly: bool = False) -> str | None:
        """The real place of `path`, no part of it a link, never outside `self.path`; None where there is none, but with `partly`
        the place where it would be."""
        waiting = _parts(path)[::-1]
        inside: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                del inside[-1:]
                continue
            place = "/".join((self.path, *inside, part))
            try:
                mode = os.lstat(place).st_mode
                if stat.S_ISLNK(mode):
                    links += 1
                    target = os.readlink(place)
                    if links > _LINKS:
                        return None
                    if target.startswith("/"):
                        inside.clear()
                    waiting.extend(_parts(target)[::-1])
                    continue
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EACCES):
                    raise
                if not partly:
                    return None
                mode = stat.S_IFDIR
            if waiting and not stat.S_ISDIR(mode) and not partly:
                return None
            inside.append(part)
        return "/".join((self.path, *inside))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
