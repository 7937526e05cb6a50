from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import FormatError
from corten.project.hints import compose, documents
from corten.project.hints.hint import Hint

from .conftest import Opened


def listed(hints: tuple[Hint, ...], *keys: str) -> list[tuple[str, str, str]]:
    return [(hint.key, hint.name, hint.text) for hint in hints if hint.key in keys]


def test_a_service_that_is_built_gives_its_command_and_variables(opened: Opened) -> None:
    text = """
x-env: &env
  A: 1
  OPENAI_API_KEY: ${OPENAI_API_KEY}
services:
  db:
    image: docker.io/library/postgres:15
  store:
    image: "qdrant/qdrant:${TAG:-latest}"
  mail:
    image: mailhog/mailhog
  web:
    build: {context: ., target: prod}
    command: uvicorn app.main:app --host 0.0.0.0 --port ${PORT:-8000} --reload
    environment:
      <<: *env
      DATABASE_URL: postgres://u:p@db:5432/x
      STORE_HOST: store
      MODE: ${MODE:-prod}
      DEBUG: true
      PORT: 8000
    ports: ["127.0.0.1:8000:8001/tcp", {target: 9000}]
    env_file: [.env]
"""
    found = compose.read(opened({"docker-compose.yml": text, "app/main.py": ""}))
    assert listed(found, "command") == [
        ("command", "web", "uvicorn app.main:app --host 0.0.0.0 --port '$PORT'")
    ]
    assert listed(found, "env") == [("env", "A", "1"), ("env", "MODE", "prod"), ("env", "DEBUG", "true")]
    assert listed(found, "needs-env") == [("needs-env", "OPENAI_API_KEY", "OPENAI_API_KEY")]
    assert listed(found, "needs-service") == [
        ("needs-service", "db", "PostgreSQL"),
        ("needs-service", "store", "Qdrant"),
    ]
    assert listed(found, "port") == [("port", "web", "8001"), ("port", "web", "9000")]
    assert [hint.text for hint in found if hint.key == "unused"] == [
        "DATABASE_URL names another service of the file",
        "STORE_HOST names another service of the file",
        "service 'web' reads '.env', which is not there",
    ]
    assert next(hint for hint in found if hint.key == "command").place == "docker-compose.yml:14"


def test_a_service_without_a_command_has_that_of_its_dockerfile(opened: Opened) -> None:
    files: dict[str, str | bytes] = {
        "compose.yml": "services:\n  a:\n    build: ./api\n  b:\n    build: web\n",
        "api/Dockerfile": 'FROM python:3.10\nWORKDIR /x\nCOPY . .\nRUN apt-get install -y ffmpeg\nCMD ["python", "run.py"]\n',
        "api/run.py": "",
        "web/Dockerfile": 'FROM node:18\nCMD ["node", "x.js"]\n',
        "web/x.js": "",
    }
    found = compose.read(opened(files))
    (command,) = [hint for hint in found if hint.key == "command"]
    assert (command.text, command.folder, command.name, command.source) == (
        "python run.py",
        "api",
        "a",
        "api/Dockerfile",
    )
    assert listed(found, "system", "python") == [("python", "", "3.10"), ("system", "", "ffmpeg")]


def test_a_working_directory_in_a_bind_mount_is_a_folder_of_the_project(opened: Opened) -> None:
    text = (
        "services:\n  a:\n    build: .\n    entrypoint: [sh, -c]\n    command: ['python m.py']\n"
        "    working_dir: /code/sub\n    volumes: ['.:/code']\n    environment: [X=1, TOKEN]\n"
    )
    found = compose.read(opened({"compose.yaml": text, "sub/m.py": ""}))
    (command,) = [hint for hint in found if hint.key == "command"]
    assert (command.text, command.folder) == ("python m.py", "sub")
    assert listed(found, "env", "needs-env") == [("env", "X", "1"), ("needs-env", "TOKEN", "TOKEN")]


def test_paths_of_a_service_lead_back_through_its_mounts(opened: Opened) -> None:
    text = (
        "services:\n  web:\n    build: .\n    command: python /code/site/manage.py runserver 0.0.0.0:8000\n    volumes: ['.:/code', './w:/weights:ro', 'data:/data']\n"
        "    environment: {PYTHONPATH: '/code:/code/lib', WEIGHTS: /weights/m.pt, DATA: /data/x}\n"
    )
    found = compose.read(
        opened(
            {
                "compose.yaml": text,
                "Dockerfile": "FROM python:3.8\nWORKDIR /code\nCOPY site /code/\n",
                "site/manage.py": "",
                "w/m.pt": "",
                "lib/a.py": "",
            }
        )
    )
    (command,) = [hint for hint in found if hint.key == "command"]
    assert (command.text, command.folder) == ("python site/manage.py runserver 0.0.0.0:8000", "")
    assert listed(found, "env") == [
        ("env", "PYTHONPATH", "/app/lib"),
        ("env", "WEIGHTS", "/app/w/m.pt"),
        ("env", "DATA", "/data/x"),
    ]
    assert listed(found, "volume") == [("volume", "data", "/data")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "services: []",
        "services: {a: 1}",
        "version: 3",
        "services:\n  a:\n    build: ../elsewhere\n    command: x y\n",
    ],
)
def test_a_file_without_services_of_the_project_gives_nothing(opened: Opened, text: str) -> None:
    assert compose.read(opened({"compose.yaml": text})) == ()


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\x00", "a: &x [*x]", "[" * 200])
def test_a_file_that_is_no_yaml_is_said_not_refused(opened: Opened, text: str) -> None:
    (hint,) = compose.read(opened({"compose.yaml": f"services:\n  {text}"}))
    assert hint.key == "unused"
    assert "cannot be read" in hint.text


def test_anchors_that_multiply_are_refused_at_once() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
    )
    begin = time.process_time()
    with pytest.raises(FormatError, match="too many values"):
        documents.yaml(bomb)
    assert time.process_time() - begin < 30


def test_tags_make_no_objects() -> None:
    assert documents.yaml("a: !!python/object/apply:os.system ['x']\nb: !x y\nc: 0x10\nd: 1\ne: ~\n") == {
        "a": ["x"],
        "b": "y",
        "c": "0x10",
        "d": 1,
        "e": None,
    }


@given(st.text("abc:-&*<![]{}\n #'\"|>%", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    for reader in (documents.yaml, documents.jsonc):
        with contextlib.suppress(FormatError):
            reader(text)


def test_comments_and_commas_of_editors_json() -> None:
    text = '{"a": "// no", /* x */ "b": [1, 2, ], // y\n "c": "x,]",\n}'
    assert documents.jsonc(text) == {"a": "// no", "b": [1, 2], "c": "x,]"}
