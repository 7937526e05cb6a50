"""What goes wrong with a predictor or with a request, on the worker's side."""

from __future__ import annotations


class InvalidInput(ValueError):
    """Raise it in `predict` when the request is at fault: the client gets 422 and this message."""


class Cancelled(BaseException):
    """Raised inside a sync `predict` that nobody waits for any more: its client has left, or its time is up. It is no
    `Exception`, so that only code that means it catches it; clean up and let it pass. Async code gets asyncio's own
    `CancelledError` instead."""


class PredictorError(Exception):
    """The predictor cannot be used, for a reason that is the project's to mend. `hint` says how."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
