# sapair: `make help` lists the targets, README.md says what they are for.
#
#     TARGET=linux|win               what to build for; win is cross-built with MinGW
#     SAN=address,undefined          sanitizers; such a build has a folder of its own
#     CC=clang                       another compiler, likewise
#     BUILD, PREFIX, DESTDIR         where to build and install
#
# A goal that needs tools or libraries installs and builds them first (scripts/setup.sh,
# scripts/build-deps.sh); both do nothing where nothing is missing. Tests, lint and packages have files
# of their own in scripts/mk/.

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
# -fdata-sections would make MinGW write zero-initialised data into the file.
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
# One variable for each layer, without the files of the other system.

away    := $(if $(filter win,$(TARGET)),%_linux.c agent/os/linux/% agent/ipsec/xfrm/% agent/privsep/helper.c \
             %/test_ipsec_soft.c,%_win.c agent/os/windows/% agent/ipsec/wfp/%)
crypto  := $(wildcard crypto/*.c)
# Parts of agent/privsep/ without I/O, linked like proto/.
pure    := agent/privsep/record.c agent/privsep/policy.c
proto   := $(wildcard proto/*/*.c) $(pure)
agent   := $(filter-out $(away) $(pure),$(wildcard agent/*/*.c agent/*/*/*.c agent/*/*/*/*.c))
support := $(wildcard tests/support/*.c)
o        = $(patsubst %.c,$(BUILD)/%.o,$(1))

program := $(if $(wildcard agent/main.c),$(BUILD)/sapair$(EXE))
sbom    := $(if $(filter linux,$(TARGET)),$(program:%=$(BUILD)/sbom.json))

.PHONY: all setup deps clean distclean help

all: $(program) $(sbom) ## the program, build/linux/sapair

# --- libraries ------------------------------------------------------------------------------
# build/deps/TARGET.mk says where they are. Building them makes it, so every goal that compiles has them.

free_goals := windows dist-windows setup clean distclean help format lint-format lint-shell
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

# Version, manifest and event log texts of the Windows program.
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

# The components of the program, as CycloneDX.
$(BUILD)/sbom.json: $(BUILD)/sapair$(EXE) scripts/sbom.py
	@python3 scripts/sbom.py $< $(VERSION) >$@

$(BUILD)/%.o: %.c Makefile $(DEPS_STAMP)
	@echo '  CC      $@'
	@mkdir -p $(@D)
	@$(CC) $(all_c) -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

include scripts/mk/tests.mk scripts/mk/lint.mk scripts/mk/packages.mk

# --- the rest -------------------------------------------------------------------------------

clean: ## remove what was built, but not the libraries
	@rm -rf $(filter-out build/deps,$(wildcard build/*))

distclean: ## remove all of build/
	@rm -rf build

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' Makefile scripts/mk/*.mk
