"""Every example as its README tells it: the commands that it shows are run, and what they have built, trained and served is
then looked at closer and stopped. (`test_documentation.py` follows the other pages.)"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from support.command import Corten
from support.pages import ROOT, Followed, copy_example, followed

SETOSA = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
VIRGINICA = {"sepal_length": 6.3, "sepal_width": 2.9, "petal_length": 5.6, "petal_width": 1.8}

pytestmark = pytest.mark.e2e


Follow = Callable[[str], AbstractContextManager[Followed]]


@pytest.fixture
def followed_example(corten: Corten, tmp_path: Path) -> Follow:
    """Follows an example's README in a copy of the example."""
    return lambda name: followed(
        ROOT / "examples" / name / "README.md", tmp_path, corten, ending=("stop", name)
    )


def ask(url: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON of a POST of `body`, or of a GET without one."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def listed(corten: Corten) -> list[dict[str, Any]]:
    """What `corten ps` shows."""
    rows: list[dict[str, Any]] = json.loads(corten("ps", "--json").stdout)
    return rows


def check_it_stops(corten: Corten, name: str, url: str) -> None:
    """It is listed, and when it is stopped it is really gone."""
    assert [row["name"] for row in listed(corten) if row["url"] == url] == [name]
    assert corten("stop", name).stdout.strip() == name
    assert name not in [row["name"] for row in listed(corten)]
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=5)


def test_iris_is_trained_in_its_own_image_and_served(corten: Corten, followed_example: Follow) -> None:
    with followed_example("iris") as iris:
        assert "wrote model.joblib" in iris.said
        assert (iris.folder / "model.joblib").stat().st_size > 1000
        # `up` prints where it answers, and nothing else.
        url = iris.url
        assert url in iris.said.splitlines()
        status, answer = ask(f"{url}/predict", SETOSA)
        assert (status, answer["species"]) == (200, "setosa")
        status, answer = ask(f"{url}/predict", VIRGINICA)
        assert (status, answer["species"]) == (200, "virginica")
        assert 0.5 < answer["probability"] <= 1

        status, answer = ask(f"{url}/predict", {**SETOSA, "petal_width": "wide"})
        assert status == 422
        assert answer["problems"][0]["field"] == "petal_width"
        status, answer = ask(f"{url}/predict", {"sepal_length": 5.1})
        assert status == 422

        assert ask(f"{url}/livez") == (200, {"status": "live"})
        assert ask(f"{url}/readyz") == (200, {"status": "ready"})
        document = ask(f"{url}/openapi.json")[1]
        assert document["info"]["title"] == "iris"
        assert set(json.dumps(document).split('"')) >= {*SETOSA, "setosa", "virginica", "species"}
        check_it_stops(corten, "iris", url)


def test_a_pipeline_is_served_without_code(corten: Corten, followed_example: Follow) -> None:
    sample = {"alcohol": 12.3, "flavanoids": 2.0, "color_intensity": 2.8, "proline": 500}
    with followed_example("wine") as wine:
        status, answer = ask(f"{wine.url}/predict", sample)
        assert (status, answer["prediction"]) == (200, "grignolino")
        assert set(answer["probabilities"]) == {"barolo", "grignolino", "barbera"}
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        status, answer = ask(f"{wine.url}/predict", {**sample, "alcohol": "strong"})
        assert status == 422
        assert answer["problems"][0]["field"] == "alcohol"
        assert set(sample) <= set(json.dumps(ask(f"{wine.url}/openapi.json")[1]).split('"'))
        check_it_stops(corten, "wine", wine.url)


def test_iris_without_its_weights_is_not_served(corten: Corten, tmp_path: Path) -> None:
    """Whoever forgets to train is told, and not after a minute."""
    failed = corten("up", copy_example("iris", tmp_path), "--port", "0", code=None)
    assert failed.returncode in (1, 2)
    assert "'model.joblib'" in failed.stderr
    assert "hint:" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_embeddings_of_alike_sentences_are_close(corten: Corten, followed_example: Follow) -> None:
    with followed_example("embeddings") as embeddings:
        url = embeddings.url
        status, vectors = ask(
            f"{url}/predict", {"sentences": ["a small dog", "a puppy", "interest rates were raised"]}
        )
        assert status == 200
        assert [len(vector) for vector in vectors] == [384, 384, 384]
        dog, puppy, rates = vectors

        def alike(left: list[float], right: list[float]) -> float:
            return sum(a * b for a, b in zip(left, right, strict=True))

        assert alike(dog, dog) == pytest.approx(1, abs=1e-3)
        assert alike(dog, puppy) > alike(dog, rates) + 0.3
        # The example's own script says the same of the sentences in its README.
        scores = re.findall(r"(-?\d\.\d\d)  ([a-z ]+)$", embeddings.said, re.MULTILINE)
        assert [sentence for _, sentence in scores] == ["a puppy", "interest rates"]
        assert float(scores[0][0]) > float(scores[1][0])
        check_it_stops(corten, "embeddings", url)


def test_a_web_application_is_served_untouched(corten: Corten, followed_example: Follow) -> None:
    files = {path.name for path in (ROOT / "examples/flask-app").iterdir()} - {"corten.lock", "__pycache__"}
    with followed_example("flask-app") as app:
        status, answer = ask(f"{app.url}/score", {"text": "The cat sat on the mat."})
        assert (status, answer["words"]) == (200, 6)
        assert answer["score"] > 100
        with urllib.request.urlopen(app.url, timeout=30) as page:
            assert b"<form" in page.read()
        check_it_stops(corten, "flask-app", app.url)
        assert {path.name for path in app.folder.iterdir()} == files | {"corten.lock"}
        # At another port inside, of its own choice.
        done = corten("up", app.folder, "--detach", "--port", "0", "-e", "PORT=5055")
        url = done.stdout.strip()
        assert url.startswith("http://127.0.0.1:")
        assert "\n" not in url
        assert ask(f"{url}/score", {"text": "The cat sat on the mat."})[0] == 200
        check_it_stops(corten, "flask-app", url)


def test_a_training_loop_leaves_its_checkpoint(corten: Corten, followed_example: Follow) -> None:
    with followed_example("train-torch") as example:
        folder, checkpoints = example.folder, example.folder / "checkpoints"
        assert "epoch 60: loss" in example.said
        assert "going on after epoch 60" in example.said
        first = (checkpoints / "spirals.pt").read_bytes()
        assert len(first) > 10_000
        volume = ("-v", f"{checkpoints}:/app/checkpoints")
        again = corten("run", *volume, folder, "--", "python", "train.py", "--epochs", "1")
        assert "going on after epoch 80" in again.stdout
        assert (checkpoints / "spirals.pt").read_bytes() != first
        # A command's own exit code passes through.
        corten("run", folder, "--", "python", "train.py", "--epochs", "many", code=2)


def test_ctrl_c_ends_up_cleanly(corten: Corten, project: Callable[..., Path]) -> None:
    """On a terminal, as a person has it: Ctrl-C comes from the terminal itself, to everything in the foreground."""
    folder = project({"predict.py": "def predict(x: float) -> float:\n    return x * 2\n"}, "doubler")
    corten("build", folder)
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        corten.command("up", folder, "--port", "0"),
        env={**corten.variables(), "TERM": "xterm"},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        text=True,
        preexec_fn=lambda: _take_terminal(theirs),
    )
    try:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        assert ask(f"{url}/predict", {"x": 21}) == (200, 42.0)
        os.write(ours, b"\x03")
        assert running.wait(20) == 0
    finally:
        running.kill()
        running.wait()
        os.close(theirs)
        os.close(ours)
    assert [row for row in listed(corten) if row["url"] == url] == []
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=5)


def _take_terminal(descriptor: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


def test_a_kill_of_up_leaves_no_container(corten: Corten, project: Callable[..., Path]) -> None:
    folder = project({"predict.py": "def predict(x: float) -> float:\n    return x * 2\n"}, "doubler")
    running = subprocess.Popen(
        corten.command("up", folder, "--port", "0"),
        env=corten.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout is not None
    url = running.stdout.readline().strip()
    assert ask(f"{url}/livez")[0] == 200
    running.send_signal(signal.SIGKILL)
    running.wait()
    end = time.monotonic() + 60
    while [row for row in listed(corten) if row["url"] == url]:
        assert time.monotonic() < end
        time.sleep(0.1)
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=5)


def test_a_predictor_that_does_not_import_shows_its_own_traceback(
    corten: Corten, project: Callable[..., Path]
) -> None:
    folder = project(
        {
            "predict.py": "import settings\n\ndef predict(x: float) -> float:\n    return x\n",
            "settings.py": "THRESHOLD = 1 / 0\n",
        },
        "broken",
    )
    failed = corten("up", folder, "--port", "0", code=1)
    assert failed.stdout == ""
    assert "ZeroDivisionError: division by zero" in failed.stderr
    frames = [line.strip() for line in failed.stderr.splitlines() if line.strip().startswith('File "')]
    assert frames == [
        'File "/app/predict.py", line 1, in <module>',
        'File "/app/settings.py", line 1, in <module>',
    ]
    assert [row for row in listed(corten) if row["image"] == "broken"] == []
