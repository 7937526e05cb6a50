"""How a container lives, as arguments of `run` say it: in the background, started again, watched, called, removed."""

from __future__ import annotations

import argparse
import json
import math
import re
from typing import TYPE_CHECKING, Any

from corten.cli.context import Context
from corten.errors import UsageError

if TYPE_CHECKING:
    from corten.runtime.made import Life
    from corten.runtime.records import Health, Restart
    from corten.store.images import Image

PULLS = ("always", "missing", "never", "newer")
"""`newer` is podman's word: what is here already is not fetched again anyway."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NANOSECOND = 1e-9
_SHORTEST, _LONGEST = 1.0, 86_400
"""Seconds between an image's own health checks, and of each."""


def add_life_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `run` about a container's life."""
    parser.add_argument("--name", help="the container's name")
    parser.add_argument(
        "-d", "--detach", action="store_true", help="return at once and print its name; it runs on by itself"
    )
    parser.add_argument("-i", "--interactive", action="store_true", help="keep standard input open (with -d)")
    parser.add_argument("-t", "--tty", action="store_true", help="give it a terminal, or fail")
    parser.add_argument(
        "--rm", action="store_true", help="with -d: remove it at its end (otherwise it always is)"
    )
    parser.add_argument(
        "--restart",
        default="no",
        metavar="POLICY",
        help="with -d: no, on-failure[:TIMES], always or unless-stopped (the same as always)",
    )
    parser.add_argument(
        "-l", "--label", action="append", default=[], metavar="KEY[=VALUE]", help="for 'ps --filter'"
    )
    parser.add_argument("--timeout", metavar="TIME", help="end it after this time, such as 90s or 2h")
    parser.add_argument(
        "--health-cmd", metavar="COMMAND", help="with -d: a shell command that fails when it is unwell"
    )
    parser.add_argument("--health-interval", metavar="TIME", help="between two of them (default: 30s)")
    parser.add_argument(
        "--health-timeout", metavar="TIME", help="after which it counts as failed (default: 30s)"
    )
    parser.add_argument("--health-retries", type=int, metavar="N", help="failures in a row (default: 3)")
    parser.add_argument(
        "--health-start-period", metavar="TIME", help="in which failures do not count (default: 0s)"
    )
    parser.add_argument("--no-healthcheck", action="store_true", help="not even the image's own")
    parser.add_argument(
        "--pull", choices=PULLS, default="missing", help="when to ask the registry (default: missing)"
    )


def life_of(arguments: argparse.Namespace, image: Image, context: Context) -> Life:
    """The values that the arguments spell. Raises UsageError."""
    from corten.runtime.made import Life

    restart = parse_restart(arguments.restart)
    if not arguments.detach and (restart.policy != "no" or arguments.health_cmd):
        raise UsageError("--restart and --health-cmd are for detached containers", hint="add -d")
    if arguments.rm and restart.policy != "no":
        raise UsageError("--rm and --restart contradict each other", hint="leave one of them out")
    seconds = parse_time(arguments.timeout) if arguments.timeout else None
    return Life(
        labels=tuple(_label(text) for text in arguments.label),
        remove=arguments.detach and arguments.rm,
        restart=restart,
        health=_health(arguments, image, context) if arguments.detach else None,
        timeout=math.ceil(seconds) if seconds is not None else None,
        terminal=arguments.tty,
        stdin=arguments.interactive,
    )


def parse_restart(text: str) -> Restart:
    """`no`, `on-failure`, `on-failure:5` or `always`. Raises UsageError."""
    from corten.runtime.records import Restart

    policy, colon, most = text.partition(":")
    if policy == "on-failure" and (not colon or re.fullmatch(r"[0-9]{1,6}", most)):
        return Restart("on-failure", int(most) if colon else None)
    if policy in ("always", "unless-stopped") and not colon:
        return Restart("always")
    if policy == "no" and not colon:
        return Restart()
    raise UsageError(
        f"'{text[:40]}' is not a way to restart",
        hint="use no, on-failure, on-failure:5, always or unless-stopped",
    )


def parse_time(text: str) -> float:
    """Seconds of `90`, `500ms`, `30s`, `5m` or `2h`; more than none. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)?", text)
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"'{text[:40]}' is not a time", hint="write it as 500ms, 30s, 5m or 2h")
    return seconds


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise UsageError(f"'{text[:80]}' is not a label", hint="write KEY=VALUE")
    return key, value


def _health(arguments: argparse.Namespace, image: Image, context: Context) -> Health | None:
    """The health check that the arguments spell, over the image's own. Raises UsageError."""
    from corten.runtime.records import Health

    if arguments.no_healthcheck:
        return None
    own = _of_image(image, context)
    command = ("/bin/sh", "-c", arguments.health_cmd) if arguments.health_cmd else _command(own.get("Test"))
    if not command:
        return None
    retries = arguments.health_retries or own.get("Retries") or 3
    if not isinstance(retries, int) or retries < 1:
        raise UsageError("--health-retries is a number from 1 up", hint="leave it out for 3")
    return Health(
        command=command,
        interval=_time(arguments.health_interval, own.get("Interval"), 30.0),
        timeout=_time(arguments.health_timeout, own.get("Timeout"), 30.0),
        retries=retries,
        start_period=_time(arguments.health_start_period, own.get("StartPeriod"), 0.0),
    )


def _of_image(image: Image, context: Context) -> dict[str, Any]:
    """HEALTHCHECK of an image built from a Dockerfile: `config.Healthcheck`, durations in nanoseconds."""
    from corten.oci.descriptor import Manifest

    blobs = context.store.blobs
    try:
        config = json.loads(blobs.read(Manifest.decode(blobs.read(image.digest)).config.digest)).get("config")
        found = (config or {}).get("Healthcheck") or {}
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _command(test: Any) -> tuple[str, ...]:
    if not isinstance(test, list) or len(test) < 2 or not all(isinstance(part, str) for part in test):
        return ()
    if test[0] == "CMD-SHELL":
        return ("/bin/sh", "-c", test[1])
    return tuple(test[1:]) if test[0] == "CMD" else ()


def _time(text: str | None, nanoseconds: Any, default: float) -> float:
    if text:
        return 0.0 if text in ("0", "0s") else parse_time(text)
    if isinstance(nanoseconds, int) and nanoseconds > 0:
        # An image's own: each check costs this machine something outside of the container's limits.
        return max(_SHORTEST, min(nanoseconds, _LONGEST * 10**9) * _NANOSECOND)
    return default
