"""A store that lies in the project's folder never enters an image: it holds other images, private wheels and volumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.files import scan
from corten.project.load import load
from corten.project.model import SourceFiles
from corten.store.marker import MARKER
from corten.store.store import Store
from support.command import Corten
from support.images import add_image, add_layer

NAMES = ("store", ".corten", "data/corten", "src")


def project(tmp_path: Path, name: str) -> tuple[Path, Store]:
    """A project with a store in use at `name` in it, which holds a layer and a volume with a model."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "main.py").write_text("print('main')\n")
    store = Store.open(root / name)
    add_image(store, "iris", add_layer(store, "secret.py", "key"))
    data = store.root / "volumes" / "v" / "data"
    data.mkdir(parents=True)
    (data / "model.onnx").write_text("weights")
    return root, store


def found(root: Path, store: Path | None = None, **settings: tuple[str, ...]) -> SourceFiles:
    return scan(replace(load(root), **settings), store)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("known", ["identity", "marker"])
def test_a_store_in_the_project_is_left_out_and_said(name: str, known: str, tmp_path: Path) -> None:
    root, store = project(tmp_path, name)
    if known == "identity":
        (store.root / MARKER).unlink()
    files = found(root, store.root if known == "identity" else None)
    assert [file.path for file in files.code] == ["main.py"]
    assert files.weights == ()
    assert files.stores == (name,)


def test_a_store_reached_by_another_path_is_the_same_store(tmp_path: Path) -> None:
    root, store = project(tmp_path, "store")
    (store.root / MARKER).unlink()
    (tmp_path / "way").symlink_to(root)
    assert found(root, tmp_path / "way" / "store").stores == ("store",)


@pytest.mark.parametrize(
    ("key", "pattern"),
    [
        ("include", "store/**"),
        ("models", "**/*.onnx"),
        ("include", "sto*"),
        ("models", "store/volumes/*/data/*"),
    ],
)
def test_no_glob_brings_a_store_back(key: str, pattern: str, tmp_path: Path) -> None:
    root, _ = project(tmp_path, "store")
    (root / "stock.txt").write_text("")
    (root / "other.onnx").write_text("")
    try:
        files = found(root, **{key: (pattern,)})
    except ProjectError as error:
        assert "there is no such file" in error.message  # noqa: PT017
        return
    assert not [file.path for file in (*files.code, *files.weights) if file.path.startswith("store")]


@pytest.mark.parametrize("key", ["include", "models"])
@pytest.mark.parametrize("path", ["store", "store/volumes/v/data/model.onnx", "link/data/model.onnx"])
def test_naming_a_file_of_a_store_is_an_error(key: str, path: str, tmp_path: Path) -> None:
    root, store = project(tmp_path, "store")
    (root / "link").symlink_to("store/volumes/v")
    with pytest.raises(ProjectError, match="is in a store of Corten") as caught:
        found(root, store.root, **{key: (path,)})
    assert "copy" in str(caught.value.hint)


def test_a_project_that_is_a_store_is_refused(tmp_path: Path) -> None:
    root, store = project(tmp_path, ".")
    with pytest.raises(ProjectError, match="is a store of Corten"):
        found(root)
    (root / MARKER).unlink()
    with pytest.raises(ProjectError, match="is a store of Corten") as caught:
        found(root, store.root)
    assert "CORTEN_HOME" in str(caught.value.hint)


def test_the_command_says_once_that_it_leaves_the_store_out(tmp_path: Path) -> None:
    """With the data directory of XDG in the project. `init` looks at the same files as `build`, and needs no packages."""
    root, store = project(tmp_path, "share/corten")
    (store.root / MARKER).unlink()
    corten = Corten(root, {"XDG_DATA_HOME": str(root / "share"), "CORTEN_HOME": ""})
    done = corten("init", root)
    assert done.stderr.count("share/corten") == 1
    assert "model.onnx" not in (root / "pyproject.toml").read_text()
