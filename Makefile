# regmodel: two commands matter, `make demo` and `make test`; each does all of its own set-up on a fresh Debian 12.
# `make help` lists the others. Downloads are kept in $XDG_CACHE_HOME/regmodel (~/.cache/regmodel), outside of the clone.

SHELL   := /bin/bash
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# What the host needs: the lab is built with mmdebstrap; gcc, headers and sources prove what descriptions cite, and build the
# firmware image; Icarus and Verilator run and lint exported Verilog; the rest is
# for tests against other people's programs.
DEBS    := python3-venv mmdebstrap debian-archive-keyring zstd
DEBS_TEST := gcc g++ binutils libc6-dev linux-libc-dev make iverilog verilator xz-utils libdpdk-dev linux-source-6.1 linux-headers-amd64 iproute2 iputils-ping ethtool tshark gtkwave tcpdump chromium fonts-dejavu-core

# Tests start hundreds of programs: without this each would compile the project anew where the environment forbids to keep it.
unexport PYTHONDONTWRITEBYTECODE

# Two tests at a time, as many as the smallest machine has processors; what is judged by the clock comes after them, alone.
SIDE_BY_SIDE := -q -n 2 --dist loadfile --no-loadscope-reorder --durations=25

.PHONY: help setup demo test unit matrix bench docs lint clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.done $(VENV)/.debs  ## virtual environment and the whole lab (QEMU, kernels, guest images), each once
	@$(BIN)/python -m emulators.qemu.setup

$(VENV)/.done: pyproject.toml
	@$(call install,$(DEBS))
	@echo "setup: virtual environment"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.debs: Makefile $(VENV)/.done
	@$(call install,$(DEBS_TEST))
	@touch $@

# Install the Debian packages that are missing; no root is needed where none is.
define install
missing=$$(for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || echo $$p; done); \
if [ -n "$$missing" ]; then echo "setup: installing" $$missing; $(SUDO) apt-get update -qq && \
  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

demo: $(VENV)/.done  ## two guests with the stock igbvf, one emulated port: ping, a file by TCP, and what the driver said to the device
	@$(BIN)/python -m emulators.qemu.setup --minimal
	@$(BIN)/python -m emulators.demo

unit: setup lint  ## everything that boots no guest
	@$(BIN)/pytest $(SIDE_BY_SIDE) -m 'not guest and not alone'
	@$(BIN)/pytest -q -m 'not guest and alone'

test: setup lint  ## all kinds of test; guest cells on a pairwise-covering subset of the matrix
	@$(BIN)/pytest $(SIDE_BY_SIDE) -m 'not alone'
	@$(BIN)/pytest -q -m alone

matrix: setup  ## every guest cell, resumable; writes docs/matrix.json (ARGS=--help)
	@$(BIN)/python -m tests.matrix $(ARGS)

bench: setup  ## ratios against peers, interleaved in one run (ARGS=--help)
	@$(BIN)/python -m tests.bench $(ARGS)

docs: $(VENV)/.done  ## the datasheet site and the guides, in docs/_build/html
	@$(BIN)/sphinx-build -q -W --keep-going -j auto -b html docs docs/_build/html
	@echo docs/_build/html/index.html

lint: $(VENV)/.done
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports >/dev/null || $(BIN)/lint-imports

clean:  ## remove what make made in the clone; the cache stays
	rm -rf $(VENV) docs/_build docs/devices build dist *.egg-info artifacts .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
