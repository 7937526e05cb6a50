"""Trees that travel: packed, unpacked elsewhere, and the same; streams of other programs, byte for byte."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corten.errors import FormatError
from corten.oci import media, tar
from corten.oci.bound import LAYER
from corten.oci.compression import Compression, Compressors, decompressed
from corten.oci.digest import Digest
from corten.store.check import check
from corten.store.store import Store
from support.properties import thorough

TYPES: dict[Compression, str] = {"gzip": media.LAYER_GZIP, "zstd": media.LAYER_ZSTD, "raw": media.LAYER}


def listing(tree: Path) -> dict[str, tuple[object, ...]]:
    """Path, kind, mode, owner and contents of everything in `tree`, and itself."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [tree, *tree.rglob("*")]:
        status = path.lstat()
        link = os.readlink(path) if path.is_symlink() else None
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[os.fspath(path.relative_to(tree))] = (status.st_mode, status.st_uid, status.st_gid, link, data)
    return found


def received(store: Store, data: bytes) -> Path:
    diff_id = Digest.of(data)
    with store.temporary_directory() as directory:
        store.layers.receive(directory, (data[n : n + 4000] for n in range(0, len(data), 4000)), diff_id)
    assert b"".join(store.layers.stream(diff_id)) == data
    assert check(store).findings == ()
    return store.layers.tree(diff_id)


NAME = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="/\0"), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..") and not name.startswith(".wh.") and len(name.encode()) < 250)
LEAF = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=2000), st.booleans()),
    st.tuples(st.just("link"), st.text("abc./é", min_size=1, max_size=150), st.booleans()),
)
TREE = st.recursive(LEAF, lambda inner: st.dictionaries(NAME, inner, max_size=4), max_leaves=12)


NEARLY = st.lists(
    st.tuples(
        st.sampled_from(["a", "a/b", "a/b/c", "a-b", "b", "b/.wh.x", "é", "n" * 120]),
        st.sampled_from(["file", "file", "directory", "directory", "symlink"]),
        st.sampled_from([0o644, 0o755, 0o755, 0o777, 0o1777, 0o600]),
        st.sampled_from([b"", b"", b"x", b"y" * 512, b"z" * 700]),
    ),
    max_size=6,
)


def write(place: Path, node: object) -> None:
    if isinstance(node, dict):
        place.mkdir()
        for name, inner in node.items():
            write(place / name, inner)
    elif node[0] == "file":  # type: ignore[index]
        place.write_bytes(node[1])  # type: ignore[index]
        place.chmod(0o755 if node[2] else 0o644)  # type: ignore[index]
    else:
        place.symlink_to(node[1])  # type: ignore[index]


@given(root=st.dictionaries(NAME, TREE, max_size=5), kind=st.sampled_from(["gzip", "zstd", "raw"]))
@settings(max_examples=80, deadline=None)
def test_any_tree_arrives_as_it_left(
    tmp_path_factory: pytest.TempPathFactory, root: dict[str, object], kind: Compression
) -> None:
    place = tmp_path_factory.mktemp("trees")
    home, away = Store.open(place / "home"), Store.open(place / "away")
    with home.temporary_directory() as directory:
        write(directory / "fs", root)
        made = home.layers.commit(directory, None)
    with Compressors(2) as compressors, away.temporary_directory() as directory:
        packed = compressors.compress(home.layers.stream(made.diff_id), kind)
        came = away.layers.receive(directory, decompressed(packed, TYPES[kind], LAYER), made.diff_id)
    assert came == made
    assert listing(away.layers.tree(made.diff_id)) == listing(home.layers.tree(made.diff_id))
    assert b"".join(away.layers.stream(made.diff_id)) == b"".join(home.layers.stream(made.diff_id))
    # It is kept as a layer that was made here: by its list of entries, which is the same.
    assert list(away.layers.entries(made.diff_id)) == list(home.layers.entries(made.diff_id))
    assert not (away.layers.directory / made.diff_id.hex / "recipe").exists()


def as_written(items: list[tuple[str, str, int, bytes]], filler: bytes, tail: bytes) -> bytes:
    """Entries as Corten writes them, in whatever order and number; `filler` is what pads."""
    data = b""
    for path, kind, mode, content in items:
        size = len(content) if kind == "file" else 0
        link = "somewhere" if kind == "symlink" else ""
        data += tar.header(tar.Entry(path, kind, mode, size, link))  # type: ignore[arg-type]
        data += (content + filler * (-size % 512)) if size else b""
    return data + tail


@given(
    items=NEARLY,
    ordered=st.booleans(),
    filler=st.sampled_from([b"\0", b"\0", b"\0", b" "]),
    tail=st.sampled_from(
        [bytes(1024), bytes(1024), bytes(1024), b"", bytes(512), bytes(1536), bytes(1024) + b"x"]
    ),
)
@thorough(250)
@example([("b", "file", 0o644, b"x"), ("a", "file", 0o644, b"x")], False, b"\0", bytes(1024))
@example([("a", "file", 0o644, b"x"), ("a", "file", 0o644, b"y")], False, b"\0", bytes(1024))
@example([("a", "file", 0o644, b"x"), ("b", "file", 0o644, b"y")], False, b" ", bytes(1024))
@example([("a/b", "file", 0o644, b"x")], False, b"\0", bytes(1024))
@example([("a", "file", 0o600, b"x")], False, b"\0", bytes(1024))
@example([("a", "file", 0o644, b"x")], False, b"\0", bytes(1536))
def test_only_what_would_be_written_here_counts_as_such(
    tmp_path_factory: pytest.TempPathFactory,
    items: list[tuple[str, str, int, bytes]],
    ordered: bool,
    filler: bytes,
    tail: bytes,
) -> None:
    """A list of entries stands for the stream exactly where packing the tree would give it again."""
    if ordered:
        items = sorted({item[0]: item for item in items}.values(), key=lambda item: item[0].split("/"))
    data = as_written(items, filler, tail)
    store = Store.open(tmp_path_factory.mktemp("nearly"))
    try:
        tree = received(store, data)
    except FormatError:
        return
    kept_by_entries = (store.layers.directory / Digest.of(data).hex / "entries").exists()
    assert kept_by_entries != (store.layers.directory / Digest.of(data).hex / "recipe").exists()
    try:
        again = b"".join(tar.stream(tar.scan(tree), tree))
    except FormatError:  # a whiteout is nothing that is written here
        again = b""
    assert kept_by_entries == (again == data)


def sample(root: Path) -> Path:
    """A tree with what programs write in different ways."""
    write(
        root,
        {
            "bin": {"tool": ("file", b"#!" * 700, True), "linked": ("link", "tool", False)},
            "d" * 90: {"e" * 90: {"f" * 90: ("file", b"deep", False), "long": ("link", "t" * 150, False)}},
            "é": {"ü.txt": ("file", "ä".encode(), False)},
            "empty": {},
            "none": ("file", b"", False),
        },
    )
    os.link(root / "bin/tool", root / "bin/again")
    os.chmod(root / "bin/linked", 0o755)
    os.chmod(root / "empty", 0o2770)
    if os.geteuid() == 0:
        os.chown(root / "none", 1234, 4321)
    return root


@pytest.mark.parametrize(
    "options", [["--format=gnu"], ["--format=pax"], ["--format=gnu", "--numeric-owner", "-b1"]]
)
def test_streams_of_gnu_tar(tmp_path: Path, options: list[str]) -> None:
    source = sample(tmp_path / "source")
    command = ["tar", "-C", os.fspath(source), *options, "-cf-", "."]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    tree = received(Store.open(tmp_path / "store"), data)
    wanted = {
        path: (value[0] & ~0o6000, *value[1:]) for path, value in listing(source).items() if path != "."
    }
    if os.geteuid() != 0:
        wanted = {
            path: (value[0], os.geteuid(), tree.stat().st_gid, *value[3:]) for path, value in wanted.items()
        }
    assert {path: value for path, value in listing(tree).items() if path != "."} == wanted
    assert (tree / "bin/again").samefile(tree / "bin/tool")


@pytest.mark.parametrize("form", ["ustar", "v7"])
def test_streams_of_old_forms(tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    write(source, {"a" * 60: {"b": ("file", b"x" * 1000, True)}, "l": ("link", "b", False)})
    command = ["tar", "-C", os.fspath(source), f"--format={form}", "-cf-", "."]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    tree = received(Store.open(tmp_path / "store"), data)
    assert (tree / ("a" * 60) / "b").read_bytes() == b"x" * 1000


def test_gnu_tar_reads_what_was_received(tmp_path: Path) -> None:
    """And our own canonical stream, packed in members, is what others unpack."""
    store = Store.open(tmp_path / "store")
    with store.temporary_directory() as directory:
        write(
            directory / "fs", {"a": {"b" * 120: ("file", b"x" * 3_000_000, False)}, "é": ("file", b"y", True)}
        )
        made = store.layers.commit(directory, None)
    with Compressors(2) as compressors:
        packed = b"".join(compressors.compress(store.layers.stream(made.diff_id), "gzip"))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-C", os.fspath(tmp_path / "out"), "-xzf-"], input=packed, check=True)
    assert (tmp_path / "out/a" / ("b" * 120)).read_bytes() == b"x" * 3_000_000
    assert (tmp_path / "out/é").read_bytes() == b"y"


def umoci(*arguments: str) -> None:
    subprocess.run(["umoci", *arguments], check=True, capture_output=True)


def test_streams_of_umoci(tmp_path: Path) -> None:
    """Go's archive/tar writes them: whiteouts, hard links, PAX names."""
    layout, bundle = f"{tmp_path}/layout", tmp_path / "bundle"
    umoci("init", "--layout", layout)
    umoci("new", "--image", f"{layout}:one")
    umoci("unpack", *([] if os.geteuid() == 0 else ["--rootless"]), "--image", f"{layout}:one", str(bundle))
    source = sample(tmp_path / "source")
    os.rename(source, bundle / "rootfs/tree")
    umoci("repack", "--image", f"{layout}:one", "--refresh-bundle", str(bundle))
    (bundle / "rootfs/tree/none").unlink()
    umoci("repack", "--image", f"{layout}:two", str(bundle))
    store = Store.open(tmp_path / "store")
    whiteouts = 0
    for blob in Path(layout, "blobs/sha256").iterdir():
        data = blob.read_bytes()
        if data[:2] == b"\x1f\x8b":
            plain = b"".join(decompressed([data], media.LAYER_GZIP, LAYER))
            tree = received(store, plain)
            whiteouts += sum(stat.S_ISCHR(path.lstat().st_mode) for path in tree.rglob("*"))
    assert whiteouts == 1


def test_a_layer_is_seen_when_it_is_whole(tmp_path: Path) -> None:
    home, away = Store.open(tmp_path / "home"), Store.open(tmp_path / "away")
    with home.temporary_directory() as directory:
        write(directory / "fs", {"f": ("file", b"x" * 10_000, False)})
        made = home.layers.commit(directory, None)

    def interrupted() -> object:
        for piece in home.layers.stream(made.diff_id):
            yield piece
            assert not away.layers.has(made.diff_id)
        raise ConnectionError("cut")

    with away.temporary_directory() as directory, pytest.raises(ConnectionError):
        away.layers.receive(directory, interrupted(), made.diff_id)  # type: ignore[arg-type]
    assert away.layers.all() == []
    assert list((away.root / "tmp").iterdir()) == []
    with away.temporary_directory() as directory:
        again = away.layers.receive(directory, home.layers.stream(made.diff_id), made.diff_id)
    assert again.new
    assert away.layers.unsynced() == [made.diff_id]
    with away.temporary_directory() as directory:
        assert not away.layers.receive(directory, home.layers.stream(made.diff_id), made.diff_id).new


def test_one_layer_received_by_many_at_once(tmp_path: Path) -> None:
    home, away = Store.open(tmp_path / "home"), Store.open(tmp_path / "away")
    with home.temporary_directory() as directory:
        write(directory / "fs", {f"{n}": ("file", b"x" * n * 100, False) for n in range(50)})
        made = home.layers.commit(directory, None)
    failures = []

    def receive() -> None:
        try:
            with away.temporary_directory() as directory:
                away.layers.receive(directory, home.layers.stream(made.diff_id), made.diff_id)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=receive) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert b"".join(away.layers.stream(made.diff_id)) == b"".join(home.layers.stream(made.diff_id))
    assert list((away.root / "tmp").iterdir()) == []
