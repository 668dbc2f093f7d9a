# `make test`: lint and every test that this machine can run. `make demo`: colorize a sample clip and look at it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RTX := tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116 cuda-bindings==13.5.0
CONSTRAINTS := tests/constraints/$(shell $(PYTHON) -c 'import sys; print("py%d%d" % sys.version_info[:2])').txt

.PHONY: setup test lint gpu-check rtx-check demo clean

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

# The parser and builder of TensorRT-RTX run without a GPU. 100 MB, so in an environment of their own.
rtx-check: setup $(VENV)-rtx/.installed
	EDGECOLOR_RTX_PYTHON=$(CURDIR)/$(VENV)-rtx/bin/python $(BIN)/python -m pytest -m rtx

$(VENV)-rtx/.installed: Makefile
	$(PYTHON) -m venv $(VENV)-rtx
	$(VENV)-rtx/bin/python -m pip install -q --disable-pip-version-check numpy $(RTX)
	@touch $@

demo: setup
	$(BIN)/python benchmarks/demo.py demo

clean:
	rm -rf $(VENV) build dist demo *.egg-info
