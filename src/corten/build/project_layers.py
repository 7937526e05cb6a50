"""The layers of the project's own files: its weights and its code.

Neither is read again while `lstat` says that nothing has changed. What is read is named by what it holds, so files that were
touched and not changed, or that lie in another folder or on another machine, give the layer that is there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from corten.build.job import Job
from corten.build.known import BuiltLayer
from corten.build.plan import VENV, CodeLayer, Weight, compiler_identity, weight_layers
from corten.build.sources import Digests, content_in_image, is_settled, stamps
from corten.errors import BuildError, ProjectError
from corten.events import Observer, TaskAdvanced, TaskFinished, TaskStarted, Warned
from corten.lock.model import LAYER_FORMAT
from corten.oci.config import canonical_json
from corten.oci.digest import Digest
from corten.oci.inside import Inside
from corten.project.local_packages import LocalPackage, NeedsBuild, describe, import_roots
from corten.project.model import Command, Project, SourceFile
from corten.store.disk import write_atomically
from corten.store.store import Store

LARGE_WEIGHT = 10 * 10**9
"""Bytes of a weight file from which on some registries refuse its layer."""


def memory_of(store: Store, project: Project, kind: str) -> Path:
    """Where is remembered what was found out about a project."""
    return store.cache_directory("projects") / f"{Digest.of(os.fsencode(project.root)).hex[:32]}-{kind}.json"


def ensure_weight_layers(job: Job, room: int) -> list[BuiltLayer]:
    """The layers of the weights, in at most `room` layers. Raises BuildError, RegistryError, FormatError, StoreError."""
    project, files, store, observe = job.project, job.files, job.store, job.observe
    if not files.weights:
        return []
    digests = Digests(project.root, memory_of(store, project, "weights"))
    weights = []
    for file in files.weights:
        if file.link is not None:
            raise BuildError(
                f"the model '{file.path}' is a symbolic link",
                hint="declare the file that it points to in `models`",
            )
        weights.append(Weight(file.path, file.size, digests.known(file) or _hashed(file, digests, observe)))
    digests.save()
    by_path = {file.path: file for file in files.weights}
    built = []
    for layer in weight_layers(weights, room):
        reused = job.known.find(layer.key) is not None
        if not reused:
            from corten.build.make import make_weights

            observe(TaskStarted("copy", layer.title, sum(weight.size for weight in layer.weights)))
            with store.temporary_directory("layer") as directory:
                make_weights(layer, by_path, project.root, directory / "fs")
                store.layers.commit(
                    directory,
                    layer.key,
                    lambda amount, title=layer.title: observe(TaskAdvanced("copy", title, amount)),  # type: ignore[misc]
                )
            observe(TaskFinished("copy", layer.title))
        built.append(job.known.built(layer.key, layer.title, reused))
    return built


def _hashed(file: SourceFile, digests: Digests, observe: Observer) -> Digest:
    if file.size > LARGE_WEIGHT:
        gigabytes = LARGE_WEIGHT // 10**9
        observe(
            Warned(
                f"'{file.path}' has more than {gigabytes} GB, and some registries refuse a layer of that size",
                "split the weights into several files, where their format can be split",
            )
        )
    observe(TaskStarted("hash", file.path, file.size))
    digest = digests.of(file, lambda amount: observe(TaskAdvanced("hash", file.path, amount)))
    observe(TaskFinished("hash", file.path))
    return digest


def ensure_code_layer(job: Job) -> BuiltLayer:
    """The layer of /app. Its files are read when any of them is another one than last time, and compiled when they hold
    something that nobody has a layer of. Raises BuildError, RegistryError, FormatError, StoreError."""
    project, files, part, store = job.project, job.files, job.part, job.store
    memory = memory_of(store, project, f"code-{part.platform.architecture}")
    state = Digest.of(
        canonical_json(
            {
                "layer-format": LAYER_FORMAT,
                # Files with logins lost them when this was added: what is remembered from before does not count.
                "logins": False,
                "files": job.options.stamps or stamps(files.code),
                "project": [project.name, project.version, project.scripts, project.alias],
                "local": part.local,
                "python": part.python,
                "compiler": compiler_identity(part),
                "prefix": VENV,
                "writable": folders_to_write(job),
            }
        )
    )
    key = _remembered(memory, state)
    if key is not None and store.layers.find(key) is not None:
        return job.known.built(key, "code", True)
    read_at = time.time_ns()
    local = _local_packages(job)
    key = _code_key(job, project.root, local)
    reused = job.known.find(key) is not None
    if not reused:
        key = _make_code(job, local)
    if all(is_settled(file, read_at) for file in files.code) and store.layers.find(key) is not None:
        write_atomically(memory, json.dumps([state, key]).encode())
    return job.known.built(key, "code", reused)


def _code_key(job: Job, directory: Path, local: Sequence[LocalPackage]) -> str:
    """The key of the project's code as it lies in `directory`."""
    project, part = job.project, job.part
    with Inside(directory) as tree:
        code = [
            (file.path, file.executable, file.link, None if file.link else content_in_image(tree, file.path))
            for file in job.files.code
        ]
    about = (project.name, project.version, project.scripts)
    packages = [
        (package.name if package.path else "", package.version, import_roots([package]), package.entry_points)
        for package in local
    ]
    return CodeLayer(
        tuple(code),
        about,
        part.python,
        compiler_identity(part),
        VENV,
        folders_to_write(job),
        project.alias,
        tuple(packages),
    ).key


def _local_packages(job: Job) -> tuple[LocalPackage, ...]:
    """The packages in the project's folders that its lock names, and what the project itself declares beyond `[project.scripts]`. Raises
    BuildError for a folder that is not used as it lies any more, or of which nothing goes into the image."""
    found: list[LocalPackage] = []
    for path in ("", *job.part.local):
        try:
            package = describe(job.project.root, path)
        except ProjectError:
            if path:
                raise
            continue  # nothing of it was asked for
        if isinstance(package, NeedsBuild):
            if path:
                raise BuildError(f"'{path}' {package.reason}", hint="run 'corten lock'")
            continue
        if path and not any(file.path.startswith(f"{path}/") for file in job.files.code):
            raise BuildError(
                f"the project requires the package in '{path}', and that folder is kept out of the image",
                hint="remove it from .dockerignore, .gitignore or `exclude`, or name it in `include`",
            )
        beyond = (
            import_roots([package])
            or any(item[1:] not in job.project.scripts for item in package.entry_points)
            or (job.project.version is None and package.version is not None)
        )
        if path or beyond:
            found.append(package)
    return tuple(found)


def folders_to_write(job: Job) -> tuple[str, ...] | None:
    """Folders of the project in which its program writes beside its code files, where only weights lie; None for what serves a predictor or
    has nothing to run: that writes nothing to /app. Absolute paths are folders that its Dockerfile makes. What was written for Cog may, as it may there."""
    if not isinstance(job.project.entry, Command) and not job.project.env.get("CORTEN_COG"):
        return None
    inner = {os.path.dirname(file.path) for file in job.files.weights} - {""}
    return tuple(sorted({*inner, *job.project.folders}))


def _make_code(job: Job, local: Sequence[LocalPackage]) -> str:
    """Make the layer and return its key, which is that of the copies: a file may change while it is read."""
    from corten.build.code import place_code
    from corten.build.environment import Environment

    with job.store.temporary_directory("layer") as directory:
        environment = Environment(VENV, job.part.python)
        # It has ended before anything that it had a part in is hashed.
        with job.interpreters().compiler(job.jobs) as compiler:
            place_code(job.project, job.files.code, environment, directory / "fs", compiler, local)
        folders = folders_to_write(job)
        if folders:
            with Inside(directory / "fs") as tree:
                for folder in folders:
                    path = folder.strip("/") if folder.startswith("/") else f"app/{folder}"
                    tree.directory(path, make=True)
                    if folder.startswith("/"):
                        tree.chmod(path, 0o1777)
        key = _code_key(job, directory / "fs" / "app", local)
        job.store.layers.commit(directory, key, open_below="app" if folders is not None else "")
    return key


def _remembered(memory: Path, state: Digest) -> str | None:
    """The key of the layer that was made of exactly these files."""
    with suppress(OSError, ValueError, TypeError):
        known, key = json.loads(memory.read_bytes())
        if known == state and isinstance(key, str):
            return key
    return None
