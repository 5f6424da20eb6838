# SPDX-License-Identifier: GPL-2.0
#
# make            the library, the programs and the tests' programs
# make kmod       stackmap.ko for a Debian kernel that vm/kernel unpacks (FLAVOUR=cloud, amd64)
# make demo       what ./demo does, with what it needs installed
# make check      what ./check does, likewise
# make check-debug   the guest suite on kernels that look for errors (scripts/setup debug)
# make bench      stackmap and its rivals in full (ROUNDS=3)
# make evaluation the experiments of the paper, resumable (ROUNDS=5, EXPERIMENTS=all); then bench/plot
# make instructions  guest instructions per request of each server
# make profile    where the time of a request goes, by samples
# make vm         a shell in a guest that has all of it
# make install    module for the running kernel, library, programs, man pages (DESTDIR, prefix)
# make uninstall

O		?= build
FLAVOUR		?= cloud
VERSION		:= 0.1.0
CC		?= cc
CFLAGS		?= -O2 -g
prefix		?= /usr/local
bindir		?= $(prefix)/bin
mandir		?= $(prefix)/share/man

override CFLAGS	+= -Wall -Wextra

.PHONY: all apps tools bench-servers test-programs kmod demo check check-debug bench evaluation instructions profile vm install uninstall clean
all: lib apps tools bench-servers test-programs

include lib/Makefile.inc
include tests/guest/Makefile.inc

# ---------------------------------------------------------------- programs

APPS		:= $(O)/stackmap-httpd $(O)/echo
TOOLS		:= $(O)/stackmap
INSTALLED	:= $(O)/stackmap-httpd $(O)/stackmap
RIVALS		:= $(O)/bench-epoll $(O)/bench-iouring $(O)/bench-load $(O)/bench-reflect

apps: $(APPS)
tools: $(TOOLS)
bench-servers: $(RIVALS)
test-programs: guest-tests

$(O)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(LIB_CPPFLAGS) -Iapps $(CFLAGS) \
		-DVERSION='"$(VERSION)"' -MMD -MP -c -o $@ $<

objs		= $(addprefix $(O)/obj/,$(addsuffix .o,$(basename $(1))))

HTTPD_SRCS	:= $(wildcard apps/stackmap-httpd*.c apps/httpd*.c) apps/http.c
TOOL_SRCS	:= $(wildcard tools/*.c)

$(O)/stackmap-httpd: $(call objs,$(HTTPD_SRCS)) $(LIB_A)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lhttp_parser -lpthread
$(O)/echo: $(call objs,apps/echo.c) $(LIB_A)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
$(O)/stackmap: $(call objs,$(TOOL_SRCS)) $(LIB_A)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
$(O)/bench-epoll: $(call objs,bench/epoll.c apps/http.c)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lhttp_parser
$(O)/bench-iouring: $(call objs,bench/iouring.c apps/http.c)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lhttp_parser -luring
$(O)/bench-load: $(call objs,bench/load.c)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lm
$(O)/bench-reflect: $(call objs,bench/reflect.c)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

# Not in all: only the evaluation needs liblwip-dev
$(O)/obj/bench/lwip.o: LIB_CPPFLAGS += -isystem /usr/include/lwip
$(O)/bench-lwip: $(call objs,bench/lwip.c apps/http.c)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lhttp_parser -llwip

.PHONY: test-http
test-http: $(O)/tests/test_http $(O)/tests/test_binary
	for t in $^; do $$t || exit 1; done
$(O)/tests/test_http: tests/unit/test_http.c apps/http.c apps/http.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -Iapps -O1 -g -Wall -Wextra -fsanitize=address,undefined \
		-fno-sanitize-recover=all -o $@ $(filter %.c,$^) -lcmocka -lhttp_parser

$(O)/tests/test_binary: tests/unit/test_binary.c apps/binary.h apps/http.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -Iapps -O1 -g -Wall -Wextra -fsanitize=address,undefined \
		-fno-sanitize-recover=all -o $@ $< -lcmocka

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)

# ---------------------------------------------------- the module, for guests

kmod:
	scripts/build-kmod $(FLAVOUR)

# -------------------------------------------------------- what uses a guest

demo: all
	scripts/demo
check: all
	tests/run
check-debug: all
	tests/run kernels kasan kasan-virtio kcsan coverage badnet stall fuzz-debug
bench: all
	bench/run
evaluation: all
	bench/evaluation
instructions: all
	bench/instructions
profile: all
	bench/profile
vm: all
	scripts/stage $(FLAVOUR)
	vm/shell --stage $(O)/stage-$(FLAVOUR)

# ------------------------------------- a machine that loads modules: install

KVERSION	?= $(shell uname -r)
KBUILD		?= /lib/modules/$(KVERSION)/build
KMOD_DIR	:= $(DESTDIR)/lib/modules/$(KVERSION)/updates/stackmap

install: all install-lib
	scripts/build-kmod --dir $(KBUILD)
	install -d $(KMOD_DIR) $(DESTDIR)$(bindir) $(DESTDIR)$(mandir)/man1 $(DESTDIR)$(mandir)/man3 \
		$(DESTDIR)$(mandir)/man7 $(DESTDIR)$(mandir)/man8
	install -m 644 $(O)/kmod/host/kmod/stackmap.ko $(KMOD_DIR)
	install -m 755 $(INSTALLED) $(DESTDIR)$(bindir)
	for n in 1 3 7 8; do install -m 644 man/*.$$n $(DESTDIR)$(mandir)/man$$n; done
	[ -n "$(DESTDIR)" ] || depmod $(KVERSION)

uninstall:
	rm -rf $(KMOD_DIR) $(DESTDIR)$(includedir)/stackmap
	rm -f $(DESTDIR)$(libdir)/libstackmap.* $(DESTDIR)$(libdir)/pkgconfig/libstackmap.pc
	rm -f $(addprefix $(DESTDIR)$(bindir)/,$(notdir $(INSTALLED)))
	for f in man/*.[1378]; do rm -f $(DESTDIR)$(mandir)/man$${f##*.}/$${f##*/}; done
	[ -n "$(DESTDIR)" ] || depmod $(KVERSION)

clean:
	rm -rf $(O)/obj $(O)/lib $(O)/tests $(O)/kmod $(O)/stage-* $(O)/libstackmap* \
		$(APPS) $(TOOLS) $(RIVALS) $(O)/bench-lwip
