"""A CDI document → `Specification`: pure, strict about what it uses, tolerant of keys that it does not know.

Source: the CDI specification (SPEC.md, 1.1.0), and for what it leaves open (names, which version brought which field) its
reference implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from corten.errors import FormatError
from corten.lazy import regex
from corten.runtime.cdi.model import Device, DeviceNode, Edits, Hook, Mount, Specification

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
"""The moments of the runtime specification; `prestart` is its deprecated name for `createRuntime`."""

_OLDEST, _NEWEST_MAJOR = (0, 3), 1
_LONGEST = 4096
_MANY = 10_000
_VERSION = regex(r"v?([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})(?:[-+][0-9A-Za-z.+-]{1,80})?")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_VENDOR = regex(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_CLASS = regex(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_DEVICE = regex(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]{0,253}[A-Za-z0-9])?")
_Value = TypeVar("_Value")


def is_qualified(text: str) -> bool:
    """Whether `text` is the full name of a CDI device, `vendor.com/class=device`, and no path of a device node."""
    kind, equals, name = text.partition("=")
    return bool(equals) and is_kind(kind) and is_device_name(name)


def is_kind(text: str) -> bool:
    """Whether `text` is `vendor.com/class`."""
    vendor, slash, name = text.partition("/")
    return bool(slash and _VENDOR.fullmatch(vendor) and _CLASS.fullmatch(name))


def is_device_name(text: str) -> bool:
    """Whether `text` may name a device within its kind."""
    return _DEVICE.fullmatch(text) is not None


def parse_specification(document: Any, path: str, priority: int) -> Specification:
    """The specification in a document that was read from `path`. Raises FormatError with the reason alone."""
    top = _object(document, "the document")
    version = _version(top.get("cdiVersion"))
    kind = _text(top.get("kind"), "kind")
    if not is_kind(kind):
        raise FormatError(f"'{kind[:80]}' is not a kind such as vendor.com/class")
    if "." in kind.partition("/")[2]:
        _needs(version, (0, 6), "a class with a dot")
    if top.get("annotations"):
        _needs(version, (0, 6), "'annotations'")
    devices = tuple(_device(item, version) for item in _list(top.get("devices"), "devices"))
    if not devices:
        raise FormatError("it has no devices")
    names = [device.name for device in devices]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise FormatError(f"the device '{twice[0]}' is in it twice")
    return Specification(path, priority, kind, devices, _edits(top.get("containerEdits"), version))


def _device(value: Any, version: tuple[int, int]) -> Device:
    item = _object(value, "a device")
    name = _text(item.get("name"), "the name of a device")
    if not is_device_name(name):
        raise FormatError(f"'{name[:80]}' is not a name of a device")
    if name[0].isdigit():
        _needs(version, (0, 5), "a device whose name begins with a digit")
    if item.get("annotations"):
        _needs(version, (0, 6), "'annotations'")
    edits = _edits(item.get("containerEdits"), version)
    if not edits:
        raise FormatError(f"the device '{name}' has no edits")
    return Device(name, edits)


def _edits(value: Any, version: tuple[int, int]) -> Edits:
    if value is None:
        return Edits()
    item = _object(value, "'containerEdits'")
    notes: tuple[str, ...] = ()
    if item.get("intelRdt"):
        _needs(version, (0, 7), "'intelRdt'")
        notes = ("Intel's cache and bandwidth allocation (intelRdt) is not set",)
    if item.get("netDevices"):
        raise FormatError("it moves network interfaces into containers (netDevices), which Corten does not")
    groups = tuple(_number(group, "a group", 2**32 - 1) for group in _list(_gids(item), "additionalGids"))
    if groups:
        _needs(version, (0, 7), "'additionalGids'")
    return Edits(
        environment=tuple(_variable(text) for text in _list(item.get("env"), "env")),
        devices=tuple(_node(node, version) for node in _list(item.get("deviceNodes"), "deviceNodes")),
        mounts=tuple(_mount(mount, version) for mount in _list(item.get("mounts"), "mounts")),
        hooks=tuple(_hook(hook) for hook in _list(item.get("hooks"), "hooks")),
        groups=tuple(group for group in groups if group),
        notes=notes,
    )


def _gids(item: dict[str, Any]) -> Any:
    """The specification writes this key in two ways."""
    return item.get("additionalGids", item.get("additionalGIDs"))


def _node(value: Any, version: tuple[int, int]) -> DeviceNode:
    item = _object(value, "a device node")
    path = _path(item.get("path"), "the path of a device node")
    kind = _optional(item, "type", _text) or None
    if kind not in (None, "b", "c", "u", "p"):
        raise FormatError(f"'{path}' has an unknown type '{kind[:20]}'")
    access = _optional(item, "permissions", _text) or "rwm"
    if access != "none" and set(access) - set("rwm"):
        raise FormatError(f"'{path}' has unknown permissions '{access[:20]}'")
    if item.get("hostPath"):
        _needs(version, (0, 5), "'hostPath' of a device node")
    return DeviceNode(
        path=path,
        host_path=_path(item["hostPath"], "'hostPath'") if item.get("hostPath") else path,
        kind=kind,
        major=_optional(item, "major", _number),
        minor=_optional(item, "minor", _number),
        mode=_optional(item, "fileMode", _mode),
        access="" if access == "none" else access,
        uid=_optional(item, "uid", _number),
        gid=_optional(item, "gid", _number),
    )


def _mount(value: Any, version: tuple[int, int]) -> Mount:
    item = _object(value, "a mount")
    kind = _optional(item, "type", _text) or None
    if kind:
        _needs(version, (0, 4), "'type' of a mount")
    host_path = _text(item.get("hostPath"), "'hostPath' of a mount")
    options = tuple(_text(option, "an option of a mount") for option in _list(item.get("options"), "options"))
    if kind in (None, "none", "bind") and not host_path.startswith("/"):
        raise FormatError(f"'{host_path[:200]}' is not an absolute path")
    return Mount(host_path, _path(item.get("containerPath"), "'containerPath' of a mount"), kind, options)


def _hook(value: Any) -> Hook:
    item = _object(value, "a hook")
    name = _text(item.get("hookName"), "'hookName'")
    if name not in HOOKS:
        raise FormatError(f"there is no hook called '{name[:80]}'")
    timeout = _optional(item, "timeout", _number)
    if timeout == 0:
        raise FormatError("the timeout of a hook is not greater than zero")
    environment = tuple(_text(text, "a variable") for text in _list(item.get("env"), "env"))
    for text in environment:
        _variable(text)
    return Hook(
        name=name,
        path=_path(item.get("path"), "the path of a hook"),
        arguments=tuple(_text(text, "an argument", empty=True) for text in _list(item.get("args"), "args")),
        environment=environment,
        timeout=timeout,
    )


def _variable(value: Any) -> tuple[str, str]:
    name, equals, text = _text(value, "a variable").partition("=")
    if not name or not equals:
        raise FormatError(f"'{name[:80]}' is not a variable such as NAME=VALUE")
    return name, text


def _version(value: Any) -> tuple[int, int]:
    text = _text(value, "cdiVersion")
    match = _VERSION.fullmatch(text)
    if match is None:
        raise FormatError(f"'{text[:40]}' is not a version")
    version = int(match[1]), int(match[2])
    if version < _OLDEST or version[0] > _NEWEST_MAJOR:
        raise FormatError(f"version {text} of CDI is not known here")
    return version


def _needs(version: tuple[int, int], least: tuple[int, int], what: str) -> None:
    """A field that came with a later version than the one that a file declares makes the file invalid."""
    if version < least:
        raise FormatError(f"{what} needs cdiVersion {least[0]}.{least[1]}.0")


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{what} is not an object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MANY:
        raise FormatError(f"'{what}' is not a list")
    return value


def _text(value: Any, what: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or "\x00" in value or not (value or empty):
        raise FormatError(f"{what} is missing or not a text")
    return value


def _path(value: Any, what: str) -> str:
    path = _text(value, what)
    if not path.startswith("/") or ".." in path.split("/"):
        raise FormatError(f"'{path[:200]}' is not an absolute path")
    return path


def _number(value: Any, what: str, largest: int = 2**32 - 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise FormatError(f"{what} is not a number from 0 to {largest}")
    return value


def _mode(value: Any, what: str) -> int:
    return _number(value, what, 0o7777)


def _optional(item: dict[str, Any], key: str, parse: Callable[[Any, str], _Value]) -> _Value | None:
    value = item.get(key)
    return None if value is None or value == "" else parse(value, f"'{key}'")
