/* SPDX-License-Identifier: GPL-2.0 */
/*
 * httpd.h - what the files of stackmap-httpd share
 */
#ifndef STACKMAP_APPS_HTTPD_H
#define STACKMAP_APPS_HTTPD_H

#include <stackmap/stackmap.h>

#include <pthread.h>
#include <signal.h>
#include <sys/types.h>

#include "binary.h"

/*
 * Room a connection's send queue must have before a request is looked at, so that the header of
 * its response, or a whole error response, is certain to fit.
 */
#define REPLY_ROOM	8192
/* What a connection may have queued, so that it can be passed on */
#define QUEUED_MAX	(256u << 10)

struct parts;	/* file.c */

/**
 * struct conn - a client's connection
 * @sm: its socket and send queue. The first, so that a stackmap_conn is a conn
 * @next: in server.conns, or in the list of free ones
 * @prev: in server.conns
 * @turn: the next one of those whose send queues have room again
 * @seen: server.tick when something last came or went
 * @busy: a response is not wholly in the send queue, or the queue is full. Requests
 *	wait in @in meanwhile, stackmap_next_writable() is going to return the connection
 * @fin: the client will send no more
 * @shut: we sent our FIN and wait for the client's
 * @failed: to be closed as soon as nobody is using it
 * @file: the descriptor of where the body's rest comes from, or -1: from the prebuilt response
 * @parts: of a response of several ranges, what is to come behind @body_left; else NULL
 * @body_off: of the body's rest in @file
 * @body_left: its length
 * @ignored: bytes that came after the last request
 * @unacked: bytes which the client had not acknowledged when last asked, or -1
 * @part: what has come of a request whose end has not, @part_len bytes; it is for a process that takes over
 * @in: received while busy: bytes [in_off, in_len) of in_cap
 * @binary: the requests of --binary
 * @http: the others
 */
struct conn {
	struct stackmap_conn sm;
	struct conn *next;
	struct conn *prev;
	struct conn *turn;
	uint32_t seen;
	bool busy;
	bool fin;
	bool shut;
	bool failed;
	int file;
	struct parts *parts;
	uint64_t body_off;
	uint64_t body_left;
	uint32_t ignored;
	int unacked;
	char *part;
	uint32_t part_len;
	char *in;
	uint32_t in_off;
	uint32_t in_len;
	uint32_t in_cap;
	struct binary_conn binary;
	struct http_conn http;
};

#define QUEUES_MAX	64
#define GROUPS_MAX	256

/**
 * struct settings - the command line
 * @spin_always: never sleep
 * @queues: what --queue says, @nqueues of them
 * @has_size: it was given
 * @user: become this user, and @group, when all is open; NULL: do not
 * @uid, @gid, @groups, @ngroups: who that is
 * @binary: requests are those of binary.h
 * @descriptors: accept() each connection
 * @takeover: where another process may ask for all this one has, or NULL
 */
struct settings {
	const char *ifname;
	const char *addr;
	const char *root;
	unsigned int queues[QUEUES_MAX];
	unsigned int nqueues;
	unsigned long port;
	unsigned long size;
	bool has_size;
	bool binary;
	bool reuseport;
	const char *user;
	uid_t uid;
	gid_t gid;
	gid_t groups[GROUPS_MAX];
	int ngroups;
	unsigned long spin_us;
	bool spin_always;
	unsigned long idle_s;
	const char *takeover;
	bool descriptors;
	struct stackmap_options options;
};

/**
 * struct server - what a thread serves: one port, one listener
 * @port: the port
 * @listener: the listening socket
 * @accepting: it is attached
 * @descriptors: as in the settings
 * @crowded: it is not, as there are too many connections
 * @hurry: somebody waits for room in a send queue; the next sync must not wait for the NIC
 * @root: the directory to serve, or -1 for the prebuilt response
 * @reloads: how often that has been looked up again
 * @binary_max: with --binary, the most bytes that a request may ask for; else 0
 * @seg: most bytes to put in one transmit slot
 * @tick: counts the time, in units of tick_ms, while there are connections
 * @idle_ticks: a connection may be idle for so long, 0 for ever
 * @linger_ticks: so long after our FIN
 * @conns: the open ones
 * @nconns: how many
 * @max_conns: how many there may be
 * @in_total: sum of all in_cap and part_len
 * @requests: answered with what they asked for
 * @connections: accepted
 */
struct server {
	struct stackmap_port *port;
	int listener;
	bool accepting;
	bool descriptors;
	bool crowded;
	bool hurry;
	int root;
	int reloads;
	uint64_t binary_max;
	uint32_t seg;
	uint32_t tick;
	uint32_t tick_ms;
	uint32_t idle_ticks;
	uint32_t linger_ticks;
	struct conn *conns;
	unsigned int nconns;
	unsigned int max_conns;
	size_t in_total;
	uint64_t requests;
	uint64_t connections;
};

/* Each thread's own: nothing is shared between threads */
extern _Thread_local struct server server;

/* options.c */
int options_parse(int argc, char **argv, struct settings *set);

/* signals.c: they come to any thread, and are looked at before it sleeps */
extern volatile sig_atomic_t signals_stop;	/* all servers are to end */
extern int signals_reloads;			/* SIGHUPs so far */
void signals_init(void);
void signals_add(pthread_t thread);
void signals_wake(void);

/* To stop, or to look at --root again: it must not sleep */
static inline bool signals_told(void)
{
	return signals_stop || __atomic_load_n(&signals_reloads, __ATOMIC_RELAXED) != server.reloads;
}

/* server.c: one, in the calling thread */
int server_start(const struct settings *set, unsigned int queue);
int server_run(const struct settings *set, unsigned int queue);
void server_end(void);
/* Whether --root can be used: 0, or -1 and has said why */
int server_check(const struct settings *set);
/* Send all that can be sent now, and look at nothing that comes */
void server_flush(void);
/* Close the port alone */
void server_end_port(void);

/* announce.c */
void announce(const struct settings *set);

/* threads.c */
int threads_run(const struct settings *set);

/* user.c */
int user_find(struct settings *set);
int user_become(const struct settings *set);

/* listen.c */
int listen_on(const char *addr, unsigned int port, bool reuseport);
int listener_start(void);
void accept_all(void);
void accept_one(struct stackmap_slot *slot);
void accept_enough(void);

/* conn.c */
struct conn *conn_open(int fd, struct stackmap_slot *slot);
void conn_abort(struct conn *conn);
void conn_receive(struct conn *conn, const struct stackmap_slot *slot);
void conn_continue(struct conn *conn);
void conn_free_all(void);

/**
 * struct passed - a connection that goes to another process, beside its socket and its queued bytes
 * @body_off, @body_left: as in struct conn
 * @queued: bytes that follow, to be sent first
 * @busy, @done, @shut: the response is not wholly queued, no more requests are read, our FIN is sent
 * @file: the second descriptor is the body's
 */
struct passed {
	uint64_t body_off;
	uint64_t body_left;
	uint32_t queued;
	uint8_t busy;
	uint8_t done;
	uint8_t shut;
	uint8_t file;
};

int conn_pass(struct conn *conn, struct passed *p, void *queued, size_t size, int fds[2]);
int conn_take(const struct passed *p, const void *queued, int fds[2]);

/* takeover.c: another process goes on with ports, listeners and connections */
int takeover_ask(const struct settings *set);
int takeover_listen(const struct settings *set);
int takeover_start(void);
bool takeover_is_on(void);
int takeover_port(unsigned int queue, int *listener);
void takeover_conns(unsigned int queue);
void takeover_give(unsigned int queue);
void takeover_end(void);

/* idle.c */
void idle_tick(void);

/* reply.c: these return 1 when all is queued, 0 to go on later, -1 on failure */
int reply_init(uint64_t size);
void reply_turn(void);
int reply_send(struct conn *conn, const struct http_request *req);
int reply_bytes(struct conn *conn, const void *data, size_t len);
int reply_continue(struct conn *conn);
int reply_wait(struct conn *conn);

/* file.c: likewise */
int file_reply(struct conn *conn, const struct http_request *req);
int file_continue(struct conn *conn);
void file_end(struct conn *conn);
/* Whether server.root can be used; false with errno */
bool file_can_open(void);

#endif
