
# The commands of this checkout. `make` alone lists them; ARGS passes arguments through, as in `make run ARGS=--once`.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help run test lint bench fuzz test-faults soak clean

ARGS ?=

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build, show four agents that share one key become tasks that can be told apart, then stay up
	@./demo/run $(ARGS)

test: ## format, tidy, lint and every test, with what they need installed first
	@scripts/test

lint: ## format, tidy and lint, without tests
	@cargo fmt --all --check
	@cargo xtask tidy
	@cargo clippy -q --locked --workspace --all-targets -- -D warnings

bench: ## measure beside a bare proxy and nginx; the results are in benches/
	@scripts/setup-tests
	@. scripts/env && cargo run -q --locked --release -p accredit-benches -- $(ARGS)

fuzz: ## run the fuzz targets for a while; needs a nightly compiler
	@./fuzz/run $(ARGS)

test-faults: ## kill, fill the disk and break the network under load, also of three replicas; takes minutes, as root
	@scripts/setup-tests
	@. scripts/env && cargo test -q --locked -p accredit-tests --test faults --test topology --test fleet -- --ignored --nocapture $(ARGS)

soak: ## the same for longer, and judged at the end: make soak ARGS="MINUTES SEED"; 60 minutes without
	@scripts/soak $(ARGS)

clean: ## remove what was built; installed tools and local state stay
	@cargo clean -q
