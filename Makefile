# One-liners. A recipe that needs more is a script in deploy/ or a subcommand of our own binaries.
CARGO ?= $(shell command -v cargo || echo $(HOME)/.cargo/bin/cargo)

.PHONY: help setup build demo up roles down test sabotage bench ci fmt lint

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 10

setup: ## installs what is missing: clang for RocksDB, PostgreSQL, Kafka, hledger, beancount and schemathesis for checks
	@deploy/setup-debian.sh

build: setup ## builds the binaries
	$(CARGO) build --release -p ledgerd -p replay-tool

demo: build ## imports a real bank into ./demo-data, proves the journal, goes on serving
	target/release/ledgerd demo --fresh

up: setup ## starts PostgreSQL and Kafka on loopback, with data that may be thrown away
	@deploy/servers.sh up

roles: build ## starts the roles of a book in processes of their own over them (docs/roles.md)
	@deploy/servers.sh roles

down: ## stops them and deletes their data
	@deploy/servers.sh down

test: setup ## all tests
	$(CARGO) test --release --workspace

sabotage: ## breaks the ledger on purpose, one way after the other: the tests must notice each
	@CARGO=$(CARGO) deploy/sabotage.sh

bench: build ## measures, and writes BENCHMARKS.md
	$(CARGO) run --release -p benches -- all --ledgerd target/release/ledgerd --write BENCHMARKS.md

ci: fmt test lint sabotage ## what CI runs

fmt: ## fails if the code is not formatted
	$(CARGO) fmt --all --check

lint: setup ## fails on a warning
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
