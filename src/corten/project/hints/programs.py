"""What a command starts: a server, a script of the project, a worker, or nothing that a service could be. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from typing import Literal

from corten.lazy import regex
from corten.project.hints import shell
from corten.project.hints.hint import Reads
from corten.values import dataclass

Starts = Literal["web", "ui", "worker", "script", "notebook", "nothing", "foreign", "absent"]

WEB: dict[str, str] = {
    "gunicorn": "gunicorn",
    "uvicorn": "uvicorn",
    "hypercorn": "hypercorn",
    "waitress-serve": "waitress",
    "waitress": "waitress",
    "daphne": "daphne",
    "granian": "granian",
    "flask": "flask",
    "fastapi": "fastapi[standard]",
    "quart": "quart",
    "sanic": "sanic",
    "litestar": "litestar[standard]",
    "uwsgi": "pyuwsgi",
    "bentoml": "bentoml",
    "mlflow": "mlflow",
    "mlserver": "mlserver",
    "serve": "ray[serve]",
    "chroma": "chromadb",
    "rasa": "rasa",
    "prefect": "prefect",
    "label-studio": "label-studio",
    "aiohttp.web": "aiohttp",
    "http.server": "",
    "vllm": "vllm",
    "langgraph": "langgraph-cli[inmem]",
    "adk": "google-adk",
}
"""Programs that serve, with the distribution that has them ("": the standard library)."""

UI: dict[str, str] = {
    "streamlit": "streamlit",
    "chainlit": "chainlit",
    "panel": "panel",
    "bokeh": "bokeh",
    "shiny": "shiny",
    "solara": "solara",
    "voila": "voila",
    "gradio": "gradio",
    "marimo": "marimo",
    "mesop": "mesop",
    "reflex": "reflex",
    "taipy": "taipy",
}
WORKERS: dict[str, str] = {
    "celery": "celery",
    "rq": "rq",
    "dramatiq": "dramatiq",
    "arq": "arq",
    "huey_consumer": "huey",
    "huey_consumer.py": "huey",
    "taskiq": "taskiq",
    "faust": "faust-streaming",
}
_NOTEBOOKS = {
    "jupyter",
    "jupyter-lab",
    "jupyter-notebook",
    "jupyterlab",
    "notebook",
    "start-notebook.sh",
    "ipython",
}
_NOTHING = {
    *(
        "bash",
        "sh",
        "zsh",
        "dash",
        "fish",
        "tail",
        "sleep",
        "true",
        "false",
        "cat",
        "echo",
        "ls",
        "top",
        "htop",
        "pwd",
        "env",
    ),
    *(
        "pytest",
        "tox",
        "nox",
        "pylint",
        "flake8",
        "mypy",
        "ruff",
        "black",
        "isort",
        "coverage",
        "unittest",
        "pip",
        "pip3",
        "uv",
    ),
    *(
        "poetry",
        "pipenv",
        "conda",
        "docker",
        "docker-compose",
        "git",
        "make",
        "open",
        "curl",
        "wget",
        "mkdir",
        "cp",
        "mv",
        "rm",
    ),
    *(
        "pre-commit",
        "sphinx-build",
        "mkdocs",
        "twine",
        "build",
        "apt",
        "apt-get",
        "brew",
        "nvidia-smi",
        "tensorboard",
        "alembic",
    ),
    *(
        "venv",
        "virtualenv",
        "cd",
        "source",
        "export",
        "set",
        "chmod",
        "touch",
        "code",
        "start",
        "test",
        "ensurepip",
        "wait",
    ),
}
_FOREIGN = {
    *(
        "node",
        "npm",
        "npx",
        "yarn",
        "pnpm",
        "bun",
        "deno",
        "java",
        "nginx",
        "supervisord",
        "apache2ctl",
        "httpd",
        "php",
        "ruby",
    ),
    *(
        "bundle",
        "go",
        "cargo",
        "dotnet",
        "tritonserver",
        "torchserve",
        "tensorflow_model_server",
        "caddy",
        "ollama",
        "R",
        "Rscript",
    ),
    *(
        "julia",
        "/usr/sbin/sshd",
        "sshd",
        "xvfb-run",
        "systemctl",
        "service",
        "s6-svscan",
        "streamlit-server",
        "mvn",
        "ng",
        "vite",
    ),
}
_TARGET = regex(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(?:\(.*\))?|[A-Za-z_][\w.]*")
_SERVERS_OF_TARGETS = {"gunicorn", "uvicorn", "hypercorn", "daphne", "granian", "waitress-serve", "waitress"}
_FOLDER_OPTIONS = ("--chdir", "--app-dir", "--pythonpath", "--working-dir", "--workdir")
_SCRIPT_ENDINGS = (".py", ".sh", ".bash", ".pyz", ".pyc")
_NO_VALUE = {
    *(
        "--reload",
        "--preload",
        "--factory",
        "--proxy-headers",
        "--access-log",
        "--no-access-log",
        "--use-colors",
        "--daemon",
    ),
    *(
        "--capture-output",
        "--enable-stdio-inheritance",
        "--no-server-header",
        "--reuse-port",
        "--ws",
        "--call",
        "--threads-on",
    ),
    *("--no-sendfile", "--statsd", "-R", "--no-use-colors", "--ssl", "--debug", "--lifespan-off"),
}
_CLASSES = {
    "uvicorn.workers": "uvicorn",
    "uvicorn_worker": "uvicorn-worker",
    "gevent": "gevent",
    "eventlet": "eventlet",
    "tornado": "tornado",
    "geventwebsocket": "gevent-websocket",
    "aiohttp": "aiohttp",
}


@dataclass(frozen=True, slots=True)
class Program:
    """What a command starts, by which program (`""` for a script), and the file of the project that it needs (`""`: unknown)."""

    starts: Starts
    name: str = ""
    file: str = ""


def classify(argv: Sequence[str], folder: Reads, cwd: str = "", scripts: Sequence[str] = ()) -> Program:
    """What `argv` starts when it runs in the project's folder `cwd`. `scripts` are commands that the project itself has."""
    if tuple(argv[:2]) == ("/bin/sh", "-c") and len(argv) > 2:
        return _classify_line(argv[2], folder, cwd, scripts)
    if not argv:
        return Program("nothing")
    name = shell.server_of(argv)
    base = posixpath.basename(argv[0])
    if name in WEB:
        return _with_target("web", name, argv, folder, cwd)
    if name in UI:
        return _ui(name, argv, folder, cwd)
    if name in WORKERS:
        return Program("worker", name)
    if name in _NOTEBOOKS or (name == "nbconvert"):
        return Program("notebook", name)
    if name in scripts:
        return Program("script", name)
    if base in ("sh", "bash", "dash", "ash", "source", ".") or argv[0].endswith((".sh", ".bash")):
        words = list(argv[1:]) if not argv[0].endswith((".sh", ".bash")) else list(argv)
        return _script(words, folder, cwd)
    if argv[0] == "python":
        return _python(argv, name, folder, cwd)
    if name in _NOTHING or argv[0] in _NOTHING:
        return Program("nothing", name)
    if name in _FOREIGN or argv[0] in _FOREIGN:
        return Program("foreign", name)
    path = _inside(cwd, argv[0])
    if path and folder.has_file(path):
        return Program("script", "", path)
    return Program("foreign", name)


def _classify_line(text: str, folder: Reads, cwd: str, scripts: Sequence[str]) -> Program:
    found: list[Program] = []
    for step in shell.steps(text):
        line = shell.cleaned(step.text)
        if line is not None and line.argv[:2] != ("/bin/sh", "-c"):
            found.append(
                classify(
                    line.argv,
                    folder,
                    posixpath.normpath(posixpath.join(cwd, line.folder)).lstrip("."),
                    scripts,
                )
            )
        elif line is not None:
            given = shell.words(step.text)
            if given and given[0] not in ("exec",):
                found.append(classify(given, folder, cwd, scripts))
            elif given:
                found.append(classify(given[1:], folder, cwd, scripts))
    for wanted in ("web", "ui", "worker", "script"):
        for program in reversed(found):
            if program.starts == wanted:
                return program
    return found[-1] if found else Program("nothing")


def _with_target(kind: Starts, name: str, argv: Sequence[str], folder: Reads, cwd: str) -> Program:
    if name == "mlflow" and not {"serve", "server", "ui"} & set(argv):
        return Program("nothing", name)
    if name == "bentoml" and "serve" not in argv:
        return Program("nothing", name)
    if name == "flask" and "run" not in argv:
        return Program("nothing", name)
    if name not in _SERVERS_OF_TARGETS:
        return Program(kind, name, _file_of(argv, folder, cwd))
    target = target_of(argv)
    if target is None:
        return Program(kind, name)
    module = target.partition(":")[0]
    roots = [cwd, *(_joined(cwd, option) for option in folder_options(argv)), _joined(cwd, "src"), ""]
    first = module.split(".")[0]
    for root in roots:
        path = module_file(folder, root, module)
        if path:
            return Program(kind, name, path)
    if any(
        folder.has_folder(_joined(root, first)) or folder.has_file(_joined(root, f"{first}.py"))
        for root in roots
    ):
        return Program(kind, name)
    return Program("absent", name, target)


def _ui(name: str, argv: Sequence[str], folder: Reads, cwd: str) -> Program:
    if name == "streamlit" and "run" not in argv:
        return Program("ui" if "hello" in argv else "nothing", name)
    given = [word for word in argv[1:] if word.endswith(".py") and "://" not in word]
    present = [path for word in given if (path := _inside(cwd, word)) and folder.has_file(path)]
    if given and not present:
        return Program("absent", name, given[0])
    return Program("ui", name, present[0] if present else "")


def _script(words: Sequence[str], folder: Reads, cwd: str) -> Program:
    rest = [word for word in words if not word.startswith("-")]
    if not rest:
        return Program("nothing", "sh")
    path = _inside(cwd, rest[0])
    if path and folder.has_file(path):
        return Program("script", "", path)
    return Program("absent", "", rest[0])


def _python(argv: Sequence[str], module: str, folder: Reads, cwd: str) -> Program:
    if module:
        if module in _NOTHING:
            return Program("nothing", module)
        for root in (cwd, _joined(cwd, "src"), ""):
            path = module_file(folder, root, module)
            if path:
                return Program("script", "", path)
        first = module.split(".")[0]
        return Program("foreign", first)
    rest = list(argv[1:])
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ("-c", "-"):
            return Program("nothing", "python")
        if option in ("-X", "-W") and rest:
            rest.pop(0)
    if not rest:
        return Program("nothing", "python")
    path = _inside(cwd, rest[0])
    if posixpath.basename(rest[0]) == "manage.py" and "runserver" not in rest:
        return Program("nothing", "manage.py")
    if posixpath.basename(rest[0]) in ("setup.py", "conftest.py"):
        return Program("nothing", rest[0])
    if path and folder.has_file(path):
        return Program("script", "", path)
    if path and folder.has_file(_joined(path, "__main__.py")):
        return Program("script", "", _joined(path, "__main__.py"))
    return Program("absent", "", rest[0])


def _file_of(argv: Sequence[str], folder: Reads, cwd: str) -> str:
    for word in argv[1:]:
        path = _inside(cwd, word)
        if word.endswith(".py") and path and folder.has_file(path):
            return path
    return ""


def target_of(argv: Sequence[str]) -> str | None:
    """The `module:variable` (or a bare module) that a server of applications gets; None where none is found."""
    start = 3 if argv[0] == "python" else 1
    rest = list(argv[start:])
    bare: str | None = None
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            if "=" not in word and word not in _NO_VALUE and rest and not rest[0].startswith("-"):
                # The value of an option; a target after an option without one is seen by its colon.
                if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?:\(.*\))?", rest[0]) and not re.fullmatch(
                    r"[a-z]+:\d+", rest[0]
                ):
                    continue
                rest.pop(0)
            continue
        word = re.sub(r"^(?:wsgi|asgi):(?=.*:)", "", word)
        if ":" in word and _TARGET.fullmatch(word):
            return word
        if bare is None and _TARGET.fullmatch(word) and not word.endswith(_SCRIPT_ENDINGS):
            bare = word
    return bare


def folder_options(argv: Sequence[str]) -> list[str]:
    """The folders that a server's options put on the import path: gunicorn's `--chdir`, uvicorn's `--app-dir`."""
    found = []
    for index, word in enumerate(argv):
        name, sign, value = word.partition("=")
        if name in _FOLDER_OPTIONS:
            found.append(value if sign else argv[index + 1] if index + 1 < len(argv) else "")
    return [folder for folder in found if folder]


def requirements(argv: Sequence[str]) -> tuple[str, ...]:
    """The distributions of which a command starts a program, or names a class of workers."""
    if tuple(argv[:2]) == ("/bin/sh", "-c") and len(argv) > 2:
        parts = [shell.cleaned(step.text) for step in shell.steps(argv[2])]
        found: list[str] = []
        for part in parts:
            if part is not None and part.argv[:2] != ("/bin/sh", "-c"):
                found += requirements(part.argv)
            elif part is not None:
                given = [word for word in shell.words(part.argv[2]) if word != "exec"]
                found += requirements(given) if given and given[:2] != ["/bin/sh", "-c"] else ()
        return tuple(dict.fromkeys(found))
    name = shell.server_of(argv)
    known = {**WEB, **UI, **WORKERS}.get(name, "")
    wanted = [known] if known else []
    if name == "gunicorn":
        text = " ".join(argv)
        wanted += [
            package
            for word, package in _CLASSES.items()
            if re.search(rf"(?:-k|--worker-class)[ =]\S*{re.escape(word)}", text)
        ]
    return tuple(dict.fromkeys(wanted))


def module_file(folder: Reads, root: str, module: str) -> str:
    """The file of `module` with `root` on the import path; `""` where there is none."""
    path = _joined(root, module.replace(".", "/"))
    for file in (f"{path}.py", f"{path}/__init__.py", f"{path}/__main__.py"):
        if folder.has_file(file):
            return file
    return ""


def _joined(*parts: str) -> str:
    path = posixpath.normpath(posixpath.join("", *[part for part in parts if part] or [""]))
    return "" if path == "." else path


def _inside(cwd: str, word: str) -> str:
    """`word` as a path relative to the project; `""` where it leads out of it, or is absolute."""
    if word.startswith(("/", "~")) or "$" in word:
        return ""
    path = _joined(cwd, word)
    return "" if path.startswith("..") else path


def target_in(argv: Sequence[str]) -> bool:
    """Whether the command starts a server that gets `module:variable`."""
    return shell.server_of(argv) in _SERVERS_OF_TARGETS
