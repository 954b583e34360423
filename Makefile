# make serve · make test · make check · make train: each sets up what it needs in .venv first.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT   ?= $(or $(PERCEPT_PORT),8000)
JOBS   ?= 2
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
TORCH_VERSION := 2.13.0
# `make train TORCH=cuda` takes PyPI's own build, which on Linux brings several gigabytes of CUDA packages.
TORCH  ?= cpu

.PHONY: help serve test check train bench gpu table lock audit image clean

help:
	@echo "make serve    answer on http://127.0.0.1:$(PORT) (PORT=… changes it)"
	@echo "make test     run all tests, JOBS=2 at a time; PERCEPT_DATA=… names the folder of the data sets"
	@echo "make check    lint, format and types, read-only"
	@echo "make train    train every model again: MODELS=\"mnist-cnn …\" for some, TORCH=cuda for a GPU"
	@echo "make bench    Percept against other servers: BENCH=\"scaling overload …\" for other runs"
	@echo "make gpu      put onnxruntime-gpu in the place of onnxruntime"
	@echo "make table    write the README's table of models from the cards"
	@echo "make lock     resolve constraints.txt and deploy/requirements*.txt anew"
	@echo "make audit    what PyPI knows to be unsafe in deploy/requirements*.txt; needs network"
	@echo "make image    what the container image holds and how it starts, without a container engine"

serve: $(VENV)/serve.stamp
	@exec $(BIN)/percept serve --port $(PORT)

test: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not alone"
	$(BIN)/python -m pytest -m alone

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

MODELS ?= --all
train: $(VENV)/dev.stamp
	$(BIN)/percept train $(MODELS)

# Needs wrk on PATH; the other servers get environments of their own below .venv-bench.
BENCH ?= serving
bench: $(VENV)/dev.stamp
	@for run in $(BENCH); do $(BIN)/python -m benchmarks.$$run || exit; done

# Both packages are called onnxruntime when imported, so the one has to go before the other comes.
gpu: $(VENV)/serve.stamp
	$(PIP) install -c constraints.txt -e '.[gpu]'
	$(PIP) uninstall --yes onnxruntime onnxruntime-gpu
	$(PIP) install -c constraints.txt --no-deps onnxruntime-gpu
	@touch $(VENV)/gpu.stamp

table: $(VENV)/serve.stamp
	$(BIN)/percept models --write README.md
	$(BIN)/percept models --write README.ko.md

# What the images hold: the same versions, with hashes.
LOCK_IMAGE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --constraints constraints.txt \
    --generate-hashes --no-annotate --no-header

lock: $(VENV)/serve.stamp
	$(PIP) install 'uv>=0.13,<0.14'
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --all-extras --python-version 3.11 \
	    --upgrade --no-annotate --no-header --output-file constraints.txt
	$(LOCK_IMAGE) pyproject.toml --output-file deploy/requirements.txt
	$(LOCK_IMAGE) pyproject.toml --extra gpu --no-emit-package onnxruntime --output-file deploy/requirements-cuda.txt
	grep -o 'hatchling==[0-9.]*' pyproject.toml | head -1 | $(LOCK_IMAGE) - --output-file deploy/requirements-build.txt

# Standard library alone; pip-audit gets an environment of its own.
audit:
	$(PYTHON) -m benchmarks.audit

image: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.image

clean:
	rm -rf $(VENV) .venv-bench .venv-audit

$(VENV)/serve.stamp: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the service into $(VENV)"
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/serve.stamp $(VENV)/torch-$(TORCH).stamp
	@echo "installing the train, ray and dev extras into $(VENV)"
	@$(PIP) install -c constraints.txt -e '.[train,tracing,ray,dev]'
	@test ! -e $(VENV)/gpu.stamp || $(MAKE) gpu
	@touch $@

# A `+cpu` version is never on PyPI, so this cannot bring CUDA by accident: it is taken from wherever pip is told to
# look (--find-links, an extra index), else from PyTorch's own index of CPU builds.
$(VENV)/torch-cpu.stamp: | $(VENV)/serve.stamp
	@echo "installing the CPU build of PyTorch $(TORCH_VERSION) into $(VENV)"
	@$(PIP) install 'torch==$(TORCH_VERSION)+cpu' 2>/dev/null \
	    || $(PIP) install --index-url https://download.pytorch.org/whl/cpu 'torch==$(TORCH_VERSION)'
	@touch $@

$(VENV)/torch-cuda.stamp: | $(VENV)/serve.stamp
	@echo "installing PyTorch $(TORCH_VERSION) with CUDA into $(VENV)"
	@$(PIP) install -c constraints.txt --force-reinstall 'torch==$(TORCH_VERSION)'
	@touch $@
