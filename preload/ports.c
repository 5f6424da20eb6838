// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ports.c - the ports that were passed in, one for each thread that waits
 *
 * `stackmap run` opens them and leaves their descriptors, and a lock file, to the program and
 * whatever that starts: STACKMAP_PORTS and STACKMAP_LOCK in the environment. Who has byte N of the lock
 * file locked (fcntl(), so it ends with the process and no child has it) has port N. Among the
 * threads of a process a port's sm says so.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "next.h"
#include "preload.h"

#define PORTS_MAX	64

/* Bytes that TCP has no room for, and write() has taken */
#define SEND_MAX	(256u << 10)

__thread struct thread self __attribute__((tls_model("initial-exec")));
__thread uint32_t stackmap_vforked __attribute__((tls_model("initial-exec")));

uint32_t port_spin_us;
void (*port_left)(struct port *port);

static struct port ports[PORTS_MAX];
static unsigned int nports;
static int lock_fd = -1;
static struct lock pool;	/* guards which thread has which; inside all others */
static pthread_key_t key;

static uint32_t number(const char *name, uint32_t otherwise)
{
	const char *s = getenv(name);

	return s && *s ? (uint32_t)strtoul(s, NULL, 10) : otherwise;
}

static void mark(int fd)
{
	struct fdent *e = fd_ent(fd);

	if (e)
		fd_is(e, FD_OURS);
}

/* In the table of descriptors, when that is new */
void ports_mark_ours(void)
{
	unsigned int i;

	for (i = 0; i < nports; i++)
		mark(ports[i].fd);
	if (nports)
		mark(lock_fd);
}

static void thread_ends(void *port)
{
	port_give_back(port);
}

/* Nobody has it, or another process */
static void unused(struct port *port)
{
	list_init(&port->sets);
	list_init(&port->unread);
	set_init(&port->polled, -1);
	port->polled.port = port;
}

int ports_init(void)
{
	const char *list = getenv("STACKMAP_PORTS");
	struct stackmap_register reg;
	unsigned int at = 0;
	char *end;

	lock_fd = (int)number("STACKMAP_LOCK", (uint32_t)-1);
	port_spin_us = number("STACKMAP_SPIN", 0);
	if (!list || lock_fd < 0 || pthread_key_create(&key, thread_ends))
		return 0;
	/* Every process counts them alike, also those that it has not */
	for (; *list && at < PORTS_MAX; at++) {
		int fd = (int)strtol(list, &end, 10);

		if (end == list)
			break;
		list = *end == ',' ? end + 1 : end;
		/* A program between may have closed it */
		if (next()->ioctl(fd, STACKMAP_IOC_PORT, &reg) < 0)
			continue;
		ports[nports].fd = fd;
		ports[nports].index = at;
		unused(&ports[nports]);
		nports++;
	}
	if (!nports)
		return 0;
	ports_mark_ours();
	return 0;
}

bool ports_any(void)
{
	return nports;
}

/* Another process has it, or not */
static bool claim(const struct port *port, bool have)
{
	struct flock fl = {
		.l_type = have ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET,
		.l_start = port->index, .l_len = 1,
	};

	return !next()->fcntl(lock_fd, F_SETLK, &fl);
}

static struct port *find(void)
{
	static const struct stackmap_options opt = { .send_max = SEND_MAX };
	unsigned int i;

	for (i = 0; i < nports; i++) {
		struct port *port = &ports[i];

		if (port->sm || port->dead || port->fd < 0 || !claim(port, true))
			continue;
		port->sm = stackmap_open_fd(port->fd, &opt);
		if (port->sm) {
			/* Whatever this process executes has no use for it */
			next()->fcntl(port->fd, F_SETFD, FD_CLOEXEC);
			list_add_tail(&port->sets, &port->polled.in_port);
			return port;
		}
		claim(port, false);
	}
	return NULL;
}

static uint32_t second(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint32_t)ts.tv_sec + 1;
}

/*
 * The port of this thread, which gets one if there is one. NULL: it has none. Another process may end, whose
 * successor this one is: it is looked for again, once a second
 */
struct port *port_mine(void)
{
	bool first = !self.tried;
	int err = errno;

	if (self.port || !nports || self.tried == second())
		return self.port;
	self.tried = second();
	self.busy++;
	lock_take(&pool, NULL, NULL);
	self.port = find();
	lock_give(&pool);
	self.busy--;
	if (self.port) {
		pthread_setspecific(key, self.port);
		trace(self.port->fd, "is a port, and this thread's");
	} else {
		if (first)
			trace(-1, "no port is free: this thread's sockets are plain, until one is");
	}
	errno = err;
	return self.port;
}

/* Its sets become nobody's, its sockets plain */
void port_give_back(struct port *port)
{
	struct stackmap_port *sm;

	if (!port)
		return;
	if (port_left)
		port_left(port);
	port_lock(port);
	sm = port->sm;
	lock_take(&pool, NULL, NULL);
	/* The library closes the descriptor with the port, which another thread may have */
	port->fd = next()->fcntl(port->fd, F_DUPFD_CLOEXEC, 0L);
	mark(port->fd);
	stackmap_close(sm);
	port->sm = NULL;
	claim(port, false);
	lock_give(&pool);
	port_unlock(port);
	self.port = NULL;
}

/* Its holder may be polling the NIC: that ends */
void port_hurry(void *arg)
{
	const struct port *port = arg;

	next()->ioctl(port->fd, STACKMAP_IOC_WAKE);
}

/* Its thread sleeps, and there is something for it. With the lock held */
void port_wake(struct port *port)
{
	if (unlikely(port->sleeping) && self.port != port && port->sm)
		stackmap_wake(port->sm);
}

void ports_each(void (*f)(struct port *port))
{
	unsigned int i;

	for (i = 0; i < nports; i++)
		if (ports[i].sm)
			f(&ports[i]);
}

void ports_lock_all(void)
{
	unsigned int i;

	self.busy++;
	lock_take(&sets_lock, NULL, NULL);
	for (i = 0; i < nports; i++)
		port_lock(&ports[i]);
	lock_take(&pool, NULL, NULL);
}

void ports_unlock_all(void)
{
	unsigned int i;

	lock_give(&pool);
	for (i = nports; i--;)
		port_unlock(&ports[i]);
	lock_give(&sets_lock);
	self.busy--;
}

/* In a child: the parent's ports are not its own, and it may have others */
void ports_reset_child(void)
{
	unsigned int i;

	memset(&self, 0, sizeof(self));
	pool.word = 0;
	for (i = 0; i < nports; i++) {
		struct port *port = &ports[i];

		/* Frees what the child has of it, and its descriptor */
		if (port->sm) {
			stackmap_close(port->sm);
			port->fd = -1;
		}
		port->sm = NULL;
		port->lock.word = 0;
		port->sleeping = false;
		port->active = false;
		unused(port);
	}
	if (nports)
		pthread_setspecific(key, NULL);
}

/* ------------------------------------------------ the lock of a socket or a set */

static void take(struct port *port)
{
	if (port) {
		port_lock(port);
	} else {
		self.busy++;
		lock_take(&sets_lock, NULL, NULL);
	}
}

void unlock(struct port *port)
{
	if (port) {
		port_unlock(port);
	} else {
		lock_give(&sets_lock);
		self.busy--;
	}
}

/**
 * set_lock() - take the lock of a set
 * @fd: its descriptor
 * @set: found there
 *
 * Return: what to unlock(), or (struct port *)-1: it is another set's number, or none's
 */
struct port *set_lock(int fd, struct set *set)
{
	struct port *port;

	for (;;) {
		port = __atomic_load_n(&set->port, __ATOMIC_ACQUIRE);
		take(port);
		if (fd_set_of(fd) != set) {
			unlock(port);
			return GONE;
		}
		if (likely(set->port == port))
			return port;
		unlock(port);
	}
}

/* Likewise of a socket: that of its set */
struct port *sock_lock(int fd, struct sock *s)
{
	struct port *port;
	struct set *set;

	for (;;) {
		set = __atomic_load_n(&s->set, __ATOMIC_ACQUIRE);
		if (!set)
			return GONE;
		port = __atomic_load_n(&set->port, __ATOMIC_ACQUIRE);
		take(port);
		if (fd_sock(fd) != s) {
			unlock(port);
			return GONE;
		}
		if (likely(s->set == set && set->port == port))
			return port;
		unlock(port);
	}
}
