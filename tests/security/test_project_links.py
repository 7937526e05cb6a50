"""Links, pipes and devices that a project has in place of its own files: nothing outside is written, and nothing is waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corten.errors import ProjectError, UsageError
from corten.inference.batch import Job, prepare
from corten.inference.operations import Operation
from corten.lock.format import LOCK_NAME, encode, read_lock, write_lock
from corten.project.local_packages import LocalPackage, NeedsBuild, describe, members
from corten.project.regular import open_regular
from support.locks import sample_lock


@pytest.mark.parametrize("there", ["nothing", "a lock", "something else"])
def test_a_lock_that_is_a_link_out_of_the_project_is_neither_written_nor_read(
    tmp_path: Path, there: str
) -> None:
    outside, root = tmp_path / "outside", tmp_path / "project"
    outside.mkdir()
    root.mkdir()
    target = outside / "profile"
    before = {"nothing": None, "a lock": encode(sample_lock(wheels=1)), "something else": "precious"}[there]
    if before is not None:
        target.write_text(before)
    (root / LOCK_NAME).symlink_to("../outside/profile")
    for action in (read_lock, lambda path: write_lock(path, sample_lock())):
        with pytest.raises(ProjectError, match="a link that leads out of the project"):
            action(root / LOCK_NAME)
    assert (target.read_text() if target.exists() else None) == before
    assert len(list(outside.iterdir())) == (before is not None)


NAMES = [
    *(
        ".python-version",
        "runtime.txt",
        "Dockerfile",
        "uv.lock",
        "pyproject.toml",
        LOCK_NAME,
        ".git",
        ".gitignore",
    ),
    *("main.py", "predict.py", "app.py", "requirements.txt", "environment.yml"),
    *("pylock.toml", "poetry.lock", "pdm.lock", "Pipfile", "Pipfile.lock", "setup.py", "setup.cfg"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "train.py").touch()
    os.mkfifo(tmp_path / name)
    script = (
        "import sys, pathlib\n"
        "from corten.errors import CortenError\n"
        "from corten.lock.format import read_lock\n"
        "from corten.lock.inputs import inputs_digest\n"
        "from corten.project.files import scan\n"
        "from corten.project.load import load\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "for act in (load, lambda root: scan(load(root)), lambda root: inputs_digest(load(root)),\n"
        "            lambda root: read_lock(root / 'corten.lock')):\n"
        "    try: act(root)\n"
        "    except CortenError: pass\n"
    )
    # A read that waits cannot be ended from within: another process, with time enough on a busy machine.
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=60, check=True)


def test_a_device_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        open_regular("/dev/full")
    (tmp_path / "link").symlink_to("/dev/full")
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(tmp_path / "link")


@pytest.mark.parametrize("ending", [".part", ".part.json"])
@pytest.mark.parametrize("there", [True, False])
def test_results_of_predict_are_not_written_through_links_beside_them(
    tmp_path: Path, ending: str, there: bool
) -> None:
    rows, outside = tmp_path / "rows.jsonl", tmp_path / "outside"
    rows.write_text("{}\n")
    if there:
        outside.write_text("precious\n")
    target = tmp_path / "out.jsonl"
    (tmp_path / f"out.jsonl{ending}").symlink_to(outside)
    with pytest.raises(UsageError, match="is a link"):
        prepare(Job(rows, target, Operation("/predict", {}, {}), "an image", 1))
    assert (outside.read_text() if outside.exists() else None) == ("precious\n" if there else None)


SECRET = "hf.0secret1"
NAMED = '[project]\nname = "x"\n'


@pytest.mark.parametrize(
    "place", ["x/token", "OUTSIDE/token", "/OUTSIDE/token", "../../outside/token", "./x/./token", "link"]
)
@pytest.mark.parametrize(
    "rest",
    [
        'dynamic = ["version"]\n[tool.setuptools.dynamic]\nversion = {{ file = "{place}" }}\n',
        'dynamic = ["version"]\n[tool.hatch.version]\npath = "{place}"\n',
        'version = "1"\ndynamic = ["dependencies"]\n[tool.setuptools.dynamic]\ndependencies = {{ file = ["{place}"] }}\n',
    ],
    ids=["setuptools", "hatch", "dependencies"],
)
@pytest.mark.parametrize("path", ["", "lib"])
def test_no_file_outside_a_package_is_its_version_or_a_requirement(
    tmp_path: Path, path: str, rest: str, place: str
) -> None:
    outside, root = tmp_path / "outside", tmp_path / "project"
    package = root / path
    outside.mkdir()
    package.mkdir(parents=True)
    (outside / "token").write_text(SECRET)
    (package / "x").symlink_to(outside)
    (package / "link").symlink_to(outside / "token")
    place = place.replace("/OUTSIDE", str(outside)).replace("OUTSIDE", str(outside)[1:])
    (package / "pyproject.toml").write_text(NAMED + rest.format(place=place))
    found = describe(root, path)
    assert SECRET not in repr(found)
    # The same file in the package is read.
    (package / "token").write_text(SECRET)
    (package / "pyproject.toml").write_text(NAMED + rest.format(place="token"))
    found = describe(root, path)
    assert isinstance(found, LocalPackage)
    assert SECRET in (found.version, *found.requires)


def test_a_package_that_a_link_leads_out_to_is_not_read(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "project"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    for folder in (outside, root / "real"):
        (folder / "pyproject.toml").write_text(NAMED + 'version = "1"\n')
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to("real")
    assert describe(root, "out") == NeedsBuild("is a link that leads out of the project")
    assert isinstance(describe(root, "in"), LocalPackage)


def test_no_pattern_of_a_workspace_leads_through_a_link(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "project"
    for folder, name in ((outside / "deep/one", "stolen"), (root / "packages/one", "own")):
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    (root / "x").symlink_to(outside)
    (root / "packages/out").symlink_to(outside / "deep/one")
    (root / "packages/again").symlink_to("one")
    (root / "packages/round").symlink_to("..")

    def found(*patterns: str) -> dict[str, str]:
        return members(root, {"tool": {"uv": {"workspace": {"members": list(patterns)}}}})

    assert found("x/deep/one", "x/*/*", "*/deep/*", "x/../packages/*", "n" * 300, "packages/round/*/*") == {}
    assert found("packages/out", "packages/one/*", "packages/o*t") == {}
    assert found("./packages/*/") in ({"own": "packages/one"}, {"own": "packages/again"})
    assert found("packages/[o]ne") == {"own": "packages/one"}
    assert found("packages/again") == {"own": "packages/again"}
