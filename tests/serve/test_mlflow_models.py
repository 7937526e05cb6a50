"""Models of MLflow (`MLmodel`), asked in MLflow's own forms. MLflow itself is heavy: here its interface is a small module, and the
corpus has a project with the real one."""

from __future__ import annotations

import pytest

PYFUNC = """
class _Column:
    def __init__(self, name, kind, required=True):
        self.name, self.required = name, required
        self.type = type("Kind", (), {"name": kind})

class _Schema:
    inputs = [_Column("width", "double"), _Column("count", "long"), _Column("label", "string", False)]
    def is_tensor_spec(self): return False
    def has_input_names(self): return True

class _Metadata:
    def get_input_schema(self): return _Schema()

class _Model:
    metadata = _Metadata()
    def __init__(self, path): self.path = path
    def predict(self, frame, params=None):
        return [row["width"] * row["count"] for row in frame.to_dict(orient="records")]

def load_model(path):
    return _Model(path)
"""
SCORING = """
import json
import pandas
from typing import NamedTuple

class InvocationsResponse(NamedTuple):
    response: object
    status: int
    mimetype: str

class MlflowException(Exception):
    def serialize_as_json(self):
        return json.dumps({"error_code": "BAD_REQUEST", "message": str(self), "stack_trace": "Traceback: /private"})
    def get_http_status_code(self): return 400

def invocations(data, content_type, model, input_schema):
    if not content_type.startswith("application/json"):
        return InvocationsResponse("not " + content_type, 415, "text/plain")
    asked = json.loads(data)
    if "dataframe_split" not in asked:
        raise MlflowException("exactly one of the input fields")
    found = model.predict(pandas.DataFrame(**asked["dataframe_split"]))
    return InvocationsResponse(json.dumps({"predictions": found}), 200, "application/json")
"""


@pytest.fixture
def model(start, tmp_path):
    package = tmp_path / "app" / "mlflow"
    (package / "pyfunc" / "scoring_server").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "version.py").write_text("VERSION = '3.0.0'")
    (package / "pyfunc" / "__init__.py").write_text(PYFUNC)
    (package / "pyfunc" / "scoring_server" / "__init__.py").write_text(SCORING)
    (tmp_path / "app" / "model").mkdir()
    (tmp_path / "app" / "model" / "MLmodel").write_text("flavors: {}")
    return start("", "model/MLmodel")


def test_a_request_in_mlflows_form_is_answered_by_mlflow(model):
    body = {"dataframe_split": {"columns": ["width", "count"], "data": [[1.5, 2], [3, 4]]}}
    answer = model.request("POST", "/invocations", body, {"content-type": "application/json"})
    assert (answer.status, answer.json) == (200, {"predictions": [3.0, 12.0]})
    assert model.request("POST", "/invocations", body).json == {"predictions": [3.0, 12.0]}
    other = model.request("POST", "/invocations", b"x", {"content-type": "text/x"})
    assert (other.status, other.headers["content-type"]) == (415, "text/plain")


def test_an_error_of_mlflow_is_told_without_its_traceback(model):
    answer = model.request("POST", "/invocations", {"rows": []}, {"content-type": "application/json"})
    assert (answer.status, answer.json) == (
        400,
        {"error_code": "BAD_REQUEST", "message": "exactly one of the input fields"},
    )
    assert "Traceback: /private" in model.log()


def test_mlflows_paths_for_health_and_version(model):
    for path in ("/ping", "/health"):
        assert model.request("GET", path).status == 200
    assert model.request("GET", "/version").body == b"3.0.0"


def test_one_row_is_asked_by_the_columns_of_the_signature(model):
    assert model.predict({"width": 2.5, "count": 2}).json == 5.0
    wrong = model.predict({"width": "x", "count": 2})
    assert wrong.status == 422
    assert "width: expected a number" in wrong.json["error"]
    schemas = model.request("GET", "/openapi.json").json["components"]["schemas"]
    assert schemas["PredictRequest"]["required"] == ["width", "count"]


def test_without_mlflow_the_start_says_what_to_add(start, tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "MLmodel").write_text("flavors: {}")
    serving = start("", "MLmodel", ready=False)
    assert serving.wait() == 1
    assert "'MLmodel' needs mlflow to be served" in serving.log()
