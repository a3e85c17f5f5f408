# Two commands do everything: `make demo` and `make test`. Each creates the environment it needs in .venv.
#   make demo                                           seven minutes on two cores, after some of installation
#   make demo VIDEO=clip.mp4 BOX=120,80,64,48           your video first; BOX is left, top, width, height on frame 1
#   make demo TORCH=cpu                                 PyTorch without CUDA, which saves some 5 GB
#   make test CONSTRAINTS=constraints.txt               the versions of packages that were tested
#   make classical                                      OpenCV with the contributed modules, in place of the plain one
PYTHON ?= python3
TORCH ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
READY := $(BIN)/.ready
CONSTRAINTS ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

OUT := analysis/demo
SHIPPED := $(wildcard pretrained_models/mmg_small.safetensors)
SEQUENCES := --sequences 0-15
COMPARED := $(if $(SHIPPED),mmg/mmg_small) mmg/mmg_tiny_score mil/default static/default
# A tenth of the config's samples: enough to see the curves bend, for its patches are embedded by the first stages of a CNN that
# knows pictures, the stem of what comes with the project.
STEM := $(if $(SHIPPED),--set model.encoder.stem=tf_efficientnet_lite0 --set "model.encoder.stem_strides=[8]" \
	--set model.encoder.patch_size=null --set model.encoder.pretrained=$(SHIPPED))
SHORT := --set data.samples_per_epoch=768 --set data.validation_samples=128 --set train.validate_every=1 $(STEM)
FIRST := --run runs/demo --set train.epochs=5 --set data.curriculum_epochs=2 --set train.warmup_epochs=0.5
SECOND := --run runs/demo_score --set train.epochs=1 --set train.start_from=runs/demo/latest.pth --set train.warmup_epochs=0

.PHONY: demo demo-shipped demo-train demo-compare test fuzz format clean classical

demo: $(READY)
	$(MAKE) --no-print-directory demo-shipped
	$(MAKE) --no-print-directory demo-train
	$(MAKE) --no-print-directory demo-compare
	@echo
	@echo "Done. What you have now:"
	@echo "  $(OUT)/report/index.html   open it in a browser: every tracker on every video, sortable, frame by frame"
	@echo "  $(OUT)/track_1.png         one video with all trackers' boxes"
	@echo "  $(OUT)/curves.png          how the small network learned;  $(OUT)/reconstruction.png  what its decoders rebuild so far"
	@test -z "$(SHIPPED)" || echo "  $(OUT)/shipped.mp4         mmg_small at work;  $(OUT)/shipped_reconstruction.png  what its decoders rebuild"
	@test -z "$(VIDEO)" || echo "  $(OUT)/video/               your video with the tracked box, and its boxes as text"
	@echo "In the table above AUC is how well boxes fit, 100 is perfect. The box that never moves (static) is what a"
	@echo "video gives away for free, mil is OpenCV's. mmg_tiny_score was trained just now for minutes, not to be good."
	@test -z "$(SHIPPED)" || echo "mmg_small comes with the project: try it by  $(BIN)/python tracking/demo.py VIDEO --page"

# 1. A trained tracker at work, before anything is trained.
demo-shipped: $(READY)
ifeq ($(SHIPPED),)
	@echo "No weights come with this copy of the project (pretrained_models/mmg_small.safetensors): on to training."
else
	$(BIN)/python tracking/test.py mmg synthetic --config mmg_small $(SEQUENCES) --workers 2 --overwrite
	$(BIN)/python tracking/visualize.py compare synthetic test-0001 mmg/mmg_small --out $(OUT)/shipped
	$(BIN)/python tracking/visualize.py reconstruction --checkpoint $(SHIPPED) --dataset synthetic --out $(OUT)/shipped_reconstruction.png
ifneq ($(VIDEO),)
	$(BIN)/python tracking/demo.py "$(VIDEO)" $(if $(BOX),--box=$(BOX),--select) --config mmg_small --out $(OUT)/video
endif
endif

# 2. Both stages of training, short.
demo-train: $(READY)
	rm -rf runs/demo runs/demo_score
	$(BIN)/python tracking/train.py --config mmg_tiny $(FIRST) $(SHORT)
	$(BIN)/python tracking/train.py --config mmg_tiny_score $(SECOND) $(SHORT)
	mkdir -p $(OUT)
	$(BIN)/python tracking/visualize.py curves runs/demo --out $(OUT)/curves.png
	$(BIN)/python tracking/visualize.py reconstruction --checkpoint runs/demo/latest.pth --out $(OUT)/reconstruction.png

# 3. Test, analyse, report: what came with the project, what was just trained, OpenCV's, and the box that never moves.
demo-compare: $(READY)
	$(BIN)/python tracking/test.py mmg synthetic --checkpoint runs/demo_score/latest.pth $(SEQUENCES) --workers 2 --overwrite
	$(BIN)/python tracking/test.py mil synthetic $(SEQUENCES) --workers 2 --overwrite
	$(BIN)/python tracking/test.py static synthetic $(SEQUENCES) --workers 2 --overwrite
	$(BIN)/python tracking/analyze.py synthetic $(COMPARED) --allow-missing --out $(OUT) --json $(OUT)/scores.json --report $(OUT)/report
	$(BIN)/python tracking/visualize.py track synthetic test-0001 $(COMPARED) --out $(OUT)/track_1.png

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/pytest -n 2 --dist loadfile

# Damaged and hostile files of every kind, each read in a child process with limits; SEED=2 makes others.
fuzz: $(READY)
	PYTHONPATH=. $(BIN)/python tests/fuzz/test_fuzz.py $(or $(COUNT),50000) $(or $(SEED),1)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): requirements.txt setup.py
	$(PYTHON) -m venv .venv
ifeq ($(TORCH),cpu)
	$(PIP) torch torchvision --index-url $(TORCH_INDEX)
endif
	$(PIP) -r requirements.txt
	$(PIP) -e ".[dev]"
	touch $@

# Two OpenCVs in one environment overwrite each other's files.
classical: $(READY)
	$(BIN)/python -m pip uninstall --quiet --yes opencv-python opencv-python-headless
	$(PIP) --force-reinstall --no-deps "opencv-contrib-python>=4.10"

clean:
	rm -rf .venv runs results analysis
