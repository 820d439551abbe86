# Everything that recall needs is set up by the command that needs it, in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Two files at a time, the longest first (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Serve on http://127.0.0.1:8000 with an embedded Postgres, a worker and a sample history.
.PHONY: run
run: $(VENV)/.installed
	$(BIN)/recall serve

# Run every test.
.PHONY: test
test: $(VENV)/.installed-dev
	$(PYTEST)

# In seconds: the tests that need neither a server nor a model, with fewer made-up examples.
.PHONY: test-fast
test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m light --hypothesis-profile fast

# Every test, counting which lines and branches of database, worker, caller and forget they reach;
# fails below the floor in pyproject.toml.
.PHONY: coverage
coverage: $(VENV)/.installed-dev
	$(PYTEST) --cov --cov-report=term-missing

# Every test again, as if the database were Neon's: traffic through TLS and PgBouncer in transaction
# mode, migrations and listening through TLS. Needs the commands pgbouncer and openssl.
.PHONY: test-neon
test-neon: $(VENV)/.installed-dev
	@command -v pgbouncer >/dev/null || { echo "PgBouncer is not installed; Debian: apt install pgbouncer" >&2; exit 1; }
	@command -v openssl >/dev/null || { echo "openssl is not installed; Debian: apt install openssl" >&2; exit 1; }
	TEST_NEON=1 $(PYTEST)

# Every test against a server elsewhere: make neon DATABASE_URL=postgresql://…; its role must be
# allowed to create databases, which are dropped again. A pooled URL of Neon is used for traffic,
# the direct one derived from it for the rest. What is about the embedded server runs on one here.
.PHONY: neon
neon: $(VENV)/.installed-dev
	@test -n "$(DATABASE_URL)" || { echo "Give a database: make neon DATABASE_URL=postgresql://…" >&2; exit 1; }
	@TEST_DATABASE_URL='$(DATABASE_URL)' $(PYTEST)

# Lint, formatting and types.
.PHONY: check
check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	@echo "Making a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing recall with the versions of constraints.txt"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing recall and its development tools with the versions of constraints.txt"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed
