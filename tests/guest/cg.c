// SPDX-License-Identifier: GPL-2.0
/*
 * cg.c - a memory cgroup of a test's own, and processes in it
 */
#include "cg.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"
#include "tap.h"

#define ROOT "/tmp/sm.cg"
#define OURS ROOT "/test"

static bool cg_write(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, what, strlen(what)) == (ssize_t)strlen(what);

	if (fd >= 0)
		close(fd);
	return ok;
}

void cg_new(int megabytes)
{
	char max[32];

	cg_end();
	mkdir(ROOT, 0755);
	if (mount("none", ROOT, "cgroup2", 0, NULL) || !cg_write(ROOT "/cgroup.subtree_control", "+memory"))
		tap_skip("no memory cgroups");
	CHECKF(!mkdir(OURS, 0755), "%s", strerror(errno));
	snprintf(max, sizeof(max), "%dM", megabytes);
	CHECK(cg_write(OURS "/memory.max", max));
}

pid_t cg_fork(void (*f)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		CHECK(cg_write(OURS "/cgroup.procs", "0"));
		f(arg);
		fflush(stdout);
		_exit(0);
	}
	CHECK(pid > 0);
	return pid;
}

void cg_wait(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x", status);
}

static int ready[2];

static void neighbour(void *arg)
{
	size_t size = *(int *)arg * 1048576ul, i;
	volatile char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	for (;;) {
		for (i = 0; i < size; i += 4096)
			p[i]++;
		CHECK(write(ready[1], "x", 1) == 1);
		usleep(50000);
	}
}

pid_t cg_neighbour(int megabytes)
{
	pid_t pid;
	char c;

	CHECK(!pipe(ready));
	fcntl(ready[0], F_SETPIPE_SZ, 65536);
	pid = cg_fork(neighbour, &megabytes);
	CHECK(read(ready[0], &c, 1) == 1);
	return pid;
}

void cg_neighbour_end(pid_t pid)
{
	int status = 0;

	CHECKF(waitpid(pid, &status, WNOHANG) == 0, "the neighbour is dead: status 0x%x", status);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(ready[0]);
	close(ready[1]);
}

long long cg_read(const char *file, const char *key)
{
	long long n = -1;
	char line[256];
	size_t k = key ? strlen(key) : 0;
	FILE *f;

	snprintf(line, sizeof(line), OURS "/%s", file);
	f = fopen(line, "r");
	CHECKF(f, "%s: %s", line, strerror(errno));
	while (n < 0 && fgets(line, sizeof(line), f))
		if (!k || (!strncmp(line, key, k) && line[k] == ' '))
			n = atoll(line + k);
	fclose(f);
	CHECKF(n >= 0, "no %s in %s", key ? key : "number", file);
	return n;
}

void cg_end(void)
{
	int i;

	if (access(OURS, F_OK) && access(ROOT "/cgroup.procs", F_OK))
		return;
	cg_write(OURS "/cgroup.kill", "1");
	for (i = 0; i < 100 && rmdir(OURS) && errno != ENOENT; i++)
		usleep(20000);
	cg_write(ROOT "/cgroup.subtree_control", "-memory");
	umount(ROOT);
	rmdir(ROOT);
}
