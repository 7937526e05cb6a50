"""One lock, one image: bit for bit, whoever builds it, wherever, however."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Corten
from support.plain_user import as_user, interpreter, plain_user

# One with compiled modules, scripts and packages that share a layer; and one of the size that people have, which takes long.
PROJECTS = {"small": "numpy\nfastapi\nuvicorn\n", "S": "scikit-learn\npandas\nfastapi\nuvicorn\n"}
PREDICT = "def predict(x: float) -> float:\n    return x\n"


@pytest.fixture(scope="module", params=PROJECTS)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, corten: Corten
) -> tuple[Path, str]:
    """A project with its lock and its digest, built in the shared store."""
    root = tmp_path_factory.mktemp("s") / "project"
    (root / "pkg").mkdir(parents=True)
    (root / "requirements.txt").write_text(PROJECTS[request.param])
    (root / "predict.py").write_text(PREDICT)
    (root / "pyproject.toml").write_text('[tool.corten]\nname = "s"\n')
    (root / "pkg" / "__init__.py").write_text("x = {'a', 'b', 'c'}\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    return root, corten.build(root)["digest"]


@pytest.mark.e2e
def test_another_folder_user_umask_locale_zone_seed_store_and_no_network(
    built: tuple[Path, str], corten: Corten, open_directory: Path
) -> None:
    """Everything that may differ differs at once, and the files come from an offline directory, as a plain user."""
    root, digest = built
    user = plain_user()
    own = Path(tempfile.mkdtemp(dir=open_directory))
    place = own / "other place ü"
    bundle = own / "bundle"
    corten("lock", root, "--download", bundle)
    shutil.copytree(root, place)
    for path in place.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700 if os.access(path, os.X_OK) else 0o600)
    home = own / "home"
    subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", own], check=True)
    python, variables = interpreter()
    command = [
        *python,
        "-m",
        "corten",
        "build",
        str(place),
        "--json",
        "--offline",
        str(bundle),
        "--jobs",
        "1",
    ]
    environment = {
        **variables,
        "CORTEN_HOME": str(home),
        "LC_ALL": "C",
        "TZ": "Asia/Kolkata",
        "PYTHONHASHSEED": "4711",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        ["unshare", "-n", *as_user(user, ["sh", "-c", 'umask 077; exec "$@"', "sh", *command], environment)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    assert f'"{digest}"' in done.stdout


@pytest.mark.e2e
def test_the_command_that_shares_layers_shares_them(
    built: tuple[Path, str], corten: Corten, project: Callable[..., Path]
) -> None:
    """Another project with the same wheels makes no layer but that of its code; one line changes one layer."""
    listed = (built[0] / "requirements.txt").read_text()
    other = project(
        {"requirements.txt": listed, "predict.py": PREDICT + f"# {os.urandom(8).hex()}\n"}, "other"
    )
    layers = corten.build(other)["layers"]
    assert [layer["title"] for layer in layers if not layer["reused"]] == ["code"]
    again = corten.build(other)
    assert all(layer["reused"] for layer in again["layers"])
    (other / "predict.py").write_text(PREDICT + f"# {os.urandom(8).hex()}\n")
    changed = corten.build(other)
    assert [layer["title"] for layer in changed["layers"] if not layer["reused"]] == ["code"]
    assert changed["layers"][-1]["size"] < 64 * 1024
    assert [layer["digest"] for layer in changed["layers"]][:-1] == [
        layer["digest"] for layer in again["layers"]
    ][:-1]


@pytest.mark.e2e
def test_arm64_is_built_here_and_runs_under_emulation(
    built: tuple[Path, str], corten: Corten, tmp_path: Path
) -> None:
    root, _ = built
    arm = tmp_path / "arm"
    shutil.copytree(root, arm)
    corten("build", arm, "--platform", "linux/arm64", "--name", "s-arm64")
    inspected = corten("inspect", "s-arm64", "--format", "config").stdout
    config = json.loads(inspected)
    assert config["architecture"] == "arm64"
    module = "sklearn" if "scikit-learn" in (root / "requirements.txt").read_text() else "numpy"
    lower = [
        corten.home / "layers" / diff_id[7:] / "fs" for diff_id in reversed(config["rootfs"]["diff_ids"])
    ]
    merged = tmp_path / "merged"
    for name in ("merged", "upper", "work", "l"):
        (tmp_path / name).mkdir()
    names = []
    for number, path in enumerate(lower):
        (tmp_path / "l" / str(number)).symlink_to(path)
        names.append(str(number))
    script = (
        f"cd {tmp_path}/l && mount -t overlay overlay -o lowerdir={':'.join(names)},upperdir={tmp_path}/upper,"
        f"workdir={tmp_path}/work {merged} && touch {merged}/qemu && mount --bind /usr/bin/qemu-aarch64-static {merged}/qemu "
        f"&& exec chroot {merged} /qemu /opt/venv/bin/python -c "
        f"'import platform, {module}; print(platform.machine(), {module}.__version__)'"
    )
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("aarch64 "), done.stderr
