// SPDX-License-Identifier: GPL-2.0
/*
 * files.c - files of the system: what is not there, or cannot be read, is not known
 */
#include "doctor.h"

#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool vpath(const struct doctor *d, char path[static PATH_MAX], const char *format, va_list ap)
{
	int n = snprintf(path, PATH_MAX, "%s", d->root);

	if (n >= PATH_MAX)
		return false;
	return vsnprintf(path + n, PATH_MAX - n, format, ap) < PATH_MAX - n;
}

/* In a function with a last argument @format */
#define PATH_OF(path, d, format)						\
	char path[PATH_MAX];							\
	va_list ap_;								\
	bool path##_ok;								\
										\
	va_start(ap_, format);							\
	path##_ok = vpath(d, path, format, ap_);				\
	va_end(ap_)

bool doctor_line(const struct doctor *d, char *line, size_t size, const char *format, ...)
{
	FILE *f;
	bool ok;

	PATH_OF(path, d, format);
	f = path_ok ? fopen(path, "re") : NULL;
	if (!f)
		return false;
	ok = fgets(line, size, f);
	fclose(f);
	if (ok)
		line[strcspn(line, "\n")] = 0;
	return ok;
}

bool doctor_number(const struct doctor *d, long *number, const char *format, ...)
{
	char line[32], *end;

	PATH_OF(path, d, format);
	/* Without the root, which is in it */
	if (!path_ok || !doctor_line(d, line, sizeof(line), "%s", path + strlen(d->root)))
		return false;
	*number = strtol(line, &end, 0);
	return end != line && !*end;
}

bool doctor_target(const struct doctor *d, char *name, size_t size, const char *format, ...)
{
	char target[PATH_MAX];
	const char *base;
	ssize_t n;

	PATH_OF(path, d, format);
	n = path_ok ? readlink(path, target, sizeof(target) - 1) : -1;
	if (n < 0)
		return false;
	target[n] = 0;
	base = strrchr(target, '/');
	return (size_t)snprintf(name, size, "%s", base ? base + 1 : target) < size;
}

bool doctor_exists(const struct doctor *d, const char *format, ...)
{
	PATH_OF(path, d, format);
	return path_ok && !access(path, F_OK);
}

int doctor_names(const struct doctor *d, char ***names, const char *prefix, const char *format, ...)
{
	struct dirent **all;
	int i, n, count = 0;

	PATH_OF(path, d, format);
	*names = NULL;
	n = path_ok ? scandir(path, &all, NULL, versionsort) : -1;
	if (n < 0)
		return 0;
	*names = calloc(n + 1, sizeof(**names));
	for (i = 0; i < n; i++) {
		if (*names && *all[i]->d_name != '.' && !strncmp(all[i]->d_name, prefix, strlen(prefix)) &&
		    ((*names)[count] = strdup(all[i]->d_name)))
			count++;
		free(all[i]);
	}
	free(all);
	return count;
}

void doctor_free_names(char **names, int count)
{
	while (count--)
		free(names[count]);
	free(names);
}

bool doctor_field(const struct doctor *d, char *line, size_t size, const char *file, const char *key)
{
	char path[PATH_MAX], text[DOCTOR_LINE];
	bool found = false;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s%s", d->root, file) >= (int)sizeof(path))
		return false;
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(text, sizeof(text), f)) {
		found = !strncmp(text, key, strlen(key));
		if (found) {
			const char *value = text + strlen(key);

			value += strspn(value, " \t");
			snprintf(line, size, "%.*s", (int)strcspn(value, "\n"), value);
		}
	}
	fclose(f);
	return found;
}
