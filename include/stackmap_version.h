/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR LGPL-2.1-or-later */
/*
 * stackmap_version.h - the version of module, library and programs: the only place that has it,
 * and the kernels that they were tested on
 *
 * The Makefile reads it from here; man pages repeat it, and tests/install.sh compares.
 */
#define STACKMAP_VERSION "0.1.0"

/* The kernels that module and tests were run on. Others are told apart by compat.h, or do not build */
#define STACKMAP_TESTED_KERNELS "6.1 6.12 7.3"
/* All of the newest of these: kmod/main.c says so where it is built for a newer one */
#define STACKMAP_TESTED_UNTIL KERNEL_VERSION(7, 3, 255)
