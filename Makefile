# make reproduce:      every figure and table from recorded runs, and one live run on images that ship with the package
# make reproduce-live: all of them at smoke size, every run trained anew
# make test:           the tests; COVERAGE="--cov=mcal_jax" measures which lines they reach
# make test-pythons:   those of logs under every Python that this machine has, with the newest versions of what we need
# make test-lowest:    those of TESTS with the lowest versions that pyproject.toml allows
# make check:          style, types, import directions and doctests, in less than a minute
# make doctest:        the examples in docstrings, README.md and docs/
# make docs:           the documentation site, in docs/_build/html
# make slides:         the lessons of the course as slides, in slides/; needs npm and, the first time, a network
# All set up a virtual environment first, with the exact versions of uv.lock.

# Where Python may keep no bytecode, each process compiles JAX and all else anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := -m "not slow" -n 2 --dist loadfile

# What every Python and every version of what we need must read, plan and train alike, an eighth of the logs;
# TESTS=tests runs them all.
LOGS := tests/test_committed_logs.py
TESTS := $(LOGS)::test_every_committed_log_is_read_by_every_reader[0] $(LOGS)::test_todays_rules_decide_as_the_logs_of_these_rules[1] \
	tests/test_runlog.py tests/test_recorded.py tests/test_identity.py tests/test_records.py tests/test_project.py \
	tests/test_cli.py tests/test_nets.py
PYTHONS := 3.11 3.12 3.13

.PHONY: reproduce reproduce-live test test-pythons test-lowest test-slow check doctest docs slides setup clean

reproduce: $(READY)
	$(BIN)/mcal reproduce --profile laptop --recorded --again --jobs 2
	$(BIN)/mcal report --profile laptop
	$(BIN)/mcal reproduce mcal_run read_me_first power_laws cost_surfaces what_to_label label_your_own write_it_yourself --profile smoke --again

reproduce-live: $(READY)
	$(BIN)/mcal reproduce --profile smoke --rerun

test: $(READY)
	$(BIN)/pytest $(PYTEST) $(COVERAGE)

test-pythons: $(READY)
	set -e; for version in $(PYTHONS); do .ci/test_in .venv-$$version $$version highest $(PYTEST) $(TESTS); done

test-lowest: $(READY)
	.ci/test_in .venv-lowest $(firstword $(PYTHONS)) lowest-direct $(PYTEST) $(TESTS)

test-slow: $(READY)
	$(BIN)/pytest -m slow -n 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --doctest-modules mcal_jax

doctest: $(READY)
	$(BIN)/pytest --doctest-modules mcal_jax tests/test_docs.py

docs: $(READY)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# The template of nbconvert asks a network for mermaid, which no lesson uses.
slides: $(READY)
	npm install --prefix slides --no-save --silent reveal.js@4 mathjax@2 requirejs@2
	$(BIN)/jupyter nbconvert --config docs/slides.json --to slides --execute --output-dir slides notebooks/0*.ipynb
	sed -i.bak '/mermaid from/d; /mermaid.initialize/d' slides/*.html && rm slides/*.bak

setup: $(READY)

$(READY): pyproject.toml uv.lock
	$(PYTHON) -c 'import sys; sys.exit("mcal_jax needs Python 3.11 or later; try: make PYTHON=python3.12") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --frozen --inexact --quiet --extra notebooks --extra dev --extra docs --extra label-studio
	touch $@

clean:
	rm -rf $(VENV) .venv-*
