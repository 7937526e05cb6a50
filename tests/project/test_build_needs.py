"""What a project says of building packages from source."""

from __future__ import annotations

from typing import Any

import pytest

from corten.errors import ProjectError
from corten.project.build_needs import BuildNeeds, build_needs


def test_requirements_by_package_and_constraints() -> None:
    uv = {
        "extra-build-dependencies": {
            "Flash_Attn": ["torch", {"requirement": "numpy<2", "match-runtime": True}],
            "a": [],
        },
        "build-constraint-dependencies": ["setuptools<60"],
    }
    assert build_needs({"tool": {"uv": uv}}) == BuildNeeds(
        (("a", ()), ("flash-attn", ("torch", "numpy<2"))), ("setuptools<60",)
    )


@pytest.mark.parametrize("document", [{}, {"tool": 1}, {"tool": {"uv": 1}}, {"tool": {"uv": {}}}])
def test_nothing(document: dict[str, Any]) -> None:
    assert build_needs(document) == BuildNeeds()


@pytest.mark.parametrize(
    "uv",
    [
        {"extra-build-dependencies": ["x"]},
        {"extra-build-dependencies": {"x": "numpy"}},
        {"extra-build-dependencies": {"x": [1]}},
        {"build-constraint-dependencies": {"x": 1}},
    ],
)
def test_what_is_no_list_of_requirements(uv: dict[str, Any]) -> None:
    with pytest.raises(ProjectError) as caught:
        build_needs({"tool": {"uv": uv}})
    assert caught.value.hint
