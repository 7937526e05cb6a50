from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.load import load
from corten.project.model import Command, Implied, Predictor

Folder = Callable[..., Path]

CLASS = "class Iris:\n    def setup(self): ...\n    def predict(self, x: float) -> int:\n        return 1\n"
FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FASTAPI = "import fastapi\napi: fastapi.FastAPI = fastapi.FastAPI()\n"


def target(root: Path) -> str:
    entry = load(root).entry
    assert isinstance(entry, Predictor)
    return entry.target


def argv(root: Path) -> tuple[str, ...]:
    entry = load(root).entry
    assert isinstance(entry, Command)
    return entry.argv


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"predict.py": CLASS}, "predict:Iris"),
        ({"predictor.py": CLASS}, "predictor:Iris"),
        ({"src/predict.py": CLASS}, "predict:Iris"),
        ({"predict.py": "async def predict(x: int) -> int:\n    return x\n"}, "predict:predict"),
        ({"predict.py": "try:\n    import x\nexcept ImportError:\n    pass\nelse:\n    def predict(a): ...\n"}, "predict:predict"),
        ({"predict.py": CLASS + "class _Private(Iris):\n    pass\n"}, "predict:Iris"),
        ({"predict.py": "class Base:\n    def predict(self): ...\nclass Iris(Base):\n    pass\n"}, "predict:Iris"),
        (
            {"predict.py": "from cog import BasePredictor\nclass Net:\n    def predict(self): ...\n"
             "class Mine(BasePredictor):\n    def predict(self): ...\n"},
            "predict:Mine",
        ),
        ({"predict.py": "class Iris:\n    def predict_batch(self, items): ...\n"}, "predict:Iris"),
        ({"predict.py": "from functools import partial\npredict = partial(pow, exp=2)\n"}, "predict:predict"),
        ({"predict.py": "import functools as f\npredict: object = f.partial(pow, 2)\n"}, "predict:predict"),
        ({"predict.py": "predict = lambda x: x\n"}, "predict:predict"),
        ({"predict.py": CLASS, "train.py": "", "main.py": ""}, "predict:Iris"),
        ({"predict.py": CLASS, "setup.py": "from setuptools import setup"}, "predict:Iris"),
    ],
)  # fmt: skip
def test_predictors(folder: Folder, files: dict[str, str], expected: str) -> None:
    assert target(folder(files)) == expected


def test_a_script_that_keeps_a_prediction_is_no_predictor(folder: Folder) -> None:
    assert argv(folder({"predict.py": "predict = model.predict(rows)\n"})) == ("python", "predict.py")


def test_two_predictors_are_an_error_that_lists_them(folder: Folder) -> None:
    with pytest.raises(ProjectError) as caught:
        load(folder({"predict.py": CLASS, "predictor.py": CLASS.replace("Iris", "Other")}))
    assert caught.value.message == (
        "the project has 2 predictors: 'predict:Iris' in 'predict.py', 'predictor:Other' in 'predictor.py'"
    )
    assert caught.value.hint == (
        'write one into [tool.corten]: predict = "predict:Iris"  or  predict = "predictor:Other"'
    )


def test_two_predictors_in_one_file_are_an_error(folder: Folder) -> None:
    with pytest.raises(
        ProjectError, match=r"has 2 predictors: 'predict:Iris' in 'predict.py', 'predict:predict'"
    ):
        load(folder({"predict.py": CLASS + "def predict(x):\n    return x\n"}))


def test_what_is_written_ends_the_search(folder: Folder) -> None:
    root = folder(
        {
            "predict.py": CLASS,
            "predictor.py": CLASS,
            "pyproject.toml": '[tool.corten]\npredict = "predictor:Iris"\n',
        }
    )
    assert target(root) == "predictor:Iris"
    assert argv(folder({"pyproject.toml": '[tool.corten]\ncommand = "python x.py"\n'})) == ("python", "x.py")


def test_files_are_not_imported(folder: Folder) -> None:
    root = folder({"predict.py": "open('imported', 'w').close()\n" + CLASS})
    assert target(root) == "predict:Iris"
    assert not (root / "imported").exists()


@pytest.mark.parametrize("source", ["def predict(:\n", "\0def predict", "(" * 5000 + "predict"])
def test_a_predictor_that_is_no_python_is_an_error_and_no_script(folder: Folder, source: str) -> None:
    with pytest.raises(ProjectError, match=r"^'predict\.py' is not Python: "):
        load(folder({"predict.py": source}))
    named = {"predict.py": source, "pyproject.toml": '[tool.corten]\npredict = "a:B"\n'}
    assert target(folder(named)) == "a:B"


def test_a_file_that_defines_no_predictor_is_a_script(folder: Folder) -> None:
    assert load(folder({"predict.py": "x = 'predict'\n"})).entry == Command(("python", "predict.py"))


@pytest.mark.parametrize(
    ("files", "packages", "expected"),
    [
        ({"app.py": FLASK}, "flask\ngunicorn", "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 app:app"),
        ({"app.py": FLASK}, "Flask==3\nwaitress>=2", "waitress-serve --host 0.0.0.0 --port $PORT app:app"),
        ({"app.py": FLASK}, "flask\nhypercorn", "hypercorn --bind 0.0.0.0:$PORT wsgi:app:app"),
        ({"app.py": FLASK}, "gunicorn\nwaitress", "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 app:app"),
        ({"main.py": FASTAPI}, "fastapi\nuvicorn", "uvicorn --host 0.0.0.0 --port $PORT main:api"),
        ({"main.py": FASTAPI}, "fastapi[standard]", "uvicorn --host 0.0.0.0 --port $PORT main:api"),
        ({"main.py": FASTAPI}, "fastapi\nuvicorn[standard]>=0.30", "uvicorn --host 0.0.0.0 --port $PORT main:api"),
        ({"main.py": FASTAPI}, "hypercorn ; python_version > '3'", "hypercorn --bind 0.0.0.0:$PORT main:api"),
        ({"src/shop/app.py": FLASK}, "gunicorn", "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 shop.app:app"),
        ({"shop/__init__.py": FLASK}, "gunicorn", "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 shop:app"),
        ({"app.py": "from flask import Flask as F\nweb = F('x')\n"}, "gunicorn", "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 app:web"),
        (
            {"app.py": "def create_app():\n    from flask import Flask\n    return Flask('x')\n"},
            "gunicorn",
            "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 app:create_app()",
        ),
        (
            {"app.py": "from flask import Flask\ndef create_app():\n    return Flask('x')\napp = create_app()\n"},
            "waitress",
            "waitress-serve --host 0.0.0.0 --port $PORT app:app",
        ),
        (
            {"app.py": "from fastapi import FastAPI\ndef create_app():\n    return FastAPI()\n"},
            "uvicorn",
            "uvicorn --host 0.0.0.0 --port $PORT --factory app:create_app",
        ),
        (
            {"shop/__init__.py": FLASK, "wsgi.py": "from shop import app\n"},
            "gunicorn",
            "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 wsgi:app",
        ),
        ({"app.py": FLASK, "main.py": "from app import app\napp.run()\n"}, "gunicorn", "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 app:app"),
        ({"app.py": FLASK, "predict.py": "MODEL = 'predict'\n"}, "gunicorn", "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 app:app"),
    ],
)  # fmt: skip
def test_web_applications(folder: Folder, files: dict[str, str], packages: str, expected: str) -> None:
    assert " ".join(argv(folder({**files, "requirements.txt": packages + "\n"}))) == expected


DJANGO = {
    "manage.py": "import django\n",
    "site_/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    "site_/asgi.py": "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
}


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        ("django\ngunicorn", "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 site_.wsgi:application"),
        ("django\nuvicorn", "uvicorn --host 0.0.0.0 --port $PORT site_.asgi:application"),
        (
            "django\ngunicorn\nuvicorn",
            "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 site_.wsgi:application",
        ),
        ("django\ndaphne", "daphne --bind 0.0.0.0 --port $PORT site_.asgi:application"),
    ],
)
def test_django_goes_through_the_door_that_it_has_a_server_for(
    folder: Folder, packages: str, expected: str
) -> None:
    assert " ".join(argv(folder({**DJANGO, "requirements.txt": packages}))) == expected


def test_a_server_is_added_where_none_is_among_the_dependencies(folder: Folder) -> None:
    project = load(folder({"app.py": FLASK, "requirements.txt": "flask\nuvicorn\n"}))
    assert project.implied == (Implied("gunicorn", "no WSGI server is among the dependencies"),)
    assert project.entry == Command(
        ("gunicorn", "--bind", "0.0.0.0:$PORT", "--threads", "8", "--timeout", "0", "app:app")
    )
    project = load(folder({"app.py": "", "main.py": FASTAPI, "requirements.txt": ""}))
    assert project.implied == (Implied("uvicorn", "no ASGI server is among the dependencies"),)


def test_a_predictor_beside_a_web_application_is_an_error_with_both_lines(folder: Folder) -> None:
    with pytest.raises(ProjectError) as caught:
        load(folder({"app.py": FLASK, "predict.py": CLASS, "requirements.txt": "flask\ngunicorn\n"}))
    assert "has 2 things to run" in caught.value.message
    assert 'predict = "predict:Iris"' in (caught.value.hint or "")
    assert 'command = "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 app:app"' in (
        caught.value.hint or ""
    )


def test_the_server_is_found_in_every_kind_of_dependencies(folder: Folder) -> None:
    for files in (
        {"pyproject.toml": '[project]\nname = "x"\ndependencies = ["flask", "gunicorn>=20"]\n'},
        {
            "pyproject.toml": '[project]\nname = "x"\n[dependency-groups]\nserve = ["gunicorn"]\n'
            '[tool.corten]\ngroups = ["serve"]\n'
        },
        {"uv.lock": 'version = 1\n\n[[package]]\nname = "gunicorn"\nversion = "23.0"\n'},
        {"requirements.txt": "-r more.txt\n", "more.txt": "# x\n-r requirements.txt\nGunicorn\n"},
    ):
        root = folder({"app.py": FLASK, **files}, f"p{hash(str(files))}")
        assert argv(root)[0] == "gunicorn"


def test_scripts(folder: Folder) -> None:
    assert argv(folder({"main.py": "", "other.py": ""}, "a")) == ("python", "main.py")
    assert argv(folder({"train.py": "", "setup.py": "", "conftest.py": "", "test_x.py": ""}, "b")) == (
        "python",
        "train.py",
    )
    several = load(folder({"train.py": "", "evaluate.py": ""}, "c"))
    assert several.entry is None
    assert "'evaluate.py', 'train.py' could" in several.notes[0]
    project = '[project]\nname = "x"\n[project.scripts]\nserve = "pkg.cli:main"\n'
    assert argv(folder({"pyproject.toml": project, "main.py": ""}, "d")) == ("serve",)
    assert load(folder({"requirements.txt": "numpy\n"}, "e")).entry is None


SKLEARN = '[project]\nname = "p"\ndependencies = ["scikit-learn>=1.5"]\n[tool.corten]\nmodels = {}\n'


class TestModelsWithoutCode:
    """A model's file among the declared weights is served where nothing else runs."""

    @pytest.mark.parametrize("ending", ["joblib", "pkl", "pickle"])
    def test_a_declared_estimator(self, folder: Folder, ending: str) -> None:
        root = folder({"pyproject.toml": SKLEARN.format(f'["m/model.{ending}"]'), "train.py": ""})
        project = load(root)
        assert project.entry == Predictor(f"m/model.{ending}")
        assert project.notes[0] == f"'m/model.{ending}' is the model that is served, without code"

    def test_one_that_is_not_named_is_told_and_not_served(self, folder: Folder) -> None:
        text = SKLEARN.format("[]").replace("models = []\n", "")
        project = load(folder({"pyproject.toml": text, "train.py": "", "model.joblib": ""}))
        assert project.entry == Command(("python", "train.py"))
        assert project.notes[0].endswith('; models = ["model.joblib"] in [tool.corten] would serve the model')
        alone = load(folder({"pyproject.toml": text, "train.py": ""}, "alone"))
        assert alone.notes[0] == "'train.py' is the only script"

    def test_a_glob_that_matches_one(self, folder: Folder) -> None:
        files = {"pyproject.toml": SKLEARN.format('["m/*"]'), "m/a.joblib": "", "m/words.txt": ""}
        assert target(folder(files)) == "m/a.joblib"

    def test_onnx_needs_its_runtime(self, folder: Folder) -> None:
        text = SKLEARN.format('["a.onnx"]')
        assert load(folder({"pyproject.toml": text}, "without")).entry is None
        text = text.replace("scikit-learn>=1.5", "onnxruntime-gpu")
        assert target(folder({"pyproject.toml": text}, "with")) == "a.onnx"

    def test_a_pickle_of_something_else_is_left_alone(self, folder: Folder) -> None:
        files = {
            "pyproject.toml": SKLEARN.format('["words.pkl"]').replace("scikit-learn", "torch"),
            "train.py": "",
        }
        assert argv(folder(files)) == ("python", "train.py")

    def test_what_runs_otherwise_goes_on_running(self, folder: Folder) -> None:
        text = SKLEARN.format('["a.joblib"]')
        assert argv(folder({"pyproject.toml": text, "main.py": ""}, "main")) == ("python", "main.py")
        assert target(folder({"pyproject.toml": text, "predict.py": CLASS}, "class")) == "predict:Iris"
        scripts = text + '[project.scripts]\ngo = "a:b"\n'
        assert argv(folder({"pyproject.toml": scripts}, "scripts")) == ("go",)

    def test_two_are_told_with_the_line_that_serves_both(self, folder: Folder) -> None:
        text = SKLEARN.format('["a/Big Model.joblib", "b.joblib"]')
        project = load(folder({"pyproject.toml": text, "train.py": ""}))
        assert project.entry is None
        assert project.notes[0] == (
            'nothing runs by default: predict = { big-model = "a/Big Model.joblib", b = "b.joblib" } in [tool.corten] '
            "would serve the models"
        )


def test_several_models_and_files_in_one_image(folder: Folder) -> None:
    text = (
        '[tool.corten]\npredict = { cats = "cats:Cats", dogs = "./models/dogs.onnx" }\nmodels = ["cats.pt"]\n'
    )
    project = load(folder({"pyproject.toml": text}))
    assert project.entry == Predictor("", (("cats", "cats:Cats"), ("dogs", "models/dogs.onnx")))
    assert project.models == ("cats.pt", "models/dogs.onnx")


def test_a_ui_framework_wins_over_running_its_file(folder: Folder) -> None:
    root = folder(
        {
            "requirements.txt": "nicegui\n",
            "main.py": "from nicegui import ui\nui.label('x')\nui.run(port=8080)\n",
        }
    )
    assert load(root).kind == "ui"


def test_a_ui_that_asks_the_api_beside_it_is_its_client(folder: Folder) -> None:
    files = {"requirements.txt": "fastapi\nuvicorn\nstreamlit\n", "main.py": FASTAPI}
    client = (
        "import requests\nimport streamlit as st\nst.write(requests.get('http://localhost:8000/x').json())\n"
    )
    project = load(folder({**files, "streamlit_app.py": client}, "client"))
    assert project.entry == Command(("uvicorn", "--host", "0.0.0.0", "--port", "$PORT", "main:api"))
    assert project.notes[0].endswith("; also there: 'streamlit_app.py'")
    with pytest.raises(ProjectError, match="has 2 things to run"):
        load(folder({**files, "streamlit_app.py": "import streamlit as st\nst.write(1)\n"}, "apart"))
