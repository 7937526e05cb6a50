"""What a lock depends on, in normal form, and its hash: a lock is stale when this changed, and only then.

Comments, spacing and order in a requirements file, a description or a tool's settings in pyproject.toml change nothing
here. Addresses count without their credentials. What only this machine says (environment variables, pip.conf, uv.toml of
the user) does not count: a lock names no hosts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corten.errors import ProjectError
from corten.lazy import regex
from corten.lock.model import DebianBase, PlatformLock
from corten.lock.serving import serving_digest
from corten.oci.config import canonical_json
from corten.oci.digest import Digest
from corten.packages.requirements import (
    Local,
    Repairing,
    Requirement,
    Requirements,
    normal_name,
    parse_requirement,
    read_requirements,
    without_credentials,
)
from corten.packages.trust import Boundary, read_trust, within
from corten.project.build_needs import BuildNeeds
from corten.project.formats.lines import Translated
from corten.project.formats.translate import FORMATS, LOCKS, translated
from corten.project.model import Predictor, Project, Unlisted
from corten.project.regular import open_regular
from corten.project.repairs import Repair, Repairs, notes
from corten.project.setup_files import requires

_UV_KEYS = (
    "sources",
    "index",
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "index-strategy",
    "prerelease",
    "resolution",
    "exclude-newer",
    "exclude-newer-package",
    "constraint-dependencies",
    "override-dependencies",
    "exclude-dependencies",
    "dependency-metadata",
)
_WRITTEN = ("dependencies", "optional-dependencies")
_OWN_EXTRA = regex(r"\s*([A-Za-z0-9._-]+)\s*\[([^\]]*)\]")


def inputs_digest(project: Project) -> Digest:
    """The hash of everything that `project`'s lock depends on. Raises ProjectError when an input is missing or damaged."""
    return Digest.of(canonical_json(inputs(project)))


def inputs(project: Project) -> dict[str, Any]:
    """Everything that `project`'s lock depends on, in normal form."""
    dependencies = project.dependencies
    document: dict[str, Any] = {
        "inputs": 1,
        "kind": dependencies.kind,
        "python": project.python,
        "requires-python": re.sub(r"\s+", "", project.requires_python or ""),
        "base": project.base,
        "system": sorted(set(project.system)),
        "platforms": sorted(str(platform) for platform in project.platforms),
        "gpu": project.gpu,
        "extras": sorted(normal_name(name) for name in dependencies.extras),
        "groups": sorted(normal_name(name) for name in dependencies.groups),
        "serving": serving_digest() if isinstance(project.entry, Predictor) else None,
    }
    if project.build_system:
        document["build-system"] = sorted(set(project.build_system))
    if project.build_needs != BuildNeeds():
        needs = project.build_needs
        document["build-needs"] = [[[name, *lines] for name, lines in needs.further], [*needs.constraints]]
    if project.hub:
        document["hub"] = sorted(project.hub)
    locks = bool(dependencies.files) and all(path.name in LOCKS for path in dependencies.files)
    if dependencies.kind == "requirements" and locks:
        # To read thousands of hashes takes longer than a build with nothing to do.
        for path in dependencies.files:
            boundary_of(project).permitted(path, "the project")
        document["files"] = [_file_hash(path) for path in dependencies.files]
        pyproject = read_pyproject(project.root)
        document["written"] = _bare(
            {
                "project": {key: _table(pyproject, "project").get(key) or [] for key in _WRITTEN},
                "groups": _table(pyproject, "dependency-groups"),
                "poetry": _table(_table(pyproject, "tool"), "poetry"),
            }
        )
    elif dependencies.kind == "requirements":
        read = requirements_of(project)
        document["requirements"] = [_relative(item.text, project.root) for item in read.requirements]
        document["constraints"] = [_relative(item.text, project.root) for item in read.constraints]
        document["options"] = list(read.options)
        document |= _local(read) | _built_here(project, read)
    if dependencies.kind in {"uv.lock", "pylock"}:
        for path in dependencies.files:
            boundary_of(project).permitted(path, "the project")
        document[dependencies.kind] = [_file_hash(path) for path in dependencies.files]
    if dependencies.kind in {"uv.lock", "pylock", "pyproject"}:
        document |= _pyproject(project)
    if dependencies.kind == "pyproject":
        read = pyproject_requirements(project)
        if read.local:
            document |= _local(read)
            document["of-local"] = [_relative(item.text, project.root) for item in read.requirements]
        document |= _built_here(project, read)
    if project.implied:
        document["implied"] = sorted({item.text for item in implied_requirements(project)})
    return document


def local_packages(project: Project, environment: Mapping[str, str] | None = None) -> tuple[Local, ...]:
    """The packages in folders of the project that its requirements files or pyproject.toml require. Raises as `requirements_of`."""
    if project.dependencies.kind == "requirements":
        return requirements_of(project, environment).local
    return (
        pyproject_requirements(project, environment).local if project.dependencies.kind == "pyproject" else ()
    )


def _local(read: Requirements) -> dict[str, Any]:
    """Folders that are used as packages. Without them the document is as it was before there were any."""
    return {"local": [[item.path, item.marker] for item in read.local]} if read.local else {}


def references_of(project: Project, environment: Mapping[str, str] | None = None) -> tuple[Requirement, ...]:
    """The requirements that name a source instead of a package, as the project's files or another tool's lock have them."""
    kind = project.dependencies.kind
    if kind in ("requirements", "pyproject"):
        read = (requirements_of if kind == "requirements" else pyproject_requirements)(project, environment)
        return tuple(item for item in read.requirements if item.kind in ("vcs", "archive", "path"))
    if kind == "none":
        return ()
    from corten.lock.pylock import every_package as in_pylock
    from corten.lock.referenced import of_lock
    from corten.lock.references import in_folders
    from corten.lock.uvlock import every_package as in_uv_lock

    every = in_uv_lock if kind == "uv.lock" else in_pylock
    packages, _ = in_folders(project.root, every(project.dependencies.files[0], project.root))
    return tuple(item for package in packages if (item := of_lock(package)) is not None)


def _built_here(project: Project, read: Requirements) -> dict[str, Any]:
    """What stands for the content of folders and archives of this machine that are built."""
    found: dict[str, str] = {}
    boundary = boundary_of(project)
    for item in read.requirements:
        location = (item.location or "").partition("#")[0]
        if item.kind not in ("path", "archive") or (
            "://" in location and not location.lower().startswith("file:")
        ):
            continue
        from corten.lock.references import local_place
        from corten.project.source_tree import digest_of

        place = boundary.permitted(local_place(location), item.where or "the project")
        if item.kind == "path" and not place.is_dir():
            where = f"{item.where}: " if item.where else ""
            raise ProjectError(f"{where}there is no folder '{place}'", hint="correct the path")
        found[_relative(item.text, project.root)] = (
            _file_hash(place) if item.kind == "archive" else digest_of(place)
        )
    return {"built": found} if found else {}


def implied_requirements(project: Project) -> tuple[Requirement, ...]:
    """What Corten adds to the project's own requirements. Raises ProjectError for what is no requirement."""
    return tuple(parse_requirement(item.requirement, "what Corten adds") for item in project.implied)


def open_imports(project: Project, part: PlatformLock) -> tuple[Unlisted, ...]:
    """What the project imports as it starts and `part` neither has nor was made without."""
    if not isinstance(part.base, DebianBase):  # an image may have it
        return ()
    names = {wheel.name for wheel in part.wheels} | {*part.without}
    return tuple(item for item in project.unlisted if not names & {*item.distributions})


def requirements_of(project: Project, environment: Mapping[str, str] | None = None) -> Requirements:
    """What the project's requirements files ask for. Raises ProjectError, and NotConfirmed for a file outside the project."""
    boundary = boundary_of(project, environment)
    dependencies = project.dependencies

    def translating(file: Path, text: str) -> Translated | None:
        if file.name not in FORMATS:
            return None
        pyproject = read_pyproject(project.root)
        return translated(file.name, text, pyproject, dependencies.extras, dependencies.groups)

    read = read_requirements(dependencies.files, boundary.permitted, _repairing(project), translating)
    return _expanded(project, read, boundary, {})


def pyproject_requirements(project: Project, environment: Mapping[str, str] | None = None) -> Requirements:
    """What `[project]` in pyproject.toml asks for, with the chosen extras and groups. Raises as `requirements_of`."""
    pyproject = read_pyproject(project.root)
    own = normal_name(str(_table(pyproject, "project").get("name") or project.name))
    items = [
        item
        for text in written_requirements(project)
        if not (
            (item := parse_requirement(text, "pyproject.toml", project.root)).kind == "name"
            and item.name == own
            and re.match(r"[^\s;]+\[", text)
        )
    ]
    return _expanded(project, Requirements(tuple(items)), boundary_of(project, environment), pyproject)


def _expanded(
    project: Project, read: Requirements, boundary: Boundary, pyproject: dict[str, Any]
) -> Requirements:
    """`read` with what the project's folders require in the place of these."""
    sources = _table(_table(_table(pyproject, "tool"), "uv"), "sources")
    if not sources and not any(item.kind == "path" for item in read.requirements):
        return read  # as nearly always, and then none of it is imported
    from corten.lock.references import expand

    return expand(project.root, read, boundary, pyproject)


def repair_notes(project: Project) -> tuple[str, ...]:
    """The lines of requirements files that are not read as they stand, and what of other tools' files is left out, in words."""
    if project.dependencies.kind != "requirements":
        return ()
    by_file: dict[str, list[Repair]] = {}
    read = requirements_of(project)
    for file, item in read.repaired:
        assert isinstance(item, Repair)
        by_file.setdefault(file, []).append(item)
    return (*(note for file, found in by_file.items() for note in notes(file, found)), *read.notes)


def _extras_of(root: Path, extras: Sequence[str]) -> list[str]:
    """What the extras of a project add that setup.py, setup.cfg or `[tool.poetry]` lists."""
    from corten.project.local_packages import LocalPackage, describe

    package = describe(root, "")
    optional = dict(package.optional) if isinstance(package, LocalPackage) else {}
    return [item for name in extras for item in optional.get(normal_name(name), ())]


def _leads_out(root: Path) -> bool:
    """Whether setup.py or setup.cfg is a link out of the project."""
    inside = os.path.realpath(root)
    return any(not within(os.path.realpath(root / name), inside) for name in ("setup.py", "setup.cfg"))


def built_days(project: Project) -> dict[str, str]:
    """When the versions of packages were built of which requirements files have only that, by normal names."""
    if project.dependencies.kind != "requirements":
        return {}
    repaired = [item for _, item in requirements_of(project).repaired if isinstance(item, Repair)]
    return {normal_name(line): item.day for item in repaired if item.day for line in item.lines}


def _repairing(project: Project) -> Repairing:
    """The repairs of `project`'s requirements files. A line that names the project itself stands for what it requires."""

    def itself(extras: Sequence[str]) -> Sequence[str] | None:
        table = _table(read_pyproject(project.root), "project")
        if "dependencies" not in table:
            if _leads_out(project.root):
                return None
            listed = requires(project.root)
            return listed if listed is None or not extras else [*listed, *_extras_of(project.root, extras)]
        optional = {
            normal_name(name): _strings(items)
            for name, items in _table(table, "optional-dependencies").items()
        }
        chosen = [item for name in extras for item in optional.get(normal_name(name), ())]
        return [*_strings(table["dependencies"]), *chosen]

    def own() -> Sequence[str]:
        written = _table(read_pyproject(project.root), "project").get("name")
        return [str(written or project.name), project.name, project.root.name]

    repairs = Repairs(own, itself)

    def of(file: Path, text: str) -> Callable[[str], Repair | None]:
        folder = os.path.normpath(file.parent)
        inside = within(folder, str(project.root))
        return repairs.of(text, len(Path(folder).relative_to(project.root).parts) if inside else None)

    return of


def boundary_of(project: Project, environment: Mapping[str, str] | None = None) -> Boundary:
    """Which paths the project may name, by what is confirmed in `environment`'s store."""
    environment = os.environ if environment is None else environment
    return Boundary(project.root, read_trust(project.root, environment))


def read_pyproject(root: Path) -> dict[str, Any]:
    """`pyproject.toml` in `root`; empty when there is none. Raises ProjectError when it is not TOML."""
    from corten.toml import parse

    path = root / "pyproject.toml"
    if path.is_symlink() and not within(os.path.realpath(path), os.path.realpath(root)):
        raise ProjectError(
            "'pyproject.toml' is a link that leads out of the project",
            hint="put the file itself into the project",
        )
    try:
        with open_regular(path) as file:
            return parse(file.read().decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ProjectError(f"'{path}' cannot be read: {error}") from error


def _pyproject(project: Project) -> dict[str, Any]:
    uv = _table(_table(read_pyproject(project.root), "tool"), "uv")
    return {
        "requirements": sorted(parse_requirement(item).text for item in written_requirements(project)),
        "uv": {key: _bare(uv[key]) for key in _UV_KEYS if key in uv},
    }


def written_requirements(project: Project) -> list[str]:
    """The requirements of pyproject.toml as they are written, with those of the chosen extras and groups."""
    return sorted(_closure(project)[0])


def inputs_extras(project: Project) -> set[str]:
    """The chosen extras, and those that they are made of."""
    return _closure(project)[1]


def _closure(project: Project) -> tuple[set[str], set[str]]:
    document = read_pyproject(project.root)
    table = _table(document, "project")
    optional = {
        normal_name(name): _strings(items) for name, items in _table(table, "optional-dependencies").items()
    }
    groups = {normal_name(name): items for name, items in _table(document, "dependency-groups").items()}
    own = normal_name(str(table.get("name") or project.name))
    requirements = set(_strings(table.get("dependencies")))
    wanted = [normal_name(name) for name in project.dependencies.groups]
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        for item in groups.get(name) or []:
            if isinstance(item, dict):
                wanted.append(normal_name(str(item.get("include-group", ""))))
            else:
                requirements.add(str(item))
    extras = [normal_name(name) for name in project.dependencies.extras]
    taken: set[str] = set()
    while True:
        for item in requirements:
            match = _OWN_EXTRA.match(item)
            if (
                match and normal_name(match[1]) == own
            ):  # an extra that is made of other extras of the same project
                extras += [normal_name(name) for name in match[2].split(",") if name.strip()]
        fresh = [name for name in extras if name not in taken]
        if not fresh:
            return requirements, taken
        taken |= set(fresh)
        for name in fresh:
            requirements |= set(optional.get(name, ()))


def _bare(value: Any) -> Any:
    """A TOML value as JSON, without credentials."""
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if isinstance(value, str):
        return without_credentials(value)
    return value if isinstance(value, (bool, int, float)) else str(value)


def _relative(text: str, root: Path) -> str:
    """`text` without the place of the project on this machine."""
    return text.replace(f"{root}/", "./")


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _file_hash(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ProjectError(
            f"'{path}' cannot be read: {(error.strerror or str(error)).lower()}",
            hint="check that it is there",
        ) from error
