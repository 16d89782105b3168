# regmodel: two commands matter, `make demo` and `make test`; each does all of its own set-up on a fresh Debian 12.
# `make help` lists the others. Downloads are kept in $XDG_CACHE_HOME/regmodel (~/.cache/regmodel), outside of the clone.

SHELL   := /bin/bash
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# What the host needs: the lab is built with mmdebstrap; gcc resolves cited symbols; the rest is used by tests.
DEBS    := python3-venv mmdebstrap debian-archive-keyring busybox-static zstd cpio xz-utils gcc libc6-dev libdpdk-dev \
           linux-source-6.1 linux-headers-amd64 iproute2 iputils-ping tshark tcpdump

.PHONY: help setup demo test unit matrix bench lint docs clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.done lab  ## virtual environment and lab (QEMU, kernels, guest images), each once

$(VENV)/.done: pyproject.toml
	@missing=$$(dpkg-query -W -f='$${Package} $${Status}\n' $(DEBS) 2>&1 | grep -v 'install ok installed' | sed -E 's/.* ([^ ]+)$$/\1/' | wc -l); \
	if [ "$$missing" != 0 ]; then echo "setup: installing Debian packages"; \
	  $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEBS) >/dev/null; fi
	@echo "setup: virtual environment"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q -e '.[dev]'
	@touch $@

.PHONY: lab
lab: $(VENV)/.done
	@$(BIN)/python -m emulators.qemu.setup

demo: setup  ## two guests with the stock igbvf, one emulated port: ping, a file by TCP, and what the driver said to the device
	@$(BIN)/python -m emulators.demo

unit: $(VENV)/.done lint  ## everything that boots no guest
	@$(BIN)/pytest -q -m 'not guest'

test: setup lint  ## all kinds of test; guest cells on a pairwise-covering subset of the matrix
	@$(BIN)/pytest -q

matrix: setup  ## every guest cell, resumable; writes docs/matrix.json
	@$(BIN)/python -m tests.matrix

bench: setup  ## ratios against peers, interleaved in one run
	@$(BIN)/python -m tests.bench

lint: $(VENV)/.done
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports >/dev/null || $(BIN)/lint-imports

clean:  ## remove what make made in the clone; the cache stays
	rm -rf $(VENV) build dist *.egg-info artifacts .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
