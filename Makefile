# `make all` rebuilds everything from nothing; `make test` runs the whole suite. Both make what they need in .venv.
# The first Python that is new enough; `make PYTHON=/path/to/python all` chooses another.
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: all test test-long torture bench bench-large lint format clean

all: $(VENV)/.workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake all

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not long" --numprocesses auto --maxprocesses 4 --dist worksteal

test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -m long

# The long run of every campaign, and the table in docs/reliability.md: `make torture`, `make torture ARGS="--only kill"`.
ARGS ?= --json torture.json --page
torture: $(VENV)/.dev
	$(BIN)/python -m tests.torture $(ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

bench-large: $(VENV)/.bench
	$(BIN)/python -m benchmarks --large

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .snakemake .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "prep needs Python 3.11 or newer, and none was found: install one, or run make PYTHON=/path/to/python3.11 all"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.workflow: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable ".[workflow]"
	@touch $@

$(VENV)/.bench: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable ".[bench]"
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/.workflow $(VENV)/.bench
