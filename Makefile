# The course on Linux and macOS. On Windows see "Without make" in README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where the photos come from: studio (built in), kaggle, or a folder with train.zip and train_masks.zip.
DATA ?= studio
# Tests run side by side; tests/conftest.py says how many at a time.
AT_A_TIME := -n auto --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help setup course lab test test-colab exercises notebooks figures badges requirements

help:
	@echo "make course          set up .venv and work through every notebook (DATA=studio | kaggle | FOLDER)"
	@echo "make lab             open JupyterLab on notebook 00"
	@echo "make test            set up .venv, check the style, run the tests"
	@echo "make test-colab      run tests and notebooks with Colab's package versions, in .venv-colab"
	@echo "make exercises       write the notebooks' exercises from their solutions (for maintainers)"
	@echo "make notebooks       run the notebooks and store their outputs in place (for maintainers)"
	@echo "make figures         draw every picture in figures/ again (for maintainers)"
	@echo "make badges          write the badges and setup cells (REPOSITORY=https://github.com/OWNER/NAME sets the address)"
	@echo "make requirements    renew the pins in requirements.txt (for maintainers)"

setup: $(READY)

# uv takes torch and torchvision from the same place, so that they are a release pair; pip may mix a
# CPU-only torch found on disk with the registry's torchvision, which then fails at import. Compiled
# at once: uv leaves that to the first import, and where PYTHONDONTWRITEBYTECODE is set, as in many
# containers, every process would compile torch for itself, every time.
$(READY): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $(READY)

course: $(READY)
	$(BIN)/python tools/run_notebooks.py --data "$(DATA)"

# In a container one is root, and JupyterLab then starts on request only.
lab: $(READY)
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/00_start_here.ipynb

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest $(AT_A_TIME)

test-colab: $(READY)
	$(BIN)/python tools/colab_lane.py

exercises: $(READY)
	$(BIN)/python tools/exercises.py

notebooks: $(READY)
	$(BIN)/python tools/run_notebooks.py --in-place

figures: $(READY)
	$(BIN)/python tools/figures.py

badges: $(READY)
	$(BIN)/python tools/badges.py $(if $(REPOSITORY),--repository "$(REPOSITORY)")

requirements: $(READY)
	$(BIN)/uv pip compile --quiet --universal --upgrade --all-extras --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.txt
