"""Images as verbs name them: here by name, ID, digest or `HOST/NAME@DIGEST`; otherwise in the registry that the name says."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.errors import ImageNotFound, UsageError
from corten.events import Observer, ignore
from corten.oci.platform import Platform
from corten.store.images import Image

if TYPE_CHECKING:
    from corten.oci.reference import Reference
    from corten.registry.client import RegistrySettings


def add_insecure(parser: argparse.ArgumentParser) -> None:
    """The argument `--insecure` of verbs that speak to a registry."""
    parser.add_argument(
        "--insecure", action="store_true", help="accept plain http and certificates that nobody vouches for"
    )


def add_accepted(parser: argparse.ArgumentParser) -> None:
    """The arguments of the commands that lock or build a project: what they accept of Debian's archive."""
    parser.add_argument(
        "--allow-older-release",
        action="store_true",
        help="accept an index of Debian that is older than one seen before, or has expired",
    )
    parser.add_argument(
        "--allow-unauthenticated",
        action="store_true",
        help="accept Debian packages that no signed index lists; they run on this machine",
    )


def local_image(text: str, context: Context, platform: Platform | None = None) -> Image:
    """The image `text` of the store, for `platform`, or for this machine where it has several. Raises ImageNotFound."""
    if "@" in text:
        for image_id in context.store.repo_digests.find(text):
            image = context.store.images.get(image_id)
            if image.config.platform == (platform or Platform.host()):
                return image
    return context.store.images.get(text, platform)


def local_images(text: str, context: Context) -> dict[Platform, Image]:
    """The image `text` of the store for all its platforms. Raises ImageNotFound."""
    images = context.store.images
    if "@" in text:
        found: dict[Platform, Image] = {}
        for image_id in context.store.repo_digests.find(text):
            with suppress(ImageNotFound):  # forgotten, and not pruned yet
                image = images.get(image_id)
                found[image.config.platform] = image
        if found:
            return dict(sorted(found.items()))
        raise ImageNotFound(f"there is no image '{text}'", hint="'corten images --json' tells the digests")
    return images.platforms(text)


def registry_reference(text: str) -> Reference | None:
    """The reference that `text` spells with a registry's host in front, None for any other text."""
    from corten.oci.reference import Reference  # most images are here, and named by a name alone

    try:
        reference = Reference.parse(text)
    except UsageError:
        return None
    written = text.removeprefix("docker://")
    return reference if written.startswith(f"{reference.registry}/") else None


def _on_docker_hub(text: str) -> str | None:
    """What docker means by the short name `text`; None for what is no such name."""
    from corten.oci.reference import Reference

    try:
        Reference.parse(text)
    except UsageError:
        return None
    return f"docker.io/{text}" if "/" in text else f"docker.io/library/{text}"


def settings(insecure: bool = False, observe: Observer = ignore) -> RegistrySettings:
    """How this machine reaches registries."""
    from corten.registry.client import settings_from

    return settings_from(os.environ, insecure, observe)


def runnable_image(
    text: str, context: Context, pull_when: str = "missing", platform: Platform | None = None
) -> Image:
    """The image `text` with all its layers: from the store, or pulled first where it names a registry that is not known
    here. `pull_when` is `always` to ask the registry in any case, `never` to leave it alone. Raises ImageNotFound, RegistryError, StoreError."""
    try:
        if pull_when in ("always", "newer") and registry_reference(text) is not None:
            raise ImageNotFound(f"'{text}' is to be pulled")
        image = local_image(text, context, platform)
    except ImageNotFound as error:
        reference = registry_reference(text)
        if reference is None and "@" not in text and (hub := _on_docker_hub(text)) is not None:
            raise ImageNotFound(
                error.message, hint=f"{error.hint}; from Docker Hub it is fetched by its whole name: {hub}"
            ) from error
        if reference is None or pull_when == "never":
            raise
        from corten.registry.pull import pull
        from corten.store.sync import sync_later

        platforms = [platform or Platform.host()]
        image = pull(
            reference, platforms, context.store, settings(observe=context.observe), context.observe
        ).images[0]
        sync_later(context.store)
        return image
    with_layers(image, context)
    return image


def with_layers(image: Image, context: Context) -> None:
    """Fetch the layers of `image` that are not here, as an image that was built from a registry's cache lacks some.
    Raises RegistryError, StoreError."""
    store = context.store
    if all(store.layers.has(diff_id) for diff_id in image.config.diff_ids):
        return
    from corten.registry.pull import ensure_layers

    with store.lock("store", shared=True):
        ensure_layers(store, image.config.diff_ids, settings(observe=context.observe), context.observe)
