"""The workers of one model: how many there are, and that they are replaced. Each has a slot that outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from corten_serve.server import machine
from corten_serve.server.log import Log
from corten_serve.server.meter import ModelMeter
from corten_serve.server.process import Spawned, spawn
from corten_serve.server.workers import Owner, Worker
from corten_serve.settings import AUTO, Settings, SettingsError

_LONG = 10.0
"""Seconds after which a worker counts as having worked even if nobody asked it anything, so that the next is started at
once."""
_HEALTH_PATIENCE = 10.0
"""Seconds in which a predictor has to say that it is healthy."""
_FAR_ABOVE = 1.5
"""A worker this many times above its limit of memory gets no more requests, even if no other is there yet."""
_FAREWELL = 5.0


def restart_delay(attempt: int) -> float:
    """Seconds before the restart after `attempt` failures in a row (the first is 0): 0, 0.5, 1, 2, … 30."""
    return 0.0 if attempt == 0 else min(30.0, 0.5 * 2 ** min(attempt - 1, 10))


class Slot:
    """A place for a worker. `worker` is the one that is to serve; one that it replaces may still be there, leaving. `after`
    is one that has to end before the next is started. `failures` counts those in a row."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker: Worker | None = None
        self.after: Worker | None = None
        self.failures = 0
        self.restarts = 0


class Fleet:
    """Starts, replaces and ends workers. What they say goes to `owner`. `ready` is one list for good."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        environment: Mapping[str, str],
        owner: Owner,
        log: Log,
        meter: ModelMeter,
    ) -> None:
        self.name = name
        self.slots: list[Slot] = []
        self.leaving: list[Worker] = []
        self.ready: list[Worker] = []
        self.stopping = False
        self._settings = settings
        self._environment = environment
        self._owner = owner
        self._log = log
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self._empty: asyncio.Future[None] | None = None
        self.label = f"worker of '{name}'" if len(settings.models) > 1 else "worker"

    @property
    def all(self) -> list[Worker]:
        """Every worker that has not ended."""
        return [slot.worker for slot in self.slots if slot.worker is not None] + self.leaving

    def adopt(self, spawned: Spawned) -> None:
        """Take over a worker that has been started."""
        while len(self.slots) <= spawned.number:
            self.slots.append(Slot(len(self.slots)))
        self.slots[spawned.number].worker = Worker(self._owner, spawned, self._loop)

    def exited(self, pid: int, status: int) -> bool:
        """The process `pid` has been reaped. Whether it was one of these."""
        for worker in self.all:
            if worker.spawned.pid == pid:
                worker.exited(status)
                return True
        return False

    def owns(self, pid: int) -> Worker | None:
        """The worker that is this process."""
        return next((worker for worker in self.all if worker.spawned.pid == pid), None)

    def is_ready(self, worker: Worker) -> None:
        """It may be used from now on. What it replaces leaves."""
        if worker.state != "starting":
            return
        worker.state = "ready"
        worker.since = worker.looked_after = self._loop.time()
        worker.memory = machine.resident(worker.spawned.pid)
        self.ready.append(worker)
        for old in self.leaving:
            if old.spawned.number == worker.spawned.number:
                self._retire(old)
        if self._settings.workers == AUTO:
            self._grow(worker)

    def _grow(self, worker: Worker) -> None:
        """One more, while processors and memory allow: what the newest holds is what the next one will."""
        if machine.accelerators(self._environment) or any(
            s.worker and s.worker.state == "starting" for s in self.slots
        ):
            return
        fits = machine.memory_left() > worker.memory * 1.25
        if len(self.slots) < machine.cpus() and fits and not self.stopping:
            self.slots.append(Slot(len(self.slots)))
            self._start(self.slots[-1])

    def replace(self, worker: Worker, why: str, message: str, trusted: bool) -> None:
        """Start another in its place. One that is `trusted` serves until that is ready, unless there are others.
        Where two of them might not fit, the old one leaves first."""
        slot = self.slots[worker.spawned.number]
        if slot.worker is not worker or self.stopping:
            return
        beside = self._fits_twice(worker)
        when = "" if beside else " when it has ended"
        self._log.say(f"warning: {message}; another takes its place{when}", **self._about(slot))
        self._meter.restarted(why)
        slot.worker = None
        slot.restarts += 1
        worker.why = why
        self.leaving.append(worker)
        if not beside:
            slot.after = worker
            self._retire(worker)
            return
        if not trusted or len(self.ready) > 1:
            self._retire(worker)
        self._later(slot, worker)

    def _fits_twice(self, worker: Worker) -> bool:
        """Whether what this worker holds fits beside itself. Nobody knows that of a GPU's memory."""
        return not machine.accelerators(self._environment) and machine.memory_left() > worker.memory

    def _retire(self, worker: Worker) -> None:
        if worker in self.ready:
            self.ready.remove(worker)
        worker.leave()

    def lost(self, worker: Worker, message: str, hint: str | None) -> None:
        """It has ended; its slot gets another, unless it has one already."""
        if worker in self.ready:
            self.ready.remove(worker)
        if worker in self.leaving:
            self.leaving.remove(worker)
        worker.spawned.board.close()
        slot = self.slots[worker.spawned.number]
        mine = slot.worker is worker
        if mine:
            slot.worker = None
        if slot.after is worker:
            slot.after = None
            if not self.stopping:
                self._later(slot, worker)
        if mine and not self.stopping:
            slot.restarts += 1
            self._meter.restarted(worker.why or "died")
            delay = self._later(slot, worker)
            when = f"in {delay:g} s" if delay else "now"
            self._log.say(f"error: {message}; it is started again {when}", hint, **self._about(slot))
        if self._empty is not None and not self._empty.done() and not self.all:
            self._empty.set_result(None)

    def _later(self, slot: Slot, before: Worker) -> float:
        if before.proved or self._loop.time() - before.since > _LONG:
            slot.failures = 0
        delay = restart_delay(slot.failures)
        slot.failures += 1
        if delay:
            self._loop.call_later(delay, self._start, slot)
        else:
            self._start(slot)
        return delay

    def _start(self, slot: Slot) -> None:
        if self.stopping or slot.worker is not None or slot.after is not None:
            return
        try:
            self.adopt(spawn(self._settings, self._environment, self.name, slot.number))
        except SettingsError as error:
            self._log.say(f"error: {error.message}", error.hint, **self._about(slot))
            slot.failures += 1
            self._loop.call_later(restart_delay(slot.failures), self._start, slot)

    def _about(self, slot: Slot) -> dict[str, str]:
        return {"model": self.name, "worker": str(slot.number)}

    def look(self) -> None:
        """Measure memory and ask after health. To be called every second or so."""
        now, limit = self._loop.time(), self._settings.memory
        for worker in self.all:
            worker.memory = machine.resident(worker.spawned.pid)
            if limit and worker.memory > limit and worker.state == "ready":
                message = f"the {self.label} has {worker.memory >> 20} MiB of memory, more than {limit >> 20}"
                self.replace(worker, "memory", message, trusted=True)
                if worker.memory > limit * _FAR_ABOVE:
                    self._retire(worker)
            if worker.state == "ready":
                self._ask(worker, now)

    def _ask(self, worker: Worker, now: float) -> None:
        if worker.asked is not None:
            # What comes after the question waits for its answer, unless calls are worked on side by side.
            stuck = not worker.hand or not worker.concurrency
            if now - worker.asked > _HEALTH_PATIENCE and stuck:
                message = f"the {self.label} did not say whether it is healthy for {_HEALTH_PATIENCE:g} s"
                self.replace(worker, "health", message, trusted=False)
                worker.kill()
        elif not worker.hand and now - worker.looked_after >= self._settings.health > 0:
            worker.ask()

    def healthy(self, worker: Worker, status: int, reason: str) -> None:
        """Its answer."""
        worker.asked = None
        worker.looked_after = self._loop.time()
        if status != 200:
            message = f"the {self.label} is not healthy{': ' + reason[:300] if reason else ''}"
            self.replace(worker, "health", message, trusted=False)

    async def stop(self) -> None:
        """Let the workers end; after five seconds they are killed. One that is still starting has nothing to finish."""
        self.stopping = True
        for worker in self.all:
            if worker.state == "starting":
                worker.kill()
            worker.state = "leaving"
            worker.close()
        if not self.all:
            return
        self._empty = self._loop.create_future()
        await asyncio.wait({self._empty}, timeout=_FAREWELL)
        if not self._empty.done():
            self.kill()
            self._log.say("warning: a worker did not end by itself and was killed")

    def kill(self) -> None:
        """End all at once."""
        self.stopping = True
        for worker in self.all:
            worker.kill()
