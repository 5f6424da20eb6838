// SPDX-License-Identifier: GPL-2.0
/*
 * process.c - programs of their own that end with something written and unread, or become another
 *
 * Each is this program once more, as a helper that connects to us. They come before anything else, as
 * there may be one port only: whoever waits first has it.
 */
#include "ops.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The pipe by which a helper tells */
#define TELL_FD		3

struct told {
	int attached;
	int failed;	/* line */
	long n;
};

/* ---------------------------------------------------------------- the helper */

static struct told told;

__attribute__((noreturn)) static void fail(int line)
{
	told.failed = line;
	if (write(TELL_FD, &told, sizeof(told)) < 0)
		perror("tell");
	_exit(99);
}

#define NEED(cond)	do { if (!(cond)) fail(__LINE__); } while (0)

static void tell(long n)
{
	told.n = n;
	NEED(write(TELL_FD, &told, sizeof(told)) == sizeof(told));
}

static long send_some(int fd, size_t n)
{
	unsigned char *buf = malloc(n);
	long ret;

	pattern(buf, n, 0, 0);
	ret = write(fd, buf, n);
	free(buf);
	return ret;
}

/* Until it takes no more. Returns how much it took */
static long fill(int fd)
{
	static unsigned char buf[16384];
	long all = 0, n;
	int again = 0;

	while (again < 2) {
		pattern(buf, sizeof(buf), (uint64_t)all, 0);
		n = write(fd, buf, sizeof(buf));
		again = n < 0 ? again + 1 : 0;
		all += n > 0 ? n : 0;
	}
	return all;
}

/* What comes is "go" and 50 bytes, of which 10 are read; the rest is left */
static void hear_go(int fd, int ep)
{
	struct epoll_event ev;
	char buf[12];

	NEED(epoll_wait(ep, &ev, 1, 5000) == 1);
	NEED(read(fd, buf, 12) == 12);
}

static void helper_execd(int fd)
{
	char buf[40], want[40];

	pattern(want, 40, 10, 1);
	NEED(recv(fd, buf, 40, 0) == 40 && !memcmp(buf, want, 40));
	NEED(send(fd, "execd", 5, 0) == 5);
	tell(0);
	exit(0);
}

/* argv: PROGRAM --helper WHAT PORT-OR-DESCRIPTOR */
int process_helper(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event ev = { .events = EPOLLIN };
	const char *what = argc > 2 ? argv[2] : "";
	int number = argc > 3 ? atoi(argv[3]) : -1, fd, ep;
	char text[16];
	pid_t pid;

	alarm(30);
	if (!strcmp(what, "execd"))
		helper_execd(number);
	/* What case_fds.c has a shell run */
	if (!strcmp(what, "use"))
		return recv(number, text, 5, 0) != 5 || send(number, "shell", 5, 0) != 5;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	ep = epoll_create1(EPOLL_CLOEXEC);
	addr.sin_port = htons((uint16_t)number);
	NEED(!connect(fd, (struct sockaddr *)&addr, sizeof(addr)) && !fcntl(fd, F_SETFL, O_NONBLOCK));
	NEED(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	hear_go(fd, ep);
	told.attached = attached(ep, fd);
	if (!strcmp(what, "exec")) {
		char *again[] = { argv[0], "--helper", "execd", text, NULL };

		snprintf(text, sizeof(text), "%d", fd);
		NEED(send_some(fd, 100) == 100);
		execv(config.self, again);
		fail(__LINE__);
	}
	if (!strcmp(what, "daemon")) {
		pid = fork();
		NEED(pid >= 0);
		if (pid)
			_exit(0);
		setsid();
		/* The set is the parent's, too, and has it still */
		NEED(epoll_wait(ep, &ev, 1, 5000) == 1);
		NEED(send_some(fd, 100) == 100);
		helper_execd(fd);
	}
	tell(strncmp(what, "full", 4) ? send_some(fd, 20000) : fill(fd));
	if (strstr(what, "_exit"))
		_exit(0);
	if (strstr(what, "kill"))
		kill(getpid(), SIGKILL);
	if (strstr(what, "close"))
		close(fd);
	exit(0);
}

/* ------------------------------------------------------------------ who sees it */

static char **without_library(void)
{
	static char *env[256];
	int i, n = 0;

	for (i = 0; environ[i] && n < 255; i++)
		if (strncmp(environ[i], "LD_PRELOAD=", 11) && strncmp(environ[i], "STACKMAP_", 9))
			env[n++] = environ[i];
	return env;
}

/* Read all there is, and how it ends */
static void hear_all(struct side *s, int fd)
{
	static unsigned char buf[65536], want[65536];
	long n, all = 0;
	bool right = true;

	for (;;) {
		n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0)
			break;
		pattern(want, (size_t)n, (uint64_t)all, 0);
		right = right && !memcmp(buf, want, (size_t)n);
		all += n;
	}
	begin_note(s, "how it ended for the peer");
	noted(s, n);
	NOTE_VALUE(s, "what came is what was written", right);
	s->sent = (uint64_t)all;
}

static void run_helper(struct side *s, const char *what, bool unread)
{
	char port[16], go[52] = "go", buf[105];
	char *argv[] = { (char *)(uintptr_t)config.self, "--helper", (char *)(uintptr_t)what, port, NULL };
	struct timeval limit = { 5, 0 };
	posix_spawn_file_actions_t act;
	struct sockaddr_storage addr;
	unsigned int len;
	int l = listen_on(false, 4, &addr, &len), tells[2], status = -1, one = 1;
	struct told t = { 0 };
	pid_t pid;

	where_side = s->name;
	snprintf(port, sizeof(port), "%d", ntohs(((struct sockaddr_in *)&addr)->sin_port));
	NOTE(s, pipe(tells));
	posix_spawn_file_actions_init(&act);
	posix_spawn_file_actions_adddup2(&act, tells[1], TELL_FD);
	NOTE(s, posix_spawn(&pid, config.self, &act, NULL, argv, s->fast ? environ : without_library()));
	posix_spawn_file_actions_destroy(&act);
	close(tells[1]);
	s->peer = accept(l, NULL, NULL);
	setsockopt(s->peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(s->peer, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	pattern(go + 2, 50, 0, 1);
	NOTE(s, send(s->peer, go, unread ? 52 : 12, 0));
	if (!strcmp(what, "exec") || !strcmp(what, "daemon")) {
		NOTE(s, recv(s->peer, buf, 105, MSG_WAITALL));
		seen(s, buf, 105);
	}
	NOTE(s, read(tells[0], &t, sizeof(t)));
	NOTE_VALUE(s, "failed at line", t.failed);
	if (strcmp(what, "exec"))
		NOTE_VALUE(s, "the fast one is fast", !s->fast || !config.port || t.attached || t.failed);
	NOTE_VALUE(s, "the helper has ended", waitpid(pid, &status, 0) == pid);
	NOTE_VALUE(s, "its status", status);
	/* It is gone, whatever it has written */
	ms_sleep(20);
	hear_all(s, s->peer);
	if (strcmp(what, "exec") && strcmp(what, "daemon"))
		NOTE_VALUE(s, "all came that it has written", (long)s->sent == t.n);
	if (config.verbose)
		fprintf(stderr, "# %s %s: %llu bytes of %ld\n", s->name, what, (unsigned long long)s->sent, t.n);
	close(s->peer);
	close(tells[0]);
	close(l);
}

bool process_all(bool (*report)(bool ok, const char *fmt, ...))
{
	static const struct {
		const char *name;
		const char *what;
		bool unread;
	} kinds[] = {
		{ "a program that has written exits", "exit", false },
		{ "a program that has written calls _exit()", "_exit", false },
		{ "a program that has written is killed", "kill", false },
		{ "a program that has written closes and exits", "close", false },
		{ "a program with something unread exits", "exit", true },
		{ "a program with something unread calls _exit()", "_exit", true },
		{ "a program with something unread is killed", "kill", true },
		{ "a program that has written what it could exits", "full-exit", false },
		{ "a program that has written what it could closes and exits", "full-close", false },
		{ "a program that has written what it could calls _exit()", "full-_exit", false },
		{ "a program becomes another with execv()", "exec", true },
		{ "a program becomes a daemon", "daemon", true },
	};
	static struct side fast, plain;
	bool all = true;
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (!report(true, NULL, kinds[i].name))
			continue;
		where_case = kinds[i].name;
		alarm(60);
		side_begin(&plain, false);
		side_begin(&fast, true);
		run_helper(&plain, kinds[i].what, kinds[i].unread);
		run_helper(&fast, kinds[i].what, kinds[i].unread);
		all = report(same_logs(&fast, &plain), "%s", kinds[i].name) && all;
	}
	return all;
}
