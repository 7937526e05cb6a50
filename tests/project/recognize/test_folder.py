from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from corten.project.recognize import folder as module
from corten.project.recognize.folder import Folder

Make = Callable[..., Path]


def test_files_come_by_depth_without_what_is_ignored(folder: Make) -> None:
    root = folder(
        {
            "b.py": "",
            "a.py": "",
            "x/y/z/deep.py": "",
            "x/y/z/w/deeper.py": "",
            "x/one.txt": "",
            "venv/pyvenv.cfg": "",
            "venv/v.py": "",
            "__pycache__/c.py": "",
            ".gitignore": "ignored/\n",
            ".git/HEAD": "",
            "ignored/i.py": "",
            "out/o.py": "",
            ".dockerignore": "docker\n",
            "docker/d.py": "",
        }
    )
    with Folder(str(root), ("out",)) as found:
        assert found.files(".py") == ("a.py", "b.py", "x/y/z/deep.py")
        assert found.files() == ("a.py", "b.py", "x/one.txt", "x/y/z/deep.py")
        assert found.has_file("x/one.txt")
        assert not found.has_file("x/y/z/w/deeper.py")
        assert found.has_folder("x/y/z")
        assert not found.has_folder("ignored")
        assert found.exists("x/y/z/w/deeper.py")
        assert not found.exists("x/none")
        assert found.text("ignored/i.py") == ""


def test_what_git_tracks_counts_although_it_is_ignored(folder: Make) -> None:
    root = folder({".gitignore": "models/\n", "models/net.py": "", "models/other.py": ""})
    run = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*run, "init", "-q"], check=True)
    subprocess.run([*run, "add", "-f", "models/net.py"], check=True)
    with Folder(str(root)) as found:
        assert found.files(".py") == ("models/net.py",)


def test_no_link_leads_out(folder: Make, tmp_path: Path) -> None:
    root = folder({"real.py": "x = 1\n"})
    (tmp_path / "outside.py").write_text("y = 1\n")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside/z.py").write_text("")
    (root / "inner.py").symlink_to("real.py")
    (root / "outer.py").symlink_to("../outside.py")
    (root / "folder").symlink_to("../beside")
    os.mkfifo(root / "pipe.py")
    with Folder(str(root)) as found:
        assert found.files(".py") == ("inner.py", "real.py")
        assert found.text("inner.py") == "x = 1\n"
        for path in ("outer.py", "folder/z.py", "../outside.py", "pipe.py", "none.py", "a\0b"):
            assert found.text(path) is None
            assert path == "pipe.py" or path == "outer.py" or not found.exists(path)


def test_a_folder_of_data_is_passed_over_and_named(folder: Make) -> None:
    root = folder({"app.py": "", "data/0.py": ""})
    for number in range(module._MOST_IN_FOLDER):
        (root / f"data/{number}.txt").touch()
    with Folder(str(root)) as found:
        assert found.files(".py") == ("app.py",)
        assert found.passed_over == ("data",)


def test_reading_is_bounded_and_modules_are_parsed_once(folder: Make) -> None:
    root = folder(
        {
            "big.py": "#" * (module.MOST_BYTES + 1),
            "good.py": "import flask\n",
            "bad.py": "import flask (\n",
            "marked.txt": "\ufeffa\r\nb".encode(),
            "wide.txt": "a\r\nb".encode("utf-16"),
        }
    )
    with Folder(str(root)) as found:
        assert found.data("big.py") is None
        assert [item.path for item in found.modules(b"flask")] == ["good.py"]
        assert found.module("good.py") is found.module("good.py")
        assert found.fault("bad.py") == "invalid syntax in line 1"
        assert found.text("marked.txt") == found.text("wide.txt") == "a\nb"
        assert found.data("good.py", 3) is None
