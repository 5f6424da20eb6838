// SPDX-License-Identifier: GPL-2.0
/*
 * sh.c - commands, by bash
 */
#include "sh.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"
#include "sm.h"
#include "tap.h"

#define LIMIT 20

double sh_seconds;

static int sh_run(char *to, size_t size, const char *command)
{
	double start = mono();
	int status, p[2];
	char limit[16];
	size_t n = 0;
	ssize_t k;
	pid_t pid;

	snprintf(limit, sizeof(limit), "%d", LIMIT * slow());
	if (to)
		CHECK(!pipe(p));
	pid = fork();
	if (pid == 0) {
		if (to) {
			dup2(p[1], 1);
			close(p[0]);
			close(p[1]);
		}
		execlp("timeout", "timeout", "-s", "KILL", limit, "bash", "-c", command, NULL);
		_exit(127);
	}
	CHECK(pid > 0);
	if (to) {
		close(p[1]);
		while (n < size - 1 && (k = read(p[0], to + n, size - 1 - n)) > 0)
			n += k;
		to[n] = 0;
		close(p[0]);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	sh_seconds = mono() - start;
	CHECKF(!WIFSIGNALED(status) && WEXITSTATUS(status) != 137, "took too long: %s", command);
	return WEXITSTATUS(status);
}

int sh(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return sh_run(NULL, 0, command);
}

int sh_read(char *to, size_t size, const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return sh_run(to, size, command);
}

void sh_restore_nic(void)
{
	sh("exec 2>/dev/null; [ ! -e /run/netns/smns ] || ip -n smns link set " IFNAME " netns 1; ip netns del smns"
	   "; ip link del smv0; ip link del smdum; ip link set lo up; ip link set " IFNAME " up"
	   "; ip addr replace 10.77.0.2/24 dev " IFNAME "; ip -6 addr replace fd77::2/64 dev " IFNAME
	   " nodad; ip route replace default via 10.77.0.1; ip -6 route replace default via fd77::1");
}
