"""Foreign layers: unpacked safely, and streamed back byte for byte."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.errors import FormatError
from corten.oci import unpack
from corten.oci.digest import Digest
from corten.store.check import check
from corten.store.store import Store


def member(name: str, data: bytes | None = None, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data or b"")
    info.mode = 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data or b""


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    with tarfile.open(path, "w", format=form) as out:
        for info, data in members:
            out.addfile(info, io.BytesIO(data))
    return path.read_bytes()


def keep(
    tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT
) -> tuple[Path, bytes, bytes]:
    """The tree, the stream that went in, and the stream that comes out of a store."""
    data = archive(tmp_path / "layer.tar", *members, form=form)
    store = Store.open(tmp_path / "store")
    with store.temporary_directory() as directory:
        store.layers.receive(directory, iter([data]), Digest.of(data))
    assert check(store).findings == ()
    return store.layers.tree(Digest.of(data)), data, b"".join(store.layers.stream(Digest.of(data)))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_form_streams_back(tmp_path: Path, form: int) -> None:
    name = "d/" + "long" * 20 + ("/" + "n" * 90 if form != tarfile.USTAR_FORMAT else "")
    tree, data, again = keep(
        tmp_path,
        member("d", type=tarfile.DIRTYPE, mode=0o750, mtime=1234567),
        member(name, b"x" * 5000, uid=1000, gid=50, uname="ann", mtime=99),
        member("./d/tool", b"#!", mode=0o4755),
        member("d/hard", type=tarfile.LNKTYPE, linkname="d/tool"),
        member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("empty", b""),
        form=form,
    )
    assert again == data
    assert (tree / "d/tool").stat().st_mode & 0o7777 == 0o755
    assert (tree / "d/hard").samefile(tree / "d/tool")
    assert os.readlink(tree / "link") == "/etc/passwd"
    assert not (tree / "dev/null").exists()
    if os.geteuid() == 0:
        assert (tree / name).stat().st_uid == 1000


def test_whiteouts_become_overlays(tmp_path: Path) -> None:
    tree, data, again = keep(
        tmp_path,
        member("etc/.wh.passwd", b""),
        member("opt", type=tarfile.DIRTYPE, mode=0o755),
        member("opt/.wh..wh..opq", b""),
    )
    assert again == data
    status = (tree / "etc/passwd").lstat()
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == 0
    assert os.getxattr(tree / "opt", "user.overlay.opaque") == b"y"


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil", b"x")],
        [member("a/../../evil", b"x")],
        [member("link", type=tarfile.SYMTYPE, linkname="/tmp"), member("link/evil", b"x")],
        [member("link", type=tarfile.SYMTYPE, linkname="../.."), member("link/evil/deeper", b"x")],
        [member("hard", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
        [member("hard", type=tarfile.LNKTYPE, linkname="../../etc/passwd")],
        [member("file", b"x"), member("file/below", b"x")],
        [member("etc/.wh...", b"")],
        [member("etc/.wh.", b"")],
        [member("d/f", b"x"), member("d", b"file in place of a directory")],
    ],
)
def test_hostile_entries_are_refused(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(FormatError):
        keep(tmp_path, *members)
    assert not list(tmp_path.rglob("evil*"))
    assert list((tmp_path / "store/tmp").iterdir()) == []


def test_an_absolute_name_lands_inside(tmp_path: Path) -> None:
    tree, data, again = keep(tmp_path, member("/etc/inside", b"x"))
    assert again == data
    assert (tree / "etc/inside").read_bytes() == b"x"


def test_entries_that_come_twice(tmp_path: Path) -> None:
    tree, data, again = keep(tmp_path, member("f", b"first" * 200), member("f", b"second"))
    assert again == data
    assert (tree / "f").read_bytes() == b"second"


def test_a_link_replaced_through_another_name(tmp_path: Path) -> None:
    """The first file's bytes live on under the other name only."""
    tree, data, again = keep(
        tmp_path,
        member("a", b"one" * 100),
        member("b", type=tarfile.LNKTYPE, linkname="a"),
        member("a", type=tarfile.SYMTYPE, linkname="b"),
    )
    assert again == data
    assert (tree / "a").is_symlink()


def test_another_layer_than_named(tmp_path: Path) -> None:
    data = archive(tmp_path / "layer.tar", member("f", b"x"))
    store = Store.open(tmp_path / "store")
    with store.temporary_directory() as directory, pytest.raises(FormatError, match="should be"):
        store.layers.receive(directory, iter([data]), Digest.of(b"other"))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "a/b", "b", "a/b/c", ".wh.a", "a/.wh..wh..opq"]),
            st.sampled_from("0123456"),
            st.binary(max_size=600),
        )
    )
)
@settings(max_examples=80, deadline=None)
def test_any_mixture_is_refused_or_streams_back(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[str, str, bytes]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("layer")
    members = []
    for name, kind, data in items:
        regular = kind == "0"
        members.append(
            member(name, data if regular else None, type=kind.encode(), linkname="a" if kind in "12" else "")
        )
    try:
        _, data, again = keep(tmp_path, *members)
    except FormatError:
        return
    assert again == data


def test_an_extension_header_does_not_fill_the_memory(tmp_path: Path) -> None:
    """A PAX header claims 3 GB, which gzip makes of 3 MB; it may not be read into memory."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 3 << 30
    path = tmp_path / "layer.tar"
    with open(path, "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.truncate((3 << 30) + 1024)
    (tmp_path / "layer").mkdir()
    with open(path, "rb") as file, pytest.raises(FormatError, match="extension header"):
        unpack.unpack(iter(lambda: file.read(1 << 20), b""), tmp_path / "layer")


def test_a_path_is_not_endlessly_deep(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="deep"):
        keep(tmp_path, member("a/" * 1000 + "b", b"x"))
