"""Wheels become trees: everything PEP 427 asks for, nothing outside of the environment."""

from __future__ import annotations

import contextlib
import csv
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.build.environment import Environment
from corten.build.wheel import place_wheel
from corten.errors import BuildError
from support.wheels import make_wheel

VENV = Environment("/opt/venv", "3.11")
SITE = "opt/venv/lib/python3.11/site-packages"


def place(tmp_path: Path, name: str = "demo", **options: object) -> Path:
    wheel = make_wheel(tmp_path / "wheels", name, **options)  # type: ignore[arg-type]
    tree = tmp_path / "tree"
    place_wheel(tmp_path / "wheels" / wheel.file, wheel.file, VENV, tree)
    return tree


def test_files_scripts_and_schemes(tmp_path: Path) -> None:
    tree = place(
        tmp_path,
        files={
            "demo/__init__.py": "x = 1\n",
            "demo/native.so": b"\x7fELF",
            "ns/part.py": "",
            "demo.pth": "/app\n",
            "demo-1.0.data/scripts/old-tool": "#!python\nprint(1)\n",
            "demo-1.0.data/data/share/demo/file.txt": "data",
            "demo-1.0.data/headers/demo.h": "int x;",
            "demo-1.0.data/purelib/extra.py": "",
        },
        modes={"demo/native.so": 0o755},
        entry_points="[console_scripts]\ndemo = demo:main\n[gui_scripts]\ndemo-gui = demo.gui:main\n",
    )
    assert (tree / SITE / "demo/__init__.py").read_text() == "x = 1\n"
    assert os.access(tree / SITE / "demo/native.so", os.X_OK)
    assert (tree / SITE / "demo.pth").exists()
    assert (tree / SITE / "extra.py").exists()
    assert (tree / "opt/venv/share/demo/file.txt").read_text() == "data"
    assert (tree / "opt/venv/include/site/python3.11/demo/demo.h").exists()
    for script in ("demo", "demo-gui", "old-tool"):
        path = tree / "opt/venv/bin" / script
        assert path.read_text().splitlines()[0] == "#!/opt/venv/bin/python"
        assert os.access(path, os.X_OK)


def test_record_lists_what_was_written(tmp_path: Path) -> None:
    tree = place(tmp_path, files={"demo.py": "x", "demo-1.0.data/scripts/tool": "#!python\n"})
    information = tree / SITE / "demo-1.0.dist-info"
    assert (information / "INSTALLER").read_text() == "corten\n"
    assert not (information / "REQUESTED").exists()
    assert not (information / "direct_url.json").exists()
    with open(information / "RECORD", newline="") as file:
        rows = {row[0]: row for row in csv.reader(file)}
    assert set(rows) == {
        "demo.py",
        "../../../bin/tool",
        "demo-1.0.dist-info/METADATA",
        "demo-1.0.dist-info/WHEEL",
        "demo-1.0.dist-info/INSTALLER",
        "demo-1.0.dist-info/RECORD",
    }
    for path, row in rows.items():
        target = (tree / SITE / path).resolve()
        assert target.is_file()
        if row[2]:
            assert int(row[2]) == target.stat().st_size


@pytest.mark.parametrize(
    "path",
    [
        "../../../../../../evil",
        "/etc/evil",
        "demo/../../evil",
        "demo-1.0.data/scripts/../../../evil",
        "demo-1.0.data/data/../../../../evil",
        "demo-1.0.data/nowhere/evil",
        "new\nline.py",
    ],
)
def test_paths_that_leave_the_environment(tmp_path: Path, path: str) -> None:
    with pytest.raises(BuildError, match=r"demo-1\.0-py3-none-any\.whl"):
        place(tmp_path, files={path: "evil"})
    assert not [found for found in tmp_path.rglob("*evil*") if found.is_file()]


def test_a_wheel_is_not_written_through_a_link(tmp_path: Path) -> None:
    """A zip entry that is a link becomes a plain file, as with pip, so nothing can be written through it."""
    tree = place(tmp_path, files={"demo/link": "/etc/passwd"}, modes={"demo/link": 0o120777 & 0o7777})
    assert not (tree / SITE / "demo/link").is_symlink()


@pytest.mark.parametrize("damage", ["truncated", "not a zip", "no dist-info", "flipped"])
def test_damaged_wheels_are_one_sentence(tmp_path: Path, damage: str) -> None:
    wheel = make_wheel(tmp_path, "demo", files={"demo.py": "x = 1\n" * 1000})
    path = tmp_path / wheel.file
    data = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "not a zip":
        path.write_bytes(b"<html>")
    elif damage == "flipped":
        path.write_bytes(data[:60] + bytes([data[60] ^ 255]) + data[61:])
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("demo.py", "")
    with pytest.raises(BuildError, match=r"'demo-1\.0-py3-none-any\.whl' cannot be installed") as caught:
        place_wheel(path, wheel.file, VENV, tmp_path / "tree")
    assert "\n" not in caught.value.message


@given(st.binary(max_size=400))
@settings(max_examples=80, deadline=None)
def test_hostile_bytes_are_our_error_or_a_wheel(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    directory = tmp_path_factory.mktemp("noise")
    wheel = make_wheel(directory, "demo")
    data = bytearray((directory / wheel.file).read_bytes())
    for index, byte in enumerate(noise):
        data[(index * 7919 + byte) % len(data)] ^= byte
    (directory / wheel.file).write_bytes(bytes(data))
    with contextlib.suppress(BuildError):
        place_wheel(directory / wheel.file, wheel.file, VENV, directory / "tree")
    assert {path.name for path in directory.iterdir()} <= {wheel.file, "tree"}


def test_a_data_scheme_follows_the_environments_links(tmp_path: Path) -> None:
    """/opt/venv/lib64 is a link to lib: a folder of that name in a layer above would hide it."""
    tree = place(tmp_path, files={"demo-1.0.data/data/lib64/demo/lib.so": "x"})
    assert (tree / "opt/venv/lib/demo/lib.so").read_text() == "x"
    assert not (tree / "opt/venv/lib64").exists()


@pytest.mark.parametrize(
    "path", ["data/bin/python", "scripts/python3", "data/./bin//python3.11", "data/pyvenv.cfg"]
)
def test_the_interpreter_is_not_replaced(tmp_path: Path, path: str) -> None:
    with pytest.raises(BuildError, match="would replace the environment's own"):
        place(tmp_path, files={f"demo-1.0.data/{path}": "#!/bin/sh\n"})


@pytest.mark.parametrize(
    "files",
    [
        {"demo": "a file", "demo/inner.py": "below it"},
        {"demo/inner.py": "", "demo": "a folder already"},
        {"n" * 300 + ".py": ""},
        {"a/" * 300 + "b.py": ""},
    ],
)
def test_paths_that_no_disk_holds_are_the_wheels_fault(tmp_path: Path, files: dict[str, str]) -> None:
    """One sentence that names the wheel, not a path of a temporary folder."""
    with pytest.raises(
        BuildError, match=r"the wheel 'demo-1\.0-py3-none-any\.whl' cannot be installed"
    ) as failure:
        place(tmp_path, files=files)
    assert str(tmp_path) not in failure.value.message
    assert "\n" not in failure.value.message


def test_metadata_does_not_fill_the_memory(tmp_path: Path) -> None:
    """100 kB of archive that say they are 100 MB of entry points."""
    with pytest.raises(BuildError, match=r"entry_points\.txt' has 100000000 bytes"):
        place(tmp_path, entry_points=" " * 100_000_000)
