# Everything that recall needs is set up by the command that needs it, in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Serve on http://127.0.0.1:8000 with an embedded Postgres, a worker and a sample history.
.PHONY: run
run: $(VENV)/.installed
	$(BIN)/recall serve

# Run every test, two files at a time.
.PHONY: test
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

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
