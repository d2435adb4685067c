# Everything a person or a machine does with this project. `make` alone lists it.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)

.DEFAULT_GOAL := help
.PHONY: help install check test demo up down status logs bench format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## install everything into .venv; does nothing unless uv.lock changed

$(INSTALLED): uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@command -v $(UV) >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		"$$(awk -F '"' '/"uv==/ { print $$2 }' pyproject.toml)"
	@echo "installing into .venv; the first time takes a minute"
	@VIRTUAL_ENV= $(UV) sync --quiet --frozen --all-groups --no-group bench --python $(BIN)/python
	@touch $@

check: install ## format, lint, types, import rules and the quick tests; no servers
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	@out=$$($(BIN)/lint-imports 2>&1) || { echo "$$out"; exit 1; }; echo "import rules: $$(echo "$$out" | tail -n 1)"
	$(BIN)/pytest -q -n auto -m "not servers and not slow" tests

test: install ## all tests, against a real Kafka, MongoDB and S3 server that it starts and stops
	$(BIN)/pytest -q -n auto -m "not servers" tests
	$(BIN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m servers tests

demo: install ## the whole system with a sandbox MLS, shown at work; PHOTOS=~/Pictures takes your own
	@$(BIN)/python -m local.demo $(if $(PHOTOS),--photos "$(PHOTOS)")

up: install ## the servers and all services in the background, ready when it returns
	@$(BIN)/python -m local.stack up

down: install ## stop everything; the data stays
	@$(BIN)/python -m local.stack down

status: install ## what runs, and where
	@$(BIN)/python -m local.stack status

logs: install ## the logs, until interrupted; NAME=downloader for one of them
	@$(BIN)/python -m local.stack logs --follow $(NAME)

bench: install ## the benchmarks, each beside its baseline
	@VIRTUAL_ENV= $(UV) sync --quiet --frozen --inexact --group bench --python $(BIN)/python
	@$(BIN)/python -m bench

format: install ## format the code and repair what can be repaired
	$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .
