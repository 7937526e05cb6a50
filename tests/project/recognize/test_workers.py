"""Programs that are no web application: workers and bots, programs for terminals and desktops, infrastructure, notebooks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.cli.serving_options import check_served
from corten.errors import ProjectError, UsageError
from corten.project.load import load
from corten.project.model import Command, Project

Make = Callable[[dict[str, str]], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


def command(project: Project) -> str:
    return " ".join(project.entry.argv) if isinstance(project.entry, Command) else ""


TELEGRAM = """
from telegram.ext import Application, CommandHandler
async def start(update, context):
    pass
def main():
    application = Application.builder().token("x").build()
    application.add_handler(CommandHandler("start", start))
    application.run_polling()
if __name__ == "__main__":
    main()
"""
WORKERS: dict[str, tuple[dict[str, str], str]] = {
    "a bot of Telegram": ({"bot.py": TELEGRAM, "train.py": "print(1)\n", "data.py": "print(1)\n"}, "python bot.py"),
    "a bot of Discord": (
        {"main.py": "import discord\nclient = discord.Client()\nclient.run('x')\n"},
        "python main.py",
    ),
    "an older bot of Telegram": (
        {"tg.py": "import telebot\nbot = telebot.TeleBot('x')\nbot.infinity_polling()\n"},
        "python tg.py",
    ),
    "a bot that another module has": (
        {"main.py": "from core.bot import run\nrun()\n", "core/bot.py": "import discord\ndef run():\n    discord.Client().run('x')\n"},
        "python main.py",
    ),
    "a consumer of Kafka": (
        {"consumer.py": "from kafka import KafkaConsumer\nfor m in KafkaConsumer('x'):\n    print(m)\nprint('end')\n"},
        "python consumer.py",
    ),
    "a schedule": (
        {"jobs.py": "import schedule, time\nwhile True:\n    schedule.run_pending()\n    time.sleep(1)\n", "x.py": ""},
        "python jobs.py",
    ),
    "Celery": (
        {"tasks.py": "from celery import Celery\napp = Celery('tasks', broker='redis://x')\n@app.task\ndef add(x):\n    pass\n"},
        "celery -A tasks worker --loglevel INFO",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "wanted"), WORKERS.values(), ids=WORKERS)
def test_a_worker_is_kept_running(make: Make, files: dict[str, str], wanted: str) -> None:
    found = load(make(files))
    assert (found.kind, command(found), found.ready) == ("worker", wanted, "running")
    check_served(found, Path())


def test_flask_that_keeps_a_bot_alive_is_part_of_the_bot(make: Make) -> None:
    alive = "from flask import Flask\nfrom threading import Thread\napp = Flask('')\ndef run():\n    app.run(port=8080)\n"
    alive += "def keep_alive():\n    Thread(target=run).start()\n"
    bot = "import discord\nfrom keep_alive import keep_alive\nkeep_alive()\ndiscord.Client().run('x')\n"
    found = load(make({"main.py": bot, "keep_alive.py": alive}))
    assert (command(found), found.ready) == ("python main.py", None)


def test_an_application_beside_a_schedule_wins(make: Make) -> None:
    loop = "import time\nwhile True:\n    time.sleep(9)\n"
    found = load(make({"app.py": "from flask import Flask\napp = Flask('x')\n", "job.py": loop}))
    assert found.kind == "web"


def test_an_application_that_a_schedule_imports_wins(make: Make) -> None:
    loop = "import time\nfrom app import app\nwhile True:\n    with app.app_context():\n        pass\n    time.sleep(9)\n"
    found = load(make({"app.py": "from flask import Flask\napp = Flask('x')\n", "worker.py": loop}))
    assert (found.kind, found.source) == ("web", "app.py")


def test_a_loop_that_ends_is_no_worker(make: Make) -> None:
    found = load(make({"main.py": "n = 0\nwhile True:\n    n += 1\n    if n > 3:\n        break\n"}))
    assert found.kind == "script"


def test_the_worker_of_a_procfile_is_ready_when_it_runs(make: Make) -> None:
    found = load(make({"work.py": "print(1)\n", "Procfile": "worker: python work.py\n"}))
    assert (found.kind, found.ready) == ("worker", "running")


def test_a_bot_that_a_dockerfile_starts_is_a_worker(make: Make) -> None:
    found = load(
        make({"main.py": TELEGRAM, "Dockerfile": 'FROM python:3.11\nCOPY . .\nCMD ["python", "main.py"]\n'})
    )
    assert (found.kind, found.ready) == ("worker", "running")
    assert "which runs until it is ended" in found.notes[0]


def test_a_server_that_a_dockerfile_starts_is_none(make: Make) -> None:
    server = "from http.server import HTTPServer, BaseHTTPRequestHandler\nimport time\n"
    server += "HTTPServer(('', 80), BaseHTTPRequestHandler).serve_forever()\nwhile True:\n    time.sleep(1)\n"
    found = load(
        make({"main.py": server, "Dockerfile": 'FROM python:3.11\nCOPY . .\nCMD ["python", "main.py"]\n'})
    )
    assert (found.kind, found.ready) == ("command", None)


def test_a_program_for_a_terminal_that_a_dockerfile_starts_is_named(make: Make) -> None:
    found = load(
        make({"chat.py": "input('> ')\n", "Dockerfile": "FROM python:3.11\nCOPY . .\nCMD python chat.py\n"})
    )
    assert found.kind == "terminal"


NAMED: dict[str, tuple[dict[str, str], str, str]] = {
    "input": ({"main.py": "name = input('Name: ')\n"}, "program for a terminal", "corten run -it"),
    "a menu": (
        {"app.py": "def menu():\n    while True:\n        c = input('> ')\nif __name__ == '__main__':\n    menu()\n"},
        "program for a terminal",
        "corten run -it",
    ),
    "a class that asks": (
        {"main.py": "class G:\n    def play(self):\n        input()\nG().play()\n"},
        "program for a terminal",
        "corten run -it",
    ),
    "cmd": ({"sh.py": "import cmd\nclass S(cmd.Cmd):\n    pass\nS().cmdloop()\n"}, "program for a terminal", "-it"),
    "rich": (
        {"main.py": "from rich.prompt import Prompt\nPrompt.ask('x')\n"},
        "program for a terminal",
        "corten run -it",
    ),
    "click": (
        {"main.py": "import click\n@click.command()\n@click.option('--n', prompt=True)\ndef f(n):\n    pass\nf()\n"},
        "program for a terminal",
        "corten run -it",
    ),
    "tkinter": ({"main.py": "import tkinter as tk\ntk.Tk().mainloop()\n"}, "needs a display", "run it outside"),
    "a camera's window": (
        {"detect.py": "import cv2\nwhile True:\n    cv2.imshow('x', 1)\n    cv2.waitKey(1)\n"},
        "needs a display",
        "run it outside",
    ),
    "AWS CDK": (
        {"app.py": "import aws_cdk as cdk\nfrom infra.stack import Stack\napp = cdk.App()\nStack(app)\napp.synth()\n", "infra/stack.py": "x = 1\n"},
        "describes infrastructure for AWS CDK",
        "write a predictor",
    ),
    "Pulumi": (
        {"__main__.py": "import pulumi_aws as aws\naws.s3.Bucket('x')\n", "requirements.txt": "pulumi-aws\n"},
        "describes infrastructure for Pulumi",
        "write a predictor",
    ),
    "notebooks": (
        {"Model.ipynb": json.dumps({"cells": []}), "requirements.txt": "pandas\n"},
        "has notebooks and no program: 'Model.ipynb'",
        "jupyter nbconvert --to script Model.ipynb",
    ),
    "notebooks alone": ({"Model.ipynb": json.dumps({"cells": []})}, "has notebooks and no program", "corten shell"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "message", "hint"), NAMED.values(), ids=NAMED)
def test_what_cannot_be_served_is_named(make: Make, files: dict[str, str], message: str, hint: str) -> None:
    root = make(files)
    with pytest.raises(UsageError) as raised:
        check_served(load(root), root)
    assert message in str(raised.value)
    assert hint in str(raised.value.hint)


def test_infrastructure_is_never_what_runs(make: Make) -> None:
    found = load(make({"app.py": "import aws_cdk\naws_cdk.App().synth()\n", "job.py": "print(1)\n"}))
    assert command(found) == "python job.py"


def test_a_program_for_a_terminal_still_runs_by_default(make: Make) -> None:
    assert command(load(make({"main.py": "input()\n"}))) == "python main.py"


def test_two_bots_are_listed(make: Make) -> None:
    bot = "import discord\ndiscord.Client().run('x')\n"
    with pytest.raises(ProjectError, match="the project has 2 ") as raised:
        load(make({"one.py": bot, "two.py": bot}))
    assert "python two.py" in str(raised.value.hint)
