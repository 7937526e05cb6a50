"""What the image in a Dockerfile's FROM implies: a Python, packages, or that the file is not about Python. Pure, data in tables."""

from __future__ import annotations

import re

from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Implied:
    """`python` is a minor version; `requirements` are packages that the image has; `command` what it starts by itself;
    `foreign`: an image in which no Python project runs; `notebook`: one that serves notebooks."""

    python: str | None = None
    requirements: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    foreign: bool = False
    notebook: bool = False
    conda: bool = False
    gpu: bool = False


_DISTRIBUTIONS = {
    "ubuntu:18.04": "3.6",
    "ubuntu:bionic": "3.6",
    "ubuntu:20.04": "3.8",
    "ubuntu:focal": "3.8",
    "ubuntu:22.04": "3.10",
    "ubuntu:jammy": "3.10",
    "ubuntu:24.04": "3.12",
    "ubuntu:noble": "3.12",
    "debian:buster": "3.7",
    "debian:10": "3.7",
    "debian:bullseye": "3.9",
    "debian:11": "3.9",
    "debian:bookworm": "3.11",
    "debian:12": "3.11",
    "debian:trixie": "3.13",
    "debian:13": "3.13",
}
"""The Python of distributions' releases (packages.ubuntu.com, packages.debian.org)."""
_FOREIGN = (
    r"(?:node|nginx|httpd|caddy|php|ruby|golang|rust|openjdk|eclipse-temurin|maven|gradle|amazoncorretto|mcr\.microsoft\.com/dotnet|"
    r"postgres|mysql|mariadb|redis|mongo|rabbitmq|traefik|haproxy|r-base|rocker/\S+|julia|swift|elixir|oven/bun|denoland/deno|"
    r"bitnami/(?:nginx|node)|tomcat|grafana/\S+|prom/\S+|ollama/ollama|qdrant/\S+|flyway/\S+)$"
)


def implied(image: str, system_python: bool = False) -> Implied:
    """What `image` (`python:3.10-slim`, `pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime`) implies. `system_python`: the
    distribution's own Python is installed in it."""
    image = image.partition("@")[0].lower()[:300]
    name, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "")
    short = re.sub(
        r"^(?:docker\.io/|registry\.hub\.docker\.com/|index\.docker\.io/|public\.ecr\.aws/docker/|mirror\.gcr\.io/)",
        "",
        name,
    )
    short = short.removeprefix("library/")
    last = short.rpartition("/")[2]
    version = re.search(r"(?:python|py)[-:]?(3)\.?(\d{1,2})(?!\d)", image)
    python = f"3.{version[2]}" if version else None
    if last in ("python", "pypy") or last.startswith("python-"):
        found = re.match(r"(3\.\d{1,2})(?:[.-].*)?$", tag)
        return Implied(found[1] if found else python if "/" in short else None)
    if last == "uvicorn-gunicorn-fastapi" or last in ("uvicorn-gunicorn", "uvicorn-gunicorn-starlette"):
        extra = ("fastapi",) if "fastapi" in last else ("starlette",) if "starlette" in last else ()
        return Implied(python, ("uvicorn", "gunicorn", *extra), ("uvicorn", "main:app"))
    if last in ("meinheld-gunicorn-flask", "uwsgi-nginx-flask", "meinheld-gunicorn"):
        return Implied(
            python, ("flask", "gunicorn") if "flask" in last else ("gunicorn",), ("gunicorn", "main:app")
        )
    if short == "pytorch/pytorch":
        found = re.match(r"(\d+\.\d+\.\d+)", tag)
        return Implied(
            python, (f"torch=={found[1]}" if found else "torch", "torchvision"), conda=True, gpu="cuda" in tag
        )
    if short == "tensorflow/tensorflow":
        found = re.match(r"(\d+\.\d+\.\d+)", tag)
        return Implied(python, (f"tensorflow=={found[1]}" if found else "tensorflow",), gpu="gpu" in tag)
    if short in (
        "continuumio/miniconda3",
        "conda/miniconda3",
        "continuumio/anaconda3",
        "condaforge/mambaforge",
    ) or (
        "micromamba" in last
        or "miniforge" in last
        or "mambaforge" in last
        or "miniconda" in last
        or "anaconda" in last
    ):
        return Implied(python, conda=True)
    if re.match(r"(?:(?:quay\.io/)?jupyter/\S+|jupyterhub/\S+)$", name):
        return Implied(python, notebook=True)
    if short.startswith("nvidia/cuda") or short.startswith("nvcr.io/nvidia/"):
        release = re.search(r"ubuntu(\d\d\.\d\d)", tag)
        plain = _DISTRIBUTIONS.get(f"ubuntu:{release[1]}") if release and system_python else None
        extra = (
            ("torch",)
            if short.endswith("/pytorch")
            else ("tensorflow",)
            if short.endswith("/tensorflow")
            else ()
        )
        return Implied(python or plain, extra, gpu=True)
    if re.fullmatch(_FOREIGN, short) or re.fullmatch(_FOREIGN, last):
        return Implied(foreign=True)
    if python is None and system_python:
        python = _DISTRIBUTIONS.get(f"{short}:{re.sub(r'-slim$', '', tag)}")
    if last == "python3-debian12":
        python = "3.11"
    return Implied(python)
