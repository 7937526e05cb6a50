"""One image through real registries and everybody's engines, and back: it runs, and it is still the same image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.command import Corten
from support.engines import Buildah, Containerd, Docker, Podman, Skopeo, Umoci
from support.registries import distribution

pytestmark = pytest.mark.e2e

_SAY = "import six; print('six is', six.__name__)"
_SAID = "six is six\n"
_FILES = {"main.py": _SAY + "\n", "requirements.txt": "six\n"}
_PYTHON = ("python3", "-c", _SAY)
_OCI = "application/vnd.oci.image."
_DOCKER = "application/vnd.docker."


@pytest.fixture(scope="module")
def built(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A small image with one wheel, called `trip`."""
    root = tmp_path_factory.mktemp("trip") / "trip"
    root.mkdir()
    for path, text in _FILES.items():
        (root / path).write_text(text)
    return corten.build(root, "--name", "trip")


@pytest.fixture(scope="module")
def gzip_image(corten: Corten, built: dict[str, Any], registry: str) -> str:
    """Where the image was pushed to, packed with gzip."""
    reference = f"{registry}/team/trip:gzip"
    corten("push", "trip", reference, "--compression", "gzip")
    return reference


@pytest.fixture(scope="module")
def zstd_image(corten: Corten, built: dict[str, Any], registry: str) -> str:
    """Where the image was pushed to, packed with zstd."""
    reference = f"{registry}/zstd/trip:zstd"
    corten("push", "trip", reference, "--compression", "zstd")
    return reference


@pytest.fixture
def another(corten: Corten, tmp_path: Path) -> Corten:
    """A machine that has no image: the command with an empty store."""
    return corten.at(tmp_path / "another")


def _inspect(corten: Corten, name: str, form: str = "summary") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(corten("inspect", name, "--format", form).stdout)
    return document


def _layer_types(manifest: dict[str, Any]) -> set[str]:
    return {layer["mediaType"] for layer in manifest["layers"]}


def test_docker_runs_what_was_pushed(docker: Docker, gzip_image: str, built: dict[str, Any]) -> None:
    assert docker.run(gzip_image, *_PYTHON) == _SAID
    assert docker.image_id(gzip_image) == built["id"]


def test_docker_runs_the_images_own_command(docker: Docker, gzip_image: str) -> None:
    assert docker.run(gzip_image) == _SAID


def test_podman_runs_what_was_pushed(podman: Podman, gzip_image: str, built: dict[str, Any]) -> None:
    assert podman.pull(gzip_image) == built["id"]
    assert podman.run(gzip_image) == _SAID


def test_podman_runs_what_was_packed_with_zstd(
    podman: Podman, skopeo: Skopeo, zstd_image: str, built: dict[str, Any]
) -> None:
    assert _layer_types(skopeo.raw(zstd_image)) == {_OCI + "layer.v1.tar+zstd"}
    podman("rmi", "--all", "--force")  # else the layers would be known
    assert podman.pull(zstd_image) == built["id"]
    assert podman.run(zstd_image, *_PYTHON) == _SAID


def test_containerd_runs_what_was_pushed(containerd: Containerd, gzip_image: str) -> None:
    containerd.pull(gzip_image)
    assert containerd.run(gzip_image, "trip", *_PYTHON) == _SAID


def test_skopeo_and_umoci_unpack_what_was_pushed(
    skopeo: Skopeo, umoci: Umoci, gzip_image: str, built: dict[str, Any], tmp_path: Path
) -> None:
    skopeo.copy(f"docker://{gzip_image}", f"oci:{tmp_path}/layout:trip")
    root = umoci.unpack(tmp_path / "layout", "trip", tmp_path / "bundle")
    assert skopeo.image_id(gzip_image) == built["id"]
    files = [path.read_text() for path in root.rglob("main.py") if not path.is_symlink()]
    assert _FILES["main.py"] in files
    assert list(root.rglob("six.py"))


def test_docker_takes_its_own_format(
    corten: Corten, docker: Docker, skopeo: Skopeo, registry: str, built: dict[str, Any]
) -> None:
    reference = f"{registry}/docker-format/trip:1"
    corten("push", "trip", reference, "--format", "docker")
    manifest = skopeo.raw(reference)
    assert manifest["mediaType"] == _DOCKER + "distribution.manifest.v2+json"
    assert manifest["config"]["mediaType"] == _DOCKER + "container.image.v1+json"
    assert _layer_types(manifest) == {_DOCKER + "image.rootfs.diff.tar.gzip"}
    assert docker.run(reference, *_PYTHON) == _SAID
    assert docker.image_id(reference) == built["id"]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "raw"])
def test_an_image_comes_back_as_it_left(
    compression: str, corten: Corten, another: Corten, built: dict[str, Any], registry: str
) -> None:
    reference = f"{registry}/{compression}/there-and-back:1"
    corten("push", "trip", reference, "--compression", compression)
    another("pull", reference)
    came, left = (_inspect(each, name) for each, name in ((another, reference), (corten, "trip")))
    assert came["id"] == left["id"] == built["id"]
    assert came["layers"] == left["layers"]
    assert _inspect(another, reference, "config") == _inspect(corten, "trip", "config")
    assert another("run", reference).stdout == _SAID


def test_docker_images_run_here(
    docker: Docker, another: Corten, gzip_image: str, registry: str, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file.txt").write_text("from docker\n")
    (tmp_path / "own" / "Dockerfile").write_text(
        f"FROM {gzip_image}\nUSER root\nRUN rm /usr/share/doc -rf && ln -s file.txt /link.txt\n"
        'COPY file.txt /file.txt\nCMD ["cat", "/link.txt"]\n'
    )
    reference = f"{registry}/by-docker/built:1"
    docker.build(tmp_path / "own", reference)
    docker("push", reference)
    another("pull", reference)
    assert _inspect(another, reference)["id"] == docker.image_id(reference)
    assert another("run", reference).stdout == "from docker\n"
    assert another("run", reference, "--", *_PYTHON).stdout == _SAID


def test_a_flat_docker_image_runs_here_and_goes_on(
    docker: Docker, podman: Podman, another: Corten, gzip_image: str, registry: str, tmp_path: Path
) -> None:
    """All in one foreign layer, made by `docker import`; pushed again by Corten, it is the same image to podman."""
    container = docker("create", gzip_image).strip()
    docker("export", "--output", tmp_path / "flat.tar", container)
    docker("rm", container)
    reference = f"{registry}/by-docker/flat:1"
    docker("import", "--change", 'CMD ["python3", "-V"]', tmp_path / "flat.tar", reference)
    docker("push", reference)
    another("pull", reference)
    assert _inspect(another, reference)["id"] == docker.image_id(reference)
    assert another("run", reference).stdout.startswith("Python 3.")
    again = f"{registry}/by-corten/flat:1"
    another("push", reference, again)
    assert podman.pull(again) == docker.image_id(reference)
    assert podman.run(again).startswith("Python 3.")


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_buildah_images_run_here(
    form: str,
    buildah: Buildah,
    another: Corten,
    gzip_image: str,
    registry: str,
    tmp_path: Path,
    skopeo: Skopeo,
) -> None:
    (tmp_path / "file.txt").write_text("from buildah\n")
    container = buildah.start(gzip_image)
    buildah("copy", container, tmp_path / "file.txt", "/file.txt")
    buildah("config", "--cmd", '["cat", "/file.txt"]', container)
    reference = f"{registry}/by-buildah/{form}:1"
    buildah.push(container, reference, "--format", form)
    another("pull", reference)
    assert _inspect(another, reference)["id"] == skopeo.image_id(reference)
    assert another("run", reference).stdout == "from buildah\n"


@pytest.mark.parametrize("image", ["gzip_image", "zstd_image"])
def test_a_copy_has_the_same_digest(
    image: str, corten: Corten, docker: Docker, skopeo: Skopeo, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = request.getfixturevalue(image)
    with distribution(tmp_path / "other") as address:
        target = f"{address}/copied/trip:2"
        corten("copy", source, target)
        assert skopeo.digest(target) == skopeo.digest(source)
        assert skopeo.raw(target) == skopeo.raw(source)
        if image == "gzip_image":
            assert docker.run(target) == _SAID


def test_copying_keeps_everything_of_an_index(
    corten: Corten,
    skopeo: Skopeo,
    registry: str,
    tmp_path: Path,
    project: Callable[..., Path],
) -> None:
    """Both platforms in one index; the copy has the same digest, and every platform of it can be had."""
    root = project({"main.py": "print('two')\n"}, "two-platforms")
    corten("build", root, "--name", "two-platforms", "--platform", "linux/amd64,linux/arm64")
    reference = f"{registry}/two/platforms:1"
    corten("push", "two-platforms", reference)
    index = skopeo.raw(reference)
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    with distribution(tmp_path / "other") as address:
        target = f"{address}/two/platforms:1"
        corten("copy", reference, target)
        assert skopeo.raw(target) == index
        skopeo.copy(f"docker://{target}", f"oci:{tmp_path}/all:1", "--all")
