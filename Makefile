# `make` alone prints what can be done. The environment of Go is decided here, once.

# NixOS has no /bin/bash; this line is run by /bin/sh.
SHELL := $(or $(shell command -v bash 2>/dev/null),$(error bash is not installed))
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build demo test unit race fuzz vm vm-all lint workflows reproducible cross slim check-slim check-nix check-package
.PHONY: conformance bench bench-compare cover clean clean-cache

# Go as scripts/setup brought it, where the machine has none that is new enough; the same toolchain
# for everything, linters included; no cgo, so that programs behave alike wherever they are built.
cache := $(or $(SOPS_INITRD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sops-initrd)
export PATH := $(cache)/go/bin:$(PATH)
export GOTOOLCHAIN ?= $(shell sed -n 's/^toolchain //p' go.mod)
export CGO_ENABLED ?= 0
# Where git refuses (somebody else's checkout) or there is none (a tarball), Go must not ask it.
ifeq ($(shell git rev-parse --verify HEAD 2>/dev/null || echo none),none)
export GOFLAGS := $(GOFLAGS) -buildvcs=false
endif

FUZZTIME ?= 5s
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.7
DEADCODE := golang.org/x/tools/cmd/deadcode@v0.47.0
runner = go build -o build/runner ./internal/test/runner && exec build/runner
shipped := ./cmd/... ./initrd/... ./internal/...
# What parses bytes and sizes, and links none of sops's SDKs.
core := ./initrd ./internal/atomicfile ./internal/generation ./internal/inputfile \
  ./internal/initrdsecrets/record ./internal/manifest ./internal/pattern ./internal/sshkey

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
	  while IFS='|' read -r t d; do printf '  make %-13s %s\n' "$$t" "$$d"; done

build: ## the programs, into build/bin
	@scripts/setup build
	mkdir -p build/bin
	go build -o build/bin/ ./cmd/...

demo: ## from a sops file to an unlocked disk in QEMU, step by step; KEEP=1 keeps the images
	@scripts/setup demo
	@echo "compiling the demo"; go build -o build/demo/demo ./vmtests/demo
	@exec build/demo/demo $(if $(KEEP),-keep)

test: export VMTESTS_ONE_KERNEL = 1
test: ## unit, script and differential tests, kernels in QEMU (one kernel), a short fuzz run
	@scripts/setup test
	@FUZZTIME=$(FUZZTIME) $(runner) unit vm fuzz

unit: ## the Go tests that need neither QEMU nor anything installed; ARGS for go test
	@scripts/setup build
	@$(runner) unit $(if $(ARGS),-- $(ARGS))

race: ## packages with goroutines under the race detector (needs a C compiler)
	@scripts/setup build
	CGO_ENABLED=1 scripts/slim test -race -short $$(go list -f '{{.ImportPath}} {{.Imports}} {{.TestImports}}' ./initrd/... ./internal/... | \
	  sed -nE 's/^([^ ]+) .*[[ ](sync|os\/signal|golang\.org\/x\/sync\/[a-z]+)[] ].*/\1/p')

fuzz: ## each fuzz target for FUZZTIME (5s)
	@scripts/setup build
	@FUZZTIME=$(FUZZTIME) $(runner) fuzz

vm: ## the tests that boot kernels in QEMU, on every kernel; VMTESTS_RUN=REGEXP for some
	@scripts/setup all
	@$(runner) vm $(if $(VMTESTS_RUN),-- -run '$(VMTESTS_RUN)')

vm-all: export VMTESTS_ALL = 1
vm-all: export VMTESTS_TIMEOUT = 4h
vm-all: vm ## the same with every long case; VMTEST_KERNEL=DIR boots one unpacked kernel alone

lint: ## gofmt, vet, golangci-lint and deadcode (pinned), and what scripts begin with
	@scripts/setup build
	@unformatted=$$(gofmt -l $(filter-out build/ vendor/,$(wildcard */))); \
	  [[ -z $$unformatted ]] || { echo "gofmt -w $$unformatted" >&2; exit 1; }
	@! grep -H '^#! */bin/bash' scripts/* .ci/run nixos/tests/eval/run || { echo "NixOS has no /bin/bash" >&2; exit 1; }
	go vet ./...
	go run $(GOLANGCI) run --allow-parallel-runners ./...
	@$(deadcode)

# Functions that no program and no test calls. The stand-ins for parts of sops have its interfaces.
deadcode = dead=$$(go run $(DEADCODE) -test -filter '^github.com/sops-initrd/sops-initrd/([^i]|initrd|internal/([^s]|s[^l]))' ./...); \
  [[ -z $$dead ]] || { echo "$$dead" >&2; exit 1; }

cross: ## what other processors and an administrator's Mac compile: arm64, 32 bits (with tests), macOS
	@scripts/setup build
	GOARCH=arm64 scripts/slim test -exec true $$(go list $(shipped) | grep -v /internal/slim)
	GOARCH=386 go test -short $(core)
	for arch in amd64 arm64; do GOOS=darwin GOARCH=$$arch scripts/slim small build/macos-$$arch \
	  ./cmd/sops-initrd ./cmd/ssh-to-age ./cmd/ssh-to-pgp ./cmd/sops-init-gpg-key; done

workflows: ## the files of hosted CI
	@scripts/setup build
	go run $(ACTIONLINT)

reproducible: ## two builds, at two places and with two caches, have equal bytes
	@scripts/setup build
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	  for n in 1 2; do mkdir "$$dir/$$n"; git archive HEAD | tar -x -C "$$dir/$$n"; done; \
	  build() { (cd "$$dir/$$1" && go build -trimpath -buildvcs=false -ldflags '-s -w' -o ../out-$$1/ ./cmd/...); }; \
	  build 1; GOCACHE=$$dir/cache build 2; \
	  diff -r "$$dir/out-1" "$$dir/out-2" && echo "reproducible: $$(ls "$$dir/out-1" | wc -l) programs"

slim: ## the small programs, and the full ones that they hand over to, into build/slim
	@scripts/setup build
	@scripts/slim build build/slim

check-slim: ## what the slim programs link, their size, and the tests with them
	@scripts/setup build
	@scripts/check-slim

check-package: ## the phases of the Nix package, small programs, in a model of its sandbox (needs bubblewrap)
	@scripts/setup build
	@scripts/check-package small

check-nix: ## what can be checked of the Nix files without building
	@scripts/setup build
	@scripts/check-nix

conformance: ## what boots where installers call APPENDER=PROGRAM (as PROGRAM DIRECTORY IMAGE), as a table
	@scripts/setup build
	go test -c -o build/loader-conformance ./internal/test/loadertest
	build/loader-conformance -test.run TestLoaders_program -appender "$$(realpath -e '$(APPENDER)')"

bench: ## programs beside others (root); BENCH_AGAINST=PROGRAM, RUN=REGEXP, RUNS=N, UPDATE=1
	@scripts/setup all
	@scripts/bench $(if $(BENCH_AGAINST),-against '$(BENCH_AGAINST)') $(if $(RUN),-run '$(RUN)') \
	  $(if $(RUNS),-runs '$(RUNS)') $(if $(UPDATE),-update docs/performance.md)

bench-compare: ## Go benchmarks and instruction counts of this tree beside BASE (a commit)
	@scripts/setup all
	@scripts/bench-compare $(BASE)

cover: ## coverage of the tests without QEMU, into build/cover.html
	@scripts/setup build
	mkdir -p build
	go test -coverprofile build/cover.out $$(go list ./... | grep -v /vmtests)
	go tool cover -html build/cover.out -o build/cover.html

clean: ## what was built here
	rm -rf build result result-*

clean-cache: ## the kernels, userlands and Go toolchain that were downloaded
	rm -rf $(cache)
