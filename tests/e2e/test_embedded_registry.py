"""The embedded registry as people use it: `corten registry` beside docker, podman, skopeo and buildah, with passwords and TLS, killed
and started again."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from corten.oci import media
from corten.store.store import Store
from support.certificates import Authority
from support.command import Corten
from support.engines import Docker, Podman, Skopeo, docker, podman, skopeo
from support.images import make_image

__all__ = ["docker", "podman", "skopeo"]

pytestmark = pytest.mark.e2e

USER, PASSWORD = "ann", "p:ss wörd"


@dataclass
class Serving:
    """A running `corten registry`."""

    process: subprocess.Popen[str]
    url: str

    @property
    def address(self) -> str:
        return self.url.partition("//")[2]


@pytest.fixture
def command(tmp_path: Path) -> Corten:
    """The command with a store that nothing else uses."""
    return Corten(tmp_path / "home")


@contextmanager
def registry(command: Corten, *arguments: str | Path) -> Iterator[Serving]:
    """`corten registry`, once it listens; ended as Ctrl-C does, and it must end well."""
    process = subprocess.Popen(
        command.command("registry", "--port", "0", *arguments),
        env=command.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        yield Serving(process, url)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            error = process.communicate(timeout=30)[1]
            assert process.returncode == 0
            assert "Traceback" not in error
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An OCI layout with an image of two layers, called `v1`, that can be unpacked anywhere."""
    root = tmp_path / "layout"
    (root / "blobs/sha256").mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (root / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    layers = [put(tar_of(tmp_path, name), media.LAYER) for name in ("one", "two")]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/one"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": put(json.dumps(config).encode(), media.CONFIG),
        "layers": layers,
    }
    entry = put(json.dumps(manifest).encode(), media.MANIFEST)
    entry["annotations"] = {media.REF_NAME: "v1"}
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return root


def tar_of(folder: Path, name: str) -> bytes:
    (folder / name).write_bytes(os.urandom(200_000))
    done = subprocess.run(
        ["tar", "-C", folder, "--owner=0", "--group=0", "-c", name], capture_output=True, check=True
    )
    return done.stdout


def test_skopeo_podman_and_docker_push_and_pull(
    command: Corten, layout: Path, skopeo: Skopeo, podman: Podman, docker: Docker
) -> None:
    with registry(command) as serving:
        first = f"{serving.address}/team/iris:v1"
        skopeo.copy(f"oci:{layout}:v1", f"docker://{first}")
        identity = skopeo.image_id(first)
        assert podman.pull(first) == identity
        docker("pull", "--quiet", first)
        for name, engine in (("podman", podman), ("docker", docker)):
            target = f"{serving.address}/{name}/iris:v2"
            engine("tag", first, target)
            engine("push", *(["--tls-verify=false"] if name == "podman" else []), target)
            engine("rmi", "--force", first, target)
            engine("pull", *(["--tls-verify=false"] if name == "podman" else []), target)
            assert skopeo.image_id(target) == identity
        skopeo.copy(f"docker://{serving.address}/docker/iris:v2", f"docker://{serving.address}/copy/iris:v3")
        assert skopeo.image_id(f"{serving.address}/copy/iris:v3") == identity
        tags = json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{serving.address}/team/iris"))
        assert tags["Tags"] == ["v1"]
        skopeo("delete", "--tls-verify=false", f"docker://{first}")
        assert "iris" not in skopeo("inspect", "--tls-verify=false", f"docker://{first}", code=1)


def test_corten_pushes_and_pulls(command: Corten, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_bytes(
        subprocess.run(["htpasswd", "-nbB", USER, PASSWORD], capture_output=True, check=True).stdout
    )
    made = make_image(Store(command.home), "tiny", [{"a": b"a" * 300_000}, {"b": b"b"}])
    login = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    mine, other = command.at(command.home, **login), command.at(tmp_path / "other", **login)
    with registry(command, "--htpasswd", users) as serving:
        target = f"{serving.address}/team/tiny:v1"
        mine("push", "tiny", target, code=1)
        mine("login", serving.address, "--user", USER, "--password-stdin", input=PASSWORD, stdin=None)
        for compression in ("gzip", "zstd", "raw"):
            mine("push", "tiny", target, "--compression", compression)
            other("rmi", target, code=None)
            other("pull", target)
            assert json.loads(other("inspect", target).stdout)
            mine("copy", target, f"{serving.address}/copies/{compression}:v1")
        images = json.loads(other("images", "--json").stdout)
        assert made.id in json.dumps(images)


def test_with_passwords(
    command: Corten, layout: Path, tmp_path: Path, skopeo: Skopeo, podman: Podman, docker: Docker
) -> None:
    users = tmp_path / "users"
    made = subprocess.run(["htpasswd", "-nbB", USER, PASSWORD], capture_output=True, check=True)
    users.write_bytes(made.stdout)
    with registry(command, "--htpasswd", users) as serving:
        target = f"{serving.address}/team/iris:v1"
        skopeo(
            "copy",
            "--insecure-policy",
            "--dest-tls-verify=false",
            f"oci:{layout}:v1",
            f"docker://{target}",
            code=1,
        )
        skopeo.copy(f"oci:{layout}:v1", f"docker://{target}", "--dest-creds", f"{USER}:{PASSWORD}")
        podman("pull", "--tls-verify=false", target, code=125)
        login = ("login", "--username", USER, "--password-stdin")
        podman(*login, "--tls-verify=false", serving.address, stdin=b"wrong", code=125)
        podman(*login, "--tls-verify=false", serving.address, stdin=PASSWORD.encode())
        podman("pull", "--tls-verify=false", target)
        podman("push", "--tls-verify=false", target, f"{serving.address}/podman/iris:v1")
        podman("logout", serving.address)
        docker("pull", target, code=1)
        docker(*login, serving.address, stdin=PASSWORD.encode())
        docker("pull", target)
        docker("tag", target, f"{serving.address}/docker/iris:v1")
        docker("push", f"{serving.address}/docker/iris:v1")
        docker("logout", serving.address)
        serving.process.send_signal(signal.SIGTERM)
        out, error = serving.process.communicate(timeout=30)
        assert serving.process.returncode == 0
        assert PASSWORD not in out + error


def test_with_tls(command: Corten, layout: Path, tmp_path: Path, skopeo: Skopeo, podman: Podman) -> None:
    authority = Authority.make(tmp_path / "authority")
    issued = authority.issue("server")
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "ca.crt").write_bytes(authority.ca.read_bytes())
    with registry(command, "--tls-cert", issued.certificate, "--tls-key", issued.key) as serving:
        assert serving.url.startswith("https://")
        target = f"{serving.address}/team/iris:v1"
        skopeo("copy", "--insecure-policy", f"oci:{layout}:v1", f"docker://{target}", code=1)
        skopeo(
            "copy", "--insecure-policy", "--dest-cert-dir", trust, f"oci:{layout}:v1", f"docker://{target}"
        )
        podman("pull", "--cert-dir", trust, target)
        podman("push", "--cert-dir", trust, target, f"{serving.address}/podman/iris:v1")


def test_read_only_from_a_folder_that_cannot_be_written(
    command: Corten, layout: Path, tmp_path: Path, skopeo: Skopeo
) -> None:
    root = tmp_path / "images"
    with registry(command, "--root", root) as serving:
        skopeo.copy(f"oci:{layout}:v1", f"docker://{serving.address}/team/iris:v1")
    before = sorted(root.rglob("*"))
    with registry(command, "--root", root, "--read-only") as serving:
        skopeo.copy(f"docker://{serving.address}/team/iris:v1", f"oci:{tmp_path}/out:v1")
        source, target = f"oci:{layout}:v1", f"docker://{serving.address}/other:v1"
        skopeo("copy", "--insecure-policy", "--dest-tls-verify=false", source, target, code=1)
    assert sorted(root.rglob("*")) == before


def test_garbage_is_collected_beside_a_running_server(command: Corten, layout: Path, skopeo: Skopeo) -> None:
    with registry(command) as serving:
        skopeo.copy(f"oci:{layout}:v1", f"docker://{serving.address}/team/iris:v1")
        skopeo.copy(f"oci:{layout}:v1", f"docker://{serving.address}/kept:v1")
        skopeo("delete", "--tls-verify=false", f"docker://{serving.address}/team/iris:v1")
        fresh = json.loads(command("registry", "--garbage-collect", "--json").stdout)
        assert fresh == {"manifests": 0, "blobs": 0, "uploads": 0, "bytes": 0}
        then = time.time() - 7200
        for path in (command.home / "registry").rglob("*"):
            os.utime(path, (then, then))
        assert "removed 0 manifests, 3 blobs" in command("registry", "--garbage-collect").stderr
        assert skopeo.raw(f"{serving.address}/kept:v1")["schemaVersion"] == 2
        skopeo.copy(f"docker://{serving.address}/kept:v1", f"docker://{serving.address}/back:v1")


def test_what_is_refused(command: Corten, tmp_path: Path) -> None:
    said = command("registry", "--host", "0.0.0.0", "--port", "0", code=2)
    assert "--allow-anyone" in said.stderr
    (tmp_path / "users").write_text("ann:secret\n")
    said = command("registry", "--htpasswd", tmp_path / "users", code=2)
    assert "line 1 " in said.stderr
    assert "secret" not in said.stderr
    assert "go together" in command("registry", "--tls-key", tmp_path / "users", code=2).stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "choose another --port" in command("registry", "--port", port, code=1).stderr
    command("registry", "--port", "70000", code=2)
    assert "no registry" in command("registry", "--garbage-collect", code=1).stderr


def test_verbose_tells_of_each_request(command: Corten) -> None:
    with registry(command, "-v") as serving:
        connection = http.client.HTTPConnection(serving.address)
        connection.request("GET", "/v2/%1b[31m/tags/list")
        assert connection.getresponse().status == 400
        connection.close()
        serving.process.send_signal(signal.SIGINT)
        error = serving.process.communicate(timeout=30)[1]
        assert "GET /v2/%1b[31m/tags/list 400" in error
        assert "corten push" in error


def test_killed_at_any_time(command: Corten, tmp_path: Path) -> None:
    """`kill -9` while four clients push: whatever a restarted server says is there is whole, and the rest can be pushed."""
    root, dice = tmp_path / "root", random.Random(1)
    blobs = [dice.randbytes(dice.randrange(1, 400_000)) for _ in range(40)]
    for _ in range(5):
        with registry(command, "--root", root) as serving:
            threads = [
                threading.Thread(target=push_all, args=(serving.address, blobs[n::4], n)) for n in range(4)
            ]
            for thread in threads:
                thread.start()
            time.sleep(dice.uniform(0.05, 0.5))
            serving.process.kill()
            serving.process.communicate()
            for thread in threads:
                thread.join()
        check(root)
    with registry(command, "--root", root) as serving:
        for number in range(4):
            push_all(serving.address, blobs[number::4], number, strict=True)
        for number in range(4):
            for data in blobs[number::4]:
                connection = http.client.HTTPConnection(serving.address)
                connection.request("GET", f"/v2/r{number}/blobs/{digest_of(data)}")
                assert connection.getresponse().read() == data
                connection.close()
    check(root)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def push_all(address: str, blobs: list[bytes], number: int, *, strict: bool = False) -> None:
    """Push blobs and an image of them; whatever the server's death does to it is no error unless `strict`."""
    with suppress(*(() if strict else (OSError, http.client.HTTPException))):
        connection = http.client.HTTPConnection(address)

        def ask(method: str, path: str, body: bytes = b"", **headers: str) -> int:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status

        for data in (*blobs, b"{}"):
            assert ask("POST", f"/v2/r{number}/blobs/uploads/?digest={digest_of(data)}", data) == 201
        layers = [{"mediaType": media.LAYER, "digest": digest_of(data), "size": len(data)} for data in blobs]
        config = {"mediaType": media.CONFIG, "digest": digest_of(b"{}"), "size": 2}
        manifest = {"schemaVersion": 2, "config": config, "layers": layers}
        kind = {"Content-Type": media.MANIFEST}
        assert ask("PUT", f"/v2/r{number}/manifests/v1", json.dumps(manifest).encode(), **kind) == 201
        connection.close()


def check(root: Path) -> None:
    """Every blob that can be seen has the bytes of its name; every link and tag leads to one."""
    stored = {path.name: path for path in (root / "blobs/sha256").iterdir() if not path.name.startswith(".")}
    for name, path in stored.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
    repositories = root / "repositories"
    links = [*repositories.rglob("_blobs/[0-9a-f]*"), *repositories.rglob("_manifests/[0-9a-f]*")]
    assert {path.name for path in links} <= set(stored)
    for tag in repositories.rglob("_tags/[a-z]*"):
        assert (tag.parents[1] / "_manifests" / tag.read_text()[7:]).exists()
