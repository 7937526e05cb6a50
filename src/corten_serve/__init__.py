"""Corten's model server. It runs inside images and imports nothing from `corten`.

Two processes with two environments. The worker's side (`schema`, `protocols`, `worker`, and `frames`) runs in the project's
environment, is standard library only, and runs on Python 3.8. The server's side (`server`, and everything else) runs in its own
environment, where Granian is the only package. What a project may import is what this module exports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corten_serve.errors import Cancelled, InvalidInput

if TYPE_CHECKING:
    from corten_serve.schema.constraints import Field
    from corten_serve.worker.current import request_id, time_left
    from corten_serve.worker.handlers import endpoint
    from corten_serve.worker.predictor import Predictor

__all__ = ["Cancelled", "Field", "InvalidInput", "Predictor", "endpoint", "request_id", "time_left"]
_HOMES = {
    "Field": "schema.constraints",
    "Predictor": "worker.predictor",
    "endpoint": "worker.handlers",
    "request_id": "worker.current",
    "time_left": "worker.current",
}


def __getattr__(name: str) -> Any:
    # The server's process imports this package too, and has no use for what only projects name.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"corten_serve.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'corten_serve' has no attribute '{name}'")
