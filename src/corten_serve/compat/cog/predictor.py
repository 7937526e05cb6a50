"""The classes that predictors derive from."""

from __future__ import annotations

from typing import Any

from corten_serve.protocols.cog_scope import Scope, current_scope


class BaseRunner:
    """The base of a predictor: `setup` runs once, `run` (or, in older projects, `predict`) for each prediction."""

    def setup(self, weights: Any = None) -> Any:
        """Prepare for predictions."""

    def run(self, *arguments: Any, **inputs: Any) -> Any:
        """Make one prediction."""
        if type(self).predict is not BaseRunner.predict:
            return self.predict(*arguments, **inputs)
        raise NotImplementedError("run has not been implemented by parent class.")

    def predict(self, *arguments: Any, **inputs: Any) -> Any:
        """The older name of `run`."""
        return self.run(*arguments, **inputs)

    @property
    def scope(self) -> Scope:
        """The prediction that is worked on."""
        return current_scope()

    def record_metric(self, key: str, value: Any, mode: str = "replace") -> None:
        """Count something of the prediction that is worked on."""
        self.scope.record_metric(key, value, mode)


class BasePredictor(BaseRunner):
    """The older name of `BaseRunner`."""
