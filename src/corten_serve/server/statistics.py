"""What a model has done, in the words of Triton's statistics extension (its clients ask for `/v2/models/NAME/stats`)."""

from __future__ import annotations

from typing import Any

from corten_serve.server.meter import Histogram, ModelMeter


def statistics(name: str, version: str, meter: ModelMeter) -> dict[str, Any]:
    """The statistics of one model. Times are nanoseconds, dates milliseconds since 1970."""
    stages = meter.stages
    good = sum(count for (_, status), count in meter.requests.items() if status < 400)
    total = stages["total"]
    last = meter.recent[-1][0] if meter.recent else 0.0
    nothing = {"count": 0, "ns": 0}
    return {
        "name": name,
        "version": version,
        "last_inference": int(last * 1000),
        "inference_count": good,
        "execution_count": meter.predict.count,
        "inference_stats": {
            "success": {"count": good, "ns": _ns(total.total - meter.failed)},
            "fail": {"count": total.count - good, "ns": _ns(meter.failed)},
            "queue": _stage(meter.queue),
            "compute_input": nothing,
            "compute_infer": _stage(meter.predict),
            "compute_output": _stage(meter.encode),
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [],
    }


def _stage(stage: Histogram) -> dict[str, int]:
    return {"count": stage.count, "ns": _ns(stage.total)}


def _ns(seconds: float) -> int:
    return max(0, round(seconds * 1e9))
