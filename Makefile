# Every target runs setup first, so `make test` alone works in a fresh clone.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
LIMIT ?= 8
DEVICE ?= auto
SEEDS ?=
PAPER ?=
LAUNCHER ?= basic
STORE ?= results
REPEATS ?= 3

.PHONY: help setup smoke test tests test-fast tables figures report render verify reproduce bench lint status clean

help: ## print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install the versions of requirements.lock in it

# The stamp is written last, so an interrupted installation starts again.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

smoke: setup ## run the whole pipeline on drawn images (or: make smoke DATA_ROOT=... LIMIT=8)
	$(PY) scripts/smoke.py $(if $(DATA_ROOT),--data-root '$(DATA_ROOT)' --limit $(LIMIT))

test: setup ## run the test suite
	$(PY) -m pytest -n 2 --dist loadfile

tests: test  # without this, make takes the folder tests/ for the target and does nothing

# Tests of metrics, folders and requests; none of them starts a process.
FAST = tests/metrics tests/data/test_folder.py tests/store/test_record.py tests/store/test_scores.py \
  tests/config/test_experiment.py tests/config/test_overrides.py tests/cli/test_terminal.py
test-fast: setup ## run the quick part of the test suite: under a minute
	$(PY) -m pytest -n 2 -m 'not slow' $(FAST)

tables: render ## make the paper's tables from the store (STORE=results) in its tables/
figures: render ## make the paper's figures from the store in figures/ (another store: STORE/figures)
report: render ## make one HTML page with tables, figures, verdicts, audit and every run: STORE/report.html

# The targets of these three that were asked for; one process makes them all.
RENDERED = $(filter tables figures report,$(MAKECMDGOALS))
# Another store's output goes into that store.
FIGURES = $(if $(filter results,$(STORE)),figures,$(STORE)/figures)
render: setup
	$(PY) scripts/render.py --store '$(STORE)' $(if $(PAPER),--paper $(PAPER)) $(if $(filter tables,$(RENDERED)),--tables '$(STORE)/tables') \
	  $(if $(filter figures report,$(RENDERED)),--figures '$(FIGURES)') \
	  $(if $(filter report,$(RENDERED)),--report '$(STORE)/report.html')

verify: setup ## check the committed store, and that it gives its tables and figures byte for byte
	$(PY) scripts/verify.py $(if $(PAPER),--paper $(PAPER)) $(if $(filter-out results,$(STORE)),--store '$(STORE)')

reproduce: setup ## run a whole paper: DATA_ROOT=... PAPER=ID DEVICE=auto SEEDS=42,0-9 LAUNCHER=basic STORE=results WEIGHTS=BACKBONE=FILE
	$(PY) scripts/reproduce.py $(if $(DATA_ROOT),--data-root '$(DATA_ROOT)') --device $(DEVICE) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(PAPER),--paper $(PAPER)) --launcher $(LAUNCHER) --store '$(STORE)' \
	  $(foreach weights,$(WEIGHTS),--weights '$(weights)')

bench: setup ## measure time and memory, compare with the bounds: DATA_ROOT=... WEIGHTS=... REPEATS=3 ONLY=core,metrics,scaling,grid,tools
	$(PY) -m benchmarks --repeats $(REPEATS) $(if $(DATA_ROOT),--data-root '$(DATA_ROOT)') \
	  $(if $(WEIGHTS),--weights '$(WEIGHTS)') $(if $(ONLY),--only '$(ONLY)')

lint: setup ## check style (ruff), imports against docs/architecture.md, and types (mypy)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest tests/test_imports.py -k architecture
	$(PY) -m mypy

status: setup ## print which runs of each experiment are done, failed or missing
	$(PY) scripts/status.py --store '$(STORE)'

clean: ## remove caches and scratch output (not the store, not .venv)
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis out figures/local
