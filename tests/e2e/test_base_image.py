"""A base that is an OCI image on disk: its layers stay as they are, and its own Python compiles, confined."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Corten

PROJECT = {"requirements.txt": "six\n", "main.py": "import six\nprint(six.__version__)\n"}


@pytest.fixture(scope="module")
def layout(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian base as somebody else would publish it, in a layout of its own."""
    directory = tmp_path_factory.mktemp("base")
    (directory / "main.py").write_text("print('base')\n")
    corten("build", directory, "--name", "some-base")
    corten("save", "some-base", directory / "layout")
    return directory / "layout"


def add_layer(layout: Path, target: Path, files: dict[str, tuple[bytes, int]]) -> Path:
    """A copy of the image with one more layer of files, which umoci compresses as registries have them."""
    subprocess.run(["cp", "-a", layout, target], check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (data, mode) in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            archive.addfile(info, io.BytesIO(data))
    (target.parent / "more.tar").write_bytes(buffer.getvalue())
    subprocess.run(
        ["umoci", "raw", "add-layer", "--image", f"{target}:latest", str(target.parent / "more.tar")],
        check=True,
        capture_output=True,
    )
    return target


@pytest.mark.e2e
def test_an_image_on_an_image(
    layout: Path, corten: Corten, project: Callable[..., Path], tmp_path: Path
) -> None:
    base = add_layer(
        layout,
        tmp_path / "with whiteout",
        {"etc/marker": (b"here", 0o644), "etc/.wh.os-release": (b"", 0o644)},
    )
    root = project({**PROJECT, "pyproject.toml": f'[tool.corten]\nbase = "oci:{base}:latest"\n'})
    built = corten.build(root)
    manifest = json.loads(
        subprocess.run(
            ["skopeo", "inspect", "--raw", f"oci:{base}:latest"], capture_output=True, check=True
        ).stdout
    )
    assert len(built["layers"]) > len(manifest["layers"])
    assert "@sha256" not in (root / "corten.lock").read_text()
    corten("save", built["image"], tmp_path / "out")
    subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/out:latest", str(tmp_path / "bundle")],
        check=True,
        capture_output=True,
    )
    rootfs = tmp_path / "bundle/rootfs"
    assert (rootfs / "etc/marker").read_text() == "here"
    assert not (rootfs / "etc/os-release").exists()
    assert list(rootfs.glob("opt/venv/lib/python3.11/site-packages/__pycache__/six.*.pyc"))
    assert corten.build(root)["digest"] == built["digest"]


@pytest.mark.e2e
def test_a_hostile_python_reaches_nothing(
    layout: Path, corten: Corten, project: Callable[..., Path], tmp_path: Path
) -> None:
    """The base's interpreter is a script that tries to read this machine's files, to write, and to speak to anybody."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    script = f"""#!/bin/sh
exec 2>&1
echo "uid $(id -u)" > /tmp/work/found
cat {secret} >> /tmp/work/found
cat {corten.home}/images/*.json >> /tmp/work/found
echo evil > /etc/evil && echo "wrote /etc" >> /tmp/work/found
echo evil > /tmp/server/evil && echo "wrote server" >> /tmp/work/found
mount -t tmpfs none /mnt && echo "mounted" >> /tmp/work/found
ls /proc/1/root >> /tmp/work/found
grep CapEff /proc/self/status >> /tmp/work/found
cat /tmp/work/found
"""
    base = add_layer(layout, tmp_path / "hostile", {"usr/bin/python3.11": (script.encode(), 0o755)})
    root = project({**PROJECT, "pyproject.toml": f'[tool.corten]\nbase = "oci:{base}:latest"\n'})
    said = corten("build", root, code=1).stderr
    assert "error: " in said
    assert "Traceback" not in said
    for word in ("secret", "wrote", "mounted", "sha256:"):
        assert word not in said.split("error: ")[1].split("hint:")[0]
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("oci:./nowhere:tag", "is not an OCI layout"),
        ("127.0.0.1:1/team/base@sha256:" + "0" * 64, "127.0.0.1:1"),
        ("oci:LAYOUT:other", "has no 'other'"),
    ],
)
def test_bases_that_cannot_be_used(
    base: str, says: str, layout: Path, corten: Corten, project: Callable[..., Path]
) -> None:
    text = f'[tool.corten]\nbase = "{base.replace("LAYOUT", str(layout))}"\n'
    done = corten("build", project({**PROJECT, "pyproject.toml": text}), code=None)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "hint: " in done.stderr
