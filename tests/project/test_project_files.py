from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.files import WEIGHT_BYTES, scan
from corten.project.load import load
from corten.project.model import SourceFile, SourceFiles

Folder = Callable[..., Path]


def paths(files: tuple[SourceFile, ...]) -> list[str]:
    return [file.path for file in files]


def found(root: Path, **settings: tuple[str, ...]) -> SourceFiles:
    return scan(replace(load(root), **settings))  # type: ignore[arg-type]


def test_code_weights_and_what_stays_out(folder: Folder) -> None:
    root = folder(
        {
            "predict.py": "",
            "pkg/data.json": "{}",
            "model.joblib": "x",
            "deep/net.safetensors": "x",
            "corten.lock": "",
            "pkg/corten.lock": "",
            ".env": "SECRET=1",
            ".env.production": "",
            "tls/server.key": "",
            "tls/ca.pem": "",
            ".git/config": "",
            "pkg/__pycache__/a.pyc": "",
            "node_modules/x/index.js": "",
            ".netrc": "",
            "other-venv/pyvenv.cfg": "",
            "other-venv/lib/big.py": "",
            "myenv/Lib/site-packages/flask/app.py": "",
            ".gitignore": "",
            ".streamlit/config.toml": "",
        }
    )
    (root / "table.csv").touch()
    os.truncate(root / "table.csv", WEIGHT_BYTES + 1)
    (root / "generated.py").touch()
    os.truncate(root / "generated.py", WEIGHT_BYTES + 1)
    (root / "pkg/run.sh").write_text("#!/bin/sh\n")
    (root / "pkg/run.sh").chmod(0o755)
    files = found(root)
    assert paths(files.code) == [
        *(
            ".streamlit/config.toml",
            "generated.py",
            "pkg/corten.lock",
            "pkg/data.json",
            "pkg/run.sh",
            "predict.py",
        ),
    ]
    assert paths(files.weights) == ["deep/net.safetensors", "model.joblib", "table.csv"]
    assert list(files.left_out) == [
        *(
            ".env",
            ".env.production",
            ".git/",
            ".gitignore",
            ".netrc",
            "corten.lock",
            "myenv/Lib/site-packages/",
            "node_modules/",
            "other-venv/",
        ),
        *("pkg/__pycache__/", "tls/ca.pem", "tls/server.key"),
    ]
    script = next(file for file in files.code if file.path == "pkg/run.sh")
    status = (root / "pkg/run.sh").lstat()
    assert script == SourceFile(
        "pkg/run.sh", status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, True
    )
    assert not files.code[0].executable


def test_git_rules_of_nested_folders_and_of_the_repository_above(folder: Folder) -> None:
    repository = folder(
        {
            ".git/info/exclude": "local.txt\n",
            ".gitignore": "/services/iris/scratch/\n*.log\n",
            "services/.gitignore": "*.tmp\n!keep.tmp\n",
        }
    )
    root = folder(
        {
            **dict.fromkeys(
                ["main.py", "a.log", "a.tmp", "keep.tmp", "scratch/x", "local.txt", "sub/b.dat"], ""
            ),
            "sub/.gitignore": "*.dat\n",
            "sub/keep.log": "",
        },
        "project/services/iris",
    )
    assert root.is_relative_to(repository)
    assert paths(found(root).code) == ["keep.tmp", "main.py"]


def test_a_project_that_its_repository_ignores_is_not_empty(folder: Folder) -> None:
    folder({".git/HEAD": "", ".gitignore": "/work/**\n"})
    root = folder({"main.py": "", "a.py": ""}, "project/work/iris")
    assert paths(found(root).code) == ["a.py", "main.py"]


def test_a_worktree_has_the_excludes_of_its_repository(folder: Folder) -> None:
    folder({"info/exclude": "secret.txt\n", "worktrees/w/commondir": "../..\n"}, "central.git")
    root = folder({".git": "gitdir: ../central.git/worktrees/w\n", "main.py": "", "secret.txt": ""})
    assert paths(found(root).code) == ["main.py"]


def test_own_excludes_win_and_can_bring_back_what_git_and_the_defaults_leave_out(folder: Folder) -> None:
    root = folder(
        {
            **dict.fromkeys(
                ["main.py", "data/a.csv", "data/b.txt", "notes/x.md", ".env.example", "out.log"], ""
            ),
            ".gitignore": "*.log\n",
            ".cortenignore": "notes/\n!.env.example\n!out.log\n",
        }
    )
    files = found(root, exclude=("*.csv",))
    assert paths(files.code) == [".env.example", "data/b.txt", "main.py", "out.log"]
    assert set(files.left_out) >= {"data/a.csv", "notes/"}


def test_declared_models_are_found_where_git_ignores_them(folder: Folder) -> None:
    root = folder(
        {
            ".gitignore": "weights/\n*.bin\n/model.dat\n",
            "main.py": "",
            "model.dat": "x",
            "other.dat": "x",
            "weights/a/one.bin": "x",
            "weights/a/config.json": "{}",
            "weights/a/.env": "",
            "weights/a/__pycache__/x.pyc": "",
            "weights/skip/two.bin": "x",
            "snapshots/1/x.bin": "x",
            "snapshots/2/y.bin": "x",
        }
    )
    models = ("model.dat", "weights/", "snapshots/*/*.bin", "gone.pt", "none/**/*.pt", "main.py/x")
    files = found(root, models=models, exclude=("/weights/skip/",))
    assert paths(files.weights) == [
        *(
            "model.dat",
            "snapshots/1/x.bin",
            "snapshots/2/y.bin",
            "weights/a/config.json",
            "weights/a/one.bin",
        ),
    ]
    assert files.missing == ("gone.pt", "none/**/*.pt", "main.py/x")
    assert paths(files.code) == ["main.py", "other.dat"]


def test_weights_that_git_ignores_go_in_and_those_in_ignored_folders_are_told(folder: Folder) -> None:
    """People keep weights out of repositories, and their programs need them. A whole folder may be anything."""
    root = folder(
        {
            ".gitignore": "*.pt\n*.csv\n/runs/\n",
            "main.py": "",
            "net.pt": "x",
            "deep/net.pt": "x",
            "out.pt": "x",
            "table.csv": "x",
            "runs/1/best.pt": "x",
            "runs/log.txt": "x",
        }
    )
    files = found(root, exclude=("out.pt",))
    assert paths(files.weights) == ["deep/net.pt", "net.pt"]
    assert files.although_ignored == ("deep/net.pt", "net.pt")
    assert files.in_ignored == ("runs/1/best.pt",)
    assert set(files.left_out) >= {"out.pt", "table.csv", "runs/"}
    declared = found(root, models=("runs/1/best.pt",))
    assert declared.in_ignored == ()


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


TRACKED = {
    ".gitignore": "*.dat\n/data/\nsecret.env\n",
    "main.py": "",
    "kept.dat": "x",
    "lost.dat": "x",
    "data/kept/table.csv": "x",
    "data/lost.csv": "x",
    "data/net.onnx": "x",
    "data/lost.onnx": "x",
    "sub/ünï.dat": "x",
    ".env": "x",
}


@pytest.mark.parametrize("form", ["2", "4", "split", "sha256", "worktree"])
def test_what_git_tracks_goes_in_whatever_its_rules_say(folder: Folder, tmp_path: Path, form: str) -> None:
    """Its rules hold for files that it does not track. Only secrets stay out all the same."""
    root = folder(TRACKED)
    git(root, "init", *(["--object-format=sha256"] if form == "sha256" else []))
    if form in ("2", "4"):
        git(root, "config", "index.version", form)
    if form == "split":
        git(root, "update-index", "--split-index")
    git(root, "add", ".")
    git(root, "add", "--force", "kept.dat", "data/kept", "data/net.onnx", "sub/ünï.dat", ".env")
    if form == "split":
        (root / "late.dat").write_text("x")
        git(root, "update-index", "--split-index")
        git(root, "add", "--force", "late.dat")
    if form == "worktree":
        git(root, "commit", "-m", "x")
        git(root, "worktree", "add", str(tmp_path / "tree"))
        for lost in ("lost.dat", "data/lost.csv", "data/lost.onnx"):
            (tmp_path / "tree" / lost).write_text("x")
        root = tmp_path / "tree"
    files = found(root)
    late = ["late.dat"] if form == "split" else []
    assert paths(files.code) == ["data/kept/table.csv", "kept.dat", *late, "main.py", "sub/ünï.dat"]
    assert paths(files.weights) == ["data/net.onnx"]
    assert set(files.left_out) >= {"data/lost.csv", "data/lost.onnx", "lost.dat", ".env"}
    assert not files.unknown_tracked


def test_what_git_tracks_is_known_in_a_folder_of_a_repository(folder: Folder) -> None:
    root = folder(TRACKED, "repository/project")
    git(root.parent, "init")
    git(root.parent, "add", "--force", "project/kept.dat")
    assert "kept.dat" in paths(found(root).code)
    assert "lost.dat" in found(root).left_out


@pytest.mark.parametrize("kind", ["nonsense", "cut", "pipe", "count"])
def test_an_index_that_cannot_be_read_is_told(folder: Folder, kind: str) -> None:
    root = folder(TRACKED)
    git(root, "init")
    git(root, "add", "--force", "kept.dat")
    index = root / ".git/index"
    data = index.read_bytes()
    index.unlink()
    if kind == "pipe":
        os.mkfifo(index)
    else:
        index.write_bytes(
            {"nonsense": b"x" * 100, "cut": data[:50], "count": data[:8] + b"\xff" * 4 + data[12:]}[kind]
        )
    files = found(root)
    assert files.unknown_tracked
    assert "kept.dat" in files.left_out


def test_globs_of_models(folder: Folder) -> None:
    root = folder(dict.fromkeys(["main.py", "a.bin", "x/b.bin", "x/y/c.bin", "w[1].bin", "w1.bin"], "x"))
    assert paths(found(root, models=("*.bin",)).weights) == ["a.bin", "w1.bin", "w[1].bin"]
    assert paths(found(root, models=("**/*.bin",)).weights) == [
        *("a.bin", "w1.bin", "w[1].bin", "x/b.bin", "x/y/c.bin"),
    ]
    assert paths(found(root, models=("x/**",)).weights) == ["x/b.bin", "x/y/c.bin"]
    assert paths(found(root, models=("w[1].bin",)).weights) == ["w[1].bin"], "a file of that very name"


def test_a_file_named_exactly_stays_whatever_is_excluded(folder: Folder) -> None:
    root = folder({"main.py": "", "certs/ca.pem": "", "certs/private.key": "", "big.pt": ""})
    files = found(root, include=("certs/ca.pem",), models=("big.pt",), exclude=("*.pt", "certs"))
    assert paths(files.code) == ["certs/ca.pem", "main.py"]
    assert paths(files.weights) == ["big.pt"]
    assert "certs/ca.pem" not in files.left_out


def test_an_include_that_is_not_there_is_an_error(folder: Folder) -> None:
    with pytest.raises(
        ProjectError, match=r"'include' in \[tool.corten\] names 'gone/\*', and there is no such file"
    ):
        found(folder({"main.py": ""}), include=("gone/*",))


def test_links_inside_the_project_stay_links(folder: Folder) -> None:
    root = folder({"main.py": "", "data/real.txt": "x", "data/sub/inner.txt": "x"})
    (root / "alias.txt").symlink_to("data/real.txt")
    (root / "data/sub/up.txt").symlink_to("../real.txt")
    (root / "folder").symlink_to("data")
    (root / "absolute.txt").symlink_to(root / "data/real.txt")
    (root / "around.txt").symlink_to(f"../{root.name}/data/real.txt")
    (root / "dangling.txt").symlink_to("data/gone.txt")
    links = {file.path: file.link for file in found(root).code if file.link is not None}
    assert links == {
        "alias.txt": "data/real.txt",
        "data/sub/up.txt": "../real.txt",
        "folder": "data",
        "absolute.txt": "data/real.txt",
        "around.txt": "data/real.txt",
        "dangling.txt": "data/gone.txt",
    }


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside.txt", "inner", "../gone"])
def test_a_link_out_of_the_project_is_an_error_that_names_both(folder: Folder, target: str) -> None:
    root = folder({"main.py": ""})
    (root.parent / "outside.txt").touch()
    (root / "link").symlink_to(target)
    if target == "inner":
        (root / "inner").symlink_to("../outside.txt")
    with pytest.raises(ProjectError) as caught:
        found(root)
    assert "is a symbolic link to" in caught.value.message
    assert (
        target if target != "inner" else "../outside.txt"
    ) in caught.value.message or "inner" in caught.value.message
    assert 'exclude = ["/' in (caught.value.hint or "")
    files = found(root, exclude=("/link", "/inner"))
    assert paths(files.code) == ["main.py"]


def test_the_target_of_a_declared_link_goes_along(folder: Folder) -> None:
    root = folder({".gitignore": "blobs/\nhf/\n", "main.py": "", "blobs/abc": "x", "hf/config.json": "{}"})
    (root / "hf/model.safetensors").symlink_to("../blobs/abc")
    (root / "latest").symlink_to("hf")
    files = found(root, models=("latest/model.safetensors",))
    assert {file.path: file.link for file in files.code} == {
        "main.py": None,
        "latest": "hf",
        "hf/model.safetensors": "../blobs/abc",
    }
    assert paths(files.weights) == ["blobs/abc"]
    whole = found(root, models=("latest/",))
    assert paths(whole.weights) == ["blobs/abc", "hf/config.json"]
    assert {file.path for file in whole.code} == {"main.py", "latest", "hf/model.safetensors"}


def test_declared_links_that_go_round_in_circles_end(folder: Folder) -> None:
    root = folder({"main.py": "", "a/x.txt": ""})
    (root / "a/self").symlink_to(".")
    (root / "loop").symlink_to("loop")
    (root / "b").mkdir()
    (root / "b/a").symlink_to("../a")
    (root / "a/b").symlink_to("../b")
    files = found(root, models=("a", "b", "loop"))
    assert paths(files.weights) == ["a/x.txt"]
    assert files.missing == ("loop",)


def test_special_files_are_left_out_and_said(folder: Folder) -> None:
    root = folder({"main.py": ""})
    os.mkfifo(root / "pipe")
    here = Path.cwd()
    os.chdir(root)  # a socket's path is limited to 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("sock")
            files = found(root, models=("pipe",))
    finally:
        os.chdir(here)
    assert files.left_out == ("pipe (named pipe)", "sock (socket)")
    assert files.missing == ("pipe",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"caf\xe9.txt", r"the name of 'caf\\xe9.txt' is not UTF-8"),
        (b"a\nb.txt", r"the name of 'a\\nb.txt' has a control character"),
        (b".wh.main.py", r"names that begin with '.wh.' mean deletion"),
        (b"dir\x1b/x", r"has a control character"),
    ],
)
def test_names_that_an_image_cannot_hold(folder: Folder, name: bytes, message: str) -> None:
    root = folder({"main.py": ""})
    path = os.fsencode(root) + b"/" + name
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb"):
        pass
    with pytest.raises(ProjectError, match=message):
        found(root)


def test_spaces_and_unicode_in_paths(folder: Folder) -> None:
    root = folder({"ein Ordner/Größe 名前.py": "", "main.py": "", "no\u00a0break.txt": ""}, "mein Projekt ü")
    assert paths(found(root).code) == ["ein Ordner/Größe 名前.py", "main.py", "no\u00a0break.txt"]


def test_an_ignore_file_that_is_not_utf8_still_works(folder: Folder) -> None:
    root = folder({"main.py": "", "x.log": "", ".gitignore": b"\xef\xbb\xbf*.log\r\ncaf\xe9\n"})
    assert paths(found(root).code) == ["main.py"]


def test_a_folder_that_cannot_be_read_is_an_error(folder: Folder) -> None:
    root = folder({"main.py": "", "closed/x.txt": ""})
    (root / "closed").chmod(0)
    project = load(root)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:  # root may read everything
                for parent in root.parents:
                    if parent.name.startswith(("pytest-", "popen-", "test_")):
                        parent.chmod(0o755)
                os.setuid(65534)
            scan(project)
        except ProjectError as error:
            code = 0 if "folder 'closed/' cannot be read: permission denied" in error.message else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_order_on_disk_does_not_matter(folder: Folder) -> None:
    names = [f"f{number}.txt" for number in range(30)]
    first = folder(dict.fromkeys(["main.py", *names], ""), "one")
    second = folder(dict.fromkeys([*reversed(names), "main.py"], ""), "two")
    assert paths(found(first).code) == paths(found(second).code)


def test_twenty_thousand_files_are_scanned_quickly(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    (tmp_path / ".gitignore").write_text(
        "*.log\n__pycache__/\n*.py[co]\n/dist/\ndata/**/tmp\n!keep.log\n.cache/\n"
    )
    for number in range(200):
        directory = tmp_path / f"pkg{number // 10}" / f"sub{number}"
        directory.mkdir(parents=True)
        for inner in range(100):
            (directory / f"file{inner}.json").touch()
    project = load(tmp_path)
    times = []
    for _ in range(4):
        start = time.process_time()
        files = scan(project)
        times.append(time.process_time() - start)
    assert len(files.code) == 20_001
    print(f"20,000 files: {min(times):.3f} s", file=sys.stderr)
    assert min(times) < 0.45


def test_a_large_database_of_an_application_lies_where_it_writes(folder: Folder) -> None:
    files = {"main.py": "", "notes.db": b"\0" * 10_000_001, "blob.bin": b"\0" * 10_000_001}
    root = folder({**files, "pyproject.toml": '[tool.corten]\ncommand = "python main.py"\n'})
    found = scan(load(root), root / "store")
    assert [file.path for file in found.weights] == ["blob.bin"]
    root = folder({"pyproject.toml": '[tool.corten]\npredict = "main:f"\n'})
    assert [file.path for file in scan(load(root), root / "store").weights] == ["blob.bin", "notes.db"]
