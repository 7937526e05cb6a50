"""Models of scikit-learn and ONNX that are served from their files alone: the signature is the model's own, and results are
those of the libraries."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy
import pandas
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from corten_serve.errors import InvalidInput, PredictorError
from corten_serve.schema.signature import Signature
from corten_serve.worker.model_files import is_model_file, open_model
from support import onnx_file

IRIS = load_iris(as_frame=True)
NAMES = list(IRIS.data.columns)
LABELS = IRIS.target_names[IRIS.target]


@pytest.fixture
def served(tmp_path: Path) -> Callable[..., Any]:
    """A predictor for an estimator that is written to a file and opened again."""

    def serve(model: Any, name: str = "model.joblib") -> Any:
        joblib.dump(model, tmp_path / name)
        return open_model(name, str(tmp_path))

    return serve


def ask(predictor: Any, *requests: Any) -> list[Any]:
    """What `predictor` answers to requests that came together. Raises InvalidInput for what the schema refuses."""
    signature = Signature.from_batch(predictor.predict_batch)
    items = []
    for request in requests:
        arguments, keywords, problems = signature.bind(request)
        if problems.found:
            raise InvalidInput(str(problems.found))
        items.append(signature.item(arguments, keywords))
    return list(predictor.predict_batch(items))


def schema(predictor: Any) -> Any:
    return Signature.from_batch(predictor.predict_batch).request.definition()


def test_columns_with_names_are_the_fields(served):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS.data, LABELS)
    predictor = served(model)
    assert list(schema(predictor)["properties"]) == NAMES
    assert schema(predictor)["required"] == NAMES
    assert schema(predictor)["properties"][NAMES[0]] == {"type": "number"}
    rows = IRIS.data.iloc[[0, 77, 149]]
    answers = ask(predictor, *rows.to_dict(orient="records"))
    assert [answer["prediction"] for answer in answers] == model.predict(rows).tolist()
    for answer, expected in zip(answers, model.predict_proba(rows), strict=True):
        assert answer["probabilities"] == dict(zip(model.classes_, expected, strict=True))
    result = Signature.from_batch(predictor.predict_batch).definitions()["Prediction"]
    assert result["properties"]["prediction"] == {"enum": ["setosa", "versicolor", "virginica"]}


def test_the_order_of_the_fields_in_a_request_does_not_matter(served):
    model = LogisticRegression(max_iter=500).fit(IRIS.data, LABELS)
    row = IRIS.data.iloc[100].to_dict()
    assert ask(served(model), row) == ask(served(model), dict(reversed(row.items())))


def test_columns_without_names_are_one_array(served):
    model = LinearRegression().fit(IRIS.data.to_numpy(), IRIS.target)
    predictor = served(model)
    assert schema(predictor)["properties"] == {
        "row": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    }
    (answer,) = ask(predictor, {"row": [5.1, 3.5, 1.4, 0.2]})
    assert answer == {"prediction": model.predict([[5.1, 3.5, 1.4, 0.2]])[0]}
    for wrong in ([1, 2, 3], [1, 2, 3, "a"], [1, 2, 3, None], "x"):
        with pytest.raises(InvalidInput):
            ask(predictor, {"row": wrong})


def test_clusters_have_no_probabilities(served):
    model = KMeans(2, n_init=1, random_state=0).fit(IRIS.data.to_numpy())
    assert ask(served(model), {"row": [5.1, 3.5, 1.4, 0.2]}) == [
        {"prediction": int(model.predict([[5.1, 3.5, 1.4, 0.2]])[0])}
    ]


def test_words_and_numbers_in_one_table(served):
    frame = pandas.DataFrame({"city": ["a", "b", "a", "b"], "size": [1.0, 2, 3, 4], "spare": [0.0, 0, 0, 0]})
    columns = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["size"]))
    model = make_pipeline(columns, LinearRegression()).fit(frame, [1.0, 5, 3, 7])
    predictor = served(model)
    (answer,) = ask(predictor, {"city": "b", "size": 3, "spare": 0})
    assert answer["prediction"] == model.predict(pandas.DataFrame([{"city": "b", "size": 3, "spare": 0}]))[0]
    with pytest.raises(InvalidInput, match="unknown categories"):
        ask(predictor, {"city": "nowhere", "size": 3, "spare": 0})


def test_null_is_a_missing_value_where_the_model_takes_one(served):
    model = HistGradientBoostingClassifier(max_iter=2).fit(IRIS.data, LABELS)
    row = {**IRIS.data.iloc[0].to_dict(), NAMES[0]: None}
    (answer,) = ask(served(model), row)
    assert answer["prediction"] == model.predict(pandas.DataFrame([row]).astype(float))[0]


def test_texts(served):
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(
        ["good day", "bad night"], [True, False]
    )
    predictor = served(model)
    assert list(schema(predictor)["properties"]) == ["text"]
    good, bad = ask(predictor, {"text": "a good one"}, {"text": "bad"})
    assert (good["prediction"], bad["prediction"]) == (True, False)
    assert set(good["probabilities"]) == {"True", "False"}


def test_pickles_without_joblib_are_the_same(tmp_path):
    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(model))
    assert ask(open_model("m.pkl", str(tmp_path)), {"row": [3]})[0]["prediction"] == pytest.approx(3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'m.joblib' cannot be loaded"),
        (b"\x80\x04garbage", "'m.joblib' cannot be loaded"),
        (pickle.dumps({"not": "a model"}), "'m.joblib' holds a 'dict', which has no 'predict'"),
        (b"cnowhere_at_all\nThing\n.", "'m.joblib' needs the module 'nowhere_at_all'"),
        (None, "there is no file 'm.joblib' to serve"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_said(tmp_path, content, message):
    if content is not None:
        (tmp_path / "m.joblib").write_bytes(content)
    with pytest.raises(PredictorError) as error:
        open_model("m.joblib", str(tmp_path))
    assert error.value.message.startswith(message)
    assert error.value.hint


def test_targets():
    assert is_model_file("models/iris.joblib")
    assert not is_model_file("predict:Iris")
    assert not is_model_file("file:model.joblib")


class TestOnnx:
    def open(self, path: Path, data: bytes) -> Any:
        (path / "m.onnx").write_bytes(data)
        return open_model("m.onnx", str(path))

    def ask(self, predictor: Any, request: Any) -> Any:
        signature = Signature(predictor.predict)
        arguments, keywords, problems = signature.bind(request)
        if problems.found:
            raise InvalidInput(str(problems.found))
        return predictor.predict(*arguments, **keywords)

    def test_inputs_and_outputs_keep_their_names(self, tmp_path):
        two = [("input.1", onnx_file.FLOAT, ["n", 2]), ("other", onnx_file.FLOAT, ["n", 2])]
        made = onnx_file.model(
            [("Add", ["input.1", "other"], ["sum/0"]), ("Identity", ["other"], ["same"])],
            two,
            [("sum/0", onnx_file.FLOAT, ["n", 2]), ("same", onnx_file.FLOAT, ["n", 2])],
            "Adds two tables.",
        )
        predictor = self.open(tmp_path, made)
        answer = self.ask(predictor, {"input.1": [[1, 2]], "other": [[0.5, 0.5]]})
        assert {name: array.tolist() for name, array in answer.items()} == {
            "sum/0": [[1.5, 2.5]],
            "same": [[0.5, 0.5]],
        }
        assert answer["same"].dtype == numpy.float32
        signature = Signature(predictor.predict)
        field = signature.request.definition()["properties"]["input.1"]
        assert field["format"] == "ndarray-float32"
        assert field["description"] == "tensor(float) of the shape [n, 2]"
        assert list(signature.definitions()["Outputs"]["properties"]) == ["sum/0", "same"]
        assert predictor.__doc__ == "Adds two tables."

    @pytest.mark.parametrize("wrong", [[1, 2], [[1, 2, 3]], [[[1, 2]]], []])
    def test_a_wrong_shape_is_the_clients_fault(self, tmp_path, wrong):
        made = onnx_file.model(
            [("Neg", ["x"], ["y"])],
            [("x", onnx_file.FLOAT, ["n", 2])],
            [("y", onnx_file.FLOAT, ["n", 2])],
        )
        with pytest.raises(InvalidInput, match=r"x: expected an array of the shape \[n, 2\], got"):
            self.ask(self.open(tmp_path, made), {"x": wrong})

    def test_integers_and_strings(self, tmp_path):
        made = onnx_file.model(
            [("Identity", ["i"], ["j"]), ("Identity", ["s"], ["t"])],
            [("i", onnx_file.INT64, [2]), ("s", onnx_file.STRING, [1])],
            [("j", onnx_file.INT64, [2]), ("t", onnx_file.STRING, [1])],
        )
        answer = self.ask(self.open(tmp_path, made), {"i": [1, 2**62], "s": ["ü"]})
        assert answer["j"].tolist() == [1, 2**62]
        assert answer["t"].tolist() == ["ü"]

    def test_a_broken_file_is_told(self, tmp_path):
        with pytest.raises(PredictorError, match=r"onnxruntime cannot load 'm\.onnx'"):
            self.open(tmp_path, b"\x08\x07broken")


def test_a_file_is_served_over_http(start: Callable[..., Any], tmp_path: Path):
    app = tmp_path / "app"
    app.mkdir()
    model = LogisticRegression(max_iter=500).fit(IRIS.data, LABELS)
    joblib.dump(model, app / "iris.joblib")
    serving = start("", target="iris.joblib")
    row = IRIS.data.iloc[120].to_dict()
    answer = serving.predict(row)
    assert (answer.status, answer.json["prediction"]) == (200, model.predict(IRIS.data.iloc[[120]])[0])
    assert serving.predict({**row, NAMES[0]: "wide"}).status == 422
    document = json.loads(serving.request("GET", "/openapi.json").body)
    assert NAMES[0] in json.dumps(document)


def test_rows_of_the_other_protocols(start: Callable[..., Any], tmp_path: Path):
    app = tmp_path / "app"
    app.mkdir()
    model = LogisticRegression(max_iter=500).fit(IRIS.data.to_numpy(), LABELS)
    joblib.dump(model, app / "iris.joblib")
    serving = start("", target="iris.joblib", CORTEN_NAME="iris")
    rows = IRIS.data.to_numpy()[[0, 75, 149]]
    expected = model.predict(rows).tolist()
    answer = serving.request("POST", "/v1/models/iris:predict", {"instances": rows.tolist()})
    assert [each["prediction"] for each in answer.json["predictions"]] == expected
    tensor = {"name": "row", "datatype": "FP64", "shape": [3, 4], "data": rows.tolist()}
    answer = serving.request("POST", "/v2/models/iris/infer", {"inputs": [tensor]})
    outputs = {output["name"]: output for output in answer.json["outputs"]}
    assert (outputs["prediction"]["shape"], outputs["prediction"]["data"]) == ([3], expected)
    tensor = {"name": "row", "datatype": "FP64", "shape": [3, 3], "data": rows[:, :3].tolist()}
    assert serving.request("POST", "/v2/models/iris/infer", {"inputs": [tensor]}).status == 400
