"""Finding projects that have notebooks and no program: they are named, and nothing of them runs."""

from __future__ import annotations

from corten.project.recognize.candidates import SCRIPT, Candidate
from corten.project.recognize.facts import Facts
from corten.project.recognize.scripts import NO_SCRIPT


def find(facts: Facts) -> list[Candidate]:
    """One candidate that runs nothing and names the notebooks, where the project's folder has no script."""
    notebooks = facts.folder.files(".ipynb")
    scripts = [
        path for path in facts.folder.files(".py") if "/" not in path and not NO_SCRIPT.fullmatch(path)
    ]
    if scripts or not notebooks:
        return []
    shown = ", ".join(f"'{path}'" for path in notebooks[:3]) + (", …" if len(notebooks) > 3 else "")
    note = f"the project has notebooks and no program: {shown}"
    return [Candidate("notebook", None, notebooks[0], note, SCRIPT)]
