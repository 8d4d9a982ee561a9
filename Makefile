# make help shows what there is. Every check is a pair: verify-X tells, update-X mends.

GO            ?= go
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMAGE         ?= ghcr.io/sysdig-metrics/sysdig-metrics-operator:$(VERSION)
CONTAINER     ?= docker
# In CI each fuzz target gets more inputs, and no test is taken from the cache.
FUZZINPUTS    ?= $(if $(CI),30000,10000)
COUNT          = $(if $(CI),-count=1)
CONTROLLER_GEN = $(GO) tool -modfile=tools/go.mod controller-gen
GOLANGCI_LINT  = $(GO) tool -modfile=tools/lint/go.mod golangci-lint
GOVULNCHECK    = $(GO) tool -modfile=tools/vuln/go.mod govulncheck
HELM           = $(GO) tool -modfile=tools/helm/go.mod helm
KUSTOMIZE      = $(GO) tool -modfile=tools/helm/go.mod kustomize
LDFLAGS        = -s -w -X main.version=$(VERSION)

# Everything is compiled with the same flags: tests, tools, the control plane of the tests, and the operator in its image. So what they have
# in common is compiled once. Only the race detector needs cgo, and all it is linked with a second time. EXEC is for hack/times.
export CGO_ENABLED = 0
export GOFLAGS     = -trimpath -buildvcs=false $(EXEC)
RACE               = CGO_ENABLED=1 $(GO) test -race

# The packages whose tests start a control plane; those that wait most come first. test/cluster compares the lists with the imports.
PLANE       = ./test/e2e ./test/drill ./test/packages ./test/upgrade ./test/manifests ./test/bench ./test/cluster
PLANE_RACED = ./test/serving ./test/writes
# Where goroutines meet, the race detector looks. The other packages are pure, or talk to processes.
RACED       = ./cmd/sysdig-standin/internal/standin ./controllers ./internal/hpas ./internal/objects ./internal/pods ./internal/poller \
              ./internal/provider ./internal/registry ./internal/replicas ./internal/serving ./internal/sysdig ./internal/sysdig/sysdigtest
# One package by hand: make unit PKG=./internal/query, with ARGS for the go command, such as ARGS='-run TestX -count=50'.
PKG         =
ARGS        =

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it

.PHONY: demo
demo: binaries ## Play the flask story on a real control plane. KEEP=1 leaves it running.
	$(GO) run ./test/demo $(if $(KEEP),--keep)

.PHONY: demo-stop
demo-stop: ## End what make demo KEEP=1 left running.
	$(GO) run ./test/demo --stop

##@ Test

.PHONY: check
check: verify unit ## Run every check, and the tests that need no control plane.

.PHONY: test
test: compile ## Run every check and every test. What waits runs beside what computes.
	@$(MAKE) --no-print-directory -j4 plane plane-raced e2e-node check-and-fuzz

# Builds that run beside each other compile the same packages each for itself. So everything is compiled first, once.
.PHONY: compile
compile:
	@$(GO) run ./test/cluster/build $(if $(filter 0,$(shell id -u)),--node)
	@echo 'compiling the tools, the tests, and what needs the race detector (some minutes the first time)'
	@$(foreach tool,CONTROLLER_GEN KUSTOMIZE HELM GOLANGCI_LINT,$(subst go.mod ,go.mod -n ,$($(tool))) >/dev/null &&) true
	@$(GO) list -export -deps -test ./... >/dev/null
	@CGO_ENABLED=1 $(GO) list -race -export -deps -test $(RACED) $(PLANE_RACED) ./cmd/sysdig-metrics-operator ./test/e2e/foreign >/dev/null

.PHONY: check-and-fuzz
check-and-fuzz:
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory fuzz

.PHONY: unit
unit: ## Run the tests that need no control plane; with PKG=./internal/query those of one package, whichever.
ifdef PKG
	$(if $(filter $(RACED) $(PLANE_RACED),$(PKG:/=)),$(RACE),$(GO) test) -timeout=30m $(ARGS) $(PKG)
else
	$(GO) test $(COUNT) -timeout=30m $$($(GO) list ./... | grep -v $(patsubst .%,-e '%$$',./test/node $(PLANE) $(PLANE_RACED) $(RACED)))
	$(RACE) $(COUNT) -timeout=30m $(RACED)
endif

# Never from the cache: the go command does not know which manifests these tests apply and which programs they start.
.PHONY: plane plane-raced
plane: binaries ## Run the tests and the end-to-end stories that need a control plane, several packages at a time.
	$(GO) test -count=1 -p=3 -timeout=30m $(PLANE)
plane-raced: binaries
	$(RACE) -count=1 -timeout=30m $(PLANE_RACED)

.PHONY: e2e-oldest
e2e-oldest: ## Apply the manifests to the oldest Kubernetes that is supported, and play some of the stories there.
	@$(GO) run ./test/cluster/build --oldest
	$(GO) test -count=1 -timeout=15m ./test/manifests -oldest
	$(GO) test -count=1 -timeout=15m ./test/e2e -oldest -run 'TestStory|TestDiscovery|TestDelete|TestExternal|TestPods'

.PHONY: e2e-node
e2e-node: ## Play the story with everything in pods on a real node, from the image. Needs root on Linux. KEEP=1 leaves it running.
	@./hack/node-packages.sh
	KEEP=$(KEEP) $(GO) test -count=1 -v -timeout=$(if $(KEEP),0,45m) ./test/node

PARTS ?= binaries verify-generated verify-chart verify-licences verify-tidy verify-lint verify-docs unit plane plane-raced e2e-node fuzz
.PHONY: times
times: ## Measure the gate part by part; with PARTS=test as a whole. COLD=1 begins with empty caches.
	$(GO) run ./hack/times $(if $(COLD),--cold) $(PARTS)

.PHONY: fuzz
fuzz: ## Run each fuzz target with FUZZINPUTS inputs.
	@./hack/fuzz.sh $(FUZZINPUTS)

.PHONY: bench
bench: binaries ## Measure reads and memory beside a no-op provider, as ratios.
	$(GO) run ./test/bench

.PHONY: bench-installed
bench-installed: binaries ## Measure reads of the operator as installed beside a no-op, as processes in turns (2 minutes).
	$(GO) run ./test/installed

.PHONY: bench-scale
bench-scale: binaries ## Measure 100 to 10,000 bindings with HPAs on a real control plane (75 minutes).
	$(GO) run ./test/scale

.PHONY: drill
drill: binaries ## Play outages to 200 Deployments with HPAs on a real control plane (40 minutes).
	$(GO) run ./test/drill

.PHONY: chaos
chaos: binaries ## Update, crash and starve two replicas under constant reads (20 minutes).
	$(GO) run ./test/chaos

.PHONY: rotations
rotations: binaries ## Replace 100 certificates and 100 tokens under constant reads (10 minutes).
	$(GO) run ./test/chaos --play=rotations --deployments=8

.PHONY: siege
siege: binaries ## Play what tenants and strangers may do to the operator within 512 MiB of memory (8 minutes).
	$(GO) run ./test/siege

.PHONY: soak
soak: binaries ## Leave two replicas with 1,000 bindings alone for half an hour, and see that nothing grows.
	$(GO) run ./test/chaos --play=soak

.PHONY: binaries
binaries: ## Build the control plane of the tests, once per version, into the user's cache folder.
	@$(GO) run ./test/cluster/build

##@ Develop

.PHONY: build
build: ## Build the operator into bin/.
	$(GO) build -ldflags "$(LDFLAGS)" -o bin/sysdig-metrics-operator ./cmd/sysdig-metrics-operator

.PHONY: image
image: ## Build the container image.
	$(CONTAINER) build --build-arg VERSION=$(VERSION) -t $(IMAGE) .

.PHONY: verify
verify: verify-generated verify-chart verify-tidy verify-licences verify-lint verify-docs ## Run every check.

.PHONY: update
update: update-generated update-chart update-tidy update-licences update-lint update-docs ## Mend what the checks can mend.

.PHONY: verify-generated update-generated
verify-generated: ## Check that generated code and manifests are up to date.
	@echo 'verifying generated code (builds controller-gen the first time)'
	@./hack/verify-generated.sh
update-generated: ## Generate deepcopy functions, CRDs and roles.
	$(CONTROLLER_GEN) object paths=./api/...
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:artifacts:config=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=sysdig-metrics-operator paths=./controllers/... paths=./internal/replicas paths=./internal/hpas output:rbac:artifacts:config=config/rbac

.PHONY: verify-chart update-chart
verify-chart: ## Check that the Helm chart is what the manifests say.
	@echo 'verifying the chart (builds kustomize and helm the first time, some minutes)'
	@$(GO) run ./hack/chart -verify || { echo 'Run "make update-chart".'; exit 1; }
	@for values in /dev/null charts/sysdig-metrics-operator/values-production.yaml; do \
	  $(HELM) lint --strict --quiet --values $$values charts/sysdig-metrics-operator || exit 1; done
update-chart: ## Generate the Helm chart from the manifests.
	$(GO) run ./hack/chart

.PHONY: verify-licences update-licences
verify-licences: ## Check under which licences the dependencies are.
	@echo 'verifying licences'
	@$(GO) run ./hack/licences -verify || { echo 'Run "make update-licences"; a licence that is refused has to go.'; exit 1; }
update-licences: ## List the licences of the dependencies.
	$(GO) run ./hack/licences

.PHONY: verify-platforms
verify-platforms: ## Check that the operator compiles for arm64, too. The release job of CI does; here it compiles every dependency once more.
	@echo 'compiling for linux/arm64'
	@GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/sysdig-metrics-operator

.PHONY: vuln
vuln: ## Look for known vulnerabilities that the code reaches. Asks https://vuln.go.dev.
	@$(GOVULNCHECK) ./cmd/... ./internal/... ./controllers/... || { code=$$?; \
	  [ $$code -eq 3 ] || echo 'This check has told nothing: it needs https://vuln.go.dev, and is for that reason no part of "make verify".'; exit $$code; }

.PHONY: verify-tidy update-tidy
verify-tidy: ## Check go.mod and go.sum.
	@echo 'verifying go.mod'
	@$(GO) mod tidy -diff || { echo 'Run "make update-tidy".'; exit 1; }
update-tidy: ## Tidy go.mod and go.sum.
	$(GO) mod tidy

.PHONY: verify-lint update-lint
verify-lint: ## Lint.
	@echo 'linting (builds golangci-lint the first time, some minutes)'
	@$(GOLANGCI_LINT) run ./... || { echo 'Run "make update-lint" and mend the rest by hand.'; exit 1; }
update-lint: ## Format, and mend what the linters can mend.
	$(GOLANGCI_LINT) run --fix ./...

.PHONY: verify-docs update-docs
verify-docs: ## Check the links of the docs and the vocabulary in them.
	$(GO) test ./docs/...
update-docs: ## Write the golden files of what users see.
	$(GO) test -count=1 -timeout=30m ./test/e2e -run TestWords -update
	$(GO) test -count=1 -timeout=30m ./test/manifests -run TestThePageAboutRBAC -update

##@ Release

.PHONY: package
package: ## Build the manifests and the chart of a release into bin/release/.
	rm -rf bin/release && mkdir -p bin/release
	for overlay in default production cert-manager custom-only external-only; do \
	  folder=config/overlays/$$overlay; [ -d $$folder ] || folder=config/$$overlay; \
	  $(KUSTOMIZE) build $$folder > bin/release/sysdig-metrics-operator-$$overlay.yaml || exit 1; done
	$(HELM) package charts/sysdig-metrics-operator --destination bin/release

.PHONY: verify-version
verify-version: ## Check that manifests and chart name the image of VERSION.
	@grep -q 'newTag: $(VERSION)$$' config/manager/kustomization.yaml && grep -q '^appVersion: $(VERSION)$$' charts/sysdig-metrics-operator/Chart.yaml || \
	  { echo 'config/manager/kustomization.yaml does not name $(VERSION): set newTag, and run "make update-chart".'; exit 1; }
