"""Whatever a project writes, nothing of it is built, cloned or run when its packages are resolved; and uv reaches nothing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import CortenError, ResolutionError
from corten.packages.indexes import read_indexes
from corten.packages.uv_confinement import confinement, interpreter
from corten.sandbox.process import run
from support.confined import ROOT_WITHOUT
from support.index import publish
from support.resolving import Desk
from support.web import serving
from support.wheels import make_wheel


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """The user's own index, and a project with a package that leaves a mark when it is built."""
    with serving() as web:
        made = Desk(tmp_path, web)
        made.environment["UV_DEFAULT_INDEX"] = made.index
        setup = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\nfrom setuptools import setup\nsetup(**{{'name': 'evil', 'version': '1'}})\n"
        made.write("evil/setup.py", setup)
        archive = tmp_path / "project/links/evil-1.0.tar.gz"
        archive.parent.mkdir()
        with tarfile.open(archive, "w:gz") as tar:
            for name, text in (
                ("evil-1.0/setup.py", setup),
                ("evil-1.0/PKG-INFO", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"),
            ):
                entry = tarfile.TarInfo(name)
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
        subprocess.run(["git", "init", "-q", made.folder / "evil"], check=True)
        yield made


COMMAND = '[tool.corten]\ncommand = ["python", "x.py"]\nrequirements = "pyproject.toml"\n'
PROJECT = '[project]\nname = "demo"\nversion = "1"\ndependencies = {}\n' + COMMAND
TRICKS = {
    "a comment that ends with a backslash": {"requirements.txt": "alpha\n# note \\\n-e ./evil\n"},
    "in a constraint": {"requirements.txt": "alpha\n-c c.txt\n", "c.txt": "# note \\\n-e ./evil\n"},
    "in an included file": {"requirements.txt": "alpha\n-r more.txt\n", "more.txt": "evil @ file://FOLDER/evil\n"},
    "a separator of lines": {"requirements.txt": "alpha \u2028-e ./evil\n"},
    "a path": {"requirements.txt": "./evil\n"},
    "an archive": {"requirements.txt": "links/evil-1.0.tar.gz\n"},
    "an archive among links": {"requirements.txt": "--find-links links\nevil\n"},
    "no binaries": {"requirements.txt": "--find-links links\n--no-binary evil\nevil\n"},
    "version control": {"requirements.txt": "evil @ git+file://FOLDER/evil\n"},
    "two lines in one": {"pyproject.toml": PROJECT.format('["alpha\\n-e ./evil"]')},
    "a marker of two lines": {"pyproject.toml": PROJECT.format('["alpha ; os_name != \'\\n-e ./evil\\n\'"]')},
    "a source": {"pyproject.toml": PROJECT.format('["evil"]') + '[tool.uv.sources]\nevil = { path = "evil", editable = true }\n'},
    "a source that is an address": {
        "pyproject.toml": PROJECT.format('["evil"]') + '[tool.uv.sources]\nevil = { url = "file://FOLDER/links/evil-1.0.tar.gz" }\n'
    },
    "an override": {"pyproject.toml": PROJECT.format('["alpha"]') + '[tool.uv]\noverride-dependencies = ["alpha @ file://FOLDER/evil"]\n'},
    "an override in uv.toml": {"requirements.txt": "alpha\n", "uv.toml": 'override-dependencies = ["alpha @ file://FOLDER/evil"]\n'},
    "a constraint of uv's": {"requirements.txt": "alpha\n", "uv.toml": 'constraint-dependencies = ["alpha @ git+file://FOLDER/evil"]\n'},
    "metadata": {
        "requirements.txt": "alpha\n",
        "uv.toml": '[[dependency-metadata]]\nname = "alpha"\nversion = "1.0"\nrequires-dist = ["evil @ file://FOLDER/evil"]\n',
    },
    "a wheel that needs a folder": {"requirements.txt": "./links/gamma-1.0-py3-none-any.whl\n"},
    "a wheel that needs a clone": {"requirements.txt": "./links/delta-1.0-py3-none-any.whl\n"},
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_nothing_of_a_project_is_built(desk: Desk, trick: str) -> None:
    links = desk.folder / "links"
    make_wheel(links, "gamma", requires=(f"evil @ file://{desk.folder}/evil",))
    make_wheel(links, "delta", requires=(f"evil @ git+file://{desk.folder}/evil",))
    for file, text in TRICKS[trick].items():
        desk.write(file, text.replace("FOLDER", str(desk.folder)))
    with pytest.raises(CortenError) as caught:
        desk.lock()
    assert not (desk.root / "ran").exists()
    assert caught.value.message


@pytest.mark.parametrize("line", ["./evil", "-e ./evil", "evil @ file://FOLDER/evil"])
def test_a_setup_py_that_can_be_read_is_not_run(desk: Desk, line: str) -> None:
    path = desk.folder / "evil/setup.py"
    path.write_text(
        path.read_text().replace(
            "**{'name': 'evil', 'version': '1'}", "name='evil', install_requires=['alpha']"
        )
    )
    desk.write("requirements.txt", line.replace("FOLDER", str(desk.folder)) + "\n")
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]
    assert not (desk.root / "ran").exists()


def test_a_line_that_pip_takes_for_a_comment_is_one(desk: Desk) -> None:
    """uv joins lines in another way, and built the folder: it sees `alpha` alone now."""
    desk.write("requirements.txt", f"alpha  # note \\\n-e {desk.folder}/evil\n")
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]
    assert not (desk.root / "ran").exists()


def test_dynamic_dependencies_are_not_asked_of_a_build(desk: Desk) -> None:
    desk.write(
        "pyproject.toml",
        '[project]\nname = "demo"\nversion = "1"\ndynamic = ["optional-dependencies"]\ndependencies = ["alpha"]\n'
        + COMMAND,
    )
    (desk.folder / "setup.py").write_text((desk.folder / "evil/setup.py").read_text())
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]
    assert not (desk.root / "ran").exists()


def test_uv_gets_no_file_of_the_project(desk: Desk) -> None:
    """Every command line of uv names files in the store alone, and none of them is a link."""
    seen: set[str] = set()

    def watch(handler: object, before: int) -> bool:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes().decode().split("\0")
            except OSError:
                continue
            if "compile" in words and str(desk.store.root) in " ".join(words):
                seen.update(word.rpartition("=")[2] for word in words if "/" in word)
        return False

    desk.good.misbehave["/simple/alpha/"] = watch
    desk.write("requirements.txt", "alpha\n-c limits.txt\n")
    desk.write("limits.txt", "alpha<2\n")
    assert desk.lock()
    inside = {word for word in seen if not word.endswith("/uv") and word != interpreter()}
    assert inside
    assert all(word.startswith(f"{desk.store.root}/tmp/") for word in inside), inside


ATTEMPTS = """
import json, os, socket, subprocess, sys
secret, project, git, port = sys.argv[1:]
found = {}
for name, path in (("secret", secret), ("project", project), ("git", git), ("shadow", "/etc/shadow"), ("keys", "/etc/ssl/private")):
    try:
        found[name] = bool(os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1))
    except OSError:
        found[name] = False
try:
    subprocess.run(["git", "--version"]); found["program"] = True
except OSError:
    found["program"] = False
try:
    open(sys.base_prefix + "/written", "w"); found["written"] = True
except OSError:
    found["written"] = False
found["network"] = socket.create_connection(("127.0.0.1", int(port)), 5) is not None
found["variables"] = sorted(os.environ)
print(json.dumps(found))
"""


def test_uv_reaches_the_network_and_nothing_else(desk: Desk) -> None:
    """An interpreter in uv's place tries it."""
    secret = desk.home / "secret"
    secret.write_text("secret")
    work, cache = desk.root / "work", desk.root / "cache"
    work.mkdir(), cache.mkdir()
    environment = {"PATH": str(work), "HOME": str(work)}
    git = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    arguments = (str(secret), str(desk.folder), git, desk.good.host.rpartition(":")[2])
    confined = confinement(
        [interpreter(), "-I", "-S", "-c", ATTEMPTS, *arguments],
        environment,
        directory=work,
        cache=cache,
        places=[],
        working=work,
        seconds=60,
    )
    done = run(confined)
    assert done.code == 0, done.errors
    found = json.loads(done.output)
    assert set(found.pop("variables")) <= {"HOME", "LC_CTYPE", "PATH"}
    assert found.pop("network")
    assert not any(found.values()), found


def test_the_environment_of_uv_is_an_allow_list(tmp_path: Path) -> None:
    secrets = {
        "UV_INDEX_CORP_PASSWORD": "hush",
        "NETRC": "/home/me/.netrc",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "GIT_SSH_COMMAND": "ssh -i key",
        "SSH_AUTH_SOCK": "/run/agent",
        "UV_PYTHON": "/evil/python",
        "PYTHONPATH": "/evil",
        "LD_PRELOAD": "/evil.so",
        "PATH": "/bin",
        "HOME": str(tmp_path),
    }
    kept = {
        "HTTPS_PROXY": "http://proxy",
        "no_proxy": "corp",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_HTTP_TIMEOUT": "9",
        "PIP_CONFIG_FILE": os.devnull,
    }
    made = read_indexes(None, {**secrets, **kept}).uv_environment()
    assert kept.items() - {("PIP_CONFIG_FILE", os.devnull)} <= made.items()
    assert not [key for key in secrets if made.get(key) == secrets[key]]


WITHOUT = """
import sys
from pathlib import Path
from corten.packages.compatibility import Target
from corten.packages.indexes import read_indexes
from corten.packages.uv import Memory, Request, Uv
from corten.oci.platform import Platform
directory, index = sys.argv[1:]
notes = []
for name in ("one", "two"):
    work = Path(directory, name)
    work.mkdir()
    uv = Uv(read_indexes(None, {"UV_DEFAULT_INDEX": index, "HOME": directory}), work, Path(directory, "cache"), notes.append)
    print(uv.pins(Request(Target(Platform.parse("linux/amd64"), "3.11.2", 36), lines=("alpha",)), Memory()))
print([(note.verbose, note.message.partition(":")[0]) for note in notes])
"""


def test_without_namespaces_uv_runs_without_a_sandbox_and_it_is_said_once(desk: Desk) -> None:
    work = desk.root / "without"
    work.mkdir()
    command = ROOT_WITHOUT.command([sys.executable, "-c", WITHOUT, str(work), desk.index], dict(os.environ))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "{'alpha': '1.0'}",
        "{'alpha': '1.0'}",
        "[(True, 'uv runs without a sandbox')]",
    ], done.stderr


def test_a_lock_cannot_put_lines_before_uv(desk: Desk) -> None:
    """Versions that a lock names are preferences; what is no version is none."""
    from corten.packages.uv import Request, _preferred
    from support.resolving import BOOKWORM

    request = Request(
        BOOKWORM, preferences={"alpha": "1.0", "beta": "1.0\n-e ./evil", "gamma\n-r": "1", "d": '1"'}
    )
    assert _preferred(request) == [("alpha", "1.0")]


def test_an_editable_in_uv_lock_is_refused(desk: Desk) -> None:
    from corten.lock.uvlock import locked_packages
    from corten.packages.wheels import _chosen
    from support.resolving import BOOKWORM

    document = {
        "version": 1,
        "package": [
            {"name": "demo", "source": {"virtual": "."}, "dependencies": [{"name": "evil"}]},
            {"name": "evil", "version": "1", "source": {"editable": "evil"}},
        ],
    }
    (found,) = locked_packages(document, "demo", BOOKWORM, (), (), desk.folder)
    with pytest.raises(ResolutionError, match="'evil' is source"):
        _chosen(found, BOOKWORM)


def test_sources_that_are_indexes_and_wheels_still_work(desk: Desk) -> None:
    make_wheel(desk.root / "own", "beta", "2.0")
    own = publish(desk.good, desk.root / "own", root="/own")
    make_wheel(desk.folder / "links", "gamma", "3.0")
    desk.write(
        "pyproject.toml",
        PROJECT.format('["alpha", "beta", "gamma"]')
        + '[tool.uv.sources]\nbeta = [{ index = "own", marker = "sys_platform == \'linux\'" }]\n'
        + 'gamma = { path = "links/gamma-3.0-py3-none-any.whl" }\n'
        + f'[[tool.uv.index]]\nname = "own"\nurl = "{own}"\nexplicit = true\n',
    )
    assert desk.lock() == [f"{name}-py3-none-any.whl" for name in ("alpha-1.0", "beta-2.0", "gamma-3.0")]
