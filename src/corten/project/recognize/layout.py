"""How a project's modules import each other, and the folder that their imports and paths imply.

`python app/main.py` puts `app` on the import path, `python -m app.main` the folder above, and relative paths in the code
count from where the command is given. What people do not write down follows from the code: the folder under which its imports are found,
and the one from which the files that it names exist.
"""

from __future__ import annotations

import ast
import os
import posixpath
from collections.abc import Iterator

from corten.lazy import regex
from corten.project import syntax
from corten.project.recognize.folder import Folder
from corten.project.syntax import Module
from corten.values import dataclass

_MOST_MODULES = 40
_PATH = regex(r"[\w~./ @+-]{1,200}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module runs: `root` is the folder that its imports count from, `cwd` the working directory; both relative to the
    project."""

    root: str
    cwd: str

    def name_of(self, path: str) -> str:
        """`path` as an import from `root` sees it."""
        inner = path.removeprefix(f"{self.root}/") if self.root else path
        name = inner.removesuffix(".py").replace("/", ".")
        return name.removesuffix(".__init__")

    @property
    def env(self) -> dict[str, str]:
        """What makes imports count from `root` where the working directory is another. The project's folder and `src` are on the
        import path anyway."""
        return {} if self.root in (self.cwd, "", "src") else {"PYTHONPATH": f"/app/{self.root}"}


class Layout:
    """For one project. Results are kept, for several recognisers ask."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._reached: dict[str, frozenset[str]] = {}

    def path_of(self, name: str, root: str) -> str | None:
        """The file of the module `name` below the folder `root`: `app/main.py`, `app/__init__.py`; the folder of a package without
        `__init__.py`, with a slash at its end."""
        base = posixpath.join(root, name.replace(".", "/"))
        for path in (f"{base}.py", f"{base}/__init__.py"):
            if self.folder.has_file(path):
                return path
        return f"{base}/" if name and self.folder.has_folder(base) else None

    def bound(self, module: Module) -> dict[str, tuple[str, str]]:
        """What names of `module` that come from other modules of the project stand for: the file, and the name there (`""` for
        the module itself)."""
        found: dict[str, tuple[str, str]] = {}
        for node in syntax.nodes(module.tree):
            if isinstance(node, ast.ImportFrom):
                base = self._base(module.path, node.module or "", node.level)
                for alias in node.names:
                    inner = base and base.endswith("/") and self.path_of(alias.name, base.rstrip("/"))
                    if base and base.endswith("__init__.py"):
                        inner = self.path_of(alias.name, posixpath.dirname(base))
                    if inner:
                        found[alias.asname or alias.name] = (inner, "")
                    if base and (not inner or base.endswith("__init__.py")):
                        found.setdefault(alias.asname or alias.name, (base, alias.name))
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    path = self._base(module.path, alias.name, 0)
                    if path:
                        found[alias.asname or alias.name] = (path, "")
        return found

    def _base(self, path: str, name: str, level: int) -> str | None:
        if level:
            above = posixpath.dirname(path)
            for _ in range(level - 1):
                above = posixpath.dirname(above)
            if not name:
                init = posixpath.join(above, "__init__.py")
                return init if self.folder.has_file(init) else f"{above}/"
            return self.path_of(name, above)
        for root in _roots(path):
            found = self.path_of(name, root)
            if found is not None and found != path:
                return found
        return None

    def reached(self, path: str) -> frozenset[str]:
        """The files of the project that importing `path` imports too, and `path` itself."""
        if path not in self._reached:
            seen: set[str] = set()
            waiting = [path]
            while waiting and len(seen) < _MOST_MODULES:
                current = waiting.pop()
                if current in seen or current.endswith("/"):
                    continue
                seen.add(current)
                module = self.folder.module(current)
                if module is not None:
                    waiting += sorted({target for target, _ in self.bound(module).values()}, reverse=True)
            self._reached[path] = frozenset(seen)
        return self._reached[path]

    def place(self, path: str, given: str | None = None) -> Place:
        """Where the module in `path` runs. `given` is the folder that its imports count from, where that is known."""
        root = self._root(path) if given is None else given
        return Place(root, self._cwd(path, root))

    def _root(self, path: str) -> str:
        module = self.folder.module(path)
        roots = _roots(path)
        if module is None:
            return roots[0]
        level = max((n.level for n in syntax.nodes(module.tree) if isinstance(n, ast.ImportFrom)), default=0)
        inner = posixpath.dirname(path)
        allowed = [root for root in roots if root == "src" or _depth(inner) - _depth(root) >= level]
        allowed = allowed or [""]
        names = {name for reached in self.reached(path) for name in self._absolute(reached)}
        scores = {root: sum(self.path_of(name, root) is not None for name in names) for root in allowed}
        best = max(scores.values())
        tied = [root for root in allowed if scores[root] == best]
        if best == 0:
            # Nothing of the project is imported: a package is imported from above it, anything else from the project's folder.
            outer = [root for root in tied if root != "src"]
            return "src" if "src" in tied and path.startswith("src/") else (outer or [""])[-1]
        # Nearest first: but a folder with `__init__.py` is a package, which is imported from above.
        outside = [root for root in tied if not self.folder.has_file(posixpath.join(root, "__init__.py"))]
        return (outside or tied)[0]

    def _absolute(self, path: str) -> Iterator[str]:
        module = self.folder.module(path)
        for node in syntax.nodes(module.tree) if module is not None else ():
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module

    def _cwd(self, path: str, root: str) -> str:
        """The folder from which most of the files exist that the code names: the import root, or one between the module and the
        project's folder."""
        named = {text for reached in self.reached(path) for text in self._paths(reached)}
        choices = list(dict.fromkeys([root, *_roots(path)]))
        choices = [choice for choice in choices if choice != "src" or root == "src"]
        if root == "src":
            choices = ["", *[choice for choice in choices if choice]]
        counts = {choice: sum(self._names(choice, text) for text in named) for choice in choices}
        return max(choices, key=lambda choice: counts[choice])

    def _names(self, cwd: str, text: str) -> bool:
        path = posixpath.normpath(posixpath.join(cwd, text))
        return not path.startswith("..") and path != "." and self.folder.exists(path)

    def _paths(self, path: str) -> Iterator[str]:
        """Texts in the module that may be relative paths of files."""
        module = self.folder.module(path)
        for node in syntax.nodes(module.tree) if module is not None else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
                is_path = "/" in text.strip("/") or "." in text.strip(".")
                if is_path and not text.startswith("/") and _PATH.fullmatch(text):
                    yield text
            elif isinstance(node, ast.Call):
                name = (syntax.dotted(node.func) or "").rpartition(".")[2]
                parts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                texts = [part for part in parts if isinstance(part, str)]
                if name in ("join", "Path", "listdir") and texts and len(texts) == len(node.args):
                    joined = "/".join(texts)
                    if _PATH.fullmatch(joined) and not joined.startswith("/"):
                        yield joined


def _roots(path: str) -> list[str]:
    """The folders that imports of the module in `path` may count from: its own, those above it, and `src`."""
    above = posixpath.dirname(path)
    found = [above]
    while above:
        above = os.path.dirname(above)
        found.append(above)
    if "src" not in found:
        found.append("src")
    return found


def _depth(folder: str) -> int:
    return folder.count("/") + 1 if folder else 0
