"""The Open Inference Protocol, which is KServe's second, with its binary tensor data extension
(github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md; the extension is Triton's)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from corten_serve.protocols.codec import encode, error_body, load, problems_text
from corten_serve.protocols.inference_openapi import BINARY, HEADER, described
from corten_serve.protocols.interface import (
    Answer,
    BadRequest,
    Call,
    Described,
    Document,
    Model,
    Problem,
    Route,
    Work,
)
from corten_serve.protocols.results import Results
from corten_serve.protocols.tensor_inputs import Inputs, form_of_schema, read_tensor
from corten_serve.protocols.tensor_outputs import OUTPUT, outputs, packed, plain
from corten_serve.protocols.tensors import BYTES, Tensor

ROUTE = "v2:infer"
PLATFORM = "corten"
_MOST_INPUTS = 1000


class Inference:
    """`POST /v2/models/NAME/infer` of one model, with or without its version; its endpoint `predict`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._endpoint = model.endpoints[0]
        self._inputs = Inputs(self._endpoint.signature)
        self._results = Results(self._endpoint.signature)
        self._paths = (f"/v2/models/{model.name}", f"/v2/models/{model.name}/versions/{model.version}")

    def routes(self) -> list[Route]:
        """Two paths of one route."""
        return [
            Route("POST", f"{path}/infer", ROUTE, (HEADER,), self._endpoint.batch) for path in self._paths
        ]

    def documents(self) -> list[Document]:
        """What the server and the model are, and whether they live and are ready."""
        model = self._model
        server = {
            "name": "corten",
            "version": model.version,
            "extensions": ["binary_tensor_data", "model_configuration", "statistics"],
        }
        ready = encode({"name": model.name, "ready": True})
        return [
            Document("/v2", encode(server)),
            Document("/v2/health/live", b'{"live":true}'),
            Document("/v2/health/ready", b'{"ready":true}', ready=True),
            *(Document(path, encode(self.metadata())) for path in self._paths),
            *(Document(f"{path}/ready", ready, ready=True) for path in self._paths),
            *(Document(f"{path}/config", encode(self.configuration())) for path in self._paths),
        ]

    def configuration(self) -> dict[str, Any]:
        """The model's inputs and outputs in the words of Triton's configuration. A size of batches is not in the shapes' way:
        they are whole, which is what 0 says there."""
        metadata = self.metadata()

        def told(tensor: dict[str, Any]) -> dict[str, Any]:
            kind = "STRING" if tensor["datatype"] == BYTES else tensor["datatype"]
            return {"name": tensor["name"], "data_type": f"TYPE_{kind}", "dims": tensor["shape"]}

        return {
            "name": metadata["name"],
            "platform": metadata["platform"],
            "backend": "python",
            "max_batch_size": 0,
            "input": [told(each) for each in metadata["inputs"]],
            "output": [told(each) for each in metadata["outputs"]],
        }

    def metadata(self) -> dict[str, Any]:
        """The model's inputs and outputs. A result without a type hint has none that could be told before."""
        model, signature = self._model, self._endpoint.signature
        definitions = signature.definitions()
        schema = signature.result
        if signature.streams:
            schema = {"type": "array", "items": schema} if schema else {}
        target = definitions.get(schema.get("$ref", "").rpartition("/")[2], schema)
        named = target.get("properties", {}) if target.get("type") == "object" else {OUTPUT: schema}
        return {
            "name": model.name,
            "versions": [model.version],
            "platform": PLATFORM,
            "inputs": [
                {"name": name, "datatype": form.datatype, "shape": form.shape}
                for name, form in self._inputs.forms.items()
            ],
            "outputs": [
                {"name": name, "datatype": form.datatype, "shape": form.shape}
                for name, form in ((name, form_of_schema(each, definitions)) for name, each in named.items())
                if named[name]
            ],
        }

    def read(self, call: Call) -> Work:
        """An item for each row. Raises BadRequest."""
        try:
            document, tensors = _tensors(call.body, call.headers[0])
            wanted = _wanted(document)
            parameters = document.get("parameters") or {}
            items, whole = self._inputs.read(tensors, parameters)
        except BadRequest as error:
            raise BadRequest(error.problems, 400) from error
        note = (document.get("id"), wanted, bool(parameters.get("binary_data_output")), whole)
        return Work(self._endpoint.name, items, call, note)

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """The outputs that were asked for, all of them where none was named. Raises ResultError."""
        identity, wanted, binary, whole = work.note
        found = outputs([self._bytes(result) for result in results], whole)
        missing = [name for name in wanted if name not in found]
        if missing:
            listed = ", ".join(list(found)[:12])
            return self.write_error(
                work.call, 400, f"there is no output '{missing[0][:60]}'; there are: {listed}"
            )
        document: dict[str, Any] = {"model_name": self._model.name, "model_version": self._model.version}
        if identity is not None:
            document["id"] = identity
        blobs: list[bytes] = []
        document["outputs"] = [
            _entry(name, found[name], wanted.get(name, binary), blobs) for name in wanted or found
        ]
        head = encode(document)
        if not blobs:
            return Answer(200, head)
        length = (("inference-header-content-length", str(len(head))),)
        return Answer(200, b"".join([head, *blobs]), BINARY, length)

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """`{"error": …}`; what does not fit the types is 400 here."""
        return Answer(400 if status == 422 else status, error_body(message or problems_text(problems)))

    def openapi(self) -> Described:
        """The paths, those with a version too."""
        return described(self._model, self._paths)

    def _bytes(self, result: Any) -> Any:
        """A result that is a file or an image as its bytes."""
        found = self._results.as_bytes(result)
        return result if found is None else found[1]


def _tensors(body: Any, header: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The request's JSON, and its tensors by name. Raises BadRequest."""
    view = memoryview(body)
    length = len(view)
    if header:
        if not re.fullmatch("[0-9]{1,12}", header) or not 0 < int(header) <= length:
            raise BadRequest([(HEADER, f"expected a number from 1 to the body's {length} bytes")])
        length = int(header)
    document = load(bytes(view[:length]))
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise BadRequest([("inputs", "missing; expected an array of tensors")])
    if not isinstance(document.get("parameters") or {}, dict):
        raise BadRequest([("parameters", "expected an object")])
    if not isinstance(document.get("id", ""), str):
        raise BadRequest([("id", "expected a string")])
    if len(document["inputs"]) > _MOST_INPUTS:
        raise BadRequest([("inputs", f"there are at most {_MOST_INPUTS}")])
    tensors: dict[str, Tensor] = {}
    for index, entry in enumerate(document["inputs"]):
        place = f"inputs[{index}]"
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name in tensors:
            raise BadRequest([(place, "expected an object with a 'name' that no other input has")])
        blob, length = _blob(entry, place, view, length)
        tensors[name] = read_tensor(entry, place, blob)
    if length < len(view):
        raise BadRequest([("", f"{len(view) - length} bytes of the body belong to no input")])
    return document, tensors


def _blob(entry: dict[str, Any], place: str, view: memoryview, start: int) -> tuple[Any, int]:
    """The binary data of an input, None where it has its data in JSON; and where the next one's begins."""
    parameters = entry.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BadRequest([(place, "'parameters' is not an object")])
    if any(name.startswith("shared_memory") for name in parameters):
        raise BadRequest([(place, "shared memory is not supported")])
    size = parameters.get("binary_data_size")
    if size is None:
        return None, start
    if type(size) is not int or not 0 <= size <= len(view) - start:
        raise BadRequest([(place, "'binary_data_size' is no number of bytes that the body has")])
    if "data" in entry:
        raise BadRequest([(place, "there is both 'data' and 'binary_data_size'")])
    return view[start : start + size], start + size


def _wanted(document: dict[str, Any]) -> dict[str, bool]:
    """The names of the outputs that are asked for, and whether each is to be binary. Raises BadRequest."""
    asked = document.get("outputs")
    if asked is None:
        return {}
    parameters = document.get("parameters") or {}
    wanted: dict[str, bool] = {}
    for index, entry in enumerate(asked if isinstance(asked, list) else [None]):
        place = f"outputs[{index}]"
        own = (entry.get("parameters") or {}) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not isinstance(own, dict):
            raise BadRequest([(place, "expected an object with a 'name'")])
        if own.get("classification") or any(name.startswith("shared_memory") for name in own):
            raise BadRequest([(place, "neither classification nor shared memory is supported")])
        wanted[entry["name"]] = bool(own.get("binary_data", parameters.get("binary_data_output", False)))
    return wanted


def _entry(name: str, tensor: Tensor, binary: bool, blobs: list[bytes]) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "datatype": tensor.datatype}
    if not binary:
        return {**entry, "data": plain(tensor)}
    blobs.append(packed(tensor))
    return {**entry, "parameters": {"binary_data_size": len(blobs[-1])}}
