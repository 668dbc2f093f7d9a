# `make test`: lint and every test that this machine can run. `make demo`: colorize a sample clip and look at it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := tests/constraints/$(shell $(PYTHON) -c 'import sys; print("py%d%d" % sys.version_info[:2])').txt

.PHONY: setup test lint gpu-check demo clean

setup: $(VENV)/.installed

# torch goes first and with an exact version: a range would admit builds with gigabytes of CUDA libraries.
$(VENV)/.installed: setup.py pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e ".[dev]"
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(BIN)/python -m pytest

# Needs no setup: it uses the PyTorch with CUDA that PYTHON has.
gpu-check:
	$(PYTHON) benchmarks/gpu_check.py

demo: setup
	$(BIN)/python benchmarks/demo.py demo

clean:
	rm -rf $(VENV) build dist demo *.egg-info
