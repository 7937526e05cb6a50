"""Alternatives (update-alternatives(1)) from the literal `update-alternatives --install` lines of maintainer scripts.

The scripts are read as text. A line with a variable in it is passed over: what it means is only known by running it.
Beside the links goes dpkg's own record of each group (`/var/lib/dpkg/alternatives`), so that a layer above can add to it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from corten.lazy import regex
from corten.packages.debian.tree import Tree

_RECORDS = "var/lib/dpkg/alternatives"
_CALL = regex(r"update-alternatives((?:\\\n|[^\n;&|()`])*)")
_NAME = regex(r"[A-Za-z0-9][A-Za-z0-9._+@-]*")


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to fill a group: `path` for the link of the group `name`, `slaves` as (name, link, path)."""

    name: str
    link: str
    path: str
    priority: int
    slaves: tuple[tuple[str, str, str], ...] = ()


@dataclass
class _Group:
    link: str
    slaves: dict[str, str] = field(default_factory=dict)
    choices: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)


def read_alternatives(script: str) -> Iterator[Alternative]:
    """The alternatives that a maintainer script installs with literal arguments."""
    text = "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("#"))
    for match in _CALL.finditer(text):
        call = match.group(1).replace("\\\n", " ")
        try:
            words = shlex.split(call)
        except ValueError:
            continue
        if "$" in call or "--install" not in words:
            continue
        found = _alternative(words)
        if found is not None:
            yield found


def _alternative(words: list[str]) -> Alternative | None:
    start = words.index("--install") + 1
    main, rest = words[start : start + 4], words[start + 4 :]
    if len(main) != 4 or not re.fullmatch(r"-?[0-9]{1,9}", main[3]):
        return None
    slaves = []
    while rest[:1] == ["--slave"] and len(rest) >= 4:
        slaves.append((rest[2], rest[1], rest[3]))
        rest = rest[4:]
    link, name, path = main[:3]
    if not all(_usable(*item) for item in ((name, link, path), *slaves)):
        return None
    return Alternative(name, link, path, int(main[3]), tuple(slaves))


def _usable(name: str, link: str, path: str) -> bool:
    return bool(_NAME.fullmatch(name)) and all(
        item.startswith("/") and ".." not in item.split("/") and item.isprintable() for item in (link, path)
    )


def write_alternatives(tree: Tree, scripts: Iterable[str], keep: Callable[[str], bool]) -> None:
    """Make the links of all groups that `scripts` add to, with what lower layers know of them. The highest priority
    wins, among equals the first path. Links that `keep` refuses (manual pages) are left out, as are those to nothing."""
    groups: dict[str, _Group] = {}
    for script in scripts:
        for item in read_alternatives(script):
            if not keep(item.link.lstrip("/")):
                continue
            if item.name not in groups:
                groups[item.name] = _recorded(tree, item.name) or _Group(item.link)
            group = groups[item.name]
            slaves = {
                name: path for name, link, path in item.slaves if keep(link.lstrip("/")) and tree.exists(path)
            }
            group.slaves.update({name: link for name, link, _ in item.slaves if name in slaves})
            if tree.exists(item.path):
                group.choices[item.path] = (item.priority, slaves)
    for name, group in sorted(groups.items()):
        if not group.choices:
            continue
        best = min(group.choices, key=lambda path: (-group.choices[path][0], path))
        _set(tree, name, group.link, best)
        for slave, path in sorted(group.choices[best][1].items()):
            _set(tree, slave, group.slaves[slave], path)
        tree.write(f"{_RECORDS}/{name}", _record(group))


def _set(tree: Tree, name: str, link: str, path: str) -> None:
    if tree.kind(link.lstrip("/")) not in (None, "symlink"):
        return  # a real file is never replaced by an alternative
    tree.link(f"etc/alternatives/{name}", path)
    tree.link(link.lstrip("/"), f"/etc/alternatives/{name}")


def _record(group: _Group) -> bytes:
    """The group in the form of dpkg's administrative files: mode, link, slaves, then the choices."""
    lines = ["auto", group.link]
    names = sorted(group.slaves)
    for name in names:
        lines += [name, group.slaves[name]]
    lines.append("")
    for path, (priority, slaves) in sorted(group.choices.items()):
        lines += [path, str(priority), *(slaves.get(name, "") for name in names)]
    return "\n".join([*lines, "", ""]).encode()


def _recorded(tree: Tree, name: str) -> _Group | None:
    """The group as a lower layer has recorded it."""
    data = tree.read(f"{_RECORDS}/{name}")
    if data is None:
        return None
    lines = iter(data.decode("utf-8", "replace").split("\n"))
    try:
        next(lines)
        group = _Group(next(lines))
        while slave := next(lines):
            group.slaves[slave] = next(lines)
        while path := next(lines):
            priority = int(next(lines))
            group.choices[path] = (
                priority,
                {slave: target for slave in sorted(group.slaves) if (target := next(lines))},
            )
    except (StopIteration, ValueError):
        return None
    return group
