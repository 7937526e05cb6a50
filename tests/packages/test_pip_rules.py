"""Constraints and packages without wheels that pip's configuration names."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import UsageError
from corten.packages.pip_rules import ALL, Rules, read_rules


def rules(tmp_path: Path, **variables: str) -> Rules:
    def nothing(url: str, most: int) -> bytes:
        raise AssertionError(url)

    return read_rules({"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path), **variables}, nothing)


def test_constraints_of_variables_and_of_pip_conf(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("alpha<2  # why\n-c more.txt\n--index-url https://index.example/simple\n")
    (tmp_path / "more.txt").write_text("gamma!=3\n")
    two.write_text("beta==1\n")
    found = rules(tmp_path, PIP_CONSTRAINT=f"{one} {two}")
    assert [item.text for item in found.constraints] == ["alpha<2", "gamma!=3", "beta==1"]
    assert found.notes() == (
        f"the constraints in '{one}', '{two}' apply, which PIP_CONSTRAINT names",
        f"options in '{one}', '{two}' are not read: --index-url https://index.example/simple",
    )
    assert found.notes("uv.lock") == (
        "PIP_CONSTRAINT of pip's configuration is not read: 'uv.lock' decides what is installed",
    )
    conf = tmp_path / "pip.conf"
    conf.write_text(f"[install]\nconstraint =\n    {two}\nno-binary = Gamma_X, delta\n")
    found = rules(tmp_path, PIP_CONFIG_FILE=str(conf))
    assert [item.text for item in found.constraints] == ["beta==1"]
    assert found.built == {"gamma-x", "delta"}
    assert (found.said_by, found.built_by) == ("pip.conf", "pip.conf")
    assert rules(tmp_path) == Rules()
    with pytest.raises(
        UsageError, match=r"PIP_CONSTRAINT names the constraints 'gone\.txt', which cannot be used"
    ):
        rules(tmp_path, PIP_CONSTRAINT="gone.txt")


@pytest.mark.parametrize(
    ("no_binary", "only_binary", "built"),
    [
        (":all:", "", {ALL}),
        (":all:,:none:,alpha", "", {"alpha"}),
        ("alpha beta", "beta", {"alpha"}),
        (":all:", "alpha", {ALL}),
        ("alpha", ":all:", set()),
        (":none:", "", set()),
    ],
)
def test_packages_that_must_be_built(
    tmp_path: Path, no_binary: str, only_binary: str, built: set[str]
) -> None:
    found = rules(tmp_path, PIP_NO_BINARY=no_binary, PIP_ONLY_BINARY=only_binary)
    assert found.built == built
    assert (found.wheels == {"alpha"}) == (built == {ALL} and bool(only_binary)) or found.wheels == {"beta"}
