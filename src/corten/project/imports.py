"""Which distributions a project's own files import. A static look: nothing of the project is imported or run.

The project's own modules and the standard library are taken away, the rest is looked up in a table of known names
(`distributions.py`). Only a known name can become a requirement; an unknown one can only be told. What an `except ImportError`
or `if TYPE_CHECKING` guards is optional and asks for nothing.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, Protocol

from corten.lazy import regex
from corten.project import distributions
from corten.values import dataclass

Place = Literal["module", "inner", "optional"]
"""Where an import stands: run when the module is imported; in a function or under `__main__`; guarded."""

_MOST_FILES = 400
_MOST_BYTES = 1_000_000
_MOST_IN_ALL = 20_000_000
_MOST_PARSED = 120_000
"""Of the source: what is beyond is only looked at line by line, which is a hundred times as fast."""
_MOST_NODES = 400_000
_CROWD = 10
"""Scripts beside the one that runs: so many and more are a collection of programs."""
_SKIPPED = (
    "test tests testing doc docs example examples node_modules venv env build dist site-packages site_packages benchmarks "
    "bench migrations"
)
_SKIPPED_FOLDERS = frozenset(_SKIPPED.split())
_SKIPPED_FILES = regex(r"(?:setup|conftest|noxfile|fabfile|tasks|locustfile|test_.*|.*_test)\.py")
_WORDS = regex(r"\bimport[ \t]+([^\n#;]+)|\bfrom[\s\\]+([A-Za-z_][\w.]*)[\s\\]+import\b[ \t]*\(?([^\n#;)]*)")
_LINE = regex(r"([ \t]*)(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+\(?([^#;]*)|import[ \t]+([\w., \t]+))")
_DOTTED = regex(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_BY_NAME = regex(r"[\"']([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)[\"']")
_NAMES = regex(r"\w+")
_MAGIC = regex(r"^\s*[%!?]")
_INSTALLED = regex(r"^\s*[!%]\s*(?:python3? -m )?(?:uv )?pip3? install\s+(.*)$")
_GUARDS = frozenset(("ImportError", "ModuleNotFoundError", "Exception", "BaseException"))
_PLATFORM = frozenset(("platform", "sys.platform", "os.name", "sys.version_info"))


class Sources(Protocol):
    """The project's files: paths relative to its folder, with `/`."""

    def files(self) -> Sequence[str]: ...

    def text(self, path: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name, as long as it is written: `google.cloud.storage` for `from google.cloud import storage`. `level`
    counts the dots of a relative import."""

    name: str
    path: str
    line: int
    place: Place = "module"
    level: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """A distribution that an import needs. `requirement` is empty where the module is not in the table. `certain`: the name is
    known, and the program's own modules import it at their top, so that it cannot start without it."""

    requirement: str
    module: str
    path: str
    line: int
    certain: bool = False
    distributions: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The place in words: `app.py:3`."""
        return f"{self.path}:{self.line}" if self.line else self.path


def needs(sources: Sources, entry: Sequence[str] = (), left_out: Collection[str] = ()) -> tuple[Need, ...]:
    """What the project's files import from elsewhere, one for each distribution, sorted. `entry` are the files that run first:
    what they and the modules that they import need at their top is certain. Where there are only notebooks, their cells
    are read. The files `left_out` do not count."""
    project = _Project(sources)
    graph = project.graph(entry)
    found: dict[str, Need] = {}
    for path in project.python():
        if path in left_out:
            continue
        for item in project.imports(path):
            need = project.need(item, certain=path in graph)
            if need is None or item.place == "optional":
                continue
            key = distributions.normal(need.requirement) if need.requirement else f"?{need.module}"
            before = found.get(key)
            if before is None or (need.certain and not before.certain):
                found[key] = need
    for name, path in project.installed():
        found.setdefault(distributions.normal(name), Need(name, "", path, 0))
    return tuple(sorted(found.values(), key=lambda need: (need.requirement.lower(), need.module)))


def unlisted(sources: Sources, listed: Collection[str], entry: Sequence[str]) -> tuple[Need, ...]:
    """The needs of the modules that run first which none of the distributions `listed` (normal names) covers. Files are
    only parsed where a quick look finds a name that `listed` does not explain."""
    names = {name.partition("[")[0] for name in listed}
    project = _Project(sources)
    if not any(project.is_open(word, names) for word in project.words()):
        return ()
    found: dict[str, Need] = {}
    for path in project.graph(entry):
        for item in project.imports(path):
            need = project.need(item, certain=True)
            if need is None or not need.certain or not need.requirement:
                continue
            if not _is_covered(need.requirement, need.distributions, names):
                found.setdefault(distributions.normal(need.requirement), need)
    return tuple(sorted(found.values(), key=lambda need: need.requirement.lower()))


def strangers(sources: Sources, listed: Collection[str], entry: Sequence[str]) -> tuple[Need, ...]:
    """What the modules that run first import at their top and of which it is not known where it comes from: it is neither the project's nor
    in the table, and none of the distributions `listed` is called after it."""
    names = {name.partition("[")[0] for name in listed}
    project = _Project(sources)
    found: dict[str, Need] = {}
    for path in project.graph(entry):
        for item in project.imports(path):
            need = project.need(item, certain=True) if item.place == "module" else None
            if need is not None and not need.requirement and distributions.normal(need.module) not in names:
                found.setdefault(need.module, need)
    return tuple(found[module] for module in sorted(found))


@dataclass(frozen=True, slots=True)
class Derived:
    """What the imports of a project ask for that lists nothing: `requirements`, and the modules `unknown` with their places.
    The files `left_out` are other programs, which did not count."""

    requirements: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def derived(sources: Sources, entry: Sequence[str] = ()) -> Derived:
    """What the project's files need, where no file lists it. `entry` are the files that run first: what has nothing to do with them
    in a collection of programs does not count."""
    left_out = others_beside(sources, entry)
    found = needs(sources, left_out=left_out)
    return Derived(
        tuple(need.requirement for need in found if need.requirement),
        tuple(f"{need.module} ({need.where})" for need in found if not need.requirement),
        left_out,
    )


def others_beside(sources: Sources, entry: Sequence[str]) -> tuple[str, ...]:
    """The scripts in the folders of `entry` that neither it nor what it imports names: empty where they are few, as there they may be
    its training and its tools."""
    project = _Project(sources)
    graph = dict.fromkeys(project.graph(entry))
    folders = {path.rpartition("/")[0] for path in entry}
    aside = [path for path in project.python() if path not in graph and path.rpartition("/")[0] in folders]
    if len(aside) < _CROWD:
        return ()
    words = {word for path in graph for word in _NAMES.findall(project.text(path))}
    return tuple(path for path in aside if path.rpartition("/")[2].removesuffix(".py") not in words)


def uses(sources: Sources, module: str) -> str | None:
    """The first file that imports `module`, wherever in it."""
    project = _Project(sources)
    for path in project.python():
        text = project.text(path)
        if module in text and any(
            item.name == module or item.name.startswith(f"{module}.") for item in project.imports(path)
        ):
            return path
    return None


def entry_files(argv: Sequence[str], sources: Sources) -> tuple[str, ...]:
    """The project's files that a command's words name: `app.py`, `package.module:app`, `-m package`."""
    files = set(sources.files())
    found: list[str] = []
    for word in argv:
        bare = word.removeprefix("./").removeprefix("/app/")
        module = word.partition(":")[0].replace(".", "/")
        tried = (
            bare,
            bare.partition(":")[0],
            f"{module}.py",
            f"{module}/__main__.py",
            f"{module}/__init__.py",
        )
        found += [
            path for name in tried for path in (name, f"src/{name}") if path in files and path.endswith(".py")
        ]
    return tuple(dict.fromkeys(found))


def reached(sources: Sources, entry: Sequence[str]) -> tuple[str, ...]:
    """`entry` and the project's modules that they import when they are imported; without an entry every module but tests and the like."""
    project = _Project(sources)
    return project.graph(entry) if entry else project.python()


def cells(text: str) -> str:
    """The code of a notebook (nbformat 3 and 4) as one text, without IPython's magics. Empty for what is no notebook."""
    return "\n".join(line for line in _cell_lines(text) if not _MAGIC.match(line))


def imports_of(text: str, path: str) -> tuple[Import, ...]:
    """The imports in the source `text`. Where it is no Python of this version, those that stand on a line of their own."""
    tree = _tree(text)
    if tree is not None:
        return tuple(_walk(tree, path))
    return tuple(_by_line(text, path))


def _tree(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _by_line(text: str, path: str) -> Iterator[Import]:
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.match(line)
        if match is None:
            continue
        place: Place = "inner" if match[1] else "module"
        if match[4]:
            for part in match[4].split(","):
                name = part.split(" as ")[0].strip()
                if _DOTTED.fullmatch(name):
                    yield Import(name, path, number, place)
            continue
        bare = match[2].lstrip(".")
        if not _DOTTED.fullmatch(bare) if bare else not match[2]:
            continue
        names = [part.split(" as ")[0].strip() for part in match[3].split(",")]
        for name in names:
            whole = f"{bare}.{name}".strip(".") if name.isidentifier() else bare
            yield Import(whole, path, number, place, len(match[2]) - len(bare))


class _Project:
    """What the files hold, each read and parsed once."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._files = tuple(sources.files())
        self._texts: dict[str, str] = {}
        self._parsed: dict[str, tuple[Import, ...]] = {}
        self._left = _MOST_IN_ALL
        self._parsable = _MOST_PARSED
        self._python: tuple[str, ...] | None = None
        self._known_files = set(self._files)
        self._folders: set[str] = set()
        self._stems: set[str] = set()
        for path in self._files:
            folder, _, name = path.rpartition("/")
            if name.endswith((".py", ".pyx", ".pyi", ".so", ".pyd")):
                self._stems.add(name.partition(".")[0])
                while folder and folder not in self._folders:
                    self._folders.add(folder)
                    folder = folder.rpartition("/")[0]
        self._folder_names = {folder.rpartition("/")[2] for folder in self._folders}

    def python(self) -> tuple[str, ...]:
        """The files that count: modules, but for tests and the like; notebooks where there is no module."""
        if self._python is None:
            chosen = [path for path in self._files if path.endswith(".py") and not _is_skipped(path)]
            if not chosen:
                chosen = [path for path in self._files if path.endswith(".ipynb") and not _is_skipped(path)]
            chosen.sort(key=lambda path: (path.count("/"), path))
            self._python = tuple(chosen[:_MOST_FILES])
        return self._python

    def text(self, path: str) -> str:
        found = self._texts.get(path)
        if found is None:
            found = ""
            if self._left > 0:
                found = (self._sources.text(path) or "")[:_MOST_BYTES]
                self._left -= len(found)
                if path.endswith(".ipynb"):
                    found = cells(found)
            self._texts[path] = found
        return found

    def imports(self, path: str) -> tuple[Import, ...]:
        found = self._parsed.get(path)
        if found is None:
            text = self.text(path)
            self._parsable -= len(text)
            # The project's folder has parsed it already, most likely.
            known = getattr(self._sources, "module", None) if path.endswith(".py") else None
            module = known(path) if known is not None and self._parsable >= 0 else None
            if module is not None:
                found = tuple(_walk(module.tree, path))
            else:
                found = imports_of(text, path) if self._parsable >= 0 else tuple(_by_line(text, path))
            self._parsed[path] = found
        return found

    def words(self) -> Iterator[str]:
        """Every name that may be imported, by a look at the text alone: too many rather than too few."""
        for path in self.python():
            text = self.text(path)
            if "INSTALLED_APPS" in text or "MIDDLEWARE" in text:  # Django imports these by name
                yield from _BY_NAME.findall(text)
            for match in _WORDS.finditer(text):
                if match[1]:
                    for part in match[1].split(","):
                        yield part.strip().split(" ")[0].strip()
                else:
                    yield match[2]
                    for part in match[3].split(","):
                        yield f"{match[2]}.{part.strip().split(' ')[0].strip()}"

    def is_open(self, word: str, listed: Collection[str]) -> bool:
        """Whether `word` may be a known module that none of `listed` has."""
        if not word or word.startswith(".") or distributions.is_standard(word):
            return False
        entry = distributions.known(word)
        return entry is not None and not _is_covered(entry.requirement, entry.distributions, listed)

    def need(self, item: Import, *, certain: bool) -> Need | None:
        """What `item` needs; None for the standard library and the project's own."""
        name = item.name
        if item.level or not name or distributions.is_standard(name) or self._own(item) is not None:
            return None
        first = name.partition(".")[0]
        entry = distributions.known(name)
        if entry is None:
            # Somewhere else in the project: how it gets on the path is not known, but it is no distribution's.
            own = first in self._stems or first in self._folder_names
            if own or distributions.is_of_surroundings(name) or distributions.is_namespace(first):
                return None
            return Need("", first, item.path, item.line)
        requirement = entry.requirement
        if requirement == "opencv-python-headless" and self._shows_windows():
            requirement = "opencv-python"
        sure = certain and item.place == "module"
        return Need(requirement, entry.module, item.path, item.line, sure, entry.distributions)

    def graph(self, entry: Sequence[str]) -> tuple[str, ...]:
        """`entry` and the project's modules that they import when they are imported, in the order in which they are met."""
        pending, seen = list(reversed(entry)), dict.fromkeys(entry)
        while pending and len(seen) < _MOST_FILES:
            for item in self.imports(pending.pop()):
                if item.place == "optional":
                    continue
                for path in self._own(item) or ():
                    if path not in seen:
                        seen[path] = None
                        pending.append(path)
        return tuple(path for path in seen if path in self._known_files)

    def installed(self) -> Iterator[tuple[str, str]]:
        """The names in a notebook's `!pip install` lines, where notebooks are what is read."""
        for path in self.python():
            if not path.endswith(".ipynb"):
                continue
            for line in _cell_lines((self._sources.text(path) or "")[:_MOST_BYTES]):
                match = _INSTALLED.match(line)
                words = match[1].split() if match else []
                if any(
                    word.startswith("-") and word not in ("-q", "-U", "--quiet", "--upgrade")
                    for word in words
                ):
                    continue
                for word in words:
                    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[\w,-]+\])?(?:==[\w.+!]+)?", word):
                        yield word, path

    def _own(self, item: Import) -> tuple[str, ...] | None:
        """The project's files that an import runs; None where it is not the project's. Like Python on its path: beside the
        file that imports, in the folders above it, and in `src`."""
        folder = item.path.rpartition("/")[0]
        parts = item.name.split(".") if item.name else []
        if item.level:
            for _ in range(item.level - 1):
                folder = folder.rpartition("/")[0]
            return self._module(folder, parts)
        if not parts:
            return None
        places = [folder]
        while folder:
            folder = folder.rpartition("/")[0]
            places.append(folder)
        for place in (*places, "src"):
            first = f"{place}/{parts[0]}" if place else parts[0]
            if first in self._folders or any(f"{first}{end}" in self._known_files for end in (".py", ".pyx")):
                return self._module(place, parts)
            if any(
                path.startswith(f"{first}.") and path.endswith((".so", ".pyd")) for path in self._known_files
            ):
                return ()
        return None

    def _module(self, folder: str, parts: Sequence[str]) -> tuple[str, ...]:
        """The files of a dotted module below `folder`: its packages' `__init__.py`, and itself."""
        found = []
        place = folder
        for part in parts:
            place = f"{place}/{part}" if place else part
            found += [path for path in (f"{place}/__init__.py", f"{place}.py") if path in self._known_files]
        return tuple(found)

    def _shows_windows(self) -> bool:
        return any(re.search(r"cv2\.(?:imshow|namedWindow)\(", self.text(path)) for path in self.python())


def _is_covered(requirement: str, names: Collection[str], listed: Collection[str]) -> bool:
    """Whether one of the distributions `names` is among those that are listed. Where only some versions have the module, no name
    tells."""
    return "<" not in requirement and any(name in listed for name in names)


def _is_skipped(path: str) -> bool:
    *folders, name = path.split("/")
    return (
        any(folder in _SKIPPED_FOLDERS or folder.startswith(".") for folder in folders)
        or _SKIPPED_FILES.fullmatch(name) is not None
    )


def _walk(tree: ast.Module, path: str) -> Iterator[Import]:
    pending: list[tuple[ast.AST, Place]] = [(tree, "module")]
    count = 0
    while pending and count < _MOST_NODES:
        node, place = pending.pop()
        count += 1
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, path, node.lineno, place)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for alias in node.names:
                name = f"{module}.{alias.name}".strip(".") if alias.name != "*" else module
                yield Import(name, path, node.lineno, place, node.level)
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and place == "module":
            yield from _of_django(node, path)
        else:
            pending += reversed(list(_inside(node, place)))


def _of_django(node: ast.Assign | ast.AugAssign | ast.Expr, path: str) -> Iterator[Import]:
    """What Django imports by name: its settings, and from them the applications, the middleware and the URLs."""
    items: list[ast.expr] = []
    if isinstance(node, ast.Expr):
        arguments = node.value.args if isinstance(node.value, ast.Call) else []
        if len(arguments) == 2 and _constant(arguments[0]) == "DJANGO_SETTINGS_MODULE":
            items = [arguments[1]]
    else:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        if names & {"INSTALLED_APPS", "MIDDLEWARE"} and isinstance(node.value, ast.List | ast.Tuple):
            items = node.value.elts
        elif "ROOT_URLCONF" in names:
            items = [node.value]
    for item in items:
        name = _constant(item)
        if _DOTTED.fullmatch(name):
            yield Import(name, path, item.lineno)


def _constant(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _inside(node: ast.AST, place: Place) -> Iterator[tuple[ast.AST, Place]]:
    """The statements in a statement, each with where it stands."""
    if isinstance(node, ast.Try | ast.TryStar):
        guarded: Place = "optional" if any(_catches(handler.type) for handler in node.handlers) else place
        yield from _each(node.body, guarded)
        for handler in node.handlers:
            yield from _each(handler.body, "optional" if guarded == "optional" else place)
        yield from _each([*node.orelse, *node.finalbody], place)
    elif isinstance(node, ast.If):
        words = {
            ast.unparse(part) for part in ast.walk(node.test) if isinstance(part, ast.Name | ast.Attribute)
        }
        if words & {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from _each(node.body, "optional")
            yield from _each(node.orelse, place)
        elif words & _PLATFORM or any(word.endswith("platform.system") for word in words):
            yield from _each([*node.body, *node.orelse], "optional")
        elif "__name__" in words:
            yield from _each(node.body, "inner" if place == "module" else place)
            yield from _each(node.orelse, place)
        else:
            yield from _each([*node.body, *node.orelse], place)
    elif isinstance(node, ast.With | ast.AsyncWith):
        suppressed = any("suppress" in ast.unparse(item.context_expr)[:200] for item in node.items)
        yield from _each(node.body, "optional" if suppressed else place)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from _each(node.body, "inner" if place == "module" else place)
    elif isinstance(node, ast.Match):
        for case in node.cases:
            yield from _each(case.body, place)
    elif isinstance(node, ast.Module | ast.ClassDef):
        yield from _each(node.body, place)
    elif isinstance(node, ast.For | ast.AsyncFor | ast.While):
        yield from _each([*node.body, *node.orelse], place)


def _each(body: Iterable[ast.AST], place: Place) -> Iterator[tuple[ast.AST, Place]]:
    return ((node, place) for node in body)


def _catches(kind: ast.expr | None) -> bool:
    """Whether an `except` takes what a missing module raises."""
    if kind is None:
        return True
    parts = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(isinstance(part, ast.Name) and part.id in _GUARDS for part in parts)


def _cell_lines(text: str) -> list[str]:
    """The lines of a notebook's code cells."""
    import json

    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(document, dict):
        return []
    found = document.get("cells")
    sheets = document.get("worksheets")
    if not isinstance(found, list) and isinstance(sheets, list):  # nbformat 3
        found = [cell for sheet in sheets if isinstance(sheet, dict) for cell in _list(sheet.get("cells"))]
    lines: list[str] = []
    for cell in _list(found):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", cell.get("input", ""))
        joined = "".join(map(str, source)) if isinstance(source, list) else str(source)
        if not joined.lstrip().startswith("%%") or joined.lstrip().startswith(("%%time", "%%capture")):
            lines += joined.splitlines()
    return lines


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
