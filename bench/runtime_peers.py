"""Who starts containers, and how each is asked to: Corten as root and as a plain user, docker, podman, runc and crun alone.

Everybody runs the same image, which Corten built and the others loaded. docker has a daemon of its own, podman a storage of
its own, as the tests drive them (`tests/support/engines.py`)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from pwd import struct_passwd

from measure import Failed, Job, environment, run

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.engines import dockerd, engine_directory, open_podman
from support.plain_user import as_user, interpreter, plain_user

IMAGE = "bench-runtime"
PRINT = ["python", "-c", "print(1)"]
SLEEP = ["sleep", "600"]
_LIMITS = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=20000:20000"]
"""podman's own defaults ask for more than a caller without CAP_SYS_RESOURCE may have."""


@dataclass
class Peer:
    """Somebody who starts containers: the beginning of each command line, and what marks its monitors' command lines.
    `place` is the column's part of the row: `root` or `rootless`."""

    name: str
    place: str
    command: list[str]
    environment: dict[str, str]
    directory: Path
    run_options: list[str] = field(default_factory=list)
    dashes: list[str] = field(default_factory=list)
    monitor: str = "conmon"
    detaches: bool = True

    def _job(self, *words: str) -> Job:
        return Job([*self.command, *words], self.environment, self.directory)

    def run(self) -> Job:
        """`print(1)` in a new container, which is gone afterwards."""
        return self._job("run", "--rm", *self.run_options, IMAGE, *self.dashes, *PRINT)

    def begin(self, name: str) -> Job:
        """A container that goes on by itself."""
        return self._job("run", "-d", "--name", name, *self.run_options, IMAGE, *self.dashes, *SLEEP)

    def enter(self, name: str) -> Job:
        """`print(1)` in a container that runs."""
        return self._job("exec", name, *self.dashes, *PRINT)

    def ps(self) -> Job:
        """The list of those that run."""
        return self._job("ps")

    def remove(self, names: Iterable[str]) -> Job:
        """End and remove containers."""
        return self._job("rm", "-f", *names)

    def monitors(self) -> list[int]:
        """The processes that watch over this peer's containers."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
            except OSError:
                continue
            if words and self.monitor in os.path.basename(os.fsdecode(words[0])):
                line = os.fsdecode(b" ".join(words))
                if str(self.directory) in line:
                    found.append(int(entry))
        return found


class Bare(Peer):
    """An OCI runtime over an unpacked bundle: the floor."""

    def run(self) -> Job:
        """The bundle's own process."""
        return self._job("run", "--bundle", str(self.directory), f"bench-{self.name}-{os.getpid()}")


def corten(work: Path, home: Path) -> Peer:
    """Corten as this user, with the image in the store at `home`."""
    command = [str(Path(sys.executable).with_name("corten"))]
    return Peer("corten", "root", command, environment(CORTEN_HOME=str(home)), home, dashes=["--"])


def corten_with(engine: str, work: Path, home: Path) -> Peer:
    """The same with one engine."""
    peer = corten(work, home)
    peer.name, peer.environment = f"corten+{engine}", {**peer.environment, "CORTEN_ENGINE": engine}
    return peer


def build(work: Path, home: Path) -> Path:
    """Build the image into `home`; the archive that others load. Raises Failed."""
    project = work / "project"
    project.mkdir(parents=True)
    home.mkdir()
    (project / "main.py").write_text("print(1)\n")
    log = work / "logs" / "build"
    run(corten(work, home)._job("build", str(project), "--name", IMAGE), log)
    archive = work / "image.tar"
    run(corten(work, home)._job("save", IMAGE, "--format", "docker", "-o", str(archive)), log)
    return archive


def rootless_corten(work: Path, home: Path) -> Peer:
    """Corten as a plain user with subordinate IDs and a store of its own. Raises Failed."""
    user = plain_user("corten-plain")
    python, variables = interpreter()
    own = Path(f"/tmp/corten-bench-{user.pw_name}-{os.getpid()}")
    own.mkdir(mode=0o755)
    (own / "project").mkdir()
    (own / "project" / "main.py").write_text("print(1)\n")
    (own / "store").mkdir()
    subprocess.run(["cp", "-a", home / "files", own / "store"], check=True)
    subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", own], check=True)
    command = as_user(user, [*python, "-m", "corten"], {**variables, "CORTEN_HOME": str(own / "store")})
    peer = Peer("corten", "rootless", command, environment(), own, dashes=["--"], detaches=False)
    run(peer._job("build", str(own / "project"), "--name", IMAGE), work / "logs" / "rootless")
    return peer


def docker(work: Path, archive: Path, stack: ExitStack) -> Peer:
    """docker with a daemon of its own. Raises Failed."""
    directory = stack.enter_context(engine_directory("bd"))
    client = stack.enter_context(dockerd(directory))
    client("load", "--input", archive)
    options = ["--network", "none"]
    variables = environment(**client.environment)
    peer = Peer(
        "docker", "root", list(client.command), variables, directory, options, monitor="containerd-shim"
    )
    _named(peer, work)
    return peer


def podman(work: Path, archive: Path, stack: ExitStack) -> Peer:
    """podman with a storage of its own. Raises Failed."""
    directory = stack.enter_context(engine_directory("bp"))
    client = open_podman(directory)
    client("load", "--input", archive)
    variables = environment(**client.environment)
    return Peer("podman", "root", list(client.command), variables, directory, ["--network", "none", *_LIMITS])


def rootless_podman(work: Path, archive: Path, stack: ExitStack) -> Peer:
    """podman as a plain user. Raises Failed with its reason where it does not work here."""
    user: struct_passwd = plain_user("corten-plain")
    directory = stack.enter_context(engine_directory("br"))
    directory.chmod(0o755)
    for name in ("root", "run", "tmp"):
        (directory / name).mkdir(mode=0o700)
    shutil.copy(archive, directory / "image.tar")
    subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", directory], check=True)
    storage = ["--root", f"{directory}/root", "--runroot", f"{directory}/run", "--tmpdir", f"{directory}/tmp"]
    storage += ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
    variables = {"XDG_RUNTIME_DIR": f"{directory}/run"}
    peer = Peer("podman", "rootless", as_user(user, ["podman", *storage], variables), environment(), directory,
                ["--network", "none", *_LIMITS], detaches=False)  # fmt: skip
    run(peer._job("load", "--input", f"{directory}/image.tar"), work / "logs" / "podman-load")
    return peer


def bare(name: str, work: Path, home: Path) -> Peer:
    """`runc` or `crun` over the image's layers in one folder. Raises Failed."""
    bundle = work / "bundle"
    if not bundle.exists():
        (bundle / "rootfs").mkdir(parents=True)
        said = work / "logs" / "inspect"
        run(corten(work, home)._job("inspect", IMAGE), said)
        document = json.loads(said.with_name("inspect.out").read_text())
        for digest in (layer["digest"] for layer in document["layers"]):
            subprocess.run(
                ["cp", "-a", f"{home}/layers/{digest.partition(':')[2]}/fs/.", bundle / "rootfs"], check=True
            )
    (bundle / "config.json").unlink(missing_ok=True)
    subprocess.run([name, "spec"], cwd=bundle, check=True)
    spec = json.loads((bundle / "config.json").read_bytes())
    spec["process"] |= {"terminal": False, "args": ["/opt/venv/bin/python", *PRINT[1:]]}
    own = work / f"bundle-{name}"
    own.mkdir()
    spec["root"]["path"] = str(bundle / "rootfs")
    (own / "config.json").write_text(json.dumps(spec))
    return Bare(name, "root", [name], environment(), own, detaches=False)


def _named(peer: Peer, work: Path) -> None:
    """Hold that the image is there under its name."""
    try:
        run(peer.run(), work / "logs" / f"{peer.name}-first")
    except Failed as error:
        raise Failed(f"{peer.name}: {error}") from error
