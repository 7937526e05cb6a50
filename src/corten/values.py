"""Frozen dataclasses that cost a tenth of a millisecond to define instead of one: `dataclasses` as far as values need it.

`dataclasses` compiles six methods for each class, and imports `inspect`. A command that starts in 40 ms defines thirty classes, and
paid 35 ms for that. What is made here is meant by `@dataclass(frozen=True, slots=True)`: the same `__init__`, `__eq__`, `__hash__`,
`__repr__`, `__match_args__`, `FrozenInstanceError`, pickling and copying. Every other form of the decorator is the standard
library's. `dataclasses.fields`, `replace`, `asdict` and `is_dataclass` take these classes too. Type checkers see the standard
library's names and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["asdict", "dataclass", "field", "fields", "is_dataclass", "replace"]

if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
else:
    _NAMES = "__value_fields__"
    _MISSING = object()

    class Field:
        """One field: what `dataclasses.Field` tells, as far as it is used here."""

        __slots__ = ("compare", "default", "default_factory", "metadata", "name", "repr", "type")

        def __init__(
            self, default=_MISSING, default_factory=_MISSING, repr=True, compare=True, metadata=None
        ):
            self.name = self.type = None
            self.default, self.default_factory = default, default_factory
            self.repr, self.compare = repr, compare
            self.metadata = metadata or {}

    class _Standard:
        """`__dataclass_fields__`, made when the standard library asks for it."""

        def __get__(self, instance, owner):
            import dataclasses

            made = {}
            for item in getattr(owner, _NAMES).values():
                options = {"repr": item.repr, "compare": item.compare, "metadata": item.metadata}
                if item.default is not _MISSING:
                    options["default"] = item.default
                if item.default_factory is not _MISSING:
                    options["default_factory"] = item.default_factory
                twin = dataclasses.field(**options)
                twin.name, twin.type = item.name, item.type
                twin._field_type = dataclasses._FIELD
                made[item.name] = twin
            return made

    class _Signature:
        """`__signature__`: what `inspect.signature` tells of the class, whose `__init__` may not be compiled yet."""

        def __get__(self, instance, owner):
            import inspect

            made = owner.__init__
            _, *others = inspect.signature(getattr(made, "__compiled__", lambda: made)()).parameters.values()
            return inspect.Signature(others)

    def field(*, default=_MISSING, default_factory=_MISSING, repr=True, compare=True, metadata=None):
        """As `dataclasses.field`."""
        return Field(default, default_factory, repr, compare, metadata)

    def dataclass(cls=None, /, **options):
        """As `dataclasses.dataclass`."""
        if options != {"frozen": True, "slots": True}:
            import dataclasses

            return (
                dataclasses.dataclass(cls, **options) if cls is not None else dataclasses.dataclass(**options)
            )
        return _define if cls is None else _define(cls)

    def fields(value):
        """As `dataclasses.fields`: each has `name`, `type`, `default`."""
        known = getattr(value, _NAMES, None)
        if known is None:
            import dataclasses

            return dataclasses.fields(value)
        return tuple(known.values())

    def is_dataclass(value):
        """As `dataclasses.is_dataclass`."""
        return hasattr(value, _NAMES) or hasattr(value, "__dataclass_fields__")

    def replace(value, /, **changes):
        """As `dataclasses.replace`."""
        known = getattr(value, _NAMES, None)
        if known is None:
            import dataclasses

            return dataclasses.replace(value, **changes)
        for name in known:
            if name not in changes:
                changes[name] = getattr(value, name)
        return type(value)(**changes)

    def asdict(value):
        """As `dataclasses.asdict`."""
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}

    def _plain(value):
        kind = type(value)
        if kind in (str, int, float, bool, type(None)):
            return value
        if is_dataclass(value):
            return asdict(value)
        if isinstance(value, list | tuple):
            items = [_plain(item) for item in value]
            return kind(*items) if hasattr(value, "_fields") else kind(items)
        if isinstance(value, dict):
            return kind((_plain(key), _plain(item)) for key, item in value.items())
        return value

    def _define(cls):
        known = {}
        for base in reversed(cls.__mro__[1:]):
            known.update(base.__dict__.get(_NAMES, ()))
        space = dict(cls.__dict__)
        own = []
        for name, kind in space.get("__annotations__", {}).items():
            if str(kind).startswith(("ClassVar", "typing.ClassVar")):
                continue
            default = space.pop(name, _MISSING)
            item = default if isinstance(default, Field) else Field(default)
            if isinstance(item.default, list | dict | set):
                raise ValueError(f"mutable default for field '{name}'; use default_factory")
            item.name, item.type = name, kind
            known[name] = item
            own.append(name)
        inherited = {name for base in cls.__mro__[1:] for name in base.__dict__.get("__slots__", ())}
        space["__slots__"] = tuple(name for name in own if name not in inherited)
        space.pop("__dict__", None)
        space.pop("__weakref__", None)
        space[_NAMES] = known
        space["__dataclass_fields__"] = _Standard()
        space.setdefault("__signature__", _Signature())
        space.setdefault("__match_args__", tuple(known))
        for name, method in _METHODS.items():
            space.setdefault(name, method)
        if space.get("__hash__") is None:  # Python's own answer to an `__eq__` in the class
            space["__hash__"] = _hash
        made = type(cls)(cls.__name__, cls.__bases__, space)
        made.__qualname__ = cls.__qualname__
        _repair_cells(cls, made)
        if "__init__" not in cls.__dict__:
            _check_order(known)
            made.__init__ = _first_initializer(made, known)
        return made

    def _check_order(known):
        late = False
        for name, item in known.items():
            if item.default is not _MISSING or item.default_factory is not _MISSING:
                late = True
            elif late:
                raise TypeError(f"non-default argument '{name}' follows default argument")

    def _first_initializer(cls, known):
        # Most classes of a command are never made: `__init__` is compiled when the first value is. A class that inherits from
        # this one has an `__init__` of its own, or calls this one by name and takes what stands here then.
        def compiled():
            made = _initializer(cls, known)
            if cls.__dict__.get("__init__") is __init__:
                cls.__init__ = made
            return made

        def __init__(self, /, *arguments, **named):
            compiled()(self, *arguments, **named)

        __init__.__compiled__ = compiled
        __init__.__qualname__ = f"{cls.__qualname__}.__init__"
        return __init__

    def _initializer(cls, known):
        names, parameters, lines = {"_made": Field, "_missing": _MISSING}, [], []
        for name, item in known.items():
            names[f"_set_{name}"] = getattr(cls, name).__set__
            if item.default_factory is not _MISSING:
                names[f"_make_{name}"] = item.default_factory
                parameters.append(f"{name}=_missing")
                lines.append(f"_set_{name}(self, _make_{name}() if {name} is _missing else {name})")
                continue
            if item.default is not _MISSING:
                names[f"_default_{name}"] = item.default
                parameters.append(f"{name}=_default_{name}")
            else:
                parameters.append(name)
            lines.append(f"_set_{name}(self, {name})")
        if hasattr(cls, "__post_init__"):
            lines.append("self.__post_init__()")
        body = "\n ".join(lines) or "pass"
        space = {}
        exec(f"def __init__({', '.join(['self', *parameters])}):\n {body}", names, space)  # noqa: S102
        made = space["__init__"]
        made.__qualname__ = f"{cls.__qualname__}.__init__"
        return made

    def _repair_cells(old, new):
        # A method that says `super()` or `__class__` holds the class that it was compiled in, and slots need another one.
        for method in old.__dict__.values():
            method = getattr(
                method, "__wrapped__", getattr(method, "fget", getattr(method, "__func__", method))
            )
            for cell in getattr(method, "__closure__", None) or ():
                try:
                    if cell.cell_contents is old:
                        cell.cell_contents = new
                except ValueError:  # an empty cell
                    pass

    # Few classes are ever compared or hashed, and these compile the methods of those that are, at the first time.

    def _equal(self, other):
        return _owner(self, "__eq__").__eq__(self, other)

    def _hash(self):
        return _owner(self, "__hash__").__hash__(self)

    def _owner(value, method):
        owner = next(cls for cls in type(value).__mro__ if _NAMES in cls.__dict__)
        names = [name for name, item in getattr(owner, _NAMES).items() if item.compare]
        mine, its = (f"({''.join(f'{of}.{name}, ' for name in names)})" for of in ("self", "other"))
        text = (
            f"def __eq__(self, other):\n return {mine} == {its} "
            "if other.__class__ is self.__class__ else NotImplemented\n"
            f"def __hash__(self):\n return hash({mine})\n"
        )
        space = {}
        exec(text, {}, space)  # noqa: S102
        setattr(owner, method, space[method])
        return owner

    def _shown(self):
        shown = (
            f"{name}={getattr(self, name)!r}" for name, item in getattr(self, _NAMES).items() if item.repr
        )
        return f"{self.__class__.__qualname__}({', '.join(shown)})"

    def _refuse_set(self, name, value):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_delete(self, name):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def _state(self):
        return [getattr(self, name) for name in getattr(self, _NAMES)]

    def _restore(self, state):
        for name, value in zip(getattr(self, _NAMES), state, strict=True):
            object.__setattr__(self, name, value)

    _METHODS = {
        "__eq__": _equal,
        "__repr__": _shown,
        "__setattr__": _refuse_set,
        "__delattr__": _refuse_delete,
        "__getstate__": _state,
        "__setstate__": _restore,
    }
