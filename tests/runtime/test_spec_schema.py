"""Whatever is asked for, the config.json validates against the published JSON schema of the OCI runtime specification, and
has no key that the schema does not know."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from referencing.jsonschema import DRAFT4

from corten.cli import run as verb
from corten.oci.config import ImageConfig
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.runtime.cdi.choose import Gpus
from corten.runtime.cdi.wanted import wanted_edits
from corten.runtime.decide import Situation, decide
from corten.runtime.identity import Identity
from corten.runtime.spec import runtime_spec
from corten.store.images import Image
from support.properties import thorough
from support.vendor import write_vendor

SCHEMAS = Path(__file__).parent / "schema"
PLAIN = Identity("range", ((0, 1000, 1), (1, 100_000, 65_536)), ((0, 1000, 1), (1, 100_000, 65_536)))
SINGLE = Identity("single", ((0, 1000, 1),), ((0, 1000, 1),))
DIGEST = Digest.parse("sha256:" + "0" * 64)
FLAGS = (
    ("--volume", "/usr:/data:ro"),
    ("--volume", "/tmp:/out"),
    ("--mount", "type=bind,source=/usr,target=/m,readonly"),
    ("--tmpfs", "/scratch:size=1m"),
    ("--env", "A=1"),
    ("--workdir", "/tmp"),
    ("--user", "0"),
    ("--user", "4242:7"),
    ("--read-write",),
    ("--hostname", "box"),
    ("--memory", "64m"),
    ("--memory", "64m", "--memory-swap", "128m"),
    ("--memory-reservation", "8m"),
    ("--cpus", "0.5"),
    ("--cpuset-cpus", "0"),
    ("--pids-limit", "10"),
    ("--ulimit", "nofile=64:64"),
    ("--ulimit", "core=0"),
    ("--shm-size", "1m"),
    ("--device", "/dev/null:/dev/nil:rw"),
    ("--cap-add", "CHOWN"),
    ("--cap-drop", "ALL"),
    ("--security-opt", "no-new-privileges=false"),
    ("--security-opt", "seccomp=unconfined"),
    ("--security-opt", "unmask=ALL"),
    ("--security-opt", "mask=/proc/cpuinfo"),
    ("--group-add", "44"),
    ("--ipc", "host"),
    ("--privileged",),
)


def strict(value: Any) -> Any:
    """The schema, refusing what it does not list: it tolerates unknown keys, and a mistyped one would pass."""
    if isinstance(value, dict):
        value = {key: strict(item) for key, item in value.items()}
        if isinstance(value.get("properties"), dict):
            value.setdefault("additionalProperties", False)
    elif isinstance(value, list):
        value = [strict(item) for item in value]
    return value


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft4Validator:
    """The schema with its parts."""
    documents = {path.name: strict(json.loads(path.read_text())) for path in SCHEMAS.glob("*.json")}
    registry = referencing.Registry().with_resources(
        (name, DRAFT4.create_resource(document)) for name, document in documents.items()
    )
    return jsonschema.Draft4Validator({"$ref": "config-schema.json"}, registry=registry)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root file system with a program."""
    place = tmp_path_factory.mktemp("root")
    (place / "bin").mkdir()
    (place / "bin/sh").write_text("#!")
    (place / "bin/sh").chmod(0o755)
    return str(place)


@pytest.fixture(scope="module")
def vendor_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A vendor's CDI file."""
    return str(write_vendor(tmp_path_factory.mktemp("vendor")))


def made(
    flags: tuple[tuple[str, ...], ...],
    identity: Identity,
    network: str,
    root: str,
    vendor: str | None,
    limited: bool,
) -> dict[str, Any]:
    """The config.json of `corten run` with `flags`, as it is written."""
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    arguments = parser.parse_args([*(word for flag in flags for word in flag), "image"])
    arguments.command = ["/bin/sh"]
    options = verb.options_of(arguments)
    edits = (
        wanted_edits(Gpus(everything=True), [], (vendor,), identity, lambda event: None) if vendor else None
    )
    config = ImageConfig(
        Platform("linux", "amd64"), (), ("PATH=/bin", "A=0"), user="" if identity == SINGLE else "65532"
    )
    image = Image("image", DIGEST, DIGEST, config, 0, 0.0)
    situation = Situation(
        "box", identity, network, "/corten/box" if limited else None, (("/etc/hosts", "/etc/hosts"),), terminal=limited,
        size=(80, 24), served=not limited, edits=edits,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(json.dumps(runtime_spec(decide(image, options, situation, root))))
    return document


@thorough(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(flags=FLAGS, identity=Identity("root"), network="none", gpus=True, limited=True)
@given(
    flags=st.lists(st.sampled_from(FLAGS), max_size=8, unique=True).map(tuple),
    identity=st.sampled_from([Identity("root"), PLAIN, SINGLE]),
    network=st.sampled_from(["none", "host", "given"]),
    gpus=st.booleans(),
    limited=st.booleans(),
)
def test_the_specification_is_valid(
    validator: jsonschema.Draft4Validator, root: str, vendor_folder: str,
    flags: tuple[tuple[str, ...], ...], identity: Identity, network: str, gpus: bool, limited: bool,
) -> None:  # fmt: skip
    if identity == SINGLE:
        flags = tuple(flag for flag in flags if flag[0] not in ("--user", "--group-add"))
    if identity.kind != "root":
        # The tests run as root, whose devices a plain user's container could not open.
        flags = tuple(flag for flag in flags if flag != ("--privileged",))
    document = made(flags, identity, network, root, vendor_folder if gpus else None, limited)
    validator.validate(document)


def test_the_check_sees_mistakes(validator: jsonschema.Draft4Validator, root: str) -> None:
    """Wrong types, unknown keys and words that the specification does not have."""
    good = made((), Identity("root"), "none", root, None, True)
    validator.validate(good)
    for change in (
        lambda spec: spec["process"].update(noNewPrivilegs=True),
        lambda spec: spec["process"].update(noNewPrivileges="yes"),
        lambda spec: spec["linux"].update(seccomp={"defaultAction": "SCMP_ACT_PERHAPS"}),
        lambda spec: spec["linux"]["resources"].update(pids={"limit": "10"}),
        lambda spec: spec["mounts"].append({"type": "bind"}),
        lambda spec: spec.update(hooks={"sometime": []}),
        lambda spec: spec.pop("ociVersion"),
    ):
        bad = copy.deepcopy(good)
        change(bad)
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(bad)
