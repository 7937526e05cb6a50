"""A Python from python-build-standalone at /usr/local: what is left out, and what is rewritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.build.standalone import kept, place_python, rewritten
from corten.errors import FormatError
from corten.packages.files import PythonArchive
from support.pythons import SYSCONFIG, Entries, packed, tiny

PATH = "20240224/cpython-3.10.4+20240224-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
ARCHIVE = PythonArchive(PATH, 1, "0" * 64)


def placed(tmp_path: Path, entries: Entries, archive: PythonArchive = ARCHIVE) -> Path:
    file, tree = tmp_path / "archive", tmp_path / "tree"
    file.write_bytes(packed(entries))
    tree.mkdir()
    place_python(file, archive, tree)
    return tree / "usr/local"


def test_it_lies_at_usr_local(tmp_path: Path) -> None:
    prefix = placed(tmp_path, tiny("3.10"))
    assert (prefix / "bin/python3").resolve() == prefix / "bin/python3.10"
    assert os.access(prefix / "bin/python3.10", os.X_OK)
    assert list((prefix / "lib/python3.10/site-packages").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "stays"),
    [
        ("lib/python3.10/os.py", True),
        ("lib/python3.10/unittest/case.py", True),
        ("lib/python3.10/ensurepip/__init__.py", True),
        ("lib/python3.10/lib-dynload/_sqlite3.cpython-310-x86_64-linux-gnu.so", True),
        ("lib/libpython3.10.so.1.0", True),
        ("include/python3.10/Python.h", True),
        ("share/terminfo/x/xterm-256color", True),
        ("bin/pip3", False),
        ("bin/idle3.10", False),
        ("lib/tcl8.6/init.tcl", False),
        ("lib/libtk8.6.so", False),
        ("lib/python3.10/test/test_os.py", False),
        ("lib/python3.10/unittest/test/test_case.py", False),
        ("lib/python3.10/tkinter/__init__.py", False),
        ("lib/python3.10/ensurepip/_bundled/pip-23.0.1-py3-none-any.whl", False),
        ("lib/python3.10/lib-dynload/_tkinter.cpython-310-x86_64-linux-gnu.so", False),
        ("lib/python3.10/site-packages/pip/__init__.py", False),
        ("lib/python3.10/__pycache__/os.cpython-310.pyc", False),
        ("lib/python3.10/config-3.10-x86_64-linux-gnu/libpython3.10.a", False),
        ("share/man/man1/python3.1", False),
        ("share/terminfo/q/qansi", False),
    ],
)
def test_what_stays(path: str, stays: bool) -> None:
    assert kept(path) is stays


def test_what_names_the_place_and_the_compilers_of_the_build_is_rewritten() -> None:
    text = rewritten(SYSCONFIG.encode()).decode()
    for part in (
        "'CC': 'cc -pthread'",
        "'CXX': 'c++ -pthread'",
        "'AR': 'ar'",
        "'prefix': '/usr/local'",
        "'LIBDIR': '/usr/local/lib'",
        "'CFLAGS': '-fPIC'",
        "'--prefix=/usr/local'",
        "'--with-x=/reinstall'",
    ):
        assert part in text
    assert rewritten(b"prefix=/install\nlibdir=/install/lib:/x/install\n") == (
        b"prefix=/usr/local\nlibdir=/usr/local/lib:/x/install\n"
    )
    assert rewritten(b"CC= /usr/bin/aarch64-linux-gnu-gcc -O2 -I/opt/clang-18/include") == (
        b"CC= cc -O2 -I/opt/clang-18/include"
    )


def test_another_python_than_its_name_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"has no 'bin/python3\.10'"):
        placed(tmp_path, tiny("3.11"))


def test_a_free_threaded_one_has_a_folder_of_its_own(tmp_path: Path) -> None:
    archive = PythonArchive(
        "20240224/cpython-3.13.4+20240224-x86_64-unknown-linux-gnu-freethreaded-install_only.tar.gz",
        1,
        "0" * 64,
    )
    assert (archive.minor, archive.version) == ("3.13t", "3.13.4")
    prefix = placed(tmp_path, tiny("3.13t"), archive)
    assert (prefix / "lib/python3.13t/site-packages").is_dir()
