"""A model's folder of MLflow (`MLmodel`, flavour `python_function`), loaded and asked by MLflow itself, in the project's environment.

Like a pickle, such a folder runs code when it is loaded: it is the project's own.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import typing
from typing import Any

from corten_serve.errors import InvalidInput, PredictorError
from corten_serve.protocols.interface import JSON, Answer
from corten_serve.protocols.mlflow import KEY, Asked, MLflow
from corten_serve.schema.signature import Described

_typing: Any = typing
_HINTS: dict[str, Any] = {
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "string": str,
    "binary": bytes,
}
NAME = "MLmodel"


def open_mlflow(path: str, target: str) -> MLflowModel:
    """The model in the folder of the file `path`. Raises PredictorError where MLflow is missing or the model has no
    `python_function`."""
    try:
        pyfunc = importlib.import_module("mlflow.pyfunc")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mlflow":
            raise
        raise PredictorError(
            f"'{target}' needs mlflow to be served",
            hint="add 'mlflow' (or 'mlflow-skinny' and what the model needs) to the project's dependencies",
        ) from error
    model = pyfunc.load_model(os.path.dirname(path) or ".")
    return MLflowModel(model, target)


class MLflowModel:
    """The predictor around a loaded model. A request of `/predict` is one row, by the columns of the model's signature."""

    def __init__(self, model: Any, target: str) -> None:
        self._model = model
        self._scoring = importlib.import_module("mlflow.pyfunc.scoring_server")
        self._schema = model.metadata.get_input_schema()
        self._client: Any = None
        self._columns = _columns(self._schema)
        fields = [(name, hint, needed, None) for name, hint, needed in self._columns] or [
            ("inputs", Any, True, None)
        ]
        about = f"The model '{os.path.dirname(target) or '.'}' of MLflow."
        self.__doc__ = about
        self.predict = Described(self._predict, fields, Any, about)

    def protocol(self, model: Any) -> MLflow:
        """MLflow's own protocol for this model."""
        return MLflow(model, str(importlib.import_module("mlflow.version").VERSION))

    def _predict(self, **given: Any) -> Any:
        asked: Asked | None = given.pop(KEY, None)
        if asked is not None:
            return self._scored(asked)
        if not self._columns:
            return self._model.predict(given["inputs"])
        pandas = importlib.import_module("pandas")
        names = [name for name, _, _ in self._columns]
        frame = pandas.DataFrame([[given.get(name) for name in names]], columns=names)
        try:
            result = self._model.predict(frame)
        except Exception as error:
            if type(error).__name__ == "MlflowException" and getattr(error, "error_code", "") in _FAULTS:
                raise InvalidInput(str(error).splitlines()[0][:500]) from error
            raise
        if hasattr(result, "to_dict") and hasattr(result, "columns"):
            return result.to_dict(orient="records")[0]
        return next(iter(result)) if hasattr(result, "__len__") and len(result) == 1 else result

    def _scored(self, asked: Asked) -> Answer:
        """What MLflow answers to a request in its own form."""
        score = getattr(self._scoring, "invocations", None)
        if score is None:
            return self._by_its_server(asked)
        try:
            found = score(asked.body, asked.content_type, self._model, self._schema)
        except Exception as error:
            said = getattr(error, "serialize_as_json", None)
            if said is None:
                raise
            return _failure(said(), getattr(error, "get_http_status_code", lambda: 400)())
        body = found.response
        return Answer(found.status, body if isinstance(body, bytes) else str(body).encode(), found.mimetype)

    def _by_its_server(self, asked: Asked) -> Answer:
        """The same by the application of an older MLflow, which is one of Flask."""
        if self._client is None:
            self._client = self._scoring.init(self._model).test_client()
        found = self._client.post("/invocations", data=asked.body, content_type=asked.content_type)
        if found.status_code >= 400:
            return _failure(found.get_data(as_text=True), found.status_code)
        return Answer(found.status_code, found.get_data(), found.mimetype)


_FAULTS = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")


def _failure(text: str, status: int) -> Answer:
    """An error without its traceback, which goes to the log."""
    try:
        document = json.loads(text)
    except ValueError:
        return Answer(status, text.encode(errors="replace"), "text/plain; charset=utf-8")
    if isinstance(document, dict):
        trace = document.pop("stack_trace", None)
        if trace:
            print(trace, file=sys.stderr, flush=True)
    return Answer(status, json.dumps(document).encode(), JSON)


def _columns(schema: Any) -> list[tuple[str, Any, bool]]:
    """Name, hint, and whether it has to be there, of each column; empty where the model has no named columns."""
    try:
        if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
            return []
        found = []
        for column in schema.inputs:
            hint = _HINTS.get(getattr(column.type, "name", ""), Any)
            needed = bool(getattr(column, "required", True))
            found.append((str(column.name), hint if needed else _typing.Optional[hint], needed))
        return found
    except AttributeError:
        return []
