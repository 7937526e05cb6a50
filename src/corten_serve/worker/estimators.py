"""A scikit-learn estimator from its file, served without code. A request is one row; rows that wait are predicted together.

The names of the columns, if it was fitted with some, are the fields of a request; else the one field `row` is an array. The
answer is `prediction`, and `probabilities` by class where the estimator has them.
"""

from __future__ import annotations

import typing
import warnings
from collections.abc import Sequence
from typing import Any

from corten_serve.errors import InvalidInput, PredictorError
from corten_serve.schema.constraints import Field
from corten_serve.schema.newer_typing import annotated_hint

_typing: Any = typing
"""Hints are made here of what a model says, which no type checker can follow."""
_MIXED = _typing.Union[float, str, bool, None]
_BY_NAME = (
    "sklearn.compose",
    "sklearn.pipeline",
    "sklearn.feature_extraction",
    "sklearn.preprocessing._function",
)
"""Where steps live that may ask for columns by name, and then need a frame."""
_OTHER_CELLS = (
    *_BY_NAME,
    "sklearn.preprocessing._encoders",
    "sklearn.preprocessing._target",
    "sklearn.impute",
)
"""Where steps live that take more than numbers."""
_MOST_CHOICES = 100


def open_estimator(path: str, target: str) -> Estimator:
    """The estimator in the file `path`. Raises PredictorError where it cannot be loaded or predicts nothing."""
    try:
        model = _loaded(path, target)
    except PredictorError:
        raise
    except ModuleNotFoundError as error:
        raise PredictorError(
            f"'{target}' needs the module '{error.name}' to be loaded",
            hint=f"add the package that provides '{(error.name or '').partition('.')[0]}' to the project's dependencies",
        ) from error
    except Exception as error:  # Pickles raise anything: they are code.
        raise PredictorError(
            f"'{target}' cannot be loaded: {type(error).__name__}: {error}"[:500],
            hint="save it with the versions of the libraries that the project has",
        ) from error
    if not callable(getattr(model, "predict", None)):
        raise PredictorError(
            f"'{target}' holds a '{type(model).__name__}', which has no 'predict'",
            hint="save a fitted estimator or pipeline, or write a predictor",
        )
    return Estimator(model)


class Estimator:
    """The predictor around a fitted estimator. `predict_batch` takes rows as requests have them."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._classes = _classes(model)
        self._steps = _steps(model)
        names = getattr(model, "feature_names_in_", None)
        self._names = None if names is None else [str(name) for name in names]
        self._words = _takes_other_cells(self._steps)
        self._frame = self._names is not None and _needs_frame(self._steps)
        self.__doc__ = f"A prediction of the {type(self._steps[-1]).__name__}."
        self.predict_batch = self._batch()
        if self._names is not None and not self._frame:
            # The columns are in the order of the fields, which is that of the names.
            warnings.filterwarnings("ignore", message="X does not have valid feature names")

    def _batch(self) -> Any:
        """`predict_batch` with the hints that are found in the model."""

        def predict_batch(rows: Any) -> Any:
            return self._predict(rows)

        def predict_texts(texts: Any) -> Any:
            return self._predict(texts)

        function: Any = predict_batch
        name = "rows"
        cell: Any = _cell(self._model, self._steps)
        item: Any
        if self._names is not None:
            item = _typing.TypedDict("Row", dict.fromkeys(self._names, cell))
        elif _is_text(self._steps[0]):
            function, name, item = predict_texts, "texts", str
        else:
            width = getattr(self._model, "n_features_in_", None)
            item = _typing.List[cell]
            if isinstance(width, int):
                item = annotated_hint(item, Field(min_length=width, max_length=width))
        function.__annotations__ = {name: _typing.List[item], "return": _typing.List[self._answer()]}
        function.__doc__ = self.__doc__
        return function

    def _answer(self) -> Any:
        fields: dict[str, Any] = {"prediction": Any}
        if self._classes is not None and len(self._classes) <= _MOST_CHOICES:
            fields["prediction"] = _typing.Literal[tuple(self._classes)]
        elif getattr(self._model, "_estimator_type", None) == "regressor":
            fields["prediction"] = _typing.Union[float, _typing.List[float]]
        if self._classes is not None and hasattr(self._model, "predict_proba"):
            fields["probabilities"] = _typing.Dict[str, float]
        return _typing.TypedDict("Prediction", fields)

    def _predict(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        try:
            table = self._table(rows)
            predictions = self._model.predict(table).tolist()
            if self._classes is None or not hasattr(self._model, "predict_proba"):
                return [{"prediction": prediction} for prediction in predictions]
            probabilities = self._model.predict_proba(table).tolist()
        except (ValueError, TypeError) as error:
            # scikit-learn's own checks of what it is given: a text in the place of a number, NaN, an unknown category.
            raise InvalidInput(
                str(error).splitlines()[0][:500] if str(error) else "the row cannot be used"
            ) from error
        names = [str(name) for name in self._classes]
        return [
            {"prediction": prediction, "probabilities": dict(zip(names, row))}  # noqa: B905 (no `strict` in Python 3.9)
            for prediction, row in zip(predictions, probabilities)  # noqa: B905
        ]

    def _table(self, rows: Sequence[Any]) -> Any:
        if isinstance(rows[0], str):
            return list(rows)
        if self._frame:
            import pandas

            return pandas.DataFrame(list(rows), columns=self._names)
        import numpy

        cells = [list(row.values()) for row in rows] if isinstance(rows[0], dict) else list(rows)
        words = self._words and any(isinstance(cell, str) for row in cells for cell in row)
        return numpy.array(cells, dtype=object if words else float)


def _loaded(path: str, target: str) -> Any:
    if target.endswith(".skops"):
        from skops.io import get_untrusted_types, load

        unknown = get_untrusted_types(file=path)
        if unknown:
            raise PredictorError(
                f"'{target}' holds types that skops does not trust: {', '.join(unknown[:5])}",
                hint="write a predictor that loads it with the types that you trust",
            )
        return load(path, trusted=[])
    try:
        import joblib
    except ModuleNotFoundError:
        import pickle

        with open(path, "rb") as file:
            return pickle.load(file)  # noqa: S301 (the project's own file)
    return joblib.load(path)


def _steps(model: Any) -> list[Any]:
    """The steps of a pipeline, those of pipelines in it too; else the model itself."""
    steps = getattr(model, "steps", None)
    if not isinstance(steps, list) or not steps:
        return [model]
    return [inner for _, step in steps if not isinstance(step, str) for inner in _steps(step)] or [model]


def _module(step: Any) -> str:
    return str(type(step).__module__)


def _needs_frame(steps: Sequence[Any]) -> bool:
    """Whether a step may look at the names of columns. All of scikit-learn's own but a few do not."""
    return any(
        not _module(step).startswith("sklearn.") or _module(step).startswith(_BY_NAME) for step in steps
    )


def _takes_other_cells(steps: Sequence[Any]) -> bool:
    return not _module(steps[0]).startswith("sklearn.") or _module(steps[0]).startswith(_OTHER_CELLS)


def _is_text(step: Any) -> bool:
    return _module(step).startswith("sklearn.feature_extraction.text")


def _cell(model: Any, steps: Sequence[Any]) -> Any:
    """The hint of one cell: a number, or anything plain for steps that encode; null where missing values are allowed."""
    if _takes_other_cells(steps):
        return _MIXED
    return _typing.Optional[float] if _allows_missing(model) else float


def _allows_missing(model: Any) -> bool:
    try:
        from sklearn.utils import get_tags

        return bool(get_tags(model).input_tags.allow_nan)
    except Exception:  # scikit-learn before 1.6 has another way, and other libraries none.
        return False


def _classes(model: Any) -> list[Any] | None:
    """The labels of a classifier with one output, as JSON has them; None for anything else."""
    classes = getattr(model, "classes_", None)
    if classes is None or getattr(classes, "ndim", 0) != 1:
        return None
    labels = classes.tolist()
    return labels if all(isinstance(label, (str, int, bool)) for label in labels) else None
