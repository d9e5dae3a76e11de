# For people; each line calls what can also be called by hand.  `make` lists them.
BIN = .venv/bin

help:
	@echo 'make setup   make .venv with the package in place, tools for tests, programs to compare with'
	@echo 'make test    set up, lint, run all tests                      (scripts/test; PYTEST="-k name")'
	@echo 'make test-vm  run tests in a virtual machine with cgroup v2 (scripts/test-vm; VM="--user tests/runtime")'
	@echo 'make lint    style, types, the layer rule                     (scripts/lint)'
	@echo 'make demo    set up and run a container from a Debian image   (scripts/demo)'
	@echo 'make bench   compare with podman and runc                     (bench/run.py; BENCH="run_true -n 5")'
	@echo 'make native  compile the helper for running in place'
	@echo 'make wheel   build the wheel and the source distribution into dist/'
	@echo 'make clean   remove what was built'

setup:
	scripts/setup test

test:
	scripts/test $(PYTEST)

test-vm:
	scripts/setup vm
	scripts/test-vm $(VM)

lint: $(BIN)/ruff
	scripts/lint

demo:
	scripts/demo

bench: $(BIN)/pytest
	$(BIN)/python bench/run.py $(BENCH)

native:
	python3 scripts/native.py helper src/estiva/_native/estiva-helper

wheel: $(BIN)/pyproject-build
	BIN=$(BIN) scripts/wheel

clean:
	rm -rf build dist htmlcov .coverage .coverage.* src/*.egg-info src/estiva/_native
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

$(BIN)/ruff $(BIN)/pytest $(BIN)/pyproject-build:
	scripts/setup test

.PHONY: help setup test test-vm lint demo bench native wheel clean
