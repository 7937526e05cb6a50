"""docs/hints.md, from `corten.project.hints.sources`. Write it with `python -m corten.project.hints.reference docs/hints.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from corten.project.hints import compose, makefile
from corten.project.hints.sources import SOURCES

_PAGE = """\
# Hints from files that a project has

A Procfile, a Dockerfile or a compose file says how a project runs. Corten reads such files and takes what it can use, so that a project
comes up without a line of `[tool.corten]`. Nothing in them is run. Each thing that is taken is said in one line when the project is
locked (`command from Procfile:2: gunicorn app:app`); `corten build -v` also says what was read and not taken, and why. `corten init` writes what was taken into `pyproject.toml`.

What `[tool.corten]` says holds, key by key. Then the first row counts that gives a command which starts something of the project:

| Files | What is taken |
| --- | --- |
{rows}

What the code says stands between the rows ([What Corten recognises](what-runs.md)): a class that derives
from `Predictor` after the Procfile, applications after `.devcontainer/devcontainer.json`, `main.py` or the only script after the README. A Procfile and a Dockerfile that start one application are no contradiction; where a Dockerfile starts
another one than the Procfile, that is said. Two services of one compose file that are built from the project are an error which lists both.
Of several equal applications in the code the one counts that the editor's file, the Makefile or the README starts.

## Commands

- What only prepares is left out: `pip install …`, `source venv/bin/activate`, `echo`. So are programs that only start another one
  (`exec`, `poetry run`, `pipenv run`, `uv run`, `conda run -n x`, `sudo`, `tini --`, `bash -c`), and what is for development: `--reload`, `--debug`, `fastapi dev`, `-m debugpy`.
- `cd x && …`, `A=b …`, `WORKDIR`, and where `COPY` puts which folder become the working directory below `/app` and the command's variables.
- Where a Dockerfile puts several folders into one, the command runs in the one in which the files are that its code names; paths of the image
  lead back to the project, through `COPY` and through a compose file's mounts.
- A fixed port and `--host 127.0.0.1` stay: Corten finds the port that the program opens. `${{PORT:-8000}}` becomes `$PORT`.
- A program that no dependency brings is added: `adds gunicorn: the command from Procfile:2 runs it`.
- A command that starts nothing of the project is not taken: a shell, `sleep infinity`, a notebook, a file that is not there, a program that
  is not Python's (`node`, `nginx`). A Dockerfile that only packs (`CMD ["bash"]`) gives no command. A script that trains, by its name, is not kept running.
- Targets and scripts that count, the likeliest first: {targets}.

## Dockerfiles

Build arguments have their defaults. The last stage counts, with the stages that it stands on; packages of pip count in every stage.

- `RUN pip install NAME` adds what the dependencies lack. `-r FILE` decides which requirements file is read, also beside a `uv.lock`.
  Addresses (`git+https://…`) and other indexes are named, not used; PyTorch's index for CPUs means `gpu = "none"`.
- `apt-get install` adds Debian packages, by the names that the base's release has (`libgl1-mesa-glx` is `libgl1` now). Compilers, Debian's
  Python, `-dev` packages (for those with a library, the library is added) and tools such as `git` and `curl` are left out. A package that Debian
  does not have is left out with a warning.
- `ENV` becomes `env`; a path in the image becomes the one below `/app`. Variables of pip, of the build and of the system are left out. A key or password
  that looks real stays out of the image.
- Downloads (`wget`, `curl`, `nltk.downloader`, `spacy download`) are named with the command that fetches the file; other steps are named with `-v`.
- The image has the Python of `FROM python:3.10` ([Python](python.md)). If that one cannot be fetched, it has Debian's, and Corten says so. `.python-version` and `runtime.txt` override
  all others.

## What must be set, and what runs beside

`corten up` says which variables must be set, and which of these run beside the project in its compose file: {services}.
Corten starts none of them. A variable of a compose file that names one is not set, so that a default in the code counts.
"""


def reference() -> str:
    """The page."""
    rows = "\n".join(f"| {source.files} | {source.gives} |" for source in SOURCES)
    return _PAGE.format(
        rows=rows,
        targets=", ".join(f"`{name}`" for name in makefile.TARGETS),
        services=", ".join(dict.fromkeys(compose.SERVICES.values())),
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
