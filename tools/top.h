/* SPDX-License-Identifier: GPL-2.0 */
/* top.h - stackmap top: ports, live */
#ifndef STACKMAP_TOOLS_TOP_H
#define STACKMAP_TOOLS_TOP_H

/* argv[0] is the command's name. Returns the status to exit with, with a line on standard error if that is not 0 */
int top(int argc, char **argv);

#endif
