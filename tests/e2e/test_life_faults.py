"""What can go wrong around a container's life, with a real engine: nothing is lost, left behind or told wrongly."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import RuntimeFailure, UsageError
from corten.oci.platform import Platform
from corten.runtime import cgroups, control, records
from corten.runtime.inventory import is_locked, lock_path
from corten.runtime.logs import entries
from corten.runtime.made import Life, Made
from corten.runtime.options import RunOptions
from corten.runtime.processes import first_process, inside
from corten.store.store import Store
from corten.values import replace
from support.command import Corten
from support.commander import until
from support.runner import Plain

pytestmark = pytest.mark.e2e


@pytest.fixture
def own(corten: Corten, base_home: Path, tmp_path: Path) -> Corten:
    """The command with a store of its own that has the image `runner` and no container."""
    subprocess.run(["cp", "-al", base_home, tmp_path / "own"], check=True)
    return corten.at(tmp_path / "own")


def ended(own: Corten, name: str, *options: str) -> Path:
    """A container that has ended with 3; its directory."""
    own("run", "-d", "--name", name, *options, "runner", "--", "sh", "-c", "echo ran >> /tmp/x; exit 3")
    assert own("wait", name).stdout == "3\n"
    return own.home / "containers" / name


def test_a_container_starts_again_when_its_image_is_gone(own: Corten) -> None:
    """A build gave the name to another image, and `prune` removed what nothing names."""
    ended(own, "kept")
    own("rmi", "runner")
    own("prune")
    own("restart", "kept")
    assert own("wait", "kept").stdout == "3\n"
    assert "3" in own("ps", "--all", "--json").stdout


def test_a_container_whose_supervisor_cannot_start_does_not_live_on_unlisted(own: Corten) -> None:
    directory = own.home / "containers" / "begun"

    def stand_in_the_way() -> None:
        until(directory.is_dir)
        (directory / "supervisor.lock").symlink_to("nowhere/lock")

    way = threading.Thread(target=stand_in_the_way)
    way.start()
    done = own(
        "run", "-d", "--name", "begun", "--restart", "always", "runner", "--", "sleep", "1000", code=None
    )
    way.join()
    assert done.returncode != 0
    assert own("ps", "--all", "--quiet").stdout == ""
    assert not directory.exists()
    home = os.fsencode(own.home)
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if home in _read(path)]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_name_that_is_refused_leaves_no_lock(own: Corten) -> None:
    directory = ended(own, "taken")
    store = Store(own.home)
    image = store.images.get("runner", Platform.host())
    with pytest.raises(UsageError, match="exists, and has ended"):
        Made(image, RunOptions(name="taken"), store, Life())
    assert not is_locked(lock_path(directory))


def test_a_name_that_nobody_asked_for_is_never_one_that_is_there(own: Corten) -> None:
    """Also where that container has ended, and keeps its name to be looked at."""
    directory = ended(own, "taken")
    store = Store(own.home)
    image = store.images.get("runner", Platform.host())
    names = iter(["taken", "taken", "free"])
    made = Made(image, RunOptions(), store, Life(), propose=lambda: next(names))
    assert made.name == "free"
    made.remove()
    made.release()
    assert not is_locked(lock_path(directory))
    assert records.read(directory) is not None


def test_a_container_that_is_removed_while_it_is_started_again_is_not_made_anew(own: Corten) -> None:
    directory = ended(own, "going")
    store = Store(own.home)
    image, record = store.images.get("runner", Platform.host()), records.read(directory)
    control.remove(store, "going", force=False)
    with pytest.raises(RuntimeFailure, match="there is no container 'going' any more"):
        Made(image, RunOptions(), store, Life(), again=record)
    assert not directory.exists()


def test_a_start_waits_for_prune(own: Corten) -> None:
    """Else the layers could go between the moment when they are found and the moment when the container is known."""
    process = None
    with Store(own.home).lock("store"):
        process = subprocess.Popen(
            own.command("run", "runner", "--", "echo", "ran"),
            env=own.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert "waiting for 'corten prune' to end" in process.stderr.readline()
        assert list((own.home / "containers").glob("*/state.json")) == []
    assert process.communicate(timeout=60)[0] == "ran\n"


def test_copies_out_of_one_ended_container_wait_for_each_other(own: Corten, tmp_path: Path) -> None:
    ended(own, "source")
    copies = [
        subprocess.Popen(
            own.command("cp", "source:/usr/lib/python3.11/json", tmp_path / str(number)),
            env=own.variables(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    assert [(copy.communicate(timeout=60)[1], copy.returncode) for copy in copies] == [("", 0)] * 4
    assert [(tmp_path / str(number) / "decoder.py").is_file() for number in range(4)] == [True] * 4
    assert not (own.home / "containers/source/copying").exists()


def test_an_engine_that_misses_something_else_does_not_count_as_working(own: Corten, tmp_path: Path) -> None:
    engine = tmp_path / "crun"
    engine.write_text("#!/bin/sh\necho 'mount `/proc`: No such file or directory' >&2\nexit 1\n")
    engine.chmod(0o755)
    done = own.at(own.home, CORTEN_ENGINE=str(engine))("run", "runner", "--", "true", code=125)
    assert "no engine works on this machine" in done.stderr
    assert "No such file or directory" in done.stderr


def test_copies_reach_the_volumes_of_an_ended_container(own: Corten, tmp_path: Path) -> None:
    """What a container kept in a volume or wrote to a folder of this machine is where its programs saw it."""
    (tmp_path / "shared").mkdir(mode=0o777)
    (tmp_path / "shared").chmod(0o777)
    own(
        *("run", "-d", "--name", "ended", "-v", "kept:/data", "-v", f"{tmp_path}/shared:/shared:ro"),
        *("runner", "--", "sh", "-c", "echo model > /data/model"),
    )
    own("wait", "ended")
    own("cp", "ended:/data/model", tmp_path / "model")
    assert (tmp_path / "model").read_text() == "model\n"
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config").write_text("new\n")
    own("cp", f"{tmp_path}/new/.", "ended:/data")
    assert (own.home / "volumes" / "kept" / "data" / "config").read_text() == "new\n"
    refused = own("cp", tmp_path / "model", "ended:/shared/", code=1).stderr
    assert "read-only" in refused
    assert os.listdir(tmp_path / "shared") == []
    assert "there is no folder '/none/'" in own("cp", tmp_path / "model", "ended:/none/", code=2).stderr


def test_a_store_below_a_folder_with_any_letters_runs_detached_containers(
    own: Corten, tmp_path: Path
) -> None:
    (tmp_path / "größe 模型").mkdir()
    own.home.rename(tmp_path / "größe 模型" / "store")
    there = own.at(tmp_path / "größe 模型" / "store", LC_ALL="C")
    there("run", "-d", "--name", "letters", "runner", "--", "echo", "printed")
    assert there("wait", "letters").stdout == "0\n"
    assert there("logs", "letters").stdout == "printed\n"


def test_containers_of_one_name_in_two_stores_have_groups_of_their_own(own: Corten, tmp_path: Path) -> None:
    """The limit of the one was that of the other, and the end of the one took the other's group away."""
    subprocess.run(["cp", "-al", own.home, tmp_path / "other"], check=True)
    other = own.at(tmp_path / "other")
    groups = []
    for each in (own, other):
        each("run", "-d", "--name", "twin", "--pids-limit", "50", "runner", "--", "sleep", "100")
        first = first_process(inside(each.home / "containers" / "twin") or 0)
        groups.append(Path(f"/proc/{first}/cgroup").read_text())
    try:
        assert "twin" in groups[0]
        assert groups[0] != groups[1]
    finally:
        own("rm", "--force", "twin")
        other("rm", "--force", "twin")


def test_a_group_whose_processes_are_just_ending_is_removed() -> None:
    """Right after a kill the kernel still counts the processes: the group was left for ever."""
    places = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/pids")]
    top = next(
        place / "corten"
        for place in places
        if (place / "cgroup.procs").exists() and os.access(place, os.W_OK)
    )
    below = top / "just-ending" / "limited"
    below.mkdir(parents=True)
    process = subprocess.Popen(["sleep", "100"])
    (below / "cgroup.procs").write_text(str(process.pid))
    timer = threading.Timer(0.05, process.kill)
    timer.start()
    cgroups.remove("just-ending")
    timer.join()
    process.wait()
    assert not (top / "just-ending").exists()


def test_kill_ends_what_is_always_restarted(own: Corten) -> None:
    """As docker has it: whoever kills it has stopped it."""
    script = "trap 'exit 3' HUP; while :; do sleep 0.05; done"
    own("run", "-d", "--name", "again", "--restart", "always", "runner", "--", "sh", "-c", script)
    own("kill", "again")
    assert own("wait", "again").stdout == "137\n"
    assert '"exited"' in own("ps", "--all", "--json").stdout
    own("restart", "again")

    def came_back() -> bool:
        own("kill", "--signal", "HUP", "again", code=None)
        return '"restarts": 1' in own("inspect", "again").stdout

    until(came_back)
    own("rm", "--force", "again")


def test_kill_returns_when_all_of_the_container_has_ended(own: Corten) -> None:
    """A program that was killed must not accept a connection of somebody who comes after `corten kill`."""
    own("run", "-d", "--name", "slow", "runner", "--", "sleep", "100")
    monitor = inside(own.home / "containers" / "slow")
    assert monitor is not None
    os.kill(monitor, signal.SIGSTOP)
    killing = subprocess.Popen(own.command("kill", "slow"), env=own.variables(), stdout=subprocess.PIPE)
    try:
        until(lambda: first_process(monitor) is None or state(first_process(monitor)) == "Z")
        with pytest.raises(subprocess.TimeoutExpired):
            killing.wait(0.5)
    finally:
        os.kill(monitor, signal.SIGCONT)
    assert killing.communicate()[0] == b"slow\n"
    assert state(monitor) in ("", "Z")
    own("rm", "slow")


def state(pid: int | None) -> str:
    """The state of a process by /proc; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_an_unknown_name_keeps_no_other_container_from_ending(own: Corten) -> None:
    for name in ("one", "two", "three"):
        own("run", "-d", "--name", name, "runner", "--", "sleep", "100")
    stopped = own("stop", "--time", "0", "none", "one", code=1)
    assert stopped.stdout == "one\n"
    assert "there is no container 'none'" in stopped.stderr
    assert own("kill", "none", "two", code=1).stdout == "two\n"
    assert own("restart", "none", "two", code=1).stdout == "two\n"
    removed = own("rm", "--force", "one", "none", "two", "three", code=1)
    assert removed.stdout == "one\ntwo\nthree\n"
    assert own("ps", "--all", "--quiet").stdout == ""


def test_a_plain_user_writes_its_own_folder_under_its_own_number(plain_runner: Plain) -> None:
    """`-u $(id -u):$(id -g)`, as every README has it: what is written belongs to who asked for it."""
    user = plain_runner.user
    folder = plain_runner.home / "results"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, user.pw_uid, user.pw_gid)
    for number, text in enumerate((f"{user.pw_uid}:{user.pw_gid}", f"{user.pw_uid}")):
        done = plain_runner(
            "run", "-u", text, "-v", f"{folder}:/out", "runner", "--", "touch", f"/out/{number}"
        )
        assert done.returncode == 0, done.stderr
        assert ("the same as you" in done.stderr) is not has_subordinate_ids(plain_runner)
        assert (folder / str(number)).stat().st_uid == user.pw_uid


def has_subordinate_ids(plain: Plain) -> bool:
    return plain.user.pw_name == "corten-plain"


def test_a_plain_user_is_seen_by_its_own_number_inside(plain_runners: Callable[[str], Plain]) -> None:
    """podman's keep-id: by `--userns`, and by `-u` with the caller's number."""
    plain = plain_runners("subuids")
    user = plain.user
    own = f"{user.pw_uid}:{user.pw_gid}"
    folder = plain.home / "kept"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, user.pw_uid, user.pw_gid)
    look = "id -u; id -g; stat -c %u:%g /out; touch /out/$0; stat -c %u:%g /out/$0; grep CapEff /proc/self/status"
    asked = (("-u", own), ("--userns", "keep-id"), ("--userns=keep-id", "-u", own))
    for options, network in zip(asked, ("none", "host", "private"), strict=True):
        script = ("runner", "--", "sh", "-c", look, network)
        done = plain("run", *options, "--network", network, "-v", f"{folder}:/out", *script)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [
            *(f"{user.pw_uid}", f"{user.pw_gid}", own, own),
            *("CapEff:", "0000000000000000"),
        ]
        made = (folder / network).stat()
        assert (made.st_uid, made.st_gid) == (user.pw_uid, user.pw_gid)
    # Another number for the caller; and the others are subordinate IDs.
    show = ("-v", f"{folder}:/out", "runner", "--", "sh", "-c", "id -u; id -g; stat -c %u:%g /out")
    done = plain("run", "--userns", "keep-id:uid=200,gid=210", *show)
    assert done.stdout.split() == ["200", "210", "200:210"], done.stderr
    done = plain("run", "--userns", "keep-id", "-u", "0", *show)
    assert done.stdout.split() == ["0", "0", own], done.stderr


def test_a_number_that_is_kept_holds_for_volumes_exec_and_a_restart(
    plain_runners: Callable[[str], Plain],
) -> None:
    plain = plain_runners("subuids")
    own = str(plain.user.pw_uid)
    secret = plain.home / "kept-secret"
    secret.write_text("token")
    os.chown(secret, plain.user.pw_uid, plain.user.pw_gid)
    script = "cat /run/secrets/t; touch /data/x; sleep 1000"
    mounted = ("-v", "kept-data:/data", "--secret", f"t={secret}")
    run = (
        "run",
        "-d",
        "--name",
        "keeps",
        "--userns",
        "keep-id",
        *mounted,
        "runner",
        "--",
        "sh",
        "-c",
        script,
    )
    try:
        for arguments in (run, ("restart", "--time", "0", "keeps")):
            done = plain(*arguments)
            assert done.returncode == 0, done.stderr
            done = plain(
                "exec",
                "keeps",
                "--",
                "sh",
                "-c",
                "while [ ! -e /data/x ]; do :; done; id -u; stat -c %u /data /data/x",
            )
            assert done.stdout.split() == [own] * 3, done.stderr
        assert plain("logs", "keeps").stdout == "tokentoken"
        # What is copied is there under the same numbers while it runs.
        assert plain("cp", "keeps:/data/x", "copied").returncode == 0
    finally:
        plain("rm", "--force", "keeps")
        plain("volume", "rm", "kept-data")


def test_a_number_cannot_be_kept_without_subordinate_ids_or_by_root(
    plain_runners: Callable[[str], Plain], own: Corten
) -> None:
    done = plain_runners("none")("run", "--userns", "keep-id", "runner", "--", "true")
    assert done.returncode == 125
    assert "needs subordinate IDs" in done.stderr
    assert "usermod --add-subuids" in done.stderr
    for plain in (plain_runners("none"), plain_runners("subuids")):
        for text in ("host", "private"):
            done = plain("run", "--userns", text, "runner", "--", "true")
            assert done.returncode == 0, done.stderr
    assert "is for plain users" in own("run", "--userns", "keep-id", "runner", "--", "true", code=2).stderr
    assert "is for plain users" in own("run", "--userns=private", "runner", "--", "true", code=2).stderr
    own("run", "--userns=host", "runner", "--", "true")
    for text in ("auto", "nomap", "keep-id:uid=x", "keep-id:uid=9999999999"):
        assert f"--userns {text}" in own("run", "--userns", text, "runner", "--", "true", code=2).stderr


def test_another_user_has_its_own_home_and_name(own: Corten) -> None:
    show = ("runner", "--", "sh", "-c", "echo $HOME $USER $HF_HOME; touch $HOME/x")
    assert own("run", *show).stdout.startswith("/home/nonroot nonroot /home/nonroot/.cache")
    assert own("run", "-u", "www-data", *show).stdout.startswith("/var/www www-data /var/www/.cache")
    # Nobody's number has no home but the image's, which is writable.
    assert own("run", "-u", "4321:4321", *show).stdout.startswith("/home/nonroot user4321 /home/nonroot")
    assert own("run", "-u", "www-data", "-e", "HOME=/tmp", *show).stdout.startswith("/tmp www-data")


def test_what_cannot_be_executed_is_126_and_what_is_not_there_127(own: Corten, tmp_path: Path) -> None:
    """Also in a folder that is mounted, and `exec` blames the folder where that is what is missing."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "text").write_text("no program\n")
    mounted = ("-v", f"{tmp_path}/tools:/tools:ro", "runner", "--")
    assert "is not an executable file" in own("run", *mounted, "/tools/text", code=126).stderr
    assert "no program '/tools/none'" in own("run", *mounted, "/tools/none", code=127).stderr
    assert "is not an executable file" in own("run", "runner", "--", "/etc/hostname", code=126).stderr
    own("run", "-d", "--name", "up", "runner", "--", "sleep", "100")
    refused = own("exec", "-w", "/nope", "up", "--", "ls", code=127).stderr
    assert "the container has no folder '/nope'" in refused
    assert "program 'ls'" not in refused
    own("rm", "--force", "up")


def test_stop_works_on_a_full_disk(own: Corten, tmp_path: Path) -> None:
    """The mark that keeps others from starting it again cannot be written, and nobody would."""
    directory = ended(own, "full")
    record = records.read(directory)
    assert record is not None
    place = tmp_path / "full"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "tmpfs", place], check=True)
    try:
        control.mark_stopped(place, record)
        with pytest.raises(OSError, match="No space"):
            control.mark_stopped(place, replace(record, restart=records.Restart("always")))
    finally:
        subprocess.run(["umount", place], check=True)


def test_exec_names_the_full_disk_and_not_the_container(own: Corten) -> None:
    place = own.home / "containers"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", place], check=True)
    try:
        own("run", "-d", "--name", "full", "runner", "--", "sleep", "100")
        filled = subprocess.run(
            ["dd", "if=/dev/zero", f"of={place}/fill", "bs=4k"], capture_output=True, check=False
        )
        assert b"No space" in filled.stderr
        said = own("exec", "full", "--", "true", code=None)
        assert said.returncode != 0
        assert f"the disk of '{own.home}' is full" in said.stderr
        (place / "fill").unlink()
        own("exec", "full", "--", "true")
        own("rm", "--force", "full")
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_messages_say_how_many_names_they_leave_out(own: Corten) -> None:
    for number in range(10):
        own("tag", "runner", f"runner-{number}")
    assert "runner-7:latest and 3 more" in own("run", "none-such", code=1).stderr
    assert "there are no containers" in own("ps", "--all").stderr


def test_a_secret_is_a_file_of_the_containers_user_alone(own: Corten, plain_runner: Plain) -> None:
    """It is in no variable and in none of the records, and each start reads it anew."""
    script = "stat -c '%a %u' /run/secrets/token; id -u; cat /run/secrets/token; touch /run/secrets/token"
    secret = own.home.parent / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    done = own("run", "--secret", f"token={secret}", "runner", "--", "sh", "-c", script, code=1)
    assert done.stdout == "400 65532\n65532\nhunter2\n"
    assert "cannot touch" in done.stderr
    own(
        "run",
        "-d",
        "--name",
        "keeps",
        "--secret",
        f"token={secret}",
        "runner",
        "--",
        "cat",
        "/run/secrets/token",
    )
    own("wait", "keeps")
    files = [own.home / "containers/keeps" / name for name in ("state.json", "bundle/config.json")]
    assert all(b"hunter2" not in file.read_bytes() for file in files)
    secret.write_text("hunter3\n")
    own("restart", "keeps")
    own("wait", "keeps")
    assert own("logs", "keeps").stdout == "hunter2\nhunter3\n"
    plain = plain_runner.home / "plain-secret"
    plain.write_text("plain\n")
    os.chown(plain, plain_runner.user.pw_uid, plain_runner.user.pw_gid)
    plain.chmod(0o600)
    found = plain_runner("run", "--secret", f"token={plain}", "runner", "--", "cat", "/run/secrets/token")
    assert (found.returncode, found.stdout) == (0, "plain\n"), found.stderr


def test_a_log_has_as_many_files_as_max_file_says_and_is_read_whole(own: Corten, tmp_path: Path) -> None:
    """Under conmon, which itself keeps none but the one that it writes to. Each step fills most of a file."""
    steps = tmp_path / "steps"
    steps.mkdir()
    script = (
        "import os, time\n"
        "for step in range(7):\n"
        "    for line in range(500): print(step * 500 + line, 'x' * 60, flush=True)\n"
        "    while not os.path.exists(f'/steps/{step}'): time.sleep(0.01)\n"
    )
    options = ("--log-opt", "max-size=64k", "--log-opt", "max-file=4", "-v", f"{steps}:/steps:ro")
    own("run", "-d", "--name", "talks", *options, "runner", "--", "python", "-c", script)
    folder = own.home / "containers" / "talks"

    def is_kept(step: int) -> bool:
        """Whether what is printed now has reached the log, and what began anew is kept."""
        printed = b"".join(entry.text for entry in entries(folder / "output.log", tail=1))
        if not printed.startswith(b"%d " % (step * 500 + 499)):
            return False
        return (folder / "output.log").samefile(folder / "kept/now")

    for step in range(7):
        until(lambda step=step: is_kept(step))  # type: ignore[misc]
        (steps / str(step)).touch()
    own("wait", "talks")
    found = [int(line.split()[0]) for line in own("logs", "talks").stdout.splitlines()]
    assert found == list(range(3500 - len(found), 3500))
    assert 1500 < len(found) < 2800
    assert sorted(path.name for path in folder.glob("output.log.[0-9]*")) == [
        f"output.log.{n}" for n in (1, 2, 3)
    ]
    assert own("logs", "--tail", "1", "talks").stdout.startswith("3499 ")
    refused = own("run", "-d", "--log-opt", "max-file=0", "runner", "--", "true", code=2).stderr
    assert "is not a number of log files" in refused
    told = own("run", "-d", "--rm", "--log-opt", "max-file=1", "runner", "--", "true").stderr
    assert "keeps one former log all the same" in told
    own("rm", "--force", "talks")
