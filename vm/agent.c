// SPDX-License-Identifier: GPL-2.0
/*
 * agent: both ends of the channel on which the host runs commands in a guest.
 *
 *   agent serve                                    in the guest: serve every virtio port, reap orphans (this is PID 1)
 *   agent exec [-i|-t] SOCKET SECONDS COMMAND      on the host: run COMMAND; -i passes stdin on, -t gives it a terminal
 *
 * A port carries one command at a time, as frames: EXEC and INPUT from the host; START, OUTPUT, EXIT from the guest.
 * An empty INPUT ends the input, always; the guest repeats EXIT when it has read that far, so nothing is left in the
 * channel. A host that goes away ends its command. Statuses of its own: 124 timed out, 125 the guest is gone.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { EXEC = 0x51a0, INPUT, START, OUTPUT, EXIT };
enum { TIMED_OUT = 124, GUEST_GONE = 125 };

struct frame {
	uint32_t type;
	uint32_t len;		/* of data */
	char data[32000];
};

struct request {		/* the data of EXEC */
	uint64_t id;		/* START repeats it, so that nobody mistakes an earlier command's output for its own */
	uint32_t seconds;
	uint16_t input, tty, rows, cols;
	char command[];		/* NUL-terminated */
};

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

/* Read or write all of buf; false when the other side is gone. */
static int move_all(int fd, void *buf, size_t len, int writing)
{
	while (len) {
		struct pollfd p = { fd, writing ? POLLOUT : POLLIN, 0 };
		ssize_t n = writing ? write(fd, buf, len) : read(fd, buf, len);

		if (n > 0) {
			buf = (char *)buf + n;
			len -= n;
		} else if (n < 0 && errno == EAGAIN) {
			if (poll(&p, 1, -1) > 0 && !(p.revents & p.events))
				return 0;
		} else if (n == 0 || errno != EINTR) {
			return 0;
		}
	}
	return 1;
}

static int send_frame(int fd, struct frame *f, uint32_t type, uint32_t len)
{
	f->type = type;
	f->len = len;
	return move_all(fd, f, offsetof(struct frame, data) + len, 1);
}

static int recv_frame(int fd, struct frame *f)
{
	return move_all(fd, f, offsetof(struct frame, data), 0) && f->type >= EXEC && f->type <= EXIT &&
	       f->len <= sizeof(f->data) && move_all(fd, f->data, f->len, 0);
}

/* ---- the guest ---- */

struct job {
	pid_t pid;
	int pidfd, in, out;	/* in and out are the same for a terminal; in is -1 once closed */
};

static void child(const char *command)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execl("/bin/bash", "bash", "-c", command, NULL);
	_exit(127);
}

static int start(struct job *job, const struct request *r)
{
	struct winsize size = { .ws_row = r->rows, .ws_col = r->cols };
	int in[2], out[2];

	if (r->tty) {
		job->pid = forkpty(&job->out, NULL, NULL, &size);
		if (job->pid == 0)
			child(r->command);
		job->in = job->out;
		fcntl(job->out, F_SETFD, FD_CLOEXEC);
	} else {
		if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
			return 0;
		job->pid = fork();
		if (job->pid == 0) {
			setsid();
			dup2(in[0], 0);
			dup2(out[1], 1);
			dup2(out[1], 2);
			child(r->command);
		}
		close(in[0]);
		close(out[1]);
		job->in = in[1];
		job->out = out[0];
	}
	if (job->pid < 0)
		return 0;
	fcntl(job->out, F_SETFL, O_NONBLOCK);
	job->pidfd = pidfd_open(job->pid, 0);
	return job->pidfd >= 0;
}

/* What the command left running may go on writing: it shall not die of SIGPIPE. */
static void drain_for_ever(int out)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (fork() == 0) {
		fcntl(out, F_SETFL, 0);
		dup2(out, 0);
		dup2(null, 1);
		execl("/bin/busybox", "cat", NULL);
		_exit(127);
	}
	close(null);
}

static void close_input(struct job *job)
{
	if (job->in >= 0 && job->in != job->out)
		close(job->in);
	job->in = -1;
}

/* Runs one request to its end. False when the host has gone away or talks nonsense. */
static int run(int port, struct frame *f)
{
	static struct frame input;
	const struct request *r = (void *)f->data;
	long end = now_ms() + r->seconds * 1000L;
	uint32_t pending = 0, done = 0;	/* of input.data */
	int ok = 1, open_out = 1, status = 0, tty = r->tty, more_input = r->input, repeat = r->input;
	struct job job;

	if (!start(&job, r)) {
		perror("agent: cannot start a command");
		return 0;
	}
	if (!more_input)
		close_input(&job);
	ok = send_frame(port, f, START, sizeof(r->id));	/* the id comes first in the data */

	while (ok) {
		struct pollfd p[] = {
			{ port, pending ? 0 : POLLIN, 0 },
			{ open_out ? job.out : -1, POLLIN, 0 },
			{ pending ? job.in : -1, POLLOUT, 0 },
			{ job.pidfd, POLLIN, 0 },
		};
		long left = end - now_ms();

		if (left <= 0) {
			status = TIMED_OUT;
			kill(-job.pid, SIGKILL);
			break;
		}
		if (poll(p, 4, left) < 0 && errno != EINTR)
			break;
		if (p[1].revents) {
			ssize_t n = read(job.out, f->data, sizeof(f->data));

			if (n > 0)
				ok = send_frame(port, f, OUTPUT, n);
			else if (n == 0 || errno != EAGAIN)
				open_out = 0;
			continue;	/* so that all output is out before the exit is looked at */
		}
		if (p[3].revents) {
			int raw;

			waitpid(job.pid, &raw, 0);
			status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
			break;
		}
		if (p[2].revents) {
			ssize_t n = write(job.in, input.data + done, pending > 4096 ? 4096 : pending);

			if (n < 0 && errno != EAGAIN) {
				close_input(&job);
				pending = 0;
			} else if (n > 0) {
				done += n;
				pending -= n;
			}
		}
		if (p[0].revents & POLLIN) {
			ok = recv_frame(port, &input) && input.type == INPUT;
			pending = ok && job.in >= 0 ? input.len : 0;
			done = 0;
			if (ok && !input.len) {
				close_input(&job);
				more_input = 0;
			}
		} else if (p[0].revents) {
			ok = 0;
		}
	}
	if (!ok)
		kill(-job.pid, SIGKILL);
	close_input(&job);
	if (open_out && !tty)
		drain_for_ever(job.out);
	close(job.out);
	close(job.pidfd);
	memcpy(f->data, &status, sizeof(status));
	ok = ok && send_frame(port, f, EXIT, sizeof(status));
	while (ok && more_input) {
		ok = recv_frame(port, &input) && input.type == INPUT;
		more_input = input.len;
	}
	return ok && (!repeat || send_frame(port, f, EXIT, sizeof(status)));
}

/* Serves one port for ever. A port is idle without waking up: the edge-triggered wait also sees the host come and go. */
static void serve_port(const char *path)
{
	static struct frame f;
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	for (;;) {
		int port = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		int idle = epoll_create1(EPOLL_CLOEXEC);
		int ok = port >= 0 && epoll_ctl(idle, EPOLL_CTL_ADD, port, &event) == 0;

		while (ok) {
			struct pollfd p = { port, POLLIN, 0 };

			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
			poll(&p, 1, 0);
			if ((p.revents & POLLHUP) || !(p.revents & POLLIN)) {
				epoll_wait(idle, &event, 1, -1);
				continue;
			}
			ok = recv_frame(port, &f);
			if (ok && f.type == EXEC) {
				f.data[f.len < sizeof(f.data) ? f.len : f.len - 1] = 0;
				ok = run(port, &f);
			}
		}
		close(idle);
		close(port);
		usleep(50000);
	}
}

static _Noreturn void serve(void)
{
	char path[300];
	struct dirent *e;
	DIR *dir = opendir("/sys/class/virtio-ports");

	signal(SIGPIPE, SIG_IGN);
	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/dev/%s", e->d_name);
		if (fork() == 0)
			serve_port(path);
	}
	for (;;)
		if (wait(NULL) < 0)
			pause();
}

/* ---- the host ---- */

static struct termios cooked;

static void restore_terminal(void)
{
	tcsetattr(0, TCSADRAIN, &cooked);
}

/* Hands the terminal to the guest, keystroke by keystroke. */
static void raw_terminal(struct request *r)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	struct termios raw;

	ioctl(0, TIOCGWINSZ, &size);
	r->rows = size.ws_row;
	r->cols = size.ws_col;
	if (tcgetattr(0, &cooked))
		return;
	atexit(restore_terminal);
	raw = cooked;
	cfmakeraw(&raw);
	tcsetattr(0, TCSADRAIN, &raw);
}

static void on_signal(int sig)
{
	exit(128 + sig);	/* puts the terminal back; closing the socket ends the command */
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return s >= 0 && connect(s, (struct sockaddr *)&a, sizeof(a)) == 0 ? s : -1;
}

static int exec(const char *path, int seconds, const char *command, int input, int tty)
{
	static struct frame f, out;
	struct request *r = (void *)out.data;
	size_t room = sizeof(out.data) - sizeof(*r), len = strlen(command) + 1;
	size_t unsent, sent = 0;	/* of out */
	long end = now_ms() + (seconds + 10) * 1000L;	/* the guest keeps the time; this is for one that hangs */
	int s = connect_to(path), started = 0, exited = 0, status = 0, more_input = input;
	uint64_t id = (uint64_t)getpid() << 32 ^ (uint64_t)now_ms();

	if (s < 0)
		return GUEST_GONE;
	if (len > room) {
		fprintf(stderr, "agent: the command is longer than %zu bytes\n", room);
		return 2;
	}
	*r = (struct request){ .id = id, .seconds = seconds, .input = input, .tty = tty };
	if (tty)
		raw_terminal(r);
	memcpy(r->command, command, len);
	out.type = EXEC;
	out.len = sizeof(*r) + len;
	unsent = offsetof(struct frame, data) + out.len;

	for (;;) {
		struct pollfd p[] = {
			{ s, unsent ? POLLIN | POLLOUT : POLLIN, 0 },
			{ started && !exited && !unsent && more_input ? 0 : -1, POLLIN, 0 },
		};
		long left = end - now_ms();

		if (left <= 0 || poll(p, 2, left) == 0) {
			fprintf(stderr, "agent: the guest does not answer\n");
			return TIMED_OUT;
		}
		if (p[0].revents & ~POLLOUT) {
			if (!recv_frame(s, &f))
				return exited ? status : GUEST_GONE;
			if (f.type == START)
				started = memcmp(f.data, &id, sizeof(id)) == 0;
			else if (started && f.type == OUTPUT && !move_all(1, f.data, f.len, 1))
				return 128 + SIGPIPE;
			else if (started && f.type == EXIT) {
				memcpy(&status, f.data, sizeof(status));
				if (!input || exited++)
					return status;
			}
		}
		if (p[0].revents & POLLOUT) {
			ssize_t n = send(s, (char *)&out + sent, unsent, MSG_DONTWAIT);

			if (n < 0 && errno != EAGAIN)
				return exited ? status : GUEST_GONE;
			if (n > 0) {
				sent += n;
				unsent -= n;
			}
		}
		if (!unsent && (p[1].revents || (exited && more_input))) {
			ssize_t n = exited ? 0 : read(0, out.data, sizeof(out.data));

			if (tty && n <= 0 && !exited)
				return 128 + SIGHUP;	/* the terminal is gone */
			more_input = n > 0;
			out.type = INPUT;
			out.len = more_input ? n : 0;
			unsent = offsetof(struct frame, data) + out.len;
			sent = 0;
		}
	}
}

int main(int argc, char **argv)
{
	int input = 0, tty = 0, signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

	if (argc == 2 && !strcmp(argv[1], "serve"))
		serve();
	if (argc == 6 && (!strcmp(argv[2], "-i") || !strcmp(argv[2], "-t"))) {
		input = 1;
		tty = argv[2][1] == 't';
	}
	if (argc != 5 + input || strcmp(argv[1], "exec")) {
		fprintf(stderr, "usage: agent serve | agent exec [-i|-t] SOCKET SECONDS COMMAND\n");
		return 2;
	}
	argv += input;
	for (int i = 0; i < 4; i++)
		signal(signals[i], on_signal);
	signal(SIGPIPE, SIG_IGN);
	return exec(argv[2], atoi(argv[3]), argv[4], input, tty);
}
