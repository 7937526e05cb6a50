"""What looks like a private key or a token in a text: forms that are known, so that a finding is one.

Nothing is judged by how random it looks: that finds hashes, data and the outputs of notebooks. A library for this
(detect-secrets) took 18 s for 1.8 MB of Python, and this takes 0.1 s. What was found is never part of a finding.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable

from corten.lazy import regex
from corten.values import dataclass

VERSION = 1
"""Raised when more or less is found: what was remembered of files counts no longer."""
_BEFORE, _AFTER = rb"(?<![A-Za-z0-9+/])", rb"(?![A-Za-z0-9+/_-])"
_ALLOWED = regex(rb"pragma:\s?(?:allow|white)list(\snextline)?[\s-]secret", re.IGNORECASE)
_PLACEHOLDER = regex(
    rb"(?i)example|placeholder|changeme|change-me|change_me|dummy|fake|redacted|your[-_]|xxxx|\.\.\.|0000000|12345678"
)
_BASE64_OF_A_KEY = regex(rb"[A-Za-z0-9+/]{32}")
_FEWEST_CHARACTERS = 7


@dataclass(frozen=True, slots=True)
class Leak:
    """In `line` (from 1 on) is what looks like a `kind`."""

    line: int
    kind: str


def _token(expression: bytes) -> bytes:
    return _BEFORE + expression + _AFTER


def _varied(data: bytes, match: re.Match[bytes]) -> bool:
    """Whether a token is more than a stand-in such as `hf_xxxxxxxx`."""
    text = match[1] if match.lastindex else match[0]
    return len(set(text)) >= _FEWEST_CHARACTERS and _PLACEHOLDER.search(match[0]) is None


def _begins_a_key(data: bytes, match: re.Match[bytes]) -> bool:
    """Whether a key follows: code that looks for keys has their first line, too."""
    return _BASE64_OF_A_KEY.search(data, match.end(), match.end() + 400) is not None


def _is_web_token(data: bytes, match: re.Match[bytes]) -> bool:
    try:
        head = json.loads(urlsafe_b64decode(match[1] + b"=" * (-len(match[1]) % 4)))
    except ValueError:
        return False
    return isinstance(head, dict) and "alg" in head


def _is_password(data: bytes, match: re.Match[bytes]) -> bool:
    user, password, host = match[1].lower(), match[2], match[3].lower()
    return not (
        re.search(rb"[{}$<>*|\[\]()]|%[s(]", password)
        or password.lower()
        in (
            user,
            b"password",
            b"passwd",
            b"pass",
            b"pwd",
            b"pw",
            b"secret",
            b"token",
            b"test",
            b"foobar",
            b"admin",
            b"root",
        )
        or _PLACEHOLDER.search(password)
        or host in (b"localhost", b"127.0.0.1", b"host", b"hostname", b"proxy", b"server")
        or host.endswith((b".test", b".invalid", b".local", b".localhost"))
    )


Check = Callable[[bytes, re.Match[bytes]], bool]

_RULES: tuple[tuple[str, tuple[bytes, ...], bytes, Check], ...] = (
    (
        "private key",
        (b"PRIVATE KEY",),
        rb"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----",
        _begins_a_key,
    ),
    ("private key", (b"PuTTY-User-Key",), rb"PuTTY-User-Key-File-[23]: \S+\s", lambda data, match: True),
    ("private key", (b"AGE-SECRET-KEY-",), rb"AGE-SECRET-KEY-1[0-9A-Z]{58}", _varied),
    ("AWS access key", (b"AKIA", b"ASIA"), _token(rb"A(?:KI|SI)A([0-9A-Z]{16})"), _varied),
    (
        "AWS secret key",
        (b"secret_access_key", b"SECRET_ACCESS_KEY", b"secretAccessKey", b"SecretAccessKey"),
        rb"(?i)secret_?access_?key['\"\\]{0,3}\s{0,8}[:=,]\s{0,8}['\"\\]{0,3}([A-Za-z0-9/+=]{40})(?![A-Za-z0-9/+=])",
        _varied,
    ),
    (
        "GitHub token",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"),
        _token(rb"gh[pousr]_([A-Za-z0-9]{36,255})"),
        _varied,
    ),
    ("GitHub token", (b"github_pat_",), _token(rb"github_pat_([A-Za-z0-9_]{50,255})"), _varied),
    ("GitLab token", (b"glpat-",), _token(rb"glpat-([A-Za-z0-9_.-]{20,300})"), _varied),
    ("Hugging Face token", (b"hf_",), _token(rb"hf_([A-Za-z]{30,40})"), _varied),
    ("Hugging Face token", (b"api_org_",), _token(rb"api_org_([A-Za-z]{30,40})"), _varied),
    ("Anthropic key", (b"sk-ant-",), _token(rb"sk-ant-([A-Za-z0-9_-]{24,300})"), _varied),
    (
        "OpenAI key",
        (b"sk-",),
        _token(
            rb"sk-(?!ant-)((?:proj|svcacct|admin|None|or-v1)-[A-Za-z0-9_-]{20,300}|[A-Za-z0-9]{48}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20})"
        ),
        _varied,
    ),
    ("Slack token", (b"xox",), _token(rb"xox[abeoprs]-([A-Za-z0-9-]{20,300})"), _varied),
    ("Slack token", (b"xapp-",), _token(rb"xapp-\d-([A-Za-z0-9-]{20,300})"), _varied),
    (
        "Slack webhook",
        (b"hooks.slack.com/",),
        rb"hooks\.slack\.com/(?:services|workflows)/(T[A-Z0-9]{6,}/[A-Z0-9]{6,}/[A-Za-z0-9]{16,})",
        _varied,
    ),
    ("Google API key", (b"AIza",), _token(rb"AIza([0-9A-Za-z_-]{35})"), _varied),
    ("Google OAuth token", (b"ya29.",), _token(rb"ya29\.([0-9A-Za-z_-]{30,})"), _varied),
    ("Google OAuth secret", (b"GOCSPX-",), _token(rb"GOCSPX-([0-9A-Za-z_-]{28})"), _varied),
    ("Stripe key", (b"k_live_", b"k_test_"), _token(rb"[sr]k_(?:live|test)_([0-9A-Za-z]{24,255})"), _varied),
    ("npm token", (b"npm_",), _token(rb"npm_([A-Za-z0-9]{36})"), _varied),
    ("npm token", (b"_authToken",), rb":_authToken\s*=\s*['\"]?([A-Za-z0-9_.+/=-]{20,})", _varied),
    ("PyPI token", (b"pypi-AgE",), rb"pypi-(AgE[A-Za-z0-9_-]{50,})", _varied),
    ("SendGrid key", (b"SG.",), _token(rb"SG\.([A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})"), _varied),
    ("Databricks token", (b"dapi",), _token(rb"dapi([0-9a-f]{32})(?:-\d)?"), _varied),
    ("Replicate token", (b"r8_",), _token(rb"r8_([A-Za-z0-9]{37})"), _varied),
    ("Azure storage key", (b"AccountKey",), rb"AccountKey=([A-Za-z0-9+/]{86}==)", _varied),
    (
        "web token",
        (b"eyJ",),
        rb"(?<![A-Za-z0-9+/_-])(eyJ[A-Za-z0-9_-]{10,2000})\.eyJ[A-Za-z0-9_-]{10,8000}\.[A-Za-z0-9_-]{16,2000}",
        _is_web_token,
    ),
    (
        "URL with a password",
        (b"://",),
        rb"""[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/:@?#"'`<>\\]{0,256}):([^\s/@?#"'`<>\\]{3,256})@([A-Za-z0-9.-]{1,256})""",
        _is_password,
    ),
)


def find(data: bytes) -> tuple[Leak, ...]:
    """What looks like a secret in the bytes of a file, in the order of lines, one of a kind for a line. What has a NUL near its
    beginning is no text and has none. A line with `pragma: allowlist secret`, and the line after one with `pragma: allowlist
    nextline secret`, has none either."""
    if b"\0" in data[:8192]:
        return ()
    found: dict[tuple[int, str], Leak] = {}
    for kind, anchors, expression, check in _RULES:
        if not any(anchor in data for anchor in anchors):
            continue
        for match in re.finditer(expression, data):
            if check(data, match) and not _is_allowed(data, match.start()):
                line = data.count(b"\n", 0, match.start()) + 1
                found[line, kind] = Leak(line, kind)
    return tuple(found[key] for key in sorted(found))


def _is_allowed(data: bytes, position: int) -> bool:
    """Whether a comment in the line, or in the one before it, says that this is no secret."""
    start = data.rfind(b"\n", 0, position) + 1
    end = data.find(b"\n", position)
    here = _ALLOWED.search(data, start, len(data) if end < 0 else end)
    if here is not None and here[1] is None:
        return True
    before = _ALLOWED.search(data, data.rfind(b"\n", 0, max(start - 1, 0)) + 1, start)
    return before is not None and before[1] is not None


def is_allowed(data: bytes, line: int) -> bool:
    """The same for the line of that number."""
    return _is_allowed(data, len(b"\n".join(data.split(b"\n")[: line - 1])) + (line > 1))


_NAME_OF_SECRET = regex(
    r"(?i)(?:^|[_.-])(?:password|passwd|secret|token|api_?key|access_?key|secret_?key|private_?key|credentials?)$"
)
_HARMLESS = regex(r"(?i)|true|false|yes|no|none|null|on|off|\d{1,6}|[./~$].*|file:.*|\{.*\}|<.*>|\[.*\]|\*+")


def of_variable(name: str, value: str) -> str | None:
    """The kind of secret that a variable or label of an image looks like, by its value, else by its name; None for none."""
    found = find(value.encode(errors="replace"))
    if found:
        return found[0].kind
    if (
        _NAME_OF_SECRET.search(name)
        and _HARMLESS.fullmatch(value) is None
        and _PLACEHOLDER.search(value.encode(errors="replace")) is None
    ):
        return "secret, by its name"
    return None
