# Test programs and the suites that run them. Included by Makefile.

RUN := tests/run.py

.PHONY: programs unit-programs fuzz-programs no-fuzzer test-tools check sim test test-kernels \
	test-kernels-smp test-windows fuzz coverage clang valgrind mutants demo demo-kernel bench \
	bench-kernel bench-flood test-strangers soak soak-kernel

# --- programs -------------------------------------------------------------------------------

kernel  := $(if $(filter win,$(TARGET)),,$(patsubst %.c,$(BUILD)/%,$(wildcard tests/kernel/*.c)))
units   := $(patsubst tests/unit/%.c,$(BUILD)/%$(EXE),$(wildcard tests/unit/test_*.c))
agents  := $(patsubst %.c,$(BUILD)/%$(EXE),$(filter-out $(away),$(wildcard tests/agent/test_*.c)))
sims    := $(if $(wildcard tests/sim/*.c),$(BUILD)/sim$(EXE))
fuzzers := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
# The stand-in of Windows' filter engine, in one folder with a program, which loads it from there.
standin := $(if $(filter win,$(TARGET)),$(BUILD)/standin/fwpuclnt.dll $(BUILD)/standin/sapair.exe)
# Libraries that tests/harness/uml.py preloads into user-mode Linux.
preload := $(if $(filter win,$(TARGET)),,$(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/kernel/preload/*.c)))
# The program with fault injection: tests/support/ipsec_fault.h.
test_program := $(program:$(BUILD)/%=$(BUILD)-test/%)
# Prints the table of the config file, for scripts/make-schemas.py.
dump    := $(if $(filter linux,$(TARGET)),$(BUILD)/config_table)
tests   := $(units) $(agents) $(sims) $(kernel) $(preload) $(program) $(test_program) $(standin) $(dump)

# Unit tests and the simulation are linked with proto/ and crypto/ only: a call upwards does not link.
$(units): $(BUILD)/%$(EXE): $(BUILD)/tests/unit/%.o $(call o,$(proto) $(crypto))
$(agents): %$(EXE): %.o $(call o,$(agent) $(proto) $(crypto))
# The simulation replaces the hashes by cheap ones: tests/sim/fake_hkdf.c.
$(sims): $(call o,$(wildcard tests/sim/*.c) $(proto) $(filter-out crypto/hkdf.c,$(crypto)))
$(units) $(agents) $(sims): $(if $(support),$(BUILD)/support.a)
	@echo '  LD      $@'
	@$(CC) $(all_ld) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(DEPS_LIBS) $(LDLIBS)

# Windows' linker needs the symbols of tests/support/ipsec_fault.c even where they are not used.
$(BUILD)/tests/agent/test_ipsec_fault$(EXE): link += -Wl,--wrap=ipsec_open

$(test_program): $(call o,agent/main.c $(agent) $(proto) $(crypto) tests/support/ipsec_fault.c)
	@echo '  LD      $@'
	@mkdir -p $(@D)
	@$(CC) $(all_ld) -Wl,--wrap=ipsec_open -o $@ $^ $(DEPS_LIBS) $(LDLIBS)

$(dump): $(BUILD)/%: $(BUILD)/tests/docs/%.o $(call o,$(proto) $(crypto))
	@echo '  LD      $@'
	@$(CC) $(all_ld) -o $@ $^ $(DEPS_LIBS) $(LDLIBS)

$(kernel): %: %.o $(call o,agent/ipsec/xfrm/message.c $(proto) $(crypto))
	@echo '  LD      $@'
	@$(CC) $(all_ld) -o $@ $^ $(DEPS_LIBS) $(LDLIBS)

$(fuzzers): $(BUILD)/%: $(BUILD)/tests/fuzz/%.o $(call o,$(proto) $(crypto))
	@echo '  LD      $@'
	@$(CC) $(all_ld) -fsanitize=fuzzer -o $@ $^ $(DEPS_LIBS) $(LDLIBS)

$(BUILD)/standin/fwpuclnt.dll: $(call o,$(wildcard tests/windows/standin/*.c))
	@echo '  LD      $@'
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) $(harden) -Wl,--no-insert-timestamp -shared -static -o $@ $^ -lws2_32
$(BUILD)/standin/sapair.exe: $(BUILD)/sapair.exe
	@mkdir -p $(@D) && ln -f $< $@

# Makes calls of an agent to libc fail (tests/fault). Not with a sanitizer, which intercepts them itself.
fault   := $(if $(filter linux,$(TARGET)),$(if $(SAN)$(clang),,$(BUILD)/fault.so))
tests   += $(fault)
$(BUILD)/fault.so: tests/fault/fault.c
	@echo '  LD      $@'
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O1 -Wall -Wextra -Werror -fPIC -shared -o $@ $< -ldl

$(preload): $(BUILD)/%.so: %.c
	@echo '  LD      $@'
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -D_GNU_SOURCE -O2 $(warn) -fPIC -shared -o $@ $< -ldl

$(BUILD)/support.a: $(call o,$(support))
	@rm -f $@ && ar rcs $@ $^

# --- suites ---------------------------------------------------------------------------------

programs: $(tests)

check: $(units) ## the unit tests only
	@$(RUN) --build $(BUILD) unit

sim: $(sims) ## the simulation, all of it
	@$(RUN) --build $(BUILD) sim

# Each build, then all suites (tests/run.py --list).
test: | test-tools ## all tests; the last line is "N passed, N failed"
	@$(MAKE) programs
	@$(MAKE) SAN=address,undefined programs
	@$(MAKE) CC=clang programs
	$(if $(fuzzers),@$(MAKE) $(fuzz_build) fuzz-programs)
	@if command -v x86_64-w64-mingw32-gcc >/dev/null; then $(MAKE) TARGET=win programs; fi
	@$(RUN)

KERNELS = 6.1,6.12,7.x
test-kernels: programs ## the kernel suite on Linux 6.1, 6.12 and 7.x, in user-mode Linux
	@scripts/setup.sh kernels
	@$(RUN) --build $(BUILD) --kernels $(KERNELS)

test-kernels-smp: programs ## the same on a kernel built here, with two processors
	@scripts/setup.sh kernels-smp
	@$(RUN) --build $(BUILD) --kernels smp

test-tools:
	@scripts/setup.sh build test

test-windows: $(program) ## the Windows programs under Wine
	@scripts/setup.sh win wine
	@$(MAKE) TARGET=win programs
	@$(RUN) windows

fuzz_build := CC=clang SAN=fuzzer-no-link,address,undefined
fuzz_dir   := build/linux-clang-fuzzer-no-link,address,undefined
ifneq ($(findstring fuzzer,$(SAN)),)
fuzz-programs: $(if $(shell echo 'int LLVMFuzzerTestOneInput(void){return 0;}' | \
	$(CC) -fsanitize=fuzzer -x c - -o /dev/null 2>&1),no-fuzzer,$(fuzzers))
endif
no-fuzzer:
	@echo 'SKIP fuzz: $(CC) has no libFuzzer (Debian: libclang-rt-N-dev)'

SECONDS = 60
fuzz: | test-tools ## each fuzz target for SECONDS of processor time; finds go to build/fuzz
	@$(MAKE) $(fuzz_build) fuzz-programs
	@printf '%s\n' $(patsubst fuzz_%,%,$(notdir $(fuzzers))) | \
		xargs -P $$(nproc) -I{} scripts/fuzz.sh $(fuzz_dir) {} $(SECONDS)

# Ends with 1 below COVERAGE per cent of lines.
COVERAGE = 90
coverage: | test-tools ## lines of proto/ and crypto/ that unit tests and fuzz seeds reach
	@$(MAKE) CC=clang BUILD=build/coverage SAN=fuzzer-no-link \
		CFLAGS='-O1 -g -fprofile-instr-generate -fcoverage-mapping' \
		fuzz-programs unit-programs
	@scripts/coverage.sh build/coverage $(COVERAGE)

unit-programs: $(units)

clang: | test-tools ## build everything with clang
	@$(MAKE) CC=clang programs

demo: $(program) ## two agents pair and verify it, with the kernel's IPsec where this machine can
	@SAPAIR=$(abspath $(BUILD)/sapair) scripts/demo.sh

demo-kernel: $(program) $(preload) ## the same in user-mode Linux, whose kernel has IPsec
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 -B tests/kernel/demo.py

bench-kernel: $(program) $(kernel) $(preload) ## measure with the kernel's IPsec, in user-mode Linux
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 -B tests/bench/bench_kernel.py $(BENCH)

bench: $(program) ## measure
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 tests/bench/bench.py

bench-flood: $(program) ## measure an honest peer while another one floods
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 -B tests/bench/flood.py

test-strangers: $(program) ## 100,000 connections that are closed at once, from a peer's address
	@SAPAIR=$(abspath $(BUILD)/sapair) RESETS=100000 python3 -B tests/soft/test_floods.py closed

MINUTES = 1
soak: $(program) ## rekeys and random faults for MINUTES
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 -B tests/soak/soak.py $(MINUTES)

soak-kernel: $(program) $(kernel) $(preload) ## the same with the kernel's IPsec, in user-mode Linux
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 -B tests/soak/soak_kernel.py $(MINUTES)

# Finds uses of uninitialised memory, which the sanitizers do not. Ends with 1 at the first report.
memcheck := valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
	--child-silent-after-fork=yes
valgrind: $(units) $(program) ## unit tests and pairings under valgrind
	@for t in $(units); do echo "  $$t"; SAPAIR_MEMCHECK=1 $(memcheck) $$t >build/valgrind.log 2>&1 || \
		{ cat build/valgrind.log; exit 1; }; done
	@SAPAIR=$(abspath $(BUILD)/sapair) SAPAIR_SAN=1 SAPAIR_WRAP='$(memcheck)' \
		python3 -B tests/soft/test_pairing.py

mutants: programs ## remove one check at a time: the tests must fail
	@python3 -B tests/mutants/mutants.py
