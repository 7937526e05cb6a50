"""Images with a Python that is not Debian's: locked, built, started and served."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Corten
from support.pythons import Releases, of_debian

pytestmark = pytest.mark.e2e

SAYS = (
    "import json, math, sys, sysconfig, six\n"
    "print(json.dumps({'version': sys.version.split()[0], 'base': sys.base_prefix, 'six': six.__version__,\n"
    " 'prefix': sysconfig.get_config_var('prefix'), 'cached': json.__cached__}))\n"
    "import os; print(os.path.exists(json.__cached__), os.path.exists('/usr/bin/python3'))\n"
)


@pytest.fixture(scope="module")
def published(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Corten]:
    """The exact version of a Python that was published, and the command of a user who gets it there."""
    work = tmp_path_factory.mktemp("pythons")
    version, data = of_debian(corten.home, work)
    releases = Releases(work / "releases")
    releases.both(version, data)
    return version, corten.at(corten.home, UV_PYTHON_DOWNLOADS_JSON_URL=releases.url)


def test_a_python_of_its_own_is_one_more_layer_and_starts(
    published: tuple[str, Corten], project: Callable[..., Path], tmp_path: Path
) -> None:
    version, corten = published
    root = project(
        {
            "pyproject.toml": f'[tool.corten]\npython = "{version}"\n',
            "requirements.txt": "six\n",
            "main.py": SAYS,
        }
    )
    built = corten.build(root)
    titles = [layer["title"] for layer in built["layers"]]
    assert titles[:2] == ["debian bookworm", f"python {version}"]
    said, there = corten("run", root).stdout.splitlines()
    found = json.loads(said)
    minor = version.rpartition(".")[0]
    assert (found["version"], found["base"], found["prefix"]) == (version, "/usr/local", "/usr/local")
    assert found["cached"].startswith(f"/usr/local/lib/python{minor}/json/__pycache__/")
    # Bytecode of the library is there, and Debian's Python is not.
    assert there == "True False"
    # The folder of a lock's files is all that another machine needs.
    corten("lock", root, "--download", tmp_path / "bundle")
    other = corten.at(tmp_path / "other", UV_PYTHON_DOWNLOADS_JSON_URL="", UV_OFFLINE="1")
    again = other.build(root, "--offline", str(tmp_path / "bundle"))
    assert again["id"] == built["id"]


def test_a_predictor_runs_on_it_and_its_server_on_debians(
    published: tuple[str, Corten], project: Callable[..., Path]
) -> None:
    version, corten = published
    code = (
        "import sys\n\n\ndef predict(x: float) -> dict:\n    return {'y': 2 * x, 'prefix': sys.base_prefix}\n"
    )
    root = project({"pyproject.toml": f'[tool.corten]\npython = "{version}"\n', "predict.py": code}, "served")
    done = corten("predict", root, "x=4")
    assert json.loads(done.stdout) == {"y": 8.0, "prefix": "/usr/local"}
    (server,) = [layer for layer in corten.build(root)["layers"] if layer["title"] == "model server"]
    assert server["reused"]
