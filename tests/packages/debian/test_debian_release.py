from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.errors import CortenError, FetchError, SignatureError
from corten.packages.debian.release import archive_keys, read_release
from debian_parts import clearsign, public, signing_key, stranger

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEXT = (
    "Origin: Debian\nLabel: Debian\nCodename: bookworm\nDate: Sat, 28 Feb 2026 10:00:00 UTC\n{more}"
    "Acquire-By-Hash: yes\nMD5Sum:\n 0ed6d4c8891eb86358b94bb35d9e4da4 12 main/binary-amd64/Packages.xz\n"
    "SHA256:\n "
    + "a" * 64
    + " 1234 main/binary-amd64/Packages.xz\n "
    + "b" * 64
    + "        9 main/Contents-all\n"
)


def read(data: bytes, codename: str = "bookworm", keys: list[bytes] | None = None):
    return read_release(
        data, codename, "http://mirror.example/debian", keys=keys or [public(signing_key())], now=NOW
    )


def test_reads_what_was_signed() -> None:
    found = read(clearsign(TEXT.format(more="")))
    assert found.date == "2026-02-28T10:00:00Z"
    assert found.by_hash
    assert found.files == {
        "main/binary-amd64/Packages.xz": ("a" * 64, 1234),
        "main/Contents-all": ("b" * 64, 9),
    }


def test_one_known_key_among_several_signatures_is_enough() -> None:
    strangers = [public(stranger()), public(signing_key())]
    assert read(clearsign(TEXT.format(more="")), keys=strangers).codename == "bookworm"


def test_a_changed_text_is_refused() -> None:
    data = clearsign(TEXT.format(more="")).replace(b"1234 main", b"1235 main")
    with pytest.raises(SignatureError, match="not signed by Debian, or was changed") as caught:
        read(data)
    assert "http://mirror.example/debian" in caught.value.message
    assert "mirror" in (caught.value.hint or "")


def test_a_strangers_signature_is_refused() -> None:
    with pytest.raises(SignatureError, match="not signed by Debian"):
        read(clearsign(TEXT.format(more=""), stranger()))


def test_text_around_the_signed_part_is_never_read() -> None:
    data = clearsign(TEXT.format(more=""))
    with pytest.raises(SignatureError):
        read(b"Origin: Debian\n\n" + data)
    evil = b"\nSHA256:\n " + b"c" * 64 + b" 1 main/binary-amd64/Packages.xz\n"
    assert read(data + evil).files["main/binary-amd64/Packages.xz"] == ("a" * 64, 1234)


def test_unsigned_text_and_web_pages_are_refused() -> None:
    with pytest.raises(SignatureError, match="is not signed"):
        read(TEXT.format(more="").encode())
    with pytest.raises(FetchError, match="web page instead of the index of 'bookworm'"):
        read(b"\n<!DOCTYPE html><html>Please log in</html>")


def test_an_expired_index_is_refused_and_a_valid_one_taken() -> None:
    data = clearsign(TEXT.format(more="Valid-Until: Sun, 01 Mar 2026 11:59:00 UTC\n"))
    with pytest.raises(SignatureError, match="has expired on 2026-03-01 11:59 UTC") as caught:
        read(data)
    assert "clock" in (caught.value.hint or "")
    assert read(clearsign(TEXT.format(more="Valid-Until: Sun, 01 Mar 2026 12:01:00 UTC\n")))


def test_other_origins_and_suites_are_refused() -> None:
    other = TEXT.format(more="").replace("Origin: Debian", "Origin: Ubuntu")
    with pytest.raises(SignatureError, match="not Debian's, but from 'Ubuntu'"):
        read(clearsign(other))
    with pytest.raises(SignatureError, match="belongs to 'bookworm'"):
        read(clearsign(TEXT.format(more="")), "trixie")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_gets_through(data: st.DataObject) -> None:
    signed = clearsign(TEXT.format(more=""))
    place = data.draw(st.integers(0, len(signed) - 1))
    byte = data.draw(st.integers(0, 255))
    damaged = signed[:place] + bytes([byte]) + signed[place + 1 :]
    try:
        found = read(damaged)
    except CortenError:
        return
    assert found == read(signed)  # damage to what is not signed (armour, comments) may go unseen


def test_ships_the_keys_of_both_releases_and_none_that_ends_soon() -> None:
    import pysequoia

    certificates = [pysequoia.Cert.from_bytes(key) for key in archive_keys()]
    names = " ".join(str(user) for certificate in certificates for user in certificate.user_ids)
    for release in ("12/bookworm", "13/trixie"):
        assert f"Debian Archive Automatic Signing Key ({release})" in names
        assert f"Debian Security Archive Automatic Signing Key ({release})" in names
        assert f"Debian Stable Release Key ({release})" in names
    ends = [certificate.expiration for certificate in certificates]
    assert all(end is None or end > datetime.now(UTC) + timedelta(days=180) for end in ends)


def test_agrees_with_gpgv(tmp_path: Path) -> None:
    """The second implementation: what we take, gpgv takes; what we refuse, it refuses."""
    gpgv = shutil.which("gpgv")
    assert gpgv, "this test needs gpgv (apt install gpgv)"
    keyring = tmp_path / "keyring.gpg"
    keyring.write_bytes(public(signing_key()))
    good = clearsign(TEXT.format(more=""))
    for data, expected in (
        (good, True),
        (good.replace(b"1234", b"1235"), False),
        (clearsign("x\n", stranger()), False),
    ):
        (tmp_path / "InRelease").write_bytes(data)
        code = subprocess.run(
            [gpgv, "--keyring", keyring, tmp_path / "InRelease"], capture_output=True
        ).returncode
        assert (code == 0) is expected
