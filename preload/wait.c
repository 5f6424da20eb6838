// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * wait.c - epoll: what a program is interested in, what is ready, and the wait in which a port is driven
 *
 * The kernel's set has all that is plain. Attached sockets are not in it: their interest and
 * readiness are here. A wait syncs the port, with the kernel's set watched, and asks the
 * kernel only when that is ready.
 *
 * The thread that waits for a set in which there is a TCP socket drives it. A set has one
 * such thread: a second one that waits for it makes it the kernel's alone.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "lib.h"
#include "next.h"
#include "preload.h"

/* epoll_event.events that say how, not what */
#define HOW	(EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE)

/* What attached sockets do not tell as the kernel does */
#define NOT_OURS	(EPOLLPRI | EPOLLEXCLUSIVE)

/* As the kernel has it */
#define EVENTS_MAX	(INT_MAX / (int)sizeof(struct epoll_event))

/* ------------------------------------------------------------------ interest */

/* An attached socket of the set has new interest, and may be ready */
static void renew(struct sock *s)
{
	list_del(&s->ready);
	stream_mark(s, ~0u);
	if (!list_empty(&s->ready))
		port_wake(s->set->port);
}

/*
 * The kernel's set is to have one that nobody here knows to be in it: it is never attached, as that set
 * would not hear of it
 */
static int add_unknown(int epfd, int fd, struct epoll_event *ev)
{
	static const char why[] = "it is in an epoll set of the kernel's";
	struct sock *s = fd_sock(fd);
	enum fd_kind kind;
	int ret;

	if (s && !stream_plain(fd, s, why, true)) {
		errno = ENOMEM;
		return -1;
	}
	ret = next()->epoll_ctl(epfd, EPOLL_CTL_ADD, fd, ev);
	kind = fd_kind(fd);
	if (!ret && !s && ports_any() && kind != FD_LISTENER && kind != FD_SET)
		stream_never(fd, why);
	return ret;
}

/* As epoll_ctl(); and 1: another thread knows it by now, try again */
static int add_new(struct set *set, int fd, struct epoll_event *ev)
{
	struct sock *s = sock_new(fd, set);
	int ret, err;

	if (!s && (fd_kind(fd) == FD_SOCK || fd_kind(fd) == FD_TAKEN))
		return 1;
	if (!s)
		return add_unknown(set->fd, fd, ev);
	s->events = ev->events | EPOLLERR | EPOLLHUP;
	s->data = ev->data.u64;
	s->asked = set_asked(set);
	s->flags = SOCK_IN_SET;
	/* The thread that drives the set is known, and the kernel need not hear of it */
	if (set->port && !set->never && !set->port->dead && fd_is_nonblock(fd) && stream_attach(s)) {
		renew(s);
		return 0;
	}
	ret = next()->epoll_ctl(set->fd, EPOLL_CTL_ADD, fd, ev);
	err = errno;
	/* A dup()ed one of the kernel's may outlive it */
	if (!ret && set->never)
		s->flags |= SOCK_NEVER;
	/* (A blocking one is a candidate when it becomes non-blocking: wait_again()) */
	if (ret || (s->flags & SOCK_NEVER) || set->never)
		sock_free(s);
	else if (fd_is_nonblock(fd))
		list_add_tail(&set->candidates, &s->candidate);
	errno = err;
	return ret;
}

static void set_interest(struct sock *s, const struct epoll_event *ev)
{
	s->events = ev->events | EPOLLERR | EPOLLHUP;
	s->data = ev->data.u64;
	s->asked = set_asked(s->set);
	if (s->flags & SOCK_ATTACHED)
		renew(s);
}

/* It was attached for this set, and deleted from it since; or made plain, too */
static int add_back(struct sock *s, struct epoll_event *ev)
{
	if (s->set->never)
		stream_make_plain(s, "its set is the kernel's alone");
	if (!(s->flags & SOCK_ATTACHED) && next()->epoll_ctl(s->set->fd, EPOLL_CTL_ADD, s->fd, ev))
		return -1;
	s->flags |= SOCK_IN_SET;
	set_interest(s, ev);
	if (!(s->flags & (SOCK_ATTACHED | SOCK_NEVER)) && !s->set->never)
		list_add_tail(&s->set->candidates, &s->candidate);
	return 0;
}

/*
 * Of a plain one nobody here knows whether the kernel has disarmed it after EPOLLONESHOT. Now that it is
 * armed anew it is the same everywhere, so that it can be attached
 */
static bool attach_armed(struct sock *s)
{
	struct set *set = s->set;

	if ((s->flags & (SOCK_ATTACHED | SOCK_NEVER)) || !(s->events & EPOLLONESHOT) || set->never ||
	    !set->port || set->port->dead || !fd_is_nonblock(s->fd) || !stream_attach(s))
		return false;
	if (!(s->flags & SOCK_OUTSIDE))
		next()->epoll_ctl(set->fd, EPOLL_CTL_DEL, s->fd, NULL);
	s->flags &= (uint16_t)~SOCK_OUTSIDE;
	return true;
}

static int change(struct sock *s, int op, int fd, struct epoll_event *ev)
{
	struct set *set = s->set;
	int ret;

	if (op == EPOLL_CTL_ADD) {
		if (s->flags & SOCK_IN_SET) {
			errno = EEXIST;
			return -1;
		}
		return add_back(s, ev);
	}
	if (!(s->flags & SOCK_IN_SET)) {
		errno = ENOENT;
		return -1;
	}
	if (op == EPOLL_CTL_MOD && attach_armed(s)) {
		set_interest(s, ev);
		return 0;
	}
	if (s->flags & SOCK_OUTSIDE) {
		ret = op == EPOLL_CTL_MOD ? next()->epoll_ctl(set->fd, EPOLL_CTL_ADD, fd, ev) : 0;
		if (ret)
			return ret;
		s->flags &= (uint16_t)~SOCK_OUTSIDE;
	} else if (!(s->flags & SOCK_ATTACHED)) {
		ret = next()->epoll_ctl(set->fd, op, fd, ev);
		if (ret)
			return ret;
	}
	if (op == EPOLL_CTL_MOD) {
		set_interest(s, ev);
		return 0;
	}
	s->flags &= (uint16_t)~SOCK_IN_SET;
	list_del(&s->ready);
	if (!(s->flags & SOCK_ATTACHED))
		sock_free(s);
	return 0;
}

/*
 * The kernel's set is to have it from now on, disarmed as it is. (It tells errors then, as the kernel
 * cannot add one that does not.)
 */
static void inside(struct sock *s)
{
	struct epoll_event ev = { .events = s->events, .data.u64 = s->data };

	if ((s->flags & (SOCK_OUTSIDE | SOCK_IN_SET)) == (SOCK_OUTSIDE | SOCK_IN_SET))
		next()->epoll_ctl(s->set->fd, EPOLL_CTL_ADD, s->fd, &ev);
	s->flags &= (uint16_t)~SOCK_OUTSIDE;
}

/* It goes on in another set, or has interest that is the kernel's to see to: as plain one of no set */
static bool leave(int fd, struct sock *s, const char *why, bool never)
{
	struct port *port = sock_lock(fd, s);
	bool plain = true;

	if (port == GONE)
		return true;
	if (never)
		s->flags |= SOCK_NEVER;
	plain = stream_make_plain(s, why);
	if (plain) {
		inside(s);
		sock_free(s);
	}
	unlock(port);
	return plain;
}

int wait_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct set *set = fd_set_of(epfd), *inner;
	struct port *port;
	struct sock *s;
	int ret;

	if (!set || stackmap_vforked || self.busy || op < EPOLL_CTL_ADD || op > EPOLL_CTL_MOD)
		return op == EPOLL_CTL_ADD && !stackmap_vforked && !self.busy ? add_unknown(epfd, fd, ev) :
			next()->epoll_ctl(epfd, op, fd, ev);
	inner = op == EPOLL_CTL_ADD && fd != epfd ? fd_set_of(fd) : NULL;
	if (unlikely(inner))
		wait_never(fd, inner, "it is in another epoll set");
	if (op != EPOLL_CTL_DEL && !ev)
		return next()->epoll_ctl(epfd, op, fd, ev);
again:
	s = fd_sock(fd);
	/* In another set, or interest that is not ours: the kernel has it from now on */
	if (s && __atomic_load_n(&s->set, __ATOMIC_RELAXED) != set) {
		bool in_set = s->flags & SOCK_IN_SET;

		if (op == EPOLL_CTL_ADD &&
		    !leave(fd, s, in_set ? "it is in two epoll sets" : "it goes into an epoll set", in_set)) {
			errno = ENOMEM;
			return -1;
		}
		s = fd_sock(fd);
		if (s)
			return next()->epoll_ctl(epfd, op, fd, ev);
	}
	if (s && op == EPOLL_CTL_MOD && (ev->events & EPOLLEXCLUSIVE)) {
		errno = EINVAL;
		return -1;
	}
	if (s && op != EPOLL_CTL_DEL && (ev->events & NOT_OURS)) {
		stream_plain(fd, s, "EPOLLPRI", true);
		port = sock_lock(fd, s);
		if (port != GONE) {
			inside(s);
			unlock(port);
		}
		if (s->flags & SOCK_IN_SET)
			return next()->epoll_ctl(epfd, op, fd, ev);
	}
	if (!s && (op != EPOLL_CTL_ADD || !ports_any() || !fd_is_stream(fd)))
		return next()->epoll_ctl(epfd, op, fd, ev);
	if (!s && (set->never || (ev->events & NOT_OURS)))
		return add_unknown(epfd, fd, ev);
	if (s) {
		port = sock_lock(fd, s);
		if (port == GONE)
			return next()->epoll_ctl(epfd, op, fd, ev);
		ret = change(s, op, fd, ev);
		unlock(port);
		return ret;
	}
	port = set_lock(epfd, set);
	if (port == GONE)
		return next()->epoll_ctl(epfd, op, fd, ev);
	ret = add_new(set, fd, ev);
	unlock(port);
	if (unlikely(ret > 0))
		goto again;
	return ret;
}

/* With its lock held. Returns whether all of it is plain now */
static bool all_plain(struct set *set, const char *why)
{
	struct link *l, *following;
	bool all = true;

	for (l = set->socks.next; l != &set->socks; l = following) {
		struct sock *s = container_of(l, struct sock, in_set);

		following = l->next;
		all = stream_make_plain(s, why) && all;
	}
	return all;
}

/* The kernel has all of it from now on */
void wait_never(int fd, struct set *set, const char *why)
{
	struct port *port = self.busy ? GONE : set_lock(fd, set);

	if (port == GONE)
		return;
	/* Where something cannot be made plain yet, its port goes on being driven */
	if (!set->never && all_plain(set, why)) {
		__atomic_store_n(&set->never, true, __ATOMIC_RELAXED);
		trace(fd, "is an epoll set of the kernel's alone: %s", why);
		while (!list_empty(&set->candidates))
			list_del(set->candidates.next);
	}
	unlock(port);
}

/* It is closed, or was */
void wait_close(int fd, struct set *set)
{
	struct port *port = set_lock(fd, set);

	if (port == GONE)
		return;
	while (!list_empty(&set->socks)) {
		struct sock *s = container_of(set->socks.next, struct sock, in_set);

		/* A dup() of the set may live on in the kernel, with what it has */
		if (set->never && (s->flags & SOCK_IN_SET))
			s->flags |= SOCK_NEVER;
		s->flags &= (uint16_t)~SOCK_IN_SET;
		stream_give_up(s);
		sock_free(s);
	}
	set_free(set);
	unlock(port);
}

/* connect() was called on it: it may be attached now */
void wait_again(int fd, struct sock *s)
{
	struct port *port = self.busy ? GONE : sock_lock(fd, s);

	if (port == GONE)
		return;
	if ((s->flags & (SOCK_ATTACHED | SOCK_NEVER | SOCK_IN_SET)) == SOCK_IN_SET && list_empty(&s->candidate) && !s->set->never)
		list_add_tail(&s->set->candidates, &s->candidate);
	unlock(port);
}

/* It is the kernel's for good, and was in no epoll set: nothing has to be known of it any more */
void wait_drop(int fd, struct sock *s)
{
	struct port *port = self.busy ? GONE : sock_lock(fd, s);

	if (port == GONE)
		return;
	if ((s->flags & (SOCK_ATTACHED | SOCK_IN_SET | SOCK_NEVER)) == SOCK_NEVER)
		sock_free(s);
	unlock(port);
}

/* With its lock held */
void wait_all_plain(struct port *port, const char *why)
{
	struct link *l;

	for (l = port->sets.next; l != &port->sets; l = l->next)
		all_plain(container_of(l, struct set, in_port), why);
}

/* The thread that drives it ends: its sets are nobody's */
static void left(struct port *port)
{
	self.busy++;
	lock_take(&sets_lock, NULL, NULL);
	port_lock(port);
	stream_drain(port);
	while (!list_empty(&port->sets)) {
		struct set *set = container_of(port->sets.next, struct set, in_port);
		struct link *l;

		/* What TCP has no room for by now is lost with the port */
		for (l = set->socks.next; l != &set->socks; l = l->next)
			stream_give_up(container_of(l, struct sock, in_set));

		list_del(&set->in_port);
		if (set != &port->polled) {
			__atomic_store_n(&set->port, NULL, __ATOMIC_RELEASE);
			continue;
		}
		while (!list_empty(&set->socks))
			sock_free(container_of(set->socks.next, struct sock, in_set));
	}
	port_unlock(port);
	lock_give(&sets_lock);
	self.busy--;
}

__attribute__((constructor)) static void init(void)
{
	port_left = left;
}

/* A socket or set of a number that libc or the kernel has closed behind our back */
static void forget(int fd)
{
	struct set *set = fd_set_of(fd);
	struct sock *s = fd_sock(fd);
	struct port *port;

	if (set)
		wait_close(fd, set);
	if (!s)
		return;
	port = sock_lock(fd, s);
	if (port == GONE)
		return;
	/* The kernel has detached it, and the number is not its any more */
	if (stackmap_conn_live_(&s->conn))
		stackmap_forget_(&s->conn);
	s->flags = 0;
	sock_free(s);
	unlock(port);
}

/**
 * fd_new() - a call has returned a new descriptor
 * @fd: or -1
 * @kind: what it is
 */
void fd_new(int fd, enum fd_kind kind)
{
	struct fdent *e = fd < 0 ? NULL : fd_ent(fd);

	if (!e || stackmap_vforked)
		return;
	if (unlikely(ent_kind(e) == FD_SOCK || ent_kind(e) == FD_SET)) {
		int err = errno;

		forget(fd);
		errno = err;
	}
	__atomic_store_n(&e->nonblock, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&e->file, false, __ATOMIC_RELAXED);
	__atomic_store_n(&e->polls, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&e->poller, 0, __ATOMIC_RELAXED);
	ent_is_accepted(e, false);
	fd_is(e, kind);
}

/* ------------------------------------------------------------------ readiness */

/* Whether there is something to tell; drops what is not */
static bool any_ready(struct set *set)
{
	while (!list_empty(&set->ready)) {
		struct sock *s = container_of(set->ready.next, struct sock, ready);

		if ((s->events & stream_events(s)) &&
		    (!(s->events & EPOLLET) || (s->flags & SOCK_EDGE)))
			return true;
		list_del(&s->ready);
	}
	return false;
}

/* Each that is ready once, in turn */
static int harvest(struct set *set, struct epoll_event *ev, int max)
{
	struct link *last = set->ready.prev, *l, *following;
	int n = 0;

	for (l = set->ready.next; l != &set->ready && n < max; l = following) {
		struct sock *s = container_of(l, struct sock, ready);
		uint32_t is = s->events & stream_events(s);
		bool stop = l == last;

		following = l->next;
		list_del(l);
		if (is && (!(s->events & EPOLLET) || (s->flags & SOCK_EDGE))) {
			ev[n].events = is;
			ev[n].data.u64 = s->data;
			n++;
			s->flags &= (uint16_t)~SOCK_EDGE;
			if (s->events & EPOLLONESHOT)
				s->events &= HOW;
			else if (!(s->events & EPOLLET))
				list_add_tail(&set->ready, l);
		}
		if (stop)
			break;
	}
	return n;
}

/* ----------------------------------------------------------------------- wait */

/* Those that came while nobody drove the set, or were made plain for a while */
static void attach_candidates(struct set *set)
{
	struct link *l, *following;

	for (l = set->candidates.next; l != &set->candidates; l = following) {
		struct sock *s = container_of(l, struct sock, candidate);

		following = l->next;
		/* It has its turn when that has ended */
		if (unlikely(stream_is_read(s)))
			continue;
		list_del(&s->candidate);
		/* Nobody here knows whether the kernel has disarmed it: EPOLL_CTL_MOD will */
		if ((s->events & EPOLLONESHOT) && !(s->flags & SOCK_OUTSIDE) && s->asked != set_asked(set))
			continue;
		if (!fd_is_nonblock(s->fd) || !stream_attach(s))
			continue;
		next()->epoll_ctl(set->fd, EPOLL_CTL_DEL, s->fd, NULL);
		s->flags &= (uint16_t)~SOCK_OUTSIDE;
		renew(s);
	}
}

/* The port that is to be driven while this thread waits for the set; NULL: none */
static struct port *drive(int epfd, struct set *set)
{
	struct port *port = __atomic_load_n(&set->port, __ATOMIC_ACQUIRE);

	if (likely(port && port == self.port))
		return port;
	if (__atomic_load_n(&set->never, __ATOMIC_RELAXED))
		return NULL;
	if (port) {
		wait_never(epfd, set, "several threads wait for it");
		return NULL;
	}
	if (list_empty(&set->candidates))
		return NULL;
	/* They would not hear of what is attached from now on */
	if (__atomic_load_n(&set->waiters, __ATOMIC_SEQ_CST)) {
		wait_never(epfd, set, "several threads wait for it");
		return NULL;
	}
	if (!port_mine())
		return NULL;
	port = set_lock(epfd, set);
	if (port == GONE)
		return NULL;
	if (port) {
		unlock(port);
		return NULL;
	}
	port_lock(self.port);
	list_add_tail(&self.port->sets, &set->in_port);
	__atomic_store_n(&set->port, self.port, __ATOMIC_RELEASE);
	port_unlock(self.port);
	unlock(NULL);
	return self.port;
}

/* Wait for the port and the kernel's set. Returns as ppoll() */
static int sleep_until(struct port *port, int epfd, uint64_t deadline, const sigset_t *mask)
{
	struct pollfd pfd[2] = {
		{ .fd = epfd, .events = POLLIN },
		{ .fd = stackmap_fd(port->sm), .events = POLLIN },
	};

	return drive_sleep(port, pfd, 2, deadline, mask);
}

/*
 * The kernel's events, and ours. Where there is no room for both, those of one that have been told
 * wait for their turn behind those of the other
 */
static int both(struct set *set, struct epoll_event *ev, int max)
{
	int n, m;

	__atomic_fetch_add(&set->asked, 1, __ATOMIC_RELAXED);

	if (set->ours_first) {
		n = harvest(set, ev, max);
		m = n < max ? stackmap_real_epoll_look(set->fd, ev + n, max - n) : 0;
		set->ours_first = n < max;
		return m < 0 && !n ? -1 : n + (m < 0 ? 0 : m);
	}
	n = stackmap_real_epoll_look(set->fd, ev, max);
	if (n < 0)
		return -1;
	set->ours_first = n == max;
	return n < max ? n + harvest(set, ev + n, max - n) : n;
}

/* The set was closed in the middle of a wait, which goes on to its end with nothing to tell, as in the kernel */
static int outlive(struct port *port, bool at_once, const struct timespec *timeout, uint64_t deadline,
		   const sigset_t *mask)
{
	int ret = 0;

	if (at_once)
		return 0;
	if (!deadline)
		deadline = drive_deadline(timeout);
	port_unlock(port);
	ret = drive_ppoll(NULL, 0, deadline, mask);
	port_lock(port);
	return ret;
}

/*
 * Drive the port until there is something to tell. Returns as epoll_wait(); and -1 with ENODEV when
 * the kernel is to wait instead
 */
static int drive_until(struct port *port, struct set *set, int epfd, struct epoll_event *ev, int max,
		       const struct timespec *timeout, const sigset_t *mask)
{
	bool at_once = timeout && !timeout->tv_sec && !timeout->tv_nsec;
	uint64_t deadline = 0;	/* of drive_now(), when it matters: most waits do not */
	unsigned int told = 0, wait_us;
	int n = 0, got;

	for (;;) {
		/* Another thread may have closed it, or made it the kernel's alone */
		if (unlikely(set->port != port || set->fd != epfd))
			return outlive(port, at_once, timeout, deadline, mask);
		if (unlikely(!list_empty(&set->candidates)))
			attach_candidates(set);
		wait_us = 0;
		if (!any_ready(set) && !at_once && port_spin_us) {
			if (!deadline)
				deadline = drive_deadline(timeout);
			wait_us = drive_spin(port, deadline);
		}
		got = stream_sync(port, wait_us, epfd, &told);
		if (unlikely(set->port != port || set->fd != epfd))
			return outlive(port, at_once, timeout, deadline, mask);
		if (unlikely(got < 0 && errno != EINTR))
			drive_dead(port);
		if (unlikely(port->dead || set->never)) {
			errno = ENODEV;
			return -1;
		}
		/* What a sync has made plain is the kernel's to tell, now */
		if (got >= 0 && ((told & STACKMAP_TOLD_WATCH) || unlikely(port->plained))) {
			port->plained = false;
			n = both(set, ev, max);
			if (n < 0)
				return -1;
		} else {
			n = harvest(set, ev, max);
		}
		if (n || at_once)
			return n;
		if (got < 0 || (told & STACKMAP_TOLD_SIGNAL)) {
			errno = EINTR;
			return -1;
		}
		if (got || wait_us) {
			at_once = drive_over(timeout, &deadline);
			continue;
		}
		/* Nothing for as long as it is to be polled */
		stream_settle(port);
		got = stackmap_idle(port->sm);
		port->synced = 0;
		if (got > 0) {
			port->active = true;
			stream_take(port);
		}
		if (got)
			continue;
		if (!deadline)
			deadline = drive_deadline(timeout);
		got = sleep_until(port, epfd, deadline, mask);
		if (got < 0)
			return -1;
		if (!got)
			at_once = true;
	}
}

static int wait_plain(int epfd, struct epoll_event *ev, int max, const struct timespec *timeout,
		      const sigset_t *mask)
{
	int ms = -1;

	/* From glibc 2.35 on; a kernel before 5.11 has none */
	if (timeout && timeout->tv_nsec % 1000000)
		return next()->epoll_pwait2(epfd, ev, max, timeout, mask);
	if (timeout)
		ms = timeout->tv_sec > INT_MAX / 1000 - 1 ? INT_MAX :
			(int)(timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000);
	if (mask)
		return next()->epoll_pwait(epfd, ev, max, ms, mask);
	return next()->epoll_wait(epfd, ev, max, ms);
}

/* Also when the thread is cancelled */
static void waits_no_more(void *set)
{
	__atomic_fetch_sub(&((struct set *)set)->waiters, 1, __ATOMIC_SEQ_CST);
}

int wait_wait(int epfd, struct epoll_event *ev, int max, const struct timespec *timeout,
	      const sigset_t *mask)
{
	struct set *set = fd_set_of(epfd);
	struct port *port;
	int n;

	if (timeout && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= (long)DRIVE_NSEC))
		return next()->epoll_pwait2(epfd, ev, max, timeout, mask);
	if (!set || max <= 0 || max > EVENTS_MAX || !ev || stackmap_vforked || self.busy)
		return wait_plain(epfd, ev, max, timeout, mask);
	port = drive(epfd, set);
	if (!port || port->dead) {
		__atomic_fetch_add(&set->asked, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&set->waiters, 1, __ATOMIC_SEQ_CST);
		pthread_cleanup_push(waits_no_more, set);
		n = wait_plain(epfd, ev, max, timeout, mask);
		pthread_cleanup_pop(1);
		return n;
	}
	port_lock(port);
	n = drive_until(port, set, epfd, ev, max, timeout, mask);
	port_unlock(port);
	if (unlikely(n < 0 && errno == ENODEV))
		return wait_plain(epfd, ev, max, timeout, mask);
	return n;
}
