"""cog.yaml, the front matter of a Space, python_env.yaml: what they say, in the spellings that people use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.project.hints import cog_yaml, mlflow, spaces
from corten.project.hints.hint import Hint


class Files(dict[str, str]):
    """A folder with these files."""

    def files(self, ending: str = "") -> list[str]:
        return [path for path in self if path.endswith(ending)]

    def has_file(self, path: str) -> bool:
        return path in self

    def has_folder(self, path: str) -> bool:
        return path == ""

    def exists(self, path: str) -> bool:
        return path in self

    def text(self, path: str, limit: int = 1_000_000) -> str | None:
        return self.get(path)


def said(text: str) -> list[tuple[str, str, str, int]]:
    return [(hint.key, hint.name, hint.text, hint.line) for hint in cog_yaml.read_text(text)]


def test_everything_that_a_cog_yaml_has():
    text = """\
build:
  gpu: true
  cuda: "11.8"
  python_version: "3.10.4"
  system_packages:
    - libgl1-mesa-glx
    - "ffmpeg"
  python_packages:
    - torch==2.0.1
    - "cog==0.9"
  run:
    - pip install git+https://github.com/x/y
    - pip install -U cog xformers==0.0.20
    - command: apt-get update && apt-get install -y git-lfs
      mounts: [{type: secret, id: pip, target: /etc/pip.conf}]
    - curl -o /usr/local/bin/pget -L "https://github.com/replicate/pget/releases/download/v0.0.1/pget" && chmod +x /usr/local/bin/pget
    - echo 'deb http://x' > /etc/apt/sources.list
    - cd cowsay-3.7.0 && make install
environment:
  - HF_HOME=/src/.cache
  - broken
image: "r8.im/me/model"
predict: "predict.py:Predictor"
train: "train.py:train"
"""
    found = said(text)
    assert ("python", "", "3.10", 4) in found
    assert [text for key, _, text, _ in found if key == "system"] == ["libgl1-mesa-glx", "ffmpeg", "git-lfs"]
    assert [text for key, _, text, _ in found if key == "requirement"][:1] == ["torch==2.0.1"]
    assert ("requirement", "", "xformers==0.0.20", 13) in found
    assert ("env", "HF_HOME", "/src/.cache", 20) in found
    not_run = [text for key, _, text, _ in found if key == "unused" and text.startswith("not run")]
    assert any("pget" in text for text in not_run)
    assert any("make install" in text for text in not_run)
    assert any("CUDA 11.8" in text for key, _, text, _ in found if key == "unused")
    assert not [text for key, _, text, _ in found if key == "requirement" and text.startswith("cog")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "- 1",
        "build: 3",
        "build: {run: x}",
        "{",
        "build:\n  run: [[1], {command: 3}]",
        "!!python/object/apply:os.system [x]",
    ],
)
def test_a_cog_yaml_of_another_form_says_nothing(text):
    assert cog_yaml.read_text(text) == ()


def test_a_requirements_file_that_is_not_there_is_said():
    files = Files({"cog.yaml": "build:\n  python_requirements: a.txt\n", "b.txt": ""})
    assert cog_yaml.read(files) == (Hint("unused", "'a.txt' is not in the project", "cog.yaml", 2),)
    files["a.txt"] = ""
    assert cog_yaml.read(files) == (Hint("requirements", "a.txt", "cog.yaml", 2),)


@given(st.text(alphabet="abc: -[]{}\"'\n!&*|>#%@`\\0buildrun_packges=", max_size=200))
def test_any_cog_yaml_is_read_or_says_nothing(text):
    for hint in cog_yaml.read_text(f"build:\n{text}"):
        assert hint.text is not None
    cog_yaml.read_text(text)


def test_bombs_of_anchors_are_refused():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for one, before in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(f"{one}: &{one} [{', '.join([f'*{before}'] * 10)}]")
    assert cog_yaml.read_text("\n".join(lines)) == ()


FRONT = "---\ntitle: x\nsdk: gradio\nsdk_version: 4.44.1\npython_version: 3.10\nmodels:\n- org/a\n- org/b\n---\n# Title"


def test_a_space():
    found = spaces.read(Files({"README.md": FRONT}))
    assert [(hint.key, hint.text, hint.line) for hint in found] == [
        ("python", "3.10", 5),
        ("unused", "from the hub, not fetched: org/a, org/b", 6),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "# sdk: gradio",
        "---\nsdk: other\n---\n",
        "---\nsdk: [gradio]\n---\n",
        "---\nsdk: gradio\n",
        "x\n---\nsdk: gradio\n---\n",
        "---\n{\n---\nsdk",
    ],
)
def test_other_readmes_are_no_spaces(text):
    assert spaces.front(Files({"README.md": text})) is None


@given(st.text(max_size=200))
def test_any_readme_is_read(text):
    spaces.read(Files({"README.md": f"---\nsdk: gradio\n{text}\n---\n"}))
    spaces.read(Files({"README.md": text}))


def test_the_python_of_a_model_of_mlflow():
    files = Files({"MLmodel": "", "python_env.yaml": "build:\n- pip\npython: '3.9.18'\n"})
    assert mlflow.read(files) == (Hint("python", "3.9", "python_env.yaml", 3),)
    del files["MLmodel"]
    assert mlflow.read(files) == ()


def test_keys_of_a_cog_yaml_that_are_not_known_are_said():
    text = "build:\n  gpu: false\n  python_versoin: '3.10'\npredict: 'p.py:P'\nmystery:\n  - 1\n"
    assert [item for item in said(text) if item[0] == "unused"] == [
        ("unused", "", "'mystery' is not known, and not used", 5),
        ("unused", "", "'build.python_versoin' is not known, and not used", 3),
    ]
