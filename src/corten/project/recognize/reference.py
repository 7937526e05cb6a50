"""docs/what-runs.md, from the recognisers in `corten.project.recognize.order`. Write it with
`python -m corten.project.recognize.reference docs/what-runs.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from corten.project.recognize import folder, places
from corten.project.recognize.candidates import SERVED
from corten.project.recognize.order import ORDER

_HEAD = """\
# What Corten recognises

Corten finds what a project runs by reading its files. Nothing of the project is imported or run for this. `corten doctor .` shows for
one project what was found, where, and what would run; `corten init` writes it into `pyproject.toml`, where you can change it.

What `[tool.corten]` says holds: with `predict` or `command` nothing is looked for. See [Configuration](configuration.md).

## The order

The first row of the table that finds something decides. Two that are equally likely are an error that lists both, with the line
that chooses each; Corten does not guess.

| | What is found | What runs | How to say it yourself |
| --- | --- | --- | --- |
"""

_TAIL = """
## Where it looks

Files up to {depth} folders deep count, without those that stay out of the image ([what goes into the image](configuration.md#what-goes-into-the-image)).
A folder with thousands of files holds data and is passed over; `corten doctor .` names it. Applications in folders named {skipped} are taken
only where nothing else is found.

**The project's folder.** Where the folder that you give has no Python and no requirements, the only project below it is taken, or the only
one that serves something. The same holds where an application lies in a folder with requirements of its own, and the folder that
you give lists none. Several that serve are an error with the command for each: `corten up ./api`.

**Working directory and import path.** An application in a folder runs where its imports are found: beside a module that says
`from utils import x`, in the folder with `manage.py`, above a package. Of those folders it is the one from which the files exist that the
code names (`open("model/weights.json")`). `workdir` in `[tool.corten]` says it by hand, and `env = {{ PYTHONPATH = "/app/backend" }}` adds to the import path.

## What is served, and what only runs

`corten up` keeps running what serves: {served}. A script is served where something in it listens for requests, or where `command` in `[tool.corten]`
names it. A script that trains a model ends, and a service would start it again and again: `corten up` says so, and `corten run . -- python train.py`
runs it once.

A user interface whose code asks an API on this machine (`requests.get("http://localhost:8000/…")`) beside a web application of the same project is
that one's client: the application is served, and a line says that the other is there too.

Before the start, `corten up` names files that the program opens by name and that the image will not have: those that are not in the project, with the
script that writes them, and those that git or docker ignore, with the line that brings them in.

## A server that is not among the dependencies

Where no server for the application's interface is among the dependencies, Corten adds one, locks it with everything else, and says so in one
line: `adds gunicorn: no WSGI server is among the dependencies`. It is gunicorn for WSGI (with threads, and without its time limit, because models
load and answer slowly) and uvicorn for ASGI; a `gunicorn.conf.py` of the project is left in charge. Where FastAPI needs `python-multipart`, `jinja2` or
`websockets` for what the code uses, they are added too.

A file that starts its own server is run itself where another server would miss something: the model that is loaded only under
`if __name__ == "__main__":`, a database that is made there, a server that is not WSGI or ASGI. `corten doctor .` says why.
"""


def reference() -> str:
    """The page."""
    rows = []
    for number, item in enumerate(sorted(ORDER, key=lambda item: -item.strength), 1):
        cells = (item.finds, item.runs, item.say)
        rows.append(f"| {number} | " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    tail = _TAIL.format(
        depth={3: "three"}.get(folder.DEPTH, folder.DEPTH),
        skipped=_listed(sorted(places.SKIPPED)),
        served=", ".join(sorted(SERVED - {"command"})) + ", and a `command`",
    )
    return _HEAD + "\n".join(rows) + "\n" + tail


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
