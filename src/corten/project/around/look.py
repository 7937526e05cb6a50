"""Everything that a project's code needs around it, and the lines that tell it before the start."""

from __future__ import annotations

from collections.abc import Collection

from corten.project.around import services, variables, weights
from corten.project.around.modules import Modules, Place, listed
from corten.project.around.services import Device, Outward, Service
from corten.project.around.variables import Variable
from corten.project.around.weights import Named
from corten.project.model import Command, Predictor, Project
from corten.project.recognize.folder import Folder
from corten.values import dataclass

_SHOWN = 5
SECRETS = ".streamlit/secrets.toml"


@dataclass(frozen=True, slots=True)
class Around:
    """What the code needs. All but `variables` are facts about the code alone; those are what it reads and nothing in it sets."""

    variables: tuple[Variable, ...] = ()
    services: tuple[Service, ...] = ()
    devices: tuple[Device, ...] = ()
    outward: tuple[Outward, ...] = ()
    weights: tuple[Named, ...] = ()


def look(folder: Folder, project: Project) -> Around:
    """What the program of `project` needs, by reading the modules that it starts with."""
    entry = project.entry
    words = (
        entry.argv if isinstance(entry, Command) else entry.targets if isinstance(entry, Predictor) else ()
    )
    below = project.workdir.removeprefix("/app").strip("/")
    if below:
        words = (*words, *(f"{below}/{word}" for word in words), *(f"{below}.{word}" for word in words))
    modules = Modules(folder, words, project.source)
    return Around(
        variables.read(modules),
        services.services(modules),
        services.devices(modules),
        services.outward(modules),
        weights.read(modules),
    )


def missing(around: Around, given: Collection[str], has_secrets: bool) -> tuple[Variable, ...]:
    """The variables that nothing sets: neither one of `given` nor, for Streamlit's, its file."""
    return tuple(
        item
        for item in around.variables
        if not (has_secrets if item.streamlit else any(name in given for name in item.names))
    )


def lines(
    around: Around,
    given: Collection[str],
    *,
    has_secrets: bool,
    reaches: bool,
) -> list[str]:
    """What to say before the start, a line for each kind. `given` are variables that are set, `has_secrets`: Streamlit's file is there;
    `reaches`: the container has a way out."""
    said: list[str] = []
    lacking = missing(around, given, has_secrets)
    sure = [item for item in lacking if item.sure and not item.streamlit]
    if sure:
        names = _names([" or ".join(item.names) for item in sure])
        said.append(
            f"needs {names} ({_at(sure)}): give them with --env-file .env or -e NAME".replace(
                "them", _it(sure)
            )
        )
    secret = [item for item in lacking if item.streamlit]
    if secret:
        names = _names([item.names[0] for item in secret])
        said.append(f"needs {names} of st.secrets ({_at(secret)}): write {_it(secret)} into {SECRETS}")
    other = [item for item in lacking if not item.sure]
    if other:
        names = _names([item.names[0] for item in other])
        said.append(f"reads {names} without a default ({_at(other)}), and nothing sets {_it(other)}")
    for service in around.services:
        way = "" if reaches else "; the container has no network: --network private"
        if service.here:
            way = ", at this machine's own address: inside, that is the container; --network host reaches this machine's"
        said.append(
            f"connects to {service.kind} ({listed([service.place])}), which Corten does not start{way}"
        )
    said += [
        f"opens {device.what} ({listed([device.place])}): {device.option} gives it"
        for device in around.devices
    ]
    if around.outward and not reaches:
        whom = _names([item.what for item in around.outward])
        said.append(
            f"calls {whom} ({_at(around.outward)}), and the container has no way out: --network private gives one, or "
            'network = "private" in [tool.corten]'
        )
    return said


def of_weights(around: Around, reaches: bool, locked: Collection[str]) -> list[str]:
    """Weights that the program fetches when it runs. `locked` are the models that the lock has, as `Named.spelled`."""
    said = []
    known = {*locked, *(name.rpartition("@")[0] for name in locked)}
    open_ = [item for item in around.weights if not {item.spelled, item.spelled.rpartition("@")[0]} & known]
    hub = [item for item in open_ if item.hub == "hf"]
    if hub:
        models = ", ".join(f'"{item.spelled}"' for item in hub[:_SHOWN])
        way = "" if reaches else ", and the container has no way out"
        said.append(
            f"fetches {_names([item.name for item in hub])} from the Hugging Face hub when it runs ({_at(hub)}){way}: "
            f"'corten lock' brings {_it(hub)} into the image if the hub answers, and models = [{models}] in [tool.corten] insists on it"
        )
    for kind in dict.fromkeys(item.hub for item in open_ if item.hub != "hf"):
        items = [item for item in open_ if item.hub == kind]
        what = f"fetches {_names([item.name for item in items])} of {kind} when it runs ({_at(items)})"
        if kind == "spacy":
            what = f"needs the spaCy model {_names([item.name for item in items])} ({_at(items)})"
            said.append(
                f"{what}: add its wheel to the requirements, '{items[0].name} @ https://…/{items[0].name}-VERSION-py3-none-any.whl'"
            )
        elif kind == "ultralytics":
            said.append(f"{what}: put the file beside the code, or give it a network: --network private")
        else:
            keeps = "--model-cache keeps it" if reaches else "--network private --model-cache lets it, once"
            said.append(f"{what}: {keeps}")
    return said


def _names(names: list[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - _SHOWN} more" if len(unique) > _SHOWN else ""
    return f"{', '.join(unique[:_SHOWN])}{more}"


def _at(items: Collection[Variable] | Collection[Outward] | Collection[Named]) -> str:
    places: list[Place] = [item.place for item in items]
    return listed(places)


def _it(items: Collection[object]) -> str:
    return "it" if len(items) == 1 else "them"
