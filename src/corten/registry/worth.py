"""Whether a layer is worth compressing: random weights are not, and are sent as they are."""

from __future__ import annotations

import os

from corten.oci.compression import compressible, ratio
from corten.oci.digest import Digest
from corten.store.store import Store

_SMALL = 16 << 20
_SAMPLE = 1 << 20
_HUGE = 1 << 30
_HOLLOW = 1 / 150


def worth_compressing(store: Store, diff_id: Digest) -> bool:
    """Whether the layer becomes smaller by compression, judged by samples of its largest file where that makes up most of
    it; a pure function of the layer's bytes. Small layers are always worth it. The layer is in the store."""
    layer = store.layers.get(diff_id)
    if layer.size < _SMALL:
        return True
    path, size = _largest_file(os.fspath(store.layers.tree(diff_id)))
    if size * 2 < layer.size:
        return True
    with open(path, "rb", buffering=0) as file:
        samples = []
        for start in (0, (size - _SAMPLE) // 2, size - _SAMPLE):
            file.seek(max(start, 0))
            samples.append(file.read(_SAMPLE))
    sample = b"".join(samples)
    # Those who pull refuse what unpacks to hundreds of times its size, as a bomb would.
    return compressible(sample) and (layer.size < _HUGE or ratio(sample) > _HOLLOW)


def _largest_file(directory: str) -> tuple[str, int]:
    best = ("", 0)
    for parent, _, names in os.walk(directory):
        for name in names:
            path = f"{parent}/{name}"
            size = os.lstat(path).st_size if not os.path.islink(path) else 0
            best = max(best, (path, size), key=lambda item: (item[1], item[0]))
    return best
