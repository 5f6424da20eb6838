/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR LGPL-2.1-or-later */
/*
 * stackmap_version.h - the version of module, library and programs: the only place that has it
 *
 * The Makefile reads it from here; man pages repeat it, and tests/install.sh compares.
 */
#define STACKMAP_VERSION "0.1.0"
