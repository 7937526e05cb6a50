"""`save`, `load` and `tag` as real processes: what goes to which stream, and what is left when something goes wrong."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from corten.oci.platform import Platform
from corten.store.store import Store
from support.command import Corten
from support.images import add_image, add_layer


@pytest.fixture
def corten(tmp_path: Path) -> Corten:
    return Corten(tmp_path / "home")


@pytest.fixture
def store(corten: Corten) -> Store:
    """A store with an image for this machine and one of a large layer."""
    store = Store.open(corten.home)
    add_image(store, "iris:1", add_layer(store, "a"), platform=Platform.host())
    return store


@pytest.fixture
def large(store: Store) -> str:
    with store.temporary_directory() as directory:
        (directory / "fs").mkdir()
        for number in range(200):
            (directory / f"fs/{number}").write_bytes(os.urandom(100_000))
        layer = store.layers.commit(directory, None).diff_id
    add_image(store, "large:1", layer, platform=Platform.host())
    return "large:1"


def names(corten: Corten) -> list[str]:
    return [row["name"] for row in json.loads(corten("images", "--json").stdout)]


def test_save_to_a_file_and_load(corten: Corten, store: Store, tmp_path: Path) -> None:
    done = corten("save", "iris:1", "-o", tmp_path / "iris.tar")
    assert done.stdout == ""
    assert done.stderr.endswith(f"saved iris:1 to '{tmp_path}/iris.tar'\n")
    elsewhere = corten.at(tmp_path / "elsewhere")
    assert elsewhere("load", "-q", tmp_path / "iris.tar").stdout == "iris:1\n"
    row = json.loads(elsewhere("load", "-i", tmp_path / "iris.tar", "--json").stdout)
    assert row == [{**item, "repo_digests": []} for item in json.loads(corten("images", "--json").stdout)]
    verbose = elsewhere("load", "-v", tmp_path / "iris.tar", "--name", "other").stdout
    assert verbose == f"other:latest {row[0]['id']} {Platform.host()}\n"
    assert sorted(names(elsewhere)) == ["iris:1", "other:latest"]


def test_standard_output_is_the_archive(corten: Corten, store: Store, tmp_path: Path) -> None:
    for arguments in (["iris:1"], ["iris:1", "-o", "-"], ["iris:1", "-"], ["iris:1", "-o", "/dev/stdout"]):
        with open(tmp_path / "piped.tar", "wb") as out:
            subprocess.run(corten.command("save", *arguments), env=corten.variables(), stdout=out, check=True)
        with tarfile.open(tmp_path / "piped.tar") as archive:
            assert "oci-layout" in archive.getnames()
    with open(tmp_path / "piped.tar", "rb") as file:
        assert corten("load", stdin=file).stdout == "iris:1\n"


def test_an_archive_is_not_for_a_terminal(corten: Corten, store: Store) -> None:
    reading, writing = pty.openpty()
    done = subprocess.run(
        corten.command("save", "iris:1"),
        env=corten.variables(),
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    os.close(reading)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "error: an archive is not for a terminal\nhint: write '-o iris.tar', or pipe it into 'docker load'\n"
    )


def test_a_folder_stays_a_folder(corten: Corten, store: Store, tmp_path: Path) -> None:
    assert corten("save", "iris:1", tmp_path / "layout").stdout == f"{tmp_path}/layout:1\n"
    between = corten("save", "iris:1", "--format", "oci", tmp_path / "between")
    assert between.stdout == f"{tmp_path}/between:1\n"
    assert corten("save", "iris:1", "-o", tmp_path / "other").stdout == f"{tmp_path}/other:1\n"
    assert corten.at(tmp_path / "elsewhere")("load", tmp_path / "other").stdout == "iris:1\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "-o", "x.tar"], "there is no image 'nothing'"),
        (["iris:1", "rose", "iris:1", "-o", "x.tar"], "there is no image 'rose'"),
        (["iris:1", "-o", "x.tar.gz"], "compressed as a whole"),
        (["iris:1", "-o", "x", "--format", "docker"], "is a tar file"),
        (["iris:1", "-o", "x.tar", "--format", "docker", "--compression", "zstd"], "no compressed layers"),
        (["iris:1", "-o", "x.tar", "--platform", "linux/mips"], "unknown platform"),
        (["iris:1", "-o", "gone/x.tar"], "no such file or directory"),
    ],
)
def test_refusals(corten: Corten, store: Store, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = corten("save", *arguments, cwd=tmp_path, code=None)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_what_load_refuses(corten: Corten, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "folder").mkdir()
    for path, message in [
        ("text", "not a tar file"),
        ("folder", "not an OCI layout"),
        ("gone", "no such file"),
    ]:
        done = corten("load", tmp_path / path, code=None)
        assert done.returncode in (1, 2)
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert "'standard input' is not a tar file" in corten("load", code=1).stderr


def test_a_reader_that_leaves(corten: Corten, large: str) -> None:
    process = subprocess.Popen(
        corten.command("save", large), env=corten.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.read(1000)
    process.stdout.close()
    assert process.stderr
    assert b"Traceback" not in process.stderr.read()
    assert process.wait() == 141
    assert list((corten.home / "tmp").iterdir()) == []


def test_a_file_is_replaced_when_the_new_one_is_whole(corten: Corten, store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out/iris.tar"
    target.write_text("what was there")
    diff_id = store.images.get("iris:1").config.diff_ids[0]
    changed = store.layers.tree(diff_id) / "etc/a"
    text = changed.read_text()
    changed.write_text("b" * 100)
    assert "was changed" in corten("save", "iris:1", "-o", target, code=1).stderr
    assert target.read_text() == "what was there"
    assert list(target.parent.iterdir()) == [target]
    changed.write_text(text)
    corten("save", "iris:1", "-o", target)
    assert tarfile.is_tarfile(target)


def test_a_killed_load_leaves_nothing_visible(corten: Corten, large: str, tmp_path: Path) -> None:
    corten("save", large, "-o", tmp_path / "large.tar", "--compression", "gzip")
    image = Store.open(corten.home).images.get(large)
    elsewhere = corten.at(tmp_path / "elsewhere")
    for turn in range(12):
        process = subprocess.Popen(
            elsewhere.command("load", tmp_path / "large.tar"),
            env=elsewhere.variables(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(turn * 0.03)
        process.kill()
        process.wait()
        other = Store.open(elsewhere.home)
        for found in other.images.all():
            (layer,) = found.config.diff_ids
            sizes = sum(len(piece) for piece in other.layers.stream(layer))
            assert (found.id, sizes) == (image.id, other.layers.get(layer).size)
    assert elsewhere("load", tmp_path / "large.tar").stdout == "large:1\n"
    elsewhere("prune")
    assert list((elsewhere.home / "tmp").iterdir()) == []


def test_tag(corten: Corten, store: Store) -> None:
    assert corten("tag", "iris:1", "registry.example/team/iris:2").stdout == ""
    image = store.images.get("iris:1")
    corten("tag", image.id.short, "good")
    assert sorted(names(corten)) == ["good:latest", "iris:1", "registry.example/team/iris:2"]
    assert "there is no image" in corten("tag", "nothing", "x", code=1).stderr
    assert "is not an image name" in corten("tag", "iris:1", "No Name", code=2).stderr
