"""The project's own code: a tree with /app, its bytecode, and what an installed project would have in the environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corten.build.bytecode import Compiler
from corten.build.environment import Environment
from corten.build.sources import place_source
from corten.oci.inside import Inside
from corten.project.local_packages import LocalPackage, import_roots
from corten.project.model import Project, SourceFile

_SCRIPT = """\
#!{interpreter}
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.argv[0] = sys.argv[0].removesuffix(".exe")
    sys.exit({call}())
"""


def place_code(
    project: Project,
    files: Sequence[SourceFile],
    environment: Environment,
    tree: Path,
    compiler: Compiler,
    local: Sequence[LocalPackage] = (),
) -> None:
    """Copy `files` of the project to /app below `tree`, without the logins of package indexes, with checked-hash bytecode,
    because people mount over it (DECISIONS 9), the alias of /app, and write
    the scripts and the metadata that the project and its packages in folders (`local`) declare. Raises BuildError."""
    tree.mkdir(exist_ok=True)
    with Inside(tree) as inside:
        inside.directory("app", make=True)
        if project.alias:
            inside.symlink(project.alias.strip("/"), "/app")
        for file in files:
            if file.link is not None:
                inside.symlink(f"app/{file.path}", file.link)
            else:
                place_source(project.root / file.path, inside, f"app/{file.path}", file.executable, file.path)
        own = next((package.version for package in local if not package.path), None)
        version = project.version or own
        _place_metadata(project.name, version, entry_points(project, local), environment, inside)
        for package in local:
            if package.path:
                _place_metadata(package.name, package.version, package.entry_points, environment, inside)
        roots = import_roots(local)
        if roots:
            lines = "".join(f"{path}\n" for path in roots)
            inside.write(f"{environment.site_packages}/{PATH_FILE}", lines.encode())
    sources = [f"app/{file.path}" for file in files if file.path.endswith(".py") and file.link is None]
    compiler.compile(tree, sources, "checked")


PATH_FILE = "_corten_local.pth"
"""What puts the folders of packages that are used where they lie on Python's import path, after what is installed."""


def entry_points(project: Project, local: Sequence[LocalPackage]) -> tuple[tuple[str, str, str], ...]:
    """The project's own entry points: those of `[project.scripts]`, and what else its files declare."""
    own = next((package.entry_points for package in local if not package.path), ())
    scripts = tuple(("console_scripts", name, target) for name, target in sorted(project.scripts))
    names = {(group, name) for group, name, _ in scripts}
    return (*scripts, *(item for item in own if item[:2] not in names))


def _place_metadata(
    name: str,
    version: str | None,
    entries: Sequence[tuple[str, str, str]],
    environment: Environment,
    tree: Inside,
) -> None:
    """What `importlib.metadata` and the shell find of an installed package (core metadata 2.1, entry points)."""
    if version is not None:
        information = f"{environment.site_packages}/{name.replace('-', '_')}-{version}.dist-info"
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        tree.write(f"{information}/METADATA", about.encode())
        tree.write(f"{information}/INSTALLER", b"corten\n")
        if entries:
            tree.write(f"{information}/entry_points.txt", _as_text(entries).encode())
    for group, script, target in entries:
        module, _, call = target.partition(":")
        if group in ("console_scripts", "gui_scripts") and call:
            text = _SCRIPT.format(
                interpreter=environment.interpreter, module=module, first=call.split(".")[0], call=call
            )
            tree.write(f"{environment.prefix}/bin/{script}", text.encode(), 0o755)


def _as_text(entries: Sequence[tuple[str, str, str]]) -> str:
    """The entry points as a file (PyPA's specification)."""
    lines: list[str] = []
    for group in dict.fromkeys(item[0] for item in entries):
        lines += [*([""] if lines else []), f"[{group}]"]
        lines += [f"{name} = {target}" for own, name, target in entries if own == group]
    return "\n".join([*lines, ""])
