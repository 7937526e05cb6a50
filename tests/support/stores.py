"""Stores made from another one's content: what takes long is built once, then linked or copied."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from pwd import struct_passwd

from corten.oci.platform import Platform
from corten.store.store import Store
from support.command import link_files


def link_image(source: Path, name: str, home: Path) -> None:
    """Make `home` a store that has one image of another, with its layers' keys, and every fetched file; all by hard
    links, so both belong to one user."""
    ours, theirs = Store(source), Store(home)
    home.mkdir(parents=True, exist_ok=True)
    link_files(source, home)
    image = ours.images.get(name, Platform.host())
    kept = {str(digest) for digest in image.config.diff_ids}
    (home / "layers").mkdir()
    layers = [ours.layers.tree(digest).parent for digest in image.config.diff_ids]
    subprocess.run(["cp", "-al", *layers, home / "layers"], check=True)
    for path in (source / "keys").glob("*/*"):
        if path.read_text().strip() in kept:
            link = home / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, link)
    for digest in (image.id, image.digest):
        theirs.blobs.put(ours.blobs.read(digest))
    theirs.images.set(name, Platform.host(), image.digest)


def copy_for(user: struct_passwd, source: Path, home: Path) -> None:
    """Make `home` a copy of a store that belongs to `user`: what a build of this user's own would have made."""
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", source, home], check=True)
    for state in ("caches", "containers", "locks", "tmp"):
        shutil.rmtree(home / state, ignore_errors=True)
    subprocess.run(["chown", "-hR", f"{user.pw_uid}:{user.pw_gid}", home], check=True)
