"""Whose word counts for what a container may reach: the caller's, then that of a project's own pyproject.toml."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from corten.cli.context import Context
from corten.cli.isolation import of_image, settled
from corten.cli.terminal import Terminal
from corten.errors import CortenError
from corten.oci.config import ImageConfig
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.runtime.decide import network_of
from corten.runtime.mounts import NamedVolume
from corten.runtime.network.ports import parse_ports
from corten.runtime.options import RunOptions
from corten.store.images import Image

WISHES = Image(
    "team/wishes:1",
    Digest.of(b"wishes"),
    Digest.of(b""),
    ImageConfig(Platform.host(), (), labels={"dev.corten.network": "host"}),
    0,
    0.0,
)


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def context(tmp_path: Path, said: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("CORTEN_HOME", str(tmp_path / "home"))
    return Context(Terminal(io.StringIO(), said, False, False))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "main.py").touch()
    (tmp_path / "own" / "pyproject.toml").write_text('[tool.corten]\nnetwork = "private"\n')
    return tmp_path / "own"


def test_an_image_has_no_say(context: Context, said: io.StringIO) -> None:
    assert network_of(settled(RunOptions(), WISHES, Path("team/wishes:1"), context)) == "none"
    assert said.getvalue().count("does not decide what it may reach (--network host gives it)") == 1
    of_image(RunOptions(), WISHES, context)
    assert said.getvalue().count("does not decide") == 1


def test_a_folder_has_one_and_the_caller_the_last(context: Context, folder: Path, said: io.StringIO) -> None:
    options = settled(RunOptions(), WISHES, folder, context)
    assert network_of(options) == "private"
    assert said.getvalue().count("'network' in [tool.corten] of 'own' says so") == 1
    for network in ("none", "host"):
        assert network_of(settled(RunOptions(network=network), WISHES, folder, context)) == network
    published = settled(RunOptions(ports=tuple(parse_ports("8000"))), WISHES, folder, context)
    assert network_of(published) == "private"
    (folder / "pyproject.toml").write_text('[tool.corten]\nnetwork = "host"\n')
    assert network_of(settled(RunOptions(), WISHES, folder, context)) == "host"
    # Another width is told anew.
    assert said.getvalue().count("'network' in [tool.corten]") == 2


def test_what_a_project_asked_for_is_not_passed_on_to_an_image(context: Context, folder: Path) -> None:
    """As where `up --update` puts an image in a project's place."""
    before = settled(RunOptions(), WISHES, folder, context)
    assert network_of(of_image(before, WISHES, context)) == "none"
    asked = settled(RunOptions(network="host"), WISHES, folder, context)
    assert network_of(of_image(asked, WISHES, context)) == "host"


def test_a_project_has_volumes_of_its_own(context: Context, folder: Path, said: io.StringIO) -> None:
    (folder / "pyproject.toml").write_text('[tool.corten]\nvolumes = { data = "/app/data", db = "/db" }\n')
    options = settled(RunOptions(), WISHES, folder, context)
    assert [(item.name, item.target) for item in options.every_volume] == [
        ("data", "/app/data"),
        ("db", "/db"),
    ]
    assert said.getvalue().count("the container has the volume 'data' at /app/data") == 1
    # The caller's own goes before it, and an image by name gets none of it.
    mine = RunOptions(named_volumes=(NamedVolume("mine", "/app/data"),))
    assert [item.name for item in settled(mine, WISHES, folder, context).every_volume] == ["mine", "db"]
    assert of_image(options, WISHES, context).every_volume == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('{ data = "app/data" }', "is not the path of a folder inside"),
        ('{ data = "/" }', "is not the path of a folder inside"),
        ('{ "../x" = "/x" }', "cannot be a name"),
        ('{ a = "/x", b = "/x/" }', "two volumes at one place"),
        ("{ data = 3 }", "must be text"),
        ('{ data = "/proc/x" }', "cannot be mounted at '/proc/x'"),
    ],
)
def test_a_volume_that_cannot_be_is_refused(context: Context, folder: Path, value: str, said: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.corten]\nvolumes = {value}\n")
    with pytest.raises(CortenError, match=said):
        settled(RunOptions(), WISHES, folder, context)
