"""Layers that want out, or more than there is: each is refused, or unpacked into its own directory and streamed back."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corten.errors import FormatError
from corten.oci import unpack
from corten.oci.digest import Digest
from corten.oci.recipe import replay
from corten.store.store import Store
from support import tars
from support.images import make_layer
from support.properties import thorough


def everything(root: Path) -> dict[str, tuple[object, ...]]:
    """Whatever could be changed of the files below `root`."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, folders, files in os.walk(root):
        for name in [".", *folders, *files]:
            path = Path(directory, name)
            status = path.lstat()
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            owner = (status.st_uid, status.st_gid, status.st_mode, status.st_nlink, status.st_mtime_ns)
            found[os.fspath(path)] = (*owner, content, tuple(os.listxattr(path, follow_symlinks=False)))
    return found


class Cage:
    """A store beside a directory that must stay as it is."""

    def __init__(self, root: Path) -> None:
        self.outside = root / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_bytes(b"secret")
        # Where '../outside' leads from below a store's temporary directory as well.
        self.store = Store.open(root / "store")
        for place in (self.store.root, self.store.root / "tmp", self.store.root / "tmp" / "x"):
            place.mkdir()
            (place / "outside").symlink_to(self.outside)
        self.before = everything(self.outside)

    def receive(self, data: bytes, piece: int = 1 << 20) -> Path:
        """The tree of the layer. Raises FormatError."""
        diff_id = Digest.of(data)
        try:
            with self.store.temporary_directory() as directory:
                pieces = (data[start : start + piece] for start in range(0, len(data), piece))
                self.store.layers.receive(directory, pieces, diff_id)
        except FormatError:
            assert not self.store.layers.has(diff_id)
            assert self.store.layers.all() == []
            raise
        finally:
            assert everything(self.outside) == self.before
            assert sorted(os.listdir(self.store.root / "tmp")) == ["outside", "x"]
        assert b"".join(self.store.layers.stream(diff_id)) == data
        return self.store.layers.tree(diff_id)


@pytest.fixture
def cage(tmp_path: Path) -> Cage:
    return Cage(tmp_path)


@pytest.mark.parametrize("name", tars.REFUSED)
@pytest.mark.parametrize("piece", [100, 1 << 20])
def test_what_no_layer_may_be(cage: Cage, name: str, piece: int) -> None:
    with pytest.raises(FormatError) as caught:
        cage.receive(tars.block(b"first", data=b"x") + tars.REFUSED[name] + tars.END, piece)
    assert caught.value.message[0].islower()
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", tars.ACCEPTED)
@pytest.mark.parametrize("piece", [100, 1 << 20])
def test_what_is_odd_and_may_be(cage: Cage, name: str, piece: int) -> None:
    tree = cage.receive(tars.ACCEPTED[name] + tars.END, piece)
    for path in tree.rglob("*"):
        mode = path.lstat().st_mode
        assert not mode & (stat.S_ISUID | stat.S_ISGID)
        assert not stat.S_ISFIFO(mode)
        assert not stat.S_ISBLK(mode)
        assert not stat.S_ISCHR(mode) or path.lstat().st_rdev == 0
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            assert not [name for name in os.listxattr(path) if not name.endswith("overlay.opaque")]


@pytest.mark.parametrize("length", [1, 511, 513, 1023, 1024 + 300, 1536 - 1, 1536 + 99])
def test_a_stream_that_ends_early(cage: Cage, length: int) -> None:
    whole = tars.block(b"f", data=b"x" * 512) + tars.block(b"g", data=b"y" * 100)
    with pytest.raises(FormatError, match="ends"):
        cage.receive(whole[:length])


@pytest.mark.parametrize("padding", [0, 100, 411])
@pytest.mark.parametrize("name", [b"g", b".wh.odd"])
def test_the_last_entry_may_lack_its_padding(cage: Cage, padding: int, name: bytes) -> None:
    """As umoci 0.4 leaves it, and Go's archive/tar reads it."""
    stream = tars.block(b"f", data=b"x" * 700) + tars.block(name, data=b"y" * 101, pad=False)
    tree = cage.receive(stream + bytes(padding))
    assert (tree / "f").read_bytes() == b"x" * 700
    if name == b"g":
        assert (tree / "g").read_bytes() == b"y" * 101


def test_a_stream_in_our_own_form_may_lack_its_last_padding(cage: Cage, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "own")
    diff_id = make_layer(store, {"f": b"x" * 700, "g": b"y" * 101})
    whole = b"".join(store.layers.stream(diff_id))
    tree = cage.receive(whole[: -1024 - 411])
    assert (tree / "g").read_bytes() == b"y" * 101


def test_a_stream_may_lack_its_end_mark(cage: Cage) -> None:
    """As Go's archive/tar has it, and what some writers leave out."""
    tree = cage.receive(tars.block(b"f", data=b"x" * 512))
    assert (tree / "f").read_bytes() == b"x" * 512


def test_what_became_of_the_odd(tmp_path: Path) -> None:
    def tree(name: str) -> Path:
        (tmp_path / name).mkdir()
        return Cage(tmp_path / name).receive(tars.ACCEPTED[name] + tars.END)

    assert (tree("a file over a link outwards") / "f").read_bytes() == b"mine"
    assert not (tree("a directory over a link outwards") / "out").is_symlink()
    assert (tree("a PAX size") / "f").read_bytes() == b"y" * 700
    assert (tree("a size in base 256") / "f").read_bytes() == b"x"
    assert os.listdir(tree("V7") / "old") == ["f"]
    linked = tree("a file linked, replaced and linked back")
    assert (linked / "a").read_bytes() == b"four" * 300
    assert (linked / "b").read_bytes() == b"three" * 300
    for name in ("a directory in place of a hidden one", "a hidden directory that is made"):
        assert os.getxattr(tree(name) / "d", "user.overlay.opaque") == b"y"
    if os.geteuid() == 0:
        assert (tree("global owners") / "f").stat().st_uid == 7


def test_a_directory_that_is_hidden_after_it_was_filled(cage: Cage) -> None:
    """The whiteout is about the layers below: what lay in the directory there does not show through."""
    tree = cage.receive(tars.block(b"d/f", data=b"x") + tars.block(b".wh.d") + tars.END)
    assert os.getxattr(tree / "d", "user.overlay.opaque") == b"y"
    assert (tree / "d/f").exists()


NAMES = [
    b"a",
    b"b",
    b"a/b",
    b"a/b/c",
    b".wh.a",
    b"a/.wh..wh..opq",
    b"./a/",
    b"/b",
    b"../a",
    b"out",
    b"out/a",
    b"",
]
LINKS = [
    b"a",
    b"b",
    b"a/b",
    b"/",
    b"..",
    b"../../outside",
    b"/etc/passwd",
    b"out/secret",
    b"../outside/secret",
]
ENTRIES = st.builds(
    lambda name, flag, data, link, mode: tars.block(
        name, flag, data if flag in b"07\0" else b"", link=link, mode=b"%07o\0" % mode
    ),
    st.sampled_from(NAMES),
    st.sampled_from([b"0", b"0", b"0", b"1", b"1", b"2", b"2", b"5", b"5", b"3", b"6", b"7", b"\0"]),
    st.binary(max_size=700),
    st.sampled_from(LINKS),
    st.integers(0, 0o7777),
)
EXTENSIONS = st.one_of(
    st.builds(lambda name: tars.pax((b"path", name)), st.sampled_from(NAMES)),
    st.builds(lambda link: tars.pax((b"linkpath", link)), st.sampled_from(LINKS)),
    st.builds(tars.long_name, st.sampled_from(NAMES)),
    st.builds(lambda uid: tars.pax((b"uid", b"%d" % uid), flag=b"g"), st.integers(0, 70000)),
)
ARCHIVES = st.lists(st.one_of(ENTRIES, ENTRIES, ENTRIES, EXTENSIONS), max_size=12).map(b"".join)


@given(data=ARCHIVES, piece=st.integers(1, 3000))
@thorough(250)
def test_any_archive_stays_inside_and_streams_back(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, piece: int
) -> None:
    cage = Cage(tmp_path_factory.mktemp("cage"))
    try:
        cage.receive(data + tars.END, piece)
    except FormatError:
        return


@given(
    data=ARCHIVES,
    changes=st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=3)), max_size=4),
)
@thorough(150)
@example(data=tars.block(b"f", data=b"x"), changes=[(156, b"L")])
def test_any_damage_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, changes: list[tuple[int, bytes]]
) -> None:
    broken = bytearray(data + tars.END)
    for at, change in changes:
        broken[at : at + len(change)] = change
        start = at - at % 512
        if len(broken) >= start + 512:  # let the change be seen: the header's checksum is right
            header = bytes(broken[start : start + 148]) + b" " * 8 + bytes(broken[start + 156 : start + 512])
            broken[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    cage = Cage(tmp_path_factory.mktemp("cage"))
    try:
        cage.receive(bytes(broken))
    except FormatError:
        return


def test_hostile_archives_take_little_memory(tmp_path: Path) -> None:
    """In a process that may have little: the whole corpus, long extensions, and a few thousand entries that replace
    each other."""
    program = """
import resource, sys, tempfile
from pathlib import Path
from corten.errors import FormatError
from corten.oci.unpack import unpack
from support import tars
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
def entries():
    for n in range(6_000):
        yield tars.block(b"%d" % (n % 2000), data=b"x" if n % 2 else b"", flag=b"0")
    yield tars.END
def extension():
    yield tars.block(b"p", b"x", size=b"00004000000\\0")
    for _ in range(300):
        yield bytes(1 << 20)
def zeros():
    yield tars.block(b"f", size=b"00004000000\\0")[:512]
    for _ in range(300):
        yield bytes(1 << 20)
    yield tars.END
streams = [iter([data, tars.END]) for data in [*tars.REFUSED.values(), *tars.ACCEPTED.values()]]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for stream in [*streams, entries(), extension(), zeros()]:
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as place:
        try:
            unpack(stream, Path(place))
        except FormatError:
            pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(tars.__file__).parent.parent)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40  # MiB


def test_the_number_of_entries_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corten.oci.tar_stream.MOST_ENTRIES", 50)
    with pytest.raises(FormatError, match="more than 50 entries"):
        unpack.unpack(iter([tars.block(b"f")] * 51), tmp_path)


def test_files_need_not_lie_in_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        data = tars.block(b"a/b/f", data=b"x", mode=b"0000664\0") + tars.block(b"c/", b"5", mode=b"0001777\0")
        unpack.unpack(iter([data, tars.END]), tmp_path)
    finally:
        os.umask(before)
    modes = {
        name: (tmp_path / "fs" / name).stat().st_mode & 0o7777 for name in (".", "a", "a/b", "a/b/f", "c")
    }
    assert modes == {".": 0o755, "a": 0o755, "a/b": 0o755, "a/b/f": 0o664, "c": 0o1777}


def test_many_directories_need_few_descriptors(tmp_path: Path) -> None:
    entries = [tars.block(b"d%d/e/f" % n, data=b"x") for n in range(300)]
    deep = tars.pax((b"path", b"/".join([b"d"] * 250))) + tars.block(b"f", data=b"x")
    before = len(os.listdir("/proc/self/fd"))
    unpack.unpack(iter([*entries, deep, tars.END]), tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
    assert b"".join(replay(tmp_path / "recipe", tmp_path / "fs")) == b"".join([*entries, deep, tars.END])
