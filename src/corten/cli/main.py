"""The entry point of the `corten` command: picks the verb, imports only that, renders errors, decides the exit code.

Exit codes: 0 done; 1 a failure with a reason; 2 wrong usage; 130 interrupted; a container's own code passes through.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import gc
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

from corten import __version__
from corten.errors import CortenError, NotConfirmed, UsageError

if TYPE_CHECKING:
    from corten.cli.terminal import Terminal
    from corten.packages.files import Accepted

VERBS: dict[str, tuple[str, str]] = {
    "init": ("init", "write down what was found in a project, with comments"),
    "lock": ("lock", "resolve a project's packages into corten.lock"),
    "build": ("build", "assemble a project's image"),
    "run": ("run", "run a command in an image or a project, isolated"),
    "up": ("up", "build a project, serve it on a port, and keep it running"),
    "predict": ("predict", "ask a predictor once, or for every row of a file"),
    "shell": ("shell", "enter a project's image with the project at /app, to work on it"),
    "dev": ("dev", "serve a project on a port, and again whenever its files change"),
    "status": ("status", "show what 'corten up' keeps running, and how it does"),
    "down": ("down", "end what 'corten up' keeps running"),
    "export": ("export", "write what another system needs to run a service, such as systemd"),
    "ps": ("ps", "list running containers"),
    "exec": ("exec", "run one more command in a container that runs"),
    "attach": ("attach", "join the output and input of a detached container"),
    "cp": ("cp", "copy files into a container or out of it"),
    "logs": ("logs", "show what a container printed"),
    "stats": ("stats", "show what containers use of the machine"),
    "stop": ("stop", "stop containers"),
    "restart": ("restart", "stop containers and start them again"),
    "kill": ("kill", "send a signal to containers"),
    "wait": ("wait", "wait until containers have ended"),
    "rm": ("rm", "remove containers that have ended"),
    "push": ("push", "bring an image to a registry"),
    "pull": ("pull", "fetch an image from a registry"),
    "copy": ("copy", "copy an image from one registry to another"),
    "images": ("images", "list the images on this machine"),
    "inspect": ("inspect", "show an image's configuration and layers, or a container's state"),
    "history": ("history", "show an image's layers, bottom to top"),
    "rmi": ("rmi", "forget an image's name"),
    "prune": ("prune", "delete what no image or container reaches"),
    "store": ("store", "check the store, where images and layers lie, and remove what is damaged"),
    "tag": ("tag", "give an image another name"),
    "save": ("save", "write images as a folder or an archive, which docker and podman load"),
    "load": ("load", "take images from an archive or a folder, as docker and podman save them"),
    "registry": ("registry", "serve a registry on this machine, or free what it no longer needs"),
    "login": ("login", "try credentials at a registry and keep them"),
    "logout": ("logout", "forget credentials for a registry"),
    "volume": ("volume", "make, list and delete volumes, which outlive containers"),
    "doctor": ("doctor", "tell what this machine can do, and how to mend what it cannot"),
    "schema": ("schema", "print the JSON schema of [tool.corten]"),
    "completion": ("completion", "print a completion script for bash, zsh or fish"),
}
"""Every verb with its module in `corten.cli` and one line about it."""


def main() -> NoReturn:
    """Run the command with this process's arguments and exit."""
    # A command makes objects to use them, not cycles: the collector would look for some 40 times before the verb begins.
    gc.set_threshold(50_000, 20, 20)
    threading.excepthook = _thread_failed
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # a second one, while the first was cleaned up after
        code = 130
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as it is where the caller has closed it
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    # Taking the interpreter down in order takes 5 ms, and nothing waits for it: verbs close what they open.
    os._exit(code)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Show what ended a thread as any other bug: the message may quote words of others."""
    from corten.cli.terminal import Terminal

    if isinstance(failure.exc_value, Exception):
        Terminal.standard().bug(failure.exc_value)


def run(argv: Sequence[str]) -> int:
    """Run the command with `argv` and return its exit code. Errors are rendered on standard error."""
    from corten.cli.terminal import Terminal

    terminal = Terminal.standard()
    try:
        return _dispatch(argv, terminal)
    except CortenError as error:
        terminal.error(error.message, error.hint)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        terminal.close()
        terminal.say("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output has left (`corten images | head -1`): there is nobody to tell.
        return 141
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            terminal.error(f"'{os.fsdecode(error.filename)}': {_reason(error)}", None)
        elif isinstance(error, OSError) and error.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EMFILE,
            errno.ENOMEM,
        ):
            terminal.error(_reason(error), None)
        else:
            terminal.bug(error)
        return 1
    finally:
        terminal.end()


def _reason(error: OSError) -> str:
    return (error.strerror or "cannot be used").lower()


def _dispatch(argv: Sequence[str], terminal: Terminal) -> int:
    from corten.cli.context import Context

    verb = argv[0] if argv else ""
    if verb in ("", "-h", "--help", "help") and len(argv) <= 1:
        terminal.print(_overview())
        return 0 if argv else 2
    if verb in ("-h", "--help", "help"):
        argv, verb = [argv[1], "--help"], argv[1]
    if verb in ("--version", "-V", "version"):
        terminal.print(f"corten {__version__}")
        return 0
    if verb not in VERBS:
        import difflib

        from corten.cli import habits

        close = [habits.VERBS[verb]] if verb in habits.VERBS else difflib.get_close_matches(verb, VERBS, 1)
        hint = f"did you mean 'corten {close[0]}'?" if close else "run 'corten --help' for the verbs"
        if verb.startswith("-"):
            raise UsageError(
                f"'{verb}' stands before the verb", hint="options follow it, as in 'corten build -q'"
            )
        raise UsageError(f"unknown verb '{verb}'", hint=hint)
    parser, module = parser_of(verb)
    own = list(argv[1:])
    command: list[str] = []
    takes_command = getattr(module, "TAKES_COMMAND", False)
    if takes_command:
        own, command = _own_and_command(verb, parser, own, module)
    # A verb with a list of words takes them before and after its options.
    words = getattr(module, "WORDS_ANYWHERE", False)
    arguments = parser.parse_intermixed_args(own) if words else parser.parse_args(own)
    if takes_command:
        arguments.command = command
    terminal.configure(quiet=arguments.quiet, verbose=arguments.verbose)
    while True:
        try:
            return int(module.run(arguments, Context(terminal, _accepted(arguments))))
        except NotConfirmed as error:  # raised before anything is locked, built or started
            from corten.cli.trusting import confirmed

            if not confirmed(error, terminal):
                raise
        finally:
            terminal.close()


def _own_and_command(
    verb: str, parser: argparse.ArgumentParser, words: list[str], module: ModuleType
) -> tuple[list[str], list[str]]:
    """The words for the parser, and those of the command. Raises UsageError for Corten's options behind the image."""
    from corten.cli.words import leading, misplaced, split

    bare = getattr(module, "FOLDER_MAY_BE_MISSING", False)
    found = split(parser, words, bare=bare)
    if found.marked or not found.command or not found.command[0].startswith("-"):
        return found.own, found.command
    if bare:
        # A folder has no entry point that could take options.
        more = split(parser, found.command, bare=True)
        begun = [*more.own[-1:], *(["--"] if more.marked else [])] if more.named else []
        own = more.own[:-2] if more.named else more.own
        return [*own, *found.own], [*begun, *more.command]
    late = misplaced(parser, found)
    if late is None and verb == "exec":
        # No program is called so.
        late = leading(parser, found.command)
    if late is not None:
        raise options_behind(verb, words[: len(words) - len(found.command)], *late)
    return found.own, found.command


def options_behind(verb: str, begun: list[str], options: list[str], command: list[str]) -> UsageError:
    """What is told when `options` stand behind the image or container, which `begun` ends with."""
    import shlex

    line = [*begun[:-1], *options, begun[-1], *(["--", *command] if command else [])]
    return UsageError(
        f"options stand before the {'container' if verb == 'exec' else 'image'}; what follows it is the command",
        hint=f"write: corten {verb} {shlex.join(line)}",
    )


def _accepted(arguments: argparse.Namespace) -> Accepted:
    """What the arguments accept of Debian's archive, where the command has such arguments."""
    from corten.packages.files import Accepted

    return Accepted(
        getattr(arguments, "allow_older_release", False), getattr(arguments, "allow_unauthenticated", False)
    )


def parser_of(verb: str) -> tuple[argparse.ArgumentParser, ModuleType]:
    """The argument parser of `verb` and its module."""
    name, summary = VERBS[verb]
    module = importlib.import_module(f"corten.cli.{name}")
    parser = _Parser(
        prog=f"corten {verb}",
        description=summary[0].upper() + summary[1:] + ".",
        epilog=getattr(module, "EXAMPLES", None),
        formatter_class=_help_formatter,
        allow_abbrev=False,
    )
    parser.takes_command = getattr(module, "TAKES_COMMAND", False)
    module.add_arguments(parser)
    group = parser.add_argument_group("output")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress, only results and errors")
    if not any("-v" in action.option_strings for action in parser._actions):
        group.add_argument("-v", "--verbose", action="store_true", help="say more about what happens")
    else:
        group.add_argument("--verbose", action="store_true", help="say more about what happens")
    return parser, module


def _help_formatter(prog: str) -> argparse.HelpFormatter:
    """The formatter for the terminal's width. Without one argparse finds it for each argument that is added, and imports `shutil`
    with all its compressors for that."""
    return argparse.RawDescriptionHelpFormatter(prog, width=_width())


@functools.cache
def _width() -> int:
    with contextlib.suppress(ValueError):
        if int(os.environ.get("COLUMNS", "0")) > 0:
            return int(os.environ["COLUMNS"]) - 2
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return max(40, os.get_terminal_size(stream.fileno()).columns - 2)  # type: ignore[union-attr]
    return 78


class _Parser(argparse.ArgumentParser):
    takes_command = False

    def error(self, message: str) -> NoReturn:
        found = message.partition("unrecognized arguments: ")[2].split()
        flag = next((word.partition("=")[0] for word in found if word.startswith("-")), None)
        raise UsageError(message, hint=(flag and self._hint(flag)) or f"run '{self.prog} --help'")

    def _hint(self, flag: str) -> str | None:
        """What to write in the place of a flag that the verb does not have."""
        import difflib

        from corten.cli import habits

        if flag in habits.FLAGS:
            return habits.FLAGS[flag]
        names = [name for name in self._option_string_actions if name.startswith("--")]
        close = difflib.get_close_matches(flag, names, 1, 0.7) if flag.startswith("--") else []
        if close:
            return f"did you mean '{close[0]}'?"
        return (
            "what follows the image is the command; options stand before it" if self.takes_command else None
        )


def _overview() -> str:
    lines = [
        "usage: corten VERB [ARGUMENTS]",
        "",
        "Turns a Python machine-learning project into a container image and runs it.",
        "",
        "verbs:",
        *(f"  {verb:<11} {summary}" for verb, (_, summary) in VERBS.items()),
        "",
        "first steps, in a project's folder:",
        "  corten up            build it, start it, and print how to call it",
        "  corten VERB --help   arguments and examples of a verb",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
