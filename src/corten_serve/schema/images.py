"""Images, where the project has Pillow: `PIL.Image.Image`. It is imported only when a type hint already has done so."""

from __future__ import annotations

import base64
import io
import sys
from typing import Any

from corten_serve.schema.kinds import Path, Problems
from corten_serve.schema.media import Media

_FORMATS = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}
"""The only formats that are tried: Pillow knows others that run programs (EPS) or that nobody has looked at for years."""
_MODES = {"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"}
"""Those that PNG has."""


def _pillow() -> Any:
    return sys.modules.get("PIL.Image")


def is_image(hint: Any) -> bool:
    """Whether `hint` is `PIL.Image.Image`."""
    pillow = _pillow()
    return pillow is not None and hint is getattr(pillow, "Image", None)


class Image(Media):
    """An image that is wholly decoded, so that a broken one is the client's fault and not `predict`'s. One with more pixels
    than `PIL.Image.MAX_IMAGE_PIXELS` is refused before it is decoded. Results become PNG."""

    words = "an image, in base64 or as a data URL"
    media = tuple(_FORMATS.values())
    produces: str | None = "image/png"
    content = "image/*"

    def accept(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        pillow = _pillow()
        try:
            image = pillow.open(io.BytesIO(data), formats=tuple(_FORMATS))
            most = pillow.MAX_IMAGE_PIXELS
            width, height = image.size
            if most is not None and width * height > most:
                problems.add(path, f"an image has at most {most} pixels, not {width} × {height}")
                return None
            image.load()
        except MemoryError:
            raise
        except Exception:
            # Pillow's decoders raise whatever comes to them on broken bytes: OSError, SyntaxError, struct.error, and others.
            names = ", ".join(_FORMATS)
            problems.add(path, f"not an image that can be read; expected one of {names}")
            return None
        return image

    def encode(self, value: Any) -> tuple[str, bytes] | None:
        data = png(value)
        return None if data is None else ("image/png", data)


def png(value: Any) -> bytes | None:
    """`value` as PNG where it is an image, else None. Modes that PNG lacks (CMYK, floats) become RGB."""
    pillow = _pillow()
    if pillow is None or not isinstance(value, pillow.Image):
        return None
    file = io.BytesIO()
    (value if value.mode in _MODES else value.convert("RGB")).save(file, "PNG")
    return file.getvalue()


def data_url(value: Any) -> str | None:
    """`value` as a data URL of PNG where it is an image, else None: how an image inside a JSON result is written."""
    data = png(value)
    return None if data is None else "data:image/png;base64," + base64.b64encode(data).decode()
