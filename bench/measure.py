"""Running one command on the clock: wall time, its own and its children's CPU time, memory of its process tree."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = 900.0
"""Seconds after which a command is killed."""


class Failed(Exception):
    """A command that did not end well, or could not be started; the message says which and what it printed last."""


@dataclass(frozen=True)
class Job:
    """A command with everything that it needs; `argv[0]` is found on PATH. `user` is a uid to run as."""

    argv: list[str]
    env: dict[str, str]
    cwd: Path
    umask: int = -1
    user: int | None = None


@dataclass(frozen=True)
class Sample:
    """One run. Seconds, and bytes: `max_rss` is the peak of the largest single process, by the kernel's account. `busy` is
    the CPU time of the whole machine meanwhile, of whomever."""

    wall: float
    user: float
    system: float
    max_rss: int
    busy: float


@dataclass
class TreeMemory:
    """What a process tree held at its worst, in bytes. `pss` counts shared pages once; `by_process` is the peak resident
    set of each kind of process in the tree."""

    pss: int = 0
    rss: int = 0
    processes: int = 0
    by_process: dict[str, int] = field(default_factory=dict)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what would change a measurement."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CORTEN_"))}
    return kept | more


def run(job: Job, log: Path, memory: TreeMemory | None = None) -> Sample:
    """Run `job` and wait for it. Its output goes to `log`; standard output alone is also in `log` + `.out`.
    Raises Failed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    out = output_of(log)
    with open(out, "wb") as stdout, open(log, "wb") as stderr:
        as_user = {} if job.user is None else {"user": job.user, "group": job.user, "extra_groups": []}
        busy = _busy()
        started = time.perf_counter()
        try:
            process = subprocess.Popen(
                job.argv,
                env=job.env,
                cwd=job.cwd,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                umask=job.umask,
                **as_user,
            )
        except OSError as error:
            raise Failed(f"{job.argv[0]}: {error.strerror}") from error
        timer = threading.Timer(LIMIT, _kill, [process.pid])
        timer.daemon = True  # an interrupt must not wait for it
        timer.start()
        watcher = None
        if memory is not None:
            watcher = threading.Thread(target=_watch, args=(process.pid, memory), daemon=True)
            watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        busy = _busy() - busy
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if watcher is not None:
            watcher.join()
    if process.returncode != 0:
        said = (log.read_text(errors="replace") + out.read_text(errors="replace")).strip().splitlines()
        last = " / ".join(line.strip() for line in said[-3:])[:400]
        raise Failed(f"{os.path.basename(job.argv[0])} ended with {process.returncode}: {last}")
    return Sample(wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024, busy)


def output_of(log: Path) -> Path:
    """Where `run` put the standard output of the command with this log."""
    return log.with_name(log.name + ".out")


def settle(work: Path) -> None:
    """Let nothing of the last run reach into the next one: dirty pages are written, and processes that a build of Corten
    left behind to do the same have ended."""
    os.sync()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _syncing(work):
        time.sleep(0.02)


def _busy() -> float:
    """CPU seconds that the machine has spent so far, on anything but waiting (proc(5): /proc/stat)."""
    user, nice, system, _, _, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _syncing(work: Path) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if b"corten.store.sync" in line and os.fsencode(work) in line:
                    return True
    return False


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _watch(root: int, memory: TreeMemory) -> None:
    while True:
        pids = _tree(root)
        if not pids:
            return
        pss = rss = 0
        for pid in pids:
            with suppress(OSError, ValueError):
                rollup = _fields(Path(f"/proc/{pid}/smaps_rollup"))
                pss += rollup["Pss"]
                rss += rollup["Rss"]
                name = _name(pid)
                memory.by_process[name] = max(memory.by_process.get(name, 0), rollup["Rss"])
        if pss > memory.pss:
            memory.pss, memory.rss, memory.processes = pss, rss, len(pids)
        time.sleep(0.02)


def _fields(path: Path) -> dict[str, int]:
    lines = path.read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {key: int(value.split()[0]) * 1024 for key, value in pairs}


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    scripts = [os.path.basename(word) for word in words if word.endswith((b".py", b"/corten"))]
    return (scripts or [os.path.basename(words[0])])[0].decode(errors="replace")


def _tree(root: int) -> list[int]:
    """`root` and everything below it, without those that have ended."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError, ValueError):
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                if fields[0] != "Z":
                    parents[int(entry)] = int(fields[1])
    found = [root] if root in parents else []
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found
