// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_random.c - many random steps: every byte arrives once and in order,
 * no buffer is lost or has two owners
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake_kernel.h"

#define STEPS	100000
#define CONNS	24
#define EXTRA	24u
#define LENT	3u

/* A connection of the program's, and what its peer is to see */
struct peer {
	struct stackmap_conn conn;
	struct peer_log *log;
};

/* Outlives the connection, as it may linger */
struct peer_log {
	struct fk_bytes sent;
	struct fk_bytes to_come;	/* payload that the kernel was given */
	size_t came;
	bool cut;			/* aborted or failed */
};

static struct stackmap_port *port;
static struct peer *peers[CONNS];
static uint32_t held[EXTRA];
static size_t nheld;
static uint32_t lent[LENT];
static size_t closed_whole, closed_cut, notified, failed;

static void random_bytes(unsigned char *p, size_t len)
{
	while (len--)
		*p++ = (unsigned char)fk_rand(256);
}

static void on_close(struct fk_sock *sock)
{
	struct peer_log *log = sock->user;

	if (log->cut) {
		assert_true(sock->out.len <= log->sent.len);
		closed_cut++;
	} else {
		assert_int_equal(sock->out.len, log->sent.len);
		closed_whole++;
	}
	if (sock->out.len)
		assert_memory_equal(sock->out.p, log->sent.p, sock->out.len);
	free(log->sent.p);
	free(log->to_come.p);
	free(log);
}

static void step_open(size_t i)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	int fd = fk_socket(fk_rand(300));

	peer->log = calloc(1, sizeof(*peer->log));
	assert_int_equal(stackmap_conn_attach(&peer->conn, port, fd), 0);
	fk_sock(fd)->user = peer->log;
	peers[i] = peer;
}

static void step_send(struct peer *peer)
{
	unsigned char data[700];
	size_t len = fk_rand(fk_rand(10) ? 90 : sizeof(data));
	uint32_t room = stackmap_conn_room(&peer->conn);
	ssize_t n;

	random_bytes(data, len);
	n = stackmap_send(&peer->conn, data, len);
	if (n < 0) {
		assert_true(errno == (room ? peer->conn.err : EAGAIN) ||
			    errno == peer->conn.err);
		return;
	}
	assert_int_equal(n, len < room ? len : room);
	fk_append(&peer->log->sent, data, (size_t)n);
}

static void step_send_buf(struct peer *peer)
{
	uint32_t off = fk_rand(32), len = 1 + fk_rand(32), buf;
	unsigned int flags = fk_rand(4) ? 0 : STACKMAP_TX_MORE;

	if (fk_rand(2)) {
		buf = lent[fk_rand(LENT)];
		flags |= STACKMAP_TX_KEEP;
	} else {
		buf = stackmap_buf_take(port);
		if (buf == STACKMAP_NO_BUF)
			return;
		random_bytes(stackmap_buf(port, buf), 64);
	}
	/* the bytes are ours to read only until it is sent */
	fk_append(&peer->log->sent, (unsigned char *)stackmap_buf(port, buf) + off,
		  len);
	if (!stackmap_send_buf(&peer->conn, buf, off, len, flags))
		return;
	peer->log->sent.len -= len;
	if (!(flags & STACKMAP_TX_KEEP))
		assert_int_equal(stackmap_buf_give(port, buf), 0);
}

static void step_close(size_t i)
{
	struct peer *peer = peers[i];

	peers[i] = NULL;
	if (peer->conn.err)
		peer->log->cut = true;
	if (fk_rand(3)) {
		assert_int_equal(stackmap_conn_close(&peer->conn), 0);
	} else {
		peer->log->cut = true;
		stackmap_conn_abort(&peer->conn);
	}
	memset(peer, 0xdd, sizeof(*peer));
	free(peer);
}

static void step_break(struct peer *peer)
{
	struct fk_sock *sock = fk_sock(peer->conn.fd);

	sock->tx_err = ECONNRESET;
	sock->err = ECONNRESET;
	if (fk_rand(2))
		sock->events |= STACKMAP_RX_ERROR;
	peer->log->cut = true;
}

static void step_receive(struct peer *peer)
{
	unsigned char data[300];
	size_t len = fk_rand(sizeof(data));

	random_bytes(data, len);
	fk_receive(peer->conn.fd, data, len);
	fk_append(&peer->log->to_come, data, len);
}

static void take_slot(struct stackmap_slot *slot)
{
	struct peer *peer = (struct peer *)stackmap_rx_conn(slot);
	uint32_t buf;

	assert_int_equal(peer->conn.gen, slot->gen);
	if (!(slot->flags & STACKMAP_RX_DATA))
		return;
	assert_memory_equal(stackmap_rx_data(port, slot),
			    peer->log->to_come.p + peer->log->came, slot->len);
	peer->log->came += slot->len;
	if (fk_rand(8))
		return;
	buf = stackmap_keep(port, slot);
	if (buf != STACKMAP_NO_BUF)
		held[nheld++] = buf;
}

static size_t index_of(const struct stackmap_conn *conn)
{
	for (size_t i = 0; i < CONNS; i++) {
		if (peers[i] && &peers[i]->conn == conn)
			return i;
	}
	fail_msg("a connection that is not ours");
	return 0;
}

static void step_look(void)
{
	struct stackmap_slot *slot;
	struct stackmap_conn *conn;
	unsigned int n = fk_rand(40);
	size_t i;

	while (n-- && (slot = stackmap_rx_next(port))) {
		take_slot(slot);
		/* close in the middle of a batch */
		if (!fk_rand(30))
			step_close(index_of(stackmap_rx_conn(slot)));
	}
	while ((conn = stackmap_next_writable(port))) {
		i = index_of(conn);
		if (stackmap_conn_error(conn)) {
			failed++;
			step_close(i);
			continue;
		}
		notified++;
		assert_true(stackmap_conn_room(conn) >= port->send_max / 2);
		step_send(peers[i]);
	}
}

static void step_sync(void)
{
	assert_true((fk_rand(2) ? stackmap_sync(port, 0) :
				  stackmap_idle(port)) >= 0);
	for (int fd = FK_FD_MIN; fd < FK_FD_MIN + FK_FDS; fd++) {
		if (fk_sock(fd) && !fk_rand(6))
			fk_grow(fd, fk_rand(400));
	}
}

static void step(void)
{
	size_t i = fk_rand(CONNS);
	unsigned int what = fk_rand(100);

	if (!peers[i])
		step_open(i);
	if (what < 40)
		step_send(peers[i]);
	else if (what < 55)
		step_send_buf(peers[i]);
	else if (what < 65)
		step_receive(peers[i]);
	else if (what < 80)
		step_look();
	else if (what < 94)
		step_sync();
	else if (what < 96)
		step_close(i);
	else if (what < 97)
		stackmap_want_writable(&peers[i]->conn);
	else if (what < 98 && !fk_rand(8))
		step_break(peers[i]);
	else if (nheld)
		assert_int_equal(stackmap_buf_give(port, held[--nheld]), 0);
}

static void audit(void)
{
	uint32_t mine[EXTRA];

	memcpy(mine, held, nheld * sizeof(*held));
	memcpy(mine + nheld, lent, sizeof(lent));
	fk_audit(port, mine, nheld + LENT);
	assert_int_equal(fk.violations, 0);
}

/* After enough room for everybody, nothing is left anywhere */
static void drain(void)
{
	for (size_t i = 0; i < CONNS; i++) {
		if (peers[i])
			step_close(i);
	}
	for (int round = 0; round < 300; round++) {
		for (int fd = FK_FD_MIN; fd < FK_FD_MIN + FK_FDS; fd++) {
			if (fk_sock(fd))
				fk_grow(fd, 1000);
		}
		assert_true(stackmap_sync(port, 0) >= 0);
		assert_null(stackmap_rx_next(port));
	}
	assert_int_equal(stackmap_lingering(port), 0);
	assert_null(port->pending.first);
	assert_null(port->writable.first);
}

static void run(unsigned int seed, uint32_t tx_slots, uint32_t pool, int steps)
{
	struct stackmap_options opt = {
		.rx_slots = 64, .tx_slots = tx_slots, .extra_bufs = EXTRA,
		.pool_bufs = pool, .send_max = 512,
	};

	fk_reset();
	fk.seed = seed;
	fk.random = true;
	fk.closed = on_close;
	port = stackmap_open("fake0", 0, &opt);
	assert_non_null(port);
	for (uint32_t i = 0; i < LENT; i++) {
		lent[i] = stackmap_buf_take(port);
		random_bytes(stackmap_buf(port, lent[i]), 64);
	}
	for (int i = 0; i < steps; i++) {
		step();
		if (i % 32 == 0)
			audit();
	}
	drain();
	audit();
	nheld = 0;
	stackmap_close(port);
	fk_reset();
}

static void test_random(void **state)
{
	(void)state;
	run(1, 64, 64, STEPS);
	assert_true(closed_whole > 1000 && closed_cut > 1000);
	assert_true(notified > 1000 && failed > 10);
}

static void test_random_small(void **state)
{
	(void)state;
	for (unsigned int seed = 2; seed < 12; seed++)
		run(seed, 16, 1 + seed, STEPS / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_random_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
