/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * preload.h - what the files of libstackmap-preload share
 *
 * The library stands between a program and libc's calls on sockets. A descriptor is *plain*: the
 * kernel answers for it; or *attached* to a port: then its payload goes through the port's
 * rings, and this library answers. What it cannot answer as the kernel would makes the descriptor
 * plain first (stream_make_plain()): nothing is lost by that, see stackmap_conn_detach_unread().
 *
 *   calls.c    the intercepted calls: each looks up the fd and goes on
 *   process.c  fork, exec, the beginning and the end
 *   poll.c     poll() and select(), which are waits in which a port is driven
 *   wait.c     epoll: interest, readiness, and such a wait
 *   drive.c    what these waits have in common: polling the NIC for a while, and the sleep
 *   stream.c   bytes of attached sockets; attaching, and making plain
 *   ports.c    the ports that were passed in, one for each thread that waits; what is guarded by their locks
 *   fd.c       what is known of descriptors
 *   lock.c next.c real.c trace.c   a lock, libc's calls, system calls, and why something is plain
 *
 * Each uses only those below it.
 *
 * Locks, outermost first: sets_lock guards what belongs to no port: sets nobody has waited for
 * in vain or with success, and their sockets. port->lock guards a port, its sets and their
 * sockets. A set stays with its port until that is given back, or it is closed. It is held in
 * system calls which do not wait; and in a sync that polls the NIC for a while, which
 * whoever wants the lock ends (port_lock()). No lock is held in a sleep.
 */
#ifndef STACKMAP_PRELOAD_H
#define STACKMAP_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <stackmap/stackmap.h>

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

struct pollfd;
struct timespec;

/* ------------------------------------------------------------------- lock.c */

struct lock {
	uint32_t word;		/* 0 free, 1 taken, 2 taken and wanted */
};

void lock_wait(struct lock *lock, void (*hurry)(void *), void *arg);
void lock_pass(struct lock *lock);

static inline void lock_take(struct lock *lock, void (*hurry)(void *), void *arg)
{
	uint32_t was = 0;

	if (unlikely(!__atomic_compare_exchange_n(&lock->word, &was, 1, false, __ATOMIC_ACQUIRE,
						  __ATOMIC_RELAXED)))
		lock_wait(lock, hurry, arg);
}

static inline void lock_give(struct lock *lock)
{
	if (unlikely(__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2))
		lock_pass(lock);
}

/* ------------------------------------------------------------------- lists */

struct link {
	struct link *next;
	struct link *prev;
};

static inline void list_init(struct link *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool list_empty(const struct link *head)
{
	return head->next == head;
}

static inline void list_add_tail(struct link *head, struct link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

/* Also of one that is in no list: it points to itself then */
static inline void list_del(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

/* ---------------------------------------------------------------- structures */

struct port;

/**
 * struct set - an epoll set
 * @fd: its descriptor, the kernel's: it has all that is plain. -1: port->polled, or none
 * @port: who drives it, or NULL
 * @never: it is the kernel's alone: dup()ed, nested, or two threads wait for it
 * @ours_first: in the next wait attached sockets have their turn before plain ones
 * @in_port: in port->sets
 * @socks: all that are in it or attached for it
 * @candidates: of these, plain ones that may be attached
 * @ready: attached ones that are ready, or were
 * @asked: how often the kernel was asked what is ready: that may have disarmed something. (From here on what the next one
 *	to have this memory finds as it is: who is still in a wait for this one counts without a lock)
 * @waiters: threads that are in the kernel's wait for it
 */
struct set {
	int fd;
	struct port *port;
	bool never;
	bool ours_first;
	struct link in_port;
	struct link socks;
	struct link candidates;
	struct link ready;
	struct set *next_free;
	uint32_t asked;
	uint32_t waiters;
};

/**
 * struct port - a port, and the thread that drives it
 * @lock: guards all of it
 * @sm: the library's, or NULL: nobody has it in this process
 * @fd: the descriptor that was passed in
 * @index: of it in the list that was passed in: whose byte of the lock file
 * @spin_until: in nanoseconds of the monotonic clock: no sleep before that
 * @active: something came since then
 * @plained: a socket was made plain since its thread has asked the kernel last
 * @synced: the processor's clock as it was synced
 * @sleeping: its thread waits in ppoll(), without the lock
 * @dead: its interface is gone
 * @corked: one of its sockets has TCP_CORK, and the kernel has not been told: it is with the next sync, unless that is
 *	over by then. What it writes meanwhile has STACKMAP_TX_MORE
 * @corked_from: the transmit slot that was next then
 * @piece: of a file that is sent
 * @sets: of which it is the driver
 * @polled: one of them: sockets that are in none of the program's, and attached for poll() and select(). Its port is
 *	always this one
 * @unread: sockets with payload in receive slots
 */
struct port {
	struct lock lock;
	struct stackmap_port *sm;
	int fd;
	unsigned int index;
	uint64_t spin_until;
	uint64_t synced;
	bool active;
	bool plained;
	bool sleeping;
	bool dead;
	struct sock *corked;
	uint32_t corked_from;
	unsigned char *piece;
	struct link sets;
	struct set polled;
	struct link unread;
};

/* struct sock.flags */
#define SOCK_ATTACHED	0x1	/* to set->port */
#define SOCK_IN_SET	0x2	/* EPOLL_CTL_ADD was called, and not EPOLL_CTL_DEL */
#define SOCK_FIN	0x4	/* the peer sends no more */
#define SOCK_BLOCKED	0x8	/* there is no room to write */
#define SOCK_CONNECTING	0x10
#define SOCK_EDGE	0x20	/* with EPOLLET: something is new */
#define SOCK_NEVER	0x40	/* not to be attached again */
#define SOCK_OUTSIDE	0x100	/* plain and in the set, but EPOLLONESHOT has disarmed it: the kernel's has it not */
#define SOCK_NOTED	0x200	/* for polls, by this one: the next attaches it, when reads of it have been counted */
#define SOCK_HUNGRY	0x80	/* a read has found nothing since the last wait, or a write no room */

/* What the kernel has of TCP_CORK */
enum cork {
	CORK_UNKNOWN,
	CORK_OFF,
	CORK_ON,
	CORK_SET,	/* by a signal handler, while the lock was taken: not to be touched */
};

/**
 * struct sock - a TCP socket that is or was in an epoll set
 * @conn: attached: the library's; first, as the cookie is its address
 * @set: the set, whose port's lock guards this
 * @fd: its descriptor
 * @flags: SOCK_*
 * @plains: how often it was made plain
 * @cork: enum cork
 * @asked: set->asked when the kernel's set was told of @events
 * @events: as EPOLL_CTL_ADD or MOD gave them; 0 but for flags after EPOLLONESHOT
 * @data: likewise
 * @slot: the first receive slot with payload of it that is not used up
 * @slots: how many, one behind the other
 * @slot_off: bytes of the first that are used up
 * @buf: payload of earlier batches: buf[start, end), before that of the slots
 * @avail: all of the payload, in bytes
 * @used: bytes used up since credit was given last
 * @budget: bytes that TCP takes, whatever the peer does
 * @reads: threads that are in the kernel's read of it, as it was plain: it must not be attached before they have
 *	what they were at. (From here on what the next one to have this memory finds as it is)
 */
struct sock {
	struct stackmap_conn conn;
	struct set *set;
	int fd;
	uint16_t flags;
	uint16_t plains;
	uint8_t cork;
	uint32_t asked;
	uint32_t events;
	uint64_t data;
	uint32_t slot;
	uint32_t slots;
	uint32_t slot_off;
	uint32_t start;
	uint32_t end;
	uint32_t cap;
	unsigned char *buf;
	size_t avail;
	size_t used;
	size_t budget;
	struct link in_set;
	struct link candidate;
	struct link ready;
	struct link unread;
	uint32_t reads;
	struct sock *next_free;
};

/* --------------------------------------------------------------------- fd.c */

enum fd_kind {
	FD_UNKNOWN,
	FD_OTHER,	/* nothing that can be attached: asked, or never to be */
	FD_LISTENER,	/* a TCP one */
	FD_TCP,		/* a TCP socket, in no set that we know */
	FD_TAKEN,	/* about to be FD_SOCK: ask again */
	FD_SOCK,	/* with a struct sock */
	FD_SET,		/* an epoll set */
	FD_OURS,	/* a port's: not the program's to close */
};

/**
 * struct fdent - what is known of a descriptor
 * @obj: of FD_SOCK or FD_SET
 * @kind: enum fd_kind
 * @nonblock: 0: not known, 1: no, 2: yes
 * @accepted: by accept(), so it is connected
 * @file: it is a regular file. (Else that is not known)
 * @polls: how often poll() or select() has waited for it, at most POLLS_MORE
 * @poller: the thread that did so, by struct thread.number
 */
struct fdent {
	void *obj;
	uint8_t kind;
	uint8_t nonblock;
	bool accepted;
	bool file;
	uint8_t polls;
	uint32_t poller;
};

extern struct fdent *fd_table;
extern uint32_t fd_count;

int fd_init(void);
void fd_reset(void);
bool fd_is_stream(int fd);
bool fd_is_nonblock(int fd);
int fd_is_file(int fd);
int fd_is_file_now(int fd);
void fd_gone(struct fdent *e);
void fd_set_nonblock(int fd, bool nonblock);
struct sock *sock_new(int fd, struct set *set);
void sock_free(struct sock *s);
void set_init(struct set *set, int fd);
struct set *set_new(int fd);
void set_free(struct set *set);

/* Of set_lock() and sock_lock(): it is another's number by now. No lock is held */
#define GONE	((struct port *)-1)

extern struct lock sets_lock;

static inline struct fdent *fd_ent(int fd)
{
	return likely((uint32_t)fd < fd_count) ? &fd_table[fd] : NULL;
}

static inline enum fd_kind ent_kind(const struct fdent *e)
{
	return (enum fd_kind)__atomic_load_n(&e->kind, __ATOMIC_ACQUIRE);
}

static inline enum fd_kind fd_kind(int fd)
{
	const struct fdent *e = fd_ent(fd);

	return e ? ent_kind(e) : FD_OTHER;
}

/* Others look at it without a lock, and then, with one, whether it is still true */
static inline void fd_is(struct fdent *e, enum fd_kind kind)
{
	__atomic_store_n(&e->kind, (uint8_t)kind, __ATOMIC_RELEASE);
}

/* False: another thread has found it to be something else meanwhile */
static inline bool fd_turns(struct fdent *e, enum fd_kind was, enum fd_kind kind)
{
	uint8_t expected = (uint8_t)was;

	return __atomic_compare_exchange_n(&e->kind, &expected, (uint8_t)kind, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline void ent_is_accepted(struct fdent *e, bool accepted)
{
	__atomic_store_n(&e->accepted, accepted, __ATOMIC_RELAXED);
}

/* The sock of a descriptor, or NULL. To be locked, and looked for again then: sock_lock() */
static inline struct sock *fd_sock(int fd)
{
	const struct fdent *e = fd_ent(fd);

	if (likely(!e) || ent_kind(e) != FD_SOCK)
		return NULL;
	return __atomic_load_n(&e->obj, __ATOMIC_RELAXED);
}

static inline struct set *fd_set_of(int fd)
{
	const struct fdent *e = fd_ent(fd);

	if (!e || ent_kind(e) != FD_SET)
		return NULL;
	return __atomic_load_n(&e->obj, __ATOMIC_RELAXED);
}

/* Threads in the kernel's wait count it up without a lock */
static inline uint32_t set_asked(const struct set *set)
{
	return __atomic_load_n(&set->asked, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------- real.c */

int stackmap_real_epoll_look(int epfd, struct epoll_event *ev, int max);
int stackmap_real_poll_look(struct pollfd *fds, unsigned long n);
long stackmap_real_pread(int fd, void *buf, unsigned long n, long off);
long stackmap_real_preadv(int fd, const struct iovec *iov, int n, long off);

/* ------------------------------------------------------------------- ports.c */

/**
 * struct thread - what this thread is in the middle of
 * @port: the one that it drives, or NULL
 * @busy: it has a lock: a signal handler must not want it, too
 * @tried: there was no port for it, in this second of CLOCK_MONOTONIC (and one more); or 0
 * @number: of this thread, once it has polled for a socket; or 0
 */
struct thread {
	struct port *port;
	uint32_t busy;
	uint32_t tried;
	uint32_t number;
};

extern __thread struct thread self __attribute__((tls_model("initial-exec")));

/* This is a child of vfork(), in its parent's memory. Apart, for the assembler */
extern __thread uint32_t stackmap_vforked __attribute__((tls_model("initial-exec")));

int ports_init(void);
bool ports_any(void);
struct port *port_mine(void);
void port_give_back(struct port *port);
void port_hurry(void *port);
void port_wake(struct port *port);
void ports_lock_all(void);
void ports_unlock_all(void);
void ports_each(void (*f)(struct port *port));
void ports_reset_child(void);
void ports_mark_ours(void);
struct port *sock_lock(int fd, struct sock *s);
struct port *set_lock(int fd, struct set *set);
void unlock(struct port *port);
extern uint32_t port_spin_us;

static inline void port_lock(struct port *port)
{
	self.busy++;
	lock_take(&port->lock, port_hurry, port);
}

static inline void port_unlock(struct port *port)
{
	lock_give(&port->lock);
	self.busy--;
}
extern void (*port_left)(struct port *port);

/* ------------------------------------------------------------------ stream.c */

bool stream_attach(struct sock *s);
bool stream_make_plain(struct sock *s, const char *why);
void stream_give_up(struct sock *s);
void stream_settle(struct port *port);
void stream_drain(struct port *port);
int stream_sync(struct port *port, unsigned int wait_us, int watch, unsigned int *told);
void stream_take(struct port *port);
bool stream_recv(int fd, struct sock **s, const struct iovec *iov, int n, int flags, ssize_t *ret);
bool stream_send(int fd, struct sock *s, const struct iovec *iov, int n, int flags, ssize_t *ret);
bool stream_sendfile(int fd, struct sock *s, int in, off_t *off, size_t count, ssize_t *ret);
bool stream_close(int fd, struct sock *s, int *ret);
bool stream_unread(int fd, struct sock *s, int *bytes);
bool stream_unsent(int fd, struct sock *s, int *bytes);
void stream_flush(int fd, struct sock *s);
bool stream_cork(int fd, struct sock *s, bool on);
void stream_is_corked(struct port *port);
bool stream_shutdown(int fd, struct sock *s, int how, int *ret);
bool stream_plain(int fd, struct sock *s, const char *why, bool never);
bool stream_never(int fd, const char *why);
bool stream_plain_read(int fd, struct sock **reads, const char *why);
void stream_mark(struct sock *s, uint32_t news);

/* What poll() would say of an attached socket */
static inline uint32_t stream_events(const struct sock *s)
{
	uint32_t ev = 0;

	if (s->avail || (s->flags & SOCK_FIN))
		ev |= EPOLLIN | EPOLLRDNORM;
	if (s->flags & SOCK_FIN)
		ev |= EPOLLRDHUP;
	if (!(s->flags & (SOCK_BLOCKED | SOCK_CONNECTING)))
		ev |= EPOLLOUT | EPOLLWRNORM;
	return ev;
}

/* A thread that has found it plain is in the kernel's read. With its lock held */
static inline bool stream_is_read(const struct sock *s)
{
	return __atomic_load_n(&s->reads, __ATOMIC_ACQUIRE);
}

/* Also when the thread is cancelled there */
static inline void stream_was_read(void *s)
{
	__atomic_fetch_sub(&((struct sock *)s)->reads, 1, __ATOMIC_RELEASE);
}

/* The kernel's @call reads from a plain one. @s: what stream_recv() or stream_plain_read() has told of it, or NULL */
#define KERNEL_READ(s, call) ({					\
	ssize_t ret_;						\
								\
	if (likely(!(s))) {					\
		ret_ = (call);					\
	} else {						\
		pthread_cleanup_push(stream_was_read, s);	\
		ret_ = (call);					\
		pthread_cleanup_pop(1);				\
	}							\
	ret_;							\
})

/* ------------------------------------------------------------------- drive.c */

#define DRIVE_NSEC	1000000000ull

uint64_t drive_now(void);
uint64_t drive_deadline(const struct timespec *timeout);
unsigned int drive_spin(struct port *port, uint64_t deadline);
int drive_ppoll(struct pollfd *fds, unsigned long n, uint64_t deadline, const sigset_t *mask);
int drive_sleep(struct port *port, struct pollfd *fds, unsigned long n, uint64_t deadline, const sigset_t *mask);
void drive_dead(struct port *port);
bool drive_over(const struct timespec *timeout, uint64_t *deadline);

/* -------------------------------------------------------------------- poll.c */

bool poll_poll(struct pollfd *fds, unsigned long n, const struct timespec *timeout, const sigset_t *mask, int *ret);
bool poll_select(int n, fd_set *r, fd_set *w, fd_set *e, struct timespec *timeout, const sigset_t *mask, int *ret);

/* -------------------------------------------------------------------- wait.c */

int wait_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int wait_wait(int epfd, struct epoll_event *ev, int max, const struct timespec *timeout,
	      const sigset_t *mask);
void wait_close(int fd, struct set *set);
void fd_new(int fd, enum fd_kind kind);
void wait_never(int fd, struct set *set, const char *why);
void wait_again(int fd, struct sock *s);
void wait_drop(int fd, struct sock *s);
void wait_all_plain(struct port *port, const char *why);

/* ----------------------------------------------------------------- process.c */

void process_init(void);
void process_before_exec(void);
void process_before_spawn(void);
void process_before_end(void);

/* ------------------------------------------------------------------- trace.c */

extern bool trace_on;
extern bool strict_on;
__attribute__((format(printf, 2, 3))) void trace(int fd, const char *fmt, ...);

#endif /* STACKMAP_PRELOAD_H */
