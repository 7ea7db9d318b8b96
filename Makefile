# The two commands: `make up` runs the local environment, `make test` proves the tree. Both do all the set-up there is.
.DEFAULT_GOAL := help
.PHONY: help up test build lint docs picture bench bench-ledger bench-stack chaos crowd estate migration soak video-edge clean

ENVIRONMENT ?= environments/local.yaml
target_dir = $(or $(CARGO_TARGET_DIR),target)

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

up: ## Install what is missing, build, run environments/local.yaml (Ctrl-C stops it)
	@tools/install.sh up
	cargo build --release --locked --bins
	"$(target_dir)/release/forebay" up "$(ENVIRONMENT)"

test: ## Install what is missing, check format and lints, build, run every test
	@tools/install.sh test
	$(MAKE) lint
	cargo build --workspace --locked --bins
	cargo nextest run --workspace --locked
	FOREBAY_FRONT_DOOR=off cargo nextest run --workspace --locked -E 'binary(proxy)'

lint: ## Formats, clippy as errors, dependency rules
	cargo fmt --all --check
	cargo clippy --workspace --locked --all-targets -- -D warnings
	cargo deny --offline check --hide-inclusion-graph bans licenses sources

docs: ## Write again what is generated from code (docs/CONFIG.md, docs/METRICS.md)
	cargo build --workspace --locked --bins
	tools/docs.sh "$(target_dir)/debug"

picture: ## Make the README's picture: a browser's view of a running environment
	@tools/install.sh test
	cargo build --release --locked --bins
	tools/picture.sh "$(target_dir)/release/forebay" docs/images/stream-page.png

LEDGER_GROW ?= 1000000
bench-ledger: ## What the ledger does a second on SQLite, PostgreSQL and MariaDB, beside the disk's flushes; writes docs/BENCHMARKS-LEDGER.md
	@tools/install.sh test
	cargo bench --locked -p forebay-ledger --bench ledger -- --grow "$(LEDGER_GROW)" --write "$(CURDIR)/docs/BENCHMARKS-LEDGER.md"

bench-stack: ## What making production's templates costs, beside the CDK for the same architecture; writes docs/BENCHMARKS-STACK.md
	@tools/install.sh up
	cargo build --release --locked -p forebay-stack
	npm ci --prefix tests/bench/cdk --no-audit --no-fund --loglevel=error || echo "going on without the CDK"
	tests/bench/stack.py "$(target_dir)/release/forebay"

chaos: ## Faults of the ledger for long: thousands of simulated lives, fifty rounds of killed servers
	@tools/install.sh test
	FOREBAY_SEEDS=5000 FOREBAY_ROUNDS=50 cargo nextest run --profile chaos --locked -p forebay-ledger -E 'test(simulation) | test(/killed/)'

bench: ## Measure Forebay beside nginx, HAProxy, Varnish, ...; writes docs/BENCHMARKS.md (an idle machine, half an hour)
	@tools/install.sh bench
	cargo build --release --locked -p forebay-proxy -p forebay-bench
	"$(target_dir)/release/forebay-bench" --write docs/BENCHMARKS.md

SOAK_MINUTES ?= 30
soak: ## The proxy at its memory budget for SOAK_MINUTES; fails when what it holds grows
	cargo build --release --locked -p forebay-proxy -p forebay-bench
	"$(target_dir)/release/forebay-soak" --minutes "$(SOAK_MINUTES)"

video-edge: ## What a video service's edge must do, beside nginx, Varnish and HAProxy; fails when Forebay does not
	@tools/install.sh bench
	cargo build --release --locked -p forebay-proxy -p forebay-bench
	"$(target_dir)/release/video-edge"

estate: ## Transfers to the real ledger on MariaDB beside 200 viewers, through Forebay and through one nginx; fails when video costs them more than it may
	@tools/install.sh test
	cargo build --release --locked -p forebay-proxy -p forebay-ledger -p forebay-bench
	"$(target_dir)/release/estate"

crowd: ## Ordinary requests beside slowhttptest's four attacks and 20,000 idle connections; fails when they are held up
	@tools/install.sh bench
	cargo build --release --locked -p forebay-proxy -p forebay-bench
	"$(target_dir)/release/crowd"

migration: ## Walk docs/MIGRATING-FROM-NGINX.md under a systemd of its own: every command it shows, and the units of packaging/ (root)
	@tools/install.sh migration
	cargo build --release --locked -p forebay-proxy -p forebay-nginx --bins
	tests/migration/boot.sh "$(target_dir)/release"

clean: ## Remove what was built
	cargo clean
