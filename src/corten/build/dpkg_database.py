"""dpkg's own records (dpkg(1), deb-triggers(5)) of packages that Corten has unpacked, as dpkg has them after `dpkg --unpack`.

They are written for a sandbox in which dpkg configures the packages, and for no image: there each package has its own record
(`debian_records`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corten.build.debian_records import DIRECTORY
from corten.packages.debian import paragraph
from corten.packages.debian.deb import Control
from corten.packages.debian.tree import Tree

_DPKG = "var/lib/dpkg"
INFO = f"{_DPKG}/info"
_STATUS = "Status: install ok installed"


def write_database(tree: Tree, unpacked: Sequence[Control], tools: Sequence[Control]) -> None:
    """Record every package of `tree` and what lies below it as installed, and those of `unpacked` as waiting to be configured, with
    their scripts. Of `tools` it has the questions that they ask in others' scripts (ucf)."""
    waiting = {control.name for control in unpacked}
    paragraphs = []
    for name in tree.listing(DIRECTORY):
        if name.endswith(".md5sums"):
            continue
        text = (tree.read(f"{DIRECTORY}/{name}") or b"").decode("utf-8", "replace").strip()
        if name in waiting:
            text = text.replace(_STATUS, "Status: install ok unpacked", 1)
        paragraphs.append(text)
        fields = paragraph.parse(text, "a package record")
        sums = (tree.read(f"{DIRECTORY}/{name}.md5sums") or b"").decode("utf-8", "replace")
        tree.write(f"{INFO}/{info_name(fields)}.list", _list(sums.splitlines()))
    tree.write(f"{_DPKG}/status", ("\n\n".join(paragraphs) + "\n").encode())
    tree.write(f"{INFO}/format", b"1\n")
    for name in ("available", "diversions", "statoverride", "triggers/Unincorp"):
        tree.write(f"{_DPKG}/{name}", b"")
    for name in ("updates", "parts", "alternatives"):
        tree.directory(f"{_DPKG}/{name}")
    for control in unpacked:
        name = info_name(control.fields)
        for kind, script in control.scripts.items():
            executable = kind not in ("templates", "triggers")
            tree.write(f"{INFO}/{name}.{kind}", script.encode(), executable=executable)
    for control in tools:
        if "templates" in control.scripts:
            tree.write(f"{INFO}/{info_name(control.fields)}.templates", control.scripts["templates"].encode())
    _write_triggers(tree, unpacked)


def info_name(fields: dict[str, str]) -> str:
    """What dpkg calls a package's files."""
    name = fields.get("package", "")
    return f"{name}:{fields.get('architecture', '')}" if fields.get("multi-arch") == "same" else name


def _list(sums: Iterable[str]) -> bytes:
    """The files of a package, and the directories that lead to them."""
    paths = set()
    for line in sums:
        path = "/" + line[34:]
        while path and path not in paths:
            paths.add(path)
            path = path.rpartition("/")[0]
    return "".join(f"{path}\n" for path in ["/.", *sorted(paths)]).encode()


def _write_triggers(tree: Tree, unpacked: Sequence[Control]) -> None:
    files, named = [], dict[str, list[str]]()
    for control in unpacked:
        for line in control.scripts.get("triggers", "").splitlines():
            words = line.partition("#")[0].split()
            if len(words) != 2 or not words[0].startswith("interest"):
                continue
            package = info_name(control.fields) + ("/noawait" if words[0].endswith("noawait") else "")
            if words[1].startswith("/"):
                files.append(f"{words[1]} {package}\n")
            elif "/" not in words[1]:
                named.setdefault(words[1], []).append(f"{package}\n")
    tree.write(f"{_DPKG}/triggers/File", "".join(sorted(files)).encode())
    for name, lines in named.items():
        if name not in ("File", "Unincorp", "Lock"):
            tree.write(f"{_DPKG}/triggers/{name}", "".join(sorted(lines)).encode())
