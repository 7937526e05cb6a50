"""The server's configuration: read once from the environment at start, passed down as values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

_EVERY_INTERFACE = "0.0.0.0"  # noqa: S104 (inside a container they are all the container's own)
LEVELS = ("debug", "info", "warning", "error", "off")


class SettingsError(Exception):
    """An environment variable is wrong or missing."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Settings:
    """What the image and the platform ask of the server. Sizes are bytes, times seconds.

    `host` and `port` count only when no listening socket was passed in. `log` is one of LEVELS: `info` writes a line
    for every request but probes, `debug` for those too, `warning` only for answers of 400 and above, `error` of 500 and
    above. `drain` is for how long a server that owns its socket goes on accepting connections after SIGTERM, so that
    load balancers have the time to see that it is not ready."""

    predict: str
    name: str = "predictor"
    version: str = "0"
    host: str = _EVERY_INTERFACE
    port: int = 8080
    python: str = "/opt/venv/bin/python"
    app: str = "/app"
    queue: int = 1000
    queue_bytes: int = 256 << 20
    body: int = 64 << 20
    body_seconds: float = 60.0
    connections: int = 16384
    log: str = "info"
    drain: float = 3.0
    inherited: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings in `environment`. Raises SettingsError naming the variable."""
        predict = environment.get("CORTEN_PREDICT", "")
        if not predict:
            raise SettingsError(
                "'CORTEN_PREDICT' is not set, so there is nothing to serve",
                hint="set it to 'module:Class', or build the image from a project with a predictor",
            )
        level = environment.get("CORTEN_LOG", "info").lower()
        if level not in LEVELS:
            raise SettingsError(f"'CORTEN_LOG' is '{level}'", hint=f"use one of {', '.join(LEVELS)}")
        return cls(
            predict=predict,
            name=environment.get("CORTEN_NAME") or "predictor",
            version=environment.get("CORTEN_VERSION") or "0",
            host=environment.get("CORTEN_HOST") or _EVERY_INTERFACE,
            port=_port(environment),
            python=environment.get("CORTEN_WORKER_PYTHON") or "/opt/venv/bin/python",
            app=environment.get("CORTEN_APP") or "/app",
            queue=_whole(environment, "CORTEN_QUEUE", 1000, 1, 1_000_000),
            queue_bytes=_size(environment, "CORTEN_QUEUE_BYTES", 256 << 20),
            body=_size(environment, "CORTEN_BODY_LIMIT", 64 << 20),
            body_seconds=_seconds(environment, "CORTEN_BODY_SECONDS", 60.0),
            log=level,
            drain=_seconds(environment, "CORTEN_DRAIN", 3.0),
            inherited=_inherited(environment),
        )


def _port(environment: Mapping[str, str]) -> int:
    # PORT is Cloud Run's and Knative's, the others are SageMaker's and Vertex AI's.
    for name in ("PORT", "SAGEMAKER_BIND_TO_PORT", "AIP_HTTP_PORT"):
        if environment.get(name):
            return _whole(environment, name, 8080, 1, 65535)
    return 8080


def _inherited(environment: Mapping[str, str]) -> bool:
    """Whether descriptor 3 is a listening socket that was passed in (sd_listen_fds(3))."""
    count = environment.get("LISTEN_FDS", "")
    if not count:
        return False
    if environment.get("LISTEN_PID", str(os.getpid())) != str(os.getpid()):
        return False  # It was meant for a parent of ours.
    if count != "1":
        raise SettingsError(
            f"'LISTEN_FDS' is '{count[:20]}', and one socket is expected", hint="pass one socket"
        )
    return True


def _whole(environment: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 12 or not low <= int(text) <= high:
        raise SettingsError(f"'{name}' is '{text[:40]}'", hint=f"use a whole number from {low} to {high}")
    return int(text)


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86400:
        raise SettingsError(f"'{name}' is '{text[:40]}'", hint="use a number of seconds")
    return value


def _size(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    units = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
    digits = text.rstrip("bBkKmMgGiI ")
    unit = text[len(digits) :].strip().lower().removesuffix("b")
    if (
        not digits.isascii()
        or not digits.isdigit()
        or unit not in units
        or len(digits) > 12
        or int(digits) < 1
    ):
        raise SettingsError(f"'{name}' is '{text[:40]}'", hint="use a size such as '64Mi' or '100MB'")
    # A frame carries a whole body, and its length is bounded (`frames.LIMIT`).
    return min(int(digits) * units[unit], 1 << 29)
