# The commands of this project, for people and for CI. `make` alone lists them.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)

.DEFAULT_GOAL := help
.PHONY: help install check test test-vendors demo up gallery down status logs bench format clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## install everything into .venv, if uv.lock or pyproject.toml changed

$(INSTALLED): uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is required; name its command: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@command -v $(UV) >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		"$$(awk -F '"' '/"uv==/ { print $$2 }' pyproject.toml)"
	@echo "installing into .venv; the first time takes a minute"
	@VIRTUAL_ENV= $(UV) sync --quiet --frozen --all-groups --no-group bench --python $(BIN)/python
	@touch $@

check: install ## check format, lint, types and import rules, and run the quick tests
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	@out=$$($(BIN)/lint-imports 2>&1) || { echo "$$out"; exit 1; }; echo "import rules: $$(echo "$$out" | tail -n 1)"
	$(BIN)/pytest -q -n auto -m "not servers and not slow" tests

test: install ## run all tests; starts a real Kafka, MongoDB and S3 server for them
	$(BIN)/pytest -q -n auto --dist loadfile -m "not servers and not vendors" tests
	$(BIN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m servers tests

test-vendors: install ## play a day with each vendor's emulator, from a fresh checkout to a gallery
	$(BIN)/pytest -q -n 1 -m "vendors" tests/vendors

demo: install ## show the whole system with a sandbox MLS; PHOTOS=~/Pictures shows your pictures
	@$(BIN)/python -m local.demo $(if $(PHOTOS),--photos "$(PHOTOS)")

up: install ## start the servers and services in the background, and wait until they are ready
	@$(BIN)/python -m local.stack up

gallery: install ## show the listings of a feed in a gallery; FEED=NAME if there are several feeds
	@$(BIN)/python -m local.gallery $(if $(FEED),--feed "$(FEED)")

down: install ## stop the servers and services; all data stays
	@$(BIN)/python -m local.stack down

status: install ## list the servers and services, and their addresses
	@$(BIN)/python -m local.stack status

logs: install ## follow all logs; NAME=downloader follows one
	@$(BIN)/python -m local.stack logs --follow $(NAME)

bench: install ## run the benchmarks, each with its baseline
	@VIRTUAL_ENV= $(UV) sync --quiet --frozen --inexact --group bench --python $(BIN)/python
	@$(BIN)/python -m bench

format: install ## format the code, and fix the lint errors that ruff can fix
	$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .
