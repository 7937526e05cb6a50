"""Users and passwords for indexes: from addresses, variables, `.netrc` and the keyring's program. They are looked up for the
host that is asked, never shown, and taken out of every text that may be shown.

They go over https, or over http to this machine itself and to hosts that the user's configuration calls insecure. `.netrc`
and the keyring answer for hosts that the user's own configuration names by scheme, host and port, or that the user has
confirmed; an entry itself names its host for https on the usual port."""

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
from corten.lazy import regex
from corten.network.addresses import origin
from corten.values import dataclass, field, replace

_VARIABLE = regex(r"\$\{([A-Z0-9_]+)\}")


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password for everything below `url`'s origin; the longest matching path wins."""

    url: str
    user: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Logins:
    """Every credential that is known, and where to look for more. `named` are the origins that the user's configuration names
    or that the user has confirmed; `insecure` the hosts for which the user's configuration waives encryption; `waived` those for
    which the project waives certificates, so that nobody knows who answers there."""

    known: tuple[Login, ...] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    keyring: bool = False
    named: frozenset[tuple[str, str]] = frozenset()
    insecure: frozenset[str] = frozenset()
    waived: frozenset[str] = frozenset()

    def adding(self, login: Login | None) -> Logins:
        """These and one more, which wins over the others."""
        return self if login is None else replace(self, known=(login, *self.known))

    def for_url(self, url: str) -> tuple[str, str] | None:
        """The user and password for an address: written ones, then `.netrc`, then the keyring. Raises FetchError where they
        would travel unencrypted."""
        found = self._found(url)
        if found is not None and not self._private(url):
            raise FetchError(
                f"the credentials for '{_origin_text(url)}' are not sent over plain http",
                hint="use https, or name the host in trusted-host of pip.conf or UV_INSECURE_HOST",
            )
        return found

    def _found(self, url: str) -> tuple[str, str] | None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            return None
        here = origin(url)
        matching = [login for login in self.known if origin(login.url) == here]
        usual = here[0] == "https" and ":" not in here[1].rpartition("]")[2]
        asked = here in self.named or (usual and not {here[1], f"{here[1]}:443"} & self.waived)
        if matching:
            path = parts.path
            within = [
                login
                for login in matching
                if path.startswith(urllib.parse.urlsplit(login.url).path.rstrip("/"))
            ]
            best = max(within, key=lambda login: len(login.url)) if within else matching[0]
            if best.password or not self.keyring or not asked:
                return best.user, best.password
            return _from_keyring(_origin_text(url), best.user) or (best.user, "")
        if not asked:
            return None
        found = _from_netrc(parts.hostname or "", self.environment)
        return _from_keyring(_origin_text(url), "") if found is None and self.keyring else found

    def _private(self, url: str) -> bool:
        """Whether nobody on the way can read what is sent to `url`, or the user has waived that."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "https":
            return True
        from corten.network.reserved import is_loopback

        host = parts.hostname or ""
        return is_loopback(host) or bool({host, parts.netloc.rpartition("@")[2].lower()} & self.insecure)

    def with_login(self, url: str) -> str:
        """`url` with the credentials that belong to it, in place of any that are written in it: for a file that only this
        user can read."""
        if "://" not in url:
            return url
        url, _ = split_login(url)
        found = self.for_url(url)
        if found is None:
            return url
        quoted = urllib.parse.quote(found[0], safe="")
        if found[1]:
            quoted += ":" + urllib.parse.quote(found[1], safe="")
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{quoted}@{rest}"

    def file_hosts(self) -> list[str]:
        """Addresses of hosts that there may be credentials for: those that the user's configuration names, and those of
        `.netrc`."""
        machines = {f"https://{host}/" for path in _netrc_files(self.environment) for host in _netrc(path)}
        return sorted(
            {f"{scheme}://{host}/" for scheme, host in self.named} | machines - {"https://default/"}
        )

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
    end = next((index for index, letter in enumerate(rest) if letter in "/?#"), len(rest))
    user, at, host = rest[:end].rpartition("@")
    if not separator or not at:
        return url, None
    bare = f"{scheme}://{host}{rest[end:]}"
    name, _, password = user.partition(":")
    return bare, Login(bare, urllib.parse.unquote(name), urllib.parse.unquote(password))


def has_variable(text: str) -> bool:
    """Whether `text` has a `${NAME}` in it."""
    return _VARIABLE.search(text) is not None


def filled_in(login: Login, environment: Mapping[str, str]) -> Login | None:
    """`login` with its variables (`${NAME}`) replaced; None where one of them is not set. A value stays within the user and
    the password, whatever is in it."""

    def value(text: str) -> str | None:
        if any(not environment.get(name) for name in _VARIABLE.findall(text)):
            return None
        return urllib.parse.unquote(_VARIABLE.sub(lambda match: environment[match[1]], text))

    user, password = value(login.user), value(login.password)
    return None if user is None or password is None else Login(login.url, user, password)


def _origin_text(url: str) -> str:
    return "://".join(origin(url))


def _from_netrc(host: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The entry for exactly this host; a `default` entry would give a password to every host there is."""
    for path in _netrc_files(environment):
        found = _netrc(path).get(host)
        if found is not None:
            return found
    return None


def _netrc_files(environment: Mapping[str, str]) -> list[Path]:
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    chosen = environment.get("NETRC")
    return [Path(chosen)] if chosen else [home / ".netrc", home / "_netrc"]


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
