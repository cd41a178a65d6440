# Everything there is to do with this repository, in one word each. `make help` lists it.
#
# Environments: `make test` lives in .venv, `make demo` in the smaller .venv-demo. Each is made from
# a locked list with hashes and marked ready under a checksum of what went in: as long as that is
# unchanged, nothing is installed again and no network is needed.

PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
# Passed on to the command: `make demo ARGS=--keep`, `make test ARGS="tests/unit -k buffer"`.
ARGS ?=
# Of `make chaos`: how many runs, from which seed on, how many at once (by default two a core).
RUNS ?= 20
SEED ?= 1
JOBS ?=
IMAGE ?= ldsync
DOCKER ?= docker

BIN := $(VENV)/bin
checksum = $(shell cat $(1) pyproject.toml | cksum | cut -d ' ' -f 1)
DEV_READY := $(VENV)/.ready-$(call checksum,requirements/dev.txt)
DEMO_READY := $(DEMO_VENV)/.ready-$(call checksum,requirements/demo.txt)
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-strip-extras --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help demo test nightly chaos mutations lint format bench letters lock image clean

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F '|' '{ printf "%-12s %s\n", $$1, $$2 }'

demo: $(DEMO_READY) ## run the whole road on this machine: broker, simulator, ldsync, and a verdict
	@$(DEMO_VENV)/bin/ldsync demo $(ARGS)

test: lint ## the linters and all tests (the broker suite needs Java 17 and Maven)
	@$(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=loadgroup $(ARGS)

nightly: $(DEV_READY) ## properties and state machines with 20,000 examples each: an hour or two
	@$(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=load --timeout=0 \
		--hypothesis-profile=nightly tests/property $(ARGS)

lint: $(DEV_READY) ## style, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(DEV_READY) ## let ruff put the code in shape
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(DEV_READY) ## measure speed on a real broker (Java 17, Maven); ARGS=faults: faults; ARGS=decode: without broker
	@$(BIN)/python -m tests.bench $(ARGS)

letters: $(DEV_READY) ## a million bad inputs on a real broker, each accounted for
	@$(BIN)/python -m tests.bench.letters $(ARGS)

chaos: $(DEV_READY) ## real processes under fire, judged from outside; RUNS, SEED, JOBS, ARGS=--minutes
	@$(BIN)/python -m tests.chaos --runs $(RUNS) --seed $(SEED) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

mutations: $(DEV_READY) ## deliberate bugs, one at a time: does the chaos judge find them? ARGS=--only NAME
	@$(BIN)/python -m tests.chaos.mutations $(ARGS)

lock: $(DEV_READY) ## pin all requirements again (ARGS=--upgrade for the newest)
	@$(BIN)/$(LOCK) $(ARGS) --all-extras --group dev --output-file requirements/dev.txt pyproject.toml
	@$(BIN)/$(LOCK) --constraints requirements/dev.txt --extra demo --group build \
		--output-file requirements/demo.txt pyproject.toml
	@$(BIN)/$(LOCK) --constraints requirements/dev.txt --extra redis \
		--output-file requirements/run.txt pyproject.toml
	@$(BIN)/$(LOCK) --constraints requirements/dev.txt --output-file requirements/build.txt --group build

image: ## build the container image
	@$(DOCKER) build --build-arg REVISION="$$(git rev-parse HEAD)" --tag $(IMAGE) $(ARGS) .

clean: ## remove environments, caches and builds
	@rm -rf $(VENV) $(DEMO_VENV) .kafka build dist .coverage .coverage.* htmlcov \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEV_READY): REQUIREMENTS := requirements/dev.txt
$(DEMO_READY): REQUIREMENTS := requirements/demo.txt
$(DEV_READY) $(DEMO_READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
		echo "ldsync needs Python 3.11 or newer, and '$(PYTHON)' is not: name one with" \
			"make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
		echo "ldsync needs Python's venv module: install it (on Debian: python3-venv)" >&2; exit 1; }
	@echo "Setting up $(@D) (once)"
	@rm -f $(@D)/.ready-*
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --requirement $(REQUIREMENTS)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	@touch $@
