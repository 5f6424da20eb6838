# SPDX-License-Identifier: GPL-2.0
#
# make            the library and the programs
# make everything the tests' programs and the rivals of the comparison, too
# make kmod       stackmap.ko for a kernel that vm/kernel unpacks (FLAVOUR=cloud, 7.3-cloud, 6.1-amd64 ...)
# make demo       what ./demo does, with what it needs installed
# make check      what ./check does, likewise
# make check-apps    programs' own suites: plain, with the preload library, and with ports; sanitizers; a cluster
# make check-debug   the guest suite on kernels that look for errors (scripts/setup debug; KERNEL_SERIES=7.3)
# make bench      stackmap and its rivals in full (ROUNDS=3)
# make bench-apps unmodified servers under stackmap run, next to themselves: instructions, calls, seconds (ROUNDS=9)
# make evaluation the experiments of the paper, resumable (ROUNDS=5, EXPERIMENTS=all); then bench/plot
# make instructions  guest instructions per request of each server
# make events     beside them system calls, switches, interrupts, exits, faults, allocations, modelled cache misses
# make path       what the guest executes between a lone request and its answer, and where the longest tenth gets longer
# make profile    where the time of a request goes, by samples
# make vm         a shell in a guest that has all of it
# make install    module for the running kernel, library, programs, man pages: all of it or nothing
# make install-user   all of that but the module
# make uninstall
# make deb        the Debian packages, in build/deb
#
# KERNEL_SERIES=7.3 has all that uses a guest use a kernel of that series, where FLAVOUR names none (6.12; newest).
# CC, CPPFLAGS, CFLAGS, LDFLAGS and LDLIBS are obeyed; so are, by install and uninstall, DESTDIR, prefix, bindir, libdir,
# includedir, mandir, KVERSION and KBUILD (the kernel to install for and its headers), and KMOD_FLAGS (for kbuild).
# HTTP_PARSER=llhttp or http_parser: by default the former, where its header is installed (after a change: make clean).

O		?= build
FLAVOUR		?= cloud
VERSION		:= $(shell sed -n 's/.*STACKMAP_VERSION "\(.*\)"$$/\1/p' include/stackmap_version.h)
CC		?= cc
CFLAGS		?= -O2 -g
prefix		?= /usr/local
bindir		?= $(prefix)/bin
mandir		?= $(prefix)/share/man

override CFLAGS	+= -Wall -Wextra

.PHONY: all everything apps tools bench-servers test-programs kmod demo check check-apps check-debug bench bench-apps evaluation instructions events path profile vm install install-files install-user uninstall deb dist clean
all: lib preload apps tools
everything: all bench-servers test-programs

include lib/Makefile.inc
include preload/Makefile.inc
include tests/guest/Makefile.inc
include tests/preload/Makefile.inc

# What a step needs of the machine: one line that says what to install, not an error of the compiler's
needs		:= need-cc need-http need-tools need-uring need-vm need-install need-cmocka need-deb
.PHONY: $(needs)
$(needs): need-%:
	@CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' KBUILD='$(KBUILD)' KVERSION='$(KVERSION)' scripts/need $*
$(LIB_OBJS): | need-cc

# ---------------------------------------------------------------- programs

hash		:= \#
# The parsers of HTTP whose headers are installed
http_parsers	= $(shell for p in llhttp http_parser; do \
		  echo "$(hash)include <$$p.h>" | $(CC) $(CPPFLAGS) -E -x c - >/dev/null 2>&1 && echo $$p; done)
HTTP_PARSER	?= $(or $(firstword $(http_parsers)),http_parser)
http_cppflags	= $(if $(filter llhttp,$(1)),-DSTACKMAP_LLHTTP)
HTTP_CPPFLAGS	:= $(call http_cppflags,$(HTTP_PARSER))
HTTP_LIBS	:= -l$(HTTP_PARSER)

APPS		:= $(O)/stackmap-httpd $(O)/echo
TOOLS		:= $(O)/stackmap
RIVALS		:= $(O)/bench-epoll $(O)/bench-iouring $(O)/bench-load $(O)/bench-reflect

apps: $(APPS)
tools: $(TOOLS)
bench-servers: $(RIVALS)
test-programs: guest-tests preload-tests

$(O)/obj/%.o: %.c | need-cc
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(LIB_CPPFLAGS) -Iinclude -Iapps $(HTTP_CPPFLAGS) $(CPPFLAGS) $(CFLAGS) \
		-MMD -MP -c -o $@ $<

objs		= $(addprefix $(O)/obj/,$(addsuffix .o,$(basename $(1))))

# Of the rivals, too
HTTP_SRCS	:= apps/http.c apps/http-response.c apps/http-date.c
HTTP_FILE_SRCS	:= apps/http-file.c apps/http-path.c
HTTPD_SRCS	:= $(wildcard apps/httpd/*.c) $(HTTP_SRCS) $(HTTP_FILE_SRCS)
TOOL_SRCS	:= $(wildcard tools/*.c tools/doctor/*.c) $(HTTP_SRCS)
TOOL_LIBS	:= -ljansson -lkmod -lncurses -ltinfo $(HTTP_LIBS)
$(call objs,$(HTTPD_SRCS) bench/epoll.c bench/iouring.c bench/lwip.c): | need-http
$(call objs,bench/iouring.c bench/zcrx.c): | need-uring
$(call objs,$(TOOL_SRCS)): | need-tools need-http

$(O)/stackmap-httpd: $(call objs,$(HTTPD_SRCS)) $(LIB_A)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(HTTP_LIBS) -lpthread $(LDLIBS)
$(O)/echo: $(call objs,apps/echo.c) $(LIB_A)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(O)/stackmap: $(call objs,$(TOOL_SRCS)) $(LIB_A)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TOOL_LIBS) $(LDLIBS)
$(O)/bench-epoll: $(call objs,bench/epoll.c bench/napi.c $(HTTP_SRCS))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(HTTP_LIBS) $(LDLIBS)
$(O)/bench-iouring: $(call objs,bench/iouring.c bench/napi.c bench/zcrx.c $(HTTP_SRCS))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(HTTP_LIBS) -luring $(LDLIBS)
$(O)/bench-load: $(call objs,bench/load.c)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lm $(LDLIBS)
$(O)/bench-reflect: $(call objs,bench/reflect.c)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Not in all: only the evaluation needs liblwip-dev
LWIP		:= bench/lwip.c bench/lwip-xdp.c bench/lwip-dpdk.c
$(call objs,$(LWIP)): LIB_CPPFLAGS += -isystem /usr/include/lwip
$(O)/bench-lwip: $(call objs,bench/lwip.c bench/lwip-xdp.c $(HTTP_SRCS))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(HTTP_LIBS) -llwip $(LDLIBS)
# With what scripts/setup unpacks of DPDK, statically: the guest needs no more than the program, and of Debian's drivers one
DPDK		:= $(O)/dpdk/usr
DPDK_LIBS	:= $(addprefix -l:librte_,$(addsuffix .a,bus_pci bus_vdev mempool_ring net_virtio pci ethdev meter net mbuf \
		   mempool rcu ring eal telemetry kvargs))
$(call objs,bench/lwip-dpdk.c): LIB_CPPFLAGS += -isystem $(DPDK)/include/x86_64-linux-gnu/dpdk -isystem $(DPDK)/include/dpdk -isystem $(DPDK)/include \
		-include rte_config.h -march=corei7
$(O)/bench-lwip-dpdk: $(call objs,bench/lwip.c bench/lwip-dpdk.c $(HTTP_SRCS))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(HTTP_LIBS) -llwip -L$(DPDK)/lib/x86_64-linux-gnu -Wl,--whole-archive $(DPDK_LIBS) \
		-Wl,--no-whole-archive -ljansson -l:libnuma.so.1 -l:libbsd.so.0 -lm -ldl -lpthread $(LDLIBS)

# With each parser that there is
.PHONY: test-http
test-http: $(O)/tests/test_binary
	$(MAKE) $(addprefix $(O)/tests/test_http.,$(or $(http_parsers),http_parser))
	for t in $^ $(addprefix $(O)/tests/test_http.,$(http_parsers)); do echo "# $$t"; $$t || exit 1; done
http_tests	:= $(addprefix $(O)/tests/test_http.,llhttp http_parser)
$(http_tests) $(O)/tests/test_binary $(LIB_TESTS) $(LIB_TEST_OBJS): | need-cc need-cmocka
$(http_tests): $(O)/tests/test_http.%: tests/unit/test_http.c $(HTTP_SRCS) $(HTTP_FILE_SRCS) $(wildcard apps/http*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -Iapps $(call http_cppflags,$*) $(CPPFLAGS) -O1 -g -Wall -Wextra \
		-fsanitize=address,undefined -fno-sanitize-recover=all -o $@ $(filter %.c,$^) $(LDFLAGS) -lcmocka -l$*

$(O)/tests/test_binary: tests/unit/test_binary.c apps/binary.h apps/http.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -Iapps $(HTTP_CPPFLAGS) $(CPPFLAGS) -O1 -g -Wall -Wextra -fsanitize=address,undefined \
		-fno-sanitize-recover=all -o $@ $< -lcmocka

# All that test-lib, test-http and test-tools run, at once
.PHONY: unit-programs
unit-programs: $(LIB_TESTS) $(O)/tests/stackmap $(O)/tests/stackmap-fake $(O)/tests/test_refuse $(O)/tests/test_binary \
	$(addprefix $(O)/tests/test_http.,$(or $(http_parsers),http_parser))

# The stackmap command, with sanitizers
$(O)/tests/stackmap: $(TOOL_SRCS) $(LIB_SRCS) $(wildcard tools/*.h tools/doctor/*.h include/*.h apps/http*.h) | need-cc need-tools need-http
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(LIB_CPPFLAGS) -Iinclude -Iapps $(HTTP_CPPFLAGS) $(CPPFLAGS) -O1 -g -Wall -Wextra \
		-fsanitize=address,undefined -fno-sanitize-recover=all -o $@ $(filter %.c,$^) $(LDFLAGS) $(TOOL_LIBS)
# With ports that are none (FAKE_PORTS=N)
$(O)/tests/stackmap-fake: tests/unit/fake_ports.c $(TOOL_SRCS) $(filter-out lib/stats.c,$(LIB_SRCS)) $(wildcard tools/*.h apps/http*.h) | need-cc need-tools need-http
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(LIB_CPPFLAGS) -Iinclude -Iapps $(HTTP_CPPFLAGS) $(CPPFLAGS) -O1 -g -Wall -Wextra \
		-fsanitize=address,undefined -fno-sanitize-recover=all -o $@ $(filter %.c,$^) $(LDFLAGS) -Wl,--wrap=access $(TOOL_LIBS)
# What it does when the kernel does not tell it all
$(O)/tests/test_refuse: tests/unit/test_refuse.c tools/refuse.c tools/link.c tools/rtnl.c tools/carry.h tools/rtnl.h | need-cc need-cmocka
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(CPPFLAGS) -O1 -g -Wall -Wextra -fsanitize=address,undefined -fno-sanitize-recover=all \
		-o $@ $(filter %.c,$^) $(LDFLAGS) -Wl,--wrap=rtnl_dump,--wrap=setns,--wrap=opendir -lcmocka
.PHONY: test-tools
test-tools: $(O)/tests/stackmap $(O)/tests/stackmap-fake $(O)/tests/test_refuse
	tests/unit/top.sh $(O)/tests/stackmap-fake
	tests/unit/doctor.sh $(O)/tests/stackmap
	$(O)/tests/test_refuse

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)

# ---------------------------------------------------- the module, for guests

kmod:
	scripts/build-kmod $(FLAVOUR)

# -------------------------------------------------------- what uses a guest

# By all processors, but without a job server: what follows starts makes of its own
everything-quickly:
	@$(MAKE) -s -j$$(nproc) everything
.PHONY: everything-quickly
demo: everything-quickly
	scripts/demo
check: everything-quickly
	tests/run
check-apps: everything-quickly
	tests/run suites-1+suites-2 profiles+asan trace tsan cluster
check-debug: everything-quickly
	tests/run kernels kasan kasan-virtio kcsan coverage badnet stall fuzz-debug nics
bench: everything
	bench/run
bench-apps: everything
	bench/apps
	bench/apps --connections 256 --ways "plain run"
	bench/apps-seconds
	bench/apps-plot
evaluation: everything
	bench/evaluation
instructions: everything
	bench/instructions
events: everything
	bench/instructions --events --connections 64
path: everything
	bench/path --functions 10
profile: everything
	bench/profile
vm: need-vm everything
	vm/shell --kernel $(FLAVOUR) --stage "$$(scripts/stage $(FLAVOUR) --full | tee /dev/stderr | tail -n 1)"

# ------------------------------------- a machine that loads modules: install

KVERSION	?= $(shell uname -r)
KBUILD		?= /lib/modules/$(KVERSION)/build
to_install	= DESTDIR='$(DESTDIR)' prefix='$(prefix)' bindir='$(bindir)' libdir='$(libdir)' includedir='$(includedir)' \
		  mandir='$(mandir)' VERSION='$(VERSION)' SONAME='$(LIB_SONAME)' KVERSION='$(KVERSION)' O='$(O)' scripts/install

# What has a path in it is made anew each time, as the directories may differ
dist:
	@mkdir -p $(O)/dist/examples
	for f in $$(cd dist && find . -name '*.in'); do sed 's|@bindir@|$(bindir)|g' "dist/$$f" >"$(O)/dist/$${f%.in}"; done

# Everything is built before anything is copied
install: need-install lib preload tools $(O)/stackmap-httpd dist
	scripts/build-kmod --dir '$(KBUILD)' $(KMOD_FLAGS)
	@mkdir -p $(O)/install
	strip --strip-debug -o $(O)/install/stackmap.ko build/kmod/host/kmod/stackmap.ko
	@$(to_install) install

# Its second half, for a guest: scripts/stage has a module for another kernel
install-files: dist
	@$(to_install) install

install-user: lib preload tools $(O)/stackmap-httpd dist
	@PARTS=user $(to_install) install

uninstall:
	@$(to_install) uninstall

# ------------------------------------------------------------ Debian packages

deb: need-deb
	scripts/deb $(O)/deb

clean:
	rm -rf $(O)/obj $(O)/lib $(O)/install $(O)/tests $(O)/kmod $(O)/stage-* $(O)/dist $(O)/deb \
		$(O)/libstackmap* $(APPS) $(TOOLS) $(RIVALS) $(O)/bench-lwip $(O)/bench-lwip-dpdk
