"""`python -m corten.store.sync ROOT`: flush a store's new layers to the disk and mark them as safe from power loss."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from corten.store.disk import sync_file_system
from corten.store.store import Store


def sync(store: Store) -> int:
    """Flush and mark. Returns the number of layers marked."""
    with store.lock("store", shared=True):
        pending = store.layers.unsynced()
        if pending:
            moment = time.time_ns()
            sync_file_system(store.layers.directory)
            store.layers.mark_synced(pending)
            store.files.mark_synced(moment)
    return len(pending)


def sync_later(store: Store) -> None:
    """Flush new layers to the disk in a process of its own, without letting anybody wait for it (DECISIONS 32)."""
    # Imported when there is something to flush: the verbs that may have to are asked for their help, too.
    import subprocess
    import threading

    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "corten.store.sync", str(store.root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    # 'up' lives long: it must not keep the flusher as a dead child.
    threading.Thread(target=process.wait, daemon=True).start()


if __name__ == "__main__":
    sync(Store.open(Path(sys.argv[1])))
