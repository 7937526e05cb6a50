"""The process that keeps a service running: it looks, decides (`decide.py`), and acts.

It holds the listening socket as long as it lives, so connections wait in the socket's queue while a container starts, is
restarted or replaced, or sleeps. It is one thread: containers die with the thread that made them where they are to die
with this process.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from corten.errors import CortenError, RuntimeFailure
from corten.runtime.forwarder import RAISES, RUNNING
from corten.runtime.records import decode
from corten.store.disk import boot_identity
from corten.store.images import Image
from corten.store.store import Store
from corten.supervise.control import Control, Conversation
from corten.supervise.decide import Seen, Step, delay, next_step, row_after
from corten.supervise.instance import Instance
from corten.supervise.log import Log
from corten.supervise.services import House, Phase, Plan, State
from corten.supervise.sockets import url_of
from corten.supervise.starting import Start, Starter, bury, ready_of
from corten.values import dataclass, replace

GRACE, DRAIN = 10.0, 120.0
"""Seconds that a container has to finish what is in flight before it is killed: when the service ends, and where another
one serves already and nobody waits for this one."""
_TICK, _BRIEF = 5.0, 0.25
_QUIET = 10.0
"""Seconds after which it is said what a container that is not ready is waited for."""
_TO_LISTEN = (
    "its own output is above; let it listen on $PORT, set `ready` in [tool.corten] to a path that answers (or to 'tcp'), or "
    "raise --start-timeout"
)
_TO_SHOW = "its own output above has the traceback; --ready tcp starts it all the same"
_TO_LOAD = (
    "importing it and its 'setup' took longer; its own output is above, and --start-timeout can be raised"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a supervisor is given. `output` is where its containers print; `detached`: it goes to the service's log, and they live
    on when this process is killed. `say` is told what happens, `ready` once when the service is ready for the first time."""

    store: Store
    house: House
    listener: socket.socket
    starter: Starter
    output: int
    detached: bool
    say: Callable[[str], None]
    ready: Callable[[str], None]


class Supervisor:
    """Keeps `plan` running with `image`."""

    def __init__(self, plan: Plan, image: Image, around: Surroundings) -> None:
        self._around = around
        self._log = Log(around.output, around.house.log if around.detached else None)
        self._plan, self._image = plan, image
        self._now: Instance | None = None
        self._next: Instance | None = None
        self._asker: Conversation | None = None
        self._leaving: list[Instance] = []
        self._heard: list[Conversation] = []
        self._row, self._due = 0, 0.0
        self._asleep = self._knocked = self._was_ready = False
        self._asked, self._grace = 0, GRACE
        self._state = State(
            plan,
            os.getpid(),
            boot_identity(),
            around.detached,
            _url(plan, image, around.listener),
            "starting",
            time.time(),
            time.time(),
            tuple(map(str, image.config.diff_ids)),
        )
        self._control = Control(around.house.directory)
        self._waker, self._wakened = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """Serve until it is asked to end, and then end. Raises RuntimeFailure when it never gets ready."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._interrupted) for number in signals}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        waker = signal.set_wakeup_fd(self._wakened, warn_on_full_buffer=False)
        try:
            self._keep("starting")
            self._serve()
        except BaseException:
            self._grace = 0
            raise
        finally:
            try:
                self._end()
            finally:
                signal.set_wakeup_fd(waker)
                for number, handler in before.items():
                    signal.signal(number, handler)
                self._control.close()
                os.close(self._waker)
                os.close(self._wakened)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1

    def _serve(self) -> None:
        while True:
            self._look()
            step = next_step(self._seen())
            if step.action == "end":
                return
            if step.action == "start":
                self._start()
            elif step.action == "sleep":
                self._sleep()
            elif step.action == "give up" and self._now is not None:
                self._ended(self._now, self._now.words.too_late(self._plan.patience or 0.0))
            else:
                self._wait(step)

    def _seen(self) -> Seen:
        now = self._now
        return Seen(
            now=time.monotonic(),
            serving="none" if now is None else "ready" if now.ready else "starting",
            begun=now.begun if now else 0.0,
            busy=now.busy if now else 0.0,
            due=self._due,
            asleep=self._asleep,
            knocked=self._knocked,
            updating=self._next is not None,
            ending=self._asked > 0,
            idle=self._plan.idle,
            patience=self._plan.patience,
        )

    # What is there

    def _look(self) -> None:
        for instance in self._instances():
            if instance.speaks:
                instance.listen()
            while instance.words.notes:
                self._around.say(f"'{instance.name}' {instance.words.notes.pop(0)}")
            if instance.is_late(_QUIET):
                self._around.say(instance.words.late(instance.name, instance.plan.patience))
        self._look_at_serving()
        self._look_at_next()
        for instance in list(self._leaving):
            if (code := instance.poll()) is not None:
                self._leaving.remove(instance)
                self._bury(instance)
                if code:
                    self._around.say(f"'{instance.name}', which was replaced, ended with exit code {code}")
        self._hear()
        self._log.bound()

    def _look_at_serving(self) -> None:
        now = self._now
        if now is None:
            return
        code = now.poll()
        if code is not None:
            self._ended(
                now, f"ended{'' if self._was_ready else ' before it was ready,'} with exit code {code}"
            )
        elif now.words.failed:
            self._ended(now, now.words.failed)
        elif now.ready and (self._state.phase != "ready" or self._state.container != now.name):
            self._asleep = self._knocked = False
            self._keep("ready", container=now.name, due=None)
            if not self._was_ready:
                self._was_ready = True
                self._around.ready(now.name)
            elif self._state.restarts or self._plan.idle is not None:
                self._around.say(f"'{now.name}' is ready after {time.monotonic() - now.begun:.1f} s")

    def _look_at_next(self) -> None:
        following = self._next
        if following is None:
            return
        patience = following.plan.patience
        code = following.poll()
        if code is not None:
            self._drop(f"the new container ended before it was ready, with exit code {code}")
        elif following.words.failed:
            self._drop(f"the new container {following.words.failed}")
        elif following.ready:
            self._hand_over(following)
        elif patience is not None and time.monotonic() - following.begun > patience:
            self._drop(f"the new container {following.words.too_late(patience)}")

    def _ended(self, instance: Instance, how: str) -> None:
        """What serves has ended, or is given up."""
        self._now = None
        asked, reason = self._bury(instance, killed=_kill(instance))
        text = f"'{instance.name}' {how}" + (f": {reason}" if reason else "")
        if asked:
            self._asked += 1
            return
        if not self._was_ready:
            raise RuntimeFailure(text, hint=_hint(instance, how))
        row = row_after(self._row, time.monotonic() - instance.begun)
        self._fall(row, text)

    def _fall(self, row: int, text: str) -> None:
        """Start again, later where that has not helped before."""
        seconds = delay(row)
        self._row, self._due = row + 1, time.monotonic() + seconds
        self._around.say(f"{text}; starting again{f' in {seconds:g} s' if seconds else ''}")
        restarts = self._state.restarts + 1
        self._keep("restarting", container=None, restarts=restarts, reason=text, due=time.time() + seconds)

    # What is done

    def _make(self, plan: Plan, image: Image, output: int) -> Instance:
        around = self._around
        how = Start(
            listener=around.listener,
            forward=plan.forward,
            ready=plan.ready,
            options=plan.options,
            output=output,
            log=self._log.path,
            service=plan.name,
        )
        return Instance(plan, image, around.starter, how)

    def _start(self) -> None:
        try:
            self._now = self._make(self._plan, self._image, self._log.output)
        except (CortenError, OSError) as error:
            if not self._was_ready:
                raise
            self._fall(self._row, f"'{self._plan.name}' could not be started: {error}")
            return
        self._keep("restarting" if self._state.restarts else "starting", container=self._now.name)

    def _sleep(self) -> None:
        assert self._now is not None
        self._around.say(f"idle: '{self._now.name}' ends, and the next connection starts it")
        self._leave(self._now, GRACE)
        self._now = None
        self._asleep, self._knocked = True, False
        self._row, self._due = 0, 0.0
        self._keep("idle", container=None)

    def _leave(self, instance: Instance, grace: float) -> None:
        instance.retire(grace)
        self._leaving.append(instance)

    def _bury(self, instance: Instance, *, killed: bool = False) -> tuple[bool, str | None]:
        while instance.poll() is None:
            time.sleep(0.005)
        instance.close()
        return bury(self._around.store, instance.name, kept=self._around.detached, killed=killed)

    def _wait(self, step: Step) -> None:
        reading: list[Any] = [self._waker, self._control, *self._heard, *filter(None, [self._asker])]
        reading += [item for item in self._instances() if item.speaks]
        if step.action == "listen":
            reading.append(self._around.listener)
        seconds = _BRIEF if self._leaving or self._next is not None else _TICK
        if step.until is not None:
            seconds = min(seconds, max(0.0, step.until - time.monotonic()))
        # That it is ready may be said in the pause after another word, when its pipe is not waited for.
        pauses = [item.pause for item in self._instances() if not item.ready]
        seconds = min([seconds, *filter(None, pauses)])
        ready, _, _ = select.select(reading, [], [], seconds)
        if self._waker in ready:
            with suppress(BlockingIOError):
                os.read(self._waker, 4096)
        if self._around.listener in ready:
            self._knocked = True
        if self._control in ready and (conversation := self._control.accept()) is not None:
            self._heard.append(conversation)

    def _instances(self) -> list[Instance]:
        return [item for item in (self._now, self._next, *self._leaving) if item is not None]

    def _keep(self, phase: Phase, **changes: Any) -> None:
        """Write down what is so now."""
        since = self._state.since if phase == self._state.phase else time.time()
        state = replace(
            self._state,
            phase=phase,
            since=since,
            plan=self._plan,
            layers=tuple(map(str, self._image.config.diff_ids)),
            updating=self._next is not None,
            **changes,
        )
        if state != self._state or phase == "starting":
            self._state = state
            with suppress(OSError):  # a full disk is no reason to end what serves
                self._around.house.write(state)

    # What it is told

    def _hear(self) -> None:
        for conversation in list(self._heard):
            try:
                document = conversation.hear()
            except EOFError:
                self._heard.remove(conversation)
                conversation.close()
                continue
            if document is not None:
                self._heard.remove(conversation)
                self._obey(conversation, document)
        if self._asker is not None and self._next is not None:
            try:
                self._asker.hear()
            except EOFError:
                self._drop("whoever asked for the update has left")

    def _obey(self, conversation: Conversation, document: dict[str, Any]) -> None:
        if document.get("do") == "end":
            grace = document.get("grace")
            self._grace = float(grace) if isinstance(grace, (int, float)) else GRACE
            self._asked += 1
            conversation.answer(ending=True)
        elif document.get("do") == "update":
            self._update(conversation, document.get("plan"))
        else:
            conversation.refuse(RuntimeFailure("another version of Corten serves here"))

    def _update(self, conversation: Conversation, document: Any) -> None:
        try:
            if self._next is not None:
                raise RuntimeFailure(f"'{self._plan.name}' is being updated", hint="wait until that is done")
            plan = decode(Plan, document)
            image = self._around.store.images.get(plan.image_id)
            self._next = self._make(plan, replace(image, name=plan.image), self._log.begin_next())
        except CortenError as error:
            conversation.refuse(error, self._log.drop_next() if self._next is None else None)
            return
        except OSError as error:
            conversation.refuse(RuntimeFailure(f"the new container could not be started: {error}"))
            return
        except (ValueError, TypeError, KeyError):
            conversation.refuse(RuntimeFailure("another version of Corten serves here"))
            return
        self._asker = conversation
        self._keep(self._state.phase)

    def _hand_over(self, following: Instance) -> None:
        before, self._now, self._next = self._now, following, None
        self._log.take_over()
        self._plan, self._image = following.plan, following.image
        self._asleep = self._knocked = False
        self._row, self._due = 0, 0.0
        if before is not None:
            self._leave(before, DRAIN)
        self._keep("ready", container=following.name, updates=self._state.updates + 1, reason=None, due=None)
        if not self._was_ready:
            # The update has overtaken the first start, for which somebody may wait.
            self._was_ready = True
            self._around.ready(following.name)
        self._around.say(f"updated: '{following.name}' serves")
        if self._asker is not None:
            self._asker.answer(updated=True, container=following.name)
            self._asker = None

    def _drop(self, why: str) -> None:
        assert self._next is not None
        dropped, self._next = self._next, None
        _, reason = self._bury(dropped, killed=_kill(dropped))
        lines = self._log.drop_next()
        why = f"{why}: {reason}" if reason else why
        self._keep(self._state.phase)
        self._around.say(f"not updated: {why}")
        if self._asker is not None:
            error = RuntimeFailure(
                f"'{self._plan.name}' was not updated: {why}", hint="the old one serves on"
            )
            self._asker.refuse(error, lines)
            self._asker = None

    def _end(self) -> None:
        """End all containers: politely, unless they are to end at once or are asked a second time."""
        if self._next is not None:
            self._drop("the service ends")
        self._keep("stopping", due=None)
        if self._asked and self._grace:
            again = "" if self._around.detached else " (Ctrl-C again: at once)"
            self._around.say(f"stopping; what is in flight is finished first{again}")
        left = self._instances()
        for instance in left:
            if instance.deadline is None:
                instance.retire(self._grace)
            else:
                instance.deadline = min(instance.deadline, time.monotonic() + self._grace)
        asked = self._asked
        while left:
            for instance in list(left):
                if instance.poll() is not None:
                    left.remove(instance)
                    self._bury(instance)
            if self._asked > asked:
                asked = self._asked
                for instance in left:
                    instance.kill()
            if left:
                select.select([self._waker], [], [], 0.02)
                with suppress(BlockingIOError):
                    os.read(self._waker, 4096)
        for conversation in self._heard:
            conversation.close()


def _url(plan: Plan, image: Image, listener: socket.socket) -> str:
    """Where it is reached; empty for what listens on no port."""
    portless = plan.forward is not None and ready_of(plan.ready, image) == RUNNING
    return "" if portless else url_of(listener)


def _kill(instance: Instance) -> bool:
    """Kill a container, and tell whether it was still running."""
    running = instance.poll() is None
    instance.kill()
    return running


def _hint(instance: Instance, how: str) -> str:
    if how.startswith(RAISES):
        return _TO_SHOW
    if how.startswith("ended"):
        return "its own output above says why"
    if instance.words.status:
        return _TO_LISTEN
    return _TO_LOAD if how.startswith("was not ready") else "its own output above says why"
