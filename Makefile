# Everything runs from a virtual environment that the targets set up by themselves.
# Nothing is fetched again while pyproject.toml and constraints.txt stay the same.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKER := $(VENV)/.worker
AZURITE := $(VENV)/.azurite
NATIVE := $(wildcard native/*.py native/*.toml native/src/* native/imagedelta_native/*.py)
PYTEST := $(BIN)/python -m pytest
BENCH := $(BIN)/python -m benchmarks run --images .benchmarks/images --out .benchmarks/results.jsonl
# Tests without processes of their own share the cores. End-to-end tests mostly wait: two at a time, each file as a whole.
# Those of infra/ need a compiler that no package brings: `make check-infra`.
PARALLEL := -n auto --dist loadfile --ignore=tests/infra
TWO := -n 2 --dist loadfile
DEVICE := tests/e2e/device $(wildcard tests/e2e/test_device_*.py)
CLOUD := tests/e2e/cloud

.DEFAULT_GOAL := help
.PHONY: check-infra check-versions fuzz help setup demo demo-azurite test test-device test-cloud test-pipelines test-sql test-unit test-all bench fleet check format clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(STAMP) ## Set up the virtual environment

$(STAMP): pyproject.toml constraints.txt scripts/setup $(NATIVE)
	PYTHON=$(PYTHON) scripts/setup $(VENV)
	@touch $@

$(WORKER): tests/worker/requirements.txt scripts/setup-worker | $(STAMP)
	scripts/setup-worker $(VENV)/worker
	@touch $@

$(AZURITE): tests/azurite/package-lock.json scripts/setup-azurite | $(STAMP)
	scripts/setup-azurite $(VENV)/azurite
	@touch $@

demo: $(STAMP) ## Run the main job on real images and show what happened
	$(BIN)/python -m demo

demo-azurite: $(STAMP) $(AZURITE) ## Run the demo with Azurite, Azure Storage's stand-in, instead of a folder for blobs
	$(BIN)/python -m demo --azurite

test: $(STAMP) $(WORKER) $(AZURITE) ## Run every test but the long ones (installs the Debian packages they need)
	scripts/setup-debian
	scripts/setup-native $(VENV)
	$(PYTEST) $(PARALLEL) -m "not e2e and not long"
	$(PYTEST) $(TWO) -m "e2e and not long"

test-device: $(STAMP) $(AZURITE) ## Run the tests of the device beside real parts: dockerd, registry, broker (12 minutes)
	scripts/setup-debian
	$(PYTEST) -m "not long" $(DEVICE)

test-cloud: $(STAMP) $(WORKER) $(AZURITE) ## Run the tests of the cloud side over its real services (12 minutes)
	scripts/setup-debian
	$(PYTEST) -m "not long" $(CLOUD)

test-pipelines: $(STAMP) ## Check the YAML of pipelines/ and samples/, and run its scripts beside real parts (at most 5 minutes)
	scripts/setup-debian
	$(PYTEST) $(TWO) tests/pipelines

test-sql: $(STAMP) ## Run the tests of the store on the SQL Server that IMAGEDELTA_TEST_DSN names (clears its database)
	@test -n "$$IMAGEDELTA_TEST_DSN" || { echo "IMAGEDELTA_TEST_DSN is not set: give the ODBC string or URL of an empty database, SERVER=…;DATABASE=…;UID=…;PWD=… or mssql+pyodbc://…" >&2; exit 1; }
	scripts/setup-debian
	$(PYTEST) -m "not sqlite" tests/unit/store

test-host: $(STAMP) ## Try the whole job on a running host: URL=… [KEY=…] [HUB=… | DEVICE=…] (docs/azure.md)
	@$(BIN)/python -m tests.any_host "$(URL)" --key="$(KEY)" --hub="$(HUB)" --device="$(DEVICE)"

test-unit: $(STAMP) $(WORKER) ## Run what needs nothing but Python packages and a C compiler
	$(PYTEST) $(PARALLEL) -m "not e2e and not long"

test-all: $(STAMP) $(WORKER) $(AZURITE) ## Run every test, the long ones too, on examples drawn anew
	scripts/setup-debian
	scripts/setup-native $(VENV)
	HYPOTHESIS_PROFILE=search $(PYTEST) $(PARALLEL) -m "not e2e"
	HYPOTHESIS_PROFILE=search $(PYTEST) -m e2e

bench: $(STAMP) ## Build images, measure this engine and its peers on them, print tables, draw pictures (an hour)
	scripts/setup-debian
	$(BIN)/python -m benchmarks images .benchmarks/images --growth
	rm -f .benchmarks/results.jsonl
	$(BENCH) --scenarios small
	$(BENCH) --scenarios growth --tools imagedelta,xdelta3,hdiffpatch
	$(BIN)/python -m benchmarks report .benchmarks/results.jsonl --pictures .benchmarks/pictures

fuzz: ## Damage what the native coder reads, under sanitizers (clang-14 and libclang-rt-14-dev; SECONDS_EACH=600)
	scripts/fuzz-native $(or $(SECONDS_EACH),600)

fleet: $(STAMP) ## Take a simulated fleet of 10,000 devices in all kinds of trouble from order to last mail
	$(BIN)/python -m benchmarks voyage --devices 10000

check-versions: $(STAMP) ## Resolve the requirements for Python 3.11 to 3.13, x86-64 and arm64 (asks PyPI)
	scripts/check-versions

check-infra: $(STAMP) ## Compile, lint and test infra/ (BICEP=…, or bicep on PATH)
	scripts/check-infra

check: $(STAMP) ## Lint and type-check
	scripts/check

format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the virtual environment and everything the demo made (downloads stay)
	rm -rf $(VENV) .demo .benchmarks .imagedelta build *.egg-info
