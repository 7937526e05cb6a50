"""KServe's first protocol, SageMaker, Vertex AI, Lambda: requests in the shapes that they send, and one OpenAPI document."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten_serve.protocols.desk import Desk
from corten_serve.protocols.interface import MOST_ITEMS, BadRequest, Endpoint, Model
from corten_serve.schema.signature import Signature
from support.desk import Served
from support.properties import thorough

V1, INVOCATIONS = "v1:predict", "hosted:invocations"


@dataclasses.dataclass
class Verdict:
    label: str
    score: float


def judge(width: float, length: float, name: str = "n") -> Verdict:
    return Verdict(name, width * length)


def total(values: list[float]) -> float:
    return sum(values)


def plus(x: int) -> int:
    return x + 1


class TestTooMany:
    """In memory an item takes several hundred times what it takes in a body."""

    @pytest.mark.parametrize(
        ("kind", "body", "place"),
        [
            ("application/json", b'{"instances":[' + b"1," * MOST_ITEMS + b"1]}", "instances"),
            ("text/csv", b"1\n" * (MOST_ITEMS + 1), "rows"),
            ("text/csv", b"x\n" + b"1\n" * (3 * MOST_ITEMS), "rows"),
            ("application/jsonlines", b"1\n" * (MOST_ITEMS + 1), "lines"),
            ("application/jsonlines", b"1\n" * (3 * MOST_ITEMS), "lines"),
        ],
    )
    def test_more_items_than_one_request_may_have(self, kind, body, place):
        assert Served(plus).refused(INVOCATIONS, body, kind) == (
            413,
            f"{place}: a request has at most {MOST_ITEMS} items",
        )


class TestInstances:
    def test_objects_arrays_and_parameters(self):
        answer = Served(judge).json(
            V1, {"instances": [{"width": 1, "length": 2}, [3, 4], {"width": 5}], "parameters": {"length": 9}}
        )
        assert [each["score"] for each in answer["predictions"]] == [2.0, 12.0, 45.0]

    def test_the_only_parameter_needs_no_name(self):
        assert Served(total).json(V1, {"instances": [[1, 2], {"values": [3]}]}) == {"predictions": [3.0, 3.0]}

        def size(data: bytes) -> int:
            return len(data)

        assert Served(size).json(V1, {"instances": [{"b64": "aGk="}, "aGk="]}) == {"predictions": [2, 2]}

        def count(table: dict[str, int]) -> int:
            return len(table)

        assert Served(count).json(V1, {"instances": [{"a": 1, "b": 2}, {"table": {"a": 1}}]}) == {
            "predictions": [2, 1]
        }

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({}, "instances: missing; expected an array of requests"),
            ({"instances": []}, "instances: expected an array of at least one request"),
            ({"instances": [[1, 2]], "parameters": []}, "parameters: expected an object or null"),
            (
                {"instances": [[1, 2]], "parameters": {"x": 1}},
                "parameters: unknown field 'x'; expected width, length, name",
            ),
            ({"instances": [[1, 2]], "inputs": 1}, "inputs: unknown field"),
            ({"instances": [[1, 2], [1]]}, "instances[1].length: missing; expected a number"),
            (
                {"instances": [{"width": "a", "length": 1}]},
                "instances[0].width: expected a number, got string 'a'",
            ),
            ({"instances": [[1, 2, "a", 4]]}, "instances[0]: expected 3 values (width, length, name), got 4"),
            ({"instances": [1]}, "instances[0]: expected an object of width, length, name"),
            ([], "instances: missing"),
        ],
    )
    def test_problems_name_the_instance(self, body, message):
        status, text = Served(judge).refused(V1, body)
        assert status == 400
        assert message in text


class TestSageMaker:
    def test_json_as_predict_or_as_instances(self):
        served = Served(judge)
        assert served.json(INVOCATIONS, {"width": 2, "length": 3}, "application/json") == {
            "label": "n",
            "score": 6.0,
        }
        assert served.json(INVOCATIONS, {"instances": [[2, 3]]}, "application/json") == {
            "predictions": [{"label": "n", "score": 6.0}]
        }
        status, text = served.refused(INVOCATIONS, {"width": 2}, "application/json")
        assert (status, text) == (422, "length: missing; expected a number")

    def test_a_parameter_named_instances_is_that_parameter(self):
        def predict(instances: list[int]) -> int:
            return len(instances)

        assert Served(predict).json(INVOCATIONS, {"instances": [1, 2]}, "application/json") == 2

    def test_rows_of_csv(self):
        served = Served(judge)
        answer = served.answer(
            INVOCATIONS, b'1,2\r\n3,4,"a, b"\r\n5,6,\r\n', "text/csv; charset=utf-8", "*/*"
        )
        assert (answer.type, answer.body) == ("text/csv; charset=utf-8", b'n,2.0\n"a, b",12.0\nn,30.0\n')
        assert (
            served.json(INVOCATIONS, b"length,width\n2,1\n", "text/csv", "application/json")[0]["score"]
            == 2.0
        )
        assert Served(total).answer(INVOCATIONS, b"1,2.5\n3\n", "text/csv").body == b"3.5\n3.0\n"
        for body, message in (
            (b"", "there is no row"),
            (b"1,b\n", "rows[0].length: expected a number, got string 'b'"),
            (b"1,2,3,4\n", "rows[0]: expected 3 values"),
            (b'"a', "not CSV"),
            (b"\xff", "not CSV: byte 0 is not UTF-8"),
            (b"1," + b"2" * 200_000, "not CSV"),
        ):
            status, text = served.refused(INVOCATIONS, body, "text/csv")
            assert status == 422
            assert message in text

    def test_lines_of_json(self):
        served = Served(judge)
        body = b'{"width": 1, "length": 2}\n\n[3, 4]\n'
        answer = served.answer(INVOCATIONS, body, "application/jsonlines")
        assert [json.loads(line)["score"] for line in answer.body.splitlines()] == [2.0, 12.0]
        assert (
            served.answer(INVOCATIONS, body, "application/jsonlines", "text/csv").body == b"n,2.0\nn,12.0\n"
        )
        assert served.refused(INVOCATIONS, b'{"width": 1}\n{', "application/jsonlines")[1].startswith(
            "lines[1]: not JSON"
        )

    def test_arrays(self):
        file = io.BytesIO()
        numpy.save(file, numpy.array([1.0, 2.0]))
        assert Served(total).json(INVOCATIONS, file.getvalue(), "application/x-npy") == 3.0

    def test_health(self):
        ready = {document.path: document.ready for document in Served(judge).desk.documents()}
        assert ready["/ping"]
        assert ready["/v2/health/ready"]
        assert not ready["/v2/health/live"]
        assert ready["/v1/models/demo"]


class TestVertex:
    def test_its_paths_come_from_the_environment(self):
        environment = {
            "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict",
            "AIP_HEALTH_ROUTE": "/health",
        }
        served = Served(judge, environment=environment)
        paths = {(each.method, each.path): each.route for each in served.desk.routes()}
        assert paths["POST", environment["AIP_PREDICT_ROUTE"]] == "hosted:vertex"
        assert "/health" in {document.path for document in served.desk.documents()}
        answer = served.json(
            "hosted:vertex", {"instances": [[1, 2]], "parameters": {"name": "p"}}, "application/json"
        )
        assert answer == {"predictions": [{"label": "p", "score": 2.0}]}
        assert set(environment.values()) <= set(served.desk.openapi()["paths"])

    @pytest.mark.parametrize("route", ["hosted:vertex", "hosted:invocations"])
    @pytest.mark.parametrize(
        "content_type",
        [
            "",
            "application/json; charset=utf-8",
            "application/octet-stream",
            "application/x-www-form-urlencoded",
            "application/vnd.team+json",
            "text/plain;charset=UTF-8",
            "text/json",
        ],
    )
    def test_json_is_taken_whatever_its_type_is_called(self, route, content_type):
        served = Served(judge, environment={"AIP_PREDICT_ROUTE": "/vertex"})
        wrapped = {"instances": [[1, 2]], "parameters": {"name": "p"}}
        assert served.json(route, wrapped, content_type) == {"predictions": [{"label": "p", "score": 2.0}]}
        assert served.json(route, {"width": 1, "length": 2}, content_type)["score"] == 2.0

    def test_bytes_that_a_predictor_takes_are_no_json(self):
        def length(data: bytes) -> int:
            return len(data)

        body = b'{"instances": []}'
        assert Served(length).json(INVOCATIONS, body, "application/octet-stream") == len(body)
        assert Served(judge).refused(INVOCATIONS, b"\x89PNG", "application/octet-stream")[0] == 415

    def test_its_path_may_be_predict(self):
        served = Served(judge, environment={"AIP_PREDICT_ROUTE": "/predict"})
        assert [each.route for each in served.desk.routes() if each.path == "/predict"] == ["hosted:vertex"]
        assert served.json("hosted:vertex", {"width": 1, "length": 2}, "application/json")["score"] == 2.0

    @pytest.mark.parametrize("path", ["", "predict", "/a b", "/a?b", "/a\nb"])
    def test_what_is_no_path_is_passed_over(self, path):
        served = Served(judge, environment={"AIP_PREDICT_ROUTE": path})
        assert all(each.route != "hosted:vertex" for each in served.desk.routes())


def url(path: str, body: str = "", method: str = "POST", **more: Any) -> dict[str, Any]:
    """An event of a function's URL (payload format 2.0)."""
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"}
    context = {"http": http, "stage": "$default", "requestId": "1"}
    return {
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "body": body,
        "headers": {"Content-Type": "application/json"}, "isBase64Encoded": False, "requestContext": context, **more,
    }  # fmt: skip


class TestLambda:
    SERVED = Served(judge)

    def test_an_event_is_a_request(self):
        served = Served(judge)
        assert served.json("lambda", {"width": 2, "length": 3}) == {"label": "n", "score": 6.0}
        answer = served.answer("lambda", {"width": 2})
        assert answer.status == 422
        assert json.loads(answer.body) == {
            "errorMessage": "length: missing; expected a number",
            "errorType": "BadRequest",
        }
        assert served.answer("lambda", b"{").status == 422

    def test_an_event_of_http_is_answered_as_http(self):
        served = Served(judge)
        for event in (
            url("/predict", '{"width": 2, "length": 3}'),
            url("/prod/predict", base64.b64encode(b'{"width": 2, "length": 3}').decode(), isBase64Encoded=True,
                requestContext={"http": {"method": "POST"}, "stage": "prod"}),
            {"httpMethod": "POST", "path": "/predict", "headers": None, "body": '{"width": 2, "length": 3}',
             "requestContext": {"elb": {}}, "isBase64Encoded": False},
        ):  # fmt: skip
            answer = served.json("lambda", event)
            assert answer["statusCode"] == 200
            assert answer["headers"] == {"content-type": "application/json"}
            assert json.loads(answer["body"]) == {"label": "n", "score": 6.0}
        answer = served.json("lambda", url("/v1/models/demo:predict", '{"instances": [[1]]}'))
        assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (
            400, "instances[0].length: missing; expected a number",
        )  # fmt: skip

    def test_documents_and_what_is_not_there(self):
        served = Served(judge)
        assert (
            json.loads(served.json("lambda", url("/openapi.json", method="GET"))["body"])["openapi"]
            == "3.1.0"
        )
        assert served.json("lambda", url("/ping", method="GET"))["statusCode"] == 200
        assert served.json("lambda", url("/nowhere"))["statusCode"] == 404
        assert served.json("lambda", url("/predict", method="DELETE"))["statusCode"] == 405
        assert served.json("lambda", url("/predict", "%%", isBase64Encoded=True))["statusCode"] == 400

    def test_bytes_are_base64(self):
        def flip(data: bytes) -> bytes:
            return data[::-1]

        event = url(
            "/predict",
            base64.b64encode(b"\0\xff").decode(),
            isBase64Encoded=True,
            headers={"Content-Type": "image/png"},
        )
        answer = Served(flip).json("lambda", event)
        assert (answer["isBase64Encoded"], base64.b64decode(answer["body"])) == (True, b"\xff\0")

    @thorough(200)
    @given(st.data())
    def test_no_event_is_a_failure(self, data):
        leaves = (
            st.none()
            | st.booleans()
            | st.text(max_size=4)
            | st.sampled_from(["/predict", "POST", "GET", "/ping"])
        )
        names = [
            "http",
            "method",
            "rawPath",
            "path",
            "stage",
            "headers",
            "body",
            "httpMethod",
            "isBase64Encoded",
        ]
        anything = st.recursive(
            leaves, lambda inner: st.dictionaries(st.sampled_from(names), inner, max_size=5)
        )
        event = url("/predict", "{}") | data.draw(
            st.dictionaries(st.sampled_from([*names, "requestContext"]), anything)
        )
        assert self.SERVED.answer("lambda", event).status in (200, 422)
        assert self.SERVED.answer("lambda", data.draw(st.binary(max_size=9))).status in (200, 422)


class TestOpenApi:
    def served(self, **model: Any) -> Served:
        def embed(texts: list[Verdict], data: bytes = b"") -> list[float]: ...

        return Served(judge, embed, **model)

    def test_every_route_and_document_is_described(self):
        served = self.served(environment={"AIP_PREDICT_ROUTE": "/vertex", "AIP_HEALTH_ROUTE": "/healthy"})
        paths = served.desk.openapi()["paths"]
        for route in served.desk.routes():
            assert not route.path or route.method.lower() in paths[route.path]
        for document in served.desk.documents():
            assert "get" in paths[document.path], document.path

    def test_it_is_a_document_of_openapi(self):
        from schemathesis import openapi

        document = self.served().desk.openapi()
        schema = openapi.from_dict(document)
        schema.validate()  # raises for what the schema of OpenAPI 3.1 does not allow
        assert all(operation.ok() for operation in schema.get_all_operations())
        names = {ref.rpartition("/")[2] for ref in references(document)}
        assert names <= set(document["components"]["schemas"])
        identities = [each["operationId"] for item in document["paths"].values() for each in item.values()]
        assert len(identities) == len(set(identities))
        assert set(document["paths"]["/embed"]["post"]["requestBody"]["content"]) == {
            "application/json", "multipart/form-data", "application/x-www-form-urlencoded",
        }  # fmt: skip
        form = document["components"]["schemas"]["EmbedForm"]["properties"]["data"]
        assert form == {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}

    def test_several_models_have_schemas_of_their_own(self):
        def other(x: int) -> Verdict: ...

        made = []
        for name, predict in (("a", judge), ("b", other)):
            endpoints = (Endpoint("predict", Signature(predict)),)
            made.append(
                Desk(Model(name, "1", endpoints, prefix=f"/{name}", names=("a", "b"), first=name == "a"))
            )
        first, second = (desk.openapi() for desk in made)
        assert "/a/predict" in first["paths"]
        assert {"/v2/models/b/infer", "/b/predict"} <= set(second["paths"])
        assert "/invocations" not in second["paths"]
        shared = set(first["components"]["schemas"]) & set(second["components"]["schemas"])
        assert shared == {"Error"}
        for document in (first, second):
            names = {ref.rpartition("/")[2] for ref in references(document)}
            assert names <= set(document["components"]["schemas"])
        identities = [
            {each["operationId"] for item in document["paths"].values() for each in item.values()}
            for document in (first, second)
        ]
        assert identities[0] & identities[1] == {"livez", "readyz", "status", "metrics"}

    def test_classes_of_one_name_in_two_endpoints(self):
        def make(hint: type) -> type:
            return dataclasses.make_dataclass("Options", [("x", hint)])

        def predict(options): ...
        def embed(options): ...

        predict.__annotations__ = {"options": make(int)}
        embed.__annotations__ = {"options": make(str)}
        schemas = Served(predict, embed).desk.openapi()["components"]["schemas"]
        assert schemas["Options"]["properties"]["x"] == {"type": "integer"}
        assert schemas["EmbedOptions"]["properties"]["x"] == {"type": "string"}
        assert schemas["EmbedRequest"]["properties"]["options"] == {
            "$ref": "#/components/schemas/EmbedOptions"
        }


def test_a_route_that_nobody_has_is_404():
    from corten_serve.protocols.interface import Call

    with pytest.raises(BadRequest) as error:
        Served(judge).desk.read(Call("nothing", "", (), b""))
    assert error.value.status == 404


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [str(item) for key, item in value.items() if key == "$ref"]
        return own + [ref for item in value.values() for ref in references(item)]
    return [ref for item in value for ref in references(item)] if isinstance(value, list) else []
