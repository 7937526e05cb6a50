"""docker as it moves images: the same as everybody's, and those of Dockerfiles, where packages are one layer."""

from __future__ import annotations

from pathlib import Path

import peers
from dockerfiles import Docker, DockerfilePeer
from measure import Failed, Job


class DockerMover:
    """docker, with one daemon that has the images and a new one for every pull."""

    name = "docker"
    own_cpu = False

    def __init__(self, work: Path, corten: peers.Corten) -> None:
        self.work, self.corten = work, corten
        self.engine = Docker(work / "docker-push", corten)
        self._sources: dict[str, str] = {}
        self._puller: Docker | None = None
        self.started = False

    def missing(self) -> str | None:
        """A daemon needs root."""
        return self.engine.missing()

    def start(self) -> None:
        """The daemon that pushes, once."""
        if not self.started:
            self.engine.work.mkdir(parents=True)
            self.engine.start()
            self.started = True

    def prepare(self, size: str, source: str) -> None:
        """Pull the image. What the daemon then knows of packed layers holds for that registry alone."""
        self.start()
        self.call("pull", "--quiet", source)
        self._sources[size] = source

    def call(self, *arguments: str) -> None:
        """Run the client off the clock. Raises Failed."""
        self.engine.call(self.job(self.engine, *arguments))

    def push(self, size: str, compression: str, target: str) -> Job | None:
        """docker packs with gzip alone."""
        if compression != "gzip":
            return None
        self.call("tag", self._sources[size], target)
        return self.job(self.engine, "push", "--quiet", target)

    def pull(self, reference: str) -> Job | None:
        """By a daemon that has nothing."""
        if reference.endswith("zstd"):
            return None  # this release cannot
        self._puller = Docker(self.engine.new("pull"), self.corten)
        self._puller.work.mkdir(parents=True)
        self._puller.start()
        return self.job(self._puller, "pull", "--quiet", reference)

    def after_pull(self) -> None:
        """End that daemon; its data stay, for the end."""
        if self._puller is not None:
            self._puller.stop()
            self._puller = None

    def copy(self, source: str, target: str) -> Job | None:
        """docker has no such command."""
        return None

    def close(self) -> None:
        """End the daemons."""
        self.after_pull()
        self.engine.stop()

    @staticmethod
    def job(engine: Docker, *arguments: str) -> Job:
        """The client with the daemon of `engine`."""
        return Job([str(engine.client), *arguments], engine.env, engine.work)


class DockerfileMover:
    """docker with images of Dockerfiles, for the rows where its layers differ from ours. Uses `docker`'s daemon."""

    name = "docker+uv"
    own_cpu = False

    def __init__(self, docker: DockerMover) -> None:
        self.docker = docker
        self.peer = DockerfilePeer(docker.engine, "uv")
        self._ready = False

    def missing(self) -> str | None:
        """As docker."""
        return self.docker.missing()

    def prepare(self, size: str, source: str) -> None:
        """Build the set's image."""
        if not self._ready:
            engine = self.docker.engine
            self.docker.close()
            engine.ensure()  # starts the daemon again, over the same data
            self._ready = self.docker.started = True
        self.peer.build_once(size)

    def push(self, size: str, compression: str, target: str) -> Job | None:
        """As docker, of the Dockerfile's image."""
        return self.push_tag(self.peer.tag(size), target) if compression == "gzip" else None

    def push_tag(self, tag: str, target: str) -> Job:
        """Push a local image under another name."""
        self.docker.call("tag", tag, target)
        return self.docker.job(self.docker.engine, "push", "--quiet", target)

    def changed(self, row: str, size: str) -> str:
        """Build the set with a change, off the clock; the image's tag. Raises Failed."""
        job = self.peer.job(row, size)
        if job is None:
            raise Failed(f"no such change: {row}")
        self.docker.engine.call(job)
        return self.peer.tag(size) if row == "code-line" else f"{self.peer.tag(size)}-dependency"

    def pull(self, reference: str) -> Job | None:
        """As docker."""
        return None

    def after_pull(self) -> None:
        """Nothing was started."""

    def copy(self, source: str, target: str) -> Job | None:
        """docker has no such command."""
        return None

    def close(self) -> None:
        """End docker's daemon, which may take part for this alone."""
        self.docker.close()
