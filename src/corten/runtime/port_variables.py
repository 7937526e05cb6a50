"""The variables that tell a program on which port to listen. A platform's own go before PORT, which every image sets itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from corten.values import replace

if TYPE_CHECKING:
    from corten.runtime.options import RunOptions
    from corten.store.images import Image

_NAMES = ("SAGEMAKER_BIND_TO_PORT", "AIP_HTTP_PORT", "PORT")
"""SageMaker's, Vertex AI's, and everybody else's; in the order in which they count."""
_DEFAULT = 8080


def told_port(environment: Mapping[str, str]) -> tuple[str, int | None]:
    """The variable that counts and its port, or None where that is no port."""
    name = next((name for name in _NAMES if environment.get(name)), "PORT")
    text = environment.get(name, str(_DEFAULT))
    valid = text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536
    return name, int(text) if valid else None


def telling(port: int, environment: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The variables that say `port`, whichever of them counts in `environment` (`NAME=VALUE`)."""
    given = variables(environment)
    return tuple((name, str(port)) for name in _NAMES if given.get(name) or name == "PORT")


def telling_port(options: RunOptions, port: int, image: Image) -> RunOptions:
    """`options` with those variables for a container of `image`."""
    given = (*image.config.env, *map("=".join, options.environment))
    return replace(options, environment=(*options.environment, *telling(port, given)))


def variables(environment: Iterable[str]) -> dict[str, str]:
    """Lines of `NAME=VALUE` as a dictionary; the later of two with one name counts."""
    return dict(line.partition("=")[::2] for line in environment)
