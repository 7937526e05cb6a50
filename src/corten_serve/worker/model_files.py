"""The file of a model in the place of a predictor: `CORTEN_PREDICT=models/iris.joblib`.

A pickle (`.joblib`, `.pkl`, `.pickle`) runs code when it is loaded: it is the project's own file, as its code is, and nothing that a
client sends is ever loaded this way. `.skops` and `.onnx` run none.
"""

from __future__ import annotations

import os
from typing import Any

from corten_serve.errors import PredictorError

MLMODEL = "MLmodel"
"""The file that makes a folder a model of MLflow."""
ENDINGS = (".joblib", ".pkl", ".pickle", ".skops", ".onnx")


def is_model_file(target: str) -> bool:
    """Whether `target` names a file and not `module:name`."""
    return ":" not in target and (target.endswith(ENDINGS) or os.path.basename(target) == MLMODEL)


def open_model(target: str, app: str) -> Any:
    """A predictor for the model's file `target` in the project's folder `app`. Raises PredictorError."""
    path = os.path.join(app, target)
    if not os.path.isfile(path):
        raise PredictorError(
            f"there is no file '{target}' to serve",
            hint="it is named by 'predict' or 'models' in [tool.corten]; train it before the image is built",
        )
    if os.path.basename(target) == MLMODEL:
        from corten_serve.worker.mlflow_models import open_mlflow

        return open_mlflow(path, target)
    if target.endswith(".onnx"):
        from corten_serve.worker.onnx_models import open_onnx

        return open_onnx(path, target)
    from corten_serve.worker.estimators import open_estimator

    return open_estimator(path, target)
