"""What bubblewrap and PRoot cannot do: said once where it is a default, refused where it was asked for."""

from __future__ import annotations

from corten.errors import RuntimeFailure
from corten.runtime.options import RunOptions
from corten.values import fields

TITLES = {"bwrap": "bubblewrap", "proot": "PRoot"}
MISSING = {
    "bwrap": "there is one user inside, which is you, and no seccomp profile",
    "proot": "a program that means harm can reach your files, your processes and the network: run only what you trust",
}
"""Default protections that an OCI engine gives and these do not."""

_ALWAYS = {
    "command",
    "entrypoint",
    "environment",
    "workdir",
    "user",
    "volumes",
    "named_volumes",
    "project_volumes",
    "network",
    "project_network",
    "project_shm_size",
    "project_environment",
    "project_secrets",
    "env_file_given",
    "read_only",
    "read_write",
    "name",
    "engine",
    "best_effort",
    "hosts",
    "dns",
    "ulimits",
    "cap_drop",
    "cdi_directories",
    "log",
    "log_size",
    "log_files",
    "stop_signal",
    "stop_timeout",
}
_CAN = {"bwrap": _ALWAYS | {"hostname", "init", "shm_size"}, "proot": _ALWAYS}
_SPELLED = {
    "limits": "a limit of memory, processors or processes",
    "vendor_devices": "--device",
    "devices": "--device",
    "security": "--security-opt",
    "ports": "-p",
    "storage": "--storage-size",
    "hosts": "--add-host",
    "secrets": "--secret",
    "groups": "--group-add",
    "rooms": "-v with a path alone",
}


def refuse(engine: str, options: RunOptions) -> None:
    """Raise RuntimeFailure for the first of `options` that `engine` (`bwrap` or `proot`) cannot honour. A limit is let go
    of with `best_effort`. An option that is unknown here is refused as well."""
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in _CAN[engine] or value in (field.default, None, ()) or not value:
            continue
        if field.name == "limits" and options.best_effort:
            continue
        if field.name == "ipc" and value == "private":
            continue
        if field.name == "security" and _is_harmless(options):
            continue
        _fail(engine, _SPELLED.get(field.name, f"--{field.name.replace('_', '-')}"))
    if engine == "proot":
        if options.network not in (None, "host"):
            _fail(engine, f"--network {options.network}")
        for volume in options.volumes:
            if not volume.writable:
                _fail(engine, f"the read-only volume '{volume.target}'")
            if ":" in volume.source + volume.target:
                _fail(engine, f"the colon in the volume '{volume.target}'")
    elif options.network not in (None, "host", "none"):
        _fail(engine, f"--network {options.network}")


def _is_harmless(options: RunOptions) -> bool:
    """Whether the security options ask for nothing more than there is: no profile, and nothing hidden."""
    asked = options.security
    return asked is None or (
        asked.no_new_privileges and asked.seccomp in (None, "unconfined") and not asked.mask
    )


def _fail(engine: str, what: str) -> None:
    raise RuntimeFailure(
        f"{TITLES[engine]} cannot honour {what}, and no OCI runtime works on this machine or another engine was asked for",
        hint="leave it out, or run 'corten doctor' to see what crun and runc need here",
    )
