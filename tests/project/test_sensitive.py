"""Which files hold secrets, by name and by content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.project.files import scan
from corten.project.load import load
from corten.project.sensitive import is_below_secret

Folder = Callable[..., Path]

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----\n"

OUT = {
    **dict.fromkeys(
        [
            *(".netrc", "_netrc", ".pypirc", ".npmrc", "sub/.git-credentials", ".docker/config.json"),
            *(".aws/credentials", ".azure/token", ".kube/config", ".boto", ".databrickscfg"),
            *("kubeconfig", ".rclone.conf", ".bash_history", ".python_history", ".cargo/credentials.toml"),
            *(".gem/credentials", ".snowflake/connections.toml"),
            *(".config/gcloud/x.db", "application_default_credentials.json", ".vault-token"),
            *(".kaggle/kaggle.json", "kaggle.json", ".huggingface/token", "cache/huggingface/token"),
            *(".streamlit/secrets.toml", "app/.streamlit/Secrets.toml", ".ssh/known_hosts", ".gnupg/x"),
            *("id_rsa", "keys/id_ed25519", "ID_RSA", "terraform.tfstate", "infra/prod.tfstate"),
            *("terraform.tfstate.backup", "terraform.tfstate.d/x", ".terraform/x"),
            *("a.p12", "a.PFX", "a.jks", "a.keystore", ".env", ".env.local", ".ENV.production", ".envrc"),
            *("empty.pem", "license.key"),
        ],
        "x",
    ),
    "server.KEY": KEY,
    "both.Pem": CERTIFICATE + KEY,
    "id_rsa.old": KEY,
    "id_ed25519_github": KEY,
    "my-service-account.json": '{"private_key": "-----BEGIN PRIVATE KEY-----\\nMII"}',
}
IN = {
    **dict.fromkeys(
        [
            *(".env.example", ".env.sample", ".env.template", "sub/.env.local.example", "main.py"),
            *("id_rsa.pub", "id_mapping.json", "id_to_label.py", "id_rsa_notes.txt", "idrsa", "token"),
            *("keys.json", "credentials.json", "keypoints.json", "secrets.toml", "config.json", "gcloud/x"),
            *("tokenizer.json", "monkey.py", "environment.yml", "terraform.md"),
        ],
        "x",
    ),
    "ca.pem": CERTIFICATE,
    "CA.PEM": CERTIFICATE,
    "public.key": "-----BEGIN PUBLIC KEY-----\nMII",
}


def test_files_that_hold_secrets_are_left_out_and_others_are_not(folder: Folder) -> None:
    files = scan(load(folder({**OUT, **IN})))
    assert sorted(IN) == [file.path for file in files.code]
    # A folder stands for what is in it.
    for path in OUT:
        assert any(path == secret or path.startswith(secret) for secret in files.secrets), path
    assert set(files.secrets) <= set(files.left_out)
    assert files.brought == ()


@pytest.mark.parametrize(
    ("pyproject", "ignore", "brought"),
    [
        ('include = ["certs/server.key"]', "", ("certs/server.key",)),
        ('include = [".aws/config"]', "", (".aws/config",)),
        ('include = ["certs"]', "", ()),
        ('include = ["certs/*"]', "", ()),
        ("", "!.env\n!*.key\n", (".env", "certs/server.key")),
    ],
)
def test_a_secret_goes_into_an_image_when_the_project_names_it(
    folder: Folder, pyproject: str, ignore: str, brought: tuple[str, ...]
) -> None:
    root = folder(
        {
            "pyproject.toml": f"[tool.corten]\n{pyproject}\n",
            "main.py": "",
            ".env": "A=1",
            ".aws/config": "",
            "certs/server.key": KEY,
            "certs/ca.pem": CERTIFICATE,
            **({".cortenignore": ignore} if ignore else {}),
        }
    )
    files = scan(load(root))
    assert files.brought == brought
    assert set(brought) <= {file.path for file in files.code}
    assert not set(brought) & set(files.left_out)
    assert "certs/ca.pem" in [file.path for file in files.code]


def test_what_is_looked_into_is_no_link_and_no_pipe(tmp_path: Path) -> None:
    import os

    (tmp_path / "outside").write_text(CERTIFICATE)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/link.pem").symlink_to(tmp_path / "outside")
    os.mkfifo(tmp_path / "x/pipe.pem")
    assert is_below_secret("link.pem", str(tmp_path / "x"))
    assert is_below_secret("pipe.pem", str(tmp_path / "x"))
