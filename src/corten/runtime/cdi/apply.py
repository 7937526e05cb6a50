"""Edits → a runtime specification that has them: pure."""

from __future__ import annotations

from typing import Any

from corten.runtime.cdi.model import DeviceNode, Edits, Hook, Mount

_HOOK_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def with_edits(spec: dict[str, Any], edits: Edits, *, makes_nodes: bool) -> dict[str, Any]:
    """A copy of the runtime specification `spec` with `edits`. What is asked for replaces what is there under the same
    name or at the same place. `makes_nodes`: device nodes can be made; a user namespace may not, and there the host's own
    are mounted, with their own numbers and owners. The nodes of `edits` are complete (`nodes.completed`)."""
    if not edits:
        return spec
    process, linux = dict(spec["process"]), dict(spec["linux"])
    process["env"] = _environment(process["env"], edits)
    process["user"] = _user(process["user"], edits)
    mounts = list(edits.mounts)
    if makes_nodes:
        linux["devices"] = _devices(linux.get("devices", []), edits.devices, process["user"])
        if "resources" in linux:
            linux["resources"] = _allowed(linux["resources"], edits.devices)
    else:
        mounts += [Mount(node.host_path, node.path, "bind", ("bind", "rprivate")) for node in edits.devices]
    changed = {**spec, "process": process, "linux": linux, "mounts": _mounts(spec["mounts"], mounts)}
    if edits.hooks:
        changed["hooks"] = _hooks(spec.get("hooks", {}), edits.hooks)
    return changed


def _environment(present: list[str], edits: Edits) -> list[str]:
    values = dict(item.split("=", 1) for item in present) | dict(edits.environment)
    return [f"{name}={value}" for name, value in values.items()]


def _user(present: dict[str, Any], edits: Edits) -> dict[str, Any]:
    groups = list(dict.fromkeys([*present.get("additionalGids", []), *edits.groups]))
    return {**present, "additionalGids": groups} if groups else present


def _devices(present: list[Any], nodes: tuple[DeviceNode, ...], user: dict[str, Any]) -> list[Any]:
    """Without an owner a node is the container's user's, as the reference implementation has it: who asks for a device
    wants to open it."""
    wanted = {}
    for node in nodes:
        device: dict[str, Any] = {"path": node.path, "type": node.kind}
        if node.kind != "p":
            device |= {"major": node.major, "minor": node.minor}
        if node.mode is not None:
            device["fileMode"] = node.mode
        device["uid"] = node.uid if node.uid is not None else user["uid"]
        device["gid"] = node.gid if node.gid is not None else user["gid"]
        wanted[node.path] = device
    return [*(item for item in present if item["path"] not in wanted), *wanted.values()]


def _allowed(resources: dict[str, Any], nodes: tuple[DeviceNode, ...]) -> dict[str, Any]:
    rules = [
        {
            "allow": True,
            "type": "b" if node.kind == "b" else "c",
            "major": node.major,
            "minor": node.minor,
            "access": node.access,
        }
        for node in nodes
        if node.kind != "p" and node.access
    ]
    return {**resources, "devices": [*resources.get("devices", []), *rules]}


def _mounts(present: list[Any], wanted: list[Mount]) -> list[Any]:
    places = {mount.path for mount in wanted}
    kept = [item for item in present if item["destination"] not in places]
    last = {mount.path: mount for mount in wanted}
    # What lies deeper comes later, or it would be hidden.
    ordered = sorted(last.values(), key=lambda mount: mount.path.rstrip("/").count("/"))
    return [*kept, *(_mount(mount) for mount in ordered)]


def _mount(mount: Mount) -> dict[str, Any]:
    options = list(mount.options)
    if mount.kind in (None, "none", "bind") and not {"bind", "rbind"} & set(options):
        # Files with a source and a place alone are in the specification's own examples.
        options.insert(0, "rbind")
    return {
        "destination": mount.path,
        "type": mount.kind or "bind",
        "source": mount.host_path,
        "options": options,
    }


def _hooks(present: dict[str, Any], hooks: tuple[Hook, ...]) -> dict[str, Any]:
    changed = {name: list(value) for name, value in present.items()}
    for hook in hooks:
        entry: dict[str, Any] = {"path": hook.path}
        if hook.arguments:
            entry["args"] = list(hook.arguments)
        # Without any, an engine gives it the container's, and with that an image chooses what a program of this machine loads
        # (LD_PRELOAD, CVE-2025-23266).
        own = [] if any(item.startswith("PATH=") for item in hook.environment) else [_HOOK_PATH]
        entry["env"] = [*own, *hook.environment]
        if hook.timeout is not None:
            entry["timeout"] = hook.timeout
        changed.setdefault(hook.name, []).append(entry)
    return changed
