/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stackmap.h - libstackmap: TCP over a NIC of one's own, a batch per system call
 *
 * A program opens a *port* on one queue of one network interface, makes TCP
 * sockets with socket(), accept() or connect() as ever, attaches them, and then
 * loops over:
 *
 *	stackmap_sync() or stackmap_wait()	exchange a batch with the kernel
 *	stackmap_rx_next()			look at what has come
 *	stackmap_send()				answer
 *
 * There are two ways to send. Most programs embed a struct stackmap_conn in
 * what they know about a connection and call stackmap_send(): order is kept,
 * slots which the kernel refuses are sent again later, in their place. Others
 * fill transmit slots themselves: stackmap_tx_reserve(), stackmap_tx_commit().
 *
 * One thread uses a port, and the connections on it, at a time; a program has
 * as many ports as it has threads. The library keeps no global state. Calls
 * fail with -1 or NULL and set errno. Sizes and offsets are in bytes.
 *
 * Every call may also fail with EINVAL (an argument is NULL, or no such thing)
 * and with ESTALE: the port is not this process's. After fork() it is the
 * parent's alone: in the child calls fail so, nothing is received, and
 * stackmap_close(), stackmap_conn_close() and stackmap_conn_abort() free memory
 * and close the child's descriptors, of which the parent notices nothing. The
 * same holds for connections whose port has been closed.
 *
 * Find it in the source tree with -Ilib/include, installed with pkg-config
 * libstackmap; either way it is <stackmap/stackmap.h>, and the kernel ABI,
 * which it includes, is <stackmap/uapi.h>.
 */
#ifndef STACKMAP_H
#define STACKMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/select.h>
#include <sys/types.h>
#include <sys/uio.h>

#if defined(__cplusplus) && defined(__GNUC__)
/* Structures and calls of one name, and a ring's slots, are C's right */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#endif

#include <stackmap/uapi.h>
#ifdef __cplusplus
extern "C" {
#endif

/* No buffer: what stackmap_buf_take() and stackmap_keep() return on failure */
#define STACKMAP_NO_BUF		UINT32_MAX

struct stackmap_conn;
struct stackmap_chunk;
struct stackmap_linger;
struct stackmap_bufinfo;
struct stackmap_fdinfo;

/* ----------------------------------------------------------- opening a port */

/**
 * struct stackmap_options - how to open a port; 0 anywhere for the default
 * @rx_slots: slots in the receive ring, a power of two in
 *	[STACKMAP_RING_MIN, STACKMAP_RING_MAX]; default 1024
 * @tx_slots: slots in the transmit ring, likewise
 * @extra_bufs: spare buffers: those that the program can keep received payload
 *	in, or fill on its own, at one time; default 0. The send queues use
 *	those that are left over, to save a copy
 * @pool_bufs: buffers that may wait for their acknowledgement in the kernel;
 *	default: the kernel's. With fewer than the traffic needs it copies
 * @stall_us: after so many microseconds without a sync the kernel serves the
 *	NIC by interrupts, [STACKMAP_STALL_MIN_US, STACKMAP_STALL_MAX_US];
 *	default 10000
 * @send_max: bytes that one connection may have queued and not yet given to
 *	TCP, [stackmap_frame_size(), 1 GiB]; default 65536. What is sent from a large
 *	buffer in one call is not more
 * @linger_ms: how long stackmap_conn_close() goes on trying to give what is
 *	queued to TCP, in milliseconds; default 60000
 * @large_size: bytes in a large buffer, a power of two: more than stackmap_frame_size(), and at most
 *	STACKMAP_LARGE_MAX; 0 without @large_bufs
 * @large_bufs: so many besides the others, for the NIC to receive into: what comes in large pieces
 *	is delivered in fewer slots. They come and go with receive slots, so that there should be
 *	as many as receive slots, the NIC's ring, and those the program keeps together. A module
 *	older than 0.2 has none: EINVAL
 * @reserved: must be 0, else EINVAL
 */
struct stackmap_options {
	uint32_t rx_slots;
	uint32_t tx_slots;
	uint32_t extra_bufs;
	uint32_t pool_bufs;
	uint32_t stall_us;
	uint32_t send_max;
	uint32_t linger_ms;
	uint32_t large_size;
	uint32_t large_bufs;
	uint32_t reserved[7];
};

/* A list of connections: private */
struct stackmap_conn_list {
	struct stackmap_conn *first;
	struct stackmap_conn *last;
};

/* Memory that a port sends from; private */
struct stackmap_meminfo {
	const unsigned char *addr;
	size_t len;		/* 0: there is none */
	uint32_t chunks;	/* queued pieces of it */
};

/*
 * A port. Its fields are private: they are here for the inline functions below,
 * which are called for every slot. Only the library allocates one.
 */
struct stackmap_port {
	/* receive */
	struct stackmap_slot *rx_slots;
	uint32_t rx_mask;
	uint32_t rx_cur;	/* the slot to show next */
	uint32_t rx_tail;	/* as the last sync left it */
	uint32_t fds;		/* length of gens and conns */
	uint32_t *gens;		/* by fd: the attached socket's gen, or 0 */

	/* buffers */
	unsigned char *frames;
	uint32_t *spare;	/* a stack */
	uint32_t spares;
	uint32_t frame_size;

	/* transmit */
	struct stackmap_slot *tx_slots;
	uint32_t *tx_own;	/* by slot: its buffer while buf is a KEEP one */
	uint32_t tx_mask;
	uint32_t tx_cur;	/* the slot to fill next */
	uint32_t tx_limit;	/* the first slot that must not be filled */
	uint32_t tx_sent;	/* slots [tx_sent, tx_cur) go with the next sync */

	/* connections */
	uint32_t batch;		/* number of the next sync, never 0 */
	uint32_t send_max;
	uint32_t seg_max;	/* bytes that fit in one slot */
	uint32_t ready;		/* length of writable */
	struct stackmap_conn **conns;	/* by fd */
	struct stackmap_conn_list pending;
	struct stackmap_conn_list writable;
	struct stackmap_linger *linger_first;
	struct stackmap_linger *linger_last;
	uint32_t linger_ms;
	uint32_t lingering;

	/* the rest */
	uint32_t refused_left;	/* refused slots yet to be shown */
	uint32_t refused_cur;	/* where to look for them */
	int fd;
	struct stackmap_ring *rx_ring;
	struct stackmap_ring *tx_ring;
	void *map;
	struct stackmap_register reg;

	/* what the inline functions above never look at may grow */
	struct stackmap_bufinfo *bufs;	/* by buffer: whose it is; else unusable */
	struct stackmap_fdinfo *infos;	/* by fd */
	uint32_t *kept;		/* by slot, rx then tx: batch it was kept in */
	uint32_t parked_first;	/* given back, but something refers to them */
	uint32_t parked_last;
	uint32_t parked;	/* length of that list */
	uint32_t returns;	/* STACKMAP_TX_RETURN slots in the ring */
	uint32_t returns_max;	/* how many the next sync may take */
	uint32_t control_first;	/* fds with credit to change, from 1 */
	uint32_t control_last;
	uint32_t woken;		/* by another thread; atomic */
	uint32_t wake_seen;

	/* by handle, less STACKMAP_HANDLE_MIN; as the three by fd */
	uint32_t handles;
	uint32_t *handle_gens;
	struct stackmap_conn **handle_conns;
	struct stackmap_fdinfo *handle_infos;

	struct stackmap_meminfo memory[STACKMAP_MEMORIES];	/* by what stackmap_memory_add() returned */
};

/**
 * stackmap_open() - become the owner of a queue of a network interface
 * @ifname: the interface, as "eth0"
 * @queue: its receive queue, from 0
 * @opt: options, or NULL for all defaults; not used after the call
 *
 * Return: the port, to be given to stackmap_close(), or NULL and errno:
 * ENOENT (no /dev/stackmap), EACCES, EPERM (no CAP_NET_ADMIN or no CAP_NET_RAW),
 * ENODEV (no such interface), EBUSY (the queue has an owner), EOPNOTSUPP (the
 * interface cannot be polled, or not safely), ENETDOWN, EPROTONOSUPPORT (a module of another
 * version), EINVAL (a queue or an option out of range), ENOMEM, ENOBUFS (more
 * than RLIMIT_MEMLOCK), EMFILE, ENFILE.
 * stackmap_open_hint() says what to do about each.
 */
struct stackmap_port *stackmap_open(const char *ifname, unsigned int queue,
				    const struct stackmap_options *opt);

/**
 * stackmap_open_fd() - own a port that somebody else has opened
 * @fd: its descriptor: inherited, or passed by SCM_RIGHTS. The port's from success on,
 *	and closed with it; still the caller's on failure
 * @opt: send_max and linger_ms; the rest was said as it was opened: 0, or as it was. Or NULL
 *
 * So that programs need no privileges: who has them opens the port, with
 * STACKMAP_IOC_REGISTER or stackmap_open() and without extra buffers, and passes it on. It
 * can be passed on again when its owner has closed it or has ended; with extra buffers only
 * after stackmap_hand_over(). One process at a time
 * uses it: that is for the two to agree on.
 *
 * Return: the port, or NULL and errno: ENXIO, ENOTTY or EBADF (@fd is no port), ENOTTY also
 * for a module older than 0.2; EINVAL (options that differ from what it was opened with, or
 * it has extra buffers and was not handed over), ENOMEM.
 */
struct stackmap_port *stackmap_open_fd(int fd, const struct stackmap_options *opt);

/**
 * stackmap_hand_over() - leave a port for another process to go on with
 * @port: the port, which is no more on success
 *
 * For a restart without a gap. The caller detaches all sockets before (connections with
 * stackmap_conn_unqueue() and stackmap_conn_detach_unread(), so that nothing is lost), syncs until
 * nothing is in the transmit ring, and then passes on sockets and the port, by SCM_RIGHTS; the other
 * process opens that with stackmap_open_fd(), also if it has extra buffers. Until then packets go to the
 * kernel as on any NIC. Buffers that were kept in a send are spare ones there once they are idle.
 *
 * Return: the port's descriptor, the caller's to pass on and close; or -1 and errno: EBUSY (something is
 * attached, lingers, or is in the transmit ring), ENOMEM, EINVAL, ESTALE. Nothing has changed then.
 */
int stackmap_hand_over(struct stackmap_port *port);

/**
 * stackmap_open_hint() - what a user can do about a failed stackmap_open()
 * @err: its errno
 *
 * Return: a sentence without a newline, in static storage; never NULL.
 */
const char *stackmap_open_hint(int err);

/**
 * stackmap_close() - give the queue back and free the port
 * @port: the port, or NULL; invalid afterwards, as are all of its buffers
 *
 * Sockets become ordinary ones and stay open, except those which were given to
 * stackmap_conn_close() and are lingering: these are closed. What is in the transmit
 * ring is given to TCP, and what is queued behind it is lost. Every stackmap_conn that
 * is attached must still exist, and can be freed afterwards; or closed:
 * stackmap_conn_close() closes its socket then.
 * A child that still has the descriptors (fork() without exec()) keeps the queue
 * until it has called this, too, or ends. errno is left as it was.
 */
void stackmap_close(struct stackmap_port *port);

/**
 * stackmap_fd() - the port's descriptor, for poll() and epoll
 * @port: the port, which goes on owning it
 *
 * It polls readable when a sync would deliver something. Call stackmap_idle()
 * before each wait.
 */
static inline int stackmap_fd(const struct stackmap_port *port)
{
	return port->map ? port->fd : -1;
}

/**
 * stackmap_params() - what the port was opened with, and what the kernel chose
 * @port: the port, which owns the result
 */
static inline const struct stackmap_register *
stackmap_params(const struct stackmap_port *port)
{
	return &port->reg;
}

/** stackmap_frame_size() - bytes in a buffer of the port, and the least that any has */
static inline uint32_t stackmap_frame_size(const struct stackmap_port *port)
{
	return port->frame_size;
}

/**
 * stackmap_buf_size() - bytes in one buffer
 * @port: the port
 * @buf: a buffer of it
 *
 * Return: stackmap_frame_size(), or the options' large_size.
 */
static inline uint32_t stackmap_buf_size(const struct stackmap_port *port, uint32_t buf)
{
	return port->reg.large_bufs && buf >= port->reg.large_first ? port->reg.large_size : port->frame_size;
}

/**
 * stackmap_stats() - describe a port, of this or any other process
 * @index: 0, 1, ...: number of the port in this network namespace
 * @info: filled in on success
 *
 * Return: 0, or -1 and errno: ENOENT past the last port or without
 * /dev/stackmap (with index 0 both can be), EPROTONOSUPPORT, EACCES, EMFILE,
 * ENFILE.
 */
int stackmap_stats(unsigned int index, struct stackmap_info *info);

/**
 * stackmap_detail() - the same, with what explains the counters
 * @index: as for stackmap_stats()
 * @detail: filled in on success
 *
 * Why payload was copied, slots refused, the NIC given back to its interrupts;
 * how long syncs take, how long it is from one to the next, how much they
 * deliver.
 *
 * Return: as stackmap_stats(); also ENOTTY: the module is older than that.
 */
int stackmap_detail(unsigned int index, struct stackmap_detail *detail);

/**
 * struct stackmap_counts - what the library has of a port, now
 * @connections: attached by stackmap_conn_attach(), without @lingering
 * @blocked: of both, those that TCP has no room for
 * @lingering: closed, with something left to send
 * @refused: refused slots that stackmap_next_refused() has yet to show
 * @delivered: receive slots that stackmap_rx_next() has yet to show
 * @committed: transmit slots that go with the next sync
 * @spare_bufs: spare buffers
 * @parked_bufs: given back, but not idle yet
 * @queued_bytes: in the queues of connections
 */
struct stackmap_counts {
	uint32_t connections;
	uint32_t blocked;
	uint32_t lingering;
	uint32_t refused;
	uint32_t delivered;
	uint32_t committed;
	uint32_t spare_bufs;
	uint32_t parked_bufs;
	uint64_t queued_bytes;
	uint64_t reserved[8];
};

/**
 * stackmap_counts() - what the library has of a port of this process
 * @port: the port
 * @counts: filled in on success
 *
 * It looks at each connection: not for every round.
 *
 * Return: 0, or -1 and errno: EINVAL, ESTALE (a port of the parent process).
 */
int stackmap_counts(const struct stackmap_port *port,
		    struct stackmap_counts *counts);

/* ------------------------------------------------------------------ sockets */

/**
 * stackmap_attach() - have a socket's payload and events in the rings
 * @port: the port
 * @fd: a TCP socket: listening, connecting or connected. It stays the caller's
 * @cookie: comes back as slot->data in every receive slot of the socket
 *
 * For listeners, and for those who fill transmit slots themselves; other
 * connections want stackmap_conn_attach(). Sockets must be attached by the
 * library: stackmap_rx_next() shows no slot of any other.
 *
 * Return: the socket's generation, never 0, for stackmap_tx_commit(); or 0 and
 * errno: EBADF, ENOTSOCK, EOPNOTSUPP (not TCP), EBUSY (used by kTLS, a sockmap
 * or the like), EALREADY (attached already), ENOTCONN, EINVAL, ENODEV (the
 * interface is gone), ENOMEM.
 */
uint32_t stackmap_attach(struct stackmap_port *port, int fd, uint64_t cookie);

/**
 * stackmap_attach_listener() - have the connections of a listener come in slots
 * @port: the port
 * @fd: a listener. It stays the caller's
 * @cookie: comes back as slot->data in its receive slots, and in those with STACKMAP_RX_ACCEPTED
 *
 * As stackmap_attach(), but that STACKMAP_RX_ACCEPT, after which to call accept(), comes only where
 * accept() has an error to tell that may last, or another process than the one that attached it syncs. Each
 * connection comes with a slot of its own, with STACKMAP_RX_ACCEPTED, is attached already, and has no descriptor.
 * stackmap_accept() takes it, stackmap_refuse() closes it: one of the two is to be called for each. Three system
 * calls are saved, and a file. No more of them are open on a port at one time than the process may have descriptors
 * (RLIMIT_NOFILE); the rest wait in the listener's queue.
 *
 * Return: as stackmap_attach(); and EINVAL: it does not listen, or the module is older than 0.2.
 */
uint32_t stackmap_attach_listener(struct stackmap_port *port, int fd, uint64_t cookie);

/**
 * stackmap_detach() - make a socket an ordinary one again
 * @port: the port
 * @fd: a socket attached by stackmap_attach(). It stays open
 *
 * What was not delivered can be read(). What was delivered and not yet looked
 * at is skipped: consume the receive slots first to have it. Transmit slots
 * which have not been sent are refused.
 *
 * Return: 0, or -1 and errno: EBADF (not attached here), EBUSY (attached by
 * stackmap_conn_attach()), ENODEV.
 */
int stackmap_detach(struct stackmap_port *port, int fd);

/**
 * stackmap_steer() - have each connection accepted where its packets arrive
 * @listener: one of the listeners
 * @queues: for each listener the queue of the port it is attached to
 * @n: how many, at most 2047
 *
 * For a program with several ports on one interface: it makes a listener for
 * each, all with SO_REUSEPORT and on the same address, and calls listen() in
 * the order of @queues. From this call on, a connection is accepted from the
 * i-th of them if it arrives on queue queues[i], and from any of them if it
 * arrives elsewhere. When a listener is closed, the last takes its place.
 *
 * Return: 0, or -1 and errno: EINVAL (no SO_REUSEPORT, or @n out of range),
 * EBADF, ENOTSOCK, ENOMEM.
 */
int stackmap_steer(int listener, const unsigned int *queues, unsigned int n);

/**
 * stackmap_forget() - show no more receive slots of a socket
 * @port: the port
 * @fd: a socket attached by stackmap_attach()
 *
 * To be called before close(@fd), or else slots which were delivered earlier
 * are still shown, although the descriptor is gone.
 */
void stackmap_forget(struct stackmap_port *port, int fd);

/* ------------------------------------------------------------------ syncing */

/**
 * stackmap_sync() - exchange a batch with the kernel, both ways
 * @port: the port
 * @wait_us: when there is nothing to deliver, keep polling the NIC for up to so
 *	many microseconds, at most 1000000; 0 to return at once
 *
 * Sends what has been committed, delivers what has come, and returns to the
 * kernel the receive slots which stackmap_rx_next() has shown: their payload is
 * gone after this, except in kept buffers.
 *
 * Return: how much there is to look at: receive slots, connections for
 * stackmap_next_writable() and slots for stackmap_next_refused(). Or -1 and errno: EINTR (a signal; nothing was
 * exchanged and nothing is lost), ENODEV (the interface is gone: what was committed was given
 * to TCP, and nothing is delivered any more; connections that are detached go on), EINVAL.
 */
int stackmap_sync(struct stackmap_port *port, unsigned int wait_us);

/**
 * stackmap_sync_watch() - as stackmap_sync(), with an eye on another descriptor
 * @port: the port
 * @wait_us: as above; the wait ends also when @fd is ready
 * @fd: an epoll set, an eventfd or anything else that can be polled; or -1
 * @told: set to STACKMAP_TOLD_*: STACKMAP_TOLD_WATCH when poll() would find POLLIN, POLLERR or
 *	POLLHUP at @fd, STACKMAP_TOLD_SIGNAL when a signal has cut the wait short
 *
 * For loops that have sockets on the port and other descriptors in an epoll set: one
 * call looks at both. With @fd -1 it is stackmap_sync() that tells of signals, if the module
 * is not older than 0.2.
 *
 * Return: as stackmap_sync(); and EBADF: @fd is no descriptor. EINVAL: the module is older
 * than 0.2, and cannot watch.
 */
int stackmap_sync_watch(struct stackmap_port *port, unsigned int wait_us, int fd,
			unsigned int *told);

/**
 * stackmap_idle() - sync, and prepare to sleep if there is nothing to do
 * @port: the port
 *
 * For programs with an event loop of their own: when this returns 0, the NIC
 * has its interrupts on and the program may wait until stackmap_fd() polls
 * readable; then it calls stackmap_sync(). stackmap_wait() does all of that.
 *
 * Return: as stackmap_sync(); the program may wait only after 0.
 */
int stackmap_idle(struct stackmap_port *port);

/**
 * stackmap_wait() - sync, and sleep until there is something to look at
 * @port: the port
 * @timeout_ms: sleep at most so many milliseconds; 0 not at all, -1 without end
 *
 * Return: as stackmap_sync(), and 0 when the time has passed or after
 * stackmap_wake(). A signal handler that ran meanwhile ends the sleep with -1
 * and EINTR, as in poll(), so that a loop can look at its flags; nothing is
 * lost, call it again. A signal that comes just before the sleep does not end
 * it: stackmap_pwait().
 */
int stackmap_wait(struct stackmap_port *port, int timeout_ms);

/**
 * stackmap_pwait() - as stackmap_wait(), with other signals let in meanwhile
 * @port: the port
 * @timeout_ms: as above
 * @sigmask: the signal mask while it sleeps, as in ppoll(); NULL: as it is
 *
 * For programs which block signals everywhere else, so that none comes between
 * looking at a flag and the sleep. Signals that @sigmask lets in are handled in
 * every call, also when there is something to look at: that is returned then.
 *
 * Return: as stackmap_wait().
 */
int stackmap_pwait(struct stackmap_port *port, int timeout_ms,
		   const sigset_t *sigmask);

/**
 * stackmap_wake() - end a wait, from any thread
 * @port: the port, which is not being closed
 *
 * The stackmap_wait() or stackmap_pwait() that sleeps now, or else the next
 * one, does not (go on to) sleep, and returns 0 if there is nothing to look at. A
 * stackmap_sync() that waits for the NIC ends its wait, too. stackmap_fd() polls
 * readable until the next sync.
 *
 * Return: 0, or -1 and errno.
 */
int stackmap_wake(struct stackmap_port *port);

/* ------------------------------------------------------------------ buffers */

/**
 * stackmap_buf() - where a buffer is
 * @port: the port
 * @buf: its number
 *
 * Return: its first byte, of stackmap_buf_size().
 */
static inline void *stackmap_buf(const struct stackmap_port *port, uint32_t buf)
{
	return port->frames + (size_t)buf * port->frame_size;
}

/**
 * stackmap_buf_take() - take a spare buffer, to fill it or to keep things in it
 * @port: the port
 *
 * Return: its number; it is the caller's until stackmap_buf_give(), a
 * stackmap_send_buf() or stackmap_tx_commit_buf() that takes it. Or
 * STACKMAP_NO_BUF and ENOBUFS when none is left.
 */
uint32_t stackmap_buf_take(struct stackmap_port *port);

/**
 * stackmap_buf_give() - give a taken or kept buffer back
 * @port: the port
 * @buf: a buffer of the caller's, which must not look at it any more
 *
 * One that was sent with STACKMAP_TX_KEEP may still be queued, or not be
 * acknowledged by the peer. That is the library's and the kernel's business: it
 * is not used again before it is idle. In exchange a later sync makes another
 * one spare, the next as a rule.
 *
 * Return: 0, or -1 and EINVAL: it is not the caller's, or there is no such.
 */
int stackmap_buf_give(struct stackmap_port *port, uint32_t buf);

/** stackmap_buf_spares() - how many buffers can be taken or kept now */
static inline uint32_t stackmap_buf_spares(const struct stackmap_port *port)
{
	return port->spares;
}

/**
 * stackmap_keep() - keep the buffer of a slot, with the payload in it
 * @port: the port
 * @slot: a slot from stackmap_rx_next() or stackmap_next_refused()
 *
 * A spare buffer takes its place in the slot, so slot->buf changes and the
 * payload is no longer reachable through the slot; off and len stay.
 *
 * Return: the buffer, the caller's as after stackmap_buf_take(), or
 * STACKMAP_NO_BUF and errno: ENOBUFS (no spare one is left: copy, then), EINVAL
 * (not such a slot, or it was kept before, or the buffer was given back since).
 */
uint32_t stackmap_keep(struct stackmap_port *port, struct stackmap_slot *slot);

/* ------------------------------------------------------------------ receive */

/* Private: sees events, and slots of sockets that are not attached any more.
 * Returns whether to show the slot. */
bool stackmap_rx_event_(struct stackmap_port *port,
			const struct stackmap_slot *slot);

/**
 * stackmap_rx_next() - the next receive slot
 * @port: the port
 *
 * Slots come in the order of the ring. A slot says in flags what it is:
 * STACKMAP_RX_DATA with payload, or events. Those of sockets which have been
 * detached, forgotten or closed through the library are skipped, also when they
 * came in this batch. The library looks at STACKMAP_RX_ROOM, _ERROR and _ACKED
 * here, before the caller does.
 *
 * Return: a slot, valid until the next sync, or NULL when there are no more.
 * The caller may stop anywhere: the rest is shown after the next sync.
 */
static inline struct stackmap_slot *stackmap_rx_next(struct stackmap_port *port)
{
	while (port->rx_cur != port->rx_tail) {
		struct stackmap_slot *slot = &port->rx_slots[port->rx_cur];

		port->rx_cur = (port->rx_cur + 1) & port->rx_mask;
		if (__builtin_expect(slot->flags & STACKMAP_RX_DATA, 1)) {
			uint32_t i = (uint32_t)slot->fd;

			if (i < port->fds && port->gens[i] == slot->gen)
				return slot;
			i -= STACKMAP_HANDLE_MIN;
			if (i < port->handles && port->handle_gens[i] == slot->gen) {
				slot->data = (uintptr_t)port->handle_conns[i];
				return slot;
			}
		}
		if (stackmap_rx_event_(port, slot))
			return slot;
	}
	return NULL;
}

/**
 * stackmap_rx_data() - the payload of a receive slot: slot->len bytes
 * @port: the port
 * @slot: a slot whose buffer has not been kept
 *
 * Return: its first byte, valid until the next sync. It may be written to.
 */
static inline void *stackmap_rx_data(const struct stackmap_port *port,
				     const struct stackmap_slot *slot)
{
	return (unsigned char *)stackmap_buf(port, slot->buf) + slot->off;
}

/**
 * stackmap_rx_conn() - the connection that a receive slot belongs to
 * @slot: a slot of a socket that stackmap_conn_attach() attached
 *
 * Return: its struct stackmap_conn. It is the cookie, and not looked at: a
 * listener attached with cookie 0 yields NULL here, whatever happens to it. With
 * other cookies use stackmap_slot_conn().
 */
static inline struct stackmap_conn *
stackmap_rx_conn(const struct stackmap_slot *slot)
{
	return (struct stackmap_conn *)(uintptr_t)slot->data;
}

/**
 * stackmap_slot_conn() - the connection that a slot belongs to, if any
 * @port: the port
 * @slot: any slot
 *
 * Return: the struct stackmap_conn that is attached, or NULL: it is of another
 * socket, such as a listener, or of one that is closed.
 */
struct stackmap_conn *stackmap_slot_conn(const struct stackmap_port *port,
					 const struct stackmap_slot *slot);

/* ----------------------------------------------------- transmit, slot by slot */

/**
 * stackmap_tx_room() - how many transmit slots are free until the next sync
 * @port: the port
 */
static inline uint32_t stackmap_tx_room(const struct stackmap_port *port)
{
	return (port->tx_limit - port->tx_cur) & port->tx_mask;
}

/**
 * stackmap_tx_reserve() - the next free transmit slot
 * @port: the port
 *
 * The caller writes its payload to stackmap_buf(port, slot->buf), which is the
 * slot's own buffer, and commits it. Until then every call returns the same
 * slot, so that nothing need be undone.
 *
 * Return: the slot, or NULL when the ring is full: sync first.
 */
static inline struct stackmap_slot *
stackmap_tx_reserve(struct stackmap_port *port)
{
	uint32_t i = port->tx_cur;

	if (i == port->tx_limit)
		return NULL;
	if (port->tx_own[i] != STACKMAP_NO_BUF) {
		port->tx_slots[i].buf = port->tx_own[i];
		port->tx_own[i] = STACKMAP_NO_BUF;
	}
	return &port->tx_slots[i];
}

/**
 * stackmap_tx_commit() - send what lies in the reserved slot's own buffer
 * @port: the port; stackmap_tx_reserve() has just returned a slot
 * @fd: an attached socket, without a stackmap_conn
 * @off: first byte in the buffer
 * @len: number of bytes; off + len <= stackmap_buf_size() of it. 0 for the requests
 *	without payload, STACKMAP_TX_ACKED and STACKMAP_TX_CREDIT
 * @flags: STACKMAP_TX_MORE, STACKMAP_TX_ACKED, both or 0; or STACKMAP_TX_CREDIT,
 *	with the number in slot->data
 * @gen: what stackmap_attach() returned, or 0 not to have it compared
 *
 * What is wrong with the fields the kernel refuses, as far as they fit in them.
 * The buffer is the kernel's from now on, unless the slot is refused.
 *
 * Return: 0, or -1 when the ring is full (nothing was reserved) or a number does
 * not fit in its field. Nothing is sent then, and errno is left as it was.
 */
static inline int stackmap_tx_commit(struct stackmap_port *port, int fd,
				     uint32_t off, uint32_t len,
				     uint32_t flags, uint32_t gen)
{
	struct stackmap_slot *slot = stackmap_tx_reserve(port);

	if (!slot || ((off | len | flags) & ~(uint32_t)UINT16_MAX) ||
	    (flags & (STACKMAP_TX_KEEP | STACKMAP_TX_RETURN | STACKMAP_TX_MEMORY)))
		return -1;
	slot->fd = fd;
	slot->off = (uint16_t)off;
	slot->len = (uint16_t)len;
	slot->flags = (uint16_t)flags;
	slot->err = 0;
	slot->gen = gen;
	slot->taken = 0;
	port->tx_cur = (port->tx_cur + 1) & port->tx_mask;
	/* From here on it is sent, whatever becomes of this process */
	__atomic_store_n(&port->tx_ring->head, port->tx_cur, __ATOMIC_RELEASE);
	return 0;
}

/**
 * stackmap_tx_commit_buf() - send another buffer than the reserved slot's own
 * @port: as above, and so on
 * @fd: an attached socket, without a stackmap_conn
 * @buf: a buffer of the caller's: taken or kept
 * @off: first byte in it
 * @len: number of bytes, at least 1
 * @flags: with STACKMAP_TX_KEEP the buffer stays the caller's, and the bytes
 *	must not change until the peer has acknowledged them. Without, it is the
 *	slot's from now on, and the slot's own buffer becomes a spare one (if
 *	it was sent with STACKMAP_TX_KEEP before, it is as if it were so now,
 *	and given back after that)
 * @gen: as above
 *
 * Return: 0, or -1 and errno: EINVAL (not the caller's buffer, or out of range),
 * ENOBUFS (the ring is full). The buffer is the caller's then.
 */
int stackmap_tx_commit_buf(struct stackmap_port *port, int fd, uint32_t buf,
			   uint32_t off, uint32_t len, uint32_t flags,
			   uint32_t gen);

/**
 * stackmap_next_refused() - the next slot that the last sync did not send
 * @port: the port
 *
 * In order; slots of stackmap_conn connections are not shown, their queues have
 * them, nor are slots with a negative fd. slot->err tells why and off and len
 * what is left. Nothing but a later commit sends it: of a copy, or of the buffer
 * after stackmap_keep() (with STACKMAP_TX_KEEP it is the caller's anyway).
 * Refused slots that were not asked for are gone at the next sync.
 *
 * Return: a slot, valid until the next call, or NULL when there are no more.
 * Until NULL was returned fewer slots can be reserved.
 */
struct stackmap_slot *stackmap_next_refused(struct stackmap_port *port);

/* -------------------------------------------- transmit, through a connection */

/**
 * struct stackmap_conn - a connection with a send queue
 *
 * For the program to embed; its fields are private. It must stay where it is
 * while it is attached, as its address is the cookie in receive slots.
 */
struct stackmap_conn {
	struct stackmap_port *port;
	struct stackmap_conn *next;	/* in port->pending or ->writable */
	struct stackmap_conn *prev;
	struct stackmap_chunk *first;	/* what is queued, in order */
	struct stackmap_chunk *last;
	int32_t fd;
	uint32_t gen;
	uint32_t queued;		/* bytes in it */
	uint32_t in_ring;		/* bytes in the ring, if batch is now */
	uint32_t batch;
	uint16_t err;
	uint16_t state;
};

/**
 * stackmap_conn_attach() - attach a socket and give it a send queue
 * @conn: the caller's, not attached; initialised here
 * @port: the port
 * @fd: a TCP socket, connecting or connected. On success it belongs to @conn
 *
 * Return: 0, or -1 and errno as stackmap_attach(); the socket is the caller's
 * then.
 */
int stackmap_conn_attach(struct stackmap_conn *conn, struct stackmap_port *port,
			 int fd);

/**
 * stackmap_rx_accepted() - what is told of a new connection: its peer, and its listener
 * @port: the port
 * @slot: a slot with STACKMAP_RX_ACCEPTED
 *
 * Return: valid until the next sync; NULL where the kernel had no buffer left for it.
 */
static inline const struct stackmap_accepted *
stackmap_rx_accepted(const struct stackmap_port *port, const struct stackmap_slot *slot)
{
	return slot->len < sizeof(struct stackmap_accepted) ? NULL :
	       (const struct stackmap_accepted *)stackmap_rx_data(port, slot);
}

/**
 * stackmap_accept() - take a new connection
 * @conn: the caller's, not attached; initialised here
 * @port: the port
 * @slot: a slot with STACKMAP_RX_ACCEPTED, just shown. What has come of it is shown after it
 *
 * No system call is made. The slot tells of nothing any more.
 *
 * Return: 0, or -1 and errno: EINVAL (not such a slot, or it was taken or refused before).
 */
int stackmap_accept(struct stackmap_conn *conn, struct stackmap_port *port,
		    struct stackmap_slot *slot);

/**
 * stackmap_refuse() - close a new connection, with a reset
 * @port: the port
 * @slot: as for stackmap_accept()
 *
 * Return: as stackmap_accept().
 */
int stackmap_refuse(struct stackmap_port *port, struct stackmap_slot *slot);

/**
 * stackmap_conn_adopt() - attach a socket and give up its descriptor
 * @conn: the caller's, not attached; initialised here
 * @port: the port
 * @fd: a TCP socket, connecting or connected. On success it is closed; the connection goes on
 *
 * As stackmap_conn_attach() otherwise. For connections to others, to have no descriptors for them.
 *
 * Return: as stackmap_conn_attach(); and EMFILE: no handle is left; EINVAL: also a module older than 0.2.
 */
int stackmap_conn_adopt(struct stackmap_conn *conn, struct stackmap_port *port, int fd);

/**
 * stackmap_conn_detach() - take the socket back
 * @conn: a connection whose queue is empty; the caller may free it afterwards
 *
 * As stackmap_detach().
 *
 * Return: the socket, the caller's again, or -1 and errno: EBUSY (something is
 * queued or in the ring), ENODEV, EBADF (closed or detached before).
 */
int stackmap_conn_detach(struct stackmap_conn *conn);

/**
 * stackmap_conn_detach_unread() - take the socket back with what was not used of its payload
 * @conn: a connection whose queue is empty; the caller may free it afterwards
 * @data: a copy of the payload that stackmap_rx_next() has shown last and that the caller
 *	has not used, in order; it may point into a receive slot
 * @len: bytes of that
 *
 * As stackmap_conn_detach(), but for whoever reads from the socket next @data comes first, then
 * what was delivered and not shown, which is given back by itself, then what was not
 * delivered, and then the FIN or the error that has ended it, also if it was shown. Slots of
 * it are shown no more.
 *
 * Return: the socket, the caller's again, or -1 and errno, and it is attached as before:
 * EBUSY, ENODEV, EBADF as above; EINVAL (it has not delivered so much, or the module is
 * older than 0.2), EMSGSIZE (more than STACKMAP_UNREAD_MAX), EPERM (a socket of another
 * network namespace than the port's), ENOMEM, EINTR.
 */
int stackmap_conn_detach_unread(struct stackmap_conn *conn, const void *data,
				size_t len);

/**
 * stackmap_conn_unqueue() - take back what a connection has not given to TCP yet
 * @conn: the connection
 * @to: where to copy it, in order
 * @size: bytes there
 *
 * Then it can be detached. Marks of stackmap_conn_tell_acked() in the queue are forgotten.
 *
 * Return: how many bytes, or -1 and errno: EBUSY (some of it is in the transmit ring: sync first),
 * EMSGSIZE (it is more), EBADF, ESTALE. Nothing has changed then.
 */
ssize_t stackmap_conn_unqueue(struct stackmap_conn *conn, void *to, size_t size);

/**
 * stackmap_conn_close() - close a connection after what is queued was sent
 * @conn: the connection; the caller may free it afterwards, at once and also on
 *	failure
 *
 * Nothing more is received. The socket is closed here, or by the sync that
 * gives the last queued byte to TCP, or by the first one after
 * stackmap_options.linger_ms. Buffers that were sent with STACKMAP_TX_KEEP can
 * be given back before or after.
 *
 * Return: 0, or -1 and ENOMEM: it was closed, but what was queued is lost; or
 * EBADF: closed or detached before, or its descriptor was closed by close() and
 * is somebody else's now. Nothing is done then.
 */
int stackmap_conn_close(struct stackmap_conn *conn);

/**
 * stackmap_conn_abort() - close a connection now; what is queued is lost
 * @conn: the connection; the caller may free it afterwards
 *
 * The peer sees a FIN, or a reset if it set SO_LINGER to 0 or if payload has
 * come that was not delivered, as after close(). Nothing is done if it was closed
 * before.
 */
void stackmap_conn_abort(struct stackmap_conn *conn);

/**
 * stackmap_conn_shutdown() - send nothing more: a FIN behind what is queued
 * @conn: the connection; it goes on receiving
 *
 * As shutdown(SHUT_WR), by the sync that gives the last queued byte to TCP, or
 * at once if there is none. stackmap_send() fails with EPIPE from now on.
 *
 * Return: 0, or -1 and errno: EBADF (closed or detached before), or what the
 * connection failed with.
 */
int stackmap_conn_shutdown(struct stackmap_conn *conn);

/**
 * stackmap_conn_pause() - deliver no more payload of it for now
 * @conn: the connection
 *
 * From the next sync that has room for it. What comes stays in the socket, whose
 * window closes; STACKMAP_RX_FIN, and _ERROR if it ends the connection, wait behind
 * it. Sending goes on.
 *
 * Return: 0, or -1 and errno: EBADF (closed or detached before).
 */
int stackmap_conn_pause(struct stackmap_conn *conn);

/**
 * stackmap_conn_resume() - deliver payload without bound, as after attaching
 * @conn: the connection
 *
 * Return: as stackmap_conn_pause().
 */
int stackmap_conn_resume(struct stackmap_conn *conn);

/**
 * stackmap_conn_credit() - have so many more bytes delivered than now
 * @conn: the connection; paused at first, or else there is no bound to add to
 * @bytes: how many
 *
 * Return: as stackmap_conn_pause().
 */
int stackmap_conn_credit(struct stackmap_conn *conn, uint64_t bytes);

/**
 * stackmap_conn_acked() - how many bytes the peer has acknowledged
 * @conn: the connection
 *
 * As told by the last STACKMAP_RX_ACKED event that stackmap_rx_next() came by.
 *
 * Return: bytes since it was attached (or connected, if that was later). Exact as
 * long as fewer than 4 GiB are acknowledged between two such events.
 */
uint64_t stackmap_conn_acked(const struct stackmap_conn *conn);

/**
 * stackmap_conn_tell_acked() - ask to hear when all of it is acknowledged
 * @conn: the connection
 *
 * When the peer has acknowledged everything that was accepted until now, the
 * connection gets a receive slot with STACKMAP_RX_ACKED. If this is called
 * several times, there is one after the last, and possibly others before. It can
 * be asked after stackmap_conn_shutdown(), too.
 *
 * Return: 0, or -1 and errno: ENOMEM, EBADF (closed or detached before), or what
 * the connection failed with.
 */
int stackmap_conn_tell_acked(struct stackmap_conn *conn);

/* Private: the descriptor of one that has come without, made if there is none yet */
int stackmap_conn_fd_(const struct stackmap_conn *conn);

/**
 * stackmap_conn_fd() - its socket, for getpeername(), setsockopt() and so on
 * @conn: the connection
 *
 * For one of stackmap_accept() or stackmap_conn_adopt() a descriptor is made, close-on-exec, by the first call.
 * It is the connection's, as that of stackmap_conn_attach() is: closed with it, and the caller's after
 * stackmap_conn_detach().
 *
 * Return: the descriptor; or -1 and errno, if it has to be made: EMFILE, ENFILE, ENOMEM, EBADF.
 */
static inline int stackmap_conn_fd(const struct stackmap_conn *conn)
{
	return conn->fd < STACKMAP_HANDLE_MIN ? conn->fd : stackmap_conn_fd_(conn);
}

/**
 * stackmap_conn_error() - the errno that it failed with, or 0
 * @conn: the connection
 *
 * With IP_RECVERR set an ICMP error is one that it failed with, too. A connect()
 * that finishes later ends that.
 */
static inline int stackmap_conn_error(const struct stackmap_conn *conn)
{
	return conn->err;
}

/**
 * stackmap_conn_unsent() - bytes accepted from the caller and not given to TCP
 * @conn: the connection
 */
static inline uint32_t stackmap_conn_unsent(const struct stackmap_conn *conn)
{
	return conn->queued +
	       (conn->batch == conn->port->batch ? conn->in_ring : 0);
}

/**
 * stackmap_conn_room() - bytes that stackmap_send() would accept now
 * @conn: the connection
 *
 * At most stackmap_options.send_max, less what is unsent. A program that sends
 * more than fits (a file) sends what there is room for, and goes on when
 * stackmap_next_writable() returns the connection.
 */
static inline uint32_t stackmap_conn_room(const struct stackmap_conn *conn)
{
	uint32_t unsent = stackmap_conn_unsent(conn);

	return unsent < conn->port->send_max ? conn->port->send_max - unsent : 0;
}

/**
 * stackmap_send() - send a copy
 * @conn: the connection
 * @data: the bytes
 * @len: how many
 *
 * They are copied into transmit buffers, or when the ring is full or the
 * socket had no room, into the connection's queue (spare buffers as long as
 * there are any, ordinary memory then). They leave with a later sync.
 *
 * Return: bytes accepted. Fewer than @len if there was no room for more: then
 * the connection is going to be writable, see stackmap_next_writable(). Or -1
 * and errno: EAGAIN (no room at all; likewise), ENOMEM, or what the connection
 * failed with: EPIPE, ECONNRESET, ETIMEDOUT, ...
 */
ssize_t stackmap_send(struct stackmap_conn *conn, const void *data, size_t len);

/**
 * stackmap_sendv() - send copies of several pieces, one behind the other
 * @conn: the connection
 * @iov: the pieces
 * @n: how many
 *
 * As one stackmap_send() of all of it: small pieces share a transmit buffer.
 *
 * Return: as stackmap_send(), and EINVAL: @n is negative, or the sum too large.
 */
ssize_t stackmap_sendv(struct stackmap_conn *conn, const struct iovec *iov, int n);

/**
 * stackmap_send_buf() - send from a buffer, without a copy
 * @conn: the connection
 * @buf: a buffer of the caller's: taken or kept
 * @off: first byte in it
 * @len: number of bytes, at least 1
 * @flags: STACKMAP_TX_KEEP: the buffer stays the caller's, who does not change
 *	these bytes before the peer has acknowledged them, or has given it back
 *	(stackmap_buf_give()); without, it is the library's after success.
 *	STACKMAP_TX_MORE: more of the message follows. STACKMAP_TX_ACKED: as
 *	stackmap_conn_tell_acked() after it
 *
 * All or nothing.
 *
 * Return: 0, or -1 and errno as stackmap_send(), and EINVAL (out of range, or not
 * the caller's buffer). The buffer is the caller's then.
 */
int stackmap_send_buf(struct stackmap_conn *conn, uint32_t buf, uint32_t off,
		      uint32_t len, unsigned int flags);

/**
 * stackmap_memory_add() - have the port send from memory of the program
 * @port: the port
 * @addr: where it begins. It has to be writable, and no file but of MAP_PRIVATE
 * @len: bytes, at most STACKMAP_MEMORY_MAX
 *
 * For what is too large for the port's buffers, or lies elsewhere anyway: a cache, a heap, bodies of
 * responses. Its pages are pinned, until it is removed or the port closed. Large pages are sent in larger pieces than
 * small ones: MAP_HUGETLB, or madvise(MADV_HUGEPAGE) before it is first written to, at a multiple of 2 MB. Registering
 * is no small matter: once, not for each response.
 *
 * Return: a number for it in [0, STACKMAP_MEMORIES), or -1 and errno: EINVAL, EFAULT (it is not all there, or
 * cannot be pinned), ENOBUFS (RLIMIT_MEMLOCK), ENOSPC (the port has STACKMAP_MEMORIES), ENOMEM, EINTR, ENOTTY (a
 * module older than 0.2).
 */
int stackmap_memory_add(struct stackmap_port *port, const void *addr, size_t len);

/**
 * stackmap_memory_remove() - the opposite
 * @port: the port
 * @memory: what stackmap_memory_add() returned
 *
 * What was sent of it is on its way as it was: the memory can be unmapped at once.
 *
 * Return: 0, or -1 and errno: EBADF (there is none), EBUSY (some of it is queued, or waits for a sync).
 */
int stackmap_memory_remove(struct stackmap_port *port, int memory);

/**
 * stackmap_send_memory() - send from memory that was added, without a copy
 * @conn: the connection
 * @memory: what stackmap_memory_add() of its port has returned
 * @off: first byte in it
 * @len: number of bytes, at least 1, at most 2^30
 * @flags: STACKMAP_TX_MORE, STACKMAP_TX_ACKED: as for stackmap_send_buf()
 *
 * The bytes must not change before the peer has acknowledged them: STACKMAP_TX_ACKED tells. All or nothing: as it
 * takes no buffer, one call may take more than stackmap_conn_room(), as long as there is any.
 *
 * Return: 0, or -1 and errno as stackmap_send(), and EINVAL (out of range, or no such memory).
 */
int stackmap_send_memory(struct stackmap_conn *conn, int memory, size_t off, size_t len,
			 unsigned int flags);

/**
 * stackmap_want_writable() - ask to hear when there is room
 * @conn: the connection
 *
 * stackmap_send() and stackmap_send_buf() ask by themselves when they accept
 * less than they were given. This is for callers which looked at
 * stackmap_conn_room() first.
 */
void stackmap_want_writable(struct stackmap_conn *conn);

/**
 * stackmap_next_writable() - the next connection that can go on sending
 * @port: the port
 *
 * Once for each time that it was asked for: when the socket takes more again and
 * no more than half of send_max is unsent. A connection that failed is shown
 * once in any case; stackmap_conn_error() and the next stackmap_send() tell how
 * it did. No system call is made.
 *
 * Return: a connection, or NULL when there are no more for now.
 */
struct stackmap_conn *stackmap_next_writable(struct stackmap_port *port);

/**
 * stackmap_lingering() - connections closed but not yet rid of their queues
 * @port: the port
 */
static inline uint32_t stackmap_lingering(const struct stackmap_port *port)
{
	return port->lingering;
}

#ifdef __cplusplus
}
#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif
#endif

#endif /* STACKMAP_H */
