"""What is known of shared libraries without looking: those of the base's packages, those of drivers, and packages of Debian
that Python packages load or start by name, which no header tells. Data, with pure functions that read it.

`OF_PACKAGE` only saves fetching Debian's list of files; where it lacks something, that list decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from corten.lazy import regex
from corten.packages.files import Wheel
from corten.values import dataclass

_GLIBC = frozenset(
    (
        *(
            "ld-linux-x86-64.so.2",
            "ld-linux-aarch64.so.1",
            "libBrokenLocale.so.1",
            "libanl.so.1",
            "libc.so.6",
        ),
        *(
            "libc_malloc_debug.so.0",
            "libcrypt.so.1",
            "libdl.so.2",
            "libm.so.6",
            "libmvec.so.1",
            "libnsl.so.1",
        ),
        *("libnss_dns.so.2", "libnss_files.so.2", "libpthread.so.0", "libresolv.so.2", "librt.so.1"),
        *("libthread_db.so.1", "libutil.so.1"),
    )
)
"""The C library, which every base has, with libcrypt, which every Python needs."""

OF_PACKAGE: dict[str, tuple[str, ...]] = {
    "libbz2-1.0": ("libbz2.so.1.0", "libbz2.so.1"),
    "libexpat1": ("libexpat.so.1",),
    "libffi8": ("libffi.so.8",),
    "libgcc-s1": ("libgcc_s.so.1",),
    "libgomp1": ("libgomp.so.1", "libgomp.so.1.0.0"),
    "libgl1": ("libGL.so.1",),
    "libglib2.0-0": ("libglib-2.0.so.0", "libgthread-2.0.so.0", "libgobject-2.0.so.0", "libgio-2.0.so.0"),
    "libglib2.0-0t64": ("libglib-2.0.so.0", "libgthread-2.0.so.0", "libgobject-2.0.so.0", "libgio-2.0.so.0"),
    "liblzma5": ("liblzma.so.5",),
    "libncursesw6": ("libncursesw.so.6", "libpanelw.so.6", "libformw.so.6", "libmenuw.so.6"),
    "libreadline8": ("libreadline.so.8",),
    "libreadline8t64": ("libreadline.so.8",),
    "libsqlite3-0": ("libsqlite3.so.0",),
    "libssl3": ("libssl.so.3", "libcrypto.so.3"),
    "libssl3t64": ("libssl.so.3", "libcrypto.so.3"),
    "libstdc++6": ("libstdc++.so.6",),
    "libtinfo6": ("libtinfo.so.6",),
    "libuuid1": ("libuuid.so.1",),
    "zlib1g": ("libz.so.1",),
}
"""The libraries of packages that bases have."""

_DRIVER = regex(
    r"lib(cuda|cudadebugger|nvcuvid|nvoptix|nvidia-[a-z0-9-]+|EGL_nvidia|GLX_nvidia|hsa-runtime64|ascendcl)\.so(\.[0-9.]+)?"
)
"""Libraries of a GPU's driver: the machine that runs the container brings them, never the image."""

_OPTIONAL: dict[str, frozenset[str]] = {
    # A threading layer of three, chosen by what can be loaded.
    "numba": frozenset({"libtbb.so.12"}),
}
"""Libraries of parts that a package does without."""

_VENDORS = ("nvidia-", "cuda-")
"""Packages of CUDA's libraries: their plug-ins for InfiniBand, MPI and the like are loaded where a cluster has those."""


def brought_by(packages: Iterable[str]) -> frozenset[str]:
    """The libraries that Debian's `packages` have, as far as they are known here."""
    return _GLIBC.union(*(OF_PACKAGE.get(name, ()) for name in packages))


_PLUGIN = regex(
    r"(?:^|/)[Qq]t[56]?/(?:qml/|plugins/(?!platforms/|platforminputcontexts/|xcbglintegrations/|imageformats/|iconengines/))"
)
"""Plug-ins of Qt that it looks for and does without: QML modules, drivers of databases, speech, printing."""

_QT = regex(r"lib(?:Qt5|Qt6)[A-Za-z0-9]+\.so\.[56]")


def is_optional(path: str) -> bool:
    """Whether the file `path` of a wheel is a plug-in that its program does without."""
    return bool(_PLUGIN.search(path))


def is_wanted(library: str, distribution: str, brought: Collection[str] = ()) -> bool:
    """Whether the image has to have a `library` that a wheel of `distribution` needs. `brought` is what the wheels have: a module that
    their Qt lacks never comes from Debian's Qt, because two builds of Qt in one process break both."""
    if _DRIVER.fullmatch(library) or distribution.startswith(_VENDORS):
        return False
    if _QT.fullmatch(library) and f"{library[:6]}Core.so.{library[5]}" in brought:
        return False
    return library not in _OPTIONAL.get(distribution, ())


@dataclass(frozen=True, slots=True)
class ByName:
    """A Debian package for what a distribution loads or starts by name: `what` in words. `releases` has the package's other names in
    releases. Not needed where one of the distributions in `unless` is there; `pure`: only where the wheel is for every machine."""

    packages: tuple[str, ...]
    what: str
    releases: Mapping[str, tuple[str, ...]] | None = None
    unless: tuple[str, ...] = ()
    pure: bool = False


def _t64(name: str, what: str, pure: bool = False) -> ByName:
    """A library that trixie's change of time types has renamed."""
    return ByName((name,), what, {"trixie": (f"{name}t64",)}, pure=pure)


_FFMPEG = "starts ffmpeg"
_PANGO = ("libpango-1.0-0", "libpangoft2-1.0-0", "libharfbuzz-subset0")

BY_NAME: dict[str, ByName] = {
    "cairocffi": ByName(("libcairo2",), "loads libcairo.so.2"),
    "camelot-py": ByName(("ghostscript",), "starts Ghostscript"),
    "ffmpeg-python": ByName(("ffmpeg",), _FFMPEG),
    "ghostscript": ByName(("ghostscript",), "loads libgs"),
    "graphviz": ByName(("graphviz",), "starts dot"),
    "imgkit": ByName(("wkhtmltopdf",), "starts wkhtmltopdf", {"trixie": ()}),
    "openai-whisper": ByName(("ffmpeg",), _FFMPEG),
    "pdf2image": ByName(("poppler-utils",), "starts pdftoppm"),
    "pdfkit": ByName(("wkhtmltopdf",), "starts wkhtmltopdf", {"trixie": ()}),
    "pydub": ByName(("ffmpeg",), _FFMPEG),
    "pylibdmtx": ByName(("libdmtx0b",), "loads libdmtx.so.0", {"trixie": ("libdmtx0t64",)}),
    "pypandoc": ByName(("pandoc",), "starts pandoc", unless=("pypandoc-binary",)),
    "pytesseract": ByName(("tesseract-ocr",), "starts tesseract"),
    "python-magic": _t64("libmagic1", "loads libmagic.so.1"),
    "pyttsx3": ByName(("libespeak1",), "loads libespeak.so.1", {"trixie": ("espeak-ng-espeak",)}),
    "pyzbar": _t64("libzbar0", "loads libzbar.so.0", pure=True),
    "sounddevice": ByName(("libportaudio2",), "loads libportaudio.so.2"),
    "soundfile": ByName(("libsndfile1",), "loads libsndfile.so.1", pure=True),
    "textract": ByName(
        ("antiword", "poppler-utils", "tesseract-ocr", "unrtf"), "starts programs that read documents"
    ),
    "wand": ByName(("libmagickwand-6.q16-6",), "loads MagickWand", {"trixie": ("libmagickwand-7.q16-10",)}),
    "weasyprint": ByName(_PANGO, "loads Pango"),
    "whisperx": ByName(("ffmpeg",), _FFMPEG),
}
"""By the normal name of a distribution."""

NAMED_ONLY: dict[str, tuple[str, str]] = {
    "playwright": (
        "playwright downloads its browsers with 'playwright install', which no wheel has",
        "name a browser of Debian in `system`, such as chromium, and start it with executable_path",
    ),
    "selenium": (
        "selenium drives a browser, which no wheel has",
        'name it in `system`, such as ["chromium", "chromium-driver"]',
    ),
}
"""What cannot be added, in words with a hint."""


def by_name(wheels: Collection[Wheel], release: str) -> list[tuple[str, str]]:
    """The packages of `release` that `wheels` load or start by name, each with why."""
    names = {wheel.name for wheel in wheels}
    found: list[tuple[str, str]] = []
    for wheel in sorted(wheels, key=lambda wheel: wheel.name):
        known = BY_NAME.get(wheel.name)
        if known is None or names & {*known.unless} or (known.pure and not wheel.file.endswith("-any.whl")):
            continue
        packages = (known.releases or {}).get(release, known.packages)
        found += [(package, f"{wheel.name} {known.what}") for package in packages]
    return found
