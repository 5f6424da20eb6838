// SPDX-License-Identifier: GPL-2.0
/*
 * files.c - an interface's settings under /proc/sys/net, and those of its NAPI instances
 */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "carry.h"

static const char *const directories[] = {
	"/proc/sys/net/ipv4/conf/%s", "/proc/sys/net/ipv4/neigh/%s", "/proc/sys/net/ipv6/conf/%s",
	"/proc/sys/net/ipv6/neigh/%s", "/proc/sys/net/mpls/conf/%s", NULL
};

static const char *const files[] = {
	"/sys/class/net/%s/gro_flush_timeout", "/sys/class/net/%s/napi_defer_hard_irqs",
	"/sys/class/net/%s/threaded", NULL
};

/* Other files have the same in finer units */
static const char *const coarse[] = { "base_reachable_time", "retrans_time", "unres_qlen", NULL };

static void path_of(char *path, size_t size, const char *form, const char *name)
{
	const char *at = strstr(form, "%s");

	snprintf(path, size, "%.*s%s%s", (int)(at - form), form, name, at + 2);
}

/* Returns false where there is nothing to read */
static bool get(const char *path, char *value, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, value, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	value[n] = 0;
	value[strcspn(value, "\n")] = 0;
	return true;
}

static bool set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = write(fd, value, strlen(value));
	close(fd);
	return n >= 0;
}

static int read_file(struct carried *c, const char *form)
{
	char path[PATH_MAX];
	struct setting *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	path_of(path, sizeof(path), form, c->name);
	if ((size_t)snprintf(s->path, sizeof(s->path), "%s", form) >= sizeof(s->path) ||
	    !get(path, s->value, sizeof(s->value))) {
		free(s);
		return 0;
	}
	s->next = c->settings;
	c->settings = s;
	return 0;
}

int files_read(struct carried *c)
{
	char path[PATH_MAX], form[PATH_MAX];
	struct dirent *entry;
	int i, j, ret = 0;
	DIR *dir;

	for (i = 0; directories[i]; i++) {
		path_of(path, sizeof(path), directories[i], c->name);
		dir = opendir(path);
		while (dir && !ret && (entry = readdir(dir))) {
			for (j = 0; coarse[j] && strcmp(entry->d_name, coarse[j]); j++)
				;
			if (entry->d_name[0] == '.' || coarse[j])
				continue;
			snprintf(form, sizeof(form), "%s/%s", directories[i], entry->d_name);
			ret = read_file(c, form);
		}
		if (dir)
			closedir(dir);
	}
	for (i = 0; !ret && files[i]; i++)
		ret = read_file(c, files[i]);
	return ret ? fail("no memory for the settings of %s", c->name) : 0;
}

/*
 * Some are taken only when others are set, and some change others: in turns, until all is as it
 * was. What is left is told.
 */
int files_restore(const struct carried *c)
{
	char path[PATH_MAX], now[sizeof(c->settings->value)];
	const struct setting *s;
	bool differ = true;
	int turn, ret = 0;

	for (turn = 0; differ && turn < 4; turn++) {
		differ = false;
		for (s = c->settings; s; s = s->next) {
			path_of(path, sizeof(path), s->path, c->name);
			/* A file that is not there, say with another kernel's driver, is no loss */
			if (access(path, F_OK) || (get(path, now, sizeof(now)) && !strcmp(now, s->value)))
				continue;
			differ = true;
			if (turn < 3)
				set(path, s->value);
			else
				ret |= fail("%s: not restored: %s: %s is %s, not %s", c->name, path,
					    strrchr(path, '/') + 1, now, s->value);
		}
	}
	return ret;
}
