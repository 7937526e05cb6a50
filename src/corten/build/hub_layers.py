"""Layers of models from a hub, each in one of its own, as the hub's library keeps them in its cache: `refs`, `snapshots`, `blobs`."""

from __future__ import annotations

from pathlib import Path

from corten.build.job import Job
from corten.build.known import BuiltLayer
from corten.build.plan import HubLayer
from corten.events import TaskAdvanced, TaskFinished, TaskStarted
from corten.oci.inside import Inside
from corten.packages.files import HubModel
from corten.project.hub import parse
from corten.store.store import Store

CACHE = "/models/huggingface/hub"
"""Where an image has them (`HF_HUB_CACHE`)."""


def ensure_hub_layers(job: Job) -> list[BuiltLayer]:
    """The layers of the lock's models; their files are fetched where a layer is made. Raises FetchError, HashMismatch, StoreError."""
    built = []
    for model in job.lock.models:
        repository, _, revision = parse(model.name)
        layer = HubLayer(
            repository,
            revision,
            model.commit,
            tuple((file.path, file.sha256) for file in model.files),
        )
        reused = job.known.find(layer.key) is not None
        if not reused:
            from corten.packages.hub import fetch_models

            fetch_models(job.store, [(repository, model)], job.observe, offline=job.options.offline)
            size = sum(file.size for file in model.files)
            job.observe(TaskStarted("copy", layer.title, size))
            with job.store.temporary_directory("layer") as directory:
                place_model(repository, revision, model, job.store, directory / "fs")
                job.store.layers.commit(
                    directory,
                    layer.key,
                    lambda amount, title=layer.title: job.observe(TaskAdvanced("copy", title, amount)),  # type: ignore[misc]
                )
            job.observe(TaskFinished("copy", layer.title))
        built.append(job.known.built(layer.key, layer.title, reused))
    return built


def place_model(repository: str, revision: str, model: HubModel, store: Store, tree: Path) -> None:
    """Write the model's part of the cache below `tree`. Its files are in `store`."""
    from corten.build.sources import copy_file

    tree.mkdir(exist_ok=True)
    top = f"{CACHE.lstrip('/')}/models--{repository.replace('/', '--')}"
    with Inside(tree) as inside:
        if revision != model.commit:
            inside.write(f"{top}/refs/{revision}", model.commit.encode())
        for sha256 in sorted({file.sha256 for file in model.files}):
            source = store.files.path(sha256, "hub")
            assert source is not None  # it was fetched for this
            copy_file(source, inside, f"{top}/blobs/{sha256}")
        for file in model.files:
            up = "../" * (2 + file.path.count("/"))
            inside.symlink(f"{top}/snapshots/{model.commit}/{file.path}", f"{up}blobs/{file.sha256}")
