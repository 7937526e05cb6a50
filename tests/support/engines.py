"""Other people's engines as the tests drive them: docker, podman, buildah, skopeo, umoci and containerd of this machine.

Each has its own storage and configuration in a temporary folder and touches nothing of the machine's. Registries are spoken
to by plain http. Fixtures are defined here and imported by the conftest of every folder that uses them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

DOCKER = "/usr/bin/docker"
DOCKERD = "/usr/sbin/dockerd"
_LIMITS = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=1000:1000")
"""The defaults ask for more than a caller without CAP_SYS_RESOURCE may have."""


@dataclass(frozen=True)
class Engine:
    """A command with its options for storage and configuration. Called, it returns what was printed."""

    command: tuple[str, ...]
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str | Path, code: int | None = 0, stdin: bytes | None = None) -> str:
        """Run to the end. `code` is the exit code that must come; None for any."""
        done = subprocess.run(
            [*self.command, *map(str, arguments)],
            env={**os.environ, "HOME": str(self.directory), **self.environment},
            input=stdin or b"",
            capture_output=True,
            check=False,
            timeout=300,
        )
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if code is not None:
            assert done.returncode == code, f"{self.command[0]} {arguments}: {done.returncode}\n{out}\n{err}"
        return out


class Docker(Engine):
    """docker's client, with a daemon of its own behind it."""

    @property
    def containerd(self) -> Path:
        """The socket of the daemon's containerd."""
        own = self.directory / "exec" / "containerd" / "containerd.sock"
        return own if own.exists() else Path("/run/containerd/containerd.sock")

    def run(self, image: str, *command: str) -> str:
        """What `command` (else the image's own) prints in a container of `image`, which is pulled if needed."""
        return self("run", "--rm", "--network", "host", image, *command)

    def image_id(self, image: str) -> str:
        """The digest of the configuration of a local image."""
        return self("image", "inspect", "--format", "{{.Id}}", image).strip()

    def build(self, context: Path, tag: str) -> None:
        """Build a Dockerfile without BuildKit's cache of other contexts; its base may be in a registry."""
        self("build", "--quiet", "--network", "host", "--tag", tag, context)


class Podman(Engine):
    """podman with a storage of its own."""

    def pull(self, image: str) -> str:
        """Pull by plain http and return the image's ID."""
        return f"sha256:{self('pull', '--quiet', '--tls-verify=false', image).strip()}"

    def run(self, image: str, *command: str) -> str:
        """What `command` (else the image's own) prints in a container of `image`, which is pulled if needed."""
        options = ("--rm", "--quiet", "--tls-verify=false", "--network", "host", *_LIMITS)
        return self("run", *options, image, *command)

    def image_id(self, image: str) -> str:
        """The digest of the configuration of a local image."""
        return f"sha256:{self('image', 'inspect', '--format', '{{.Id}}', image).strip()}"


class Buildah(Engine):
    """buildah with a storage of its own."""

    def start(self, base: str) -> str:
        """A working container from `base`, a reference or `scratch`; its name."""
        return self("from", "--quiet", "--tls-verify=false", base).strip()

    def push(self, container: str, reference: str, *options: str) -> str:
        """Commit a working container and push it; the image's ID."""
        identity = self("commit", "--quiet", "--rm", container).strip()
        self("push", "--quiet", "--tls-verify=false", *options, identity, f"docker://{reference}")
        return f"sha256:{identity}"


class Skopeo(Engine):
    """skopeo, with no storage at all."""

    def copy(self, source: str, target: str, *options: str) -> None:
        """Copy between transports (`docker://…`, `oci:…`, `docker-archive:…`)."""
        insecure = [
            f"--{side}-tls-verify=false"
            for side, place in (("src", source), ("dest", target))
            if place.startswith("docker://")
        ]
        self("copy", "--quiet", "--insecure-policy", *insecure, *options, source, target)

    def raw(self, reference: str) -> dict[str, Any]:
        """The manifest or index at a reference."""
        text = self("inspect", "--raw", "--tls-verify=false", f"docker://{reference}")
        document: dict[str, Any] = json.loads(text)
        return document

    def digest(self, reference: str) -> str:
        """The digest of what is at a reference."""
        text = self(
            "inspect", "--no-tags", "--format", "{{.Digest}}", "--tls-verify=false", f"docker://{reference}"
        )
        return text.strip()

    def image_id(self, reference: str) -> str:
        """The digest of the configuration of a remote image with one platform."""
        identity: str = self.raw(reference)["config"]["digest"]
        return identity


class Umoci(Engine):
    """umoci, which reads OCI layouts."""

    def unpack(self, layout: Path, tag: str, bundle: Path) -> Path:
        """Unpack an image into a bundle; its root file system."""
        self("unpack", "--image", f"{layout}:{tag}", bundle)
        return bundle / "rootfs"


class Containerd(Engine):
    """`ctr`, containerd's own client."""

    def pull(self, image: str) -> str:
        """Pull by plain http, unpacking."""
        return self("images", "pull", "--plain-http", image)

    def run(self, image: str, name: str, *command: str) -> str:
        """What `command` prints in a container of a pulled image."""
        return self("run", "--rm", "--net-host", image, name, *command)


@contextmanager
def dockerd(directory: Path) -> Iterator[Docker]:
    """A docker daemon with everything below `directory`, once it answers; without a network of its own to set up."""
    directory.mkdir(parents=True, exist_ok=True)
    socket = f"unix://{directory}/socket"
    options = ["--iptables=false", "--bridge=none", "--insecure-registry", "127.0.0.0/8", "--host", socket]
    options += ["--pidfile", f"{directory}/pid", "--data-root", f"{directory}/data"]
    options += ["--exec-root", f"{directory}/exec"]
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", DOCKERD, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    client = Docker((DOCKER, "--host", socket), directory, {"DOCKER_CONFIG": str(directory / "client")})
    try:
        deadline = time.monotonic() + 60
        while client("version", "--format", "{{.Server.Version}}", code=None).strip() == "":
            late = time.monotonic() > deadline or process.poll() is not None
            assert not late, f"no docker daemon: {(directory / 'log').read_text()[-2000:]}"
            time.sleep(0.1)
        yield client
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def storage_options(directory: Path) -> tuple[str, ...]:
    """The options that keep podman and buildah below `directory`."""
    root, run = directory / "root", directory / "run"
    return ("--root", str(root), "--runroot", str(run), "--storage-driver", "overlay")


def open_podman(directory: Path) -> Podman:
    """podman over `directory`."""
    # runc and cgroupfs work under systemd and without, with cgroups of version 1, 2 and both at once.
    options = ("--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none")
    return Podman(("podman", *storage_options(directory), *options), directory, _variables(directory))


def open_buildah(directory: Path) -> Buildah:
    """buildah over `directory`."""
    return Buildah(("buildah", *storage_options(directory)), directory, _variables(directory))


@contextmanager
def engine_directory(name: str) -> Iterator[Path]:
    """A temporary folder with a short path (sockets lie there), removed with what is still mounted in it."""
    place = _fast_place() or tempfile.gettempdir()
    for old in Path(place).glob("corten-engine-*"):
        # A test run that was killed could not clean up; its process ID is in the name.
        if not Path("/proc", old.name.split("-")[2]).exists():
            _remove(old)
    prefix = f"corten-engine-{os.getpid()}-{name}-"
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=place)).resolve()
    try:
        yield directory
    finally:
        _remove(directory)


def _remove(directory: Path) -> None:
    """With everything that is still mounted in it."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((place for place in mounts if place.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    shutil.rmtree(directory, ignore_errors=True)


def _fast_place() -> str | None:
    """Memory where there is enough of it and programs may be started from it: engines write every file and wait for the
    disk. Else None: the usual place."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return None
    fits = found.f_bavail * found.f_frsize > 6 << 30 and not found.f_flag & os.ST_NOEXEC
    return "/dev/shm" if fits and os.access("/dev/shm", os.W_OK) else None


def _variables(directory: Path) -> dict[str, str]:
    """Credentials of nobody's."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "auth.json").write_text("{}")
    return {"REGISTRY_AUTH_FILE": str(directory / "auth.json")}


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """docker with a daemon of its own."""
    with engine_directory("docker") as directory, dockerd(directory) as client:
        yield client


@pytest.fixture(scope="session")
def containerd(docker: Docker) -> Containerd:
    """The containerd of that daemon, in a namespace of its own."""
    options = ("--address", str(docker.containerd), "--namespace", "tests")
    return Containerd(("ctr", *options), docker.directory)


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """podman with a storage of its own."""
    with engine_directory("podman") as directory:
        yield open_podman(directory)


@pytest.fixture(scope="session")
def buildah() -> Iterator[Buildah]:
    """buildah with a storage of its own."""
    with engine_directory("buildah") as directory:
        yield open_buildah(directory)


@pytest.fixture(scope="session")
def skopeo() -> Iterator[Skopeo]:
    """skopeo."""
    with engine_directory("skopeo") as directory:
        yield Skopeo(("skopeo",), directory, _variables(directory))


@pytest.fixture(scope="session")
def umoci() -> Iterator[Umoci]:
    """umoci."""
    with engine_directory("umoci") as directory:
        yield Umoci(("umoci",), directory)
