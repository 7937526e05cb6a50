"""What a project is with the hints of its files, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.hints.reference import reference
from corten.project.load import find, load, needs
from corten.project.model import Command, Project
from corten.project.writing import render

Make = Callable[[dict[str, str | bytes]], Path]
FLASK = "from flask import Flask\napp = Flask(__name__)\n"


def argv(project: Project) -> str:
    assert isinstance(project.entry, Command)
    return " ".join(project.entry.argv)


def test_what_is_written_stands_above_every_hint(folder: Make) -> None:
    project = load(
        folder(
            {
                "pyproject.toml": '[tool.corten]\ncommand = "python mine.py"\nsystem = ["jq"]\nenv = { A = "mine" }\n'
                'python = "3.11"\nrequirements = "mine.txt"\ngpu = "auto"\n',
                "Procfile": "web: gunicorn app:app\n",
                "Dockerfile": "FROM python:3.13\nRUN apt-get install -y ffmpeg\nENV A=theirs B=b\nCOPY theirs.txt .\n"
                "RUN pip install torch --index-url https://download.pytorch.org/whl/cpu && pip install -r theirs.txt\n",
                "app.py": FLASK,
                "mine.txt": "flask\n",
                "theirs.txt": "flask\n",
            }
        )
    )
    assert argv(project) == "python mine.py"
    assert (project.system, project.env, project.python) == (("jq",), {"A": "mine", "B": "b"}, "3.11")
    assert (project.gpu, [path.name for path in project.dependencies.files]) == ("auto", ["mine.txt"])


def test_a_procfile_stands_above_a_dockerfile_and_the_code(folder: Make) -> None:
    project = load(
        folder(
            {
                "Procfile": "release: python migrate.py\nweb: gunicorn app:app\n",
                "Dockerfile": 'FROM python:3.11\nWORKDIR /a\nCOPY . .\nCMD ["python", "other.py"]\n',
                "app.py": FLASK,
                "other.py": "",
                "requirements.txt": "flask\n",
            }
        )
    )
    assert argv(project) == "gunicorn app:app"
    assert project.kind == "web"
    assert project.taken == (
        "command from Procfile:2: gunicorn app:app",
        "Procfile:1 has a step to run first: corten run . -- python migrate.py (what it writes into the project's folder "
        "stays with the container that runs it: then 'corten exec -w /app NAME python migrate.py' once it is up)",
        "not taken from Dockerfile:4, as the Procfile has a command: python other.py",
    )
    assert [item.requirement for item in project.implied] == ["gunicorn"]


def test_commands_for_one_application_are_no_contradiction(folder: Make) -> None:
    project = load(
        folder(
            {
                "Procfile": "web: gunicorn app:app --preload\n",
                "Dockerfile": "FROM python:3.11\nWORKDIR /a\nCOPY . .\nCMD gunicorn -b :$PORT app:app\n",
                "app.py": FLASK,
                "requirements.txt": "flask\ngunicorn\n",
            }
        )
    )
    assert project.taken == ("command from Procfile:1: gunicorn app:app --preload",)
    assert project.implied == ()


def test_services_of_equal_standing_are_an_error_that_lists_them(folder: Make) -> None:
    compose = "services:\n  a:\n    build: .\n    command: python a.py\n  b:\n    build: .\n    command: python b.py\n"
    with pytest.raises(ProjectError, match=r"has 2 things to run: 'a' in 'compose\.yaml', 'b'") as caught:
        load(folder({"compose.yaml": compose, "a.py": "", "b.py": ""}))
    assert 'command = "python a.py"  or  command = "python b.py"' in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("files", "refused"),
    [
        (
            {"Procfile": "web: gunicorn gone:app\n"},
            "Procfile:1 starts 'gone:app', which is not in the project",
        ),
        ({"Procfile": "web: node server.js\n"}, "Procfile:1 starts 'node', which the image does not have"),
        ({"Dockerfile": "FROM python:3.11\nCMD bash\n"}, "Dockerfile:2 starts nothing that serves: bash"),
        (
            {"Dockerfile": 'FROM python\nCMD ["sleep", "infinity"]\n'},
            "Dockerfile:2 starts nothing that serves: sleep infinity",
        ),
        (
            {"Dockerfile": "FROM python\nCMD jupyter lab --ip=0.0.0.0\n"},
            "Dockerfile:2 opens notebooks, which is no service",
        ),
        (
            {"Dockerfile": "FROM python\nCMD python gone.py\n"},
            "Dockerfile:2 starts 'gone.py', which is not in the project",
        ),
        (
            {"compose.yaml": "services: {a: {build: ., command: tail -f /dev/null}}\n"},
            "compose.yaml:1 starts nothing that serves",
        ),
    ],
)
def test_a_command_that_serves_nothing_is_not_taken_and_the_next_counts(
    folder: Make, files: dict[str, str | bytes], refused: str
) -> None:
    project = load(folder({**files, "app.py": FLASK, "requirements.txt": "flask\ngunicorn\n"}))
    assert argv(project).startswith("gunicorn --bind 0.0.0.0:$PORT")
    assert [note for note in project.notes if note.startswith(refused)]


def test_a_script_that_trains_is_no_service_although_a_dockerfile_starts_it(folder: Make) -> None:
    text = 'FROM python:3.11\nWORKDIR /a\nCOPY . .\nCMD ["python", "train.py"]\n'
    project = load(folder({"Dockerfile": text, "train.py": "", "util.py": ""}))
    assert (argv(project), project.kind) == ("python train.py", "script")


def test_a_procfile_without_web_has_a_worker(folder: Make) -> None:
    project = load(
        folder({"Procfile": "clock: python c.py\nworker: python bot.py\n", "bot.py": "", "c.py": ""})
    )
    assert (argv(project), project.kind) == ("python bot.py", "worker")


def test_readme_and_editor_count_where_nothing_else_does(folder: Make) -> None:
    files: dict[str, str | bytes] = {
        "README.md": "Run `python serve_it.py --x`\n",
        "serve_it.py": "",
        "b.py": "",
        "c.py": "",
    }
    assert argv(load(folder(files))) == "python serve_it.py --x"
    launch = (
        '{"configurations": [{"type": "python", "request": "launch", "program": "${workspaceFolder}/b.py"}]}'
    )
    assert argv(load(folder({**files, ".vscode/launch.json": launch}))) == "python b.py"
    both = load(
        folder(
            {
                "README.md": "`python b.py` or `python c.py`",
                ".vscode/launch.json": "{",
                "serve_it.py": "",
                "b.py": "",
                "c.py": "",
            }
        )
    )
    assert both.entry is None
    assert [
        note
        for note in both.notes
        if note == "README.md shows several commands: 'python b.py' or 'python c.py'"
    ]


def test_a_readme_decides_between_applications_of_equal_standing(folder: Callable[..., Path]) -> None:
    files: dict[str, str | bytes] = {
        "a.py": FLASK,
        "b.py": FLASK,
        "requirements.txt": "flask\ngunicorn\n",
    }
    with pytest.raises(ProjectError, match="2 web applications"):
        load(folder(files))
    for named in ("a", "b"):
        readme = f"# X\n```\npython {named}.py\n```\n"
        project = load(folder({**files, "README.md": readme}, f"of-{named}"))
        assert (project.kind, argv(project).split()[-1]) == ("web", f"{named}:app")
        assert "; README.md:3 starts it" in project.notes[0]


def test_a_script_that_serves_gets_the_folder_and_the_arguments_of_a_makefile(folder: Make) -> None:
    server = "import http.server, sys\nhttp.server.HTTPServer(('', int(sys.argv[1])), None).serve_forever()\n"
    makefile = "run:\n\tcd web && python3 -m server 7000\n"
    project = load(folder({"Makefile": makefile, "web/server.py": server, "train.py": ""}))
    assert (argv(project), project.workdir, project.kind) == ("python -m server 7000", "/app/web", "web")


def test_the_requirements_beside_what_a_procfile_starts_count(folder: Make) -> None:
    project = load(
        folder(
            {
                "Procfile": "web: cd api && gunicorn app:app\n",
                "api/app.py": FLASK,
                "api/requirements.txt": "flask\n",
                "job/requirements.txt": "pandas\n",
            }
        )
    )
    assert (argv(project), project.workdir) == ("gunicorn app:app", "/app/api")
    assert [path.relative_to(project.root).as_posix() for path in project.dependencies.files] == [
        "api/requirements.txt"
    ]


def test_packages_variables_and_requirements_of_a_dockerfile(folder: Make) -> None:
    project = load(
        folder(
            {
                "Dockerfile": "FROM ubuntu:22.04\nRUN apt-get install -y python3-pip libgl1-mesa-glx ffmpeg libold-dev\n"
                "WORKDIR /srv/x\nCOPY requirements/prod.txt /tmp/r.txt\nRUN pip install -r /tmp/r.txt pandas==2.2.0 pytest\n"
                "ENV DATA=/srv/x/data\nCOPY . .\nCMD uvicorn main:app\nRUN wget https://files.example/m.pt -O m.pt\n",
                "packages.txt": "libsm6\n",
                "requirements.txt": "everything\n",
                "requirements/prod.txt": "fastapi\n",
                "main.py": "",
                "data/x.csv": "",
            }
        )
    )
    assert argv(project) == "uvicorn main:app"
    assert project.system == project.optional_system == ("libsm6", "libgl1", "ffmpeg")
    assert project.env == {"DATA": "/app/data"}
    assert [path.name for path in project.dependencies.files] == ["prod.txt"]
    assert {item.requirement: item.reason for item in project.implied} == {
        "uvicorn": "the command from Dockerfile:8 runs it",
        "pandas==2.2.0": "Dockerfile installs it",
    }
    assert project.taken == (
        "command from Dockerfile:8: uvicorn main:app",
        "requirements from Dockerfile:5: requirements/prod.txt",
        "system packages from packages.txt, Dockerfile: libsm6, libgl1, ffmpeg",
        "variables from Dockerfile: DATA",
        "Dockerfile:9 downloads what is not in the project: curl -L -o m.pt https://files.example/m.pt",
    )
    for note in (
        "'libgl1-mesa-glx' is 'libgl1' in Debian bookworm",
        "left out of packages.txt, Dockerfile: python3-pip (the image has a Python)",
        "left out of packages.txt, Dockerfile: libold-dev (for building)",
    ):
        assert note in project.notes
    assert (project.python, project.python_source, project.unmet) == ("3.10", "Dockerfile", None)


@pytest.mark.parametrize(
    "address", ["git+https://git.example/x", "x @ https://files.example/x.whl", "https://files.example/x.whl"]
)
def test_what_a_dockerfile_installs_from_an_address_is_not_taken(folder: Make, address: str) -> None:
    project = load(folder({"Dockerfile": f"FROM python:3.11\nRUN pip install '{address}'\n", "main.py": ""}))
    assert project.implied == ()
    assert [note for note in project.notes if address in note]


@pytest.mark.parametrize(
    ("files", "python", "base"),
    [
        ({".tool-versions": "python 3.13.1\n"}, "3.13", "debian:trixie"),
        (
            {"Pipfile": '[requires]\npython_version = "3.11"\n', "Dockerfile": "FROM python:3.13\n"},
            "3.11",
            "debian:bookworm",
        ),
        ({"Dockerfile": "ARG V=3.13\nFROM python:$V-slim AS a\nFROM a\n"}, "3.13", "debian:trixie"),
        ({"setup.cfg": "[options]\npython_requires = >=3.12\n"}, None, "debian:trixie"),
        ({"setup.cfg": "[options]\npython_requires = >=3.6,<3.10\n"}, "3.9", "debian:bookworm"),
        ({"Dockerfile": "FROM python:3.10-slim\n"}, "3.10", "debian:bookworm"),
        ({"runtime.txt": "python-3.11.2\n", "Dockerfile": "FROM python:3.13\n"}, "3.11", "debian:bookworm"),
    ],
)
def test_the_python(folder: Make, files: dict[str, str | bytes], python: str | None, base: str) -> None:
    project = load(folder({**files, "main.py": ""}))
    assert (project.python, project.base, project.unmet) == (python, base, None)


def test_what_must_be_set_or_run_beside_is_told(folder: Make) -> None:
    project = load(
        folder(
            {
                ".env.example": "OPENAI_API_KEY=\nA_TOKEN=x\nSET_KEY=\n",
                "docker-compose.yml": "services:\n  db: {image: 'redis:7'}\n  web: {build: ., command: python x.py, environment: [B_URL]}\n",
                "x.py": "",
                "pyproject.toml": '[tool.corten]\nenv = { SET_KEY = "1" }\n',
            }
        )
    )
    assert needs(project, ["A_TOKEN"]) == [
        "needs OPENAI_API_KEY, says '.env.example': give them with --env-file .env",
        "needs B_URL, says 'docker-compose.yml': give them with --env-file .env",
        "needs Redis: 'db' in 'docker-compose.yml', which Corten does not start",
    ]


def test_init_writes_hints_down(folder: Make) -> None:
    root = folder(
        {
            "Dockerfile": "FROM python:3.13\nWORKDIR /x\nCOPY api .\nRUN apt-get install -y ffmpeg\nENV A='b c'\nCMD gunicorn app:app\n",
            "api/app.py": FLASK,
            "requirements.txt": "flask\ngunicorn\n",
        }
    )
    from corten.project.files import scan

    project = find(root)
    table = render(project, scan(project))
    for line in (
        "# command from Dockerfile:6 in 'api': gunicorn app:app",
        'command = ["gunicorn", "app:app"]',
        'workdir = "/app/api"',
        'system = ["ffmpeg"]',
        'env = { A = "b c" }',
        'python = "3.13"',
    ):
        assert line in table.splitlines()
    (root / "pyproject.toml").write_text(table)
    again = load(root)
    for key in ("entry", "workdir", "system", "env", "python", "base"):
        assert getattr(again, key) == getattr(project, key), key


def test_packages_of_an_image_come_without_a_version_and_only_where_they_are_imported(folder: Make) -> None:
    text = "FROM pytorch/pytorch:2.0.1-cuda11.7-cudnn8-runtime\nRUN pip install torchaudio==2.0.2+cu117\n"
    project = load(folder({"Dockerfile": text, "requirements.txt": "flask\n", "main.py": "import torch\n"}))
    assert {item.requirement: item.reason for item in project.implied} == {
        "torch": "the image of Dockerfile:1 has it",
        "torchaudio==2.0.2": "Dockerfile installs it",
    }


def test_builds_for_cpus_are_taken_but_for_a_lock_that_has_its_own(folder: Callable[..., Path]) -> None:
    text = "FROM python:3.11\nRUN pip install torch --index-url https://download.pytorch.org/whl/cpu\n"
    assert load(folder({"Dockerfile": text, "main.py": ""})).gpu == "none"
    locked = {"Dockerfile": text, "main.py": "", "uv.lock": "", "pyproject.toml": "[project]\nname = 'x'\n"}
    assert load(folder(locked, "locked")).gpu == "auto"


def test_a_step_that_is_not_done_is_said(folder: Make) -> None:
    text = "FROM python:3.11\nRUN bash scripts/fetch_weights.sh\n"
    project = load(folder({"Dockerfile": text, "main.py": ""}))
    assert project.taken == (
        "Dockerfile:2: steps of RUN are not done: 'bash scripts/fetch_weights.sh' in line 2",
    )


def test_a_dockerfile_that_puts_two_folders_into_one(folder: Callable[..., Path]) -> None:
    docker = "FROM python:3.11\nWORKDIR /app\nCOPY api/ ./\nCOPY models ./models\nCMD {}\n"
    app = f"import helper\n{FLASK}model = open('models/m.txt').read()\n"
    files: dict[str, str | bytes] = {
        "api/app.py": app,
        "api/helper.py": "",
        "models/m.txt": "",
        "requirements.txt": "flask",
    }
    for name, command, expected, env in (
        ("script", "python app.py", "python api/app.py", {"PYTHONPATH": "/app/api"}),
        ("server", "gunicorn app:app", "gunicorn app:app", {"PYTHONPATH": "/app/api"}),
    ):
        project = load(folder({**files, "Dockerfile": docker.format(command)}, name))
        assert (argv(project), project.workdir, project.env) == (expected, "/app", env)
    own = {**files, "Dockerfile": docker.format("python app.py"), "api/models/m.txt": "", "api/app.py": app}
    assert (load(folder(own, "own")).workdir) == "/app/api"


def test_paths_of_an_image_lead_back_to_the_project(folder: Make) -> None:
    text = (
        "FROM python:3.11\nWORKDIR ./service\nCOPY ./grpc_service ./service/grpc_service\nENV PYTHONPATH ${PYTHONPATH}:./service\n"
        'ENTRYPOINT ["python"]\nCMD ["./service/grpc_service/service.py"]\n'
    )
    project = load(folder({"Dockerfile": text, "grpc_service/service.py": "", "other.py": ""}))
    assert (argv(project), project.workdir, project.env) == ("python grpc_service/service.py", "/app", {})


def test_volumes_of_a_compose_file_get_names_of_the_project(folder: Make) -> None:
    text = (
        "services:\n  web:\n    build: .\n    command: python x.py\n"
        "    volumes: [data:/srv/data, {type: volume, source: logs, target: /logs}, './a:/a', /anonymous]\n"
    )
    project = load(folder({"compose.yaml": text, "x.py": "", "pyproject.toml": "[project]\nname = 'shop'\n"}))
    assert project.volumes == {"shop-data": "/srv/data", "shop-logs": "/logs"}
    assert "volumes from compose.yaml: data at /srv/data, logs at /logs" in project.taken


def test_a_folder_with_its_code_below_is_a_project_where_its_dockerfile_says_so(
    folder: Callable[..., Path],
) -> None:
    text = 'FROM python:3.11\nWORKDIR /x\nCOPY api .\nCMD ["python", "app.py"]\n'
    assert load(folder({"Dockerfile": text, "api/app.py": ""})).workdir == "/app/api"
    with pytest.raises(ProjectError, match="there is no Python project"):
        load(folder({"Dockerfile": "FROM node\n", "api/app.js": "", "x/y": ""}, "other"))


def test_the_page_about_hints_follows_from_the_code() -> None:
    written = (Path(__file__).resolve().parents[3] / "docs" / "hints.md").read_text()
    assert written == reference(), "run: python -m corten.project.hints.reference docs/hints.md"


FOLDERS = """\
FROM python:3.11
WORKDIR /var/state
WORKDIR /srv/app
RUN apt-get update && mkdir -p /data/in /srv/app/uploads logs && mkdir -m 755 /opt/ml /etc/x /usr/share/y /root/z /var/lib/apt/l $X
COPY . .
VOLUME /cache /data/in
VOLUME ["/with space", "/models/x", "/home/user/files"]
CMD ["python", "main.py"]
"""


def test_folders_that_a_dockerfile_makes_can_be_written_to(folder: Make) -> None:
    project = load(folder({"Dockerfile": FOLDERS, "main.py": "import http.server\n"}))
    outside = ("/data/in", "/opt/ml", "/var/state", "/cache", "/home/user/files")
    assert sorted(project.folders) == sorted((*outside, "/app/uploads", "/app/logs"))
    assert (
        "folders to write to from Dockerfile: /data/in, /opt/ml, /var/state, /cache, /home/user/files (-v NAME:FOLDER keeps what is written)"
        in project.taken
    )


def test_a_predictor_gets_none_of_them_and_a_volume_takes_the_place_of_one(
    folder: Callable[..., Path],
) -> None:
    text = FOLDERS.partition("CMD")[0]
    predictor = {"Dockerfile": text, "predict.py": "def predict(x: float) -> float: return x\n"}
    assert load(folder(predictor)).folders == ()
    toml = '[tool.corten]\ncommand = "python main.py"\nvolumes = { kept = "/data/in" }\n'
    written = load(folder({"Dockerfile": text, "main.py": "", "pyproject.toml": toml}, "written"))
    assert "/data/in" not in written.folders
    assert "/opt/ml" in written.folders


def test_another_index_of_a_dockerfile_is_named_without_its_login(folder: Make) -> None:
    text = (
        "FROM python:3.11\nRUN pip install x --extra-index-url https://me:secret@wheels.example/simple\n"
        "RUN pip install -i https://mirror.example/pypi/simple y\n"
    )
    project = load(folder({"Dockerfile": text, "main.py": ""}))
    [line] = [line for line in project.taken if "wheels.example" in line]
    assert line.startswith(
        "Dockerfile:2 installs from 'https://wheels.example/simple': packages come from the indexes"
    )
    assert not [line for line in project.taken if "mirror.example" in line or "secret" in line]
    assert [line for line in project.notes if "mirror.example" in line]
