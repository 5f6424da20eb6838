// SPDX-License-Identifier: GPL-2.0
/*
 * server.c - one thread's server: one port, one listener, and the loop that serves
 *
 * In steady state a batch of requests costs one system call: the sync that sends the last batch's
 * responses, polls the NIC and brings the next batch. Without traffic for --spin microseconds the
 * loop sleeps, and the NIC is back on interrupts.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "httpd.h"

#define OTHER_FILES	16	/* descriptors for other things than connections */

_Thread_local struct server server = { .listener = -1, .root = -1 };

/* As many descriptors as we may have; a connection with a file has two */
static void limit_conns(unsigned int threads)
{
	struct rlimit files = { .rlim_cur = 1024 };
	rlim_t most;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		rlim_t before = files.rlim_cur;

		files.rlim_cur = files.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files))
			files.rlim_cur = before;
	}
	most = files.rlim_cur > OTHER_FILES ? files.rlim_cur - OTHER_FILES : 1;
	if (server.root >= 0)
		most = (most + 1) / 2;
	most = (most + threads - 1) / threads;
	server.max_conns = most < INT32_MAX ? most : INT32_MAX;
}

static void set_timeouts(unsigned long idle_s)
{
	unsigned long ms = idle_s * 125;	/* an eighth */

	server.tick_ms = !ms || ms > 1000 ? 1000 : ms;
	server.idle_ticks = (idle_s * 1000 + server.tick_ms - 1) / server.tick_ms;
	server.linger_ticks = 5000 / server.tick_ms;
	if (server.idle_ticks && server.linger_ticks > server.idle_ticks)
		server.linger_ticks = server.idle_ticks;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Whether transmit slots wait for a sync */
static bool unsynced(void)
{
	return stackmap_tx_room(server.port) < stackmap_params(server.port)->tx_slots - 1;
}

/* Sleeps until something comes, timeout_ms have passed or a signal; *timed_out says which */
static int sleep_on_port(int timeout_ms, bool *timed_out)
{
	struct timespec ts = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };
	struct pollfd pfd = { .fd = stackmap_fd(server.port), .events = POLLIN };
	sigset_t block, before;
	int n = 0;

	/* A signal between the look at what we are told and ppoll() must not be slept over */
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &block, &before);
	if (!signals_told())
		n = stackmap_idle(server.port);
	if (!n && !signals_told())
		*timed_out = !ppoll(&pfd, 1, timeout_ms < 0 ? NULL : &ts, &before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return n;
}

static void handle_batch(void)
{
	struct stackmap_port *port = server.port;
	struct conn *first = NULL, **last = &first;
	struct stackmap_slot *slot;
	struct stackmap_conn *sm;

	reply_turn();
	while ((slot = stackmap_rx_next(port))) {
		sm = stackmap_rx_conn(slot);
		if (__builtin_expect(sm != NULL, 1))
			conn_receive((struct conn *)sm, slot);
		else if (slot->flags & STACKMAP_RX_ACCEPTED)
			accept_one(slot);
		else if (slot->fd == server.listener)	/* somebody waits, or it is a listener no more */
			accept_all();
	}
	accept_enough();
	/* All at first: one may want to be writable again, and then has its turn after a sync */
	while ((sm = stackmap_next_writable(port))) {
		*last = (struct conn *)sm;
		last = &(*last)->turn;
	}
	*last = NULL;
	while (first) {
		struct conn *conn = first;

		first = conn->turn;
		conn_continue(conn);
	}
}

/* Returns a descriptor, or -1 and has said why, and @then */
static int open_root(const struct settings *set, const char *then)
{
	int root = open(set->root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		fprintf(stderr, "stackmap-httpd: --root %s: %s%s\n", set->root, strerror(errno), then);
	return root;
}

/*
 * The directory that has its name now: a new release, to which a symbolic link points, is served from
 * one request to the next. What is being sent is sent to its end.
 */
static void reload(const struct settings *set)
{
	int root;

	server.reloads = __atomic_load_n(&signals_reloads, __ATOMIC_RELAXED);
	signals_wake();
	if (!set->root)
		return;
	root = open_root(set, ": goes on with the one that was there");
	if (root < 0)
		return;
	close(server.root);
	server.root = root;
}

int server_run(const struct settings *set, unsigned int queue)
{
	unsigned int spin_us = set->spin_us;
	uint64_t next_tick = now_ms() + server.tick_ms;
	bool timed_out = false;

	/* Not before this thread is who it is to be: what another process has left is not to be trusted further */
	takeover_conns(queue);
	while (!signals_stop) {
		bool ticking = server.nconns || !server.accepting;
		uint64_t now = now_ms();
		int n = 0;

		if (__builtin_expect(signals_told(), 0)) {
			if (!signals_stop)
				reload(set);
			continue;
		}
		if (!ticking) {
			next_tick = now + server.tick_ms;
		} else if (now >= next_tick) {
			idle_tick();
			if (!server.accepting)
				listener_start();
			next_tick = now + server.tick_ms;
		}

		if (server.hurry || (spin_us && !timed_out)) {
			n = stackmap_sync(server.port, server.hurry ? 0 : spin_us);
			if (!n && (set->spin_always || server.hurry || unsynced())) {
				server.hurry = unsynced();
				continue;
			}
		}
		timed_out = false;
		if (!n)
			n = sleep_on_port(ticking ? (int)(next_tick - now) : -1, &timed_out);
		if (n < 0 && errno != EINTR) {
			fprintf(stderr, "stackmap-httpd: %s\n",
				errno == ENODEV ? "the interface is gone" : strerror(errno));
			return -1;
		}
		/* What the last sync moved from send queues to the ring: somebody waits for that */
		server.hurry = unsynced();
		if (n > 0)
			handle_batch();
	}
	/* Responses that are ready go out, too */
	stackmap_sync(server.port, 0);
	return 0;
}

void server_flush(void)
{
	int i;

	/* Each sync may put more of the send queues in the ring; a slow client's is refused, and stays there */
	for (i = 0; i < 1000 && unsynced() && stackmap_sync(server.port, 0) >= 0; i++)
		;
}

/* One that was taken over, or a new one */
static struct stackmap_port *open_port(const struct settings *set, unsigned int queue, int fd)
{
	/* The rest is as the one before had it */
	struct stackmap_options opt = { .send_max = set->options.send_max, .linger_ms = set->options.linger_ms };
	struct stackmap_port *port;

	if (fd < 0)
		return stackmap_open(set->ifname, queue, &set->options);
	port = stackmap_open_fd(fd, &opt);
	if (!port)
		close(fd);
	return port;
}

/* Before anything is taken from another server, which would be gone for nothing */
int server_check(const struct settings *set)
{
	int root;

	if (!set->root)
		return 0;
	root = open_root(set, "");
	if (root >= 0)
		close(root);
	return root < 0 ? -1 : 0;
}

/* Buffers that the one before had kept in a send: until there are enough that are idle */
static void wait_for_buffers(void)
{
	int i;

	for (i = 0; i < 2000 && stackmap_buf_spares(server.port) < 2 * HTTP_PERSIST_COUNT; i++)
		if (stackmap_sync(server.port, 1000) < 0)
			break;
}

/* Returns 0, or -1 and has told why */
int server_start(const struct settings *set, unsigned int queue)
{
	int port;

	if (set->root) {
		server.root = open_root(set, "");
		if (server.root < 0)
			return -1;
		if (!file_can_open()) {
			fprintf(stderr, "stackmap-httpd: --root needs openat2(): %s (systemd: without"
				" RestrictSUIDSGID)\n", strerror(errno));
			return -1;
		}
	}
	server.descriptors = set->descriptors;
	limit_conns(set->nqueues);
	set_timeouts(set->idle_s);
	server.reloads = __atomic_load_n(&signals_reloads, __ATOMIC_RELAXED);
	port = takeover_port(queue, &server.listener);
	if (server.listener < 0)
		server.listener = listen_on(set->addr, set->port, set->reuseport || set->nqueues > 1);
	if (server.listener < 0)
		return -1;
	server.port = open_port(set, queue, port);
	if (!server.port) {
		fprintf(stderr, "stackmap-httpd: cannot own %s queue %u: %s\n", set->ifname,
			queue, stackmap_open_hint(errno));
		return -1;
	}
	server.binary_max = set->binary ? set->size : 0;
	server.seg = stackmap_frame_size(server.port);
	if (server.seg > REPLY_ROOM)
		server.seg = REPLY_ROOM;
	if (port >= 0)
		wait_for_buffers();
	if (server.root < 0 && reply_init(set->size)) {
		fprintf(stderr, "stackmap-httpd: too few buffers: raise --extra-bufs\n");
		return -1;
	}
	if (listener_start()) {
		fprintf(stderr, "stackmap-httpd: cannot attach the listening socket: %s\n",
			strerror(errno));
		return -1;
	}
	return 0;
}

void server_end_port(void)
{
	stackmap_close(server.port);
	server.port = NULL;
}

void server_end(void)
{
	conn_free_all();
	server_end_port();
	if (server.listener >= 0)
		close(server.listener);
	if (server.root >= 0)
		close(server.root);
}
