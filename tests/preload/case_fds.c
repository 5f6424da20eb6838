// SPDX-License-Identifier: GPL-2.0
/*
 * case_fds.c - scenarios of descriptors: other numbers, other processes, other modes
 */
#include "ops.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void dups(struct side *s, int how)
{
	int fd = -1, own;

	arm(s, EPOLLIN);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	app_hears(s, 50);
	app_says(s, 10);
	switch (how) {
	case 0:
		fd = NOTE_FD(s, dup(s->app));
		break;
	case 1:
		fd = NOTE_FD(s, fcntl(s->app, F_DUPFD_CLOEXEC, 100));
		break;
	case 2:
		fd = NOTE_FD(s, dup2(s->app, 400));
		break;
	default:
		fd = NOTE_FD(s, dup3(s->app, 401, O_CLOEXEC));
		break;
	}
	app_hears(s, 30);
	peer_hears(s, 10);
	use(s, fd);
	if (how & 1) {
		/* The set still has what is open under another number */
		own = s->app;
		NOTE(s, close(own));
		s->app = fd;
		peer_says(s, 10);
		wait_for(s, 8, 100);
		app_hears(s, 100);
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, own, NULL));
		ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, 3);
	} else {
		NOTE(s, close(fd));
	}
	peer_says(s, 10);
	wait_for(s, 8, 100);
	app_hears(s, 100);
	app_says(s, 10);
	peer_hears(s, 10);
}

static void dup_1(struct side *s)
{
	dups(s, 0);
}

static void dup_fd(struct side *s)
{
	dups(s, 1);
}

static void dup_2(struct side *s)
{
	dups(s, 2);
}

static void dup_3(struct side *s)
{
	dups(s, 3);
}

static void dup_over(struct side *s)
{
	int null = open("/dev/null", O_RDWR), app;

	arm(s, EPOLLIN);
	NOTE_VALUE(s, "it is its number", dup2(s->app, s->app) == s->app);
	NOTE(s, dup3(s->app, s->app, 0));
	NOTE(s, dup2(-1, s->app));
	NOTE(s, dup2(s->app, -1));
	NOTE(s, dup2(s->app, 1 << 22));
	NOTE(s, dup(-1));
	NOTE(s, fcntl(s->app, F_DUPFD, -1));
	peer_says(s, 10);
	wait_for(s, 8, 1000);
	app_hears(s, 100);
	app_says(s, 10);
	app = s->app;
	NOTE_VALUE(s, "dup2() over it", dup2(null, app) == app);
	s->app = -1;
	NOTE(s, write(app, "to /dev/null", 12));
	peer_hears(s, 10);
	s->fin = true;
	leave(s);
	peer_hears(s, 1);
	NOTE(s, close(app));
	/* And what is open behind it goes on */
	pair_open(s, 0);
	arm(s, EPOLLIN);
	app = s->peer;
	s->peer = dup(app);
	close(app);
	NOTE_VALUE(s, "dup2() of another socket", dup2(s->peer, null) == null);
	use(s, s->app);
	close(null);
}

static void dup_over_set(struct side *s)
{
	int null = open("/dev/null", O_RDWR);

	arm(s, EPOLLIN);
	peer_says(s, 50);
	wait_for(s, 8, 1000);
	app_hears(s, 20);
	NOTE_VALUE(s, "dup2() over the set", dup2(null, s->ep) == s->ep);
	wait_ep(s, s->ep, 8, 0);
	app_hears(s, 100);
	app_says(s, 10);
	peer_hears(s, 10);
	close(s->ep);
	s->ep = set_new(s);
	arm(s, EPOLLIN);
	use(s, s->app);
	close(null);
}

static void ranges(struct side *s)
{
	int fd;

	arm(s, EPOLLIN);
	app_says(s, 10);
	NOTE(s, close_range(10, 5, 0));
	NOTE(s, close_range(3, 4000, 64));
	fd = NOTE_FD(s, fcntl(s->peer, F_DUPFD, 500));
	NOTE(s, close_range(300, ~0u, 0));
	NOTE(s, fcntl(fd, F_GETFD));
	use(s, s->app);
	peer_hears(s, 10);
	fd = s->app;
	NOTE(s, close_range((unsigned int)fd, (unsigned int)fd, 0));
	NOTE(s, fcntl(fd, F_GETFD));
	s->app = -1;
	s->fin = true;
	leave(s);
	peer_hears(s, 10);
	peer_hears(s, 10);
	wait_ep(s, s->ep, 8, 0);
}

static void range_on_exec(struct side *s)
{
	arm(s, EPOLLIN);
	NOTE(s, close_range((unsigned int)s->app, (unsigned int)s->app, CLOSE_RANGE_CLOEXEC));
	NOTE(s, fcntl(s->app, F_GETFD));
	use(s, s->app);
}

static void as_file(struct side *s)
{
	char line[64] = "";
	FILE *f;
	int app = s->app;

	arm(s, EPOLLIN);
	app_says(s, 10);
	f = fdopen(s->app, "r+");
	NOTE(s, fprintf(f, "the number is %d\n", 7));
	NOTE(s, fflush(f));
	NOTE_PEER(s, send(s->peer, "a line\nanother\n", 15, 0));
	arrive(s);
	NOTE_VALUE(s, "a line", fgets(line, sizeof(line), f) != NULL);
	seen(s, line, sizeof(line));
	peer_hears(s, 10 + 16);
	wait_ep(s, s->ep, 8, 0);
	NOTE(s, fclose(f));
	s->app = -1;
	s->fin = true;
	leave(s);
	peer_hears(s, 1);
	peer_hears(s, 1);
	wait_ep(s, s->ep, 8, 0);
	ctl(s, EPOLL_CTL_ADD, app, EPOLLIN, 1);
	ctl(s, EPOLL_CTL_MOD, app, EPOLLIN, 1);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, app, NULL));
	NOTE(s, read(app, line, 1));
	pair_open(s, 0);
	arm(s, EPOLLIN);
	use(s, s->app);
}

static void passed(struct side *s)
{
	char control[CMSG_SPACE(sizeof(int))] = "", c = 'x';
	struct iovec iov = { &c, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);
	int un[2], fd = -1;

	NOTE(s, socketpair(AF_UNIX, SOCK_STREAM, 0, un));
	arm(s, EPOLLIN);
	peer_says(s, 50);
	wait_for(s, 8, 1000);
	app_hears(s, 20);
	app_says(s, 10);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &s->app, sizeof(int));
	NOTE(s, sendmsg(un[0], &msg, 0));
	app_hears(s, 10);
	NOTE(s, recvmsg(un[1], &msg, 0));
	memcpy(&fd, CMSG_DATA(cm), sizeof(int));
	app_hears(s, 100);
	peer_hears(s, 10);
	use(s, fd);
	NOTE(s, close(s->app));
	s->app = fd;
	wait_ep(s, s->ep, 8, 0);
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, 9);
	use(s, fd);
	close(un[0]);
	close(un[1]);
}

/* ------------------------------------------------------------- other processes */

/* What a child's read or write gave comes through its status */
static void child_does(struct side *s, int what, int fd)
{
	char buf[64] = "";
	int status = -1;
	pid_t pid = fork();
	long n;

	if (!pid) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		alarm(10);
		switch (what) {
		case 0:
			n = read(fd, buf, 10);
			break;
		case 1:
			n = write(fd, "childchild", 10);
			break;
		case 2:
			n = close(fd);
			break;
		case 3:
			n = poll(&p, 1, 2000) == 1 ? read(fd, buf, 10) : -2;
			break;
		default:
			n = 0;
			break;
		}
		_exit(n < 0 ? 100 + errno % 100 : (int)n);
	}
	NOTE_VALUE(s, "fork()", pid > 0);
	NOTE_VALUE(s, "the child has ended", waitpid(pid, &status, 0) == pid);
	NOTE_VALUE(s, "the child's status", status);
	if (what == 1)
		s->sent += 10;
}

static void child_reads(struct side *s)
{
	arm(s, EPOLLIN);
	peer_says(s, 50);
	wait_for(s, 8, 1000);
	app_hears(s, 20);
	child_does(s, 0, s->app);
	app_hears(s, 5);
	wait_for(s, 8, 100);
	app_hears(s, 100);
	use(s, s->app);
	must_be_fast(s, "again, after the child");
}

static void child_writes(struct side *s)
{
	arm(s, EPOLLIN);
	app_says(s, 20);
	child_does(s, 1, s->app);
	app_says(s, 20);
	peer_hears(s, 50);
	use(s, s->app);
	must_be_fast(s, "again, after the child");
}

static void child_closes(struct side *s)
{
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 3; i++) {
		peer_says(s, 20);
		wait_for(s, 8, 1000);
		app_says(s, 10);
		child_does(s, i ? 4 : 2, s->app);
		app_hears(s, 100);
		peer_hears(s, 10);
		use(s, s->app);
	}
	must_be_fast(s, "again, after the children");
}

/* The parent waits while the child lives, and has the socket, too */
static void child_reads_later(struct side *s)
{
	int go[2], status = -1, i;
	pid_t pid;
	char c;

	NOTE(s, pipe(go));
	arm(s, EPOLLIN);
	wait_for(s, 8, 0);
	pid = fork();
	if (!pid) {
		char buf[16];
		long n;

		alarm(10);
		if (read(go[0], &c, 1) != 1)
			_exit(99);
		n = read(s->app, buf, 10);
		_exit(n < 0 ? 100 + errno % 100 : (int)n);
	}
	for (i = 0; i < 3; i++)
		wait_for(s, 8, 3);
	peer_says(s, 30);
	wait_for(s, 8, 1000);
	NOTE(s, write(go[1], "x", 1));
	NOTE_VALUE(s, "the child has ended", waitpid(pid, &status, 0) == pid);
	NOTE_VALUE(s, "the child's status", status);
	app_hears(s, 100);
	close(go[0]);
	close(go[1]);
}

/* As servers do: the child serves what the parent has accepted, in a set of its own */
static void child_serves(struct side *s)
{
	int status = -1;
	pid_t pid;

	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
	peer_says(s, 30);
	wait_for(s, 8, 1000);
	pid = fork();
	if (!pid) {
		struct epoll_event ev = { .events = EPOLLIN };
		char buf[64];
		int ep = epoll_create1(0), i;
		long n = 0;

		alarm(10);
		close(s->ep);
		epoll_ctl(ep, EPOLL_CTL_ADD, s->app, &ev);
		for (i = 0; i < 3; i++) {
			if (epoll_wait(ep, &ev, 1, 2000) != 1)
				_exit(50 + i);
			n = read(s->app, buf, sizeof(buf));
			if (n <= 0 || write(s->app, buf, (size_t)n) != n)
				_exit(60 + i);
		}
		_exit((int)n);
	}
	NOTE(s, close(s->app));
	s->app = -1;
	s->sent += 30;
	peer_hears(s, 30);
	peer_says(s, 20);
	s->sent += 20;
	peer_hears(s, 20);
	peer_says(s, 10);
	s->sent += 10;
	peer_hears(s, 10);
	NOTE_VALUE(s, "the child has ended", waitpid(pid, &status, 0) == pid);
	NOTE_VALUE(s, "the child's status", status);
	s->fin = true;
	leave(s);
	peer_hears(s, 1);
	wait_ep(s, s->ep, 8, 0);
}

static void with_vfork(struct side *s)
{
	int status = -1, i;
	pid_t pid;

	arm(s, EPOLLIN);
	for (i = 0; i < 3; i++) {
		peer_says(s, 30);
		wait_for(s, 8, 1000);
		app_hears(s, 20);
		app_says(s, 10);
		pid = vfork();
		if (!pid) {
			close(s->app);
			if (i == 1)
				_exit(3);
			execl("/bin/true", "true", (char *)NULL);
			_exit(127);
		}
		NOTE_VALUE(s, "vfork()", pid > 0);
		NOTE_VALUE(s, "the child has ended", waitpid(pid, &status, 0) == pid);
		NOTE_VALUE(s, "the child's status", status);
		app_hears(s, 100);
		peer_hears(s, 10);
		use(s, s->app);
	}
	must_be_fast(s, "again, after the children");
}

static void with_spawn(struct side *s)
{
	char *argv[] = { "sh", "-c", "head -c 5 >/dev/null; printf spawn", NULL };
	posix_spawn_file_actions_t act;
	int status = -1, i;
	pid_t pid;

	arm(s, EPOLLIN);
	for (i = 0; i < 2; i++) {
		peer_says(s, 5);
		wait_for(s, 8, 1000);
		app_says(s, 10);
		posix_spawn_file_actions_init(&act);
		posix_spawn_file_actions_adddup2(&act, s->app, 0);
		posix_spawn_file_actions_adddup2(&act, s->app, 1);
		NOTE(s, posix_spawn(&pid, "/bin/sh", &act, NULL, argv, environ));
		posix_spawn_file_actions_destroy(&act);
		NOTE_VALUE(s, "the child has ended", waitpid(pid, &status, 0) == pid);
		NOTE_VALUE(s, "the child's status", status);
		s->sent += 5;
		app_says(s, 10);
		peer_hears(s, 25);
		wait_for(s, 8, 20);
		use(s, s->app);
	}
	must_be_fast(s, "again, after the children");
}

/* libc makes these processes without fork() or posix_spawn() of anybody else's */
static void with_system(struct side *s)
{
	char command[PATH_MAX + 32];
	FILE *f;
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 2; i++) {
		peer_says(s, 5);
		wait_for(s, 8, 1000);
		app_says(s, 10);
		snprintf(command, sizeof(command), "%s --helper use %d", config.self, s->app);
		if (i) {
			f = popen(command, "r");
			while (f && fgetc(f) != EOF)
				;
			NOTE_VALUE(s, "pclose()", f ? pclose(f) : -1);
		} else {
			NOTE(s, system(command));
		}
		s->sent += 5;
		app_says(s, 10);
		peer_hears(s, 25);
		wait_for(s, 8, 20);
		app_hears(s, 100);
	}
}

/* ----------------------------------------------------------------- other modes */

static void blocking(struct side *s)
{
	int off = 0, on = 1, i;

	arm(s, EPOLLIN);
	for (i = 0; i < 2; i++) {
		peer_says(s, 50);
		wait_for(s, 8, 1000);
		app_hears(s, 20);
		app_says(s, 10);
		if (i)
			NOTE(s, ioctl(s->app, FIONBIO, &off));
		else
			NOTE(s, fcntl(s->app, F_SETFL, 0));
		NOTE(s, fcntl(s->app, F_GETFL));
		NOTE_IO(s, recv(s->app, (char[64]){ 0 }, 30, MSG_WAITALL));
		NOTE_IO(s, recv(s->app, (char[64]){ 0 }, 64, MSG_DONTWAIT));
		app_says(s, 10);
		peer_says(s, 5);
		wait_for(s, 8, 1000);
		app_hears(s, 64);
		if (i)
			NOTE(s, ioctl(s->app, FIONBIO, &on));
		else
			NOTE(s, fcntl(s->app, F_SETFL, O_NONBLOCK));
		NOTE(s, fcntl(s->app, F_GETFL));
		app_hears(s, 64);
		peer_hears(s, 20);
		use(s, s->app);
	}
	wait_for(s, 8, 0);
	must_be_fast(s, "again");
}

/* A read of one that blocks waits; here for as long as it may */
static void blocking_waits(struct side *s)
{
	/* (Ticks, by which the kernel has it, may be late, and then come close upon each other) */
	struct timeval limit = { 0, 100000 };
	uint64_t began;

	arm(s, EPOLLIN);
	peer_says(s, 50);
	wait_for(s, 8, 1000);
	app_hears(s, 20);
	app_says(s, 10);
	NOTE(s, setsockopt(s->app, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	NOTE(s, fcntl(s->app, F_SETFL, 0));
	NOTE(s, recv(s->app, (char[64]){ 0 }, 64, 0));
	began = ms_now();
	NOTE(s, recv(s->app, (char[64]){ 0 }, 64, 0));
	NOTE_VALUE(s, "it has waited", ms_now() - began >= 30);
	wait_for(s, 8, 0);
	peer_says(s, 10);
	began = ms_now();
	NOTE(s, recv(s->app, (char[64]){ 0 }, 64, MSG_WAITALL));
	NOTE_VALUE(s, "it has waited", ms_now() - began >= 30);
	peer_hears(s, 10);
	wait_for(s, 8, 0);
	NOTE(s, fcntl(s->app, F_SETFL, O_NONBLOCK));
	use(s, s->app);
}

static void on_signal(int sig)
{
	(void)sig;
}

static void async(struct side *s)
{
	struct sigaction sa = { .sa_handler = on_signal }, before;

	sigaction(SIGIO, &sa, &before);
	arm(s, EPOLLIN);
	NOTE(s, fcntl(s->app, F_SETOWN, getpid()));
	NOTE(s, fcntl(s->app, F_SETFL, O_NONBLOCK | O_ASYNC));
	NOTE(s, fcntl(s->app, F_GETFL));
	peer_says(s, 10);
	wait_for(s, 8, 100);
	app_hears(s, 64);
	sigaction(SIGIO, &before, NULL);
}

/* It was blocking as it was added; and is not, later */
static void nonblocking_late(struct side *s)
{
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
	peer_says(s, 10);
	wait_for(s, 8, 100);
	app_hears(s, 5);
	NOTE(s, fcntl(s->app, F_SETFL, O_NONBLOCK));
	wait_for(s, 8, 0);
	app_hears(s, 64);
	use(s, s->app);
}

static void options(struct side *s)
{
	int on = 1, off = 0, v, names[] = { TCP_NODELAY, TCP_QUICKACK, TCP_KEEPIDLE, TCP_USER_TIMEOUT }, i;
	struct sockaddr_storage addr;
	socklen_t len;

	arm(s, EPOLLIN);
	for (i = 0; i < 4; i++) {
		app_says(s, 100);
		NOTE(s, setsockopt(s->app, IPPROTO_TCP, names[i], i & 1 ? &off : &on, sizeof(on)));
		v = -1;
		len = sizeof(v);
		NOTE(s, getsockopt(s->app, IPPROTO_TCP, names[i], &v, &len));
		NOTE_VALUE(s, "the option", names[i] == TCP_QUICKACK ? 0 : v);
	}
	NOTE(s, setsockopt(s->app, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)));
	NOTE(s, setsockopt(s->app, SOL_SOCKET, SO_KEEPALIVE, &on, 1));
	NOTE(s, setsockopt(s->app, 77, 78, &on, sizeof(on)));
	len = sizeof(addr);
	NOTE(s, getpeername(s->app, (struct sockaddr *)&addr, &len));
	NOTE(s, listen(s->app, 5));
	NOTE(s, bind(s->app, (struct sockaddr *)&addr, len));
	NOTE(s, accept(s->app, NULL, NULL));
	wait_ep(s, s->ep, 8, 0);
	peer_hears(s, 400);
	use(s, s->app);
}

const struct scenario fd_cases[] = {
	{ "dup()", dup_1, 0 },
	{ "F_DUPFD_CLOEXEC, and the first is closed", dup_fd, 0 },
	{ "dup2()", dup_2, 0 },
	{ "dup3(), and the first is closed", dup_3, 0 },
	{ "dup2() over it", dup_over, 0 },
	{ "dup2() over its set", dup_over_set, 0 },
	{ "close_range()", ranges, 0 },
	{ "CLOSE_RANGE_CLOEXEC", range_on_exec, 0 },
	{ "fdopen() and fclose()", as_file, 0 },
	{ "SCM_RIGHTS", passed, 0 },
	{ "fork(), and the child reads", child_reads, 0 },
	{ "fork(), and the child writes", child_writes, 0 },
	{ "fork(), and the child closes", child_closes, 0 },
	{ "fork(), and the child reads while the parent waits", child_reads_later, 0 },
	{ "fork(), and the child serves", child_serves, 0 },
	{ "vfork() and execl()", with_vfork, 0 },
	{ "posix_spawn()", with_spawn, 0 },
	{ "system() and popen()", with_system, 0 },
	{ "O_NONBLOCK off and on", blocking, 0 },
	{ "O_NONBLOCK off, and a read waits", blocking_waits, 0 },
	{ "O_NONBLOCK only later", nonblocking_late, PAIR_BLOCKING },
	{ "O_ASYNC", async, 0 },
	{ "options, and calls for other sockets", options, 0 },
	{ NULL, NULL, 0 },
};
