# Plain `make` lists the targets. Every target that needs .venv makes it first (tools/bootstrap.sh, a no-op when it is there).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
# Tests wait for real servers and processes, so that three keep two cores busy; raise it on a large machine.
WORKERS ?= 3
# Which Airflows test-matrix takes; all of them, unless it is told.
MATRIX ?=
# Handed to pytest, as in: make test PYTEST_ARGS='-m "not slow" tests/unit'
PYTEST_ARGS ?=
# Handed to tools/soak, as in: make soak SOAK_ARGS="kills --seed 7"
SOAK_ARGS ?=
LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--extra devserver --extra arrow --extra pandas --extra polars --extra openlineage --extra messaging --group dev

.PHONY: help bootstrap demo demo-clean test soak lint types layers proto sync fresh lock lock-check \
	test-matrix matrix-lock matrix-resolve docs screenshots dist changelog clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bootstrap:  ## Make .venv, or bring it up to date
	@tools/bootstrap.sh

demo: bootstrap  ## Start a BTrDB server, fill it with sample streams and run Airflow tasks on them
	@$(BIN)/python tools/demo.py

demo-clean:  ## Forget the demo's data
	rm -rf .demo

test: bootstrap  ## Run all tests, with coverage
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov $(PYTEST_ARGS)

soak: bootstrap  ## Kill, malform and overfill the development server for a quarter of an hour; adds to docs/soak.md
	$(BIN)/python tools/soak --record $(SOAK_ARGS)

lint: bootstrap  ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: bootstrap  ## Check types
	$(BIN)/mypy

layers: bootstrap  ## Check which module may import which
	$(BIN)/lint-imports

proto: bootstrap  ## Generate airflow_provider_btrdb/wire from protos/
	protos/generate.sh

sync: bootstrap  ## Generate the sync client from the async one
	$(BIN)/python tools/generate_sync.py

fresh: bootstrap  ## Check that the generated files are what the generators make
	protos/generate.sh --check
	$(BIN)/python tools/generate_sync.py --check

lock: bootstrap  ## Compile requirements-dev.txt from pyproject.toml (LOCK_ARGS=--upgrade for newer versions)
	$(LOCK) $(LOCK_ARGS) --output-file requirements-dev.txt

lock-check: bootstrap  ## Check that requirements-dev.txt still fits pyproject.toml
	@out=$$(mktemp); trap 'rm -f "$$out"' EXIT; cp requirements-dev.txt "$$out"; $(LOCK) --output-file "$$out"; \
	diff -u requirements-dev.txt "$$out" || { echo "requirements-dev.txt is stale: run 'make lock'" >&2; exit 1; }; \
	echo "requirements-dev.txt is fresh"

test-matrix: bootstrap  ## Test the wheel with each Airflow from 2.11 to 3.3 (MATRIX=3.0 for one of them)
	$(BIN)/python tools/matrix.py run --workers $(WORKERS) $(MATRIX)

matrix-lock: bootstrap  ## Compile constraints/ from pyproject.toml (LOCK_ARGS=--upgrade for newer versions)
	$(BIN)/python tools/matrix.py lock $(LOCK_ARGS)

matrix-resolve: bootstrap  ## Check that the Pythons that are not run resolve
	$(BIN)/python tools/matrix.py resolve

docs: bootstrap  ## Make the site of docs/ in build/site; any warning fails
	rm -rf build/site build/doctrees
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -d build/doctrees docs build/site
	@echo "the site is build/site/index.html"

screenshots: bootstrap  ## Take the pictures in docs/ from a running Airflow and an audit (needs chromium)
	$(BIN)/python tools/screenshot_connection_form.py
	$(BIN)/python tools/screenshot_audit.py

dist: bootstrap  ## Build wheel and sdist into dist/ and check them
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

changelog: bootstrap  ## Show what the next release's entry in CHANGELOG.md would say
	@$(BIN)/towncrier build --draft --version "$$($(BIN)/python -c 'import airflow_provider_btrdb as p; print(p.__version__)')"

clean:  ## Remove what builds, tests and checks leave behind (keeps .venv and .demo)
	rm -rf build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .matrix
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
