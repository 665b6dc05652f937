# SPDX-License-Identifier: Apache-2.0

# Everything below needs Go, git, make and gcc (for -race) and nothing else: tools and the control plane of the tests
# are compiled from pinned Go modules into bin/, under names that carry their version.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# A go.work file of the developer would change which versions the tool modules select.
export GOWORK := off

ROOT := $(CURDIR)
BIN := $(ROOT)/bin
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# The version of a pinned module, read from the one go.mod that pins it.
pinned = $(shell awk -v module=$(2) '$$1 == "require" {sub(/^require /, "")} $$1 == module {print $$2; exit}' $(1)/go.mod)

CONTROLLER_GEN := $(BIN)/tools/controller-gen-$(call pinned,hack/tools/controller-gen,sigs.k8s.io/controller-tools)
KUSTOMIZE := $(BIN)/tools/kustomize-$(call pinned,hack/tools/kustomize,sigs.k8s.io/kustomize/kustomize/v5)
GOLANGCI_LINT := $(BIN)/tools/golangci-lint-$(call pinned,hack/tools/golangci-lint,github.com/golangci/golangci-lint/v2)
CONTROLPLANE := $(BIN)/controlplane/$(call pinned,hack/controlplane,k8s.io/kubernetes)

TEST_FLAGS ?= -race -timeout 30m
BROWSER_FLAGS ?=
BENCH_FLAGS ?= -benchtime 1x -timeout 60m
IMG ?= oauth-operator:$(VERSION)
E2E_IMAGE ?= $(IMG)
E2E_TOOLS_IMAGE ?= oauth-operator-e2e-tools:$(VERSION)
# A command that takes an image's name and brings the image to the cluster's nodes: "kind load docker-image". Empty where
# the cluster can pull the images, or has them.
E2E_IMAGE_LOAD ?=
# Which story the demo tells: samples, increase, or browser.
DEMO ?= samples
DEMO_FLAGS ?=

##@ General

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: clean
clean: ## Remove what was built, but not tools and control plane (rm -r bin for those).
	rm -rf $(BIN)/oauth-operator $(BIN)/kubectl-oauth $(BIN)/demo dist

##@ Build

.PHONY: build
build: ## Build oauth-operator into bin/.
	@for command in cmd/*/; do \
		name=$$(basename $$command); \
		CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN)/$$name ./cmd/$$name; \
		echo "built bin/$$name"; \
	done

.PHONY: image
image: ## Build the container image IMG (name:tag) with docker.
	docker build --build-arg VERSION=$(VERSION) --tag $(IMG) .

.PHONY: manifests
manifests: $(KUSTOMIZE) ## Write dist/install.yaml, which kubectl apply takes: the operator with the image IMG.
	@mkdir -p dist
	@printf '%s\n' 'resources: [../config/default]' \
		'images: [{name: oauth-operator, newName: "$(IMG:%:$(lastword $(subst :, ,$(IMG)))=%)", newTag: "$(lastword $(subst :, ,$(IMG)))"}]' \
		> dist/kustomization.yaml
	$(KUSTOMIZE) build dist > dist/install.yaml

.PHONY: controlplane
ifdef KUBEBUILDER_ASSETS
controlplane:
	@echo "control plane: $(KUBEBUILDER_ASSETS) (KUBEBUILDER_ASSETS)"
	@test -x $(KUBEBUILDER_ASSETS)/kube-controller-manager || hack/controlplane/build.sh $(CONTROLPLANE) kube-controller-manager
else
controlplane: ## Build etcd, kube-apiserver, kube-controller-manager for tests (KUBEBUILDER_ASSETS overrides).
	@hack/controlplane/build.sh $(CONTROLPLANE) etcd kube-apiserver kube-controller-manager
endif

##@ Generated files

.PHONY: generate
generate: $(CONTROLLER_GEN) ## Generate deepcopy methods, CRDs and the controller's roles.
	@hack/generate.sh $(CONTROLLER_GEN) $(ROOT)

.PHONY: verify-generate
verify-generate: $(CONTROLLER_GEN) ## Fail when a generated file is stale.
	@hack/verify-generate.sh $(CONTROLLER_GEN)

.PHONY: verify-modules
verify-modules: ## Fail when go.mod or go.sum of the product or its tests is not tidy.
	$(GO) mod tidy -diff
	cd test && $(GO) mod tidy -diff

##@ Test

.PHONY: test
test: verify-generate verify-modules lint test-go ## Run everything that CI runs but the real-cluster suite.

.PHONY: test-go
test-go: controlplane ## Run the Go tests of both modules with the race detector, on a real control plane.
	$(GO) test $(TEST_FLAGS) ./...
	cd test && $(GO) test $(TEST_FLAGS) ./...

.PHONY: test-unit
test-unit: ## Run the tests that need no control plane.
	$(GO) test -race $$($(GO) list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... \
		| grep -v internal/testenv | cut -d ' ' -f 1)

.PHONY: test-browser
test-browser: controlplane ## Run the logins in a headless Chromium (needs chromium and npm besides).
	@hack/browser-tools.sh test/browser
	cd test && $(GO) test -tags browser -count 1 -timeout 10m $(BROWSER_FLAGS) ./browser

.PHONY: screenshots
screenshots: controlplane ## Take the pictures of docs/screenshots anew (needs chromium and npm besides).
	@hack/browser-tools.sh test/browser
	cd test && $(GO) test -tags browser -count 1 -timeout 10m -run TestScreenshots ./browser -args -screenshots $(ROOT)/docs/screenshots

.PHONY: test-e2e
test-e2e: ## Run the real-cluster suite on the cluster of KUBECONFIG (see docs/development.md).
	@test -n "$${KUBECONFIG:-}" || { echo "test-e2e needs KUBECONFIG: the cluster to install into" >&2; exit 2; }
	@if test -n "$(E2E_IMAGE_LOAD)"; then \
		for image in $(E2E_IMAGE) $(E2E_TOOLS_IMAGE); do $(E2E_IMAGE_LOAD) $$image; done; \
	fi
	cd test && KUBECONFIG=$(abspath $(KUBECONFIG)) E2E_IMAGE=$(E2E_IMAGE) E2E_TOOLS_IMAGE=$(E2E_TOOLS_IMAGE) \
		$(GO) test -tags e2e -count 1 -timeout 30m -v ./e2e

.PHONY: images-e2e
images-e2e: ## Build the two images of the real-cluster suite with docker.
	$(MAKE) image IMG=$(E2E_IMAGE)
	docker build --file test/e2e/tools/Dockerfile --tag $(E2E_TOOLS_IMAGE) .

.PHONY: bench
bench: build controlplane ## Measure throughput, latency and memory, the proxy beside nginx if there is one (not a test; see docs/performance.md).
	$(GO) test -run '^$$' -bench Page -benchtime 2000x -timeout 60m ./internal/rest/lists
	$(GO) test -run '^$$' -bench Memory $(BENCH_FLAGS) ./internal/rest/lists
	cd test && $(GO) test -run '^$$' -bench . $(BENCH_FLAGS) ./bench/... ./crash ./reliability

.PHONY: demo
demo: controlplane ## Run the whole story on a real control plane (DEMO=increase, DEMO=browser: others; DEMO_FLAGS=--hold to look around).
	@hack/progress.sh "building the operator" $(MAKE) build
	@hack/progress.sh "building the demo" $(GO) -C test build -o $(BIN)/demo ./demo
	@exec $(BIN)/demo --play=$(DEMO) $(DEMO_FLAGS)

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Lint both modules; the package table is enforced here.
	$(GOLANGCI_LINT) run --config $(ROOT)/.golangci.yml ./...
	cd test && $(GOLANGCI_LINT) run --config $(ROOT)/.golangci.yml ./...

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format both modules.
	$(GOLANGCI_LINT) fmt --config $(ROOT)/.golangci.yml ./...
	cd test && $(GOLANGCI_LINT) fmt --config $(ROOT)/.golangci.yml ./...

##@ Tools

.PHONY: tools
tools: $(CONTROLLER_GEN) $(KUSTOMIZE) $(GOLANGCI_LINT) ## Build the pinned tools into bin/tools.

$(BIN)/tools/controller-gen-%: hack/tools/controller-gen/go.mod hack/tools/controller-gen/go.sum
	@hack/tools/build.sh controller-gen $@

$(BIN)/tools/kustomize-%: hack/tools/kustomize/go.mod hack/tools/kustomize/go.sum
	@hack/tools/build.sh kustomize $@

$(BIN)/tools/golangci-lint-%: hack/tools/golangci-lint/go.mod hack/tools/golangci-lint/go.sum
	@hack/tools/build.sh golangci-lint $@
