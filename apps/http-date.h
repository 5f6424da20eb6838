/* SPDX-License-Identifier: GPL-2.0 */
/*
 * http-date.h - the dates of HTTP: RFC 9110, 5.6.7
 */
#ifndef STACKMAP_APPS_HTTP_DATE_H
#define STACKMAP_APPS_HTTP_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define HTTP_DATE_LEN	29	/* of "Sun, 06 Nov 1994 08:49:37 GMT" */

/* Writes a date and a NUL */
void http_date(char out[static HTTP_DATE_LEN + 1], time_t at);

/* Reads a date of any of the three forms there have been. False: it is none */
bool http_date_parse(const char *s, size_t len, time_t *at);

/*
 * The second that the calling thread is in, as a date. http_date_turn() looks at the clock, to be
 * called once for a batch of requests, and returns true when another second has begun.
 */
bool http_date_turn(void);
const char *http_date_now(void);
time_t http_time_now(void);

#endif
