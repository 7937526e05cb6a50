from __future__ import annotations

import pytest

from corten.project.hints import (
    appjson,
    apt_files,
    debian_names,
    editors,
    env_example,
    makefile,
    pythons,
    readme,
    tool_scripts,
)
from corten.project.hints.hint import Hint

from .conftest import Opened


def commands(hints: tuple[Hint, ...]) -> list[tuple[str, str]]:
    return [(" ".join(hint.value), hint.folder) for hint in hints if hint.key == "command"]


def test_a_development_container_names_the_script(opened: Opened) -> None:
    text = """{
  // Streamlit Cloud writes this
  "image": "mcr.microsoft.com/devcontainers/python:1-3.11-bullseye",
  "postAttachCommand": {
    "server": "streamlit run pages/Home.py --server.enableCORS false --server.enableXsrfProtection false"
  },
}"""
    found = editors.read_devcontainer(opened({".devcontainer/devcontainer.json": text}))
    assert commands(found) == [("streamlit run pages/Home.py", "")]
    assert [hint.text for hint in found if hint.key == "python"] == ["3.11"]


@pytest.mark.parametrize(
    ("value", "argv"),
    [
        ('["python", "a.py"]', "python a.py"),
        ('"pip install x && python a.py"', "python a.py"),
        ('{"a": ["sh", "-c", "exec python a.py"]}', "python a.py"),
    ],
)
def test_forms_of_a_lifecycle_command(opened: Opened, value: str, argv: str) -> None:
    found = editors.read_devcontainer(opened({".devcontainer.json": f'{{"postStartCommand": {value}}}'}))
    assert commands(found) == [(argv, "")]


def test_configurations_of_an_editor(opened: Opened) -> None:
    text = """{"configurations": [
  {"name": "api", "type": "debugpy", "request": "launch", "module": "uvicorn", "args": ["src.api:app", "--reload"],
   "cwd": "${workspaceFolder}/backend", "env": {"A": "b", "C": "${env:C}"}},
  {"name": "this", "type": "python", "request": "launch", "program": "${file}"},
  {"name": "script", "type": "python", "request": "launch", "program": "${workspaceFolder}/app/run.py", "args": "--x 'y z'"},
  {"name": "in", "type": "python", "request": "launch", "program": "${workspaceFolder}/app/run.py", "cwd": "${workspaceRoot}/app"},
  {"name": "web", "type": "node", "request": "launch", "program": "x.js"},
  {"name": "attach", "type": "python", "request": "attach"}
]}"""
    found = editors.read_launch(opened({".vscode/launch.json": text}))
    assert commands(found) == [
        ("python -m uvicorn src.api:app", "backend"),
        ("python app/run.py --x y z", ""),
        ("python run.py", "app"),
    ]
    assert found[0].env == (("A", "b"),)


def test_targets_of_a_makefile(opened: Opened) -> None:
    text = "PORT := 8000\nPY = .venv/bin/python\n.PHONY: run\ninstall:\n\tpip install x\n\nrun: install ## x\n\t@echo hi\n\t$(PY) -m uvicorn a:b \\\n\t  --port ${PORT} --reload\n\nclean:\n\trm x\n"
    (hint,) = makefile.read(opened({"Makefile": text}))
    assert (hint.text, hint.place) == ("python -m uvicorn a:b --port 8000", "Makefile:7")


@pytest.mark.parametrize(
    "text", ["run:\n\tdocker compose up\n", "train:\n\tpython x.py\n", "run:\n\t@echo x\n", "run = x\n"]
)
def test_a_makefile_that_starts_nothing_of_the_project(opened: Opened, text: str) -> None:
    assert makefile.read(opened({"Makefile": text})) == ()


@pytest.mark.parametrize(
    ("table", "argv"),
    [
        ('[tool.poetry.scripts]\nstart = "pkg.main:run"', "python -c from pkg.main import run; run()"),
        ('[tool.pdm.scripts]\ntest = "pytest"\nserve = {cmd = "uvicorn a:b --reload"}', "uvicorn a:b"),
        ('[tool.pdm.scripts]\nstart.cmd = ["python", "x.py"]', "python x.py"),
        ('[tool.taskipy.tasks]\nrun = "python -m app"', "python -m app"),
        ('[tool.poe.tasks.serve]\nshell = "poetry run flask run"', "flask run"),
        ('[tool.hatch.envs.default.scripts]\nrun = "python app.py"', "python app.py"),
    ],
)
def test_scripts_of_tools(opened: Opened, table: str, argv: str) -> None:
    assert commands(tool_scripts.read(opened({"pyproject.toml": table}))) == [(argv, "")]


def test_commands_of_a_readme_that_start_something_of_the_project(opened: Opened) -> None:
    text = (
        "# X\n```bash\n$ pip install -r requirements.txt\npython train.py\npython missing.py\nstreamlit run app.py   # opens\n```\n"
        "or run `python -m uvicorn api.main:app --reload`, `cd sub && python go.py`.\n`python <file>.py`\n"
    )
    found = readme.read(
        opened({"README.md": text, "app.py": "", "train.py": "", "api/main.py": "", "sub/go.py": ""})
    )
    assert commands(found) == [
        ("streamlit run app.py", ""),
        ("python -m uvicorn api.main:app", ""),
        ("python go.py", "sub"),
    ]


def test_names_that_must_be_set(opened: Opened) -> None:
    text = "# x\nOPENAI_API_KEY=sk-...\nexport DB_PASSWORD='x'\nMODEL=gpt\nHOST=  # the host\nURL=<your url>\nPORT=\nPATH=\nnothing\n"
    found = env_example.read(opened({".env.sample": text}))
    assert [(hint.key, hint.name, hint.line) for hint in found] == [
        ("needs-env", "OPENAI_API_KEY", 2),
        ("needs-env", "DB_PASSWORD", 3),
        ("needs-env", "HOST", 5),
        ("needs-env", "URL", 6),
    ]


def test_variables_of_app_json(opened: Opened) -> None:
    text = (
        '{"env": {"A": {"required": true}, "B": {"value": "b"}, "C": "c", "D": {"required": false}, "E": {"generator": "secret"}},'
        ' "scripts": {"postdeploy": "python manage.py migrate"}}'
    )
    found = appjson.read(opened({"app.json": text}))
    assert [(hint.key, hint.name, hint.text) for hint in found] == [
        ("needs-env", "A", "A"),
        ("env", "B", "b"),
        ("env", "C", "c"),
        ("release", "postdeploy", "python manage.py migrate"),
    ]
    assert appjson.read(opened({"app.json": '{"expo": {}}'})) == ()


def test_lists_of_packages(opened: Opened) -> None:
    text = "libgl1-mesa-glx\n# x\nffmpeg  libsm6=1.2\n:repo:deb http://x y\nhttps://x.example/a.deb\n-y\n"
    found = apt_files.read(opened({"Aptfile": text, "packages.txt": b"\xff\xfet\x00e\x00s\x00s\x00"}))
    assert [(hint.key, hint.text) for hint in found if hint.key == "system"] == [
        ("system", "tess"),
        ("system", "libgl1-mesa-glx"),
        ("system", "ffmpeg"),
        ("system", "libsm6"),
    ]
    assert len([hint for hint in found if hint.key == "unused"]) == 2


def test_packages_get_the_names_of_the_release() -> None:
    names = [
        "libgl1-mesa-glx",
        "libglib2.0-0",
        "libgl1",
        "python3-dev",
        "gcc",
        "libpq-dev",
        "libfoo-dev",
        "git",
        "ffmpeg",
        "libgomp1",
    ]
    for release, glib in (("bookworm", "libglib2.0-0"), ("trixie", "libglib2.0-0t64")):
        found = debian_names.for_release(names, release)
        assert found.packages == ("libgl1", glib, "libpq5", "ffmpeg")
        assert [name for name, _ in found.dropped] == ["python3-dev", "gcc", "libfoo-dev", "git", "libgomp1"]
    assert "git" in debian_names.for_release(names, "bookworm", kept=("git",)).packages


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("libgl1=1.0-1", "libgl1"),
        ("g++", "g++"),
        ("LIBX11-6:amd64", "libx11-6"),
        ("ffmpeg/trixie", "ffmpeg"),
        ("./a.deb", None),
        ("$A", None),
        ("libstdc++6", "libstdc++6"),
    ],
)
def test_spellings_of_a_package(word: str, name: str | None) -> None:
    assert debian_names.spelled(word) == name


@pytest.mark.parametrize(
    ("file", "text", "hint"),
    [
        (".python-version", "# x\n3.10.4\n", ("python", "3.10")),
        ("runtime.txt", "python-3.8.x", ("python", "3.8")),
        (".tool-versions", "nodejs 18\npython 3.10.4 3.9\n", ("python", "3.10")),
        ("mise.toml", '[tools]\npython = "3.12"\n', ("python", "3.12")),
        ("Pipfile", '[requires]\npython_version = "3.8"\n', ("python", "3.8")),
        ("environment.yml", "dependencies:\n  - python=3.9.7=abc\n", ("python", "3.9")),
        ("conda.yaml", "dependencies:\n- conda-forge::python==3.9\n", ("python", "3.9")),
        ("environment.yaml", "dependencies:\n  - 'python>=3.8,<3.11'\n", ("requires-python", ">=3.8,<3.11")),
        ("setup.cfg", "[options]\npython_requires = >=3.8\n", ("requires-python", ">=3.8")),
        ("setup.py", 'setup(python_requires=">=3.7, <4")', ("requires-python", ">=3.7, <4")),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "^3.9"\n', ("requires-python", ">=3.9,<4")),
    ],
)
def test_the_python_that_a_file_asks_for(opened: Opened, file: str, text: str, hint: tuple[str, str]) -> None:
    (found,) = pythons.read(opened({file: text}))
    assert (found.key, found.text) == hint


@pytest.mark.parametrize(
    ("written", "specifier"),
    [
        ("^3.8", ">=3.8,<4"),
        ("~3.10", ">=3.10,<3.11"),
        (">=3.8,<3.12", ">=3.8,<3.12"),
        (">=3.8 <3.12", ">=3.8,<3.12"),
        ("3.10.*", "==3.10.*"),
        ("3.10.2", "==3.10.2"),
        ("^3.8.1,!=3.9.7", ">=3.8.1,<4,!=3.9.7"),
        ("*", None),
        ("^2.7 || ^3.8", None),
    ],
)
def test_constraints_of_poetry(written: str, specifier: str | None) -> None:
    assert pythons.of_poetry(written) == specifier
