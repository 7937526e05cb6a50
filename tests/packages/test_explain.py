"""uv's words in ours. The same failures of the real uv are in test_wheels; here are the forms that other versions print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import BuildError, CortenError, FetchError, ProjectError, ResolutionError
from corten.oci.platform import Platform
from corten.packages.compatibility import Target
from corten.packages.explain import explain, not_built

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


def test_a_source_that_cannot_be_built_is_of_other_pythons_where_its_wheels_are() -> None:
    files = ["numpy-1.13.0-cp35-cp35m-manylinux1_x86_64.whl", "numpy-1.13.0-cp36-cp36m-manylinux1_x86_64.whl"]
    newer = "numpy-2.0.0-cp311-cp311-manylinux2014_x86_64.whl"
    said = "'numpy 1.13.0' has no wheel that fits and cannot be built from source: it imports 'distutils'"
    error = not_built(BuildError(said, hint="say it"), TARGET, lambda _: [*files, newer])
    assert error is not None
    assert error.message == (
        "'numpy' 1.13.0 has no wheel for Python 3.11; its wheels are for Python 3.5, 3.6, and it cannot be built from source for "
        "3.11: it imports 'distutils'"
    )
    assert error.hint is not None
    assert error.hint.startswith("choose another version")
    way = 'add it in [tool.corten]: build-system-packages = ["libssl-dev"]'
    error = not_built(BuildError(said, hint=way), TARGET, lambda _: files)
    assert error is not None
    assert (error.hint or "").startswith(f"{way}; or choose")
    assert not_built(BuildError(said), TARGET, lambda _: [newer]) is None
    assert not_built(BuildError("the disk is full"), TARGET, lambda _: files) is None
