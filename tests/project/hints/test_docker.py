from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.project.hints import docker, images, installs
from corten.project.hints.hint import Hint

from .conftest import Opened


def values(hints: tuple[Hint, ...], key: str) -> list[str]:
    return [hint.text for hint in hints if hint.key == key]


def command(hints: tuple[Hint, ...]) -> tuple[str, str]:
    (found,) = [hint for hint in hints if hint.key == "command"]
    assert not isinstance(found.value, str)
    return " ".join(found.value), found.folder


@pytest.mark.parametrize(
    ("files", "text", "argv", "cwd"),
    [
        (
            ["app/main.py"],
            'FROM python:3.9\nWORKDIR /code\nCOPY ./requirements.txt /code/requirements.txt\nCOPY ./app /code/app\nCMD ["fastapi", "run", "app/main.py", "--port", "80"]',
            "fastapi run app/main.py --port 80",
            "",
        ),
        (
            ["app/main.py"],
            'FROM python:3.9\nWORKDIR /app\nCOPY app/ .\nCMD ["uvicorn", "main:app"]',
            "uvicorn main:app",
            "app",
        ),
        (
            ["backend/main.py", "backend/x.py", "frontend/a.js"],
            "FROM python:3.9\nCOPY backend /code/\nWORKDIR /code\nCMD uvicorn main:app --port ${PORT:-8000}",
            "uvicorn main:app --port $PORT",
            "backend",
        ),
        (
            ["src/svc/main.py", "src/svc/__init__.py"],
            'FROM python:3.9\nWORKDIR /w\nCOPY src /w/src\nWORKDIR /w/src\nCMD ["python", "-m", "svc.main"]',
            "python -m svc.main",
            "src",
        ),
        (
            ["api/app.py", "model/m.py"],
            'FROM python:3.9\nWORKDIR /app\nCOPY model ./model\nCOPY api/*.py ./\nCMD ["python", "app.py"]',
            "python app.py",
            "api",
        ),
        (
            ["svc/main.py", "svc/a.py"],
            'FROM python:3.9\nWORKDIR /app\nCOPY svc/main.py svc/a.py /app/\nENTRYPOINT ["python"]\nCMD ["main.py"]',
            "python main.py",
            "svc",
        ),
        (
            ["app/api.py"],
            'FROM python:3.9\nENV D /srv\nWORKDIR $D\nCOPY . .\nCMD ["python3", "/srv/app/api.py"]',
            "python app/api.py",
            "",
        ),
        (
            ["main.py"],
            "FROM python:3.9\nWORKDIR /app\nADD . /app\nCMD cd /app && exec gunicorn --bind :$PORT main:app",
            "gunicorn --bind :$PORT main:app",
            "",
        ),
        (
            ["server/main.py"],
            'FROM python:3.9\nWORKDIR /app\nCOPY . .\nWORKDIR /app/server\nCMD ["bash", "-c", "python main.py"]',
            "python main.py",
            "server",
        ),
        (
            ["main.py"],
            "FROM tiangolo/uvicorn-gunicorn-fastapi:python3.9\nCOPY . /app",
            "uvicorn main:app",
            "",
        ),
        (
            ["app/main.py"],
            "FROM tiangolo/uvicorn-gunicorn-fastapi:python3.9\nCOPY ./app /app",
            "uvicorn main:app",
            "app",
        ),
        (
            ["main.py"],
            'FROM python:3.9\nCOPY . /x\nWORKDIR /x\nENTRYPOINT ["conda", "run", "-n", "e", "python", "main.py"]',
            "python main.py",
            "",
        ),
    ],
)
def test_the_command_runs_in_the_folder_that_its_working_directory_stands_for(
    opened: Opened, files: list[str], text: str, argv: str, cwd: str
) -> None:
    found = docker.read(opened({"Dockerfile": text, **dict.fromkeys(files, "")}))
    assert command(found) == (argv, cwd)


@pytest.mark.parametrize(
    ("script", "text", "argv"),
    [
        ("start.sh", 'WORKDIR /app\nCOPY . .\nRUN chmod +x start.sh\nCMD ["./start.sh"]', "sh start.sh"),
        (
            "entrypoint.sh",
            'COPY entrypoint.sh /\nENTRYPOINT ["/entrypoint.sh"]\nCMD ["x"]',
            "sh entrypoint.sh x",
        ),
        ("docker/run.sh", "WORKDIR /app\nCOPY . .\nCMD bash docker/run.sh", "bash docker/run.sh"),
    ],
)
def test_a_script_is_started_by_its_shell(opened: Opened, script: str, text: str, argv: str) -> None:
    found = docker.read(
        opened({"Dockerfile": f"FROM python:3.9\n{text}", script: "#!/bin/sh\nexec python x.py\n"})
    )
    assert command(found)[0] == argv


def test_packages_files_and_indexes_of_pip_are_read(opened: Opened) -> None:
    found = docker.read(
        opened(
            {
                "Dockerfile": "FROM python:3.10 AS build\nWORKDIR /code\n"
                "COPY backend/src/req.txt ./src/req.txt\n"
                "RUN pip install --no-cache-dir --upgrade pip setuptools && pip install 'fastapi[all]==0.95.1' gunicorn>=20\n"
                "RUN pip3 install torch==2.1.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu\n"
                "RUN python -m pip install -i https://index.example/simple -r ./src/req.txt -e .\n"
                "RUN --mount=type=cache,target=/x uv pip install --system numpy\n"
                "FROM python:3.10\nCOPY --from=build /x /x\nCOPY backend /code/\nWORKDIR /code\n",
                "backend/src/req.txt": "flask\n",
                "backend/main.py": "",
            }
        )
    )
    assert values(found, "requirement") == [
        "fastapi[all]==0.95.1",
        "gunicorn>=20",
        "torch==2.1.0+cpu",
        "numpy",
    ]
    assert values(found, "gpu") == ["none"]
    assert values(found, "index") == ["https://index.example/simple"]
    assert values(found, "requirements") == ["backend/src/req.txt"]
    assert values(found, "python") == ["3.10"]


def test_packages_of_debian_are_those_of_the_last_stage(opened: Opened) -> None:
    found = docker.read(
        opened(
            {
                "Dockerfile": "FROM python:3.10 AS build\nRUN apt-get update && apt-get install -y build-essential\n"
                "FROM python:3.10\nRUN apt-get update -y && DEBIAN_FRONTEND=noninteractive apt-get install -y \\\n"
                "    --no-install-recommends -o Dpkg::Use-Pty=0 ffmpeg=7:1.2 libsm6:amd64 \\\n    # a comment\n"
                "    libgl1-mesa-glx $EXTRA && rm -rf /var/lib/apt/lists/*\nRUN apk add --no-cache gcc\n"
            }
        )
    )
    assert values(found, "system") == ["ffmpeg", "libsm6", "libgl1-mesa-glx"]
    assert values(found, "unused") == ["packages of Alpine are not Debian's: gcc"]


def test_variables_with_paths_of_the_image_lead_to_the_project(opened: Opened) -> None:
    found = docker.read(
        opened(
            {
                "Dockerfile": "FROM python:3.10\nENV PATH=/x:$PATH PIP_NO_CACHE_DIR=1 MODEL_PATH=/code/models/m.pkl MODE=prod\n"
                "ENV PYTHONPATH=/code/lib:/code PORT=8080 API_KEY=changeme DB_PASSWORD=Tk3Jh8Qw1Zx9Lm5Nn2Bb\nWORKDIR /code\nCOPY . .\n",
                "models/m.pkl": "",
                "lib/a.py": "",
            }
        )
    )
    assert {hint.name: hint.text for hint in found if hint.key == "env"} == {
        "MODEL_PATH": "/app/models/m.pkl",
        "MODE": "prod",
        "PYTHONPATH": "/app/lib",
    }
    assert values(found, "needs-env") == ["API_KEY", "DB_PASSWORD"]
    assert [(hint.name, hint.text) for hint in found if hint.key == "port"] == [("PORT", "8080")]


def test_downloads_and_other_steps_are_named(opened: Opened) -> None:
    found = docker.read(
        opened(
            {
                "Dockerfile": "FROM python:3.10\nWORKDIR /app\n"
                "RUN mkdir -p models && wget -q https://files.example/y.pt?x=1 -O models/y.pt && chmod 1 models/y.pt\n"
                "RUN curl -L -o w.onnx https://files.example/w\nRUN python -m nltk.downloader punkt stopwords\n"
                "RUN python -c \"from transformers import pipeline; pipeline('ner', model='x')\"\n"
                "RUN curl -sSL https://get.example/install.sh | bash\nRUN git clone https://git.example/x.git && make -C x\n"
            }
        )
    )
    assert [(hint.text, hint.name) for hint in found if hint.key == "download"] == [
        ("https://files.example/y.pt?x=1", "models/y.pt"),
        ("https://files.example/w", "w.onnx"),
        ("nltk: punkt stopwords", ""),
        ("model: ner", ""),
    ]
    assert values(found, "unused") == [
        "steps of RUN are not done: 'curl -sSL https://get.example/install.sh | bash' in line 7; 'git clone https://git.example/x.git' in line 8; 'make -C x' in line 8"
    ]


@pytest.mark.parametrize(
    ("image", "python", "requirements"),
    [
        ("python:3.10-slim-bullseye", "3.10", ()),
        ("docker.io/library/python:3.8.12", "3.8", ()),
        ("python:3", None, ()),
        ("python", None, ()),
        ("public.ecr.aws/lambda/python:3.9", "3.9", ()),
        ("ghcr.io/astral-sh/uv:python3.12-bookworm-slim", "3.12", ()),
        ("tiangolo/uwsgi-nginx-flask:python3.8", "3.8", ("flask", "gunicorn")),
        ("pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime", None, ("torch==2.1.0", "torchvision")),
        ("tensorflow/tensorflow:2.15.0-gpu", None, ("tensorflow==2.15.0",)),
        ("continuumio/miniconda3:latest", None, ()),
        ("mcr.microsoft.com/devcontainers/python:1-3.11-bullseye", None, ()),
        ("localhost:5000/base", None, ()),
    ],
)
def test_what_an_image_implies(image: str, python: str | None, requirements: tuple[str, ...]) -> None:
    found = images.implied(image)
    assert (found.python, found.requirements, found.foreign) == (python, requirements, False)


def test_a_distribution_implies_its_python_where_that_is_installed(opened: Opened) -> None:
    text = "FROM ubuntu:20.04\nRUN apt-get install -y python3-pip\nCOPY . /a\nWORKDIR /a\nCMD python3 x.py\n"
    assert values(docker.read(opened({"Dockerfile": text, "x.py": ""})), "python") == ["3.8"]
    assert images.implied("nvidia/cuda:11.8.0-runtime-ubuntu22.04", system_python=True).python == "3.10"
    assert images.implied("node:18-alpine").foreign


def test_the_handler_of_a_function_is_no_command(opened: Opened) -> None:
    text = 'FROM public.ecr.aws/lambda/python:3.11\nCOPY app.py ${LAMBDA_TASK_ROOT}\nCMD [ "app.handler" ]\n'
    found = docker.read(opened({"Dockerfile": text, "app.py": ""}))
    assert [(hint.key, hint.text) for hint in found] == [("python", "3.11"), ("app", "app.handler")]


def test_a_dockerfile_for_another_language_gives_nothing_but_a_word(opened: Opened) -> None:
    found = docker.read(opened({"Dockerfile": 'FROM python AS a\nFROM nginx:1\nCMD ["nginx"]\n', "x.py": ""}))
    assert [(hint.key, hint.text) for hint in found] == [("unused", "it is for 'nginx:1', not for Python")]


def test_a_dockerfile_elsewhere_or_under_another_name_counts_where_it_is_the_only_one(opened: Opened) -> None:
    text = 'FROM python:3.9\nCOPY . /a\nWORKDIR /a\nCMD ["python", "x.py"]\n'
    assert command(docker.read(opened({"docker/Dockerfile": text, "x.py": ""}))) == ("python x.py", "")


def test_the_only_variant_of_a_dockerfile_counts(opened: Opened) -> None:
    text = 'FROM python:3.9\nCOPY . /a\nWORKDIR /a\nCMD ["python", "x.py"]\n'
    found = docker.find(opened({"Dockerfile.prod": text, "Dockerfile.dev": "FROM x", "x.py": ""}))
    assert found is not None
    assert found[0] == "Dockerfile.prod"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pip install -r a.txt -r b.txt", {"files": ("a.txt", "b.txt")}),
        ("pip install -ra.txt", {"files": ("a.txt",)}),
        ("pip install --requirement=a.txt .", {"files": ("a.txt",), "local": True}),
        ("pip install --target /x --timeout 100 flask==1.0", {"requirements": ("flask==1.0",)}),
        ("/env/bin/pip install 'a[b,c]>=1,<2'", {"requirements": ("a[b,c]>=1,<2",)}),
        ("poetry run pip install x", {"requirements": ("x",)}),
        ("conda install -y -c conda-forge python=3.10 flask", {"python": "3.10", "conda": ("flask",)}),
        ("pip freeze", {}),
        ("pip install ./x.whl", {"local": True}),
    ],
)
def test_spellings_of_an_installation(line: str, expected: dict[str, Any]) -> None:
    assert installs.read(line) == installs.Installed(**expected)


@given(st.text("apt-get install pip -r .txt&|;$()'\"\n\\=<", max_size=80))
def test_any_line_of_run_is_read(text: str) -> None:
    installs.read(text)
