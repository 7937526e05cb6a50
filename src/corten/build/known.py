"""Which layers need not be made: those that the store has, and those that a registry offers for one build (DECISIONS 39).

What a registry says of a key is trusted as far as the reference is, for the build that named it: it is never noted in the
store's own keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from corten.errors import BuildError
from corten.oci.digest import Digest
from corten.store.store import Store
from corten.values import dataclass, field


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """A layer of a built image. `size` is that of its tar stream in bytes; `reused`: nobody had to make it; `absent`: it
    is not in this store, and a registry has it. `key` names what went into it."""

    digest: Digest
    title: str
    size: int
    reused: bool
    key: str
    absent: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)


class Offered(Protocol):
    """What a registry says of a layer."""

    @property
    def diff_id(self) -> Digest: ...
    @property
    def size(self) -> int: ...
    @property
    def annotations(self) -> Mapping[str, str]: ...


def key_name(key: str) -> str:
    """How a registry calls a key: half of the hex sha256 of its text, because a manifest has one for each layer. Whom one
    does not trust can lie about a whole one, too."""
    return Digest.of(key.encode()).hex[:32]


class Known:
    """Layers by key for one build. `ask` says what is offered, by `key_name` of the layers' keys; it is called when the
    store lacks something, once. `fetch` brings layers into the store."""

    def __init__(
        self,
        store: Store,
        ask: Callable[[], Mapping[str, Offered]] | None = None,
        fetch: Callable[[Iterable[Digest]], None] | None = None,
    ) -> None:
        self._store, self._ask, self._fetch = store, ask, fetch
        self._offers: Mapping[str, Offered] | None = None

    def find(self, key: str) -> Digest | None:
        """The layer that `key` gives, whether it is here or only offered. Raises RegistryError, FormatError."""
        found = self._store.layers.find(key)
        if found is None:
            offered = self.offered(key)
            found = offered.diff_id if offered else None
        return found

    def offered(self, key: str) -> Offered | None:
        """What a registry offers for `key`. Raises RegistryError, FormatError."""
        if self._ask is None:
            return None
        if self._offers is None:
            self._offers = self._ask()
        return self._offers.get(key_name(key))

    def built(self, key: str, title: str, reused: bool) -> BuiltLayer:
        """The layer of `key` as a part of the image. Raises BuildError when it is gone."""
        diff_id = self.find(key)
        if diff_id is None:
            raise BuildError(f"the layer '{title}' vanished while it was used", hint="build again")
        if self._store.layers.has(diff_id):
            return BuiltLayer(diff_id, title, self._store.layers.get(diff_id).size, reused, key)
        offered = self.offered(key)
        if offered is None:
            raise BuildError(f"the layer '{title}' vanished while it was used", hint="build again")
        return BuiltLayer(diff_id, title, offered.size, True, key, absent=True)

    def fetch(self, keys: Sequence[str]) -> None:
        """Bring the layers of these keys into the store where they are only offered. Raises RegistryError, FormatError,
        StoreError."""
        found = [diff_id for key in keys if (diff_id := self.find(key)) is not None]
        absent = [diff_id for diff_id in found if not self._store.layers.has(diff_id)]
        if absent and self._fetch is not None:
            self._fetch(absent)

    def tree(self, key: str, title: str) -> Path:
        """The unpacked tree of a layer that is known, fetched first where it is only offered. Raises BuildError when it
        is gone, RegistryError, FormatError, StoreError."""
        self.fetch([key])
        diff_id = self.find(key)
        if diff_id is None:
            raise BuildError(f"the layer '{title}' vanished while it was used", hint="build again")
        return self._store.layers.tree(diff_id)
