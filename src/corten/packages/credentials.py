"""Users and passwords for indexes: from addresses, variables, `.netrc` and the keyring's program. They are looked up for the
host that is asked, never shown, and taken out of every text that may be shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from corten.errors import FetchError
from corten.values import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password for everything below `url`'s origin; the longest matching path wins."""

    url: str
    user: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Logins:
    """Every credential that is known, and where to look for more."""

    known: tuple[Login, ...] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    keyring: bool = False

    def adding(self, login: Login | None) -> Logins:
        """These and one more, which wins over the others."""
        return self if login is None else replace(self, known=(login, *self.known))

    def for_url(self, url: str) -> tuple[str, str] | None:
        """The user and password for an address: written ones, then `.netrc`, then the keyring."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            return None
        origin = _origin(url)
        matching = [login for login in self.known if _origin(login.url) == origin]
        if matching:
            path = parts.path
            within = [
                login
                for login in matching
                if path.startswith(urllib.parse.urlsplit(login.url).path.rstrip("/"))
            ]
            best = max(within, key=lambda login: len(login.url)) if within else matching[0]
            if best.password or not self.keyring:
                return best.user, best.password
            return _from_keyring(origin, best.user) or (best.user, "")
        found = _from_netrc(parts.hostname or "", self.environment)
        return _from_keyring(origin, "") if found is None and self.keyring else found

    def with_login(self, url: str) -> str:
        """`url` with the credentials written for it, for a file that only this user can read."""
        if "://" not in url:
            return url
        for login in self.known:
            if login.url == url:
                quoted = urllib.parse.quote(login.user, safe="")
                if login.password:
                    quoted += ":" + urllib.parse.quote(login.password, safe="")
                scheme, _, rest = url.partition("://")
                return f"{scheme}://{quoted}@{rest}"
        return url

    def redacted(self, text: str) -> str:
        """`text` without the passwords that are known here and without the user part of any address."""
        text = re.sub(r"(?<=://)[^/@\s'\"]+@", "", text)
        secrets = {login.password for login in self.known} | {
            login.user for login in self.known if not login.password
        }
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            for form in {secret, urllib.parse.quote(secret, safe="")}:
                text = text.replace(form, "****")
        return text


def split_login(url: str) -> tuple[str, Login | None]:
    """An address without its user part, and that part."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    if not separator or not at:
        return url, None
    bare = f"{scheme}://{host}{slash}{path}"
    name, _, password = user.partition(":")
    return bare, Login(bare, urllib.parse.unquote(name), urllib.parse.unquote(password))


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def _from_netrc(host: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The entry for exactly this host; a `default` entry would give a password to every host there is."""
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    chosen = environment.get("NETRC")
    for path in [Path(chosen)] if chosen else [home / ".netrc", home / "_netrc"]:
        found = _netrc(path).get(host)
        if found is not None:
            return found
    return None


@lru_cache(maxsize=8)
def _netrc(path: Path) -> dict[str, tuple[str, str]]:
    import netrc

    try:
        hosts = netrc.netrc(str(path)).hosts
    except netrc.NetrcParseError as error:
        # Its message quotes the token it stumbled over, which may be a password.
        raise FetchError(
            f"'{path}' cannot be understood at line {error.lineno}",
            hint="see 'man netrc'",
        ) from None
    except (OSError, UnicodeDecodeError):
        return {}
    return {
        host: (login or account or "", password or "") for host, (login, account, password) in hosts.items()
    }


@lru_cache(maxsize=64)
def _from_keyring(origin: str, user: str) -> tuple[str, str] | None:
    """The user and password that the `keyring` program has for an origin; its `creds` mode also says the user."""
    program = shutil.which("keyring")
    if program is None:
        return None
    for service in (origin, origin.partition("://")[2]):
        command = [program, "get", service, user] if user else [program, "--mode", "creds", "get", service]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        lines = answer.stdout.splitlines()
        if answer.returncode == 0 and len(lines) == (1 if user else 2):
            return (user, lines[0]) if user else (lines[0], lines[1])
    return None
