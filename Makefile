# Every target builds .venv from the lock when it is missing or stale, then runs. Needs Python >= 3.11 and make.
.DEFAULT_GOAL := help
.PHONY: help up demo test explore check bench pictures lock clean

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
RUN_STAMP := .venv/.run-stamp
DEV_STAMP := .venv/.dev-stamp

help:  ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Tollway needs Python >= 3.11; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv

$(RUN_STAMP): requirements.lock pyproject.toml | $(BIN)/python
	@test -e $(DEV_STAMP) || echo "Installing into .venv (once, a minute or so)" >&2
	@test -e $(DEV_STAMP) || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing into .venv (once, a minute or so)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(RUN_STAMP)

up: $(RUN_STAMP)  ## Start everything on 127.0.0.1: PostgreSQL, gateway, dashboard
	@$(BIN)/tollway up

demo: $(RUN_STAMP)  ## The same with simulated providers and traffic to look at
	@$(BIN)/tollway up --demo

test: $(DEV_STAMP)  ## Run the tests
	@$(BIN)/python -m pytest -n auto --dist loadfile

explore: $(DEV_STAMP)  ## Run the property tests with other examples each time, EXAMPLES=10 times as many
	@EXAMPLES=$${EXAMPLES:-10} $(BIN)/python -m pytest -m hypothesis -n auto --timeout 3600

check: $(DEV_STAMP)  ## Format, lint, types, import contracts, migrations in step with the tables
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/python -m migrations.check

bench: $(DEV_STAMP)  ## Print speed figures, and write bench.json (FLAGS=--full: the dashboard over 10 M requests)
	@$(BIN)/python -m tests.benchmarks.bench --json bench.json $(FLAGS)

pictures: $(DEV_STAMP)  ## Take the pictures of the README anew, of the demo (needs Chromium)
	@$(BIN)/python -m tests.browser.pictures

lock:  ## Resolve the dependencies anew (needs uv)
	uv pip compile --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet \
	  --group build pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet \
	  --group build --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock

clean:  ## Remove what was built; data in .tollway stays
	rm -rf .venv dist build *.egg-info .pytest_cache .ruff_cache .hypothesis
