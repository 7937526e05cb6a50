"""The image configuration that follows from a project."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.build.config import SERVE, created_at, expandable, image_config
from corten.errors import UsageError
from corten.lock.model import DebianBase, PlatformLock
from corten.oci.config import ImageConfig
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.files import Wheel
from corten.project.model import Command, Dependencies, Predictor, Project
from corten_serve.settings import Settings

AMD64 = Platform("linux", "amd64")
PROJECT = Project(
    root=Path("/project"),
    name="iris",
    entry=Predictor("predict:Iris"),
    dependencies=Dependencies("none"),
    platforms=(AMD64,),
    env={"THREADS": "2", "LANG": "de_DE.UTF-8"},
    labels={"team": "ml"},
    version="1.2",
)
PART = PlatformLock(AMD64, DebianBase("bookworm", "default", "3.11.2", ()))
LAYERS = [(Digest.of(b"base"), "debian"), (Digest.of(b"code"), "code")]


def environment(config: ImageConfig) -> dict[str, str]:
    return dict(item.split("=", 1) for item in config.env)


def test_a_predictor() -> None:
    config = image_config(PROJECT, PART, LAYERS, "2020-01-01T00:00:00Z")
    assert (config.entrypoint, config.cmd) == (SERVE, ("serve",))
    assert config.diff_ids == (Digest.of(b"base"), Digest.of(b"code"))
    assert len(config.history) == 2
    assert (config.user, config.workdir) == ("65532:65532", "/app")
    values = environment(config)
    assert values["PATH"].startswith("/opt/venv/bin:")
    assert values["VIRTUAL_ENV"] == "/opt/venv"
    assert values["CORTEN_PREDICT"] == "predict:Iris"
    assert (values["THREADS"], values["LANG"]) == ("2", "de_DE.UTF-8")
    assert config.labels["team"] == "ml"
    assert config.labels["org.opencontainers.image.version"] == "1.2"
    assert "CORTEN_VERSION=1.2" in config.env
    assert "NVIDIA_VISIBLE_DEVICES" not in values


@pytest.mark.parametrize(
    ("platform", "port"),
    [
        ({}, 8080),
        ({"PORT": "9000"}, 9000),
        ({"SAGEMAKER_BIND_TO_PORT": "9001", "SAGEMAKER_SAFE_PORT_RANGE": "21000-22000"}, 9001),
        ({"AIP_HTTP_PORT": "9002", "AIP_PREDICT_ROUTE": "/p", "AIP_HEALTH_ROUTE": "/h"}, 9002),
        ({"PORT": "9000", "AIP_HTTP_PORT": "9002"}, 9002),
    ],
)
def test_a_platforms_port_goes_before_the_images_own(platform: dict[str, str], port: int) -> None:
    values = environment(image_config(PROJECT, PART, LAYERS, "2020-01-01T00:00:00Z"))
    assert values["PORT"] == "8080"
    assert Settings.from_environment({**values, **platform}).port == port


@pytest.mark.parametrize(
    ("platform", "port"),
    [
        ({}, "8080"),
        ({"PORT": "9000"}, "9000"),
        ({"SAGEMAKER_BIND_TO_PORT": "9001", "AIP_HTTP_PORT": "9002"}, "9001"),
        ({"AIP_HTTP_PORT": "9002", "AIP_PREDICT_ROUTE": "/p"}, "9002"),
        ({"AIP_HTTP_PORT": "", "PORT": "9000"}, "9000"),
    ],
)
@pytest.mark.parametrize(
    "argv",
    [
        ("sh", "-c", 'echo "$1 $(printenv PORT)"', "x", "$PORT"),
        ("/bin/sh", "-c", 'exec sh -c "echo ${PORT:-none} $(printenv PORT)"'),
    ],
)
def test_a_platforms_port_goes_before_the_images_own_in_a_command(
    argv: tuple[str, ...], platform: dict[str, str], port: str
) -> None:
    """The command sees one port, in its words and in its environment; run with the image's own."""
    config = image_config(replace(PROJECT, entry=Command(argv)), PART, LAYERS, "x")
    done = subprocess.run(
        config.cmd, env={**environment(config), **platform}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [port, port]


def test_what_a_command_is_asked_is_a_label() -> None:
    command = replace(PROJECT, entry=Command(("python", "main.py")))
    assert "dev.corten.ready" not in image_config(command, PART, LAYERS, "x").labels
    asked = image_config(replace(command, ready="/health"), PART, LAYERS, "x")
    assert asked.labels["dev.corten.ready"] == "/health"


def test_several_models_are_a_json_object() -> None:
    entry = Predictor("", (("cats", "cats:Cats"), ("dogs", "dogs.onnx")))
    config = image_config(replace(PROJECT, entry=entry), PART, LAYERS, "x")
    assert environment(config)["CORTEN_PREDICT"] == '{"cats": "cats:Cats", "dogs": "dogs.onnx"}'
    assert config.labels["dev.corten.entry"] == "predict"


def test_gpu_variables_come_with_gpu_wheels() -> None:
    wheel = Wheel("nvidia-cublas-cu12", "1", "nvidia_cublas_cu12-1-py3-none-any.whl", 1, "0" * 64)
    config = image_config(PROJECT, replace(PART, wheels=(wheel,)), LAYERS, "x")
    assert environment(config)["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_a_command_is_in_exec_form() -> None:
    config = image_config(replace(PROJECT, entry=Command(("python", "main.py"))), PART, LAYERS, "x")
    assert (config.entrypoint, config.cmd) == ((), ("python", "main.py"))
    assert config.labels["dev.corten.entry"] == "command"


@given(
    st.lists(
        st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=8),
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_expanding_changes_nothing_but_variables(words: list[str]) -> None:
    argv = ["printf", "%s\\0", *words, "$PORT", "a${PORT}b"]
    command = expandable(argv)
    said = subprocess.run(command, env={"PORT": "80 81"}, capture_output=True, check=True).stdout.decode()
    variable = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
    values = {"PORT": "80 81"}
    expected = [variable.sub(lambda found: values.get(found[1] or found[2], ""), word) for word in words]
    assert said.split("\0")[:-1] == [*expected, "80 81", "a80 81b"]


def test_source_date_epoch() -> None:
    assert created_at({}) == "1980-01-01T00:00:00Z"
    assert created_at({"SOURCE_DATE_EPOCH": "1700000000"}) == "2023-11-14T22:13:20Z"
    with pytest.raises(UsageError, match="'soon'"):
        created_at({"SOURCE_DATE_EPOCH": "soon"})


def test_a_shell_expands_its_own_variables() -> None:
    command = ("/bin/sh", "-c", "x=1; echo $x")
    assert expandable(command) == command


def test_a_base_without_history_does_not_take_ours() -> None:
    """The history is optional in image-spec; ours names our layers all the same."""
    beneath = ImageConfig(AMD64, (Digest.of(b"1"), Digest.of(b"2")))
    config = image_config(PROJECT, PART, LAYERS, "1980-01-01T00:00:00Z", beneath)
    assert [entry["created_by"] for entry in config.layer_history] == [
        "base",
        "base",
        "corten: debian",
        "corten: code",
    ]


def test_what_a_base_says_of_itself_does_not_pass_for_the_image() -> None:
    beneath = ImageConfig(
        AMD64,
        (Digest.of(b"1"),),
        env=(
            "PATH=/opt/venv/bin:/opt/conda/bin:/bin",
            "PYTHONHOME=/usr",
            "LD_LIBRARY_PATH=/usr/local/cuda/lib64",
            "CORTEN_PREDICT=other:Model",
            "USER=app",
            "HOME=/home/app",
        ),
        entrypoint=("/entry.sh",),
        cmd=("serve",),
        user="app",
        workdir="/srv",
        labels={
            "org.opencontainers.image.title": "base",
            "org.opencontainers.image.revision": "abc",
            "dev.corten.entry": "predict",
            "vendor": "somebody",
        },
        exposed_ports=("9000/tcp",),
        volumes=("/data",),
        stop_signal="SIGINT",
    )
    project = replace(PROJECT, entry=None, version=None)
    config = image_config(project, PART, LAYERS, "x", beneath)
    values = environment(config)
    assert values["PATH"] == "/opt/venv/bin:/opt/conda/bin:/bin"
    assert values["LD_LIBRARY_PATH"] == "/usr/local/cuda/lib64"
    assert not {"PYTHONHOME", "CORTEN_PREDICT"} & set(values)
    assert (values["USER"], values["LOGNAME"], values["HOME"]) == ("nonroot", "nonroot", "/home/nonroot")
    assert (config.user, config.workdir) == ("65532:65532", "/app")
    assert config.labels == {
        "vendor": "somebody",
        "team": "ml",
        "dev.corten.network": "none",
        "org.opencontainers.image.title": "iris",
    }
    rest = (config.entrypoint, config.cmd, config.exposed_ports, config.volumes, config.stop_signal)
    assert rest == ((), (), (), (), None)
    named = environment(image_config(replace(project, user="app:app"), PART, LAYERS, "x", beneath))
    assert (named["USER"], named["LOGNAME"]) == ("app", "app")
