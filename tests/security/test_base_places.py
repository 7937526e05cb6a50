"""The base that a project names: no layout outside its folder, and no service of the cloud around this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from corten.build.base_image import BaseImages
from corten.errors import BuildError, CortenError, NotConfirmed, ProjectError
from corten.events import ignore
from corten.lock.model import ImageBase
from corten.oci.digest import Digest
from corten.packages.trust import remember
from corten.project.load import load
from corten.store.export import save_layout
from corten.store.store import Store
from support.command import Corten
from support.images import AMD64, make_image


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, beside which there is a layout with somebody's image. The user has confirmed nothing."""
    monkeypatch.setenv("CORTEN_HOME", str(tmp_path / "home"))
    for name in ("CORTEN_TRUST_PATH", "CORTEN_TRUST_INDEX"):
        monkeypatch.delenv(name, raising=False)
    other = Store(tmp_path / "other")
    save_layout(
        other, [make_image(other, "private:1", [{"etc/secret": b"x"}])], tmp_path / "elsewhere", ignore
    )
    root = tmp_path / "project"
    root.mkdir()
    (root / "main.py").write_text("")
    return root


def asked(root: Path, base: str) -> CortenError:
    """What locking says of the base; no image here has a Python, so it says something of every one."""
    with pytest.raises(CortenError) as caught:
        BaseImages(Store(root.parent / "home"), ignore).resolve(base, root, AMD64)
    return caught.value


@pytest.mark.parametrize(
    "place", ["../elsewhere", "{}/elsewhere", "inside/../../elsewhere", "link", "../nothing"]
)
@pytest.mark.parametrize("tag", ["", ":1", ":other"])
def test_a_layout_outside_the_project_is_not_read(root: Path, place: str, tag: str) -> None:
    (root / "inside").mkdir()
    (root / "link").symlink_to("../elsewhere")
    error = asked(root, f"oci:{place.format(root.parent)}{tag}")
    assert isinstance(error, NotConfirmed)
    assert "out of the project" in error.message or "outside the project" in error.message
    assert error.place == os.path.realpath(
        root.parent / place.rpartition("/")[2].replace("link", "elsewhere")
    )
    (root / "pyproject.toml").write_text(f'[tool.corten]\nbase = "oci:{place.format(root.parent)}{tag}"\n')
    locked = ImageBase("oci:elsewhere", Digest.of(b"x"), "3.11.2", "/usr/bin/python3.11")
    with pytest.raises(NotConfirmed):
        BaseImages(Store(root.parent / "home"), ignore).ensure(locked, load(root), AMD64)


@pytest.mark.parametrize("name", ["index.json", "oci-layout", "blobs", "blobs/sha256"])
def test_links_in_a_layout_do_not_lead_out_of_the_project(root: Path, name: str) -> None:
    elsewhere, inside = root.parent / "elsewhere", root / "layout"
    shutil.copytree(elsewhere, inside)
    if (inside / name).is_dir():
        shutil.rmtree(inside / name)
    else:
        (inside / name).unlink()
    (inside / name).symlink_to(elsewhere / name)
    assert isinstance(asked(root, "oci:layout:1"), NotConfirmed)


def test_layouts_inside_and_confirmed_ones_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = root.parent / "elsewhere"
    shutil.copytree(elsewhere, root / "layout")
    for base in ("oci:layout", "oci:./layout:1", f"oci:{root}/layout:1"):
        assert isinstance(asked(root, base), ProjectError), base
    remember(root, os.environ, paths=[str(elsewhere)])
    assert isinstance(asked(root, "oci:../elsewhere:1"), ProjectError)
    shutil.rmtree(root.parent / "home/trusted")
    assert isinstance(asked(root, "oci:../elsewhere:1"), NotConfirmed)
    monkeypatch.setenv("CORTEN_TRUST_PATH", str(root.parent))
    assert isinstance(asked(root, "oci:../elsewhere:1"), ProjectError)


@pytest.mark.parametrize(
    "registry",
    [
        "169.254.169.254",
        "169.254.1.1:5000",
        "[fe80::1]:5000",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]:80",
        "metadata.google.internal",
        "Metadata.Google.Internal.:80",
        "100.100.100.200:80",
        "0xa9.0xfe.0xa9.0xfe",
        "2852039166:80",
        "0.0.0.0:5000",
    ],
)
def test_a_registry_at_a_reserved_address_is_not_asked(root: Path, registry: str) -> None:
    error = asked(root, f"{registry}/team/base:1")
    assert isinstance(error, NotConfirmed)
    assert error.kind == "index"
    remember(root, os.environ, indexes=[error.place])
    assert isinstance(asked(root, f"{registry}/team/base:1"), BuildError)  # there are no registries here


@pytest.mark.parametrize(
    "registry", ["127.0.0.1:5000", "localhost:5000", "[::1]:5000", "ghcr.io", "10.0.0.1:5000"]
)
def test_other_registries_are_asked(root: Path, registry: str) -> None:
    assert isinstance(asked(root, f"{registry}/team/base:1"), BuildError)


def test_the_command_says_what_to_confirm(root: Path) -> None:
    corten = Corten(root.parent / "home")
    (root / "pyproject.toml").write_text('[tool.corten]\nbase = "oci:../elsewhere:1"\n')
    said = corten("lock", root, code=1).stderr
    assert "`base` names" in said
    assert f"corten lock --trust-path {root.parent}/elsewhere" in said
    said = corten("lock", root, "--trust-path", root.parent / "elsewhere", code=2).stderr
    assert "it has no glibc" in said
