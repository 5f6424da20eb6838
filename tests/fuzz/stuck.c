// SPDX-License-Identifier: GPL-2.0
/*
 * stuck.c - whether a program ends in time, and what those do that have not
 */
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"
#include "net.h"

#define STEP_MAX_S	0.01	/* between two looks, of which one is due each 0.5 ms */

struct patience patience_of(int ms)
{
	return (struct patience){ mono(), ms / 1e3 };
}

bool still(struct patience *p)
{
	double now = mono(), passed = now - p->last;

	p->left -= passed < STEP_MAX_S ? passed : STEP_MAX_S;
	p->last = now;
	usleep(500);
	return p->left > 0;
}

bool ends_in(pid_t pid, int ms)
{
	struct patience p = patience_of(ms);

	while (waitpid(pid, NULL, WNOHANG) != pid)
		if (!still(&p))
			return false;
	return true;
}

bool group_dies_in(pid_t pid, int ms)
{
	struct patience p = patience_of(ms);

	while (!kill(-pid, SIGKILL)) {
		while (waitpid(-pid, NULL, WNOHANG) > 0)
			;
		if (!still(&p))
			return false;
	}
	return true;
}

static void show_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		printf("# %s: %.400s", path, line);
	if (f)
		fclose(f);
}

void show_stuck(pid_t group)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY), of;
	glob_t threads = { 0 };
	char path[300];
	FILE *f;
	size_t i;

	/* The kernel's own tasks, to the console */
	if (fd >= 0 && write(fd, "w", 1) == 1)
		usleep(500000);
	if (fd >= 0)
		close(fd);
	if (!group || glob("/proc/[0-9]*/task/*", 0, NULL, &threads))
		return;
	for (i = 0; i < threads.gl_pathc; i++) {
		snprintf(path, sizeof(path), "%s/stat", threads.gl_pathv[i]);
		f = fopen(path, "r");
		if (f && fscanf(f, "%*d (%*[^)]) %*c %*d %d", &of) == 1 && of == group) {
			show_file(path);
			snprintf(path, sizeof(path), "%s/stack", threads.gl_pathv[i]);
			show_file(path);
		}
		if (f)
			fclose(f);
	}
	globfree(&threads);
}
