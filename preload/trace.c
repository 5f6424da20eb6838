// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * trace.c - says which descriptors are plain, and why
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "next.h"
#include "preload.h"

bool trace_on;
bool strict_on;

/* One line in one write(), so that threads do not mix theirs */
void trace(int fd, const char *fmt, ...)
{
	int err = errno;
	char line[256];
	va_list ap;
	int n;

	if (likely(!trace_on))
		return;
	n = snprintf(line, sizeof(line), "stackmap: fd %d: ", fd);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (next()->write(2, line, (size_t)n) < 0)
		n = 0;
	errno = err;
}
