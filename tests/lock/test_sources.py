"""Packages that have only source, in locks: with the real uv, and a builder that packs a wheel without a sandbox."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from corten.errors import BuildError, HashMismatch, LockOutdated, ProjectError, ResolutionError
from corten.lock.format import decode, encode
from corten.lock.inputs import inputs_digest
from corten.lock.model import Lock, PlatformLock
from corten.lock.sources import Sources, refuse_sources
from corten.oci.platform import Platform
from corten.packages.files import Deb, Wheel
from corten.packages.sources import BuiltWheel, Recorded, Resolve, Source
from corten.project.load import load
from corten.values import replace
from support.index import publish
from support.lock_world import OTHER, World, said
from support.pythons import Releases
from support.sdists import sdist
from support.wheels import make_wheel


class Builder:
    """Makes the wheels that it is told, in the place of builds. `asked` are the sources that came."""

    def __init__(self, world: World, tag: str = "py3-none-any", **requires: tuple[str, ...]) -> None:
        self.world, self.tag, self.requires = world, tag, requires
        self.asked: list[tuple[str, str]] = []
        self.recorded: list[Recorded | None] = []
        self.made = 0
        self.part: PlatformLock | None = None

    def builder(
        self,
        part: PlatformLock,
        resolve: Resolve,
        compilers: Callable[[], tuple[Deb, ...]],
        further: Mapping[str, tuple[str, ...]],
        *,
        anew: bool = False,
    ) -> Builder:
        self.made += 1
        self.part, self.resolve, self.further, self.anew = part, resolve, further, anew
        return self

    def build(
        self, source: Source, recorded: Recorded | None = None, settings: Sequence[tuple[str, str]] = ()
    ) -> BuiltWheel:
        assert hashlib.sha256(source.place.read_bytes()).hexdigest() == source.sha256
        self.asked.append((source.name, source.version))
        self.recorded.append(recorded)
        folder = self.world.root / "built"
        made = make_wheel(
            folder,
            source.name,
            source.version or "1.0",
            requires=self.requires.get(source.name.replace("-", "_"), ()),
            tag=self.tag,
        )
        path = folder / made.file
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.world.store.files.add(path, sha256, "wheel")
        wheel = Wheel(source.name, made.version, path.name, path.stat().st_size, sha256)
        return BuiltWheel(wheel, self.resolve(("backend",)), marks="abcd")


def offer(world: World, *names: str) -> None:
    """Publish sources, by `name-version`."""
    for name in names:
        sdist(world.pool, *name.rsplit("-", 1), {"setup.py": ""})
    publish(world.web, world.pool)


@pytest.fixture
def ready(world: World) -> World:
    world.make("backend")
    offer(world, "old-1.0", "old-2.0")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')
    return world


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.platforms[0].wheels}


def test_a_package_without_wheels_is_locked_as_source_and_wheel(ready: World) -> None:
    ready.write("requirements.txt", "old\nalpha\n")
    builder = Builder(ready)
    lock = ready.lock(sources=builder)
    (part,) = lock.platforms
    (item,) = part.sdists
    assert versions(lock) == {"alpha": "1.0", "old": "2.0"}
    assert (item.name, item.version, item.file) == ("old", "2.0", "old-2.0.tar.gz")
    assert item.wheel == next(wheel.sha256 for wheel in part.wheels if wheel.name == "old")
    assert [wheel.name for wheel in part.build_wheels] == ["backend"]
    assert item.requires == (part.build_wheels[0].sha256,)
    assert item.reproducible
    assert part.build_debs == ()
    assert "old 2.0 has no wheel that fits: one is built from its source" in said(ready)
    assert builder.part is not None
    assert builder.part.base == part.base


def test_a_project_of_wheels_makes_no_builder_and_asks_nothing_more(ready: World) -> None:
    ready.write("requirements.txt", "alpha\n")
    builder = Builder(ready)
    lock = ready.lock(sources=builder)
    assert builder.made == 0
    assert lock.platforms[0].sdists == ()
    assert "sdists" not in encode(lock)


def test_a_source_that_is_needed_by_another_package(ready: World) -> None:
    ready.make("gamma", "1.0", "old<2")
    ready.write("requirements.txt", "gamma\n")
    assert versions(ready.lock(sources=Builder(ready))) == {"gamma": "1.0", "old": "1.0"}


def test_a_source_brings_its_own_dependencies_also_as_source(ready: World) -> None:
    offer(ready, "older-1.0")
    ready.write("requirements.txt", "old==1.0\n")
    builder = Builder(ready, old=("older", "beta"))
    lock = ready.lock(sources=builder)
    assert versions(lock) == {"beta": "1.0", "old": "1.0", "older": "1.0"}
    assert [item.name for item in lock.platforms[0].sdists] == ["old", "older"]


def test_a_wheel_is_preferred_to_a_newer_source(ready: World) -> None:
    offer(ready, "alpha-9.0")
    ready.write("requirements.txt", "alpha\n")
    assert versions(ready.lock(sources=Builder(ready))) == {"alpha": "1.0"}


def test_a_second_lock_builds_nothing(ready: World) -> None:
    ready.write("requirements.txt", "old\n")
    first = ready.lock(sources=Builder(ready))
    builder = Builder(ready)
    assert ready.lock(previous=first, sources=builder) == first
    ready.write("requirements.txt", "old\nalpha\n")
    second = ready.lock(previous=first, sources=builder)
    assert versions(second) == {"alpha": "1.0", "old": "2.0"}
    assert second.platforms[0].sdists == first.platforms[0].sdists
    assert builder.asked == []


def test_a_wheel_that_is_gone_is_built_with_what_the_lock_says(ready: World) -> None:
    ready.write("requirements.txt", "old\n")
    first = ready.lock(sources=Builder(ready))
    place = ready.store.files.path(first.platforms[0].sdists[0].wheel, "wheel")
    assert place is not None
    place.unlink()
    builder = Builder(ready)
    assert ready.lock(previous=first, sources=builder) == first
    (recorded,) = builder.recorded
    assert recorded is not None
    assert recorded.requires == first.platforms[0].build_wheels


def test_hashes_of_sources_are_checked(ready: World) -> None:
    digest = hashlib.sha256((ready.pool / "old-2.0.tar.gz").read_bytes()).hexdigest()
    ready.write("requirements.txt", f"old==2.0 --hash=sha256:{digest}\n")
    assert versions(ready.lock(sources=Builder(ready))) == {"old": "2.0"}


def test_a_source_with_another_hash_is_not_built(ready: World) -> None:
    ready.write("requirements.txt", f"old==2.0 --hash=sha256:{'a' * 64}\n")
    builder = Builder(ready)
    with pytest.raises((HashMismatch, ResolutionError)):
        ready.lock(sources=builder)
    assert builder.asked == []


def test_a_new_hash_of_a_source_is_used(ready: World) -> None:
    """The wheel of the old file is in the lock, and is not offered for the new one."""
    path = ready.pool / "old-2.0.tar.gz"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    ready.write("requirements.txt", f"old==2.0 --hash=sha256:{digest}\n")
    lock = ready.lock(sources=Builder(ready))
    sdist(ready.pool, "old", "2.0", {"setup.py": "# another one"})
    publish(ready.web, ready.pool)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    ready.write("requirements.txt", f"old==2.0 --hash=sha256:{digest}\n")
    builder = Builder(ready)
    (item,) = ready.lock(previous=lock, sources=builder).platforms[0].sdists
    assert (item.sha256, builder.recorded) == (digest, [None])


def test_without_a_builder_a_source_is_refused_with_ways_out(ready: World) -> None:
    ready.write("requirements.txt", "old\n")
    error = ready.fails(ResolutionError)
    assert "'old'" in error.message
    assert "--find-links" in (error.hint or "")


def test_a_uv_lock_with_a_source(ready: World) -> None:
    digest = hashlib.sha256((ready.pool / "old-1.0.tar.gz").read_bytes()).hexdigest()
    ready.write(
        "pyproject.toml",
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["old"]\n'
        '[tool.corten]\ncommand = ["python", "x.py"]\n',
    )
    ready.write(
        "uv.lock",
        'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "app"\nversion = "1"\nsource = { virtual = "." }\n'
        'dependencies = [{ name = "old" }]\n[package.metadata]\nrequires-dist = [{ name = "old" }]\n'
        f'[[package]]\nname = "old"\nversion = "1.0"\nsource = {{ registry = "{ready.web.url}/simple" }}\n'
        f'sdist = {{ url = "{ready.web.url}/files/old-1.0.tar.gz", hash = "sha256:{digest}" }}\n',
    )
    lock = ready.lock(sources=Builder(ready))
    assert versions(lock) == {"old": "1.0"}
    assert lock.platforms[0].sdists[0].sha256 == digest


def test_a_lock_names_no_source_twice_and_no_wheel_that_it_does_not_have(ready: World) -> None:
    from corten.errors import FormatError

    ready.write("requirements.txt", "old\n")
    lock = ready.lock(sources=Builder(ready))
    (part,) = lock.platforms
    (item,) = part.sdists
    for sdists in (
        (item, item),
        (replace(item, wheel="0" * 64),),
        (replace(item, requires=("0" * 64,)),),
        (replace(item, name="alpha"),),
    ):
        with pytest.raises(FormatError):
            decode(encode(replace(lock, platforms=(replace(part, sdists=sdists),))).encode())


def test_the_fast_reader_and_toml_read_the_same(ready: World) -> None:
    ready.write("requirements.txt", "old\n")
    lock = ready.lock(sources=Builder(ready))
    text = encode(lock)
    assert "reproducible = true" in text
    assert decode(text.encode()) == decode(text.replace("{ name", "{  name").encode()) == lock


def test_native_code_serves_this_machine_and_leaves_others_out_with_a_warning(ready: World) -> None:
    ready.write("requirements.txt", "old\n")
    ready.write(
        "pyproject.toml",
        '[tool.corten]\ncommand = ["python", "x.py"]\nplatforms = ["linux/amd64", "linux/arm64"]\n',
    )
    host = Platform.host()
    builder = Builder(ready, tag=f"cp311-cp311-linux_{host.machine}")
    lock = ready.lock(sources=builder)
    assert [part.platform for part in lock.platforms] == [host]
    assert [str(platform) for platform in lock.left_out] == [f"linux/{OTHER}"]
    assert any(f"the lock leaves linux/{OTHER} out" in text for text in said(ready))
    assert decode(encode(lock).replace(" = [", "  = [").encode()) == lock
    with pytest.raises(LockOutdated, match="can be built only on such a machine"):
        lock.for_platform(Platform("linux", OTHER))


def test_python_alone_serves_every_platform(ready: World) -> None:
    ready.write("requirements.txt", "old\n")
    ready.write(
        "pyproject.toml",
        '[tool.corten]\ncommand = ["python", "x.py"]\nplatforms = ["linux/amd64", "linux/arm64"]\n',
    )
    builder = Builder(ready)
    lock = ready.lock(sources=builder)
    assert len(lock.platforms) == 2
    assert lock.platforms[0].sdists == lock.platforms[1].sdists != ()
    assert builder.made == 1
    assert builder.part is not None
    assert builder.part.platform == Platform.host()


def test_a_part_that_another_machine_made_is_kept(ready: World) -> None:
    """A lock with native code for two platforms: each machine builds its own part, and keeps the other's."""
    ready.write("requirements.txt", "old\n")
    ready.write(
        "pyproject.toml",
        '[tool.corten]\ncommand = ["python", "x.py"]\nplatforms = ["linux/amd64", "linux/arm64"]\n',
    )
    pure = ready.lock(sources=Builder(ready))
    other = pure.for_platform(Platform("linux", OTHER))
    (item,) = other.sdists
    place = ready.store.files.path(item.wheel, "wheel")
    assert place is not None
    place.unlink()
    lock = ready.lock(
        previous=pure, sources=Builder(ready, tag=f"cp311-cp311-linux_{Platform.host().machine}")
    )
    assert lock.for_platform(Platform("linux", OTHER)) == other
    assert lock.left_out == ()


def test_build_requirements_that_a_source_does_not_say(ready: World) -> None:
    ready.write("requirements.txt", "old\n")
    ready.write(
        "pyproject.toml",
        '[tool.corten]\ncommand = ["python", "x.py"]\n[tool.uv]\nbuild-constraint-dependencies = ["backend<2"]\n'
        '[tool.uv.extra-build-dependencies]\n"Old" = ["alpha>=1"]\n',
    )
    ready.make("backend", "2.0")
    builder = Builder(ready)
    lock = ready.lock(sources=builder)
    assert builder.further == {"old": ("alpha>=1",)}
    assert builder.anew
    assert [wheel.version for wheel in lock.platforms[0].build_wheels] == ["1.0"]
    before = inputs_digest(load(ready.folder))
    ready.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')
    assert inputs_digest(load(ready.folder)) != before


@pytest.mark.parametrize(
    "line",
    ["backend @ WEB/backend-1.0-py3-none-any.whl", "WEB/x.whl", "-r /etc/passwd", "backend\n--find-links=/"],
)
def test_constraints_of_builds_name_no_address(ready: World, line: str) -> None:
    ready.write("requirements.txt", "old\n")
    line = json.dumps(line.replace("WEB", ready.web.url))
    ready.write(
        "pyproject.toml",
        f'[tool.corten]\ncommand = ["python", "x.py"]\n[tool.uv]\nbuild-constraint-dependencies = [{line}]\n',
    )
    builder = Builder(ready)
    error = ready.fails(ProjectError, sources=builder)
    assert "which is not a name with versions" in error.message
    assert builder.made == 0


def test_where_there_can_be_no_builder_the_package_is_named() -> None:
    def make() -> Builder:
        raise refuse_sources("python:3.12")

    with pytest.raises(BuildError, match="has no wheel that fits, only source") as caught:
        Sources(make).build(Source("old", "1.0", "0" * 64, Path("/nowhere")))
    assert "--find-links" in (caught.value.hint or "")


def test_what_was_built_for_another_python_is_built_again(ready: World, tmp_path: Path) -> None:
    """Neither the wheels of the old Python nor the build requirements that it had are used, for a package of an index and for an archive."""
    releases = Releases(tmp_path / "releases")
    ready.environment["UV_PYTHON_DOWNLOADS_JSON_URL"] = releases.url
    for architecture in ("amd64", "arm64"):
        for name in ("libc6", "libcrypt1"):
            ready.archive.add(name, architecture=architecture)
    ready.archive.publish()
    archive = sdist(tmp_path / "dist", "lib", "1.0", {"setup.py": ""}).read_bytes()
    ready.web.files["/x/lib-1.0.tar.gz"] = archive
    ready.environment["CORTEN_TRUST_INDEX"] = ready.web.url
    ready.write("requirements.txt", f"old\nlib @ {ready.web.url}/x/lib-1.0.tar.gz\n")
    tag = f"linux_{Platform.host().machine}"
    first = ready.lock(sources=Builder(ready, tag=f"cp311-cp311-{tag}"))
    releases.both("3.10.4")
    ready.write(".python-version", "3.10\n")
    builder = Builder(ready, tag=f"cp310-cp310-{tag}")
    second = ready.lock(previous=first, sources=builder)
    assert builder.recorded == [None, None]
    assert [wheel.file for wheel in second.platforms[0].wheels] == [
        f"{name}-cp310-cp310-{tag}.whl" for name in ("lib-1.0", "old-2.0")
    ]
    again = Builder(ready, tag=f"cp310-cp310-{tag}")
    assert ready.lock(previous=second, sources=again) == second
    assert again.asked == []
