"""Variables that the code reads from its environment without a default, and secrets of Streamlit: pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from corten.lazy import regex
from corten.project.around.modules import Call, Code, Modules, Place
from corten.project.hints.variables import is_of_tools, is_secret
from corten.values import dataclass

_WORDS = regex(
    rb"environ|getenv|decouple|environs|BaseSettings|\.secrets|OpenAI|[Aa]nthropic|Groq|Cohere|cohere|Mistral|Pinecone|Tavily|genai|"
    rb"GoogleGenerativeAI|HuggingFaceHub|HuggingFaceEndpoint|Replicate|replicate"
)
_NAME = regex(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_OF_IMAGE = frozenset({"PORT", "PYTHONPATH", "HF_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "PWD", "LOGNAME"})
_CLIENTS: dict[str, tuple[str, ...]] = {
    "OpenAI": ("OPENAI_API_KEY",),
    "AsyncOpenAI": ("OPENAI_API_KEY",),
    "ChatOpenAI": ("OPENAI_API_KEY",),
    "OpenAIEmbeddings": ("OPENAI_API_KEY",),
    "AzureOpenAI": ("AZURE_OPENAI_API_KEY",),
    "Anthropic": ("ANTHROPIC_API_KEY",),
    "AsyncAnthropic": ("ANTHROPIC_API_KEY",),
    "ChatAnthropic": ("ANTHROPIC_API_KEY",),
    "Groq": ("GROQ_API_KEY",),
    "ChatGroq": ("GROQ_API_KEY",),
    "ChatGoogleGenerativeAI": ("GOOGLE_API_KEY",),
    "GoogleGenerativeAIEmbeddings": ("GOOGLE_API_KEY",),
    "ChatMistralAI": ("MISTRAL_API_KEY",),
    "ChatCohere": ("COHERE_API_KEY",),
    "CohereEmbeddings": ("COHERE_API_KEY",),
    "Pinecone": ("PINECONE_API_KEY",),
    "TavilyClient": ("TAVILY_API_KEY",),
    "TavilySearchResults": ("TAVILY_API_KEY",),
    "HuggingFaceHub": ("HUGGINGFACEHUB_API_TOKEN",),
    "HuggingFaceEndpoint": ("HUGGINGFACEHUB_API_TOKEN", "HF_TOKEN"),
}
"""Clients that take their key from the environment where it is not given, with the variables that count."""
_CLIENT_PACKAGES = frozenset(
    (
        *(
            "openai",
            "langchain",
            "langchain_openai",
            "langchain_community",
            "langchain_anthropic",
            "langchain_groq",
        ),
        *("langchain_google_genai", "langchain_mistralai", "langchain_cohere", "langchain_huggingface"),
        *("langchain_pinecone", "langchain_tavily", "anthropic", "groq", "pinecone", "tavily", "llama_index"),
    )
)
_KEYS = (
    *("api_key", "openai_api_key", "anthropic_api_key", "groq_api_key", "google_api_key", "mistral_api_key"),
    *(
        "cohere_api_key",
        "huggingfacehub_api_token",
        "azure_ad_token",
        "base_url",
        "openai_api_base",
        "http_client",
    ),
)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that must be set. `names`: one of these does. `sure`: the program fails without it, or it is a key; else it is read without
    a default and may be done without. `streamlit`: it is one of `st.secrets`."""

    names: tuple[str, ...]
    place: Place
    sure: bool = True
    streamlit: bool = False


def read(modules: Modules) -> tuple[Variable, ...]:
    """What the program reads and does not set itself, each name once."""
    found: dict[tuple[bool, str], Variable] = {}
    given: set[str] = set()
    for code in modules.with_words(_WORDS):
        given |= set(_given(code))
        for variable in (*_plain(code), *_settings(code), *_clients(code), *_streamlit(code)):
            if not all(_NAME.fullmatch(name) for name in variable.names):
                continue
            key = (variable.streamlit, variable.names[0])
            before = found.get(key)
            if before is None or (variable.sure and not before.sure):
                found[key] = variable
    return tuple(
        variable
        for variable in found.values()
        if variable.streamlit
        or not any(name in given or name in _OF_IMAGE or is_of_tools(name) for name in variable.names)
    )


def _given(code: Code) -> Iterator[str]:
    """Variables that the code sets itself, gives a default elsewhere, or asks whether they are set."""
    for node in code.nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            name = code.text(node.slice) if code.full(node.value) == "os.environ" else None
            if name:
                yield name
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            name = code.text(node.left) if code.full(node.comparators[0]) == "os.environ" else None
            if name:
                yield name
        elif isinstance(node, ast.Call):
            full = code.full(node.func)
            if full in ("os.environ.setdefault", "os.putenv") and node.args:
                yield code.text(node.args[0]) or ""
            elif full == "os.environ.update":
                yield from (item.arg for item in node.keywords if item.arg)
                for part in node.args:
                    if isinstance(part, ast.Dict):
                        yield from (code.text(key) or "" for key in part.keys if key is not None)
            elif full in ("os.getenv", "os.environ.get") and (len(node.args) > 1 or node.keywords):
                yield code.text(node.args[0]) or "" if node.args else ""


def _plain(code: Code) -> Iterator[Variable]:
    """`os.environ["X"]`, `os.getenv("X")`, `config("X")` of decouple, `env("X")` of environs and django-environ."""
    guarded, tested = _guarded(code)
    readers = _readers(code)
    for node in code.nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            name = code.text(node.slice) if code.full(node.value) == "os.environ" else None
            if name and id(node) not in guarded:
                yield Variable((name,), Place(code.path, node.lineno))
        elif isinstance(node, ast.Call) and node.args:
            full = code.full(node.func) or ""
            name = code.text(node.args[0])
            if not name:
                continue
            if full in ("os.getenv", "os.environ.get"):
                if len(node.args) == 1 and not node.keywords and id(node) not in tested:
                    yield Variable((name,), Place(code.path, node.lineno), is_secret(name))
            elif full.split(".")[0] in readers or full in readers:
                default = len(node.args) > 1 or any(item.arg == "default" for item in node.keywords)
                if not default and id(node) not in guarded:
                    yield Variable((name,), Place(code.path, node.lineno))


def _readers(code: Code) -> set[str]:
    """Names that stand for a reader of variables: `decouple.config`, and objects of environs and django-environ."""
    found = {name for name in ("decouple.config", "starlette.config.Config") if "decouple" in code.roots}
    for node in code.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = code.full(node.value.func)
            if made in ("environs.Env", "environ.Env", "environs.FileAwareEnv", "decouple.Config"):
                found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def _guarded(code: Code) -> tuple[set[int], set[int]]:
    """The expressions within `try` that handle a missing variable, and those that are only tested, or have another value beside them."""
    guarded: set[int] = set()
    tested: set[int] = set()
    for node in code.nodes:
        if isinstance(node, ast.Try):
            names = {code.full(part) for handler in node.handlers for part in _caught(handler)}
            if names & {"KeyError", "Exception", None, "BaseException", "decouple.UndefinedValueError"}:
                raises = any(
                    isinstance(part, ast.Raise) for handler in node.handlers for part in handler.body
                )
                if not raises:
                    guarded |= {id(inner) for part in node.body for inner in ast.walk(part)}
        elif isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
            tested |= {id(inner) for inner in ast.walk(node.test)}
        elif isinstance(node, ast.BoolOp):
            last = node.values[-1] if isinstance(node.op, ast.Or) else None
            for part in node.values:
                if part is not last:
                    tested |= {id(inner) for inner in ast.walk(part)}
            if isinstance(last, ast.Call):
                tested.add(id(last))
        elif isinstance(node, ast.Compare):
            tested |= {id(inner) for inner in ast.walk(node)}
    return guarded, tested


def _caught(handler: ast.ExceptHandler) -> list[ast.expr | ast.Name]:
    if handler.type is None:
        return [ast.Name(id="Exception")]
    return list(handler.type.elts) if isinstance(handler.type, ast.Tuple) else [handler.type]


def _settings(code: Code) -> Iterator[Variable]:
    """Fields without a default of classes that derive from pydantic's `BaseSettings`."""
    bases = {"pydantic.BaseSettings", "pydantic_settings.BaseSettings", "pydantic.v1.BaseSettings"}
    for node in code.nodes:
        if not isinstance(node, ast.ClassDef) or not any(code.full(base) in bases for base in node.bases):
            continue
        prefix = _prefix(code, node)
        for part in node.body:
            if not isinstance(part, ast.AnnAssign) or not isinstance(part.target, ast.Name):
                continue
            name: str | None = f"{prefix}{part.target.id}".upper()
            if part.value is not None:
                name = _required_field(code, part.value, name)
            elif "Optional" in ast.dump(part.annotation) or "ClassVar" in ast.dump(part.annotation):
                name = None
            if name and part.target.id not in ("model_config",):
                yield Variable((name,), Place(code.path, part.lineno))


def _required_field(code: Code, value: ast.expr, name: str | None) -> str | None:
    """The variable of `Field(...)` without a default; None for one with a default."""
    if not isinstance(value, ast.Call) or (code.full(value.func) or "").rpartition(".")[2] != "Field":
        return None
    given = value.args[0] if value.args else None
    if given is not None and not (isinstance(given, ast.Constant) and given.value is Ellipsis):
        return None
    keywords = {item.arg: item.value for item in value.keywords if item.arg}
    if keywords.keys() & {"default", "default_factory"}:
        return None
    for key in ("env", "validation_alias", "alias"):
        if key in keywords:
            text = code.text(keywords[key])
            return text.upper() if text else None
    return name


def _prefix(code: Code, node: ast.ClassDef) -> str:
    """What the names of a class's variables begin with."""
    for part in node.body:
        if isinstance(part, ast.ClassDef) and part.name == "Config":
            for inner in part.body:
                if isinstance(inner, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id == "env_prefix" for target in inner.targets
                ):
                    return code.text(inner.value) or ""
        elif isinstance(part, ast.Assign) and isinstance(part.value, ast.Call):
            for item in part.value.keywords:
                if item.arg == "env_prefix":
                    return code.text(item.value) or ""
    return ""


def _clients(code: Code) -> Iterator[Variable]:
    """Clients of services that take their key from the environment."""
    if not code.roots & _CLIENT_PACKAGES:
        return
    for call in code.calls():
        names = _CLIENTS.get(call.last)
        if names and call.name.partition(".")[0] in _CLIENT_PACKAGES and not _has_key(call):
            yield Variable(names, call.place)


def _has_key(call: Call) -> bool:
    return bool(call.node.args) or call.has(*_KEYS)


def _streamlit(code: Code) -> Iterator[Variable]:
    """`st.secrets["X"]` and `st.secrets.X`."""
    if "streamlit" not in code.roots:
        return
    guarded, tested = _guarded(code)
    for node in code.nodes:
        if not isinstance(node, ast.Subscript | ast.Attribute) or id(node) in guarded | tested:
            continue
        if code.full(node.value) not in ("streamlit.secrets",):
            continue
        name = code.text(node.slice) if isinstance(node, ast.Subscript) else node.attr
        if name and name not in ("get", "has_key", "to_dict", "keys", "items", "load_if_toml_exists"):
            yield Variable((name,), Place(code.path, node.lineno), streamlit=True)
