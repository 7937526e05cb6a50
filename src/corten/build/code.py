"""The project's own code: a tree with /app, its bytecode, and what an installed project would have in the environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from corten.build.bytecode import Compiler
from corten.build.environment import Environment
from corten.build.sources import copy_file
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
    project: Project, files: Sequence[SourceFile], environment: Environment, tree: Path, compiler: Compiler
) -> None:
    """Copy `files` of the project to /app below `tree`, with checked-hash bytecode, because people mount over it
    (DECISIONS 9), and write the scripts and the metadata that the project declares. Raises BuildError."""
    app = tree / "app"
    app.mkdir(parents=True)
    made: set[str] = set()
    for file in files:
        target = app / file.path
        parent = os.path.dirname(file.path)
        if parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(parent)
        if file.link is not None:
            target.symlink_to(file.link)
            continue
        copy_file(project.root / file.path, target, file.executable, file.path)
    sources = [f"app/{file.path}" for file in files if file.path.endswith(".py") and file.link is None]
    compiler.compile(tree, [path for path in sources if "\n" not in path], "checked")
    _place_metadata(project, environment, tree)


def _place_metadata(project: Project, environment: Environment, tree: Path) -> None:
    """What `importlib.metadata` and the shell find of an installed project (core metadata 2.1, entry points)."""
    if project.version is not None:
        directory = f"{project.name.replace('-', '_')}-{project.version}.dist-info"
        information = tree / environment.site_packages.lstrip("/") / directory
        information.mkdir(parents=True)
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version}\n"
        )
        (information / "INSTALLER").write_text("corten\n")
        if project.scripts:
            lines = [f"{name} = {target}" for name, target in sorted(project.scripts)]
            (information / "entry_points.txt").write_text("\n".join(["[console_scripts]", *lines, ""]))
    for name, target in project.scripts:
        module, _, call = target.partition(":")
        path = tree / environment.prefix.lstrip("/") / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = _SCRIPT.format(
            interpreter=environment.interpreter, module=module, first=call.split(".")[0], call=call
        )
        path.write_text(text)
        path.chmod(0o755)
