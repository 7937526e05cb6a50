"""Which packed form of a layer may stand for it in a push: pure."""

from __future__ import annotations

from corten.errors import UsageError
from corten.oci import media
from corten.oci.compression import Compression, maker
from corten.oci.digest import Digest
from corten.store.encodings import Encoding
from corten.values import dataclass

NOT_WORTH_IT = "plain, because compression gains nothing"
"""The maker of a plain form that was chosen although another was asked for."""


@dataclass(frozen=True, slots=True)
class PushOptions:
    """`compression` of the layers (`gzip`, `zstd`, `raw`); `format` of manifests and media types (`oci`, `docker`)."""

    compression: Compression = "gzip"
    format: str = "oci"

    def __post_init__(self) -> None:
        if ("oci" if self.format == "oci" else "docker", self.compression) not in media.LAYERS:
            raise UsageError(
                f"Docker's format has no layers in {self.compression}", hint="use --compression gzip"
            )


def maker_of(compression: Compression) -> str:
    """What makes this form here: never empty, which is for forms from elsewhere."""
    return maker(compression) or "plain"


def fits(form: Encoding, diff_id: Digest, options: PushOptions, *, here: bool) -> bool:
    """Whether a form that is known may stand for the layer `diff_id`. For a layer that is here, only what was made or
    checked here counts, and of what was made here only what would be made again. For one that is not, what everything reads
    does that reads the form asked for."""
    asked = options.compression
    if (options.format, form.compression) not in media.LAYERS:
        return False
    if form.compression == "raw" and form.digest != diff_id:
        return False
    if form.compression == asked == "raw":
        return True
    if not here:
        return form.compression in (asked, "gzip", "raw" if options.format == "oci" else asked)
    if form.maker == NOT_WORTH_IT:
        return options.format == "oci"
    if form.maker:
        return form.compression == asked and form.maker == maker_of(asked)
    return form.verified and form.compression == asked
