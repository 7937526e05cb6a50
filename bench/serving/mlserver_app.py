"""MLServer with a runtime of one's own, as its documentation says; M2 with its adaptive batching."""

from __future__ import annotations

import models
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Model(MLModel):
    async def load(self) -> bool:
        models.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        import numpy

        rows = NumpyCodec.decode_input(payload.inputs[0])
        if models.KIND.startswith("m1"):
            answer = models.m1(rows.tolist())
        elif models.KIND == "m2":
            answer = models.m2(rows[:, 0].tolist())
        else:
            answer = [models.hold(rows[0, 0]) if models.KIND == "hold" else models.m0(rows[0, 0])]
        output = NumpyCodec.encode_output("y", numpy.array(answer, dtype=float).reshape(-1, 1))
        return InferenceResponse(model_name=self.name, outputs=[output])
