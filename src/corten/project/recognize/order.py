"""Every recogniser, in the order in which they are asked, with the words of the documentation.

A recogniser is a module of this package with `find(facts) -> Sequence[Candidate]`. It is imported when it is asked, and only where
nothing stronger was found before: `strength` is the most that its candidates have.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import cast

from corten.project.hints.sources import SOURCES
from corten.project.recognize.candidates import APPLICATION, DECLARED, PLATFORM, SCRIPT, Candidate
from corten.project.recognize.facts import Facts
from corten.project.recognize.folder import Folder
from corten.project.recognize.ui_frameworks import WORDS as UI_WORDS
from corten.values import dataclass

WORKER_WORDS = (
    *(
        b"polling",
        b"discord",
        b"nextcord",
        b"disnake",
        b"hikari",
        b"interactions",
        b"slack_bolt",
        b"slack_sdk",
        b"tweepy",
        b"praw",
    ),
    *(
        b"telethon",
        b"pyrogram",
        b"twitchio",
        b"nio",
        b"pika",
        b"paho",
        b"kombu",
        b"rq",
        b"arq",
        b"nats",
        b"stomp",
        b"watchdog",
    ),
    *(
        b"KafkaConsumer",
        b"confluent_kafka",
        b"apscheduler",
        b"schedule",
        b"while True",
        b"while 1",
        b"run_forever",
        b"Celery",
    ),
)
"""One of them is in the source of every module that runs until it is ended."""


@dataclass(frozen=True, slots=True)
class Recognizer:
    """`module` of this package (or `module:function`) finds it; `finds` says what, `runs` what runs then, and `say` how a project says it
    itself. With `files` or `words` it is asked only where the project has a file of one of these names, or one of these words in a
    module: an import that is not made costs nothing."""

    module: str
    strength: int
    finds: str
    runs: str
    say: str
    files: tuple[str, ...] = ()
    words: tuple[bytes, ...] = ()

    def find(self, facts: Facts) -> Sequence[Candidate]:
        """Its candidates."""
        if not self.module:  # a row of the table: the module above finds it too
            return ()
        if (self.files or self.words) and not self._has_sign(facts.folder):
            return ()
        module, _, function = self.module.partition(":")
        find = getattr(importlib.import_module(f"corten.project.recognize.{module}"), function or "find")
        return cast(Sequence[Candidate], find(facts))

    def _has_sign(self, folder: Folder) -> bool:
        return any(path.rpartition("/")[2] in self.files for path in folder.files()) or any(
            word in (folder.data(path) or b"") for path in folder.files(".py") for word in self.words
        )


_HINTS = tuple(
    Recognizer(
        f"hinted:{source.reader.replace(':', '_')}",
        source.strength,
        f"A command in {source.files.partition(':')[0]}.",
        "that command, without what is for development alone",
        '`command = "uvicorn app:app --port $PORT"`',
    )
    for source in SOURCES
    if source.strength
)

ORDER: tuple[Recognizer, ...] = (
    *_HINTS,
    Recognizer(
        "cog",
        PLATFORM,
        '`predict: "predict.py:Predictor"` (or `run:`) in `cog.yaml`.',
        "Corten's model server, with Cog's protocol beside Corten's; where the project does not install `cog`, a package of the same name "
        "stands in for it",
        '`predict = "predict:Predictor"`',
        files=("cog.yaml",),
    ),
    Recognizer(
        "spaces",
        PLATFORM,
        "A Space of Hugging Face: `sdk` and `app_file` at the top of `README.md`. With `sdk: docker`, its Dockerfile.",
        "the application by its SDK (Gradio, Streamlit, a static page), which is added in `sdk_version`",
        '`command = "python app.py"`',
        files=("README.md",),
    ),
    Recognizer(
        "mlflow",
        PLATFORM,
        "A model's folder of MLflow (`MLmodel` with `python_function`): the project's own folder, or the only one below it. A project of "
        "MLflow (`MLproject`) is named with its command.",
        "Corten's model server, with MLflow's protocol beside Corten's",
        '`predict = "model/MLmodel"`',
        files=("MLmodel", "MLproject"),
    ),
    Recognizer(
        "servables",
        PLATFORM,
        "A service of BentoML (`bentofile.yaml`, `@bentoml.service`, `bentoml.Service`) or LitServe (`LitServer(…).run(…)`). Projects of Truss, "
        "MLServer, Ray Serve and Azure Functions are named, with what to write.",
        "`bentoml serve`, or the file with the server",
        '`command = "bentoml serve service:Summary --port $PORT"`',
        files=(
            *("bentofile.yaml", "bentofile.yml", "config.yaml", "model-settings.json"),
            *("function_app.py", "function.json"),
        ),
        words=(b"bentoml", b"litserve", b"import ray", b"from ray"),
    ),
    Recognizer(
        "handlers",
        PLATFORM - 5,
        "A handler of AWS Lambda: in `template.yaml` (SAM, CloudFormation) or `serverless.yml`, else a function `lambda_handler` or `handler` "
        "of `event` and `context` in `lambda_function.py`, `handler.py`, `app.py`, `main.py` or `index.py`.",
        "Corten's model server: by HTTP, as behind a function's URL, and by the Runtime API",
        '`predict = "lambda_function:lambda_handler"`',
        files=("template.yaml", "template.yml", "sam.yaml", "sam.yml", "serverless.yml", "serverless.yaml"),
        words=(b"event",),
    ),
    Recognizer(
        "predictors",
        DECLARED,
        "In `predict.py`, `predictor.py`, `src/predict.py` or `src/predictor.py`, a class with a method `predict` or "
        "`predict_batch`, or a function `predict`. A class that derives from `Predictor` wins over others; names that begin with `_` "
        "do not count.",
        "Corten's model server",
        '`predict = "predict:Iris"`',
    ),
    Recognizer(
        "webapps",
        APPLICATION + 1,
        "A web application under any name, up to three folders deep: Flask, FastAPI, Starlette, Django, Quart, Litestar, Falcon, Bottle, Dash, "
        "aiohttp, Sanic, FastHTML, BlackSheep, Connexion, Pyramid, classes that derive from theirs, what middleware wraps, and functions that make and return "
        "one. Of several, the one that imports the others; else `wsgi.py` and `asgi.py`, the project's own folder, and usual names such as "
        "`app.py` win.",
        "a server among the dependencies (gunicorn, waitress, hypercorn or granian for WSGI; uvicorn, hypercorn, granian or daphne "
        "for ASGI); where there is none, gunicorn or uvicorn is added. Its working directory and import path are those that its "
        "imports and the files that it names imply",
        '`command = "gunicorn --bind 0.0.0.0:$PORT app:app"`, `workdir = "/app/backend"`',
    ),
    Recognizer(
        "",
        APPLICATION + 1,
        "A file that starts a server in a way that another server could not replace: an application that is made, a model that is loaded, or "
        "a function that is called only where the file itself is run; `http.server`, Tornado, gRPC, `aiohttp.web.run_app`, CherryPy, websockets.",
        "the file itself, by `python FILE` or `python -m MODULE`",
        '`command = "python server.py"`',
    ),
    Recognizer(
        "ui",
        APPLICATION + 1,
        "An application of Streamlit (of several scripts the one beside `pages/`, else `streamlit_app.py`, `app.py`, `Home.py`, `1_….py`), Gradio "
        "(`demo.launch()`, also without it), Chainlit, Panel, Bokeh, Shiny, NiceGUI, Solara, marimo, Mesop, Flet or Taipy. Dash is a web application.",
        "the framework's own command (`streamlit run`, `chainlit run`, `panel serve`, `shiny run`, …), or the file itself, with the framework's "
        "variables for address and port, without usage statistics",
        '`command = "streamlit run app.py --server.port $PORT"`',
        words=UI_WORDS,
    ),
    Recognizer(
        "workers",
        APPLICATION + 1,
        "A program that runs until it is ended and listens on no port: bots (Telegram, Discord, Slack, …), consumers of queues (Kafka, RabbitMQ, "
        "MQTT, RQ), schedulers, a `while True` that waits in between, an application of Celery. Applications that listen win.",
        "the file itself, or `celery worker`. It is ready when it has run for some seconds, and has no URL",
        '`command = "python bot.py"`, `ready = "running"`',
        words=WORKER_WORDS,
    ),
    Recognizer(
        "django",
        APPLICATION,
        "A `manage.py` of Django without `wsgi.py` and `asgi.py`.",
        "`python manage.py runserver`",
        '`command = "python manage.py runserver 0.0.0.0:$PORT"`',
        files=("manage.py",),
    ),
    Recognizer(
        "scripts",
        SCRIPT + 9,
        "The only command of `[project.scripts]`, else `main.py`, else the only script in the folder.",
        "that command, or the script",
        '`command = "python main.py"`',
    ),
    Recognizer(
        "",
        SCRIPT + 8,
        "Programs for a terminal (`input()`, curses, prompt_toolkit, rich, click, `cmd.Cmd`) and for a desktop (tkinter, Qt, pygame, "
        "`cv2.imshow`), and infrastructure (AWS CDK, CDK for Terraform, Pulumi).",
        "nothing by `corten up`, which says what they are; `corten run -it .` runs one for a terminal",
        '`command = "python main.py"`',
    ),
    Recognizer(
        "notebooks",
        SCRIPT,
        "Notebooks, where the project's folder has no script.",
        "nothing; `corten up` says how to make a program of one",
        '`command = "python app.py"`',
    ),
    Recognizer(
        "models",
        SCRIPT + 5,
        "The only model among `models` that can be served without code, with scikit-learn, a library of its kind, or onnxruntime among "
        "the dependencies.",
        "Corten's model server",
        '`predict = "model.joblib"`',
    ),
)
