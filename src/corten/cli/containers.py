"""Where `up` meets the runtime: an image and a `Start` become a container that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corten.errors import UsageError
from corten.runtime import container, inventory
from corten.runtime.options import RunOptions

if TYPE_CHECKING:
    from corten.cli.serving import Served
    from corten.cli.up import Start, Starter
    from corten.events import Observer
    from corten.store.images import Image
    from corten.store.store import Store


def starter(store: Store, observe: Observer) -> Starter:
    """Starts images of `store` in containers. Raises RuntimeFailure where none can be started."""

    def start(image: Image, how: Start) -> Served:
        from corten.cli.serving import url_of

        inventory.sweep(store)
        while True:
            name = free_name(image.name, running(store))
            try:
                return container.start(
                    image,
                    RunOptions(
                        environment=how.environment,
                        limits=how.limits,
                        network=None,
                        name=name,
                        gpus=how.gpus,
                        cdi_directories=how.cdi_directories,
                        engine=how.engine,
                    ),
                    store,
                    observe,
                    listener=how.listener.fileno(),
                    forward=how.forward,
                    output=how.output,
                    url=url_of(how.listener),
                )
            except UsageError:
                # Another `up` may have taken the name in between.
                if name not in running(store):
                    raise

    return start


def running(store: Store) -> set[str]:
    """The names of the containers that run."""
    return {item.name for item in inventory.list_containers(store) if item.running}


def free_name(image: str, taken: set[str]) -> str:
    """What people will call a container of `image`: the last part of its name, `iris` of `team/iris:1.0`, with a number
    when there is such a one already."""
    name = image.rpartition("/")[2].partition(":")[0][:58]
    return next(
        candidate
        for number in range(1, len(taken) + 2)
        if (candidate := name if number == 1 else f"{name}-{number}") not in taken
    )
