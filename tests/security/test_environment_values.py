"""Values of `-e` may be secrets: no file that others can read has them, and no command line of a service."""

from __future__ import annotations

import argparse
import os
import stat
from pathlib import Path

import pytest

from corten.cli.serving_options import environment_of
from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.platform import Platform
from corten.runtime.options import RunOptions
from corten.store.store import Store
from corten.supervise import services
from corten.supervise.services import Plan, State
from support.command import Corten

SECRET = "s3cret $x 100%"


@pytest.fixture
def corten(tmp_path: Path) -> Corten:
    """The command, with an image that has a predictor."""
    corten = Corten(tmp_path / "home")
    store = Store.open(corten.home)
    config = ImageConfig(Platform.host(), (), labels={"dev.corten.entry": "predict"}).encode()
    manifest = Manifest(Descriptor(media.CONFIG, store.blobs.put(config), len(config)), ())
    store.images.set("iris", Platform.host(), store.blobs.put(manifest.encode()))
    return corten


def modes(folder: Path, words: str) -> dict[str, str]:
    """The modes of the files below `folder` that have `words` in them."""
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file() and words.encode() in path.read_bytes()
    }


def test_units_of_systemd_have_no_value_of_a_variable(corten: Corten, tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    (units / "corten-iris.env").write_text("of an earlier version, and everybody's to read")
    done = corten("export", "systemd", "iris", "-e", f"TOKEN={SECRET}", "-o", units, preexec_fn=_open_umask)
    assert SECRET not in done.stdout + done.stderr
    assert modes(units, "s3cret") == {"corten-iris.env": "0o600"}
    service = (units / "corten-iris.service").read_text()
    assert f"EnvironmentFile={units}/corten-iris.env\n" in service
    assert "--env-prefix CORTEN_ENV_" in service
    assert "corten-iris.env'" not in done.stderr
    assert done.stderr.strip().endswith("corten-iris.socket corten-iris.service'")


def _open_umask() -> None:
    os.umask(0)


def test_what_is_shown_says_where_the_variables_belong(corten: Corten) -> None:
    done = corten("export", "systemd", "iris", "-e", "TOKEN=x")
    assert "put 'corten-iris.env' into '" in done.stderr
    assert "with mode 0600" in done.stderr
    assert 'CORTEN_ENV_TOKEN="x"\n' in done.stdout
    assert "EnvironmentFile" not in corten("export", "systemd", "iris").stdout


def test_a_variable_that_systemd_cannot_hold_is_refused_and_its_value_not_shown(corten: Corten) -> None:
    done = corten("export", "systemd", "iris", "-e", f"a.b={SECRET}", code=2)
    assert "'a.b'" in done.stderr
    assert SECRET not in done.stderr


def test_variables_come_from_the_environment_without_their_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORTEN_ENV_PATH", "/of/the/container")
    monkeypatch.setenv("CORTEN_ENV_", "nothing")
    (tmp_path / "file").write_text("B=file\nC=file\n")
    arguments = argparse.Namespace(env=["C=given"], env_file=[tmp_path / "file"], env_prefix="CORTEN_ENV_")
    assert dict(environment_of(arguments)) == {"PATH": "/of/the/container", "B": "file", "C": "given"}


def test_what_a_service_keeps_on_disk_is_its_owners_alone(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    before = os.umask(0)
    try:
        house = services.reserve(store, "iris", numbered=False)
        plan = Plan(
            "iris", "iris", "", None, RunOptions(environment=(("TOKEN", SECRET),)), "127.0.0.1", 1, None
        )
        house.write(State(plan, 1, "", True, "", "starting", 0.0, 0.0))
    finally:
        os.umask(before)
    assert modes(tmp_path, "s3cret") == {"services/iris/state.json": "0o600"}
    assert stat.S_IMODE(house.directory.stat().st_mode) == 0o700
    house.remove()
