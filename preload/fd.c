// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * fd.c - what is known of descriptors
 *
 * A table by number, of which only touched pages exist. What it says of a number ends with
 * close(), or where a new descriptor of that number comes (fd_new()): libc closes some by itself.
 * Sockets and sets are never given back to malloc(): who has found one in the table may look
 * at it after another thread has freed it, sees that it is another's, and tries again.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "next.h"
#include "preload.h"

#define FDS_MAX		(1u << 20)

struct fdent *fd_table;
uint32_t fd_count;
struct lock sets_lock;
static struct sock *free_socks;
static struct set *free_sets;
static struct lock free_lock;

int fd_init(void)
{
	struct rlimit lim;
	void *p;
	size_t n = FDS_MAX;

	if (!getrlimit(RLIMIT_NOFILE, &lim) && lim.rlim_max < n)
		n = lim.rlim_max;
	p = mmap(NULL, n * sizeof(*fd_table), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -1;
	fd_table = p;
	fd_count = (uint32_t)n;
	return 0;
}

/* In a child: nothing is known, and nobody else runs. What the parent had stays its own */
void fd_reset(void)
{
	sets_lock.word = 0;
	free_lock.word = 0;
	free_socks = NULL;
	free_sets = NULL;
	if (fd_table)
		madvise(fd_table, fd_count * sizeof(*fd_table), MADV_DONTNEED);
}

bool fd_is_nonblock(int fd)
{
	struct fdent *e = fd_ent(fd);
	uint8_t known = 0, is;
	int flags;

	if (!e)
		return false;
	is = __atomic_load_n(&e->nonblock, __ATOMIC_RELAXED);
	if (is)
		return is == 2;
	flags = next()->fcntl(fd, F_GETFL);
	if (flags < 0)
		return false;
	is = flags & O_NONBLOCK ? 2 : 1;
	/* Another thread may have changed it since */
	if (!__atomic_compare_exchange_n(&e->nonblock, &known, is, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		is = known;
	return is == 2;
}

void fd_set_nonblock(int fd, bool nonblock)
{
	struct fdent *e = fd_ent(fd);

	if (e)
		__atomic_store_n(&e->nonblock, nonblock ? 2 : 1, __ATOMIC_RELAXED);
}

/* Whether it is a regular file; -1 if it is no descriptor. Of one it is remembered, until another has the number */
int fd_is_file(int fd)
{
	struct fdent *e = fd_ent(fd);
	struct stat st;

	if (likely(e && __atomic_load_n(&e->file, __ATOMIC_RELAXED)))
		return 1;
	if (fstat(fd, &st))
		return -1;
	if (!S_ISREG(st.st_mode))
		return 0;
	if (e)
		__atomic_store_n(&e->file, true, __ATOMIC_RELAXED);
	return 1;
}

/* Likewise, asked again: the number may have become another's unseen */
int fd_is_file_now(int fd)
{
	if (fd_ent(fd))
		__atomic_store_n(&fd_ent(fd)->file, false, __ATOMIC_RELAXED);
	return fd_is_file(fd);
}

/* It is closed */
void fd_gone(struct fdent *e)
{
	__atomic_store_n(&e->file, false, __ATOMIC_RELAXED);
	fd_is(e, FD_UNKNOWN);
}

static int option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return next()->getsockopt(fd, SOL_SOCKET, name, &value, &len) ? -1 : value;
}

/* Whether it is a TCP socket that is no listener, asked once. errno is left as it was */
bool fd_is_stream(int fd)
{
	struct fdent *e = fd_ent(fd);
	enum fd_kind kind = FD_OTHER;
	int err = errno, domain;

	if (!e)
		return false;
	if (ent_kind(e) == FD_UNKNOWN) {
		domain = option(fd, SO_DOMAIN);
		if ((domain == AF_INET || domain == AF_INET6) &&
		    option(fd, SO_PROTOCOL) == IPPROTO_TCP)
			kind = option(fd, SO_ACCEPTCONN) ? FD_LISTENER : FD_TCP;
		fd_turns(e, FD_UNKNOWN, kind);
		errno = err;
	}
	return ent_kind(e) == FD_TCP;
}

/* Of one that is FD_TCP, or was: NULL also when another thread has found something else to do with it */
struct sock *sock_new(int fd, struct set *set)
{
	struct fdent *e = fd_ent(fd);
	struct sock *s;

	if (!fd_turns(e, FD_TCP, FD_TAKEN))
		return NULL;
	lock_take(&free_lock, NULL, NULL);
	s = free_socks;
	if (s)
		free_socks = s->next_free;
	lock_give(&free_lock);
	if (!s)
		s = calloc(1, sizeof(*s));
	if (!s) {
		fd_is(e, FD_TCP);
		return NULL;
	}
	/* (Of one that was closed somebody may still be in a read, and counted) */
	memset(s, 0, offsetof(struct sock, reads));
	s->fd = fd;
	s->set = set;
	list_init(&s->in_set);
	list_init(&s->candidate);
	list_init(&s->ready);
	list_init(&s->unread);
	list_add_tail(&set->socks, &s->in_set);
	__atomic_store_n(&e->obj, s, __ATOMIC_RELAXED);
	fd_is(e, FD_SOCK);
	return s;
}

/* Not attached, its lock is held. Its number is what it was before */
void sock_free(struct sock *s)
{
	struct fdent *e = fd_ent(s->fd);

	if (e && ent_kind(e) == FD_SOCK && e->obj == s)
		fd_is(e, s->flags & SOCK_NEVER ? FD_OTHER : FD_TCP);
	list_del(&s->in_set);
	list_del(&s->candidate);
	list_del(&s->ready);
	list_del(&s->unread);
	if (s->set && s->set->port && s->set->port->corked == s)
		s->set->port->corked = NULL;
	free(s->buf);
	s->buf = NULL;
	s->set = NULL;
	s->fd = -1;
	lock_take(&free_lock, NULL, NULL);
	s->next_free = free_socks;
	free_socks = s;
	lock_give(&free_lock);
}

/* Whoever is still in a wait for an earlier one of this memory is counted on */
void set_init(struct set *set, int fd)
{
	memset(set, 0, offsetof(struct set, asked));
	set->fd = fd;
	list_init(&set->in_port);
	list_init(&set->socks);
	list_init(&set->candidates);
	list_init(&set->ready);
}

struct set *set_new(int fd)
{
	struct fdent *e = fd_ent(fd);
	struct set *set;

	if (!e)
		return NULL;
	lock_take(&free_lock, NULL, NULL);
	set = free_sets;
	if (set)
		free_sets = set->next_free;
	lock_give(&free_lock);
	if (!set)
		set = calloc(1, sizeof(*set));
	if (!set)
		return NULL;
	set_init(set, fd);
	__atomic_store_n(&e->obj, set, __ATOMIC_RELAXED);
	fd_is(e, FD_SET);
	return set;
}

/* Without sockets, its lock is held */
void set_free(struct set *set)
{
	struct fdent *e = fd_ent(set->fd);

	if (e && ent_kind(e) == FD_SET && e->obj == set)
		fd_is(e, FD_OTHER);
	list_del(&set->in_port);
	set->fd = -1;
	__atomic_store_n(&set->port, NULL, __ATOMIC_RELEASE);
	lock_take(&free_lock, NULL, NULL);
	set->next_free = free_sets;
	free_sets = set;
	lock_give(&free_lock);
}
