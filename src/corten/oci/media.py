"""Media types of image-spec 1.1 (media-types.md) and the annotation keys that Corten writes."""

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = LAYER + "+gzip"
LAYER_ZSTD = LAYER + "+zstd"

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

MANIFESTS = frozenset({MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({INDEX, DOCKER_INDEX})

REF_NAME = "org.opencontainers.image.ref.name"

CONTAINERD_NAME = "io.containerd.image.name"
"""On an entry of a layout's index: the full reference, by which docker from version 25 on and containerd name an image."""
IMAGE_NAME = "dev.corten.image.name"
"""The same, exactly as the image is called here."""

OURS = "dev.corten."
"""How the names of Corten's own annotations begin."""
LAYER_KEY = "dev.corten.layer.key"
"""On a layer: the name of the key that stands for all that went into it, so that a registry can serve as a cache."""
COMPRESSION = "dev.corten.compression"
"""On a manifest: how the project wants its layers compressed, where it says so."""
LAYER_SIZE = "dev.corten.layer.size"
"""On a packed layer: the bytes of its plain tar stream."""

LAYERS = {
    ("oci", "gzip"): LAYER_GZIP,
    ("oci", "zstd"): LAYER_ZSTD,
    ("oci", "raw"): LAYER,
    ("docker", "gzip"): DOCKER_LAYER_GZIP,
    ("docker", "raw"): DOCKER_LAYER,
}
"""The media type of a layer by format and compression. Docker's manifests know no zstd."""

COMPRESSIONS = {media_type: compression for (_, compression), media_type in LAYERS.items()} | {
    DOCKER_LAYER_ZSTD: "zstd"
}
"""The compression of a layer by its media type, also by one that BuildKit makes and nobody has specified."""


def is_elsewhere(media_type: str) -> bool:
    """Whether blobs of this type need not be in the registry (image-spec, layer.md, "Non-Distributable Layers")."""
    return ".nondistributable." in media_type or ".foreign." in media_type


WHEELS = "dev.corten.wheels"
"""On the layer of an environment: what is known of the wheels above it (`corten.build.conflicts.Verdict`)."""
