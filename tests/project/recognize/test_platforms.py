"""Projects of other tools: what is recognised in them, and what is said of what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.load import load
from corten.project.model import Command, Predictor, Project

Load = Callable[..., Project]


@pytest.fixture
def found(tmp_path: Path) -> Load:
    """The project with these files."""

    def found(**files: str) -> Project:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return load(tmp_path)

    return found


def made(load: Load, files: dict[str, str]) -> Project:
    return load(**{name.replace("/", "__"): text for name, text in files.items()})


PREDICTOR = "from cog import BasePredictor\nclass Predictor(BasePredictor):\n    def predict(self, a: int) -> int:\n        return a\n"


@pytest.mark.parametrize(
    ("reference", "path", "target"),
    [
        ("predict.py:Predictor", "predict.py", "predict:Predictor"),
        ("predict.py", "predict.py", "predict:Predictor"),
        ("./cog/predict.py:Predictor", "cog/predict.py", "cog.predict:Predictor"),
        ("my-predict.py:Predictor", "my-predict.py", "my-predict.py:Predictor"),
    ],
)
def test_the_predictor_of_a_cog_yaml(found, reference, path, target):
    project = made(found, {"cog.yaml": f'predict: "{reference}"\n', path: PREDICTOR})
    assert project.entry == Predictor(target)
    assert project.env == {"CORTEN_COG": "1"}
    assert project.alias == "/src"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("predict: nowhere.py:Predictor", "'cog.yaml' names 'nowhere.py', which is not in the project"),
        ("predict: Predictor", "'predict' in 'cog.yaml' is 'Predictor'"),
        ("predict: ../x.py:P", "'cog.yaml' names '../x.py', which is not in the project"),
        ("predict: [", "'cog.yaml' cannot be read: it is not YAML"),
        ("- x", "'cog.yaml' is no mapping of keys to values"),
    ],
)
def test_a_cog_yaml_that_cannot_be_used_is_an_error(found, text, message):
    with pytest.raises(ProjectError) as raised:
        made(found, {"cog.yaml": text, "predict.py": PREDICTOR})
    assert raised.value.message == message
    assert raised.value.hint


def test_what_a_cog_yaml_asks_for(found):
    project = made(
        found,
        {
            "cog.yaml": 'build:\n  python_version: "3.13"\n  python_packages: ["humanize==4.9"]\n  gpu: false\n'
            "concurrency: {max: 4}\ntrain: train.py:train\npredict: predict.py:Predictor\n",
            "predict.py": PREDICTOR,
        },
    )
    assert (project.python, project.base, project.gpu) == ("3.13", "debian:trixie", "none")
    assert project.env == {"CORTEN_COG": "1", "CORTEN_CONCURRENCY": "4"}
    assert [item.requirement for item in project.implied] == ["humanize==4.9"]
    assert "'train.py:train' is not served" in project.notes[0]


def test_what_is_written_goes_before_a_cog_yaml(found):
    project = made(
        found,
        {
            "cog.yaml": "predict: nowhere.py:X\n",
            "pyproject.toml": '[project]\nname="x"\nversion="1"\n[tool.corten]\ncommand = "python x.py"\n',
            "x.py": "",
        },
    )
    assert project.entry == Command(("python", "x.py"))


def test_a_space_and_a_cog_yaml_in_one_project(found):
    project = made(
        found,
        {
            "README.md": "---\nsdk: gradio\napp_file: app.py\n---\n",
            "app.py": "import gradio",
            "cog.yaml": "predict: predict.py:Predictor",
            "predict.py": PREDICTOR,
        },
    )
    assert project.entry == Predictor("predict:Predictor")


def test_a_space_without_its_file_is_an_error(found):
    with pytest.raises(ProjectError, match=r"names 'gone\.py', which is not in the project"):
        made(found, {"README.md": "---\nsdk: streamlit\napp_file: gone.py\n---\n", "app.py": ""})


def test_a_space_of_streamlit(found):
    project = made(
        found, {"README.md": "---\nsdk: streamlit\nsdk_version: 1.40.0\n---\n", "app.py": "import streamlit"}
    )
    assert isinstance(project.entry, Command)
    assert project.entry.argv[:3] == ("streamlit", "run", "app.py")
    assert [item.requirement for item in project.implied] == ["streamlit==1.40.0"]
    assert project.kind == "ui"


def test_several_functions_of_a_template_are_an_error_that_lists_them(found):
    template = "Resources:\n" + "".join(
        f"  {name}:\n    Type: AWS::Serverless::Function\n    Properties: {{CodeUri: {name}/, Handler: app.handler, Runtime: python3.12}}\n"
        for name in ("One", "Two")
    )
    with pytest.raises(ProjectError) as raised:
        made(found, {"template.yaml": template, "One/app.py": "", "Two/app.py": ""})
    assert 'predict = "One/app.py:handler"' in (raised.value.hint or "")
    assert 'predict = "Two/app.py:handler"' in (raised.value.hint or "")


def test_functions_of_other_languages_do_not_count(found):
    template = "Resources: {A: {Type: 'AWS::Serverless::Function', Properties: {Handler: app.handler, Runtime: nodejs20.x}}}"
    project = made(found, {"template.yaml": template, "app.py": "", "main.py": "print(1)"})
    assert project.entry == Command(("python", "main.py"))


@pytest.mark.parametrize("handler", ["src/handler.run", "src.handler.run"])
def test_a_function_of_serverless(found, handler):
    text = f"service: x\nprovider: {{name: aws, runtime: python3.11}}\nfunctions:\n  score:\n    handler: {handler}\n"
    project = made(found, {"serverless.yml": text, "src/handler.py": "def run(e, c): ..."})
    assert project.entry == Predictor("src/handler.py:run")
    assert project.env["AWS_LAMBDA_FUNCTION_NAME"] == "score"


def test_a_target_in_a_folder_can_be_written(found):
    project = made(
        found,
        {
            "pyproject.toml": '[tool.corten]\npredict = "fn/app.py:handler"\n',
            "fn/app.py": "def handler(event, context): ...",
        },
    )
    assert project.entry == Predictor("fn/app.py:handler")


def test_services_of_bentoml_without_a_bentofile(found):
    code = (
        "import bentoml\n@bentoml.service\nclass Inner: ...\n"
        "@bentoml.service(workers=2)\nclass Outer:\n    inner = bentoml.depends(Inner)\n"
    )
    project = made(found, {"service.py": code, "requirements.txt": "bentoml\n"})
    assert isinstance(project.entry, Command)
    assert project.entry.argv[:3] == ("bentoml", "serve", "service:Outer")
    assert project.implied == ()


def test_a_model_of_mlflow_below_a_project_does_not_hide_its_application(found):
    model = "flavors: {python_function: {loader_module: x}}\nmlflow_version: 2.9.2\n"
    app = "from flask import Flask\napp = Flask(__name__)\n"
    project = made(found, {"model/MLmodel": model, "app.py": app, "requirements.txt": "flask\ngunicorn\n"})
    assert project.kind == "web"


def test_a_model_of_mlflow_below_a_project_is_served_where_there_is_nothing_else(found):
    model = "flavors: {python_function: {loader_module: x}}\nmlflow_version: 2.9.2\n"
    project = made(found, {"model/MLmodel": model, "requirements.txt": "pandas\n"})
    assert project.entry == Predictor("model/MLmodel")
    assert [item.requirement for item in project.implied] == ["mlflow==2.9.2"]


def test_a_model_of_mlflow_for_another_language_is_none(found):
    project = made(found, {"MLmodel": "flavors: {crate: {}}\n", "main.py": "print(1)"})
    assert project.entry == Command(("python", "main.py"))


def test_a_deployment_of_ray_serve_is_not_run_as_the_application_inside_it(found):
    code = (
        "from fastapi import FastAPI\nfrom ray import serve\napp = FastAPI()\n"
        "@serve.deployment\n@serve.ingress(app)\nclass Model: ...\nentry = Model.bind()\n"
    )
    project = made(found, {"main.py": code, "requirements.txt": "ray[serve]\nfastapi\nuvicorn\n"})
    assert project.entry is None
    assert 'command = "serve run main:entry"' in project.notes[0]


@pytest.mark.parametrize("path", ["app.py", "src/app.py"])
def test_the_handler_of_an_image_for_lambda(found, path):
    dockerfile = (
        "FROM public.ecr.aws/lambda/python:3.11\nCOPY . ${LAMBDA_TASK_ROOT}\nRUN pip install -r requirements.txt\n"
        'CMD [ "app.handler" ]\n'
    )
    code = "import boto3\nimport helper\ndef handler(event, context):\n    return 1\n"
    files = {
        "Dockerfile": dockerfile,
        path: code,
        path.replace("app", "helper"): "",
        "requirements.txt": "humanize\n",
    }
    project = made(found, files)
    assert isinstance(project.entry, Predictor)
    assert project.entry.target in ("app:handler", "src/app.py:handler")
    assert project.env["CORTEN_LAMBDA"] == "1"
    assert [item.distributions for item in project.unlisted] == [("boto3",)]


def test_a_cog_yaml_says_all_of_the_build_where_there_is_a_dockerfile_too(found):
    project = made(
        found,
        {
            "cog.yaml": 'build:\n  python_packages: ["opencv-python==4.9.0.80"]\n  system_packages: [ffmpeg, cudnn9-cuda-12]\n'
            "predict: predict.py:Predictor\n",
            "Dockerfile": "FROM python:3.11\nRUN apt-get install -y msodbcsql17\nENV A=b\nCMD python other.py\n",
            "predict.py": "import cv2\n" + PREDICTOR,
            "other.py": "",
        },
    )
    assert project.system == ("ffmpeg",)
    assert project.env == {"CORTEN_COG": "1"}
    # Not opencv-python-headless beside it, which has the same module.
    assert [item.requirement for item in project.implied] == ["opencv-python==4.9.0.80"]
    assert any("'cudnn9-cuda-12' is not in Debian" in line for line in project.taken)


def test_a_package_from_version_control_is_said_not_to_be_installed(found):
    text = "build:\n  python_packages: ['git+https://example.com/a/b']\npredict: predict.py:Predictor\n"
    project = made(found, {"cog.yaml": text, "predict.py": PREDICTOR})
    assert any("which is no name of a package: it is not installed" in line for line in project.taken)
