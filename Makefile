# make          set up, run the chosen suite, say where the results are
# make test     set up, run all tests            make lint    formatting, types, style
# make validate the statistics tested by themselves   make bench   speeds of this machine
# make ui       MLflow on loopback, following a running suite
# make unlock   after a killed snakemake         make lock    requirements.in -> requirements.lock
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= all
TORCH := torch==2.13.0
SETUP := .venv/.ready
# The rules of Snakemake and the stages of DVC call the tools of this environment.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: all setup test validate bench lint ui unlock lock readme clean
all: setup
	snakemake --cores $(CORES)
	@stembench where

setup: $(SETUP)

# The lock's hashes are checked; torch comes after it, in the build that fits the platform.
$(SETUP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: install python3.11 and python3.11-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "venv is missing: install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --require-hashes -r requirements.lock
	python -m pip install --quiet $(TORCH)
	python -m pip install --quiet --no-deps --no-build-isolation -e .
	@dvc config --local core.site_cache_dir "$(CURDIR)/.dvc/tmp/site"
	@test -e .git || dvc config --local core.no_scm true
	touch $@

test: setup
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile $(ARGS)

# The statistics tested by themselves, into results/validation: five minutes of two cores. For its
# nulls on real runs: snakemake --cores all --config suite=nulls
validate: setup
	OMP_NUM_THREADS=1 stembench validate $(ARGS)

# Speeds of this machine into results/benchmarks: about an hour on two cores, ten minutes with
# BENCH=quick, whose smaller sizes go to results/benchmarks/quick. The last needs the splits of the
# chosen suite, which `make` leaves.
BENCH ?= full
ifeq ($(BENCH),quick)
QUICK := --out results/benchmarks/quick
PRODUCTS_SIZES := --seconds .1 $(QUICK)
TRAIN_SIZES := --models shared_bottom stem --rounds 2 $(QUICK)
EVALUATE_SIZES := --rows 200000 --rounds 2 $(QUICK)
OBJECTIVES_SIZES := --rounds 5 $(QUICK)
STATS_SIZES := --rows 1000000 --compare-rows 100000 --models 4 --seeds 4 $(QUICK)
PREPARE_SIZES := --rows 1000000 2000000 --results results/benchmarks/quick
MEMORY_SIZES := --models stem --tables 20000 1000000 --rows 50000 200000 $(QUICK)
GROWTH_SIZES := --rows 200000 800000 --tables 50000 1000000 --models shared_bottom stem $(QUICK)
ORCHESTRATION_SIZES := --cells 4 --suites 100 --rows 50000 --each 2 $(QUICK)
else
PREPARE_SIZES := --rows 5000000 20000000 40000000
endif
bench: setup
	python -m benchmarks.products $(PRODUCTS_SIZES)
	python -m benchmarks.train $(TRAIN_SIZES)
	python -m benchmarks.evaluate $(EVALUATE_SIZES)
	python -m benchmarks.objectives $(OBJECTIVES_SIZES)
	python -m benchmarks.memory $(MEMORY_SIZES)
	python -m benchmarks.growth $(GROWTH_SIZES)
	python -m benchmarks.orchestration $(ORCHESTRATION_SIZES)
	python benchmarks/stats.py $(STATS_SIZES)
	python benchmarks/prepare.py $(PREPARE_SIZES)
	@if test -d data/splits; then python -m benchmarks.plan $(QUICK); \
	else echo "no splits: run make, then python -m benchmarks.plan"; fi

lint: setup
	ruff check
	ruff format --check
	mypy
	snakefmt --check Snakefile workflow

ui: setup
	@bash workflow/scripts/ui.sh

unlock: setup
	@bash workflow/scripts/unlock.sh

# The demo's tables in README.md, as produced; the table and picture of docs/architecture.md.
readme: setup
	python workflow/scripts/readme_tables.py
	python workflow/scripts/architecture.py

lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url requirements.in -o requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .snakemake mlflow.db mlartifacts data/raw data/splits data/ready \
	    results/*/runs results/*/data results/*/logs results/*/tracking.json
