from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import ProjectError
from corten.oci.platform import Platform
from corten.project import interpreter
from corten.project.interpreter import admits
from corten.project.kinds import NAME
from corten.project.load import load, normal_name
from corten.project.model import Command, Dependencies, Predictor

Folder = Callable[..., Path]
PROJECT = '[project]\nname = "x"\nversion = "1"\n'


def test_a_usual_project_needs_nothing_written(folder: Folder) -> None:
    root = folder(
        {
            "pyproject.toml": '[project]\nname = "Iris Model"\nversion = "1.2"\nrequires-python = ">=3.10"\n'
            'dependencies = ["scikit-learn"]\n[project.scripts]\ntrain = "train : main"\n',
            "predict.py": "class Iris:\n    def predict(self): ...\n",
            "train.py": "",
        }
    )
    project = load(root)
    assert project.root == Path(os.path.realpath(root))
    assert (project.name, project.version, project.requires_python) == ("iris-model", "1.2", ">=3.10")
    assert project.entry == Predictor("predict:Iris")
    assert project.dependencies == Dependencies("pyproject", (project.root / "pyproject.toml",))
    assert project.platforms == (Platform.host(),)
    assert (project.base, project.python, project.user) == ("debian:bookworm", None, "65532:65532")
    assert (project.workdir, project.gpu, project.network) == ("/app", "auto", "none")
    assert project.scripts == (("train", "train:main"),)


def test_what_is_written_reaches_the_project(folder: Folder) -> None:
    root = folder(
        {
            "main.py": "",
            "pyproject.toml": """
            [tool.corten]
            name = "other"
            python = "3.13"
            system = ["libgl1"]
            command = ["python", "main.py"]
            models = ["w/"]
            include = ["a"]
            exclude = ["b"]
            env = { A = "1" }
            user = "1000"
            workdir = "/srv"
            platforms = ["linux/arm64"]
            gpu = "none"
            network = "host"
            labels = { k = "v" }
            strict = true
            compression = "zstd"
            """,
        }
    )
    project = load(root)
    assert (project.name, project.python, project.base) == ("other", "3.13", "debian:trixie")
    assert project.entry == Command(("python", "main.py"))
    assert (project.models, project.include, project.exclude) == (("w/",), ("a",), ("b",))
    assert (project.env, project.labels) == ({"A": "1"}, {"k": "v"})
    assert (project.user, project.workdir, project.gpu, project.network) == (
        "1000:1000",
        "/srv",
        "none",
        "host",
    )
    assert (project.strict, project.compression, project.system) == (True, "zstd", ("libgl1",))
    assert project.platforms == (Platform("linux", "arm64"),)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no Python project in"),
        ({"README.md": "x"}, "there is no Python project in"),
        ({"pyproject.toml": "[project\nname = 1"}, "'pyproject.toml' is not valid TOML at line 1, column 9"),
        ({"pyproject.toml": "a = 1\nb = \n"}, "'pyproject.toml' is not valid TOML at line 2, column 5: invalid value"),
        ({"pyproject.toml": b"a = 1\n# caf\xe9\n"}, "'pyproject.toml' is not UTF-8 in line 2"),
        ({"pyproject.toml": "a = " + "[" * 5000}, "'pyproject.toml' is nested too deeply"),
        ({"pyproject.toml": "tool = 3"}, "'tool' in pyproject.toml must be a table"),
        ({"pyproject.toml": "[tool]\ncorten = 3"}, "'tool.corten' must be a table"),
        ({"pyproject.toml": "project = 3"}, "'project' in pyproject.toml must be a table"),
        ({"pyproject.toml": "[project]\nname = 3"}, "'name' in [project] of pyproject.toml must be text, not the integer 3"),
        ({"pyproject.toml": "[project]\ndependencies = 'x'"}, "'dependencies' in [project] of pyproject.toml must be a list"),
        ({"pyproject.toml": "[project]\ndependencies = [3]"}, "must be a list of texts"),
        ({"pyproject.toml": "[project]\ndynamic = 3"}, "'dynamic' in [project]"),
        ({"pyproject.toml": '[project.scripts]\nx = "y"'}, "'x' in [project.scripts] must lead to a 'module:function'"),
        ({"pyproject.toml": '[project.scripts]\n"../x" = "y:z"'}, "'../x' in [project.scripts]"),
        ({"pyproject.toml": '[tool.corten]\nuser = "bob"\n'}, "'user' in [tool.corten] is 'bob', and the base has no 'bob'"),
        ({"pyproject.toml": '[tool.corten]\nbase = "debian:bookworm-minimal"\ncommand = "x $PORT"\n'}, "needs a shell"),
        ({"pyproject.toml": '[tool.corten]\nbase = "debian:trixie-minimal"\ncommand = "a | b"\n'}, "needs a shell"),
    ],
)  # fmt: skip
def test_broken_projects_are_refused_in_one_sentence(
    folder: Folder, files: dict[str, str | bytes], message: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        load(folder(files))
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_a_path_that_is_no_folder(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="does not exist"):
        load(tmp_path / "gone")
    with pytest.raises(ProjectError, match="is not a folder"):
        load(folder({"main.py": ""}) / "main.py")


@pytest.mark.parametrize(
    ("files", "kind", "names"),
    [
        ({"uv.lock": "", "requirements.txt": "a"}, "uv.lock", ["uv.lock"]),
        ({"requirements.txt": "a", "pyproject.toml": PROJECT + 'dependencies = ["b"]'}, "requirements", ["requirements.txt"]),
        ({"requirements.txt": "a", "requirements-dev.txt": "b", "test-requirements.txt": ""}, "requirements", ["requirements.txt"]),
        ({"requirements.txt": "a", "requirements.lock": "a==1 --hash=sha256:0"}, "requirements", ["requirements.lock"]),
        ({"requirements/base.txt": "a", "requirements/dev.txt": "b"}, "requirements", ["requirements/base.txt"]),
        ({"requirements-prod.txt": "a", "requirements_test.txt": "b"}, "requirements", ["requirements-prod.txt"]),
        ({"pyproject.toml": PROJECT + 'dependencies = ["b"]'}, "pyproject", ["pyproject.toml"]),
        ({"pyproject.toml": PROJECT}, "none", []),
        ({"requirements.txt": "a", "pylock.toml": ""}, "pylock", ["pylock.toml"]),
        ({"pylock.x.toml": "", "pyproject.toml": '[tool.corten]\nrequirements = "pylock.x.toml"'}, "pylock", ["pylock.x.toml"]),
        ({"requirements.txt": "a", "poetry.lock": ""}, "requirements", ["requirements.txt"]),
        ({"poetry.lock": "", "pyproject.toml": PROJECT + 'dependencies = ["b"]\n[tool.corten]\nrequirements = "pyproject.toml"'},
         "pyproject", ["pyproject.toml"]),
        ({"poetry.lock": "", "pyproject.toml": '[tool.poetry.dependencies]\n'}, "requirements", ["poetry.lock"]),
        ({"Pipfile.lock": "{}", "Pipfile": "", "setup.py": "setup(install_requires=['a'])"}, "requirements", ["Pipfile.lock"]),
        ({"Pipfile": "", "environment.yml": "dependencies: [numpy]"}, "requirements", ["Pipfile"]),
        ({"environment.yml": "dependencies: [numpy]", "setup.py": "setup(install_requires=['a'])"}, "requirements", ["environment.yml"]),
        ({"setup.cfg": "[options]\ninstall_requires =\n  a\n"}, "requirements", ["setup.cfg"]),
        ({"setup.py": "setup(install_requires=['a'])"}, "requirements", ["setup.py"]),
        ({"setup.py": "setup(install_requires=[read()])"}, "none", []),
        ({"pyproject.toml": '[tool.poetry.dependencies]\nnumpy = "^1"\n'}, "requirements", ["pyproject.toml"]),
        ({"a.txt": "", "b/c.txt": "", "pyproject.toml": '[tool.corten]\nrequirements = ["a.txt", "b/c.txt"]'},
         "requirements", ["a.txt", "b/c.txt"]),
    ],
)  # fmt: skip
def test_where_dependencies_are(folder: Folder, files: dict[str, str], kind: str, names: list[str]) -> None:
    project = load(folder({**files, "main.py": ""}))
    assert project.dependencies.kind == kind
    assert project.dependencies.files == tuple(project.root / name for name in names)


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        ({"poetry.lock": "["}, "'poetry.lock' cannot be read: it is not TOML", "correct the file"),
        ({"Pipfile.lock": "{}", "Pipfile": "[packages]\na = '*'\n"}, "'Pipfile.lock' does not belong to 'Pipfile' any more: 'a' differs", "pipenv lock"),
        ({"Pipfile.lock": '{"default": {"a": {"version": "==1.0"}}}', "Pipfile": "[packages]\nA = '>1'\n"},
         "'Pipfile.lock' does not belong to 'Pipfile' any more: 'A' differs", "pipenv lock"),
        ({"Pipfile.lock": "["}, "'Pipfile.lock' cannot be read: it is not JSON", "pipenv lock"),
        ({"environment.yml": "dependencies: {}"}, "'environment.yml' has no list of dependencies", "dependencies:"),
        ({"requirements-a.txt": "", "requirements-b.txt": ""},
         "several files could hold the dependencies: 'requirements-a.txt', 'requirements-b.txt'",
         'requirements = "requirements-a.txt"'),
        ({"pyproject.toml": PROJECT + 'dynamic = ["dependencies"]'}, "are dynamic", "requirements ="),
        ({"pyproject.toml": '[tool.poetry.dependencies]\nnumpy = "^1 || ^3"'}, "the version '^1 || ^3' of 'numpy' in [tool.poetry] is not understood", "poetry lock"),
        ({"pyproject.toml": '[tool.corten]\nrequirements = "gone.txt"'}, "names 'gone.txt', and there is no such file", None),
        ({"pyproject.toml": PROJECT + '[tool.corten]\nextras = ["gpu"]'},
         "'extras' in [tool.corten] names 'gpu', which is not in [project.optional-dependencies]", "there: none"),
        ({"pyproject.toml": PROJECT + '[dependency-groups]\ndev = []\n[tool.corten]\ngroups = ["prod"]'},
         "which is not in [dependency-groups]", "there: 'dev'"),
        ({"requirements.txt": "", "pyproject.toml": PROJECT + '[dependency-groups]\ndev = []\n[tool.corten]\ngroups = ["dev"]'},
         "'groups' in [tool.corten] has no meaning for dependencies from 'requirements.txt'", "pyproject.toml"),
    ],
)  # fmt: skip
def test_dependencies_that_cannot_be_used(
    folder: Folder, files: dict[str, str], message: str, hint: str | None
) -> None:
    with pytest.raises(ProjectError) as caught:
        load(folder({**files, "main.py": ""}))
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_extras_and_groups_are_kept(folder: Folder) -> None:
    toml = (
        PROJECT
        + "dependencies = []\n[project.optional-dependencies]\nGPU_x = []\n[dependency-groups]\nserve = []\n"
    )
    project = load(
        folder({"pyproject.toml": toml + '[tool.corten]\nextras = ["gpu-x"]\ngroups = ["serve"]\n'})
    )
    assert project.dependencies == Dependencies(
        "pyproject", (project.root / "pyproject.toml",), ("gpu-x",), ("serve",)
    )


@pytest.mark.parametrize(
    ("files", "python", "base"),
    [
        ({".python-version": "3.13.1\n"}, "3.13", "debian:trixie"),
        ({".python-version": "# ours\ncpython-3.11\n"}, "3.11", "debian:bookworm"),
        ({"runtime.txt": "python-3.13.2"}, "3.13", "debian:trixie"),
        ({"Dockerfile": "FROM --platform=x docker.io/python:3.10 AS b\nFROM python:3.13-slim AS c\n"}, "3.13", "debian:trixie"),
        ({"Dockerfile": "FROM ubuntu\n"}, None, "debian:bookworm"),
        ({".python-version": "3.12"}, "3.12", "debian:bookworm"),
        ({"runtime.txt": "python-3.10.4"}, "3.10", "debian:bookworm"),
        # What PowerShell's redirection writes.
        ({".python-version": "3.12".encode("utf-16")}, "3.12", "debian:bookworm"),
        ({"Dockerfile": "FROM python:3.9-slim\n"}, "3.9", "debian:bookworm"),
        ({".python-version": "pypy3.10"}, None, "debian:bookworm"),
        ({".python-version": b"\xff\xfe"}, None, "debian:bookworm"),
        ({"pyproject.toml": '[project]\nname="x"\nrequires-python = ">=3.12"\n'}, None, "debian:trixie"),
        ({"pyproject.toml": '[project]\nname="x"\nrequires-python = "~=3.12"\n'}, None, "debian:trixie"),
        ({"pyproject.toml": '[project]\nname="x"\nrequires-python = ">=3.14"\n'}, "3.14", "debian:bookworm"),
        ({"pyproject.toml": '[project]\nname="x"\nrequires-python = "<3.11"\n'}, "3.10", "debian:bookworm"),
        ({"pyproject.toml": '[project]\nname="x"\nrequires-python = "==3.12.*"\n'}, "3.12", "debian:bookworm"),
        ({"pyproject.toml": '[project]\nname="x"\nrequires-python = ">=3.12"\n[tool.corten]\nbase = "debian:bookworm-minimal"\n'}, "3.13", "debian:bookworm-minimal"),
        ({"pyproject.toml": '[tool.corten]\npython = "3.10.4"\n'}, "3.10.4", "debian:bookworm"),
        ({"pyproject.toml": '[tool.corten]\npython = "3.13t"\n'}, "3.13t", "debian:bookworm"),
        ({"pyproject.toml": '[tool.corten]\npython = "3.11"\nbase = "debian:trixie"\n'}, "3.11", "debian:trixie"),
        ({".python-version": "3.11", "pyproject.toml": '[project]\nname="x"\nrequires-python = ">=3.12"\n'}, None, "debian:trixie"),
        ({".python-version": "3.13", "pyproject.toml": '[tool.corten]\npython = "3.11"\n'}, "3.11", "debian:bookworm"),
        ({".python-version": "3.13", "pyproject.toml": '[tool.corten]\nbase = "debian:bookworm-minimal"\n'}, None, "debian:bookworm-minimal"),
        ({"pyproject.toml": '[tool.corten]\npython = "3.12"\n'}, "3.12", "debian:bookworm"),
    ],
)  # fmt: skip
def test_python_and_base(
    folder: Folder, files: dict[str, str | bytes], python: str | None, base: str
) -> None:
    project = load(folder({**files, "main.py": ""}))
    assert (project.python, project.base) == (python, base)


REQUIRES = '[project]\nname = "x"\nrequires-python = "{}"\n'


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"runtime.txt": "python-3.7.4"}, "'runtime.txt' names Python 3.7, which no base of Debian has"),
        (
            {".python-version": "pypy3.10-7.3"},
            "'.python-version' names pypy3.10-7.3, which no base of Debian has",
        ),
        (
            {"pyproject.toml": REQUIRES.format("<3.8")},
            "the project requires Python <3.8, and 'debian:bookworm' has 3.11",
        ),
        (
            {"pyproject.toml": REQUIRES.format(">=3.12") + '[tool.corten]\npython = "3.11"\n'},
            "the project requires Python >=3.12, and 'debian:bookworm' has 3.11",
        ),
        (
            {".python-version": "3.11", "pyproject.toml": REQUIRES.format(">=3.12")},
            "'.python-version' names Python 3.11, which requires-python '>=3.12' does not admit",
        ),
    ],
)
def test_a_request_for_a_python_that_no_base_has_is_an_error_with_the_ways_out(
    folder: Folder, files: dict[str, str | bytes], message: str
) -> None:
    """Not another Python in silence. The project can still be looked at."""
    unmet = load(folder({**files, "main.py": ""})).unmet
    assert unmet is not None
    assert message in unmet.message
    assert "3.11 in bookworm, 3.13 in trixie" in unmet.hint
    assert "image@sha256" in unmet.hint
    assert "change" in unmet.hint
    with pytest.raises(ProjectError, match=re.escape(message)):
        interpreter.check(unmet)


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": REQUIRES.format(">=3.10")},
        {"pyproject.toml": REQUIRES.format("not a specifier")},
        # The name of an environment of pyenv's.
        {".python-version": "my-environment"},
        {".python-version": "3.12", "pyproject.toml": '[tool.corten]\nbase = "debian:bookworm"\n'},
        # What this Python is can be seen when the image is there.
        {"pyproject.toml": REQUIRES.format(">=3.12") + '[tool.corten]\nbase = "oci:base"\n'},
    ],
)
def test_what_is_no_request_for_another_python(folder: Folder, files: dict[str, str | bytes]) -> None:
    assert load(folder({**files, "main.py": ""})).unmet is None


def test_a_file_that_means_something_else_is_no_requirements_file(folder: Folder) -> None:
    session = "python3\n>>> import nltk\n>>> nltk.download('all')\n"
    words = "# Requirements\n\nThe system has to answer fast.\n\nIt has to be safe, too.\n"
    for number, text in enumerate((session, words)):
        files = {"requirements": text, "app.py": "import flask\napp = flask.Flask('x')\n"}
        found = load(folder(files, f"no{number}"))
        assert found.dependencies.kind == "none", text
        assert "flask" in [item.requirement for item in found.implied]
    listed = "flask==2.0\n-e .\nnumpy>=1 ; python_version > '3'\nuvicorn[standard]\nx @ https://index.example/x.whl\n"
    assert load(folder({"requirements": listed, "app.py": ""}, "yes")).dependencies.kind == "requirements"
    # The name itself says what it is.
    named = load(folder({"requirements.txt": "links/x-1.0.tar.gz\n", "app.py": ""}, "named"))
    assert named.dependencies.kind == "requirements"


def test_what_a_dockerfile_installs_stands_above_a_uv_lock(folder: Folder) -> None:
    files = {
        "pyproject.toml": "[project]\nname = 'x'\nversion = '1'\ndependencies = ['flask']\n",
        "uv.lock": "version = 1\n",
        "requirements.txt": "flask\n",
        "main.py": "",
    }
    dockerfile = "FROM python:3.11\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\n"
    assert load(folder(files)).dependencies.kind == "uv.lock"
    taken = load(folder({**files, "Dockerfile": dockerfile}))
    assert taken.dependencies.kind == "requirements"
    assert "uv.lock" in taken.unused
    assert "requirements from Dockerfile:3: requirements.txt" in taken.taken


def test_a_dockerfiles_python_gives_way_where_it_cannot_be_had(folder: Folder) -> None:
    """It says how the project runs without Corten: the lock falls back to Debian's Python and says so."""
    project = load(folder({"Dockerfile": "FROM python:3.12-slim\n", "main.py": ""}))
    assert (project.python, project.python_source, project.unmet) == ("3.12", "Dockerfile", None)
    firm = load(folder({".python-version": "3.12", "main.py": ""}))
    assert (firm.python, firm.python_source) == ("3.12", "")


def test_a_dockerfiles_python_that_is_too_old_is_said(folder: Folder) -> None:
    old = load(folder({"Dockerfile": "FROM python:3.6\n", "main.py": ""})).unmet
    assert old is not None
    assert old.message == "'Dockerfile' names Python 3.6; the image has another, that of 'debian:bookworm'"
    interpreter.check(old)


@pytest.mark.parametrize(
    ("specifier", "release", "admitted"),
    [
        (">=3.11", "3.11.2", True),
        ("<=3.11", "3.11.2", False),
        (">3.11", "3.11.2", True),
        ("<3.12", "3.11.2", True),
        (">=3.11.4", "3.11.2", False),
        (">=3.11.4", "3.11", True),
        ("!=3.11.2", "3.11.2", False),
    ],
)
def test_an_exact_release_against_requires_python(specifier: str, release: str, admitted: bool) -> None:
    assert interpreter.admits(specifier, release) is admitted


@pytest.mark.parametrize(
    ("specifier", "admitted"),
    [
        (">=3.10", ["3.11", "3.13"]),
        (">=3.10,<3.13", ["3.11"]),
        ("<3.12, >=3.8", ["3.11"]),
        (">3.11", ["3.11", "3.13"]),
        ("~=3.11", ["3.11", "3.13"]),
        ("==3.13.*", ["3.13"]),
        ("!=3.11.*", ["3.13"]),
        (">=3.11.2", ["3.11", "3.13"]),
        ("nonsense", ["3.11", "3.13"]),
    ],
)
def test_requires_python(specifier: str, admitted: list[str]) -> None:
    assert [python for python in ("3.11", "3.13") if admits(specifier, python)] == admitted


@pytest.mark.parametrize(
    ("user", "base", "expected"),
    [
        ("1000", None, "1000:1000"),
        ("1000:20", None, "1000:20"),
        ("root", None, "0:0"),
        ("nobody", None, "65534:65534"),
        ("007:0", None, "7:0"),
        ("bob", "oci:./base", "bob"),
        ("12", "oci:./base", "12:12"),
    ],
)
def test_users(folder: Folder, user: str, base: str | None, expected: str) -> None:
    toml = f'[tool.corten]\nuser = "{user}"\n' + (f'base = "{base}"\n' if base else "")
    assert load(folder({"main.py": "", "pyproject.toml": toml})).user == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Iris Model", "iris-model"),
        ("my_project.v2", "my_project.v2"),
        ("Übung – 名前", "ubung"),
        ("名前", "project"),
        ("--a--b--", "a--b"),
        ("a___b..c", "a-b-c"),
        ("x" * 300, "x" * 100),
        ("a" * 99 + "-b", "a" * 99),
    ],
)
def test_names(text: str, name: str) -> None:
    assert normal_name(text) == name


@given(st.text())
def test_every_name_becomes_one_that_a_repository_can_have(text: str) -> None:
    import re

    assert re.fullmatch(NAME, normal_name(text))


def test_a_folder_with_spaces_and_unicode(folder: Folder) -> None:
    project = load(folder({"main.py": ""}, "Mein Projekt Ü"))
    assert project.name == "mein-projekt-u"
    assert project.entry == Command(("python", "main.py"))


def test_loading_imports_nothing_heavy(folder: Folder) -> None:
    root = folder(
        {"pyproject.toml": PROJECT + 'requires-python = ">=3.11"\n', "main.py": "", ".gitignore": "*.log\n"}
    )
    code = (
        "import sys, pathlib; from corten.project.load import load; from corten.project.files import scan;"
        "scan(load(pathlib.Path(sys.argv[1])));"
        "print([m for m in ('pathspec', 'packaging', 'urllib3', 'rich', 'difflib', 'shlex', 'json', 'subprocess') "
        "if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
