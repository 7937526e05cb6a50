"""What a predictor's log says of errors beside their traceback."""

from __future__ import annotations

import errno
import os

import pytest

from corten_serve.worker.tracebacks import user_traceback


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "/app/out/result.csv",
            "'/app/out/result.csv' is read-only: write below /tmp, or mount a volume there: -v NAME:/app/out",
        ),
        ("/app/result.csv", "'/app/result.csv' is read-only: write below /tmp, or run with --read-write"),
    ],
)
def test_a_write_to_a_read_only_place_names_it_and_the_way_out(path: str, said: str) -> None:
    error = RuntimeError("the result is not written")
    error.__cause__ = OSError(errno.EROFS, os.strerror(errno.EROFS), path)
    assert user_traceback(error).splitlines()[-1] == said


def test_other_errors_are_as_python_prints_them() -> None:
    assert user_traceback(FileNotFoundError(errno.ENOENT, "gone", "/app/x")).endswith("gone: '/app/x'\n")
