"""What a worker has been given and not begun."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Union

from corten_serve.frames import BATCH, CALL, Item

Job = Union[Item, "list[Item]"]
"""One call, or those of a batch."""


class Inbox:
    """`jobs` in the order in which they came."""

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()

    def sort(self, items: list[Item]) -> Sequence[Item]:
        """Queue the calls and batches among `items`, which are of whole frames, and return the rest."""
        jobs = self.jobs
        rest: list[Item] = []
        together: list[Item] = []
        left = 0
        for item in items:
            if item.kind == CALL:
                if not left:
                    jobs.append(item)
                    continue
                together.append(item)
                left -= 1
                if not left:
                    jobs.append(together)
                    together = []
            elif item.kind == BATCH:
                left = item.status
            else:
                rest.append(item)
        if together:
            jobs.append(together)
        return rest

    def drop(self, identity: int) -> bool:
        """Take the call `identity` out, if it is here."""
        for job in self.jobs:
            if isinstance(job, list):
                for item in job:
                    if item.id == identity:
                        job.remove(item)
                        return True
            elif job.id == identity:
                self.jobs.remove(job)
                return True
        return False
