"""How many files this process may have open: every connection is one, and whatever else the server does needs some, too."""

from __future__ import annotations

import resource
from contextlib import suppress

_ENOUGH = 1 << 20
_LEAST = 8
_before: tuple[int, int] | None = None


def raise_limit() -> int:
    """Raise the soft limit as far as it may be. Returns how many files may be open."""
    global _before
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _before = soft, hard
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def give_back(pid: int) -> None:
    """Let a worker have the limit that this process was started with: code that uses select(2) relies on a low one."""
    if _before is not None:
        with suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _before)


def connections(wanted: int, files: int) -> int:
    """How many connections there may be where `files` may be open: an eighth of them, at least 40, is for everything else."""
    return max(_LEAST, min(wanted, files - max(40, files // 8)))
