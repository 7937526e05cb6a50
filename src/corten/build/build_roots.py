"""The root in which native code is compiled: a Debian base with a compiler and headers, in one tree that no image has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corten.build import make
from corten.build.plan import BaseLayer
from corten.events import Observer, TaskFinished, TaskStarted
from corten.lock.model import LAYER_FORMAT
from corten.oci.config import canonical_json
from corten.packages.files import Deb
from corten.store.store import Store


def build_root(
    store: Store, base: BaseLayer, compilers: Sequence[Deb], supply: make.Supply, observe: Observer
) -> Path:
    """The tree of `base` with `compilers`, made where the store lacks it. Raises FetchError, FormatError, StoreError."""
    debs = (*base.base.debs, *compilers)
    inputs = {
        "layer-format": LAYER_FORMAT,
        "kind": "build-root",
        "debs": [deb.sha256 for deb in debs],
        "compiler": base.compiler,
    }
    key = canonical_json(inputs).decode()
    found = store.layers.find(key)
    if found is None:
        title = f"compilers from Debian ({len(compilers)} packages)"
        observe(TaskStarted("install", title, None))
        store.headroom.need()
        with store.temporary_directory("layer") as directory:
            tree = directory / "fs"
            tree.mkdir()
            # Another user has it for its root.
            tree.chmod(0o755)
            files = supply.debs(debs)
            chosen = [(deb, files[deb.sha256]) for deb in debs]
            make.make_compiler(chosen, tree, base.base.python, store.headroom.spend)
            found = store.layers.commit(directory, key).diff_id
        observe(TaskFinished("install", title))
    return store.layers.tree(found)
