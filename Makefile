# make demo   install into .venv and run the main job twice: a pretrained CNN on photographs, a GRU on digits
# make test   install, then ruff, mypy and every test; needs only Python, pip and g++
# make check  the same without the slow tests, for every few minutes of work
# make plugins  build the CUDA library with nvcc and the emulator with g++; no GPU is needed
# make bench  ratios against peers, measured side by side on this machine
# make soak   ten minutes of a camera loop in which something goes wrong every second; SECONDS=60 for a short one
# make fuzz   every parser of what comes from outside under a coverage-guided fuzzer; FUZZ_SECONDS=600 for each target
# make bench-quantize  our INT8 and INT4 against other tools', on real data; installs those beside, once
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PHOTOS := out/photos
CROPS := out/crops
DIGITS := out/digits
GRU := examples/08_digits/digits.py
JUDGED = $(BIN)/edgekit validate $(DIGITS)/demo/bundle --data $(DIGITS)/held_out.npz

.PHONY: demo demo-photo demo-digits test check plugins bench bench-quantize soak fuzz install clean

install: $(INSTALLED)

# Extras cannot say --no-deps, and these packages name dependencies that are not needed: see the file itself.
$(INSTALLED): pyproject.toml tests/requirements-no-deps.txt
	@echo "== installing edgekit and its tools into $(VENV) (about 7 GB with torch; once)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps -r tests/requirements-no-deps.txt
	@touch $@

demo: $(INSTALLED) demo-photo demo-digits

demo-photo: $(INSTALLED)
	@echo "== photographs of scikit-image and scikit-learn; squares of six to calibrate on, of five others to judge on"
	$(BIN)/python examples/01_photo/photos.py $(PHOTOS)
	$(BIN)/python examples/01_photo/crops.py $(CROPS)
	@echo "== a pretrained EfficientNet-Lite0 in INT8"
	$(BIN)/edgekit deploy efficientnet_lite0 out/demo --target rtx --compute-capability 8.6 --compute-capability 8.9 \
	  --recipe efficientnet_lite0_int8 --calibrate-on $(CROPS)/calibration --data $(CROPS)/held_out
	$(BIN)/edgekit bundle verify out/demo/bundle
	$(BIN)/edgekit run out/demo/bundle --source $(PHOTOS)

demo-digits: $(INSTALLED)
	@echo "== a GRU, trained now, that reads handwritten digits row by row; its weights in INT8"
	$(BIN)/python examples/08_digits/digits.py $(DIGITS)
	$(BIN)/edgekit deploy $(GRU):make_model $(DIGITS)/demo --target rtx --recipe examples/08_digits/recipe.toml \
	  --calibrate-on $(DIGITS)/calibration.npz --data $(DIGITS)/held_out.npz --labels $(DIGITS)/labels.npy
	$(BIN)/edgekit run $(DIGITS)/demo/bundle --source $(DIGITS)/five.npz
	@echo "== a verdict can fail: the wrong network as reference (3), an impossible budget (4), too short a run (5)"
	$(BIN)/edgekit export $(GRU):make_untrained $(DIGITS)/untrained.onnx
	$(JUDGED) --reference $(DIGITS)/untrained.onnx --budget "sqnr_db>=30"; test $$? -eq 3
	$(JUDGED) --reference $(DIGITS)/demo/stages/model.onnx --budget "p99_ms<=0.001" --requests 300; test $$? -eq 4
	$(JUDGED) --reference $(DIGITS)/demo/stages/model.onnx --budget "p99_ms<=50" --requests 50; test $$? -eq 5

test: $(INSTALLED)
	@echo "== ruff and mypy"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@echo "== every test"
	$(BIN)/python -m pytest -n 2

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 -m "not slow"

plugins: $(INSTALLED)
	$(BIN)/edgekit plugins build --out out/plugins/libraries
	$(BIN)/edgekit plugins build --emulator --out out/plugins/libraries
	$(BIN)/edgekit plugins list

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench

SECONDS := 600
soak: $(INSTALLED)
	$(BIN)/python -m tests.bench.soak $(SECONDS)

# No part of `make test`, which runs the same inputs without it: 35 MB that not every machine of a developer can have.
FUZZ_SECONDS := 60
fuzz: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -r tests/fuzz/requirements.txt
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(ARGUMENTS)

bench-quantize: $(INSTALLED)
	$(BIN)/python -m tests.bench.quantize $(ARGUMENTS)

clean:
	rm -rf $(VENV) out
