"""The image configuration that follows from a project and its layers: pure."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from corten.build.plan import HOME
from corten.errors import UsageError
from corten.lazy import regex
from corten.lock.model import PlatformLock
from corten.oci.config import ImageConfig
from corten.oci.digest import Digest
from corten.oci.tar import EPOCH
from corten.project.model import Command, Predictor, Project

PORT = 8080
SERVE = ("/opt/corten/bin/python", "-I", "-m", "corten_serve")
_OF_THE_BASE = ("org.opencontainers.image.", "dev.corten.", "com.amazonaws.sagemaker.")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PORT = regex(r"\$(?:PORT(?![A-Za-z0-9_])|\{PORT[:}?+=-])")
_PLATFORMS_PORT = 'export PORT="${SAGEMAKER_BIND_TO_PORT:-${AIP_HTTP_PORT:-$PORT}}"; '
_VARIABLE = regex(r"(\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\}))")


def created_at(environ: dict[str, str] | os._Environ[str] = os.environ) -> str:
    """The time that an image says it was created, RFC 3339: `SOURCE_DATE_EPOCH`, else a constant, because the image is
    the same whenever it is built. Raises UsageError for a value that is not a number of seconds."""
    text = environ.get("SOURCE_DATE_EPOCH")
    try:
        seconds = int(text) if text else EPOCH
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"SOURCE_DATE_EPOCH is '{text}', which is not a number of seconds",
            hint="unset it, or use 'date +%s'",
        ) from error


def image_config(
    project: Project,
    part: PlatformLock,
    layers: Sequence[tuple[Digest, str]],
    created: str,
    beneath: ImageConfig | None = None,
    hub: bool = False,
) -> ImageConfig:
    """The configuration of the project's image: `layers` are diff IDs with their titles, bottom to top, without those
    of `beneath`, the configuration of a base that is an image itself. `hub`: one of them has models of a hub.

    Of a base's configuration stay its environment and its labels, without what would mislead our Python or say of this
    image what is true of the base alone. Its user, folder, entry point, command, ports, volumes and stop signal are not
    taken over: the project has its own."""
    environment = _inherited(beneath)
    path = (environment.get("PATH") or _SYSTEM_PATH).removeprefix("/opt/venv/bin:")
    # Whoever is in the base's passwd is called so; for any other number these are what getpass.getuser finds.
    name = project.user.partition(":")[0]
    user = "nonroot" if name.isdigit() else name
    environment |= {
        "PATH": f"/opt/venv/bin:{path}",
        "VIRTUAL_ENV": "/opt/venv",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": environment.get("LANG", "C.UTF-8"),
        "HOME": HOME,
        "USER": user,
        "LOGNAME": user,
        "XDG_CACHE_HOME": f"{HOME}/.cache",
        "HF_HOME": f"{HOME}/.cache/huggingface",
        "MPLCONFIGDIR": f"{HOME}/.cache/matplotlib",
        "NUMBA_CACHE_DIR": f"{HOME}/.cache/numba",
        "PORT": str(PORT),
    }
    if beneath is None:
        environment["SSL_CERT_FILE"] = "/etc/ssl/certs/ca-certificates.crt"
    if _has_gpu(part):
        environment |= {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    labels = {"org.opencontainers.image.title": project.name, "dev.corten.network": project.network}
    if project.version:
        labels["org.opencontainers.image.version"] = project.version
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    if isinstance(project.entry, Predictor):
        environment |= {"CORTEN_PREDICT": _served(project.entry), "CORTEN_NAME": project.name}
        if project.version:
            environment["CORTEN_VERSION"] = project.version
        labels["dev.corten.entry"] = "predict"
        labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] = "true"
        entrypoint, cmd = SERVE, ("serve",)
    elif isinstance(project.entry, Command):
        labels["dev.corten.entry"] = "command"
        if project.ready is not None:
            labels["dev.corten.ready"] = project.ready
        cmd = expandable(project.entry.argv)
    if hub:
        # What the image has is all that there is: nothing waits for a network that may not be there.
        environment |= {
            "HF_HUB_CACHE": "/models/huggingface/hub",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
        }
    environment |= project.env
    history: list[dict[str, Any]] = _history_of(beneath)
    history += [{"created": created, "created_by": f"corten: {title}"} for _, title in layers]
    return ImageConfig(
        platform=part.platform,
        diff_ids=(*(beneath.diff_ids if beneath else ()), *(diff_id for diff_id, _ in layers)),
        env=tuple(f"{key}={value}" for key, value in environment.items()),
        entrypoint=entrypoint,
        cmd=cmd,
        user=project.user,
        workdir=project.workdir,
        labels={**_inherited_labels(beneath), **labels, **project.labels},
        volumes=tuple(path for path in project.folders if not path.startswith("/app/")),
        exposed_ports=(f"{PORT}/tcp",) if project.entry is not None else (),
        created=created,
        history=tuple(history),
    )


def _served(entry: Predictor) -> str:
    """What CORTEN_PREDICT says: the target, or several as a JSON object from name to target."""
    return json.dumps(dict(entry.several)) if entry.several else entry.target


def expandable(argv: Sequence[str]) -> tuple[str, ...]:
    """`argv` as it is, or through a shell where it names variables (`--bind=0.0.0.0:$PORT`): an image's command is in
    exec form, which expands nothing. A command that is a shell's already expands its own. Where it names `$PORT`, the variables
    of SageMaker and Vertex AI go before that: the image sets PORT, and those platforms do not."""
    port = _PLATFORMS_PORT if any(_PORT.search(word) for word in argv) else ""
    if tuple(argv[:2]) == ("/bin/sh", "-c"):
        return (*argv[:2], port + argv[2], *argv[3:]) if argv[2:] else tuple(argv)
    if not any(_VARIABLE.search(word) for word in argv):
        return tuple(argv)
    words = []
    for word in argv:
        pieces = _VARIABLE.split(word)
        quoted = [
            f'"{piece}"' if index % 2 else shlex.quote(piece) for index, piece in enumerate(pieces) if piece
        ]
        words.append("".join(quoted) or "''")
    return ("/bin/sh", "-c", f"{port}exec {' '.join(words)}")


def _history_of(beneath: ImageConfig | None) -> list[dict[str, Any]]:
    """The base's own history, or one entry a layer where it has none: ours must not be taken for that of its layers."""
    if beneath is None:
        return []
    if len(beneath.diff_ids) == sum(not entry.get("empty_layer") for entry in beneath.history):
        return list(beneath.history)
    return [{"created_by": "base"} for _ in beneath.diff_ids]


def _inherited(beneath: ImageConfig | None) -> dict[str, str]:
    """The base's environment. `PYTHONHOME` would keep the virtual environment from being found, and what begins with
    `CORTEN_` is about the base's own predictor."""
    variables = dict(item.split("=", 1) for item in beneath.env if "=" in item) if beneath else {}
    return {
        key: value
        for key, value in variables.items()
        if key != "PYTHONHOME" and not key.startswith(("CORTEN_", "VIRTUAL_ENV"))
    }


def _inherited_labels(beneath: ImageConfig | None) -> dict[str, str]:
    """The base's labels, but for those that say what an image is and how it runs."""
    labels = beneath.labels if beneath else {}
    return {key: value for key, value in labels.items() if not key.startswith(_OF_THE_BASE)}


def _has_gpu(part: PlatformLock) -> bool:
    return any(wheel.name.startswith("nvidia-") for wheel in part.wheels)
