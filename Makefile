# Every target sets up first, so `make test` alone works in a fresh clone.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
LIMIT ?= 8
DEVICE ?= auto
SEEDS ?= 42,0-9
LAUNCHER ?= basic
STORE ?= results
REPEATS ?= 3

.PHONY: help setup smoke test tests test-fast tables figures report render verify reproduce bench lint status clean

help: ## print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install everything in it, at the versions of requirements.lock

# The stamp is written last: an installation that was cut off is done again.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

smoke: setup ## run the whole pipeline on drawn images (or: make smoke DATA_ROOT=... LIMIT=8)
	$(PY) scripts/smoke.py $(if $(DATA_ROOT),--data-root '$(DATA_ROOT)' --limit $(LIMIT))

test: setup ## run the test suite
	$(PY) -m pytest -n 2 --dist loadfile

tests: test  # else make would take the folder for the target, and do nothing

# What computes, reads folders and parses requests; no test in these starts a process.
FAST = tests/metrics tests/data/test_folder.py tests/store/test_record.py tests/store/test_scores.py \
  tests/test_experiment.py tests/test_overrides.py tests/test_terminal.py
test-fast: setup ## the quick part of it, for the inner loop: under a minute
	$(PY) -m pytest -n 2 -m 'not slow' $(FAST)

tables: render ## the paper's six tables from the store (STORE=results) into its tables/
figures: render ## the paper's nine figures from the store into figures/ (of another store: STORE/figures)
report: render ## one HTML page with tables, figures, verdicts, audit and every run: STORE/report.html

# One process for whichever of the three are asked for together.
RENDERED = $(filter tables figures report,$(MAKECMDGOALS))
# Another store's output goes into that store.
FIGURES = $(if $(filter results,$(STORE)),figures,$(STORE)/figures)
render: setup
	$(PY) scripts/render.py --store '$(STORE)' $(if $(filter tables,$(RENDERED)),--tables '$(STORE)/tables') \
	  $(if $(filter figures report,$(RENDERED)),--figures '$(FIGURES)') \
	  $(if $(filter report,$(RENDERED)),--report '$(STORE)/report.html')

verify: setup ## check the committed store, and that tables and figures follow from it byte for byte
	$(PY) scripts/verify.py $(if $(filter-out results,$(STORE)),--store '$(STORE)')

reproduce: setup ## the whole paper: DATA_ROOT=... DEVICE=auto SEEDS=42,0-9 LAUNCHER=basic STORE=results WEIGHTS=BACKBONE=FILE
	$(PY) scripts/reproduce.py $(if $(DATA_ROOT),--data-root '$(DATA_ROOT)') --device $(DEVICE) --seeds $(SEEDS) --launcher $(LAUNCHER) --store '$(STORE)' \
	  $(foreach weights,$(WEIGHTS),--weights '$(weights)')

bench: setup ## time and memory against their bounds: DATA_ROOT=... WEIGHTS=... REPEATS=3 ONLY=core,metrics,scaling,grid,tools
	$(PY) -m benchmarks --repeats $(REPEATS) $(if $(DATA_ROOT),--data-root '$(DATA_ROOT)') \
	  $(if $(WEIGHTS),--weights '$(WEIGHTS)') $(if $(ONLY),--only '$(ONLY)')

lint: setup ## check style (ruff), imports against docs/architecture.md, and types (mypy)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest tests/test_imports.py -k architecture
	$(PY) -m mypy

status: setup ## print the store against the experiments: done, failed, missing
	$(PY) scripts/status.py --store '$(STORE)'

clean: ## remove what can be made again (not the store, not .venv)
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis out figures/local
