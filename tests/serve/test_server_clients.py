"""What clients of other servers ask for: KServe's, OpenAI's and Triton's, browsers, and those that end a path with a slash."""

from __future__ import annotations

import functools
import json

import tritonclient.http as triton

from corten_serve.protocols.desk import Desk
from corten_serve.protocols.interface import Endpoint, Model
from corten_serve.schema.signature import Signature
from corten_serve.server.process import threads

ADD = """
    def predict(a: float, b: int = 1) -> dict[str, float]:
        if a < 0:
            raise RuntimeError("too small")
        return {"sum": a + b}
"""


def test_other_servers_clients_find_what_they_ask_for(start):
    server = start(ADD, CORTEN_NAME="adder", CORTEN_VERSION="3")
    # KServe's first protocol asks at the root whether the server lives; browsers ask there for a page.
    alive = server.request("GET", "/", headers={"accept": "*/*"})
    assert (alive.status, alive.json["status"]) == (200, "alive")
    assert alive.headers["vary"] == "accept"
    assert server.request("GET", "/").json["status"] == "alive"
    page = server.request("GET", "/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")

    models = server.request("GET", "/v1/models").json
    assert models["models"] == ["adder"]
    assert models["object"] == "list"
    assert models["data"] == [{"id": "adder", "object": "model", "created": 0, "owned_by": "corten"}]
    one = server.request("GET", "/v1/models/adder").json
    assert (one["ready"], one["id"]) == (True, "adder")

    assert server.request("POST", "/predict/", {"a": 1}).json == {"sum": 2.0}
    assert server.request("GET", "/predict/").status == 405
    assert server.request("GET", "/livez/").status == 200
    assert server.request("GET", "/nowhere/").status == 404

    server.request("POST", "/predict", {"a": -1})
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    try:
        config = client.get_model_config("adder")
        assert config["input"] == [
            {"name": "a", "data_type": "TYPE_FP64", "dims": [-1]},
            {"name": "b", "data_type": "TYPE_INT64", "dims": [-1]},
        ]
        assert client.get_model_config("adder", "3") == config
        (found,) = client.get_inference_statistics("adder")["model_stats"]
        assert (found["name"], found["version"], found["inference_count"]) == ("adder", "3", 1)
        assert found["inference_stats"]["success"]["count"] == 1
        assert found["inference_stats"]["success"]["ns"] > 0
        assert found["inference_stats"]["fail"]["count"] == 1
        assert client.get_inference_statistics()["model_stats"][0]["name"] == "adder"
        assert client.get_inference_statistics("adder", "3")["model_stats"][0]["name"] == "adder"
        assert "statistics" in client.get_server_metadata()["extensions"]
    finally:
        client.close()


def test_several_workers_share_the_processors(start):
    code = """
        import os

        def predict() -> list[str]:
            return [os.environ.get(name + "_NUM_THREADS", "") for name in ("OMP", "MKL", "OPENBLAS")]
    """
    assert start(code, CORTEN_WORKERS="64").predict({}).json == ["1", "1", "1"]
    said = start(code, CORTEN_WORKERS="2", OPENBLAS_NUM_THREADS="3").predict({}).json
    assert said == ["", "", "3"], "what the user says stays, and nothing is added to it"


def test_one_worker_has_all_processors_and_many_have_one_each():
    assert threads(1, {}) == {}
    assert set(threads(10_000, {}).values()) == {"1"}
    assert set(threads(2, {})) == {
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    }
    assert threads(2, {"MKL_NUM_THREADS": "8"}) == {}


def test_forms_say_which_fields_are_json():
    def predict(text: str, box: dict[str, int], rows: list[list[float]], tags: list[str], n: int = 1): ...

    model = Model("demo", "1", (Endpoint("predict", Signature(predict)),))
    request = json.loads(json.dumps(Desk(model).openapi()))["paths"]["/predict"]["post"]["requestBody"]
    form = request["content"]["application/x-www-form-urlencoded"]
    assert form["encoding"] == {
        "box": {"contentType": "application/json"},
        "rows": {"contentType": "application/json"},
    }


def test_a_partial_is_a_predictor_with_the_parameters_that_are_left():
    def scaled(factor: float, x: float, power: int = 1) -> float:
        return factor * x**power

    signature = Signature(functools.partial(scaled, 2.0, power=3))
    assert [field.name for field in signature.request.fields] == ["x", "power"]
    assert signature.bind({"x": 3})[1] == {"x": 3.0}


def test_behind_cortens_forwarder_the_outer_address_counts_and_the_log_shows_the_client(start):
    """CORTEN_FORWARDED is where the forwarder takes connections: here, so only local names are answered."""
    server = start(ADD, CORTEN_FORWARDED="127.0.0.1:8000", CORTEN_HOST="0.0.0.0", CORTEN_DRAIN="60")
    headers = {"content-type": "application/json"}
    assert server.predict({"a": 1}, headers={**headers, "x-forwarded-for": "6.6.6.6, 10.1.2.3"}).status == 200
    assert server.predict({"a": 2}, headers={**headers, "x-forwarded-for": "fe80::1"}).status == 200
    assert server.predict({"a": 3}).status == 200
    assert server.predict({"a": 4}, headers={**headers, "host": "rebound.example"}).status == 403
    page = {**headers, "sec-fetch-site": "cross-site", "origin": "https://foreign.example"}
    assert server.predict({"a": 5}, headers=page).status == 403
    # Nobody connects any more when the server is told to end: it does not wait for load balancers.
    assert server.stop() == 0
    clients = [line.split()[4] for line in server.log().splitlines() if line.startswith("POST /predict")]
    assert clients == ["10.1.2.3", "[fe80::1]", "-", "-", "-"]


def test_behind_cortens_forwarder_on_every_address_every_name_is_answered(start):
    server = start(ADD, CORTEN_FORWARDED="0.0.0.0:80")
    assert server.predict({"a": 1}, headers={"host": "model.example"}).status == 200
