"""A token server as the distribution project specifies it, in a thread: basic credentials in, signed bearer tokens out."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ISSUER = "the tests"
SERVICE = "registry of the tests"
_LEEWAY = 60
"""Seconds that the registry forgives after a token's end; tokens are issued as older than they are, by this much."""


@dataclass(frozen=True)
class User:
    """`rights` maps patterns of repositories (fnmatch) to actions: `pull`, `push`, `delete`. The first that fits counts."""

    password: str
    rights: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"*": ("pull", "push", "delete")})


@dataclass(frozen=True)
class Asked:
    """One request for a token. `grant` is `basic` or `anonymous` of a GET, `password` or `refresh_token` of a POST."""

    method: str
    grant: str
    account: str
    scopes: tuple[str, ...]
    status: int


@dataclass
class TokenServer:
    """`users` by name; the rights of `""` are everybody's. Change the attributes whenever you like.

    `expires_in`: seconds for which the registry accepts a token. `oauth2`: whether POST is known (else 404).
    `names`: the keys under which a token is handed out.
    """

    url: str
    certificate: Path
    """What a registry must know to trust these tokens (`rootcertbundle`)."""
    key: Path
    users: dict[str, User]
    expires_in: int = 300
    oauth2: bool = True
    names: tuple[str, ...] = ("token", "access_token")
    asked: list[Asked] = field(default_factory=list)
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    """Refresh token to account; empty it to revoke them."""

    def sign(self, account: str, access: list[dict[str, object]]) -> str:
        """A JSON Web Token (RS256, certificate in `x5c`) that lets `account` do `access`."""
        body = "".join(self.certificate.read_text().splitlines()[1:-1])
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": account,
            "aud": SERVICE,
            "exp": now + self.expires_in - _LEEWAY,
            "nbf": now - _LEEWAY - 10,
            "iat": now - _LEEWAY - 10,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        parts = ({"typ": "JWT", "alg": "RS256", "x5c": [body]}, claims)
        signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self.key)],
            input=signed.encode(),
            capture_output=True,
            check=True,
        ).stdout
        return f"{signed}.{_base64(signature)}"

    def granted(self, account: str, scopes: tuple[str, ...]) -> list[dict[str, object]]:
        """What of `scopes` the account may do, as the claim `access` of a token."""
        access: list[dict[str, object]] = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, wanted = rest.rpartition(":")
            user = self.users.get(account)
            rights = user.rights if user is not None else {}
            allowed = next((actions for pattern, actions in rights.items() if fnmatchcase(name, pattern)), ())
            actions = [action for action in wanted.split(",") if action in allowed]
            if kind == "registry" and account:
                actions = wanted.split(",")
            access.append({"type": kind, "name": name, "actions": actions})
        return access


@contextmanager
def serving_tokens(directory: Path, users: Mapping[str, User]) -> Iterator[TokenServer]:
    """A token server on a port of its own; its key is made in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = directory / "tokens.pem", directory / "tokens.key"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "10",
                "-subj",
                "/CN=tokens",
            ),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    tokens = TokenServer(f"http://127.0.0.1:{server.server_address[1]}/token", certificate, key, dict(users))
    handler.tokens = tokens  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield tokens
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tokens: TokenServer

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        header = self.headers.get("Authorization", "")
        if not header:
            self._answer("anonymous", "", query, known=True)
            return
        kind, _, value = header.partition(" ")
        account, _, password = base64.b64decode(value).decode().partition(":")
        known = kind.lower() == "basic" and self._knows(account, password)
        self._answer("basic", account, query, known=known, offline=query.get("offline_token") == ["true"])

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        form = parse_qs(self.rfile.read(length).decode())
        grant = form.get("grant_type", [""])[0]
        if not self.tokens.oauth2:
            self._reply(404, {"errors": [{"code": "UNSUPPORTED", "message": "not here"}]})
            self.tokens.asked.append(Asked("POST", grant, "", (), 404))
            return
        account = form.get("username", [""])[0]
        if grant == "refresh_token":
            account = self.tokens.refresh_tokens.get(form.get("refresh_token", [""])[0], "")
            known = bool(account)
        else:
            known = grant == "password" and self._knows(account, form.get("password", [""])[0])
        offline = grant == "refresh_token" or form.get("access_type") == ["offline"]
        self._answer(grant, account, form, known=known, offline=offline)

    def _knows(self, account: str, password: str) -> bool:
        user = self.tokens.users.get(account) if account else None
        return user is not None and user.password == password

    def _answer(
        self, grant: str, account: str, query: dict[str, list[str]], *, known: bool, offline: bool = False
    ) -> None:
        # A request may name several scopes one by one, or in one parameter with spaces between them.
        scopes = tuple(scope for text in query.get("scope", []) for scope in text.split())
        known = known and query.get("service") == [SERVICE]
        status = 200 if known else 401
        self.tokens.asked.append(Asked(self.command, grant, account, scopes, status))
        if not known:
            errors = [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]
            self._reply(401, {"errors": errors}, {"WWW-Authenticate": 'Basic realm="tokens of the tests"'})
            return
        token = self.tokens.sign(account, self.tokens.granted(account, scopes))
        document: dict[str, object] = dict.fromkeys(self.tokens.names, token)
        document["expires_in"] = self.tokens.expires_in
        document["issued_at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if offline and account:
            refresh = secrets.token_urlsafe(24)
            self.tokens.refresh_tokens[refresh] = account
            document["refresh_token"] = refresh
        self._reply(200, document)

    def _reply(self, status: int, document: dict[str, object], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
