"""Every parser of Debian's formats takes anything: it says what is there, or refuses it in one sentence."""

from __future__ import annotations

import hashlib
import lzma
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corten.errors import CortenError, FormatError
from corten.packages.debian import paragraph
from corten.packages.debian.deb import contents, read_control
from corten.packages.debian.index import Index, find_listed, prepare
from corten.packages.debian.lists import Lists, folder_name
from corten.packages.debian.mirrors import stamps
from corten.packages.debian.release import Release, read_release
from corten.packages.debian.signed import Signed
from corten.store.store import Store
from debian_parts import NOW, ar, clearsign, control_text, public, signing_key, stranger, tar

KEYS = [public(signing_key())]

text = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\n\t :-#.\0\r")), max_size=200)
keys = st.sampled_from(
    [
        "Package",
        "Version",
        "Architecture",
        "Depends",
        "Provides",
        "Filename",
        "Size",
        "SHA256",
        "Priority",
        "X-Y",
    ]
)
values = st.one_of(
    st.sampled_from(
        ["a", "1.0-1", "amd64", "all", "pool/main/a/a/a_1_amd64.deb", "10", "0" * 64, "b | c (>= 1)"]
    ),
    text,
)
paragraphs = st.lists(st.tuples(keys, values), max_size=12).map(
    lambda fields: "".join(f"{key}: {value}\n" for key, value in fields)
)


def check_sentence(error: CortenError) -> None:
    assert "\n" not in error.message
    assert len(error.message) < 1000


@given(text)
def test_any_text_is_a_paragraph_or_refused(data: str) -> None:
    for part in paragraph.split(data):
        try:
            fields = paragraph.parse(part, "the text")
        except FormatError as error:
            check_sentence(error)
        else:
            assert all(key == key.lower() and key.isprintable() for key in fields)


# --- Packages ------------------------------------------------------------------------------------------------


@given(st.lists(paragraphs, max_size=4))
@example(["Package: a\tb\nVersion: 1\nProvides: c\td\n"])
@example(["SHA256: " + "0" * 64 + "\n"])
def test_any_packages_file_is_searched_or_refused(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    data = "\n".join(parts).encode()
    directory = tmp_path_factory.mktemp("index")
    try:
        found = find_listed(iter([data[:7], data[7:]]), "", 1 << 20, {"0" * 64}, "amd64")
        assert all(package.sha256 == "0" * 64 for package in found)
    except FormatError as error:
        check_sentence(error)
    (directory / "Packages").write_bytes(data)
    try:
        prepare(directory / "Packages", "", directory / "index")
        index = Index(directory / "index", "amd64")
        for name in [*index.names(), "a", "b", "c", ""]:
            index.named(name)
            index.providing(name)
    except FormatError as error:
        check_sentence(error)


packages = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9+.-]{1,8}", fullmatch=True), st.integers(1, 10**9), max_size=12
)


@given(packages, st.integers(1, 3000), st.sampled_from(["xz", "gz", ""]), st.data())
def test_the_search_finds_what_the_index_has_however_it_is_cut(
    found: dict[str, int], step: int, kind: str, data: st.DataObject
) -> None:
    import gzip

    listed = {}
    parts = []
    for name, size in found.items():
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        listed[sha256] = (name, size)
        parts.append(
            control_text(name)
            + f"Filename: pool/main/x/{name}_1_amd64.deb\nSize: {size}\nSHA256: {sha256}\nTag: x\n"
        )
    plain = "\n".join(parts).encode()
    packed = {"xz": lzma.compress, "gz": gzip.compress, "": bytes}[kind](plain)
    wanted = set(data.draw(st.lists(st.sampled_from(sorted(listed) or ["0" * 64]), max_size=5)))
    pieces = (packed[start : start + step] for start in range(0, len(packed), step))
    result = find_listed(pieces, kind, len(plain), wanted | {"f" * 64}, "amd64")
    assert {package.sha256: (package.name, package.size) for package in result} == {
        sha256: listed[sha256] for sha256 in wanted if sha256 in listed
    }
    if plain:
        with pytest.raises(FormatError):
            find_listed(iter([packed]), kind, len(plain) - 3, wanted, "amd64")


@given(st.binary(max_size=300), st.sampled_from(["xz", "gz", ""]))
def test_any_packed_index_is_read_or_refused(data: bytes, kind: str) -> None:
    try:
        find_listed(iter([data]), kind, 1000, {"0" * 64}, "amd64")
    except FormatError as error:
        check_sentence(error)


# --- Release and its armor -----------------------------------------------------------------------------------

GOOD = (
    "Origin: Debian\nCodename: bookworm\nDate: Sun, 01 Mar 2026 12:00:00 GMT\n"
    f"SHA256:\n {'a' * 64} 10 main/binary-amd64/Packages.xz\n"
)
SIGNED = clearsign(GOOD)
FORGED = GOOD.replace("a" * 64, "b" * 64)


def read(data: bytes) -> Release | None:
    try:
        return read_release(data, "bookworm", "the mirror", keys=KEYS, now=NOW)
    except CortenError as error:
        check_sentence(error)
        return None


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Origin", "Codename", "Date", "Valid-Until", "SHA256", "Acquire-By-Hash"]),
            st.one_of(
                st.sampled_from(
                    [
                        "Debian",
                        "bookworm",
                        "Fri, 31 Dec 9999 23:59:59 -2359",
                        "Mon, 01 Jan 0001 00:00:00 +2359",
                        "Sun, 01 Mar 2026 12:00:00 +9999999",
                        "\n " + "a" * 64 + " 99999999999999999999 x\n " + "a" * 64 + " -1 y",
                    ]
                ),
                text,
            ),
        ),
        max_size=6,
    )
)
@example([("Origin", "Debian"), ("Codename", "bookworm"), ("Date", "Fri, 31 Dec 9999 23:59:59 -2359")])
def test_any_signed_text_is_a_release_or_refused(fields: list[tuple[str, str]]) -> None:
    found = read(clearsign("".join(f"{key}: {value}\n" for key, value in fields)))
    if found is not None:
        assert found.codename == "bookworm"
        assert all(len(sha256) == 64 and size >= 0 for sha256, size in found.files.values())


pieces = st.sampled_from(
    [
        SIGNED,
        clearsign(FORGED, stranger()),
        FORGED.encode(),
        b"\n\n",
        b"-----BEGIN PGP SIGNED MESSAGE-----\n",
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n",
        b"Hash: SHA256\n",
        b"NotDashEscaped: yes\n",
        b"-----BEGIN PGP SIGNATURE-----\n",
        b"-----END PGP SIGNATURE-----\n",
        b"- -----BEGIN PGP SIGNED MESSAGE-----\n",
        SIGNED.partition(b"\n\n")[2],
        SIGNED[SIGNED.index(b"-----BEGIN PGP SIGNATURE") :],
        SIGNED.replace(b"a" * 64, b"b" * 64),
        b"\xff\0",
    ]
)


@given(st.lists(pieces, max_size=5).map(b"".join))
@example(SIGNED)
@example(FORGED.encode() + SIGNED)
@example(SIGNED + FORGED.encode())
@example(SIGNED + clearsign(FORGED, stranger()))
def test_only_what_was_signed_is_read_whatever_is_put_around_it(data: bytes) -> None:
    found = read(data)
    assert found is None or found.files == {"main/binary-amd64/Packages.xz": ("a" * 64, 10)}


@given(st.binary(max_size=200).map(lambda data: b"-----BEGIN PGP SIGNED MESSAGE-----\n" + data))
def test_any_armor_is_refused(data: bytes) -> None:
    assert read(data) is None


@given(text)
@example("9999-12-31T23:59:59Z")
@example("0001-01-01T00:00:00+23:59")
def test_any_time_in_a_lock_is_one_or_refused(moment: str) -> None:
    for parse in (stamps, folder_name):
        try:
            found = parse(moment)
        except FormatError as error:
            check_sentence(error)
        else:
            assert all("/" not in item for item in found)


# --- files of a bundle and of the store ----------------------------------------------------------------------


@settings(max_examples=40)
@given(st.binary(max_size=100), st.binary(max_size=100), st.booleans())
def test_any_folder_of_indexes_proves_nothing(
    tmp_path_factory: pytest.TempPathFactory, release: bytes, packages: bytes, signed: bool
) -> None:
    lists = Lists(tmp_path_factory.mktemp("lists"), KEYS)
    folder = lists.keep("bookworm", "2026-03-01T12:00:00Z", SIGNED if signed else release)
    lists.place(folder, "amd64", "xz").write_bytes(packages)
    with pytest.raises(CortenError):
        lists.find(folder, "amd64", {"0" * 64})


@given(st.binary(max_size=300))
def test_any_record_of_signed_packages_is_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    store = Store.open(tmp_path_factory.mktemp("store"))
    (store.root / "debian" / "newest").mkdir(parents=True)
    (store.root / "debian" / "signed").write_bytes(data)
    (store.root / "debian" / "newest" / "debian,bookworm").write_bytes(data)
    signed = Signed(store)
    assert signed.missing(["bookworm"], []) == []
    signed.newest("debian", "bookworm")
    signed.saw("debian", "bookworm", f"{NOW + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}")


# --- .deb ----------------------------------------------------------------------------------------------------

members = st.tuples(
    st.sampled_from(
        ["debian-binary", "control.tar", "control.tar.xz", "data.tar", "data.tar.gz", "x" * 16, ""]
    ),
    st.one_of(
        st.just(b"2.0\n"),
        st.just(tar({"control": control_text("a").encode()})),
        st.just(lzma.compress(tar({"control": control_text("a").encode()}))),
        st.binary(max_size=600),
    ),
)


@given(
    st.lists(members, max_size=4),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
)
def test_any_ar_archive_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, bytes]], damage: list[tuple[int, int]]
) -> None:
    data = bytearray(ar(parts))
    for place, value in damage:
        if place < len(data):
            data[place] = value
    path: Path = tmp_path_factory.mktemp("ar") / "x.deb"
    path.write_bytes(data)
    try:
        control = read_control(path)
        assert control.text
        with contents(path) as entries:
            for member, content in entries:
                assert ".." not in member.path.split("/")
                assert sum(map(len, content())) == member.size
    except FormatError as error:
        check_sentence(error)


@given(paragraphs, st.dictionaries(st.sampled_from(["md5sums", "postinst", "control"]), text, max_size=3))
def test_any_control_archive_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, control: str, others: dict[str, str]
) -> None:
    files = {"control": control.encode(), **{name: data.encode() for name, data in others.items()}}
    path: Path = tmp_path_factory.mktemp("control") / "x.deb"
    path.write_bytes(ar([("debian-binary", b"2.0\n"), ("control.tar", tar(files))]))
    try:
        found = read_control(path)
        assert all(len(value) == 32 for value in found.md5sums.values())
    except FormatError as error:
        check_sentence(error)
