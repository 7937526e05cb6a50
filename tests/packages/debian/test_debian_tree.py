from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import BuildError, CortenError, FormatError
from corten.packages.debian.deb import contents, read_control
from corten.packages.debian.tree import Tree, walk
from debian_parts import Entries, File, HardLink, Link, written
from support.properties import thorough


def everything(path: str) -> bool:
    return True


class Unpacked:
    """A tree with a scratch directory for its packages."""

    def __init__(self, directory: Path, *lower: Path) -> None:
        self.debs = directory / "debs"
        self.root = directory / "root"
        self.debs.mkdir(parents=True)
        self.root.mkdir()
        self.tree = Tree(self.root, lower)

    def add(self, name: str, files: Entries, **fields: str) -> dict[str, str]:
        _, path = written(self.debs, name, files=files, **fields)
        with contents(path) as entries:
            return self.tree.unpack(entries, read_control(path), everything)


@pytest.fixture
def unpacked(tmp_path: Path) -> Unpacked:
    made = Unpacked(tmp_path / "one")
    for name in ("bin", "lib"):
        made.tree.directory(f"usr/{name}")
        made.tree.link(name, f"usr/{name}")
    return made


def test_old_paths_land_in_usr(unpacked: Unpacked) -> None:
    placed = unpacked.add(
        "dash", {"bin/dash": File(b"dash", 0o755), "bin/sh": Link("dash"), "lib/x/y": b"y", "usr/bin/z": b"z"}
    )
    assert placed == {"bin/dash": "usr/bin/dash", "lib/x/y": "usr/lib/x/y", "usr/bin/z": "usr/bin/z"}
    assert os.readlink(unpacked.root / "bin") == "usr/bin"
    assert (unpacked.root / "usr/bin/dash").read_bytes() == b"dash"
    assert os.readlink(unpacked.root / "usr/bin/sh") == "dash"
    assert unpacked.tree.read("/bin/sh") == b"dash"


def test_links_that_merge_usr_are_never_moved(unpacked: Unpacked) -> None:
    unpacked.add("base-files", {"bin": Link("usr/bin"), "lib": Link("/elsewhere")})
    assert os.readlink(unpacked.root / "bin") == "usr/bin"
    assert os.readlink(unpacked.root / "lib") == "usr/lib"


def test_modes_do_not_depend_on_the_umask_or_the_package(unpacked: Unpacked) -> None:
    before = os.umask(0o077)
    try:
        unpacked.add(
            "su", {"usr/bin/su": File(b"", 0o4755), "etc/secret": File(b"", 0o600), "opt/x": File(b"", 0o775)}
        )
    finally:
        os.umask(before)
    modes = {
        path: oct((unpacked.root / path).stat().st_mode & 0o7777)
        for path in ("usr/bin/su", "etc/secret", "opt/x", "opt", "etc")
    }
    assert modes == {
        "usr/bin/su": "0o755",
        "etc/secret": "0o644",
        "opt/x": "0o755",
        "opt": "0o755",
        "etc": "0o755",
    }


def test_a_link_out_of_the_tree_leads_back_into_it(unpacked: Unpacked, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    up = "../" * 20 + str(outside).lstrip("/")
    unpacked.add("evil", {"a": Link(str(outside)), "b": Link(up)})
    unpacked.add("worse", {"a/file": b"1", "b/file2": b"2"})
    assert list(outside.iterdir()) == []
    inside = unpacked.root / str(outside).lstrip("/")
    assert (inside / "file").read_bytes() == b"1"
    assert (inside / "file2").read_bytes() == b"2"


def test_an_absolute_link_begins_at_the_root_and_a_relative_one_where_it_is(unpacked: Unpacked) -> None:
    unpacked.add("links", {"a/b/absolute": Link("/bin"), "a/b/relative": Link("../c"), "a/c/x": b""})
    placed = unpacked.add("through", {"a/b/absolute/f": b"", "a/b/relative/g": b""})
    assert placed == {"a/b/absolute/f": "usr/bin/f", "a/b/relative/g": "a/c/g"}


def test_links_in_a_circle_are_refused(unpacked: Unpacked) -> None:
    unpacked.add("circle", {"x": Link("y"), "y": Link("x")})
    with pytest.raises(FormatError, match="too many symbolic links"):
        unpacked.add("through", {"x/file": b""})


def test_a_file_written_through_a_link_replaces_the_link(unpacked: Unpacked, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"safe")
    unpacked.add("evil", {"etc/passwd": Link(str(victim))})
    unpacked.tree.write("etc/passwd", b"ours")
    assert victim.read_bytes() == b"safe"
    assert (unpacked.root / "etc/passwd").read_bytes() == b"ours"


def test_hard_links_stay_in_their_package(unpacked: Unpacked) -> None:
    unpacked.add("gzip", {"bin/gunzip": File(b"g", 0o755), "bin/uncompress": HardLink("bin/gunzip")})
    assert (unpacked.root / "usr/bin/uncompress").samefile(unpacked.root / "usr/bin/gunzip")
    with pytest.raises(FormatError, match="which it does not contain"):
        unpacked.add("evil", {"own": HardLink("bin/gunzip")})
    unpacked.add("sly", {"link": Link("/bin/gunzip")})
    with pytest.raises(FormatError, match="which it does not contain"):
        unpacked.add("slier", {"own": HardLink("link")})


def test_two_packages_with_one_file_are_an_error_unless_one_replaces_the_other(unpacked: Unpacked) -> None:
    unpacked.add("first", {"usr/bin/tool": b"first"})
    with pytest.raises(BuildError, match="'first' and 'second' both contain '/usr/bin/tool'"):
        unpacked.add("second", {"usr/bin/tool": b"second"})
    assert unpacked.add("third", {"bin/tool": b"third"}, replaces="first (<< 2)") == {
        "bin/tool": "usr/bin/tool"
    }
    assert (unpacked.root / "usr/bin/tool").read_bytes() == b"third"
    unpacked.add("fourth", {"usr/bin/other": b"fourth"}, replaces="fifth")
    assert unpacked.add("fifth", {"usr/bin/other": b"fifth"}) == {}
    assert (unpacked.root / "usr/bin/other").read_bytes() == b"fourth"


def test_kinds_that_clash(unpacked: Unpacked) -> None:
    unpacked.add("a", {"var/run/x": b""})
    unpacked.add("b", {"var/run": Link("/run")})  # dpkg keeps the directory
    assert (unpacked.root / "var/run").is_dir()
    with pytest.raises(BuildError, match="a file where another package has a directory"):
        unpacked.add("c", {"var/run": b""})
    with pytest.raises(BuildError, match="needs a directory where there is a file"):
        unpacked.add("d", {"var/run/x/y": b""})


def test_a_layer_above_sees_the_one_below_and_holds_only_what_is_new(tmp_path: Path) -> None:
    base = Unpacked(tmp_path / "base")
    base.tree.directory("usr/bin")
    base.tree.directory("tmp", sticky=True)
    base.tree.link("bin", "usr/bin")
    base.tree.write("etc/hosts", b"base")
    base.tree.write("var/lib/dpkg/status.d/owner", b"Package: owner\nVersion: 1\n")
    base.tree.write("var/lib/dpkg/status.d/owner.md5sums", b"0  usr/bin/owned\n")
    base.tree.write("usr/bin/owned", b"base")
    layer = Unpacked(tmp_path / "layer", base.root)
    layer.add("tool", {"bin/tool": b"t", "tmp/file": b""})
    assert sorted(walk(layer.root)) == ["tmp", "tmp/file", "usr", "usr/bin", "usr/bin/tool"]
    assert (layer.root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert layer.tree.read("bin/owned") == b"base"
    assert layer.tree.read("etc/hosts") == b"base"
    assert layer.tree.listing("bin") == ["owned", "tool"]
    with pytest.raises(BuildError, match="'owner' and 'other'"):
        layer.add("other", {"bin/owned": b"other"})
    layer.add("heir", {"bin/owned": b"heir"}, replaces="owner")
    assert layer.tree.read("usr/bin/owned") == b"heir"
    assert (base.root / "usr/bin/owned").read_bytes() == b"base"


def test_a_hostile_lower_layer_shows_nothing_of_this_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"key")
    (tmp_path / "low").mkdir()
    (tmp_path / "low" / "a").symlink_to(secret)
    (tmp_path / "mid" / "a").mkdir(parents=True)
    (tmp_path / "top").mkdir()
    tree = Tree(tmp_path / "top", [tmp_path / "low", tmp_path / "mid"])
    assert tree.read("a/key") is None
    assert tree.listing("a") == []
    (tmp_path / "low" / "b").symlink_to(secret)
    assert tree.read("b/key") is None


segments = st.sampled_from(["a", "b", "..", ".", "", "/", "c"])
paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
entries = st.dictionaries(
    paths,
    st.one_of(
        st.just(b"file"),
        st.none(),
        st.lists(segments, min_size=1, max_size=5).map("/".join).filter(bool).map(Link),
        paths.map(HardLink),
    ),
    min_size=1,
    max_size=5,
)


@thorough(150)
@given(st.lists(entries, min_size=1, max_size=3))
def test_nothing_is_ever_written_outside(
    tmp_path_factory: pytest.TempPathFactory, packages: list[Entries]
) -> None:
    directory = tmp_path_factory.mktemp("box")
    made = Unpacked(directory / "box")
    before = sorted(walk(directory))
    for number, files in enumerate(packages):
        try:
            made.add(f"package{number}", files)
        except CortenError:
            continue
    after = [path for path in sorted(walk(directory)) if not path.startswith(("box/root/", "box/debs/"))]
    assert after == before
