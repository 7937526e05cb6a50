"""Which engine works here: each is asked to start a container whose program does not exist.

An engine that complains about the program has got past everything that depends on the machine: namespaces, mounts,
cgroups, seccomp. The answer is remembered (`engine.py`), so this costs something once a boot.
"""

from __future__ import annotations

import json
from pathlib import Path

from corten.errors import RuntimeFailure
from corten.oci.platform import Platform
from corten.runtime import attend, launch
from corten.runtime.engine import (
    FALLBACKS,
    PROBE,
    Engine,
    chosen,
    complaint,
    installed,
    last_resort,
    may_choose,
    remember,
    remembered,
)
from corten.runtime.identity import Identity
from corten.runtime.limits import describe, plan_limits
from corten.runtime.options import Limits
from corten.runtime.seccomp import default_profile, oci_seccomp
from corten.runtime.spec import Container, runtime_spec
from corten.runtime.users import User
from corten.sandbox import kernel
from corten.store.store import Store


def find_engine(store: Store, identity: Identity, asked: str | None = None) -> Engine:
    """The engine that works here; the one that is `asked` for, if any. Raises RuntimeFailure with what each of them said."""
    wanted = chosen(asked)
    known = remembered(store, wanted)
    if known is not None and (wanted or may_choose(known.name)):
        return known
    said = []
    for engine in installed(wanted):
        reason = probe(engine, store, identity)
        if reason is None:
            remember(store, engine, wanted)
            return engine
        said.append(f"{engine.name}: {reason}")
    hint = "run 'corten doctor'" + ("" if wanted else last_resort())
    raise RuntimeFailure(f"no engine works on this machine ({'; '.join(said)})", hint=hint)


def probe(engine: Engine, store: Store, identity: Identity) -> str | None:
    """None where `engine` works for containers of this user, else what it complains about."""
    if engine.name in FALLBACKS:
        # Where an OCI engine works, nothing of this is needed.
        from corten.runtime.fallback.probing import probe_fallback

        return probe_fallback(engine, store)
    with store.temporary_directory("probe") as directory:
        for part in ("upper", "work", "rootfs", "names", "bundle", "engine", "layer"):
            (directory / part).mkdir(mode=0o755)
        name = directory.name
        plan = launch.Launch(
            engine, identity, name, str(directory), (str(directory / "layer"),), session=True, output=2
        )

        def prepare(root: str) -> None:
            spec = runtime_spec(_container(root, name, identity))
            (directory / "bundle" / "config.json").write_text(json.dumps(spec), encoding="utf-8")

        try:
            with open(directory / "said", "wb") as output:
                pid = launch.start_shim(launch.redirected(plan, output.fileno()), prepare)
                attend.wait(pid)
        except RuntimeFailure as error:
            return error.message
        said = complaint(str(directory / "engine.log")) or _last_line(directory / "said")
        # Anything else may be missing too: a mount's source, a group's directory, the engine's own helper.
        if PROBE.strip("/") in said or "executable file" in said:
            return None
        return said or "it said nothing"


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


def _container(root: str, name: str, identity: Identity) -> Container:
    return Container(
        root=root,
        hostname="probe",
        arguments=(PROBE,),
        environment=(("PATH", "/usr/bin:/bin"),),
        workdir="/",
        user=User(0, 0),
        capable=False,
        home=None,
        home_is_kept=False,
        identity=identity,
        network="none",
        volumes=(),
        files=(),
        limits=Limits(),
        read_write=False,
        terminal=False,
        size=None,
        cgroup=plan_limits(describe(identity), identity, name, Limits()).cgroup,
        kernel=kernel.version(),
        seccomp=oci_seccomp(default_profile(), Platform.host().architecture, (), kernel.version()),
    )
