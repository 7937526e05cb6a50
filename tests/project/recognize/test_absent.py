"""Files that a program opens, and that its image will not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from corten.project.load import absent_files, load

Make = Callable[..., Path]
FLASK = "import joblib, os\nfrom flask import Flask\napp = Flask(__name__)\n"


def lines(root: Path) -> list[tuple[str, str]]:
    return [(item.line, item.hint) for item in absent_files(load(root))]


def test_a_model_that_has_to_be_trained_is_named_with_its_script(folder: Make) -> None:
    files = {
        "requirements.txt": "flask\n",
        "app.py": FLASK + "model = joblib.load('models/model.joblib')\n",
        "train.py": "import joblib\njoblib.dump(1, 'models/model.joblib')\n",
    }
    assert lines(folder(files)) == [
        (
            "'app.py:4' opens 'models/model.joblib', and the project has no such file",
            "'train.py' writes it: corten run -v .:/app . -- python train.py",
        )
    ]


def test_a_file_that_is_ignored_is_named_with_the_line_that_brings_it(folder: Make) -> None:
    files = {
        "requirements.txt": "flask\n",
        "app.py": FLASK + "rows = open(os.path.join('data', 'rows.csv'))\nmodel = joblib.load('m.pkl')\n",
        "data/rows.csv": "1",
        "m.pkl": "x",
        ".git/HEAD": "",
        ".gitignore": "data/\n*.pkl\n",
    }
    assert lines(folder(files)) == [
        (
            "'app.py:4' opens 'data/rows.csv', which is ignored and so not in the image",
            'include = ["data/rows.csv"] in [tool.corten] brings it into the image',
        )
    ]


def test_what_is_there_or_may_be_done_without_is_not_named(folder: Make) -> None:
    files = {
        "requirements.txt": "flask\n",
        "web/app.py": FLASK
        + "open('words.txt')\nopen('web/words.txt')\nopen('../top.txt')\nopen('out.log', 'w')\nopen('/etc/hosts')\n"
        "try:\n    open('optional.json')\nexcept OSError:\n    pass\n"
        "if os.path.exists('cache.json'):\n    open('cache.json')\n"
        "def later(name):\n    open(name)\n    joblib.load('own.joblib')\n    joblib.dump(1, 'own.joblib')\n",
        "web/words.txt": "",
        "top.txt": "",
    }
    assert lines(folder(files)) == []
