/* SPDX-License-Identifier: GPL-2.0 */
/* run.h - stackmap run */
#ifndef STACKMAP_TOOLS_RUN_H
#define STACKMAP_TOOLS_RUN_H

/*
 * Run a program on ports of its own. argv[0] is the command's name. Returns, if it cannot be run, the
 * status to exit with, with a line on standard error.
 */
int run_program(int argc, char **argv);

#endif
