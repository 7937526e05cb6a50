"""The verbs that look after images, as real processes: exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corten.cli.main import VERBS
from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.platform import Platform
from corten.store.images import Image
from corten.store.store import Store
from support.command import Corten

AMD64 = Platform("linux", "amd64")
PLATFORMS = (AMD64, Platform("linux", "arm64"))


@pytest.fixture
def corten(tmp_path: Path) -> Corten:
    return Corten(tmp_path / "home")


@pytest.fixture
def image(corten: Corten) -> Image:
    """A tiny image of two layers, called iris, for two platforms."""
    store = Store.open(corten.home)
    layers = []
    for name in ("a", "b"):
        with store.temporary_directory() as directory:
            (directory / "fs/etc").mkdir(parents=True)
            (directory / "fs/etc" / name).write_text(name)
            layers.append(store.layers.commit(directory, name))
    for platform in PLATFORMS:
        history = tuple({"created_by": f"corten: {title}"} for title in ("the base", "code"))
        config = ImageConfig(
            platform,
            tuple(layer.diff_id for layer in layers),
            history=history,
            created="1980-01-01T00:00:00Z",
        ).encode()
        manifest = Manifest(
            Descriptor(media.CONFIG, store.blobs.put(config), len(config)),
            tuple(Descriptor(media.LAYER, layer.diff_id, layer.size) for layer in layers),
        )
        store.images.set("iris", platform, store.blobs.put(manifest.encode()))
    return store.images.get("iris", Platform.host())


def test_images(corten: Corten, image: Image) -> None:
    shown = corten("images")
    assert shown.stderr == ""
    header, *rows = shown.stdout.splitlines()
    assert header.split() == ["NAME", "ID", "PLATFORM", "LAYERS", "SIZE"]
    assert len(rows) == 2
    assert rows[0].split()[0] == "iris:latest"
    documents = json.loads(corten("images", "--json").stdout)
    keys = ["name", "id", "digest", "repo_digests", "platform", "size", "layers", "created"]
    assert [list(document) for document in documents] == [keys, keys]
    assert {document["digest"] for document in documents} >= {image.digest}


def test_no_images_is_an_answer(corten: Corten) -> None:
    shown = corten("images")
    assert (shown.stdout, "no images yet" in shown.stderr) == ("", True)
    assert json.loads(corten("images", "--json").stdout) == []
    assert not corten.home.exists(), "looking makes no store"


def test_inspect_and_history(corten: Corten, image: Image) -> None:
    document = json.loads(corten("inspect", "iris").stdout)
    keys = ["name", "id", "digest", "repo_digests", "platform", "size", "created", "config", "layers"]
    assert list(document) == keys
    assert [layer["title"] for layer in document["layers"]] == ["the base", "code"]
    assert json.loads(corten("inspect", image.id.short, "--format", "config").stdout)["architecture"]
    assert json.loads(corten("inspect", image.digest, "--format", "manifest").stdout)["schemaVersion"] == 2
    assert "the base" in corten("history", "iris:latest").stdout
    rows = json.loads(corten("history", "iris", "--json").stdout)
    assert [list(row) for row in rows] == [["layer", "size", "contents"]] * 2


def test_save(corten: Corten, image: Image, tmp_path: Path) -> None:
    saved = corten("save", "iris", tmp_path / "layout")
    assert saved.stdout == f"{tmp_path}/layout:latest\n"
    listed = json.loads((tmp_path / "layout/index.json").read_text())["manifests"]
    index = json.loads((tmp_path / "layout/blobs/sha256" / listed[0]["digest"][7:]).read_text())
    assert image.digest in [item["digest"] for item in index["manifests"]]
    one = corten("save", "iris", tmp_path / "one", "--platform", str(image.config.platform))
    assert one.stdout == f"{tmp_path}/one:latest\n"
    assert json.loads((tmp_path / "one/index.json").read_text())["manifests"][0]["digest"] == image.digest
    (tmp_path / "file").write_text("")
    refused = corten("save", "iris", tmp_path / "file", code=2)
    assert refused.stderr == (
        f"error: '{tmp_path}/file' is neither an OCI layout nor an empty folder\nhint: give the name of a new folder\n"
    )


def test_rmi_and_prune(corten: Corten, image: Image) -> None:
    assert corten("rmi", image.id).stdout == "iris:latest\n"
    assert [row["platform"] for row in json.loads(corten("images", "--json").stdout)] != [
        str(Platform.host())
    ]
    assert corten("rmi", "iris").stdout == "iris:latest\n"
    pruned = json.loads(corten("prune", "--json").stdout)
    assert list(pruned) == ["layers", "blobs", "files", "bytes"]
    assert (pruned["layers"], pruned["blobs"]) == (2, 4)
    again = corten("prune")
    assert (again.stdout, again.stderr) == ("", "removed 0 layers, 0 blobs, 0 cached files: 0 B\n")


@pytest.mark.parametrize("verb", ["inspect", "history", "rmi"])
def test_an_unknown_image(corten: Corten, image: Image, verb: str) -> None:
    shown = corten(verb, "nope", code=1)
    assert shown.stdout == ""
    assert shown.stderr == "error: there is no image 'nope'\nhint: known images: iris:latest\n"


WRONG = [
    ("frobnicate", 2, "unknown verb"),
    ("imgaes", 2, "did you mean 'corten images'"),
    ("start x", 2, "did you mean 'corten restart'"),
    ("run", 2, "arguments are required: IMAGE|FOLDER\n"),
    ("run --naem x .", 2, "did you mean '--name'"),
    ("run --frobnicate . ls", 2, "options stand before it"),
    ("run PROJECT -e A=1 -- ls", 2, "write: corten run -e A=1 PROJECT -- ls"),
    ("run PROJECT -e A=1", 2, "options stand before it: corten run -e … PROJECT"),
    ("exec box -it sh", 2, "write: corten exec -it box -- sh"),
    ("run ubuntu:22.04 ls", 1, "docker.io/library/ubuntu:22.04"),
    ("exec box", 2, "corten exec -it box sh"),
    ("ps --filter status=runnin", 2, "use created, running"),
    ("cp - ./x", 2, "a place in a container"),
    ("-q build", 2, "options follow it"),
    ("inspect", 2, "arguments are required: image"),
    ("build /nowhere", 2, "'/nowhere' does not exist"),
    ("build /etc/passwd", 2, "is not a folder"),
    ("build --platform windows/amd64 PROJECT", 2, "use linux/amd64 or linux/arm64"),
    ("build --platform linux/amd64, PROJECT", 2, "unknown platform"),
    ("build --platform= PROJECT", 2, "unknown platform"),
    ("build --jobs -1 PROJECT", 2, "not a number from 1"),
    ("build --jobs 0 PROJECT", 2, "not a number from 1"),
    ("build --jobs 99999999999 PROJECT", 2, "not a number from 1"),
    ("build --offline /nowhere PROJECT", 1, "--offline forbids"),
    ("build --locked PROJECT", 1, "run 'corten lock'"),
    ("completion tcsh", 2, "invalid choice"),
]


@pytest.mark.parametrize(("line", "code", "said"), WRONG)
def test_wrong_usage_is_one_sentence(corten: Corten, tmp_path: Path, line: str, code: int, said: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text("")
    shown = corten(*line.replace("PROJECT", str(project)).split(" "), code=code)
    assert shown.stdout == ""
    lines = shown.stderr.splitlines()
    assert [item.split(":")[0] for item in lines] == ["error", "hint"], shown.stderr
    assert said.replace("PROJECT", str(project)) in shown.stderr
    assert not corten.home.exists()


def test_a_script_beside_a_model_is_not_served(corten: Corten, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    (tmp_path / "model.joblib").write_text("")
    (tmp_path / "requirements.txt").write_text("scikit-learn\n")
    shown = corten("up", "--port", "0", str(tmp_path), code=2)
    assert "does not say what to serve: 'train.py' is the only script" in shown.stderr
    assert 'hint: models = ["model.joblib"] in [tool.corten] would serve the model' in shown.stderr


@pytest.mark.parametrize("home", ["file", "file/below", "read-only"])
def test_a_home_that_cannot_be_written(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").write_text("")
    command = Corten(tmp_path / home if home != "read-only" else Path("/sys/corten"))
    shown = command("prune", code=1)
    assert shown.stderr.startswith("error: cannot write to the store at ")
    assert "hint: set CORTEN_HOME" in shown.stderr


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_explains_itself(corten: Corten, verb: str) -> None:
    """With an example, and without importing what only its work needs."""
    heavy = "rich urllib3 packaging pysequoia pathspec installer tomllib subprocess corten.build.workshop corten.packages.http"
    script = (
        "import sys; from corten.cli.main import run\n"
        f"try: run([{verb!r}, '--help'])\n"
        "finally: print([name for name in sys.argv[1:] if name in sys.modules], file=sys.stderr)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-P", "-c", script, *heavy.split()],
        capture_output=True,
        text=True,
        check=True,
        env=corten.variables(),
    )
    assert f"usage: corten {verb}" in shown.stdout
    assert "\n  corten " + verb in shown.stdout.partition("examples:")[2]
    assert shown.stderr == "[]\n"


def test_help_in_all_its_places(corten: Corten) -> None:
    overview = corten("--help").stdout
    assert all(f"  {verb} " in overview for verb in VERBS)
    assert corten("help").stdout == overview == corten(code=2).stdout
    assert corten("help", "rmi").stdout == corten("--help", "rmi").stdout == corten("rmi", "-h").stdout
    assert corten("--version").stdout.startswith("corten ")


def run_with(corten: Corten, redirection: str) -> subprocess.CompletedProcess[str]:
    command = [*corten.command("images")]
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", *command],
        env=corten.variables(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_outputs_that_fail(corten: Corten, image: Image) -> None:
    """A reader that has left, a full disk, closed streams: no traceback, and an exit code that tells."""
    left = run_with(corten, "| true; exit ${PIPESTATUS[0]}")
    assert (left.returncode in (0, 141), left.stderr) == (True, "")
    full = run_with(corten, "> /dev/full")
    assert (full.returncode, full.stderr) == (1, "error: standard output: no space left on device\n")
    assert run_with(corten, ">&-").stderr == ""
    assert "iris" in run_with(corten, "2>&-").stdout


def test_names_do_not_steer_the_terminal(corten: Corten) -> None:
    shown = corten("inspect", "x\x1b[2Jy", code=1)
    assert "\x1b" not in shown.stderr
    assert "x\\u001b[2Jy" in shown.stderr
    odd = corten("inspect", os.fsdecode(b"\xff"), code=1)
    assert odd.stderr.startswith("error: there is no image ")


def test_colours(corten: Corten) -> None:
    def said(**variables: str) -> str:
        return corten.at(corten.home, **variables)("inspect", "x", code=1).stderr

    assert "\x1b[" not in said()
    assert "\x1b[1;31merror:" in said(FORCE_COLOR="1")
    assert "\x1b[" not in said(FORCE_COLOR="0")
    assert "\x1b[" not in said(NO_COLOR="1")
