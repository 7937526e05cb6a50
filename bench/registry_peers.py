"""Who moves images here: Corten, podman and skopeo (docker: `registry_docker.py`), each with the same image before it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

import peers
from measure import Job, environment, run


class Mover(Protocol):
    """A tool that pushes and pulls. Every method may return None: the row means nothing for this tool."""

    name: str
    own_cpu: bool
    """Whether the command does the work itself, and no daemon."""

    def missing(self) -> str | None:
        """Why it cannot take part here."""

    def prepare(self, size: str, source: str) -> None:
        """Get the set's image ready, which can be pulled from the reference `source`. Raises Failed."""

    def push(self, size: str, compression: str, target: str) -> Job | None:
        """The first push of the set's image; nothing is known of the packed layers."""

    def pull(self, reference: str) -> Job | None:
        """Pull to where the image can be run, onto a machine that has nothing."""

    def after_pull(self) -> None:
        """End what `pull` had to start."""

    def copy(self, source: str, target: str) -> Job | None:
        """From registry to registry."""

    def close(self) -> None:
        """End everything."""


class CortenMover:
    """Corten, with stores that remember as much as a row allows."""

    name = "corten"
    own_cpu = True

    def __init__(self, corten: peers.Corten) -> None:
        self.corten = corten

    def missing(self) -> str | None:
        """Never."""
        return None

    def prepare(self, size: str, source: str) -> None:
        """The set was built already."""

    @staticmethod
    def image(size: str) -> str:
        """The name of a set's image."""
        return f"bench-{size.lower()}"

    def push(self, size: str, compression: str, target: str) -> Job:
        """From a copy of the store that built the image and never pushed."""
        home = self.corten.copy(self.corten.home(size))
        return self.push_from(home, size, target, compression)

    def push_from(self, home: Path, size: str, target: str, compression: str = "gzip") -> Job:
        """From this store."""
        return self.corten.invoke(home, "push", self.image(size), target, "--compression", compression)

    def pull(self, reference: str) -> Job:
        """Into a store that does not exist yet."""
        home = self.corten.new("homes")
        home.parent.mkdir(parents=True, exist_ok=True)
        return self.corten.invoke(home, "pull", reference)

    def after_pull(self) -> None:
        """Nothing was started."""

    def copy(self, source: str, target: str) -> Job:
        """`corten copy`; the store plays no part."""
        return self.corten.invoke(self.corten.new("homes"), "copy", source, target)

    def close(self) -> None:
        """Nothing stays running."""


class PodmanMover:
    """podman, with one storage that has the images and a new one for every pull."""

    name = "podman"
    own_cpu = True

    def __init__(self, work: Path, corten: peers.Corten) -> None:
        self.work = work / "podman"
        self.corten = corten
        self._sources: dict[str, str] = {}
        self._numbers = 0

    def missing(self) -> str | None:
        """Anybody can use it where it is installed."""
        return None if shutil.which("podman") else "podman is not installed (Debian: podman)"

    def prepare(self, size: str, source: str) -> None:
        """Pull the image."""
        run(self._job("own", "pull", "--quiet", "--tls-verify=false", source), self.corten.new("logs"))
        self._sources[size] = source

    def push(self, size: str, compression: str, target: str) -> Job:
        """`podman push`."""
        how = ("--tls-verify=false", "--compression-format", compression, "--format", "oci")
        return self._job("own", "push", "--quiet", *how, self._sources[size], f"docker://{target}")

    def pull(self, reference: str) -> Job:
        """Into a storage that does not exist yet."""
        self._numbers += 1
        return self._job(f"pull-{self._numbers}", "pull", "--quiet", "--tls-verify=false", reference)

    def after_pull(self) -> None:
        """Nothing was started."""

    def copy(self, source: str, target: str) -> Job | None:
        """podman has no such command."""
        return None

    def close(self) -> None:
        """Nothing stays running."""

    def _job(self, name: str, *arguments: str) -> Job:
        place = self.work / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "auth.json").write_text("{}")
        options = ["--root", f"{place}/root", "--runroot", f"{place}/run", "--storage-driver", "overlay"]
        options += ["--cgroup-manager", "cgroupfs", "--events-backend", "none"]
        variables = environment(REGISTRY_AUTH_FILE=f"{place}/auth.json")
        return Job(["podman", *options, *arguments], variables, place)


class SkopeoMover:
    """skopeo, which pushes from an OCI layout of plain tars and keeps nothing that could be run."""

    name = "skopeo"
    own_cpu = True

    def __init__(self, work: Path, corten: peers.Corten) -> None:
        self.work, self.corten = work / "skopeo", corten

    def missing(self) -> str | None:
        """Anybody can use it where it is installed."""
        return None if shutil.which("skopeo") else "skopeo is not installed (Debian: skopeo)"

    def layout(self, size: str) -> Path:
        """Where a set's image lies."""
        return self.work / f"layout-{size}"

    def prepare(self, size: str, source: str) -> None:
        """Save the image."""
        self.work.mkdir(parents=True, exist_ok=True)
        self.corten.call(self.corten.home(size), "save", CortenMover.image(size), str(self.layout(size)))

    def push(self, size: str, compression: str, target: str) -> Job:
        """Packing on the way."""
        return self._copy(
            f"oci:{self.layout(size)}", f"docker://{target}", "--dest-compress-format", compression
        )

    def pull(self, reference: str) -> Job | None:
        """Nothing that it pulls can be run."""
        return None

    def after_pull(self) -> None:
        """Nothing was started."""

    def copy(self, source: str, target: str) -> Job:
        """As it is, everything of it."""
        return self._copy(f"docker://{source}", f"docker://{target}", "--all")

    def close(self) -> None:
        """Nothing stays running."""

    def _copy(self, source: str, target: str, *options: str) -> Job:
        auth = self.work / "auth.json"
        self.work.mkdir(parents=True, exist_ok=True)
        auth.write_text("{}")
        insecure = ["--dest-tls-verify=false"]
        if source.startswith("docker:"):
            insecure.append("--src-tls-verify=false")
        argv = ["skopeo", "copy", "--quiet", "--insecure-policy", *insecure, *options, source, target]
        return Job(argv, environment(REGISTRY_AUTH_FILE=str(auth), HOME=os.fspath(self.work)), self.work)
