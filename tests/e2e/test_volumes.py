"""Volumes with a real engine: as root, as a plain user with subordinate IDs, and as one without."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest

from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.platform import Platform
from corten.store.store import Store
from support.command import Corten
from support.plain_user import plain_user
from support.runner import Plain
from support.stores import copy_for, link_image

pytestmark = pytest.mark.e2e
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def home(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has a small image with a folder of data."""
    project = tmp_path_factory.mktemp("volumes") / "with-data"
    (project / "data").mkdir(parents=True)
    (project / "main.py").write_text("print('main')\n")
    (project / "data/file").write_text("from the image")
    corten("build", project, "--name", "with-data")
    home = tmp_path_factory.mktemp("volumes-home")
    link_image(corten.home, "with-data", home)
    return home


@pytest.fixture(scope="session")
def rooted(home: Path) -> Corten:
    """Root's command, with a store of its own that has the image."""
    return Corten(home)


@pytest.fixture(scope="session")
def commands(home: Path, rooted: Corten, open_directory: Path) -> Callable[[str], Command]:
    """The command as root and as plain users, each with a store that has the image. A module's parametrised fixture would
    be made once more whenever another worker has taken a test in between."""

    @cache
    def make(kind: str) -> Command:
        if kind == "root":
            return partial(rooted, code=None)
        user = plain_user("corten-plain" if kind == "subuids" else "corten-nosub", subuids=kind == "subuids")
        place = open_directory / f"volumes-{user.pw_name}"
        place.mkdir()
        copy_for(user, home, place / "store")
        return Plain(user, place)

    return make


@pytest.fixture(params=["root", "subuids", "none"])
def command(request: pytest.FixtureRequest, commands: Callable[[str], Command]) -> Command:
    return commands(request.param)


def inside(command: Command, *arguments: str) -> str:
    """What a shell in a container prints; the last argument is its script."""
    done = command("run", *arguments[:-1], "with-data", "--", "sh", "-c", arguments[-1])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_volume_outlives_its_containers(command: Command) -> None:
    assert inside(command, "-v", "kept:/kept", "echo 42 > /kept/x; stat -c %u /kept; id -u").split()[0] in (
        "65532",
        "0",
    )
    assert inside(command, "-v", "kept:/elsewhere:ro", "cat /elsewhere/x") == "42"
    assert (
        inside(command, "--mount", "type=volume,source=kept,target=/k,readonly", "touch /k/y || cat /k/x")
        == "42"
    )
    listed = json.loads(command("volume", "ls", "--json").stdout)
    assert [item["name"] for item in listed] == ["kept"]
    removed = command("volume", "rm", "kept")
    assert (removed.returncode, removed.stdout) == (0, "kept\n"), removed.stderr
    assert command("volume", "ls", "-q").stdout == ""


def test_a_volume_begins_with_what_the_image_has_and_its_user_may_write(command: Command) -> None:
    """In the image the folder is root's; the process is not."""
    script = "cat /app/data/file && echo new > /app/data/file && touch /app/data/more && ls /app/data"
    assert inside(command, "-v", "seeded:/app/data", script).split("\n")[0].endswith("from the imagefile")
    assert inside(command, "-v", "seeded:/app/data", "cat /app/data/file; ls /app/data").split() == [
        "new",
        "file",
        "more",
    ]
    assert inside(command, "cat /app/data/file") == "from the image"
    assert command("volume", "rm", "seeded").returncode == 0


def test_models_are_kept_for_every_user_inside(command: Command, open_directory: Path) -> None:
    write = "mkdir -p $HF_HOME && touch $HF_HOME/model && echo $HF_HOME $TORCH_HOME"
    assert inside(command, "--model-cache", write) == "/model-cache/huggingface /model-cache/torch"
    assert inside(command, "--model-cache", "ls $HF_HOME") == "model"
    inside(command, "--model-cache", "-u", "0", write)
    removed = command("volume", "prune", "--force")
    assert (removed.returncode, removed.stdout) == (0, "model-cache\n"), removed.stderr


def test_a_volume_in_use_is_not_removed(rooted: Corten) -> None:
    rooted("run", "-d", "--name", "holder", "-v", "held:/held", "with-data", "--", "sleep", "60")
    try:
        refused = rooted("volume", "rm", "held", code=1)
        assert "in use by holder" in refused.stderr
        assert rooted("volume", "prune", "--force").stdout == ""
    finally:
        rooted("rm", "-f", "holder")
    rooted("volume", "rm", "held")


def test_what_an_image_calls_volumes_is_writable_and_dropped(rooted: Corten) -> None:
    store = Store(rooted.home)
    image = store.images.get("with-data", Platform.host())
    config = replace(image.config, volumes=("/var/lib/thing", "/app/data")).encode()
    before = Manifest.decode(store.blobs.read(image.digest))
    described = Descriptor(before.config.media_type, store.blobs.put(config), len(config))
    manifest = replace(before, config=described)
    store.images.set("with-volumes", Platform.host(), store.blobs.put(manifest.encode()))
    script = "echo x > /var/lib/thing/x && touch /app/data/y && ls /app/data && ! touch /usr/z 2>/dev/null"
    done = rooted("run", "with-volumes", "--", "sh", "-c", script)
    assert done.stdout.split() == ["file", "y"]
    assert rooted("run", "with-volumes", "--", "ls", "/var/lib/thing").stdout == ""
    assert rooted("volume", "ls", "-q").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "-v", "x:/", "with-data"], "cannot be mounted at '/'"),
        (["run", "-v", "x:/etc/passwd", "with-data", "--", "true"], "the image has a file there"),
        (["run", "-v", "./nowhere:/x", "with-data"], "does not exist"),
        (["run", "-v", "x:/a", "--tmpfs", "/a", "with-data"], "two mounts are to lie at '/a'"),
        (["volume", "rm"], "needs a name"),
        (["volume", "ls", "x"], "takes no names"),
        (["volume", "create", "../x"], "not a volume's name"),
        (["volume", "create", "x", "--filter", "label=a"], "goes with 'corten volume ls'"),
        (["volume", "ls", "--filter", "name=x"], "not a filter"),
    ],
)
def test_mistakes(rooted: Corten, arguments: list[str], says: str) -> None:
    done = rooted(*arguments, code=2)
    assert says in done.stderr
    assert "hint:" in done.stderr


def test_prune_asks_before_anything_is_lost(rooted: Corten) -> None:
    rooted("volume", "create", "precious", "--label", "team=vision")
    assert "would be lost" in rooted("volume", "prune", code=2).stderr
    assert rooted("volume", "ls", "-q", "--filter", "label=team=vision").stdout == "precious\n"
    assert rooted("volume", "ls", "-q", "--filter", "label=team=other").stdout == ""
    assert json.loads(rooted("volume", "prune", "--force", "--json").stdout) == {"removed": ["precious"]}
