"""`GET /status`: what the server is doing, as JSON for the page and for `corten status`."""

from __future__ import annotations

import time
from typing import Any

from corten_serve.server.fleet import Slot
from corten_serve.server.models import Models
from corten_serve.server.pool import Pool
from corten_serve.settings import Settings


def status(settings: Settings, models: Models, draining: bool) -> dict[str, Any]:
    """Times are seconds, those of latencies milliseconds, sizes bytes; `at` is the time of day since the epoch."""
    return {
        "name": settings.name,
        "version": settings.version,
        "state": "stopping" if draining else models.state,
        "uptime": round(time.time() - models.meter.begun, 1),
        "draining": draining,
        "models": [_model(settings, pool) for pool in models.pools.values()],
    }


def _model(settings: Settings, pool: Pool) -> dict[str, Any]:
    meter, queue = pool.meter, pool.queue
    p50, p90, p99, count = meter.quantiles()
    return {
        "name": pool.name,
        "state": pool.state,
        "reason": pool.reason,
        "queue": {"waiting": queue.waiting, "handed": queue.handed, "bound": queue.most},
        "workers": [_worker(slot) for slot in pool.fleet.slots],
        "batch": {
            "enabled": any(lane.size for lane in queue.lanes.values()),
            "size": settings.batch_size,
            "delay": settings.batch_delay * 1000,
            "count": meter.batches.count,
            "mean": round(meter.batches.total / meter.batches.count, 2) if meter.batches.count else 0.0,
        },
        "latency": {"p50": _ms(p50), "p90": _ms(p90), "p99": _ms(p99), "count": count},
        "recent": [
            {"at": round(at, 3), "status": code, "ms": _ms(seconds)} for at, code, seconds in meter.recent
        ],
    }


def _worker(slot: Slot) -> dict[str, Any]:
    worker = slot.worker
    return {
        "number": slot.number,
        "pid": worker.spawned.pid if worker else None,
        "state": worker.state if worker else "ended",
        "rss": worker.memory if worker else 0,
        "restarts": slot.restarts,
        "busy": len(worker.hand) if worker else 0,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
