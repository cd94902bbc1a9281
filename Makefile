# The project's commands, for people and for .ci/run; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The interpreter that .venv is made with; inside .venv everything runs on it.
PYTHON ?= python3
# How many processes share the tests, and what else pytest is told: make test ARGS="-k vault".
WORKERS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/pip install --disable-pip-version-check -c constraints.txt

.PHONY: help serve test lint bench encoder bundle constraints browser clean

help: ## List these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Mingbian needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "No virtual environment could be made; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }

# Two stamps, since serving needs no training stack; everything includes what serving needs.
$(VENV)/.serving: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.everything: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e '.[train,test,telemetry,fast]'
	@touch $(VENV)/.serving $@

serve: $(VENV)/.serving ## Install, migrate, print the first API keys, serve on 127.0.0.1:8000
	$(BIN)/python -m data migrate
	$(BIN)/python -m data keys bootstrap
	exec $(BIN)/python -m serving run

# One thread for each process: two workers already fill two cores, and more threads only wait for each other.
test: export OMP_NUM_THREADS := 1
test: export TOKENIZERS_PARALLELISM := false
test: export HF_HUB_OFFLINE := 1
test: $(VENV)/.everything browser ## Install everything, run all tests and notebooks
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --nbmake tests notebooks $(ARGS)

lint: $(VENV)/.everything ## Style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.everything ## Measure; the numbers are printed, not judged
	$(BIN)/python -m pytest -o addopts="-ra --strict-markers --strict-config" -s tests/benchmarks $(ARGS)

encoder: $(VENV)/.everything ## Pretrain the encoder that the default model starts from
	$(BIN)/python -m training pretrain training/recipes/encoder.toml

bundle: $(VENV)/.everything ## Train the default model and write its bundle
	$(BIN)/python -m training run training/recipes/default.toml --out models/bundles/default

# The browser tests drive a real Chromium on pages in Chinese.
browser:
	@if [ -x /usr/bin/chromium ] && fc-list :lang=zh 2>/dev/null | grep -q .; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    chromium fontconfig fonts-noto-cjk; \
	else \
	  echo "Not installing Chromium and a Chinese font: that takes apt-get and root. Browser tests may be skipped."; \
	fi

# From a clean environment, so that nothing installed by hand is pinned. A local version tag (+cpu) names a
# build of one machine, not a release.
constraints: ## Write constraints.txt anew from pyproject.toml
	rm -rf var/constraints
	$(PYTHON) -m venv var/constraints
	var/constraints/bin/pip install --disable-pip-version-check -e '.[train,test,telemetry,bulk,fast]'
	{ echo '# Exact versions of everything the project is tested with; pip reads it as --constraint. Made by `make constraints`.'; \
	  var/constraints/bin/pip freeze --all --exclude pip --exclude-editable | sed -E 's/\+[a-z0-9.]+$$//'; } > var/constraints.txt
	! grep -nE '://| @ |--hash' var/constraints.txt
	mv var/constraints.txt constraints.txt
	rm -rf var/constraints

clean: ## Remove what tools leave behind; .venv and var (database, keys) stay
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -not -path './var/*' -prune -exec rm -rf {} +
