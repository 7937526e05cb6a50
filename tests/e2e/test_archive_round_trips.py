"""Archives between Corten and the engines of this machine, both ways: the image ID stays, and what arrives runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.command import Corten
from support.engines import Docker, Podman, Skopeo, Umoci

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def built(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An image that greets, and its ID."""
    root = tmp_path_factory.mktemp("greeter")
    (root / "main.py").write_text("print('greetings')\n")
    document = corten.build(root, "--name", "greeter:1")
    return {"name": "greeter:1", "id": document["id"]}


def pipe(*commands: tuple[list[str], dict[str, str]]) -> str:
    """Run a pipeline; every part of it must succeed. Returns what the last one prints."""
    running: list[subprocess.Popen[bytes]] = []
    for command, environment in commands:
        source = running[-1].stdout if running else subprocess.DEVNULL
        running.append(subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, env=environment))
        if len(running) > 1 and running[-2].stdout:
            running[-2].stdout.close()
    out = running[-1].communicate(timeout=300)[0].decode()
    assert [process.wait(60) for process in running] == [0] * len(running), out
    return out


def of(engine: Docker | Podman, *arguments: str) -> tuple[list[str], dict[str, str]]:
    return [*engine.command, *arguments], {
        **os.environ,
        "HOME": str(engine.directory),
        **engine.environment,
    }


def corten_command(corten: Corten, *arguments: str) -> tuple[list[str], dict[str, str]]:
    return corten.command(*arguments), corten.variables()


def id_in(corten: Corten, name: str) -> str:
    rows = json.loads(corten("images", "--json").stdout)
    found: list[str] = [row["id"] for row in rows if row["name"] == name]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("options", [(), ("--compression", "gzip"), ("--format", "docker")], ids=" ".join)
def test_docker_and_back(
    corten: Corten, built: dict[str, str], docker: Docker, tmp_path: Path, options: tuple[str, ...]
) -> None:
    docker("image", "rm", "--force", built["name"], code=None)
    said = pipe(corten_command(corten, "save", built["name"], *options), of(docker, "load"))
    assert "Loaded image: greeter:1" in said
    assert docker.image_id(built["name"]) == built["id"]
    assert docker.run(built["name"]) == "greetings\n"
    elsewhere = corten.at(tmp_path / "home")
    assert pipe(of(docker, "save", built["name"]), corten_command(elsewhere, "load")) == "greeter:1\n"
    assert id_in(elsewhere, "greeter:1") == built["id"]
    assert elsewhere("run", "greeter:1").stdout == "greetings\n"


# podman 4.3 makes another configuration when it changes the format, and no docker archive of layers in zstd.
@pytest.mark.parametrize(
    ("options", "back"),
    [
        ((), "oci-archive"),
        (("--compression", "gzip"), "docker-archive"),
        (("--compression", "zstd"), "oci-archive"),
        (("--format", "docker"), "docker-archive"),
    ],
    ids=str,
)
def test_podman_and_back(
    corten: Corten,
    built: dict[str, str],
    podman: Podman,
    tmp_path: Path,
    options: tuple[str, ...],
    back: str,
) -> None:
    podman("image", "rm", "--all", "--force")
    said = pipe(corten_command(corten, "save", built["name"], *options), of(podman, "load"))
    assert "greeter:1" in said
    (name,) = json.loads(podman("images", "--format", "json"))[0]["Names"]
    assert podman.image_id(name) == built["id"]
    assert podman.run(name) == "greetings\n"
    elsewhere = corten.at(tmp_path / "home")
    command = of(podman, "save", "--quiet", "--format", back, name)
    loaded = pipe(command, corten_command(elsewhere, "load")).strip()
    assert loaded.endswith("greeter:1")
    assert id_in(elsewhere, loaded) == built["id"]
    assert elsewhere("run", loaded).stdout == "greetings\n"


@pytest.fixture(scope="module")
def two(corten: Corten, built: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of two images, of which one has two names."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "project").mkdir()
    (folder / "project/main.py").write_text("print('farewell')\n")
    corten("build", folder / "project", "--name", "leaver:1")
    corten("tag", built["name"], "team/greeter:2")
    corten("save", "greeter:1", "leaver:1", "team/greeter:2", "-o", folder / "two.tar")
    return folder / "two.tar"


def test_several_images_in_one_archive(
    corten: Corten, built: dict[str, str], two: Path, docker: Docker, podman: Podman, tmp_path: Path
) -> None:
    docker("load", "--input", two)
    assert docker.image_id("greeter:1") == docker.image_id("team/greeter:2") == built["id"]
    assert docker.run("leaver:1") == "farewell\n"
    podman("image", "rm", "--all", "--force")
    podman("load", "--input", two)
    assert podman.run("localhost/leaver:1") == "farewell\n"
    assert podman.image_id("localhost/greeter:1") == built["id"]
    elsewhere = corten.at(tmp_path / "home")
    assert elsewhere("load", two).stdout.split() == ["greeter:1", "team/greeter:2", "leaver:1"]
    docker("save", "--output", tmp_path / "docker.tar", "greeter:1", "leaver:1", "team/greeter:2")
    other = corten.at(tmp_path / "other")
    names = other("load", tmp_path / "docker.tar").stdout.split()
    assert sorted(names) == ["greeter:1", "leaver:1", "team/greeter:2"]
    assert {id_in(other, name) for name in names} == {id_in(elsewhere, name) for name in names}


def test_skopeo_and_umoci(
    corten: Corten, built: dict[str, str], skopeo: Skopeo, umoci: Umoci, tmp_path: Path
) -> None:
    corten("save", built["name"], "-o", tmp_path / "oci.tar")
    corten("save", built["name"], "-o", tmp_path / "docker.tar", "--format", "docker")
    corten("save", built["name"], tmp_path / "layout", "--compression", "gzip")
    sources = [
        "oci-archive:{}/oci.tar",
        "docker-archive:{}/oci.tar",
        "docker-archive:{}/docker.tar",
        "oci:{}/layout:1",
    ]
    for number, source in enumerate(sources):
        copied = tmp_path / f"copy-{number}"
        kind = "oci" if source.startswith("oci") else "docker-archive"
        skopeo.copy(source.format(tmp_path), f"{kind}:{copied}:example.com/copied:{number}")
        elsewhere = corten.at(tmp_path / f"home-{number}")
        name = elsewhere("load", copied).stdout.strip()
        assert name == f"example.com/copied:{number}"
        assert id_in(elsewhere, name) == built["id"]
    elsewhere("rmi", name)
    assert elsewhere("load", tmp_path / "layout", "--name", "mine").stdout == "mine:latest\n"
    assert elsewhere("run", "mine").stdout == "greetings\n"
    rootfs = umoci.unpack(tmp_path / "layout", "1", tmp_path / "bundle")
    assert (rootfs / "app/main.py").read_text() == "print('greetings')\n"


def test_two_loads_at_once_and_one_killed(corten: Corten, two: Path, tmp_path: Path) -> None:
    """What a killed load leaves is invisible, and hinders nobody."""
    elsewhere = corten.at(tmp_path / "home")
    killed = subprocess.Popen(elsewhere.command("load"), stdin=subprocess.PIPE, env=elsewhere.variables())
    assert killed.stdin
    killed.stdin.write(two.read_bytes()[:-1_000_000])
    killed.stdin.flush()
    killed.kill()
    killed.wait()
    assert json.loads(elsewhere("images", "--json").stdout) == []
    running = [
        subprocess.Popen(elsewhere.command("load", two), env=elsewhere.variables(), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0].split() for process in running] == [
        [b"greeter:1", b"team/greeter:2", b"leaver:1"]
    ] * 2
    assert elsewhere("run", "leaver:1").stdout == "farewell\n"
    elsewhere("prune")
    assert list((elsewhere.home / "tmp").iterdir()) == []


def test_layers_that_are_not_here_are_fetched(
    corten: Corten, built: dict[str, str], registry: str, tmp_path: Path
) -> None:
    """Such as of an image that was built with a registry as its cache."""
    corten("save", built["name"], "-o", tmp_path / "whole.tar")
    here, there = corten.at(tmp_path / "here"), corten.at(tmp_path / "there")
    here("load", tmp_path / "whole.tar")
    here("push", "greeter:1", f"{registry}/archived/greeter:1")
    layers = json.loads(here("inspect", "greeter:1").stdout)["layers"]
    shutil.rmtree(here.home / "layers" / layers[0]["digest"][7:])
    here("save", "greeter:1", "-o", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()
    there("load", tmp_path / "again.tar")
    assert id_in(there, "greeter:1") == built["id"]
