"""What saved models say of their packages, read from real files that are never loaded."""

from __future__ import annotations

import gzip
import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st

from corten.project.lfs import pointers
from corten.project.load import load
from corten.project.model import SourceFile
from corten.project.saved_models import Saved, look

SAVING = """
import sys, joblib, pickle
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
model = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=3, random_state=0))
model.fit([[float(i), i % 3] for i in range(60)], [i % 2 for i in range(60)])
folder = sys.argv[1]
for protocol in range(6):
    with open(f"{folder}/protocol{protocol}.pkl", "wb") as file:
        pickle.dump(model, file, protocol)
joblib.dump(model, f"{folder}/plain.joblib")
for kind in ("zlib", "gzip", "bz2", "lzma", "xz"):
    joblib.dump(model, f"{folder}/{kind}.joblib", compress=(kind, 3))
with open(f"{folder}/in_dict.pkl", "wb") as file:
    pickle.dump({"columns": ["a", "b"], "model": model}, file)
"""
FORMS = [
    *(f"protocol{number}.pkl" for number in range(6)),
    *("plain.joblib", "zlib.joblib", "gzip.joblib", "bz2.joblib", "lzma.joblib", "xz.joblib", "in_dict.pkl"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-c", SAVING, str(folder)], check=True)
    return folder


@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_its_version(models: Path, name: str) -> None:
    found = look(models, name)
    assert found is not None
    assert found.sklearn == sklearn.__version__
    assert any(module.startswith("sklearn.") for module in found.modules)


def test_a_series_and_its_last_day() -> None:
    assert (Saved("m", (), "1.2.2").series, Saved("m", (), "1.2.2").last_day) == ("1.2", "2023-06-29")
    assert Saved("m", (), "0.24.1").last_day == "2021-09-23"
    assert Saved("m", (), "99.1.0").last_day is None


def test_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {tmp_path}/loaded",)

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    assert look(tmp_path, "evil.pkl") == Saved("evil.pkl", ("posix",))
    assert not (tmp_path / "loaded").exists()


def test_links_out_pipes_and_bombs(tmp_path: Path) -> None:
    import os

    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "outside.pkl").write_bytes(pickle.dumps(io.BytesIO))
    (root / "link.pkl").symlink_to(tmp_path / "outside.pkl")
    os.mkfifo(root / "pipe.pkl")
    (root / "bomb.pkl").write_bytes(gzip.compress(b"\x80\x04" + b"N" * (200 << 20), 9))
    for name in ("link.pkl", "pipe.pkl", "bomb.pkl", "missing.pkl"):
        assert look(root, name) is None


@given(
    st.binary(max_size=300)
    | st.binary(max_size=60).map(lambda tail: b"\x80\x04\x8c\x10_sklearn_version" + tail)
)
def test_any_bytes_are_read_without_failing(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.pkl").write_bytes(data)
    look(folder, "any.pkl")


def test_models_ask_for_their_packages_where_nothing_is_listed(models: Path, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import joblib\nmodel = joblib.load('model.joblib')\n")
    (tmp_path / "model.joblib").write_bytes((models / "plain.joblib").read_bytes())
    assert {item.requirement for item in load(tmp_path).implied} >= {"joblib", "scikit-learn"}


def test_pointers_of_git_lfs(tmp_path: Path) -> None:
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 98765432\n"
    contents = {
        "model.pt": text,
        "notes.md": text,
        "small.bin": b"x" * 130,
        "weights/a.bin": text,
        "tiny.pt": text[:50],
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    files = [SourceFile(name, len(content), 0, 0, 0, False) for name, content in contents.items()]
    files.append(SourceFile("link.pt", 130, 0, 0, 0, False, link="model.pt"))
    assert pointers(tmp_path, files) == ("model.pt", "weights/a.bin")
