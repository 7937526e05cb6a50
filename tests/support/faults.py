"""A proxy that misbehaves on order, between a client and a real registry.

with FaultProxy(registry) as proxy:
    proxy.on("GET", "/blobs/", CutResponse(after=1000))       # the first such request; later ones pass
    proxy.on("PATCH", "", Answer(503), nth=2, times=3)        # the second, third and fourth
    proxy.on("*", "/manifests/", Delay(0.2), times=None)      # every one
    ... a client talks to proxy.address ...
    assert not proxy.asked("PUT|PATCH", "/uploads/")
"""

from __future__ import annotations

import threading

from support.fault_actions import (
    Action,
    Answer,
    Corrupt,
    Cut,
    CutRequest,
    CutResponse,
    Delay,
    Drop,
    Exchange,
    Garbage,
    Lose,
    Redirect,
    Rule,
    Stall,
    Throttle,
    matches,
)
from support.fault_wire import listen

__all__ = [
    "Action",
    "Answer",
    "Corrupt",
    "Cut",
    "CutRequest",
    "CutResponse",
    "Delay",
    "Drop",
    "Exchange",
    "FaultProxy",
    "Garbage",
    "Lose",
    "Redirect",
    "Rule",
    "Stall",
    "Throttle",
]


class FaultProxy:
    """A proxy before `target` (`HOST:PORT`, plain http), from `with` to its end. Usable by many clients at once.

    `log` has every request in the order of their arrival. Redirects and upload locations that name the target name the
    proxy instead, so clients stay here.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.address = ""
        self.log: list[Exchange] = []
        self.rules: list[Rule] = []
        self.most_at_once = 0
        """The most requests that were under way at one moment."""
        self.at_once = 0
        self.lock = threading.Lock()

    def __enter__(self) -> FaultProxy:
        self._server = listen(self)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def on(self, method: str, path: str, action: Action, *, nth: int = 1, times: int | None = 1) -> Rule:
        """Add a rule. Of several that match, the first added that applies acts alone; all of them count."""
        rule = Rule(method, path, action, nth, times)
        with self.lock:
            self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget rules and log."""
        with self.lock:
            self.rules.clear()
            self.log.clear()

    def asked(self, method: str = "*", path: str = "") -> list[Exchange]:
        """The requests so far that match, as a rule's `method` and `path` do."""
        with self.lock:
            return [item for item in self.log if matches(method, path, item.method, item.path)]

    def sent(self, method: str = "*", path: str = "") -> int:
        """Bytes of their bodies."""
        return sum(item.sent for item in self.asked(method, path))

    def received(self, method: str = "*", path: str = "") -> int:
        """Bytes of their answers' bodies."""
        return sum(item.received for item in self.asked(method, path))

    def arrived(self, exchange: Exchange) -> None:
        """Note a request and decide what becomes of it."""
        with self.lock:
            self.log.append(exchange)
            applying = [rule for rule in self.rules if rule.applies(exchange.method, exchange.path)]
            exchange.action = applying[0].action if applying else None
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)

    def gone(self) -> None:
        """Note that a request is over."""
        with self.lock:
            self.at_once -= 1
