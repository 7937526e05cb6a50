"""A container's network before it starts: what is asked for and what this machine has become what the shim needs."""

from __future__ import annotations

import os

from corten.errors import RuntimeFailure
from corten.events import Note, Observer
from corten.runtime import inventory, records
from corten.runtime.descriptors import NOTHING_PASSED, Passed
from corten.runtime.identity import Identity
from corten.runtime.network.plan import plan_private, survey
from corten.runtime.network.ports import Port, Taken, check_distinct, take
from corten.runtime.network.resolvers import read_file, resolvers
from corten.runtime.network.wire import Wiring
from corten.store.store import Store
from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Prepared:
    """A network that can be made: `wiring` for the shim, `ports` as they are published, `resolvers` the text of its
    resolv.conf. The sockets in `wiring` are the caller's to close."""

    wiring: Wiring
    ports: tuple[Port, ...]
    resolvers: str


def prepare(
    network: str,
    ports: tuple[Port, ...],
    store: Store,
    identity: Identity,
    observe: Observer,
    serving: Passed = NOTHING_PASSED,
) -> Prepared:
    """Prepare the `network` `private` with `ports`, or `container:NAME`. `serving`: a listening socket that leads to
    a port inside. Raises RuntimeFailure for what this machine cannot do and for ports in use, UsageError."""
    if network.startswith("container:"):
        return _shared(store, network.removeprefix("container:"))
    check_distinct(ports)
    way = plan_private(identity, ports, survey())
    taken = take(ports, way.by_forwarder)
    found = tuple(item.port for item in taken)
    for port, wanted in zip(found, ports, strict=True):
        if wanted.outside == 0:
            observe(Note(f"published {port}"))
    forwards = tuple(item for item in taken if item.listener is not None)
    by_pasta = tuple(item.port for item in taken if item.listener is None)
    text, forwards_names = resolvers()
    if way.pasta is None:
        _say_once(store, observe)
        text = ""
    notify = None
    served = serving.listener is not None and serving.forward is not None
    if serving.listener is not None and serving.forward is not None:
        forwards = (*forwards, Taken(Port(0, serving.forward), os.dup(serving.listener)))
        notify = serving.notify
    wiring = Wiring(
        way.pasta,
        by_pasta,
        forwards_names,
        forwards,
        patient=served,
        notify=notify,
        ready=serving.ready,
        drains=serving.drains,
    )
    return Prepared(wiring, found, text)


def _shared(store: Store, name: str) -> Prepared:
    directory = inventory.find(store, name)
    record = records.read(directory)
    if record is None or not inventory.is_alive(directory):
        raise RuntimeFailure(
            f"'{name}' is not running, so its network cannot be shared",
            hint=f"start it first ('corten restart {name}'); 'corten ps' lists those that run",
        )
    if record.uid != os.geteuid():
        raise RuntimeFailure(
            f"'{name}' belongs to another user of this machine, so its network cannot be shared",
            hint="only containers of the same user share a network",
        )
    text = read_file(f"{directory}/etc/resolv.conf")
    return Prepared(Wiring(shared=str(directory)), (), text)


def check_free(ports: tuple[Port, ...]) -> None:
    """Raise RuntimeFailure where somebody has one of `ports`, UsageError where they cannot be published: before minutes go
    into building."""
    check_distinct(ports)
    take(ports)


def _say_once(store: Store, observe: Observer) -> None:
    said = store.cache_directory("engine") / "said-no-way-out"
    if not said.exists():
        observe(
            Note(
                "without pasta and /dev/net/tun a private network has its published ports, but no way out "
                "(apt install passt; modprobe tun)"
            )
        )
        said.touch(0o600)
