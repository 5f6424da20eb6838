/* SPDX-License-Identifier: GPL-2.0 */
/* sockets.h - stackmap sockets: what is attached */
#ifndef STACKMAP_TOOLS_SOCKETS_H
#define STACKMAP_TOOLS_SOCKETS_H

#include <stdbool.h>

/* Returns 0, or -1 and has said why */
int sockets_show(bool json);

#endif
