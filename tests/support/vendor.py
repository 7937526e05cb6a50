"""A vendor of devices as the tests play it: a CDI file over real device nodes, files and a hook of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KIND = "nvidia.com/gpu"
HOOK = '#!/bin/sh\n# What a vendor\'s tool does: it reads the state, and writes beside itself.\ncat > {told}\necho "$1 $SAID" >> {told}\n'


def vendor(directory: Path, *, node: str = "/dev/null") -> dict[str, Any]:
    """A specification of two GPUs and `all`, whose driver lies in `directory`: a library, a tool, a folder, a hook that
    writes what it is told into `told`. Its nodes are aliases of `node` and of /dev/zero."""
    driver = directory / "driver"
    (driver / "share").mkdir(parents=True)
    (driver / "share" / "data").write_text("data")
    (driver / "libdriver.so").write_text("library")
    (driver / "smi").write_text("#!/bin/sh\necho driver 550.54\n")
    (driver / "smi").chmod(0o755)
    hook = driver / "hook"
    hook.write_text(HOOK.format(told=directory / "told"))
    hook.chmod(0o755)
    (directory / "told").touch()
    (directory / "told").chmod(0o666)
    zero = {"path": "/dev/gpu-control", "hostPath": "/dev/zero"}
    first = {"path": "/dev/gpu0", "hostPath": node}
    second = {"path": "/dev/gpu1", "hostPath": node, "type": "c", "major": 1, "minor": 3, "fileMode": 0o660}
    quiet = ["ro", "nosuid", "nodev", "rbind", "rprivate"]
    return {
        "cdiVersion": "0.6.0",
        "kind": KIND,
        "annotations": {"made.by": "a test"},
        "unheard-of": {"is": "left alone"},
        "devices": [
            {"name": "0", "containerEdits": {"deviceNodes": [first], "env": ["GPU_0=yes"]}},
            {"name": "GPU-8d1f", "containerEdits": {"deviceNodes": [first]}},
            {"name": "1", "containerEdits": {"deviceNodes": [second]}},
            {"name": "1:0", "containerEdits": {"env": ["GPU_MIG=1:0"]}},
            {"name": "all", "containerEdits": {"deviceNodes": [first, second]}},
        ],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void", "PATH_OF_DRIVER=/usr/local/driver"],
            "deviceNodes": [zero],
            "mounts": [
                {"hostPath": str(driver / "libdriver.so"), "containerPath": "/usr/lib/libdriver.so.550", "options": quiet},
                {"hostPath": str(driver / "smi"), "containerPath": "/usr/bin/gpu-smi"},
                {"hostPath": str(driver / "share"), "containerPath": "/run/driver/share", "options": quiet},
            ],
            "hooks": [
                {
                    "hookName": "createContainer",
                    "path": str(hook),
                    "args": ["hook", "update-ldcache"],
                    "env": ["SAID=so"],
                    "timeout": 5,
                }
            ],
        },
    }  # fmt: skip


def write_vendor(directory: Path, *, suffix: str = ".json") -> Path:
    """The same as a file of a folder for `--cdi-spec-dir`, which is returned; everything is open to every user."""
    document = vendor(directory)
    specs = directory / "cdi"
    specs.mkdir()
    text = json.dumps(document, indent=1)
    if suffix != ".json":
        import yaml

        # Without the aliases that this writer makes of one value in two places, and vendors' tools do not.
        text = yaml.safe_dump(json.loads(text), sort_keys=False)
    (specs / f"nvidia{suffix}").write_text(text)
    return specs
