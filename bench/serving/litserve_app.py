"""LitServe, as its documentation begins; M2 with its batching."""

from __future__ import annotations

import os

import litserve
import models


class API(litserve.LitAPI):
    def setup(self, device):
        models.load()

    def decode_request(self, request):
        return [request[name] for name in "abcd"] if models.KIND.startswith("m1") else request["x"]

    def predict(self, x):
        if models.KIND == "m2":
            return models.m2(x)
        if models.KIND.startswith("m1"):
            return models.m1([x])[0]
        return models.hold(x) if models.KIND == "hold" else models.m0(x)

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    batch = {"max_batch_size": 64, "batch_timeout": 0.005} if models.KIND == "m2" else {}
    server = litserve.LitServer(
        API(**batch), accelerator="cpu", workers_per_device=int(os.environ["BENCH_WORKERS"])
    )
    server.run(
        port=int(os.environ["PORT"]), host="127.0.0.1", generate_client_file=False, log_level="warning"
    )
