"""Packages that have only source, from the lock to a container: built once, with real build backends, the same wheel wherever it is built."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from corten.lock.format import read_lock
from corten.lock.model import Lock
from corten.packages.files import Sdist
from corten.store.store import Store
from support.command import Corten, link_files
from support.runner import Plain
from support.sdists import sdist

pytestmark = pytest.mark.e2e

SETUP = "from setuptools import setup\nsetup(name={name!r}, version='1.0', {more})\n"
LEGACY = {
    "setup.py": SETUP.format(name="cortenlegacy", more="py_modules=['cortenlegacy']"),
    "cortenlegacy.py": "x = 'cortenlegacy'\n",
}
PROJECT = '[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{backend}"\n[project]\nname = "{name}"\nversion = "1.0"\n{more}'
OWN = {
    "cortenhatched": {
        "pyproject.toml": PROJECT.format(
            requires="hatchling", backend="hatchling.build", name="cortenhatched", more=""
        ),
        "cortenhatched/__init__.py": "x = 'cortenhatched'\n",
    },
    "cortenflitted": {
        "pyproject.toml": PROJECT.format(
            requires="flit_core>=3.2",
            backend="flit_core.buildapi",
            name="cortenflitted",
            more='description = "x"\n',
        ),
        "cortenflitted.py": '"""x"""\nx = \'cortenflitted\'\n',
    },
    "cortenversed": {
        "pyproject.toml": PROJECT.format(
            requires="poetry-core>=2", backend="poetry.core.masonry.api", name="cortenversed", more=""
        ),
        "cortenversed/__init__.py": "x = 'cortenversed'\n",
    },
    "cortenforeign": {
        "setup.py": "import setuptools\ntry:\n    import iniconfig\nexcept ImportError:\n    iniconfig = None\n"
        "setuptools.setup(name='cortenforeign', version='1.0', setup_requires=['iniconfig'], py_modules=['cortenforeign'],\n"
        "    description=iniconfig.__name__ if iniconfig else '')\n",
        "cortenforeign.py": "x = 'cortenforeign'\n",
    },
    "cortencythonic": {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools", "cython>=3"]\nbuild-backend = "setuptools.build_meta"\n',
        "setup.py": "from Cython.Build import cythonize\nfrom setuptools import setup\n"
        "setup(name='cortencythonic', version='1.0', ext_modules=cythonize(['cortencythonic.pyx']))\n",
        "cortencythonic.pyx": "x = 'cortencythonic'\ndef twice(int n):\n    return 2 * n\n",
    },
    "cortenbound": {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools", "pybind11>=2.10"]\nbuild-backend = "setuptools.build_meta"\n',
        "setup.py": "from pybind11.setup_helpers import Pybind11Extension\nfrom setuptools import setup\n"
        "setup(name='cortenbound', version='1.0', ext_modules=[Pybind11Extension('cortenbound', ['cortenbound.cpp'])])\n",
        "cortenbound.cpp": '#include <pybind11/pybind11.h>\nPYBIND11_MODULE(cortenbound, m) { m.attr("x") = "cortenbound"; }\n',
    },
}
PINS = (
    "docopt==0.6.2",
    "flask-bootstrap==3.3.7.1",
    "itsdangerous==0.24",
    "python-multipart==0.0.5",
    "wrapt==1.10.11",
    "langdetect==1.0.9",
    "backcall==0.1.0",
)
IMPORTS = ("docopt", "itsdangerous", "multipart", "langdetect", "backcall")


def write(root: Path, own: dict[str, dict[str, str]], pins: tuple[str, ...] = (), main: str = "") -> None:
    for name, files in own.items():
        sdist(root / "sdists", name, "1.0", files)
    lines = ["--find-links sdists", *pins, *(f"{name}==1.0" for name in own)]
    (root / "requirements.txt").write_text("\n".join(lines) + "\n")
    (root / "main.py").write_text(main)


def sources(lock: Lock) -> dict[str, Sdist]:
    return {item.name: item for item in lock.platforms[0].sdists}


def other_store(corten: Corten, home: Path) -> Corten:
    """A store that has the fetched files of the shared one, and nothing that was built."""
    home.mkdir()
    link_files(corten.home, home)
    return Corten(home)


def test_a_source_is_built_once_and_comes_to_the_same_wheel_elsewhere(corten: Corten, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    write(root, {"cortenlegacy": LEGACY}, main="import cortenlegacy\nprint(cortenlegacy.x)\n")
    corten("lock", root)
    item = sources(read_lock(root / "corten.lock"))["cortenlegacy"]
    assert item.reproducible
    assert not item.native
    said = corten("lock", root)
    assert "source" not in said.stderr
    assert "nothing changed" in said.stderr
    assert "cortenlegacy" in corten("run", root).stdout
    # Elsewhere the wheel is absent: it is built again, and must be the same.
    store = Store(corten.home)
    place = store.files.path(item.wheel, "wheel")
    assert place is not None
    place.unlink()
    shutil.rmtree(corten.home / "caches" / "built-wheels")
    said = corten("lock", "--check", "--download", tmp_path / "bundle", root)
    assert "building cortenlegacy 1.0 from source: its wheel is not here" in said.stderr
    assert (
        sha256((tmp_path / "bundle/wheels/cortenlegacy-1.0-py3-none-any.whl").read_bytes()).hexdigest()
        == item.wheel
    )


def test_a_wheel_that_comes_out_otherwise_elsewhere_is_refused(corten: Corten, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    write(root, {"cortenlegacy": LEGACY}, main="import cortenlegacy\nprint(cortenlegacy.x)\n")
    corten("lock", root)
    path = root / "corten.lock"
    item = sources(read_lock(path))["cortenlegacy"]
    text = path.read_text()
    other = item.marks[:4] + ("AAAA" if item.marks[4:8] != "AAAA" else "BBBB") + item.marks[8:]
    path.write_text(text.replace(item.wheel, "a" * 64).replace(item.marks, other))
    said = corten("build", root, code=1)
    assert "is not the wheel that the lock names: 'cortenlegacy-1.0.dist-info/WHEEL' differs" in said.stderr
    assert "--download" in said.stderr


def test_every_common_build_backend(corten: Corten, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    own = {name: OWN[name] for name in ("cortenhatched", "cortenflitted", "cortenversed", "cortenforeign")}
    names = ", ".join(own)
    write(root, own, main=f"import {names}\nprint(*(item.x for item in ({names})))\n")
    corten("lock", root)
    found = sources(read_lock(root / "corten.lock"))
    assert set(found) == set(own)
    assert all(item.reproducible and not item.native for item in found.values())
    assert "cortenhatched cortenflitted cortenversed cortenforeign" in corten("run", root).stdout


def test_ten_sources_come_to_the_same_wheels_in_every_store_and_for_every_user(
    corten: Corten, tmp_path: Path, plain_runners: Callable[[str], Plain]
) -> None:
    """Of Python alone and of C, with Cython, with pybind11, with a foreign setup_requires."""
    root = tmp_path / "project"
    root.mkdir()
    own = {name: OWN[name] for name in ("cortenforeign", "cortencythonic", "cortenbound")}
    modules = ", ".join([*IMPORTS, *own])
    main = f"import glob, sys, {modules}\nassert glob.glob('/opt/venv/lib/python3*/site-packages/wrapt/_wrappers*.so')\n"
    main += "print(cortencythonic.twice(4), cortenbound.x, cortenforeign.x)\n"
    write(root, own, PINS, main)
    corten("lock", root)
    first = sources(read_lock(root / "corten.lock"))
    ten = {*own, *(pin.partition("=")[0] for pin in PINS)}
    assert first.keys() == {*ten, "visitor"}  # which flask-bootstrap needs
    assert {name for name, item in first.items() if item.native} == {"cortenbound", "cortencythonic", "wrapt"}
    assert [name for name, item in first.items() if not item.reproducible] == []
    assert "8 cortenbound cortenforeign" in corten("run", root).stdout
    again = tmp_path / "again"
    shutil.copytree(root, again)
    (again / "corten.lock").unlink()
    other_store(corten, tmp_path / "store")("lock", again, timeout=900)
    assert sources(read_lock(again / "corten.lock")) == first
    for kind in ("subuids", "none"):
        plain = plain_runners(kind)
        place = plain.home / "ten"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(root, place)
        (place / "corten.lock").unlink()
        subprocess.run(["chown", "-R", f"{plain.user.pw_uid}:{plain.user.pw_gid}", place], check=True)
        done = plain("lock", "--trust-path", place, place, timeout=900)
        assert done.returncode == 0, done.stderr
        assert sources(read_lock(place / "corten.lock")) == first


def test_a_header_that_is_missing_is_proposed_and_then_found(corten: Corten, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    files = {
        "setup.py": "from setuptools import Extension, setup\nsetup(name='cortenneedy', version='1.0',\n"
        "    ext_modules=[Extension('cortenneedy', ['cortenneedy.c'], libraries=['ffi'])])\n",
        "cortenneedy.c": "#include <Python.h>\n#include <ffi.h>\n"
        'static struct PyModuleDef cortenneedy = {PyModuleDef_HEAD_INIT, "cortenneedy", NULL, -1, NULL};\n'
        "PyMODINIT_FUNC PyInit_cortenneedy(void) { ffi_cif cif; ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 0, &ffi_type_void, NULL);\n"
        "    return PyModule_Create(&cortenneedy); }\n",
    }
    write(root, {"cortenneedy": files}, main="import cortenneedy\nprint('found', cortenneedy.__name__)\n")
    said = corten("lock", root, code=1)
    assert "the header 'ffi.h' is missing" in said.stderr
    assert 'build-system-packages = ["libffi-dev"]' in said.stderr
    (root / "pyproject.toml").write_text('[tool.corten]\nbuild-system-packages = ["libffi-dev"]\n')
    corten("lock", root)
    lock = read_lock(root / "corten.lock")
    assert "libffi-dev" in {deb.name for deb in lock.platforms[0].build_debs}
    assert sources(lock)["cortenneedy"].reproducible
    assert "found cortenneedy" in corten("run", root).stdout


def test_code_that_is_generated_gets_a_compiler(corten: Corten, tmp_path: Path) -> None:
    """No source beside Python's is in the archive: that it needs a compiler shows when it is built."""
    root = tmp_path / "project"
    root.mkdir()
    files = {
        "setup.py": "from setuptools import Extension, setup\n"
        "code = 'static struct PyModuleDef d = {PyModuleDef_HEAD_INIT, \"cortengenerated\", NULL, -1, NULL};'\n"
        "code += 'PyMODINIT_FUNC PyInit_cortengenerated(void) { return PyModule_Create(&d); }'\n"
        "with open('cortengenerated.c', 'w') as file:\n    file.write('#include <Python.h>\\n' + code)\n"
        "setup(name='cortengenerated', version='1.0', ext_modules=[Extension('cortengenerated', ['cortengenerated.c'])])\n",
    }
    write(
        root,
        {"cortengenerated": files},
        main="import cortengenerated\nprint('found', cortengenerated.__name__)\n",
    )
    corten("lock", root)
    assert sources(read_lock(root / "corten.lock"))["cortengenerated"].native
    assert "found cortengenerated" in corten("run", root).stdout
