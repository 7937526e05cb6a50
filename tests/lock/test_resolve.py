"""Project → Lock with the real uv and a real signed Debian archive, both served by the test."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from uv import find_uv_bin

from corten.errors import CortenError, LockOutdated, ProjectError, ResolutionError
from corten.events import TaskFinished
from corten.lock.bundle import download, files_of
from corten.lock.diff import changes
from corten.lock.format import encode
from corten.lock.inputs import inputs_digest, open_imports
from corten.lock.model import DebianBase, ImageBase, Lock
from corten.lock.resolve import ResolvedImage, fitting_compilers, lasting_name
from corten.lock.serving import serving_digest
from corten.lock.wanted import fetching_indexes
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.fetch import fetch_wheels
from corten.project.load import load
from corten.project.model import Implied, Project
from corten.store.store import Store
from support.commits import commit
from support.index import publish
from support.lock_world import ARCHITECTURES, BASE, HERE, OTHER, PYTHON, World, said
from support.locks import sample_deb, sample_lock
from support.wheels import make_wheel


def versions(lock: Lock, platform: str = "linux/amd64") -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.for_platform(Platform.parse(platform)).wheels}


def test_a_whole_project(world: World) -> None:
    world.write("requirements.txt", "alpha\n")
    world.write("predict.py", "def predict(x: float) -> float:\n    return x\n")
    world.write(
        "pyproject.toml", '[tool.corten]\nsystem = ["libgl1"]\nplatforms = ["linux/amd64", "linux/arm64"]\n'
    )
    project = load(world.folder)
    lock = world.lock(project)
    assert [str(part.platform) for part in lock.platforms] == ["linux/amd64", "linux/arm64"]
    for part in lock.platforms:
        assert isinstance(part.base, DebianBase)
        assert part.base.python == "3.11.2"
        assert {deb.name for deb in part.base.debs} == {*BASE, *PYTHON}
        assert {deb.architecture for deb in part.base.debs} == {part.platform.architecture}
        assert [deb.name for deb in part.system] == ["libglx0", "libgl1"]
        assert [wheel.file for wheel in part.wheels] == ["alpha-1.0-py3-none-any.whl"]
        assert [wheel.file for wheel in part.serving] == ["granian-2.8.0-py3-none-any.whl"]
    assert lock.project == inputs_digest(project)
    assert lock.serving == serving_digest()
    assert lock.compilers == {}
    assert "Python packages for linux/amd64" in {
        item.name for item in world.events if isinstance(item, TaskFinished)
    }


def test_a_lock_for_this_machine_asks_for_no_index_of_another_architecture(world: World) -> None:
    world.write("main.py", "print('hello')\n")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "main.py"]\n')
    project = load(world.folder)
    here = replace(project, platforms=(Platform.host(),))
    assert world.lock(here).compilers == {}
    assert [path for path in world.asked if f"binary-{HERE}" in path]
    assert not [path for path in world.asked if f"binary-{OTHER}" in path]


def test_a_lock_for_another_platform_has_the_compiler_of_the_machines_that_made_it(world: World) -> None:
    world.write("main.py", "print('hello')\n")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "main.py"]\n')
    project = load(world.folder)
    other = world.lock(replace(project, platforms=(Platform("linux", OTHER),)))
    assert set(other.compilers) == {HERE}
    assert {deb.name for deb in other.compilers[HERE]} == {"python3.11-minimal", "libpython3.11-minimal"}
    # One that a machine of the other architecture has added stays until everything is chosen again.
    here = replace(project, platforms=(Platform.host(),))
    base = other.platforms[0].base
    assert isinstance(base, DebianBase)
    theirs = replace(world.lock(here), compilers={OTHER: base.debs})
    assert world.lock(here, theirs).compilers == theirs.compilers
    assert world.lock(here, theirs, upgrade=True).compilers == {}


def test_a_compiler_that_no_longer_fits_the_base_is_dropped(world: World) -> None:
    """A base with a newer Python, or in place of it another suite or an image: a build elsewhere would refuse the old compiler."""
    world.write("main.py", "print('hello')\n")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "main.py"]\n')
    here = replace(load(world.folder), platforms=(Platform.host(),))
    cross = replace(here, platforms=(Platform("linux", OTHER),))
    old = world.lock(cross)
    theirs = replace(world.lock(here), compilers={OTHER: old.platforms[0].base.debs})  # type: ignore[union-attr]
    for architecture in ARCHITECTURES:
        for name in PYTHON:
            needs = {} if name.startswith("lib") else {"depends": "libpython3.11-minimal"}
            world.archive.add(name, "3.11.4-1", architecture=architecture, **needs)
    world.archive.publish()
    fresh = world.lock(here, theirs, upgrade_packages=["python3.11-minimal"])
    assert fresh.platforms[0].base.python == "3.11.4"
    assert fresh.compilers == {}
    # This machine's own is chosen anew.
    fresh = world.lock(cross, old, upgrade_packages=["python3.11-minimal"])
    assert [deb.version for deb in fresh.compilers[HERE]] == ["3.11.4-1", "3.11.4-1"]


def test_compilers_are_kept_for_architectures_that_are_no_platform() -> None:
    lock = sample_lock(platforms=1)
    python = replace(sample_deb(0, "arm64", "3.11.2-6+deb12u5"), name="python3.11-minimal")
    lock = replace(lock, compilers={"arm64": (python,), "amd64": (python,)})
    assert fitting_compilers(lock, lock.platforms) == {"arm64": (python,)}
    assert fitting_compilers(lock, sample_lock().platforms) == {}
    (part,) = lock.platforms
    newer = replace(part, base=replace(part.base, python="3.11.21"))
    assert fitting_compilers(lock, (newer,)) == {}
    assert fitting_compilers(replace(lock, compilers={"arm64": (sample_deb(0),)}), lock.platforms) == {}


def test_without_a_predictor_there_is_no_server(world: World) -> None:
    world.write("requirements.txt", "alpha\n")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')
    lock = world.lock()
    assert lock.serving is None
    assert lock.platforms[0].serving == ()


def test_what_is_locked_stays_until_an_upgrade(world: World) -> None:
    world.write("requirements.txt", "alpha\nbeta\n")
    world.write("pyproject.toml", '[tool.corten]\nsystem = ["libgl1"]\ncommand = ["python", "x.py"]\n')
    first = world.lock()
    world.make("alpha", "2.0"), world.make("beta", "2.0"), world.make("gamma")
    world.archive.add("dash", "2.0")
    world.archive.add("libglx0", "1.7")
    world.archive.publish()
    world.mirror = "http://127.0.0.1:9"  # nothing of Debian is even asked for
    assert world.lock(previous=first) == first
    world.write("requirements.txt", "alpha\nbeta\ngamma\n")
    second = world.lock(previous=first)
    assert [str(change) for change in changes(first, second)] == ["added gamma 1.0"]
    third = world.lock(previous=second, upgrade_packages=["Alpha"])
    assert versions(third) == {"alpha": "2.0", "beta": "1.0", "gamma": "1.0"}
    assert world.fails(ProjectError, previous=third, upgrade_packages=["alfa"]).message == (
        "there is no package 'alfa' in the lock to upgrade"
    )


def test_an_upgrade_moves_everything(world: World) -> None:
    world.write("requirements.txt", "alpha\nbeta\n")
    world.write("pyproject.toml", '[tool.corten]\nsystem = ["libgl1"]\ncommand = ["python", "x.py"]\n')
    first = world.lock()
    world.make("alpha", "2.0")
    world.archive.add("dash", "2.0")
    world.archive.add("libglx0", "1.7")
    world.archive.publish()
    upgraded = world.lock(previous=first, upgrade=True)
    assert {str(change) for change in changes(first, upgraded)} >= {
        "updated alpha 1.0 → 2.0",
        "updated dash (base) 1.0-1 → 2.0",
        "updated libglx0 (system) 1.6 → 1.7",
    }
    assert "updated dash (base) 1.0-1 → 2.0" in map(
        str, changes(first, world.lock(previous=first, upgrade_packages=["dash"]))
    )


def test_system_packages_follow_the_project(world: World) -> None:
    world.write("requirements.txt", "alpha\n")
    settings = '[tool.corten]\ncommand = ["python", "x.py"]\n'
    world.write("pyproject.toml", settings)
    first = world.lock()
    world.write("pyproject.toml", settings + 'system = ["libglx0"]\n')
    second = world.lock(previous=first)
    assert [deb.name for deb in second.platforms[0].system] == ["libglx0"]
    assert second.platforms[0].base == first.platforms[0].base
    world.write("pyproject.toml", settings)
    assert world.lock(previous=second).platforms[0].system == ()


def test_a_pyproject_with_extras_and_groups(world: World) -> None:
    for name in ("gamma", "delta", "unwanted"):
        world.make(name)
    world.write(
        "pyproject.toml",
        '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["alpha"]\n'
        '[project.optional-dependencies]\nweb = ["gamma", "demo[more]"]\nmore = ["beta"]\nno = ["unwanted"]\n'
        '[dependency-groups]\ntrain = [{include-group = "base"}]\nbase = ["delta"]\ndev = ["unwanted"]\n'
        '[tool.corten]\ncommand = ["python", "x.py"]\nextras = ["web"]\ngroups = ["train"]\n',
    )
    assert set(versions(world.lock())) == {"alpha", "beta", "gamma", "delta"}
    assert {path.name for path in world.folder.iterdir()} == {
        "pyproject.toml"
    }  # nothing was written beside it


def test_a_package_with_an_index_of_its_own(world: World) -> None:
    make_wheel(world.root / "own", "alpha", "1.0+cpu")
    publish(world.web, world.root / "own", root="/own")
    world.write(
        "pyproject.toml",
        '[project]\nname = "demo"\nversion = "1"\ndependencies = ["alpha", "beta"]\n'
        '[tool.uv.sources]\nalpha = { index = "own" }\n'
        f'[[tool.uv.index]]\nname = "own"\nurl = "{world.web.url}/own"\nexplicit = true\n'
        '[tool.corten]\ncommand = ["python", "x.py"]\n',
    )
    first = world.lock()
    assert versions(first) == {"alpha": "1.0+cpu", "beta": "1.0"}
    assert world.lock(previous=replace(first, platforms=()))
    part = replace(first.platforms[0], wheels=first.platforms[0].wheels[1:])
    assert versions(world.lock(previous=replace(first, platforms=(part,)))) == {
        "alpha": "1.0+cpu",
        "beta": "1.0",
    }


def test_requirements_with_hashes(world: World) -> None:
    wheel = make_wheel(world.root / "x", "alpha", "1.0")
    world.write("requirements.txt", f"alpha==1.0 --hash=sha256:{wheel.sha256}\n")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')
    assert versions(world.lock()) == {"alpha": "1.0"}
    world.write("requirements.txt", f"alpha==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(CortenError, match="has a hash that the requirements allow"):
        world.lock()


def test_options_of_requirements_files(world: World) -> None:
    make_wheel(world.folder / "my wheels", "gamma", "3.0")
    publish(world.web, world.pool, root="/other")
    world.environment |= {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "CORTEN_TRUST_INDEX": world.web.host,
    }
    world.write(
        "requirements.txt",
        f"--index-url {world.web.url}/other\n--find-links 'my wheels'\n-r more.txt\n-c limits.txt\nalpha[x] ; os_name == 'posix'\n",
    )
    world.write("more.txt", "gamma\nbeta ; sys_platform == 'win32'\n")
    world.make("alpha", "2.0")
    publish(world.web, world.pool, root="/other")
    world.write("limits.txt", "alpha<2\n")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')
    lock = world.lock()
    assert versions(lock) == {"alpha": "1.0", "gamma": "3.0"}
    # Another machine has no memory of it, and finds the files by what the requirements name.
    indexes = fetching_indexes(load(world.folder), world.environment)
    assert (
        len(fetch_wheels(Store(world.root / "other"), lock.platforms[0].wheels, indexes, world.events.append))
        == 2
    )


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("git+https://h.invalid/a.git", "'a.git' is source"),
        ("a @ git+ssh://git@h.invalid/a@v1", "requirements.txt:1: 'a' is source"),
        ("https://h.invalid/a-1.tar.gz", "'a-1.tar.gz' is source"),
    ],
)
def test_what_is_not_a_wheel_is_refused_before_anything_is_asked(
    world: World, requirement: str, message: str
) -> None:
    world.write("requirements.txt", requirement + "\n")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')
    world.web.seen.clear()
    assert message in world.fails(ResolutionError).message
    assert world.web.seen == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('{ git = "https://h.invalid/alpha" }', "'alpha' is source"),
        ('{ url = "https://h.invalid/alpha-1.tar.gz" }', "'alpha' is source"),
    ],
)
def test_sources_of_uv_that_are_not_wheels(world: World, source: str, message: str) -> None:
    world.write(
        "pyproject.toml",
        '[project]\nname = "demo"\nversion = "1"\ndependencies = ["alpha"]\n'
        f'[tool.uv.sources]\nalpha = {source}\n[tool.corten]\ncommand = ["python", "x.py"]\n',
    )
    assert message in world.fails(ResolutionError).message


class Images:
    """Base images from nowhere: what the lock asks of them is only this."""

    def __init__(self, python: str, glibc: int | None, content: str = "first") -> None:
        self.python, self.glibc, self.content = python, glibc, content
        self.pinned: list[Digest | None] = []

    def resolve(
        self, reference: str, root: Path, platform: Platform, pinned: Digest | None = None
    ) -> ResolvedImage:
        self.pinned.append(pinned)
        digest = pinned or Digest.of(f"{platform}{self.content}".encode())
        base = ImageBase(lasting_name(reference), digest, self.python, "/usr/bin/python3")
        return ResolvedImage(base, self.glibc)


def test_a_base_image_stays_as_it_was_locked_wherever_it_lies(world: World) -> None:
    """Until an upgrade, or until the project names another one. No host gets into the lock."""
    world.write("requirements.txt", "alpha\n")
    text = '[tool.corten]\nbase = "{}"\ncommand = ["python", "x.py"]\n'
    world.write("pyproject.toml", text.format("one.example:5000/team/base:1"))
    first = world.lock(images=Images("3.11.4", 36))
    assert "example" not in encode(first)
    assert 'image = "team/base:1"' in encode(first)
    for host in ("one.example:5000", "mirror.example"):
        world.write("pyproject.toml", text.format(f"{host}/team/base:1"))
        kept = world.lock(images=Images("3.11.4", 36, "second"), previous=first)
        assert kept.platforms == first.platforms
    newer = world.lock(images=Images("3.11.4", 36, "second"), previous=first, upgrade=True)
    assert newer.platforms[0].base != first.platforms[0].base
    world.write("pyproject.toml", text.format("one.example:5000/team/base:2"))
    images = Images("3.11.4", 36)
    world.lock(images=images, previous=first)
    assert images.pinned == [None]


@pytest.mark.parametrize(
    ("written", "lasting"),
    [
        ("registry.example/team/base:1", "team/base:1"),
        ("localhost:5000/base", "base:latest"),
        ("python:3.12-slim", "library/python:3.12-slim"),
        ("registry.example/base:1@sha256:" + "0" * 64, "base:1@sha256:" + "0" * 64),
        ("oci:/home/somebody/layouts/base:1", "oci:base:1"),
        ("oci:./base/", "oci:base"),
    ],
)
def test_what_a_lock_keeps_of_a_base(written: str, lasting: str) -> None:
    assert lasting_name(written) == lasting


def test_an_image_as_base_decides_python_and_glibc(world: World) -> None:
    world.make("gamma", tag="cp312-cp312-manylinux_2_31_x86_64")
    world.write("requirements.txt", "gamma\n")
    world.write("pyproject.toml", '[tool.corten]\nbase = "oci:./base"\ncommand = ["python", "x.py"]\n')
    lock = world.lock(images=Images("3.12.4", 36))
    assert lock.platforms[0].wheels[0].file == "gamma-1.0-cp312-cp312-manylinux_2_31_x86_64.whl"
    assert isinstance(lock.platforms[0].base, ImageBase)
    for images, message in ((Images("3.11.4", 36), "Python 3.11"), (Images("3.12.4", None), "glibc 2.28")):
        assert message in world.fails(ResolutionError, images=images).message
    world.write("requirements.txt", "alpha\n")
    world.write("predict.py", "def predict(x: float) -> float:\n    return x\n")
    world.write("pyproject.toml", '[tool.corten]\nbase = "oci:./base"\n')
    assert (
        "the model server needs Python 3.10" in world.fails(ProjectError, images=Images("3.9.1", 31)).message
    )
    world.write("pyproject.toml", '[tool.corten]\nbase = "oci:./base"\nsystem = ["libgl1"]\n')
    assert "`system` needs a Debian base" in world.fails(ProjectError, images=Images("3.12.4", 36)).message


def uv_lock(world: World, dependencies: str, extra: str = "") -> None:
    world.write(
        "pyproject.toml",
        f'[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = {dependencies}\n{extra}'
        '[tool.corten]\ncommand = ["python", "x.py"]\n',
    )
    command = [
        find_uv_bin(),
        "lock",
        "--no-config",
        "--quiet",
        "--default-index",
        f"{world.web.url}/simple",
        "--refresh",
    ]
    subprocess.run(
        command, cwd=world.folder, check=True, env={**world.environment, "UV_CACHE_DIR": f"{world.root}/uvc"}
    )


def test_uv_lock_decides_alone(world: World) -> None:
    world.make("gamma", "1.0", tag="cp311-cp311-manylinux_2_28_x86_64")
    world.make("gamma", "1.0", tag="cp311-cp311-manylinux_2_28_aarch64")
    world.make("gamma", "1.0", tag="cp313-cp313-manylinux_2_28_x86_64")
    world.make("epsilon")
    groups = '[dependency-groups]\ndev = ["epsilon"]\n'
    uv_lock(world, '["alpha", "gamma", "beta ; sys_platform == \'win32\'"]', groups)
    before = {path.name: path.stat().st_mtime_ns for path in world.folder.iterdir()}
    world.make("alpha", "2.0")
    project = replace(load(world.folder), platforms=(Platform.parse("amd64"), Platform.parse("arm64")))
    world.web.files.clear()  # everything is in uv.lock but the sizes
    publish(world.web, world.pool)
    lock = world.lock(project)
    assert versions(lock) == {"alpha": "1.0", "gamma": "1.0"}
    files = [part.wheels[1].file.rsplit("_", 1)[-1] for part in lock.platforms]
    assert files == ["64.whl", "aarch64.whl"]
    assert {path.name: path.stat().st_mtime_ns for path in world.folder.iterdir()} == before
    assert world.lock(project, previous=lock, upgrade=True) == lock
    # Another machine, with another index configured, finds them by what uv.lock says.
    world.environment |= {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "CORTEN_TRUST_INDEX": world.web.host,
    }
    indexes = fetching_indexes(project, world.environment)
    assert fetch_wheels(Store(world.root / "other"), lock.platforms[0].wheels, indexes, world.events.append)


def test_uv_lock_that_is_stale_or_has_no_wheel(world: World) -> None:
    uv_lock(world, '["alpha"]')
    text = (world.folder / "pyproject.toml").read_text()
    world.write("pyproject.toml", text.replace('"alpha"', '"alpha", "beta"'))
    error = world.fails(LockOutdated)
    assert error.message == "'uv.lock' does not belong to pyproject.toml any more: 'beta' differs"
    world.make("gamma", tag="cp312-cp312-manylinux_2_28_x86_64")
    uv_lock(world, '["gamma"]')
    assert "'gamma' 1.0 has no wheel for Python 3.11" in world.fails(ResolutionError).message
    world.make("nvidia-cublas")
    uv_lock(world, '["nvidia-cublas"]')
    assert (
        "`gpu` is none, but uv.lock has 'nvidia-cublas'"
        in world.fails(ResolutionError, project=replace(load(world.folder), gpu="none")).message
    )


def test_everything_can_be_gathered_in_a_directory(world: World) -> None:
    world.write("requirements.txt", "alpha\nbeta\n")
    world.write("predict.py", "def predict(x: float) -> float:\n    return x\n")
    world.write("pyproject.toml", '[tool.corten]\nsystem = ["libgl1"]\n')
    project = load(world.folder)
    lock = world.lock(project)
    target = world.root / "my bundle"

    def gather() -> None:
        download(
            lock,
            target,
            world.store,
            fetching_indexes(project, world.environment),
            world.debian().mirrors,
            world.events.append,
        )

    gather()
    wheels, debs = files_of(lock)
    assert {path.name for path in (target / "wheels").iterdir()} == {wheel.file for wheel in wheels}
    assert {path.name for path in (target / "debs").iterdir()} == {deb.file for deb in debs}
    assert {"granian", "alpha", "beta"} == {wheel.name for wheel in wheels}
    damaged = target / "wheels" / wheels[0].file
    untouched = target / "debs" / debs[0].file
    stamp = untouched.stat().st_mtime_ns
    damaged.write_bytes(b"x" * wheels[0].size)
    gather()
    # It may be somebody else's file: it stays, and the right one lies beside it.
    assert damaged.read_bytes() == b"x" * wheels[0].size
    assert (target / "wheels" / wheels[0].sha256 / wheels[0].file).stat().st_size == wheels[0].size
    assert untouched.stat().st_mtime_ns == stamp
    dead = fetching_indexes(project, {**world.environment, "UV_DEFAULT_INDEX": "http://127.0.0.1:9/s"})
    assert fetch_wheels(Store(world.root / "o"), wheels, dead, world.events.append, offline=target)


SECRET = "hush-hush-4711"


@pytest.mark.parametrize("way", ["netrc", "address", "variables", "requirements", "file"])
def test_a_private_index_leaves_no_trace(world: World, way: str, capfd: pytest.CaptureFixture[str]) -> None:
    world.web.login = ("me", SECRET)
    world.write("requirements.txt", "alpha\n")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')
    address = world.web.with_login("me", SECRET)
    if way == "netrc":
        host = world.web.host.split(":")[0]
        path = world.root / "home/.netrc"
        path.write_text(f"machine {host}\nlogin me\npassword {SECRET}\n")
        path.chmod(0o600)
    elif way == "address":
        world.environment["UV_DEFAULT_INDEX"] = f"{address}/simple"
    elif way == "variables":
        world.environment |= {
            "UV_DEFAULT_INDEX": f"corp={world.web.url}/simple",
            "UV_INDEX_CORP_USERNAME": "me",
            "UV_INDEX_CORP_PASSWORD": SECRET,
        }
    elif way == "requirements":
        world.environment |= {"TOKEN": SECRET}
        world.write("requirements.txt", f"-i {address}/simple\nalpha\n")
    else:
        del world.environment["PIP_CONFIG_FILE"], world.environment["UV_DEFAULT_INDEX"]
        path = world.root / "home/.config/pip/pip.conf"
        path.parent.mkdir(parents=True)
        path.write_text(f"[global]\nindex-url = {address}/simple\n")
    shown: list[bytes] = []

    def watch(handler: object, before: int) -> bool:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                shown.append(entry.read_bytes())
            except OSError:
                continue
        return False

    world.web.misbehave["/simple/alpha/"] = watch
    project = load(world.folder)
    lock = world.lock(project)
    indexes = fetching_indexes(project, world.environment)
    fetch_wheels(world.store, lock.platforms[0].wheels, indexes, world.events.append)
    for path in (world.store.files._place(lock.platforms[0].wheels[0].sha256, "wheel"),):
        path.unlink()
    fetch_wheels(world.store, lock.platforms[0].wheels, indexes, world.events.append)
    world.write("requirements.txt", (world.folder / "requirements.txt").read_text() + "alpha>99\n")
    error = world.fails(ResolutionError)
    assert any(b"uv\0pip\0compile" in line for line in shown)
    assert not any(SECRET.encode() in line for line in shown)
    printed = capfd.readouterr()
    texts = [
        encode(lock),
        repr(lock),
        repr(indexes),
        repr(world.events),
        error.message,
        str(error.hint),
        *printed,
    ]
    assert not any(SECRET in text for text in texts)
    for path in world.store.root.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_a_wrong_password_is_said(world: World) -> None:
    world.web.login = ("me", SECRET)
    world.environment["UV_DEFAULT_INDEX"] = f"{world.web.with_login('me', 'wrong-wrong')}/simple"
    world.write("requirements.txt", "alpha\n")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')
    error = world.fails(CortenError)
    assert error.message == f"the index at '{world.web.host}' refused access"
    assert "wrong-wrong" not in str(error.hint)


def added(world: World, *requirements: str) -> Project:
    return replace(load(world.folder), implied=tuple(Implied(item, "a test") for item in requirements))


def names(lock: Lock) -> list[tuple[str, str]]:
    return [(wheel.name, wheel.version) for wheel in lock.platforms[0].wheels]


def test_what_corten_adds_is_locked_with_every_kind_of_dependencies(world: World) -> None:
    world.make("gamma", "1.0", "alpha")
    world.make("alpha", "2.0")
    world.write("main.py", "")
    assert names(world.lock(added(world, "gamma"))) == [("alpha", "2.0"), ("gamma", "1.0")]
    world.write("requirements.txt", "alpha<2\n")
    first = world.lock(added(world, "gamma"))
    assert names(first) == [("alpha", "1.0"), ("gamma", "1.0")]
    world.make("gamma", "2.0")
    assert names(world.lock(added(world, "gamma"), previous=first)) == names(first)
    assert names(world.lock(added(world, "beta", "gamma>1"), previous=first))[1:] == [
        ("beta", "1.0"),
        ("gamma", "2.0"),
    ]
    assert names(world.lock(previous=first)) == [("alpha", "1.0")]
    (world.folder / "requirements.txt").unlink()
    world.write("pyproject.toml", '[project]\nname = "demo"\nversion = "1"\ndependencies = ["alpha"]\n')
    assert names(world.lock(added(world, "beta"))) == [("alpha", "2.0"), ("beta", "1.0")]


def test_what_corten_adds_leaves_pinned_packages_as_they_are(world: World) -> None:
    world.make("gamma", "1.0", "alpha", "beta")
    world.make("alpha", "2.0")
    world.write("main.py", "")
    (alpha,) = (path for path in world.pool.glob("alpha-1.0-*.whl"))
    digest = hashlib.sha256(alpha.read_bytes()).hexdigest()
    world.write("requirements.txt", f"alpha==1.0 --hash=sha256:{digest}\n")
    found = world.lock(added(world, "gamma"))
    assert names(found) == [("alpha", "1.0"), ("beta", "1.0"), ("gamma", "1.0")]
    assert found.platforms[0].wheels[0].sha256 == digest
    assert names(world.lock(added(world, "gamma"), previous=found)) == names(found)
    (world.folder / "requirements.txt").unlink()
    uv_lock(world, '["alpha<2"]')
    assert names(world.lock(added(world, "gamma"))) == [("alpha", "1.0"), ("beta", "1.0"), ("gamma", "1.0")]
    error = world.fails(ResolutionError, project=added(world, "alpha>1"))
    assert "alpha" in error.message


def test_imports_are_the_requirements_where_nothing_lists_any(world: World) -> None:
    for name in ("six", "toml", "pyyaml"):
        world.make(name)
    world.write("main.py", "import six, yaml\nfrom inner import x\nimport nobody_knows\n")
    world.write("inner.py", "try:\n    import toml\nexcept ImportError:\n    toml = None\nx = 1\n")
    project = load(world.folder)
    assert [item.requirement for item in project.implied] == ["pyyaml", "six"]
    assert project.unknown == ("nobody_knows (main.py:3)",)
    assert versions(world.lock(project)) == {"pyyaml": "1.0", "six": "1.0"}


def test_an_import_that_nothing_lists_is_added(world: World) -> None:
    """But not where another package brings it, and not for what may be missing."""
    for name in ("six", "toml", "pillow", "emoji"):
        world.make(name)
    world.make("gamma", "1.0", "toml")
    world.write("requirements.txt", "alpha\ngamma\n")
    world.write("main.py", "import alpha, toml, helper\ndef late():\n    import emoji\n")
    world.write("helper.py", "import os\n\nfrom PIL import Image\n")
    first = world.lock()
    assert versions(first) == {"alpha": "1.0", "gamma": "1.0", "toml": "1.0", "pillow": "1.0"}
    assert said(world) == ["adds pillow: 'helper.py:3' imports PIL, and no requirement brings it"]
    assert open_imports(load(world.folder), first.platforms[0]) == ()
    world.write("main.py", "import alpha, six, helper\n")
    (asked,) = open_imports(load(world.folder), first.platforms[0])
    assert (asked.requirement, asked.where) == ("six", "main.py:1")
    assert "six" in versions(world.lock(previous=first))


def test_an_import_that_does_not_fit_the_newest_versions_moves_them(world: World) -> None:
    world.make("delta", "1.0")
    world.make("delta", "2.0")
    world.make("six", "1.0", "delta<2")
    world.make("toml")
    world.write("requirements.txt", "alpha\ndelta\n")
    world.write("main.py", "import six, toml\n")
    made = world.lock()
    assert versions(made) == {"alpha": "1.0", "delta": "1.0", "six": "1.0", "toml": "1.0"}
    assert versions(world.lock(previous=made)) == versions(made)
    world.write("requirements.txt", "alpha\ndelta==2.0\n")
    pinned = world.lock()
    assert versions(pinned) == {"alpha": "1.0", "delta": "2.0", "toml": "1.0"}
    assert pinned.platforms[0].without == ("six",)


def test_an_import_that_cannot_be_had_is_said_once(world: World) -> None:
    world.write("requirements.txt", "alpha\n")
    world.write("main.py", "import six\n")
    made = world.lock()
    assert versions(made) == {"alpha": "1.0"}
    assert made.platforms[0].without == ("six",)
    (message,) = said(world)
    assert message.startswith(
        "'main.py:1' imports six, and no requirement brings it; it is not added: no index has"
    )
    assert open_imports(load(world.folder), made.platforms[0]) == ()


def test_nothing_is_added_beside_hashes(world: World) -> None:
    world.make("six")
    digest = hashlib.sha256(next(world.pool.glob("alpha*")).read_bytes()).hexdigest()
    world.write("requirements.txt", f"alpha==1.0 --hash=sha256:{digest}\n")
    world.write("main.py", "import six\n")
    assert versions(world.lock()) == {"alpha": "1.0"}
    assert "it is not added: the requirements have hashes" in said(world)[0]


@pytest.mark.parametrize(
    ("day", "version", "message"),
    [
        ("2024-06-01", "2.0", "versions are those of 2024-06-01, the day of the last commit"),
        ("2019-06-01", "1.0", "versions are those of 2023-04-01, since Python 3.11 is younger than the last commit (2019-06-01)"),
        ("2030-01-01", "3.0", "versions are those of 2030-01-01, the day of the last commit"),
    ],
)  # fmt: skip
def test_versions_without_requirements_are_those_of_the_last_commit(
    world: World, day: str, version: str, message: str
) -> None:
    files = {"1.0": "2023-01-01", "2.0": "2024-01-01", "3.0": "2025-01-01"}
    for number in files:
        make_wheel(world.pool, "six", number)
    publish(
        world.web,
        world.pool,
        form="json",
        days={f"six-{number}-py3-none-any.whl": when for number, when in files.items()},
    )
    world.write("main.py", "import six\n")
    commit(world.folder, day)
    assert versions(world.lock()) == {"six": version}
    assert said(world) == [message]


def test_an_index_without_days_gives_the_newest(world: World) -> None:
    world.make("six", "1.0")
    world.make("six", "2.0")
    world.write("main.py", "import six\n")
    commit(world.folder, "2024-06-01")
    assert versions(world.lock()) == {"six": "2.0"}
    assert said(world) == [
        "the newest versions are taken: those of 2024-06-01 do not fit together or are not known"
    ]


def test_repaired_lines_are_locked_and_said(world: World) -> None:
    world.make("gamma")
    world.write("pyproject.toml", '[project]\nname = "mine"\nversion = "1"\ndependencies = ["beta"]\n')
    world.write(
        "requirements.txt",
        "-e .\nos\nalpha @ file:///croot/alpha_1674267221883/work\ngamma=1.0=py311h0a0a0a0_0\n",
    )
    assert versions(world.lock()) == {"alpha": "1.0", "beta": "1.0", "gamma": "1.0"}
    assert said(world) == [
        "'-e .' in 'requirements.txt' is the project itself: its code is in the image, and what it requires counts",
        "left out of 'requirements.txt': 'os', which is part of Python",
        "'requirements.txt' has paths of conda's builders, which are nowhere else: taken by name are 'alpha'",
        "'requirements.txt' is read as a list that conda prints",
    ]


def test_what_the_project_itself_requires_is_a_part_of_the_locks_inputs(world: World) -> None:
    text = '[project]\nname = "mine"\nversion = "1"\ndependencies = ["{}"]\n'
    world.write("requirements.txt", "-e .\n")
    digests = []
    for name in ("alpha", "beta"):
        world.write("pyproject.toml", text.format(name))
        digests.append(inputs_digest(load(world.folder)))
    assert digests[0] != digests[1]


def saved_with(version: str) -> bytes:
    key, value = b"_sklearn_version", version.encode()
    return b"\x80\x04}\x8c" + bytes([len(key)]) + key + b"\x94\x8c" + bytes([len(value)]) + value + b"\x94s."


def with_sklearn(world: World) -> None:
    days = {}
    for name in ("scikit-learn", "numpy"):
        for version, day in (("1.1.3", "2022-10-26"), ("1.2.2", "2023-03-09"), ("1.7.0", "2025-06-05")):
            requires = ("numpy",) if name == "scikit-learn" else ()
            make_wheel(world.pool, name, version, requires=requires)
            days[f"{name.replace('-', '_')}-{version}-py3-none-any.whl"] = day
    publish(world.web, world.pool, form="json", days=days)


def test_a_saved_model_decides_the_version_that_nothing_pins(world: World) -> None:
    with_sklearn(world)
    world.write("requirements.txt", "scikit-learn\n")
    (world.folder / "model.pkl").write_bytes(saved_with("1.2.1"))
    assert versions(world.lock()) == {"scikit-learn": "1.2.2", "numpy": "1.2.2"}
    assert said(world) == [
        "scikit-learn and what it needs are those of 2023-06-29: 'model.pkl' was saved with 1.2.1"
    ]


@pytest.mark.parametrize("line", ["scikit-learn==1.7.0", "scikit-learn>=1.5"])
def test_a_saved_model_of_another_version_than_is_pinned_is_said(world: World, line: str) -> None:
    with_sklearn(world)
    world.write("requirements.txt", f"{line}\n")
    (world.folder / "model.pkl").write_bytes(saved_with("1.2.1"))
    assert versions(world.lock())["scikit-learn"] == "1.7.0"
    assert said(world) == ["'model.pkl' was saved with scikit-learn 1.2.1, and the lock has 1.7.0"]


def test_where_the_version_of_a_model_cannot_be_had_it_is_said(world: World) -> None:
    """The index tells no days."""
    world.make("scikit-learn", "1.7.0")
    world.write("requirements.txt", "scikit-learn\n")
    (world.folder / "model.pkl").write_bytes(saved_with("1.2.1"))
    assert versions(world.lock()) == {"scikit-learn": "1.7.0"}
    assert said(world) == ["'model.pkl' was saved with scikit-learn 1.2.1, and the lock has 1.7.0"]


def test_setuptools_stays_at_a_version_that_has_what_is_imported(world: World) -> None:
    for version in ("65.0", "80.9", "82.0"):
        world.make("setuptools", version)
    world.make("gamma", "1.0", "setuptools")
    world.write("requirements.txt", "gamma\n")
    world.write("main.py", "import gamma\n")
    assert versions(world.lock())["setuptools"] == "82.0"
    world.write("main.py", "import gamma, pkg_resources\n")
    assert versions(world.lock())["setuptools"] == "80.9"
    assert (
        load(world.folder).implied[0].reason
        == "'main.py:1' imports pkg_resources, which newer versions do not have"
    )
    world.write("requirements.txt", "gamma\nsetuptools==65.0\n")
    assert versions(world.lock())["setuptools"] == "65.0"


def test_what_conda_built_is_in_the_version_of_its_day(world: World) -> None:
    with_sklearn(world)
    built = "numpy @ file:///croot/numpy_and_numpy_base_1689000000000/work"  # in July 2023
    world.write("requirements.txt", f"scikit-learn==1.2.2\n{built}\n")
    assert versions(world.lock()) == {"scikit-learn": "1.2.2", "numpy": "1.2.2"}
    assert said(world)[1:] == [
        "what conda's builders built is in the version of its day, or of the first days of this Python"
    ]
    world.make("numpy", "1.7.0")  # the index tells no days any more
    assert versions(world.lock())["numpy"] == "1.7.0"


def test_a_line_for_a_project_with_setup_py_stands_for_what_that_requires(world: World) -> None:
    world.write("requirements.txt", "alpha\n-e .\n")
    for source, expected in (
        ("from setuptools import setup\nsetup(install_requires=['beta'])\n", {"alpha", "beta"}),
        ("from setuptools import setup\nsetup(install_requires=read('requirements.txt'))\n", {"alpha"}),
        ("from setuptools import setup\nsetup(install_requires=['-e ./evil'])\n", None),
    ):
        world.write("setup.py", source)
        if expected is None:
            world.fails(ProjectError)
        else:
            assert versions(world.lock()).keys() == expected
