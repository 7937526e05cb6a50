"""`corten inspect`: an image's configuration and layers, of one here or of one in a registry, which is not pulled for it;
or a container's state and options."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from corten.cli.context import Context
from corten.cli.finding import add_insecure
from corten.errors import ImageNotFound
from corten.oci.config import ImageConfig, parse_json_object
from corten.oci.descriptor import Manifest
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.values import asdict

if TYPE_CHECKING:
    from corten.registry.client import Fetched, Repository

_LARGEST_CONFIG = 4 << 20

EXAMPLES = """\
examples:
  corten inspect iris
  corten inspect iris --format config
  corten inspect --type container iris                     a container, where an image has the same name
  corten inspect registry.example/team/iris:1.0            asks the registry when it is not here
  corten inspect --remote registry.example/team/iris:1.0   asks the registry in any case"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "image", help="name, ID or digest; HOST/NAME:TAG in a registry; or a container's name"
    )
    parser.add_argument(
        "--type", choices=["image", "container"], help="which of them (default: an image, else a container)"
    )
    parser.add_argument(
        "--format", choices=["summary", "config", "manifest"], default="summary", help="what to print (JSON)"
    )
    parser.add_argument("--remote", action="store_true", help="ask the registry, even when the image is here")
    parser.add_argument("--platform", metavar="PLATFORM", help="of which platform (default: this machine's)")
    add_insecure(parser)
    parser.add_argument("--json", action="store_true", help="JSON, which it always is")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Print one JSON document."""
    if arguments.type == "container":
        document = _container(arguments.image, context)
    else:
        document = _remote(arguments, context) if arguments.remote else _known(arguments, context)
    context.terminal.print(json.dumps(document, indent=2))
    return 0


def _known(arguments: argparse.Namespace, context: Context) -> dict[str, Any]:
    from corten.cli.finding import local_image, registry_reference

    store = context.store
    platform = Platform.parse(arguments.platform) if arguments.platform else None
    try:
        image = (
            store.images.get(arguments.image, platform) if platform else local_image(arguments.image, context)
        )
    except ImageNotFound:
        if arguments.type is None and (store.containers_directory / arguments.image).is_dir():
            return _container(arguments.image, context)
        if registry_reference(arguments.image) is None:
            raise
        return _remote(arguments, context)
    manifest_bytes = store.blobs.read(image.digest)
    manifest = Manifest.decode(manifest_bytes)
    config_bytes = store.blobs.read(manifest.config.digest)
    if arguments.format != "summary":
        return _json(config_bytes if arguments.format == "config" else manifest_bytes)
    return {
        "name": image.name,
        "id": image.id,
        "digest": image.digest,
        "repo_digests": list(store.repo_digests.of(image.id)),
        "platform": str(image.config.platform),
        "size": image.size,
        "created": image.config.created,
        "config": _json(config_bytes).get("config") or {},
        "layers": [
            {
                "digest": layer.digest,
                "size": layer.size,
                "title": title,
                "here": store.layers.has(layer.digest),
            }
            for layer, title in zip(manifest.layers, _titles(image.config), strict=True)
        ],
    }


def _container(name: str, context: Context) -> dict[str, Any]:
    """What `ps` knows of a container, and what it was started with."""
    from corten.cli.ps import document
    from corten.errors import RuntimeFailure
    from corten.runtime import records
    from corten.runtime.inventory import SUPERVISOR_LOCK, find, is_locked, look
    from corten.runtime.processes import first_of

    directory = find(context.store, name)
    listed = look(directory)
    if listed is None:
        raise RuntimeFailure(f"'{name}' was never started whole", hint=f"remove it: corten rm {name}")
    record = listed.record
    return {
        **document(listed),
        "pid": first_of(directory) if listed.running else None,
        "monitor": record.kind,
        "layers": list(record.layers),
        "supervised": is_locked(directory / SUPERVISOR_LOCK),
        "restart_policy": _json_of(record.restart),
        "health_check": _json_of(record.health) if record.health else None,
        "remove": record.remove,
        "timeout": record.timeout,
        "options": records.raw_options(directory),
    }


def _json_of(value: Any) -> dict[str, Any]:
    return asdict(value)


def _remote(arguments: argparse.Namespace, context: Context) -> dict[str, Any]:
    from corten.cli.finding import settings
    from corten.registry.client import open_repository
    from corten.registry.remote import artifact_at, find_image

    reference = Reference.parse(arguments.image)
    repository = open_repository(reference, settings(arguments.insecure, context.observe))
    platform = Platform.parse(arguments.platform) if arguments.platform else Platform.host()
    artifact = artifact_at(repository, reference.target)
    if artifact is not None:
        return _artifact(str(reference), reference.name, artifact, repository, arguments.format)
    image = find_image(repository, reference.target, platform)
    if arguments.format != "summary":
        return _json(image.config_bytes if arguments.format == "config" else image.manifest_bytes)
    return {
        "name": str(reference),
        "id": image.id,
        "repo_digests": [f"{reference.name}@{image.digest}"],
        "platform": str(image.config.platform),
        "packed_size": image.size,
        "created": image.config.created,
        "config": _json(image.config_bytes).get("config") or {},
        "layers": [
            {
                "digest": diff_id,
                "blob": layer.digest,
                "packed_size": layer.size,
                "media_type": layer.media_type,
                "title": title,
            }
            for layer, diff_id, title in zip(
                image.manifest.layers, image.config.diff_ids, _titles(image.config), strict=True
            )
        ],
    }


def _artifact(name: str, place: str, artifact: Fetched, repository: Repository, form: str) -> dict[str, Any]:
    """What is not an image: a signature, an SBOM, a chart, weights."""
    document = _json(artifact.data)
    if form == "manifest":
        return document
    manifest = Manifest.decode(artifact.data)
    if form == "config":
        data = repository.read_blob(manifest.config.digest, manifest.config.size, _LARGEST_CONFIG)
        return parse_json_object(data, "the artifact's configuration")
    return {
        "name": name,
        "repo_digests": [f"{place}@{artifact.digest}"],
        "artifact_type": document.get("artifactType") or manifest.config.media_type,
        "media_type": artifact.media_type,
        "packed_size": manifest.config.size + sum(layer.size for layer in manifest.layers),
        "annotations": manifest.annotations,
        "subject": (document.get("subject") or {}).get("digest"),
        "layers": [
            {
                "blob": layer.digest,
                "packed_size": layer.size,
                "media_type": layer.media_type,
                "title": layer.annotations.get("org.opencontainers.image.title", ""),
            }
            for layer in manifest.layers
        ],
    }


def _json(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(data)
    return document


def _titles(config: ImageConfig) -> list[str]:
    return [str(entry.get("created_by", "")).removeprefix("corten: ") for entry in config.layer_history]
