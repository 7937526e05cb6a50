"""`corten build --cache-from`: a registry serves as the cache of machines that have built nothing (DECISIONS 39)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from corten.oci.digest import Digest
from corten.store.store import Store
from support.command import Corten, link_files
from support.wheels import make_wheel

pytestmark = pytest.mark.e2e

Make = Callable[..., Path]


def needing(*names: str) -> dict[str, str]:
    """A project that needs these wheels of the folder beside it."""
    lines = ["--no-index", "--find-links ../wheels", *(f"{name}==1.0" for name in names)]
    return {"requirements.txt": "\n".join(lines), "main.py": "import alpha\nprint(alpha.name)\n"}


def absent(built: dict[str, Any]) -> set[str]:
    """The kinds of the layers that were left in the registry: the first word of their titles."""
    return {layer["title"].split()[0] for layer in built["layers"] if layer["absent"]}


def fresh() -> str:
    """A program that no store has seen yet."""
    return f"print('{os.urandom(8).hex()}')\n"


def keys(home: Path) -> int:
    """How many inputs the store knows the layers of."""
    return len(list(home.glob("keys/*/*")))


def put(registry: str, path: str, body: bytes, media_type: str) -> None:
    """Store something in a registry as anybody can."""
    connection = HTTPConnection(registry)
    if path.startswith("blobs/"):
        digest = path.removeprefix("blobs/")
        connection.request("POST", "/v2/hostile/blobs/uploads/", headers={"Content-Length": "0"})
        answer = connection.getresponse()
        answer.read()
        place = f"{answer.headers['Location'].split(registry)[-1]}&digest={digest}"
    else:
        place = f"/v2/hostile/{path}"
    connection.request("PUT", place, body, {"Content-Type": media_type})
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    answer.read()
    connection.close()


def put_image(registry: str, tag: str, manifest: dict[str, Any], config: bytes) -> None:
    put(registry, f"blobs/sha256:{hashlib.sha256(config).hexdigest()}", config, "application/octet-stream")
    put(registry, f"manifests/{tag}", json.dumps(manifest).encode(), manifest["mediaType"])


def test_an_unchanged_image_is_neither_made_nor_fetched(
    corten: Corten, project: Make, registry: str, tmp_path: Path
) -> None:
    """On a machine that has nothing: the same image to the last bit, without a wheel, a package or a layer; pushed from
    there it is whole, and a run fetches what it needs."""
    make_wheel(tmp_path / "wheels", "alpha")
    make_wheel(tmp_path / "wheels", "beta")
    root = project(needing("alpha", "beta"))
    first = corten.build(root)
    corten("push", first["image"], f"{registry}/team/first:1")
    # Where the wheels came from is gone, which nobody notices.
    shutil.rmtree(tmp_path / "wheels")
    empty = corten.at(tmp_path / "empty")
    built = empty.build(root, "--cache-from", f"{registry}/team/first:1")
    assert (built["id"], built["digest"]) == (first["id"], first["digest"])
    assert absent(built) == {"debian", "environment", "alpha", "beta", "code"}
    assert [layer["size"] for layer in built["layers"]] == [layer["size"] for layer in first["layers"]]
    assert not list((empty.home).glob("layers/*"))
    assert not list((empty.home).glob("files/*"))
    assert keys(empty.home) == 0
    assert sum(path.stat().st_size for path in empty.home.rglob("*") if path.is_file()) < 200_000
    pushed = empty("push", built["image"], f"{registry}/team/second:1")
    assert not list((empty.home).glob("layers/*"))
    raw = f"docker://{registry}/team/second:1"
    inspected = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", raw], capture_output=True, text=True, check=True
    )
    assert json.loads(inspected.stdout)["Digest"] == pushed.stdout.strip().split("@")[1]
    assert empty("run", "project").stdout == "alpha\n"


def test_what_changed_is_made_and_the_rest_is_left(
    corten: Corten, project: Make, registry: str, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "wheels", "alpha")
    make_wheel(tmp_path / "wheels", "beta")
    root = project(needing("alpha", "beta"))
    corten.build(root)
    corten("push", "project", f"{registry}/team/changing:1")
    make_wheel(tmp_path / "wheels", "gamma")
    root = project(needing("alpha", "gamma"))
    (root / "main.py").write_text("import gamma\nprint(gamma.name)\n")
    empty = corten.at(tmp_path / "empty")
    built = empty.build(root, "--cache-from", f"{registry}/team/changing:1")
    assert absent(built) == {"environment", "alpha"}
    assert {layer["title"].split()[0] for layer in built["layers"] if not layer["reused"]} == {
        "gamma",
        "code",
    }
    # Only what was made here is known here: what a registry says is not passed on to other builds.
    assert keys(empty.home) == 2
    assert built["digest"] == corten.build(root)["digest"]
    assert empty("run", "project").stdout == "gamma\n"


def test_a_changed_line_takes_the_base_alone(
    corten: Corten, project: Make, registry: str, tmp_path: Path
) -> None:
    """Its Python compiles; the wheels stay where they are."""
    make_wheel(tmp_path / "wheels", "alpha")
    root = project(needing("alpha"))
    corten.build(root)
    corten("push", "project", f"{registry}/team/line:1")
    (root / "main.py").write_text(fresh())
    built = corten.at(tmp_path / "empty").build(root, "--cache-from", f"{registry}/team/line:1")
    assert absent(built) == {"environment", "alpha"}
    assert [layer["title"] for layer in built["layers"] if not layer["reused"]] == ["code"]
    assert corten.build(root)["digest"] == built["digest"]


def test_files_that_were_touched_and_not_changed(corten: Corten, project: Make) -> None:
    """The layer is the one that is there, in any folder."""
    files = {"main.py": fresh(), "data/a.txt": "a"}
    root = project(files)
    first = corten.build(root)
    other = project(files, "other")
    (other / "pyproject.toml").write_text('[project]\nname = "project"\nversion = "1"\n')
    (root / "pyproject.toml").write_text('[project]\nname = "project"\nversion = "1"\n')
    code = corten.build(root)["layers"][-1]
    assert code["digest"] != first["layers"][-1]["digest"]
    again = corten.build(other)["layers"][-1]
    assert (again["digest"], again["reused"]) == (code["digest"], True)
    (root / "main.py").touch()
    touched = corten.build(root)["layers"][-1]
    assert (touched["digest"], touched["reused"]) == (code["digest"], True)
    (root / "main.py").chmod(0o755)
    assert not corten.build(root)["layers"][-1]["reused"]


def test_wheels_that_contradict_each_other_and_are_not_here(
    corten: Corten, project: Make, registry: str, tmp_path: Path
) -> None:
    """The registry's word for the wheels that the image was pushed with; for others they are looked at where an error
    depends on it, and otherwise it is said that they were not."""
    wheels = tmp_path / "wheels"
    for name in ("alpha", "zeta"):
        files = {"shared/who.py": f"who = '{name}'\n", f"{name}.py": f"name = '{name}'\n"}
        make_wheel(wheels, name, files=files)
    make_wheel(wheels, "single")
    root = project(needing("alpha", "single", "zeta"))
    corten.build(root)
    reference = f"{registry}/team/conflict:1"
    corten("push", "project", reference)
    empty = corten.at(tmp_path / "empty")
    said = empty("build", root, "--cache-from", reference).stderr
    assert "'alpha' and 'zeta' both write" in said
    assert not list(empty.home.glob("layers/*"))
    (root / "pyproject.toml").write_text("[tool.corten]\nstrict = true\n")
    assert "hint: keep one of the two" in empty("build", root, "--cache-from", reference, code=1).stderr

    make_wheel(wheels, "third", files={"shared/other.py": "", "third.py": ""})
    root = project(needing("single", "third", "zeta"), "later")
    link_files(corten.home, empty.home)
    said = empty("build", root, "-v", "--cache-from", reference).stderr
    assert (
        "not checked whether other wheels write to the same paths, because they are not here: 'zeta'" in said
    )
    assert "single" not in said.split("not checked")[1]
    (root / "pyproject.toml").write_text("[tool.corten]\nstrict = true\n")
    strict = json.loads(empty("build", root, "--json", "--cache-from", reference).stdout)
    assert "zeta" not in absent(strict)
    assert "single" in absent(strict)


def test_no_such_image_is_a_note_and_a_build(corten: Corten, project: Make, registry: str) -> None:
    root = project({"main.py": fresh()})
    done = corten("build", root, "--cache-from", f"{registry}/team/nobody:1", "--json")
    assert f"nothing to take from '{registry}/team/nobody:1'" in done.stderr
    assert absent(json.loads(done.stdout)) == set()


def test_a_folder_instead_of_the_network_and_a_registry(
    corten: Corten, project: Make, tmp_path: Path
) -> None:
    refused = corten(
        "build", project({"main.py": ""}), "--offline", tmp_path, "--cache-from", "registry.example/x", code=2
    )
    assert "--offline uses no network, and --cache-from asks a registry" in refused.stderr


def test_several_caches(corten: Corten, project: Make, registry: str, tmp_path: Path) -> None:
    """The first that has a layer is asked for it; one that is not there does no harm."""
    make_wheel(tmp_path / "wheels", "alpha")
    root = project(needing("alpha"))
    corten.build(root)
    corten("push", "project", f"{registry}/team/several:1")
    caches = [f"{registry}/team/nobody:2", f"{registry}/team/several:1"]
    arguments = [word for cache in caches for word in ("--cache-from", cache)]
    built = corten.at(tmp_path / "empty").build(root, *arguments)
    assert absent(built) == {"debian", "environment", "alpha", "code"}


def test_a_registry_that_lies(corten: Corten, project: Make, registry: str, tmp_path: Path) -> None:
    """A damaged image is an error that names it. A wrong layer for a key is what the reference was trusted for, and no
    other build is misled by it."""
    root = project({"main.py": fresh()})
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    ).encode()
    layer = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": f"sha256:{hashlib.sha256(b'').hexdigest()}",
        "size": 0,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": f"sha256:{hashlib.sha256(config).hexdigest()}",
            "size": len(config),
        },
        "layers": [layer],
    }
    put(registry, f"blobs/{layer['digest']}", b"", "application/octet-stream")
    put_image(registry, "damaged", manifest, config)
    done = corten("build", root, "--cache-from", f"{registry}/hostile:damaged", code=1)
    assert f"{registry}/hostile" in done.stderr
    assert "Traceback" not in done.stderr

    first = corten.build(root)
    stored = Store.open(corten.home)
    local = json.loads(stored.blobs.read(Digest.parse(first["digest"])))
    lie = json.loads(stored.blobs.read(Digest.parse(local["config"]["digest"])))
    wrong = Digest.of(b"")
    lie["rootfs"]["diff_ids"] = [str(wrong)]
    lie["history"] = []
    config = json.dumps(lie).encode()
    manifest["config"] |= {"digest": f"sha256:{hashlib.sha256(config).hexdigest()}", "size": len(config)}
    layer["annotations"] = local["layers"][-1]["annotations"]
    put_image(registry, "lie", manifest, config)
    other = corten.at(tmp_path / "other")
    subprocess.run(["cp", "-al", corten.home, other.home], check=True)
    code = next(
        path
        for path in other.home.glob("keys/*/*")
        if path.read_text().strip() == first["layers"][-1]["digest"]
    )
    code.unlink()
    lied = other.build(root, "--cache-from", f"{registry}/hostile:lie")
    assert lied["layers"][-1]["digest"] == wrong
    assert not code.exists()
    assert other.build(root)["digest"] == first["digest"]
