# Lint, layout of the sources, compile_commands.json. Included by Makefile.
#
# The rules of clang-format and clang-tidy are those of version 14. Another version has other findings
# and is skipped, unless LINT_ANY=1.

.PHONY: lint lint-format lint-tidy lint-cppcheck lint-floors lint-shell format compile-commands

sources := $(wildcard crypto/*.[ch] proto/*/*.[ch] agent/*.[ch] agent/*/*.[ch] agent/*/*/*.[ch] tests/*.h \
           tests/*/*.[ch] tests/*/*/*.[ch])
tidy    := $(patsubst %.c,$(BUILD)/%.tidy,$(wildcard agent/main.c) $(agent) $(proto) $(crypto))
is_14    = $(if $(LINT_ANY),:,$(1) --version | grep -q 'version 14\.' || \
           { echo "SKIP $(1): its rules here are for version 14 (LINT_ANY=1 runs it)"; exit 0; })

lint: lint-format lint-tidy lint-cppcheck lint-floors lint-shell ## format, clang-tidy, cppcheck, floors

lint-format lint-tidy lint-cppcheck lint-shell: | test-tools

lint-format:
	@$(call is_14,clang-format); clang-format --dry-run --Werror $(sources)

lint-tidy: $(tidy)
	@$(call is_14,clang-tidy)

# A stamp for each file: only changed files are checked again. The object depends on the headers.
$(BUILD)/%.tidy: %.c $(BUILD)/%.o .clang-tidy | test-tools
	@$(call is_14,clang-tidy); echo '  TIDY    $<'; \
		clang-tidy --quiet $< -- -std=gnu11 $(warn) $(define_) $(DEPS_CFLAGS) 2>$@.log || \
		{ cat $@.log >&2; exit 1; }; touch $@

lint-cppcheck:
	@mkdir -p $(BUILD)/cppcheck
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--error-exitcode=1 --library=posix --suppress=missingIncludeSystem \
		--suppress=preprocessorErrorDirective --suppress=gmtimeCalled \
		--suppress=ctuPointerArith \
		--suppress='*:build/*' --cppcheck-build-dir=$(BUILD)/cppcheck -j 2 -I . \
		-DSAPAIR_VERSION='"$(VERSION)"' $(filter-out tests/%,$(filter %.c,$(sources)))

lint-floors:
	@scripts/check-floors.sh

lint-shell:
	@shellcheck $(wildcard scripts/*.sh) .ci/run

format: ## format the sources
	@$(call is_14,clang-format); clang-format -i $(sources)

# TARGET=win adds the files of Windows.
compile-commands: ## compile_commands.json for clangd
	@scripts/compile-commands.py $(if $(filter win,$(TARGET)),--add) '$(filter-out $(away),$(filter %.c,$(sources)))' \
		$(CC) $(filter-out -MMD -MP,$(all_c))
