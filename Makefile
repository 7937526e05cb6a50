# Every target sets up what it needs by itself, and again in seconds when that is already done.
# A target's system packages come through apt as root or with sudo; otherwise a message lists them.

SHELL := /bin/bash
VENV := .venv
PYTHON ?= python3
RUN := $(VENV)/bin
SYSTEM_DEMO := python3-venv runc crun uidmap
# Everything that a test calls, but for what every Debian has (`Essential: yes`); tests/test_tools.py compares.
SYSTEM_TEST := $(SYSTEM_DEMO) skopeo umoci gnupg gpgv qemu-user-static passt strace util-linux openssl \
  docker-registry docker.io containerd podman buildah bubblewrap proot conmon tini iproute2 procps mount passwd \
  apache2-utils git curl systemd zsh fish chromium chromium-driver fonts-dejavu-core

.PHONY: help demo test test-long test-all lint bench bench-beside bench-registry bench-runtime bench-serve clean setup system-demo system-test

help:
	@echo "make demo    build the iris example, train it in its own image, serve it, and ask it"
	@echo "make test    every check: format, lint, types, imports, tests"
	@echo "make test-long  the tests that take longest, and all examples of the properties that take long; make test-all is both"
	@echo "make lint    the checks without the tests"
	@echo "make bench   measure builds beside docker and buildah, where they are installed"
	@echo "make bench-beside OTHER=../old/.venv/bin/corten  measure builds and starts beside another checkout's"
	@echo "make bench-registry  measure pushes and pulls beside docker, podman and skopeo"
	@echo "make bench-runtime  measure containers beside docker, podman, runc and crun"
	@echo "make bench-serve  measure the model server beside FastAPI, LitServe, BentoML, MLServer and Granian"
	@echo "make clean   remove everything that these targets made in this folder"

$(VENV)/.ready: pyproject.toml Makefile tools/python-packages
	@test -d $(VENV) || { echo "making $(VENV)" >&2; $(PYTHON) -m venv $(VENV); } || { echo "error: cannot make a virtual environment; install python3-venv" >&2; exit 1; }
	@$(RUN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Corten needs Python 3.11 or newer; set PYTHON=" >&2; exit 1; }
	@tools/python-packages $(VENV)
	@touch $@

setup: $(VENV)/.ready

system-demo:
	@tools/system-packages $(SYSTEM_DEMO)

system-test:
	@tools/system-packages $(SYSTEM_TEST)

demo: system-demo setup
	@env -u PYTHONDONTWRITEBYTECODE tools/demo

lint: setup
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports

test: system-test lint
	SELECT="not long" CORTEN_TEST_EXAMPLES=few tools/test $(PYTEST)

test-long: system-test setup
	SELECT="(long or thorough)" tools/test $(PYTEST)

test-all: system-test lint
	tools/test $(PYTEST)

bench: setup
	env -u PYTHONDONTWRITEBYTECODE $(RUN)/python bench/build.py $(BENCH)

bench-beside: setup
	@test -n "$(OTHER)" || { echo "error: name the other checkout's command, as in OTHER=../old/.venv/bin/corten" >&2; exit 2; }
	env -u PYTHONDONTWRITEBYTECODE $(RUN)/python bench/beside.py $(OTHER) $(BENCH)

bench-registry: setup
	env -u PYTHONDONTWRITEBYTECODE $(RUN)/python bench/registry.py $(BENCH)

bench-runtime: setup
	env -u PYTHONDONTWRITEBYTECODE $(RUN)/python bench/runtime.py $(BENCH)

bench-serve: setup
	@tools/system-packages wrk
	env -u PYTHONDONTWRITEBYTECODE $(RUN)/python bench/serve.py $(BENCH)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build bench/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
