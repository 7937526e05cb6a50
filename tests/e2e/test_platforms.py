"""One build for several platforms: one name, one index, no emulation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.oci.descriptor import Index
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.store.store import Store
from support.command import Corten
from support.wheels import make_wheel

pytestmark = pytest.mark.e2e

BOTH = ["linux/amd64", "linux/arm64"]
Make = Callable[..., Path]


def files(more: str = "") -> dict[str, str]:
    return {
        "requirements.txt": "--no-index\n--find-links ../wheels\nalpha==1.0\n",
        "main.py": "import alpha\n",
        "pyproject.toml": f'[tool.corten]\nplatforms = ["linux/amd64", "linux/arm64"]\n{more}',
    }


@pytest.mark.parametrize(
    "arguments",
    [["--platform", ",".join(BOTH)], ["--platform", BOTH[1], "--platform", BOTH[0], "--platform", "arm64"]],
)
def test_an_image_for_two_platforms(
    arguments: list[str], corten: Corten, project: Make, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "wheels", "alpha")
    root = project(files())
    document = corten.build(root, *arguments, "--name", "pair:1")
    assert list(document) == ["image", "digest", "platforms"]
    assert sorted(part["platform"] for part in document["platforms"]) == BOTH
    single = corten.build(root, "--name", "single:1")
    same = next(part for part in document["platforms"] if part["platform"] == single["platform"])
    assert list(same) == list(single)
    assert [same[key] for key in ("id", "digest", "size")] == [
        single[key] for key in ("id", "digest", "size")
    ]
    store = Store.open(corten.home)
    index = store.images.index(store.images.platforms("pair:1").values())
    assert Digest.of(index.encode()) == document["digest"]
    assert [item.digest for item in Index.decode(index.encode()).manifests] == [
        part["digest"] for part in sorted(document["platforms"], key=lambda part: part["platform"])
    ]
    listed = json.loads(corten("images", "--json").stdout)
    assert sorted(row["platform"] for row in listed if row["name"] == "pair:1") == BOTH
    printed = corten("build", root, *arguments, "--name", "pair:1").stdout
    assert printed == f"{document['digest']}\n"


def test_a_build_takes_its_names_other_platforms_away_and_says_so(
    corten: Corten, project: Make, tmp_path: Path
) -> None:
    """A push would publish two states of one project under one name. A command that only builds in passing, and finds
    nothing changed, leaves them."""
    make_wheel(tmp_path / "wheels", "alpha")
    root = project(files(), "pair-edited")
    own = Platform.host()
    other = next(text for text in BOTH if text != str(own))
    store = Store.open(corten.home)

    def platforms() -> set[str]:
        return set(map(str, store.images.platforms("pair-edited")))

    corten("build", root, "--platform", ",".join(BOTH))
    corten("run", root, "--", "true")
    assert platforms() == set(BOTH)
    (root / "main.py").write_text("import alpha  # edited\n")
    done = corten("build", root)
    assert f"'pair-edited:latest' stands for this build alone, no longer for {other}" in done.stderr
    assert platforms() == {str(own)}
    assert "no longer" not in corten("build", root).stderr


def test_two_platforms_on_a_base_from_a_registry(
    corten: Corten, project: Make, registry: str, tmp_path: Path
) -> None:
    """Each platform has its own digest in the lock; what this machine's processor cannot compile, the base's Python for
    this processor compiles, to the same bytes."""
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed/main.py").write_text("print(1)\n")
    reference = f"{registry}/team/pair-base:1"
    corten("build", tmp_path / "seed", "--platform", ",".join(BOTH), "--name", reference)
    corten("push", reference)
    make_wheel(tmp_path / "wheels", "alpha")
    root = project(files(f'base = "{reference}"\n'))
    document = corten.build(root, "--platform", ",".join(BOTH), "--name", "pair-on-base:1")
    lock = (root / "corten.lock").read_text()
    assert lock.count('image = "team/pair-base:1", digest = "sha256:') == 2
    store = Store.open(corten.home)
    compiled = []
    for part in document["platforms"]:
        layer = next(layer for layer in part["layers"] if layer["title"] == "alpha 1.0")
        tree = store.layers.tree(Digest.parse(layer["digest"]))
        compiled += [path.read_bytes() for path in tree.rglob("alpha.*.pyc")]
    assert len(compiled) == 2
    assert compiled[0] == compiled[1]
    assert document["platforms"][0]["layers"][0]["digest"] != document["platforms"][1]["layers"][0]["digest"]


def test_a_base_for_another_processor_alone(
    corten: Corten, project: Make, registry: str, tmp_path: Path
) -> None:
    """Nothing here can run its Python, and the error says what would."""
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed/main.py").write_text("print(1)\n")
    reference = f"{registry}/team/arm-base:1"
    corten("build", tmp_path / "seed", "--platform", BOTH[1], "--name", reference)
    corten("push", reference)
    make_wheel(tmp_path / "wheels", "alpha")
    root = project(files(f'base = "{reference}"\n'))
    text = (root / "pyproject.toml").read_text().replace('"linux/amd64", ', "")
    (root / "pyproject.toml").write_text(text)
    done = corten("build", root, "--platform", BOTH[1], code=1)
    assert "cannot compile bytecode on linux/amd64" in done.stderr
    assert 'hint: add "linux/amd64" to `platforms`' in done.stderr
