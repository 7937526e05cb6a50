"""The exception that ends a prediction which nobody waits for."""

from __future__ import annotations

from corten_serve.errors import Cancelled as CancelationException

__all__ = ["CancelationException"]
