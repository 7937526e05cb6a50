"""The parameters and the result of a predictor, from its signature."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from corten_serve.errors import PredictorError
from corten_serve.schema.hints import Hints, name_of, resolved
from corten_serve.schema.kinds import Anything, Kind, Problems, Schema
from corten_serve.schema.records import Field, Record

_NO_DEFAULT = dataclasses.MISSING


class Signature:
    """What `call` takes and returns. Making one reads the hints once; reading requests is then plain function calls."""

    def __init__(self, call: Callable[..., Any]) -> None:
        try:
            parameters = list(inspect.signature(call).parameters.values())
        except (ValueError, TypeError) as error:
            raise PredictorError(
                f"the parameters of '{name_of(call)}' cannot be found out",
                hint="wrap it in a function of your own with type hints",
            ) from error
        hints = resolved(_hinted(call))
        self._hints = Hints()
        self._positional: list[tuple[str, Any]] = []
        fields: list[Field] = []
        extra: Kind | None = None
        for parameter in parameters:
            name = parameter.name
            hint = hints.get(name, Any)
            default = _NO_DEFAULT if parameter.default is parameter.empty else parameter.default
            if parameter.kind is parameter.VAR_POSITIONAL:
                raise PredictorError(
                    f"'predict' takes '*{name}', which a JSON object has no names for",
                    hint=f"take a list instead: '{name}: list[…]'",
                )
            field = self._hints.field(name, hint, default is _NO_DEFAULT, default, f"of parameter '{name}'")
            if parameter.kind is parameter.VAR_KEYWORD:
                extra = field.kind
                continue
            if parameter.kind is parameter.POSITIONAL_ONLY:
                self._positional.append((name, default))
            fields.append(field)
        self.request = Record(fields=fields, extra=extra)
        self.result = _result(self._hints, hints.get("return", Any))
        self._definitions = self._hints.definitions()

    def definitions(self) -> dict[str, Schema]:
        """The shared schemas of parameters and result, by name."""
        return self._definitions

    def bind(
        self, value: Any, given: Mapping[str, Any] | None = None
    ) -> tuple[list[Any], dict[str, Any], Problems]:
        """Positional and keyword arguments for a parsed request, or the problems with it. `given` are arguments that
        came as bytes and are Python values already."""
        problems = Problems()
        keywords = self.request.read_beside(value, given, None, problems)
        if problems.found or not self._positional:
            return [], keywords, problems
        return [keywords.pop(name, default) for name, default in self._positional], keywords, problems


def _hinted(call: Any) -> Any:
    """What carries the annotations: the function behind a method, a partial, a decorator or a callable object."""
    call = inspect.unwrap(call)
    if hasattr(call, "func") and hasattr(call, "keywords"):
        return _hinted(call.func)
    if inspect.ismethod(call):
        return _hinted(call.__func__)
    if not inspect.isroutine(call) and not inspect.isclass(call):
        return type(call).__call__
    return call


def _result(hints: Hints, hint: Any) -> Schema:
    """The schema of the answer. A result is documented, not enforced, so a hint without a schema is no error."""
    try:
        kind = hints.kind(hint)
    except PredictorError:
        kind = Anything()
    return kind.schema()
