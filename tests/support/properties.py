"""Properties that take long: `make test` tries a part of their examples, `make test-long` all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import settings

FEW = os.environ.get("CORTEN_TEST_EXAMPLES") == "few"
_SHARE = 8
Test = TypeVar("Test", bound=Callable[..., Any])


def thorough(examples: int, least: int = 25, **options: Any) -> Callable[[Test], Test]:
    """`hypothesis.settings` with so many examples, or with an eighth of them, but no fewer than `least`, where CORTEN_TEST_EXAMPLES
    is `few`."""
    number = max(least, examples // _SHARE) if FEW else examples

    def decorate(test: Test) -> Test:
        decorated: Test = pytest.mark.thorough(settings(max_examples=number, **options)(test))
        return decorated

    return decorate
