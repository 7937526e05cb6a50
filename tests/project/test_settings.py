from __future__ import annotations

import contextlib
import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import CortenError, ProjectError
from corten.oci.platform import Platform
from corten.project.reference import reference
from corten.project.schema import pyproject_schema, table_schema
from corten.project.settings import KEYS, Settings, read

REPOSITORY = Path(__file__).parents[2]


def table(toml: str) -> object:
    return tomllib.loads(toml)


def test_an_empty_table_is_all_defaults() -> None:
    assert read({}) == Settings()


def test_every_key_is_read_from_its_documented_example() -> None:
    for key, field in KEYS.items():
        settings = read(table(f"{key} = {field.metadata['example']}"))
        assert getattr(settings, field.name) not in (None, (), {}), key


def test_values_are_kept_in_their_final_form() -> None:
    settings = read(
        table("""
        platforms = ["amd64", "linux/arm64/v8"]
        models = ["./weights//a.pt", "more/"]
        workdir = "/srv//app/"
        requirements = "requirements.txt"
        system = ["libgl1", "libgl1"]
        command = ["python", "main.py", ""]
        """)
    )
    assert settings.platforms == (Platform("linux", "amd64"), Platform("linux", "arm64"))
    assert settings.models == ("weights/a.pt", "more/")
    assert settings.workdir == "/srv/app"
    assert settings.requirements == ("requirements.txt",)
    assert settings.system == ("libgl1",)
    assert settings.command == ("python", "main.py", "")


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("python main.py --name 'two words'", ("python", "main.py", "--name", "two words")),
        ("uvicorn app:app --port $PORT", ("uvicorn", "app:app", "--port", "$PORT")),
        ('gunicorn -b "0.0.0.0:${PORT}" app:app', ("gunicorn", "-b", "0.0.0.0:${PORT}", "app:app")),
        ("python a.py | tee log", ("/bin/sh", "-c", "python a.py | tee log")),
        ("python a.py && python b.py", ("/bin/sh", "-c", "python a.py && python b.py")),
        ("DEBUG=1 python a.py", ("/bin/sh", "-c", "DEBUG=1 python a.py")),
        ("echo $(date)", ("/bin/sh", "-c", "echo $(date)")),
        ("serve --port ${PORT:-80}", ("/bin/sh", "-c", "serve --port ${PORT:-80}")),
        ("echo '$PORT'", ("/bin/sh", "-c", "echo '$PORT'")),
        ("python -c 'print(1); print(2)'", ("python", "-c", "print(1); print(2)")),
    ],
)
def test_a_command_in_one_text_is_split_as_a_shell_would(text: str, argv: tuple[str, ...]) -> None:
    assert read({"command": text}).command == argv


@pytest.mark.parametrize(
    ("toml", "message", "hint"),
    [
        (
            "modles = []",
            "unknown key 'modles' in [tool.corten]; did you mean 'models'?",
            "the keys are name, ",
        ),
        ("Include = []", "unknown key 'Include' in [tool.corten]; did you mean 'include'?", None),
        ('entrypoint = "x"', "unknown key 'entrypoint' in [tool.corten]; did you mean 'command'?", None),
        ("zzz = 1", "unknown key 'zzz' in [tool.corten]", "the keys are"),
        (
            "name = 3",
            "'name' in [tool.corten] must be a name such as 'iris', not the integer 3",
            'name = "3"',
        ),
        ('name = "Iris Model"', "not 'Iris Model'", "small letters"),
        (
            "python = 3.11",
            "must be a version such as '3.11', '3.12.4' or '3.13t', not the number 3.11",
            'python = "3.11"',
        ),
        ('python = "3.11.x"', "must be a version such as", "the lock pins the exact version"),
        (
            'models = "a.pt"',
            "'models' in [tool.corten] must be a list of paths and globs, not 'a.pt'",
            'models = ["a.pt"]',
        ),
        ("models = [1]", "'models[0]' in [tool.corten] must be a path or glob, not the integer 1", None),
        (
            'models = ["../a.pt"]',
            "'models[0]' in [tool.corten] leaves the project: '../a.pt'",
            "corten run -v",
        ),
        ('models = ["/a.pt"]', "leaves the project: '/a.pt'", None),
        ('models = ["~/a.pt"]', "leaves the project", None),
        ('models = ["./"]', "names the whole project", None),
        ('include = ["a\\nb"]', "'include[0]' in [tool.corten] must be a path or glob", None),
        (
            "env = { PORT = 80 }",
            "'env.PORT' in [tool.corten] must be text, not the integer 80",
            'PORT = "80"',
        ),
        ('env = { "A-B" = "x" }', "'A-B' cannot be a name in 'env' of [tool.corten]", "letters, digits"),
        ('env = { A = "\\u0000" }', "'env.A' in [tool.corten] has a NUL character", None),
        ("env = []", "'env' in [tool.corten] must be a table of texts, not a list", None),
        ('labels = { "a b" = "x" }', "'a b' cannot be a name in 'labels'", None),
        ("user = 1000", "not the integer 1000", 'user = "1000"'),
        ('user = "a:b:c"', "must be a user such as", None),
        ('user = "4294967295"', "larger than any user id", None),
        ('workdir = "app"', "must be an absolute path such as '/app', not 'app'", None),
        ('workdir = "/app/../etc"', "must be an absolute path", None),
        ('workdir = "/proc/x"', "must be an absolute path", None),
        ('base = "ubuntu"', "must be a base such as 'debian:bookworm', not 'ubuntu'", "debian:trixie"),
        ('base = "debian:sid"', "must be a base", None),
        ('predict = "predict.py:Iris"', "must be 'module:Class'", 'predict = "predict:Iris"'),
        ('predict = "../b.py:Iris"', "must be 'module:Class'", "as in an import"),
        (
            'predict = "Iris"',
            "must be 'module:Class', 'module:function' or a model's file, not 'Iris'",
            "as in an import",
        ),
        ("predict = true", "not true", None),
        ("command = []", "must be a command: a list of texts, or one text, not a list", "for example"),
        ("command = ['a', 1]", "'command[1]' in [tool.corten] must be text, not the integer 1", "quotes"),
        ('command = "echo \'x"', "has an unclosed quotation", None),
        ('command = " "', "must be a command", None),
        ('gpu = "cuda"', "'auto', 'none', 'any' or a CUDA version such as 'cu126', not 'cuda'", None),
        ('network = "bridge"', "must be 'none', 'host' or 'private', not 'bridge'", None),
        ("network = ['none']", "not a list", None),
        ('strict = "yes"', "'strict' in [tool.corten] must be true or false, not 'yes'", None),
        ("strict = 2020-01-01", "not a date or time", None),
        (
            'platforms = ["windows"]',
            "'platforms[0]' in [tool.corten] must be 'linux/amd64' or 'linux/arm64'",
            None,
        ),
        (
            'system = ["libgl1 ffmpeg"]',
            "must be a Debian package's name, not 'libgl1 ffmpeg'",
            "one package per item",
        ),
        ("predict = {}", "'predict' in [tool.corten] names no model", 'predict = "predict:Iris"'),
        ('predict = { A = "a:b" }', "'A' cannot be a model's name in 'predict'", "small letters"),
        ('predict = { v2 = "a:b" }', "'v2' cannot be a model's name in 'predict'", "paths of its own"),
        ("predict = { a = 3 }", "'predict.a' in [tool.corten] must be 'module:Class'", None),
        ('predict = "/models/a.onnx"', "'predict' in [tool.corten] leaves the project", None),
        ('predict = "*.joblib"', "'predict' in [tool.corten] names several files", "one model's file"),
        ("requirements = []", "'requirements' in [tool.corten] must be a file or a list of files", None),
        ("requirements = [{}]", "'requirements[0]' in [tool.corten] must be a file, not a table", None),
        ('compression = "xz"', "must be 'gzip', 'zstd' or 'raw'", None),
        (
            'predict = "a:b"\ncommand = "x"',
            "[tool.corten] has both 'predict' and 'command'",
            "keep 'predict'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(toml: str, message: str, hint: str | None) -> None:
    with pytest.raises(ProjectError) as caught:
        read(table(toml))
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert not caught.value.message.endswith(".")
    if hint is not None:
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "base",
    [
        *("debian:bookworm", "debian:trixie-minimal", "oci:./base", "oci:/srv/base dir:v1"),
        *("ghcr.io/org/image:1.2", "localhost:5000/a/b@sha256:" + "0" * 64, "python/slim:3.11"),
    ],
)
def test_bases(base: str) -> None:
    assert read({"base": base}).base == base


def test_the_table_must_be_a_table() -> None:
    with pytest.raises(ProjectError, match=r"'tool\.corten' must be a table, not a list"):
        read([])


toml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*KEYS, "other"]), toml_values, max_size=6))
def test_whatever_is_written_is_read_or_refused_with_a_reason(values: dict[str, object]) -> None:
    with contextlib.suppress(CortenError):
        read(values)


def test_the_schema_has_every_key_and_is_closed() -> None:
    schema = table_schema()
    assert list(schema["properties"]) == list(KEYS)
    assert schema["additionalProperties"] is False
    assert all(value["description"] for value in schema["properties"].values())
    json.dumps(schema)
    assert (
        pyproject_schema()["properties"]["tool"]["properties"]["corten"]["properties"] == schema["properties"]
    )


def test_the_schema_accepts_what_the_reader_accepts() -> None:
    schema = table_schema()["properties"]
    for key, field in KEYS.items():
        value = tomllib.loads(f"{key} = {field.metadata['example']}")[key]
        assert accepts(schema[key], value), key
    for key, wrong in [
        ("name", "Iris X"),
        ("models", "a"),
        ("network", "x"),
        ("strict", 1),
        ("env", {"1": "a"}),
    ]:
        assert not accepts(schema[key], wrong), key


def accepts(schema: dict[str, object], value: object) -> bool:
    """The small part of JSON schema that ours uses."""
    kinds = {"string": str, "array": list, "object": dict, "boolean": bool}
    if "anyOf" in schema:
        return any(accepts(part, value) for part in schema["anyOf"])  # type: ignore[attr-defined]
    if "enum" in schema:
        return value in schema["enum"]  # type: ignore[operator]
    if not isinstance(value, kinds[str(schema["type"])]):
        return False
    if isinstance(value, str):
        return len(value) >= int(str(schema.get("minLength", 0))) and bool(
            re.search(str(schema.get("pattern", "")), value)
        )
    if isinstance(value, list):
        return all(accepts(schema["items"], item) for item in value)  # type: ignore[arg-type]
    if isinstance(value, dict):
        pattern = schema["propertyNames"]["pattern"]  # type: ignore[index]
        return all(re.search(pattern, name) for name in value)
    return True


def test_the_reference_is_current() -> None:
    written = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")
    assert written == reference(), "run: python -m corten.project.reference docs/configuration.md"
    for key in KEYS:
        assert f"### `{key}`" in written
