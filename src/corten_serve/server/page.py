"""The page at `/`: a form for every endpoint, made in the browser from `/openapi.json`.

One HTML answer holds everything, style and script included, so that it works without any other host and behind any path.
The policy that goes with it (content-security-policy, W3C CSP 3) lets the browser run exactly that script, by its hash,
and nothing that a schema or an answer might smuggle in. The parts lie in `page/`, commented; comments and indentation are
left out of what is sent.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from functools import cache, lru_cache
from html import escape
from pathlib import Path

from corten_serve.server.answers import takes_gzip

_PARTS = Path(__file__).with_name("page")
_SCRIPTS = (
    "dom",
    "schema",
    "write",
    "fields",
    "groups",
    "answer",
    "stream",
    "snippets",
    "server",
    "ask",
    "main",
)
"""In this order they are one module: each uses only what comes before it at its top level."""
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
_REMARK = re.compile(r"^[ \t]*(?://.*|/\*[^\n]*\*/[ \t]*)\n", re.MULTILINE)


Headers = tuple[tuple[str, str], ...]


def page(name: str, predict: str, state: str, accepts: str = "") -> tuple[Headers, bytes]:
    """The page for a predictor by its name, its `module:Class` and the state it is in: headers, the content type first,
    and body. It is gzipped for a client whose `accept-encoding` allows that."""
    headers, html, gzipped = _made(name, predict, state)
    if accepts and takes_gzip(accepts):
        return (*headers, ("content-encoding", "gzip")), gzipped
    return headers, html


@lru_cache(maxsize=16)
def _made(name: str, predict: str, state: str) -> tuple[Headers, bytes, bytes]:
    template, style, script = _parts()
    values = {"name": name, "predict": predict, "state": state}
    known = {key: escape(value) for key, value in values.items()} | {"style": style, "script": script}
    # One pass: what is filled in is not looked at again, whatever a name holds.
    html = re.sub(r"\{\{(\w+)\}\}", lambda found: known[found[1]], template).encode(errors="replace")
    return _headers(style, script), html, gzip.compress(html, 9, mtime=0)


@cache
def _parts() -> tuple[str, str, str]:
    def read(name: str) -> str:
        return (_PARTS / name).read_text(encoding="utf-8")

    script = "".join(_lean(read(f"{name}.js")) for name in _SCRIPTS)
    return read("index.html"), _lean(read("page.css")), script


def _lean(text: str) -> str:
    """`text` without indentation, blank lines and lines that are remarks. No string in the parts spans lines."""
    return re.sub(r"\n{2,}", "\n", _INDENT.sub("", _REMARK.sub("", text)))


def _headers(style: str, script: str) -> Headers:
    policy = (
        "default-src 'none'",
        f"script-src '{_hash(script)}'",
        f"style-src '{_hash(style)}'",
        "img-src data: blob:",
        "media-src blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
    return (
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", "; ".join(policy)),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-cache"),
        ("vary", "accept, accept-encoding"),
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
