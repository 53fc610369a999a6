# Everything there is to do with this project. `make run` and `make test` set up what they need by themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
KERNELS := $(VENV)/.kernels
ORACLES := $(VENV)/.oracles
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint tests/constraints.txt
PROMPT ?= Write one sentence about the sea.

.PHONY: install run test test-all check format bench soak completions docs ci-setup check-catalogue clean

install: $(READY) $(KERNELS)

# The engine is compiled before pip could tell that this Python is too old.
$(READY): pyproject.toml tests/constraints.txt tools/engine-build.env tools/engine_wheel.py
	@$(PYTHON) -c "import sys; sys.exit('Python 3.10 or newer is needed' if sys.version_info < (3, 10) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	wheel=$$($(BIN)/python tools/engine_wheel.py) && $(PIP) "$$wheel" -e '.[dev]'
	touch $(READY)

# The package's own build compiles the kernels too, but does not look whether they changed since.
$(KERNELS): $(wildcard kernels/*) | $(READY)
	$(BIN)/python kernels/build.py
	touch $(KERNELS)

# PyTorch and transformers, several hundred megabytes: what conversions are compared with. And programs of others.
$(ORACLES): $(READY)
	$(PIP) torch
	$(PIP) -e '.[oracles,clients]'
	touch $(ORACLES)

run: install
	$(BIN)/llmasos run smollm2 "$(PROMPT)"

test: install
	$(BIN)/python -m pytest -q -n auto --ignore tests/real
	@echo "left out: the tests that need a real model, other shells or much time; make test-all runs them"

test-all: install $(ORACLES)
	$(BIN)/python -m pytest -q -m real

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_project.py

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	for program in benchmarks/bench_*.py; do $(BIN)/python $$program || exit 1; done

soak: install
	$(BIN)/python tools/soak_engine.py
	$(BIN)/python tools/soak_server.py

completions: install
	$(BIN)/python tools/make_completions.py

docs: install
	$(BIN)/python tools/make_reference.py

check-catalogue: install
	$(BIN)/python tools/check_catalogue.py

ci-setup:
	.ci/setup

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis llmasos/_kernels.*
