"""Where Python packages come from on this machine: indexes, folders of wheels, certificates and credentials, gathered from
uv's and pip's configuration and from requirements files, and handed to uv and to Corten's own client.

Both families count. uv's settings come first: a default index that uv knows wins over pip's. Where extra indexes come from
pip's configuration or from requirements files, versions are compared over all of them, as pip does; where uv's
configuration names an index strategy, that holds. Credentials stay in memory and in files that only this user can read.

What the project names is kept apart from what the user's own configuration names (`corten.packages.trust`): credentials,
addresses of this machine and files outside the project need the user's word.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from corten.errors import FetchError, NotConfirmed, UsageError
from corten.lazy import regex
from corten.network.addresses import local_path, origin, shown
from corten.network.connection import NetworkSettings
from corten.packages import uvconfig
from corten.packages.credentials import Login, Logins, filled_in, has_variable, split_login
from corten.packages.http import network_from
from corten.packages.pipconfig import read_pip, truth, words
from corten.packages.requirements import Requirement, Requirements, parse_requirement, refuse_variables
from corten.packages.trust import Boundary, Origin, Trust, read_trust
from corten.packages.uv_lines import local_wheel, uv_line
from corten.values import dataclass, field, replace

_FURTHER = ("format", "authenticate", "ignore-error-codes", "cache-control", "exclude-newer")
_FOR_UV = regex(
    r"UV_(CACHE_DIR|HTTP_TIMEOUT|HTTP_CONNECT_TIMEOUT|HTTP_RETRIES|REQUEST_TIMEOUT|CONCURRENT_[A-Z]+|NATIVE_TLS|SYSTEM_CERTS"
    r"|OFFLINE|LINK_MODE)|SSL_CERT_FILE|SSL_CERT_DIR|SSL_CLIENT_CERT|(?i:(http|https|all|no)_proxy)"
)
"""The variables that uv gets. No others: it needs no credentials of this machine, and no programs."""
_PORT = regex(r":[0-9]+$")
_TRUSTED = regex(r"(?:https?://)?((?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)/?")


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
    requirements. `settings` are uv's other settings, `environment` the variables that this was read from. `named` are the
    origins that the user's configuration names or that the user has confirmed for the project at `root`."""

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
    named: frozenset[Origin] = frozenset()
    root: Path | None = None
    boundary: Boundary | None = field(default=None, repr=False)
    merged: bool = False
    """Versions are compared over all indexes, because pip's configuration or a requirements file names more than one."""

    def network(self) -> NetworkSettings:
        """How Corten's own client reaches these places."""
        changes: dict[str, Any] = {
            "insecure": self.insecure,
            "credentials": self.logins.for_url,
            "reserved": self.named,
        }
        if self.certificates is not None:
            changes["certificates"] = self.certificates
        if self.client_certificate is not None:
            changes["client_certificate"] = self.client_certificate
        return network_from(self.environment, **changes)

    def uv_toml(self) -> str:
        """The configuration file for uv. It holds credentials: for a file that only this user can read. Where nobody
        configured a default index it names none, and uv takes its own."""
        settings = uvconfig.checked(self.settings, self._line)
        if self.no_index:
            settings["no-index"] = True
        if self.find_links:
            settings["find-links"] = [self.logins.with_login(place) for place in self.find_links]
        if self.insecure:
            settings["allow-insecure-host"] = sorted(self.insecure)
        return uvconfig.to_toml({**settings, "index": [*self.uv_indexes(), *self._file_hosts()]})

    def _file_hosts(self) -> list[dict[str, Any]]:
        """Hosts that are no indexes and may have an index's files, with their credentials. uv gets them as indexes that no
        package asks for: it sends the credentials of an index to that scheme, host and port, and netrc's to any port."""
        indexes = [index for index in (*self.extra, self.default) if index is not None]
        asked = {origin(index.url) for index in indexes if "://" in index.url}
        names = {index.name for index in indexes}
        found: list[dict[str, Any]] = []
        for url in self.logins.file_hosts():
            with suppress(FetchError):  # credentials that would go over plain http
                if origin(url) not in asked and self.logins.for_url(url) is not None:
                    name = next(name for n in count(len(found)) if (name := f"corten-files-{n}") not in names)
                    found.append({"name": name, "url": self.logins.with_login(url), "explicit": True})
        return found

    def uv_indexes(self) -> list[dict[str, Any]]:
        """The indexes as uv's configuration has them, with their credentials."""
        entries = [self._entry(index, explicit=index.explicit) for index in self.extra]
        if not self.no_index and self.default is not None:
            entries.append(self._entry(self.default, default=True))
        return entries

    def local_places(self) -> list[str]:
        """The files and folders of this machine that uv may read: indexes and find-links places, and single wheels."""
        found = [_local(url) for url in (*self.find_links, *self.direct)]
        for index in (*self.extra, self.default):
            found += _with_files(_local(index.url), self.root, self.environment) if index else []
        found += self.boundary.allowed if self.boundary is not None else ()
        for key in ("constraint-dependencies", "override-dependencies"):
            for text in self.settings.get(key, ()):
                wheel = local_wheel(parse_requirement(text, key, self.root))
                found.append(str(wheel or ""))
        return [path for path in found if path]

    def line(self, item: Requirement) -> str:
        """The line that asks uv for `item`. Raises as `uv_line`, and NotConfirmed."""
        self._check_local(item)
        return uv_line(item, self.logins.with_login)

    def _line(self, text: str, where: str) -> str:
        return self.line(parse_requirement(text, where, self.root))

    def _check_local(self, item: Requirement) -> None:
        path = local_wheel(item)
        if path is not None and self.boundary is not None:
            self.boundary.permitted(path, item.where or "the project")

    def _entry(self, index: Index, **flags: bool) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": index.name} if index.name else {}
        entry["url"] = self.logins.with_login(index.url)
        return entry | {key: True for key, value in flags.items() if value} | dict(index.further)

    def merged_note(self) -> str | None:
        """What has to be said of indexes whose versions are compared; None where a package is looked for in one index."""
        searched = [index for index in self.extra if not index.explicit]
        if self.default is not None and not self.no_index:
            searched = [index for index in searched if index.url.rstrip("/") != self.default.url.rstrip("/")]
        if not self.merged or not searched or (self.no_index and len(searched) == 1):
            return None
        return (
            "versions are compared over all indexes, as pip does: the newest is taken, whichever index has it "
            "(UV_INDEX_STRATEGY=first-index takes a package from the first index that has it)"
        )

    def uv_environment(self) -> dict[str, str]:
        """The variables for uv: how it reaches the network, and nothing else of this process's."""
        kept = {key: value for key, value in self.environment.items() if _FOR_UV.fullmatch(key)}
        kept |= {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_WRAP": "1"}
        kept |= {"NETRC": os.devnull, "UV_NO_ENV_FILE": "1", "UV_KEYRING_PROVIDER": "disabled"}
        if self.certificates is not None:
            key = "SSL_CERT_DIR" if self.certificates.is_dir() else "SSL_CERT_FILE"
            kept[key] = str(self.certificates)
        if self.client_certificate is not None:
            kept["SSL_CLIENT_CERT"] = str(self.client_certificate)
        return kept

    def with_requirements(self, read: Requirements) -> Indexes:
        """These, and the places that requirements files name; an index there replaces the default. Raises NotConfirmed for
        what only the user can name."""
        logins = self.logins
        default, extra = self.default, list(self.extra)

        def place(url: str) -> str:
            nonlocal logins
            bare, login = self._project_place(url)
            logins = logins.adding(login)
            return bare

        for url in read.indexes[-1:]:
            default = Index(place(url), default=True)
        extra += [Index(place(url)) for url in read.extra_indexes]
        links, direct = list(self.find_links), list(self.direct)
        links += [place(url) for url in read.find_links]
        for item in (*read.requirements, *read.constraints):
            if item.kind == "wheel" and item.location:
                self._check_local(item)
                local = local_wheel(item)
                direct.append(local.absolute().as_uri() if local else place(item.location.split("#")[0]))
        waived = _waived(read.trusted_hosts, self.named)
        return replace(
            self,
            default=default,
            extra=_once(extra),
            find_links=tuple(dict.fromkeys(links)),
            direct=tuple(dict.fromkeys(direct)),
            no_index=self.no_index or "--no-index" in read.options,
            insecure=self.insecure | waived,
            settings=self._with_options(read),
            merged=self.merged or (bool(read.extra_indexes) and "index-strategy" not in self.settings),
            logins=replace(logins, waived=logins.waived | waived),
        )

    def with_direct(self, urls: Iterable[str]) -> Indexes:
        """These, and the addresses of single wheels that the project names. Raises NotConfirmed."""
        logins, direct = self.logins, list(self.direct)
        for url in urls:
            bare, login = self._project_place(url)
            direct.append(bare)
            logins = logins.adding(login)
        return replace(self, direct=tuple(dict.fromkeys(direct)), logins=logins)

    def _with_options(self, read: Requirements) -> Mapping[str, Any]:
        settings = _comparing(self.settings) if read.extra_indexes else self.settings
        return {"prerelease": "allow", **settings} if "--pre" in read.options else settings

    def _project_place(self, url: str) -> tuple[str, Login | None]:
        """A place that the project names, and the login that is written there, with its variables filled in."""
        bare, login = split_login(_address(url, self.root))
        secret = login is not None and (has_variable(login.user) or has_variable(login.password))
        self._check_place(bare, "the project names a variable in the address of" if secret else None)
        return bare, filled_in(login, self.environment) if secret and login else login

    def _check_place(self, place: str, secret: str | None = None) -> None:
        """Raises NotConfirmed for a place that only the user can name, or for which credentials of the user's are meant."""
        if self.root is None:
            return
        if "://" not in place or place.lower().startswith("file:"):
            path = local_path(place) if "://" in place else Path(place)
            if path is not None and self.boundary is not None:
                self.boundary.permitted(path, "the project")
            return
        from corten.network.reserved import reserved_url

        if origin(place) in self.named:
            return
        text = "://".join(origin(place))
        if secret is not None:
            message = f"{secret} '{text}', which your own configuration does not name"
            question = f"{message}. Send your credentials there for this project, now and later?"
            raise NotConfirmed(message, self.root, "index", text, question)
        if reserved_url(place):
            message = (
                f"the project names '{shown(place)}', an address of this machine or of the cloud it runs in"
            )
            question = f"{message}. Ask there for packages for this project, now and later?"
            raise NotConfirmed(message, self.root, "index", text, question)

    def redacted(self, text: str) -> str:
        """`text` without any credential that is known here."""
        return self.logins.redacted(text)


def read_indexes(root: Path | None, environment: Mapping[str, str] | None = None) -> Indexes:
    """What uv's and pip's configuration say in `environment` for a project at `root`. Raises UsageError for a damaged
    file, FetchError for an address that is none, NotConfirmed for what the project alone names and only the user can."""
    environment = dict(os.environ if environment is None else environment)
    configuration = uvconfig.read_uv(root, environment)
    uv, user = configuration.merged, configuration.user
    for url in _places(configuration.project, {}):
        refuse_variables(url, "an index of the project")  # uv may fill them in by itself
    pip = read_pip(environment)
    trust = read_trust(root, environment) if root is not None else Trust()
    own = [_address(split_login(url)[0], root) for url in _places(user, pip)]
    named = trust.origins | {
        origin(url) for url in own if "://" in url and not url.lower().startswith("file:")
    }
    local = [_local(url) for url in own if origin(url) not in named]
    for url in _places(user, pip, links=False):
        local += _with_files(_local(_address(split_login(url)[0], root)), root, environment)
    keyring = user.get("keyring-provider", pip.get("keyring-provider")) == "subprocess"
    insecure = frozenset(str(host) for host in (*_hosts(user), *words(pip, "trusted-host")))
    waived = _waived(_hosts(configuration.project), named)
    gathered = Indexes(
        no_index=uv.get("no-index") is True or truth(pip.get("no-index")),
        insecure=insecure | waived,
        certificates=Path(pip["cert"]).expanduser() if pip.get("cert") else None,
        client_certificate=Path(pip["client-cert"]).expanduser() if pip.get("client-cert") else None,
        keyring=keyring,
        environment=environment,
        named=named,
        root=root,
        boundary=Boundary(root, trust, filter(None, local)) if root is not None else None,
    )
    logins: list[Login] = []

    def place(url: str) -> str:
        bare, login = split_login(_address(url, root))
        gathered._check_place(bare)
        if login is not None:
            logins.append(login)
        return bare

    default: Index | None = None
    extra: list[Index] = []
    for entry in uv.get("index", ()):
        if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
            continue
        name = entry.get("name") if isinstance(entry.get("name"), str) else None
        further = {key: entry[key] for key in _FURTHER if key in entry}
        index = Index(
            place(entry["url"]), name, bool(entry.get("default")), bool(entry.get("explicit")), further
        )
        login = _named_login(index, environment)
        if login is not None:
            gathered._check_place(
                index.url, f"your UV_INDEX_… credentials for '{name}' are asked for by the project's"
            )
            logins.append(login)
        if index.default:
            default = default or index
        else:
            extra.append(index)
    if default is None and isinstance(uv.get("index-url"), str):
        default = Index(place(uv["index-url"]), default=True)
    extra += [Index(place(url)) for url in _strings(uv, "extra-index-url")]
    if default is None and pip.get("index-url"):
        default = Index(place(pip["index-url"].strip()), default=True)
    from_pip = [Index(place(url)) for url in words(pip, "extra-index-url")]
    links = [place(url) for url in (*_strings(uv, "find-links"), *words(pip, "find-links"))]
    settings = {key: uv[key] for key in uvconfig.PASSED_ON if key in uv}
    return replace(
        gathered,
        default=default,
        extra=_once([*extra, *from_pip]),
        find_links=tuple(dict.fromkeys(links)),
        settings=_comparing(settings) if from_pip else settings,
        merged=bool(from_pip) and "index-strategy" not in settings,
        logins=Logins(tuple(logins), environment, keyring, named, insecure, waived - insecure),
    )


def _local(url: str) -> str:
    """The path of a place on this machine; empty for one on the web."""
    return str(local_path(url) or "") if "://" in url else url


def _with_files(folder: str, root: Path | None, environment: Mapping[str, str]) -> list[str]:
    """The folder of a local index, and the one that it lies in: pages in `simple/` link to files beside it. A folder that
    holds far more than an index is left out."""
    above = os.path.dirname(folder.rstrip("/"))
    wide = {"", "/", str(root), os.path.realpath(environment.get("HOME") or os.path.expanduser("~"))}
    return [folder] if not folder or above in wide else [folder, above]


def _places(uv: Mapping[str, Any], pip: Mapping[str, str], links: bool = True) -> Iterator[str]:
    """Every place that uv's settings and pip's name; without `links` the indexes alone."""
    for entry in uv.get("index", ()):
        if isinstance(entry, dict) and isinstance(entry.get("url"), str):
            yield entry["url"]
    for key in ("extra-index-url", "find-links") if links else ("extra-index-url",):
        yield from _strings(uv, key)
        yield from words(pip, key)
    for settings in (uv, pip):
        url = settings.get("index-url")
        if isinstance(url, str) and url.strip():
            yield url.strip()


def _strings(table: Mapping[str, Any], key: str) -> list[str]:
    value = table.get(key, ())
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _hosts(table: Mapping[str, Any]) -> list[str]:
    return [*_strings(table, "allow-insecure-host"), *_strings(table, "trusted-host")]


def _waived(hosts: Iterable[str], named: Iterable[Origin]) -> frozenset[str]:
    """The hosts, with a port or without, for which a project waives certificates. Never one that `named` has: what the user
    sends there stays protected, however the project spells the host. Raises UsageError for what is not one host: uv takes
    `*` for all of them."""
    own = {_PORT.sub("", host) for _, host in named}
    found = set()
    for text in hosts:
        match = _TRUSTED.fullmatch(text.lower())
        if match is None:
            raise UsageError(
                f"the project trusts the host {text!r}, which is not a host", hint="write HOST or HOST:PORT"
            )
        if _PORT.sub("", match[1]) not in own:
            found.add(match[1])
    return frozenset(found)


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
