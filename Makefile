# Everything that a fresh machine needs is installed by `install`, into .venv; nothing outside is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

SEEDS ?= 1 2 3
CHAINS ?= 50
SIDE_BY_SIDE := --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: install demo test test-all deploy-test image chaos check lint types architecture wheel bench docs pictures clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0 --constraint constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,demo,metrics,notebook,onnx,readers,tools,trainers,ui,dev]'
	touch $@

demo: install  ## the main job on real data: 1,797 handwritten digits, from PNG files to an evaluated, exported model
	$(BIN)/python -m repro.tools.demo

test: install  ## every promise, on real servers: ten minutes at most on two cores
	$(BIN)/pytest $(SIDE_BY_SIDE)

test-all: test  ## and what takes minutes a test: storms of faults, long series of kills, torch.compile
	$(BIN)/pytest -m slow

chaos: install  ## long storms of faults, minutes a seed; results go to S3 for odd seeds, to a folder for even ones
	SEEDS="$(SEEDS)" CHAINS="$(CHAINS)" $(BIN)/pytest -m slow tests/chaos

deploy-test: install  ## docker-compose.yml on a real Docker engine of its own, minutes; needs root and .ci/packages.engine
	$(BIN)/pytest -m engine tests/deploy

image:  ## repro-queue:cpu, which docker-compose.yml takes, with the commit baked in
	docker build -f deploy/Dockerfile --build-arg COMMIT=$$(git describe --always --exclude '*' --abbrev=40 --dirty) -t repro-queue:cpu .

check: lint types architecture wheel test  ## all but what takes minutes; .ci/run adds that and deploy-test

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

architecture: install
	$(BIN)/lint-imports

wheel: install  ## the built wheel installs into an empty environment and its commands run
	$(BIN)/python tests/check_wheel.py

bench: install  ## against the raw limit and against peers, which get an environment of their own
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks

pictures: install  ## of the page, on the demo's queue; needs Debian's chromium
	$(BIN)/python -m tests.web.pictures docs/pictures

docs: install  ## the pages of docs/commands, from --help
	$(BIN)/python -m repro.tools.command_pages docs/commands

clean:
	rm -rf $(VENV) .venv-bench build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
