/* SPDX-License-Identifier: GPL-2.0 */
/* stats.h - stackmap list and stats: ports as lines, and as JSON */
#ifndef STACKMAP_TOOLS_STATS_H
#define STACKMAP_TOOLS_STATS_H

#include <stdbool.h>

/* Each returns 0, or -1 and has said why */
int stats_list(void);
int stats_show(void);
int stats_json(void);
/* Again and again, until that fails */
int stats_watch(double seconds, bool json);

#endif
