"""The rows of moving images, and the figures to reach in them."""

from __future__ import annotations

from results import Results

TITLES = {
    "push-gzip": "first push, gzip, s",
    "push-zstd": "first push, zstd, s",
    "bytes-gzip": "bytes as pushed, gzip, MB",
    "bytes-zstd": "bytes as pushed, zstd, MB",
    "dependency": "push after one small dependency, s",
    "dependency-bytes": "the same, bytes stored anew, kB",
    "code-line": "push after one code line, s",
    "code-line-bytes": "the same, bytes stored anew, kB",
    "pull-gzip": "pull to runnable, gzip, s",
    "pull-zstd": "pull to runnable, zstd, s",
    "copy": "copy between two registries, s",
    "clean": "from a clean machine to pushed, nothing changed, s",
    "clean-bytes": "the same, bytes moved, kB",
    "memory-push": "peak memory of a push, MB",
    "memory-pull": "peak memory of a pull, MB",
    "large-push": "push of the large file, s",
    "large-pull": "pull of the large file, s",
    "large-memory-push": "peak memory of its push, MB",
    "large-memory-pull": "peak memory of its pull, MB",
}
"""Every row of the table, in its order."""

ROWS = (
    *(
        "push-gzip",
        "push-zstd",
        "dependency",
        "code-line",
        "pull-gzip",
        "pull-zstd",
        "copy",
        "clean",
        "memory",
    ),
)
"""What can be asked for; each gives the rows whose names begin like it, `push-…` those of `bytes-…` too."""

HEAVY = frozenset({"push-gzip", "push-zstd", "pull-gzip"})

_WHEEL = 35_252
"""Bytes of the small dependency's file (`projects.DEPENDENCY`)."""
_LIMITS = {
    ("push-gzip", "S"): 4,
    ("push-gzip", "L"): 12,
    ("push-zstd", "S"): 4,
    ("push-zstd", "L"): 10,
    ("bytes-gzip", "S"): 175,
    ("bytes-gzip", "L"): 520,
    ("bytes-zstd", "S"): 145,
    ("bytes-zstd", "L"): 410,
    ("dependency", "S"): 1,
    ("dependency", "L"): 1,
    ("dependency-bytes", "S"): (_WHEEL + 65_536) / 1000,
    ("dependency-bytes", "L"): (_WHEEL + 65_536) / 1000,
    ("code-line", "S"): 0.4,
    ("code-line", "L"): 0.4,
    ("code-line-bytes", "S"): 65.536,
    ("code-line-bytes", "L"): 65.536,
    ("clean", "S"): 5,
    ("clean", "L"): 5,
    ("clean-bytes", "S"): 1000,
    ("clean-bytes", "L"): 1000,
    ("memory-push", "L"): 300,
    ("memory-pull", "L"): 300,
    ("large-memory-push", "large"): 300,
    ("large-memory-pull", "large"): 300,
}
_RATIOS = {
    ("pull-gzip", "L", "docker"): 0.6,
    ("pull-gzip", "L", "podman"): 0.8,
    ("copy", "L", "skopeo"): 1.3,
}


def targets(results: Results) -> list[tuple[str, str, str, bool]]:
    """The figures that Corten has to reach and that were measured: row, set, target, whether it was reached."""
    found = []
    for (row, size), limit in _LIMITS.items():
        median = results.median(row, size, "corten")
        if median is not None:
            unit = TITLES[row].rpartition(", ")[2]
            found.append((row, size, f"≤ {limit:.3g} {unit}", median <= limit))
    for (row, size, peer), ratio in _RATIOS.items():
        own, other = results.median(row, size, "corten"), results.median(row, size, peer)
        if own is not None and other is not None:
            found.append((row, size, f"≤ {ratio} × {peer} (is {own / other:.2f})", own <= ratio * other))
    return found
