"""Whatever a project's files hold, looking at them ends, and ends in a project or a ProjectError."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from corten.errors import ProjectError
from corten.project.load import load

PIECES = [
    "from flask import Flask, *\n",
    "from flask import Flask\n",
    "from fastapi import FastAPI\n",
    "from . import x\n",
    "from ....a import b as c\n",
    "import app.main as main, app\n",
    "app = Flask(__name__)\n",
    "app = app\n",
    "app = app.app.app\n",
    "a = b = app = FastAPI()\n",
    "app = ProxyFix(app)\n",
    "app.mount('/x', app)\n",
    "def create_app(*, a=1, **k):\n    app = Flask('x')\n    return app\n",
    "async def f():\n    return FastAPI()\n",
    "class A(Flask):\n    def run(self):\n        self.app.run()\n",
    "if __name__ == '__main__':\n    app = create_app()\n    app.run()\n",
    "if '__main__' == __name__:\n    main()\n",
    "def main():\n    main()\n    uvicorn.run('app.main:app')\n",
    "uvicorn.run(app, host='::')\n",
    "with a() as b:\n    serve(app)\n",
    "match x:\n    case 1:\n        app.run()\n",
    "global app\n",
    "open('../../../etc/passwd')\nopen('a/../b')\nopen('~/x')\n",
    "lambda: (yield)\n",
    "\x00",
    "\ufeff",
    "(" * 300,
    "x" + ".y" * 3000 + "()\n",
    "if __name__ == '__main__':\n    x" + ".y" * 3000 + "()\n    app.run()\n",
    "app = " + "ProxyFix(" * 80 + "app" + ")" * 80 + "\n",
]
NAMES = ["app.py", "main.py", "wsgi.py", "app/main.py", "app/__init__.py", "src/a b/x.py", "manage.py"]


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(PIECES), max_size=6), min_size=1))
def test_any_mixture_of_modules_ends_in_words(files: dict[str, list[str]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for path, pieces in files.items():
            place = Path(directory) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("".join(pieces))
        try:
            project = load(Path(directory))
        except ProjectError:
            return
        assert project.workdir.startswith("/app")
        assert "/.." not in project.workdir


def test_modules_that_import_each_other_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from flask import Flask\nimport m0\napp = Flask('x')\n")
    for number in range(100):
        text = "".join(f"import m{other}\n" for other in range(number + 2))
        (tmp_path / f"m{number}.py").write_text(text)
    project = load(tmp_path)
    assert project.kind == "web"
