"""Saved models come with a project and may be hostile: they are read for versions, and nothing of them runs."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from corten.lock.model_versions import Models
from corten.packages.files import Wheel
from corten.project.load import load
from corten.project.model_files import ALWAYS, traces
from corten.store.store import Store


class Touching:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


def test_nothing_of_a_model_runs_when_it_is_read(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    data = pickle.dumps(
        {"pytorch-lightning_version": "2.0.0", "x": Touching(mark), "lightgbm": "numpy._core"}
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("archive/data.pkl", data)
    for ending in ALWAYS:
        for content in (data, archive.getvalue()):
            (tmp_path / f"m{ending}").write_bytes(content)
            traces(tmp_path, f"m{ending}")
    assert traces(tmp_path, "m.ckpt") != ()
    assert not mark.exists()


def test_a_hostile_model_costs_little(tmp_path: Path) -> None:
    # Each would be endless, or huge, for a reader that believes it.
    heap = b"\x89HDF\r\n\x1a\n" + b"\0" * 100 + b"\x01\x00\x0e\x00\x08\x00\x08\x00keras_version\0\0\0"
    heap += b"\x19" + b"\0" * 7 + b"\0" * 8 + struct.pack("<IQI", 6, 300, 9)
    heap = heap.ljust(300, b"\0") + b"GCOL" + b"\0" * 12 + struct.pack("<HHIQ", 1, 0, 0, (1 << 64) - 16)
    hostile = {
        "a.h5": heap,
        "b.onnx": b"\x08\x0a" * 2_000_000,
        "c.onnx": b"\x08\x0a\x3a" + b"\xff" * 8 + b"\x7f" + b"\x42\x04\x0a\x00\x10\x14",
        "saved_model.pb": b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\x0a" * 100_000,
        "d.ubj": b"{learner" + b"\x07version[$L#L\0\0\0\0\0\0\0\x03" * 100_000,
        "e.json": b'{"learner"' + b'"version": [' * 100_000,
        "f.pt": b"PK\x03\x04" + b"\0" * 22 + b"\xff\xff\xff\xff" + b"/data.pkl" * 100,
        "g.pkl": b"\x80\x04lightgbm xgboost learner" + b"tree\nversion=v" * 100_000,
        "h.pth": b"(" * 3_000_000,
        "i.pkl": b"\x80\x04xgboost learner" + b'"version":[1,2,x]' * 900_000,
    }
    for name, data in hostile.items():
        (tmp_path / name).write_bytes(data)
        assert len(traces(tmp_path, name)) <= 10_000, name


def test_a_model_that_leads_out_of_the_project_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (root / "main.py").write_text("")
    (tmp_path / "outside.txt").write_text("tree\nversion=v4\n" + "x" * 100)
    (root / "model.txt").symlink_to(tmp_path / "outside.txt")
    assert traces(root, "model.txt") == ()
    assert traces(root, "../outside.txt") == ()
    wheels = [Wheel("lightgbm", "3.0", "lightgbm-3.0-py3-none-any.whl", 1, "0" * 64)]
    (root / "model.txt").unlink()
    (root / "model.txt").write_text("tree\nversion=v4\n" + "x" * 100)
    assert len(Models(load(root), Store(tmp_path / "store")).mismatches(wheels)) == 1


def test_the_name_of_a_module_in_a_model_is_a_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as made:
        made.writestr("archive/data.pkl", b"\x80\x02cevil\x1b[31m\nNet\n)\x81.")
    assert [item.version for item in traces(tmp_path, "m.pt")] == ["unknown"]


@pytest.mark.parametrize("text", ["2.0.0\x1b[31m", "2.0.0\n2", "9" * 500])
def test_a_version_in_a_model_is_a_version(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.keras").write_bytes(b'{"keras_version": "' + text.encode() + b'"}')
    assert all(item.version in ("", "2.0.0") for item in traces(tmp_path, "m.keras"))
