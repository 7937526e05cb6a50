"""Files that the program opens by name as it runs, and that its image will not have."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator

from corten.project import syntax
from corten.project.recognize.folder import DEPTH, Folder
from corten.project.recognize.layout import Layout
from corten.project.syntax import Module
from corten.values import dataclass

_READS = frozenset(
    [
        *(
            "open",
            "load",
            "load_model",
            "load_weights",
            "read_csv",
            "read_pickle",
            "read_parquet",
            "read_json",
        ),
        *("read_excel", "imread", "InferenceSession", "YOLO", "from_file"),
    ]
)
_WRITES = frozenset(
    ["dump", "save", "save_model", "to_csv", "to_pickle", "to_parquet", "to_json", "save_weights"]
)
_WEIGHTS = (".pt", ".pth", ".onnx", ".safetensors", ".joblib", ".pkl", ".skops", ".h5", ".keras", ".gguf")
_MOST = 8


@dataclass(frozen=True, slots=True)
class Absent:
    """`path` is opened at `where` (`app.py:12`). `ignored`: it is on this disk, and an ignore file keeps it out of the image. `writer` is
    the script that writes it, where one does."""

    path: str
    where: str
    ignored: bool = False
    writer: str = ""

    @property
    def line(self) -> str:
        """It in one sentence."""
        if self.ignored:
            return f"'{self.where}' opens '{self.path}', which is ignored and so not in the image"
        return f"'{self.where}' opens '{self.path}', and the project has no such file"

    @property
    def hint(self) -> str:
        """What to do."""
        if self.ignored:
            return f'include = ["{self.path}"] in [tool.corten] brings it into the image'
        if self.writer:
            return f"'{self.writer}' writes it: corten run -v .:/app . -- python {self.writer}"
        return "train or fetch it first"


def absent(folder: Folder, source: str, workdir: str) -> list[Absent]:
    """Those that the program in the file `source` opens, which works in the folder `workdir` of the project. Only plain names count,
    and none that the program may do without (`try`)."""
    layout = Layout(folder)
    found: dict[str, Absent] = {}
    for path in sorted(layout.reached(source)):
        module = folder.module(path)
        if module is None:
            continue
        for name, line in _read_by(module):
            places = [
                posixpath.normpath(posixpath.join(base, name))
                for base in (workdir, posixpath.dirname(path), "")
            ]
            inside = [place for place in places if not place.startswith("..")]
            if not inside or any(_in_image(folder, place) for place in inside):
                continue
            there = next((place for place in inside if folder.exists(place)), None)
            found.setdefault(name, Absent(there or inside[0], f"{path}:{line}", there is not None))
    if not found:
        return []
    written = {
        posixpath.basename(name): path for path in folder.files(".py") for name in _written_by(folder, path)
    }
    return [
        Absent(item.path, item.where, item.ignored, written.get(posixpath.basename(name), ""))
        for name, item in found.items()
        if written.get(posixpath.basename(name)) not in layout.reached(source)
    ][:_MOST]


def _in_image(folder: Folder, path: str) -> bool:
    if folder.has_file(path) or folder.has_folder(path):
        return True
    # Deeper than is looked, or weights, which go in although git ignores them.
    return folder.exists(path) and (path.count("/") > DEPTH or path.endswith(_WEIGHTS))


def _read_by(module: Module) -> Iterator[tuple[str, int]]:
    """Names of files that calls of the module read, with their lines."""
    waiting: list[ast.AST] = [module.tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Try):
            waiting += [*node.orelse, *node.finalbody]
            continue
        if isinstance(node, ast.If) and (syntax.is_main_guard(node) or "exists" in ast.dump(node.test)):
            waiting += node.orelse
            continue
        waiting += list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Call) and (syntax.dotted(node.func) or "").rpartition(".")[2] in _READS:
            name = _file(node)
            if name is not None and not _writes(node):
                yield name, node.lineno


def _written_by(folder: Folder, path: str) -> Iterator[str]:
    data = folder.data(path) or b""
    if not any(word.encode() in data for word in (*_WRITES, "open")):
        return
    module = folder.module(path)
    for node in syntax.nodes(module.tree) if module is not None else ():
        if isinstance(node, ast.Call):
            last = (syntax.dotted(node.func) or "").rpartition(".")[2]
            if last in _WRITES or (last == "open" and _writes(node)):
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        yield argument.value


def _file(call: ast.Call) -> str | None:
    """The relative path that a call names, where it is a plain text with an ending."""
    argument = call.args[0] if call.args else None
    parts = [argument]
    if isinstance(argument, ast.Call) and (syntax.dotted(argument.func) or "").endswith("path.join"):
        parts = list(argument.args)
    texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    name = "/".join(texts) if len(texts) == len(parts) else ""
    ending = posixpath.splitext(name)[1]
    if (
        not name
        or name.startswith(("/", "~"))
        or "://" in name
        or not 2 <= len(ending) <= 12
        or not name.isprintable()
    ):
        return None
    return name


def _writes(call: ast.Call) -> bool:
    modes = [argument for argument in call.args[1:2] if isinstance(argument, ast.Constant)]
    modes += [
        word.value for word in call.keywords if word.arg == "mode" and isinstance(word.value, ast.Constant)
    ]
    return any(isinstance(mode.value, str) and set(mode.value) & set("wax+") for mode in modes)
