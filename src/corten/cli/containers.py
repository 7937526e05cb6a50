"""Where `up` meets the runtime: an image and a `Start` become a container that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corten.errors import RuntimeFailure

if TYPE_CHECKING:
    from corten.cli.serving import Served
    from corten.cli.up import Start, Starter
    from corten.events import Observer
    from corten.store.images import Image
    from corten.store.store import Store


def starter(store: Store, observe: Observer) -> Starter:
    """Starts images of `store` in containers. Raises RuntimeFailure where none can be started."""

    def start(image: Image, how: Start) -> Served:
        raise RuntimeFailure(
            f"'{image.name}' is built, but containers cannot be started by this version",
            hint="run the image with another engine: 'corten save' writes it as an OCI layout",
        )

    return start
