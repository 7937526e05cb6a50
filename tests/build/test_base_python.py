"""Finding the Python of a base that was made elsewhere: whose layout is anybody's guess, and which may be hostile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.build.base_python import check_places, find_glibc, find_libraries, find_python
from corten.errors import ProjectError
from corten.oci.config import ImageConfig
from corten.oci.platform import Platform

HEADER = '#define PY_VERSION "{}"\n'
ELF = b"\x7fELF"
PYENV = "/root/.pyenv/versions/3.10.9"


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """A merged tree; a text that begins with `->` is a link."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("->"):
            place.symlink_to(content[2:])
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def config(path: str | None = None) -> ImageConfig:
    return ImageConfig(Platform("linux", "amd64"), (), env=() if path is None else (f"PATH={path}",))


def ordinary(prefix: str, version: str) -> dict[str, str | bytes]:
    """What `make install` leaves below a prefix."""
    minor = version.rsplit(".", 1)[0]
    return {
        f"{prefix}/bin/python{minor}": ELF,
        f"{prefix}/bin/python3": f"->python{minor}",
        f"{prefix}/include/python{minor}/patchlevel.h": HEADER.format(version),
        f"{prefix}/lib/python{minor}/os.py": "",
        f"{prefix}/lib/python{minor}/_sysconfigdata__linux_x86_64-linux-gnu.py": "",
    }


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/usr/local/bin:/usr/bin", ("/usr/local/bin/python3.12", "3.12.4")),
        ("/usr/bin:/usr/local/bin", ("/usr/bin/python3.11", "3.11.2")),
        (f"/root/.pyenv/shims:{PYENV}/bin:/usr/bin", (f"{PYENV}/bin/python3.10", "3.10.9")),
        ("relative:/nowhere:/opt/conda/bin", ("/opt/conda/bin/python3.9", "3.9.18")),
        ("/opt/linked/bin:/usr/bin", ("/usr/local/bin/python3.12", "3.12.4")),
        (None, ("/usr/local/bin/python3.12", "3.12.4")),
    ],
)
def test_the_first_on_the_path(tmp_path: Path, path: str | None, found: tuple[str, str]) -> None:
    root = tree(
        tmp_path,
        {
            **ordinary("usr/local", "3.12.4"),
            "usr/bin/python3.11": ELF,
            "usr/bin/python3": "->/usr/bin/python3.11",
            "var/lib/dpkg/status": "Package: python3.11-minimal\nStatus: ok\nVersion: 3.11.2-6\n\n",
            "root/.pyenv/shims/python3": "#!/bin/sh\nexec pyenv\n",
            **ordinary(PYENV[1:], "3.10.9"),
            "opt/conda/bin/python3.9": ELF,
            "opt/conda/bin/python3": "->python3.9",
            "opt/conda/conda-meta/python-3.9.18-h955ad1f_0.json": "{}",
            "opt/linked": "->../../usr/local",
        },
    )
    python = find_python(root, config(path), "base")
    assert (python.path, python.version) == found


def test_a_program_called_python3_and_nothing_else(tmp_path: Path) -> None:
    """Its version is in the program itself."""
    root = tree(
        tmp_path,
        {"usr/bin/python3": ELF + b"x\x003.13.1\x00y", "usr/lib/python3.13/os.py": ""},
    )
    assert find_python(root, config(), "base").version == "3.13.1"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            {
                "usr/local/bin/python3.13t": ELF,
                "usr/local/bin/python3": "->python3.13t",
                "usr/local/include/python3.13t/patchlevel.h": HEADER.format("3.13.1"),
            },
            "Python 3.13.1 of the base 'base' is free-threaded",
        ),
        (
            {
                **{
                    key: value for key, value in ordinary("usr/local", "3.13.1").items() if "/lib/" not in key
                },
                "usr/local/lib/python3.13t/os.py": "",
            },
            "is free-threaded",
        ),
        (
            {
                **{
                    key: value
                    for key, value in ordinary("usr/local", "3.12.1").items()
                    if "sysconf" not in key
                },
                "usr/local/lib/python3.12/_sysconfigdata_d_linux_x86_64-linux-gnu.py": "",
            },
            "is a debug build",
        ),
        ({"usr/bin/python3": "#!/bin/sh\n"}, "no python3 on its PATH: '/usr/bin/python3' is a script"),
        (
            {"usr/bin/python3": "->/usr/bin/pypy3.9", "usr/bin/pypy3.9": ELF},
            "is no CPython that Corten knows",
        ),
        ({"usr/bin/python3": "->python3", "bin/python3": "->/../../bin/python3"}, "has no python3"),
        ({"usr/bin/python3.11": ELF, "usr/bin/python3": "->python3.11"}, "exact version of Python 3.11"),
    ],
)
def test_what_is_refused(tmp_path: Path, files: dict[str, str | bytes], says: str) -> None:
    with pytest.raises(ProjectError, match=says) as caught:
        find_python(tree(tmp_path, files), config(), "base")
    assert caught.value.hint


def test_links_lead_nowhere_out_of_the_tree(tmp_path: Path) -> None:
    """Not in the middle of a path either: what they name is looked for in the image."""
    outside = tree(
        tmp_path / "outside", {"dpkg/status": "Package: python3.11-minimal\nVersion: 3.11.9-1\n\n"}
    )
    root = tree(tmp_path / "tree", {"usr/bin/python3.11": ELF, "usr/bin/python3": "->python3.11"})
    (root / "var").mkdir()
    (root / "var/lib").symlink_to(outside)
    (root / "usr/include").symlink_to(outside)
    with pytest.raises(ProjectError, match="exact version"):
        find_python(root, config(), "base")


@pytest.mark.parametrize(
    "directory", ["lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib64", "usr/lib64"]
)
def test_glibc(tmp_path: Path, directory: str) -> None:
    library = b"\x00GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n"
    root = tree(tmp_path, {f"{directory}/libc-2.36.so": library, f"{directory}/libc.so.6": "->libc-2.36.so"})
    assert find_glibc(root, "base") == 36


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("lib/ld-musl-x86_64.so.1", "its C library is musl"),
        ("usr/lib/libc.musl-x86_64.so.1", "its C library is musl"),
        ("bin/busybox", "it has no glibc"),
    ],
)
def test_no_glibc(tmp_path: Path, path: str, says: str) -> None:
    with pytest.raises(ProjectError, match=says):
        find_glibc(tree(tmp_path, {path: ELF}), "base")


def test_libraries_in_the_folders_of_the_loader(tmp_path: Path) -> None:
    """Links stay in the tree, and what no loader searches does not count."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/libhost.so.1").write_bytes(ELF)
    files: dict[str, str | bytes] = {
        "usr/lib/x86_64-linux-gnu/libGL.so.1": "->libGL.so.1.7.0",
        "usr/lib/x86_64-linux-gnu/libGL.so.1.7.0": ELF,
        "lib": "->usr/lib",
        "etc/ld.so.conf.d/extra.conf": "# more\n/opt/vendor/lib\n/hostile\nrelative\n",
        "opt/vendor/lib/libvendor.so.2": ELF,
        "opt/conda/lib/libstdc++.so.6": ELF,
        "opt/named/libnamed.so": ELF,
        "srv/libother.so.1": ELF,
        "hostile": f"->{tmp_path}/outside",
    }
    root = tree(tmp_path / "image", files)
    found = find_libraries(root, "/opt/conda/bin/python3.11", ("PATH=/x", "LD_LIBRARY_PATH=:/opt/named:here"))
    assert found == {"libGL.so.1", "libGL.so.1.7.0", "libvendor.so.2", "libstdc++.so.6", "libnamed.so"}


@pytest.mark.parametrize("place", ["app", "opt", "opt/venv", "models", "home"])
def test_places_of_ours(tmp_path: Path, place: str) -> None:
    """A folder may be there; a link or a file may not: a layer's entry would hide it or end up behind it."""
    check_places(tmp_path, "base")
    (tmp_path / "opt").mkdir()
    if place != "opt":
        (tmp_path / place).mkdir()
    check_places(tmp_path, "base")
    os.rmdir(tmp_path / place)
    (tmp_path / place).symlink_to("/srv")
    with pytest.raises(ProjectError, match=f"'/{place}' is a symbolic link to '/srv' in the base 'base'"):
        check_places(tmp_path, "base")
    os.unlink(tmp_path / place)
    (tmp_path / place).write_text("")
    with pytest.raises(ProjectError, match=f"'/{place}' is a file"):
        check_places(tmp_path, "base")
