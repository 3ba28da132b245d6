# Two promises: `make demo` and `make test` work from a bare clone with
# Python 3.11+, make and the package index. Everything else is convenience.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Three processes, each with servers of its own, for two cores: many tests wait for something that was
# killed.
PYTEST_ARGS ?= -n 3 --dist worksteal
SOURCES := backoffice bench migrations reconcile sandbox tests webhooks worker
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: demo test check audit audit-code format chaos rules bench-ingest bench-jobs bench-nightly clean

# The tests start some five hundred processes of ours, the demo fifteen: what they import is compiled
# once for all.
demo test: export PYTHONDONTWRITEBYTECODE :=

demo: $(VENV)/.runtime
	$(BIN)/trueup demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

# Known vulnerabilities of what is locked: asks the package index for advisories. Exit code 1 for an
# advisory, 2 where a package could not be asked about. `audit-code` needs no network, and `check`
# and `test` hold the same.
audit: audit-code
	$(BIN)/python -m tests.support.auditing $(SERVICE)

audit-code: $(VENV)/.dev
	$(BIN)/ruff check --select S,BLE --ignore S101 backoffice bench migrations reconcile sandbox webhooks worker
	$(BIN)/python -m pytest -q tests/test_house.py tests/test_security.py

format: $(VENV)/.dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

# Fresh seeds for as long as asked; SEED=n plays one again, and says what it finds.
chaos: $(VENV)/.dev
	$(BIN)/python -m tests.support.chaos $(if $(SEED),--seed $(SEED),--minutes $(or $(MINUTES),30)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(COMPANIES),--companies $(COMPANIES))

# Breaks every rule once, in a copy, and sees its tests fail; RULES="A1 B5" for some of them.
rules: $(VENV)/.dev
	$(BIN)/python -m tests.support.breaking $(RULES)

bench-ingest bench-jobs bench-nightly: $(VENV)/.dev
	$(BIN)/python -m bench.$(patsubst bench-%,%,$@)

# A stamp per lock file: nothing is installed again until the lock changes.
$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Trueup needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: requirements-embedded.lock pyproject.toml | $(VENV)/.python
	$(PIP) -r requirements-embedded.lock
	@$(MAKE) --no-print-directory install
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/.python
	$(PIP) -r requirements-dev.lock
	@$(MAKE) --no-print-directory install
	@touch $(VENV)/.runtime $@

# The project itself: editable, with the build tool from the lock instead of a fetched one.
.PHONY: install
install:
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .

# Started by root under a closed home, the database's files lie where this link points.
clean:
	@if [ -L .trueup/elsewhere ]; then rm -rf "$$(readlink .trueup/elsewhere)"; fi
	rm -rf $(VENV) .trueup build dist
