"""A conda environment as requirements."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import ProjectError
from corten.project.formats.conda import environment

FILE = "environment.yml"


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("numpy", "numpy"),
        ("numpy=1.26", "numpy==1.26.*"),
        ("numpy==1.26", "numpy==1.26"),
        ("numpy=1.26.4=py311h64a7726_0", "numpy==1.26.4"),
        ("numpy>=1.20,<2", "numpy>=1.20,<2"),
        ("numpy >=1.20", "numpy>=1.20"),
        ("numpy 1.26.*", "numpy==1.26.*"),
        ("numpy=1.26.*", "numpy==1.26.*"),
        ("conda-forge::numpy=1", "numpy==1.*"),
        ("pytorch::pytorch", "torch"),
        ("Pillow", "pillow"),
    ],
)
def test_what_the_python_index_has_too(spec: str, line: str) -> None:
    assert environment(f"dependencies: ['{spec}']", FILE).lines == (line,)


@pytest.mark.parametrize(
    "spec", ["cudatoolkit", "_libgcc_mutex=0.1=main", "numpy[version='>=1']", "numpy>1|<3"]
)
def test_the_rest_is_listed(spec: str) -> None:
    made = environment(f'dependencies: ["{spec}"]', FILE)
    assert made.lines == ()
    assert spec.partition("=")[0].partition("[")[0].partition(">")[0] in made.notes[0]


def test_the_section_for_pip_is_as_it_is() -> None:
    made = environment("dependencies: [python=3.9, pip, {pip: [a==1, '-r b.txt']}]", FILE)
    assert (made.lines, made.written, made.notes) == ((), ("a==1", "-r b.txt"), ())
    with pytest.raises(ProjectError, match="is not one line"):
        environment('dependencies: [{pip: ["a\\n-r b"]}]', FILE)


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_stands_there_gives_one_line_each_or_one_sentence(text: str, spec: str) -> None:
    for document in (text, f"dependencies:\n- {spec}\n"):
        with contextlib.suppress(ProjectError):
            made = environment(document, FILE)
            assert all(line.isprintable() for line in (*made.lines, *made.written, *made.notes))
