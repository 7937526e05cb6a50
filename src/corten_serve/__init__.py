"""Corten's model server. It runs inside images and imports nothing from `corten`.

Two processes with two environments. The worker's side (`schema`, `protocols`, `worker`, and `frames`) runs in the project's
environment, is standard library only, and runs on Python 3.9. The server's side (`server`, and everything else) runs in its own
environment, where Granian is the only package. What a project may import is what this module exports.
"""

from corten_serve.errors import InvalidInput
from corten_serve.worker.predictor import Predictor

__all__ = ["InvalidInput", "Predictor"]
