"""`.env` and Streamlit's secrets reach the containers of a project's folder, and a project cannot name other files of the machine so."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from corten.cli.context import Context
from corten.cli.isolation import of_image, of_project
from corten.cli.terminal import Terminal
from corten.oci.config import ImageConfig
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.project.files import scan
from corten.project.load import load
from corten.runtime.options import RunOptions
from corten.store.images import Image

IMAGE = Image("x", Digest.of(b"x"), Digest.of(b""), ImageConfig(Platform.host(), ()), 0, 0.0)


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def context(tmp_path: Path, said: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("CORTEN_HOME", str(tmp_path / "home"))
    return Context(Terminal(said, said, False, False))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "own"
    (root / ".streamlit").mkdir(parents=True)
    (root / "main.py").touch()
    return root


def test_a_link_out_of_the_project_is_no_env_file(project: Path, tmp_path: Path, context: Context) -> None:
    (tmp_path / "of-this-machine").write_text("KEY=secret\n")
    (project / ".env").symlink_to(tmp_path / "of-this-machine")
    (project / ".streamlit" / "secrets.toml").symlink_to(tmp_path / "of-this-machine")
    options = of_project(RunOptions(), project, context)
    assert options.project_environment == ()
    assert options.project_secrets == ()


def test_they_are_passed_on_by_their_folder_alone_and_said_without_values(
    project: Path, context: Context, said: io.StringIO
) -> None:
    (project / ".env").write_text("API_KEY=s3cret\nPORT=1\n")
    (project / ".streamlit" / "secrets.toml").write_text("x = 's3cret'\n")
    options = of_project(RunOptions(), project, context)
    assert options.project_environment == (("API_KEY", "s3cret"),)
    assert options.project_secrets == (
        (str(project), ".streamlit/secrets.toml", "/app/.streamlit/secrets.toml"),
    )
    assert "API_KEY" in said.getvalue()
    assert "s3cret" not in said.getvalue()
    # Another image that the same service gets by name has none of it; nor has one with an --env-file.
    assert of_image(options, IMAGE, context).project_environment == ()
    assert of_image(options, IMAGE, context).project_secrets == ()
    assert of_project(RunOptions(env_file_given=True), project, context).project_environment == ()
    # No image gets them.
    files = scan(load(project), project / "store")
    assert {file.path for file in files.code} == {"main.py"}
