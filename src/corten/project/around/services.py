"""Services that the code connects to, devices that it opens, and whether it calls out: pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from corten.lazy import regex
from corten.project.around.modules import Call, Code, Modules, Place
from corten.values import dataclass

_SERVICES: tuple[tuple[str, str], ...] = (
    (
        r"psycopg2?\.(?:connect|pool\.\w+|Connection\.connect)|psycopg_pool\.\w+|asyncpg\.(?:connect|create_pool)",
        "PostgreSQL",
    ),
    (
        r"(?:redis|aioredis)(?:\.asyncio)?\.(?:Redis|StrictRedis|from_url|Redis\.from_url|ConnectionPool)",
        "Redis",
    ),
    (
        r"pymongo\.(?:MongoClient|AsyncMongoClient)|motor\.motor_asyncio\.AsyncIOMotorClient|mongoengine\.connect",
        "MongoDB",
    ),
    (r"qdrant_client\.(?:Async)?QdrantClient", "Qdrant"),
    (r"chromadb\.(?:Async)?HttpClient", "Chroma"),
    (r"weaviate\.(?:Client|connect_to_local|connect_to_custom)", "Weaviate"),
    (r"pymilvus\.(?:connections\.connect|MilvusClient)", "Milvus"),
    (r"elasticsearch\.(?:Async)?Elasticsearch", "Elasticsearch"),
    (r"opensearchpy\.OpenSearch", "OpenSearch"),
    (r"(?:mysql\.connector|pymysql|MySQLdb|aiomysql)\.(?:connect|create_pool)", "MySQL"),
    (r"pika\.(?:BlockingConnection|SelectConnection)|aio_pika\.connect\w*", "RabbitMQ"),
    (r"kafka\.(?:KafkaConsumer|KafkaProducer)|confluent_kafka\.(?:Consumer|Producer)|aiokafka\.\w+", "Kafka"),
    (r"neo4j\.(?:Async)?GraphDatabase\.driver|langchain\w*(?:\.\w+)*\.Neo4jGraph", "Neo4j"),
    (r"minio\.Minio", "MinIO"),
    (r"influxdb(?:_client)?\.InfluxDBClient", "InfluxDB"),
    (r"paho\.mqtt\.client\.Client", "an MQTT broker"),
    (
        r"ollama\.(?:chat|generate|embeddings|embed|pull|Client|AsyncClient)|langchain\w*(?:\.\w+)*\.(?:Chat)?Ollama(?:LLM|Embeddings)?",
        "Ollama",
    ),
)
_WORDS_SERVICES = regex(
    rb"psycopg|asyncpg|redis|mongo|motor|qdrant|chromadb|weaviate|milvus|lasticsearch|opensearch|mysql|MySQL|pika|kafka|neo4j|Neo4j|minio|"
    rb"influxdb|mqtt|llama|create_engine|create_async_engine|SQLALCHEMY_DATABASE_URI"
)
_SCHEMES = {
    "postgresql": "PostgreSQL",
    "postgres": "PostgreSQL",
    "mysql": "MySQL",
    "mariadb": "MariaDB",
    "mssql": "SQL Server",
    "oracle": "Oracle",
    "redis": "Redis",
    "rediss": "Redis",
    "amqp": "RabbitMQ",
    "amqps": "RabbitMQ",
    "mongodb": "MongoDB",
    "clickhouse": "ClickHouse",
    "cockroachdb": "CockroachDB",
}
_HOME = ("localhost", "127.0.0.1", "::1")
_DEVICES = regex(rb"VideoCapture|sounddevice|pyaudio|PyAudio|sr\.Microphone|Microphone\(")
_OUT: tuple[tuple[str, str], ...] = (
    (r"openai\.(?:Async)?(?:Azure)?OpenAI|openai\.(?:ChatCompletion|Completion|Embedding)\.a?create|langchain\w*(?:\.\w+)*\.(?:Azure)?(?:Chat)?OpenAI(?:Embeddings)?", "OpenAI"),
    (r"anthropic\.(?:Async)?Anthropic|langchain\w*(?:\.\w+)*\.ChatAnthropic", "Anthropic"),
    (r"groq\.(?:Async)?Groq|langchain\w*(?:\.\w+)*\.ChatGroq", "Groq"),
    (r"google\.generativeai\.\w+|google\.genai\.Client|langchain\w*(?:\.\w+)*\.(?:Chat)?GoogleGenerativeAI(?:Embeddings)?", "Google's models"),
    (r"cohere\.(?:Async)?Client(?:V2)?|mistralai\.\w+|replicate\.\w+|together\.\w+", "a model's service"),
    (r"huggingface_hub\.(?:Async)?InferenceClient|huggingface_hub\.InferenceApi", "Hugging Face"),
    (r"pinecone\.(?:Pinecone|init)|tavily\.TavilyClient|serpapi\.\w+", "a search service"),
    (r"boto3\.(?:client|resource|Session)", "AWS"),
    (r"yfinance\.(?:download|Ticker|Tickers)|pandas_datareader\.\w+", "Yahoo Finance"),
    (r"tweepy\.(?:Client|API|Stream\w*)|praw\.Reddit|discord\.(?:Client|Bot|ext\.commands\.Bot)|telegram\.\w+|telebot\.(?:Async)?TeleBot|slack_sdk\.\w+|slack_bolt\.App", "a chat or social service"),
    (r"wikipedia\.\w+|arxiv\.\w+|duckduckgo_search\.DDGS|googleapiclient\.discovery\.build|spotipy\.Spotify|gtts\.gTTS|yt_dlp\.YoutubeDL|pytube\.YouTube", "a web service"),
    (r"(?:requests|httpx)\.(?:get|post|put|patch|delete|request|stream)", ""),
    (r"urllib\.request\.(?:urlopen|urlretrieve)", ""),
)  # fmt: skip
_WORDS_OUT = regex(
    rb"openai|OpenAI|nthropic|[gG]roq|generativeai|genai|GoogleGenerativeAI|cohere|mistralai|replicate|together|Inference|pinecone|tavily|"
    rb"serpapi|boto3|yfinance|pandas_datareader|tweepy|praw|discord|telegram|telebot|slack|wikipedia|arxiv|duckduckgo|googleapiclient|"
    rb"spotipy|gtts|yt_dlp|pytube|requests|httpx|urllib"
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service of another process that the code connects to. `here`: at an address of the machine itself."""

    kind: str
    place: Place
    here: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A device that the code opens, and the option that gives it."""

    what: str
    option: str
    place: Place


@dataclass(frozen=True, slots=True)
class Outward:
    """A call of a host elsewhere: `what` is whose, or the host's name."""

    what: str
    place: Place


def services(modules: Modules) -> tuple[Service, ...]:
    """The services, each kind once."""
    patterns = [(regex(pattern), kind) for pattern, kind in _SERVICES]
    found: dict[str, Service] = {}
    for code in modules.with_words(_WORDS_SERVICES):
        for service in (*_connections(code, patterns), *_urls(code)):
            before = found.get(service.kind)
            if before is None or (service.here and not before.here):
                found[service.kind] = service
    return tuple(found.values())


def _connections(code: Code, patterns: list[tuple[re.Pattern[str], str]]) -> Iterator[Service]:
    for call in code.calls():
        kind = next((kind for pattern, kind in patterns if pattern.fullmatch(call.name)), None)
        if kind is None or _is_local_file(call, kind):
            continue
        texts = [code.text(node) for node in (*call.node.args, *(item.value for item in call.node.keywords))]
        here = any(text and _is_here(text) for text in texts) or (kind == "Ollama" and not any(texts[1:]))
        if not call.node.args and not call.node.keywords and kind not in ("Ollama", "an MQTT broker"):
            here = True  # their clients' default
        yield Service(kind, call.place, here)


def _is_local_file(call: Call, kind: str) -> bool:
    """Clients that can also keep everything in the process or in a file."""
    if kind == "Qdrant":
        return call.text(0, "location") == ":memory:" or call.has("path")
    if kind == "Milvus":
        return (call.text(0, "uri") or "").endswith(".db")
    return False


def _urls(code: Code) -> Iterator[Service]:
    """URLs of databases that are written in the code."""
    for node in code.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "://" in node.value[:40]:
            scheme = node.value.partition("://")[0].partition("+")[0]
            kind = _SCHEMES.get(scheme)
            if kind is not None and len(node.value) > len(scheme) + 3:
                yield Service(kind, Place(code.path, node.lineno), _is_here(node.value))


def _is_here(text: str) -> bool:
    """Whether a host or URL is this machine's own."""
    host = text.partition("://")[2] or text
    host = host.partition("/")[0].rpartition("@")[2]
    return host.partition(":")[0] in _HOME or host in _HOME


def devices(modules: Modules) -> tuple[Device, ...]:
    """The cameras and microphones that it opens, each once."""
    found: dict[str, Device] = {}
    for code in modules.with_words(_DEVICES):
        for call in code.calls():
            if call.name == "cv2.VideoCapture":
                number = call.argument(0, "index")
                if isinstance(number, ast.Constant) and type(number.value) is int and 0 <= number.value < 64:
                    name = f"/dev/video{number.value}"
                    found.setdefault(name, Device("a camera", f"--device {name}", call.place))
            elif call.name in ("pyaudio.PyAudio", "speech_recognition.Microphone", "sounddevice.rec"):
                found.setdefault(
                    "snd", Device("a microphone", "--device with a device below /dev/snd", call.place)
                )
    return tuple(found.values())


def outward(modules: Modules) -> tuple[Outward, ...]:
    """Whom it calls elsewhere, each once."""
    patterns = [(regex(pattern), what) for pattern, what in _OUT]
    found: dict[str, Outward] = {}
    for code in modules.with_words(_WORDS_OUT):
        for call in code.calls():
            what = next((what for pattern, what in patterns if pattern.fullmatch(call.name)), None)
            if what is None:
                continue
            if any(_is_here(text) for item in call.node.keywords if (text := code.text(item.value))):
                continue  # a server of the same protocol on this machine
            if not what:
                address = call.text(1 if call.last in ("request", "stream") else 0, "url")
                if address is not None and (
                    not address.startswith(("http://", "https://")) or _is_here(address)
                ):
                    continue
                what = address.partition("://")[2].partition("/")[0][:80] if address else "other hosts"
            found.setdefault(what, Outward(what, call.place))
    return tuple(found.values())
