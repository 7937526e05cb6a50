from __future__ import annotations

import contextlib
import gzip
import lzma
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.errors import FormatError
from corten.packages.debian import relations
from corten.packages.debian.index import Catalogue, Index, prepare
from corten.packages.debian.relations import Relation
from debian_parts import control_text

SHA = "0" * 64


def entry(name: str, version: str = "1.0-1", **fields: str) -> str:
    text = control_text(name, version, **fields)
    return f"{text}Filename: pool/main/x/{name}_{version.rpartition(':')[2]}_amd64.deb\nSize: 10\nSHA256: {SHA}\n"


def make(directory: Path, *entries: str, name: str = "one", **rest: str) -> Index:
    packed = directory / f"{name}.xz"
    packed.write_bytes(lzma.compress("\n".join(entries).encode(), preset=0))
    prepare(packed, "xz", directory / f"{name}.index")
    return Index(directory / f"{name}.index", "amd64", **rest)


def test_finds_packages_and_what_they_provide(tmp_path: Path) -> None:
    index = make(
        tmp_path,
        entry("zlib1g", "1:1.2-3", depends="libc6 (>= 2.14), a | b:any (<< 2) [amd64 !arm64], c [i386]"),
        entry("mawk", provides="awk, nawk (= 2)", pre_depends="libc6 (>= 2.29)", depends="x"),
        entry("mawk", "1.1-1"),
        entry("lib++", description="a\n Package: trap\n Provides: awk"),
        archive="debian",
        released="2026-01-01T00:00:00Z",
    )
    (zlib,) = index.named("zlib1g")
    assert (zlib.version, zlib.path, zlib.size, zlib.sha256) == (
        "1:1.2-3",
        "pool/main/x/zlib1g_1.2-3_amd64.deb",
        10,
        SHA,
    )
    assert zlib.depends == (
        (Relation("libc6", ">=", "2.14"),),
        (Relation("a"), Relation("b", "<<", "2", "any")),
    )
    assert [package.version for package in index.named("mawk")] == ["1.0-1", "1.1-1"]
    assert index.named("mawk")[0].depends == ((Relation("libc6", ">=", "2.29"),), (Relation("x"),))
    assert [package.name for package in index.providing("awk")] == ["mawk"]
    assert index.providing("nawk")[0].provided("nawk") == ["2"]
    assert index.named("lib++")[0].released == "2026-01-01T00:00:00Z"
    assert not index.named("trap")
    assert not index.named("mawk ")
    assert not index.named("")
    assert list(index.names()) == ["lib++", "mawk", "mawk", "zlib1g"]


names = st.text("ab1+-.", min_size=1, max_size=5).filter(lambda text: text[0] not in "+-.")


@settings(max_examples=60, deadline=None)
@given(st.lists(names, max_size=30), st.lists(names, max_size=10))
def test_finds_every_name_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, present: list[str], asked: list[str]
) -> None:
    index = make(tmp_path_factory.mktemp("index"), *(entry(name) for name in present))
    for name in {*present, *asked}:
        assert [package.name for package in index.named(name)] == [name] * present.count(name)


def test_the_newest_of_several_suites_comes_first_and_the_earlier_suite_among_equals(tmp_path: Path) -> None:
    main = make(tmp_path, entry("a", "1.0-1"), entry("b", "1.0-1"), name="main", archive="debian")
    fixed = make(
        tmp_path, entry("a", "1.0-1+deb12u1"), entry("b", "1.0-1"), name="sec", archive="debian-security"
    )
    catalogue = Catalogue([main, fixed])
    assert [(package.version, package.archive) for package in catalogue.named("a")] == [
        ("1.0-1+deb12u1", "debian-security"),
        ("1.0-1", "debian"),
    ]
    assert [package.archive for package in catalogue.named("b")] == ["debian"]


def test_reads_gzip_and_plain(tmp_path: Path) -> None:
    text = entry("a").encode()
    (tmp_path / "plain").write_bytes(text)
    (tmp_path / "packed").write_bytes(gzip.compress(text))
    prepare(tmp_path / "plain", "", tmp_path / "1")
    prepare(tmp_path / "packed", "gz", tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert Index(tmp_path / "1", "amd64").named("a")


def test_an_empty_index_has_nothing(tmp_path: Path) -> None:
    index = make(tmp_path)
    assert not index.named("a")
    assert not index.providing("a")


@pytest.mark.parametrize("kind", ["xz", "gz"])
def test_a_damaged_or_endless_index_is_refused(tmp_path: Path, kind: str) -> None:
    pack = lzma.compress if kind == "xz" else gzip.compress
    good = pack(b"\n" * 200_000)
    for data in (good[: len(good) // 2], good[:20] + b"\0\0\0\0" + good[24:], b"<html>"):
        (tmp_path / "packed").write_bytes(data)
        with pytest.raises(FormatError, match="damaged"):
            prepare(tmp_path / "packed", kind, tmp_path / "index")
    (tmp_path / "packed").write_bytes(good)
    with pytest.raises(FormatError, match="larger than 1000 bytes"):
        prepare(tmp_path / "packed", kind, tmp_path / "index", largest=1000)
    assert not (tmp_path / "index").exists()


def test_a_prepared_index_that_lost_its_end_is_noticed(tmp_path: Path) -> None:
    make(tmp_path, entry("a"))
    data = (tmp_path / "one.index").read_bytes()
    for cut in (0, 10, 130, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(FormatError):
            Index(tmp_path / "cut", "amd64")


@pytest.mark.parametrize(
    "change",
    [
        ("Filename: pool/", "Filename: ../pool/"),
        ("Filename: pool/", "Filename: pool/../../"),
        ("Filename: pool/", "Filename: /etc/"),
        ("Size: 10", "Size: -1"),
        (SHA, "xyz"),
        ("Version: 1.0-1", "Version: a b"),
    ],
)
def test_broken_entries_are_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    index = make(tmp_path, entry("a").replace(*change))
    with pytest.raises(FormatError):
        index.named("a")


def test_relations() -> None:
    parse = relations.parse
    assert parse("a(>=1)|b , c (= 1:2-3) ", "amd64") == (
        (Relation("a", ">=", "1"), Relation("b")),
        (Relation("c", "=", "1:2-3"),),
    )
    assert parse("a [linux-any], b [!amd64], c [arm64 amd64], d <!nocheck>", "amd64") == (
        (Relation("a"),),
        (Relation("c"),),
        (Relation("d"),),
    )
    assert parse("a (< 1), b (> 1)", "amd64") == ((Relation("a", "<=", "1"),), (Relation("b", ">=", "1"),))
    for bad in ("a (", "a >= 1", "(>= 1)", "a (== 1)", "${shlibs:Depends}"):
        with pytest.raises(FormatError):
            parse(bad, "amd64")
    assert Relation("a", ">=", "1").admits("1.1")
    assert not Relation("a", ">=", "1").admits(None)
    assert Relation("a").admits(None)


@given(st.text(max_size=60))
def test_any_text_is_a_relation_or_refused(text: str) -> None:
    with contextlib.suppress(FormatError):
        relations.parse(text, "amd64")
