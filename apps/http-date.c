// SPDX-License-Identifier: GPL-2.0
/*
 * http-date.c - writes and reads the dates of HTTP, whatever the locale; see http-date.h
 */
#include "http-date.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static _Thread_local struct {
	time_t at;
	char text[HTTP_DATE_LEN + 1];
} now;

static char *digits(char *p, unsigned int n, int count)
{
	int i;

	for (i = count; i-- > 0; n /= 10)
		p[i] = '0' + n % 10;
	return p + count;
}

void http_date(char out[static HTTP_DATE_LEN + 1], time_t at)
{
	struct tm tm;
	char *p = out;

	/* (Years have four digits: of a file system that says otherwise, the last second or the first) */
	if (at > 253402300799)
		at = 253402300799;
	if (at < 0 || !gmtime_r(&at, &tm)) {
		at = 0;
		gmtime_r(&at, &tm);
	}
	memcpy(p, days + 3 * tm.tm_wday, 3);
	memcpy(p + 3, ", ", 2);
	p = digits(p + 5, tm.tm_mday, 2);
	*p = ' ';
	memcpy(p + 1, months + 3 * tm.tm_mon, 3);
	p[4] = ' ';
	p = digits(p + 5, tm.tm_year + 1900, 4);
	*p = ' ';
	p = digits(p + 1, tm.tm_hour, 2);
	*p = ':';
	p = digits(p + 1, tm.tm_min, 2);
	*p = ':';
	p = digits(p + 1, tm.tm_sec, 2);
	memcpy(p, " GMT", 5);
}

bool http_date_turn(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	if (__builtin_expect(ts.tv_sec == now.at, 1))
		return false;
	now.at = ts.tv_sec;
	http_date(now.text, now.at);
	return true;
}

const char *http_date_now(void)
{
	if (!now.at)
		http_date_turn();
	return now.text;
}

time_t http_time_now(void)
{
	http_date_now();
	return now.at;
}

/* What is left to be read; a step that does not fit makes it NULL, and all further ones fail */
struct text {
	const char *p, *end;
};

static void expect(struct text *t, const char *s)
{
	size_t len = strlen(s);

	if (t->p && (size_t)(t->end - t->p) >= len && !memcmp(t->p, s, len))
		t->p += len;
	else
		t->p = NULL;
}

static int number(struct text *t, int count)
{
	int n = 0;

	for (; t->p && count; count--) {
		if (t->p == t->end || *t->p < '0' || *t->p > '9') {
			t->p = NULL;
			break;
		}
		n = 10 * n + *t->p++ - '0';
	}
	return n;
}

/* The place of one of some names of three letters */
static int name(struct text *t, const char *names)
{
	int i;

	for (i = 0; t->p && t->end - t->p >= 3 && names[i]; i += 3) {
		if (!memcmp(t->p, names + i, 3)) {
			t->p += 3;
			return i / 3;
		}
	}
	t->p = NULL;
	return 0;
}

static void clock_time(struct text *t, struct tm *tm)
{
	tm->tm_hour = number(t, 2);
	expect(t, ":");
	tm->tm_min = number(t, 2);
	expect(t, ":");
	tm->tm_sec = number(t, 2);
}

/* "Sun Nov  6 08:49:37 1994" */
static void asctime_date(struct text *t, struct tm *tm)
{
	expect(t, " ");
	tm->tm_mon = name(t, months);
	expect(t, " ");
	if (t->p && t->p < t->end && *t->p == ' ') {
		t->p++;
		tm->tm_mday = number(t, 1);
	} else {
		tm->tm_mday = number(t, 2);
	}
	expect(t, " ");
	clock_time(t, tm);
	expect(t, " ");
	tm->tm_year = number(t, 4) - 1900;
}

/* "Sunday, 06-Nov-94 08:49:37 GMT": years more than 50 in the future are past ones */
static void rfc850_date(struct text *t, struct tm *tm)
{
	int this_year;
	struct tm today;
	time_t at = http_time_now();

	while (t->p && t->p < t->end && *t->p >= 'a' && *t->p <= 'z')
		t->p++;
	expect(t, ", ");
	tm->tm_mday = number(t, 2);
	expect(t, "-");
	tm->tm_mon = name(t, months);
	expect(t, "-");
	tm->tm_year = number(t, 2);
	expect(t, " ");
	clock_time(t, tm);
	expect(t, " GMT");
	this_year = gmtime_r(&at, &today) ? today.tm_year : 100;
	tm->tm_year += this_year / 100 * 100;
	if (tm->tm_year > this_year + 50)
		tm->tm_year -= 100;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", and the two before it */
bool http_date_parse(const char *s, size_t len, time_t *at)
{
	struct text t = { s, s + len };
	struct tm tm = { .tm_isdst = 0 }, made;

	name(&t, days);
	if (!t.p || t.p == t.end)
		return false;
	if (*t.p == ',') {
		expect(&t, ", ");
		tm.tm_mday = number(&t, 2);
		expect(&t, " ");
		tm.tm_mon = name(&t, months);
		expect(&t, " ");
		tm.tm_year = number(&t, 4) - 1900;
		expect(&t, " ");
		clock_time(&t, &tm);
		expect(&t, " GMT");
	} else if (*t.p == ' ') {
		asctime_date(&t, &tm);
	} else {
		rfc850_date(&t, &tm);
	}
	if (t.p != t.end || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	made = tm;
	*at = timegm(&made);
	/* The 31st of February is none */
	return made.tm_mon == tm.tm_mon || tm.tm_sec == 60;
}
