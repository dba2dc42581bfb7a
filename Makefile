# Everything here runs in `.venv`, which `make` builds by itself from pyproject.toml and uv.lock.
# Needed on the machine: make and a Python of version 3.11 or later. uv is brought along when it is absent.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Without its caches each of the many processes would compile thousands of files anew.
unexport PYTHONDONTWRITEBYTECODE

# The interpreter of the environment: any Python from 3.11 on, or the one named as `make PYTHON=…`.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
RUN := .venv/bin/python -m
FAST := not bench and not slow
# Each process has servers of its own; a file is never split between two (tests/fixtures/order.py). `make test PROCESSES=0` is one after the other.
# Three keep two processors busy: much of a test is waiting for a server or a Java to start.
PROCESSES ?= 3
CODE := libs services tests

##@ Use it

.PHONY: demo up
demo: .venv/.ready-to-run  ## The main job on real data: train, register, promote under load, roll back, score a million rows
	.venv/bin/tiltyard demo

up: .venv/.ready-to-run  ## The first steps of the demo, then both services stay up to play with; REGISTRY_PORT=… SERVING_PORT=…
	.venv/bin/tiltyard demo --stay $(if $(REGISTRY_PORT),--registry-port $(REGISTRY_PORT)) $(if $(SERVING_PORT),--serving-port $(SERVING_PORT))

##@ Work on it

.PHONY: test check lint format conformance bench
test: .venv/.ready-to-test  ## All there is to pass: format, lint, types and the whole suite
	@# Meanwhile what the tests import is compiled in a new environment, which each of their processes would do for itself.
	@{ [ .venv/.compiled -nt .venv/.ready-to-test ] || { $(RUN) pytest --collect-only --quiet && touch .venv/.compiled; }; } \
	  >/dev/null 2>&1 & $(MAKE) --no-print-directory lint && wait
	$(RUN) pytest -m "not bench" -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations=15 $(ARGS)

check: lint  ## The same with the fast tests only
	$(RUN) pytest -m "$(FAST)" -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/.ready-to-test  ## Format, lint and strict types, without changing a file
	$(RUN) ruff format --check $(CODE)
	$(RUN) ruff check $(CODE)
	$(RUN) mypy

format: .venv/.ready-to-test  ## Formats, and mends what the linter can mend
	$(RUN) ruff format $(CODE)
	$(RUN) ruff check --fix $(CODE)

conformance: .venv/.ready-to-test  ## Drives the stock MLflow client against both databases
	$(RUN) pytest tests/conformance -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

bench: .venv/.ready-to-test  ## Measures side by side with the peers and prints ratios
	$(RUN) pytest -m bench -s --timeout=0 $(ARGS)

##@ House-keeping

.PHONY: help environment clean
help:  ## This list
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z]+:.*##/ {printf "  make %-13s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

environment: .venv/.ready-to-test  ## Only builds the environment, with all that the tests need

clean:  ## Removes the environment and everything that tools left behind
	rm -rf .venv .build dist tiltyard-data .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find libs services tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp lies inside it, so it is gone when the environment is; a second call costs nothing.
# What runs is a part of what tests: the one never takes away from the other.

.venv/.ready-to-run: pyproject.toml uv.lock
	@$(call sync,--no-dev --group java --inexact)
	@touch $@

.venv/.ready-to-test: pyproject.toml uv.lock
	@$(call sync,--group dev)
	@touch .venv/.ready-to-run $@

# A uv on PATH is taken when it is recent enough for pyproject.toml, else one is installed beside the environment.
define sync
uv=uv; \
uv python find >/dev/null 2>&1 || uv=.build/uv/bin/uv; \
if [ -z "$(PYTHON)" ]; then \
  echo "No Python from 3.11 on was found. Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 1; \
fi; \
if [ $$uv != uv ] && [ ! -x $$uv ]; then \
  if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
    echo "$(PYTHON) has no ensurepip, so it cannot make an environment to install uv in." >&2; \
    echo "Install the venv package of your system (on Debian: python3-venv), or put uv on the PATH." >&2; exit 1; \
  fi; \
  echo "Installing uv into .build/uv"; \
  $(PYTHON) -m venv .build/uv && .build/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'; \
fi; \
echo "Building .venv"; \
"$$uv" sync --frozen --quiet --python $(PYTHON) --all-extras $(1)
endef
