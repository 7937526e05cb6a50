from __future__ import annotations

import os

import pytest

from corten_serve.settings import Settings, SettingsError


def read(**environment: str) -> Settings:
    return Settings.from_environment({"CORTEN_PREDICT": "m:P", **environment})


@pytest.mark.parametrize("name", ["PORT", "SAGEMAKER_BIND_TO_PORT", "AIP_HTTP_PORT"])
def test_platforms_say_the_port_in_their_own_words(name):
    assert read(**{name: "9000"}).port == 9000
    assert read().port == 8080


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("64Mi", 64 << 20), ("1 MB", 10**6), ("2KiB", 2048), ("512Mi", 1 << 29)],
)
def test_sizes(text, size):
    assert read(CORTEN_BODY_LIMIT=text).body == size


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "٣"),
        ("CORTEN_BODY_LIMIT", "much"),
        ("CORTEN_BODY_LIMIT", "-1"),
        ("CORTEN_BODY_LIMIT", "4Gi"),
        ("CORTEN_QUEUE", "0"),
        ("CORTEN_LOG", "loud"),
        ("CORTEN_DRAIN", "nan"),
        ("LISTEN_FDS", "2"),
    ],
)
def test_what_is_wrong_is_named(name, value):
    with pytest.raises(SettingsError) as error:
        read(**{name: value})
    assert f"'{name}'" in error.value.message
    assert error.value.hint


def test_a_socket_counts_only_for_the_process_it_was_meant_for():
    assert read(LISTEN_FDS="1").inherited
    assert read(LISTEN_FDS="1", LISTEN_PID=str(os.getpid())).inherited
    assert not read(LISTEN_FDS="1", LISTEN_PID="1").inherited


def test_nothing_to_serve_is_said():
    with pytest.raises(SettingsError, match="nothing to serve"):
        Settings.from_environment({})


def test_several_models_are_an_object_of_names_and_targets():
    settings = Settings.from_environment({"CORTEN_PREDICT": '{"a": "m:A", "b-2": "m:B"}'})
    assert settings.models == (("a", "m:A"), ("b-2", "m:B"))
    assert settings.predict == "m:A"
    assert read(CORTEN_NAME="iris").models == (("iris", "m:P"),)


@pytest.mark.parametrize("text", ["{", "{}", '{"a": 1}', '{"a/b": "m:A"}', '{"": "m:A"}'])
def test_models_that_are_none_are_named(text):
    with pytest.raises(SettingsError, match="'CORTEN_PREDICT'"):
        Settings.from_environment({"CORTEN_PREDICT": text})


def test_how_many_workers_and_who_may_call():
    assert read().workers == 1
    assert read(CORTEN_WORKERS="auto").workers == 0
    assert read(CORTEN_WORKERS="4").workers == 4
    assert read(CORTEN_CORS="https://a.example.com/ , http://localhost:3000").cors == (
        "https://a.example.com",
        "http://localhost:3000",
    )
    assert read(CORTEN_HOSTS="Model.example.com., *.lab *").hosts == ("model.example.com", "*.lab", "*")
    assert read(CORTEN_BATCH_DELAY="5").batch_delay == 0.005
    assert read(CORTEN_WORKER_MEMORY="8Gi").memory == 8 << 30
    for wrong in (
        {"CORTEN_WORKERS": "0"},
        {"CORTEN_HOSTS": "http://a"},
        {"CORTEN_HOSTS": "a:80"},
        {"CORTEN_CORS": "example.com"},
        {"CORTEN_LOG_FORMAT": "xml"},
    ):
        with pytest.raises(SettingsError):
            read(**wrong)
