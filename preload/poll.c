// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * poll.c - poll() and select(): attached sockets are answered for here, the kernel is asked about the others
 *
 * The thread that polls drives its port, as one that waits for an epoll set does. Sockets that are in such
 * a set are attached by that; others by the fourth poll() that waits for them, with port->polled for their
 * set. Where the thread has no port yet it is the eighth: to open one takes milliseconds, and a thread that polls
 * a few times while it connects takes none from one that serves.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib.h"
#include "next.h"
#include "preload.h"

/* After so many a socket is taken note of with the next, and attached with the one after that: see above */
#define POLLS_FEW	2
#define POLLS_MORE	6

/* What attached sockets tell. (They have no errors: with one they are plain) */
#define TOLD		(POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP)

/* And what they do not tell as the kernel does */
#define NOT_OURS	POLLPRI

/* The kernel cannot be asked while the NIC is polled: no longer than this at a time, in microseconds */
#define SLICE_US	20

/* Descriptors for which there is room on the stack */
#define FEW		128

/**
 * struct mine - an attached socket among the descriptors of a poll()
 * @s: the socket
 * @at: where it is among them
 */
struct mine {
	struct sock *s;
	uint32_t at;
};

/**
 * struct asked - the descriptors of a poll(), by who answers
 * @fds: the program's
 * @n: of these
 * @ours: how many are attached to this thread's port
 * @kernel: how many are not
 * @ready: one of ours is ready
 * @unseen: there is one that may_be_ours() has to see
 * @mine: the former
 * @look: the latter, for the kernel, with room for the port behind them
 * @at: of each of these where it is in @fds
 */
struct asked {
	struct pollfd *fds;
	uint32_t n;
	uint32_t ours;
	uint32_t kernel;
	bool ready;
	bool unseen;
	struct mine *mine;
	struct pollfd *look;
	uint32_t *at;
};

/* -------------------------------------------------------------------- whose */

static uint32_t my_number(void)
{
	static uint32_t numbers;

	if (unlikely(!self.number))
		self.number = __atomic_add_fetch(&numbers, 1, __ATOMIC_RELAXED);
	return self.number;
}

/*
 * A socket that this thread's port may have, and no set has: it is known from now on, and its reads are counted.
 * One for which two threads poll is the kernel's: one of them may be asleep there
 */
static void take_note(int fd, struct fdent *e)
{
	uint32_t poller = 0, me = my_number();
	struct sock *s;
	uint8_t polls;

	if (!__atomic_compare_exchange_n(&e->poller, &poller, me, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED) &&
	    poller != me) {
		stream_never(fd, "two threads poll it");
		return;
	}
	polls = __atomic_load_n(&e->polls, __ATOMIC_RELAXED);
	if (polls < (self.port ? POLLS_FEW : POLLS_MORE)) {
		__atomic_store_n(&e->polls, (uint8_t)(polls + 1), __ATOMIC_RELAXED);
		return;
	}
	if (!port_mine())
		return;
	port_lock(self.port);
	s = self.port->dead ? NULL : sock_new(fd, &self.port->polled);
	if (s)
		s->flags |= SOCK_NOTED;
	port_unlock(self.port);
}

static void urgent_plain(int fd, struct sock *s, bool *urgent)
{
	stream_plain(fd, s, "POLLPRI", false);
	*urgent = true;
}

/*
 * Before the wait. Returns whether it may be ours: then it has to be seen with the lock held. @urgent: it
 * must be plain in this wait, also where it is asked for a second time
 */
static bool may_be_ours(const struct pollfd *p, bool *urgent)
{
	struct fdent *e = fd_ent(p->fd);
	struct set *set;
	struct port *port;
	struct sock *s;

	if (!e)
		return false;
	switch (ent_kind(e)) {
	case FD_SET:
		/* Whoever does that cannot see what is attached in it */
		set = fd_set_of(p->fd);
		if (set)
			wait_never(p->fd, set, "it is polled");
		return false;
	case FD_SOCK:
		s = fd_sock(p->fd);
		if (!s)
			return false;
		set = __atomic_load_n(&s->set, __ATOMIC_ACQUIRE);
		port = set ? __atomic_load_n(&set->port, __ATOMIC_ACQUIRE) : NULL;
		/* Another thread's next wait would attach it again while this one sleeps, and take what comes */
		if (!self.port || port != self.port) {
			stream_plain(p->fd, s, "another thread polls it", true);
			wait_drop(p->fd, s);
		} else if (unlikely(p->events & NOT_OURS)) {
			urgent_plain(p->fd, s, urgent);
		}
		return self.port && port == self.port;
	case FD_UNKNOWN:
	case FD_TCP:
		if (fd_is_stream(p->fd) && (p->events & TOLD) && !(p->events & NOT_OURS) && fd_is_nonblock(p->fd))
			take_note(p->fd, e);
		return ent_kind(e) == FD_SOCK;
	default:
		return false;
	}
}

/* The sock if it is one of this port, which is locked */
static struct sock *sock_of(struct port *port, int fd)
{
	struct sock *s = fd_sock(fd);
	struct set *set = s ? __atomic_load_n(&s->set, __ATOMIC_ACQUIRE) : NULL;

	if (!set || __atomic_load_n(&set->port, __ATOMIC_ACQUIRE) != port || fd_sock(fd) != s)
		return NULL;
	return s;
}

/* Those that are in no epoll set are attached by this */
static void attach_polled(struct port *port, const struct asked *a)
{
	uint32_t i;

	if (unlikely(port->dead))
		return;
	for (i = 0; i < a->n; i++) {
		int fd = a->fds[i].fd;
		struct sock *s = fd < 0 ? NULL : sock_of(port, fd);

		if (!s || (s->flags & (SOCK_ATTACHED | SOCK_NEVER | SOCK_IN_SET)) || s->set->never)
			continue;
		if (s->flags & SOCK_NOTED)
			s->flags &= (uint16_t)~SOCK_NOTED;
		else if (fd_is_nonblock(fd))
			stream_attach(s);
	}
}

static short told_by(const struct sock *s, const struct pollfd *p)
{
	return (short)(stream_events(s) & (uint32_t)p->events & TOLD);
}

/* Who answers for each, now */
static void part(struct port *port, struct asked *a)
{
	uint32_t i;

	a->ours = a->kernel = 0;
	a->ready = a->unseen = false;
	for (i = 0; i < a->n; i++) {
		struct pollfd *p = &a->fds[i];
		enum fd_kind kind;
		struct sock *s;

		p->revents = 0;
		if (p->fd < 0)
			continue;
		kind = fd_kind(p->fd);
		if (likely(kind == FD_SOCK)) {
			s = sock_of(port, p->fd);
			/* (One that TCP has no room for yet is ours also where it ought to be plain) */
			if (likely(s && (s->flags & SOCK_ATTACHED))) {
				a->unseen = a->unseen || (p->events & NOT_OURS);
				a->mine[a->ours].s = s;
				a->mine[a->ours++].at = i;
				a->ready = a->ready || told_by(s, p);
				continue;
			}
		}
		a->unseen = a->unseen || (kind != FD_OTHER && kind != FD_LISTENER);
		a->look[a->kernel] = *p;
		a->at[a->kernel++] = i;
	}
}

/* ---------------------------------------------------------------------- tell */

/* What ours have to tell. @changed: one that was attached is so no more */
static int tell_ours(struct asked *a, bool *changed)
{
	uint32_t i;
	int n = 0;

	*changed = false;
	for (i = 0; i < a->ours; i++) {
		const struct sock *s = a->mine[i].s;
		struct pollfd *p = &a->fds[a->mine[i].at];

		if (unlikely(!(s->flags & SOCK_ATTACHED))) {
			*changed = true;
			continue;
		}
		p->revents = told_by(s, p);
		n += p->revents != 0;
	}
	return n;
}

static int tell_kernels(struct asked *a, int n)
{
	uint32_t i;

	if (n > 0)
		for (i = 0; i < a->kernel; i++)
			a->fds[a->at[i]].revents = a->look[i].revents;
	return n;
}

/* The kernel waits for all that is not ours, until then: nothing of ours is left, or is ready and there is no time */
static int kernels(struct port *port, struct asked *a, uint64_t deadline, const sigset_t *mask)
{
	int n;

	port_unlock(port);
	n = drive_ppoll(a->look, a->kernel, deadline, mask);
	port_lock(port);
	return tell_kernels(a, n);
}

/* ---------------------------------------------------------------------- wait */

static bool is_now(const struct timespec *t)
{
	return t && !t->tv_sec && !t->tv_nsec;
}

/* With the port locked: others have the NIC while this thread is elsewhere. Returns whether something came before */
static int let_go(struct port *port)
{
	int got;

	stream_is_corked(port);
	stream_settle(port);
	got = stackmap_idle(port->sm);
	if (got > 0) {
		port->active = true;
		stream_take(port);
	} else {
		port->synced = 0;
	}
	return got;
}

/* Likewise, as this thread is going to wait for what is not of the port */
static void turn_away(struct port *port, const struct timespec *timeout)
{
	int tries;

	for (tries = 0; tries < 3 && port->synced && !port->dead && !is_now(timeout); tries++)
		if (let_go(port) <= 0)
			break;
}

/* With the port locked, and all parted. Drive it until there is something to tell. Returns as ppoll() */
static int poll_until(struct port *port, struct asked *a, const struct timespec *timeout, const sigset_t *mask)
{
	bool at_once = is_now(timeout), looked = false, changed;
	uint64_t deadline = 0;	/* of drive_now(), when it matters */
	unsigned int told, spin_us, wait_us;
	int n, m, got;

	for (;;) {
		if (unlikely(!a->ours)) {
			if (!at_once)
				turn_away(port, timeout);
			return kernels(port, a, at_once ? 0 : deadline ? deadline : drive_deadline(timeout), mask);
		}
		spin_us = 0;
		if (!a->ready && !at_once && port_spin_us) {
			if (!deadline)
				deadline = drive_deadline(timeout);
			spin_us = drive_spin(port, deadline);
		}
		/* The kernel is asked first, and then again and again */
		told = 0;
		wait_us = !a->kernel || spin_us < SLICE_US ? spin_us : SLICE_US;
		got = stream_sync(port, a->kernel && !looked ? 0 : wait_us, -1, &told);
		if (unlikely(got < 0 && errno != EINTR)) {
			drive_dead(port);
			part(port, a);
			continue;
		}
		n = tell_ours(a, &changed);
		/* It is the kernel's to tell, now */
		if (unlikely(changed)) {
			part(port, a);
			continue;
		}
		/* (Whether a signal that the mask lets in is pending the kernel knows) */
		if (at_once && !n && (a->kernel || mask))
			return kernels(port, a, 0, mask);
		m = a->kernel ? stackmap_real_poll_look(a->look, a->kernel) : 0;
		looked = true;
		if (n || m)
			return m < 0 && !n ? -1 : n + (m < 0 ? 0 : tell_kernels(a, m));
		if (got < 0 || (told & STACKMAP_TOLD_SIGNAL)) {
			errno = EINTR;
			return -1;
		}
		if (at_once)
			return 0;
		a->ready = false;
		if (got || spin_us) {
			at_once = drive_over(timeout, &deadline);
			continue;
		}
		/* Nothing for as long as it is to be polled */
		got = let_go(port);
		if (got) {
			/* Told in the next turn, which does not wait for more */
			a->ready = true;
			continue;
		}
		if (!deadline)
			deadline = drive_deadline(timeout);
		a->look[a->kernel] = (struct pollfd){ .fd = stackmap_fd(port->sm), .events = POLLIN };
		got = drive_sleep(port, a->look, a->kernel + 1, deadline, mask);
		if (got < 0)
			return -1;
		if (!got)
			at_once = true;
		part(port, a);
	}
}

static bool is_time(const struct timespec *t)
{
	return !t || (t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < (long)DRIVE_NSEC);
}

/* Whether one of these may be attached, then or before. See may_be_ours() for @urgent */
static bool any_ours(const struct asked *a, bool *urgent)
{
	bool any = false;
	uint32_t i;

	*urgent = false;
	for (i = 0; i < a->n; i++)
		any = may_be_ours(&a->fds[i], urgent) || any;
	return any && self.port;
}

/* What poll_until() returns, or false: none is attached, and the kernel is to wait */
static bool poll_ours(struct asked *a, const struct timespec *timeout, const sigset_t *mask, int *ret)
{
	struct port *port = self.port;
	bool urgent;

	a->unseen = true;
	if (likely(port)) {
		port_lock(port);
		part(port, a);
		if (likely(!a->unseen) && !a->ours) {
			turn_away(port, timeout);
			port_unlock(port);
			return false;
		}
		if (unlikely(a->unseen))
			port_unlock(port);
	}
	if (unlikely(a->unseen)) {
		if (!any_ours(a, &urgent)) {
			if (port) {
				port_lock(port);
				turn_away(port, timeout);
				port_unlock(port);
			}
			return false;
		}
		port = self.port;
		port_lock(port);
		if (!urgent)
			attach_polled(port, a);
		part(port, a);
	}
	*ret = poll_until(port, a, timeout, mask);
	port_unlock(port);
	return true;
}

/* Likewise. Where it sleeps the thread may be cancelled, without the lock */
static bool poll_many(void *memory, struct asked *a, const struct timespec *timeout, const sigset_t *mask, int *ret)
{
	bool done;

	pthread_cleanup_push(free, memory);
	done = poll_ours(a, timeout, mask, ret);
	pthread_cleanup_pop(1);
	return done;
}

static void all_plain(const struct pollfd *fds, unsigned long n, const char *why)
{
	unsigned long i;

	for (i = 0; i < n; i++) {
		struct sock *s = fd_sock(fds[i].fd);

		if (s)
			stream_plain(fds[i].fd, s, why, false);
	}
}

/**
 * poll_poll() - ppoll() of descriptors of which some are attached
 * @fds: the program's
 * @n: of these
 * @timeout: or NULL
 * @mask: or NULL
 * @ret: what it returns
 *
 * Return: false: none is attached, the kernel is to do it all.
 */
bool poll_poll(struct pollfd *fds, unsigned long n, const struct timespec *timeout, const sigset_t *mask, int *ret)
{
	struct {
		struct mine mine[FEW];
		struct pollfd look[FEW + 1];
		uint32_t at[FEW];
	} few;
	struct asked a = {
		.fds = fds, .n = (uint32_t)n, .mine = few.mine, .look = few.look, .at = few.at,
	};

	if (stackmap_vforked || self.busy || !fds || n > fd_count || !is_time(timeout))
		return false;
	if (likely(n <= FEW))
		return poll_ours(&a, timeout, mask, ret);
	a.mine = malloc((n + 1) * (sizeof(*a.mine) + sizeof(*a.look) + sizeof(*a.at)));
	if (!a.mine) {
		all_plain(fds, n, "there is no memory");
		return false;
	}
	a.look = (struct pollfd *)(a.mine + n + 1);
	a.at = (uint32_t *)(a.look + n + 1);
	return poll_many(a.mine, &a, timeout, mask, ret);
}

/* -------------------------------------------------------------------- select() */

/* As the kernel has it (fs/select.c) */
#define IS_READ		(POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR)
#define IS_WRITE	(POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR)
#define IS_EXCEPT	POLLPRI

/* An fd_set may be longer than FD_SETSIZE. The n descriptors end in word @i, or behind it */
static unsigned long word(const fd_set *set, int n, int i)
{
	unsigned long bits = set ? ((const unsigned long *)set)[i] : 0;

	return n - 64 * i < 64 ? bits & ((1UL << (n - 64 * i)) - 1) : bits;
}

/* The next descriptor that is wanted, from @fd on, or -1 */
static int next_wanted(const fd_set *r, const fd_set *w, const fd_set *e, int n, int fd)
{
	int i;

	for (i = fd / 64; 64 * i < n; i++) {
		unsigned long bits = word(r, n, i) | word(w, n, i) | word(e, n, i);

		if (i == fd / 64)
			bits &= ~0UL << (fd % 64);
		if (bits)
			return 64 * i + __builtin_ctzl(bits);
	}
	return -1;
}

static bool bit(const fd_set *set, int fd)
{
	return set && ((const unsigned long *)set)[fd / 64] >> (fd % 64) & 1;
}

static short wanted(const fd_set *r, const fd_set *w, const fd_set *e, int fd)
{
	return (short)((bit(r, fd) ? POLLRDNORM | POLLRDBAND | POLLIN : 0) |
		       (bit(w, fd) ? POLLWRBAND | POLLWRNORM | POLLOUT : 0) | (bit(e, fd) ? POLLPRI : 0));
}

/* Which of those that were wanted are so: so many bits, which are set in @to if there is one */
static int bits(fd_set *to, const struct pollfd *fds, unsigned long count, short want, short is)
{
	unsigned long i;
	int n = 0;

	for (i = 0; i < count; i++)
		if ((fds[i].events & want) && (fds[i].revents & is)) {
			n++;
			if (to)
				((unsigned long *)to)[fds[i].fd / 64] |= 1UL << (fds[i].fd % 64);
		}
	return n;
}

static void clear(fd_set *set, int n)
{
	if (set)
		memset(set, 0, (size_t)(n + 63) / 64 * sizeof(unsigned long));
}

static int all_bits(fd_set *r, fd_set *w, fd_set *e, const struct pollfd *fds, unsigned long count)
{
	return bits(r, fds, count, POLLIN, IS_READ) + bits(w, fds, count, POLLOUT, IS_WRITE) +
	       bits(e, fds, count, POLLPRI, IS_EXCEPT);
}

static void time_left(struct timespec *left, uint64_t deadline)
{
	uint64_t t = drive_now(), ns = deadline > t ? deadline - t : 0;

	if (deadline == UINT64_MAX)
		return;
	left->tv_sec = (time_t)(ns / DRIVE_NSEC);
	left->tv_nsec = (long)(ns % DRIVE_NSEC);
}

/**
 * struct selected - a select(), and its descriptors as poll() has them
 * @n: as select() has it
 * @r: or NULL; likewise the others
 * @timeout: what is left of it is written there
 */
struct selected {
	int n;
	fd_set *r;
	fd_set *w;
	fd_set *e;
	struct timespec *timeout;
	const sigset_t *mask;
	struct pollfd *fds;
	unsigned long count;
};

/* As the program sees it, or false: the kernel has to do it, in what is left of the time */
static bool select_some(struct selected *sel, int *ret)
{
	uint64_t deadline = drive_deadline(sel->timeout);
	const struct pollfd *fds = sel->fds;
	unsigned long i;

	if (!poll_poll(sel->fds, sel->count, sel->timeout, sel->mask, ret))
		return false;
	time_left(sel->timeout, deadline);
	for (i = 0; *ret > 0 && i < sel->count; i++)
		if (fds[i].revents & POLLNVAL) {
			errno = EBADF;
			*ret = -1;
		}
	if (*ret < 0)
		return true;
	/* Something that poll() tells and select() does not, as a hangup of what is to be written */
	if (*ret && !all_bits(NULL, NULL, NULL, fds, sel->count)) {
		all_plain(fds, sel->count, "select() of a hangup");
		return false;
	}
	clear(sel->r, sel->n);
	clear(sel->w, sel->n);
	clear(sel->e, sel->n);
	*ret = all_bits(sel->r, sel->w, sel->e, fds, sel->count);
	return true;
}

static bool select_many(struct selected *sel, int *ret)
{
	bool done;

	pthread_cleanup_push(free, sel->fds);
	done = select_some(sel, ret);
	pthread_cleanup_pop(1);
	return done;
}

/**
 * poll_select() - pselect() of descriptors of which some are attached
 * @n: as select() has it
 * @r: or NULL
 * @w: or NULL
 * @e: or NULL
 * @timeout: or NULL. What is left of it is written there, also if the kernel is to do the rest
 * @mask: or NULL
 * @ret: what it returns
 *
 * Return: false: none is attached, the kernel is to do it all.
 */
bool poll_select(int n, fd_set *r, fd_set *w, fd_set *e, struct timespec *timeout, const sigset_t *mask, int *ret)
{
	struct selected sel = { .r = r, .w = w, .e = e, .timeout = timeout, .mask = mask };
	struct pollfd few[FEW];
	unsigned long count = 0;
	int fd;

	if (stackmap_vforked || self.busy || n < 0 || !is_time(timeout))
		return false;
	/* There are none behind that, and the kernel does not look there either */
	sel.n = n = (uint32_t)n > fd_count ? (int)fd_count : n;
	for (fd = next_wanted(r, w, e, n, 0); fd >= 0; fd = next_wanted(r, w, e, n, fd + 1))
		count++;
	sel.fds = count > FEW ? malloc(count * sizeof(*sel.fds)) : few;
	if (!sel.fds) {
		for (fd = next_wanted(r, w, e, n, 0); fd >= 0; fd = next_wanted(r, w, e, n, fd + 1))
			if (fd_sock(fd))
				stream_plain(fd, fd_sock(fd), "there is no memory", false);
		return false;
	}
	for (fd = next_wanted(r, w, e, n, 0); fd >= 0; fd = next_wanted(r, w, e, n, fd + 1))
		sel.fds[sel.count++] = (struct pollfd){ .fd = fd, .events = wanted(r, w, e, fd) };
	return sel.fds == few ? select_some(&sel, ret) : select_many(&sel, ret);
}
