"""What `up` takes of the arguments of `run`, and that a unit asks for the same."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from corten.cli import export, up
from corten.cli.serving_options import with_options
from corten.errors import UsageError
from corten.runtime.mounts import NamedVolume, Volume
from corten.runtime.options import RunOptions
from corten.runtime.volumes import MODEL_CACHE
from corten.supervise.services import Plan
from corten.supervise.systemd import PREFIX


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    up.add_arguments(parser)
    return parser.parse_args(words)


def options(*words: str, before: RunOptions | None = None) -> RunOptions:
    return with_options(before or RunOptions(), parsed(*words), "predict")


def test_up_takes_what_run_takes(tmp_path: Path) -> None:
    found = options(
        *("-v", "data:/app/data", "-v", f"{tmp_path}:/in:ro", "--mount", "type=tmpfs,target=/scratch"),
        *("--model-cache", "--read-write", "--best-effort", "--ulimit", "nofile=64:128"),
        *("--secret", "token=/etc/hostname"),
        *("--device", "/dev/null:/dev/nothing:r"),
    )
    assert found.volumes == (Volume(os.path.realpath(tmp_path), "/in", writable=False),)
    assert found.named_volumes == (NamedVolume("data", "/app/data"), MODEL_CACHE)
    assert [item.target for item in found.tmpfs] == ["/scratch"]
    assert (found.read_write, found.best_effort) == (True, True)
    assert (found.ulimits[0].soft, found.devices[0].target) == (64, "/dev/nothing")
    assert dict(found.environment)["HF_HOME"] == "/model-cache/huggingface"
    assert found.secrets == (("token", os.path.realpath("/etc/hostname")),)
    # An update without words changes nothing.
    assert options(before=found) == found
    assert options("-v", "other:/app/data", before=found).named_volumes == (
        NamedVolume("other", "/app/data"),
    )


@pytest.mark.parametrize(
    "words",
    [
        ("-v", "./none-such:/x"),
        ("-v", "data:relative"),
        ("--mount", "type=odd,target=/x"),
        ("--device", "/dev/none-such"),
        ("--ulimit", "files=3"),
        ("--memory", "much"),
        ("--secret", "token"),
        ("--secret", "token=/none-such"),
        ("--secret", "../x=/etc/hostname"),
        ("--idle", "soon"),
        ("--start-timeout", "soon"),
        ("-v", "a:/x", "-v", "b:/x"),
    ],
)
def test_what_up_cannot_give_is_told_before_the_build(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        up.check_values(parsed(*words))


def test_a_unit_asks_for_the_same_container(tmp_path: Path) -> None:
    (tmp_path / "with, comma").mkdir()
    found = options(
        *(
            "-v",
            "data:/app/data",
            "-v",
            f"{tmp_path}:/in:ro",
            "-v",
            f"{tmp_path}/with, comma:/out",
            "-v",
            "/room",
        ),
        *("--mount", "type=volume,source=raw,target=/raw,volume-nocopy", "--model-cache", "--read-write"),
        *(
            "--ulimit",
            "core=0:-1",
            "--secret",
            "id=token,src=/etc/hostname",
            "--device",
            "/dev/null:/dev/nothing:r",
            "--best-effort",
        ),
    )
    words = export.words_of(Plan("iris", "iris", "", None, found, "127.0.0.1", 8000))
    variables = [word for name, value in found.environment for word in ("-e", f"{name}={value}")]
    again = options(*(word for word in words if word not in ("--env-prefix", PREFIX)), *variables)
    assert dict(again.environment) == dict(found.environment)
    assert set(again.volumes) == set(found.volumes)
    assert set(again.named_volumes) == set(found.named_volumes)
    assert again.secrets == found.secrets
    assert (again.devices, again.ulimits, again.rooms) == (found.devices, found.ulimits, ("/room",))
    assert (again.read_write, again.best_effort) == (True, True)


def test_a_variables_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Editors on Windows write one, and the first variable had it in its name."""
    (tmp_path / "env").write_bytes(b"\xef\xbb\xbfFIRST=1\r\nSECOND=2\r\n")
    assert options("--env-file", str(tmp_path / "env")).environment == (("FIRST", "1"), ("SECOND", "2"))
