# Two commands: `make demo` shows one whole turn of the service, `make test` proves it. Both set up what they need.
.DEFAULT_GOAL := help
.PHONY: help venv demo up down test lint unit clean lock

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export GARAM_VENV := $(abspath $(VENV))

help:
	@echo "make demo    one whole turn of the service, watched in the Airflow UI; leaves it running"
	@echo "make test    lint, types, import rules and all tests, on real services"
	@echo "make up      start the local stack          make down   stop it"
	@echo "make unit    tests that start no process    make venv   only the environment"
	@echo "make lint    lint, types, import rules"
	@echo "make lock    resolve requirements anew      make clean  stop, and remove state and caches of tools"

venv:
	@for p in $(PYTHON) python3.13 python3.12 python3.11; do \
	  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 7))' 2>/dev/null; then \
	    exec "$$p" tools/bootstrap.py; fi; done; \
	echo "Garam needs Python 3.11, 3.12 or 3.13 on the PATH; there is none." >&2; exit 1

demo: venv
	$(BIN)/garam demo

up: venv
	$(BIN)/garam up

down:
	@if [ -x $(BIN)/garam ]; then $(BIN)/garam down; fi

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Two at a time: one goes through a whole turn of the service (most of it is waiting) while the other does the rest.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

unit: venv
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/unit

clean: down
	rm -rf .state .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist

# uv's own index settings apply; no address gets into the locks.
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --quiet --custom-compile-command "make lock"
lock: venv
	$(LOCK) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(LOCK) --no-deps requirements/data.in -o requirements/data.txt
	$(LOCK) requirements/dev.in -o requirements/dev.txt
	$(LOCK) requirements/garam.in -c requirements/dev.txt -o requirements/garam.txt
	$(LOCK) requirements/celery.in -c requirements/garam.txt -o requirements/celery.txt
