"""What a script that serves nothing is, by what running it calls: a bot or another worker, a program for a terminal or a desktop, or the
description of infrastructure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from corten.project import syntax
from corten.project.recognize.candidates import Kind
from corten.project.recognize.folder import Folder
from corten.project.recognize.layout import Layout
from corten.project.recognize.running import Script, method_of
from corten.values import dataclass

_INFRASTRUCTURE = {
    "aws_cdk": "AWS CDK",
    "cdktf": "CDK for Terraform",
    "cdk8s": "CDK for Kubernetes",
    "pulumi": "Pulumi",
    "troposphere": "CloudFormation (troposphere)",
}
_DESKTOP = frozenset(
    {
        *(
            "tkinter",
            "customtkinter",
            "ttkbootstrap",
            "PyQt4",
            "PyQt5",
            "PyQt6",
            "PySide2",
            "PySide6",
            "pygame",
            "wx",
        ),
        *(
            "kivy",
            "turtle",
            "arcade",
            "pyglet",
            "ursina",
            "dearpygui",
            "PySimpleGUI",
            "FreeSimpleGUI",
            "easygui",
        ),
        *("pyautogui", "pynput", "webview", "eel"),
    }
)
_LIBRARIES_OF_BOTS = {
    "telegram": ("run_polling", "start_polling"),
    "telebot": ("polling", "infinity_polling", "run"),
    "aiogram": ("start_polling", "run_polling"),
    "pyrogram": ("run", "idle"),
    "telethon": ("run_until_disconnected",),
    "discord": ("run", "start"),
    "nextcord": ("run", "start"),
    "disnake": ("run", "start"),
    "interactions": ("start",),
    "hikari": ("run",),
    "slack_bolt": ("start", "connect"),
    "slack_sdk": ("connect",),
    "tweepy": ("filter", "sample"),
    "praw": ("submissions", "comments"),
    "nio": ("sync_forever",),
    "twitchio": ("run",),
    "pika": ("start_consuming", "consume"),
    "aio_pika": ("run_forever", "consume"),
    "paho": ("loop_forever",),
    "rq": ("work",),
    "apscheduler": ("start",),
    "nats": ("subscribe",),
    "stomp": ("connect",),
    "kombu": ("run", "drain_events"),
    "watchdog": ("start",),
    "arq": ("run_worker",),
}
"""What a library's programs call to run until they are ended."""
_CHATS = frozenset(
    {
        *(
            "telegram",
            "telebot",
            "aiogram",
            "pyrogram",
            "telethon",
            "discord",
            "nextcord",
            "disnake",
            "interactions",
        ),
        *("hikari", "slack_bolt", "slack_sdk", "nio", "twitchio"),
    }
)
_CONSUMERS = frozenset({"kafka.KafkaConsumer", "confluent_kafka.Consumer", "aiokafka.AIOKafkaConsumer"})
_FOREVER = frozenset({"run_forever", "loop_forever", "serve_until_stopped"})
_SLEEPS = frozenset(
    {"sleep", "run_pending", "wait", "poll", "brpop", "blpop", "get_message", "receive_message"}
)
_PROMPTS = frozenset(
    {
        *(
            "builtins.input",
            "getpass.getpass",
            "click.prompt",
            "click.confirm",
            "typer.prompt",
            "typer.confirm",
        ),
        *(
            "prompt_toolkit.prompt",
            "prompt_toolkit.PromptSession",
            "prompt_toolkit.shortcuts.prompt",
            "curses.wrapper",
        ),
        *(
            "curses.initscr",
            "questionary.text",
            "questionary.select",
            "inquirer.prompt",
            "pick.pick",
            "readchar.readkey",
        ),
        *(
            "rich.prompt.Prompt.ask",
            "rich.prompt.Confirm.ask",
            "rich.prompt.IntPrompt.ask",
            "rich.prompt.FloatPrompt.ask",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """`why` says it of a file in words: `waits for words at input()`. `chats`: it is a bot of a chat
    service."""

    kind: Kind
    why: str
    chats: bool = False


def of_file(path: str, folder: Folder, layout: Layout) -> Behaviour | None:
    """What the script in `path` is, with what it imports; None where nothing says so."""
    module = folder.module(path)
    if module is None:
        return None
    script = Script(module)
    infrastructure = next((name for name in sorted(_families(script)) if name in _INFRASTRUCTURE), None)
    if infrastructure is not None:
        return Behaviour("infrastructure", f"describes infrastructure for {_INFRASTRUCTURE[infrastructure]}")
    parts = [
        Script(found) for other in sorted(layout.reached(path) - {path}) if (found := folder.module(other))
    ]
    return (
        _worker(script, parts)
        or _desktop(script, parts)
        or _forever(script, parts)
        or _terminal(script, parts)
    )


def _families(script: Script) -> set[str]:
    """The top-level modules that it imports, `pulumi` for `pulumi_aws`."""
    return {"pulumi" if name.startswith("pulumi_") else name for name in script.modules}


def _worker(script: Script, parts: list[Script]) -> Behaviour | None:
    if not script.starts_something and not script.calls:
        return None
    for one in (script, *parts):
        calls = one.calls if one is script else one.everywhere
        for name, methods in _LIBRARIES_OF_BOTS.items():
            if name not in one.modules:
                continue
            for call in calls if one is not script else [*calls, *one.everywhere]:
                if method_of(call) in methods:
                    return Behaviour(
                        "worker", f"runs until it is ended, by '{_shown(call)}' of {name}", name in _CHATS
                    )
        for call in one.everywhere:
            if one.full(call.func) in _CONSUMERS:
                return Behaviour("worker", f"takes messages from a queue, by '{_shown(call)}'")
    return None


def _forever(script: Script, parts: list[Script]) -> Behaviour | None:
    loops = [node for node in script.statements if isinstance(node, ast.While)]
    loops += [node for one in parts for node in syntax.nodes(one.module.tree) if isinstance(node, ast.While)]
    for loop in loops:
        if not isinstance(loop.test, ast.Constant) or not loop.test.value or _reads(loop):
            continue
        inner = [node for node in ast.walk(loop) if isinstance(node, ast.Call)]
        names = {(syntax.dotted(call.func) or method_of(call)).rpartition(".")[2] for call in inner}
        if names & _SLEEPS:
            return Behaviour("worker", "runs until it is ended, in a 'while True' that waits in between")
    for call in script.calls:
        if method_of(call) in _FOREVER:
            return Behaviour("worker", f"runs until it is ended, by '{_shown(call)}'")
    return None


def _reads(loop: ast.While) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "input"
        for node in ast.walk(loop)
    )


def _desktop(script: Script, parts: list[Script]) -> Behaviour | None:
    for one in (script, *parts):
        found = sorted(one.modules & _DESKTOP)
        if found:
            return Behaviour("desktop", f"opens windows with {found[0]}")
        if any(one.full(call.func) == "cv2.imshow" for call in one.everywhere):
            return Behaviour("desktop", "opens windows with cv2.imshow()")
    return None


def _terminal(script: Script, parts: list[Script]) -> Behaviour | None:
    for one in (script, *parts):
        for call in one.everywhere if one is not script else _reachable(script):
            name = one.full(call.func)
            if name == "input" and "input" not in one.imports:
                return Behaviour("terminal", "waits for words at input()")
            if name in _PROMPTS or method_of(call) == "cmdloop":
                return Behaviour("terminal", f"waits for words at '{_shown(call)}'")
            option = name in ("click.option", "typer.Option")
            if option and any(word.arg == "prompt" and _is_true(word.value) for word in call.keywords):
                return Behaviour("terminal", f"waits for words at a prompt of {name.partition('.')[0]}")
        if "textual" in one.modules and "textual.app.App" in one.imports.values():
            return Behaviour("terminal", "draws on a terminal with textual")
    return None


def _reachable(script: Script) -> Iterator[ast.Call]:
    """The calls that running the script reaches; of classes, and of functions that something is given, those too."""
    yield from script.calls
    if script.starts_something:
        yield from script.everywhere


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and bool(node.value)


def _shown(call: ast.Call) -> str:
    return f"{ast.unparse(call.func)[:60]}()"
