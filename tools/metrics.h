/* SPDX-License-Identifier: GPL-2.0 */
/*
 * metrics.h - stackmap metrics: ports, in the text format of Prometheus
 *
 *   metrics.c   the text, and where to
 *   scrape.c    for who asks by HTTP
 */
#ifndef STACKMAP_TOOLS_METRICS_H
#define STACKMAP_TOOLS_METRICS_H

#include <stddef.h>

/* argv[0] is the command's name. Returns the status to exit with, with a line on standard error if that is not 0 */
int metrics(int argc, char **argv);

/* All metrics as they are now, to be freed. NULL, and has said why */
char *metrics_text(size_t *len);

/* Answer GET /metrics at ADDRESS:PORT, until a signal ends it. Returns as metrics() */
int metrics_listen(const char *where);

#endif
