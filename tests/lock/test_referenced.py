"""Requirements that name a source: repositories, archives and folders, in locks. With a real git server and the real uv, and a builder that packs
a wheel without a sandbox."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from corten.errors import FetchError, HashMismatch, NotConfirmed, ProjectError, ResolutionError
from corten.lock.format import encode
from corten.lock.inputs import inputs_digest, references_of
from corten.lock.model import Lock, PlatformLock
from corten.lock.referenced import Fetcher, bring_absent
from corten.lock.wanted import resolving_indexes
from corten.packages.files import Deb
from corten.packages.sources import BuiltWheel, Recorded, Resolve, Source
from corten.project.load import load
from corten.store.store import Store
from support import repositories
from support.lock_world import World, said
from support.repositories import Hub
from support.wheels import make_wheel

COMMAND = '[tool.corten]\ncommand = ["python", "x.py"]\n'


class Builder:
    """Packs what a source's pyproject.toml says into a wheel. `asked` are the sources with the wheel that they were to give."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[tuple[str, Recorded | None]] = []

    def builder(
        self,
        part: PlatformLock,
        resolve: Resolve,
        compilers: Callable[[], tuple[Deb, ...]],
        further: Mapping[str, tuple[str, ...]],
        *,
        anew: bool = False,
    ) -> Builder:
        return self

    def build(
        self, source: Source, recorded: Recorded | None = None, settings: Sequence[tuple[str, str]] = ()
    ) -> BuiltWheel:
        data = source.place.read_bytes()
        assert hashlib.sha256(data).hexdigest() == source.sha256
        self.asked.append((source.name, recorded))
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as zipped:
                text = next(
                    zipped.read(name) for name in zipped.namelist() if name.endswith("pyproject.toml")
                )
        else:
            with tarfile.open(fileobj=io.BytesIO(data)) as tarred:
                member = next(
                    item
                    for item in tarred.getmembers()
                    if item.name.count("/") == 1 and item.name.endswith("/pyproject.toml")
                )
                text = tarred.extractfile(member).read()  # type: ignore[union-attr]
        project = tomllib.loads(text.decode())["project"]
        made = make_wheel(
            self.world.root / "built",
            project["name"],
            project["version"],
            requires=tuple(project.get("dependencies", ())),
        )
        path = self.world.root / "built" / made.file
        path.chmod(0o644)
        self.world.store.files.add(path, made.sha256, "wheel")
        return BuiltWheel(made)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with repositories.serving(tmp_path / "hub") as made:
        yield made


@pytest.fixture
def ready(world: World, hub: Hub) -> World:
    """The user has confirmed the hub and the index, which are on this machine."""
    world.environment["CORTEN_TRUST_INDEX"] = f"{hub.url} {world.web.url}"
    world.environment["CORTEN_HOME"] = str(world.root / "store")
    world.write("pyproject.toml", COMMAND)
    return world


def project(name: str = "lib", version: str = "1.0", *requires: str) -> str:
    listed = ", ".join(f'"{item}"' for item in requires)
    return f'[project]\nname = "{name}"\nversion = "{version}"\ndependencies = [{listed}]\n'


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.platforms[0].wheels}


def archive(**files: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tarred:
        for name, text in files.items():
            item = tarfile.TarInfo(f"top/{name.replace('__', '.')}")
            item.size = len(text.encode())
            tarred.addfile(item, io.BytesIO(text.encode()))
    return made.getvalue()


@pytest.mark.parametrize("form", ["lib @ git+URL@v1", "-e git+URL@v1#egg=lib"])
def test_a_repository_is_locked_at_a_commit(ready: World, hub: Hub, form: str) -> None:
    commit = hub.make("lib", {"pyproject.toml": project("lib", "1.0", "alpha")}, tag="v1")
    hub.make("lib", {"pyproject.toml": project("lib", "2.0")})
    ready.write("requirements.txt", form.replace("URL", f"{hub.url}/lib.git") + "\n")
    lock = ready.lock(sources=Builder(ready))
    assert versions(lock) == {"alpha": "1.0", "lib": "1.0"}
    (sdist,) = lock.platforms[0].sdists
    assert (sdist.name, sdist.version) == ("lib", "1.0")
    assert commit in sdist.file
    assert hub.host not in encode(lock)


def test_the_commit_of_a_lock_holds_until_an_upgrade(ready: World, hub: Hub) -> None:
    first = hub.make("lib", {"pyproject.toml": project("lib", "1.0")})
    ready.write("requirements.txt", f"lib @ git+{hub.url}/lib.git@main\n")
    builder = Builder(ready)
    one = ready.lock(sources=builder)
    second = hub.make("lib", {"pyproject.toml": project("lib", "2.0")})
    hub.seen.clear()
    assert ready.lock(previous=one, sources=builder) == one
    assert len(builder.asked) == 1
    assert not hub.seen  # neither git nor a builder is started again
    ready.write("requirements.txt", f"lib @ git+{hub.url}/lib.git@main\nalpha\n")
    more = ready.lock(previous=one, sources=builder)
    assert versions(more) == {"alpha": "1.0", "lib": "1.0"}
    assert first in more.platforms[0].sdists[0].file
    upgraded = ready.lock(previous=more, sources=builder, upgrade_packages=["lib"])
    assert second in upgraded.platforms[0].sdists[0].file
    # Another ref is another requirement.
    ready.write("requirements.txt", f"lib @ git+{hub.url}/lib.git@{first}\n")
    assert versions(ready.lock(previous=upgraded, sources=builder)) == {"lib": "1.0"}


def test_a_folder_of_a_repository_with_an_extra_and_a_marker(ready: World, hub: Hub) -> None:
    hub.make("mono", {"py/lib/pyproject.toml": project(), "README": "x"})
    line = f"lib[a,b] @ git+{hub.url}/mono.git#subdirectory=py/lib ; sys_platform == 'linux'\n"
    ready.write("requirements.txt", line + f"other @ git+{hub.url}/nothing.git ; sys_platform == 'win32'\n")
    assert versions(ready.lock(sources=Builder(ready))) == {"lib": "1.0"}


def test_another_store_builds_the_same_commit_again(ready: World, hub: Hub) -> None:
    hub.make("lib", {"pyproject.toml": project()})
    ready.write("requirements.txt", f"lib @ git+{hub.url}/lib.git@main\n")
    lock = ready.lock(sources=Builder(ready))
    hub.make("lib", {"pyproject.toml": project("lib", "2.0")})
    other = Store(ready.root / "other")
    found = load(ready.folder)
    indexes = resolving_indexes(found, ready.environment)
    (sdist,) = lock.platforms[0].sdists
    fetcher = Fetcher(found.root, other, lambda: indexes, ready.events.append)
    bring_absent(references_of(found, ready.environment), [sdist], fetcher, other, found.root)
    assert other.files.path(sdist.sha256, "sdist") is not None
    # Of an archive there may be another one now.
    ready.write("requirements.txt", f"{ready.web.url}/lib.tar.gz\n")
    ready.web.files["/lib.tar.gz"] = archive(pyproject__toml=project())
    (sdist,) = ready.lock(sources=Builder(ready)).platforms[0].sdists
    ready.web.files["/lib.tar.gz"] = archive(pyproject__toml=project(), more="x")
    with pytest.raises(HashMismatch, match="is no longer the source that the lock was made from"):
        bring_absent(references_of(found, ready.environment), [sdist], fetcher, other, found.root)


def test_an_archive_by_its_address(ready: World) -> None:
    data = archive(pyproject__toml=project("lib", "1.0", "alpha"))
    sha256 = hashlib.sha256(data).hexdigest()
    ready.web.files["/x/v1.tar.gz"] = data
    builder = Builder(ready)
    ready.write("requirements.txt", f"lib @ {ready.web.url}/x/v1.tar.gz#sha256={sha256}\n")
    lock = ready.lock(sources=builder)
    assert versions(lock) == {"alpha": "1.0", "lib": "1.0"}
    assert lock.platforms[0].sdists[0].sha256 == sha256
    ready.write(
        "requirements.txt",
        f"lib @ {ready.web.url}/x/v1.tar.gz --hash=sha256:{sha256}\nalpha --hash=sha256:{alpha(ready)}\n",
    )
    assert versions(ready.lock(sources=builder)) == {"alpha": "1.0", "lib": "1.0"}
    ready.write("requirements.txt", f"lib @ {ready.web.url}/x/v1.tar.gz#sha256={'0' * 64}\n")
    assert (
        "which is not the one that the requirement allows"
        in ready.fails(HashMismatch, sources=builder).message
    )
    ready.write("requirements.txt", f"{ready.web.url}/nothing.zip\n")
    ready.fails(FetchError, sources=builder)


@pytest.mark.parametrize("form", ["#sha256=HASH", " --hash=sha256:HASH"])
def test_a_new_hash_of_an_archive_is_checked(ready: World, form: str) -> None:
    """The lock's wheel is of the old file, and does not stand for the new one."""
    old, new = (archive(pyproject__toml=project("lib", version)) for version in ("1.0", "2.0"))
    place = f"{ready.web.url}/x/lib.tar.gz"

    def write(data: bytes) -> None:
        ready.write(
            "requirements.txt", f"lib @ {place}{form.replace('HASH', hashlib.sha256(data).hexdigest())}\n"
        )

    ready.web.files["/x/lib.tar.gz"] = old
    write(old)
    builder = Builder(ready)
    lock = ready.lock(sources=builder)
    write(new)
    error = ready.fails(HashMismatch, previous=lock, sources=builder)
    assert "which is not the one that the requirement allows" in error.message
    ready.web.files["/x/lib.tar.gz"] = new
    assert versions(ready.lock(previous=lock, sources=builder)) == {"lib": "2.0"}


def alpha(world: World) -> str:
    return hashlib.sha256(next(world.pool.glob("alpha-*.whl")).read_bytes()).hexdigest()


def test_an_archive_in_the_project(ready: World) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        zipped.writestr("lib-1.0/pyproject.toml", project())
    (ready.folder / "dist").mkdir()
    (ready.folder / "dist/lib-1.0.zip").write_bytes(made.getvalue())
    ready.write("requirements.txt", "dist/lib-1.0.zip\n./dist/lib-1.0.zip ; sys_platform == 'win32'\n")
    before = inputs_digest(load(ready.folder))
    assert versions(ready.lock(sources=Builder(ready))) == {"lib": "1.0"}
    (ready.folder / "dist/lib-1.0.zip").write_bytes(archive(pyproject__toml=project("lib", "2.0")))
    assert inputs_digest(load(ready.folder)) != before
    (ready.folder / "dist/lib-1.0.zip").unlink()
    assert "cannot be read" in ready.fails(ProjectError, sources=Builder(ready)).message


def test_a_folder_that_must_be_built(ready: World) -> None:
    ready.write("libs/lib/setup.py", "setup(ext_modules=[1])\n")
    ready.write("libs/lib/pyproject.toml", project("lib", "1.0", "alpha"))
    ready.write("requirements.txt", "-e ./libs/lib\n")
    builder = Builder(ready)
    lock = ready.lock(sources=builder)
    assert versions(lock) == {"alpha": "1.0", "lib": "1.0"}
    assert lock.platforms[0].local == ()
    before = inputs_digest(load(ready.folder))
    ready.write("libs/lib/lib.egg-info/PKG-INFO", "x")
    assert inputs_digest(load(ready.folder)) == before
    ready.write("libs/lib/lib.c", "changed")
    assert inputs_digest(load(ready.folder)) != before
    assert ready.lock(previous=lock, sources=builder) != lock
    assert [recorded for _, recorded in builder.asked] == [None, None]


def test_a_folder_outside_that_the_user_has_confirmed(ready: World) -> None:
    outside = ready.root / "shared"
    outside.mkdir()
    (outside / "pyproject.toml").write_text(project("shared"))
    ready.write("requirements.txt", "../shared\n")
    ready.environment["CORTEN_TRUST_PATH"] = str(outside)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORTEN_TRUST_PATH", str(outside))
        assert versions(ready.lock(sources=Builder(ready))) == {"shared": "1.0"}


def test_sources_of_uv_and_a_uv_lock(ready: World, hub: Hub) -> None:
    commit = hub.make("lib", {"py/pyproject.toml": project()})
    git = f'git = "{hub.url}/lib.git", subdirectory = "py"'
    text = project("demo", "1", "lib") + f"[tool.uv.sources]\nlib = {{ {git}, branch = 'main' }}\n" + COMMAND
    ready.write("pyproject.toml", text)
    assert versions(ready.lock(sources=Builder(ready))) == {"lib": "1.0"}
    hub.make("lib", {"py/pyproject.toml": project("lib", "2.0")})
    entry = 'version = 1\n[[package]]\nname = "demo"\nversion = "1"\nsource = { virtual = "." }\ndependencies = [{ name = "lib" }]\n[package.metadata]\nrequires-dist = [{ name = "lib" }]\n'
    entry += f'[[package]]\nname = "lib"\nversion = "1.0"\nsource = {{ git = "{hub.url}/lib.git?subdirectory=py&branch=main#{commit}" }}\n'
    ready.write("uv.lock", entry)
    lock = ready.lock(sources=Builder(ready))
    assert versions(lock) == {"lib": "1.0"}
    assert commit in lock.platforms[0].sdists[0].file
    assert [item.name for item in references_of(load(ready.folder), ready.environment)] == ["lib"]


def test_a_commit_stands_beside_hashes(ready: World, hub: Hub) -> None:
    commit = hub.make("lib", {"pyproject.toml": project()})
    ready.write(
        "requirements.txt", f"alpha --hash=sha256:{alpha(ready)}\nlib @ git+{hub.url}/lib.git@{commit}\n"
    )
    assert versions(ready.lock(sources=Builder(ready))) == {"alpha": "1.0", "lib": "1.0"}


@pytest.mark.parametrize("confirmed", ["", "https://127.0.0.1"])
def test_a_host_of_this_machine_waits_for_the_user(ready: World, hub: Hub, confirmed: str) -> None:
    hub.make("lib", {"pyproject.toml": project()})
    ready.environment["CORTEN_TRUST_INDEX"] = confirmed
    ready.write("requirements.txt", f"lib @ git+{hub.url}/lib.git\n")
    hub.seen.clear()
    with pytest.raises(NotConfirmed):
        ready.lock(sources=Builder(ready))
    assert not hub.seen


def test_plain_http_elsewhere_is_refused(ready: World) -> None:
    ready.write("requirements.txt", "lib @ git+http://h.invalid/lib.git\n")
    assert "uses plain http" in ready.fails(ResolutionError, sources=Builder(ready)).message


def test_a_login_in_the_address_comes_from_a_variable_that_the_user_allows(ready: World, hub: Hub) -> None:
    hub.make("lib", {"pyproject.toml": project()})
    hub.login = ("me", "secret-word")
    ready.write("requirements.txt", f"lib @ git+{hub.url.replace('//', '//me:${LIB_TOKEN}@')}/lib.git\n")
    ready.environment["LIB_TOKEN"] = "secret-word"
    lock = ready.lock(sources=Builder(ready))
    assert versions(lock) == {"lib": "1.0"}
    assert "secret-word" not in encode(lock) + "".join(said(ready))
    ready.environment["LIB_TOKEN"] = "wrong-word"
    error = ready.fails(FetchError, sources=Builder(ready))
    assert "wants a login" in error.message
    assert "wrong-word" not in error.message


def test_without_a_builder_a_reference_is_refused(ready: World, hub: Hub) -> None:
    hub.make("lib", {"pyproject.toml": project()})
    ready.write("requirements.txt", f"alpha\ngit+{hub.url}/lib.git\n")
    hub.seen.clear()
    error = ready.fails(ResolutionError)
    assert error.message == "requirements.txt:2: 'lib.git' is source, and nothing builds sources here"
    assert not hub.seen


def test_the_name_is_that_of_the_source(ready: World, hub: Hub) -> None:
    hub.make("lib", {"pyproject.toml": project("other")})
    ready.write("requirements.txt", f"lib @ git+{hub.url}/lib.git\n")
    assert "'lib' leads to a source of 'other'" in ready.fails(ProjectError, sources=Builder(ready)).message


def test_sources_that_require_sources(ready: World, hub: Hub) -> None:
    """Their own references are fetched by Corten too, and what the project says of the same package goes before."""
    hub.make("three", {"pyproject.toml": project("three", "1.0")})
    two = f"two @ git+{hub.url}/two.git"
    hub.make(
        "two",
        {
            "pyproject.toml": project(
                "two",
                "1.0",
                f"three @ git+{hub.url}/three.git ; python_version > '3'",
                f"x @ git+{hub.url}/x.git ; extra == 'x'",
            )
        },
    )
    hub.make("one", {"pyproject.toml": project("one", "1.0", two)})
    ready.write("requirements.txt", f"one @ git+{hub.url}/one.git\n")
    assert versions(ready.lock(sources=Builder(ready))) == {"one": "1.0", "three": "1.0", "two": "1.0"}
    hub.make("fork", {"pyproject.toml": project("two", "9.0")})
    ready.write("requirements.txt", f"one @ git+{hub.url}/one.git\ntwo @ git+{hub.url}/fork.git\n")
    assert versions(ready.lock(sources=Builder(ready))) == {"one": "1.0", "two": "9.0"}


def test_a_source_names_no_host_that_only_the_user_can(ready: World, hub: Hub) -> None:
    hub.make("one", {"pyproject.toml": project("one", "1.0", "two @ git+https://127.0.0.1:9/two.git")})
    ready.write("requirements.txt", f"one @ git+{hub.url}/one.git\n")
    with pytest.raises(NotConfirmed, match=r"127\.0\.0\.1:9"):
        ready.lock(sources=Builder(ready))
    hub.make("one", {"pyproject.toml": project("one", "1.0", "two @ file:///etc")})
    with pytest.raises((ResolutionError, ProjectError)):
        ready.lock(sources=Builder(ready))


def test_the_version_comes_from_tags_where_the_source_asks_git(ready: World, hub: Hub) -> None:
    text = project() + '[build-system]\nrequires = ["setuptools-scm"]\n'
    hub.make("lib", {"pyproject.toml": text}, tag="v1.5")
    hub.make("lib", {"README": "x"})
    ready.write("requirements.txt", f"lib @ git+{hub.url}/lib.git\n")
    found = load(ready.folder)
    indexes = resolving_indexes(found, ready.environment)
    fetcher = Fetcher(found.root, ready.store, lambda: indexes, ready.events.append)
    (item,) = references_of(found, ready.environment)

    def version(given: str = "") -> str:
        with tarfile.open(fetcher.fetch(item, "", given).place) as packed:
            return packed.extractfile("source/PKG-INFO").read().decode().splitlines()[2]  # type: ignore[union-attr]

    assert version().startswith("Version: 1.6.dev1+g")
    # A lock's version holds, whatever tags there are by now.
    assert version("7.0") == "Version: 7.0"
    # A file of that name stays, also a link that leads to nothing.
    (hub.root / "lib.work/PKG-INFO").symlink_to("nothing")
    hub.commit("lib")
    with tarfile.open(fetcher.fetch(item).place) as packed:
        assert packed.getmember("source/PKG-INFO").linkname == "nothing"


def test_the_references_of_a_pylock(ready: World, hub: Hub) -> None:
    commit = hub.make("lib", {"py/pyproject.toml": project()})
    data = archive(pyproject__toml=project("arch"))
    ready.web.files["/arch.tar.gz"] = data
    ready.write("libs/here/pyproject.toml", project("here"))
    ready.write("libs/built/pyproject.toml", project("built"))
    ready.write("libs/built/setup.py", "setup(ext_modules=[1])\n")
    ready.write(
        "pylock.toml",
        'lock-version = "1.0"\n'
        f'[[packages]]\nname = "lib"\nvcs = {{ type = "git", url = "{hub.url}/lib.git", requested-revision = "main", commit-id = "{commit}", subdirectory = "py" }}\n'
        f'[[packages]]\nname = "arch"\narchive = {{ url = "{ready.web.url}/arch.tar.gz", hashes = {{ sha256 = "{hashlib.sha256(data).hexdigest()}" }} }}\n'
        '[[packages]]\nname = "here"\ndirectory = { path = "libs/here", editable = true }\n'
        '[[packages]]\nname = "built"\ndirectory = { path = "libs/built" }\n',
    )
    lock = ready.lock(sources=Builder(ready))
    assert versions(lock) == {"arch": "1.0", "built": "1.0", "lib": "1.0"}
    assert lock.platforms[0].local == ("libs/here",)
    ready.web.files["/arch.tar.gz"] = archive(pyproject__toml=project("arch", "2.0"))
    ready.fails(HashMismatch, sources=Builder(ready))


def test_a_lock_file_with_a_commit_that_is_none(ready: World, hub: Hub) -> None:
    vcs = f'{{ type = "git", url = "{hub.url}/lib.git", commit-id = "main" }}'
    ready.write("pylock.toml", f'lock-version = "1.0"\n[[packages]]\nname = "lib"\nvcs = {vcs}\n')
    assert (
        "the commit of 'lib' in the lock file is not a commit's hash"
        in ready.fails(ProjectError, sources=Builder(ready)).message
    )


def test_a_member_of_the_workspace_above_waits_for_the_user_and_is_built(ready: World) -> None:
    (ready.root / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["project", "core"]\n')
    (ready.root / "core").mkdir()
    (ready.root / "core/pyproject.toml").write_text(project("core", "1.0", "alpha"))
    sources = "[tool.uv.sources]\ncore = { workspace = true }\n"
    ready.write("pyproject.toml", project("demo", "1", "core") + sources + COMMAND)
    with pytest.raises(NotConfirmed, match="which is outside the project"):
        ready.lock(sources=Builder(ready))
    with pytest.MonkeyPatch.context() as patch:
        for environment in (ready.environment, os.environ):
            patch.setitem(environment, "CORTEN_TRUST_PATH", str(ready.root))
        lock = ready.lock(sources=Builder(ready))
    assert versions(lock) == {"alpha": "1.0", "core": "1.0"}
    assert lock.platforms[0].local == ()


def test_a_package_comes_from_one_place(ready: World, hub: Hub) -> None:
    """Their wheels have one file name."""
    commit = hub.make("lib", {"pyproject.toml": project()}, tag="v1")
    hub.make("fork", {"pyproject.toml": project("lib", "1.0", "alpha")})
    lib = f"git+{hub.url}/lib.git"
    ready.write("requirements.txt", f"lib @ {lib}@v1\nlib @ git+{hub.url}/fork.git\n")
    message = ready.fails(ProjectError, sources=Builder(ready)).message
    assert "'lib' is required from two places; the other one is in requirements.txt:" in message
    ready.write("requirements.txt", f"lib @ {lib}@v1\nlib @ {lib}@{commit}\n")
    assert versions(ready.lock(sources=Builder(ready))) == {"lib": "1.0"}


def test_two_platforms_have_one_wheel_and_hear_of_it_once(ready: World, hub: Hub) -> None:
    hub.make("lib", {"pyproject.toml": project()})
    ready.write("pyproject.toml", COMMAND + 'platforms = ["linux/amd64", "linux/arm64"]\n')
    ready.write("requirements.txt", f"lib @ git+{hub.url}/lib.git\n")
    lock = ready.lock(sources=Builder(ready))
    assert len({part.sdists for part in lock.platforms}) == 1
    assert said(ready).count("'lib' is source: a wheel is built from it") == 1
