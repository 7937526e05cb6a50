"""docker and buildah, with uv or pip inside, each given the fastest way that its users know.

Both start from Corten's own Debian base, read the same wheels from a folder, and compile bytecode. Rows follow from
Dockerfile caching: packages are a step of their own below the code, so a changed line of code does not install anew.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

import projects
from measure import Failed, Job, environment, run
from peers import Corten

_INSTALL = {
    # uv unpacks into its cache and links from there; without a kept cache both lie in the layer's own file system, which is
    # faster here than copying out of a mounted cache.
    "uv": "{tools}/bin/uv venv -q /opt/venv && {tools}/bin/uv pip install -q --no-cache -p /opt/venv --no-index"
    " --find-links {tools}/wheels --compile-bytecode -r requirements.txt",
    "pip": "python3 -m venv --without-pip /opt/venv && PYTHONPATH={tools}/pip /opt/venv/bin/python -m pip install -q"
    " --no-cache-dir --disable-pip-version-check --no-index --find-links {tools}/wheels -r requirements.txt",
}
_DOCKERFILE = """\
FROM {base}
WORKDIR /app
COPY requirements.txt .
RUN {mount}{install}
COPY . .
CMD ["uvicorn", "app:app"]
"""
_BASE = """\
FROM scratch
ADD base.tar /
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8
"""


class Engine(ABC):
    """A tool that executes Dockerfiles. Subclasses say how it is called and where its base and tools come from."""

    name = ""
    base = "bench-base"
    tools = "/bench"
    mount = ""

    def __init__(self, work: Path, corten: Corten) -> None:
        self.work = work / self.name
        self.corten = corten
        self._numbers = itertools.count(1)
        self._ready = False

    @abstractmethod
    def missing(self) -> str | None:
        """Why this engine cannot be used here; None when it can."""

    @abstractmethod
    def start(self) -> None:
        """Get ready; called once. Raises Failed."""

    @abstractmethod
    def build(self, context: Path, tag: str, *, fresh: bool = False) -> Job:
        """The command that builds `context` as `tag`; `fresh`: without the layer cache."""

    def stop(self) -> None:  # noqa: B027 (not every engine has something to end)
        """End what `start` started."""

    def call(self, job: Job) -> None:
        """Run it off the clock. Raises Failed."""
        run(job, self.new("logs"))

    def new(self, kind: str) -> Path:
        """A path below `kind` that was never used."""
        path = self.work / kind / f"n{next(self._numbers)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def ensure(self) -> None:
        """Start once, with the base image and the tools in place. Raises Failed."""
        if self._ready:
            return
        self.work.mkdir(parents=True, exist_ok=True)
        self.start()
        context = self.new("contexts")
        context.mkdir()
        os.link(self.corten.base_archive(), context / "base.tar")
        (context / "Dockerfile").write_text(_BASE)
        self.call(self.build(context, self.base))
        self.place_tools()
        self._ready = True

    @abstractmethod
    def place_tools(self) -> None:
        """Bring wheels, uv and pip to where builds find them. Raises Failed."""

    def gather_tools(self, place: Path) -> Path:
        """A folder with `wheels`, `bin/uv` and `pip`, with pip's own bytecode."""
        here = Path(sys.executable).parent
        place.mkdir(parents=True)
        subprocess.run(["cp", "-al", self.corten.bundle / "wheels", place / "wheels"], check=True)
        (place / "bin").mkdir()
        shutil.copy2(here / "uv", place / "bin" / "uv")
        log = self.new("logs")
        argv = [
            str(here / "uv"),
            "pip",
            "install",
            "-q",
            "--target",
            str(place / "pip"),
            "--compile-bytecode",
            "pip",
        ]
        run(Job([*argv, "--python", sys.executable], environment(), self.work), log)
        return place


class DockerfilePeer:
    """An engine with an installer inside."""

    def __init__(self, engine: Engine, installer: str) -> None:
        self.engine, self.installer = engine, installer
        self.name = f"{engine.name}+{installer}"

    def missing(self) -> str | None:
        """Why it cannot take part here."""
        return self.engine.missing()

    def prepare(self) -> None:
        """Base image and files."""
        self.engine.ensure()

    def build_once(self, size: str) -> None:
        """The set's image, for its layers to be reused."""
        self.engine.call(self.engine.build(self._project(size), self.tag(size)))

    def tag(self, size: str) -> str:
        """The name of a set's image."""
        return f"bench-{size.lower()}-{self.installer}"

    def job(self, row: str, size: str) -> Job | None:
        """The next run of a row."""
        pins = projects.requirements(size)
        match row:
            case "all-new":
                return self.engine.build(self._project(size), f"{self.tag(size)}-new", fresh=True)
            case "other-project":
                if self.installer == "pip" or not isinstance(self.engine, Docker):
                    return None  # the same work as when all layers are new, as docker+uv shows
                return self.engine.build(self._write(pins[::-1]), f"{self.tag(size)}-other")
            case "unchanged":
                return self.engine.build(self._project(size), self.tag(size))
            case "code-line":
                projects.change_code(self._project(size), self.engine.new("changes").name)
                return self.engine.build(self._project(size), self.tag(size))
            case "dependency":
                return self.engine.build(
                    self._write([*pins, projects.DEPENDENCY]), f"{self.tag(size)}-dependency"
                )
        return None

    def close(self) -> None:
        """End the engine."""
        self.engine.stop()

    def _project(self, size: str) -> Path:
        place = self.engine.work / "projects" / f"{size}-{self.installer}"
        return place if place.exists() else self._write(projects.requirements(size), place)

    def _write(self, pins: list[str], place: Path | None = None) -> Path:
        place = place or self.engine.new("projects")
        project = projects.write_project(place, pins, note=place.name)
        text = _DOCKERFILE.format(
            base=self.engine.base,
            mount=self.engine.mount,
            install=_INSTALL[self.installer].format(tools=self.engine.tools),
        )
        (project / "Dockerfile").write_text(text)
        return project


class Docker(Engine):
    """docker with BuildKit, by a daemon of its own that has no network setup to do and forgets everything afterwards."""

    name = "docker"
    mount = "--mount=type=bind,from=bench-tools,target=/bench "

    def __init__(self, work: Path, corten: Corten) -> None:
        super().__init__(work, corten)
        self.client = _matching_client()
        self.env = environment(
            DOCKER_HOST=f"unix://{self.work}/socket", DOCKER_BUILDKIT="1", BUILDKIT_PROGRESS="plain"
        )
        self._daemon: subprocess.Popen[bytes] | None = None

    def missing(self) -> str | None:
        """A daemon needs root."""
        if shutil.which("dockerd") is None or self.client is None:
            return "docker is not installed (Debian: docker.io)"
        return None if os.geteuid() == 0 else "dockerd needs root"

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        options = ["--iptables=false", "--bridge=none", "--pidfile", f"{self.work}/pid"]
        options += ["--data-root", f"{self.work}/data", "--exec-root", f"{self.work}/exec"]
        options += ["--host", self.env["DOCKER_HOST"]]
        log = open(self.new("logs"), "wb")  # noqa: SIM115 — the daemon's, for as long as it lives
        self._daemon = subprocess.Popen(
            ["dockerd", *options], stdout=log, stderr=log, env=environment(), start_new_session=True
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.call(Job([str(self.client), "version"], self.env, self.work))
                return
            except Failed:
                if time.monotonic() > deadline or self._daemon.poll() is not None:
                    raise
                time.sleep(0.2)

    def place_tools(self) -> None:
        """As an image that builds mount: it is not sent to the daemon again and again."""
        tools = self.gather_tools(self.work / "tools")
        (tools / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        self.call(self.build(tools, "bench-tools"))

    def build(self, context: Path, tag: str, *, fresh: bool = False) -> Job:
        """`docker build`."""
        argv = [str(self.client), "build", "--network", "host", "--tag", tag]
        return Job([*argv, *(["--no-cache"] if fresh else []), "."], self.env, context)

    def image_size(self, tag: str) -> int:
        """The bytes of an image's unpacked layers, as docker counts them. Raises Failed."""
        argv = [str(self.client), "image", "inspect", "--format", "{{.Size}}", tag]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(done.stderr.strip())
        return int(done.stdout)

    def stop(self) -> None:
        """End the daemon."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(60)
            self._daemon = None


class Buildah(Engine):
    """buildah without a daemon, with a storage of its own."""

    name = "buildah"
    base = "localhost/bench-base"

    def __init__(self, work: Path, corten: Corten) -> None:
        super().__init__(work, corten)
        self.storage = ["--root", f"{self.work}/root", "--runroot", f"{self.work}/run"]
        self.storage += ["--storage-driver", "overlay"]
        # The defaults ask for more open files than a caller without CAP_SYS_RESOURCE may have.
        self.limits = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=1000:1000"]

    def missing(self) -> str | None:
        """Anybody can use it where it is installed."""
        return None if shutil.which("buildah") else "buildah is not installed (Debian: buildah)"

    def start(self) -> None:
        """There is nothing to start."""

    def place_tools(self) -> None:
        """As a folder that builds mount."""
        self.gather_tools(self.work / "tools")

    def build(self, context: Path, tag: str, *, fresh: bool = False) -> Job:
        """`buildah build`; chroot isolation is its fastest."""
        argv = ["buildah", *self.storage, "build", "--layers", "--isolation", "chroot", "--network", "host"]
        argv += [*self.limits, *(["--no-cache"] if fresh else [])]
        tools = self.work / "tools"
        if tools.exists():
            argv += ["--volume", f"{tools}:/bench:ro"]
        return Job([*argv, "--tag", tag, "."], environment(), context)


def _matching_client() -> str | None:
    """The docker client that came with dockerd: a newer one beside it may lack BuildKit's plugin."""
    daemon = shutil.which("dockerd")
    if daemon is None:
        return None
    said = subprocess.run([daemon, "--version"], capture_output=True, text=True, check=False).stdout
    wanted = said.split("version ")[-1].split(",")[0]
    clients = [Path(folder) / "docker" for folder in os.get_exec_path()]
    for client in clients:
        if os.access(client, os.X_OK):
            answer = subprocess.run([client, "--version"], capture_output=True, text=True, check=False).stdout
            if wanted in answer:
                return str(client)
    return shutil.which("docker")
