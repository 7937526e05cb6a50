"""Logins of package indexes are taken out of the files that name indexes, and nothing else is."""

from __future__ import annotations

import codecs
import tomllib
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.project.credentials import has_addresses, without_credentials

CLEANED = [
    ("--index-url https://user:pass@host/simple\n", "--index-url https://host/simple\n"),
    ("-i https://TOKEN@host:8443/x # note\n", "-i https://host:8443/x # note\n"),
    ("pkg @ git+https://u:p@github.com/a/b.git@v1\n", "pkg @ git+https://github.com/a/b.git@v1\n"),
    ("pkg @ git+ssh://git:pw@host/a\n", "pkg @ git+ssh://host/a\n"),
    ("-i https://u:p@ss@host/x", "-i https://host/x"),
    ("-i HTTPS://u:p'a\"b@host/x", "-i HTTPS://host/x"),
    ("-i https://u:p\\\nq@host/x\nz", "-i https://host/x\nz"),
    ("a https://u:p@one/ https://v:q@two/\n", "a https://one/ https://two/\n"),
    ("-i https://u:p@[::1]:80/\n", "-i https://[::1]:80/\n"),
    ("-i ftp://u:p%40x@h", "-i ftp://h"),
    ("--trusted https://u:p@${HOST}/x", "--trusted https://${HOST}/x"),
]
KEPT = [
    "--index-url https://host/simple",
    "-i https://${USER}:${PASSWORD}@host/simple",
    "-i https://user:${PASSWORD}@host/simple",
    "-i https://${TOKEN}@host/simple",
    "-i https://__token__:%PASSWORD%@host/",
    "pkg @ git+ssh://git@github.com/a/b.git",
    "pkg @ git+https://github.com/a/b.git@v1",
    "# mail me@example.org, see https://host/@me",
    "pkg==1.0 --hash=sha256:00",
    "https://host?x=a:b@c",
    "https://host#a:b@c",
]


@pytest.mark.parametrize(("text", "expected"), CLEANED)
def test_a_login_is_taken_out(text: str, expected: str) -> None:
    clean, lines = without_credentials("requirements.txt", text.encode())
    assert clean.decode() == expected
    assert lines == (1,)
    assert without_credentials("requirements.txt", clean) == (clean, ())


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_login_stays(text: str) -> None:
    for name in ("requirements.txt", "pyproject.toml"):
        assert without_credentials(name, text.encode()) == (text.encode(), ())


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("-i https://TOKEN@host/simple\n", True),
        ("numpy\n  --extra-index-url=https://u:p@host\n", True),
        ("model @ git+https://TOKEN@host/a.git\n", True),
        ("a note: see https://u:p@host/\n", False),
        ("write to -i https://u:p@host/\n", False),
    ],
)
def test_a_list_of_requirements_is_known_by_what_is_in_it(text: str, changed: bool) -> None:
    clean, lines = without_credentials("deps/production.txt", text.encode())
    assert bool(lines) is changed
    assert (b"@host" not in clean) is changed


def test_toml_keeps_its_form() -> None:
    text = b"""index = ["https://host","me@example.org",'https://u:p@two/x']
[[other]]
url = "https://user:pass@three/simple"
note = 'https://four', 'a@b'
"""
    clean, lines = without_credentials("uv.toml", text)
    assert lines == (1, 3)
    assert clean == text.replace(b"u:p@", b"").replace(b"user:pass@", b"")
    tomllib.loads(clean.decode().rpartition("note")[0])


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_a_file_in_utf_16_is_read_as_pip_reads_it(mark: bytes) -> None:
    order = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    clean, lines = without_credentials("requirements.txt", mark + "a\n-i https://u:p@h/é\n".encode(order))
    assert (clean.removeprefix(mark).decode(order), lines) == ("a\n-i https://h/é\n", (2,))
    assert without_credentials("requirements.txt", mark + b"x") == (mark + b"x", ())


@given(
    st.text(
        st.characters(exclude_characters="/?#<>\\ \n\r", exclude_categories=["Cs", "Z", "C"]), min_size=1
    ),
    st.text(
        st.characters(exclude_characters="/?#<>\\ \n\r", exclude_categories=["Cs", "Z", "C"]), min_size=1
    ),
)
def test_no_login_that_an_url_can_have_remains(user: str, password: str) -> None:
    if any(character in user + password for character in "${}%*"):
        return
    text = f"-i https://{user}:{password}@host.example/simple"
    clean, _ = without_credentials("requirements.txt", text.encode())
    assert urlsplit(clean.decode().removeprefix("-i ")).netloc == "host.example"


@given(st.binary(max_size=200), st.sampled_from(["requirements.txt", "uv.toml"]))
def test_nothing_more_is_taken_out_the_second_time(data: bytes, name: str) -> None:
    clean, lines = without_credentials(name, b"https://" + data)
    if not lines:
        assert clean == b"https://" + data
    assert without_credentials(name, clean)[1] == ()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *dict.fromkeys(
            [
                *("requirements.txt", "requirements-dev.txt", "dev-requirements.in", "requirements/base.txt"),
                *(
                    "sub/constraints.txt",
                    "uv.toml",
                    "pip.conf",
                    "pyproject.toml",
                    "sub/Pipfile",
                    "poetry.lock",
                ),
                *("a/pip.ini", "setup.cfg", "environment.yml", "requirements.lock", "Requirements.TXT"),
            ],
            True,
        ).items(),
        *dict.fromkeys(
            ["main.py", "notes.md", "requirements.py", "data/requirements.json", "x.toml"], False
        ).items(),
    ],
)
def test_which_files_name_indexes(path: str, expected: bool) -> None:
    assert has_addresses(path) is expected
