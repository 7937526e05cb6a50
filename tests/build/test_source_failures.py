"""What is said of a source that could not be built, and what to do about it."""

from __future__ import annotations

import pytest

from corten.build.source_failures import explained, lacks_compiler
from corten.sandbox.confinement import Limits
from corten.sandbox.process import Finished

LIMITS = Limits(memory=4 << 30, seconds=1800)


@pytest.mark.parametrize(
    ("printed", "said", "hint"),
    [
        ("x.c:3:10: fatal error: ffi.h: No such file or directory", "the header 'ffi.h'", '["libffi-dev"]'),
        ("fatal error: graphviz/cgraph.h: No such file", "'graphviz/cgraph.h'", '["libgraphviz-dev"]'),
        ("fatal error: own/odd.h: No such file", "the header 'own/odd.h'", "name the Debian package"),
        ("fatal error: other/sqlite3.h: No such file", "'other/sqlite3.h'", '["…"]'),
        ("error: command '/usr/bin/swig' failed: No such file or directory", "swig'", '["swig"]'),
        ("/usr/bin/ld: cannot find -lssl: No such file", "'ssl' is missing", '["libssl-dev"]'),
        ("error: command 'swig' failed: No such file or directory", "'swig'", '["swig"]'),
        ("Error: pg_config executable not found.", "'pg_config'", '["libpq-dev"]'),
        ("sh: 1: pg_config: not found", "'pg_config'", '["libpq-dev"]'),
        (
            "Exception: Command 'pkg-config --exists perconaserverclient' returned non-zero exit status 1.",
            "'perconaserverclient'",
            '["default-libmysqlclient-dev"]',
        ),
        ("Package cairo was not found in the pkg-config search path.", "'cairo'", '["libcairo2-dev"]'),
        ("No package 'xmlsec1' found", "'xmlsec1'", '["libxmlsec1-dev"]'),
        (
            "The headers or library files could not be found for zlib,\na required dependency when compiling Pillow from source.",
            "'zlib' is missing",
            '["zlib1g-dev"]',
        ),
        ("ModuleNotFoundError: No module named 'Cython.Build'", "imports 'Cython'", 'thing = ["cython"]'),
        ("ERROR: No matching distribution found for numpy", "its build uses the network", None),
        ("error: can't find Rust compiler", "written in Rust", None),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'cargo'", "written in Rust", None),
        ("MemoryError", "more than 4 GB of memory", None),
        ("OSError: [Errno 28] No space left on device", "needs more disk space than the sandbox has", None),
        ("Traceback\n  File x\nValueError: odd\nnote: see above", "ValueError: odd", None),
        ("", "it ended with code 1", None),
    ],
)
def test_the_cause_and_what_to_do(printed: str, said: str, hint: str | None) -> None:
    message, way = explained("thing", Finished(1, b"", printed.encode()), LIMITS)
    assert said in message
    assert (way is None) if hint is None else (way is not None and hint in way)


def test_a_build_that_was_ended() -> None:
    assert "30 minutes" in explained("thing", Finished(124, b"", b"", late=True), LIMITS)[0]
    assert "printed too much" in explained("thing", Finished(1, b"", b"", overlong=True), LIMITS)[0]


def test_a_long_line_is_cut_and_says_nothing_to_a_terminal() -> None:
    message, _ = explained("thing", Finished(1, b"", b"\x1b[31mError: " + b"x" * 5000 + b"\x07"), LIMITS)
    assert message.startswith("Error: xxx")
    assert len(message) == 300


def test_what_was_printed_before_a_flood_is_not_looked_at_and_what_comes_after_is() -> None:
    module = b"ModuleNotFoundError: No module named 'early'\n"
    for flood in (b"x\n" * 5000, b"x" * (300 << 10) + b"\n"):
        message, _ = explained("thing", Finished(1, b"", module + flood + b"ValueError: odd"), LIMITS)
        assert message == "ValueError: odd"
        message, _ = explained("thing", Finished(1, b"", flood + module), LIMITS)
        assert "imports 'early'" in message


@pytest.mark.parametrize(
    ("printed", "lacks"),
    [
        ("error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory", True),
        ("error: command 'g++' failed: No such file or directory", True),
        ("meson.build:1: ERROR: Unknown compiler(s): [['cc'], ['gcc']]", True),
        ("CMake Error: No CMAKE_CXX_COMPILER could be found.", True),
        ("error: command 'gcc' failed with exit code 1", False),
    ],
)
def test_a_compiler_that_is_not_there(printed: str, lacks: bool) -> None:
    assert lacks_compiler(Finished(1, b"", printed.encode())) is lacks
