"""A project whose requirements name a repository, an archive and a folder that must be built, from its files to a running container."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.cli.building import _Supply
from corten.events import ignore
from corten.lock.format import read_lock
from corten.packages.files import STRICT
from corten.project.load import load
from corten.store.store import Store
from support import repositories
from support.command import Corten
from support.repositories import Hub
from support.sdists import backend
from support.web import serving

pytestmark = pytest.mark.e2e


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with repositories.serving(tmp_path / "hub") as made:
        yield made


def packed(files: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tarred:
        for name, text in files.items():
            item = tarfile.TarInfo(f"top/{name}")
            item.size = len(text.encode())
            tarred.addfile(item, io.BytesIO(text.encode()))
    return made.getvalue()


def test_every_kind_of_source(
    corten: Corten, project: Callable[..., Path], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as web:
        needs = [
            f"two @ {web.url}/two.tar.gz"
        ]  # as packages of an index never do, and those of a repository may
        commit = hub.make(
            "one", {f"py/{name}": text for name, text in backend("one", requires=needs).items()}
        )
        web.files["/two.tar.gz"] = packed(backend("two"))
        monkeypatch.setenv("CORTEN_TRUST_INDEX", f"{hub.url} {web.url}")
        root = project(
            {
                "main.py": "import importlib.metadata as m\nimport one, two, three\nprint([m.version(n) for n in ('one', 'two', 'three')])\n",
                "requirements.txt": f"one @ git+{hub.url}/one.git@main#subdirectory=py\n-e ./libs/three\n",
                **{f"libs/three/{name}": text for name, text in backend("three", "3.0").items()},
            },
            "referenced",
        )
        assert corten("run", root).stdout == "['1.0', '1.0', '3.0']\n"
        lock = (root / "corten.lock").read_text()
        assert commit in lock
        assert hub.host not in lock
        # With the lock nothing is asked again, and nothing is built again.
        hub.make("one", {"py/more.txt": "x"})
        hub.seen.clear(), web.seen.clear()
        assert corten("build", "--locked", root).returncode == 0
        assert not hub.seen
        assert not web.seen
        # Where the wheels are not at hand, the same commit and archive are fetched, and give the same wheels.
        store, locked = Store(corten.home), read_lock(root / "corten.lock")
        (part,) = locked.platforms
        for sdist in part.sdists:
            for kind, sha256 in (("wheel", sdist.wheel), ("sdist", sdist.sha256)):
                path = store.files.path(sha256, kind)  # type: ignore[arg-type]
                assert path is not None
                path.unlink()
        built = [wheel for wheel in part.wheels if wheel.sha256 in {sdist.wheel for sdist in part.sdists}]
        assert len(built) == 3
        with store.lock("store", shared=True):
            supply = _Supply(load(root), locked, store, ignore, None, STRICT)
            assert supply.wheels(built).keys() == {wheel.sha256 for wheel in built}
        assert hub.seen
