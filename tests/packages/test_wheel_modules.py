"""The modules of a wheel, by the names of its files."""

from __future__ import annotations

import zipfile
from pathlib import Path

from corten.packages.wheel_modules import modules_of


def test_modules_of_a_wheel(tmp_path: Path) -> None:
    path = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        for name in (
            *(
                "pkg/__init__.py",
                "single.py",
                "fast.cpython-311-x86_64-linux-gnu.so",
                "x-1.dist-info/METADATA",
            ),
            *(
                "x-1.data/purelib/inner/a.py",
                "x-1.data/platlib/flat.py",
                "x-1.data/scripts/run",
                "readme.txt",
            ),
        ):
            made.writestr(name, "")
    assert modules_of(path) == {"pkg", "single", "fast", "inner", "flat"}
    path.write_bytes(b"PK damaged")
    assert modules_of(path) == frozenset()
    assert modules_of(tmp_path / "absent.whl") == frozenset()
