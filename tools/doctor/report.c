// SPDX-License-Identifier: GPL-2.0
/*
 * report.c - the findings: a JSON document, from which the lines are printed
 *
 * So both say the same. Memory that is short ends the command: jansson says so with NULL.
 */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../json.h"

static const char *const levels[] = {
	[DOCTOR_OK] = "ok", [DOCTOR_TIP] = "tip", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail",
};

static json_t *have(json_t *value)
{
	if (!value) {
		fputs("stackmap: out of memory\n", stderr);
		exit(2);
	}
	return value;
}

static void set(json_t *object, const char *name, json_t *value)
{
	if (json_object_set_new(object, name, have(value)))
		have(NULL);
}

static json_t *vtext(const char *format, va_list ap)
{
	char text[4 * DOCTOR_LINE];

	vsnprintf(text, sizeof(text), format, ap);
	return json_text(text);
}

struct doctor_part doctor_part(void)
{
	return (struct doctor_part){ .facts = have(json_object()), .checks = have(json_array()) };
}

void doctor_fact(struct doctor_part *p, const char *name, json_t *value)
{
	set(p->facts, name, value);
}

json_t *doctor_done(struct doctor_part *p)
{
	set(p->facts, "checks", p->checks);
	return p->facts;
}

void doctor_say(struct doctor_part *p, enum doctor_level level, const char *check, const char *format, ...)
{
	json_t *line = have(json_object());
	va_list ap;

	set(line, "status", json_string(levels[level]));
	set(line, "check", json_string(check));
	va_start(ap, format);
	set(line, "finding", vtext(format, ap));
	va_end(ap);
	if (json_array_append_new(p->checks, line))
		have(NULL);
	p->failed |= level == DOCTOR_FAIL;
}

void doctor_remedy(struct doctor_part *p, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	set(json_array_get(p->checks, json_array_size(p->checks) - 1), "remedy", vtext(format, ap));
	va_end(ap);
}

/* To a terminal, a name must not say more than it is */
static void print_text(const json_t *text)
{
	const char *s = json_string_value(text);

	for (; s && *s; s++)
		putchar(*s >= ' ' && *s < 127 ? *s : '?');
}

static void print_part(const json_t *part)
{
	const json_t *name = json_object_get(part, "name"), *remedy;
	const json_t *line;
	size_t i;

	if (name)
		print_text(name);
	else
		fputs("this machine", stdout);
	putchar('\n');
	json_array_foreach(json_object_get(part, "checks"), i, line) {
		printf("  %-4s  %-11s  ", json_string_value(json_object_get(line, "status")),
		       json_string_value(json_object_get(line, "check")));
		print_text(json_object_get(line, "finding"));
		putchar('\n');
		remedy = json_object_get(line, "remedy");
		if (remedy) {
			printf("  %-4s  %-11s  -> ", "", "");
			print_text(remedy);
			putchar('\n');
		}
	}
}

void doctor_print(const json_t *report)
{
	const json_t *interfaces = json_object_get(report, "interfaces"), *part;
	size_t i;

	print_part(json_object_get(report, "machine"));
	json_array_foreach(interfaces, i, part) {
		putchar('\n');
		print_part(part);
	}
	printf("\n%s\n", json_is_true(json_object_get(report, "ready")) ?
	       "ready: what is marked ok works, tips would make it faster" :
	       "not ready: do what is said at the lines marked fail");
}
