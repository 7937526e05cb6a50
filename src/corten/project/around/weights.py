"""Weights and corpora that the code fetches by name from a hub when it runs: pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Literal

from corten.lazy import regex
from corten.project.around.modules import Call, Code, Modules, Place
from corten.values import dataclass

Hub = Literal[
    "hf", "ultralytics", "nltk", "spacy", "torch.hub", "torchvision", "whisper", "keras", "gensim", "timm", "tensorflow hub", "a drive"
]  # fmt: skip
_WORDS = regex(
    rb"from_pretrained|SentenceTransformer|CrossEncoder|pipeline|YOLO|nltk|spacy|torch\.hub|hub\.load|hf_hub_download|snapshot_download|"
    rb"load_model|applications|pretrained|weights|gensim|create_model|WhisperModel|HuggingFace|gdown|KerasLayer|load_dataset"
)
_REPOSITORY = regex(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?")
_REVISION = regex(r"[\w][\w./-]{0,199}")
_TASKS = {
    "sentiment-analysis": "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
    "text-classification": "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
    "summarization": "sshleifer/distilbart-cnn-12-6",
    "question-answering": "distilbert/distilbert-base-cased-distilled-squad",
    "text-generation": "openai-community/gpt2",
    "ner": "dbmdz/bert-large-cased-finetuned-conll03-english",
    "token-classification": "dbmdz/bert-large-cased-finetuned-conll03-english",
    "fill-mask": "distilbert/distilroberta-base",
    "zero-shot-classification": "facebook/bart-large-mnli",
    "feature-extraction": "distilbert/distilbert-base-cased",
    "translation_en_to_fr": "google-t5/t5-base",
    "translation_en_to_de": "google-t5/t5-base",
    "image-classification": "google/vit-base-patch16-224",
    "object-detection": "facebook/detr-resnet-50",
    "automatic-speech-recognition": "facebook/wav2vec2-base-960h",
}
"""What `pipeline(task)` of transformers takes where no model is named."""
_FILES = (
    ".pt",
    ".pth",
    ".onnx",
    ".engine",
    ".yaml",
    ".yml",
    ".bin",
    ".safetensors",
    ".gguf",
    ".h5",
    ".keras",
    ".joblib",
    ".pkl",
)


@dataclass(frozen=True, slots=True)
class Named:
    """Weights that the code names. `name` is that of a repository for `hf`, with `revision` and, where one file alone is meant, `file`."""

    hub: Hub
    name: str
    place: Place
    revision: str = ""
    file: str = ""

    @property
    def spelled(self) -> str:
        """As `models` in `[tool.corten]` names it; empty for what cannot stand there."""
        if self.hub != "hf":
            return ""
        file = f"/{self.file}" if self.file else ""
        return f"hf://{self.name}{file}@{self.revision or 'main'}"


def read(modules: Modules) -> tuple[Named, ...]:
    """What the program fetches by name, each once, in the order in which it is met."""
    found: dict[tuple[str, str, str, str], Named] = {}
    for code in modules.with_words(_WORDS):
        for call in code.calls():
            for named in _of(call, code):
                if named.hub in ("hf", "ultralytics") and _is_here(modules, named):
                    continue
                found.setdefault((named.hub, named.name, named.revision, named.file), named)
    return tuple(found.values())


def _is_here(modules: Modules, named: Named) -> bool:
    """Whether a path of the project is meant."""
    name = named.name.removeprefix("./")
    inner = name.rpartition("/")[2]
    return modules.folder.exists(name) or (
        named.hub == "ultralytics"
        and any(path.rpartition("/")[2] == inner for path in modules.folder.files(inner))
    )


def _of(call: Call, code: Code) -> Iterator[Named]:
    last, root = call.last, call.name.partition(".")[0]
    if last in ("from_pretrained", "from_single_file") or call.name == ".from_pretrained":
        yield from _repository(
            call, call.text(0, "pretrained_model_name_or_path", "model_id", "repo_id", "model_name")
        )
    elif last in ("SentenceTransformer", "CrossEncoder") and "sentence_transformers" in code.roots:
        name = call.text(0, "model_name_or_path", "model_name")
        yield from _repository(call, _sentence(name) if last == "SentenceTransformer" else name)
    elif last in (
        "HuggingFaceEmbeddings",
        "SentenceTransformerEmbeddings",
        "HuggingFaceEmbedding",
    ) and root.startswith(("langchain", "llama_index")):
        name = call.text(-1, "model_name") or (
            None if call.has("model_name") else "sentence-transformers/all-mpnet-base-v2"
        )
        yield from _repository(call, _sentence(name))
    elif call.name in ("transformers.pipeline", "transformers.pipelines.pipeline"):
        given = call.argument(1, "model")
        task = call.text(0, "task") or ""
        if given is not None:
            yield from _repository(call, code.text(given))
        elif task in _TASKS:
            yield from _repository(call, _TASKS[task])
    elif last == "hf_hub_download" and "huggingface_hub" in code.roots:
        yield from _repository(call, call.text(0, "repo_id"), call.text(1, "filename") or "")
    elif last == "snapshot_download" and "huggingface_hub" in code.roots:
        yield from _repository(call, call.text(0, "repo_id"))
    elif last == "WhisperModel" and "faster_whisper" in code.roots:
        name = call.text(0, "model_size_or_path")
        if name:
            yield from _repository(call, name if "/" in name else f"Systran/faster-whisper-{name}")
    elif last in ("YOLO", "RTDETR", "SAM", "YOLOWorld") and "ultralytics" in code.roots:
        name = call.text(0, "model") or (
            "yolov8n.pt" if not call.node.args and not call.node.keywords else ""
        )
        if name.endswith(".pt") and "/" not in name.removeprefix("./"):
            yield Named("ultralytics", name.removeprefix("./"), call.place)
    elif call.name == "nltk.download" or call.name == "nltk.downloader.download":
        for name in _names(call, code):
            yield Named("nltk", name, call.place)
    elif call.name == "spacy.load" or call.name == "spacy.cli.download":
        name = call.text(0, "name", "model") or ""
        if re.fullmatch(r"[a-z]{2,3}_[a-z]+_[a-z]+_(?:sm|md|lg|trf)", name):
            yield Named("spacy", name, call.place)
    elif call.name == "torch.hub.load":
        repository, model = call.text(0, "repo_or_dir"), call.text(1, "model")
        if repository and "local" not in [
            code.text(item.value) for item in call.node.keywords if item.arg == "source"
        ]:
            yield Named("torch.hub", f"{repository} {model or ''}".strip(), call.place)
    elif call.name == "whisper.load_model":
        name = call.text(0, "name") or ""
        if name and not name.endswith(".pt"):
            yield Named("whisper", name, call.place)
    elif (
        ".applications." in f"{call.name}."
        and root in ("keras", "tensorflow", "tf_keras")
        and last[:1].isupper()
    ):
        weights = call.argument(-1, "weights")
        if weights is None or code.text(weights) == "imagenet":
            yield Named("keras", last, call.place)
    elif call.name.startswith("torchvision.models.") and _is_pretrained(call):
        yield Named("torchvision", last, call.place)
    elif call.name == "timm.create_model" and _is_pretrained(call):
        yield Named("timm", call.text(0, "model_name") or "a model", call.place)
    elif call.name == "gensim.downloader.load":
        name = call.text(0, "name")
        if name:
            yield Named("gensim", name, call.place)
    elif call.name in ("tensorflow_hub.load", "tensorflow_hub.KerasLayer"):
        name = call.text(0, "handle") or ""
        if name.startswith("https://"):
            yield Named("tensorflow hub", name, call.place)
    elif call.name in ("gdown.download", "gdown.download_folder"):
        yield Named("a drive", call.text(0, "url", "id") or "a file", call.place)


def _repository(call: Call, name: str | None, file: str = "") -> Iterator[Named]:
    if not name or not _REPOSITORY.fullmatch(name) or name.endswith(_FILES) or ".." in name or "--" in name:
        return
    if name.partition("/")[0] in (
        "models",
        "model",
        "checkpoints",
        "weights",
        "saved_model",
        "output",
        "results",
    ):
        return  # a folder, by all appearance
    revision = call.text(-1, "revision") or ""
    yield Named(
        "hf",
        name,
        call.place,
        revision if _REVISION.fullmatch(revision) else "",
        file if ".." not in file else "",
    )


def _sentence(name: str | None) -> str | None:
    """What sentence-transformers takes a name without its owner for."""
    return f"sentence-transformers/{name}" if name and "/" not in name else name


def _names(call: Call, code: Code) -> list[str]:
    """One name, or a list of them."""
    node = call.argument(0, "info_or_id")
    if isinstance(node, ast.List | ast.Tuple):
        return [text for part in node.elts if (text := code.text(part))]
    text = code.text(node) if node is not None else None
    return [text] if text else []


def _is_pretrained(call: Call) -> bool:
    given = call.argument(-1, "pretrained", "weights")
    return given is not None and not (isinstance(given, ast.Constant) and given.value in (False, None))
