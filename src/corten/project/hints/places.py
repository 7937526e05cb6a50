"""Where a Dockerfile puts the project's files, and back: an absolute path in its image → a path of the project. Pure."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Sequence

from corten.project.hints.dockerfile import Copied
from corten.project.hints.hint import Reads

_MOST_MATCHES = 200
_MOST_CHARACTERS = 2_000
_MOST_PLACES = 1_000


class Places:
    """The copies of one stage. `context` is the folder of the project that the build starts from."""

    def __init__(
        self, copied: Sequence[Copied], folder: Reads, context: str = "", workdir: str = "/"
    ) -> None:
        self._folder = folder
        self._folders: list[tuple[str, str]] = []
        self._files: list[tuple[str, str]] = []
        for copy in copied:
            for source in copy.sources:
                self._add(_inner(context, source), copy, workdir)

    def _add(self, source: str | None, copy: Copied, workdir: str) -> None:
        if source is None or len(self._folders) + len(self._files) > _MOST_PLACES:
            return
        if self._folder.has_folder(source):
            self._folders.append((copy.target, source))
        elif any(sign in source for sign in "*?["):
            base = posixpath.dirname(source)
            matches = [
                path
                for path in self._folder.files()
                if posixpath.dirname(path) == base and fnmatch.fnmatchcase(path, source)
            ]
            self._files += [
                (f"{copy.target.rstrip('/')}/{posixpath.basename(path)}", path)
                for path in matches[:_MOST_MATCHES]
            ]
            if base and source.endswith("/*"):
                self._folders.append((copy.target, base))
            elif source == "*":
                self._folders.append((copy.target, ""))
        elif self._folder.exists(source):
            into = copy.into_folder or copy.target == workdir
            target = f"{copy.target.rstrip('/')}/{posixpath.basename(source)}" if into else copy.target
            self._files.append((target, source))

    def mount(self, target: str, source: str) -> None:
        """Put the project's folder or file `source` at `target`, above what is there."""
        place = self._folders if self._folder.has_folder(source) else self._files
        place.append((target, source))

    def project_path(self, path: str) -> str | None:
        """The file or folder of the project that lies at `path` in the image; None where none does."""
        path = "/" + posixpath.normpath(path).strip("/")
        for target, source in reversed(self._files):
            if target == path:
                return source
        for target, source in reversed(self._folders):
            rest = _below(path, target)
            if rest is not None:
                inner = posixpath.join(source, rest) if rest else source
                if not rest or self._folder.exists(inner):
                    return inner
        return None

    def homes(self, workdir: str) -> list[str]:
        """The folders of the project that `workdir` can stand for, the likeliest first."""
        found: list[str] = []
        for target, source in reversed(self._folders):
            rest = _below(workdir, target)
            if rest is not None:
                found.append(posixpath.join(source, rest) if rest else source)
        for target, source in reversed(self._folders):
            # COPY ./app /code/app with WORKDIR /code: the folder above.
            rest = _below(target, workdir)
            if rest and (source == rest or source.endswith(f"/{rest}")):
                found.append(source.removesuffix(rest).rstrip("/"))
        for target, source in reversed(self._files):
            rest = _below(target, workdir)
            if rest and (source == rest or source.endswith(f"/{rest}")):
                found.append(source.removesuffix(rest).rstrip("/"))
        return [home for home in dict.fromkeys(found) if self._folder.has_folder(home)]

    def moved(self) -> list[tuple[str, str]]:
        """(folder in the image, folder of the project) of every copied folder."""
        return list(self._folders)

    def translated(self, text: str, root: str) -> str:
        """`text` with every absolute path that lies in the project written below `root`, the project's place in Corten's image."""

        def one(match: re.Match[str]) -> str:
            path = self.project_path(match[0])
            if path is None:
                return match[0]
            return posixpath.join(root, path) if path else root

        if len(text) > _MOST_CHARACTERS:
            return text
        return re.sub(r"(?<![\w.:/$-])/[\w./@+-]+", one, text)


def _inner(context: str, source: str) -> str | None:
    path = posixpath.normpath(posixpath.join(context, source.lstrip("/") or "."))
    if path.startswith(".."):
        return None
    return "" if path == "." else path


def _below(path: str, folder: str) -> str | None:
    """What is left of `path` below `folder`: `""` for the folder itself; None where it is elsewhere."""
    folder = folder.rstrip("/")
    if path.rstrip("/") == folder:
        return ""
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else None
