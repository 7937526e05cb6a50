"""What pip is told on this machine: its configuration files and `PIP_*` (pip's "Configuration")."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from corten.errors import UsageError


def read_pip(environment: Mapping[str, str]) -> dict[str, str]:
    """pip's options by their long names (`index-url`), the strongest source last: global, user and site files, then
    `PIP_CONFIG_FILE`, then variables. Raises UsageError for a file that is not in pip's form."""
    options: dict[str, str] = {}
    for path in _places(environment):
        options |= _file(path)
    for key, value in environment.items():
        if key.startswith("PIP_") and key != "PIP_CONFIG_FILE" and value:
            options[key[4:].lower().replace("_", "-")] = value
    return options


def words(options: Mapping[str, str], key: str) -> list[str]:
    """The values of an option that may have several: pip separates them by white space."""
    return options.get(key, "").split()


def truth(value: str | None) -> bool:
    """Whether pip takes `value` as yes."""
    return (value or "").strip().lower() in {"1", "y", "yes", "t", "true", "on"}


def _places(environment: Mapping[str, str]) -> list[Path]:
    """Configuration files from weak to strong. `PIP_CONFIG_FILE=/dev/null` means none at all."""
    chosen = environment.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    shared = [Path(item) for item in environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if item]
    places = [path / "pip/pip.conf" for path in reversed(shared)] + [Path("/etc/pip.conf")]
    if sys.platform == "darwin":
        places.append(Path("/Library/Application Support/pip/pip.conf"))
    places.append(home / ".pip/pip.conf")
    if sys.platform == "darwin" and (home / "Library/Application Support/pip").is_dir():
        places.append(home / "Library/Application Support/pip/pip.conf")
    else:
        places.append(Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf")
    places.append(Path(environment.get("VIRTUAL_ENV") or sys.prefix) / "pip.conf")
    if chosen:
        places.append(Path(chosen))
    return places


def _file(path: Path) -> dict[str, str]:
    import configparser

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except (configparser.Error, UnicodeDecodeError) as error:
        # The parser's own message quotes the line, which may hold a password.
        raise UsageError(
            f"'{path}' is not a configuration of pip's", hint="run 'pip config debug'"
        ) from error
    options: dict[str, str] = {}
    for section in ("global", "download", "install"):
        if parser.has_section(section):
            options |= {key.lower().replace("_", "-"): value for key, value in parser.items(section) if value}
    return options
