"""What a project's code needs around it is named before the start, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.project.load import fetches, load, needs

Make = Callable[[dict[str, str | bytes]], Path]
APP = "from flask import Flask\napp = Flask(__name__)\n"


def said(folder: Make, code: str, *given: str, reaches: bool = True, **more: str) -> list[str]:
    root = folder({"app.py": APP + code, "requirements.txt": "flask\n", **more})
    project = load(root)
    return [*needs(project, given, reaches=reaches), *fetches(project, reaches=reaches)]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import os\nk = os.environ['MODEL_URL']\n", "needs MODEL_URL ('app.py:4'): give it"),
        ("from os import environ\nk = environ['A_B']\n", "needs A_B ('app.py:4')"),
        ("import os\nk = os.getenv('OPENAI_API_KEY')\n", "needs OPENAI_API_KEY ('app.py:4')"),
        ("import os as o\nk = o.environ.get('DB_TOKEN').strip()\n", "needs DB_TOKEN ('app.py:4')"),
        ("import os\nregion = os.getenv('REGION')\n", "reads REGION without a default ('app.py:4')"),
        ("from decouple import config\nk = config('SECRET_KEY')\n", "needs SECRET_KEY ('app.py:4')"),
        ("from environs import Env\nenv = Env()\nk = env.str('SITE')\n", "needs SITE ('app.py:5')"),
        (
            "from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n    db_url: str\n    port: int = 1\n",
            "needs DB_URL ('app.py:5')",
        ),
        (
            "from pydantic import BaseSettings, Field\nclass S(BaseSettings):\n    a: str = Field(..., env='MY_A')\n"
            "    b: str = Field('x')\n    class Config:\n        env_prefix = 'APP_'\n",
            "needs MY_A ('app.py:5')",
        ),
        (
            "import streamlit as st\nk = st.secrets['openai']['key']\n",
            "needs openai of st.secrets ('app.py:4'): write it into .streamlit/secrets.toml",
        ),
        ("from openai import OpenAI\nc = OpenAI()\n", "needs OPENAI_API_KEY ('app.py:4')"),
        ("from langchain_groq import ChatGroq\nc = ChatGroq(model='x')\n", "needs GROQ_API_KEY"),
        (
            "import os\na = os.environ['A1']\nb = os.environ['B2']\n",
            "needs A1, B2 ('app.py:4'): give them with --env-file .env or -e NAME",
        ),
    ],
)
def test_variables_that_nothing_sets_are_named(folder: Make, code: str, line: str) -> None:
    found = said(folder, code)
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize(
    "code",
    [
        "import os\nk = os.getenv('MODEL', 'base')\n",
        "import os\nk = os.getenv('API_KEY') or 'none'\n",
        "import os\nif os.getenv('DEBUG'):\n    pass\n",
        "import os\nos.environ['TOKENIZERS_PARALLELISM'] = 'false'\nprint(os.environ['TOKENIZERS_PARALLELISM'])\n",
        "import os\nos.environ.setdefault('KEY', 'x')\nprint(os.environ['KEY'])\n",
        "import os\ntry:\n    k = os.environ['KEY']\nexcept KeyError:\n    k = 'x'\n",
        "import os\nprint(os.environ['PORT'], os.environ['HOME'], os.getenv('PATH'))\n",
        "from decouple import config\nk = config('KEY', default='x')\n",
        "from openai import OpenAI\nc = OpenAI(api_key='x', base_url='http://localhost:1')\n",
        "import os\nk = os.environ['GIVEN_KEY']\n",
        "config = {}\nk = config.get('KEY')\n",
        "import os\nk = os.environ[name()]\n",
    ],
)
def test_what_is_set_or_has_a_default_is_not(folder: Make, code: str) -> None:
    assert said(folder, code, "GIVEN_KEY") == []


def test_streamlits_secrets_beside_the_code_count(folder: Make) -> None:
    code = "import streamlit as st\nk = st.secrets['key']\n"
    assert said(folder, code, **{".streamlit/secrets.toml": "key = 'x'\n"}) == []


def test_what_the_projects_env_file_sets_is_given_unless_another_one_takes_its_place(folder: Make) -> None:
    code = "import os\nk = os.environ['MODEL_URL']\n"
    project = load(folder({"app.py": APP + code, "requirements.txt": "flask\n", ".env": "MODEL_URL=x\n"}))
    assert needs(project, reaches=True) == []
    assert needs(project, reaches=True, env_file=False)[0].startswith("needs MODEL_URL")


def test_what_the_program_does_not_import_does_not_count(folder: Make) -> None:
    other = "import os\nk = os.environ['TRAIN_KEY']\n"
    assert said(folder, "", **{"train.py": other, "tests/test_x.py": other}) == []
    assert said(folder, "import train\n", **{"train.py": other})[0].startswith(
        "needs TRAIN_KEY ('train.py:2')"
    )


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (
            "import psycopg2\nc = psycopg2.connect(dsn())\n",
            "connects to PostgreSQL ('app.py:4'), which Corten",
        ),
        ("import redis\nc = redis.Redis(host='cache', port=6379)\n", "connects to Redis ('app.py:4'), which"),
        (
            "import redis\nc = redis.Redis()\n",
            "connects to Redis ('app.py:4'), which Corten does not start, at this machine's own address",
        ),
        ("from pymongo import MongoClient\nc = MongoClient('mongodb://db:1/x')\n", "connects to MongoDB"),
        ("from qdrant_client import QdrantClient\nc = QdrantClient(url=u)\n", "connects to Qdrant"),
        ("import chromadb\nc = chromadb.HttpClient(host='v')\n", "connects to Chroma"),
        (
            "from sqlalchemy import create_engine\ne = create_engine('postgresql+psycopg://u:p@127.0.0.1/x')\n",
            "connects to PostgreSQL ('app.py:4'), which Corten does not start, at this machine's own address",
        ),
        (
            "import cv2\nc = cv2.VideoCapture(0)\n",
            "opens a camera ('app.py:4'): --device /dev/video0 gives it",
        ),
    ],
)
def test_services_and_devices_are_named(folder: Make, code: str, line: str) -> None:
    found = said(folder, code)
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize(
    "code",
    [
        "from sqlalchemy import create_engine\ne = create_engine('sqlite:///notes.db')\n",
        "from qdrant_client import QdrantClient\nc = QdrantClient(':memory:')\n",
        "import chromadb\nc = chromadb.PersistentClient('db')\n",
        "import cv2\nc = cv2.VideoCapture(path)\n",
        "import requests\nr = requests.get('http://localhost:8000/x')\n",
    ],
)
def test_what_stays_inside_is_not(folder: Make, code: str) -> None:
    assert said(folder, code, reaches=False) == []


def test_a_call_of_others_is_named_where_there_is_no_way_out(folder: Make) -> None:
    code = "import requests\nr = requests.get('https://api.example.com/v1')\ns = requests.post(url)\n"
    assert said(folder, code) == []
    assert said(folder, code, reaches=False) == [
        "calls api.example.com, other hosts ('app.py:4'), and the container has no way out: --network private gives one, "
        'or network = "private" in [tool.corten]'
    ]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (
            "from transformers import AutoModel\nNAME = 'org/bert'\nm = AutoModel.from_pretrained(NAME)\n",
            "fetches org/bert from the Hugging Face hub when it runs ('app.py:5'): 'corten lock' brings it into the image if the hub answers, and models = [\"hf://org/bert@main\"]",
        ),
        (
            "import transformers\nm = transformers.AutoModel.from_pretrained('gpt2', revision='v1')\n",
            "fetches gpt2 from the Hugging Face hub when it runs ('app.py:4'): 'corten lock' brings it into the image if the hub answers, and models = [\"hf://gpt2@v1\"]",
        ),
        (
            "from sentence_transformers import SentenceTransformer as S\nm = S('all-MiniLM-L6-v2')\n",
            "fetches sentence-transformers/all-MiniLM-L6-v2 from",
        ),
        (
            "from transformers import pipeline\np = pipeline('summarization')\n",
            "fetches sshleifer/distilbart-cnn-12-6",
        ),
        ("from transformers import pipeline\np = pipeline('x', model='a/b')\n", "fetches a/b from"),
        (
            "from huggingface_hub import hf_hub_download\np = hf_hub_download('a/b', 'm.gguf')\n",
            "fetches a/b from the Hugging Face hub when it runs ('app.py:4'): 'corten lock' brings it into the image if the hub answers, and models = [\"hf://a/b/m.gguf@main\"]",
        ),
        ("from ultralytics import YOLO\nm = YOLO('yolov8x.pt')\n", "fetches yolov8x.pt of ultralytics"),
        ("import nltk\nnltk.download(['punkt', 'stopwords'])\n", "fetches punkt, stopwords of nltk"),
        (
            "import spacy\nn = spacy.load('en_core_web_sm')\n",
            "needs the spaCy model en_core_web_sm ('app.py:4')",
        ),
        (
            "import torch\nm = torch.hub.load('pytorch/vision', 'resnet18')\n",
            "fetches pytorch/vision resnet18 of torch.hub",
        ),
        ("import whisper\nm = whisper.load_model('base')\n", "fetches base of whisper"),
        ("from keras.applications import ResNet50\nm = ResNet50()\n", "fetches ResNet50 of keras"),
        (
            "from torchvision import models\nm = models.resnet18(pretrained=True)\n",
            "fetches resnet18 of torchvision",
        ),
    ],
)
def test_weights_named_in_code_are_listed(folder: Make, code: str, line: str) -> None:
    found = said(folder, code)
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize(
    "code",
    [
        "from transformers import AutoModel\nm = AutoModel.from_pretrained('./weights')\n",
        "from transformers import AutoModel\nm = AutoModel.from_pretrained('local')\n",
        "from transformers import AutoModel\nm = AutoModel.from_pretrained(path)\n",
        "from ultralytics import YOLO\nm = YOLO('best.pt')\n",
        "import whisper\nm = whisper.load_model('model.pt')\n",
        "from torchvision import models\nm = models.resnet18(weights=None)\n",
        "from keras.applications import ResNet50\nm = ResNet50(weights='own.h5')\n",
    ],
)
def test_weights_of_the_project_are_not(folder: Make, code: str) -> None:
    assert said(folder, code, **{"local/config.json": "{}", "weights/best.pt": "x"}) == []


def test_a_model_that_the_lock_has_is_not_said(folder: Make) -> None:
    code = "from transformers import AutoModel\nm = AutoModel.from_pretrained('org/bert')\n"
    project = load(folder({"app.py": APP + code, "requirements.txt": "flask\n"}))
    assert fetches(project, reaches=True, locked=["hf://org/bert@main"]) == []
