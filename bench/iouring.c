// SPDX-License-Identifier: GPL-2.0
/*
 * iouring.c - bench-iouring: the HTTP server an expert would write with io_uring, to compare with.
 *
 * One thread, one ring, and in steady state one io_uring_enter() per batch of requests: it submits
 * the responses to the last batch and waits for the next. What makes that so:
 *
 *  - Multishot accept into direct descriptors (no file table, no reference counts per operation)
 *    and multishot recv into a ring of provided buffers: neither is submitted again per use. The
 *    buffers outnumber the connections of the benchmarks; if they run out all the same, recv ends
 *    with ENOBUFS and is armed again once they are back.
 *  - SINGLE_ISSUER and DEFER_TASKRUN: completions are worked off in our own io_uring_enter(), all
 *    at once, and never interrupt us. The ring's own descriptor is registered. The CQ is four
 *    times the SQ.
 *  - A send that completes at once must not post a CQE, for that would end the wait in the same
 *    io_uring_enter() and double the number of calls. CQE_SKIP_SUCCESS alone would leave us
 *    guessing whether a send is still under way when the next is due. So a response is first sent
 *    "quietly", with MSG_WAITALL | MSG_DONTWAIT and CQE_SKIP_SUCCESS: it is complete when the
 *    io_uring_enter() that submits it returns, or else there is a CQE, ahead of any later one of
 *    the connection, that says how far it got. The rest, like any large response, goes as an
 *    ordinary send with MSG_WAITALL, which the kernel continues by itself as room appears, and of
 *    which a connection has one at a time.
 *  - One send (or sendmsg) per connection and batch: sends are submitted when the batch is read.
 *
 *  - A large response is sent without a copy (send_zc) from a registered buffer, whose pages are
 *    pinned once. Its second CQE, which tells that its memory may be reused, is of no interest, as
 *    responses never change; for small ones it costs more than copying them.
 *
 * Not used: SQPOLL (it needs a CPU of its own), NO_SQARRAY (would save an index per SQE, but
 * liburing 2.3 does not know it).
 *
 * --napi: IORING_REGISTER_NAPI (Linux 6.9): io_uring_enter() busy polls the NICs of the ring's
 * sockets for that long before it sleeps, and ends as soon as there are completions. --defer (Linux
 * 6.13) sets up what that is meant to go with: the NAPI instances are named once (static tracking), where
 * otherwise each operation that waits looks up its socket's, and their interrupts are deferred
 * (napi.h), without which prefer_busy_poll has no effect. SO_INCOMING_NAPI_ID of a direct
 * descriptor is had by a command of io_uring's.
 *
 * --bundle (Linux 6.10): one completion of recv stands for as many buffers as it filled, in the
 * order of their ring. It is for bodies larger than a buffer; who sends a request at a time fills
 * one in any case. (Bundles of sends would be for queues of different buffers; what a connection
 * has to be sent here is one buffer, or one sendmsg().)
 *
 * --incremental (Linux 6.12): a recv takes of a buffer what it fills, and the next one goes on there.
 * Small requests lie side by side, in so few pages that caches and TLB keep them; otherwise each has
 * the first line of a buffer of its own, and these go round in 32 MB.
 *
 * --zcrx: zcrx.c.
 */
#include <errno.h>
#include <getopt.h>
#include <liburing.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "binary.h"
#include "napi.h"
#include "zcrx.h"

/* Linux 6.9; Debian 12's headers are older. */
#define REGISTER_NAPI	27
struct napi_args {
	uint32_t busy_poll_to;
	uint8_t prefer_busy_poll;
	uint8_t opcode;		/* this and the next: 6.13 */
	uint8_t pad[2];
	uint32_t op_param;
	uint32_t resv;
};
enum { NAPI_REGISTER, NAPI_STATIC_ADD_ID };
enum { NAPI_TRACKING_DYNAMIC, NAPI_TRACKING_STATIC };
/* 6.7 */
#define SOCKET_GETSOCKOPT	2
/* 6.10 */
#ifndef IORING_RECVSEND_BUNDLE
#define IORING_RECVSEND_BUNDLE	(1U << 4)
#endif
#ifndef IORING_FEAT_RECVSEND_BUNDLE
#define IORING_FEAT_RECVSEND_BUNDLE	(1U << 14)
#endif
/* struct io_uring_buf_reg, and 6.12 */
struct buf_reg {
	uint64_t ring_addr;
	uint32_t ring_entries;
	uint16_t bgid;
	uint16_t flags;
	uint64_t resv[3];
};
#define REGISTER_PBUF_RING	22
#define PBUF_RING_INC		2
#ifndef IORING_CQE_F_BUF_MORE
#define IORING_CQE_F_BUF_MORE	(1U << 4)
#endif

#define SQ_ENTRIES	4096
#define CQ_ENTRIES	16384
#define BUF_SIZE	8192
#define BUF_MEM		(32u << 20)	/* of all buffers: 4 per connection at 1024 connections */
#define BUF_GROUP	0
#define CONN_MAX	32768
#define IOVS		4096	/* for the sendmsg()s of one submission */
#define IOVS_PER_SEND	256
#define QUIET_MAX	65536	/* a larger response will hardly fit the socket at once */
#define RUNS_MAX	16384	/* a client that pipelines this, in vain, is dropped */
#define LINGER_MAX	(4 << 20) /* bytes ignored after our FIN until we give up on the client's */

enum op { OP_ACCEPT, OP_RECV, OP_SEND, OP_QUIET, OP_SHUTDOWN, OP_CANCEL, OP_CLOSE, OP_SIGNAL, OP_NAPI };

/* Responses to send: count times the same bytes. */
struct run {
	const char *at;
	size_t len;
	size_t count;
};

/* Found by its direct descriptor. */
struct conn {
	uint32_t generation;	/* tells late completions of the descriptor's last owner */
	bool open;
	bool receiving;		/* a multishot recv is armed */
	bool sending;		/* an ordinary send is under way */
	bool slow;		/* do not try quietly next time */
	bool dirty;		/* in the list of those to be looked at when the batch is read */
	bool eof;		/* the client's FIN came, or an error */
	bool broken;		/* no use in sending anything */
	bool shut;		/* our FIN is sent, or about to be */
	uint32_t napi;			/* where SO_INCOMING_NAPI_ID goes */
	size_t ignored;
	uint64_t quiet;		/* the batch in which a quiet send was submitted, or 0 */
	size_t sent;		/* of runs[0]'s first */
	unsigned int nruns, maxruns;
	struct run *runs;	/* one, or an array from malloc() */
	struct run one;
	struct binary_conn binary;
	struct http_conn http;
};

static struct {
	struct io_uring ring;
	bool ring_up;
	struct io_uring_buf_ring *bufs;
	char *buf_mem;
	unsigned long buf_size;		/* a power of two */
	unsigned int buf_count;		/* likewise */
	unsigned int bufs_back;		/* given back, not yet shown to the kernel */
	bool bundle;
	/*
	 * Bundles go by the ring: at which place each buffer was put in it last, and which was put at
	 * the last 2 * buf_count places (not the ring itself, as completions may be out of order)
	 */
	uint16_t *place, *put;
	bool incremental;
	uint32_t *used;			/* of each buffer */
	struct napi_settings napi;	/* of the instances that connections come from, if any is set */
	int listener, signals;
	bool accepting, stop;
	uint64_t batch;
	struct http_canned canned;
	bool registered;		/* the memory of canned, as buffer 0 */
	char *binary;		/* the bytes that answer binary requests; NULL: it is HTTP */
	unsigned long size;
	struct conn *conns;
	unsigned int nconns;
	uint32_t *dirty;
	unsigned int ndirty;
	uint64_t requests, connections, enters;
} server = { .listener = -1, .signals = -1, .batch = 1, .buf_size = BUF_SIZE };

/* Read by the kernel when the SQEs are submitted, so free again after. */
static struct iovec iovs[IOVS];
static struct msghdr msgs[SQ_ENTRIES];
static unsigned int niovs, nmsgs;

static int fail(const char *what, int err)
{
	fprintf(stderr, "bench-iouring: %s: %s\n", what, strerror(err));
	return -1;
}

static void submit_now(void)
{
	int ret;

	do {
		ret = io_uring_submit(&server.ring);
		/* The completion queue is full: let the kernel empty its backlog into it. */
		if (ret == -EBUSY)
			io_uring_get_events(&server.ring);
	} while (ret == -EINTR || ret == -EAGAIN || (ret >= 0 && io_uring_sq_ready(&server.ring)));
	if (ret < 0 && ret != -EBUSY) {
		fail("io_uring_submit", -ret);
		exit(1);
	}
	niovs = 0;
	nmsgs = 0;
}

static struct io_uring_sqe *new_sqe(void)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&server.ring)))
		submit_now();
	return sqe;
}

static void tag(struct io_uring_sqe *sqe, enum op op, uint32_t generation, uint32_t index)
{
	io_uring_sqe_set_data64(sqe, (uint64_t)op << 56 | (uint64_t)(generation & 0xffffff) << 32 |
				     index);
}

static uint32_t index_of(const struct conn *conn)
{
	return conn - server.conns;
}

static void tag_conn(struct io_uring_sqe *sqe, enum op op, const struct conn *conn)
{
	tag(sqe, op, conn->generation, index_of(conn));
}

static void accept_more(void)
{
	struct io_uring_sqe *sqe = new_sqe();

	io_uring_prep_multishot_accept_direct(sqe, server.listener, NULL, NULL, 0);
	tag(sqe, OP_ACCEPT, 0, 0);
	server.accepting = true;
}

static void recv_more(struct conn *conn)
{
	struct io_uring_sqe *sqe = new_sqe();

	io_uring_prep_recv_multishot(sqe, index_of(conn), NULL, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUF_GROUP;
	if (server.bundle)
		sqe->ioprio |= IORING_RECVSEND_BUNDLE;
	tag_conn(sqe, OP_RECV, conn);
	conn->receiving = true;
}

/* Asks for the NAPI instance that a connection comes from */
static void napi_more(struct conn *conn)
{
	struct io_uring_sqe *sqe = new_sqe();

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, index_of(conn), NULL, 0, 0);
	sqe->cmd_op = SOCKET_GETSOCKOPT;
	/* What newer headers call level, optname, optlen and optval */
	sqe->addr = SOL_SOCKET | (uint64_t)SO_INCOMING_NAPI_ID << 32;
	sqe->file_index = sizeof(conn->napi);
	sqe->addr3 = (uintptr_t)&conn->napi;
	sqe->flags |= IOSQE_FIXED_FILE;
	tag_conn(sqe, OP_NAPI, conn);
}

static void mark_dirty(struct conn *conn)
{
	if (!conn->dirty) {
		conn->dirty = true;
		server.dirty[server.ndirty++] = index_of(conn);
	}
}

static void conn_open(uint32_t index)
{
	struct conn *conn = server.conns + index;

	if (index >= server.nconns)
		return;
	conn->generation++;
	conn->open = true;
	conn->receiving = false;
	conn->sending = false;
	conn->slow = false;
	conn->eof = false;
	conn->broken = false;
	conn->shut = false;
	conn->ignored = 0;
	conn->quiet = 0;
	conn->sent = 0;
	conn->nruns = 0;
	conn->maxruns = 1;
	conn->runs = &conn->one;
	memset(&conn->binary, 0, sizeof(conn->binary));
	http_conn_init(&conn->http);
	server.connections++;
	recv_more(conn);
	if (server.napi.defer_hard_irqs)
		napi_more(conn);
}

static void conn_close(struct conn *conn)
{
	struct io_uring_sqe *sqe;

	/* Operations under way hold the socket open. */
	if (conn->receiving || conn->sending) {
		sqe = new_sqe();
		io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD |
					       IORING_ASYNC_CANCEL_FD_FIXED);
		sqe->fd = index_of(conn);
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		tag_conn(sqe, OP_CANCEL, conn);
	}
	sqe = new_sqe();
	io_uring_prep_close_direct(sqe, index_of(conn));
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	tag_conn(sqe, OP_CLOSE, conn);

	conn->open = false;
	conn->generation++;
	http_conn_free(&conn->http);
	if (conn->runs != &conn->one)
		free(conn->runs);
	conn->runs = &conn->one;
	if (!server.accepting)	/* we had run out of descriptors */
		accept_more();
}

/* Takes n sent bytes off the runs. */
static void conn_sent(struct conn *conn, size_t n)
{
	struct run *run = conn->runs;
	unsigned int done;

	n += conn->sent;
	while (run < conn->runs + conn->nruns && n >= run->len * run->count) {
		n -= run->len * run->count;
		run++;
	}
	done = run - conn->runs;
	conn->nruns -= done;
	if (conn->nruns) {
		if (done)
			memmove(conn->runs, run, conn->nruns * sizeof(*run));
		conn->runs->count -= n / conn->runs->len;
		n %= conn->runs->len;
	}
	conn->sent = n;
}

/* A quiet send of an earlier batch of which nothing was heard has sent all there was. */
static void settle_quiet(struct conn *conn)
{
	if (conn->quiet && conn->quiet != server.batch) {
		conn->quiet = 0;
		conn->nruns = 0;
		conn->sent = 0;
	}
}

static int on_request(void *arg, const struct http_request *req)
{
	struct conn *conn = arg;
	struct run *run = conn->runs + conn->nruns;
	const char *at;
	size_t len;

	if (server.binary) {
		at = server.binary;
		len = req->body_len;
	} else {
		at = http_reply(&server.canned, req, &len);
	}
	server.requests += !req->status;
	if (conn->nruns && run[-1].at == at && run[-1].len == len) {
		run[-1].count++;
		return 0;
	}
	if (conn->nruns == conn->maxruns) {
		struct run *more = NULL;

		if (conn->maxruns < RUNS_MAX)
			more = malloc(2 * conn->maxruns * sizeof(*more));
		if (!more) {
			conn->broken = true;	/* cannot be answered in full: not at all */
			return 1;
		}
		memcpy(more, conn->runs, conn->nruns * sizeof(*more));
		if (conn->runs != &conn->one)
			free(conn->runs);
		conn->runs = more;
		conn->maxruns *= 2;
		run = conn->runs + conn->nruns;
	}
	*run = (struct run){ .at = at, .len = len, .count = 1 };
	conn->nruns++;
	return 0;
}

static void conn_send(struct conn *conn)
{
	struct io_uring_sqe *sqe;
	const struct run *run = conn->runs;
	size_t total = run->len - conn->sent;
	int flags = MSG_NOSIGNAL | MSG_WAITALL;
	bool quiet;

	if (conn->nruns == 1 && run->count == 1) {
		quiet = !conn->slow && total <= QUIET_MAX;
		sqe = new_sqe();
		if (total > QUIET_MAX && server.registered)
			io_uring_prep_send_zc_fixed(sqe, index_of(conn), run->at + conn->sent,
						    total, flags, 0, 0);
		else
			io_uring_prep_send(sqe, index_of(conn), run->at + conn->sent, total,
					   flags | (quiet ? MSG_DONTWAIT : 0));
	} else {
		struct iovec *iov;
		struct msghdr *msg;
		unsigned int i, n = 0;

		if (niovs + IOVS_PER_SEND > IOVS || nmsgs == SQ_ENTRIES)
			submit_now();
		sqe = new_sqe();	/* may submit too: so before the room is taken */
		iov = iovs + niovs;
		msg = msgs + nmsgs++;
		total = 0;
		for (i = 0; i < conn->nruns && n < IOVS_PER_SEND; i++) {
			size_t left = conn->runs[i].count;

			for (; left && n < IOVS_PER_SEND; left--, n++) {
				size_t skip = n ? 0 : conn->sent;

				iov[n].iov_base = (char *)conn->runs[i].at + skip;
				iov[n].iov_len = conn->runs[i].len - skip;
				total += iov[n].iov_len;
			}
		}
		niovs += n;
		*msg = (struct msghdr){ .msg_iov = iov, .msg_iovlen = n };
		/* Quietly only if it covers all, for settle_quiet() knows no less. */
		quiet = !conn->slow && total <= QUIET_MAX && n < IOVS_PER_SEND;
		io_uring_prep_sendmsg(sqe, index_of(conn), msg, flags | (quiet ? MSG_DONTWAIT : 0));
	}
	sqe->flags |= IOSQE_FIXED_FILE | (quiet ? IOSQE_CQE_SKIP_SUCCESS : 0);
	tag_conn(sqe, quiet ? OP_QUIET : OP_SEND, conn);
	conn->sending = !quiet;
	conn->quiet = quiet ? server.batch : 0;
	conn->slow = false;
}

/* The batch is read: what does this connection need? */
static void conn_run(struct conn *conn)
{
	if (conn->broken) {
		conn_close(conn);
		return;
	}
	if (conn->sending)
		return;		/* its completion comes back here */
	settle_quiet(conn);
	if (conn->quiet)
		return;
	if (conn->nruns) {
		conn_send(conn);
		/* Another look, one batch later, at what may be its last response. */
		if (conn->quiet && (conn->eof || http_conn_done(&conn->http)))
			mark_dirty(conn);
	} else if (conn->eof) {
		conn_close(conn);
	} else if (http_conn_done(&conn->http) && !conn->shut) {
		/*
		 * Closing with bytes unread would reset the connection, and the client might
		 * never see the response. So: our FIN, then wait for its.
		 */
		struct io_uring_sqe *sqe = new_sqe();

		io_uring_prep_shutdown(sqe, index_of(conn), SHUT_WR);
		sqe->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
		tag_conn(sqe, OP_SHUTDOWN, conn);
		conn->shut = true;
	}
	if (conn->open && !conn->receiving && !conn->eof)
		recv_more(conn);
}

static void feed(struct conn *conn, const char *buf, size_t n)
{
	if (conn->shut) {
		conn->ignored += n;
		if (conn->ignored > LINGER_MAX)
			conn->broken = true;
	} else if (server.binary) {
		binary_feed(&conn->binary, buf, n, server.size, on_request, conn);
		conn->broken |= conn->binary.done;
	} else {
		http_feed(&conn->http, buf, n, on_request, conn);
	}
}

static char *buf_at(unsigned int bid)
{
	return server.buf_mem + bid * server.buf_size + (server.incremental ? server.used[bid] : 0);
}

static void buf_back(unsigned int bid)
{
	if (server.incremental)
		server.used[bid] = 0;
	if (server.bundle) {
		server.place[bid] = server.bufs->tail + server.bufs_back;
		server.put[server.place[bid] & (2 * server.buf_count - 1)] = bid;
	}
	io_uring_buf_ring_add(server.bufs, buf_at(bid), server.buf_size, bid,
			      io_uring_buf_ring_mask(server.buf_count), server.bufs_back++);
}

static unsigned int buf_next(unsigned int bid)
{
	return server.put[(server.place[bid] + 1) & (2 * server.buf_count - 1)];
}

static void on_recv(struct conn *conn, const struct io_uring_cqe *cqe, int bid)
{
	settle_quiet(conn);
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		conn->receiving = false;
		mark_dirty(conn);
	}
	if (cqe->res > 0 && bid >= 0) {
		size_t left = cqe->res;

		for (; left > server.buf_size; left -= server.buf_size) {
			feed(conn, buf_at(bid), server.buf_size);
			bid = buf_next(bid);
		}
		feed(conn, buf_at(bid), left);
		if (conn->nruns || conn->broken)
			mark_dirty(conn);
	} else if (cqe->res == 0) {
		conn->eof = true;
	} else if (cqe->res != -ENOBUFS && cqe->res != -EINTR && cqe->res != -EAGAIN) {
		conn->eof = true;
		conn->broken = true;
	}
}

/* An ordinary send, or a quiet send or shutdown that failed. */
static void on_sent(struct conn *conn, enum op op, int res)
{
	if (op == OP_SEND)
		conn->sending = false;
	conn->quiet = 0;
	if (res >= 0)
		conn_sent(conn, res);
	else if (res != -EAGAIN && res != -EINTR)
		conn->broken = true;
	/* Quietly did not work: now wait for room. */
	conn->slow = op == OP_QUIET;
	mark_dirty(conn);
}

/* Whether io_uring was told of another NAPI instance, or had not to be, does not show to connections */
static void on_napi(struct conn *conn, int res)
{
	struct napi_args napi = { .opcode = NAPI_STATIC_ADD_ID, .op_param = conn->napi };
	int claimed = 0;

	if (res == sizeof(conn->napi))
		claimed = napi_claim(conn->napi, &server.napi);
	else
		fail("SO_INCOMING_NAPI_ID of a connection", res < 0 ? -res : EIO);
	if (claimed < 0)
		fail("the NAPI instance's settings (netdev genl, napi-set)", errno);
	else if (claimed && syscall(__NR_io_uring_register, server.ring.ring_fd, REGISTER_NAPI, &napi, 1))
		fail("io_uring: name a NAPI instance", errno);
}

static void on_cqe(const struct io_uring_cqe *cqe)
{
	enum op op = cqe->user_data >> 56;
	uint32_t index = (uint32_t)cqe->user_data;
	struct conn *conn = server.conns + index;
	int bid = -1, i, next;

	if (op == OP_SIGNAL) {
		server.stop = true;
		return;
	}
	if (op == OP_ACCEPT) {
		if (cqe->res >= 0)
			conn_open(cqe->res);
		if (cqe->flags & IORING_CQE_F_MORE)
			return;
		server.accepting = false;
		/* Without a free descriptor it would end again at once: conn_close() has one. */
		if (cqe->res == -ENFILE || cqe->res == -EMFILE)
			fail("accept", -cqe->res);
		else
			accept_more();
		return;
	}
	if (cqe->flags & IORING_CQE_F_NOTIF)
		return;		/* of send_zc, after the one with its result */
	if (cqe->flags & IORING_CQE_F_BUFFER)
		bid = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	if (conn->open && (conn->generation & 0xffffff) == (cqe->user_data >> 32 & 0xffffff)) {
		if (op == OP_RECV)
			on_recv(conn, cqe, bid);
		else if (op == OP_NAPI)
			on_napi(conn, cqe->res);
		else if (op != OP_CANCEL && op != OP_CLOSE)
			on_sent(conn, op, cqe->res);
	}
	if (bid < 0)
		return;
	if (cqe->flags & IORING_CQE_F_BUF_MORE) {
		if (cqe->res > 0)
			server.used[bid] += cqe->res;
		return;
	}
	/* A bundle without bytes names a buffer, and has not taken it */
	if (server.bundle && cqe->res <= 0)
		return;
	for (i = cqe->res; server.bundle && i > (int)server.buf_size; i -= server.buf_size, bid = next) {
		next = buf_next(bid);
		buf_back(bid);
	}
	buf_back(bid);
}

static int serve(void)
{
	while (!server.stop) {
		unsigned int head, n = 0, i, ndirty;
		struct io_uring_cqe *cqe;
		/* A connection to be looked at once more will have no CQE to wake us. */
		int ret = io_uring_submit_and_wait(&server.ring, server.ndirty ? 0 : 1);

		if (ret == -EBUSY)
			ret = io_uring_get_events(&server.ring);
		if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -ETIME)
			return fail("io_uring_enter", -ret);
		server.enters++;
		if (!io_uring_sq_ready(&server.ring)) {
			niovs = 0;
			nmsgs = 0;
		}
		server.batch++;
		if (http_date_turn())
			http_canned_date(&server.canned);
		io_uring_for_each_cqe(&server.ring, head, cqe) {
			on_cqe(cqe);
			n++;
		}
		io_uring_cq_advance(&server.ring, n);
		if (server.bufs_back) {
			io_uring_buf_ring_advance(server.bufs, server.bufs_back);
			server.bufs_back = 0;
		}
		/* conn_run() may mark its connection again, for the next batch. */
		ndirty = server.ndirty;
		server.ndirty = 0;
		for (i = 0; i < ndirty; i++) {
			struct conn *conn = server.conns + server.dirty[i];

			conn->dirty = false;
			if (conn->open)
				conn_run(conn);
		}
	}
	return 0;
}

static int listen_on(const char *addr, const char *port, bool reuseport)
{
	struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *ai;
	int one = 1, fd, err;

	err = getaddrinfo(addr, port, &hints, &ai);
	if (err) {
		fprintf(stderr, "bench-iouring: %s port %s: %s\n", addr, port, gai_strerror(err));
		return -1;
	}
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||	/* inherited */
	    bind(fd, ai->ai_addr, ai->ai_addrlen) ||
	    listen(fd, 65535)) {	/* the kernel cuts it to net.core.somaxconn */
		fprintf(stderr, "bench-iouring: listen on %s port %s: %s\n", addr, port,
			strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(ai);
	return fd;
}

/* Large responses are sent from registered memory, binary ones are not large. */
static int register_responses(void)
{
	struct iovec mem = { server.canned.mem, http_canned_size(&server.canned) };
	int err;

	if (server.binary || server.size <= QUIET_MAX)
		return 0;
	err = io_uring_register_buffers(&server.ring, &mem, 1);
	if (err)
		return fail("io_uring: register the responses", -err);
	server.registered = true;
	return 0;
}

static int ring_init(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
			 IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		.cq_entries = CQ_ENTRIES,
	};
	int err;

	err = io_uring_queue_init_params(SQ_ENTRIES, &server.ring, &params);
	if (err)
		return fail("io_uring (Linux 6.1, and kernel.io_uring_disabled=0)", -err);
	server.ring_up = true;
	if (server.bundle && !(params.features & IORING_FEAT_RECVSEND_BUNDLE))
		return fail("io_uring: bundles (Linux 6.10)", EOPNOTSUPP);
	err = io_uring_register_ring_fd(&server.ring);
	if (err < 0)
		return fail("io_uring: register the ring", -err);
	err = io_uring_register_files_sparse(&server.ring, server.nconns);
	if (err)
		return fail("io_uring: register files", -err);
	return 0;
}

static int bufs_init(void)
{
	size_t ring_size = server.buf_count * sizeof(struct io_uring_buf);
	struct buf_reg reg = {
		.ring_entries = server.buf_count,
		.bgid = BUF_GROUP,
		.flags = server.incremental ? PBUF_RING_INC : 0,
	};
	void *ring, *mem;
	unsigned int i;

	ring = mmap(NULL, ring_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mem = mmap(NULL, BUF_MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ring == MAP_FAILED || mem == MAP_FAILED)
		return fail("buffers", errno);
	/* The ring goes through all of them in turn: fewer TLB misses. A wish only. */
	madvise(mem, BUF_MEM, MADV_HUGEPAGE);
	server.bufs = ring;
	server.buf_mem = mem;
	reg.ring_addr = (uintptr_t)ring;
	if (syscall(__NR_io_uring_register, server.ring.ring_fd, REGISTER_PBUF_RING, &reg, 1))
		return fail(server.incremental ? "io_uring: incremental buffers (Linux 6.12)" :
						 "io_uring: register buffers", errno);
	io_uring_buf_ring_init(server.bufs);
	if (server.bundle) {
		server.place = calloc(server.buf_count, sizeof(*server.place));
		server.put = calloc(2 * server.buf_count, sizeof(*server.put));
		if (!server.place || !server.put)
			return fail("buffers", ENOMEM);
	}
	if (server.incremental) {
		server.used = calloc(server.buf_count, sizeof(*server.used));
		if (!server.used)
			return fail("buffers", ENOMEM);
	}
	for (i = 0; i < server.buf_count; i++)
		buf_back(i);
	io_uring_buf_ring_advance(server.bufs, server.bufs_back);
	server.bufs_back = 0;
	return 0;
}

static int busy_poll(unsigned int usecs, bool prefer)
{
	struct napi_args napi = {
		.busy_poll_to = usecs,
		.prefer_busy_poll = prefer,
		.op_param = server.napi.defer_hard_irqs ? NAPI_TRACKING_STATIC : NAPI_TRACKING_DYNAMIC,
	};

	if (syscall(__NR_io_uring_register, server.ring.ring_fd, REGISTER_NAPI, &napi, 1))
		return fail(server.napi.defer_hard_irqs ? "io_uring: register NAPI, tracked statically (Linux 6.13)" :
							  "io_uring: register NAPI (Linux 6.9)", errno);
	return 0;
}

static const char usage[] =
	"Usage: bench-iouring [OPTION]...\n"
	"An HTTP server on io_uring that answers every request with the same response.\n"
	"\n"
	"  --addr ADDR     listen on this address (0.0.0.0)\n"
	"  --port PORT     listen on this port (8080)\n"
	"  --size N        respond with N bytes (64)\n"
	"  --binary        not HTTP but requests of 16 bytes that say how many bytes they want, up\n"
	"                  to the --size (apps/binary.h)\n"
	"  --reuseport     share the port with other processes, one for each processor\n"
	"  --buf-size N    receive into buffers of N bytes, a power of two (8192); together they\n"
	"                  have 32 MiB. Larger ones mean fewer calls of TCP for large bodies\n"
	"  --napi[=USECS]  busy poll the NIC while waiting, for so long (200); Linux 6.9\n"
	"  --no-prefer     with --napi: without prefer_busy_poll\n"
	"  --defer USECS   with --napi: name the NAPI instances that connections come from to the\n"
	"                  ring, and have them defer interrupts by so long, a hundred times in a\n"
	"                  row; Linux 6.13, CAP_NET_ADMIN\n"
	"  --bundle        receive into several buffers at once; Linux 6.10\n"
	"  --incremental   receive where the last one ended in its buffer; Linux 6.12\n"
	"  --probe         do not serve: status 0, or 1 and what this kernel cannot\n"
	"  --zcrx NIC      do not serve: say what the kernel answers to zero-copy receive\n"
	"  --help          show this\n";

static int number(const char *option, const char *text, unsigned long max, unsigned long *out)
{
	char *end;

	errno = 0;
	*out = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || *out > max) {
		fprintf(stderr, "bench-iouring: %s: not a number from 0 to %lu: %s\n", option, max,
			text);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	enum { BINARY = 256, DEFER, BUNDLE, INCREMENTAL, PROBE, ZCRX };
	static const struct option options[] = {
		{ "addr", required_argument, NULL, 'a' },
		{ "port", required_argument, NULL, 'p' },
		{ "size", required_argument, NULL, 's' },
		{ "binary", no_argument, NULL, BINARY },
		{ "reuseport", no_argument, NULL, 'R' },
		{ "buf-size", required_argument, NULL, 'b' },
		{ "napi", optional_argument, NULL, 'n' },
		{ "no-prefer", no_argument, NULL, 'N' },
		{ "defer", required_argument, NULL, DEFER },
		{ "bundle", no_argument, NULL, BUNDLE },
		{ "incremental", no_argument, NULL, INCREMENTAL },
		{ "probe", no_argument, NULL, PROBE },
		{ "zcrx", required_argument, NULL, ZCRX },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	const char *addr = "0.0.0.0", *port = "8080";
	unsigned long size = 64, usecs = 0, defer = 0;
	bool prefer = true, binary = false, reuseport = false, probe = false;
	struct io_uring_sqe *sqe;
	struct rlimit files;
	sigset_t stop;
	unsigned int i;
	int opt, ret = 1;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'a':
			addr = optarg;
			break;
		case 'p':
			port = optarg;
			break;
		case 's':
			if (number("--size", optarg, 1ul << 30, &size))
				return 2;
			break;
		case 'b':
			if (number("--buf-size", optarg, 1 << 20, &server.buf_size))
				return 2;
			if (server.buf_size < 4096 || server.buf_size & (server.buf_size - 1)) {
				fprintf(stderr, "bench-iouring: --buf-size: not a power of two from"
					" 4096 on: %s\n", optarg);
				return 2;
			}
			break;
		case 'n':
			usecs = 200;
			if (optarg && number("--napi", optarg, 10000, &usecs))
				return 2;
			break;
		case 'N':
			prefer = false;
			break;
		case DEFER:
			if (number("--defer", optarg, 1000000, &defer))
				return 2;
			break;
		case BUNDLE:
			server.bundle = true;
			break;
		case INCREMENTAL:
			server.incremental = true;
			break;
		case PROBE:
			probe = true;
			break;
		case ZCRX:
			return zcrx_probe(optarg);
		case BINARY:
			binary = true;
			break;
		case 'R':
			reuseport = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try 'bench-iouring --help'.\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "bench-iouring: unexpected argument: %s\n", argv[optind]);
		return 2;
	}

	if (defer && !usecs) {
		fputs("bench-iouring: --defer is for --napi\n", stderr);
		return 2;
	}
	if (server.bundle && server.incremental) {
		fputs("bench-iouring: --bundle or --incremental\n", stderr);
		return 2;
	}
	if (defer) {
		server.napi.defer_hard_irqs = NAPI_DEFER_IRQS;
		server.napi.gro_flush_ns = defer * 1000;
	}

	server.buf_count = BUF_MEM / server.buf_size;
	/* It limits direct descriptors too. */
	server.nconns = CONN_MAX;
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
		if (files.rlim_cur < server.nconns)
			server.nconns = files.rlim_cur;
	}
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);

	server.conns = calloc(server.nconns, sizeof(*server.conns));
	server.dirty = calloc(server.nconns, sizeof(*server.dirty));
	server.size = size;
	if (binary) {
		server.binary = malloc(size + 1);
		if (server.binary)
			memset(server.binary, 'x', size);
	}
	if (!server.conns || !server.dirty || (binary && !server.binary) ||
	    http_canned_fill(&server.canned, 200, "text/plain", 'x', size)) {
		fail("start", ENOMEM);
		goto out;
	}
	server.listener = listen_on(addr, port, reuseport);
	if (server.listener < 0)
		goto out;
	server.signals = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
	if (server.signals < 0) {
		fail("signalfd", errno);
		goto out;
	}
	if (ring_init() || register_responses() || bufs_init() || (usecs && busy_poll(usecs, prefer)))
		goto out;
	if (defer && napi_open()) {
		fail("settings of a NAPI instance (netdev genl, napi-set: Linux 6.13)", errno);
		goto out;
	}
	if (probe) {
		ret = 0;
		goto out;
	}

	accept_more();
	sqe = new_sqe();
	io_uring_prep_poll_add(sqe, server.signals, POLLIN);
	tag(sqe, OP_SIGNAL, 0, 0);

	printf("bench-iouring: %lu bytes on %s port %s", size, addr, port);
	if (usecs)
		printf(", busy polling %lu us%s", usecs, prefer ? ", preferred" : "");
	if (defer)
		printf(", interrupts deferred %lu us", defer);
	if (server.bundle)
		printf(", bundles");
	if (server.incremental)
		printf(", incremental");
	printf("\n");
	fflush(stdout);
	ret = serve() ? 1 : 0;
	printf("bench-iouring: %llu requests on %llu connections in %llu calls\n",
	       (unsigned long long)server.requests, (unsigned long long)server.connections,
	       (unsigned long long)server.enters);
out:
	/* The kernel takes a ring down later; the port should be free at once. */
	if (server.listener >= 0)
		shutdown(server.listener, SHUT_RDWR);
	/* Takes the connections with it. */
	if (server.ring_up)
		io_uring_queue_exit(&server.ring);
	napi_close();
	free(server.place);
	free(server.put);
	free(server.used);
	if (server.bufs)
		munmap(server.bufs, server.buf_count * sizeof(struct io_uring_buf));
	if (server.buf_mem)
		munmap(server.buf_mem, BUF_MEM);
	if (server.signals >= 0)
		close(server.signals);
	if (server.listener >= 0)
		close(server.listener);
	for (i = 0; server.conns && i < server.nconns; i++) {
		struct conn *conn = server.conns + i;

		if (!conn->open)
			continue;
		http_conn_free(&conn->http);
		if (conn->runs != &conn->one)
			free(conn->runs);
	}
	free(server.conns);
	free(server.dirty);
	http_canned_free(&server.canned);
	free(server.binary);
	return ret;
}
