"""The image configuration (image-spec, config.md), and canonical JSON."""

from __future__ import annotations

import json
from typing import Any

from corten.errors import FormatError, UsageError
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.values import dataclass, field


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes. Raises FormatError for text that is not
    Unicode (half of a surrogate pair)."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"{error.object[error.start : error.end]!r} is not Unicode text") from error


def parse_json_object(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `data`. Raises FormatError naming `what` for anything else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise FormatError(f"{what} is not a JSON object")
    return value


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """An image's configuration: what to run by default, and the layers' diff IDs from bottom to top.

    `user` is as written (`65532:65532`, `nobody`, empty for root). `history` holds one entry for every layer.
    `platform_told` is False where the configuration leaves the platform out, so that `platform` is assumed."""

    platform: Platform
    diff_ids: tuple[Digest, ...]
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str | None = None
    created: str | None = None
    history: tuple[dict[str, Any], ...] = ()
    platform_told: bool = True

    @property
    def layer_history(self) -> tuple[dict[str, Any], ...]:
        """One history entry for every layer; empty ones where the history, which is optional, does not tell which
        entry belongs to which layer."""
        entries = tuple(entry for entry in self.history if not entry.get("empty_layer"))
        return entries if len(entries) == len(self.diff_ids) else ({},) * len(self.diff_ids)

    def encode(self) -> bytes:
        """The canonical JSON. Its digest is the image ID."""
        config: dict[str, Any] = {}
        if self.user:
            config["User"] = self.user
        if self.exposed_ports:
            config["ExposedPorts"] = {port: {} for port in self.exposed_ports}
        if self.env:
            config["Env"] = list(self.env)
        if self.entrypoint:
            config["Entrypoint"] = list(self.entrypoint)
        if self.cmd:
            config["Cmd"] = list(self.cmd)
        if self.volumes:
            config["Volumes"] = {path: {} for path in self.volumes}
        if self.workdir:
            config["WorkingDir"] = self.workdir
        if self.labels:
            config["Labels"] = dict(self.labels)
        if self.stop_signal:
            config["StopSignal"] = self.stop_signal
        document: dict[str, Any] = {
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
            "history": list(self.history),
        }
        if self.created:
            document["created"] = self.created
        return canonical_json(document)

    @classmethod
    def decode(cls, data: bytes) -> ImageConfig:
        """The configuration in `data`. Raises FormatError for what image-spec does not allow, but for a missing platform:
        docker, containerd and podman take that image for one of this machine."""
        document = parse_json_object(data, "the image's configuration")
        config = _mapping(document, "config")
        rootfs = _mapping(document, "rootfs")
        history = document.get("history") or []
        if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
            raise FormatError("the image's history is not a list of objects")
        created = document.get("created")
        stop_signal = config.get("StopSignal")
        return cls(
            platform=_platform(document),
            diff_ids=tuple(Digest.parse(item) for item in _strings(rootfs, "diff_ids")),
            env=_strings(config, "Env"),
            entrypoint=_strings(config, "Entrypoint"),
            cmd=_strings(config, "Cmd"),
            user=_string(config, "User"),
            workdir=_string(config, "WorkingDir"),
            labels={str(key): str(value) for key, value in _mapping(config, "Labels").items()},
            exposed_ports=tuple(_mapping(config, "ExposedPorts")),
            volumes=tuple(_mapping(config, "Volumes")),
            stop_signal=stop_signal if isinstance(stop_signal, str) else None,
            created=created if isinstance(created, str) else None,
            history=tuple(history),
            platform_told=bool(document.get("os") and document.get("architecture")),
        )


def _platform(document: dict[str, Any]) -> Platform:
    here = Platform.host()
    try:
        return Platform.parse(
            f"{document.get('os') or here.os}/{document.get('architecture') or here.architecture}"
        )
    except UsageError as error:
        raise FormatError(f"the image is for an {error.message}", hint=error.hint) from error


def _mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise FormatError(f"'{key}' in the image's configuration is not an object")
    return value


def _strings(document: dict[str, Any], key: str) -> tuple[str, ...]:
    value = document.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise FormatError(f"'{key}' in the image's configuration is not a list of strings")
    return tuple(value)


def _string(document: dict[str, Any], key: str) -> str:
    value = document.get(key) or ""
    if not isinstance(value, str):
        raise FormatError(f"'{key}' in the image's configuration is not a string")
    return value
