# Lint, layout of the sources, compile_commands.json. Included by Makefile.
#
# Versions of clang-format lay out the same lines differently: version 14 decides. The check is skipped
# on a system that has none.

.PHONY: lint lint-format lint-tidy lint-cppcheck lint-layers lint-shell format compile-commands

sources := $(wildcard crypto/*.[ch] proto/*/*.[ch] agent/*.[ch] agent/*/*.[ch] agent/*/*/*.[ch] tests/*.h \
           tests/*/*.[ch] tests/*/*/*.[ch])
tidy    := $(patsubst %.c,$(BUILD)/%.tidy,$(wildcard agent/main.c) $(agent) $(proto) $(crypto))
format   = for f in clang-format-14 clang-format; do \
           ! $$f --version 2>/dev/null | grep -q 'version 14\.' || exec $$f $(1); done; \
           echo 'SKIP clang-format: this system has no version 14'

lint: lint-format lint-tidy lint-cppcheck lint-layers lint-shell ## format, clang-tidy, cppcheck, layers, shellcheck

lint-format lint-tidy lint-cppcheck lint-shell: | test-tools

lint-format:
	@$(call format,--dry-run --Werror $(sources))

lint-tidy: $(tidy)

# A stamp for each file: only changed files are checked again. The object depends on the headers.
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

# Calls are read from the objects.
lint-layers: $(program)
	@scripts/check-layers.py $(BUILD)

lint-shell:
	@shellcheck $(wildcard scripts/*.sh) .ci/run

format: ## format the sources
	@$(call format,-i $(sources))

# TARGET=win adds the files of Windows.
compile-commands: ## compile_commands.json for clangd
	@scripts/compile-commands.py $(if $(filter win,$(TARGET)),--add) '$(filter-out $(away),$(filter %.c,$(sources)))' \
		$(CC) $(filter-out -MMD -MP,$(all_c))
