"""Packages in a folder of the project (`./libs/x`, `-e ./libs/x`, members of a workspace) that are used where they lie.

Their files are in the image with the project's other files. What an installer would add is read from pyproject.toml, setup.cfg or
setup.py: the name, the requirements, the entry points, and the folder that goes on the import path. Nothing is run. A
package that is not complete before it is built (compiled parts, computed requirements, renamed folders) is not used like this.
"""

from __future__ import annotations

import configparser
import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from corten.errors import FormatError, ProjectError
from corten.lazy import regex
from corten.oci.inside import Inside
from corten.project.setup_files import Setup, keywords
from corten.values import dataclass

UNKNOWN = "0.0.0"
"""The version of a package that only a build, or git's tags, would tell: programs ask for it by `importlib.metadata`, and end where there is none."""
_MOST_BYTES = 1 << 20
_NAME = regex(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?")
_VERSION = regex(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,100}")
_ASSIGNED = regex(r"""(?m)^(?:__version__|VERSION|version)\s*(?::[^=\n]*)?=\s*["']([^"'\n]{1,100})["']""")
_TARGET = regex(r"\s*[\w.]+\s*(?::\s*[\w.]+\s*)?(?:\[.*\])?\s*")
_GROUP = regex(r"[\w.-]{1,100}")
_ENTRY = regex(r"[\w.-][\w .-]{0,98}[\w.-]|[\w.-]")
_COMPILING = regex(
    r"(?:^|[\s\"'])(maturin|scikit[-_]build(?:[-_]core)?|mesonpy|meson[-_]python|setuptools[-_]rust|cython|pybind11|nanobind|cffi|numpy|hatch[-_]cython|mypy)\b",
    re.IGNORECASE,
)
_COMPILED = ("ext_modules", "ext_package", "cffi_modules", "rust_extensions", "libraries", "cmake_source_dir")


@dataclass(frozen=True, slots=True)
class LocalPackage:
    """A package in the folder `path` of the project. `version` is UNKNOWN where no file has it written down, and None
    where nothing says that there is one; `roots` are the folders of the
    project that go on the import path; `optional` are the requirements of its extras by normal name; `entry_points` are
    (group, name, target); `sources` is its `[tool.uv.sources]`."""

    path: str
    name: str
    version: str | None
    roots: tuple[str, ...]
    requires: tuple[str, ...] = ()
    optional: tuple[tuple[str, tuple[str, ...]], ...] = ()
    entry_points: tuple[tuple[str, str, str], ...] = ()
    sources: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NeedsBuild:
    """Why a folder cannot be used as it lies, in words that follow its name."""

    reason: str


def describe(root: Path, path: str) -> LocalPackage | NeedsBuild:
    """The package in the folder `path` of the project at `root`. Raises ProjectError for files that are damaged. No file is read that
    lies outside the project, or that a link within the package leads to."""
    folder = Path(os.path.realpath(root / path))
    if not folder.is_relative_to(os.path.realpath(root)):
        return NeedsBuild("is a link that leads out of the project")
    pyproject = _pyproject(folder, path)
    backend = _table(pyproject, "build-system")
    compiling = _COMPILING.search(
        " ".join(map(str, [*_list(backend.get("requires")), backend.get("build-backend", "")]))
    )
    if compiling is not None:
        return NeedsBuild(f"is built with {compiling[1]}")
    setup = keywords(_text(folder, "setup.py") or "")
    if setup is None and (folder / "setup.py").exists() and not _table(pyproject, "project"):
        return NeedsBuild("has a setup.py that cannot be read without running it")
    setup = setup or Setup({}, frozenset())
    for key in _COMPILED:
        if setup.values.get(key) or key in setup.computed:
            return NeedsBuild("has parts that are compiled")
    for key in ("cmdclass", "**"):
        if setup.values.get(key) or key in setup.computed:
            return NeedsBuild("has a setup.py with steps of its own")
    if (folder / "Cargo.toml").exists() or _tool(pyproject, "setuptools").get("ext-modules"):
        return NeedsBuild("has parts that are compiled")
    found = _of_project(folder, path, pyproject, setup)
    if isinstance(found, NeedsBuild):
        return found
    roots = _roots(folder, pyproject, setup)
    if isinstance(roots, NeedsBuild):
        return roots
    computed = "version" in _list(_table(pyproject, "project").get("dynamic")) or "version" in setup.computed
    unknown = UNKNOWN if path or computed else None
    return LocalPackage(
        path,
        found.name,
        found.version or _written_version(folder, pyproject, roots, found.name) or unknown,
        tuple(os.path.normpath(f"{path}/{place}") if place else path for place in roots),
        found.requires,
        found.optional,
        found.entry_points,
        _table(_tool(pyproject, "uv"), "sources"),
    )


def _of_project(
    folder: Path, path: str, pyproject: Mapping[str, Any], setup: Setup
) -> LocalPackage | NeedsBuild:
    """What the folder's files say of the package but for its import path."""
    project, poetry = _table(pyproject, "project"), _tool(pyproject, "poetry")
    config = _config(folder)
    computed = NeedsBuild("has requirements that are computed when it is built")
    if project.get("name"):
        dynamic = _list(project.get("dynamic"))
        requires: Iterable[object] | None = _list(project.get("dependencies"))
        if "dependencies" in dynamic:
            requires = _dynamic(folder, pyproject, config, setup)
        if requires is None or (
            "optional-dependencies" in dynamic and "optional-dependencies" not in project
        ):
            return computed
        optional: Mapping[str, Any] = _table(project, "optional-dependencies")
        groups = {
            "console_scripts": _table(project, "scripts"),
            "gui_scripts": _table(project, "gui-scripts"),
        }
        groups |= {
            name: items for name, items in _table(project, "entry-points").items() if isinstance(items, dict)
        }
        if not groups["console_scripts"]:
            groups["console_scripts"] = _table(poetry, "scripts")
        return _made(
            path, project["name"], project.get("version") or poetry.get("version"), requires, optional, groups
        )
    if poetry.get("name"):
        from corten.project.formats import poetry as poetrys

        lines = [root.requirement() for root in poetrys.required(pyproject, (), ())]
        extras = {
            name: [root.requirement() for root in poetrys.required(pyproject, (name,), ())]
            for name in poetrys.extras_of(pyproject)
        }
        groups = {"console_scripts": _table(poetry, "scripts"), **_table(poetry, "plugins")}
        return _made(path, poetry["name"], poetry.get("version"), lines, extras, groups)
    name = config.get("metadata", "name", fallback="") or setup.values.get("name")
    if not name:
        return NeedsBuild(
            "has no name that can be read without running it"
            if (folder / "setup.py").exists() or pyproject
            else "has neither a pyproject.toml nor a setup.py"
        )
    if setup.computed & {"install_requires", "extras_require", "entry_points"}:
        return computed
    listed = setup.values.get("install_requires", ())
    requires = listed.splitlines() if isinstance(listed, str) else _list(listed)
    if config.has_option("options", "install_requires"):
        requires = config.get("options", "install_requires").splitlines()
        if any(line.strip().startswith("file:") for line in requires):
            return computed
    version = config.get("metadata", "version", fallback="") or setup.values.get("version")
    groups = _entry_points(setup.values.get("entry_points"))
    if config.has_section("options.entry_points"):
        groups |= {group: _pairs(text) for group, text in config.items("options.entry_points")}
    given = setup.values.get("extras_require")
    optional = dict(given) if isinstance(given, dict) else {}
    if config.has_section("options.extras_require"):
        optional |= {key: text.splitlines() for key, text in config.items("options.extras_require")}
    return _made(path, name, version, requires, optional, groups)


def _made(
    path: str,
    name: object,
    version: object,
    requires: Iterable[object],
    optional: Mapping[str, Any],
    groups: Mapping[str, Any],
) -> LocalPackage:
    """Everything checked. Raises ProjectError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ProjectError(f"'{path}' has a package {str(name)[:60]!r}", hint="correct its name")
    known = isinstance(version, str) and _VERSION.fullmatch(version) is not None
    entries: list[tuple[str, str, str]] = []
    for group, items in sorted(groups.items()):
        for key, target in sorted(items.items()) if isinstance(items, dict) else ():
            target = (
                target.get("callable", target.get("reference", "")) if isinstance(target, dict) else target
            )
            usable = isinstance(target, str) and _TARGET.fullmatch(target) and _ENTRY.fullmatch(str(key))
            if not usable or not _GROUP.fullmatch(group) or key in (".", ".."):
                raise ProjectError(
                    f"the entry point {str(key)[:60]!r} of '{path}' must lead to a 'module:function', not {str(target)[:60]!r}",
                    hint='for example tool = "package.cli:main"',
                )
            entries.append((group, str(key), re.sub(r"\s|\[.*\]", "", str(target))))
    return LocalPackage(
        path,
        normal(name),
        str(version) if known else None,
        (),
        _texts(requires),
        tuple(sorted((normal(str(key)), _texts(_list(items))) for key, items in optional.items())),
        tuple(entries),
    )


def _dynamic(
    folder: Path, pyproject: Mapping[str, Any], config: configparser.ConfigParser, setup: Setup
) -> list[object] | None:
    """The requirements that setuptools takes from elsewhere; None where they are computed."""
    entry = _table(_tool(pyproject, "setuptools"), "dynamic").get("dependencies")
    if isinstance(entry, dict):
        files = entry.get("file")
        found: list[object] = []
        for name in [files] if isinstance(files, str) else _list(files):
            text = _text(folder, str(name))
            if text is None:
                return None
            lines = [re.sub(r"(^|\s)#.*$", "", line).strip() for line in text.splitlines()]
            found += [line for line in lines if line]
        return found
    if config.has_option("options", "install_requires"):
        return [
            line.strip() for line in config.get("options", "install_requires").splitlines() if line.strip()
        ]
    if "install_requires" in setup.computed:
        return None
    value = setup.values.get("install_requires")
    return list(value) if isinstance(value, list | tuple) else None


def _roots(folder: Path, pyproject: Mapping[str, Any], setup: Setup) -> list[str] | NeedsBuild:
    """The folders below `folder` that go on the import path."""
    tool = _tool(pyproject, "setuptools")
    config = _config(folder)
    directories: object = tool.get("package-dir") or setup.values.get("package_dir")
    if config.has_option("options", "package_dir"):
        directories = _pairs(config.get("options", "package_dir"))
    found: list[str] = []
    if "package_dir" in setup.computed:
        return NeedsBuild("has folders that are computed when it is built")
    for name, place in directories.items() if isinstance(directories, dict) else ():
        if name != "":
            parts = str(name).split(".")
            if str(place).strip("./").split("/")[-len(parts) :] != parts:
                return NeedsBuild("has packages in folders of other names")
            place = "/".join(str(place).strip("./").split("/")[: -len(parts)])
        found.append(str(place))
    where = _table(_table(tool, "packages"), "find").get("where")
    found += map(str, _list(where)) if isinstance(where, list) else ()
    if isinstance(setup.values.get("packages"), str) and setup.values["packages"]:
        found.append(str(setup.values["packages"]))
    if config.has_option("options.packages.find", "where"):
        found.append(config.get("options.packages.find", "where").strip())
    hatch = _table(_tool(pyproject, "hatch"), "build", "targets", "wheel")
    if (
        hatch.get("sources")
        or hatch.get("force-include")
        or _table(_tool(pyproject, "hatch"), "build").get("hooks")
    ):
        return NeedsBuild("has files that its build moves or makes")
    found += [os.path.dirname(str(item).strip("/")) for item in _list(hatch.get("packages"))]
    for item in _list(_tool(pyproject, "poetry").get("packages")):
        if isinstance(item, dict):
            if item.get("to"):
                return NeedsBuild("has packages in folders of other names")
            found.append(str(item.get("from") or ""))
    if _tool(pyproject, "poetry").get("build"):
        return NeedsBuild("has a build script")
    module_root = _table(_tool(pyproject, "uv"), "build-backend").get("module-root")
    found += [module_root] if isinstance(module_root, str) else []
    package_dir = _table(_tool(pyproject, "pdm"), "build").get("package-dir")
    found += [package_dir] if isinstance(package_dir, str) else []
    places = list(dict.fromkeys(os.path.normpath(item or ".").removeprefix("./") for item in found))
    if any(item.startswith(("..", "/")) or not item.isprintable() for item in places):
        return NeedsBuild("has packages outside its folder")
    places = ["" if item == "." else item for item in places]
    if not places:
        source = folder / "src"
        places = ["src"] if source.is_dir() and not (source / "__init__.py").exists() else [""]
    return places


def compiled_parts(root: Path) -> str:
    """Why the code of the project at `root` is not complete before it is compiled, in words that follow its name; empty where it is."""
    try:
        found = describe(root, "")
    except ProjectError:
        return ""  # nothing of it was asked for
    reason = found.reason if isinstance(found, NeedsBuild) else ""
    return reason if "compiled" in reason or reason.startswith("is built with") else ""


def import_roots(local: Iterable[LocalPackage]) -> tuple[str, ...]:
    """The folders of `local` as paths in an image, but for those that are on the import path anyway."""
    roots = (
        f"/app/{root}" if root not in ("", ".") else "/app" for package in local for root in package.roots
    )
    return tuple(root for root in dict.fromkeys(roots) if root not in ("/app", "/app/src"))


def _written_version(
    folder: Path, pyproject: Mapping[str, Any], roots: Iterable[str], name: str
) -> str | None:
    """The version that stands in a file from which the build takes it: `__version__ = "1.2"`, or a file of its own. None where none does."""
    dynamic = _table(_tool(pyproject, "setuptools"), "dynamic").get("version")
    dynamic = dynamic if isinstance(dynamic, dict) else {}
    named = (
        dynamic.get("attr") or _config(folder).get("metadata", "version", fallback="").partition("attr:")[2]
    )
    module = str(named or "").strip().rpartition(".")[0].replace(".", "/") or name.replace("-", "_")
    files = [
        f"{root}/{module}{ending}"
        for root in roots
        for ending in ("/__init__.py", ".py", "/_version.py", "/version.py")
    ]
    own = dynamic.get("file") or _table(_tool(pyproject, "hatch"), "version").get("path")
    for place in [*([own] if isinstance(own, str) else _list(own)), *files]:
        place = os.path.normpath(str(place).strip("/"))
        if place.startswith("..") or "\0" in place:
            continue
        text = (_text(folder, place) or "")[:100_000]
        match = _ASSIGNED.search(text) or (_VERSION.fullmatch(text.strip()) if place == own else None)
        if match is not None and _VERSION.fullmatch(match[match.lastindex or 0]):
            return match[match.lastindex or 0]
    return None


def members(root: Path, pyproject: Mapping[str, Any]) -> dict[str, str]:
    """The folders of the members of the uv workspace in `root` by their normal names, from `[tool.uv.workspace]`."""
    workspace = _table(_tool(pyproject, "uv"), "workspace")
    excluded = {path for pattern in _list(workspace.get("exclude")) for path in _matching(root, str(pattern))}
    found: dict[str, str] = {}
    for pattern in _list(workspace.get("members")):
        for path in _matching(root, str(pattern)):
            if path in excluded or not (root / path / "pyproject.toml").is_file():
                continue
            folder = Path(os.path.realpath(root / path))
            name = _table(_pyproject(folder, path), "project").get("name")
            if isinstance(name, str):
                found[normal(name)] = path
    return found


def read_table(folder: Path) -> dict[str, Any]:
    """The pyproject.toml of a folder; empty where there is none. Raises ProjectError."""
    return _pyproject(folder, folder.name)


def _matching(root: Path, pattern: str) -> list[str]:
    """The folders that a pattern of a workspace names; a pattern that leads out names none. A link to a folder of the project may be
    one of them; none is passed through."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if pattern.startswith("/") or ".." in parts or "**" in pattern or "\0" in pattern or not parts:
        return []
    top = os.path.realpath(root)
    found = [""]
    with Inside(top) as inside:
        for number, part in enumerate(parts, 1):
            places = [place for above in found for place in _named(inside, above, part)]
            found = [
                place for place in places if _is_folder(inside, place, top if number == len(parts) else None)
            ]
    return sorted(found)[:2000]


def _named(inside: Inside, folder: str, part: str) -> list[str]:
    """What in `folder` has a name that one component of a pattern matches, as paths."""
    names = [part]
    if any(letter in part for letter in "*?["):
        try:
            names = [name for name in inside.listing(folder) if fnmatch.fnmatchcase(name, part)]
        except OSError:
            return []
    return [f"{folder}/{name}" if folder else name for name in names]


def _is_folder(inside: Inside, path: str, top: str | None) -> bool:
    """Whether `path` is a folder, or a link to one below `top`."""
    try:
        status = inside.status(path)
    except OSError:  # a name that no file can have
        return False
    if status is None or not stat.S_ISLNK(status.st_mode):
        return status is not None and stat.S_ISDIR(status.st_mode)
    real = Path(os.path.realpath(f"{top}/{path}"))
    return top is not None and real.is_relative_to(top) and real.is_dir()


def normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _entry_points(value: object) -> dict[str, Any]:
    """`entry_points` of setup.py."""
    if not isinstance(value, dict):
        return {}
    return {
        str(group): _pairs("\n".join(map(str, items)) if isinstance(items, list | tuple) else str(items))
        for group, items in value.items()
    }


def _pairs(text: str) -> dict[str, str]:
    """The lines `name = value`."""
    split = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in split}


def _texts(items: Iterable[object]) -> tuple[str, ...]:
    return tuple(text for item in items if (text := str(item).strip()) and not text.startswith("#"))


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _tool(pyproject: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _table(pyproject, "tool", name)


def _table(table: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        value = table.get(key)
        table = value if isinstance(value, dict) else {}
    return table


def _config(folder: Path) -> configparser.ConfigParser:
    """setup.cfg; empty where there is none that can be read."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(_text(folder, "setup.cfg") or "")
    except configparser.Error:
        return configparser.ConfigParser(interpolation=None)
    return parser


def _pyproject(folder: Path, path: str) -> dict[str, Any]:
    from corten.toml import parse

    text = _text(folder, "pyproject.toml")
    try:
        return parse(text or "")
    except (ValueError, RecursionError) as error:
        raise ProjectError(
            f"'{path}/pyproject.toml' cannot be read: it is not TOML", hint="correct the file"
        ) from error


def _text(folder: Path, name: str) -> str | None:
    """The text of the file `name` of the package in `folder`; None for one that is not there, that lies outside, or that a link at
    any component leads to: where it leads is not looked at."""
    if name.startswith("/"):
        return None
    try:
        with Inside(folder) as inside:
            return inside.read(name, _MOST_BYTES).decode("utf-8", "replace")
    except (OSError, FormatError, ValueError):
        return None
