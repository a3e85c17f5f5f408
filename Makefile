# Two commands do everything: `make demo` and `make test`. Each creates the environment it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := $(BIN)/.ready

.PHONY: demo test format clean

demo: $(READY)
	$(BIN)/python tracking/train.py --config mmg_tiny
	$(BIN)/python tracking/test.py mmg synthetic --config mmg_tiny --workers 2
	$(BIN)/python tracking/test.py static synthetic --workers 2
	$(BIN)/python tracking/analyze.py synthetic mmg/mmg_tiny static/default --out analysis/demo
	$(BIN)/python tracking/visualize.py reconstruction --config mmg_tiny --out analysis/demo/reconstruction.png
	$(BIN)/python tracking/visualize.py track synthetic mmg/mmg_tiny static/default --out analysis/demo
	@echo "Pictures of the demo: analysis/demo/"

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/pytest

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): requirements.txt setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

clean:
	rm -rf .venv runs results analysis
