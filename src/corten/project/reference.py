"""docs/configuration.md, from the declarations in `corten.project.settings`. Write it with
`python -m corten.project.reference docs/configuration.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from corten.project import files, ignoring, interpreter, kinds, sensitive
from corten.project.settings import KEYS

_HEAD = """\
# Configuration

Everything is optional. What a project does not write, Corten finds by looking; `corten init` shows what it found and
writes it down. What is written goes into `pyproject.toml`:

```toml
{example}
```

An unknown key is an error, with a suggestion. For completion in an editor, `corten schema` prints the JSON schema of
the table, and `corten schema --pyproject` one of the whole file.

## Keys

"""

_TAIL = """\
## What is found without being written

Files are read for this, never imported. When two things could be meant, Corten names both and the line that decides.

**What runs.** A predictor, a web application with its server, what files of other tools start, the only command of `[project.scripts]`, `main.py`, the
only model among `models` that can be served without code ({endings_of_models}), or the only script: [What Corten recognises](what-runs.md) has
all of it, in order. When nothing is left, the image runs nothing by default, and `corten run . -- COMMAND` still works.

**Dependencies.** `uv.lock`; else a requirements file, also a misspelt one or one in a folder; else what other tools keep; else `[project.dependencies]` and what tools without a lock list; else the imports of the code
([Dependencies](dependencies.md)).
Requirements files are read as pip reads them. Packages without a wheel, git repositories, archives and folders are built into wheels. You must confirm a file
or a base's layout outside the project's folder, and a host that your credentials are for: `--trust-path`, `--trust-index`
([Offline and behind a private index](offline.md)).

**Python and the base.** {pythons}. `.python-version`, `runtime.txt` and the `FROM`
of a Dockerfile choose the Python, and with it the Debian release; without them, `requires-python` chooses. Every other CPython from 3.8 on comes
from python-build-standalone ([Python](python.md)). `python` and `base` in `[tool.corten]` override `.python-version` and `runtime.txt`, but never
`requires-python`.

## What goes into the image

The project's files go to `/app`, as they are on disk, whether committed or not. Empty folders do not. Left out are, strongest first:

1. what `exclude` names;
2. what `.cortenignore` names, in the patterns of `.gitignore`; a pattern with `!` in front brings back what follows here;
3. files and folders named {names};
   those that end with {endings}; {paths} in the project's folder; and virtual environments;
4. files and folders that hold secrets, in small letters or capitals: {secrets};
   paths that end with {secret_paths}; what begins with `.env`, but for examples ({examples}), or with
   `terraform.tfstate`; what ends with {stores}; and, by what is in them, files that end with {looked} (those that have
   only certificates and public keys stay), copies of SSH keys (`id_rsa.old`), and keys of Google's accounts of services;
5. what git ignores, by every `.gitignore` and by `.git/info/exclude`, and does not track. A file with an ending of weights goes in although
   git ignores it, and the build says so; where git ignores a whole folder, it stays out, and the build says that;
6. what `.dockerignore` names, by docker's rules, where there is no `.cortenignore`.

`models` and `include` bring back what they name; inside a folder or glob that they name, 1, 3 and 4 still hold.
A build says how many files were left out by 4 and 6, and warns of a file of 4 that was brought back. `corten build -v`
lists what was left out. A symbolic link stays a link; one that leads out of the project is an error.

Files over {megabytes} MB, and files that end with {weights}, are weights even when `models`
does not name them: they are stored below `/models`, in layers of their own, with a link where the code expects them.
A database in one file ({databases}) of an application is none, however large it is: the application writes to it.
"""


def reference() -> str:
    """The page."""
    shown = ("name", "predict", "system", "models", "env")
    example = "\n".join(["[tool.corten]", *(f"{key} = {KEYS[key].metadata['example']}" for key in shown)])
    sections = []
    for key, field in KEYS.items():
        metadata = field.metadata
        sections.append(
            f"### `{key}`\n\n{metadata['description']}\n\n"
            f"- Form: {metadata['kind'].words}\n- Default: {metadata['default']}\n"
            f"- Example: `{key} = {metadata['example']}`\n"
        )
    pythons = "; ".join(
        f"`debian:{suite}` has Python {version}" for suite, version in interpreter.DEBIAN_PYTHONS.items()
    )
    tail = _TAIL.format(
        endings_of_models=_listed(kinds.MODEL_FILES),
        pythons=pythons,
        names=_listed(sorted(ignoring.DEFAULT_NAMES)),
        endings=_listed(ignoring.DEFAULT_ENDINGS),
        secrets=_listed(sorted(sensitive.NAMES)),
        secret_paths=_listed(sensitive.PATHS),
        examples=_listed(f".env{ending}" for ending in sensitive.EXAMPLES),
        stores=_listed(sensitive.ENDINGS),
        looked=_listed(sensitive.LOOKED_INTO),
        paths=_listed(sorted(ignoring.DEFAULT_PATHS)),
        megabytes=files.WEIGHT_BYTES // 1_000_000,
        weights=_listed(files.WEIGHT_ENDINGS),
        databases=_listed(files.DATABASE_ENDINGS),
    )
    return _HEAD.format(example=example) + "\n".join([*sections, tail])


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
