// SPDX-License-Identifier: GPL-2.0
/*
 * takeover.c - a new process goes on with the ports, listeners and connections of an old one: --takeover SOCKET
 *
 * The old one listens there (SOCK_SEQPACKET). A new one that is started alike says what it is; if it is another kind of
 * server, it is told so, and nothing changes. Else each thread of the old one stops between two syncs, gives
 * back to the sockets what it has not answered, and sends all its connections, with what is yet to be sent of their
 * responses, then its port and its listener. The new one reads all that, and only then begins to serve and to
 * listen there itself. Meanwhile packets go to the kernel, and wait in the sockets.
 *
 * Requests that have come are answered by one of the two, also those that have come in part. Not handed over, but
 * closed, are: responses of several ranges that are not wholly queued, and uploads longer than what may be kept.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "httpd.h"

#define VERSION		1u
/* How long the other one may say nothing */
#define WAIT_S		30
/* How long what lingers may hold up a port: then the new process opens it anew */
#define LINGER_MS	5000

enum what { HELLO = 1, NO, CONN, PORT, END };

/* Every message begins with this; what it does not use is 0 */
struct message {
	uint32_t what;
	uint32_t version;
	uint32_t queue;
	uint32_t nqueues;
	uint32_t binary;
	uint32_t reserved;
	struct passed passed;
	char ifname[64];
	uint32_t queues[QUEUES_MAX];
};

/* A connection that came before its thread had begun */
struct taken {
	struct taken *next;
	uint32_t queue;
	int fds[2];
	struct passed passed;
	char queued[];
};

static struct {
	bool on;
	const struct settings *set;
	int listener;
	int client;		/* who takes over, or -1 */
	pthread_mutex_t lock;	/* one message at a time */
	pthread_t thread;
	pthread_t main;
	bool listening;
	struct taken *conns;	/* guarded by the order of things: written before threads begin */
	int port[QUEUES_MAX];
	int listeners[QUEUES_MAX];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
} takeover = { .listener = -1, .client = -1, .lock = PTHREAD_MUTEX_INITIALIZER };

bool takeover_is_on(void)
{
	return takeover.on;
}

static int say(const char *what)
{
	fprintf(stderr, "stackmap-httpd: --takeover %s: %s%s%s\n", takeover.set->takeover, what, errno ? ": " : "",
		errno ? strerror(errno) : "");
	return -1;
}

static void hello(struct message *m, const struct settings *set)
{
	*m = (struct message){ .what = HELLO, .version = VERSION, .nqueues = set->nqueues, .binary = set->binary };
	snprintf(m->ifname, sizeof(m->ifname), "%s", set->ifname);
	memcpy(m->queues, set->queues, set->nqueues * sizeof(*m->queues));
}

static int send_message(int sock, const struct message *m, const void *bytes, size_t len, const int *fds, int nfds)
{
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov[2] = { { (void *)m, sizeof(*m) }, { (void *)bytes, len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	int tries;

	if (nfds) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
	}
	/* Too many descriptors on their way: until the other one has taken some */
	for (tries = 0; tries < 10000; tries++) {
		if (sendmsg(sock, &msg, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == ETOOMANYREFS)
			usleep(1000);
		else if (errno != EINTR)
			break;
	}
	return -1;
}

/* Returns the length of what comes behind @m, or -1 */
static ssize_t recv_message(int sock, struct message *m, void *bytes, size_t size, int fds[2], int *nfds)
{
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov[2] = { { m, sizeof(*m) }, { bytes, size } };
	struct msghdr msg = {
		.msg_iov = iov, .msg_iovlen = 2, .msg_control = control.buf, .msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	*nfds = 0;
	for (c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL; c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		*nfds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), (size_t)*nfds * sizeof(int));
	}
	if (n >= (ssize_t)sizeof(*m) && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return n - (ssize_t)sizeof(*m);
	if (n >= 0)
		errno = n ? EPROTO : ECONNRESET;
	return -1;
}

/* Whether the other end may have, or may give, all that this server has: root, or the user that it is to be */
static bool is_trusted(int sock)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) &&
	       (!peer.uid || peer.uid == geteuid() || (takeover.set->user && peer.uid == takeover.set->uid));
}

static void set_up(int sock)
{
	struct timeval tv = { .tv_sec = WAIT_S };
	int size = 2 * QUEUED_MAX;

	/* A message has to fit, whatever net.core.wmem_default is */
	if (setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static int address(struct sockaddr_un *addr, const char *path)
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(addr->sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(addr->sun_path, path);
	return 0;
}

/* --------------------------------------------------------------------- the new one */

static int queue_at(unsigned int queue)
{
	unsigned int i;

	for (i = 0; i < takeover.set->nqueues; i++)
		if (takeover.set->queues[i] == queue)
			return (int)i;
	return -1;
}

static int take_conn(const struct message *m, const void *bytes, size_t len, const int *fds, int nfds)
{
	struct taken *t;

	if (len != m->passed.queued || nfds != 1 + !!m->passed.file) {
		errno = EPROTO;
		return -1;
	}
	t = malloc(sizeof(*t) + len);
	if (!t)
		return -1;
	t->queue = m->queue;
	t->passed = m->passed;
	memcpy(t->fds, fds, sizeof(t->fds));
	memcpy(t->queued, bytes, len);
	t->next = takeover.conns;
	takeover.conns = t;
	return 0;
}

/* Returns 1 to go on, 0 at the end, -1 */
static int take(const struct message *m, const void *bytes, size_t len, const int *fds, int nfds)
{
	int i = queue_at(m->queue);

	switch (m->what) {
	case CONN:
		if (i < 0)
			break;
		return take_conn(m, bytes, len, fds, nfds) ? -1 : 1;
	case PORT:
		if (i < 0 || nfds < 1)
			break;
		takeover.listeners[i] = fds[0];
		takeover.port[i] = nfds > 1 ? fds[1] : -1;
		return 1;
	case END:
		return 0;
	case NO:
		fprintf(stderr, "stackmap-httpd: --takeover %s: the one that runs has another --interface, --queue or"
			" --binary, or another version\n", takeover.set->takeover);
		errno = 0;	/* it is said */
		return -1;
	}
	errno = EPROTO;
	return -1;
}

/* As many descriptors as there may be: server.c does it later */
static void allow_files(void)
{
	struct rlimit files;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static void forget_listeners(void)
{
	int i;

	for (i = 0; i < QUEUES_MAX; i++) {
		if (takeover.listeners[i] >= 0)
			close(takeover.listeners[i]);
		takeover.listeners[i] = -1;
	}
}

/* Take over from who listens there, if anybody does. Returns 0, or -1 and has said why */
int takeover_ask(const struct settings *set)
{
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), ret, fds[2], nfds, i;
	char *bytes = malloc(QUEUED_MAX);
	struct sockaddr_un addr;
	bool some = false;
	struct message m;
	ssize_t len;

	takeover.on = true;
	takeover.set = set;
	for (i = 0; i < QUEUES_MAX; i++)
		takeover.port[i] = takeover.listeners[i] = -1;
	if (sock < 0 || !bytes || address(&addr, set->takeover)) {
		ret = say("cannot be used");
		goto out;
	}
	ret = 0;
	/* Nobody is there: this one is the first */
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr))) {
		if (errno != ENOENT && errno != ECONNREFUSED)
			ret = say("cannot be asked");
		goto out;
	}
	if (!is_trusted(sock)) {
		errno = EPERM;
		ret = say("who listens there is neither root nor the --user");
		goto out;
	}
	set_up(sock);
	allow_files();
	hello(&m, set);
	if (send_message(sock, &m, NULL, 0, NULL, 0)) {
		ret = say("asking");
		goto out;
	}
	do {
		len = recv_message(sock, &m, bytes, QUEUED_MAX, fds, &nfds);
		ret = len < 0 ? -1 : take(&m, bytes, (size_t)len, fds, nfds);
		some |= ret > 0;
	} while (ret > 0);
	if (ret && errno) {
		say("the other one has not handed over all");
		/* It is gone: better some of its connections than none */
		if (some)
			ret = 0;
	}
	/* They are steered to queues in the order in which they have begun to listen: all of them, or none */
	for (i = 0; some && i < (int)set->nqueues; i++)
		if (takeover.listeners[i] < 0)
			forget_listeners();
out:
	free(bytes);
	if (sock >= 0)
		close(sock);
	return ret;
}

/* Returns the port, and the listener in any case, as far as they were taken over; else -1 */
int takeover_port(unsigned int queue, int *listener)
{
	int i = takeover.on ? queue_at(queue) : -1;

	*listener = i < 0 ? -1 : takeover.listeners[i];
	return i < 0 ? -1 : takeover.port[i];
}

/* The calling thread's connections */
void takeover_conns(unsigned int queue)
{
	struct taken **p = &takeover.conns, *t;

	pthread_mutex_lock(&takeover.lock);
	while ((t = *p)) {
		if (t->queue != queue) {
			p = &t->next;
			continue;
		}
		*p = t->next;
		conn_take(&t->passed, t->queued, t->fds);
		free(t);
	}
	pthread_mutex_unlock(&takeover.lock);
}

/* --------------------------------------------------------------------- the old one */

static bool is_alike(const struct message *m)
{
	struct message mine;

	hello(&mine, takeover.set);
	return !memcmp(m, &mine, sizeof(mine));
}

/* Wait for one who may take over, and have all threads stop then */
static void *wait_for_next(void *unused)
{
	struct message m, no = { .what = NO };
	int nfds, fds[2], sock;

	(void)unused;
	for (;;) {
		sock = accept4(takeover.listener, NULL, NULL, SOCK_CLOEXEC);
		if (sock < 0) {
			if (errno != EINTR && errno != ECONNABORTED)
				sleep(1);
			continue;
		}
		set_up(sock);
		nfds = 0;
		if (is_trusted(sock) && recv_message(sock, &m, NULL, 0, fds, &nfds) == 0 && is_alike(&m))
			break;
		while (nfds)
			close(fds[--nfds]);
		send_message(sock, &no, NULL, 0, NULL, 0);
		close(sock);
	}
	__atomic_store_n(&takeover.client, sock, __ATOMIC_RELEASE);
	/* As a signal to the process: to the thread that looks for it before it sleeps */
	pthread_kill(takeover.main, SIGTERM);
	return NULL;
}

/* Listen for the next one, in place of who did before. Returns 0, or -1 and has said why */
int takeover_listen(const struct settings *set)
{
	struct sockaddr_un addr;
	char tmp[sizeof(addr.sun_path)];
	int err;

	if (!set->takeover)
		return 0;
	takeover.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (takeover.listener < 0 ||
	    (size_t)snprintf(tmp, sizeof(tmp), "%s.%d", set->takeover, (int)getpid()) >= sizeof(tmp) || address(&addr, tmp))
		return say("cannot be used");
	/* Whoever may ask has all that this server has */
	unlink(tmp);
	if (bind(takeover.listener, (struct sockaddr *)&addr, sizeof(addr)) || chmod(tmp, 0600) ||
	    (set->user && chown(tmp, set->uid, set->gid)) || listen(takeover.listener, 1) || rename(tmp, set->takeover)) {
		err = errno;
		unlink(tmp);
		errno = err;
		return say("cannot listen there");
	}
	takeover.listening = true;
	return 0;
}

/*
 * Wait for the next one, by a thread that is who the calling one is now, and that gets no signal: who
 * is to be ended must not sleep over it. Returns 0, or -1 and has said why
 */
int takeover_start(void)
{
	sigset_t all, before;
	int err;

	if (!takeover.listening)
		return 0;
	takeover.main = pthread_self();
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	err = pthread_create(&takeover.thread, NULL, wait_for_next, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!err)
		return 0;
	errno = err;
	return say("cannot listen there");
}

static int give(const struct message *m, const void *bytes, size_t len, const int *fds, int nfds)
{
	int ret;

	pthread_mutex_lock(&takeover.lock);
	ret = send_message(takeover.client, m, bytes, len, fds, nfds);
	pthread_mutex_unlock(&takeover.lock);
	return ret;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* What was closed with something left to send. Returns whether all of it is */
static bool wait_for_lingering(void)
{
	uint64_t end = now_ms() + LINGER_MS;

	while (stackmap_lingering(server.port) && now_ms() < end) {
		if (stackmap_sync(server.port, 1000) < 0)
			break;
		while (stackmap_rx_next(server.port))
			;
	}
	server_flush();
	return !stackmap_lingering(server.port);
}

/* Returns -1 if the other one is gone */
static int give_conns(unsigned int queue)
{
	struct message m = { .what = CONN, .queue = queue };
	char *bytes = malloc(QUEUED_MAX);
	int ret = bytes ? 0 : -1, fds[2], n;

	while (server.conns && !ret) {
		n = conn_pass(server.conns, &m.passed, bytes, QUEUED_MAX, fds);
		if (!n)
			continue;
		ret = give(&m, bytes, m.passed.queued, fds, n);
		/* This one, not all of them */
		if (ret && (errno == EMSGSIZE || errno == ENOBUFS || errno == ENOMEM))
			ret = 0;
		while (n)
			close(fds[--n]);
	}
	free(bytes);
	return ret;
}

/* The calling thread hands over all it has, if anybody takes over; what it cannot is closed by server_end() */
void takeover_give(unsigned int queue)
{
	struct message m = { .what = PORT, .queue = queue };
	int fds[2], n = 1, port = -1;

	if (__atomic_load_n(&takeover.client, __ATOMIC_ACQUIRE) < 0 || !server.port || server.listener < 0)
		return;
	stackmap_detach(server.port, server.listener);
	server_flush();
	if (give_conns(queue)) {
		say("who takes over is gone");
		return;
	}
	if (wait_for_lingering()) {
		port = stackmap_hand_over(server.port);
		if (port >= 0)
			server.port = NULL;
	}
	/* Else it has to be opened anew, so it must be free then */
	if (port < 0)
		server_end_port();
	fds[0] = server.listener;
	fds[1] = port;
	n += port >= 0;
	if (give(&m, NULL, 0, fds, n))
		say("who takes over is gone");
	if (port >= 0)
		close(port);
}

/* After all threads: that was all */
void takeover_end(void)
{
	struct message m = { .what = END };

	if (takeover.client >= 0) {
		give(&m, NULL, 0, NULL, 0);
		close(takeover.client);
	} else if (takeover.listening) {
		unlink(takeover.set->takeover);
	}
}
