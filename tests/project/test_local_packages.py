"""Packages in folders of a project: what their files say, read and not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.local_packages import UNKNOWN, LocalPackage, NeedsBuild, describe, import_roots, members

PYPROJECT = '[project]\nname = "My.Lib"\nversion = "1.2"\n'


def written(root: Path, files: dict[str, str]) -> LocalPackage | NeedsBuild:
    for name, text in files.items():
        place = root / "libs/x" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return describe(root, "libs/x")


def test_everything_of_a_pyproject(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        {
            "pyproject.toml": PYPROJECT
            + 'dependencies = ["a>=1"]\noptional-dependencies = { Fancy = ["b"] }\nscripts = { tool = "x.cli:main" }\n'
            + 'gui-scripts = { window = "x.gui:main" }\nentry-points = { "some.plugins" = { one = "x" } }\n',
            "src/x/__init__.py": "",
        },
    )
    assert found == LocalPackage(
        "libs/x",
        "my-lib",
        "1.2",
        ("libs/x/src",),
        ("a>=1",),
        (("fancy", ("b",)),),
        (
            ("console_scripts", "tool", "x.cli:main"),
            ("gui_scripts", "window", "x.gui:main"),
            ("some.plugins", "one", "x"),
        ),
        {},
    )
    assert import_roots([found]) == ("/app/libs/x/src",)


@pytest.mark.parametrize(
    ("files", "roots"),
    [
        ({"pyproject.toml": PYPROJECT, "x/__init__.py": ""}, ("libs/x",)),
        ({"pyproject.toml": PYPROJECT, "src/x/__init__.py": ""}, ("libs/x/src",)),
        ({"pyproject.toml": PYPROJECT, "src/__init__.py": ""}, ("libs/x",)),
        ({"pyproject.toml": PYPROJECT + '[tool.setuptools]\npackage-dir = { "" = "lib" }\n'}, ("libs/x/lib",)),
        (
            {"pyproject.toml": PYPROJECT + '[tool.setuptools.packages.find]\nwhere = ["python"]\n'},
            ("libs/x/python",),
        ),
        (
            {"pyproject.toml": PYPROJECT + '[tool.hatch.build.targets.wheel]\npackages = ["code/x", "other/y"]\n'},
            ("libs/x/code", "libs/x/other"),
        ),
        (
            {"pyproject.toml": '[tool.poetry]\nname = "x"\nversion = "1"\npackages = [{ include = "x", from = "lib" }]\n'},
            ("libs/x/lib",),
        ),
        ({"setup.py": "from setuptools import *\nsetup(name='x', package_dir={'': 'lib'})"}, ("libs/x/lib",)),
        ({"setup.py": "from setuptools import *\nsetup(name='x', packages=find_packages('lib'))"}, ("libs/x/lib",)),
        ({"setup.py": "from setuptools import *\nsetup(name='x', packages=find_packages(where='lib'))"}, ("libs/x/lib",)),
        ({"setup.cfg": "[metadata]\nname = x\n[options]\npackage_dir =\n    = lib\n"}, ("libs/x/lib",)),
        ({"setup.cfg": "[metadata]\nname = x\n[options.packages.find]\nwhere = lib\n"}, ("libs/x/lib",)),
        ({"pyproject.toml": PYPROJECT + '[tool.uv.build-backend]\nmodule-root = ""\n', "src/x.py": ""}, ("libs/x",)),
    ],
)  # fmt: skip
def test_what_goes_on_the_import_path(tmp_path: Path, files: dict[str, str], roots: tuple[str, ...]) -> None:
    found = written(tmp_path, files)
    assert isinstance(found, LocalPackage)
    assert found.roots == roots


DYNAMIC = '[project]\nname = "x"\ndynamic = ["version"]\n'


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"pyproject.toml": PYPROJECT}, "1.2"),
        ({"pyproject.toml": DYNAMIC, "src/x/__init__.py": '"""Text."""\n__version__ = "2.0"\n'}, "2.0"),
        ({"pyproject.toml": DYNAMIC + '[tool.hatch.version]\npath = "x/about.py"\n', "x/about.py": "__version__: str = '2.1'"}, "2.1"),
        ({"pyproject.toml": DYNAMIC + '[tool.setuptools.dynamic]\nversion = { attr = "x.about.__version__" }\n', "x/about.py": "__version__ = '2.2'"}, "2.2"),
        ({"pyproject.toml": DYNAMIC + '[tool.setuptools.dynamic]\nversion = { file = "VERSION" }\n', "VERSION": "2.3\n"}, "2.3"),
        ({"setup.cfg": "[metadata]\nname = x\nversion = attr: x.VERSION\n", "x/__init__.py": "VERSION = '2.4'"}, "2.4"),
        ({"setup.py": "setup(name='x', version=read())", "x.py": "__version__ = '2.5'"}, "2.5"),
        ({"pyproject.toml": DYNAMIC, "src/x/__init__.py": "__version__ = find()"}, UNKNOWN),
        ({"pyproject.toml": DYNAMIC + '[tool.hatch.version]\npath = "../../about.py"\n'}, UNKNOWN),
        ({"pyproject.toml": DYNAMIC, "x/__init__.py": "__version__ = '1/../../x'"}, UNKNOWN),
    ],
)  # fmt: skip
def test_where_its_version_is_written(tmp_path: Path, files: dict[str, str], version: str) -> None:
    found = written(tmp_path, files)
    assert isinstance(found, LocalPackage)
    assert found.version == version


@pytest.mark.parametrize(
    ("files", "requires"),
    [
        ({"setup.py": "from setuptools import setup\nNEEDS = ['a', 'b>1']\nsetup(name='x', install_requires=NEEDS)"}, ("a", "b>1")),
        ({"setup.cfg": "[metadata]\nname = x\n[options]\ninstall_requires =\n    a\n    # no\n    b>1\n"}, ("a", "b>1")),
        ({"pyproject.toml": '[tool.poetry]\nname = "x"\nversion = "1"\n[tool.poetry.dependencies]\npython = "^3.9"\na = "*"\n'}, ("a",)),
        (
            {
                "pyproject.toml": '[project]\nname = "x"\ndynamic = ["dependencies"]\n[tool.setuptools.dynamic]\ndependencies = { file = ["r.txt"] }\n',
                "r.txt": "a\n# no\nb>1  # why\n",
            },
            ("a", "b>1"),
        ),
        ({"pyproject.toml": '[project]\nname = "x"\ndynamic = ["dependencies"]\n', "setup.py": "setup(install_requires=['a'])"}, ("a",)),
    ],
)  # fmt: skip
def test_what_it_requires(tmp_path: Path, files: dict[str, str], requires: tuple[str, ...]) -> None:
    found = written(tmp_path, files)
    assert isinstance(found, LocalPackage)
    assert found.requires == requires


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"README.md": ""}, "has neither a pyproject.toml nor a setup.py"),
        ({"pyproject.toml": "[tool.other]\n"}, "has no name that can be read without running it"),
        ({"setup.py": "setup(**everything)"}, "has a setup.py with steps of its own"),
        ({"setup.py": "setup(name='x', cmdclass={'build_py': Build})"}, "has a setup.py with steps of its own"),
        ({"setup.py": "setup(name='x', ext_modules=[Extension('x', ['x.c'])])"}, "has parts that are compiled"),
        ({"setup.py": "setup(name='x', install_requires=read())"}, "has requirements that are computed when it is built"),
        ({"setup.py": "print("}, "has a setup.py that cannot be read without running it"),
        ({"setup.py": "setup(name='x', package_dir={'x': 'lib'})"}, "has packages in folders of other names"),
        ({"setup.py": "setup(name='x', package_dir={'': '../y'})"}, "has packages outside its folder"),
        ({"setup.py": "setup(name='x', package_dir={'': 'y\\nimport os'})"}, "has packages outside its folder"),
        ({"pyproject.toml": PYPROJECT + '[build-system]\nrequires = ["maturin>=1"]\nbuild-backend = "maturin"\n'}, "is built with maturin"),
        ({"pyproject.toml": PYPROJECT + '[build-system]\nrequires = ["setuptools", "Cython"]\n'}, "is built with cython"),
        ({"pyproject.toml": PYPROJECT + '[tool.hatch.build.targets.wheel.force-include]\na = "b"\n'}, "has files that its build moves or makes"),
        ({"pyproject.toml": '[project]\nname = "x"\ndynamic = ["dependencies"]\n[tool.setuptools.dynamic]\ndependencies = { file = "../r.txt" }\n'}, "has requirements that are computed when it is built"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_as_it_lies(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    found = written(tmp_path, files)
    assert isinstance(found, NeedsBuild)
    assert found.reason.lower() == reason


@pytest.mark.parametrize(
    "text",
    [
        "[project]\nname = 7\n",
        '[project]\nname = "a\\nb"\n',
        PYPROJECT + 'scripts = { "../../bin/sh" = "a:b" }\n',
        PYPROJECT + 'scripts = { tool = "a:b\\nimport os" }\n',
        PYPROJECT + 'entry-points = { "a]\\n[b" = { c = "d" } }\n',
        "[project",
    ],
)
def test_what_is_damaged_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ProjectError) as caught:
        written(tmp_path, {"pyproject.toml": text})
    assert caught.value.hint


def test_keys_of_setup_py_that_are_not_text(tmp_path: Path) -> None:
    setup = (
        "setup(name='x', extras_require={1: ['a'], None: ['b'], b'c': ['d']}, entry_points={2: ['e = f:g']})"
    )
    found = written(tmp_path, {"setup.py": setup})
    assert isinstance(found, LocalPackage)
    assert dict(found.optional)["1"] == ("a",)
    assert found.entry_points == (("2", "e", "f:g"),)


@pytest.mark.parametrize(
    "key", ["install_requires", "extras_require", "entry_points", "version", "package_dir"]
)
def test_a_number_of_setup_py_that_cannot_be_shown_is_computed(tmp_path: Path, key: str) -> None:
    number = "0x" + "f" * 5000
    for value in (number, f"[{number}]", f"{{{number}: ['a']}}", f"{{'a': {number}}}"):
        found = written(tmp_path, {"setup.py": f"setup(name='x', {key}={value})"})
        assert isinstance(found, NeedsBuild) or key == "version"


def test_a_file_behind_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "outside.toml").write_text(PYPROJECT)
    (tmp_path / "libs/x").mkdir(parents=True)
    (tmp_path / "libs/x/pyproject.toml").symlink_to(tmp_path / "outside.toml")
    assert isinstance(describe(tmp_path, "libs/x"), NeedsBuild)


def test_members_of_a_workspace(tmp_path: Path) -> None:
    for name in ("a", "b", "skipped"):
        (tmp_path / "packages" / name).mkdir(parents=True)
        (tmp_path / "packages" / name / "pyproject.toml").write_text(f'[project]\nname = "The.{name}"\n')
    (tmp_path / "packages/empty").mkdir()
    workspace = {"members": ["packages/*", "/etc", "../*"], "exclude": ["packages/skipped"]}
    assert members(tmp_path, {"tool": {"uv": {"workspace": workspace}}}) == {
        "the-a": "packages/a",
        "the-b": "packages/b",
    }
