# Two commands do everything: `make demo` and `make test`. Each creates the environment it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := $(BIN)/.ready

.PHONY: demo test format clean

demo: $(READY)
	$(BIN)/python tracking/train.py --config mmg_tiny
	$(BIN)/python tracking/train.py --config mmg_tiny_score
	$(BIN)/python tracking/test.py mmg synthetic --config mmg_tiny_score --workers 2 --overwrite
	$(BIN)/python tracking/test.py static synthetic --workers 2 --overwrite
	$(BIN)/python tracking/analyze.py synthetic mmg/mmg_tiny_score static/default --out analysis/demo --json analysis/demo/scores.json
	$(BIN)/python tracking/visualize.py track synthetic test-0001 mmg/mmg_tiny_score static/default --out analysis/demo/track_1.png
	$(BIN)/python tracking/visualize.py track synthetic test-0002 mmg/mmg_tiny_score static/default --out analysis/demo/track_2.png
	$(BIN)/python tracking/visualize.py reconstruction --config mmg_tiny --out analysis/demo/reconstruction.png
	@echo "The demo's pictures are in analysis/demo/: curves, boxes on frames, reconstructions."
	@echo "Training curves and pictures: $(BIN)/tensorboard --logdir runs"

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
