"""Saved models against the packages of a lock: which of them the locked version does not load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from corten.errors import ProjectError
from corten.packages.files import Wheel
from corten.project.files import scan
from corten.project.model import Project, SourceFile
from corten.project.model_files import Trace, may_tell, traces
from corten.project.recognize.folder import Folder
from corten.store.store import Store

_LEAST, _MOST, _MOST_CODE = 60, 50, 400
_COMPARED = frozenset(
    (
        *(
            "keras",
            "tensorflow",
            "tensorflow-cpu",
            "xgboost",
            "xgboost-cpu",
            "lightgbm",
            "onnxruntime",
            "onnxruntime-gpu",
        ),
        *("lightning", "pytorch-lightning", "numpy", "torch"),
    )
)

_OPSETS = {
    12: "1.3",
    13: "1.6",
    14: "1.8",
    15: "1.9",
    16: "1.11",
    17: "1.12",
    18: "1.14",
    19: "1.15",
    20: "1.17",
    21: "1.18",
}
"""The first ONNX Runtime that has each version of ONNX's operators."""
_FORMS = {8: "1.10", 9: "1.16", 10: "1.18"}
"""The first ONNX Runtime that reads each version of ONNX's form."""
_LIGHTGBM = {3: "2.3", 4: "4.0"}
"""The first LightGBM that reads each version of its own form."""
_NUMPY_2 = "1.26"
"""The first NumPy that reads arrays in pickles of NumPy 2."""
_STRICT_TORCH = (2, 6)
"""The first PyTorch whose `torch.load` refuses whole objects unless it is told otherwise."""


class Models:
    """The saved models of a project, looked at when they are first asked for."""

    def __init__(self, project: Project | None = None, store: Store | None = None) -> None:
        self._project, self._store = project, store

    def mismatches(self, wheels: Sequence[Wheel]) -> tuple[tuple[str, str], ...]:
        """See `mismatches`."""
        if not {wheel.name for wheel in wheels} & _COMPARED:
            return ()
        return mismatches(self._traces, wheels, self._loads_whole)

    @cached_property
    def _files(self) -> tuple[SourceFile, ...]:
        if self._project is None or self._store is None:
            return ()
        try:
            files = scan(self._project, self._store.root)
        except ProjectError:  # the build says it
            return ()
        return (*files.weights, *files.code)

    @cached_property
    def _traces(self) -> tuple[Trace, ...]:
        paths = [file.path for file in self._files if file.size >= _LEAST and may_tell(file.path)]
        root = self._project.root if self._project is not None else Path()
        return tuple(item for path in paths[:_MOST] for item in traces(root, path))

    @cached_property
    def _loads_whole(self) -> bool:
        """Whether the code says how much of a PyTorch file is loaded; looked for only where that counts."""
        if not any(item.kind == "torch" for item in self._traces) or self._project is None:
            return False
        with Folder(str(self._project.root), self._project.exclude) as folder:
            return any(
                "weights_only" in (folder.text(path) or "") for path in folder.files(".py")[:_MOST_CODE]
            )


def mismatches(
    found: Sequence[Trace], wheels: Sequence[Wheel], loads_whole: bool = False
) -> tuple[tuple[str, str], ...]:
    """Models of `found` that the packages among `wheels` do not load, or not as they were: what is wrong, and what to do. `loads_whole`: the code says
    itself how much of a PyTorch file is loaded."""
    versions = {wheel.name: wheel.version for wheel in wheels}
    told: dict[str, tuple[str, str]] = {}
    for item in found:
        said = _mismatch(item, versions, loads_whole)
        if said is not None:
            told.setdefault(f"{item.path} {said[1]}", said)
    return tuple(told.values())


def _mismatch(item: Trace, versions: Mapping[str, str], loads_whole: bool) -> tuple[str, str] | None:
    if item.kind == "keras":
        return _keras(item, versions)
    if item.kind == "tensorflow":
        return _newer(item, "TensorFlow", ("tensorflow", "tensorflow-cpu"), versions)
    if item.kind == "xgboost":
        return _newer(item, "XGBoost", ("xgboost", "xgboost-cpu"), versions)
    if item.kind == "xgboost-pickle":
        name = _there(("xgboost", "xgboost-cpu"), versions)
        if name is None or _series(item.version) == _series(versions[name]):
            return None
        return _said(
            item, f"XGBoost {item.version}, as a pickle", name, versions, f"{name}=={_text(item.version)}.*",
            "or save the model with save_model, which every later version reads",
        )  # fmt: skip
    if item.kind == "lightning":
        return _newer(item, "PyTorch Lightning", ("lightning", "pytorch-lightning"), versions)
    if item.kind == "lightgbm":
        return _needs(item, f"LightGBM in format v{item.version}", ("lightgbm",), _LIGHTGBM, versions)
    if item.kind == "onnx-opset":
        what = f"the operators of ONNX in version {item.version}"
        return _needs(item, what, ("onnxruntime", "onnxruntime-gpu"), _OPSETS, versions)
    if item.kind == "onnx-ir":
        what = f"ONNX's format in version {item.version}"
        return _needs(item, what, ("onnxruntime", "onnxruntime-gpu"), _FORMS, versions)
    if item.kind == "numpy":
        if "numpy" not in versions or _series(versions["numpy"]) >= _series(_NUMPY_2):
            return None
        return _said(item, "NumPy 2", "numpy", versions, f"numpy>={_NUMPY_2}")
    if "torch" not in versions or loads_whole or _series(versions["torch"]) < _STRICT_TORCH:
        return None
    return (
        f"'{item.path}' has whole objects (of '{item.version}'), which torch.load of torch {versions['torch']} refuses unless it is told "
        "otherwise",
        "write torch.load(…, weights_only=False) if you trust the file, or add to the dependencies: torch<2.6",
    )


def _keras(item: Trace, versions: Mapping[str, str]) -> tuple[str, str] | None:
    if item.version.startswith("3."):
        return _newer(item, "Keras", ("keras",), versions)
    name = _there(("keras", "tensorflow", "tensorflow-cpu"), versions)
    if name is None or "tf-keras" in versions:
        return None
    # Keras 3 came with TensorFlow 2.16.
    if _series(versions[name]) < ((3, 0) if name == "keras" else (2, 16)):
        return None
    return _said(
        item, f"Keras {item.version}", name, versions, "tensorflow<2.16",
        "or add tf-keras and set TF_USE_LEGACY_KERAS=1",
    )  # fmt: skip


def _newer(
    item: Trace, what: str, names: Sequence[str], versions: Mapping[str, str]
) -> tuple[str, str] | None:
    """A model that a newer series saved than the lock has: what is older is read."""
    name = _there(names, versions)
    if name is None or _series(item.version) <= _series(versions[name]):
        return None
    return _said(item, f"{what} {item.version}", name, versions, f"{name}>={_text(item.version)}")


def _needs(
    item: Trace, what: str, names: Sequence[str], first: Mapping[int, str], versions: Mapping[str, str]
) -> tuple[str, str] | None:
    name, needed = _there(names, versions), first.get(int(item.version))
    if name is None or needed is None or _series(versions[name]) >= _series(needed):
        return None
    return _said(item, what, name, versions, f"{name}>={needed}")


def _said(
    item: Trace, what: str, name: str, versions: Mapping[str, str], pin: str, otherwise: str = ""
) -> tuple[str, str]:
    how = "has" if what.startswith(("the operators", "ONNX's")) else "was saved with"
    hint = f"add to the dependencies: {pin}" + (f"; {otherwise}" if otherwise else "")
    return f"'{item.path}' {how} {what}, and the lock has {name} {versions[name]}", hint


def _there(names: Sequence[str], versions: Mapping[str, str]) -> str | None:
    return next((name for name in names if name in versions), None)


def _series(version: str) -> tuple[int, int]:
    from packaging.version import InvalidVersion, Version

    try:
        parsed = Version(version)
    except InvalidVersion:
        return 0, 0
    return parsed.major, parsed.minor


def _text(version: str) -> str:
    return ".".join(map(str, _series(version)))
