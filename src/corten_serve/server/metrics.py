"""`GET /metrics`: what `meter` counts and how the models are, for Prometheus and what reads its formats.

Two of them are written from the same families: Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats)
and OpenMetrics 1.0 (prometheus.io/docs/specs/om/open_metrics_spec). Every label's values are of a set that no client can enlarge.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corten_serve.server.machine import resident
from corten_serve.server.meter import RESTARTS, Histogram
from corten_serve.server.models import Models
from corten_serve.server.pool import Pool
from corten_serve.settings import Settings

if TYPE_CHECKING:
    from corten_serve.server.log import Log

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_OPEN_VERSIONS = ("", "1.0.0", "0.0.1")
_STATES = ("starting", "ready", "leaving", "ended")

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]
"""What follows the family's name, the labels, and the value."""


@dataclass(frozen=True, slots=True)
class Family:
    """Metrics of one name. `kind` is a type of OpenMetrics: `counter` (its samples end in `_total`), `gauge`, `histogram`
    or `info`. `unit` is the end of the name, where it has one."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]
    unit: str = ""


def asks_for_open(accept: str | None) -> bool:
    """Whether a client's Accept prefers OpenMetrics to the text format (RFC 9110, section 12.5.1)."""
    best_open = best_text = 0.0
    for part in (accept or "").lower().split(",")[:32]:
        kind, *parameters = (field.strip() for field in part.split(";"))
        values = dict(field.partition("=")[::2] for field in parameters)
        weight = _weight(values.get("q", "1"))
        if kind == "application/openmetrics-text":
            if values.get("version", "").strip('"') in _OPEN_VERSIONS:
                best_open = max(best_open, weight)
        elif kind in ("text/plain", "text/*", "*/*"):
            # A wildcard asks for nothing in particular, and never outdoes what is named.
            best_text = max(best_text, weight if kind == "text/plain" else 0.0)
    return best_open > 0 and best_open >= best_text


def _weight(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def render(families: Iterable[Family], openly: bool) -> bytes:
    """The families as OpenMetrics where `openly`, else in the text format."""
    lines: list[str] = []
    for family in families:
        _write(family, openly, lines)
    if openly:
        lines.append("# EOF\n")
    return "".join(lines).encode()


def _write(family: Family, openly: bool, lines: list[str]) -> None:
    name, kind = family.name, family.kind
    # The text format knows samples alone: their suffix is a part of the name, and an info is a gauge.
    suffix = {"counter": "_total", "info": "_info"}.get(kind, "")
    titled = name if openly else name + suffix
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    lines.append(f"# HELP {titled} {text}\n")
    lines.append(f"# TYPE {titled} {kind if openly or kind != 'info' else 'gauge'}\n")
    if openly and family.unit:
        lines.append(f"# UNIT {titled} {family.unit}\n")
    for end, labels, value in family.samples:
        lines.append(f"{name}{suffix}{end}{_labels(labels)} {value!r}\n")


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    value = value.encode(errors="replace").decode()
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def distribution(histogram: Histogram, labels: Labels) -> list[Sample]:
    """The samples of one histogram. Bounds are written alike in both formats, so that they are the same series."""
    samples: list[Sample] = []
    count = 0
    for bound, more in zip((*histogram.bounds, None), histogram.counts, strict=True):
        count += more
        le = "+Inf" if bound is None else repr(float(bound))
        samples.append(("_bucket", (*labels, ("le", le)), count))
    samples.append(("_sum", labels, histogram.total))
    samples.append(("_count", labels, count))
    return samples


class Metrics:
    """The families of one server, as they are when it is asked."""

    def __init__(self, settings: Settings, models: Models, log: Log) -> None:
        self._settings = settings
        self._models = models
        self._log = log
        self._started = _started() or models.meter.begun

    def body(self, openly: bool) -> bytes:
        """What there is now."""
        return render([*self._requests(), *self._queues(), *self._workers(), *self._process()], openly)

    def _requests(self) -> list[Family]:
        meter = self._models.meter
        requests: list[Sample] = []
        stages: list[Sample] = []
        sizes: list[Sample] = []
        for name, model in meter.models.items():
            for (route, status), count in model.requests.items():
                requests.append(("", _request(name, route, status), count))
            for stage, histogram in model.stages.items():
                stages += distribution(histogram, (("model", name), ("stage", stage)))
            sizes += distribution(model.batches, (("model", name),))
        for (what, status), count in meter.other.items():
            requests.append(("", _request("", what, status), count))
        return [
            Family(
                "corten_requests",
                "counter",
                "Requests that were answered; status 499 is a client that left before its answer.",
                requests,
            ),
            Family(
                "corten_request_duration_seconds",
                "histogram",
                "Time of predictions by stage: queue and batch (waiting), predict and encode (in the worker), total.",
                stages,
                "seconds",
            ),
            Family("corten_batch_size", "histogram", "Requests that were predicted together.", sizes),
        ]

    def _queues(self) -> list[Family]:
        pools = self._models.pools.values()

        def gauge(name: str, text: str, values: list[int]) -> Family:
            samples = [
                ("", (("model", pool.name),), value) for pool, value in zip(pools, values, strict=True)
            ]
            return Family(name, "gauge", text, samples)

        return [
            gauge(
                "corten_in_flight",
                "Requests for a model that are being read, predicted or answered.",
                [pool.meter.active for pool in pools],
            ),
            gauge(
                "corten_queue_waiting",
                "Requests that wait for a worker.",
                [pool.queue.waiting for pool in pools],
            ),
            gauge(
                "corten_queue_bound",
                "Requests that may wait or be in workers before more are refused.",
                [pool.queue.most for pool in pools],
            ),
        ]

    def _workers(self) -> list[Family]:
        states: list[Sample] = []
        restarts: list[Sample] = []
        memory: list[Sample] = []
        for pool in self._models.pools.values():
            model = ("model", pool.name)
            counts = _states(pool)
            states += [("", (model, ("state", state)), counts[state]) for state in _STATES]
            reasons = {**dict.fromkeys(RESTARTS, 0), **pool.meter.restarts}
            restarts += [("", (model, ("reason", reason)), count) for reason, count in reasons.items()]
            memory += [
                ("", (model, ("worker", str(slot.number))), slot.worker.memory)
                for slot in pool.fleet.slots
                if slot.worker is not None
            ]
        return [
            Family("corten_workers", "gauge", "Worker processes by what they do.", states),
            Family(
                "corten_worker_restarts", "counter", "Workers that were replaced, by the reason.", restarts
            ),
            Family("corten_worker_resident_bytes", "gauge", "Resident memory of a worker.", memory, "bytes"),
        ]

    def _process(self) -> list[Family]:
        about = (("name", self._settings.name), ("version", self._settings.version))
        return [
            Family(
                "corten_log_lines_dropped",
                "counter",
                "Lines of the log that nobody could take.",
                [("", (), self._log.lost)],
            ),
            Family(
                "process_cpu_seconds",
                "counter",
                "Processor time of the server's process.",
                [("", (), time.process_time())],
                "seconds",
            ),
            Family(
                "process_resident_memory_bytes",
                "gauge",
                "Resident memory of the server's process.",
                [("", (), resident(os.getpid()))],
                "bytes",
            ),
            Family(
                "process_start_time_seconds",
                "gauge",
                "When the server's process started, since the epoch.",
                [("", (), self._started)],
                "seconds",
            ),
            Family("corten", "info", "What is served.", [("", about, 1)]),
        ]


def _request(model: str, route: str, status: int) -> Labels:
    return (("model", model), ("route", route), ("status", str(status)))


def _states(pool: Pool) -> dict[str, int]:
    counts = dict.fromkeys(_STATES, 0)
    for slot in pool.fleet.slots:
        counts[slot.worker.state if slot.worker is not None else "ended"] += 1
    counts["leaving"] += len(pool.fleet.leaving)
    return counts


def _started() -> float:
    """When this process started, in seconds since the epoch (proc(5), field 22 of stat); 0 where nobody says."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    running = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return round(time.time() - running, 2) if running >= 0 else 0.0
