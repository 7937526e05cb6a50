"""uv's words in ours. The same failures of the real uv are in test_wheels; here are the forms that other versions print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import CortenError, FetchError, ProjectError, ResolutionError
from corten.oci.platform import Platform
from corten.packages.compatibility import Target
from corten.packages.explain import explain

TARGET = Target(Platform.parse("amd64"), "3.11.2", 36)

OLD = """\
  \x1b[31m×\x1b[0m No solution found when resolving dependencies:
\x1b[31m  ╰─▶ \x1b[0mBecause only foo<=2 is available and you require foo>=99, we can
\x1b[31m      \x1b[0mconclude that your requirements are unsatisfiable.

hint: Pre-releases are available for `foo` in the requested range (e.g., 99.0rc1), but pre-releases weren't enabled
(try: `--prerelease=allow`)
"""


def test_an_older_uv_draws_a_tree() -> None:
    error = explain(OLD, TARGET, lambda _: ())
    assert isinstance(error, ResolutionError)
    assert error.message.startswith(
        "the project's dependencies cannot all be satisfied:\n  Because only foo<=2 is available"
    )
    assert "Pre-releases are available" in error.message
    assert not set("│├╰─▶×\x1b") & set(error.message)


@pytest.mark.parametrize(
    ("printed", "kind", "message"),
    [
        ("error: Requested extra not found: wb\n", ProjectError, "requested extra not found: wb"),
        (
            "error: Unexpected '-', expected '-c', '-e', '-r' or the start of a requirement: r.txt:5:1",
            ProjectError,
            "r.txt:5:1",
        ),
        (
            "error: Request failed after 3 retries in 9.3s\n  cause: Failed to fetch: https://h.corp/whl/cpu/torch/\n"
            "  cause: error sending request\n  cause: dns error\n",
            FetchError,
            "the index at 'h.corp' is not known",
        ),
        (
            "error: Failed to fetch: `https://h.corp/simple/a/`\n  Caused by: HTTP status client error (401 Unauthorized) for url",
            FetchError,
            "the index at 'h.corp' refused access",
        ),
        ("", ResolutionError, "uv failed without a word"),
    ],
)
def test_other_failures(printed: str, kind: type[CortenError], message: str) -> None:
    error = explain(printed, TARGET, lambda _: ())
    assert isinstance(error, kind)
    assert message in error.message
    assert "\n" not in error.message


@given(st.text())
def test_any_text_becomes_an_error(text: str) -> None:
    assert explain(text, TARGET, lambda _: ()).message
    assert explain(
        "error: No solution found when resolving dependencies\n  cause: " + text, TARGET, lambda _: ("x",)
    ).message
