"""A request's body → the arguments of one endpoint, by its content type: JSON, a form, an array, or an upload as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corten_serve.protocols import npy
from corten_serve.protocols.accept import charset, parse
from corten_serve.protocols.codec import bind, decode, load
from corten_serve.protocols.forms import Part, multipart, urlencoded
from corten_serve.protocols.interface import JSON, BadRequest
from corten_serve.protocols.tensors import Tensor
from corten_serve.schema.kinds import Kind, Problems, form_of
from corten_serve.schema.records import Field
from corten_serve.schema.signature import Signature

if TYPE_CHECKING:
    from typing import TypeAlias

MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"
_USUAL = frozenset({"", JSON, "application/json; charset=utf-8", "application/json;charset=utf-8"})
_AS_JSON = frozenset({"text/json", "text/plain", "application/jsonlines"})
Arguments: TypeAlias = "tuple[list[Any], dict[str, Any]]"


class Bodies:
    """Reads bodies for one signature. `upload` is the field that a whole body can stand for: the only one that takes
    bytes, where every other may be left out. `array` is the same for an array of numbers."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._fields = {field.name: field for field in signature.request.fields}
        self.upload = self._only([field for field in self._fields.values() if field.kind.media])
        self.array = self._only([field for field in self._fields.values() if is_numbers(field.kind)])

    def _only(self, fields: list[Field]) -> Field | None:
        others = [field for field in self._fields.values() if field.required and field not in fields]
        return fields[0] if len(fields) == 1 and not others else None

    def types(self) -> list[str]:
        """The content types that a request may have."""
        found = [JSON, MULTIPART, URLENCODED]
        if self.array:
            found.append(npy.NPY)
        return found + list(self.upload.kind.media if self.upload else ())

    def read(self, body: Any, content_type: str) -> Arguments:
        """Positional and keyword arguments. Raises BadRequest."""
        if content_type in _USUAL:
            return decode(self._signature, body)
        kind, parameters = parse(content_type)
        if kind == MULTIPART:
            return self._form(multipart(body, parameters), binary=True)
        if kind == URLENCODED:
            # What curl says of a body when it is told nothing else.
            if bytes(body[:64]).lstrip()[:1] in (b"{", b"", b"["):
                return decode(self._signature, body)
            return self._form(urlencoded(body), binary=False)
        if kind in npy.TYPES and self.array:
            return self._array(npy.load(body, self.array.name), self.array)
        if kind == JSON or kind.endswith("+json") or (kind in _AS_JSON and not self.takes(kind)):
            return decode(self._signature, recoded(body, parameters))
        if self.upload:
            return self._whole(body, content_type, self.upload)
        expected = ", ".join(f"'{name}'" for name in self.types())
        raise BadRequest([("", f"expected one of {expected}, got '{kind[:60]}'")], 415)

    def takes(self, kind: str) -> bool:
        """Whether a whole body of the content type `kind` is an upload."""
        main = kind.partition("/")[0]
        return self.upload is not None and any(
            media in (kind, f"{main}/*") for media in self.upload.kind.media
        )

    def _whole(self, body: Any, content_type: str, field: Field) -> Arguments:
        problems = Problems()
        value = field.kind.read_bytes(body, content_type, (None, field.name), problems)
        if problems.found:
            raise BadRequest(problems.found)
        return bind(self._signature, {}, {field.name: value})

    def _array(self, tensor: Tensor, field: Field) -> Arguments:
        problems = Problems()
        value = array_value(field.kind, tensor, (None, field.name), problems)
        if problems.found:
            raise BadRequest(problems.found)
        return bind(self._signature, {}, {field.name: value})

    def _form(self, parts: list[Part], binary: bool) -> Arguments:
        groups: dict[str, list[Part]] = {}
        for part in parts:
            # A browser sends a file that nobody chose as an empty one without a name.
            if part.file != "" or len(part.data):
                groups.setdefault(part.name, []).append(part)
        values: dict[str, Any] = {}
        given: dict[str, Any] = {}
        problems = Problems()
        for name, group in groups.items():
            field = self._fields.get(name)
            if field is None:
                values[name] = _free(group[0])
            elif binary and (as_bytes := _as_bytes(field.kind, group, name, problems)) is not None:
                given[name] = as_bytes
            elif field.required or "string" in field.kind.forms or any(len(part.data) for part in group):
                values[name] = _field(field.kind, group, problems)
        if problems.found:
            raise BadRequest(problems.found)
        return bind(self._signature, values, given)


def is_numbers(kind: Kind) -> bool:
    """Whether a kind is an array of numbers or booleans, at any depth, or null."""
    schema = kind.schema()
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    schema = options[0] if len(options) == 1 else schema
    while schema.get("type") == "array":
        if str(schema.get("format", "")).startswith("ndarray-"):
            return True
        schema = schema.get("items", {})
        if schema.get("type") in ("number", "integer", "boolean"):
            return True
    return False


def array_value(kind: Kind, tensor: Tensor, path: Any, problems: Problems) -> Any:
    """A tensor as the argument that `kind` stands for: an array straight away, anything else by way of lists."""
    read = getattr(kind, "read_array", None)
    array = tensor.array() if read is not None else None
    if read is not None and array is not None:
        return read(array, path, problems)
    if tensor.is_too_nested():
        problems.add(path, f"an array of {len(tensor.shape)} dimensions takes too much memory as lists")
        return None
    nested = tensor.nested()
    item = kind.item
    if item is not None and "null" in item.forms and len(tensor.shape) == 1 and tensor.datatype[:2] == "FP":
        nested = [None if value != value else value for value in nested]
    return kind.read(nested, path, problems)


def text_value(kind: Kind, text: str) -> Any:
    """A plain text as the JSON value that `kind` probably means by it; what it cannot mean stays text, and reading it then
    says what was expected."""
    forms = kind.forms
    if forms <= {"string", "null"} or (text and kind.textual):
        return text if text or "string" in forms else None
    try:
        value = load(text)
    except BadRequest:
        value = text
    else:
        if form_of(value) in forms or "string" not in forms:
            return value
        value = text
    if "string" not in forms:
        if not text and "null" in forms:
            return None
        if forms == {"boolean"} and text in ("on", "True", "False"):
            return text != "False"
    return value


def _as_bytes(kind: Kind, group: list[Part], name: str, problems: Problems) -> Any:
    """The value of a field that takes bytes and was sent some, else None."""
    path = (None, name)
    if kind.media and _is_upload(kind, group[0]):
        if len(group) > 1:
            problems.add(path, f"expected one, got {len(group)}")
        return kind.read_bytes(group[0].data, group[0].type, path, problems)
    item = kind.item
    if item is not None and item.media and all(_is_upload(item, part) for part in group):
        return [
            item.read_bytes(part.data, part.type, (path, index), problems) for index, part in enumerate(group)
        ]
    return None


def _is_upload(kind: Kind, part: Part) -> bool:
    """Whether a part is bytes for `kind`: a file always is; a plain field is, unless `kind` can be written as JSON that is
    no string."""
    if part.file is not None:
        return True
    return kind.forms <= {"string", "null"} and parse(part.type)[0] != JSON


def _field(kind: Kind, group: list[Part], problems: Problems) -> Any:
    first = group[0]
    if len(group) == 1 and parse(first.type)[0] == JSON:
        return load(first.data, first.name)
    texts = [part.text() for part in group]
    if "array" not in kind.forms:
        if len(group) > 1:
            problems.add((None, first.name), f"expected one, got {len(group)}")
        return text_value(kind, texts[0])
    if len(texts) == 1:
        value = text_value(kind, texts[0])
        if form_of(value) in kind.forms:
            return value
    return [text_value(kind.item or Kind(), text) for text in texts]


def _free(part: Part) -> Any:
    """A field that no parameter is named for: `**more` may take it."""
    return part.text() if parse(part.type)[0] != JSON else load(part.data, part.name)


def recoded(body: Any, parameters: dict[str, str]) -> Any:
    """The body in UTF-8, from the charset that its content type names. Raises BadRequest."""
    codec = charset(parameters)
    if codec is None:
        raise BadRequest([("", f"the charset '{parameters['charset'][:40]}' is not known")], 415)
    if not codec:
        return body
    try:
        return str(body, codec).encode()
    except UnicodeError as error:
        raise BadRequest([("", f"the body is not '{parameters['charset'][:40]}'")]) from error
