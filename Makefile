# The verbs of this repository; each does its own set-up in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help train test check format smoke results bench sizes clean

help:  ## list these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(VENV)/.run  ## the main job: PPO on CartPole-v1, ending with its evaluation (ARGS=... adds words)
	$(BIN)/rlrun train algo=ppo env=CartPole-v1 $(ARGS)

test: check  ## lint, type-check and run every test
	$(BIN)/python -m pytest -n auto $(ARGS)

check: $(VENV)/.dev  ## ruff, mypy and the test of the import layers
	$(BIN)/ruff check rlrun tests scripts
	$(BIN)/ruff format --check rlrun tests scripts
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/architecture

format: $(VENV)/.dev  ## rewrite the code in the house's format
	$(BIN)/ruff check --fix rlrun tests scripts
	$(BIN)/ruff format rlrun tests scripts

smoke: $(VENV)/.dev  ## a few updates of every algorithm through the command line
	$(BIN)/python scripts/smoke.py

results: $(VENV)/.dev  ## train the rows of docs/results.md again (hours; ARGS="ppo/CartPole-v1" for one)
	$(BIN)/python scripts/results.py $(ARGS)

bench: $(VENV)/.dev .peers/.done  ## steps a second beside Stable-Baselines3, in turn
	$(BIN)/python scripts/bench.py --peer .peers/bin/python $(ARGS)

sizes: $(VENV)/.dev  ## cost against size, measured and drawn (minutes; ARGS="width" for one part)
	$(BIN)/python scripts/sizes.py $(ARGS)

clean:  ## remove environments and caches; runs/ stays
	rm -rf $(VENV) .peers .mypy_cache .ruff_cache .pytest_cache build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch $(VENV)/.run $@

.peers/.done:
	$(PYTHON) -m venv .peers
	.peers/bin/python -m pip --quiet install -c constraints.txt torch
	.peers/bin/python -m pip --quiet install 'stable-baselines3==2.9.2' 'gymnasium[classic-control]'
	touch $@
