"""What is packed small and unpacks to much: wheels, layers and archives are bounded, and no unpacking fills the disk."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from corten.build.environment import Environment
from corten.build.wheel import place_wheel
from corten.errors import BuildError, FormatError, StoreError, UsageError
from corten.events import ignore
from corten.oci.bound import LAYER, WHEEL, Bound
from corten.oci.reference import Reference
from corten.packages.fetch import fetch_wheels
from corten.packages.files import Wheel
from corten.packages.indexes import read_indexes
from corten.registry.client import settings_from
from corten.registry.pull import pull
from corten.registry.push import PushOptions, push
from corten.store.export import save_archive
from corten.store.loading import load
from corten.store.store import Store
from corten.store.unpacking import unpacking_from
from support.command import Corten
from support.images import AMD64, make_image
from support.registries import registry
from support.wheels import make_wheel

__all__ = ["registry"]

VENV = Environment("/opt/venv", "3.11")
ZEROS = bytes(3 << 20)
NOTHING_FREE = {"CORTEN_KEEP_FREE": "100000T"}


def everything(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (Bound(1 << 20), "is larger than 1048576 bytes when it is unpacked"),
        (Bound(1 << 40, 1 << 20, 100), "looks like a decompression bomb"),
        (Bound(1 << 40, entries=3), "has 4 files, and Corten takes 3 at most"),
    ],
)
def test_a_wheel_that_unpacks_to_too_much_is_refused_before_anything_is_written(
    tmp_path: Path, bound: Bound, said: str
) -> None:
    wheel = make_wheel(tmp_path / "wheels", "bomb", files={"bomb.bin": ZEROS})
    file = tmp_path / "wheels" / wheel.file
    with pytest.raises(BuildError) as caught:
        place_wheel(file, wheel.file, VENV, tmp_path / "tree", bound=bound)
    assert caught.value.message.startswith(f"the wheel '{wheel.file}' ")
    assert said in caught.value.message
    if "files" not in said:
        assert "set CORTEN_UNPACK_LIMIT" in (caught.value.hint or "")
    assert everything(tmp_path / "tree") == []
    place_wheel(file, wheel.file, VENV, tmp_path / "tree")
    assert len(everything(tmp_path / "tree")) == 5


def test_a_wheel_cannot_have_more_bytes_than_it_says(tmp_path: Path) -> None:
    """So what it says is enough to look at."""
    wheel = make_wheel(tmp_path, "bomb", files={"bomb.bin": ZEROS})
    file = tmp_path / wheel.file
    data = file.read_bytes()
    small = struct.pack("<I", 1000)
    assert data.count(struct.pack("<I", len(ZEROS))) == 2
    file.write_bytes(data.replace(struct.pack("<I", len(ZEROS)), small))
    with pytest.raises(BuildError, match="cannot be installed"):
        place_wheel(file, wheel.file, VENV, tmp_path / "tree")
    assert sum(path.stat().st_size for path in everything(tmp_path / "tree")) <= 1000


def test_a_table_of_contents_is_not_read_whatever_its_size(tmp_path: Path) -> None:
    file = tmp_path / "bomb-1.0-py3-none-any.whl"
    size = 80 << 20
    with open(file, "wb") as stream:
        stream.truncate(size)
        stream.seek(size)
        stream.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, size, 0, 0))
    with pytest.raises(BuildError, match=f"its table of contents has {size} bytes"):
        place_wheel(file, file.name, VENV, tmp_path / "tree")


@pytest.mark.parametrize("name", ["bomb-1.0.dist-info/METADATA.txt", "bomb-1.0.data/scripts/tool"])
def test_what_is_read_into_memory_is_small(tmp_path: Path, name: str) -> None:
    wheel = make_wheel(tmp_path, "bomb", files={name: b"#!python\n" + bytes(65 << 20)})
    with pytest.raises(BuildError, match=f"its '{name}' has 68157449 bytes"):
        place_wheel(tmp_path / wheel.file, wheel.file, VENV, tmp_path / "tree")


def test_the_bounds_are_the_users_to_set() -> None:
    usual = unpacking_from({})
    assert (usual.layer, usual.wheel, usual.keep) == (LAYER, WHEEL, None)
    chosen = unpacking_from({"CORTEN_UNPACK_LIMIT": "300G", "CORTEN_KEEP_FREE": "0"})
    assert (chosen.layer.most, chosen.layer.ratio, chosen.wheel.most) == (300 << 30, None, 300 << 30)
    assert chosen.keep == 0
    assert unpacking_from({"CORTEN_UNPACK_LIMIT": "1000"}).wheel.most == 1000
    for text in ("much", "-1", "1.5G", "1e9", "9" * 40):
        with pytest.raises(UsageError, match="is not a size"):
            unpacking_from({"CORTEN_UNPACK_LIMIT": text})


@pytest.mark.parametrize("way", ["load", "pull"])
def test_a_layer_that_unpacks_to_too_much_is_refused(tmp_path: Path, registry: str, way: str) -> None:
    source = Store(tmp_path / "source")
    image = make_image(source, "bomb:1", [{"bomb.bin": ZEROS}])
    settings = settings_from({})
    reference = Reference.parse(f"{registry}/team/bomb:1")
    archive = tmp_path / "bomb.tar"
    if way == "load":
        with open(archive, "wb") as stream:
            save_archive(source, [image], stream, ignore)
    else:
        push([image], reference, source, settings, ignore, PushOptions())
    small = Store(tmp_path / "small", {"CORTEN_UNPACK_LIMIT": "1M"})
    with pytest.raises(FormatError, match="larger than 1048576 bytes") as caught:
        taken(small, way, archive, reference)
    assert "set CORTEN_UNPACK_LIMIT" in (caught.value.hint or "")
    full = Store(tmp_path / "full", NOTHING_FREE)
    with pytest.raises(StoreError, match="that Corten leaves free") as refused:
        taken(full, way, archive, reference)
    assert "CORTEN_KEEP_FREE" in (refused.value.hint or "")
    for store in (small, full):
        assert store.layers.all() == []
        assert store.images.all() == []
        assert list((store.root / "tmp").iterdir()) == []
    usual = Store(tmp_path / "usual")
    taken(usual, way, archive, reference)
    assert usual.layers.all() == source.layers.all()


def taken(store: Store, way: str, archive: Path, reference: Reference) -> None:
    if way == "pull":
        pull(reference, [AMD64], store, settings_from({}), ignore)
        return
    with open(archive, "rb") as stream:
        load(store, stream, "bomb.tar", ignore)


def test_unpacking_stops_before_the_disk_is_full(tmp_path: Path) -> None:
    """On a disk of 160 MiB, 60 of which are to stay free, a layer of 150."""
    script = (
        "import io, os, pathlib, sys, tarfile\n"
        "from corten.errors import StoreError\n"
        "from corten.oci.digest import Digest\n"
        "from corten.store.store import Store\n"
        "root = pathlib.Path(sys.argv[1]) / 'store'\n"
        "store = Store(root, {'CORTEN_KEEP_FREE': '60M'})\n"
        "entry = tarfile.TarInfo('zeros'); entry.size = 150 << 20\n"
        "head = entry.tobuf(tarfile.PAX_FORMAT)\n"
        "least = [1 << 40]\n"
        "def pieces():\n"
        "    yield head\n"
        "    for _ in range(150):\n"
        "        yield bytes(1 << 20)\n"
        "        disk = os.statvfs(root); least.append(disk.f_bavail * disk.f_frsize)\n"
        "try:\n"
        "    with store.temporary_directory() as directory:\n"
        "        store.layers.receive(directory, pieces(), Digest.of(b'x'))\n"
        "except StoreError as error:\n"
        "    print(error.message, '|', min(least) >> 20, '|', os.listdir(root / 'tmp'))\n"
    )
    command = 'mount -t tmpfs -o size=160m none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, "sh", str(tmp_path), sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
    )
    message, least, left = done.stdout.split(" | ")
    assert message.endswith("is full but for the 60 MiB that Corten leaves free"), done.stderr
    assert int(least) >= 60 - 32
    assert left.strip() == "[]"


def test_nothing_is_fetched_that_the_disk_has_no_room_for(tmp_path: Path) -> None:
    """Also where the lock or the index does not say the size, or says a large one."""
    indexes = read_indexes(None, {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PIP_NO_INDEX": "1"})
    for size in (-1, 1 << 49):
        store = Store(tmp_path / "store", NOTHING_FREE if size < 0 else {})
        wheel = Wheel("bomb", "1.0", "bomb-1.0-py3-none-any.whl", size, "0" * 64)
        with pytest.raises(StoreError, match="that Corten leaves free"):
            fetch_wheels(store, [wheel], indexes, ignore)


@pytest.mark.e2e
def test_a_build_says_which_wheel_is_too_large_and_how_to_take_it(corten: Corten, tmp_path: Path) -> None:
    root = tmp_path / "project"
    make_wheel(
        root / "wheels", "bomb", files={"bomb.bin": ZEROS + os.urandom(8)}
    )  # that nobody has a layer of
    (root / "main.py").write_text("print(1)\n")
    (root / "requirements.txt").write_text("--no-index\n--find-links wheels\nbomb\n")
    corten("lock", root)
    said = corten.at(corten.home, CORTEN_UNPACK_LIMIT="1M")("build", root, code=1).stderr
    assert "error: the wheel 'bomb-1.0-py3-none-any.whl' is larger than 1048576 bytes" in said
    assert "hint: if it is to be trusted, set CORTEN_UNPACK_LIMIT" in said
    said = corten.at(corten.home, **NOTHING_FREE)("build", root, code=1).stderr
    assert "that Corten leaves free" in said
    assert "CORTEN_KEEP_FREE" in said
    assert corten.build(root)["layers"]
