# make demo            the whole pipeline on rendered slips, about three minutes on two cores
# make test            the tests
# make test-paddle26   those of preparing and training, on Paddle 2.6.2 (docs/paddle26.md)
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
PYTHON26 ?= python3.11
VENV26 ?= .venv-paddle26
PIP_INSTALL = -m pip install --quiet --quiet --disable-pip-version-check

.PHONY: demo test test-slow test-long test-paddle26 lint setup setup-paddle26 lock clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

setup: $(VENV)/.ready

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); \
	sys.exit(not ok and "Python %d.%d found; 3.11 to 3.13 needed: make PYTHON=python3.11" % sys.version_info[:2])'
	@echo "setting up $(VENV) (about 800 MB, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) $(PIP_INSTALL) --require-hashes --requirement requirements/dev.txt
	@$(RUN) $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

setup-paddle26: $(VENV26)/.ready

$(VENV26)/.ready: requirements/paddle26.txt pyproject.toml
	@echo "setting up $(VENV26) (about 850 MB, once)"
	@$(PYTHON26) -m venv $(VENV26)
	@$(VENV26)/bin/python $(PIP_INSTALL) --require-hashes --requirement requirements/paddle26.txt
	@$(VENV26)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(RUN) scripts/demo.py

# Each process loads Paddle. One that crashes ends the run with its name: replaced, the rest may wait for ever.
TWO = --numprocesses 2 --dist loadfile --max-worker-restart 0

test: setup
	@$(RUN) -m pytest $(TWO)

test-slow: setup
	@$(RUN) -m pytest $(TWO) -m 'slow and not long' --durations=10

test-long: setup
	@$(RUN) -m pytest $(TWO) -m long --durations=10

test-paddle26: setup-paddle26
	@$(VENV26)/bin/python -m pytest $(TWO) tests/artifacts tests/config tests/models tests/ops \
	  tests/preprocess tests/training tests/weights \
	  --deselect tests/models/test_crnn.py::test_the_exported_program_says_the_same_at_any_width_and_batch \
	  --deselect tests/weights/test_pir_reader.py::test_what_this_paddle_saves_is_read_back \
	  --deselect tests/training/test_det_train.py::test_what_was_trained_is_exported_without_its_training_branches

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/hadolint Dockerfile deploy/gpu/Dockerfile

COMPILE = uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header \
  --no-annotate --no-emit-index-url pyproject.toml

# Needs uv; writes hashes for Python 3.11 to 3.13.
lock:
	for extra in train remote dev official; do \
	  $(COMPILE) --universal --extra $$extra --output-file requirements/$$extra.txt || exit 1; \
	done
	$(COMPILE) --universal --extra serve --extra openvino --output-file requirements/serve.txt
	$(COMPILE) --python-platform linux --extra paddle26 --extra test \
	  --output-file requirements/paddle26.txt
	uv pip compile --quiet --python-version 3.11 --python-platform linux --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url requirements/ppocr-data.in \
	  --output-file requirements/ppocr-data.txt
	for peer in rapidocr paddleocr faster-paddle rapidocrlite paddlex-serving rapidocr-api paddleocr-mcp; do \
	  uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_40 \
	    --generate-hashes --no-header --no-annotate --no-emit-index-url \
	    requirements/peers-$$peer.in --output-file requirements/peers-$$peer.txt || exit 1; \
	done

clean:
	rm -rf work $(VENV) $(VENV26)
