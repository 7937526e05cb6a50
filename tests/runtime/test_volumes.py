"""Named volumes in a store: made, found, filled once, and kept while a container names them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import RuntimeFailure, UsageError
from corten.runtime import volumes
from corten.runtime.identity import Identity
from corten.runtime.mounts import NamedVolume
from corten.runtime.spec import Container
from corten.runtime.users import User
from corten.store.store import Store
from runtime.test_decisions import CONTAINER

ROOT = Identity("root")
SINGLE = Identity("single", ((0, os.getuid(), 1),), ((0, os.getgid(), 1),))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """A container whose image has a folder with a file, a folder and a link, and a file `/etc/motd`."""
    root = tmp_path / "root"
    (root / "data/sub").mkdir(parents=True)
    (root / "data/file").write_text("from the image")
    (root / "data/file").chmod(0o640)
    (root / "data/sub").chmod(0o750)
    (root / "data/link").symlink_to("/outside")
    (root / "etc").mkdir()
    (root / "etc/motd").write_text("hello")
    return replace(CONTAINER, root=str(root), identity=SINGLE)


def uses(store: Store, name: str, *names: str) -> None:
    """The record of a container that names the volumes `names`."""
    directory = store.containers_directory / name
    directory.mkdir(parents=True)
    options = {"named_volumes": [{"name": item} for item in names]}
    (directory / "state.json").write_text(json.dumps({"options": options}))


def test_volumes_are_made_listed_and_removed(store: Store) -> None:
    assert volumes.list_volumes(store) == []
    made = volumes.create(store, "data", [("team", "vision")])
    assert made.path.is_dir()
    assert made.labels == (("team", "vision"),)
    # As docker has it, who asks for it again gets it as it is.
    assert volumes.create(store, "data") == made
    with pytest.raises(UsageError, match="there is a volume 'data' with other labels"):
        volumes.create(store, "data", [("team", "sound")])
    with pytest.raises(RuntimeFailure, match="no volume 'dat'") as caught:
        volumes.find(store, "dat")
    assert caught.value.hint == "there are: data"
    volumes.remove(store, "data", ROOT)
    assert volumes.list_volumes(store) == []
    assert not made.path.exists()


def test_a_volume_that_a_container_names_stays(store: Store) -> None:
    for name in ("used", "unused"):
        volumes.create(store, name)
    uses(store, "calm-oak", "used")
    (store.containers_directory / "damaged").mkdir()
    (store.containers_directory / "damaged/state.json").write_text("[]")
    assert volumes.find(store, "used").used_by == ("calm-oak",)
    with pytest.raises(RuntimeFailure, match="in use by calm-oak") as caught:
        volumes.remove(store, "used", ROOT)
    assert caught.value.hint
    assert volumes.prune(store, ROOT) == ["unused"]
    assert [volume.name for volume in volumes.list_volumes(store)] == ["used"]


def test_a_new_volume_begins_with_what_the_image_has(store: Store, container: Container) -> None:
    named = NamedVolume("data", "/data")
    found = volumes.with_volumes(container, (named,), (), store)
    source = Path(found.volumes[-1].source)
    assert (source / "file").read_text() == "from the image"
    assert (source / "file").stat().st_mode & 0o777 == 0o640
    assert (source / "sub").stat().st_mode & 0o777 == 0o750
    assert os.readlink(source / "link") == "/outside"
    # Only once: what was deleted does not come back.
    (source / "file").unlink()
    for entry in ("sub", "link"):
        (source / entry).rename(source.parent / entry)
    volumes.with_volumes(container, (named,), (), store)
    assert os.listdir(source) == []


def test_a_fill_that_was_killed_is_done_again(store: Store, container: Container) -> None:
    made = volumes.create(store, "data")
    (made.path.parent / "new").mkdir()
    (made.path.parent / "new/half").write_text("half")
    volumes.with_volumes(container, (NamedVolume("data", "/data"),), (), store)
    assert sorted(os.listdir(made.path)) == ["file", "link", "sub"]


def test_what_people_put_there_is_not_mixed_with_the_image(store: Store, container: Container) -> None:
    made = volumes.create(store, "data")
    (made.path / "mine").touch()
    volumes.with_volumes(container, (NamedVolume("data", "/data"),), (), store)
    assert os.listdir(made.path) == ["mine"]
    empty = volumes.with_volumes(container, (NamedVolume("empty", "/data", seeded=False),), (), store)
    assert os.listdir(empty.volumes[-1].source) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_owners(store: Store, container: Container) -> None:
    user = replace(container, identity=ROOT, user=User(1234, 77))
    absent = volumes.with_volumes(user, (NamedVolume("a", "/nowhere"),), (), store).volumes[-1]
    assert (os.stat(absent.source).st_uid, os.stat(absent.source).st_gid) == (1234, 77)
    os.chown(f"{container.root}/data/sub", 55, 55)
    filled = volumes.with_volumes(user, (NamedVolume("b", "/data"),), (), store).volumes[-1].source
    assert (os.stat(filled).st_uid, os.stat(f"{filled}/file").st_uid) == (1234, 1234)
    assert os.stat(f"{filled}/sub").st_uid == 55
    assert os.lstat(f"{filled}/link").st_uid == 1234


def test_each_user_has_its_own_model_cache(store: Store, container: Container) -> None:
    places = [
        volumes.with_volumes(
            replace(container, user=User(uid, uid)), (volumes.MODEL_CACHE,), (), store
        ).volumes[-1]
        for uid in (0, 65532)
    ]
    assert [Path(place.source).name for place in places] == ["0", "65532"]
    assert {place.target for place in places} == {"/model-cache"}


def test_a_volume_over_a_file_is_refused_and_not_made(store: Store, container: Container) -> None:
    with pytest.raises(UsageError, match="the image has a file there") as caught:
        volumes.with_volumes(container, (NamedVolume("x", "/etc/motd"),), (), store)
    assert caught.value.hint
    assert volumes.list_volumes(store) == []


def test_a_link_in_the_image_does_not_lead_out_of_it(
    store: Store, container: Container, tmp_path: Path
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").touch()
    os.symlink("../../secret", f"{container.root}/away")
    os.symlink(f"{tmp_path}/secret", f"{container.root}/absolute")
    for name in ("away", "absolute"):
        found = volumes.with_volumes(container, (NamedVolume(name, f"/{name}"),), (f"/{name}/x",), store)
        assert os.listdir(found.volumes[-1].source) == []
        assert found.rooms == ()


def test_what_an_image_calls_volumes_is_writable(store: Store, container: Container) -> None:
    found = volumes.with_volumes(container, (), ("/data", "/var/lib/new/", "/proc/x", "/"), store)
    assert found.rooms == ("/data", "/var/lib/new")
    assert os.path.isdir(f"{container.root}/var/lib/new")
    mounted = NamedVolume("data", "/data")
    assert volumes.with_volumes(container, (mounted,), ("/data",), store).rooms == ()
    assert volumes.with_volumes(replace(container, read_write=True), (), ("/data",), store).rooms == ()
