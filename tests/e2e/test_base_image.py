"""A base that is an OCI image, on disk or in a registry: its layers stay as they are, and its own Python compiles, confined."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.command import Corten
from support.registries import Protected

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


# Bases in a registry.


def publish(layout: Path, place: str, *options: str) -> str:
    """Copy the image with skopeo and return the digest that the registry has for it."""
    command = [
        "skopeo",
        "copy",
        "--dest-tls-verify=false",
        *options,
        f"oci:{layout}:latest",
        f"docker://{place}",
    ]
    subprocess.run(command, check=True, capture_output=True)
    inspect = [
        "skopeo",
        "inspect",
        "--raw",
        "--tls-verify=false",
        *_credentials(options),
        f"docker://{place}",
    ]
    raw = subprocess.run(inspect, check=True, capture_output=True).stdout
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _credentials(options: tuple[str, ...]) -> list[str]:
    return [
        option.replace("--dest-creds", "--creds") for option in options if option.startswith("--dest-creds")
    ]


def on(reference: str, more: str = "") -> dict[str, str]:
    return {**PROJECT, "pyproject.toml": f'[tool.corten]\nbase = "{reference}"\n{more}'}


def rewritten(layout: Path, target: Path, changes: dict[str, object]) -> Path:
    """A copy of the image with other keys in its configuration."""
    subprocess.run(["cp", "-a", layout, target], check=True)

    def blob(descriptor: dict[str, Any]) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(
            (target / "blobs/sha256" / descriptor["digest"][7:]).read_bytes()
        )
        return document

    def store(document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(document).encode()
        digest = hashlib.sha256(data).hexdigest()
        (target / "blobs/sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    index = json.loads((target / "index.json").read_bytes())
    manifest = blob(index["manifests"][0])
    config = blob(manifest["config"])
    config["config"] |= changes
    manifest["config"] |= store(config)
    index["manifests"][0] |= store(manifest)
    (target / "index.json").write_text(json.dumps(index))
    return target


@pytest.mark.e2e
@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_a_base_from_a_registry_is_pinned(
    form: str, layout: Path, corten: Corten, project: Callable[..., Path], registry: str, tmp_path: Path
) -> None:
    """The lock has the digest and no host; a tag that moves changes nothing until an upgrade."""
    place = f"{registry}/team/base-{form}:1"
    compression = ("--dest-compress-format", form, "--dest-compress")
    base = add_layer(layout, tmp_path / "one", {"etc/marker": (b"one", 0o644)})
    digest = publish(base, place, *compression)
    own = corten.at(tmp_path / "home")
    subprocess.run(["cp", "-al", corten.home, own.home], check=True)
    root = project(on(place))
    built = own.build(root)
    text = (root / "corten.lock").read_text()
    assert f'image = "team/base-{form}:1", digest = "{digest}"' in text
    assert registry not in text
    assert own("run", "project", "--", "cat", "/etc/marker").stdout == "one"

    moved = publish(add_layer(layout, tmp_path / "two", {"etc/marker": (b"two", 0o644)}), place, *compression)
    assert own.build(root)["digest"] == built["digest"]
    own("lock", root)
    assert digest in (root / "corten.lock").read_text()
    own("lock", "--upgrade", root)
    assert moved in (root / "corten.lock").read_text()
    assert own.build(root)["digest"] != built["digest"]
    assert own("run", "project").stdout.startswith("1.")
    assert own("run", "project", "--", "cat", "/etc/marker").stdout == "two"
    assert (
        own("run", "project", "--", "python", "-c", "import getpass; print(getpass.getuser())").stdout
        == "nonroot\n"
    )
    assert own("run", "project", "--", "sh", "-c", "touch ~/here && echo yes").stdout == "yes\n"


@pytest.mark.e2e
def test_a_base_that_was_built_on_elsewhere(
    layout: Path, corten: Corten, project: Callable[..., Path], registry: str, tmp_path: Path
) -> None:
    """With the lock beside it, a machine that has nothing takes the base by its digest, whatever the tag says now; with
    the image as a cache, it does not take it at all."""
    place = f"{registry}/team/shared-base:1"
    publish(layout, place)
    root = project(on(place))
    built = corten.build(root)
    publish(add_layer(layout, tmp_path / "newer", {"etc/marker": (b"newer", 0o644)}), place)
    assert corten.at(tmp_path / "other").build(root, "--locked")["digest"] == built["digest"]
    corten("push", built["image"], f"{registry}/team/on-base:1")
    cached = corten.at(tmp_path / "third").build(
        root, "--locked", "--cache-from", f"{registry}/team/on-base:1"
    )
    assert cached["digest"] == built["digest"]
    assert all(layer["absent"] for layer in cached["layers"])


@pytest.mark.e2e
def test_a_private_base(
    layout: Path,
    corten: Corten,
    project: Callable[..., Path],
    registry_with_login: Protected,
    tmp_path: Path,
) -> None:
    server = registry_with_login
    place = f"{server.address}/team/private:1"
    pair = f"{server.user}:{server.password}"
    publish(layout, place, f"--dest-creds={pair}")
    auths = {"auths": {server.address: {"auth": base64.b64encode(pair.encode()).decode()}}}
    (tmp_path / "auth.json").write_text(json.dumps(auths))
    root = project(on(place))
    refused = corten.at(corten.home, REGISTRY_AUTH_FILE=str(tmp_path / "none.json"))("build", root, code=1)
    assert "hint: " in refused.stderr
    known = corten.at(tmp_path / "home", REGISTRY_AUTH_FILE=str(tmp_path / "auth.json"))
    assert known.build(root)["layers"]
    for text in (refused.stderr, (root / "corten.lock").read_text()):
        assert server.password not in text
        assert auths["auths"][server.address]["auth"] not in text


@pytest.mark.e2e
def test_what_a_base_asks_for_and_does_not_get(
    layout: Path, corten: Corten, project: Callable[..., Path], registry: str, tmp_path: Path
) -> None:
    """ONBUILD is said; its user and its entry point are not the project's."""
    changes = {
        "OnBuild": ["RUN x"],
        "User": "daemon",
        "Entrypoint": ["/bin/false"],
        "Env": ["PYTHONHOME=/nowhere"],
    }
    place = f"{registry}/team/odd:1"
    publish(rewritten(layout, tmp_path / "odd", changes), place)
    root = project(on(place))
    done = corten("build", root)
    assert f"the ONBUILD instructions of the base '{place}' are not run" in done.stderr
    assert corten("run", "project", "--", "id", "-u").stdout == "65532\n"


@pytest.mark.e2e
def test_a_base_with_a_bin_of_its_own(
    layout: Path, corten: Corten, project: Callable[..., Path], tmp_path: Path
) -> None:
    """As before usrmerge: /bin is a folder, and stays one with what is in it."""
    # Other tests leave other releases in the store, whose programs need another C library.
    trees = [
        path
        for path in corten.home.glob("layers/*/fs/usr/bin/dash")
        if (path.parents[2] / "etc/debian_version").read_text().startswith("12")
    ]
    base = add_layer(layout, tmp_path / "unmerged", {"bin/own": (trees[0].read_bytes(), 0o755)})
    root = project(on(f"oci:{base}:latest"))
    corten.build(root)
    listed = corten(
        "run", "project", "--", "/bin/own", "-c", "echo /bin/*; [ -L /bin ] || echo folder"
    ).stdout
    assert listed == "/bin/own\nfolder\n"
    assert corten("run", "project").stdout.startswith("1.")


@pytest.mark.e2e
def test_a_base_with_musl(
    corten: Corten, project: Callable[..., Path], registry: str, tmp_path: Path
) -> None:
    layout = tmp_path / "musl"
    for arguments in (["init", "--layout", str(layout)], ["new", "--image", f"{layout}:latest"]):
        subprocess.run(["umoci", *arguments], check=True, capture_output=True)
    base = add_layer(layout, tmp_path / "more", {"lib/ld-musl-x86_64.so.1": (b"", 0o755)})
    place = f"{registry}/team/musl:1"
    publish(base, place)
    done = corten("build", project(on(place)), code=2)
    assert f"the base '{place}' cannot be used: its C library is musl" in done.stderr


@pytest.mark.e2e
def test_a_base_for_a_machine_without_a_network(
    layout: Path, corten: Corten, project: Callable[..., Path], registry: str, tmp_path: Path
) -> None:
    """`lock --download` takes the base along; the build from the folder asks nobody and makes the same image."""
    place = f"{registry}/team/bundled:1"
    publish(add_layer(layout, tmp_path / "own", {"etc/marker": (b"bundled", 0o644)}), place)
    root = project(on(place))
    built = corten.build(root)
    for _ in range(2):  # the second time finds everything there
        assert "the base image" in corten("lock", root, "--download", tmp_path / "bundle").stderr
    skopeo = ["skopeo", "inspect", f"oci:{tmp_path}/bundle/base:{_locked(root).removeprefix('sha256:')}"]
    assert json.loads(subprocess.run(skopeo, capture_output=True, check=True).stdout)["Digest"] == _locked(
        root
    )
    alone = corten.at(tmp_path / "home", HTTP_PROXY="http://127.0.0.1:1", NO_PROXY="")
    done = alone("build", root, "--offline", tmp_path / "bundle", "--json")
    assert json.loads(done.stdout)["digest"] == built["digest"]
    assert "pulled" not in done.stderr
    damaged = max((tmp_path / "bundle/base/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-1000] + b"x" * 1000)
    other = corten.at(tmp_path / "other")
    refused = other("build", root, "--offline", tmp_path / "bundle", code=1)
    assert "Traceback" not in refused.stderr
    assert not list(other.home.glob("layers/*"))


def _locked(root: Path) -> str:
    lock = tomllib.loads((root / "corten.lock").read_text())
    digest: str = lock["platform"]["linux/amd64"]["base"]["digest"]
    return digest
