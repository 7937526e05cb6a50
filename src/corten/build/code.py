"""The project's own code: a tree with /app, its bytecode, and what an installed project would have in the environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corten.build.bytecode import Compiler
from corten.build.environment import Environment
from corten.build.sources import place_source
from corten.oci.inside import Inside
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
    """Copy `files` of the project to /app below `tree`, without the logins of package indexes, with checked-hash bytecode,
    because people mount over it (DECISIONS 9), the alias of /app, and write the scripts and the metadata that the project declares. Raises BuildError."""
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
        _place_metadata(project, environment, inside)
    sources = [f"app/{file.path}" for file in files if file.path.endswith(".py") and file.link is None]
    compiler.compile(tree, sources, "checked")


def _place_metadata(project: Project, environment: Environment, tree: Inside) -> None:
    """What `importlib.metadata` and the shell find of an installed project (core metadata 2.1, entry points)."""
    if project.version is not None:
        information = (
            f"{environment.site_packages}/{project.name.replace('-', '_')}-{project.version}.dist-info"
        )
        about = f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version}\n"
        tree.write(f"{information}/METADATA", about.encode())
        tree.write(f"{information}/INSTALLER", b"corten\n")
        if project.scripts:
            lines = [f"{name} = {target}" for name, target in sorted(project.scripts)]
            text = "\n".join(["[console_scripts]", *lines, ""])
            tree.write(f"{information}/entry_points.txt", text.encode())
    for name, target in project.scripts:
        module, _, call = target.partition(":")
        text = _SCRIPT.format(
            interpreter=environment.interpreter, module=module, first=call.split(".")[0], call=call
        )
        tree.write(f"{environment.prefix}/bin/{name}", text.encode(), 0o755)
