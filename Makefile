# The commands of the project. `make help` lists them.
#
# Everything runs in the virtual environment .venv, made on the first call with
# the newest Python found. PYTHON=... names the interpreter, VERSIONS="3.11"
# chooses among those found, VENV=... is another place for the environment.
# ARGS="..." adds flags to the quick start, and PYTEST_ARGS="..." replaces those
# of the tests.

VENV ?= .venv
VENV_PYTHON := $(VENV)/bin/python
PYTHON ?=
VERSIONS ?= 3.14 3.13 3.12 3.11
PYENV_ROOT ?= $(HOME)/.pyenv
ARGS ?=
PYTEST_ARGS ?= -n logical --maxprocesses=4 --dist loadfile

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install quickstart test lint format python clean

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 20

install: $(VENV)/.installed  ## make the virtual environment and stop there

quickstart: $(VENV)/.installed  ## draw faces, calibrate, train a small model on them and score it
	$(VENV_PYTHON) -m ssimbad_jax.main --config=configs/quickstart.py $(ARGS)

test: $(VENV)/.installed-dev  ## run the tests
	$(VENV_PYTHON) -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## check style, formatting and types
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy

format: $(VENV)/.installed-dev  ## format the code and mend what ruff can mend
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

python:  ## print the newest Python found; VERSIONS="3.11" looks for that one
	@$(find_python); echo "$$chosen"

clean:  ## remove the virtual environment and the caches; runs/ stays
	rm -rf .venv .venv-* .cache .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: requirements.txt
	$(call install,requirements.txt)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(call install,requirements-dev.txt)
	@touch $@

# An installation that was interrupted leaves no .complete behind, and the next
# one starts from an empty environment: half a package looks whole to pip.
define install
	@test -f $(VENV)/.complete || { $(create_environment); }
	@rm -f $(VENV)/.complete
	$(VENV_PYTHON) -m pip install --disable-pip-version-check --quiet -r $(1)
	@touch $(VENV)/.complete
endef

# The newest Python that runs, from the PATH or from pyenv's own versions; being on the PATH is not
# enough: version managers leave names there that do not run, and Debian ships Python without the
# module that puts pip into a virtual environment. Builds without the interpreter's lock are passed
# over, as not all packages come for them.
define find_python
chosen=""; without_pip=""; \
for version in $(VERSIONS); do \
  for candidate in $(if $(PYTHON),"$(PYTHON)",python$$version python3 "$(PYENV_ROOT)"/versions/$$version*/bin/python); do \
    "$$candidate" -c 'import sys, sysconfig; \
      found = "%d.%d" % sys.version_info[:2] == sys.argv[1]; \
      sys.exit(not found or bool(sysconfig.get_config_var("Py_GIL_DISABLED")))' \
      "$$version" 2>/dev/null || continue; \
    if "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; \
    then chosen="$$candidate"; break 2; else without_pip="$$without_pip $$candidate"; fi; \
  done; \
done; \
if test -z "$$chosen" && test -n "$$without_pip"; then \
  echo "error: cannot make a virtual environment:$$without_pip lacks the module ensurepip." >&2; \
  echo "On Debian and Ubuntu: sudo apt install python3-venv (or python3.11-venv, ...)." >&2; \
  exit 1; \
elif test -z "$$chosen"; then \
  echo "error: found no Python $(VERSIONS) $(if $(PYTHON),in $(PYTHON),on the PATH or in $(PYENV_ROOT))." >&2; \
  echo "Install one, or name it: make PYTHON=/path/to/python3.12 quickstart" >&2; \
  exit 1; \
fi
endef

define create_environment
$(find_python); \
echo "Installing into $(VENV) with $$("$$chosen" --version); this takes a few minutes, once."; \
"$$chosen" -m venv --clear $(VENV)
endef
