# Every task is a target; `make help` lists them. All that is needed is installed into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
ADDRESSES ?= tcp://127.0.0.1:7000 udp://127.0.0.1:7000 unix:///tmp/jackfield.sock
SERVE ?=
PYTEST ?=
WORKERS ?= $(shell n=$$(nproc); echo $$((n < 8 ? n + 1 : 8)))
BENCH ?=
SOAK ?=

BIN := .venv/bin
NATIVE := Cargo.toml Cargo.lock pyproject.toml $(shell find crates -name '*.rs' -o -name Cargo.toml)

.PHONY: help run setup test test-rust test-python check format bench soak fuzz docs clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo '  make run ADDRESSES="tcp://:7000,framing=line,access=plain unix:///tmp/jackfield.sock" SERVE="--max-clients 100"'

run: .venv/installed  ## set up and start the hub: ADDRESSES="..." says where it listens
	@exec $(BIN)/jackfield serve $(SERVE) $(ADDRESSES)

setup: .venv/installed .venv/tools .venv/peers  ## install everything for development into .venv

test: setup test-rust test-python  ## set up and run all tests: WORKERS=1 runs them one after the other

test-rust: .venv/tools
	cargo test --quiet --package jackfield-engine

test-python: .venv/installed .venv/tools .venv/peers
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST)

check: setup  ## lint, types and documentation checks
	cargo fmt --check
	PYO3_PYTHON=$(CURDIR)/$(BIN)/python cargo clippy --quiet --all-targets -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest jackfield._engine --allowlist tests/stubtest.allow
	$(BIN)/python scripts/check_docs.py

format: setup  ## put Rust and Python into shape
	cargo fmt
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed .venv/bench  ## measure beside C and the peers: BENCH="--only request-tcp" narrows it
	$(BIN)/python -m benches $(BENCH)

soak: .venv/installed  ## 11,000 connections for five minutes: SOAK="--seconds 60 --idle 1000" makes it less
	$(BIN)/python benches/soak.py $(SOAK)

fuzz: setup  ## fuzz for some minutes: JACKFIELD_FUZZ_SECONDS=600 says how long for each target
	JACKFIELD_FUZZ_SECONDS=$${JACKFIELD_FUZZ_SECONDS:-60} cargo test --release --package jackfield-engine --test fuzz_smoke -- --nocapture
	JACKFIELD_FUZZ_SECONDS=$${JACKFIELD_FUZZ_SECONDS:-60} $(BIN)/python -m pytest tests/unit/test_address.py -k 'property or random' --timeout 0

docs: .venv/installed  ## check the documents, and write the API reference to target/doc
	$(BIN)/python scripts/check_docs.py
	cargo doc --quiet --no-deps --package jackfield-engine

clean:  ## remove everything that was built or installed
	rm -rf .venv target benches/build

.venv/pip: scripts/make_venv.sh
	@bash scripts/make_venv.sh $(PYTHON)
	@touch $@

# An editable installation: Python changes count at once, Rust changes build anew.
.venv/installed: .venv/pip $(NATIVE)
	@echo 'jackfield: building the native engine and installing it into .venv (a minute or two the first time)'
	@PIP_QUIET=1 $(BIN)/maturin develop --release --quiet --extras web
	@touch $@

.venv/tools: .venv/pip pyproject.toml
	$(BIN)/pip install --quiet --group tools
	@touch $@

.venv/bench: .venv/pip pyproject.toml
	$(BIN)/pip install --quiet --group bench
	@touch $@

.venv/peers: .venv/pip scripts/install_peers.sh
	@bash scripts/install_peers.sh
	@touch $@
