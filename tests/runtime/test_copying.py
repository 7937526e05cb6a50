"""Where a copy goes, and what of a tree travels: docker's rules."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
from pathlib import Path

import pytest

from corten.errors import UsageError
from corten.runtime import archives, tree_stream
from corten.runtime.copying import Kind, destination


@pytest.mark.parametrize(
    ("source", "is_folder", "target", "kind", "goes"),
    [
        # docker's documentation of `docker cp`, case by case.
        ("file", False, "new", "nothing", ("/", "new")),
        ("file", False, "old", "file", ("/", "old")),
        ("file", False, "there", "folder", ("/there", "file")),
        ("file", False, "there/", "folder", ("/there", "file")),
        ("dir", True, "new", "nothing", ("/", "new")),
        ("dir", True, "new/", "nothing", ("/", "new")),
        ("dir/", True, "there", "folder", ("/there", "dir")),
        ("dir/.", True, "there", "folder", ("/there", "")),
        (".", True, "there", "folder", ("/there", "")),
        ("dir/.", True, "new", "nothing", ("/", "new")),
    ],
)
def test_a_copy_goes_where_docker_puts_it(
    source: str, is_folder: bool, target: str, kind: Kind, goes: tuple[str, str]
) -> None:
    base = os.path.basename(os.path.normpath(source))
    assert destination(source, base, is_folder, target, f"/{target.rstrip('/')}", kind) == goes


@pytest.mark.parametrize(
    ("source", "is_folder", "target", "kind", "said"),
    [
        ("file", False, "new/", "nothing", "there is no folder 'new/'"),
        ("file", False, "old/", "file", "'old/' is not a folder"),
        ("dir", True, "old", "file", "cannot take the place of the file"),
        ("dir/.", True, "old", "file", "cannot take the place of the file"),
        ("file/.", False, "there", "folder", "'file/.' is not a folder"),
        ("file/", False, "there", "folder", "'file/' is not a folder"),
    ],
)
def test_a_copy_that_docker_refuses_is_refused(
    source: str, is_folder: bool, target: str, kind: Kind, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        destination(source, "file", is_folder, target, f"/{target.rstrip('/')}", kind)


def test_names_of_one_file_and_fifos_travel_and_the_rest_is_told(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "first").write_text("one file\n")
    os.link(source / "first", source / "below" / "second")
    os.mkfifo(source / "fifo", 0o600)
    (source / "fifo").chmod(0o622)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "below" / "socket"))
    stream = io.BytesIO()
    assert tree_stream.send(str(source), stream) == ("below/socket",)
    stream.seek(0)
    assert tree_stream.receive(stream, str(tmp_path), "copy") == ("below/socket",)
    copy = tmp_path / "copy"
    assert os.path.samefile(copy / "first", copy / "below" / "second")
    assert (copy / "first").read_text() == "one file\n"
    assert (copy / "fifo").is_fifo()
    assert (copy / "fifo").stat().st_mode & 0o777 == 0o622
    assert not (copy / "below" / "socket").exists()


def test_contents_go_into_a_folder_that_stays_as_it_is(tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    source.mkdir(mode=0o755)
    (source / "a").write_text("a")
    os.link(source / "a", source / "b")
    there.mkdir()
    there.chmod(0o1777)
    (there / "kept").touch()
    stream = io.BytesIO()
    tree_stream.send(str(source), stream)
    stream.seek(0)
    tree_stream.receive(stream, str(there), "")
    assert sorted(os.listdir(there)) == ["a", "b", "kept"]
    assert there.stat().st_mode & 0o7777 == 0o1777


def test_an_archive_stays_in_its_folder(tmp_path: Path) -> None:
    """Names that lead out are refused, on this side already; folders without an entry are made, and those there stay."""

    def archive(*names: str) -> io.BytesIO:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(name))
        return io.BytesIO(data.getvalue())

    for name in ("../x", "a/../../x"):
        with pytest.raises(UsageError, match="leads out of it"):
            archives.to_tree(archive(name), io.BytesIO())
    with pytest.raises(UsageError, match="no tar archive"):
        archives.to_tree(io.BytesIO(b"text" * 500), io.BytesIO())
    stream = io.BytesIO()
    archives.to_tree(archive("/etc/x", "./there/y"), stream)
    (tmp_path / "there").mkdir(mode=0o711)
    tree_stream.receive(io.BytesIO(stream.getvalue()), str(tmp_path), "")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "etc",
        "etc/x",
        "there",
        "there/y",
    ]
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o711
