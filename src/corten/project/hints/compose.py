"""compose.yaml (github.com/compose-spec): the service that is built from the project, and those that it stands on."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from corten.errors import FormatError
from corten.project.hints import docker, documents, names, shell, variables
from corten.project.hints.hint import MOST_HINTS, Hint, Reads
from corten.project.hints.places import Places
from corten.project.kinds import VOLUME
from corten.values import replace

SERVICES = {
    "postgres": "PostgreSQL",
    "postgis": "PostgreSQL",
    "pgvector": "PostgreSQL with pgvector",
    "timescaledb": "PostgreSQL",
    "mysql": "MySQL",
    "mariadb": "MariaDB",
    "mongo": "MongoDB",
    "mongodb": "MongoDB",
    "redis": "Redis",
    "redis-stack": "Redis",
    "redis-stack-server": "Redis",
    "valkey": "Valkey",
    "memcached": "Memcached",
    "rabbitmq": "RabbitMQ",
    "kafka": "Kafka",
    "cp-kafka": "Kafka",
    "zookeeper": "ZooKeeper",
    "qdrant": "Qdrant",
    "chroma": "Chroma",
    "chromadb": "Chroma",
    "weaviate": "Weaviate",
    "milvus": "Milvus",
    "etcd": "etcd",
    "minio": "MinIO",
    "elasticsearch": "Elasticsearch",
    "opensearch": "OpenSearch",
    "neo4j": "Neo4j",
    "influxdb": "InfluxDB",
    "clickhouse-server": "ClickHouse",
    "cassandra": "Cassandra",
    "ollama": "Ollama",
    "localai": "LocalAI",
    "vllm-openai": "vLLM",
    "text-generation-inference": "Text Generation Inference",
    "tei": "Text Embeddings Inference",
    "mlflow": "MLflow",
    "serving": "TensorFlow Serving",
    "tritonserver": "Triton",
    "nats": "NATS",
    "mosquitto": "an MQTT broker",
    "vault": "Vault",
    "keycloak": "Keycloak",
    "dynamodb-local": "DynamoDB",
    "localstack": "LocalStack",
}
"""Databases, queues, stores and model servers by the last part of their image's name."""

_VARIABLE = re.compile(r"\$\$|\$(?:(\w+)|\{(\w+)(?:(:?[-?+])([^{}]*))?\})")


def read(folder: Reads) -> tuple[Hint, ...]:
    """The hints of the project's compose file."""
    for name in names.COMPOSE:
        text = folder.text(name)
        if text is not None:
            return read_text(text, name, folder)
    return ()


def read_text(text: str, source: str, folder: Reads) -> tuple[Hint, ...]:
    """The hints of a compose file with the contents `text`."""
    try:
        document = documents.yaml(text)
    except FormatError as error:
        return (Hint("unused", f"it cannot be read: {error}", source),)
    table = document.get("services") if isinstance(document, dict) else None
    if not isinstance(table, dict):
        return ()
    services = {name: service for name, service in table.items() if isinstance(service, dict)}
    hints: list[Hint] = []
    for name, service in list(services.items())[:100]:
        kind = _kind(str(service.get("image") or ""))
        if kind is not None and "build" not in service:
            hints.append(
                Hint("needs-service", kind, source, documents.line_of(text, f"{name}:", "image:"), name=name)
            )
    for name, service in list(services.items())[:100]:
        if "build" in service:
            hints += _of_service(name, service, services, text, source, folder)
    return tuple(hints[:MOST_HINTS])


def _kind(image: str) -> str | None:
    name = _filled(image, {}).partition("@")[0]
    name = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    last = name.rpartition("/")[2].lower()
    return SERVICES.get(last)


def _build(service: Mapping[str, Any]) -> tuple[str, str, str, dict[str, str]]:
    """The context, the Dockerfile relative to it, the target and the arguments of `build`."""
    build = service["build"]
    if not isinstance(build, dict):
        return str(build or "."), "", "", {}
    arguments = {name: value for name, value in _pairs(build.get("args")).items() if value is not None}
    return (
        str(build.get("context") or "."),
        str(build.get("dockerfile") or ""),
        str(build.get("target") or ""),
        arguments,
    )


def _of_service(
    name: str, service: Mapping[str, Any], services: Mapping[str, Any], text: str, source: str, folder: Reads
) -> list[Hint]:
    written, file, target, arguments = _build(service)
    context = posixpath.normpath(posixpath.join(posixpath.dirname(source), written))
    context = "" if context == "." else context
    if context.startswith(("/", "..")) or "://" in written:
        return []
    path = posixpath.normpath(posixpath.join(context, file or "Dockerfile"))
    inner = folder.text(path) if not path.startswith("..") else None
    image = docker.built(folder, inner, context, target, arguments) if inner is not None else None
    of_image = docker.hints_of(image, path, folder, context) if image is not None else ()
    if image is not None and image.foreign:
        return []
    at = documents.line_of(text, f"{name}:", "build:")
    places = image.places if image is not None else Places((), folder)
    workdir = str(service.get("working_dir") or (image.stage.workdir if image is not None else "/"))
    if image is None:
        places.mount(workdir, context)
    for volume in service.get("volumes") or []:
        here, _, there = str(volume).partition(":") if isinstance(volume, str) else ("", "", "")
        own = posixpath.normpath(posixpath.join(posixpath.dirname(source), here))
        there = there.partition(":")[0].rstrip("/")
        if here.startswith(".") and there.startswith("/") and not own.startswith(".."):
            places.mount(there, "" if own == "." else own)
    hints = _command(name, service, text, source, folder, workdir, places)
    if not hints:
        hints += [replace(hint, name=name) for hint in of_image if hint.key == "command"]
    if hints and path not in names.DOCKERFILE:
        # The Dockerfile that this service names counts as the project's, where no other does.
        hints += [hint for hint in of_image if hint.key not in ("command", "port")]
    hints += _of_environment(name, service, services, text, source, workdir, places)
    for port in service.get("ports") or []:
        number = (
            str(port.get("target") if isinstance(port, dict) else port).partition("/")[0].rpartition(":")[2]
        )
        if re.fullmatch(r"\d{1,5}", number):
            hints.append(
                Hint("port", number, source, documents.line_of(text, f"{name}:", "ports:"), name=name)
            )
    for volume in service.get("volumes") or []:
        kept = _named_volume(volume)
        if kept is not None:
            line = documents.line_of(text, f"{name}:", "volumes:", kept[0])
            hints.append(Hint("volume", places.translated(kept[1], docker.ROOT), source, line, name=kept[0]))
    for env_file in _listed(service.get("env_file")):
        if not folder.exists(posixpath.normpath(env_file)):
            hints.append(
                Hint("unused", f"service '{name}' reads '{env_file}', which is not there", source, at)
            )
    return hints


def _command(
    name: str,
    service: Mapping[str, Any],
    text: str,
    source: str,
    folder: Reads,
    workdir: str,
    places: Places,
) -> list[Hint]:
    written = service.get("command")
    entry = service.get("entrypoint")
    parts: list[Any] = [part for part in (entry, written) if part]
    if not parts:
        return []
    if any(isinstance(part, list) for part in parts):
        words: list[str] = []
        for part in parts:
            words += [str(word) for word in part] if isinstance(part, list) else list(shell.words(str(part)))
        line = shell.cleaned([_filled(word, {}, keep=True) for word in words])
    else:
        line = shell.cleaned(_filled(" ".join(str(part) for part in parts), {}, keep=True))
    at = documents.line_of(text, f"{name}:", "command:" if written else "entrypoint:")
    found = docker.choose(line, source, at, workdir, places, folder)
    return [replace(hint, name=name) for hint in found]


def _named_volume(volume: Any) -> tuple[str, str] | None:
    """The name and the place of a named volume, in its short or long form; None for a mount of files."""
    if isinstance(volume, dict):
        name, target = str(volume.get("source") or ""), str(volume.get("target") or "")
        if volume.get("type") != "volume":
            return None
    else:
        name, _, rest = str(volume).partition(":")
        target = rest.partition(":")[0]
    if not re.fullmatch(VOLUME, name) or not target.startswith("/") or posixpath.normpath(target) == "/":
        return None
    return name, posixpath.normpath(target)


def _of_environment(
    name: str,
    service: Mapping[str, Any],
    services: Mapping[str, Any],
    text: str,
    source: str,
    workdir: str,
    places: Places,
) -> list[Hint]:
    hints = []
    others = [other for other in services if other != name]
    for key, value in list(_pairs(service.get("environment")).items())[:MOST_HINTS]:
        if not re.fullmatch(r"[A-Za-z_]\w*", key) or variables.is_of_tools(key):
            continue
        if key == "PORT":
            continue
        at = documents.line_of(text, f"{name}:", "environment:", key)
        if value is None or (value and not _filled(value, {})) or variables.is_placeholder(value):
            hints.append(Hint("needs-env", key, source, at, name=key))
            continue
        filled = _filled(value, {})
        if key == "PYTHONPATH":
            kept = docker.import_path(filled, workdir, places)
            hints += [Hint("env", kept, source, at, name=key)] if kept else []
        elif any(re.search(rf"(?:^|//|@){re.escape(other)}(?:$|[:/])", filled) for other in others):
            hints.append(Hint("unused", f"{key} names another service of the file", source, at, name=key))
        elif re.search(_VARIABLE, value) and _needed(value):
            hints.append(Hint("needs-env", key, source, at, name=key))
        elif variables.is_secret(key) and variables.looks_real(filled):
            hints.append(
                Hint("needs-env", key, source, at, name=key, note="its value stays out of the image")
            )
        else:
            hints.append(Hint("env", places.translated(filled, docker.ROOT), source, at, name=key))
    return hints


def _needed(value: str) -> bool:
    """Whether a variable in `value` has no default."""
    return any(match[3] not in (":-", "-") for match in _VARIABLE.finditer(value) if match[0] != "$$")


def _filled(value: str, known: Mapping[str, str], keep: bool = False) -> str:
    """`value` with its variables' defaults (compose's interpolation); with `keep`, those without one stay."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name = match[1] or match[2]
        if name in known:
            return known[name]
        if match[3] in (":-", "-"):
            return "$PORT" if keep and name == "PORT" else match[4] or ""
        return f"${name}" if keep else ""

    return _VARIABLE.sub(one, value)


def _pairs(value: Any) -> dict[str, str | None]:
    """`environment` or `args` in both forms: a mapping, or a list of `A=b`."""
    if isinstance(value, dict):
        return {key: None if item is None else _text(item) for key, item in value.items()}
    found: dict[str, str | None] = {}
    for item in value if isinstance(value, list) else []:
        name, sign, text = str(item).partition("=")
        found[name.strip()] = text if sign else None
    return found


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _listed(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value] if value else []
    return [str(item.get("path", "")) if isinstance(item, dict) else str(item) for item in items]
