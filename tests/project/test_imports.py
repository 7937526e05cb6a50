"""Which distributions a project's files import: read, never run."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.project import distributions, imports
from corten.project.imports import Need


class Files:
    """A project in memory."""

    def __init__(self, **texts: str) -> None:
        self.texts = {name.replace("__slash__", "/"): text for name, text in texts.items()}

    @classmethod
    def of(cls, texts: dict[str, str]) -> Files:
        made = cls()
        made.texts = dict(texts)
        return made

    def files(self) -> tuple[str, ...]:
        return tuple(sorted(self.texts))

    def text(self, path: str) -> str | None:
        return self.texts.get(path)


def requirements(texts: dict[str, str], entry: tuple[str, ...] = ()) -> list[str]:
    return [need.requirement or f"?{need.module}" for need in imports.needs(Files.of(texts), entry)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os, json, sys\nfrom typing import List", []),
        ("import cv2", ["opencv-python-headless"]),
        ("import cv2\ncv2.imshow('a', b)", ["opencv-python"]),
        ("from sklearn import svm", ["scikit-learn"]),
        ("import sklearn.ensemble as e", ["scikit-learn"]),
        ("from PIL import Image", ["pillow"]),
        ("import yaml, bs4, dotenv", ["beautifulsoup4", "python-dotenv", "pyyaml"]),
        ("from google.cloud import storage", ["google-cloud-storage"]),
        ("from google.cloud import storage, bigquery", ["google-cloud-bigquery", "google-cloud-storage"]),
        ("import google.generativeai as genai", ["google-generativeai"]),
        ("from google.oauth2 import service_account", ["google-auth"]),
        ("from azure.storage.blob import BlobServiceClient", ["azure-storage-blob"]),
        ("from google.colab import drive", []),
        ("import google", []),
        ("import mystery", ["?mystery"]),
        ("import numpy as np", ["numpy"]),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", []),
        ("try:\n    import torch\nexcept (ImportError, OSError):\n    import jax", []),
        ("try:\n    import torch\nexcept KeyError:\n    pass", ["torch"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas", []),
        ("import sys\nif sys.platform == 'win32':\n    import wmi_thing\nelse:\n    import numpy", []),
        ("import contextlib\nwith contextlib.suppress(ImportError):\n    import uvloop", []),
        ("def f():\n    import pandas", ["pandas"]),
        ("class A:\n    import pandas", ["pandas"]),
        ("if __name__ == '__main__':\n    import uvicorn", ["uvicorn"]),
        ("import pkg_resources", ["setuptools<81"]),
        ("from . import x\nfrom .y import z", []),
        ("import urllib2, cPickle", []),
        ("print 'python 2'\nimport numpy\nfrom flask import Flask", ["flask", "numpy"]),
        ("import matplotlib.pyplot as plt\nfrom mpl_toolkits.mplot3d import Axes3D", ["matplotlib"]),
        ("import fitz, docx, Crypto.Cipher, serial, jwt, skimage.io", ["pycryptodome", "pyjwt", "pymupdf", "pyserial", "python-docx", "scikit-image"]),
    ],
)  # fmt: skip
def test_imports_become_distributions(source: str, expected: list[str]) -> None:
    assert requirements({"app.py": source}) == sorted(expected, key=lambda n: "" if n[0] == "?" else n)


def test_the_projects_own_modules_are_not_asked_for() -> None:
    texts = {
        "app.py": "import helpers, utils.text, model\nfrom core import x\nimport fast\nimport deep",
        "helpers.py": "",
        "utils/text.py": "",
        "src/core/__init__.py": "",
        "fast.cpython-311-x86_64-linux-gnu.so": "",
        "service/api.py": "import schemas",
        "service/schemas.py": "",
        "lib/model.py": "",
        "pkg/deep/leaf.py": "",
    }
    assert requirements(texts) == []


def test_a_folder_of_data_hides_no_distribution() -> None:
    assert requirements({"app.py": "import datasets", "datasets/iris.csv": ""}) == ["datasets"]


def test_tests_and_setup_count_for_nothing() -> None:
    texts = {
        "app.py": "import flask",
        "tests/test_app.py": "import pytest",
        "setup.py": "import numpy",
        "docs/conf.py": "import torch",
        "conftest.py": "import boto3",
    }
    assert requirements(texts) == ["flask"]


def test_certain_is_what_the_program_cannot_start_without() -> None:
    texts = {
        "app.py": "import flask, mystery\nfrom core import model\ndef late():\n    import pandas",
        "core/__init__.py": "import joblib",
        "core/model.py": "import sklearn\ntry:\n    import torch\nexcept ImportError: pass",
        "train.py": "import seaborn",
    }
    found = imports.needs(Files.of(texts), ("app.py",))
    assert {need.requirement for need in found if need.certain} == {"flask", "joblib", "scikit-learn"}
    assert {need.requirement or need.module for need in found if not need.certain} == {
        "pandas",
        "seaborn",
        "mystery",
    }
    assert next(need for need in found if need.requirement == "scikit-learn").where == "core/model.py:1"


def test_what_django_imports_by_name_counts() -> None:
    files = Files.of(
        {
            "site/wsgi.py": "import os\nfrom django.core.wsgi import get_wsgi_application\n"
            "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site.settings')\n",
            "site/settings.py": "INSTALLED_APPS = ['django.contrib.admin', 'crispy_forms', 'shop.apps.ShopConfig']\n"
            "INSTALLED_APPS += ['rest_framework']\nMIDDLEWARE = ['whitenoise.middleware.WhiteNoiseMiddleware']\n"
            "ROOT_URLCONF = 'site.urls'\n",
            "site/urls.py": "import pandas\n",
            "shop/apps.py": "",
        }
    )
    assert imports.derived(files).requirements == (
        *("django", "django-crispy-forms", "djangorestframework", "pandas", "whitenoise"),
    )
    found = imports.unlisted(files, {"django"}, ("site/wsgi.py",))
    assert [need.requirement for need in found] == [
        *("django-crispy-forms", "djangorestframework", "pandas", "whitenoise"),
    ]
    (one,) = imports.unlisted(
        files, {"django", "djangorestframework", "pandas", "whitenoise"}, ("site/wsgi.py",)
    )  # no import statement names it
    assert one.requirement == "django-crispy-forms"


def test_other_programs_beside_the_one_that_runs_do_not_count() -> None:
    scripts = {f"script{number}.py": "import ephem, pandas" for number in range(12)}
    app = "import streamlit as st\nimport helper\nst.Page('chart.py')"
    files = Files.of(
        {"app.py": app, "helper.py": "import numpy", "chart.py": "import plotly", "sub/x.py": "import yaml"}
        | scripts
    )
    found = imports.derived(files, ("app.py",))
    assert found.requirements == ("numpy", "plotly", "pyyaml", "streamlit")
    assert not found.unknown
    assert found.left_out == tuple(sorted(scripts))
    assert "pandas" in imports.derived(files).requirements  # nobody knows what runs
    few = Files.of({"app.py": app, "train.py": "import pandas"})
    assert imports.derived(few, ("app.py",)).requirements == ("pandas", "streamlit")


def test_unlisted_names_what_nobody_listed() -> None:
    files = Files.of({"app.py": "import flask, requests\nfrom PIL import Image\nimport cv2\nimport mystery"})
    listed = {"flask", "opencv-contrib-python", "requests"}
    (found,) = imports.unlisted(files, listed, ("app.py",))
    assert found == Need("pillow", "PIL", "app.py", 2, True, ("pillow", "pillow-simd"))
    assert imports.unlisted(files, {*listed, "pillow[x]"}, ("app.py",)) == ()


def test_notebooks_are_read_where_there_is_nothing_else() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["import nothing"]},
        {
            "cell_type": "code",
            "source": ["!pip install -q xgboost==1.7.6\n", "%matplotlib inline\n", "import pandas as pd\n"],
        },
        {"cell_type": "code", "source": "df.head?\nimport sklearn"},
        {"cell_type": "code", "source": "%%bash\nimport bash"},
    ]
    notebook = json.dumps({"nbformat": 4, "cells": cells})
    assert requirements({"a.ipynb": notebook}) == ["pandas", "scikit-learn", "xgboost==1.7.6"]
    assert requirements({"a.ipynb": notebook, "app.py": "import flask"}) == ["flask"]
    old = json.dumps(
        {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": ["import numpy"]}]}]}
    )
    assert requirements({"a.ipynb": old}) == ["numpy"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("python", "main.py"), ("main.py",)),
        (("gunicorn", "--bind", "0.0.0.0:80", "pkg.web:app"), ("pkg/web.py",)),
        (("uvicorn", "--factory", "core:make"), ("src/core.py",)),
        (("python", "-m", "pkg"), ("pkg/__main__.py", "pkg/__init__.py")),
        (("streamlit", "run", "./main.py"), ("main.py",)),
        (("node", "server.js"), ()),
    ],
)
def test_entry_files(argv: tuple[str, ...], expected: tuple[str, ...]) -> None:
    names = ("main.py", "pkg/web.py", "pkg/__main__.py", "pkg/__init__.py", "src/core.py", "server.js")
    assert imports.entry_files(argv, Files.of(dict.fromkeys(names, ""))) == expected


@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(
            ["import ", "from ", "a", ".", ",", "\n", " ", "(", "try:", "    ", "if x:", "except:", "import"]
        )
    ).map("".join)
)
def test_any_text_is_looked_at_without_failing(source: str) -> None:
    imports.needs(Files.of({"app.py": source, "b.ipynb": source}), ("app.py",))
    imports.needs(Files.of({"b.ipynb": source}))
    imports.unlisted(Files.of({"app.py": source}), (), ("app.py",))


@given(
    st.recursive(
        st.none() | st.text(max_size=9) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["cells", "worksheets", "cell_type", "source", "input"]), inner, max_size=4
            )
        ),
    )
)
def test_any_notebook_is_read_without_failing(document: object) -> None:
    imports.needs(Files.of({"b.ipynb": json.dumps(document)}))


def test_deep_and_large_files_are_bounded() -> None:
    deep = "x = " + "(" * 5000 + ")" * 5000 + "\nimport flask"
    assert requirements({"app.py": deep}) == ["flask"]
    assert requirements({"app.py": "import flask\n" + "a = 1\n" * 300_000}) == ["flask"]
    assert requirements({"b.ipynb": "[" * 100_000}) == []


def test_the_table_has_the_names_that_matter_and_each_once() -> None:
    text = (distributions.Path(distributions.__file__).parent / "data/distributions.txt").read_text()
    names = [line.split()[0] for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(names) == len(set(names))
    assert len([line for line in text.splitlines() if len(line.split()) > 1 and line[0] != "#"]) >= 200
    for module in names:
        entry = distributions.known(module)
        assert entry is not None
        assert all(name == distributions.normal(name) for name in entry.distributions)
