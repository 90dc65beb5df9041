# `make help` lists the targets. Everything that is needed beyond Rust is installed on Debian when it is missing.

CARGO ?= cargo

.PHONY: help deps demo test check fmt-check lint go-lint layers doc length charts deny bench bench-rotation golden tls-grade fmt cluster cluster-down cluster-test conformance

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps:
	@.make/install

demo: deps ## Build and run the demonstration: prints curl lines that work
	$(CARGO) run --locked --profile quick -- demo

test: deps ## All tests
	$(CARGO) test --workspace --locked
	.make/go-check test

check: deps fmt-check length charts layers lint go-lint doc deny ## Everything else that must hold before a commit lands

fmt: ## Format the sources
	$(CARGO) fmt --all

fmt-check:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

go-lint:
	.make/go-check lint

layers:
	.make/layers

# Private items are documented too, so links to them are fine.
doc:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps --document-private-items --locked

length:
	.make/length

# There is a directory of this name.
charts: ## Lint the charts and compare what they render
	charts/test

deny:
	.make/deny

bench: deps ## Measure against nginx, HAProxy and Envoy
	bench/run.sh

tls-grade: deps ## Grade the default TLS policy: testssl.sh, sslyze, openssl
	.make/tls-grade
bench-rotation: deps ## Replace certificates 1,000 times under 200 handshakes a second
	$(CARGO) build --release --locked
	python3 bench/rotation.py

golden: deps ## Rewrite golden expectations, then review the diff
	INSTA_UPDATE=always INSTA_FORCE_PASS=1 $(CARGO) test --package gwanmun-translate --locked --test golden

cluster: ## Start a Kubernetes made of processes, print its kubeconfig
	@.make/cluster up

cluster-down: ## End it, leave nothing
	@.make/cluster down

cluster-test: ## Test that cluster itself, in one of its own
	@.make/cluster-test

conformance: ## Run the Gateway API conformance suite in it [RUN=Test,…] [PROFILE=GATEWAY-HTTP,…]
	@.make/conformance
