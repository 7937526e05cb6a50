"""Where `up` meets the runtime: an image and a `Start` become a container that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corten.runtime import container
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

        container.sweep(store)
        return container.start(
            image,
            RunOptions(environment=how.environment, limits=how.limits, network=None),
            store,
            observe,
            listener=how.listener.fileno(),
            forward=how.forward,
            output=how.output,
            url=url_of(how.listener),
        )

    return start
