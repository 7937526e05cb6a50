"""What an image may ask for, and that nothing of it lets a container reach more: the caller and the project's own
pyproject.toml decide."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.oci import media
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.platform import Platform
from corten.runtime import container
from corten.runtime.bounds import machine_memory, share
from corten.runtime.descriptors import Passed
from corten.runtime.options import RunOptions
from corten.store.store import Store
from corten.values import replace
from support.command import Corten
from support.vendor import write_vendor

pytestmark = pytest.mark.e2e
HOSTILE = {
    "dev.corten.network": "host",
    "dev.corten.shm-size": "64g",
    "dev.corten.entry": "command",
    "run.oci.keep_original_groups": "1",
    "run.oci.hooks.stderr": "/tmp/x",
    "io.podman.annotations.privileged": "TRUE",
}


@pytest.fixture
def image(corten: Corten, runner: str) -> Callable[..., str]:
    """Makes an image of the runner's layers with another configuration, as `load` or `pull` would bring it."""
    store = Store(corten.home)

    def make(name: str, **changes: object) -> str:
        known = store.images.get(runner)
        config = replace(known.config, **changes).encode()
        layers = Manifest.decode(store.blobs.read(known.digest)).layers
        manifest = Manifest(Descriptor(media.CONFIG, store.blobs.put(config), len(config)), layers)
        store.images.set(name, Platform.host(), store.blobs.put(manifest.encode()))
        return name

    return make


@pytest.fixture
def port() -> Iterator[int]:
    """A service on this machine's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def reaches(port: int) -> tuple[str, ...]:
    script = f"import socket\ntry: socket.create_connection(('127.0.0.1', {port}), 2); print('reached')\nexcept OSError: print('refused')"
    return ("--", "/usr/bin/python3", "-c", script)


def test_a_label_does_not_choose_the_network(corten: Corten, image: Callable[..., str], port: int) -> None:
    foreign = image("foreign", labels={**HOSTILE, "unique": os.urandom(8).hex()})
    done = corten("run", foreign, *reaches(port))
    assert done.stdout == "refused\n"
    assert "an image does not decide what it may reach" in done.stderr
    # Told once, and given where the caller says it.
    assert "an image does not decide" not in corten("run", foreign, *reaches(port)).stderr
    assert corten("run", "--network", "host", foreign, *reaches(port)).stdout == "reached\n"


def test_a_projects_folder_chooses_and_an_image_of_its_name_does_not(
    corten: Corten, image: Callable[..., str], port: int, tmp_path: Path
) -> None:
    root = tmp_path / "own-network"
    root.mkdir()
    (root / "main.py").write_text("print('main')\n")
    (root / "pyproject.toml").write_text('[tool.corten]\nnetwork = "host"\n')
    done = corten("run", root, *reaches(port))
    assert done.stdout == "reached\n"
    assert "'network' in [tool.corten]" in done.stderr
    again = corten("run", root, *reaches(port))
    assert again.stdout == "reached\n"
    assert "'network' in [tool.corten]" not in again.stderr
    assert corten("run", "--network", "none", root, *reaches(port)).stdout == "refused\n"
    # By its name it is an image like any other: the name may have been given to another one since.
    assert corten("run", root.name, *reaches(port)).stdout == "refused\n"
    image(root.name, labels=HOSTILE)
    assert corten("run", root.name, *reaches(port), cwd=tmp_path / "..").stdout == "refused\n"


def test_a_container_that_is_started_again_has_the_network_it_had(
    corten: Corten, image: Callable[..., str], port: int
) -> None:
    """Neither `restart` nor what the supervisor does asks the image."""
    foreign = image("again", labels=HOSTILE)
    name = "again-of-an-image"
    corten("run", "-d", "--name", name, foreign, *reaches(port))
    try:
        corten("wait", name)
        corten("restart", name)
        corten("wait", name)
        assert set(corten("logs", name).stdout.split()) == {"refused"}
    finally:
        corten("rm", "-f", name)


def test_variables_of_an_image_do_not_choose_devices_or_descriptors(
    corten: Corten, image: Callable[..., str]
) -> None:
    environment = (
        "PATH=/usr/bin:/bin",
        "NVIDIA_VISIBLE_DEVICES=all",
        "NVIDIA_DRIVER_CAPABILITIES=all",
        "LISTEN_FDS=3",
        "CORTEN_NOTIFY_FD=4",
        "CORTEN_HOME=/",
        "CORTEN_ENGINE=proot",
        "XDG_RUNTIME_DIR=/",
    )
    foreign = image("variables", env=environment, labels=HOSTILE)
    look = "import os, json; print(json.dumps([sorted(os.listdir('/dev')), sorted(os.listdir('/proc/self/fd'))]))"
    devices, descriptors = json.loads(corten("run", foreign, "--", "/usr/bin/python3", "-c", look).stdout)
    usual = {"console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
             "stdout", "tty", "urandom", "zero"}  # fmt: skip
    assert set(devices) <= usual
    assert set(descriptors) <= {"0", "1", "2", "3"}  # 3 is the folder that is listed


ESCAPE = """
import ctypes, socket, struct, sys
held = socket.socket(fileno=3)
libc = ctypes.CDLL(None)
libc.connect(3, struct.pack("H14x", socket.AF_UNSPEC), 16)
held.settimeout(1)
try:
    held.connect(("127.0.0.1", int(sys.argv[1])))
    print("reached")
except OSError:
    print("refused")
"""


def test_a_socket_that_is_passed_in_reaches_nothing(corten: Corten, runner: str, port: int) -> None:
    """A predictor gets this machine's listening socket, and no network."""
    store = Store(corten.home)
    said, output = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = container.start(
            store.images.get(runner),
            RunOptions(command=("/usr/bin/python3", "-c", ESCAPE, str(port))),
            store,
            lambda event: None,
            serving=Passed(listener.fileno()),
            output=output,
        )
        os.close(output)
        with os.fdopen(said) as reading:
            assert reading.read() == "refused\n"
        while running.poll() is None:
            time.sleep(0.01)


def test_variables_of_an_image_do_not_reach_bubblewrap_itself(
    corten: Corten, image: Callable[..., str], tmp_path: Path
) -> None:
    """bubblewrap is a program of this machine: its loader loaded what LD_PRELOAD names, before anything was isolated."""
    written = tmp_path / "written"
    written.mkdir()
    environment = (
        "PATH=/usr/bin:/bin",
        "LD_DEBUG=libs",
        f"LD_DEBUG_OUTPUT={written}/by-the-loader",
        "=x",
        "EMPTY=",
        "TWO=a\nb",
    )
    foreign = image("preloading", env=environment)
    look = "import json, os; print(json.dumps([os.environ[name] for name in ('LD_DEBUG', 'EMPTY', 'TWO')]))"
    done = corten("run", "--engine", "bwrap", foreign, "--", "/usr/bin/python3", "-c", look)
    # Inside, the loader does as it is told, and finds no such folder.
    assert json.dumps(["libs", "", "a\nb"]) in done.stdout
    assert os.listdir(written) == []


def test_bubblewrap_bounds_files_in_memory(corten: Corten, runner: str) -> None:
    look = "import json, os; print(json.dumps([os.statvfs(p).f_blocks * os.statvfs(p).f_frsize for p in ('/dev/shm', '/tmp', '/run')]))"
    done = corten("run", "--engine", "bwrap", runner, "--", "python", "-c", look)
    memory = machine_memory()
    assert json.loads(done.stdout) == [share(place, memory) for place in ("/dev/shm", "/tmp", "/run")]


@pytest.mark.parametrize("place", ["/proc/self/fd/8", "/proc/self/cwd", "/app/../proc/1/root", "/sys"])
def test_an_image_does_not_start_among_the_files_of_the_kernel(
    corten: Corten, image: Callable[..., str], place: str
) -> None:
    """A folder of this machine that an engine has open is a working directory there (CVE-2024-21626)."""
    foreign = image("working", workdir=place)
    done = corten("run", foreign, "--", "true", code=125)
    assert "lies among the kernel's files" in done.stderr
    assert corten("run", "-w", "/", foreign, "--", "pwd").stdout == "/\n"


def test_a_health_check_of_an_image_costs_this_machine_little(
    corten: Corten, image: Callable[..., str], tmp_path: Path
) -> None:
    """Each one is a process of this machine, outside of the container's limits."""
    store = Store(corten.home)
    found = store.images.get(image("often"))
    document = json.loads(found.config.encode())
    document["config"]["Healthcheck"] = {
        "Test": ["CMD", "true"],
        "Interval": 1,
        "Timeout": 10**40,
        "StartPeriod": 10**40,
        "Retries": 3,
    }
    config = json.dumps(document).encode()
    layers = Manifest.decode(store.blobs.read(found.digest)).layers
    manifest = Manifest(Descriptor(media.CONFIG, store.blobs.put(config), len(config)), layers)
    store.images.set("often", Platform.host(), store.blobs.put(manifest.encode()))
    corten("run", "-d", "--name", "often", "often", "--", "sleep", "60")
    try:
        health = json.loads((corten.home / "containers" / "often" / "state.json").read_text())["health"]
        assert (health["interval"], health["timeout"], health["start_period"]) == (1.0, 86400.0, 86400.0)
    finally:
        corten("rm", "-f", "often")


@pytest.mark.parametrize("signal", ["0009999999", "00", "SIG" + "9" * 4000, "-9"])
def test_a_stop_signal_of_an_image_does_not_keep_a_container_alive(
    corten: Corten, image: Callable[..., str], signal: str
) -> None:
    foreign = image("deaf", stop_signal=signal)
    corten("run", "-d", "--name", "deaf", foreign, "--", "sleep", "60")
    try:
        corten("stop", "-t", "0", "deaf")
        assert "deaf" not in corten("ps", "-q").stdout
    finally:
        corten("rm", "-f", "deaf", code=None)


def test_variables_of_an_image_do_not_reach_a_vendors_hook(
    corten: Corten, image: Callable[..., str], tmp_path: Path
) -> None:
    """It is a program of this machine, which runs in the root of the image: LD_PRELOAD was an escape elsewhere (CVE-2025-23266)."""
    specs = write_vendor(tmp_path)
    told = tmp_path / "told"
    (tmp_path / "driver" / "hook").write_text(f"#!/bin/sh\nenv > {told}\n")
    path = specs / "nvidia.json"
    document = json.loads(path.read_text())
    del document["containerEdits"]["hooks"][0]["env"]
    path.write_text(json.dumps(document))
    foreign = image("hooked", env=("PATH=/evil:/usr/bin:/bin", "EVIL=1", "LD_LIBRARY_PATH=/evil"))
    corten("run", "--gpus", "all", "--cdi-spec-dir", specs, foreign, "--", "true")
    seen = dict(line.split("=", 1) for line in told.read_text().splitlines())
    assert set(seen) <= {"PATH", "PWD", "OLDPWD", "SHLVL", "_"}
    assert "/evil" not in seen["PATH"]
