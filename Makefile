# make setup    gets Bitcoin Core and the test clients (cached; see .ci/setup)
# make devnet   the whole system on this machine: make devnet ARGS="--fresh --block-time 500"
# make fraud    a devnet on which an operator lies: the dispute to its end, move by move
# make test     every test
# make bench    the table of docs/benchmarks.md
# make lint     formatting, clippy, docs, dependencies
# make judge-table   the sizes of all leaves
# make ci       all of .ci/run

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup devnet fraud test bench lint judge-table ci

help:
	@grep '^# make' Makefile | cut -c3-

setup:
	@.ci/setup

devnet: setup
	@eval "$$(.ci/setup env)" && guest="$$(.ci/guest)" && cargo build --quiet --release --locked --workspace --bins && exec "$${CARGO_TARGET_DIR:-target}/release/bitsect-node" devnet --guest "$${guest%% *}" $(ARGS)

fraud: setup
	@eval "$$(.ci/setup env)" && guest="$$(.ci/guest)" && cargo build --quiet --release --locked --workspace --bins && BITSECT_GUEST="$${guest%% *}" exec "$${CARGO_TARGET_DIR:-target}/release/bitsect-fraud" $(ARGS)

test:
	@.ci/run test

bench: setup
	@eval "$$(.ci/setup env)" && cargo build --quiet --release --locked --workspace --bins && cargo bench --locked --workspace --benches $(ARGS)

judge-table:
	@cargo run --quiet --locked -p bitsect-judge -- table

lint:
	@.ci/run lint
	@.ci/run deny

ci:
	@.ci/run
