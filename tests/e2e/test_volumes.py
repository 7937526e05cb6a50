"""Volumes with a real engine: as root, as a plain user with subordinate IDs, and as one without."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.platform import Platform
from corten.store.store import Store
from support.command import Corten, link_files
from support.plain_user import as_user, interpreter, plain_user

pytestmark = pytest.mark.e2e
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def rooted(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> Corten:
    """Root's command, with a store of its own that has a small image."""
    home = tmp_path_factory.mktemp("volumes-home")
    link_files(corten.home, home)
    project = tmp_path_factory.mktemp("volumes") / "runner"
    (project / "data").mkdir(parents=True)
    (project / "main.py").write_text("print('main')\n")
    (project / "data/file").write_text("from the image")
    own = Corten(home)
    own("build", project, "--name", "runner")
    return own


@pytest.fixture(scope="module", params=["root", "subuids", "none"])
def command(request: pytest.FixtureRequest, rooted: Corten, open_directory: Path) -> Command:
    """The command as root and as plain users, each with a store that has the image."""
    if request.param == "root":

        def as_root(*arguments: str) -> subprocess.CompletedProcess[str]:
            return rooted(*arguments, code=None)

        return as_root
    with_ids = request.param == "subuids"
    user = plain_user("corten-plain" if with_ids else "corten-nosub", subuids=with_ids)
    home = open_directory / f"volumes-{user.pw_name}"
    (home / "runner/data").mkdir(parents=True)
    (home / "runner/main.py").write_text("print('main')\n")
    (home / "runner/data/file").write_text("from the image")
    (home / "store").mkdir()
    subprocess.run(["cp", "-a", rooted.home / "files", home / "store/files"], check=True)
    subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", home], check=True)
    python, variables = interpreter()

    def as_plain(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**variables, "CORTEN_HOME": str(home / "store")}
        return subprocess.run(
            as_user(user, [*python, "-m", "corten", *arguments], environment),
            capture_output=True,
            text=True,
            check=False,
            cwd=home,
            stdin=subprocess.DEVNULL,
        )

    built = as_plain("build", str(home / "runner"), "--name", "runner")
    assert built.returncode == 0, built.stderr
    return as_plain


def inside(command: Command, *arguments: str) -> str:
    """What a shell in a container prints; the last argument is its script."""
    done = command("run", "runner", *arguments[:-1], "--", "sh", "-c", arguments[-1])
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
    rooted("run", "-d", "--name", "holder", "-v", "held:/held", "runner", "--", "sleep", "60")
    try:
        refused = rooted("volume", "rm", "held", code=1)
        assert "in use by holder" in refused.stderr
        assert rooted("volume", "prune", "--force").stdout == ""
    finally:
        rooted("rm", "-f", "holder")
    rooted("volume", "rm", "held")


def test_what_an_image_calls_volumes_is_writable_and_dropped(rooted: Corten) -> None:
    store = Store(rooted.home)
    image = store.images.get("runner", Platform.host())
    config = replace(image.config, volumes=("/var/lib/thing", "/app/data")).encode()
    before = Manifest.decode(store.blobs.read(image.digest))
    described = Descriptor(before.config.media_type, store.blobs.put(config), len(config))
    manifest = replace(before, config=described)
    store.images.set("with-volumes", Platform.host(), store.blobs.put(manifest.encode()))
    script = "echo x > /var/lib/thing/x && touch /app/data/y && ls /app/data && ! touch /app/z 2>/dev/null"
    done = rooted("run", "with-volumes", "--", "sh", "-c", script)
    assert done.stdout.split() == ["file", "y"]
    assert rooted("run", "with-volumes", "--", "ls", "/var/lib/thing").stdout == ""
    assert rooted("volume", "ls", "-q").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "-v", "x:/", "runner"], "cannot be mounted at '/'"),
        (["run", "-v", "x:/etc/passwd", "runner", "--", "true"], "the image has a file there"),
        (["run", "-v", "./nowhere:/x", "runner"], "does not exist"),
        (["run", "-v", "x:/a", "--tmpfs", "/a", "runner"], "two mounts are to lie at '/a'"),
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
