"""`corten completion`: scripts that let bash, zsh and fish complete verbs, options, images and containers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from corten.cli.context import Context
from corten.values import dataclass

EXAMPLES = """\
examples:
  corten completion bash > ~/.local/share/bash-completion/completions/corten
  corten completion zsh > ~/.zfunc/_corten          with ~/.zfunc in $fpath
  corten completion fish > ~/.config/fish/completions/corten.fish"""

# What is completed by asking: the first column of a verb's table.
_ASKED = {"image": "images", "container": "ps", "volume": "volume ls", "service": "status"}


@dataclass(frozen=True, slots=True)
class Argument:
    """An option (`flags`) or a positional argument (no flags). What may follow: words of `choices`, or values of `kind`:
    `flag` (nothing), `file`, `directory`, `image`, `container`, `service` or `other`."""

    flags: tuple[str, ...]
    summary: str
    kind: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb as its own parser describes it."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]

    @property
    def options(self) -> tuple[Argument, ...]:
        return tuple(argument for argument in self.arguments if argument.flags)

    @property
    def values(self) -> tuple[Argument, ...]:
        """Its positional arguments."""
        return tuple(argument for argument in self.arguments if not argument.flags)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("shell", choices=sorted(_SHELLS), help="the shell that will read the script")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Print the script."""
    context.terminal.print(_SHELLS[arguments.shell](list(described())))
    return 0


def described() -> Iterator[Verb]:
    """Every verb, read off its parser."""
    from corten.cli.main import VERBS, parser_of

    for name, (_, summary) in VERBS.items():
        parser, _ = parser_of(name)
        yield Verb(name, summary, tuple(_argument(action) for action in parser._actions))


def _argument(action: argparse.Action) -> Argument:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    choices = tuple(map(str, action.choices or ()))
    kind = "other"
    if action.nargs == 0:
        kind = "flag"
    elif action.dest.rstrip("s") in _ASKED:
        kind = action.dest.rstrip("s")
    elif action.type is Path:
        kind = "directory" if metavar == "DIR" or action.dest in ("path", "directory") else "file"
    elif metavar.islower() and "|" in metavar:
        choices = tuple(metavar.split("|"))
    return Argument(tuple(action.option_strings), (action.help or "").replace("%%", "%"), kind, choices)


def bash(verbs: list[Verb]) -> str:
    """The script for bash."""
    cases, after = [], []
    for verb in verbs:
        flags = " ".join(flag for option in verb.options for flag in option.flags)
        cases.append(f"    {verb.name}) options='{flags}'; {_bash_values(verb.values)} ;;")
        for option in verb.options:
            if option.kind != "flag":
                patterns = "|".join(f"'{verb.name} {flag}'" for flag in option.flags)
                after.append(f"    {patterns}) {_bash_values((option,))}; options= ;;")
    return _BASH.format(
        verbs=" ".join(verb.name for verb in verbs), cases="\n".join(cases), after="\n".join(after)
    )


def _bash_values(arguments: tuple[Argument, ...]) -> str:
    words = [choice for argument in arguments for choice in argument.choices]
    kinds = [argument.kind for argument in arguments if argument.kind in ("file", "directory", *_ASKED)]
    return f"words='{' '.join(words)}'; kinds='{' '.join(kinds)}'"


_BASH = """\
# bash completion for corten
_corten_asked() {{ command corten "$@" 2>/dev/null | awk 'NR > 1 {{ print $1 }}'; }}
_corten() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}}
  local options= words= kinds= kind
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{verbs} --help --version' -- "$current"))
    return
  fi
  case "$verb" in
{cases}
  esac
  case "$verb $previous" in
{after}
  esac
  case "$current" in -*) words=$options kinds= ;; esac
  for kind in $kinds; do
    case "$kind" in
      image) words="$words $(_corten_asked images)" ;;
      container) words="$words $(_corten_asked ps)" ;;
      volume) words="$words $(_corten_asked volume ls)" ;;
      service) words="$words $(_corten_asked status)" ;;
      directory) compopt -o filenames; COMPREPLY+=($(compgen -d -- "$current")) ;;
      file) compopt -o filenames; COMPREPLY+=($(compgen -f -- "$current")) ;;
    esac
  done
  COMPREPLY+=($(compgen -W "$words" -- "$current"))
  # bash takes the colon of a name and its tag for the end of a word.
  if declare -F __ltrim_colon_completions > /dev/null; then __ltrim_colon_completions "$current"; fi
}}
complete -F _corten corten"""


def zsh(verbs: list[Verb]) -> str:
    """The script for zsh, to be autoloaded as `_corten`."""
    listed = "\n".join(f"    {_quoted(f'{verb.name}:{_plain(verb.summary)}')}" for verb in verbs)
    cases = "\n".join(f"    {verb.name}) _arguments -s {' '.join(_zsh_specs(verb))} ;;" for verb in verbs)
    return _ZSH.format(listed=listed, cases=cases)


def _zsh_specs(verb: Verb) -> Iterator[str]:
    for option in verb.options:
        text = _plain(option.summary)
        for flag in option.flags:
            value = "" if option.kind == "flag" else f":value:{_zsh_values(option)}"
            yield _quoted(f"{flag}[{text}]{value}")
    for argument in verb.values:
        yield _quoted(f"*:{_plain(argument.summary)}:{_zsh_values(argument)}")


def _zsh_values(argument: Argument) -> str:
    if argument.choices:
        return f"({' '.join(argument.choices)})"
    if argument.kind in _ASKED:
        return "{_corten_asked " + _ASKED[argument.kind] + "}"
    return {"file": "_files", "directory": "_files -/"}.get(argument.kind, " ")


_ZSH = """\
#compdef corten
_corten_asked() {{
  local -a found
  found=(${{(f)"$(command corten $@ 2>/dev/null | awk 'NR > 1 {{ print $1 }}')"}})
  compadd -a found
}}
_corten() {{
  local -a verbs
  verbs=(
{listed}
  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
{cases}
  esac
}}
if [ "$funcstack[1]" = _corten ]; then _corten "$@"; else compdef _corten corten; fi"""


def fish(verbs: list[Verb]) -> str:
    """The script for fish."""
    names = " ".join(verb.name for verb in verbs)
    lines = [
        "# fish completion for corten",
        "function __corten_asked; command corten $argv 2>/dev/null | awk 'NR > 1 { print $1 }'; end",
        "complete -c corten -f",
    ]
    for verb in verbs:
        lines.append(
            f"complete -c corten -n 'not __fish_seen_subcommand_from {names}' -a {verb.name}"
            f" -d {_quoted(_plain(verb.summary))}"
        )
        seen = f"complete -c corten -n '__fish_seen_subcommand_from {verb.name}'"
        for option in verb.options:
            flags = " ".join(
                f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags
            )
            value = "" if option.kind == "flag" else f" -x{_fish_values(option)}"
            lines.append(f"{seen} {flags}{value} -d {_quoted(_plain(option.summary))}")
        lines += [f"{seen}{values}" for argument in verb.values if (values := _fish_values(argument))]
    return "\n".join(lines)


def _fish_values(argument: Argument) -> str:
    if argument.choices:
        return f" -a {_quoted(' '.join(argument.choices))}"
    if argument.kind in _ASKED:
        return f" -a '(__corten_asked {_ASKED[argument.kind]})'"
    directories = " -a '(__fish_complete_directories)'"
    return {"file": " -F", "directory": directories}.get(argument.kind, "")


def _plain(text: str) -> str:
    """Without the characters that the shells give a meaning to inside of descriptions."""
    return "".join(" " if character in "[]:\\'\n" else character for character in text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


_SHELLS: dict[str, Callable[[list[Verb]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
