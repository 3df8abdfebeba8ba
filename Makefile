# make demo   install into .venv and run the main job: a pretrained network to a bundle, then the bundle on photographs
# make test   install, then ruff, mypy and every test; needs only Python, pip and g++
# make check  the same without the slow tests, for every few minutes of work
# make bench  ratios against peers, measured side by side on this machine
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PHOTOS := out/photos

.PHONY: demo test check bench install clean

install: $(INSTALLED)

# Extras cannot say --no-deps, and these packages name dependencies that are not needed: see the file itself.
$(INSTALLED): pyproject.toml tests/requirements-no-deps.txt
	@echo "== installing edgekit and its tools into $(VENV) (about 7 GB with torch; once)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps -r tests/requirements-no-deps.txt
	@touch $@

demo: $(INSTALLED)
	@echo "== the photographs: scikit-image's cat, coffee and camera man"
	$(BIN)/python examples/01_photo/photos.py $(PHOTOS)
	@echo "== from the pretrained network to a bundle"
	$(BIN)/edgekit deploy efficientnet_lite0 out/demo --target rtx \
	  --compute-capability 8.6 --compute-capability 8.9 --data $(PHOTOS)
	@echo "== the bundle on the photographs"
	$(BIN)/edgekit run out/demo/bundle --source $(PHOTOS)
	@echo "== what this bundle is worth"
	$(BIN)/edgekit bundle verify out/demo/bundle

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

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) out
