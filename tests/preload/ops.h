/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ops.h - what the tests of the preload library share: two connections alike, and what was done to each
 *
 *   same.c          main: options, TAP, the hang that is killed
 *   ops.c           operations on a side; what they gave, and whether both sides gave the same
 *   pair.c          a side's connection and set, and waiting for what is under way on it
 *   other.c         another thread
 *   process.c       programs of their own that end, or become another
 *   random.c        seeded sequences of operations
 *   random_op.c     one of these, done to one side
 *   bulk.c          large transfers, both ways
 *   case_*.c        named scenarios
 *
 * A side is a connection over 127.0.0.1 whose one end, the app, is in an epoll set, and whose other
 * end, the peer, is a blocking socket in none. The plain side's sets are the kernel's alone; the fast side's are
 * the library's, where there is one. All that is done to a side is written down, and the plain
 * side's record is what the fast side's must be.
 *
 * What may differ is in one place each:
 *   may_repeat()      a read or write that says EAGAIN: it is repeated once
 *   few_bytes()       a read that gives less than there is (only in random.c without --pump)
 *   extra_edge()      EPOLLET: told once more, of what is so (only if not --exact)
 */
#ifndef SAME_OPS_H
#define SAME_OPS_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* ------------------------------------------------------------------- results */

#define EVENTS_MAX	8

/**
 * struct result - what an operation gave
 * @what: the operation
 * @ret: what it returned; 0 for a new descriptor
 * @err: errno, if it failed
 * @pipes: how many SIGPIPE it raised
 * @events: of epoll_wait() and the like, in the order of data, which no kernel promises
 * @hash: of payload
 */
struct result {
	char what[88];
	long ret;
	int err;
	int pipes;
	int nevents;
	struct epoll_event events[EVENTS_MAX];
	uint32_t hash;
};

#define LOG_MAX		4096

/**
 * struct side - a connection, and what was done to it
 * @ep: the app's epoll set
 * @sent: by the app; all of it that has arrived is what leave() waits for
 * @peer_sent: by the peer, likewise for arrive()
 * @heard: of that by the peer, as far as case_full.c counts it
 * @fin: the app has said that it sends no more
 * @peer_fin: the peer has
 */
struct side {
	const char *name;
	bool fast;
	int app;
	int peer;
	int ep;
	uint64_t sent;
	uint64_t peer_sent;
	uint64_t heard;
	bool fin;
	bool peer_fin;
	struct result *log;
	unsigned int n;
};

/**
 * struct config - what the command line and the environment say
 * @port: there is a port, so that the fast side must be fast
 * @no_urgent: no urgent data from the peer among random operations
 * @exact: no edge more than the kernel tells
 */
extern struct config {
	bool port;
	bool exact;
	bool no_urgent;
	bool verbose;
	uint64_t seed;
	const char *self;
} config;

/* Where we are, for whoever kills a hang */
extern const char *volatile where_case;
extern const char *volatile where_side;
extern char where_op[88];

/* How many edges were told that the kernel does not tell */
extern unsigned long extra_edges;

void begin_note(struct side *s, const char *what);
long noted(struct side *s, long ret);
bool may_repeat(const struct side *s);
void seen(struct side *s, const void *data, size_t n);
void describe(const struct result *r, char *to, size_t size);
const char *differs(const struct result *fast, const struct result *plain);
bool same_logs(const struct side *fast, const struct side *plain);

/* Do it, and write down what it gave. It is an int, a ssize_t or the like */
#define NOTE(s, expr) ({								\
	begin_note(s, #expr);								\
	errno = 0;									\
	noted(s, (long)(expr));								\
})

/* A new descriptor, whose number is its own */
#define NOTE_FD(s, expr) ({								\
	long fd_;									\
	begin_note(s, #expr);								\
	errno = 0;									\
	fd_ = (long)(expr);								\
	noted(s, fd_ < 0 ? -1 : 0);							\
	(int)fd_;									\
})

/* A read or a write */
#define NOTE_IO(s, expr) ({								\
	long io_;									\
	begin_note(s, #expr);								\
	errno = 0;									\
	io_ = (long)(expr);								\
	if (io_ < 0 && errno == EAGAIN && may_repeat(s)) {				\
		errno = 0;								\
		io_ = (long)(expr);							\
	}										\
	noted(s, io_);									\
})

/* A write of the app's, or a write of the peer's */
#define NOTE_OUT(s, expr) ({								\
	long out_ = NOTE_IO(s, expr);							\
	(s)->sent += out_ > 0 ? (uint64_t)out_ : 0;					\
	out_;										\
})
#define NOTE_PEER(s, expr) ({								\
	long peer_ = NOTE(s, expr);							\
	(s)->peer_sent += peer_ > 0 ? (uint64_t)peer_ : 0;				\
	peer_;										\
})

/* A number that has to be the same */
#define NOTE_VALUE(s, what, value) ({							\
	begin_note(s, what);								\
	errno = 0;									\
	noted(s, (long)(value));							\
})

/* ----------------------------------------------------------------- connections */

#define PAIR_CONNECTED	0x1	/* the app is the one that has called connect() */
#define PAIR_V6		0x2
#define PAIR_NAGLE	0x4	/* without TCP_NODELAY */
#define PAIR_BLOCKING	0x8

int listen_on(bool v6, int backlog, struct sockaddr_storage *addr, unsigned int *len);
void pair_open(struct side *s, unsigned int flags);
void pair_close(struct side *s);
int set_new(struct side *s);
void side_open(struct side *s, bool fast, unsigned int flags);
void side_close(struct side *s);
void side_begin(struct side *s, bool fast);
bool attached(int ep, int fd);
bool must_be_fast(struct side *s, const char *when);

void arrive(struct side *s);
void leave(struct side *s);
void pump_open(void);
void pump(void);
void answered(struct side *s);

/* ------------------------------------------------------------------- operations */

#define APP_DATA	0x0123456789abcdefull

long ctl(struct side *s, int op, int fd, uint32_t events, uint64_t data);
int wait_ep(struct side *s, int ep, int max, int ms);
int wait_for(struct side *s, int max, int ms);
int wait_edge(struct side *s);
void forget_events(struct side *s);
void note_events(struct side *s, const char *what, int n, int err, const struct epoll_event *ev);
void arm(struct side *s, uint32_t events);
void peer_says(struct side *s, size_t n);
void peer_hears(struct side *s, size_t n);
void app_says(struct side *s, size_t n);
void app_hears(struct side *s, size_t n);
void peer_ends(struct side *s);
void peer_closes(struct side *s);
void peer_resets(struct side *s);
int queued(int fd);
void use(struct side *s, int fd);

void pattern(void *to, size_t n, uint64_t from, int dir);
void ms_sleep(unsigned int ms);
void us_sleep(unsigned int us);
uint64_t ms_now(void);
long raw(long nr, long a, long b, long c, long d, long e, long f);

/* --------------------------------------------------------------------- other threads */

/* In ms: enough for the other thread to be asleep */
#define SOON		30

/**
 * struct other - another thread
 * @does: what it does, after so many ms, and what that gave
 */
struct other {
	pthread_t thread;
	struct side *s;
	void (*does)(struct side *s, struct other *o);
	unsigned int after;
	int fd;
	long ret;
	int err;
	struct epoll_event ev[8];
	bool fast;
};

void other_start(struct side *s, struct other *o, void (*does)(struct side *, struct other *), unsigned int after);
void other_join(struct side *s, struct other *o, const char *what);
void o_peer_says(struct side *s, struct other *o);
void o_app_hears(struct side *s, struct other *o);
void o_app_closes(struct side *s, struct other *o);
void o_dups(struct side *s, struct other *o);

/* ------------------------------------------------------------- what there is to run */

struct scenario {
	const char *name;
	void (*run)(struct side *s);
	unsigned int flags;	/* PAIR_* */
};

extern const struct scenario driver_cases[], bytes_cases[], event_cases[], end_cases[], fd_cases[], connect_cases[],
	poll_cases[], polled_cases[], full_cases[], thread_cases[], signal_cases[], last_cases[];

bool process_all(bool (*report)(bool ok, const char *fmt, ...));
int process_helper(int argc, char **argv);
/* Random operations while the socket was in its set, and of these with the fast one attached */
extern struct share {
	unsigned int in_set;
	unsigned int fast;
} fast_share;

bool random_batch(uint64_t seed, unsigned int steps, bool pumped);
bool bulk_run(uint64_t seed, unsigned int n);

struct rng {
	uint64_t state;
};

static inline uint32_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) >> 16);
}

static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return n ? rng_next(r) % n : 0;
}

static inline bool rng_one_in(struct rng *r, uint32_t n)
{
	return !rng_below(r, n);
}

#endif /* SAME_OPS_H */
