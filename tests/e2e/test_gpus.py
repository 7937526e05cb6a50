"""`--gpus` and CDI devices in real containers: a vendor's file made here, with real device nodes, mounts, variables and a
hook, as root and as a plain user."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Corten
from support.runner import Plain
from support.vendor import write_vendor

pytestmark = pytest.mark.e2e
LOOK = """
import json, os, stat, subprocess
nodes = {}
for name in sorted(os.listdir('/dev')):
    if name.startswith('gpu'):
        status = os.stat('/dev/' + name)
        nodes[name] = [stat.S_ISCHR(status.st_mode), os.major(status.st_rdev), os.minor(status.st_rdev)]
        os.close(os.open('/dev/' + name, os.O_RDWR))
print(json.dumps({
    'nodes': nodes,
    'zeros': len(open('/dev/gpu-control', 'rb').read(10)),
    'smi': subprocess.run(['gpu-smi'], capture_output=True, text=True).stdout,
    'library': open('/usr/lib/libdriver.so.550').read(),
    'share': os.listdir('/run/driver/share'),
    'read-only': not os.access('/run/driver/share', os.W_OK),
    'variables': [os.environ.get(name) for name in ('NVIDIA_VISIBLE_DEVICES', 'GPU_0', 'GPU_MIG')],
}))
"""
NULL, ZERO = [True, 1, 3], [True, 1, 5]


def look(done: subprocess.CompletedProcess[str], directory: Path, gpus: dict[str, list[object]]) -> None:
    """Hold that a container has seen just what the vendor's file says."""
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["nodes"] == {"gpu-control": ZERO, **gpus}
    assert (seen["zeros"], seen["smi"], seen["library"]) == (10, "driver 550.54\n", "library")
    assert (seen["share"], seen["read-only"]) == (["data"], True)
    told = (directory / "told").read_text()
    assert '"bundle":' in told
    assert told.endswith("update-ldcache so\n")


@pytest.fixture
def specs(open_directory: Path) -> Path:
    """A vendor's folder that every user can read."""
    directory = Path(tempfile.mkdtemp(dir=open_directory))
    directory.chmod(0o755)
    return write_vendor(directory, suffix=".yaml")


@pytest.mark.parametrize(
    ("gpus", "nodes", "variables"),
    [
        ("all", {"gpu0": NULL, "gpu1": NULL}, ["void", None, None]),
        ("1", {"gpu0": NULL}, ["void", "yes", None]),
        ("0,1", {"gpu0": NULL, "gpu1": NULL}, ["void", "yes", None]),
        ("GPU-8d1f", {"gpu0": NULL}, ["void", None, None]),
        ("1:0", {}, ["void", None, "1:0"]),
    ],
)
def test_root_gets_the_gpus_that_it_asks_for(
    corten: Corten,
    runner: str,
    specs: Path,
    gpus: str,
    nodes: dict[str, list[object]],
    variables: list[str | None],
) -> None:
    done = corten(
        "run", "--gpus", gpus, "--cdi-spec-dir", specs, "-e", "NVIDIA_VISIBLE_DEVICES=mine", runner, "--", "python", "-c", LOOK
    )  # fmt: skip
    look(done, specs.parent, nodes)
    assert json.loads(done.stdout)["variables"] == variables


def test_plain_users_get_the_hosts_own_nodes(plain_runner: Plain, specs: Path) -> None:
    done = plain_runner(
        "run", "--gpus", "all", "--cdi-spec-dir", str(specs), "runner", "--", "python", "-c", LOOK
    )
    look(done, specs.parent, {"gpu0": NULL, "gpu1": NULL})


def test_a_node_may_be_an_alias_with_an_owner_and_limited_access(
    corten: Corten, runner: str, specs: Path
) -> None:
    """A node of the vendor's own making (FUSE's numbers), for writing alone: the container's user owns it, and the cgroup holds it back."""
    alias = specs.parent / "alias"
    os.mknod(alias, 0o600 | 0o020000, os.makedev(10, 229))
    device = {"path": "/dev/vendors", "hostPath": str(alias), "permissions": "w"}
    document = {
        "cdiVersion": "0.7.0",
        "kind": "vendor.com/disk",
        "devices": [{"name": "one", "containerEdits": {"deviceNodes": [device], "additionalGids": [4711]}}],
    }
    (specs / "own.json").write_text(json.dumps(document))
    read = "import os; print(os.getgroups(), os.stat('/dev/vendors').st_uid == os.getuid()); open('/dev/vendors', 'rb')"
    environment = corten.at(corten.home, CORTEN_CDI_DIRS=str(specs))
    refused = environment(
        "run", "--device", "vendor.com/disk=one", runner, "--", "python", "-c", read, code=1
    )
    assert refused.stdout == "[4711] True\n"
    assert "PermissionError" in refused.stderr
    write = "import os; os.close(os.open('/dev/vendors', os.O_WRONLY))"
    environment("run", "--device", "vendor.com/disk=one", runner, "--", "python", "-c", write)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--gpus", "3"], 125, "3 GPUs are asked for, and 2 are there"),
        (["--gpus", "0,7"], 125, "there is no device 'nvidia.com/gpu=7'"),
        (["--gpus", "0"], 2, "asks for no GPU"),
        (["--device", "nvidia.com/gpu=9"], 125, "there are: 0, GPU-8d1f, 1"),
        (["--device", "other.com/x=9"], 125, "no CDI specification of 'other.com/x'"),
    ],
)
def test_devices_that_are_not_there(
    corten: Corten, runner: str, specs: Path, arguments: list[str], code: int, says: str
) -> None:
    done = corten("run", *arguments, "--cdi-spec-dir", specs, runner, "--", "true", code=code)
    assert says in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_specification_the_hint_says_how_to_get_one(
    corten: Corten, runner: str, tmp_path: Path
) -> None:
    for verb in (["run", "--gpus", "all", "--cdi-spec-dir", tmp_path, runner, "--", "true"],):
        done = corten(*verb, code=125)
        assert "no CDI specification of GPUs" in done.stderr
        assert "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml" in done.stderr


def test_a_hook_that_fails_stops_the_start(corten: Corten, runner: str, specs: Path) -> None:
    (specs.parent / "driver" / "hook").write_text("#!/bin/sh\necho broken driver >&2\nexit 3\n")
    done = corten("run", "--gpus", "all", "--cdi-spec-dir", specs, runner, "--", "echo", "started", code=125)
    assert "hook" in done.stderr
    assert "started" not in done.stdout


def test_up_passes_them_on(corten: Corten, project: Callable[..., Path], specs: Path) -> None:
    serve = "import http.server, os\nprint('GPU', os.path.exists('/dev/gpu0'), flush=True)\nhttp.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
    root = project(
        {
            "main.py": serve,
            "pyproject.toml": '[project]\nname = "gpu-up"\nversion = "1"\n[tool.corten]\ncommand = "python main.py"\n',
        }
    )
    up = corten("up", root, "--port", "0", "--detach", "--gpus", "all", "--cdi-spec-dir", specs)
    try:
        assert "http://" in up.stdout
        assert "GPU True" in corten("logs", "gpu-up").stdout
    finally:
        corten("stop", "gpu-up", code=None)
    missing = corten("up", root, "--port", "0", "--detach", "--gpus", "9", "--cdi-spec-dir", specs, code=None)
    assert missing.returncode != 0
    assert "9 GPUs are asked for, and 2 are there" in missing.stderr


def test_a_detached_container_keeps_them_over_a_restart(corten: Corten, runner: str, specs: Path) -> None:
    corten(
        "run", "-d", "--name", "with-gpu", "--gpus", "1", "--cdi-spec-dir", specs, runner, "--", "sleep", "60"
    )
    try:
        corten("stop", "with-gpu")
        corten("restart", "with-gpu")
        assert "gpu0" in corten("exec", "with-gpu", "--", "ls", "/dev").stdout.split()
    finally:
        corten("rm", "-f", "with-gpu", code=None)


def test_doctor_reads_the_files_and_the_image(corten: Corten, runner: str, specs: Path) -> None:
    environment = corten.at(corten.home, CORTEN_CDI_DIRS=str(specs))
    assert "CDI specifications of nvidia.com/gpu" in environment("doctor", code=None).stdout
    (specs / "broken.json").write_text("{")
    assert f"'{specs}/broken.json' cannot be used: it is not JSON" in environment("doctor", code=None).stdout
    found = json.loads(corten("doctor", runner, "--json", code=None).stdout)["findings"]
    assert found[0]["says"] == "it has no package that was built for CUDA"
    assert corten("doctor", "no-such-image", code=None).returncode == 1
