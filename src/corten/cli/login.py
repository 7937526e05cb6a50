"""`corten login`: try credentials at a registry and keep them."""

from __future__ import annotations

import argparse
import os
import sys

from corten.cli.context import Context
from corten.errors import UsageError
from corten.oci.reference import parse_host

EXAMPLES = """\
examples:
  corten login registry.example                      asks for user and password
  corten login registry.example -u robot --password-stdin < token

The credentials are kept where docker keeps them, and in the same helper; podman's REGISTRY_AUTH_FILE is honoured."""

_LONGEST = 1 << 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("host", metavar="HOST", help="the registry, HOST or HOST:PORT")
    parser.add_argument("-u", "--user", metavar="USER", help="the user's name; asked for when it is missing")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    parser.add_argument(
        "--insecure", action="store_true", help="do not check certificates, and speak plain http if need be"
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Ask for what is missing, try it, keep it, and say where."""
    from corten.registry.login import log_in
    from corten.registry.settings import settings_from

    host = parse_host(arguments.host)
    user = arguments.user or _asked_user(arguments.password_stdin)
    password = _given() if arguments.password_stdin else _asked_password(user, host)
    if not password:
        raise UsageError("the password is empty")
    settings = settings_from(os.environ, insecure=arguments.insecure)
    kept = log_in(host, user, password, settings, os.environ)
    if kept.helper is not None:
        context.terminal.say(f"logged in to '{host}' as '{user}'; kept by '{kept.helper}'")
    else:
        context.terminal.say(f"logged in to '{host}' as '{user}'; kept in '{kept.path}', not encrypted")
        context.terminal.say(f"hint: a credential helper ('credsStore' in '{kept.path}') keeps it encrypted")
    if kept.shadowed is not None:
        context.terminal.say(f"warning: '{kept.shadowed}' has other credentials for '{host}', and they win")
    return 0


def _asked_user(from_pipe: bool) -> str:
    if from_pipe or not _on_terminal():
        raise UsageError("a user's name is needed", hint="add '-u USER'")
    sys.stderr.write("user: ")
    sys.stderr.flush()
    user = sys.stdin.readline().strip()
    if not user:
        raise UsageError("the user's name is empty")
    return user


def _asked_password(user: str, host: str) -> str:
    if not _on_terminal():
        raise UsageError("there is no terminal to ask for the password", hint="add '--password-stdin'")
    import getpass

    try:
        return getpass.getpass(f"password of {user} at {host}: ")
    except EOFError:
        return ""


def _given() -> str:
    """The password on standard input, without the end of its line."""
    text = sys.stdin.buffer.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise UsageError(f"the password has more than {_LONGEST} bytes")
    try:
        return text.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("the password is not UTF-8") from None  # the error holds the text


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
