# Installation and packages. Included by Makefile.

.PHONY: install deb windows dist-windows

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

windows: ## build/win/sapair.exe, cross-built with MinGW
	@$(MAKE) TARGET=win

dist-windows: windows ## a zip file for Windows hosts, build/sapair-VERSION-windows-x64.zip
	@scripts/make-dist-windows.py build/win/sapair.exe $(VERSION)
