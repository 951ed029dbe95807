# make demo   the whole pipeline on rendered slips, about five minutes on two cores
# make test   the tests
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: demo test test-slow lint setup lock clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

setup: $(VENV)/.ready

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); \
	sys.exit(not ok and "Python %d.%d found; 3.11 to 3.13 needed: make PYTHON=python3.11" % sys.version_info[:2])'
	@echo "setting up $(VENV) (about 800 MB, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@$(RUN) -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(RUN) scripts/demo.py

test: setup
	@$(RUN) -m pytest

test-slow: setup
	@$(RUN) -m pytest -m slow -rP --durations=10

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/hadolint Dockerfile

# Needs uv; writes hashes for Python 3.11 to 3.13.
lock:
	for extra in train serve dev; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-annotate --no-emit-index-url --extra $$extra pyproject.toml \
	    --output-file requirements/$$extra.txt || exit 1; \
	done

clean:
	rm -rf work $(VENV)
