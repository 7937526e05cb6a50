"""What looks like a private key or a token: known forms, and no false alarms. The examples are put together here, so that no
file of this repository has one."""

from __future__ import annotations

import base64
import json
import random
import string
from pathlib import Path

import pytest

from corten.project.leaks import Leak, find, is_allowed, of_variable

DRAW = random.Random(7)


def some(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(DRAW.choice(alphabet) for _ in range(length))


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


UPPER = string.ascii_uppercase + string.digits
KEY = some(64)
SECRETS = [
    *(
        ("private key", f"-----BEGIN {kind}PRIVATE KEY{end}-----\n{KEY}\n")
        for kind, end in (
            ("", ""),
            ("RSA ", ""),
            ("OPENSSH ", ""),
            ("EC ", ""),
            ("ENCRYPTED ", ""),
            ("PGP ", " BLOCK"),
        )
    ),
    ("private key", f'"-----BEGIN PRIVATE KEY-----\\n{KEY}\\n"'),
    ("private key", f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\n{KEY}\n"),
    ("private key", "PuTTY-User-Key-File-" + "3: ssh-ed25519 \n"),
    ("AWS access key", "AKIA" + some(16, UPPER)),
    ("AWS access key", f"key='ASIA{some(16, UPPER)}'"),
    ("AWS secret key", f'aws_secret_access_key = "{some(40)}"'),
    ("AWS secret key", f'"SecretAccessKey": "{some(40)}"'),
    ("GitHub token", "ghp_" + some(36)),
    ("GitHub token", f"https://x/?t=gho_{some(36)}"),
    ("GitHub token", "github_pat_" + some(22) + "_" + some(59)),
    ("GitLab token", "glpat-" + some(20)),
    ("Hugging Face token", 'login("hf_' + some(34, string.ascii_letters) + '")'),
    ("OpenAI key", "sk-" + some(48)),
    ("OpenAI key", "sk-proj-" + some(60) + "_" + some(20)),
    ("Anthropic key", "sk-ant-api03-" + some(90)),
    ("Slack token", "xoxb-" + some(12, string.digits) + "-" + some(24)),
    (
        "Slack webhook",
        "https://hooks.slack.com/services/T" + some(8, UPPER) + "/B" + some(8, UPPER) + "/" + some(24),
    ),
    ("Google API key", "AIza" + some(35)),
    ("Google OAuth secret", "GOCSPX-" + some(28)),
    ("Stripe key", "sk_live_" + some(24)),
    ("npm token", "npm_" + some(36)),
    ("npm token", "//registry.example/:_authToken=" + some(36)),
    ("PyPI token", "pypi-AgEIcHlwaS5vcmc" + some(60)),
    ("SendGrid key", "SG." + some(22) + "." + some(43)),
    ("Databricks token", "dapi" + some(32, "0123456789abcdef")),
    ("Azure storage key", "AccountKey=" + some(86) + "=="),
    ("web token", f"{encoded({'alg': 'HS256'})}.{encoded({'sub': '1234'})}.{some(43)}"),
    ("URL with a password", "postgres://app:" + some(12) + "@db.example.org:5432/x"),
    ("URL with a password", "https://user:a:" + some(8) + "@host.org/simple"),
]
HARMLESS = [
    'MARK = b"-----BEGIN RSA PRIVATE KEY-----"\nif MARK in data: raise ValueError("no keys, please, in this file")',
    "-----BEGIN CERTIFICATE-----\n" + KEY,
    "ssh-ed25519 AAAA" + some(60),
    "AKIAIOSFODNN7EXAMPLE",
    "hf_" + "x" * 34,
    "HF_TOKEN=hf_your_token_goes_here",
    "sk-" + "." * 48,
    "ghp_" + "0" * 36,
    "sk-learn-based-on-a-long-name-of-a-module-that-is-no-key",
    "hf_model_name_with_underscores_in_it",
    "sha256:" + some(64, "0123456789abcdef"),
    f'"image/png": "{base64.b64encode(DRAW.randbytes(30000)).decode()}"',
    some(4000),
    "postgres://postgres:postgres@localhost/db",
    "postgres://user:password@host/db",
    "https://${USER}:${PASSWORD}@host/",
    "https://{user}:{password}@host/",
    "redis://:%s@host" + "/0",
    "http://localhost:8000/a@b",
    "git+ssh://git@github.com/a/b",
    "https://user:changeme@db.org",
    "eyJub3QiOiJhIHRva2VuIn0.eyJhIjoxfQ.abcdefghijklmnopqrstuvwxyz",
    "the aws_secret_access_key of the profile",
]


@pytest.mark.parametrize(("kind", "text"), SECRETS)
def test_a_known_form_is_found_and_its_line(kind: str, text: str) -> None:
    assert find(f"a\nb {text}\nc\n".encode()) == (Leak(2, kind),)
    notebook = json.dumps({"cells": [{"outputs": [{"text": ["x\n", f"{text}\n"]}]}]}, indent=1)
    assert [leak.kind for leak in find(notebook.encode())] == [kind]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_is_no_alarm(text: str) -> None:
    assert find(f"x = {text}\n".encode()) == ()


def test_a_line_can_say_that_it_has_no_secret() -> None:
    token = "ghp_" + some(36)
    assert find(f"a = '{token}'  # pragma: allowlist secret\n".encode()) == ()
    assert find(f"a = '{token}'  // pragma: whitelist-secret\n".encode()) == ()
    assert find(f"# pragma: allowlist nextline secret\na = '{token}'\nb = '{token}'\n".encode()) == (
        Leak(3, "GitHub token"),
    )
    assert is_allowed(b"a\nb # pragma: allowlist secret\n", 2)
    assert not is_allowed(b"a # pragma: allowlist secret\nb\n", 2)


def test_several_in_a_file_and_none_in_what_is_no_text() -> None:
    one, other = "ghp_" + some(36), "AKIA" + some(16, UPPER)
    text = f"{one} {one} {other}\n{other}\n".encode()
    assert find(text) == (Leak(1, "AWS access key"), Leak(1, "GitHub token"), Leak(2, "AWS access key"))
    assert find(b"\0" + text) == ()


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("DB_PASSWORD", "hunter2", "secret, by its name"),
        ("OPENAI_API_KEY", "abcdef", "secret, by its name"),
        ("ANYTHING", "ghp_" + some(36), "GitHub token"),
        ("TOKENIZERS_PARALLELISM", "false", None),
        ("USE_TOKEN", "true", None),
        ("EOS_TOKEN", "</s>", None),
        ("MASK_TOKEN", "[MASK]", None),
        ("MAX_TOKEN", "512", None),
        ("PASSWORD", "", None),
        ("SECRET", "/run/secrets/x", None),
        ("API_KEY", "${API_KEY}", None),
        ("API_KEY", "changeme", None),
        ("OMP_NUM_THREADS", "1", None),
    ],
)
def test_a_variable_is_judged_by_its_value_and_its_name(name: str, value: str, kind: str | None) -> None:
    assert of_variable(name, value) == kind


def test_this_repository_has_none() -> None:
    root = Path(__file__).parents[2]
    files = [
        path
        for folder in ("src", "examples", "docs")
        for path in (root / folder).rglob("*")
        if path.is_file()
    ]
    assert {str(path): found for path in files if (found := find(path.read_bytes()))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "://a" * 200_000,
        "://a:" * 150_000,
        "eyJ" * 300_000,
        "eyJaaaaaaaaaaaaa." * 40_000,
        "-----BEGIN RSA " * 50_000,
        "-----BEGIN PRIVATE KEY-----" * 30_000,
        "secret_access_key: " * 50_000,
        "sk-ant-" * 100_000,
    ],
)
def test_a_hostile_text_takes_little_time(text: str) -> None:
    # An expression that backtracks would take minutes.
    assert find(text.encode()) == ()
