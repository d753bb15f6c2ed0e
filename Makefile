# sapair: `make help` lists the targets, README.md says what they are for.
#
#     TARGET=linux|win               what to build for; win is cross-built with MinGW
#     SAN=address,undefined          sanitizers; such a build has a folder of its own
#     CC=clang                       another compiler, likewise
#     BUILD, PREFIX, DESTDIR         where to build and install
#
# A goal that needs tools or libraries installs and builds them first (scripts/setup.sh,
# scripts/build-deps.sh); both do nothing where nothing is missing.

VERSION := 0.1.0
TARGET  ?= linux
ifeq ($(origin CC),default)
CC      := $(if $(filter win,$(TARGET)),x86_64-w64-mingw32-gcc,gcc)
endif
clang   := $(findstring clang,$(notdir $(CC)))
BUILD   ?= build/$(TARGET)$(if $(clang),-clang)$(if $(SAN),-$(SAN))
PREFIX  ?= /usr/local
CFLAGS  ?= $(if $(SAN),-O1,-O2) -g
WERROR  ?= -Werror
RUN     := tests/run.py

ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2) --no-print-directory
endif
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:

# --- flags ----------------------------------------------------------------------------------

warn    := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wmissing-prototypes \
           -Wstrict-prototypes -Wvla -Wformat=2 $(WERROR)
define_ := -I. -DSAPAIR_VERSION='"$(VERSION)"'
harden  := -fstack-protector-strong
link    := -Wl,--gc-sections
sections := -ffunction-sections -fdata-sections
ifeq ($(TARGET),win)
EXE     := .exe
# Of data, MinGW would write the zeros into the file.
sections := -ffunction-sections
define_ += -D_WIN32_WINNT=0x0A00 -D__USE_MINGW_ANSI_STDIO=1
LDLIBS  += -lfwpuclnt -lcrypt32 -luuid
link    += -static -Wl,--no-insert-timestamp,--dynamicbase,--nxcompat,--high-entropy-va
else
harden  += -fPIE -fstack-clash-protection
link    += -pie -Wl,-z,relro,-z,now,-z,noexecstack
endif
ifneq ($(SAN),)
harden  += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
link    += -fsanitize=$(SAN)
else ifeq ($(filter -O0,$(CFLAGS)),)
harden  += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
all_c    = -std=gnu11 $(warn) $(define_) $(DEPS_CFLAGS) $(harden) $(CPPFLAGS) $(CFLAGS) \
           $(sections) -ffile-prefix-map=$(CURDIR)=. -MMD -MP
all_ld   = $(CFLAGS) $(harden) $(link) $(LDFLAGS)

# --- sources --------------------------------------------------------------------------------
# One variable for each floor. A file named after the other system is left out, and a test that
# has Unix sockets as strangers.

away    := $(if $(filter win,$(TARGET)),%_linux.c agent/os/linux/% agent/ipsec/xfrm/% agent/privsep/helper.c \
             %/test_ipsec_soft.c,%_win.c agent/os/windows/% agent/ipsec/wfp/%)
crypto  := $(wildcard crypto/*.c)
# Pure, like proto/: what the helper reads, and how it judges it.
pure    := agent/privsep/record.c agent/privsep/policy.c
proto   := $(wildcard proto/*/*.c) $(pure)
agent   := $(filter-out $(away) $(pure),$(wildcard agent/*/*.c agent/*/*/*.c agent/*/*/*/*.c))
support := $(wildcard tests/support/*.c)
o        = $(patsubst %.c,$(BUILD)/%.o,$(1))

kernel  := $(if $(filter win,$(TARGET)),,$(patsubst %.c,$(BUILD)/%,$(wildcard tests/kernel/*.c)))
units   := $(patsubst tests/unit/%.c,$(BUILD)/%$(EXE),$(wildcard tests/unit/test_*.c))
agents  := $(patsubst %.c,$(BUILD)/%$(EXE),$(filter-out $(away),$(wildcard tests/agent/test_*.c)))
sims    := $(if $(wildcard tests/sim/*.c),$(BUILD)/sim$(EXE))
fuzzers := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
program := $(if $(wildcard agent/main.c),$(BUILD)/sapair$(EXE))
# Windows' filter engine for tests, beside a program that finds it there first.
standin := $(if $(filter win,$(TARGET)),$(BUILD)/standin/fwpuclnt.dll $(BUILD)/standin/sapair.exe)
sbom    := $(if $(filter linux,$(TARGET)),$(program:%=$(BUILD)/sbom.json))
tests   := $(units) $(agents) $(sims) $(kernel) $(program) $(standin)

.PHONY: all setup deps demo demo-kernel soak-kernel test check sim fuzz lint lint-format lint-tidy lint-cppcheck \
	lint-floors lint-shell format bench bench-kernel clang coverage soak install deb clean distclean \
	help programs valgrind mutants

all: $(program) $(sbom) ## the program, build/linux/sapair

# --- libraries ------------------------------------------------------------------------------
# build/deps/TARGET.mk says where they are. It is made by building them, so that every goal that
# compiles finds them ready.

free_goals := windows dist-windows setup clean distclean help format lint-format lint-floors lint-shell
ifneq ($(filter-out $(free_goals),$(or $(MAKECMDGOALS),all)),)
include build/deps/$(TARGET).mk
endif

build/deps/$(TARGET).mk: scripts/setup.sh scripts/build-deps.sh
	@scripts/setup.sh $(if $(filter win,$(TARGET)),win,build)
	@scripts/build-deps.sh $(TARGET)

setup: ## install what building and testing need
	@scripts/setup.sh build test

deps: build/deps/$(TARGET).mk ## build the libraries that the system does not have

# --- programs -------------------------------------------------------------------------------

$(BUILD)/sapair$(EXE): $(call o,agent/main.c $(agent) $(proto) $(crypto))
	@echo '  LD      $@'
	@$(CC) $(all_ld) -o $@ $^ $(DEPS_LIBS) $(LDLIBS)

# Windows': version, manifest, the event log's texts.
ifeq ($(TARGET),win)
WINDRES ?= x86_64-w64-mingw32-windres
WINDMC  ?= x86_64-w64-mingw32-windmc
comma   := ,
space   := $(subst ,, )
$(BUILD)/sapair.exe: $(BUILD)/agent/sapair_win.res
$(BUILD)/agent/sapair_win.res: agent/sapair_win.rc agent/daemon/event.h scripts/make-events.py Makefile
	@echo '  RES     $@'
	@mkdir -p $(@D)
	@python3 scripts/make-events.py agent/daemon/event.h >$(@D)/events.mc
	@$(WINDMC) -h $(@D) -r $(@D) $(@D)/events.mc
	@$(WINDRES) -I $(@D) -D SAPAIR_VERSION='\"$(VERSION)\"' \
		-D VERSION_NUMBERS=$(subst .,$(comma),$(VERSION)),0 -O coff -o $@ $<
endif

# What the program is made of, in CycloneDX.
$(BUILD)/sbom.json: $(BUILD)/sapair$(EXE) scripts/sbom.py
	@python3 scripts/sbom.py $< $(VERSION) >$@

# A unit test and the simulation link the pure floors only: code that reaches upwards does not
# link. Of the support archive each takes what it names.
$(units): $(BUILD)/%$(EXE): $(BUILD)/tests/unit/%.o $(call o,$(proto) $(crypto))
$(agents): %$(EXE): %.o $(call o,$(agent) $(proto) $(crypto))
# The simulation has a cheap stand-in for the hashes: tests/sim/fake_hkdf.c.
$(sims): $(call o,$(wildcard tests/sim/*.c) $(proto) $(filter-out crypto/hkdf.c,$(crypto)))
$(units) $(agents) $(sims): $(if $(support),$(BUILD)/support.a)
	@echo '  LD      $@'
	@$(CC) $(all_ld) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(DEPS_LIBS) $(LDLIBS)

$(kernel): %: %.o $(call o,agent/ipsec/xfrm/message.c $(proto) $(crypto))
	@echo '  LD      $@'
	@$(CC) $(all_ld) -o $@ $^ $(DEPS_LIBS) $(LDLIBS)

$(fuzzers): $(BUILD)/%: $(BUILD)/tests/fuzz/%.o $(call o,$(proto) $(crypto))
	@echo '  LD      $@'
	@$(CC) $(all_ld) -fsanitize=fuzzer -o $@ $^ $(DEPS_LIBS) $(LDLIBS)

$(BUILD)/standin/fwpuclnt.dll: $(BUILD)/tests/windows/fwpuclnt.o
	@echo '  LD      $@'
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) $(harden) -Wl,--no-insert-timestamp -shared -static -o $@ $^ -lws2_32
$(BUILD)/standin/sapair.exe: $(BUILD)/sapair.exe
	@mkdir -p $(@D) && ln -f $< $@

# What lets calls of an agent fail (tests/fault): in front of libc, where no sanitizer stands.
fault   := $(if $(filter linux,$(TARGET)),$(if $(SAN)$(clang),,$(BUILD)/fault.so))
tests   += $(fault)
$(BUILD)/fault.so: tests/fault/fault.c
	@echo '  LD      $@'
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O1 -Wall -Wextra -Werror -fPIC -shared -o $@ $< -ldl

$(BUILD)/support.a: $(call o,$(support))
	@rm -f $@ && ar rcs $@ $^

$(BUILD)/%.o: %.c Makefile $(DEPS_STAMP)
	@echo '  CC      $@'
	@mkdir -p $(@D)
	@$(CC) $(all_c) -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# --- tests ----------------------------------------------------------------------------------

programs: $(tests)

check: $(units) ## unit tests only: quick
	@$(RUN) --build $(BUILD) unit

sim: $(sims) ## the simulation, all of it
	@$(RUN) --build $(BUILD) sim

# Everything: each build in turn, then the suites (tests/run.py --list).
test: | test-tools ## every test there is; closes with "N passed, N failed"
	@$(MAKE) programs
	@$(MAKE) SAN=address,undefined programs
	@$(MAKE) CC=clang programs
	$(if $(fuzzers),@$(MAKE) $(fuzz_build) fuzz-programs)
	@if command -v x86_64-w64-mingw32-gcc >/dev/null; then $(MAKE) TARGET=win programs; fi
	@$(RUN)

.PHONY: test-tools fuzz-programs no-fuzzer windows dist-windows test-windows
test-tools:
	@scripts/setup.sh build test

windows: ## build/win/sapair.exe, cross-built with MinGW
	@$(MAKE) TARGET=win

dist-windows: windows ## a zip for Windows hosts, build/sapair-VERSION-windows-x64.zip
	@scripts/make-dist-windows.py build/win/sapair.exe $(VERSION)

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
fuzz: | test-tools ## every fuzz target for SECONDS of the processor; finds go to build/fuzz
	@$(MAKE) $(fuzz_build) fuzz-programs
	@printf '%s\n' $(patsubst fuzz_%,%,$(notdir $(fuzzers))) | \
		xargs -P $$(nproc) -I{} scripts/fuzz.sh $(fuzz_dir) {} $(SECONDS)

# Unit tests and fuzz seeds, measured by clang; ends with 1 below COVERAGE per cent of lines.
COVERAGE = 90
coverage: | test-tools ## lines of proto/ and crypto/ that unit tests and fuzz seeds reach
	@$(MAKE) CC=clang BUILD=build/coverage SAN=fuzzer-no-link \
		CFLAGS='-O1 -g -fprofile-instr-generate -fcoverage-mapping' \
		fuzz-programs unit-programs
	@scripts/coverage.sh build/coverage $(COVERAGE)

.PHONY: unit-programs
unit-programs: $(units)

clang: | test-tools ## build everything with clang
	@$(MAKE) CC=clang programs

demo: $(program) ## two agents pair and prove it: by the kernel's IPsec where it can, else without
	@SAPAIR=$(abspath $(BUILD)/sapair) scripts/demo.sh

demo-kernel: $(program) ## the same in a kernel that has IPsec: user-mode Linux
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 -B tests/kernel/demo.py

bench-kernel: $(program) $(kernel) ## measure with the kernel's own IPsec, in user-mode Linux
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 -B tests/bench/bench_kernel.py $(BENCH)

bench: $(program) ## measure
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 tests/bench/bench.py

MINUTES = 1
soak: $(program) ## rekeys and random faults for MINUTES
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 -B tests/soak/soak.py $(MINUTES)

soak-kernel: $(program) $(kernel) ## the same with the kernel's own IPsec, in user-mode Linux
	@SAPAIR=$(abspath $(BUILD)/sapair) python3 -B tests/soak/soak_kernel.py $(MINUTES)

# What a sanitizer does not see: the use of what was never set. Ends with 1 at the first report.
memcheck := valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
	--child-silent-after-fork=yes
valgrind: $(units) $(program) ## unit tests and pairings under valgrind
	@for t in $(units); do echo "  $$t"; $(memcheck) $$t >build/valgrind.log 2>&1 || \
		{ cat build/valgrind.log; exit 1; }; done
	@SAPAIR=$(abspath $(BUILD)/sapair) SAPAIR_SAN=1 SAPAIR_WRAP='$(memcheck)' \
		python3 -B tests/soft/test_pairing.py

mutants: programs ## take out one guard at a time: the tests must fail
	@python3 -B tests/mutants/mutants.py

# --- lint -----------------------------------------------------------------------------------
# Versions of clang-format lay the same lines out differently: version 14 decides. Where a system
# has none the check is skipped.

sources := $(wildcard crypto/*.[ch] proto/*/*.[ch] agent/*.[ch] agent/*/*.[ch] agent/*/*/*.[ch] tests/*.h \
           tests/*/*.[ch])
tidy    := $(patsubst %.c,$(BUILD)/%.tidy,$(wildcard agent/main.c) $(agent) $(proto) $(crypto))
format   = for f in clang-format-14 clang-format; do \
           ! $$f --version 2>/dev/null | grep -q 'version 14\.' || exec $$f $(1); done; \
           echo 'SKIP clang-format: this system has no version 14, which decides the layout'

lint: lint-format lint-tidy lint-cppcheck lint-floors lint-shell ## format, clang-tidy, cppcheck, floors

lint-format lint-tidy lint-cppcheck lint-shell: | test-tools

lint-format:
	@$(call format,--dry-run --Werror $(sources))

lint-tidy: $(tidy)

# A stamp for each file: only what changed is looked at again. The object brings its headers in.
$(BUILD)/%.tidy: %.c $(BUILD)/%.o .clang-tidy | test-tools
	@echo '  TIDY    $<'; \
		clang-tidy --quiet $< -- -std=gnu11 $(warn) $(define_) $(DEPS_CFLAGS) 2>$@.log || \
		{ cat $@.log >&2; exit 1; }; touch $@

lint-cppcheck:
	@mkdir -p $(BUILD)/cppcheck
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--error-exitcode=1 --library=posix --suppress=missingIncludeSystem \
		--suppress=preprocessorErrorDirective --suppress=gmtimeCalled \
		--suppress=ctuPointerArith --suppress=normalCheckLevelMaxBranches \
		--suppress='*:build/*' --cppcheck-build-dir=$(BUILD)/cppcheck -j 2 -I . \
		-DSAPAIR_VERSION='"$(VERSION)"' $(filter-out tests/%,$(filter %.c,$(sources)))

lint-floors:
	@scripts/check-floors.sh

lint-shell:
	@shellcheck $(wildcard scripts/*.sh) .ci/run

format: ## lay the sources out
	@$(call format,-i $(sources))

# --- the rest -------------------------------------------------------------------------------

install: $(program) ## to DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BUILD)/sapair$(EXE) $(DESTDIR)$(PREFIX)/bin/
	@install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	@for unit in sapair sapair-close; do \
		sed 's|/usr/local|$(PREFIX)|' scripts/$$unit.service \
			>$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit.service || exit 1; \
	done
	@for page in $(wildcard docs/*.[1-8]); do \
		d=$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}; \
		install -d $$d && install -m 644 $$page $$d/ || exit 1; \
	done
ifneq ($(TARGET),win)
	@for pair in bash:bash-completion/completions/sapair zsh:zsh/site-functions/_sapair \
			fish:fish/vendor_completions.d/sapair.fish; do \
		to=$(DESTDIR)$(PREFIX)/share/$${pair#*:}; \
		install -d $${to%/*} && $(BUILD)/sapair completion $${pair%%:*} >$$to || exit 1; \
	done
endif

deb: $(program) ## a Debian package, build/sapair_VERSION_ARCH.deb
	@SAPAIR=$(abspath $(BUILD)/sapair) VERSION=$(VERSION) scripts/make-deb.sh

clean: ## remove what was built, but not the libraries
	@rm -rf $(filter-out build/deps,$(wildcard build/*))

distclean: ## remove all of build/
	@rm -rf build

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
