"""Debian packages that wheels need and nobody names, with the real uv and a signed Debian archive of the test's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from corten.events import Note, TaskStarted, Warned
from corten.lock.libraries import missing_from
from corten.lock.model import ImageBase, Lock
from corten.lock.resolve import ResolvedImage
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.files import Wheel
from corten.packages.known_libraries import BY_NAME, by_name
from corten.packages.libraries import of_wheel
from corten.project.hints.debian_names import spelled
from support.elf_files import AARCH64, X86_64, elf
from support.index import publish
from support.lock_world import ARCHITECTURES, World, said
from support.wheels import make_wheel

TAG = "py3-none-manylinux_2_17_{machine}"
MACHINES = {"amd64": ("x86_64", X86_64), "arm64": ("aarch64", AARCH64)}
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}


@pytest.fixture
def native(world: World) -> World:
    """With a list of files, and a project."""
    for architecture in ARCHITECTURES:
        place = f"usr/lib/{TRIPLETS[architecture]}"
        world.archive.contents[architecture] = (
            f"{place}/libGL.so.1 libs/libgl1\n{place}/libGLX.so.0 libs/libglx0\n"
            f"{place}/libodd.so.1 libs/netbase\n{place}/libtwo.so.1 libs/one,libs/other\n"
        )
        world.archive.add("tesseract-ocr", architecture=architecture)
    world.archive.publish()
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')
    return world


def publish_wheel(world: World, name: str, *needed: str, folder: str = "", soname: str | None = None) -> None:
    for machine, number in MACHINES.values():
        made = elf(*needed, soname=soname, machine=number)
        path = f"{folder or name}/{soname or 'core.abi3.so'}"
        make_wheel(world.pool, name, files={path: made}, tag=TAG.format(machine=machine))
    publish(world.web, world.pool)


def system(lock: Lock) -> list[list[str]]:
    return [[deb.name for deb in part.system] for part in lock.platforms]


def contents_asked(world: World) -> int:
    return sum("Contents" in path for path in world.asked)


def test_a_missing_library_adds_its_package_and_says_so(native: World) -> None:
    publish_wheel(native, "opencv-python", "libGL.so.1", "libc.so.6", folder="cv2")
    native.write("requirements.txt", "opencv-python\n")
    first = native.lock()
    assert system(first) == [["libglx0", "libgl1"]]
    assert first.platforms[0].library_names == ("libgl1",)
    assert first.platforms[0].system_names == ()
    assert said(native) == ["adds libgl1: cv2 needs libGL.so.1"]
    native.events.clear()
    assert native.lock(previous=first) == first
    assert said(native) == []
    native.write("requirements.txt", "alpha\n")
    assert system(native.lock(previous=first)) == [[]]


def test_a_wheel_that_was_looked_at_is_not_fetched_again(native: World) -> None:
    publish_wheel(native, "opencv-python", "libGL.so.1", folder="cv2")
    native.write("requirements.txt", "opencv-python\n")
    first = native.lock()
    shutil.rmtree(native.store.root / "files")
    native.events.clear()
    assert native.lock(upgrade=True) == first
    assert not [
        event for event in native.events if isinstance(event, TaskStarted) and event.phase == "download"
    ]


def test_what_cannot_be_fetched_is_said_and_the_lock_is_made(native: World) -> None:
    publish_wheel(native, "opencv-python", "libGL.so.1", folder="cv2")
    native.write("requirements.txt", "opencv-python\n")
    first = native.lock()
    for kept in ("files", "caches/libraries"):
        shutil.rmtree(native.store.root / kept)
    for path in [path for path in native.web.files if path.startswith("/files/opencv")]:
        native.web.files[path] = b"another file"
    native.events.clear()
    assert native.lock(previous=first) == first
    (message,) = said(native)
    assert message.startswith("the shared libraries that the packages for")
    assert message.endswith("the packages of the last lock stay: libgl1")


def test_browsers_of_playwright_are_named(native: World) -> None:
    native.make("playwright")
    native.write("requirements.txt", "playwright\n")
    assert system(native.lock()) == [[]]
    assert said(native) == ["playwright downloads its browsers with 'playwright install', which no wheel has"]


def test_every_platform_gets_its_own(native: World) -> None:
    publish_wheel(native, "opencv-python", "libGL.so.1", folder="cv2")
    native.write("requirements.txt", "opencv-python\n")
    native.write(
        "pyproject.toml",
        '[tool.corten]\ncommand = ["python", "x.py"]\nplatforms = ["linux/amd64", "linux/arm64"]\n',
    )
    made = native.lock()
    assert system(made) == [["libglx0", "libgl1"]] * 2
    assert [{deb.architecture for deb in part.system} for part in made.platforms] == [{"amd64"}, {"arm64"}]


def test_nothing_is_fetched_where_nothing_is_missing(native: World) -> None:
    """Libraries of the base, of other wheels and of drivers."""
    publish_wheel(native, "tensors", "libcuda.so.1", "libcudart.so.12", "libgomp.so.1", "libm.so.6")
    publish_wheel(native, "cuda-runtime", "libfabric.so.1", folder="nvidia", soname="libcudart.so.12")
    native.write("requirements.txt", "tensors\ncuda-runtime\n")
    assert system(native.lock()) == [[]]
    assert said(native) == []
    assert contents_asked(native) == 0


def test_a_package_of_the_base_or_of_the_project_is_not_added(native: World) -> None:
    publish_wheel(native, "odd", "libodd.so.1", "libGLX.so.0")
    native.write("requirements.txt", "odd\n")
    settings = '[tool.corten]\ncommand = ["python", "x.py"]\nsystem = ["libgl1"]\n'
    native.write("pyproject.toml", settings)
    made = native.lock()
    assert system(made) == [["libglx0", "libgl1"]]
    assert made.platforms[0].library_names == ()
    assert said(native) == []


def test_several_packages_are_proposed_and_none_is_said(native: World) -> None:
    publish_wheel(native, "odd", "libtwo.so.1", "libnone.so.3")
    native.write("requirements.txt", "odd\n")
    assert system(native.lock()) == [[]]
    warned = [event for event in native.events if isinstance(event, Warned)]
    assert [(event.message, event.hint) for event in warned] == [
        (
            "odd needs libtwo.so.1, and several packages of Debian have it: one, other",
            'choose one: system = ["one"]',
        ),
        (
            "odd needs libnone.so.3, which no package of Debian bookworm has",
            "add the Python package that brings it; without it, the part that needs it cannot be used",
        ),
    ]


def test_without_the_list_of_files_the_lock_is_made_and_says_what_is_missing(native: World) -> None:
    publish_wheel(native, "opencv-python", "libGL.so.1", folder="cv2")
    native.write("requirements.txt", "opencv-python\n")
    first = native.lock()
    native.archive.contents.clear()
    native.archive.publish()
    for cached in native.store.root.rglob("*.libraries"):
        cached.unlink()
    native.events.clear()
    assert system(native.lock(previous=first)) == system(first)
    (message,) = said(native)
    assert message.startswith(
        "cv2 needs libGL.so.1, and Debian's list of files, which says what has it, cannot be had:"
    )
    assert message.endswith("the packages of the last lock stay: libgl1")


class Images:
    """A base image that has some libraries."""

    def __init__(self, *libraries: str) -> None:
        self.libraries = frozenset(libraries)

    def resolve(
        self, reference: str, root: Path, platform: Platform, pinned: Digest | None = None
    ) -> ResolvedImage:
        base = ImageBase("base:latest", Digest.of(b"base"), "3.11.2", "/usr/bin/python3")
        return ResolvedImage(base, 36, self.libraries)


def test_what_a_base_image_lacks_is_said(native: World) -> None:
    publish_wheel(native, "opencv-python", "libGL.so.1", "libX11.so.6", "libc.so.6", folder="cv2")
    native.write("requirements.txt", "opencv-python\n")
    native.write("pyproject.toml", '[tool.corten]\nbase = "oci:./base"\ncommand = ["python", "x.py"]\n')
    assert system(native.lock(images=Images("libGL.so.1", "libX11.so.6"))) == [[]]
    assert said(native) == []
    native.lock(images=Images("libX11.so.6"))
    assert said(native) == ["cv2 needs libGL.so.1, which the base 'base:latest' has not"]
    assert contents_asked(native) == 0


def test_what_is_started_by_name_is_added(native: World) -> None:
    native.make("pytesseract")
    native.write("requirements.txt", "pytesseract\n")
    made = native.lock()
    assert system(made) == [["tesseract-ocr"]]
    assert [event for event in native.events if isinstance(event, Note)] == [
        Note("adds tesseract-ocr: pytesseract starts tesseract")
    ]
    assert contents_asked(native) == 0


def test_a_wheel_that_brings_its_library_needs_no_package() -> None:
    pure = Wheel("soundfile", "1.0", "soundfile-1.0-py2.py3-none-any.whl", 1, "0" * 64)
    whole = Wheel("soundfile", "1.0", "soundfile-1.0-py2.py3-none-manylinux_2_28_x86_64.whl", 1, "0" * 64)
    assert by_name([pure], "bookworm") == [("libsndfile1", "soundfile loads libsndfile.so.1")]
    assert by_name([whole], "bookworm") == []


def test_plug_ins_of_qt_and_modules_of_another_qt_are_not_asked_for(tmp_path: Path) -> None:
    """Unless what Qt cannot start without needs the same library."""
    made = make_wheel(
        tmp_path,
        "PyQt5-Qt5",
        files={
            "PyQt5/Qt5/lib/libQt5Core.so.5": elf("libglib-2.0.so.0", soname="libQt5Core.so.5"),
            "PyQt5/Qt5/lib/libQt5Help.so.5": elf("libQt5WebEngine.so.5"),
            "PyQt5/Qt5/plugins/platforms/libqxcb.so": elf("libX11.so.6"),
            "PyQt5/Qt5/plugins/a/libother.so": elf("libX11.so.6", "libodbc.so.2"),
            "PyQt5/Qt5/qml/QtGamepad/libgamepad.so": elf("libQt5Gamepad.so.5", "libSDL2-2.0.so.0"),
        },
        tag=TAG.format(machine="x86_64"),
    )
    found = {"pyqt5-qt5": of_wheel(tmp_path / made.file, "amd64", tmp_path)}
    assert [item.library for item in missing_from(found, ())] == ["libX11.so.6", "libglib-2.0.so.0"]


def test_the_table_has_names_of_packages() -> None:
    for name, item in BY_NAME.items():
        assert name == name.lower()
        assert item.what
        for package in (*item.packages, *(one for many in (item.releases or {}).values() for one in many)):
            assert spelled(package) == package
