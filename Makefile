# make reproduce:      every figure and table from recorded runs, and one live run on images that ship with the package
# make reproduce-live: all of them at smoke size, every run trained anew
# make test:           the tests
# All set up a virtual environment first, with the exact versions of uv.lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: reproduce reproduce-live test test-slow check setup clean

reproduce: $(READY)
	$(BIN)/mcal reproduce --profile laptop --recorded --again --jobs 2
	$(BIN)/mcal report --profile laptop
	$(BIN)/mcal reproduce mcal_run read_me_first power_laws cost_surfaces what_to_label --profile smoke --again

reproduce-live: $(READY)
	$(BIN)/mcal reproduce --profile smoke --rerun

test: $(READY)
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(READY)
	$(BIN)/pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(READY)

$(READY): pyproject.toml uv.lock
	$(PYTHON) -c 'import sys; sys.exit("mcal_jax needs Python 3.11 or later; try: make PYTHON=python3.12") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --frozen --inexact --quiet --extra notebooks --extra dev
	touch $@

clean:
	rm -rf $(VENV)
