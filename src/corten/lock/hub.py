"""The models of a hub in a lock: those that the project says, and those that its code names where the hub can be asked."""

from __future__ import annotations

from collections.abc import Mapping

from corten.errors import FetchError
from corten.events import Note, Observer
from corten.lock.model import Lock
from corten.packages.files import HubModel
from corten.project.around.look import look
from corten.project.hub import parse, spelled
from corten.project.model import Project
from corten.project.recognize.folder import Folder
from corten.store.store import Store

MOST_UNASKED = 20 * 10**9
"""Bytes of a model that the code alone names; a larger one is only taken where the project says so."""


def named_in_code(project: Project) -> tuple[str, ...]:
    """The models that the code of `project` names, as `models` would."""
    with Folder(str(project.root), project.exclude) as folder:
        found = look(folder, project).weights
    return tuple(item.spelled for item in found if item.spelled)


def lock_models(
    project: Project,
    store: Store,
    previous: Lock | None,
    observe: Observer,
    environment: Mapping[str, str] | None = None,
) -> tuple[HubModel, ...]:
    """The models of `project`. What `previous` has of them stays at its commit. One that only the code names and that cannot be had now, or is
    larger than `MOST_UNASKED`, is left out: it is named before the start. Raises FetchError for one that the project says."""
    from corten.packages.hub import Hub

    before = {model.name: model for model in previous.models} if previous is not None else {}
    found: dict[str, HubModel] = {}
    hub: Hub | None = None
    for name in project.hub:
        repository, file, revision = parse(name)
        name = spelled(repository, file, revision)
        hub = hub or Hub(environment)
        found[name] = before.get(name) or hub.resolve(store, name, repository, file, revision)
    said = {name.rpartition("@")[0] for name in found}
    quick: Hub | None = None
    left: list[str] = []
    for name in named_in_code(project):
        if name.rpartition("@")[0] in said:
            continue
        if name in before:
            found[name] = before[name]
            continue
        repository, file, revision = parse(name)
        try:
            if left:  # the hub has not answered for another one
                raise FetchError("the hub cannot be reached")
            quick = quick or Hub(environment, quick=True)
            model = quick.resolve(store, name, repository, file, revision)
            size = sum(item.size for item in model.files)
            if size > MOST_UNASKED:
                continue
            found[name] = model
            observe(
                Note(
                    f"adds the model {repository} of the hub, {size / 1e6:.1f} MB: the code loads it by name"
                )
            )
        except FetchError:
            left.append(name)
    return tuple(sorted(found.values(), key=lambda model: model.name))
