"""A container's root: the unpacked layers, read-only, under a directory of its own for what is written (DECISIONS 27).

Call these in a mount namespace of the container's own: when its last process is gone, so are the mounts, whatever was
killed and how.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from corten.errors import RuntimeFailure
from corten.sandbox import kernel

MOST_LAYERS = 500
"""The kernel's own limit (OVL_MAX_STACK)."""
_ONE_PAGE = 3900
"""Bytes of options that leave room for those which are added."""


def enter_mount_namespace(extra: int = 0) -> None:
    """Give this process mounts of its own (and the namespaces in `extra`). What the machine mounts later still
    arrives here; what is mounted here never reaches the machine."""
    kernel.unshare(kernel.CLONE_NEWNS | extra)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_SLAVE)


def mount_overlay(
    layers: Sequence[str], target: str, upper: str, work: str, names: str, *, userxattr: bool
) -> None:
    """Mount `layers` (absolute trees, bottom to top) at `target`. `upper` and `work` lie on one writable file system;
    `names` is an empty directory for short links. All paths are absolute and free of links. The working directory is
    `/` afterwards: the caller's may be one that this user cannot enter.

    mount(2) takes one page of options, which absolute paths fill after a few dozen layers, and the kernel resolves relative ones
    against the working directory: that is the one above the layers, or, where their names are still too long, `names`, where
    links call them 1, 2, 3 ….

    Raises RuntimeFailure with the reason."""
    if not layers:
        raise RuntimeFailure("the image has no layers", hint="build or pull it again")
    if len(layers) > MOST_LAYERS:
        raise RuntimeFailure(
            f"the image has {len(layers)} layers, and this kernel mounts {MOST_LAYERS} at most",
            hint="rebuild it with fewer",
        )
    # The kernel refuses a directory that is there twice (ELOOP), as an image built on another one of ours may have it. Its
    # upper occurrence hides the lower one entirely.
    trees = list(dict.fromkeys(reversed(layers)))
    place, options = _beside(trees, upper, work) or _linked(trees, upper, work, names)
    if userxattr:
        options += ",userxattr"
    flags = kernel.MS_NODEV
    os.chdir(place)
    try:
        # `volatile` (Linux 5.10): the upper directory lives as long as the container, so nothing is flushed at its end.
        try:
            kernel.mount("overlay", target, "overlay", flags, options + ",volatile")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            kernel.mount("overlay", target, "overlay", flags, options)
    except OSError as error:
        raise _explained(error, upper, userxattr) from error
    finally:
        os.chdir("/")


def _beside(trees: list[str], upper: str, work: str) -> tuple[str, str] | None:
    """The directory that all layers lie in, and the options relative to it; None where those would be too long, or hold what
    separates options. Links for thirty layers would take longer to make and to remove than the mount."""
    place = os.path.dirname(os.path.dirname(trees[0]))
    if any(os.path.dirname(os.path.dirname(tree)) != place for tree in trees):
        return None
    lower = [tree[len(place) + 1 :] for tree in trees]
    upper, work = os.path.relpath(upper, place), os.path.relpath(work, place)
    options = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work}"
    separated = any(mark in name for name in (*lower, upper, work) for mark in ":,\\")
    return None if separated or len(os.fsencode(options)) > _ONE_PAGE else (place, options)


def _linked(trees: list[str], upper: str, work: str, names: str) -> tuple[str, str]:
    for number, tree in enumerate(trees):
        os.symlink(tree, f"{names}/{number}")
    os.symlink(upper, f"{names}/u")
    os.symlink(work, f"{names}/w")
    return names, f"lowerdir={':'.join(map(str, range(len(trees))))},upperdir=u,workdir=w"


def mount_limited(place: str, size: int, *, in_user_namespace: bool) -> tuple[str, str]:
    """An upper and a work directory for `mount_overlay` that take `size` bytes together at most: a file system in memory,
    mounted at `place`. A container's memory limit counts it. Raises RuntimeFailure where its files could not have all
    that an overlay needs."""
    if in_user_namespace and kernel.version() < (6, 6):
        raise RuntimeFailure(
            "the size limit of what a container writes cannot be enforced for a plain user on this kernel",
            hint="it needs Linux 6.6 (attributes of users on tmpfs); leave --storage-size out, or run as root",
        )
    kernel.mount("tmpfs", place, "tmpfs", kernel.MS_NODEV, f"mode=755,size={size}")
    upper, work = f"{place}/upper", f"{place}/work"
    os.mkdir(upper, 0o755)
    os.mkdir(work, 0o755)
    return upper, work


def _explained(error: OSError, upper: str, in_user_namespace: bool) -> RuntimeFailure:
    message = f"the image's layers cannot be mounted ({error.strerror})"
    if error.errno == errno.ENODEV:
        return RuntimeFailure(
            message, hint="this kernel has no overlay file system; as root: modprobe overlay"
        )
    if error.errno == errno.EPERM and in_user_namespace and kernel.version() < (5, 11):
        return RuntimeFailure(
            message, hint="plain users mount overlays since Linux 5.11; run as root on this one"
        )
    if error.errno in (errno.EPERM, errno.EACCES) and in_user_namespace:
        from corten.runtime.identity import why_no_namespace

        return RuntimeFailure(message, hint=why_no_namespace())
    if error.errno == errno.EINVAL:
        return RuntimeFailure(
            message,
            hint=f"the file system of '{upper}' may not support it (NFS, or an overlay itself): set CORTEN_HOME to a "
            "directory on a local disk",
        )
    return RuntimeFailure(message, hint="run 'corten doctor' to see what this machine allows")
