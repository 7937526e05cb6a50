"""What a container that nobody limits may take of the machine: its disk, memory and processes, and what it sees of the kernel."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable

import pytest

from corten.runtime.bounds import SHARES, machine_memory, machine_processes, share
from corten.runtime.spec import MASKED, READ_ONLY
from support.command import Corten
from support.runner import Plain

pytestmark = pytest.mark.e2e
Run = Callable[..., "subprocess.CompletedProcess[str]"]
FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


@pytest.fixture(params=["root", "subuids", "none"])
def run(
    request: pytest.FixtureRequest, corten: Corten, runner: str, plain_runners: Callable[[str], Plain]
) -> Run:
    """`corten run … runner -- python -c …` as root, and as plain users with subordinate IDs and without."""
    if request.param != "root":
        plain = plain_runners(request.param)
        return lambda script, *options: plain("run", *options, "runner", "--", "python", "-c", script)
    return lambda script, *options: corten("run", *options, runner, "--", "python", "-c", script, code=None)


def answer(done: subprocess.CompletedProcess[str]) -> object:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_file_of_this_machine_can_be_written(run: Run) -> None:
    """They were: 300 MB went past --storage-size."""
    script = f"""
import errno, json
said = []
for path in {FILES}:
    try: open(path, "r+b"); said.append("open")
    except OSError as error: said.append(errno.errorcode[error.errno])
print(json.dumps(said))
"""
    assert answer(run(script, "-u", "0")) == ["EROFS"] * 3


def test_with_a_writable_root_they_count_as_what_the_container_writes(run: Run) -> None:
    script = f"""
import json, os
mounted = [line.split()[1] for line in open("/proc/self/mounts")]
written = 0
with open("/etc/hosts", "ab", 0) as file:
    try:
        while written < 100 << 20: written += file.write(bytes(1 << 20))
    except OSError: pass
print(json.dumps([sorted(set(mounted) & set({FILES})), written >> 20, open("/etc/hostname").read()]))
"""
    done = run(script, "-u", "0", "--read-write", "--storage-size", "20m", "--hostname", "box")
    if done.returncode == 125:
        assert "cannot be enforced for a plain user on this kernel" in done.stderr
        return
    mounted, written, name = json.loads(done.stdout)
    assert (mounted, name) == ([], "box\n")
    assert written <= 20


def test_a_container_that_is_started_again_has_its_names_anew(corten: Corten, runner: str) -> None:
    """Also where a program has put a link in their place: nothing is written through it."""
    name = "names-anew"
    script = "import os; print(os.readlink('/etc/hosts') if os.path.islink('/etc/hosts') else 'a file'); os.unlink('/etc/hosts'); os.symlink('/app/main.py', '/etc/hosts')"
    corten("run", "-d", "--name", name, "-u", "0", "--read-write", runner, "--", "python", "-c", script)
    try:
        corten("wait", name)
        corten("restart", name)
        corten("wait", name)
        assert corten("logs", name).stdout == "a file\na file\n"
        main = corten.home / "containers" / name / "upper" / "app" / "main.py"
        assert not main.exists()
    finally:
        corten("rm", "-f", name)


def test_files_in_memory_have_half_of_it_together(run: Run) -> None:
    script = """
import json, os
print(json.dumps({place: [os.statvfs(place).f_blocks * os.statvfs(place).f_frsize, os.statvfs(place).f_files]
                  for place in ("/dev/shm", "/tmp", "/run", os.environ["HOME"])}))
"""
    found = answer(run(script))
    assert isinstance(found, dict)
    memory = machine_memory()
    assert {size for size, _ in found.values()} == {share(place, memory) for place in SHARES}
    assert sum(size for size, _ in found.values()) <= memory // 2
    assert all(files <= max(1 << 16, size // 16384) for size, files in found.values())


def test_their_sizes_can_be_chosen(run: Run) -> None:
    script = "import os; print([os.statvfs(p).f_blocks * os.statvfs(p).f_frsize >> 20 for p in ('/dev/shm', '/tmp')])"
    done = run(script, "--shm-size", "3m", "--tmpfs", "/tmp:size=5m,exec")
    assert answer(done) == [3, 5]


def test_processes_are_bounded(run: Run, request: pytest.FixtureRequest) -> None:
    """As many threads as there may be, each with a small stack.

    The kernel counts those of a user. Root's containers share this machine's users, so here the user is nobody else's."""
    is_root = request.node.callspec.params["run"] == "root"
    own = ("-u", str(100_000_000 + os.getpid())) if is_root else ()
    script = """
import json, threading
threading.stack_size(32768)
wait, count = threading.Event(), 1
try:
    while count < LIMIT + 100:
        threading.Thread(target=wait.wait, daemon=True).start()
        count += 1
except RuntimeError: pass
print(json.dumps(count), flush=True)
import os; os._exit(0)
"""
    limit = machine_processes()
    done = answer(run(script.replace("LIMIT", str(limit)), *own))
    assert isinstance(done, int)
    assert limit - 64 <= done <= limit


def test_the_number_of_processes_can_be_chosen(run: Run) -> None:
    script = "import resource; print(resource.getrlimit(resource.RLIMIT_NPROC)[0])"
    own = run(script, "--pids-limit", "-1", "--ulimit", "nproc=77")
    assert answer(own) == 77
    free = answer(run(script, "--pids-limit", "-1"))
    assert free != machine_processes()


def test_kernel_files_are_hidden(run: Run) -> None:
    """Those of docker and podman."""
    assert {"/proc/interrupts", "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
            "/sys/devices/virtual/powercap", "/sys/dev/block", "/sys/fs/selinux"} <= set(MASKED)  # fmt: skip
    assert set(READ_ONLY) >= {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
    there = [path for path in MASKED if os.path.exists(path)]
    assert "/proc/interrupts" in there
    script = f"""
import json, os
print(json.dumps([path for path in {there} if (os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1))]))
"""
    assert answer(run(script, "-u", "0")) == []


def test_nothing_of_the_kernel_can_be_written(run: Run) -> None:
    """Every file below /proc and /sys that root inside can open for writing, with its own content written to it."""
    script = """
import errno, json, os, stat
changed = []
for top in ("/proc", "/sys"):
    for folder, folders, files in os.walk(top):
        if folder == "/proc":
            folders[:] = [name for name in folders if not name.isdigit() and name not in ("self", "thread-self")]
        for name in files:
            path = f"{folder}/{name}"
            if path.startswith("/proc/pressure/") or not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            try: descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            except OSError: continue
            # A write of nothing tells most handlers apart: where there is none, it fails.
            try: os.write(descriptor, b"x"); changed.append(path)
            except OSError: pass
            os.close(descriptor)
print(json.dumps(changed))
"""
    found = answer(run(script, "-u", "0"))
    # What is written to a hidden file goes to /dev/null.
    assert isinstance(found, list)
    assert set(found) <= set(MASKED)
