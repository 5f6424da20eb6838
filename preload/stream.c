// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * stream.c - bytes of attached sockets; attaching a socket, and making it plain
 *
 * Payload stays in the receive slots, whose buffers are ours until the next sync, and what is
 * not read by then is copied into the socket's own buffer. Credit bounds it. Writes go to the
 * transmit ring, and from there to TCP with the thread's next wait.
 *
 * All with the lock of the socket held; but those that take an fd take it themselves, and return
 * false when it is a plain one: the caller has the kernel do it.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>
#include <x86intrin.h>

#include "lib.h"
#include "next.h"
#include "preload.h"

/* Payload that a socket may have here and not used; a half of it used up, it gets as much more */
#define CREDIT		(128u << 10)

/* How often it may be made plain before it stays so */
#define PLAINS_MAX	8

/* Bytes of a file that are read at once */
#define FILE_PIECE	(64u << 10)

/* Half of the smallest send buffer that Linux begins with, and less than a packet of GSO */
#define BUDGET		(32u << 10)

/* stream_drain(): how long it waits for a peer, and how often without having got anywhere */
#define DRAIN_US	10000
#define DRAIN_TURNS	200

/* A millisecond or a few, less than the shortest stall */
#define OLD_CYCLES	2000000u

/* -------------------------------------------------------------- readiness */

/*
 * Something is new at an attached socket: what the kernel would wake those for with EPOLLET that are
 * interested in it
 */
void stream_mark(struct sock *s, uint32_t news)
{
	if (s->events & news)
		s->flags |= SOCK_EDGE;
	if ((s->flags & SOCK_IN_SET) && list_empty(&s->ready) && (s->events & stream_events(s)))
		list_add_tail(&s->set->ready, &s->ready);
}

/* ------------------------------------------------------------ what has come */

/* Room for n more bytes behind those in the buffer */
static bool make_room(struct sock *s, size_t n)
{
	size_t have = s->end - s->start, cap = s->cap ? s->cap : 4096;
	unsigned char *p;

	if (s->cap - s->end >= n)
		return true;
	if (s->start && s->cap - have >= n) {
		memmove(s->buf, s->buf + s->start, have);
		s->start = 0;
		s->end = (uint32_t)have;
		return true;
	}
	while (cap < have + n)
		cap *= 2;
	p = malloc(cap);
	if (!p)
		return false;
	if (have)
		memcpy(p, s->buf + s->start, have);
	free(s->buf);
	s->buf = p;
	s->cap = (uint32_t)cap;
	s->start = 0;
	s->end = (uint32_t)have;
	return true;
}

static struct stackmap_slot *first_slot(const struct sock *s)
{
	return &s->conn.port->rx_slots[s->slot];
}

static void next_slot(struct sock *s)
{
	s->slot = (s->slot + 1) & s->conn.port->rx_mask;
	s->slot_off = 0;
	if (!--s->slots)
		list_del(&s->unread);
}

/* Copy what lies in slots into the buffer. Without memory for that the program would hang: it ends */
static void settle(struct sock *s)
{
	const struct stackmap_port *sm = s->conn.port;

	while (s->slots) {
		const struct stackmap_slot *slot = first_slot(s);
		size_t n = slot->len - s->slot_off;

		if (!make_room(s, n))
			abort();
		memcpy(s->buf + s->end,
		       (unsigned char *)stackmap_rx_data(sm, slot) + s->slot_off, n);
		s->end += (uint32_t)n;
		next_slot(s);
	}
}

void stream_settle(struct port *port)
{
	while (!list_empty(&port->unread))
		settle(container_of(port->unread.next, struct sock, unread));
}

static void payload(struct port *port, struct sock *s, const struct stackmap_slot *slot)
{
	uint32_t i = (uint32_t)(slot - s->conn.port->rx_slots);

	s->flags &= (uint16_t)~SOCK_HUNGRY;

	/* Slots of a socket follow each other in a batch, and that is relied on here only */
	if (s->slots && ((s->slot + s->slots) & s->conn.port->rx_mask) != i)
		settle(s);
	if (!s->slots) {
		s->slot = i;
		s->slot_off = 0;
		list_add_tail(&port->unread, &s->unread);
	}
	s->slots++;
	s->avail += slot->len;
}

/* After a sync: what it has brought */
void stream_take(struct port *port)
{
	struct stackmap_port *sm = port->sm;
	struct stackmap_slot *slot;
	struct stackmap_conn *conn;

	while ((slot = stackmap_rx_next(sm))) {
		struct sock *s = (struct sock *)stackmap_rx_conn(slot);

		if (likely(slot->flags & STACKMAP_RX_DATA))
			payload(port, s, slot);
		if (unlikely(slot->flags & STACKMAP_RX_CONNECTED))
			s->flags &= (uint16_t)~SOCK_CONNECTING;
		if (unlikely(slot->flags & STACKMAP_RX_FIN))
			s->flags |= SOCK_FIN;
		if (unlikely(slot->flags & STACKMAP_RX_ERROR)) {
			/* The kernel tells it, behind what came before */
			s->flags |= SOCK_NEVER;
			stream_make_plain(s, "it has failed");
		} else if (slot->flags & (STACKMAP_RX_DATA | STACKMAP_RX_FIN | STACKMAP_RX_CONNECTED)) {
			stream_mark(s, slot->flags & (STACKMAP_RX_FIN | STACKMAP_RX_CONNECTED) ? ~0u : EPOLLIN | EPOLLRDNORM);
		}
	}
	while (unlikely((conn = stackmap_next_writable(sm)) != NULL)) {
		struct sock *s = (struct sock *)conn;

		s->flags &= (uint16_t)~SOCK_BLOCKED;
		stream_mark(s, EPOLLOUT | EPOLLWRNORM);
	}
}

/* Whoever has TCP_CORK is to have it in the kernel, before what it has written is TCP's */
void stream_is_corked(struct port *port)
{
	struct sock *s = port->corked;
	int on = 1, err = errno;

	if (likely(!s))
		return;
	port->corked = NULL;
	if (__atomic_load_n(&s->cork, __ATOMIC_RELAXED) == CORK_SET)
		return;
	next()->setsockopt(s->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
	s->cork = CORK_ON;
	errno = err;
}

/* As stackmap_sync_watch(), with all that is done before and after. -1 also when the port is no more */
int stream_sync(struct port *port, unsigned int wait_us, int watch, unsigned int *told)
{
	int n;

	stream_is_corked(port);
	stream_settle(port);
	n = stackmap_sync_watch(port->sm, wait_us, watch, told);
	port->synced = __rdtsc();
	if (likely(n >= 0)) {
		if (n)
			port->active = true;
		stream_take(port);
	}
	return n;
}

static int sync_now(struct port *port)
{
	unsigned int told;
	int err = errno, n;

	n = stream_sync(port, 0, -1, &told);
	/* Its thread sleeps perhaps, and this has brought something for it */
	port_wake(port);
	errno = err;
	return n;
}

/* --------------------------------------------------- attaching, making plain */

/* Where that ends between this and attaching it, it is told nevertheless. (An accepted one is not asked) */
static bool is_connecting(int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int err = errno;
	bool is;

	if (__atomic_load_n(&fd_ent(fd)->accepted, __ATOMIC_RELAXED))
		return false;
	is = getpeername(fd, (struct sockaddr *)&addr, &len) && errno == ENOTCONN;
	errno = err;
	return is;
}

/* Have it attached to the port of its set. It is in the kernel's set only if it was before */
bool stream_attach(struct sock *s)
{
	struct port *port = s->set->port;
	bool connecting;
	int err = errno;

	/* It would have what comes behind what the port takes now */
	if (unlikely(stream_is_read(s)))
		return false;
	connecting = is_connecting(s->fd);
	if (stackmap_conn_attach(&s->conn, port->sm, s->fd)) {
		/* Before connect(), or it has ended: it comes back with connect() */
		if (errno != ENOTCONN && errno != ENOMEM && errno != ENODEV)
			s->flags |= SOCK_NEVER;
		trace(s->fd, "stays plain: %s", strerror(errno));
		errno = err;
		return false;
	}
	stackmap_conn_pause(&s->conn);
	stackmap_conn_credit(&s->conn, CREDIT);
	s->used = 0;
	s->budget = 0;
	s->cork = CORK_UNKNOWN;
	s->flags &= SOCK_IN_SET | SOCK_NEVER | SOCK_OUTSIDE;
	s->flags |= SOCK_ATTACHED | (connecting ? SOCK_CONNECTING : 0);
	s->avail = 0;
	s->slots = 0;
	list_del(&s->candidate);
	errno = err;
	return true;
}

/* Nothing of it is in the ring or queued, or else it cannot be made plain yet */
static bool all_sent(struct sock *s)
{
	struct port *port = s->set->port;
	int tries;

	/* (A port whose interface is gone gives it to TCP nevertheless) */
	for (tries = 0; tries < 3 && !s->conn.err && stackmap_conn_unsent(&s->conn); tries++)
		if (sync_now(port) < 0 && !port->dead)
			break;
	return s->conn.err || !stackmap_conn_unsent(&s->conn);
}

static void into_kernel_set(struct sock *s)
{
	struct epoll_event ev = { .events = s->events, .data.u64 = s->data };

	if (!(s->flags & SOCK_IN_SET))
		return;
	/* What is added tells EPOLLERR and EPOLLHUP, and a disarmed one does not */
	if ((s->events & EPOLLONESHOT) && !(s->events & (EPOLLERR | EPOLLHUP)))
		s->flags |= SOCK_OUTSIDE;
	else
		next()->epoll_ctl(s->set->fd, EPOLL_CTL_ADD, s->fd, &ev);
	s->asked = set_asked(s->set);
}

/*
 * Have the kernel answer for it. False when it cannot be done now, as TCP has no room for
 * what was written; also when the socket has become a plain one with that.
 */
bool stream_make_plain(struct sock *s, const char *why)
{
	int err = errno;

	if (!(s->flags & SOCK_ATTACHED))
		return true;
	if (unlikely(s->set->port->corked == s))
		stream_is_corked(s->set->port);
	if (!s->conn.err && !all_sent(s))
		return false;
	/* A sync has found that it has failed */
	if (!(s->flags & SOCK_ATTACHED))
		return true;
	settle(s);
	if (stackmap_conn_detach_unread(&s->conn, s->buf ? s->buf + s->start : NULL,
					s->end - s->start) < 0 &&
	    errno != EBADF) {
		trace(s->fd, "cannot be made plain: %s", strerror(errno));
		errno = err;
		return false;
	}
	trace(s->fd, "is plain: %s", why);
	s->flags &= (uint16_t)~(SOCK_ATTACHED | SOCK_FIN | SOCK_BLOCKED | SOCK_CONNECTING | SOCK_EDGE);
	s->start = 0;
	s->end = 0;
	s->avail = 0;
	list_del(&s->ready);
	into_kernel_set(s);
	if (++s->plains >= PLAINS_MAX)
		s->flags |= SOCK_NEVER;
	/* One that has left its set nobody waits for */
	if ((s->flags & (SOCK_NEVER | SOCK_IN_SET)) == SOCK_IN_SET)
		list_add_tail(&s->set->candidates, &s->candidate);
	s->set->port->plained = true;
	/* Its thread may sleep in a poll() in which the kernel was not asked about it */
	port_wake(s->set->port);
	errno = err;
	return true;
}

/*
 * What write() has taken is TCP's before this process ends, as it would be without us: for as long as the
 * peers go on taking it, and not longer than the program would be missed
 */
void stream_drain(struct port *port)
{
	unsigned int told, idle = 0;
	uint64_t left, before = UINT64_MAX;

	while (port->sm && !port->dead && idle < DRAIN_TURNS) {
		struct link *l, *m;

		left = stackmap_lingering(port->sm);
		for (l = port->sets.next; l != &port->sets; l = l->next) {
			struct set *set = container_of(l, struct set, in_port);

			for (m = set->socks.next; m != &set->socks; m = m->next) {
				struct sock *s = container_of(m, struct sock, in_set);

				if ((s->flags & SOCK_ATTACHED) && !s->conn.err)
					left += s->conn.queued;	/* the ring is the kernel's */
			}
		}
		if (!left)
			return;
		idle = left < before ? 0 : idle + 1;
		before = left;
		if (stream_sync(port, DRAIN_US, -1, &told) < 0)
			return;
	}
}

/*
 * Its set or its port goes, and it cannot be made plain, as TCP has no room for what was written: that is
 * lost, and the peer is told by the end of the connection. The descriptor stays the program's
 */
void stream_give_up(struct sock *s)
{
	if (stream_make_plain(s, "its port goes") || !(s->flags & SOCK_ATTACHED))
		return;
	trace(s->fd, "has lost what TCP had no room for");
	settle(s);
	s->conn.err = ENOBUFS;
	if (stackmap_conn_detach(&s->conn) < 0 && stackmap_conn_live_(&s->conn))
		stackmap_forget_(&s->conn);
	next()->shutdown(s->fd, SHUT_RDWR);
	s->flags &= SOCK_IN_SET;
	s->flags |= SOCK_NEVER;
	s->avail = 0;
	s->start = 0;
	s->end = 0;
	list_del(&s->ready);
	into_kernel_set(s);
}

/* ------------------------------------------------------------------- calls */

/* The kernel is going to read from a plain one. Returns what KERNEL_READ() is to have */
static struct sock *kernel_reads(struct sock *s)
{
	if ((s->flags & SOCK_NEVER) || s->set->never)
		return NULL;
	__atomic_fetch_add(&s->reads, 1, __ATOMIC_RELAXED);
	return s;
}

/* Take the lock of an attached socket, or nothing. @reads: the kernel is going to read from a plain one, or NULL */
static inline struct port *begin_to(int fd, struct sock *s, struct sock **reads)
{
	struct port *port;

	if (unlikely(reads != NULL))
		*reads = NULL;
	if (unlikely(stackmap_vforked))
		return NULL;
	/* The common case first: a socket of this thread's own port */
	port = self.port;
	if (likely(port)) {
		port_lock(port);
		if (likely((s->flags & SOCK_ATTACHED) && s->conn.port == port->sm && fd_sock(fd) == s))
			return port;
		port_unlock(port);
	}
	port = sock_lock(fd, s);
	if (port == GONE)
		return NULL;
	if (likely(port && (s->flags & SOCK_ATTACHED)))
		return port;
	if (reads)
		*reads = kernel_reads(s);
	unlock(port);
	return NULL;
}

static struct port *begin(int fd, struct sock *s)
{
	return begin_to(fd, s, NULL);
}

/*
 * In a signal handler that has interrupted us: its thread has the lock perhaps. (Sockets are
 * non-blocking: it may be that nothing is there.)
 */
static bool interrupted(ssize_t *ret)
{
	if (likely(!self.busy))
		return false;
	errno = EAGAIN;
	*ret = -1;
	return true;
}

/* What another thread has done for the one that drives this port is sent, and told, at once */
static __attribute__((noinline)) void end_for(struct port *port)
{
	int err = errno;

	if (port->sm && !port->dead)
		sync_now(port);
	port_wake(port);
	errno = err;
	port_unlock(port);
}

static inline void end(struct port *port)
{
	if (likely(self.port == port))
		port_unlock(port);
	else
		end_for(port);
}

/* Likewise of sock_lock() */
static void end_any(struct port *port)
{
	if (port)
		end(port);
	else
		unlock(port);
}

/* Bytes of them; of more than there can be SIZE_MAX */
static size_t total(const struct iovec *iov, int n)
{
	size_t sum = 0;
	int i;

	for (i = 0; i < n; i++)
		if (__builtin_add_overflow(sum, iov[i].iov_len, &sum))
			return SIZE_MAX;
	return sum;
}

/* Copy n bytes from @off on into the vectors: they have room */
static void scatter(const struct iovec *iov, size_t off, const unsigned char *from, size_t n)
{
	while (n) {
		size_t m;

		while (off >= iov->iov_len) {
			off -= iov->iov_len;
			iov++;
		}
		m = iov->iov_len - off;
		if (m > n)
			m = n;
		memcpy((char *)iov->iov_base + off, from, m);
		from += m;
		off += m;
		n -= m;
	}
}

static void give_credit(struct sock *s, size_t n)
{
	s->used += n;
	if (s->used >= CREDIT / 2) {
		stackmap_conn_credit(&s->conn, s->used);
		s->used = 0;
	}
}

/* Without using it up */
static size_t peek(const struct sock *s, const struct iovec *iov, size_t want)
{
	const struct stackmap_port *sm = s->conn.port;
	size_t done = s->end - s->start;
	uint32_t i = s->slot, left = s->slots, off = s->slot_off;

	if (done > want)
		done = want;
	if (done)
		scatter(iov, 0, s->buf + s->start, done);
	while (left-- && done < want) {
		const struct stackmap_slot *slot = &sm->rx_slots[i];
		size_t n = slot->len - off;

		if (n > want - done)
			n = want - done;
		scatter(iov, done, (unsigned char *)stackmap_rx_data(sm, slot) + off, n);
		done += n;
		off = 0;
		i = (i + 1) & sm->rx_mask;
	}
	return done;
}

static size_t consume(struct sock *s, const struct iovec *iov, size_t want)
{
	const struct stackmap_port *sm = s->conn.port;
	size_t done = s->end - s->start;

	/* One small message, and room for all of it */
	if (likely(!done && s->slots == 1 && s->avail <= iov->iov_len && s->avail <= want)) {
		done = s->avail;
		memcpy(iov->iov_base, (unsigned char *)stackmap_rx_data(sm, first_slot(s)) + s->slot_off,
		       done);
		next_slot(s);
		s->avail = 0;
		give_credit(s, done);
		return done;
	}
	if (done) {
		if (done > want)
			done = want;
		scatter(iov, 0, s->buf + s->start, done);
		s->start += (uint32_t)done;
		if (s->start == s->end) {
			s->start = 0;
			s->end = 0;
			/* A large one was for a burst */
			if (s->cap > 16384) {
				free(s->buf);
				s->buf = NULL;
				s->cap = 0;
			}
		}
	}
	while (s->slots && done < want) {
		const struct stackmap_slot *slot = first_slot(s);
		size_t n = slot->len - s->slot_off;
		const unsigned char *from =
			(unsigned char *)stackmap_rx_data(sm, slot) + s->slot_off;

		if (n > want - done) {
			n = want - done;
			s->slot_off += (uint32_t)n;
			scatter(iov, done, from, n);
		} else {
			scatter(iov, done, from, n);
			next_slot(s);
		}
		done += n;
	}
	s->avail -= done;
	give_credit(s, done);
	return done;
}

/*
 * Where it could not be made plain, what the kernel would do now would overtake what lies here: the
 * program tries again. Returns whether *ret is the answer
 */
static bool not_plain_yet(struct port *port, bool plain, ssize_t *ret)
{
	end(port);
	if (likely(plain))
		return false;
	errno = EAGAIN;
	*ret = -1;
	return true;
}

/* The flags of recv() that make no difference here, and those that are seen to */
#define RECV_FLAGS	(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC | MSG_WAITALL | MSG_PEEK)

/* False: the kernel has to do it, with KERNEL_READ(*reads) */
bool stream_recv(int fd, struct sock **reads, const struct iovec *iov, int n, int flags, ssize_t *ret)
{
	struct sock *s = *reads;
	struct port *port;
	size_t want;
	bool plain;

	if (interrupted(ret))
		return true;
	port = begin_to(fd, s, reads);
	if (!port)
		return false;
	if (unlikely(flags & ~RECV_FLAGS)) {
		s->flags |= flags & MSG_OOB ? SOCK_NEVER : 0;
		plain = stream_make_plain(s, "recv() with flags");
		if (plain)
			*reads = kernel_reads(s);
		return not_plain_yet(port, plain, ret);
	}
	want = total(iov, n);
	/* Somebody reads again and again, and waits for nothing: time to look */
	if (unlikely(!s->avail && !(s->flags & SOCK_FIN))) {
		if (s->flags & SOCK_HUNGRY) {
			sync_now(port);
			if (!(s->flags & SOCK_ATTACHED)) {
				*reads = kernel_reads(s);
				end(port);
				return false;
			}
		}
		s->flags |= SOCK_HUNGRY;
	}
	if (likely(s->avail && want)) {
		if (want > SSIZE_MAX)
			want = SSIZE_MAX;
		*ret = (ssize_t)(flags & MSG_PEEK ? peek(s, iov, want) : consume(s, iov, want));
	} else if (s->avail || (s->flags & SOCK_FIN)) {
		*ret = 0;
	} else {
		errno = EAGAIN;
		*ret = -1;
	}
	end(port);
	return true;
}

/*
 * What is written goes with the next wait, which is soon; or it is not, and then the kernel sends
 * it when the owner stalls: but only if there was a sync shortly before
 */
static bool sync_is_old(const struct port *port)
{
	return __rdtsc() - port->synced > OLD_CYCLES;
}

/*
 * Whether TCP takes so much, so that it can wait for the next sync. Else it has to be seen: what
 * write() has returned for must not lie here when the process is killed. A socket of which TCP has nothing
 * takes a packet of GSO at least, with what is in the ring
 */
static bool is_taken_later(struct sock *s, size_t n)
{
	uint32_t unsent;
	int queued, err = errno;

	if (likely(n <= s->budget))
		return true;
	unsent = stackmap_conn_unsent(&s->conn);
	if (!s->conn.queued && unsent < BUDGET && !next()->ioctl(s->fd, SIOCOUTQ, &queued) && !queued)
		s->budget = BUDGET - unsent;
	errno = err;
	return n <= s->budget;
}

/*
 * Give so much of it to TCP, now or with the next sync. Returns how much it has taken or is going to, or -1
 * and EAGAIN, or what it has failed with
 */
static ssize_t give(struct sock *s, const struct iovec *iov, int n, size_t want)
{
	struct port *port = s->set->port;
	bool later = is_taken_later(s, want);
	size_t left;
	ssize_t done;

	/* Behind what TCP has refused nothing goes until there is room */
	if (unlikely(s->conn.first || (s->flags & SOCK_BLOCKED))) {
		if (s->flags & SOCK_HUNGRY)
			sync_now(port);
		if (!(s->flags & SOCK_ATTACHED) || s->conn.first || (s->flags & SOCK_BLOCKED)) {
			stackmap_want_writable(&s->conn);
			errno = EAGAIN;
			return -1;
		}
	}
	done = stackmap_sendv(&s->conn, iov, n);
	if (done <= 0)
		return done;
	if (likely(later)) {
		s->budget -= (size_t)done;
		return done;
	}
	s->budget = 0;
	sync_now(port);
	/* What has become plain with that has taken it, or has an error to tell */
	if (!(s->flags & SOCK_ATTACHED) || s->conn.err)
		return done;
	left = s->conn.queued < (size_t)done ? s->conn.queued : (size_t)done;
	if (!left)
		return done;
	stackmap_queue_trim_(&s->conn, (uint32_t)left);
	stackmap_want_writable(&s->conn);
	errno = EAGAIN;
	return (size_t)done == left ? -1 : done - (ssize_t)left;
}

/*
 * The program has been told that there was no room for all, and waits to hear that there is. A sync in
 * between may have told that already, when nobody had been: so it is asked for now
 */
static void blocked(struct sock *s)
{
	s->flags |= SOCK_BLOCKED | SOCK_HUNGRY;
	stackmap_want_writable(&s->conn);
}

#define SEND_FLAGS	(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE)

bool stream_send(int fd, struct sock *s, const struct iovec *iov, int n, int flags, ssize_t *ret)
{
	struct port *port;
	size_t want;
	ssize_t done;

	if (interrupted(ret))
		return true;
	port = begin(fd, s);
	if (!port)
		return false;
	if (unlikely((flags & ~SEND_FLAGS) || s->conn.err || (s->flags & SOCK_CONNECTING))) {
		s->flags |= flags & ~SEND_FLAGS ? SOCK_NEVER : 0;
		return not_plain_yet(port, stream_make_plain(s, flags & ~SEND_FLAGS ? "send() with flags" :
							     s->conn.err ? "it has failed" :
							     "send() before it is connected"), ret);
	}
	want = total(iov, n);
	if (likely(want <= s->budget && !(s->flags & SOCK_BLOCKED) &&
		   stackmap_send_at_once_(&s->conn, iov, want, port->corked == s ? STACKMAP_TX_MORE : 0))) {
		s->budget -= want;
		done = (ssize_t)want;
	} else {
		if (unlikely(port->corked == s))
			stream_is_corked(port);
		done = want ? give(s, iov, n, want) : 0;
	}
	if (unlikely(done < (ssize_t)want)) {
		if (done < 0 && (!(s->flags & SOCK_ATTACHED) || s->conn.err)) {
			/* The kernel says what is wrong, with SIGPIPE */
			stream_make_plain(s, "it has failed");
			end(port);
			return false;
		}
		blocked(s);
	}
	*ret = done;
	if (unlikely(sync_is_old(port)))
		sync_now(port);
	end(port);
	return true;
}

/* Slots that a piece of a file is read into at once */
#define FILE_SLOTS	16

/*
 * Read into the slots that come next, where all of it fits and goes with the next sync. 0 at the end of the file;
 * -1 where it cannot be so. (Or it cannot be read there: who reads it wants memory whose pages can be pinned)
 */
static ssize_t read_to_ring(struct sock *s, int in, size_t want, off_t at)
{
	struct iovec iov[FILE_SLOTS];
	ssize_t n;
	int slots;

	if (want > BUDGET || s->conn.first || (s->flags & SOCK_BLOCKED) || !is_taken_later(s, want))
		return -1;
	slots = stackmap_tx_pieces_(&s->conn, iov, FILE_SLOTS, want);
	if (!slots)
		return -1;
	n = stackmap_real_preadv(in, iov, slots, at);
	if (n > 0) {
		stackmap_tx_pieces_filled_(&s->conn, (size_t)n, s->set->port->corked == s ? STACKMAP_TX_MORE : 0);
		s->budget -= (size_t)n;
	}
	return n;
}

/* A pipe, or a device: the kernel does it. As stream_sendfile() */
static bool send_no_file(int fd, struct sock *s, ssize_t *ret)
{
	if (stream_plain(fd, s, "sendfile() of what is no file", false))
		return false;
	errno = EAGAIN;
	*ret = -1;
	return true;
}

/* A file: piece by piece, as far as there is room */
bool stream_sendfile(int fd, struct sock *s, int in, off_t *off, size_t count, ssize_t *ret)
{
	struct iovec iov;
	struct port *port;
	ssize_t n = 0, m = 0;
	size_t done = 0;
	bool full = false;
	int is_file;

	if (interrupted(ret))
		return true;
	/* A child has other descriptors, and the parent's memory */
	if (unlikely(stackmap_vforked))
		return false;
	is_file = fd_is_file(in);
	/* The kernel knows what is wrong, or what to do */
	if (unlikely(!count || is_file < 0))
		return false;
	if (unlikely(!is_file))
		return send_no_file(fd, s, ret);
	port = begin(fd, s);
	if (!port)
		return false;
	if (s->conn.err || (s->flags & SOCK_CONNECTING)) {
		stream_make_plain(s, "sendfile() when it is not connected");
		end(port);
		return false;
	}
	while (done < count && (s->flags & SOCK_ATTACHED)) {
		size_t want = count - done < FILE_PIECE ? count - done : FILE_PIECE;
		/* Where the file is now, lest what is not taken has to be read again */
		off_t at = off ? *off : lseek(in, 0, SEEK_CUR);

		n = read_to_ring(s, in, want, at);
		m = n;
		if (unlikely(n < 0)) {
			if (port->corked == s)
				stream_is_corked(port);
			if (!port->piece)
				port->piece = malloc(FILE_PIECE);
			if (!port->piece)
				return not_plain_yet(port, stream_make_plain(s, "there is no memory"), ret);
			n = stackmap_real_pread(in, port->piece, want, at);
			if (n > 0) {
				iov.iov_base = port->piece;
				iov.iov_len = (size_t)n;
				m = give(s, &iov, 1, (size_t)n);
			}
		}
		if (unlikely(n < 0 && !done && !fd_is_file_now(in))) {
			end(port);
			return send_no_file(fd, s, ret);
		}
		if (n <= 0)
			break;
		full = m < n;
		if (m < 0) {
			n = m;
			break;
		}
		done += (size_t)m;
		if (off)
			*off += m;
		else
			lseek(in, at + m, SEEK_SET);
		if (full)
			break;
	}
	if (full && (s->flags & SOCK_ATTACHED))
		blocked(s);
	*ret = done ? (ssize_t)done : n;
	if (sync_is_old(port))
		sync_now(port);
	end(port);
	return true;
}

/* close(): it is no sock of ours any more then, in any case. False: it is still to be closed */
bool stream_close(int fd, struct sock *s, int *ret)
{
	struct port *port;
	bool closed = false;

	if (unlikely(stackmap_vforked || self.busy))
		return false;
	port = sock_lock(fd, s);
	if (port == GONE)
		return false;
	if (s->flags & SOCK_ATTACHED) {
		/* The FIN is to follow at once. (The program may do something else for long) */
		if (!s->conn.err && stackmap_conn_unsent(&s->conn))
			sync_now(port);
		/* The peer is to see a reset when what it has sent was not read */
		if (s->avail)
			stream_make_plain(s, "it is closed with unread payload");
		if (s->flags & SOCK_ATTACHED) {
			*ret = stackmap_conn_close(&s->conn);
			closed = true;
		}
		s->flags = 0;
	}
	sock_free(s);
	end_any(port);
	return closed;
}

bool stream_unread(int fd, struct sock *s, int *bytes)
{
	struct port *port = self.busy ? NULL : begin(fd, s);

	if (!port)
		return false;
	*bytes = (int)s->avail;
	end(port);
	return true;
}

/* What is behind write() and not in TCP */
bool stream_unsent(int fd, struct sock *s, int *bytes)
{
	struct port *port = self.busy ? NULL : begin(fd, s);

	if (!port)
		return false;
	*bytes = (int)stackmap_conn_unsent(&s->conn);
	end(port);
	return true;
}

/* What is written is TCP's, as far as it takes it, before the caller goes on */
void stream_flush(int fd, struct sock *s)
{
	struct port *port = self.busy ? NULL : begin(fd, s);

	if (!port)
		return;
	if (unlikely(port->corked == s))
		stream_is_corked(port);
	if (stackmap_conn_unsent(&s->conn))
		sync_now(port);
	end(port);
}

/* Whether the kernel has no TCP_CORK: asked once after it was attached, or somebody else has changed it */
static bool is_uncorked(struct sock *s)
{
	int value = 1, err = errno;
	socklen_t len = sizeof(value);

	if (unlikely(s->cork == CORK_UNKNOWN)) {
		if (next()->getsockopt(s->fd, IPPROTO_TCP, TCP_CORK, &value, &len))
			value = 1;
		s->cork = value ? CORK_ON : CORK_OFF;
		errno = err;
	}
	return s->cork == CORK_OFF;
}

/*
 * TCP_CORK. What is written between this and its end is mostly one answer: a head, a file. It goes to TCP in one
 * piece in any case, with the next sync; so the kernel hears of the cork only where there is one before its end.
 * One socket at a time. False: the kernel is to do it, now
 */
bool stream_cork(int fd, struct sock *s, bool on)
{
	struct port *port;
	bool done = false;

	if (unlikely(self.busy)) {
		__atomic_store_n(&s->cork, CORK_SET, __ATOMIC_RELAXED);
		return false;
	}
	port = begin(fd, s);
	if (!port)
		return false;
	if (self.port == port && !s->conn.err && !(s->flags & (SOCK_CONNECTING | SOCK_BLOCKED))) {
		if (on && !port->corked && !stackmap_conn_unsent(&s->conn) && is_uncorked(s)) {
			port->corked = s;
			port->corked_from = port->sm->tx_cur;
			done = true;
		} else if (!on && port->corked == s) {
			port->corked = NULL;
			stackmap_tx_uncork_(&s->conn, port->corked_from);
			/* The kernel has sent it meanwhile perhaps, and keeps the end of it: it is to be told */
			done = s->cork == CORK_OFF && !sync_is_old(port);
		}
	}
	if (!done)
		s->cork = CORK_UNKNOWN;
	end(port);
	return done;
}

/* The lock of one that the kernel is to see to, or GONE: it does so already, or there is nothing to be done here */
static struct port *begin_plain(int fd, struct sock *s)
{
	return stackmap_vforked || self.busy ? GONE : sock_lock(fd, s);
}

/* With its lock held. Returns whether it is plain now */
static bool make_plain(int fd, struct sock *s, const char *why, bool never)
{
	if (unlikely(strict_on && (s->flags & SOCK_ATTACHED))) {
		trace_on = true;
		trace(fd, "would have to be plain: %s", why);
		abort();
	}
	if (never) {
		s->flags |= SOCK_NEVER;
		list_del(&s->candidate);
	}
	stream_make_plain(s, why);
	return !(s->flags & SOCK_ATTACHED);
}

/*
 * The kernel is to do it, and from now on if @never. False: it cannot yet, as TCP has no room for what was
 * written, and would be ahead of that
 */
bool stream_plain(int fd, struct sock *s, const char *why, bool never)
{
	struct port *port = begin_plain(fd, s);
	bool plain;

	if (port == GONE)
		return true;
	plain = make_plain(fd, s, why, never);
	end_any(port);
	return plain;
}

/*
 * Likewise, from now on, also of one that is not known yet. (It may become known, by another thread's poll(),
 * while we look)
 */
bool stream_never(int fd, const char *why)
{
	struct fdent *e = fd_ent(fd);

	while (e && !stackmap_vforked) {
		enum fd_kind kind = ent_kind(e);
		struct sock *s;

		switch (kind) {
		case FD_SOCK:
			s = fd_sock(fd);
			if (s)
				return stream_plain(fd, s, why, true);
			break;
		case FD_TAKEN:
			/* Of this thread's own doing, which this has interrupted */
			if (self.busy)
				return true;
			break;
		case FD_SET:
		case FD_OURS:
			return true;
		default:
			if (fd_turns(e, kind, FD_OTHER))
				return true;
		}
	}
	return true;
}

/* Likewise, as the kernel is to read from it, with KERNEL_READ(*reads) */
bool stream_plain_read(int fd, struct sock **reads, const char *why)
{
	struct sock *s = *reads;
	struct port *port = begin_plain(fd, s);
	bool plain;

	*reads = NULL;
	if (port == GONE)
		return true;
	plain = make_plain(fd, s, why, false);
	if (plain)
		*reads = kernel_reads(s);
	end_any(port);
	return plain;
}

/*
 * The kernel does it, as what was written is TCP's by then. Else it is done here, behind that: true, and *ret is
 * the answer
 */
bool stream_shutdown(int fd, struct sock *s, int how, int *ret)
{
	struct port *port = begin_plain(fd, s);
	bool plain;

	if (port == GONE)
		return false;
	plain = make_plain(fd, s, "shutdown()", true);
	if (unlikely(!plain && (how == SHUT_WR || how == SHUT_RDWR))) {
		*ret = stackmap_conn_shutdown(&s->conn);
		if (how == SHUT_RDWR)
			next()->shutdown(fd, SHUT_RD);
		end_any(port);
		return true;
	}
	end_any(port);
	return false;
}
