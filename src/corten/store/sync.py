"""`python -m corten.store.sync ROOT`: flush a store's new layers to the disk and mark them as safe from power loss."""

from __future__ import annotations

import sys
from pathlib import Path

from corten.store.disk import sync_file_system
from corten.store.store import Store


def sync(store: Store) -> int:
    """Flush and mark. Returns the number of layers marked."""
    with store.lock("store", shared=True):
        pending = store.layers.unsynced()
        if pending:
            sync_file_system(store.layers.directory)
            store.layers.mark_synced(pending)
    return len(pending)


if __name__ == "__main__":
    sync(Store.open(Path(sys.argv[1])))
