"""Lines of requirements files that people's tools write and pip does not take, put right: conda's builders' folders, lists that
conda and pip print, names of the standard library, packages of other systems, names of modules in the place of packages.

Each repair is a narrow form: a name and a version, nothing else on the line. What has a marker, options, hashes, an address or
a path of anybody else's stays as it is, and is read or refused as ever. Every repair is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Literal

from corten.lazy import regex
from corten.project.distributions import is_standard
from corten.values import dataclass

Form = Literal["plain", "pip-list", "conda-list", "conda-export"]

NOT_ON_LINUX = "is for Windows or macOS alone"
IN_PYTHON = "is part of Python"
OF_CONDA = "is a package of conda's alone"
OF_SYSTEM = "is a package of the system's alone"
BUILT_BY_CONDA = "is a folder of conda's builders"
ITSELF = "is the project itself"
ITSELF_UNREAD = "is the project itself, whose own requirements are computed and not read"

_LONGEST = 500
_USUAL = regex(
    r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[A-Za-z0-9,._-]*\])?(?:(?:[<>=!~]=|[<>])[A-Za-z0-9.*+,<>=~]*)?"
)
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSION = r"[0-9][A-Za-z0-9.!+_]*"
_CONDA_FOLDER = (
    rf"({_NAME})(?:\[[\w,.-]*\])?\s*@\s*file:///(?:[^\s;#?]*/)?[^\s;#?/]+_([0-9]{{12,13}})/work(/[^\s;#?]*)?"
)
_BUILT_FILE = r".*/[A-Za-z0-9_.]+-([0-9][A-Za-z0-9.!+]*?)(?:-[^/]*\.whl|\.tar\.gz|\.zip)"
_PLAIN = rf"({_NAME})(\[[\w,. -]*\])?\s*((?:[<>=!~]=?=?\s*[\w.*+]+\s*(?:,\s*)?)*)"
_SINGLE = rf"(_?{_NAME})\s*=\s*({_VERSION})(?:=([A-Za-z0-9_.]+))?"
_TURNED = rf"({_NAME}(?:\[[\w,.-]*\])?)\s*=([<>])\s*({_VERSION})"
_SPACED = rf"({_NAME})\s+({_VERSION})"
_QUOTED = r"([\"']?)([^\"',;#]*[^\"',;#\s])\1\s*,?"
_COLUMNS = rf"(_?{_NAME})\s+({_VERSION})(?:\s+(\S+))?(?:\s+(\S+))?"
_COMMAND = r"[!%$]?\s*(?:python3? -m )?pip3?\s+install\s+(.*)"
_EDITABLE = r"(?:(?:-e|--editable)[\s=]*)?(\.{1,2}(?:/\.{0,2})*)(\[[\w,.\s-]*\])?"
_FROM_GIT = r"(?:(?:-e|--editable)[\s=]+)git\+[^\s;]+#(?:[^\s;]*&)?egg=([A-Za-z0-9._-]+)(?:&[^\s;]*)?"
_SHELL = r"cat\s*>+\s*\S+\s*<<-?\s*['\"]?\w+['\"]?|EOF|EOL"
_UNFINISHED = rf"({_NAME})\s*@"
_OF_PYTHON = r"py(?:h[0-9a-f]{5,}|pi_|[23]\d{0,2}(?=[h_.]|$)|_\d|[23]\.\d+_)|.*py[23]\d{1,2}"

_OTHER_SYSTEMS = frozenset(
    [
        *("pywin32", "pywinpty", "pypiwin32", "twisted-iocpsupport", "windows-curses", "winsdk", "winrt", "pycaw", "wmi", "win10toast"),
        *("winshell", "wincertstore", "win-inet-pton", "win-unicode-console", "pyreadline", "appnope", "pyobjc", "rumps"),
        *("tensorflow-metal", "tensorflow-intel", "mlx-metal"),
    ]
)  # fmt: skip
_CONDA = frozenset(
    [
        *("python", "python-abi", "tk", "vc", "vs2015-runtime", "openssl", "zlib", "xz", "sqlite", "ncurses", "libffi", "libgcc-ng"),
        *("libstdcxx-ng", "libgomp", "ld-impl-linux-64", "ca-certificates", "bzip2", "icu", "jpeg", "libpng", "libtiff", "freetype"),
        *("lz4-c", "qt", "cudatoolkit", "cudnn", "numpy-base", "blas", "-libgcc-mutex", "-openmp-mutex", "m2w64-gcc-libs", "ucrt"),
        *("msys2-conda-epoch", "libblas", "libcblas", "liblapack", "llvm-openmp", "pytorch-mutex", "pytorch-cuda", "hdf5", "readline"),
        *("conda", "menuinst", "navigator-updater", "conda-build", "conda-content-trust", "conda-env", "conda-verify", "conda-token"),
        *("conda-repo-cli", "anaconda-navigator", "anaconda-project", "ruamel-yaml-conda", "tensorflow-base", "-tflow-select"),
        *("conda-package-streaming", "conda-libmamba-solver", "libmambapy", "conda-anaconda-telemetry", "conda-anaconda-tos"),
    ]
)  # fmt: skip
_SYSTEM = frozenset(
    [
        *("pkg-resources", "python-apt", "ubuntu-drivers-common", "ubuntu-advantage-tools", "ubuntu-pro-client", "command-not-found"),
        *("unattended-upgrades", "language-selector", "ufw", "screen-resolution-extra", "xkit", "usb-creator", "cupshelpers", "apturl"),
        *("cloud-init", "louis", "brlapi", "defer", "google-colab", "distro-info", "systemd-python", "python-debian-bundled"),
    ]
)  # fmt: skip
_FROM_CONDA = {
    "pytorch": "torch",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "py-opencv": "opencv-python-headless",
    "opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-lightgbm": "lightgbm",
    "faiss": "faiss-cpu",
}
"""Python packages that have another name with conda."""

_MKL = frozenset(("mkl-fft", "mkl-random", "mkl-service"))
"""Parts of conda's NumPy; those of the index have other versions."""
_RENAMED = {
    "imblearn": "imbalanced-learn",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "cv2": "opencv-python-headless",
    "opencv": "opencv-python-headless",
    "pil": "pillow",
    "yaml": "pyyaml",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "docx": "python-docx",
    "faiss": "faiss-cpu",
    "pytorch": "torch",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-macos": "tensorflow",
}
"""Names under which the index has nothing, or a stand-in that cannot be installed: each with the package that is meant."""
_NO_MODULES = frozenset(("configparser", "DateTime"))
"""Packages that have modules of other names than their own."""
_STAND_INS = frozenset(("dotenv", "fitz", "docx", "faiss", "cv2", "opencv"))
"""Those of them whose versions are not the package's."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A line that is not read as it stands. `lines` are read in its place, `name` is what it is about, `why` says it: in words
    that follow the name. `gone`: nothing is in its place. `day`: when the version that is meant was built, where that is known
    and the version is not."""

    lines: tuple[str, ...]
    name: str
    why: str
    day: str = ""

    @property
    def gone(self) -> bool:
        return not self.lines


class _Whole:
    """What the whole file tells of its lines, found out when it is first asked."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def has_tensorflow(self) -> bool:
        return re.search(r"(?im)^\s*tensorflow(?:-cpu)?(?![\w-])", self._text) is not None

    @cached_property
    def is_condas(self) -> bool:
        """Whether conda's builders built some of it."""
        return re.search(r"@ file:///\S{0,400}_[0-9]{12,13}/work", self._text) is not None


class Repairs:
    """The repairs for one project. `own` are its names; `itself` gives what it requires, with some extras, where a line names
    the project's own folder, None where that cannot be read, and nothing where it is no such line's business."""

    def __init__(
        self,
        own: Callable[[], Iterable[str]] = tuple,
        itself: Callable[[Sequence[str]], Sequence[str] | None] = lambda extras: (),
    ) -> None:
        self._names = own
        self._itself = itself

    def of(self, text: str, above: int | None = None) -> Callable[[str], Repair | None]:
        """What repairs a line of the file with this `text`. `above`: how many folders the file lies below the project's
        folder, None where it does not."""
        form = form_of(text)
        whole = _Whole(text)

        def repair(line: str) -> Repair | None:
            line = line.strip()
            if len(line) > _LONGEST or (form == "plain" and _is_usual(line)):
                return None
            return self._repair(line, form, above, whole)

        return repair

    def _is_own(self, name: str) -> bool:
        return _normal(name) in {_normal(own) for own in self._names()}

    def _repair(self, line: str, form: Form, above: int | None, whole: _Whole) -> Repair | None:
        if form == "pip-list" and re.fullmatch(r"Package\s+Version(?:\s+.*)?|[-\s]+", line):
            return Repair((), "", "")
        conda = re.fullmatch(_CONDA_FOLDER, line)
        if conda is not None:
            return self._by_conda(conda[1], conda[2], conda[3] or "")
        itself = self._is_itself(line, above)
        if itself is not None:
            return itself
        if form in ("pip-list", "conda-list"):
            return self._column(line, form)
        match = re.fullmatch(_COMMAND, line)
        if match is not None:
            return _installed(match[1])
        if re.fullmatch(_SHELL, line):
            return Repair((), line, "is of a shell's")
        bare = re.fullmatch(_UNFINISHED, line)
        if bare is not None:
            return Repair((bare[1],), line, f"is read as '{bare[1]}'")
        changed = line
        quoted = re.fullmatch(_QUOTED, line)
        if quoted is not None and quoted[2] != line and re.fullmatch(_PLAIN, quoted[2]):
            changed = quoted[2]
        single = re.fullmatch(_SINGLE, changed)
        if single is not None:
            return self._from_conda(line, single[1], single[2], single[3], form)
        turned = re.fullmatch(_TURNED, changed)
        if turned is not None:
            changed = f"{turned[1]}{turned[2]}={turned[3]}"
        spaced = re.fullmatch(_SPACED, changed)
        if spaced is not None:
            changed = f"{spaced[1]}=={spaced[2]}"
        found = self._name(changed, whole)
        if found is None and changed != line:
            return Repair((changed,), line, f"is read as '{changed}'")
        return found

    def _name(self, line: str, whole: _Whole) -> Repair | None:
        """A line with a name that is no package's for Linux."""
        match = re.fullmatch(_PLAIN, line)
        if match is None:
            return None
        written, extras, rest = match[1], match[2] or "", match[3].strip()
        name = _normal(written)
        if name in _MKL and whole.is_condas:
            return Repair((), written, OF_CONDA)
        has_tensorflow = (name in _RENAMED or name == "tensorflow-intel") and whole.has_tensorflow
        why = _unwanted(name, written)
        if why is not None and not (name == "tensorflow-intel" and not has_tensorflow):
            return Repair((), written, why)
        if name in _RENAMED or name == "tensorflow-intel":
            meant = _RENAMED.get(name, "tensorflow")
            if meant == "tensorflow" and has_tensorflow:
                return Repair((), written, "is 'tensorflow', which has a line of its own")
            return Repair((f"{meant}{extras}{_fitting(name, rest)}",), written, f"is read as '{meant}'")
        return None

    def _by_conda(self, name: str, built_at: str, rest: str) -> Repair:
        why = OF_CONDA if _normal(name) in _MKL else _unwanted(_normal(name), name)
        if why is not None:
            return Repair((), name, why)
        meant = _FROM_CONDA.get(_normal(name), name)
        built = re.fullmatch(_BUILT_FILE, rest)
        line = f"{meant}=={built[1]}" if built else meant
        return Repair((line,), name, BUILT_BY_CONDA, "" if built else _day(int(built_at)))

    def _from_conda(self, line: str, name: str, version: str, build: str | None, form: Form) -> Repair:
        """`numpy=1.19.2=py38h…`: what conda prints. Its builds for a Python say so; the others are C libraries and the like."""
        normal = _normal(name)
        why = _unwanted(normal, name)
        if why is not None:
            return Repair((), name, why)
        if build is not None and not re.match(_OF_PYTHON, build):
            return Repair((), name, OF_CONDA)
        meant = _FROM_CONDA.get(normal, name) if build is None or not build.startswith("pypi") else name
        meant = _RENAMED.get(normal, meant)
        read = f"{meant}{_fitting(normal, f'=={version}')}"
        if build is not None or form == "conda-export":
            return Repair((read,), "", "is read as a list that conda prints")
        return Repair((read,), line, f"is read as '{read}'")

    def _column(self, line: str, form: Form) -> Repair | None:
        match = re.fullmatch(_COLUMNS, line)
        if match is None:
            return None
        name, version, third, fourth = match.groups()
        if form == "conda-list":
            if fourth == "pypi" or (third or "").startswith("pypi"):
                third = "pypi_0"
            return self._from_conda(line, name, version, third or "", "conda-export")
        if third is not None:  # pip's column of editable projects
            if self._is_own(name):
                return Repair((), name, ITSELF)
            return None
        why = _unwanted(_normal(name), name)
        if why is not None:
            return Repair((), name, why)
        meant = _RENAMED.get(_normal(name), name)
        return Repair(
            (f"{meant}{_fitting(_normal(name), f'=={version}')}",), "", "is read as a list that pip prints"
        )

    def _is_itself(self, line: str, above: int | None) -> Repair | None:
        match = re.fullmatch(_EDITABLE, line)
        if match is not None and above is not None and _climbs(match[1]) == above:
            extras = [name.strip() for name in (match[2] or "[]")[1:-1].split(",") if name.strip()]
            requires = self._itself(extras)
            return (
                Repair((), line, ITSELF_UNREAD) if requires is None else Repair(tuple(requires), line, ITSELF)
            )
        match = re.fullmatch(_FROM_GIT, line)
        if match is not None and self._is_own(match[1]):
            return Repair(tuple(self._itself(()) or ()), match[1], ITSELF)
        return None


def form_of(text: str) -> Form:
    """Which tool printed the file."""
    if "Version" not in text and "# This file may be used" not in text:
        return "plain"
    if re.search(r"(?m)^Package\s+Version(?:\s+.*)?\r?$\s*^-{3,}\s+-{3,}", text):
        return "pip-list"
    if re.search(r"(?m)^#\s+Name\s+Version\s+Build", text):
        return "conda-list"
    if re.search(r"(?m)^# This file may be used to create an environment using", text):
        return "conda-export"
    return "plain"


def notes(file: str, repairs: Iterable[Repair]) -> tuple[str, ...]:
    """Each repair in words: one line for all that have one reason."""
    by_reason: dict[tuple[bool, str], list[str]] = {}
    for item in repairs:
        if item.why:
            by_reason.setdefault((item.gone, item.why), []).append(item.name)
    lines = []
    for (gone, why), found in by_reason.items():
        names = list(dict.fromkeys(name for name in found if name))
        shown = ", ".join(f"'{name}'" for name in names[:6]) + (
            f" and {len(names) - 6} more" if len(names) > 6 else ""
        )
        if not names:
            lines.append(f"'{file}' {why}")
        elif why == BUILT_BY_CONDA:
            lines.append(
                f"'{file}' has paths of conda's builders, which are nowhere else: taken by name are {shown}"
            )
        elif why == ITSELF:
            lines.append(f"{shown} in '{file}' {why}: its code is in the image, and what it requires counts")
        elif why == ITSELF_UNREAD:
            lines.append(f"{shown} in '{file}' {why}: its code is in the image")
        elif gone:
            many = (
                why.replace("is a package", "are packages").replace("is ", "are ", 1)
                if len(names) > 1
                else why
            )
            lines.append(f"left out of '{file}': {shown}, which {many}")
        else:
            lines.append(f"{shown} in '{file}' {why}")
    return tuple(lines)


def _is_usual(line: str) -> bool:
    """Whether this is a name, with versions or without, that is a package's: what most lines are. The other patterns are
    only compiled for the rest."""
    match = _USUAL.fullmatch(line)
    if match is None or line in ("EOF", "EOL"):
        return False
    name = _normal(match[1])
    return name not in _RENAMED and name not in _MKL and _unwanted(name, match[1]) is None


def _unwanted(name: str, written: str) -> str | None:
    """Why the package is no use in an image of Linux; None where it is one as others."""
    if name in _SYSTEM:
        return OF_SYSTEM
    if name in _OTHER_SYSTEMS or name.startswith(("winrt-", "pyobjc-")):
        return NOT_ON_LINUX
    if name in _CONDA or name.startswith("m2w64-"):
        return OF_CONDA
    if name in ("enum34", "futures") or (_is_module(written) and written not in _NO_MODULES):
        return IN_PYTHON
    return None


def _is_module(written: str) -> bool:
    return is_standard(written) or is_standard(written.lower())


def _fitting(name: str, rest: str) -> str:
    """The versions in `rest`, for the package that is meant by `name`."""
    if name in ("sklearn", "skimage", "imblearn") and re.fullmatch(r"[<>=!~]=?\s*0\.0(?:\.post\d+)?", rest):
        return ""
    if name in _STAND_INS:
        short = re.fullmatch(r"==\s*(\d+\.\d+\.\d+)", rest)
        return f"=={short[1]}.*" if short and name in ("cv2", "opencv") else ""
    return rest


def _installed(words: str) -> Repair | None:
    """`pip install flask numpy==1.2` in the place of lines."""
    found = words.split()
    plain = [word for word in found if word not in ("-U", "--upgrade", "-q", "--quiet")]
    if not plain or not all(re.fullmatch(_PLAIN, word) and not word.endswith(",") for word in plain):
        return None
    return Repair(tuple(plain), f"pip install {' '.join(plain)}", "is read as the packages in it")


def _day(milliseconds: int) -> str:
    """The day of a time since 1970 (`2022-12-29`)."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d")


def _climbs(path: str) -> int:
    """How many folders above itself `..`, `.` or `../..` is."""
    return sum(part == ".." for part in path.split("/"))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
