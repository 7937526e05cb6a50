"""Sources become wheels in a real sandbox, in the base of a real store."""

from __future__ import annotations

import json
import signal
import subprocess
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from corten.errors import BuildError
from corten.events import Note, TaskStarted, Warned
from corten.packages.sources import Recorded, Source
from support.command import Corten
from support.locks import sample_deb
from support.sdists import Workbench, backend, sdist

pytestmark = pytest.mark.e2e

RANDOM = "import random\ndef contents():\n    return {f'{NAME}.py': str(random.SystemRandom().random())}\n"


def tasks(workbench: Workbench) -> int:
    return sum(1 for event in workbench.events if isinstance(event, TaskStarted) and event.phase == "build")


def test_a_source_becomes_a_wheel_once(workbench: Workbench) -> None:
    source = workbench.source("alpha", backend("alpha"))
    built = workbench.build(source)
    assert built.wheel.file == "alpha-1.0-py3-none-any.whl"
    assert built.reproducible
    assert built.is_portable
    assert built.requires == ()
    place = workbench.store.files.path(built.wheel.sha256, "wheel")
    assert place is not None
    assert sha256(place.read_bytes()).hexdigest() == built.wheel.sha256
    assert place.stat().st_size == built.wheel.size
    before = tasks(workbench)
    assert workbench.build(source) == built
    assert tasks(workbench) == before


def test_native_code_is_built_again_where_the_compiler_is_another(workbench: Workbench) -> None:
    """Also where only headers were added: what was built without them does not count."""
    source = workbench.source("kappa", backend("kappa"))
    memories = workbench.store.cache_directory("built-wheels")
    there = {*memories.iterdir()} if memories.exists() else set()
    workbench.build(source)
    (memory,) = {*memories.iterdir()} - there
    document = json.loads(memory.read_text())
    memory.write_text(json.dumps({**document, "native": True}))
    before = tasks(workbench)
    workbench.debs = (sample_deb(1),)
    workbench.build(source)
    assert tasks(workbench) == before + 1


def test_a_folder_gives_the_wheel_that_its_archive_gives(workbench: Workbench, tmp_path: Path) -> None:
    files = backend("beta", more="def contents():\n    return {'beta.py': open('PKG-INFO').read()}\n")
    tree = tmp_path / "tree"
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
        (tree / path).chmod(0o600)
    tree.chmod(0o700)
    packed = workbench.build(workbench.source("beta", files))
    unpacked = workbench.build(Source("beta", "", "f" * 64, tree))
    assert packed.wheel == unpacked.wheel


def test_two_builds_that_differ_are_said_with_the_file(workbench: Workbench) -> None:
    built = workbench.build(workbench.source("gamma", backend("gamma", more=RANDOM)))
    assert not built.reproducible
    assert any(
        "two builds of gamma 1.0 differ in 'gamma.py'" in event.message
        for event in workbench.events
        if isinstance(event, Note)
    )


def test_the_surroundings_of_a_build_are_fixed(workbench: Workbench) -> None:
    """Same folder, clock, seed, locale, time zone, name of the machine and modes, whoever builds."""
    more = """
import os, socket, sys, time
def contents():
    umask = os.umask(0)
    os.umask(umask)
    said = [os.getcwd(), oct(umask), socket.gethostname(), os.getuid(), time.tzname, sorted(os.environ.items())]
    said += [oct(os.stat("backend.py").st_mode), os.stat("backend.py").st_mtime, sys.flags.hash_randomization]
    return {"seen.txt": "\\n".join(map(str, said))}
"""
    built = workbench.build(workbench.source("delta", backend("delta", more=more)))
    place = workbench.store.files.path(built.wheel.sha256, "wheel")
    assert place is not None
    with zipfile.ZipFile(place) as wheel:
        seen = wheel.read("seen.txt").decode().splitlines()
    assert seen[0] == "/build/src"
    assert seen[1:4] == ["0o22", "sandbox", "65534"]
    assert "('SOURCE_DATE_EPOCH', '315532800')" in seen[5]
    assert "('HOME', '/build/home')" in seen[5]
    assert "CORTEN" not in seen[5]
    assert seen[6:] == ["0o100644", "315532800.0", "0"]


def test_a_backend_is_asked_what_else_it_needs(workbench: Workbench) -> None:
    """What it wants is resolved with the rest, and it is told when it has it."""
    more = "def get_requires_for_build_wheel(config_settings=None):\n    return ['needed>=1']\n"
    with pytest.raises(Exception, match="needed>=1"):
        workbench.build(workbench.source("epsilon", backend("epsilon", more=more)))
    assert workbench.asked == [("needed>=1",)]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"README": "nothing"}, "neither pyproject.toml nor setup.py"),
        ({"pyproject.toml": "x = "}, "is not TOML"),
        ({"pyproject.toml": "[build-system]\nrequires = 'x'\n"}, "PEP 518"),
        ({"pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "a b"\n'}, "PEP 518"),
        (
            {
                "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["../x"]\n'
            },
            "leads out of the source",
        ),
        (backend("other", "2.0"), "produced a wheel of 'other' 2.0"),
        (backend("zeta", more="import numpy\n"), "it imports 'numpy' during the build"),
        (backend("zeta", more="def hostile():\n    raise ValueError('no luck')\n"), "ValueError: no luck"),
        (
            backend("zeta", more="def contents():\n    return {'a' * 300: ''} if os._exit(3) else {}\n"),
            "it ended with code 3",
        ),
    ],
)
def test_what_cannot_be_built_is_said(workbench: Workbench, files: dict[str, str], said: str) -> None:
    with pytest.raises(BuildError, match=said) as caught:
        workbench.build(workbench.source("zeta", files))
    assert "'zeta 1.0'" in caught.value.message
    assert caught.value.hint


def test_what_was_built_before_is_built_with_the_same_requirements(workbench: Workbench) -> None:
    """The names of new requirements are not resolved: the record has their wheels."""
    more = "def get_requires_for_build_wheel(config_settings=None):\n    return ['needed>=1']\n"
    source = workbench.source("eta", backend("eta", more=more))
    plain = workbench.build(workbench.source("theta", backend("theta")))
    built = workbench.build(source, Recorded(plain.wheel, (plain.wheel,), False))
    assert built.requires == (plain.wheel,)
    assert workbench.asked == []


def test_an_archive_with_links_and_odd_names_is_unpacked_inside(workbench: Workbench, tmp_path: Path) -> None:
    path = sdist(
        tmp_path,
        "iota",
        "1.0",
        {**backend("iota"), "../../../../../tmp/escaped": "x", "/absolute": "y"},
    )
    built = workbench.build(Source("iota", "1.0", sha256(path.read_bytes()).hexdigest(), path))
    assert built.wheel.name == "iota"


def test_a_build_that_is_interrupted_ends_at_once(corten: Corten, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    sdist(
        root / "sdists",
        "corten_sleeper",
        "1.0",
        backend("corten_sleeper", more="import time\ndef hostile():\n    time.sleep(300)\n"),
    )
    (root / "requirements.txt").write_text("--find-links sdists\ncorten-sleeper\n")
    (root / "main.py").write_text("print('main')\n")
    arguments = corten.command("lock", "--trust-path", root, root)
    with subprocess.Popen(arguments, env=corten.variables(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "corten-sleeper 1.0 has no wheel that fits" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(120) == 130, rest


def test_a_build_may_use_several_processes(workbench: Workbench) -> None:
    more = """
import multiprocessing
def contents():
    with multiprocessing.Pool(2) as pool:
        return {"sum.txt": str(sum(pool.map(abs, range(-4, 4))))}
"""
    assert workbench.build(workbench.source("pooler", backend("pooler", more=more))).reproducible


def test_a_build_for_this_processor_alone_is_said(workbench: Workbench) -> None:
    more = "def hostile():\n    print('gcc -O3 -march=native -c x.c')\n"
    workbench.build(workbench.source("lambda_", backend("lambda_", more=more)))
    assert any("-march=native" in event.message for event in workbench.events if isinstance(event, Warned))
