# Everything that people do with a checkout. The work is done by hub_config/install.py and `armillary`.
PYTHON ?= $(shell command -v /usr/bin/python3 || command -v python3)
ARGS ?=
BIN := .venv/bin

.PHONY: help up down install test lint format bench

help: ## Say what can be made
	@grep -hE '^[a-z]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+): .*## /  make \1\t/' | expand -t 18

up: install ## Install and start, in the foreground; ARGS="--port 9000" goes to `armillary up`
	@exec $(BIN)/armillary up $(ARGS)

down: ## Stop the deployment (ARMILLARY_HOME names another than the default)
	@$(BIN)/armillary down $(ARGS)

install: ## Make .venv and install everything into it
	@$(PYTHON) hub_config/install.py

test: ## Run every check: style, types, unit tests, real deployments, a real browser
	@$(PYTHON) hub_config/install.py --test
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

lint: ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: ## Put the code into the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: ## Run the benchmarks, which print ratios
	@$(PYTHON) hub_config/install.py --test
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done
