"""How registries are reached, as this environment says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from corten.events import Observer, ignore
from corten.network.settings import NetworkSettings, network_from
from corten.registry.credentials import Credentials, Keychain
from corten.values import dataclass, field


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on. `attempts` without progress, `knocks` where nobody opens; pauses double from `pause` seconds, with
    jitter, up to `longest`, unless the registry says how long to wait: at most `longest` too, or it is given up. Fewer
    than `slowest` bytes a second over `window` seconds count as a cut."""

    attempts: int = 5
    knocks: int = 3
    pause: float = 0.4
    longest: float = 60.0
    slowest: int = 500
    window: float = 30.0


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How registries are reached. `insecure`: certificates are not checked, and plain http is spoken where https is not,
    also beyond this machine."""

    network: NetworkSettings
    credentials: Credentials
    insecure: bool = False
    patience: Patience = field(default_factory=Patience)


def settings_from(
    environ: Mapping[str, str], insecure: bool = False, observe: Observer = ignore
) -> RegistrySettings:
    """The settings that an environment asks for: certificates, proxies, the files that hold credentials and what
    certs.d has for a host (containers-certs.d(5)). `observe` hears of credential helpers that fail."""
    folders = [Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d")]
    home = environ.get("HOME")
    configuration = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    if configuration:
        folders.insert(0, Path(configuration) / "containers" / "certs.d")
    return RegistrySettings(
        network=network_from(environ, indexes=False, host_certificates=tuple(folders)),
        credentials=Keychain(environ, observe),
        insecure=insecure,
    )
