# `make` alone prints what can be done.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build slim test unit fuzz vm vm-all demo lint bench bench-compare cover clean

cache := $(or $(SOPS_INITRD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sops-initrd)
# Go as scripts/setup brought it, where the machine has none that is new enough.
export PATH := $(cache)/go/bin:$(PATH)

FUZZTIME ?= 5s
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r t d; do printf '  make %-13s %s\n' "$$t" "$$d"; done

setup: ## install Debian packages (root), fetch Go and a kernel, where they are missing
	@scripts/setup

build: ## the programs, into build/bin
	mkdir -p build/bin
	go build -trimpath -o build/bin/ ./cmd/...

test: setup ## everything: unit, script and differential tests, a short fuzz run, kernels in QEMU
	@scripts/run-tests

unit: ## the Go tests that need neither QEMU nor anything installed
	go test $$(go list ./... | grep -v /vmtests)

fuzz: ## each fuzz target for FUZZTIME (5s)
	@scripts/run-fuzz $(FUZZTIME)

vm: setup ## the tests that boot kernels in QEMU
	@scripts/run-vm-tests build/vmtests.json 40m

vm-all: export VMTESTS_ALL = 1
vm-all: setup ## the same with every long case on every kernel; VMTEST_KERNEL=DIR boots one unpacked kernel package alone
	@scripts/run-vm-tests build/vm-all.json 4h

demo: setup ## from a sops file to an unlocked disk in QEMU, step by step; KEEP=1 keeps the images
	@go run ./vmtests/demo $(if $(KEEP),-keep)

lint: ## gofmt, vet, golangci-lint (pinned)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [[ -z $$unformatted ]] || { echo "gofmt -w $$unformatted" >&2; exit 1; }
	go vet ./...
	go run $(GOLANGCI) run --allow-parallel-runners ./...

slim: ## the small programs, and the full ones that they hand over to, into build/slim
	@scripts/slim build build/slim

bench: setup ## whole programs beside other tools (root); BENCH_AGAINST=PROGRAM, RUN=REGEXP, RUNS=N, UPDATE=1 for docs/performance.md
	@scripts/bench $(if $(BENCH_AGAINST),-against '$(BENCH_AGAINST)') $(if $(RUN),-run '$(RUN)') $(if $(RUNS),-runs '$(RUNS)') $(if $(UPDATE),-update docs/performance.md)

bench-compare: setup ## Go benchmarks and instruction counts of this tree beside BASE (the branch point, or the commit before)
	@scripts/bench-compare $(BASE)

cover: ## coverage of the tests without QEMU, into build/cover.html
	mkdir -p build
	go test -coverprofile build/cover.out $$(go list ./... | grep -v /vmtests)
	go tool cover -html build/cover.out -o build/cover.html

clean: ## what was built here; the cache of kernels stays
	rm -rf build result result-*
