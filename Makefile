# The commands of a checkout. Each sets up .venv first if needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo world-demo test test-all lint format docs bench bench-gpu clean

demo: $(READY)
	$(BIN)/isojepa demo

world-demo: $(READY)
	$(BIN)/isojepa world demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(READY)
	$(BIN)/python -m pytest -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[docs]" -c constraints.txt
	$(BIN)/mkdocs build --strict

bench: $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[bench]" -c constraints.txt
	for script in benchmarks/*.py; do $(BIN)/python $$script --quick || exit 1; done

bench-gpu: $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[bench]" -c constraints.txt
	@if $(BIN)/python -c "import torch; raise SystemExit(not torch.cuda.is_available())"; then \
	    $(BIN)/python -m pytest tests/kernels && \
	    $(BIN)/python benchmarks/sigreg.py --device cuda \
	        --out benchmarks/results/sigreg_cuda_$$(date +%F).md; \
	else echo "no GPU that torch can use: nothing to measure"; fi

clean:
	rm -rf $(VENV) demo-run world-demo-run build dist .mypy_cache .ruff_cache .pytest_cache

$(READY): pyproject.toml constraints.txt setup.py $(wildcard src/isojepa/kernels/cos_sin*.*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[dev]" -c constraints.txt
	touch $@
