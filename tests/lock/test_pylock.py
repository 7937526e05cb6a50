"""What a pylock.toml has for a target."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corten.errors import CortenError, ProjectError, ResolutionError
from corten.lock.pylock import addresses, packages_for, read_pylock
from corten.oci.platform import Platform
from corten.packages.compatibility import Target

TARGET = Target(Platform("linux", "amd64"), "3.11.2", 36)
HEAD = 'lock-version = "1.0"\ncreated-by = "x"\nextras = ["web"]\ndependency-groups = ["dev", "base"]\ndefault-groups = ["base"]\n'
DOCUMENT = (
    HEAD
    + """\
[[packages]]
name = "alpha"
version = "1.0"
wheels = [{url = "https://index.example/alpha-1.0-py3-none-any.whl#x", hashes = {sha256 = "0"}}]
[[packages]]
name = "fork"
version = "1.0"
marker = "python_version < '3.11'"
[[packages]]
name = "fork"
version = "2.0"
marker = "python_version >= '3.11'"
wheels = [{path = "wheels/fork-2.0-py3-none-any.whl", hashes = {sha256 = "0"}}]
[[packages]]
name = "extra"
marker = "'web' in extras"
[[packages]]
name = "base"
marker = "'base' in dependency_groups"
[[packages]]
name = "dev"
marker = "'dev' in dependency_groups and 'web' not in extras"
[[packages]]
name = "own"
directory = {path = "."}
"""
)


def found(tmp_path: Path, text: str, extras: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> list[str]:
    path = tmp_path / "pylock.toml"
    path.write_text(text)
    return [
        f"{item['name']} {item.get('version')}"
        for item in packages_for(path, TARGET, extras, groups, tmp_path)
    ]


def test_markers_extras_and_groups_decide(tmp_path: Path) -> None:
    assert found(tmp_path, DOCUMENT) == ["alpha 1.0", "base None", "fork 2.0"]
    assert found(tmp_path, DOCUMENT, ("web",)) == ["alpha 1.0", "base None", "extra None", "fork 2.0"]
    assert found(tmp_path, DOCUMENT, (), ("dev",)) == ["alpha 1.0", "dev None", "fork 2.0"]
    assert addresses(tmp_path / "pylock.toml") == ("https://index.example/alpha-1.0-py3-none-any.whl",)
    fork = packages_for(tmp_path / "pylock.toml", TARGET, (), (), tmp_path)[2]
    assert fork["wheels"][0]["path"] == str(tmp_path / "wheels/fork-2.0-py3-none-any.whl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEAD + "requires-python = '>=3.12'",
            "'pylock.toml' is made for Python >=3.12, and the base has 3.11",
        ),
        (
            HEAD + "environments = [\"sys_platform == 'win32'\"]",
            "is not made for linux/amd64 with Python 3.11",
        ),
        (
            HEAD + '[[packages]]\nname = "a"\nrequires-python = "<3"',
            "'a' in 'pylock.toml' is made for Python <3",
        ),
        (HEAD + '[[packages]]\nname = "a"\n[[packages]]\nname = "A"', "'pylock.toml' has 'a' twice"),
        (HEAD + '[[packages]]\nname = "a"\nmarker = "x"', "a marker in 'pylock.toml' is not understood"),
        ('lock-version = "2.0"', "has a format that Corten does not know"),
        ("lock-version =", "it is not TOML"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises((ProjectError, ResolutionError)) as caught:
        found(tmp_path, text)
    assert message in caught.value.message
    assert caught.value.hint


def test_an_extra_that_the_lock_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"'gpu' is not among the extras of 'pylock\.toml'"):
        found(tmp_path, DOCUMENT, ("gpu",))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80) | st.text(max_size=60).map(lambda text: f"{HEAD}[[packages]]\n{text}".encode()))
def test_whatever_stands_there_gives_packages_or_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "pylock.toml"
    path.write_bytes(data)
    with contextlib.suppress(CortenError):
        assert isinstance(read_pylock(path), dict)
        packages_for(path, TARGET, (), (), tmp_path)
