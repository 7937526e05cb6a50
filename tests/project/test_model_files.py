"""Which library wrote a model, read from real files (`model_files/`) that are never loaded."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.project.model_files import ALWAYS, Trace, may_tell, traces

FILES = Path(__file__).parent / "model_files"


def told(root: Path, name: str) -> list[tuple[str, str]]:
    found = traces(root, name)
    assert all(item.path == name for item in found)
    return [(item.kind, item.version) for item in found]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("xgboost.json", [("xgboost", "3.2.0")]),
        ("xgboost.ubj", [("xgboost", "3.2.0")]),
        ("xgboost.pkl", [("xgboost-pickle", "3.2.0")]),
        ("lightgbm.txt", [("lightgbm", "4")]),
        ("lightgbm.pkl", [("lightgbm", "4")]),
        ("heap.h5", [("keras", "2.11.0")]),
        ("text.h5", [("keras", "2.11.0")]),
        ("fixed.h5", [("keras", "2.9.0")]),
        ("latest.h5", [("keras", "3.4.1")]),
        ("other.h5", []),
        ("relu.onnx", [("onnx-ir", "14"), ("onnx-opset", "21")]),
        ("absent.h5", []),
    ],
)
def test_real_files(name: str, expected: list[tuple[str, str]]) -> None:
    assert told(FILES, name) == expected


def test_older_forms_of_xgboost(tmp_path: Path) -> None:
    typed = b"{L" + struct.pack(">q", 7) + b"learner{}L" + struct.pack(">q", 7)
    typed += b"version[$l#L" + struct.pack(">q", 3) + struct.pack(">3i", 1, 7, 6) + b"}"
    (tmp_path / "model.ubj").write_bytes(typed)
    assert told(tmp_path, "model.ubj") == [("xgboost", "1.7.6")]
    shutil.copy(FILES / "xgboost.json", tmp_path / "clf.model")
    assert told(tmp_path, "clf.model") == [("xgboost", "3.2.0")]
    (tmp_path / "long.json").write_bytes(b'{"learner":{"x":"' + b"0" * (17 << 20) + b'"},"version":[2,0,3]}')
    assert told(tmp_path, "long.json") == [("xgboost", "2.0.3")]
    (tmp_path / "tokenizer.json").write_text('{"version": [1, 2, 3]}')
    assert told(tmp_path, "tokenizer.json") == []


def archive(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("archive/data.pkl", data)
        made.writestr("archive/version", "3")


def test_files_of_pytorch(tmp_path: Path) -> None:
    weights = (
        b"\x80\x02ccollections\nOrderedDict\n)Rq\x00}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\ns."
    )
    archive(tmp_path / "weights.pth", weights)
    assert told(tmp_path, "weights.pth") == []
    archive(tmp_path / "whole.pt", b"\x80\x02ctorch.nn.modules.container\nSequential\n)\x81.")
    assert told(tmp_path, "whole.pt") == [("torch", "torch.nn.modules.container")]
    archive(tmp_path / "own.pt", b"\x80\x02cmodels.net\nNet\n)\x81.")
    assert told(tmp_path, "own.pt") == [("torch", "models.net")]
    archive(tmp_path / "script.pt", b"\x80\x02c__torch__.models.net\nNet\n)\x81.")
    assert told(tmp_path, "script.pt") == []
    archive(
        tmp_path / "last.ckpt", pickle.dumps({"epoch": 3, "pytorch-lightning_version": "2.2.1", "s": {}}, 2)
    )
    assert told(tmp_path, "last.ckpt") == [("lightning", "2.2.1")]


def test_keras_tensorflow_and_numpy(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as made:
        made.writestr(
            "metadata.json", json.dumps({"keras_version": "3.4.1", "date_saved": "2024-07-01@10:00:00"})
        )
    assert told(tmp_path, "net.keras") == [("keras", "3.4.1")]
    version = b"2.11.0"
    info = b"\x2a" + bytes([len(version)]) + version
    graph = b"\x0a" + bytes([len(info)]) + info
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12" + bytes([len(graph)]) + graph)
    assert told(tmp_path, "saved_model.pb") == [("tensorflow", "2.11.0")]
    assert may_tell("export/1/saved_model.pb")
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04\x8c\x16numpy._core.multiarray\x94\x8c\x06scalar\x94\x93\x94.")
    assert told(tmp_path, "a.pkl") == [("numpy", "2.0")]


def test_a_graph_of_many_bytes_is_passed_over(tmp_path: Path) -> None:
    size = 5_000_000
    data = (
        b"\x08\x09"
        + b"\x3a"
        + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21])
    )
    (tmp_path / "m.onnx").write_bytes(data + b"\0" * size + b"\x42\x04\x0a\x00\x10\x14")
    assert told(tmp_path, "m.onnx") == [("onnx-ir", "9"), ("onnx-opset", "20")]


def test_what_leads_out_of_the_project_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (root / "model.json").symlink_to(FILES / "xgboost.json")
    assert traces(root, "model.json") == ()
    assert traces(root, "../../x.json") == ()


@given(
    st.binary(max_size=600),
    st.sampled_from(ALWAYS),
    st.sampled_from([*FILES.iterdir()]),
    st.integers(0, 7000),
)
def test_damaged_files_say_nothing_and_break_nothing(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, ending: str, file: Path, place: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    whole = file.read_bytes()
    for data in (noise, whole[:place] + noise[:40] + whole[place + 40 :]):
        (folder / f"x{ending}").write_bytes(data)
        assert all(
            isinstance(item, Trace) and len(item.version) < 120 for item in traces(folder, f"x{ending}")
        )


def test_names_that_may_be_models() -> None:
    assert may_tell("model.json")
    assert may_tell("out/my_lgbm.txt")
    assert not may_tell("package.json")
    assert not may_tell("requirements.txt")
    assert not may_tell("x.pb")
