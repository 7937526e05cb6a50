"""Where the files that give hints lie, each kind in the order in which they are looked for."""

from __future__ import annotations

PROCFILE = ("Procfile", "procfile", "Procfile.txt", "ProcFile", "PROCFILE")
DOCKERFILE = (
    *("Dockerfile", "dockerfile", "DockerFile", "Containerfile", "docker/Dockerfile", "Docker/Dockerfile"),
    *(
        ".docker/Dockerfile",
        "deploy/Dockerfile",
        "deployment/Dockerfile",
        "infra/Dockerfile",
        "build/Dockerfile",
    ),
)
"""Beside them, the only file `Dockerfile.*` in the project's folder counts."""
COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
DEVCONTAINER = (".devcontainer/devcontainer.json", ".devcontainer.json")
LAUNCH = (".vscode/launch.json",)
MAKEFILE = ("Makefile", "makefile", "GNUmakefile", "justfile", "Justfile")
README = ("README.md", "readme.md", "Readme.md", "README.rst", "README.txt", "README", "README.MD")
APP_JSON = ("app.json",)
ENV_EXAMPLE = (
    *(
        ".env.example",
        ".env.sample",
        ".env.template",
        ".env.dist",
        ".env-example",
        ".env_example",
        ".env-sample",
    ),
    *(
        ".env_sample",
        "env.example",
        "env.sample",
        "example.env",
        "sample.env",
        ".example.env",
        ".env.local.example",
    ),
    ".streamlit/secrets.toml.example",
)
PACKAGES = (
    *("packages.txt", "Aptfile", "apt.txt", "apt-packages.txt", "binder/apt.txt", ".binder/apt.txt"),
    "system-packages.txt",
)
CONDA = ("environment.yml", "environment.yaml", "conda.yaml", "conda.yml", "env.yml", "conda_env.yml")
PYTHON = (
    *(".python-version", "runtime.txt", ".tool-versions", "mise.toml", ".mise.toml", "Pipfile", *CONDA),
    *("setup.cfg", "setup.py", "pyproject.toml"),
)
PYPROJECT = ("pyproject.toml",)
COG = ("cog.yaml",)
SPACES = ("README.md",)
MLFLOW = ("MLmodel", "python_env.yaml")
