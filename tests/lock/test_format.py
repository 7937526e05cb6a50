"""corten.lock: written so that a diff can be read, read back fast and strictly."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import CortenError, FormatError, LockOutdated
from corten.lock.document import MOST_FILES
from corten.lock.format import _lines, decode, encode, read_lock, write_lock
from corten.lock.model import ImageBase, Lock, PlatformLock
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.files import HubFile, HubModel, Wheel
from support.locks import sample_lock
from support.properties import thorough


def test_what_is_written_is_read_both_ways() -> None:
    lock = sample_lock()
    text = encode(lock)
    assert decode(text.encode()) == lock
    assert _lines(text) == tomllib.loads(text)
    indented = text.replace("  { name", "      { name")
    assert _lines(indented) is None
    assert decode(indented.encode()) == lock


def test_one_line_for_every_file() -> None:
    lock = sample_lock(wheels=3, debs=2, platforms=1)
    part = lock.platforms[0]
    changed = replace(
        part, wheels=(*part.wheels[:1], replace(part.wheels[1], version="9.9"), *part.wheels[2:])
    )
    before, after = encode(lock).splitlines(), encode(replace(lock, platforms=(changed,))).splitlines()
    assert len(before) == len(after)
    assert sum(left != right for left, right in zip(before, after, strict=True)) == 1
    assert all(len(line) < 420 for line in before)


def test_an_absurd_number_of_files_is_refused_before_any_is_looked_at() -> None:
    (head, rest) = encode(sample_lock(wheels=1, platforms=1)).split("wheels = [\n")
    nonsense = '  { name = "", version = "", file = "", size = 0, sha256 = "" },\n'
    with pytest.raises(FormatError) as caught:
        decode(f"{head}wheels = [\n{nonsense * (MOST_FILES + 1)}{rest}".encode())
    assert (
        caught.value.message
        == "the lock names 10,002 files in 'wheels' of linux/amd64, and Corten takes 10,000 at most"
    )
    assert "corten lock" in (caught.value.hint or "")
    lock = sample_lock(wheels=MOST_FILES, debs=1, platforms=1)
    assert len(decode(encode(lock).encode()).platforms[0].wheels) == MOST_FILES


def test_an_image_base_and_awkward_text() -> None:
    base = ImageBase(
        'oci:./mein "Ordner", mit \\ und é', Digest.of(b"x"), "3.12.1", "/usr/local/bin/python3.12"
    )
    lock = Lock("0.1.0", Digest.of(b"p"), (PlatformLock(Platform("linux", "arm64"), base),))
    text = encode(lock)
    assert decode(text.encode()) == lock
    assert tomllib.loads(text)["platform"]["linux/arm64"]["base"]["image"] == base.reference


_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_VERSIONS = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}(\+[a-z0-9]{1,5})?", fullmatch=True)


@given(
    st.lists(
        st.tuples(_NAMES, _VERSIONS, st.integers(0, 1 << 40), st.binary(max_size=3)),
        unique_by=lambda item: item[0],
    )
)
def test_any_wheels_survive(items: list[tuple[str, str, int, bytes]]) -> None:
    wheels = tuple(
        Wheel(
            name, version, f"{name.replace('-', '_')}-{version}-py3-none-any.whl", size, Digest.of(data).hex
        )
        for name, version, size, data in items
    )
    lock = sample_lock(platforms=1)
    lock = replace(lock, platforms=(replace(lock.platforms[0], wheels=wheels),))
    text = encode(lock)
    assert decode(text.encode()) == lock
    assert _lines(text) == tomllib.loads(text)


@thorough(300)
@given(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 40))
def test_any_damage_is_an_error_or_another_lock(place: int, data: bytes, gone: int) -> None:
    text = encode(sample_lock(wheels=2, debs=2, platforms=1)).encode()
    place %= len(text)
    damaged = text[:place] + data + text[place + gone :]
    fast = outcome(damaged)
    slow = outcome(damaged.replace(b"\n  {", b"\n   {"))
    assert isinstance(fast, (Lock, FormatError, LockOutdated))
    if not isinstance(fast, Lock):
        assert fast.hint
        return
    assert fast == slow  # the fast reader takes nothing that TOML would refuse or read in another way


def outcome(data: bytes) -> Lock | CortenError:
    try:
        return decode(data)
    except CortenError as error:
        return error


def edited(old: str, new: str) -> str:
    text = encode(sample_lock(wheels=2, debs=2, platforms=1))
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 1\n", "version = 2\n", "has format 2, and this Corten knows format 1"),
        ("version = 1\n", "", "not a lock of Corten's"),
        ("wheel_0-1.0-py3", "../wheel_0-1.0-py3", "the file of 'wheel-0'"),
        (
            "wheel_0-1.0-py3-none-any.whl",
            "wheel_1-1.0-py3-none-any.whl",
            "not the name of a wheel of 'wheel-0'",
        ),
        ("wheel_0-1.0-py3-none-any.whl", "wheel_0-1.0.tar.gz", "not the name of a wheel"),
        ("pool/main", "/pool/main", "the path of 'deb-0'"),
        ("pool/main", "pool/../main", "not the place of a package"),
        ('sha256 = "', 'sha256 = "x', "the sha256 of"),
        ("size = 1000", "size = -1", "the size of"),
        ("size = 1000", 'size = "1000"', "the size of"),
        ("size = 1000", "size = 1000, url = 3", "unknown key 'url'"),
        ('name = "wheel-1"', 'name = "wheel-0"', "not the name of a wheel of 'wheel-0'"),
        ('architecture = "amd64"', 'architecture = "../.."', "the architecture of"),
        ('archive = "debian"', 'archive = "a/b"', "the archive of"),
        ("linux/amd64", "windows/amd64", "unknown platform"),
        ('project = "sha256:', 'project = "md5:', "not a sha256 or sha512 digest"),
        ("wheels = [", "wheels = 3 # [", "not TOML"),
        ("layer-format = 2", "layer-format = true", "the layer-format"),
        ("[platform", "<<<<<<< HEAD\n[platform", "has a merge conflict in line"),
    ],
)
def test_edits_by_hand_are_refused_with_a_reason(old: str, new: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode(edited(old, new).encode())
    assert message in caught.value.message
    assert caught.value.hint


def test_another_layer_format_is_stale() -> None:
    with pytest.raises(LockOutdated, match="layer format 7"):
        decode(edited("layer-format = 2", "layer-format = 7").encode())


def test_two_of_a_name_are_refused() -> None:
    text = encode(sample_lock(wheels=1, platforms=1))
    line = next(line for line in text.splitlines() if "wheel_0" in line)
    with pytest.raises(FormatError, match="'wheel-0' is there twice"):
        decode(text.replace(line, f"{line}\n{line}").encode())


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "corten.lock"
    with pytest.raises(LockOutdated, match=r"there is no 'corten\.lock'") as caught:
        read_lock(path)
    assert "corten lock" in str(caught.value.hint)
    lock = sample_lock()
    assert write_lock(path, lock)
    stamp = path.stat()
    assert not write_lock(path, lock)  # equal: not touched, so tools that watch it are not woken
    assert path.stat().st_mtime_ns == stamp.st_mtime_ns
    assert path.stat().st_ino == stamp.st_ino
    assert read_lock(path) == lock
    real = tmp_path / "locks" / "real.lock"
    real.parent.mkdir()
    path.rename(real)
    path.symlink_to(real)
    write_lock(path, sample_lock(wheels=1))
    assert path.is_symlink()
    assert read_lock(real) == sample_lock(wheels=1)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["corten.lock", "locks"]
    assert list(real.parent.iterdir()) == [real]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="not text"):
        read_lock(path)
    with pytest.raises(FormatError, match="cannot be read"):
        read_lock(tmp_path)


def test_a_large_lock_is_read_without_a_parser_of_toml() -> None:
    """Which takes ten times as long: the format's own reader knows every line that Corten writes."""
    text = encode(sample_lock(wheels=52, debs=70))
    assert _lines(text) == tomllib.loads(text)
    script = "import sys; from corten.lock.format import decode; decode(sys.stdin.buffer.read()); print('tomllib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], input=text.encode(), capture_output=True, check=True
    )
    assert done.stdout == b"False\n"


MODEL = HubModel(
    "hf://org/bert@main",
    "c" * 40,
    (HubFile("1_Pooling/config.json", 2, "a" * 64), HubFile("model.safetensors", 5_000_000_000, "b" * 64)),
)


def test_models_of_a_hub_are_read_both_ways() -> None:
    lock = replace(sample_lock(wheels=1, platforms=1), models=(MODEL, replace(MODEL, name="hf://gpt2@v1")))
    text = encode(lock)
    assert decode(text.encode()) == lock
    assert _lines(text) == tomllib.loads(text)
    assert '[model."hf://org/bert@main"]' in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1_Pooling/config.json", "../config.json", "is not the path of a file"),
        ("1_Pooling/config.json", "/etc/config.json", "the path of 'hf://org/bert@main' is"),
        ("1_Pooling/config.json", "model.safetensors", "is there twice"),
        ("hf://org/bert@main", "hf://org/../bert@main", "is no model of a hub"),
        ("hf://org/bert@main", "https://example.com/x", "is no model of a hub"),
        ("c" * 40, "main", "the commit of 'hf://org/bert@main' is 'main'"),
        ("commit = ", "comment = ", "unknown key 'comment'"),
    ],
)
def test_models_of_a_hub_that_cannot_be_are_refused(old: str, new: str, message: str) -> None:
    text = encode(replace(sample_lock(wheels=1, platforms=1), models=(MODEL,)))
    with pytest.raises(FormatError, match=re.escape(message)):
        decode(text.replace(old, new).encode())
