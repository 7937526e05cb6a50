"""An ONNX model from its file, served without code by onnxruntime: its inputs are the fields of a request, its outputs those of
the answer, each under its own name, with its element type."""

from __future__ import annotations

import os
import typing
from collections.abc import Sequence
from typing import Any

from corten_serve.errors import InvalidInput, PredictorError
from corten_serve.schema.newer_typing import annotated_hint
from corten_serve.schema.signature import Described

_typing: Any = typing
"""Hints are made here of what a model says, which no type checker can follow."""
_ELEMENTS = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool_", "string": "str_",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
}  # fmt: skip
"""Element types of onnxruntime (`tensor(float)`) and those of NumPy."""


def open_onnx(path: str, target: str) -> OnnxModel:
    """The model in the file `path`. Raises PredictorError where onnxruntime is missing or does not take it."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise PredictorError(
            f"'{target}' needs onnxruntime to be served",
            hint="add 'onnxruntime' (or 'onnxruntime-gpu') to the project's dependencies",
        ) from error
    options = onnxruntime.SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) > 0:
        # onnxruntime has threads of its own, one for each core, whatever OpenMP is told.
        options.intra_op_num_threads = int(threads)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=onnxruntime.get_available_providers())
    except Exception as error:  # onnxruntime's own errors have no class in common but this.
        raise PredictorError(
            f"onnxruntime cannot load '{target}': {error}"[:500], hint="check it with 'onnx.checker'"
        ) from error
    return OnnxModel(session, target)


class OnnxModel:
    """The predictor around a session. `predict` takes an array for each input and gives one for each output."""

    def __init__(self, session: Any, target: str) -> None:
        self._session = session
        self._inputs = session.get_inputs()
        self._outputs = [output.name for output in session.get_outputs()]
        fields = [(each.name, self._hint(each, target), True, None) for each in self._inputs]
        returned = _typing.TypedDict(
            "Outputs", {output.name: _array(output.type) or Any for output in session.get_outputs()}
        )
        meta = session.get_modelmeta()
        about = meta.description or f"The outputs of {meta.graph_name or target}."
        self.__doc__ = about
        self.predict = Described(self._predict, fields, returned, about)

    def _hint(self, each: Any, target: str) -> Any:
        array = _array(each.type)
        if array is None:
            raise PredictorError(
                f"the input '{each.name}' of '{target}' is a '{each.type}', which no request can hold",
                hint="write a predictor that makes it from something else",
            )
        return annotated_hint(array, f"{each.type} of the shape {_shown(each.shape)}")

    def _predict(self, **arrays: Any) -> dict[str, Any]:
        for each in self._inputs:
            _check(each.name, each.shape, arrays[each.name].shape)
        try:
            results = self._session.run(self._outputs, arrays)
        except Exception as error:
            if type(error).__name__ == "InvalidArgument":  # Shapes that do not go together inside the graph.
                raise InvalidInput(str(error).splitlines()[0][:500]) from error
            raise
        return dict(zip(self._outputs, results))  # noqa: B905 (no `strict` in Python 3.9)


def _array(kind: str) -> Any:
    """The hint for `tensor(float)` and the like; None for sequences, maps and types that NumPy lacks."""
    import numpy

    element: Any = _ELEMENTS.get(kind[7:-1]) if kind.startswith("tensor(") else None
    if element is None:
        return None
    arrays: Any = numpy
    return arrays.ndarray[Any, arrays.dtype[getattr(arrays, element)]]


def _check(name: str, wanted: Sequence[Any], shape: Sequence[int]) -> None:
    """Raises InvalidInput for a shape that the model does not take. A dimension with a name, or without, may have any size."""
    fits = len(wanted) == len(shape) and all(
        not isinstance(size, int) or size == given
        for size, given in zip(wanted, shape)  # noqa: B905
    )
    if wanted and not fits:
        raise InvalidInput(f"{name}: expected an array of the shape {_shown(wanted)}, got {_shown(shape)}")


def _shown(shape: Sequence[Any]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"
