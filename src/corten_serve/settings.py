"""The server's configuration: read once from the environment at start, passed down as values."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

_EVERY_INTERFACE = "0.0.0.0"  # noqa: S104 (inside a container they are all the container's own)
LEVELS = ("debug", "info", "warning", "error", "off")
AUTO = 0
"""As a number of workers: as many as this machine has processors, memory and accelerators for."""
_HOST = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,252})")
_OUTER = re.compile(r"(?:\[[0-9a-f:.%a-z]{2,60}\]|[0-9.]{7,15}):[0-9]{1,5}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class SettingsError(Exception):
    """An environment variable is wrong or missing."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Settings:
    """What the image and the platform ask of the server. Sizes are bytes, times seconds.

    `host` and `port` count only when no listening socket was passed in. `forwarded` is the address at which Corten's forwarder takes
    connections for the server, where it does: only the forwarder and the container itself can connect then. `log` is one of LEVELS: `info` writes a line
    for every request but probes, `debug` for those too, `warning` only for answers of 400 and above, `error` of 500 and
    above. `drain` is for how long a server that owns its socket goes on accepting connections after SIGTERM, so that
    load balancers have the time to see that it is not ready.

    `models` are the names and targets of what is served, in order; `predict` is the first target. `workers` counts for
    each model. `concurrency` 0 leaves it to the predictor. `batch_delay` is for how long a batch that is expected to grow
    may wait. `timeout` is the longest that a client may wait for its answer, or between two parts of a streamed one (0: no
    limit); `grace` what a worker gets to return after it was told to stop. `memory` is the resident size above which a
    worker is replaced (0: none). `health` is the pause between two questions to an idle worker (0: none are asked).
    `idle` is for how long a connection may say nothing between two requests, or take for a request's header. `cors` are
    the origins whose pages may call, or a star; `hosts` the host names that the server answers to beside its own machine's
    (empty: all, but none where it listens on loopback). `spool` is where large bodies wait (empty: a place is chosen). `cog` says
    that the project was written for Cog, before a worker can say it. `follow` are the hosts of which URLs in requests are followed."""

    predict: str
    models: tuple[tuple[str, str], ...] = ()
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
    forwarded: str = ""
    workers: int = 1
    concurrency: int = 0
    batch_size: int = 64
    batch_delay: float = 0.002
    timeout: float = 60.0
    grace: float = 5.0
    memory: int = 0
    health: float = 15.0
    idle: float = 75.0
    cors: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    log_format: str = "text"
    spool: str = ""
    cog: bool = False
    follow: tuple[str, ...] = ()

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
        form = environment.get("CORTEN_LOG_FORMAT", "text").lower() or "text"
        if form not in ("text", "json"):
            raise SettingsError(f"'CORTEN_LOG_FORMAT' is '{form[:40]}'", hint="use one of text, json")
        name = environment.get("CORTEN_NAME") or "predictor"
        models = _models(predict, name)
        return cls(
            predict=models[0][1],
            models=models,
            name=name,
            version=environment.get("CORTEN_VERSION") or "0",
            host=environment.get("CORTEN_HOST") or _EVERY_INTERFACE,
            port=_port(environment),
            python=environment.get("CORTEN_WORKER_PYTHON") or "/opt/venv/bin/python",
            app=environment.get("CORTEN_APP") or "/app",
            queue=_whole(environment, "CORTEN_QUEUE", 1000, 1, 1_000_000),
            queue_bytes=_size(environment, "CORTEN_QUEUE_BYTES", 256 << 20, most=1 << 50),
            body=_size(environment, "CORTEN_BODY_LIMIT", 64 << 20),
            body_seconds=_seconds(environment, "CORTEN_BODY_SECONDS", 60.0),
            log=level,
            drain=_seconds(environment, "CORTEN_DRAIN", 3.0),
            inherited=_inherited(environment),
            forwarded=_forwarded(environment),
            workers=_workers(environment),
            concurrency=_whole(environment, "CORTEN_CONCURRENCY", 0, 1, 10_000),
            batch_size=_whole(environment, "CORTEN_BATCH_SIZE", 64, 1, 10_000),
            batch_delay=_seconds(environment, "CORTEN_BATCH_DELAY", 2.0, "milliseconds") / 1000,
            timeout=_seconds(environment, "CORTEN_TIMEOUT", 60.0),
            grace=_seconds(environment, "CORTEN_GRACE", 5.0),
            memory=_size(environment, "CORTEN_WORKER_MEMORY", 0, most=1 << 50),
            health=_seconds(environment, "CORTEN_HEALTH_SECONDS", 15.0),
            idle=_seconds(environment, "CORTEN_IDLE_SECONDS", 75.0) or 75.0,
            cors=_origins(environment),
            hosts=_hosts(environment),
            log_format=form,
            spool=environment.get("CORTEN_SPOOL", ""),
            cog=bool(environment.get("CORTEN_COG")),
            follow=_hosts(environment, "CORTEN_FOLLOW_URLS"),
        )


def _models(predict: str, name: str) -> tuple[tuple[str, str], ...]:
    """One target, or a JSON object of names and targets."""
    if not predict.lstrip().startswith("{"):
        return ((name, predict),)
    hint = """write it as '{"name": "module:Class", …}'"""
    try:
        models = json.loads(predict)
    except (ValueError, RecursionError) as error:
        raise SettingsError("'CORTEN_PREDICT' is not a JSON object", hint=hint) from error
    if (
        not isinstance(models, dict)
        or not models
        or not all(isinstance(v, str) and v for v in models.values())
    ):
        raise SettingsError("'CORTEN_PREDICT' has to give every model a target", hint=hint)
    for model in models:
        if not _NAME.fullmatch(model):
            raise SettingsError(
                f"'CORTEN_PREDICT' has a model named '{model[:70]}'",
                hint="a model's name has letters, digits, '-', '_' and '.', at most 63 of them",
            )
    return tuple(models.items())


def _workers(environment: Mapping[str, str]) -> int:
    if environment.get("CORTEN_WORKERS", "").strip().lower() == "auto":
        return AUTO
    return _whole(environment, "CORTEN_WORKERS", 1, 1, 1024)


def _origins(environment: Mapping[str, str]) -> tuple[str, ...]:
    origins = tuple(
        part.rstrip("/") for part in environment.get("CORTEN_CORS", "").replace(",", " ").split() if part
    )
    for origin in origins:
        if origin not in ("*", "null") and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[!-~]{1,250}", origin):
            raise SettingsError(
                f"'CORTEN_CORS' has '{origin[:60]}', which is no origin",
                hint="use '*', or origins such as 'https://app.example.com'",
            )
    return origins


def _hosts(environment: Mapping[str, str], name: str = "CORTEN_HOSTS") -> tuple[str, ...]:
    hosts = tuple(environment.get(name, "").replace(",", " ").lower().split())
    for host in hosts:
        if host != "*" and not _HOST.fullmatch(host):
            raise SettingsError(
                f"'{name}' has '{host[:60]}', which is no host name",
                hint="use '*', or names without scheme and port, such as 'model.example.com' or '*.example.com'",
            )
    return tuple(host.rstrip(".") for host in hosts)


def _port(environment: Mapping[str, str]) -> int:
    # SageMaker's and Vertex AI's own go before PORT, which is Cloud Run's and Knative's: every image sets that one itself.
    for name in ("SAGEMAKER_BIND_TO_PORT", "AIP_HTTP_PORT", "PORT"):
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


def _forwarded(environment: Mapping[str, str]) -> str:
    text = environment.get("CORTEN_FORWARDED", "")
    if text and not _OUTER.fullmatch(text):
        raise SettingsError(
            f"'CORTEN_FORWARDED' is '{text[:60]}', which is no address and port",
            hint="unset it: Corten's forwarder sets it",
        )
    return text


def _whole(environment: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 12 or not low <= int(text) <= high:
        raise SettingsError(f"'{name}' is '{text[:40]}'", hint=f"use a whole number from {low} to {high}")
    return int(text)


def _seconds(environment: Mapping[str, str], name: str, default: float, unit: str = "seconds") -> float:
    text = environment.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86400:
        raise SettingsError(f"'{name}' is '{text[:40]}'", hint=f"use a number of {unit}")
    return value


def _size(environment: Mapping[str, str], name: str, default: int, most: int = 1 << 29) -> int:
    # A frame carries a whole body, and its length is bounded (`frames.LIMIT`).
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
    size = int(digits) * units[unit]
    if size > most:
        raise SettingsError(f"'{name}' is '{text[:40]}'", hint=f"use at most {most >> 20}Mi")
    return size
