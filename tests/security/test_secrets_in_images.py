"""Secrets of a project do not get into its image unseen: whole builds, with what lies in the layers."""

from __future__ import annotations

import os
import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten.oci.digest import Digest
from corten.store.store import Store
from support.command import Corten
from support.shared import corten

__all__ = ["corten"]

pytestmark = pytest.mark.e2e

DRAW = random.Random(11)
PASSWORD = "pw" + "".join(DRAW.choice(string.ascii_letters) for _ in range(12))
TOKEN = "ghp_" + "".join(DRAW.choice(string.ascii_letters) for _ in range(36))
KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIE" * 16 + "\n-----END RSA PRIVATE KEY-----\n"
Make = Callable[[dict[str, str]], Path]


@pytest.fixture
def project(tmp_path: Path) -> Make:
    def make(files: dict[str, str]) -> Path:
        for path, text in files.items():
            (tmp_path / "project" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "project" / path).write_text(text)
        return tmp_path / "project"

    return make


def app(corten: Corten, built: dict[str, Any]) -> dict[str, bytes]:
    """The files below /app in the image."""
    store = Store.open(corten.home)
    tree = store.layers.tree(Digest.parse(built["layers"][-1]["digest"])) / "app"
    return {
        str(path.relative_to(tree)): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and "__pycache__" not in str(path)
    }


FILES = {
    "main.py": "print(1)\n",
    "requirements-dev.txt": f"# tools\n-i https://robot:{PASSWORD}@index.example/simple\npytest\n",
    "conf/pip.conf": f"[global]\nindex-url = https://{PASSWORD}@index.example/simple\n",
    "conf/uv.toml": f'[[index]]\nurl = "https://robot:{PASSWORD}@index.example/simple"\n',
    "code.py": f"a = 1\nTOKEN = '{TOKEN}'\n",
    "config.env.txt": f"URL=postgres://app:{PASSWORD}@db.corp.example:5432/x\n",
    ".env": f"TOKEN={TOKEN}\n",
    ".env.example": "TOKEN=\n",
    "tls/server.PEM": KEY,
    "tls/ca.pem": "-----BEGIN CERTIFICATE-----\nMIIE\n",
    "skipped/x.txt": "x",
    ".dockerignore": "skipped\n",
}


def test_logins_keys_and_ignored_files_stay_out_and_the_rest_is_told(corten: Corten, project: Make) -> None:
    root = project(FILES)
    built = corten.build(root)
    inside = app(corten, built)
    assert sorted(inside) == [
        *(".env.example", "code.py", "conf/pip.conf", "conf/uv.toml", "config.env.txt", "main.py"),
        *("requirements-dev.txt", "tls/ca.pem"),
    ]
    assert inside["requirements-dev.txt"] == b"# tools\n-i https://index.example/simple\npytest\n"
    assert inside["conf/pip.conf"] == b"[global]\nindex-url = https://index.example/simple\n"
    assert inside["conf/uv.toml"] == b'[[index]]\nurl = "https://index.example/simple"\n'
    again = corten("build", root)
    assert "0 B new" in again.stderr
    for said in (
        "left out 2 that may hold secrets: '.env', 'tls/server.PEM'",
        "left out 1 that '.dockerignore' names: 'skipped/'",
        "the image has these without their logins: 'conf/pip.conf' line 2, 'conf/uv.toml' line 2, 'requirements-dev.txt' line 2",
        "warning: what looks like a secret is in the image: 'code.py' line 2 (GitHub token), "
        "'config.env.txt' line 1 (URL with a password)",
    ):
        assert said in again.stderr, said
    assert PASSWORD not in again.stderr + again.stdout
    assert TOKEN not in again.stderr + again.stdout
    kept = [path for path in (corten.home / "caches/projects").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if PASSWORD.encode() in path.read_bytes()]


def test_a_layer_is_a_function_of_what_is_in_it_not_of_the_login(corten: Corten, project: Make) -> None:
    first = corten.build(project({"main.py": "print(2)\n", "conf/pip.conf": "i = https://a:first@host/x\n"}))
    second = corten.build(
        project({"main.py": "print(2)\n", "conf/pip.conf": "i = https://b:other1@host/x\n"})
    )
    third = corten.build(project({"main.py": "print(2)\n", "conf/pip.conf": "i = https://host/x\n"}))
    assert first["id"] == second["id"] == third["id"]
    assert third["layers"][-1]["reused"]


def test_settings_of_the_image_are_looked_at(corten: Corten, project: Make) -> None:
    root = project(
        {
            "main.py": "print(3)\n",
            "pyproject.toml": "[tool.corten]\nexclude = ['pyproject.toml']\n"
            f'env = {{ GITHUB = "{TOKEN}" }}\nlabels = {{ note = "{TOKEN}" }}\n',
        }
    )
    done = corten("build", root)
    assert "'pyproject.toml' line 3 (GitHub token in 'GITHUB' of 'env')" in done.stderr
    assert "'pyproject.toml' line 4 (GitHub token in 'note' of 'labels')" in done.stderr
    assert TOKEN not in done.stderr + done.stdout


def test_a_secret_that_the_project_names_is_in_the_image_with_a_warning(
    corten: Corten, project: Make
) -> None:
    root = project(
        {
            "main.py": "print(4)\n",
            "tls/server.key": KEY,
            "pyproject.toml": "[tool.corten]\ninclude = ['tls/server.key']\n",
        }
    )
    built = corten.build(root)
    assert "tls/server.key" in app(corten, built)
    done = corten("build", root, "-q")
    assert "warning: 'tls/server.key' may hold secrets, and goes into the image" in done.stderr
    assert "'tls/server.key' line 1 (private key)" in done.stderr
    (root / "pyproject.toml").write_text(
        "[tool.corten]\ninclude = ['tls/server.key']\nallow-secrets = ['tls/server.key']\n"
    )
    assert "warning" not in corten("build", root, "-q").stderr
    assert os.path.exists(root / "tls/server.key")
