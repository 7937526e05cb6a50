"""Where Python packages come from on this machine: indexes, folders of wheels, certificates and credentials, gathered from
uv's and pip's configuration and from requirements files, and handed to uv and to Corten's own client.

Both families count. uv's settings come first: a default index that uv knows wins over pip's. Where extra indexes come from
pip's configuration or from requirements files, versions are compared over all of them, as pip does; where uv's
configuration names an index strategy, that holds. Credentials stay in memory and in files that only this user can read.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corten.errors import FetchError
from corten.network.connection import NetworkSettings
from corten.packages import uvconfig
from corten.packages.credentials import Login, Logins, split_login
from corten.packages.http import network_from
from corten.packages.pipconfig import read_pip, truth, words
from corten.packages.requirements import Requirements
from corten.values import dataclass, field, replace

_FURTHER = ("format", "authenticate", "ignore-error-codes", "cache-control", "exclude-newer")
_KEPT_VARIABLES = re.compile(
    r"UV_(CACHE_DIR|HTTP_TIMEOUT|HTTP_CONNECT_TIMEOUT|HTTP_RETRIES|CONCURRENT_.*|NATIVE_TLS|SYSTEM_CERTS|OFFLINE"
    r"|INDEX_.*_(USERNAME|PASSWORD)|REQUEST_TIMEOUT|LINK_MODE)"
)


@dataclass(frozen=True, slots=True)
class Index:
    """One index (PEP 503). `url` has no credentials; an `explicit` one serves only packages that name it; `further` are
    uv's other settings for it."""

    url: str
    name: str | None = None
    default: bool = False
    explicit: bool = False
    further: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Indexes:
    """Every place that this machine and this project name for Python packages.

    `default` is None where uv's own default holds. `direct` are addresses of single wheels in the project's
    requirements. `settings` are uv's other settings, `environment` the variables that this was read from."""

    default: Index | None = None
    extra: tuple[Index, ...] = ()
    find_links: tuple[str, ...] = ()
    direct: tuple[str, ...] = ()
    no_index: bool = False
    insecure: frozenset[str] = frozenset()
    certificates: Path | None = None
    client_certificate: Path | None = None
    keyring: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    logins: Logins = field(default_factory=Logins, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def network(self) -> NetworkSettings:
        """How Corten's own client reaches these places."""
        changes: dict[str, Any] = {"insecure": self.insecure, "credentials": self.logins.for_url}
        if self.certificates is not None:
            changes["certificates"] = self.certificates
        if self.client_certificate is not None:
            changes["client_certificate"] = self.client_certificate
        return network_from(self.environment, **changes)

    def uv_toml(self) -> str:
        """The configuration file for uv. It holds credentials: for a file that only this user can read. Where nobody
        configured a default index it names none, and uv takes its own."""
        settings = dict(self.settings)
        entries = [self._entry(index, explicit=index.explicit) for index in self.extra]
        if self.no_index:
            settings["no-index"] = True
        elif self.default is not None:
            entries.append(self._entry(self.default, default=True))
        if self.find_links:
            settings["find-links"] = [self.logins.with_login(place) for place in self.find_links]
        if self.insecure:
            settings["allow-insecure-host"] = sorted(self.insecure)
        return uvconfig.to_toml({**settings, "index": entries})

    def _entry(self, index: Index, **flags: bool) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": index.name} if index.name else {}
        entry["url"] = self.logins.with_login(index.url)
        return entry | {key: True for key, value in flags.items() if value} | dict(index.further)

    def uv_environment(self) -> dict[str, str]:
        """The variables for uv: this process's, without what would shape a resolution behind Corten's back."""
        kept = {
            key: value
            for key, value in self.environment.items()
            if (not key.startswith(("UV_", "PIP_")) or _KEPT_VARIABLES.fullmatch(key))
            and key
            not in {
                "VIRTUAL_ENV",
                "CONDA_PREFIX",
                "PYTHONPATH",
                "PYTHONHOME",
                "FORCE_COLOR",
                "CLICOLOR_FORCE",
            }
        }
        kept |= {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_WRAP": "1"}
        if self.certificates is not None:
            key = "SSL_CERT_DIR" if self.certificates.is_dir() else "SSL_CERT_FILE"
            kept[key] = str(self.certificates)
        if self.client_certificate is not None:
            kept["SSL_CLIENT_CERT"] = str(self.client_certificate)
        return kept

    def with_requirements(self, read: Requirements) -> Indexes:
        """These, and the places that requirements files name; an index there replaces the default."""
        logins = self.logins
        default, extra = self.default, list(self.extra)
        for url in read.indexes[-1:]:
            bare, login = split_login(url)
            default, logins = Index(bare, default=True), logins.adding(login)
        for url in read.extra_indexes:
            bare, login = split_login(url)
            extra.append(Index(bare))
            logins = logins.adding(login)
        links, direct = list(self.find_links), list(self.direct)
        for url in read.find_links:
            bare, login = split_login(url)
            links.append(bare)
            logins = logins.adding(login)
        for item in read.requirements:
            if item.kind == "wheel" and item.location:
                bare, login = split_login(item.location.split("#")[0])
                direct.append(bare if "://" in bare else Path(bare).absolute().as_uri())
                logins = logins.adding(login)
        return replace(
            self,
            default=default,
            extra=_once(extra),
            find_links=tuple(dict.fromkeys(links)),
            direct=tuple(dict.fromkeys(direct)),
            no_index=self.no_index or "--no-index" in read.options,
            settings=_comparing(self.settings) if read.extra_indexes else self.settings,
            logins=logins,
        )

    def redacted(self, text: str) -> str:
        """`text` without any credential that is known here."""
        return self.logins.redacted(text)


def read_indexes(root: Path | None, environment: Mapping[str, str] | None = None) -> Indexes:
    """What uv's and pip's configuration say in `environment` for a project at `root`. Raises UsageError for a damaged
    file, FetchError for an address that is none."""
    environment = dict(os.environ if environment is None else environment)
    uv = uvconfig.read_uv(root, environment)
    pip = read_pip(environment)
    logins: list[Login] = []
    default: Index | None = None
    extra: list[Index] = []

    def place(url: str) -> str:
        bare, login = split_login(_address(url, root))
        if login is not None:
            logins.append(login)
        return bare

    for entry in uv.get("index", ()):
        if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
            continue
        name = entry.get("name") if isinstance(entry.get("name"), str) else None
        further = {key: entry[key] for key in _FURTHER if key in entry}
        index = Index(
            place(entry["url"]), name, bool(entry.get("default")), bool(entry.get("explicit")), further
        )
        named = _named_login(index, environment)
        if named is not None:
            logins.append(named)
        if index.default:
            default = default or index
        else:
            extra.append(index)
    if default is None and isinstance(uv.get("index-url"), str):
        default = Index(place(uv["index-url"]), default=True)
    extra += [Index(place(url)) for url in uv.get("extra-index-url", ()) if isinstance(url, str)]
    if default is None and pip.get("index-url"):
        default = Index(place(pip["index-url"].strip()), default=True)
    from_pip = [Index(place(url)) for url in words(pip, "extra-index-url")]
    links = [place(url) for url in uv.get("find-links", ()) if isinstance(url, str)]
    links += [place(url) for url in words(pip, "find-links")]
    settings = {key: uv[key] for key in uvconfig.PASSED_ON if key in uv}
    keyring = uv.get("keyring-provider", pip.get("keyring-provider")) == "subprocess"
    if keyring:
        settings["keyring-provider"] = "subprocess"
    insecure = [*uv.get("allow-insecure-host", ()), *uv.get("trusted-host", ()), *words(pip, "trusted-host")]
    return Indexes(
        default=default,
        extra=_once([*extra, *from_pip]),
        find_links=tuple(dict.fromkeys(links)),
        no_index=uv.get("no-index") is True or truth(pip.get("no-index")),
        insecure=frozenset(str(host) for host in insecure),
        certificates=Path(pip["cert"]).expanduser() if pip.get("cert") else None,
        client_certificate=Path(pip["client-cert"]).expanduser() if pip.get("client-cert") else None,
        keyring=keyring,
        settings=_comparing(settings) if from_pip else settings,
        logins=Logins(tuple(logins), environment, keyring),
        environment=environment,
    )


def _comparing(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """`settings` under which versions are compared over all indexes, as pip's users expect, unless uv's say otherwise."""
    return {"index-strategy": "unsafe-best-match", **settings}


def _once(indexes: list[Index]) -> tuple[Index, ...]:
    return tuple({index.url.rstrip("/"): index for index in reversed(indexes)}.values())[::-1]


def _named_login(index: Index, environment: Mapping[str, str]) -> Login | None:
    """`UV_INDEX_NAME_USERNAME` and `UV_INDEX_NAME_PASSWORD` of a named index."""
    if index.name is None:
        return None
    stem = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", index.name.upper())
    user, password = environment.get(f"{stem}_USERNAME"), environment.get(f"{stem}_PASSWORD")
    if user is None and password is None:
        return None
    return Login(index.url, user or "", password or "")


def _address(text: str, root: Path | None) -> str:
    """An address as it is, a path as an absolute path."""
    text = text.strip()
    if "://" not in text:
        return os.path.abspath(os.path.join(root or Path.cwd(), os.path.expanduser(text)))
    try:
        parts = urllib.parse.urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise FetchError(
            "the address of an index is not an address", hint="check pip's and uv's configuration"
        ) from error
    return text
