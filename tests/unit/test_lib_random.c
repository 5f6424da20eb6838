// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_random.c - many random steps, right and wrong ones: every byte arrives
 * once and in order, no buffer is lost, has two owners or is used while somebody
 * refers to it; and whoever is wrong is told so, and nothing else happens
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
#define VALUES	6u
#define GRAVES	16u

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
	bool shut;			/* nothing is sent any more */
	uint64_t asked;			/* waits for so many to be acknowledged */
	bool asks;
};

static struct stackmap_port *port;
static struct peer *peers[CONNS];
static uint32_t held[EXTRA];
static size_t nheld;
static uint32_t values[VALUES];		/* in memory, sent with KEEP; or NO_BUF */
static struct stackmap_conn *graves[GRAVES];	/* closed, their memory still there */
static int raw;				/* a socket whose slots are filled by hand */
static size_t closed_whole, closed_cut, notified, failed, told, wrongs;
static int listener;			/* whose connections come in slots */
static size_t accepts, made;
static size_t returned_idle, returned_busy, returned_not;
static unsigned char own[2][2000];	/* memory of the program's, sent from where it is */
static int memory[2];			/* what it is to the port, or -1 */
static size_t removed, busy_memory;

static void random_bytes(unsigned char *p, size_t len)
{
	while (len--)
		*p++ = (unsigned char)fk_rand(256);
}

static void on_close(struct fk_sock *sock)
{
	struct peer_log *log = sock->user;

	if (!log) {
		closed_cut++;		/* the raw one */
		return;
	}
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
	fk_sock(fd)->user = peer->log;
	if (fk_rand(2))
		assert_int_equal(stackmap_conn_attach(&peer->conn, port, fd), 0);
	else
		assert_int_equal(stackmap_conn_adopt(&peer->conn, port, fd), 0);
	peers[i] = peer;
}

/* One that connects, with what it has sent by then */
static void step_connect(void)
{
	struct fk_sock *sock = fk_connect(listener, fk_rand(300));
	struct peer_log *log;
	unsigned char data[100];
	size_t len = fk_rand(sizeof(data));

	if (!sock)
		return;
	log = calloc(1, sizeof(*log));
	sock->user = log;
	random_bytes(data, len);
	fk_append(&sock->in, data, len);
	fk_append(&log->to_come, data, len);
}

/* It has come: taken if there is a place, else refused */
static void step_accept(struct stackmap_slot *slot)
{
	struct peer_log *log = fk_sock(slot->fd)->user;
	struct peer *peer;
	size_t i;

	for (i = 0; i < CONNS && peers[i]; i++)
		;
	accepts++;
	if (i == CONNS || !fk_rand(8)) {
		log->cut = true;
		assert_int_equal(stackmap_refuse(port, slot), 0);
		return;
	}
	peer = calloc(1, sizeof(*peer));
	peer->log = log;
	assert_int_equal(stackmap_accept(&peer->conn, port, slot), 0);
	peers[i] = peer;
}

/* The same bytes in one piece, or in several, of which some are empty */
static ssize_t send_somehow(struct stackmap_conn *conn, unsigned char *data, size_t len)
{
	struct iovec iov[6];
	size_t done = 0;
	int i, n = 1 + (int)fk_rand(6);

	if (fk_rand(2))
		return stackmap_send(conn, data, len);
	for (i = 0; i < n; i++) {
		iov[i].iov_base = data + done;
		iov[i].iov_len = i == n - 1 ? len - done : fk_rand((unsigned int)(len - done + 1));
		done += iov[i].iov_len;
		if (!iov[i].iov_len)
			iov[i].iov_base = NULL;
	}
	return stackmap_sendv(conn, iov, n);
}

static void step_send(struct peer *peer)
{
	unsigned char data[700];
	size_t len = fk_rand(fk_rand(10) ? 90 : sizeof(data));
	uint32_t room = stackmap_conn_room(&peer->conn);
	ssize_t n;

	random_bytes(data, len);
	n = send_somehow(&peer->conn, data, len);
	if (peer->log->shut && !peer->conn.err) {
		assert_int_equal(n, -1);
		assert_int_equal(errno, EPIPE);
		return;
	}
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
		buf = values[fk_rand(VALUES)];
		if (buf == STACKMAP_NO_BUF)
			return;
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
	if (!fk_rand(20))
		fk.malloc_in = 1;
	if (!stackmap_send_buf(&peer->conn, buf, off, len, flags)) {
		fk.malloc_in = 0;
		return;
	}
	fk.malloc_in = 0;
	peer->log->sent.len -= len;
	if (!(flags & STACKMAP_TX_KEEP))
		assert_int_equal(stackmap_buf_give(port, buf), 0);
}

static void step_send_memory(struct peer *peer)
{
	unsigned int which = fk_rand(2), off = fk_rand(2000);
	size_t len = 1 + fk_rand(fk_rand(10) ? 100 : 2000 - off);
	unsigned int flags = fk_rand(4) ? 0 : STACKMAP_TX_MORE;

	if (memory[which] < 0 || len > 2000 - off)
		return;
	if (!fk_rand(20))
		fk.malloc_in = 1;
	if (!stackmap_send_memory(&peer->conn, memory[which], off, len, flags))
		fk_append(&peer->log->sent, own[which] + off, len);
	fk.malloc_in = 0;
}

/* It is removed, if nothing of it is queued, and added again */
static void step_memory(void)
{
	unsigned int which = fk_rand(2);

	if (memory[which] >= 0) {
		if (stackmap_memory_remove(port, memory[which])) {
			assert_int_equal(errno, EBUSY);
			busy_memory++;
			return;
		}
		removed++;
		memory[which] = -1;
	} else {
		memory[which] = stackmap_memory_add(port, own[which], sizeof(own[which]));
		assert_true(memory[which] >= 0);
	}
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
	/* half of them are used on, wrongly */
	if (fk_rand(2)) {
		struct peer **grave = (struct peer **)&graves[fk_rand(GRAVES)];

		free(*grave);
		*grave = peer;
		return;
	}
	memset(peer, 0xdd, sizeof(*peer));
	free(peer);
}

/* Values that are overwritten or deleted while they are being sent */
static void step_value(void)
{
	uint32_t *value = &values[fk_rand(VALUES)];

	if (*value != STACKMAP_NO_BUF && fk_rand(2)) {
		assert_int_equal(stackmap_buf_give(port, *value), 0);
		*value = STACKMAP_NO_BUF;
	}
	if (*value == STACKMAP_NO_BUF) {
		*value = stackmap_buf_take(port);
		if (*value != STACKMAP_NO_BUF)
			random_bytes(stackmap_buf(port, *value), 64);
	}
}

/* One that is the program's is sent as such, though it may have been lent before */
static void step_send_value(struct peer *peer)
{
	uint32_t *value = &values[fk_rand(VALUES)];
	struct fk_bytes *sent = &peer->log->sent;

	if (*value == STACKMAP_NO_BUF)
		return;
	fk_append(sent, stackmap_buf(port, *value), 64);
	if (stackmap_send_buf(&peer->conn, *value, 0, 64, 0))
		sent->len -= 64;
	else
		*value = STACKMAP_NO_BUF;
}

static void step_tell(struct peer *peer)
{
	if (!fk_rand(10))
		fk.malloc_in = 1;
	if (!stackmap_conn_tell_acked(&peer->conn)) {
		peer->log->asks = true;
		peer->log->asked = peer->log->sent.len;
	}
	fk.malloc_in = 0;
}

static void step_credit(struct peer *peer)
{
	switch (fk_rand(4)) {
	case 0:
		assert_int_equal(stackmap_conn_pause(&peer->conn), 0);
		break;
	case 1:
		assert_int_equal(stackmap_conn_credit(&peer->conn, fk_rand(500)), 0);
		break;
	default:
		assert_int_equal(stackmap_conn_resume(&peer->conn), 0);
	}
}

static void step_shutdown(struct peer *peer)
{
	if (!stackmap_conn_shutdown(&peer->conn))
		peer->log->shut = true;
}

/* Slots filled by hand, well and badly */
static void step_raw(void)
{
	struct stackmap_slot *slot;
	uint32_t buf;

	if (fk_rand(3)) {
		stackmap_tx_commit(port, raw, fk_rand(40), 1 + fk_rand(20),
				   fk_rand(2) ? STACKMAP_TX_ACKED : 0, 0);
	} else if (fk_rand(2)) {
		buf = values[fk_rand(VALUES)];
		stackmap_tx_commit_buf(port, raw, buf, 0, 1 + fk_rand(64),
				       STACKMAP_TX_KEEP, 0);
	} else {
		buf = stackmap_buf_take(port);
		if (buf != STACKMAP_NO_BUF &&
		    stackmap_tx_commit_buf(port, raw, buf, 0, fk_rand(66), 0, 1 + fk_rand(3)))
			assert_int_equal(stackmap_buf_give(port, buf), 0);
	}
	while (fk_rand(8) && (slot = stackmap_next_refused(port))) {
		assert_true(slot->flags & STACKMAP_TX_REFUSED);
		buf = stackmap_keep(port, slot);
		if (buf == STACKMAP_NO_BUF)
			continue;
		/* it may be a value: then it still is */
		for (size_t i = 0; i < VALUES; i++) {
			if (values[i] == buf)
				buf = STACKMAP_NO_BUF;
		}
		if (buf != STACKMAP_NO_BUF)
			assert_int_equal(stackmap_buf_give(port, buf), 0);
	}
}

static bool mine(uint32_t buf)
{
	for (size_t i = 0; i < VALUES; i++) {
		if (values[i] == buf)
			return true;
	}
	for (size_t i = 0; i < nheld; i++) {
		if (held[i] == buf)
			return true;
	}
	return false;
}

static void wrong(long got, int err, int or)
{
	assert_int_equal(got, -1);
	assert_true(errno == err || errno == or);
	wrongs++;
}

/* Whatever a program with an error in it may do, without overwriting memory */
static void step_wrong(struct peer *peer)
{
	struct stackmap_conn *conn = graves[fk_rand(GRAVES)];
	uint32_t buf = fk_rand(fk.reg.frames + 5);
	struct stackmap_slot *slots = fk_rand(2) ? port->rx_slots : port->tx_slots;
	struct stackmap_conn fresh;

	if (!mine(buf)) {
		wrong(stackmap_buf_give(port, buf), EINVAL, 0);
		wrong(stackmap_tx_commit_buf(port, raw, buf, 0, 1, fk_rand(2), 0),
		      EINVAL, 0);
		if (!peer->conn.err && !peer->log->shut)
			wrong(stackmap_send_buf(&peer->conn, buf, 0, 1, fk_rand(2)),
			      EINVAL, 0);
	}
	wrong(stackmap_conn_attach(&fresh, port, peer->conn.fd), EALREADY, EBADF);
	wrong(stackmap_conn_adopt(&fresh, port, peer->conn.fd), EALREADY, EBADF);
	wrong(stackmap_detach(port, peer->conn.fd), EBUSY, EBADF);
	if (!(slots[0].flags & STACKMAP_RX_ACCEPTED))
		wrong(stackmap_accept(&fresh, port, &slots[0]), EINVAL, 0);
	stackmap_forget(port, peer->conn.fd);
	wrong(stackmap_attach(port, (int)fk_rand(2) - 2, 0) ? 0 : -1, EBADF, 0);
	buf = stackmap_keep(port, &slots[fk_rand(16)] + fk_rand(2) * fk_rand(100));
	if (buf != STACKMAP_NO_BUF)
		held[nheld++] = buf;
	if (!conn)
		return;
	wrong(stackmap_send(conn, "x", 1), EBADF, 0);
	wrong(stackmap_send_buf(conn, 1, 0, 1, 0), EBADF, EINVAL);
	wrong(stackmap_send_memory(conn, 0, 0, 1, 0), EBADF, EINVAL);
	wrong(stackmap_conn_pause(conn), EBADF, 0);
	wrong(stackmap_conn_shutdown(conn), EBADF, 0);
	wrong(stackmap_conn_tell_acked(conn), EBADF, 0);
	wrong(stackmap_conn_detach(conn), EBADF, 0);
	stackmap_want_writable(conn);
	if (fk_rand(2))
		wrong(stackmap_conn_close(conn), EBADF, 0);
	else
		stackmap_conn_abort(conn);
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
	struct stackmap_conn *conn = stackmap_slot_conn(port, slot);
	uint32_t buf;

	if (slot->flags & STACKMAP_RX_ACCEPTED) {
		step_accept(slot);
		return;
	}
	if (!peer) {
		assert_int_equal(slot->fd, raw);
		assert_null(conn);
		return;
	}
	assert_ptr_equal(conn, &peer->conn);
	assert_int_equal(peer->conn.gen, slot->gen);
	if (slot->flags & STACKMAP_RX_ACKED) {
		uint64_t acked = stackmap_conn_acked(conn);

		assert_int_equal((uint32_t)acked, slot->taken);
		assert_true(acked <= fk_sock(conn->fd)->out.len);
		if (acked >= peer->log->asked)
			peer->log->asks = false;
		told++;
	}
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
		if (!fk_rand(30) && stackmap_slot_conn(port, slot))
			step_close(index_of(stackmap_slot_conn(port, slot)));
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

/* TCP has room for so many bytes more, of one socket in @of */
static void grow_all(unsigned int of, unsigned int min, unsigned int max)
{
	for (int i = 0; i < 2 * FK_FDS; i++) {
		int fd = i < FK_FDS ? FK_FD_MIN + i : STACKMAP_HANDLE_MIN + i - FK_FDS;

		if (fk_sock(fd) && !fk_rand(of))
			fk_grow(fd, min + fk_rand(max - min + 1));
	}
}

static void step_sync(void)
{
	if (!fk_rand(20))
		assert_int_equal(stackmap_wake(port), 0);
	if (!fk_rand(20))
		fk.ioctl_errno[4] = EINTR;
	if (fk_rand(2))
		stackmap_sync(port, 0);
	else if (fk_rand(2))
		stackmap_idle(port);
	else
		stackmap_wait(port, 0);
	fk.ioctl_errno[4] = 0;
	grow_all(6, 0, 400);
}

static void step(void)
{
	size_t i = fk_rand(CONNS);
	unsigned int what = fk_rand(100);

	if (!peers[i])
		step_open(i);
	if (what < 25)
		step_send(peers[i]);
	else if (what < 36)
		step_send_buf(peers[i]);
	else if (what < 39)
		step_send_memory(peers[i]);
	else if (what < 40)
		step_memory();
	else if (what < 43)
		step_value();
	else if (what < 44)
		step_send_value(peers[i]);
	else if (what < 47)
		step_tell(peers[i]);
	else if (what < 50)
		step_credit(peers[i]);
	else if (what < 53)
		step_raw();
	else if (what < 55)
		step_wrong(peers[i]);
	else if (what < 56 && !fk_rand(4))
		step_shutdown(peers[i]);
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
	else if (what == 98 && fk_rand(2))
		step_connect();
	else if (what == 98)
		made += stackmap_conn_fd(&peers[i]->conn) >= 0 && peers[i]->conn.fd >= STACKMAP_HANDLE_MIN;
	else if (nheld)
		assert_int_equal(stackmap_buf_give(port, held[--nheld]), 0);
}

static void audit(void)
{
	uint32_t all[EXTRA];
	size_t n = nheld;

	memcpy(all, held, nheld * sizeof(*held));
	for (size_t i = 0; i < VALUES; i++) {
		if (values[i] != STACKMAP_NO_BUF)
			all[n++] = values[i];
	}
	fk_audit(port, all, n);
	assert_int_equal(fk.violations, 0);
}

/* After enough room for everybody, nothing is left anywhere */
static void drain(void)
{
	/* with all acknowledged, everybody hears what he asked for */
	for (int round = 0; round < 300; round++) {
		struct stackmap_slot *slot;

		grow_all(1, 1000, 1000);
		assert_true(stackmap_sync(port, 0) >= 0);
		fk_ack_all();
		while ((slot = stackmap_rx_next(port)))
			take_slot(slot);
	}
	for (size_t i = 0; i < CONNS; i++) {
		if (!peers[i])
			continue;
		assert_true(!peers[i]->log->asks || peers[i]->conn.err ||
			    peers[i]->log->cut);
		if (peers[i]->log->shut && !peers[i]->conn.err)
			assert_true(fk_sock(peers[i]->conn.fd)->shut);
		step_close(i);
	}
	for (size_t i = 0; i < VALUES; i++) {
		if (values[i] != STACKMAP_NO_BUF)
			assert_int_equal(stackmap_buf_give(port, values[i]), 0);
		values[i] = STACKMAP_NO_BUF;
	}
	while (nheld)
		assert_int_equal(stackmap_buf_give(port, held[--nheld]), 0);
	for (int round = 0; round < 300; round++) {
		grow_all(1, 1000, 1000);
		assert_true(stackmap_sync(port, 0) >= 0);
		fk_ack_all();
		assert_null(stackmap_rx_next(port));
	}
	assert_int_equal(stackmap_lingering(port), 0);
	assert_int_equal(stackmap_buf_spares(port), EXTRA);
	assert_int_equal(port->parked, 0);
	assert_null(port->pending.first);
	assert_null(port->writable.first);
	for (int i = 0; i < 2; i++)
		assert_true(memory[i] < 0 || !stackmap_memory_remove(port, memory[i]));
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
	for (uint32_t i = 0; i < VALUES; i++)
		values[i] = STACKMAP_NO_BUF;
	for (int i = 0; i < 2; i++) {
		random_bytes(own[i], sizeof(own[i]));
		memory[i] = stackmap_memory_add(port, own[i], sizeof(own[i]));
		assert_int_equal(memory[i], i);
	}
	raw = fk_socket(100000);
	assert_true(stackmap_attach(port, raw, 0));
	listener = fk_socket(0);
	assert_true(stackmap_attach_listener(port, listener, 0));
	for (int i = 0; i < steps; i++) {
		step();
		if (i % 32 == 0)
			audit();
	}
	drain();
	audit();
	stackmap_close(port);
	returned_idle += fk.returned;
	returned_busy += fk.returned_busy;
	returned_not += fk.returned_not;
	for (size_t i = 0; i < GRAVES; i++) {
		free(graves[i]);
		graves[i] = NULL;
	}
	fk_reset();
}

static void test_random(void **state)
{
	(void)state;
	run(1, 64, 64, STEPS);
	assert_true(closed_whole > 1000 && closed_cut > 1000);
	assert_true(notified > 1000 && failed > 10);
	assert_true(told > 500 && wrongs > 5000);
	assert_true(returned_idle > 100 && returned_busy > 100);
	assert_true(accepts > 100 && made > 20);
	assert_true(removed > 100 && busy_memory > 50);
}

static void test_random_small(void **state)
{
	(void)state;
	for (unsigned int seed = 2; seed < 12; seed++)
		run(seed, 16, 1 + seed, STEPS / 10);
	assert_true(returned_not > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_random_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
