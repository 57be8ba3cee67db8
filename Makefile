# SPDX-License-Identifier: Apache-2.0
#
# The two commands of a newcomer are `make demo` and `make test`; `make help` lists the rest.
# Everything is done by meson and by the scripts in tools/; this file gives them short names.

BUILD  ?= build
PREFIX ?= /usr
JOBS   ?= $(shell nproc)

.PHONY: all demo test test-peers bench install clean help packages \
	check check-format check-tidy check-cppcheck check-analyzer check-asan check-tsan \
	check-valgrind check-fuzz check-docs check-cases format

all: $(BUILD)/build.ninja
	meson compile -C $(BUILD) -j $(JOBS)

$(BUILD)/build.ninja:
	meson setup $(BUILD) --prefix=$(PREFIX)

packages:
	@tools/install-packages build test

demo: packages
	@$(MAKE) --no-print-directory all
	@tools/demo $(BUILD)

test: packages
	@$(MAKE) --no-print-directory all
	@tools/run-tests $(BUILD) --no-suite peers

# Those that run against published packages: PyTorch and others, in a venv below the build directory.
test-peers: packages
	@$(MAKE) --no-print-directory all
	@tools/python-env $(BUILD) --peers >/dev/null
	@tools/run-tests $(BUILD) --suite peers --logbase peers

bench: packages
	@tools/install-packages bench
	@$(MAKE) --no-print-directory all
	@bench/run --build $(BUILD)

# A folder that shows and measures on a machine with a GPU, where nothing can be installed.
gpu-bundle: all
	@tools/gpu-bundle $(BUILD)

# A prefix other than the build's is set first, so that the pkg-config file says the truth.
install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	DESTDIR=$(DESTDIR) meson install -C $(BUILD)

clean:
	rm -rf build build-*

format:
	tools/check-format --fix

check:
	bash .ci/run

check-format check-tidy check-cppcheck check-analyzer check-valgrind check-docs check-cases:
	@tools/install-packages build test check
	tools/$@

check-asan check-tsan:
	@tools/install-packages build test check
	tools/check-sanitizers $(@:check-%=%)

check-fuzz:
	@tools/install-packages build test check
	tools/fuzz 30

help:
	@echo 'make                 builds the library and the command, in $(BUILD)/'
	@echo 'make demo            installs what is missing, builds, and shows a load of 1 GiB'
	@echo 'make test            installs what is missing, builds, and runs the tests'
	@echo 'make test-peers      the same with published packages (PyTorch, safetensors, fastsafetensors ...)'
	@echo 'make bench           measures, beside the best other tools'
	@echo 'make gpu-bundle      a folder that shows and measures on a machine with a GPU'
	@echo 'make install         into $$(DESTDIR)$$(PREFIX); PREFIX is /usr unless given'
	@echo 'make format          lays out the code as .clang-format says'
	@echo 'make check           everything that must hold before a change lands (.ci/run)'
	@echo 'make check-NAME      one of format tidy cppcheck analyzer asan tsan valgrind fuzz docs cases'
	@echo 'make clean           removes all build folders'
