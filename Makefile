# A thin face for people: every target is a few words for cmake, ctest or a script.
#
#   make test JOBS=4         tests at a time (2)
#   make build DEPS=true     install nothing, use what is there
#   make bench ARGS='--op attention --json'

DEPS ?= scripts/install-deps
JOBS ?= 2
ARGS ?=
TARGET ?= safetensors
SECONDS ?= 600
CC ?= cc

CTEST = ctest --output-on-failure --no-tests=error -j $(JOBS)
# The thread sanitizer of gcc 12 does not start where the kernel scatters addresses widely.
NO_ASLR = $(shell setarch -R true 2>/dev/null && echo setarch -R)
TIDY_SOURCES = tests/tidy.c tests/tidy_source.c

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL = help
.PHONY: help deps build demo test dev asan tsan tidy format bench versus files fuzz libfuzzer cross clean \
        kernels-report gpu-bundle gpu-check

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: # the packages that building and testing need; says so when there is nothing to do
	@$(DEPS)

build: deps ## install what is missing and build into build/
	cmake --preset release
	cmake --build build

demo: build ## build, show what this machine can do, time the ops
	build/atelier doctor
	build/atelier bench ops --quick

test: build ## build and run every test
	$(CTEST) --test-dir build

dev: deps ## debug build into build/dev, warnings are errors, and its tests
	cmake --preset dev
	cmake --build build/dev
	$(CTEST) --test-dir build/dev

asan: deps ## the tests under the address and undefined behaviour sanitizers
	cmake --preset asan
	cmake --build build/asan
	UBSAN_OPTIONS=print_stacktrace=1 $(CTEST) --test-dir build/asan

tsan: deps ## the tests under the thread sanitizer
	cmake --preset tsan
	cmake --build build/tsan
	$(NO_ASLR) $(CTEST) --test-dir build/tsan

tidy: build/tidy ## the style guide as a test: layers, sizes, banned calls, format
	@status=0; build/tidy . || status=1; scripts/format-check || status=1; exit $$status

fuzz: build ## 100,000 damaged files for every parser, 1,000 killed imports (ARGS='--count N --target png')
	build/tests/fuzz_mutate tests/golden --count 100000 $(ARGS)
	tests/kill_test.sh build/atelier 1000

libfuzzer: ## a parser guided by coverage, under clang's sanitizers (TARGET=png SECONDS=600)
	@$(DEPS) --dev
	cmake --preset fuzz
	cmake --build build/fuzz --target libfuzzer_$(TARGET)
	@mkdir -p build/fuzz/corpus/$(TARGET)
	build/fuzz/tests/libfuzzer_$(TARGET) -max_total_time=$(SECONDS) -timeout=5 -max_len=65536 \
	    build/fuzz/corpus/$(TARGET) tests/golden/files tests/golden/pictures

files: build ## files beside h5py, safetensors and Pillow; 17 GB of disk
	benchmarks/versus/run --setup
	benchmarks/files/run $(ARGS)

format: ## rewrite the sources as .clang-format wants them
	scripts/format-check --fix

bench: build ## time every op at the shapes that matter
	build/atelier bench ops $(ARGS)

versus: build ## the same ops in torch and OpenVINO, in turns; sets up its own Python
	benchmarks/versus/run $(ARGS)

kernels-report: build ## registers, spills and occupancy of the CUDA kernels, into benchmarks/results/kernels.md
	scripts/kernels-report build/cuda >benchmarks/results/kernels.md
	scripts/kernels-report build/cuda benchmarks/results/kernels.md

gpu-bundle: deps ## sources and programs for a machine with a GPU, in one file (build/gpu-bundle.tar.xz)
	cmake --preset gpu
	cmake --build --preset gpu
	scripts/gpu-bundle $(ARGS)

gpu-check: ## prove and measure on this machine's GPU (ARGS='--build', '--resume', '--dry-run')
	scripts/gpu-check $(ARGS)

cross: ## build for aarch64 and check every op under an emulator
	@$(DEPS) --cross
	scripts/cross-aarch64

clean: ## remove what was built; the Python of `make versus` stays (build/versus-env)
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name versus-env -exec rm -rf {} +

build/tidy: $(TIDY_SOURCES) tests/tidy_source.h
	@mkdir -p build
	$(CC) -std=c11 -O1 -I. $(TIDY_SOURCES) -o $@
