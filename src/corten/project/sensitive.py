"""Which files hold secrets, by their names, and where a name alone does not tell, by what is in them.

Such files are left out of images. What is meant to be shared (`.env.example`, public keys, certificates) stays.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

NAMES = frozenset(
    [
        # Logins of package indexes and registries.
        *(".netrc", "_netrc", ".pypirc", ".npmrc", ".git-credentials", ".docker", ".dockercfg"),
        # Clouds, clusters and data services.
        *(".aws", ".azure", ".kube", ".boto", ".s3cfg", ".databrickscfg", ".snowsql", ".oci"),
        *("application_default_credentials.json", ".vault-token", ".terraform", ".terraformrc"),
        *("kubeconfig", ".rclone.conf"),
        # Models and data sets.
        *(".kaggle", "kaggle.json", ".huggingface", ".modal.toml"),
        # Keys and passwords.
        *(".ssh", ".gnupg", ".pgpass", ".my.cnf", ".htpasswd"),
        *("id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"),
        # What was typed, passwords too.
        *(".bash_history", ".zsh_history", ".python_history", ".psql_history", ".mysql_history"),
    ]
)
"""Files and folders of these names, in small letters, wherever they are."""
PATHS = (
    *(".streamlit/secrets.toml", ".config/gcloud", ".config/gh", ".config/huggingface", "huggingface/token"),
    *("huggingface/stored_tokens", ".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials"),
    *(".snowflake/connections.toml", "rclone/rclone.conf"),
)
"""Files and folders whose paths end so."""
ENDINGS = (".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk", ".tfstate", ".tfstate.backup")
"""Endings of stores of keys, and of Terraform's state, which has every secret that it has made."""
LOOKED_INTO = (".pem", ".key")
"""Files with these endings stay if they have certificates and public keys and no private key."""
EXAMPLES = (".example", ".sample", ".template", ".dist")
"""A file `.env…` with one of these endings is an example for others."""

# Patterns are compiled when a name asks for them: every build imports this module, and few need any.
_KEY_NAME = r"id_(?:rsa|dsa|ecdsa|ecdsa_sk|ed25519|ed25519_sk)[._-].+"
_ACCOUNT_NAME = r".*(?:account|credential|secret|gcp|gcloud|google|firebase|key).*\.json"
_PRIVATE = rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY|PuTTY-User-Key-File-"
_PUBLIC = (
    rb"-----BEGIN (?:[A-Z0-9]+ )*(?:CERTIFICATE|PUBLIC KEY|X509 CRL|DH PARAMETERS|CERTIFICATE REQUEST)-----"
)
_MOST_BYTES = 4_000_000
_LAST_PARTS = frozenset(path.rpartition("/")[2] for path in PATHS)
_BEGINNINGS = (".env", "id_", "terraform.tfstate")
_ALL_ENDINGS = (*ENDINGS, *LOOKED_INTO, ".json")


def is_secret(name: str, path: str, root: str) -> bool:
    """Whether the file or folder `path` of the project at `root` holds secrets; `name` is its last part. Few files are
    opened for that."""
    low = name.lower()
    if low in NAMES:
        return True
    if low in _LAST_PARTS and f"/{path}".lower().endswith(tuple(f"/{ending}" for ending in PATHS)):
        return True
    return (low.startswith(_BEGINNINGS) or low.endswith(_ALL_ENDINGS)) and _is_odd(low, path, root)


def _is_odd(low: str, path: str, root: str) -> bool:
    """The same for a name, in small letters, that begins or ends as those of secrets do."""
    if low.endswith(ENDINGS) or low.startswith("terraform.tfstate"):
        return True
    if low.startswith(".env"):
        return not low.endswith(EXAMPLES)
    if low.endswith(LOOKED_INTO):
        return _holds(root, path, _PRIVATE) or not _holds(root, path, _PUBLIC)
    if low.startswith("id_") and re.fullmatch(_KEY_NAME, low):
        return not low.endswith(".pub") and _holds(root, path, _PRIVATE)
    # What Google makes for an account of a service.
    return (
        low.endswith(".json")
        and re.fullmatch(_ACCOUNT_NAME, low) is not None
        and _holds(root, path, _PRIVATE)
    )


def is_below_secret(path: str, root: str) -> bool:
    """The same for a file that was named: also where a folder that it is in holds secrets."""
    parts = path.split("/")
    return any(is_secret(part, "/".join(parts[: end + 1]), root) for end, part in enumerate(parts))


def _holds(root: str, path: str, what: bytes) -> bool:
    """Whether the regular file has `what` in it. One that cannot be read, or is huge, has nothing."""
    with suppress(OSError):
        descriptor = os.open(f"{root}/{path}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return re.search(what, file.read(_MOST_BYTES)) is not None
    return False
