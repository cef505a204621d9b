# What one does with this folder. Needs git, make and Python 3.11 or newer with pip and venv; nothing else is assumed.
# Everything goes into .venv, with the versions and hashes of requirements.lock (to run) or requirements-dev.lock
# (to test); it is made anew when one of those or pyproject.toml has changed.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command "make lock" --group build

.DEFAULT_GOAL := help
.PHONY: help demo test check bench soak crash lock

help:
	@echo "make demo    the whole story on this machine: gateway, a sandbox primary, people who write; Ctrl-C ends it"
	@echo "make test    every test; installs the real servers it needs where it is root on Debian, else names them"
	@echo "make check   format, lint, types, import contracts, generated files up to date"
	@echo "make bench   measures beside Postfix, prints a table, writes bench-results.json"
	@echo "make soak    half an hour of load, readers and events; fails where memory, descriptors or files grow"
	@echo "make crash   the kill and power-cut tests at full length"
	@echo "make lock    resolves requirements*.lock anew from pyproject.toml (needs uv)"

demo: .venv/ready
	$(BIN)/stormsail demo

test: .venv/ready-dev
	.ci/real-parts
	$(BIN)/pytest -rs $(ARGS)

check: .venv/ready-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_generated.py
	$(PIP) check

bench: .venv/ready-dev
	.ci/real-parts
	$(BIN)/python tests/bench/run.py $(ARGS)

soak: .venv/ready-dev
	.ci/real-parts
	$(BIN)/python tests/bench/soak.py $(ARGS)

crash: .venv/ready-dev
	.ci/real-parts
	STORMSAIL_FULL=1 $(BIN)/pytest -rs tests/crash $(ARGS)

lock:
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

# ── the virtual environment ──

.venv/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip >/dev/null
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/ready-dev: .venv/ready requirements-dev.lock
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
