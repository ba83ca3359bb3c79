# The commands of a checkout. Each sets up .venv first if needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Folders of scripts, each checked by itself, since files of one name lie in several: half a minute each.
SCRIPTS := benchmarks experiments $(filter-out %/claims,$(patsubst %/,%,$(sort $(dir $(wildcard experiments/*/*.py)))))
# Each command installs what it needs and no more: one mark per set of extras.
DEMO := $(VENV)/.demo
WORLD := $(VENV)/.world
READY := $(VENV)/.ready
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),$(UV) pip install -q --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check -q)
PARTS := pyproject.toml constraints.txt setup.py $(wildcard src/isojepa/kernels/cos_sin*.*)

.PHONY: demo world-demo world-learn-demo test test-all lint lint-scripts format docs bench bench-gpu claims chaos dist clean

demo: $(DEMO)
	$(BIN)/isojepa demo

world-demo: $(WORLD)
	$(BIN)/isojepa world demo

world-learn-demo: $(WORLD)
	$(BIN)/isojepa world learn --env isojepa/CartPole-v1 --env-steps 12000 --evaluate-every 3000 \
	    --out world-learn-demo-run --overwrite

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(READY)
	$(BIN)/python -m pytest -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-scripts: $(READY)
	for place in $(SCRIPTS); do \
	    echo $$place && (cd $$place && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml *.py) || exit 1; \
	done

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(INSTALL) -e ".[docs]" -c constraints.txt
	$(BIN)/mkdocs build --strict

bench: $(READY)
	$(INSTALL) -e ".[bench]" -c constraints.txt
	for script in benchmarks/*.py; do $(BIN)/python $$script --quick || exit 1; done

bench-gpu: $(READY)
	$(INSTALL) -e ".[bench]" -c constraints.txt
	@if $(BIN)/python -c "import torch; raise SystemExit(not torch.cuda.is_available())"; then \
	    $(BIN)/python -m pytest tests/kernels && \
	    $(BIN)/python benchmarks/sigreg.py --device cuda \
	        --out benchmarks/results/sigreg_cuda_$$(date +%F).md; \
	else echo "no GPU that torch can use: nothing to measure"; fi

claims: $(READY)
	$(BIN)/python experiments/claims/run.py

chaos: $(READY)
	$(BIN)/python experiments/chaos/run.py

dist: $(READY)
	$(INSTALL) "build>=1.2" "twine>=6" "setuptools>=77"
	rm -rf dist build
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/wheel.py dist

clean:
	rm -rf $(VENV) demo-run world-demo-run world-learn-demo-run build dist .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	$(if $(UV),$(UV) venv -q --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))

$(DEMO): $(PARTS) | $(BIN)/python
	@echo "installing isojepa and PyTorch into $(VENV): a minute or two, and 3 to 6 GB, the first time"
	$(INSTALL) -e . -c constraints.txt
	touch $@

$(WORLD): $(PARTS) | $(BIN)/python
	@echo "installing isojepa, PyTorch and the simulators into $(VENV): a few minutes the first time"
	$(INSTALL) -e ".[world]" -c constraints.txt
	touch $@ $(DEMO)

$(READY): $(PARTS) | $(BIN)/python
	@echo "installing isojepa with all that its tests need into $(VENV): a few minutes the first time"
	$(INSTALL) -e ".[dev]" -c constraints.txt
	touch $@ $(DEMO) $(WORLD)
