"""What serves, as people write it: the command, the working directory, and what has to be added."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.load import load
from corten.project.model import Command, Project

Make = Callable[..., Path]

FLASK = "from flask import Flask\napp = Flask(__name__)\n"
MAIN = "if __name__ == '__main__':\n"
GUNICORN = "gunicorn --bind 0.0.0.0:$PORT --threads 8 --timeout 0 "
UVICORN = "uvicorn --host 0.0.0.0 --port $PORT "
AIOHTTP = "gunicorn --bind 0.0.0.0:$PORT --worker-class aiohttp.GunicornWebWorker "


def command(project: Project) -> str:
    return " ".join(project.entry.argv) if isinstance(project.entry, Command) else ""


SHAPES: dict[str, tuple[dict[str, str], str]] = {
    "any variable": ({"App.py": "import flask\nweb_service = flask.Flask('x')\n"}, GUNICORN + "App:web_service"),
    "any file": ({"ml_app.py": FLASK, "train.py": "import numpy\n"}, GUNICORN + "ml_app:app"),
    "a name that is no identifier": ({"flask-app.py": FLASK}, GUNICORN + "flask-app:app"),
    "an alias": ({"application.py": FLASK + "application = app\n"}, GUNICORN + "application:app"),
    "two names at once": ({"app.py": "from flask import Flask\napplication = app = Flask('x')\n"}, GUNICORN + "app:application"),
    "a derived class": (
        {"app.py": "from flask import Flask\nclass Service(Flask):\n    pass\nservice = Service('x')\n"},
        GUNICORN + "app:service",
    ),
    "a star import": ({"app.py": "from flask import *\napp = Flask(__name__)\n"}, GUNICORN + "app:app"),
    "a factory by any name": (
        {"service.py": "from flask import Flask\ndef make_service(debug=False):\n    app = Flask('x')\n    return app\n"},
        GUNICORN + "service:make_service()",
    ),
    "a factory of another module": (
        {"core.py": "from flask import Flask\ndef build(name):\n    return Flask(name)\n", "run.py": "from core import build\nsite = build('x')\n" + MAIN + "    site.run()\n"},
        GUNICORN + "run:site",
    ),
    "a factory called where the file is run": (
        {"app.py": "from flask import Flask\ndef create_app():\n    app = Flask('x')\n    return app\n" + MAIN + "    app = create_app()\n    app.run(debug=True)\n"},
        GUNICORN + "app:create_app()",
    ),
    "a factory with arguments called where the file is run": (
        {"app.py": "from flask import Flask\ndef create_app(model):\n    return Flask('x')\n" + MAIN + "    create_app('m').run()\n"},
        "python app.py",
    ),
    "an asynchronous factory": (
        {"app.py": "from aiohttp import web\nasync def init():\n    app = web.Application()\n    return app\n"},
        AIOHTTP + "app:init",
    ),
    "wrapped": (
        {"main.py": "from fastapi import FastAPI\nfrom starlette.middleware.cors import CORSMiddleware\napi = FastAPI()\nhandler = CORSMiddleware(api, allow_origins=['*'])\n"},
        UVICORN + "main:handler",
    ),
    "wrapped in place": (
        {"app.py": FLASK + "from werkzeug.middleware.proxy_fix import ProxyFix\napp.wsgi_app = ProxyFix(app.wsgi_app)\n"},
        GUNICORN + "app:app",
    ),
    "wrapped into the other interface": (
        {"app.py": FLASK + "from asgiref.wsgi import WsgiToAsgi\nasgi_app = WsgiToAsgi(app)\n"},
        UVICORN + "app:asgi_app",
    ),
    "extensions are no wrappers": (
        {"app.py": FLASK + "from flask_cors import CORS\nfrom flask_restful import Api\nCORS(app)\napi = Api(app)\n"},
        GUNICORN + "app:app",
    ),
    "mounted": (
        {"main.py": "from fastapi import FastAPI\nsub = FastAPI()\nroot = FastAPI()\nroot.mount('/sub', sub)\n"},
        UVICORN + "main:root",
    ),
    "passed through": (
        {"app.py": "from flask import Flask\ndef create_app():\n    app = Flask('x')\n    app = configure(app)\n    return app\n"},
        GUNICORN + "app:create_app()",
    ),
    "dash": (
        {"app.py": "from dash import Dash, html\napp = Dash(__name__)\nserver = app.server\n" + MAIN + "    app.run_server()\n"},
        GUNICORN + "app:server",
    ),
    "dash without its server": (
        {"app.py": "import dash\napp = dash.Dash(__name__)\n" + MAIN + "    app.run(debug=True)\n"},
        "waitress-serve --host 0.0.0.0 --port $PORT app:app.server",
    ),
    "dash on a flask": (
        {"app.py": FLASK.replace("app =", "server =") + "import dash\ndash_app = dash.Dash(server=server)\n"},
        GUNICORN + "app:server",
    ),
    "falcon": ({"api.py": "import falcon\napi = falcon.App()\n"}, GUNICORN + "api:api"),
    "falcon asgi": ({"api.py": "import falcon.asgi\napi = falcon.asgi.App()\n"}, UVICORN + "api:api"),
    "bottle": ({"app.py": "import bottle\napp = bottle.default_app()\n"}, GUNICORN + "app:app"),
    "bottle's own": (
        {"app.py": "from bottle import route, run\n@route('/')\ndef index():\n    return 'x'\nrun(host='0.0.0.0', port=8080)\n"},
        "python app.py",
    ),
    "litestar": ({"app.py": "from litestar import Litestar, get\napp = Litestar([])\n"}, UVICORN + "app:app"),
    "quart": ({"app.py": "from quart import Quart\napp = Quart(__name__)\n" + MAIN + "    app.run()\n"}, UVICORN + "app:app"),
    "sanic": ({"app.py": "from sanic import Sanic\napp = Sanic('x')\n"}, "sanic --host 0.0.0.0 --port $PORT app:app"),
    "aiohttp": ({"app.py": "from aiohttp import web\napp = web.Application()\n"}, AIOHTTP + "app:app"),
    "aiohttp that runs itself": (
        {"app.py": "from aiohttp import web\napp = web.Application()\n" + MAIN + "    web.run_app(app, port=9000)\n"},
        "python app.py",
    ),
    "tornado": (
        {"server.py": "import tornado.web, tornado.ioloop\ndef main():\n    app = tornado.web.Application([])\n    app.listen(8888)\n    tornado.ioloop.IOLoop.current().start()\n" + MAIN + "    main()\n"},
        "python server.py",
    ),
    "http.server": (
        {"serve_model.py": "import http.server\nhttp.server.HTTPServer(('', 8000), None).serve_forever()\n", "train.py": ""},
        "python serve_model.py",
    ),
    "grpc": (
        {"server.py": "import grpc\nfrom concurrent import futures\ndef serve():\n    server = grpc.server(futures.ThreadPoolExecutor())\n    server.start()\n    server.wait_for_termination()\n" + MAIN + "    serve()\n"},
        "python server.py",
    ),
    "made where the file is run": (
        {"app.py": "from flask import Flask\n" + MAIN + "    app = Flask(__name__)\n    app.run()\n"},
        "python app.py",
    ),
    "made in main()": (
        {"app.py": "import flask\ndef main():\n    app = flask.Flask('x')\n    app.run(host='0.0.0.0')\n" + MAIN + "    main()\n"},
        "python app.py",
    ),
    "a server in a class": (
        {"app.py": "from flask import Flask\nclass Server:\n    def __init__(self):\n        self.app = Flask('x')\n    def start(self):\n        self.app.run()\n" + MAIN + "    Server().start()\n"},
        "python app.py",
    ),
    "a model loaded where the file is run": (
        {"app.py": FLASK + "@app.route('/')\ndef predict():\n    return str(model)\n" + MAIN + "    model = open('m').read()\n    app.run()\n"},
        "python app.py",
    ),
    "a function that loads, called where the file is run": (
        {"app.py": FLASK + "model = None\ndef load_model():\n    global model\n    model = 1\n" + MAIN + "    load_model()\n    app.run()\n"},
        "python app.py",
    ),
    "a database made where the file is run": (
        {"app.py": FLASK + "from db import db\n" + MAIN + "    with app.app_context():\n        db.create_all()\n    app.run()\n", "db.py": ""},
        "python app.py",
    ),
    "what nobody misses": (
        {"app.py": FLASK + "import os, argparse\n" + MAIN + "    print('starting')\n    app.debug = True\n    port = int(os.environ.get('PORT', 5000))\n    app.run(host='0.0.0.0', port=port)\n"},
        GUNICORN + "app:app",
    ),
    "uvicorn by a name": (
        {"main.py": "import uvicorn\nfrom fastapi import FastAPI\napp = FastAPI()\n" + MAIN + "    uvicorn.run('main:app', reload=True, port=9)\n"},
        UVICORN + "main:app",
    ),
    "uvicorn of another module": (
        {"run.py": "import uvicorn\n" + MAIN + "    uvicorn.run('app.main:app', port=9)\n", "app/main.py": "from fastapi import FastAPI\napp = FastAPI()\n"},
        UVICORN + "app.main:app",
    ),
    "a script that runs the package": (
        {"run.py": "from shop import app\n" + MAIN + "    app.run()\n", "shop/__init__.py": FLASK + "from shop import routes\n", "shop/routes.py": "from shop import app\n"},
        GUNICORN + "run:app",
    ),
    "waitress": (
        {"app.py": FLASK + "from waitress import serve\n" + MAIN + "    serve(app, host='0.0.0.0', port=8080)\n"},
        GUNICORN + "app:app",
    ),
    "started without a guard": ({"app.py": FLASK + "app.run()\n"}, "python app.py"),
    "sockets with eventlet": (
        {"app.py": FLASK + "from flask_socketio import SocketIO\nsio = SocketIO(app)\n" + MAIN + "    sio.run(app)\n", "requirements.txt": "flask-socketio\neventlet\n"},
        "python app.py",
    ),
    "sockets": (
        {"app.py": FLASK + "from flask_socketio import SocketIO\nsio = SocketIO(app)\n" + MAIN + "    sio.run(app)\n"},
        "gunicorn --bind 0.0.0.0:$PORT --threads 100 --timeout 0 app:app",
    ),
    "an application that another one includes": (
        {"main.py": "from fastapi import FastAPI\nfrom v1 import sub\napp = FastAPI()\napp.mount('/v1', sub)\n", "v1.py": "from fastapi import FastAPI\nsub = FastAPI()\n"},
        UVICORN + "main:app",
    ),
    "leftovers": ({"app.py": FLASK, "app_old.py": FLASK, "app2.py": FLASK}, GUNICORN + "app:app"),
    "tests and examples": ({"service.py": FLASK, "tests/app.py": FLASK, "examples/demo.py": FLASK}, GUNICORN + "service:app"),
    "a server of another kind that gets a port": (
        {"app.py": "from robyn import Robyn\napp = Robyn(__file__)\napp.start(port=8080)\n"},
        "python app.py",
    ),
    "speech recognition does not listen for requests": (
        {"main.py": "import speech_recognition as sr\nr = sr.Recognizer()\nr.listen(None)\n"},
        "python main.py",
    ),
    "pyramid": (
        {"app.py": "from pyramid.config import Configurator\nwith Configurator() as config:\n    app = config.make_wsgi_app()\n"},
        GUNICORN + "app:app",
    ),
    "fasthtml": ({"main.py": "from fasthtml.common import *\napp, rt = fast_app()\nserve()\n"}, UVICORN + "main:app"),
    "gunicorn's configuration": (
        {"app.py": FLASK, "gunicorn.conf.py": "workers = 2\n"},
        "gunicorn --bind 0.0.0.0:$PORT app:app",
    ),
}  # fmt: skip


SCRIPTS = {"speech recognition does not listen for requests"}


@pytest.mark.parametrize(
    ("name", "files", "expected"), [(name, *SHAPES[name]) for name in SHAPES], ids=SHAPES.keys()
)
def test_shapes(folder: Make, name: str, files: dict[str, str], expected: str) -> None:
    project = load(folder({"requirements.txt": "", **files}))
    assert command(project) == expected
    assert project.kind == ("script" if name in SCRIPTS else "web")


@pytest.mark.parametrize(
    ("files", "cwd", "expected", "environment"),
    [
        # Nothing says more: the project's folder.
        ({"app/main.py": FLASK}, "/app", "app.main:app", {}),
        ({"src/app.py": FLASK}, "/app", "app:app", {}),
        ({"src/shop/web/app.py": FLASK}, "/app", "shop.web.app:app", {}),
        ({"a/b/c/app.py": FLASK}, "/app", "a.b.c.app:app", {}),
        # Imports beside the module need its folder.
        ({"app/main.py": FLASK + "from utils import x\n", "app/utils.py": ""}, "/app/app", "main:app", {}),
        ({"app/main.py": FLASK + "import utils.x\n", "app/utils/x.py": ""}, "/app/app", "main:app", {}),
        # From above, by name or relative.
        ({"back/app/main.py": FLASK + "from app.x import y\n", "back/app/x.py": ""}, "/app/back", "app.main:app", {}),
        ({"app/main.py": FLASK + "from .x import y\n", "app/x.py": ""}, "/app", "app.main:app", {}),
        ({"app/main.py": FLASK + "from app import x\n", "app/x.py": "", "app/__init__.py": ""}, "/app", "app.main:app", {}),
        # Files that the code names count from the working directory.
        ({"app/main.py": FLASK + "open('model/m.txt')\n", "app/model/m.txt": ""}, "/app/app", "main:app", {"PYTHONPATH": ""}),
        ({"app/main.py": FLASK + "open('model/m.txt')\n", "model/m.txt": ""}, "/app", "app.main:app", {}),
        ({"app/main.py": FLASK + "open('../model/m.txt')\n", "model/m.txt": ""}, "/app/app", "main:app", {"PYTHONPATH": ""}),
        (
            {"app/main.py": FLASK + "import utils\nopen('model/m.txt')\n", "app/utils.py": "", "model/m.txt": ""},
            "/app",
            "main:app",
            {"PYTHONPATH": "/app/app"},
        ),
    ],
)  # fmt: skip
def test_the_folder_that_imports_and_paths_imply(
    folder: Make, files: dict[str, str], cwd: str, expected: str, environment: dict[str, str]
) -> None:
    project = load(folder({"requirements.txt": "flask\ngunicorn\n", **files}))
    assert project.workdir == cwd
    if environment == {"PYTHONPATH": ""}:
        # Either name is right where the working directory is on the import path.
        assert command(project).split()[-1] in (expected, f"app.{expected}")
    else:
        assert command(project).split()[-1] == expected
        assert project.env == environment


def test_relative_imports_that_lead_out_of_the_project_end_nothing(folder: Make) -> None:
    assert command(load(folder({"app.py": FLASK + "from ...x import y\n", "requirements.txt": ""}))).endswith(
        "app:app"
    )


def test_a_file_that_is_run_in_a_folder(folder: Make) -> None:
    start = "import http.server\nhttp.server.HTTPServer(('', 1), None).serve_forever()\n"
    plain = load(folder({"requirements.txt": "", "app/main.py": start}, "a"))
    assert (command(plain), plain.workdir) == ("python app/main.py", "/app")
    beside = load(folder({"requirements.txt": "", "app/main.py": "import x\n" + start, "app/x.py": ""}, "b"))
    assert (command(beside), beside.workdir) == ("python main.py", "/app/app")
    package = load(
        folder({"requirements.txt": "", "app/main.py": "from . import x\n" + start, "app/x.py": ""}, "c")
    )
    assert (command(package), package.workdir) == ("python -m app.main", "/app")


DJANGO = {
    "site/manage.py": "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n",
    "site/shop/__init__.py": "",
    "site/shop/settings.py": "",
    "site/shop/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    "site/shop/asgi.py": "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
    "requirements.txt": "django\n",
}


def test_django_in_a_folder_runs_where_manage_py_is(folder: Make) -> None:
    project = load(folder(DJANGO))
    assert (command(project), project.workdir) == (GUNICORN + "shop.wsgi:application", "/app/site")
    assert [item.requirement for item in project.implied] == ["gunicorn"]


def test_django_without_an_entry_file(folder: Make) -> None:
    files = {path: text for path, text in DJANGO.items() if "sgi.py" not in path}
    project = load(folder(files))
    assert command(project) == "python manage.py runserver --noreload 0.0.0.0:$PORT"
    assert project.workdir == "/app/site"


def test_applications_in_two_folders_are_an_error_with_a_command_for_each(folder: Make) -> None:
    files = {"api/app.py": FLASK, "web/main.py": FLASK, "requirements.txt": "flask\n"}
    with pytest.raises(ProjectError) as caught:
        load(folder(files))
    assert caught.value.message == (
        "the project has 2 web applications: 'api.app:app' in 'api/app.py', 'web.main:app' in 'web/main.py'"
    )


def test_what_fastapi_needs_for_forms_is_added(folder: Make) -> None:
    source = "from fastapi import FastAPI, UploadFile, WebSocket\napp = FastAPI()\n"
    project = load(folder({"main.py": source, "requirements.txt": "fastapi\nuvicorn\n"}))
    assert [item.requirement for item in project.implied] == ["python-multipart", "websockets"]
    standard = load(folder({"main.py": source, "requirements.txt": "fastapi[standard]\n"}, "standard"))
    assert standard.implied == ()


def test_a_web_application_wins_over_the_predictor_that_it_imports(folder: Make) -> None:
    files = {
        "predict.py": "def predict(x):\n    return x\n",
        "app.py": FLASK + "from predict import predict\n",
        "requirements.txt": "flask\ngunicorn\n",
    }
    assert command(load(folder(files))) == GUNICORN + "app:app"
