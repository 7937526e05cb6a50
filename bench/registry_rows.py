"""The rows of moving images: what is done before the clock runs, and what is counted after.

Every push goes to a registry of its own, every pull to a storage of its own. Nothing is deleted meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import projects
from measure import Failed, Job, Sample, TreeMemory, run, settle
from peers import Corten
from registry_docker import DockerfileMover
from registry_peers import CortenMover, Mover
from registry_servers import Relay, Server
from results import Results

_MB, _KB = 1_000_000, 1000


class Rows:
    """Measures rows for every tool in turn and takes them down in `results`."""

    def __init__(self, corten: Corten, movers: list[Mover], results: Results) -> None:
        self.corten, self.movers, self.results = corten, movers, results
        self.own = next(mover for mover in movers if isinstance(mover, CortenMover))
        self.source = Server(corten.new("registries"))
        """Where the sets' images are pulled and copied from."""

    def close(self) -> None:
        """End what runs."""
        self.source.stop()
        for mover in self.movers:
            mover.close()

    def reference(self, size: str, compression: str) -> str:
        """A set's image at the source."""
        return f"{self.source.address}/bench/{size.lower()}:{compression}"

    def prepare(self, size: str) -> None:
        """Build the set and put it where everybody gets it from. Raises Failed when Corten cannot; leaves out tools that
        cannot."""
        corten = self.corten
        _say(f"{size}: building")
        corten.copy(corten.base).rename(corten.home(size))
        name = CortenMover.image(size)
        corten.call(corten.home(size), "build", str(corten.project(size)), "--name", name)
        for compression in ("gzip", "zstd"):
            run(self.own.push(size, compression, self.reference(size, compression)), corten.new("logs"))
        for mover in list(self.movers):
            _say(f"{size}: getting {mover.name} ready")
            try:
                mover.prepare(size, self.reference(size, "gzip"))
            except Failed as error:
                if mover is self.own:
                    raise
                self.movers.remove(mover)
                self.results.note(f"{mover.name} is left out: {error}")

    def push(self, size: str, compression: str, runs: int) -> None:
        """First pushes: seconds, and the bytes that the registry then has."""
        row = f"push-{compression}"

        def once(mover: Mover) -> None:
            with self._server() as server:
                job = mover.push(size, compression, f"{server.address}/bench/{size.lower()}:1")
                if job is not None:
                    self._timed(row, size, mover, job)
                    stored = self.results.figure(f"bytes-{compression}", size, mover.name, "MB")
                    stored.values.append(server.stored / _MB)

        self._turns(row, size, runs, once)

    def pull(self, size: str, compression: str, runs: int) -> None:
        """Pulls onto machines that have nothing."""
        row = f"pull-{compression}"

        def once(mover: Mover) -> None:
            job = mover.pull(self.reference(size, compression))
            try:
                if job is not None:
                    self._timed(row, size, mover, job)
            finally:
                mover.after_pull()

        self._turns(row, size, runs, once)

    def copy(self, size: str, runs: int) -> None:
        """Copies to a registry that has nothing."""

        def once(mover: Mover) -> None:
            with self._server() as server:
                job = mover.copy(self.reference(size, "gzip"), f"{server.address}/copied/{size.lower()}:1")
                if job is not None:
                    self._timed("copy", size, mover, job)

        self._turns("copy", size, runs, once)

    def change(self, row: str, size: str, runs: int) -> None:
        """Pushes after a change (`dependency`, `code-line`) to where the image before it was pushed. The build is off the
        clock."""
        _say(f"{size}: {row}")
        with self._failures(row, size, "corten"):
            self._own_changes(row, size, runs)
        for mover in self.movers:
            if isinstance(mover, DockerfileMover):
                with self._failures(row, size, mover.name):
                    self._dockerfile_change(row, size, mover)

    def clean(self, size: str, runs: int) -> None:
        """`build --cache-from` and `push` on a machine that has a project with its lock and nothing else. Bytes are those
        of both directions at the registry, and of files fetched from elsewhere."""
        seconds = self.results.figure("clean", size, "corten")
        moved = self.results.figure("clean-bytes", size, "corten", "kB")
        corten, name = self.corten, CortenMover.image(size)
        for _ in range(runs):
            home = corten.new("homes")
            project = projects.copy_project(corten.project(size), corten.new("projects") / size)
            relay = Relay(self.source.address)
            try:
                place = f"{relay.address}/bench/{size.lower()}"
                jobs = [
                    corten.build(home, project, "--name", name, "--cache-from", f"{place}:gzip"),
                    corten.invoke(home, "push", name, f"{place}:clean"),
                ]
                settle(corten.work)
                with self._failures("clean", size, "corten"):
                    samples = [run(job, corten.new("logs")) for job in jobs]
                    seconds.values.append(sum(sample.wall for sample in samples))
                    moved.values.append((relay.moved + _fetched(home)) / _KB)
                    parts = " + ".join(f"{sample.wall:.2f}" for sample in samples)
                    _say(f"{size}: clean machine: {parts} s, {moved.values[-1]:.0f} kB")
            finally:
                relay.stop()

    def memory(self, size: str) -> None:
        """Peaks of whole process trees, watched in runs of their own; of tools that do the work themselves."""
        for mover in [mover for mover in self.movers if mover.own_cpu]:
            with self._server() as server, self._failures("memory", size, mover.name):
                push = mover.push(size, "gzip", f"{server.address}/bench/memory:1")
                pull = mover.pull(self.reference(size, "gzip"))
                for row, job in (("memory-push", push), ("memory-pull", pull)):
                    if job is not None:
                        self._peak(row, size, mover.name, job)

    def large(self, gigabytes: float) -> None:
        """One file of random bytes (a block of 64 MiB again and again, farther apart than any window) in an image."""
        corten = self.corten
        project = corten.new("projects")
        projects.write_large(project, int(gigabytes * 1e9))
        home, pulled = corten.copy(corten.base), corten.new("homes")
        _say(f"large: building with {gigabytes:g} GB")
        corten.call(home, "build", str(project), "--name", "bench-large")
        with self._server() as server, self._failures("large", "large", "corten"):
            target = f"{server.address}/bench/large:1"
            for verb, job in (
                ("push", corten.invoke(home, "push", "bench-large", target)),
                ("pull", corten.invoke(pulled, "pull", target)),
            ):
                settle(corten.work)
                sample = self._peak(f"large-memory-{verb}", "large", "corten", job)
                self.results.figure(f"large-{verb}", "large", "corten").add(sample, own_cpu=True)

    def _own_changes(self, row: str, size: str, runs: int) -> None:
        corten, own, name = self.corten, self.own, CortenMover.image(size)
        first = corten.copy(corten.home(size))
        with self._server() as server:
            run(own.push_from(first, size, f"{server.address}/bench/{size.lower()}:1"), corten.new("logs"))
            before = server
        for number in range(runs):
            home = corten.copy(first)
            project = projects.copy_project(corten.project(size), corten.new("projects") / size)
            if row == "code-line":
                projects.change_code(project, f"changed {number}")
            else:
                pins = [*projects.requirements(size), projects.DEPENDENCY, ""]
                (project / "requirements.txt").write_text("\n".join(pins))
            corten.call(home, "build", str(project), "--name", name)
            with self._server(before) as server:
                stored = server.stored
                job = own.push_from(home, size, f"{server.address}/bench/{size.lower()}:2")
                self._timed(row, size, own, job)
                self._grown(row, size, own.name, server.stored - stored)

    def _dockerfile_change(self, row: str, size: str, mover: DockerfileMover) -> None:
        """Once: it takes as long as a first push."""
        with self._server() as server:
            place = f"{server.address}/bench/{size.lower()}"
            run(mover.push_tag(mover.peer.tag(size), f"{place}:1"), self.corten.new("logs"))
            tag = mover.changed(row, size)
            stored = server.stored
            self._timed(row, size, mover, mover.push_tag(tag, f"{place}:2"))
            self._grown(row, size, mover.name, server.stored - stored)

    def _grown(self, row: str, size: str, name: str, stored: int) -> None:
        self.results.figure(f"{row}-bytes", size, name, "kB").values.append(stored / _KB)

    def _turns(self, row: str, size: str, runs: int, once: Callable[[Mover], None]) -> None:
        failed: set[str] = set()
        for number in range(runs):
            for mover in self.movers:
                # What takes a minute says enough when it was done twice.
                if mover.name in failed or (number >= 2 and not mover.own_cpu):
                    continue
                with self._failures(row, size, mover.name):
                    once(mover)
                    continue
                failed.add(mover.name)

    def _timed(self, row: str, size: str, mover: Mover, job: Job) -> None:
        settle(self.corten.work)
        sample = run(job, self.corten.new("logs"))
        self.results.figure(row, size, mover.name).add(sample, own_cpu=mover.own_cpu)
        _say(f"{size}: {row}: {mover.name} {sample.wall:.2f} s")

    def _peak(self, row: str, size: str, name: str, job: Job) -> Sample:
        tree = TreeMemory()
        sample = run(job, self.corten.new("logs"), tree)
        # A peak between two looks at the tree is in the kernel's account of the process that had it.
        peak = max(tree.pss, sample.max_rss)
        self.results.figure(row, size, name, "MB").values.append(peak / _MB)
        _say(f"{size}: {row}: {name} {peak / _MB:.0f} MB")
        return sample

    @contextmanager
    def _server(self, before: Server | None = None) -> Iterator[Server]:
        """A new registry; with `before`, as that one was when it ended, and at the same address."""
        place = self.corten.new("registries")
        server = Server(place, before.storage, before.address) if before else Server(place)
        try:
            yield server
        finally:
            server.stop()

    @contextmanager
    def _failures(self, row: str, size: str, name: str) -> Iterator[None]:
        """What fails is a note."""
        try:
            yield
        except Failed as error:
            self.results.note(f"{name}, {row}, {size}: {error}")


def _fetched(home: Path) -> int:
    return sum(path.stat().st_size for path in (home / "files").rglob("*") if path.is_file())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
