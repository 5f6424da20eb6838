// SPDX-License-Identifier: GPL-2.0
/*
 * tap.c - runs the tests: sm-test [-l] [-x NAME]... [NAME...]
 *
 * NAME selects the tests that begin with it; -x leaves out those; -l lists.
 */
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cg.h"
#include "fault.h"
#include "net.h"
#include "peer.h"
#include "sh.h"
#include "sm.h"

#define EXIT_SKIP 77

const struct place place_lo = {
	"lo", IFNAME, "127.0.0.1", "127.0.0.1", "::1", "127.0.0.1", "::1", "127.0.0"
};
const struct place place_nic = {
	"nic", IFNAME, "10.77.0.1", "10.77.0.2", "fd77::2", "10.77.0.1", "fd77::1", "10.99.0"
};
const struct place place_veth = {
	"veth", "smn0", "10.78.0.1", "10.78.0.2", "fd78::2", "10.78.0.1", "fd78::1", "10.98.0"
};
const struct place *here;

static struct test *tests, **tests_end = &tests;
static int ran, failed;

void test_register(struct test *t)
{
	*tests_end = t;
	tests_end = &t->next;
}

void tap_fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	char msg[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	printf("# %s:%d: %s\n", base ? base + 1 : file, line, msg);
	fflush(stdout);
	_exit(1);
}

void tap_skip(const char *why)
{
	printf("# skipped: %s\n", why);
	fflush(stdout);
	_exit(EXIT_SKIP);
}

void tap_note(const char *fmt, ...)
{
	char msg[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	printf("# %s\n", msg);
	fflush(stdout);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Wait for a child, for so long. Returns its status, or -1 */
static int wait_for(pid_t pid, double seconds)
{
	double end = now() + seconds;
	int status;

	for (;;) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		if (now() > end)
			return -1;
		usleep(5000);
	}
}

/* What a test leaves behind would spoil the next */
static bool ports_are_left(void)
{
	double end = now() + 2 * slow();

	while (sm_ports() > 0) {
		if (now() > end)
			return true;
		usleep(10000);
	}
	return false;
}

static void run_one(struct test *t, const struct place *place)
{
	const char *why = "";
	double start = now();
	char name[80];
	int status;
	pid_t pid;

	snprintf(name, sizeof(name), "%s%s%s", t->name, place ? "/" : "",
		 place ? place->name : "");
	if (place == &place_veth)
		sh_veth();
	if (place && !peer_there(place)) {
		printf("ok %d - %s # SKIP no peer\n", ++ran, name);
		return;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		here = place;
		t->run();
		fflush(stdout);
		_exit(0);
	}
	setpgid(pid, pid);
	status = wait_for(pid, t->seconds * slow());
	if (status == -1)
		why = " (took too long)";
	kill(-pid, SIGKILL);
	if (status == -1 && wait_for(pid, 10 * slow()) == -1)
		why = " (took too long and cannot be killed)";
	else if (status > 0 && WIFSIGNALED(status))
		why = " (killed by a signal)";
	if (ports_are_left()) {
		status = -1;
		why = " (left a port behind)";
	}
	ran++;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP) {
		printf("ok %d - %s # SKIP\n", ran, name);
	} else if (status) {
		failed++;
		fault_none();
		cg_end();
		sh_restore_nic();
		printf("not ok %d - %s%s %.1f s\n", ran, name, why, now() - start);
		fflush(stdout);
		if (place == &place_nic)
			peer_tell_stuck(place);
	} else {
		printf("ok %d - %s # %.1f s\n", ran, name, now() - start);
	}
	fflush(stdout);
}

static bool matches(const char *name, char **words, int n)
{
	while (n--)
		if (!strncmp(name, words[n], strlen(words[n])))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	char *without[32];
	int nwithout = 0;
	struct test *t;
	pid_t peer;
	int opt;

	while ((opt = getopt(argc, argv, "lx:")) != -1) {
		if (opt == 'x' && nwithout < 32) {
			without[nwithout++] = optarg;
		} else if (opt == 'l') {
			for (t = tests; t; t = t->next)
				printf("%s\n", t->name);
			return 0;
		} else {
			return 2;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	fflush(stdout);
	peer = fork();
	if (peer == 0)
		_exit(peer_serve("127.0.0.1"));
	usleep(50000);
	for (t = tests; t; t = t->next) {
		if (argc > optind && !matches(t->name, argv + optind, argc - optind))
			continue;
		if (matches(t->name, without, nwithout))
			continue;
		if ((t->where & ON_ASKED) && argc == optind)
			continue;
		if (!(t->where & ~ON_ASKED))
			run_one(t, NULL);
		if (t->where & ON_LO)
			run_one(t, &place_lo);
		if (t->where & ON_NIC)
			run_one(t, &place_nic);
		if (t->where & ON_VETH)
			run_one(t, &place_veth);
	}
	kill(peer, SIGTERM);
	sh_veth_end();
	printf("1..%d\n", ran);
	return failed || !ran;
}
