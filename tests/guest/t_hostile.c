// SPDX-License-Identifier: GPL-2.0
/*
 * t_hostile.c - what an application must not write, and what comes of it
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "pair.h"
#include "tap.h"

/* Sends one slot as it is; it must be refused with this error */
static void refused(struct sm *sm, int line, const struct stackmap_slot *with, int err)
{
	struct stackmap_slot *s = &sm->tx->slots[sm->tx_head];
	struct stackmap_slot own = *s;

	*s = *with;
	sm->tx_head = (sm->tx_head + 1) & (sm->tx->nslots - 1);
	sm_sync(sm, 0);
	if (s->flags != STACKMAP_TX_REFUSED || s->err != err || s->taken)
		tap_fail(__FILE__, line, "flags 0x%x, err %s, taken %u", s->flags,
			 strerror(s->err), s->taken);
	EQ(sm->tx->refused, 1);
	s->buf = own.buf;
}

TEST(tx_slot_wrong, 20)
{
	struct stackmap_slot good, s;
	int fd[2], i, udp;
	struct sm sm;
	uint32_t gen;
	char b[64];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	set_timeout(fd[1], 1000);
	gen = sm_attach(&sm, fd[0], 0);
	udp = socket(AF_INET, SOCK_DGRAM, 0);

#define WRONG(err, field, value) do {						\
	good = sm.tx->slots[sm.tx_head];					\
	good.fd = fd[0];							\
	good.off = 0;								\
	good.len = 10;								\
	good.flags = 0;								\
	good.gen = gen;								\
	s = good;								\
	s.field = (value);							\
	refused(&sm, __LINE__, &s, err);					\
} while (0)
	for (i = 0; i < 3; i++) {
		WRONG(EINVAL, buf, sm.reg.frames);
		WRONG(EINVAL, buf, sm.reg.frames - 1);	/* the pool's */
		WRONG(EINVAL, buf, 0x80000000);
		WRONG(EINVAL, buf, UINT32_MAX);
		WRONG(EINVAL, len, 0);
		WRONG(EINVAL, len, 4097);
		WRONG(EINVAL, len, 65535);
		WRONG(EINVAL, off, 4087);
		WRONG(EINVAL, off, 4096);
		WRONG(EINVAL, off, 65535);
		/* Requests that have no payload, with some, or with other flags */
		WRONG(EINVAL, flags, STACKMAP_TX_CREDIT);
		WRONG(EINVAL, flags, STACKMAP_TX_CREDIT | STACKMAP_TX_ACKED);
		WRONG(EINVAL, flags, STACKMAP_TX_RETURN | STACKMAP_TX_KEEP);
		WRONG(EINVAL, flags, STACKMAP_TX_RETURN | STACKMAP_TX_ACKED);
		WRONG(EINVAL, flags, 0x20);
		WRONG(EINVAL, flags, 0x8000);
		WRONG(EINVAL, flags, 0xffff);
		WRONG(ESTALE, gen, gen + 1);
		WRONG(ESTALE, gen, UINT32_MAX);
		WRONG(EBADF, fd, -1);
		WRONG(EBADF, fd, 0);
		WRONG(EBADF, fd, fd[1]);
		WRONG(EBADF, fd, udp);
		WRONG(EBADF, fd, sm.fd);
		WRONG(EBADF, fd, INT32_MAX);
		WRONG(EBADF, fd, INT32_MIN);
		EQ(sm_info(&sm).stats.frames_user, 32);
	}
	EQ(sm_info(&sm).stats.tx_bad, 78);
	sm_send(&sm, fd[0], "all right", 9);
	CHECK(recv(fd[1], b, sizeof(b), 0) == 9 && !memcmp(b, "all right", 9));
	sm_settle(&sm);
	sm_close(&sm);
}

/* A listener, a socket still connecting, one that was shut down: no sending */
TEST(tx_to_listener, 10)
{
	struct stackmap_slot *s;
	int l = try_listen("127.0.0.1", 0);
	struct sm sm;

	sm_new_small(&sm, 16);
	sm_attach(&sm, l, 0);
	s = sm_put(&sm, l, "x", 1);
	sm_sync(&sm, 0);
	EQ(s->flags, STACKMAP_TX_REFUSED);
	CHECKF(s->err == EPIPE || s->err == ENOTCONN, "%s", strerror(s->err));
	sm_quiet(&sm, 10);
	EQ(sm_info(&sm).stats.frames_user, 32);
	sm_close(&sm);
}

/* One buffer in two slots: the second is not the application's any more */
TEST(tx_same_buffer_twice, 10)
{
	struct stackmap_slot *one, *two;
	uint8_t in[8];
	uint32_t own;
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	set_timeout(fd[1], 1000);
	sm_attach(&sm, fd[0], 0);
	one = sm_put(&sm, fd[0], "one!", 4);
	two = sm_put(&sm, fd[0], "two!", 4);
	own = two->buf;
	two->buf = one->buf;
	sm_sync(&sm, 0);
	EQ(one->flags, 0);
	EQ(two->flags, STACKMAP_TX_REFUSED);
	EQ(two->err, EINVAL);
	CHECK(one->buf != two->buf);
	CHECK(recv_all(fd[1], in, 4) && !memcmp(in, "one!", 4));
	two->buf = own;
	sm_send(&sm, fd[0], "more", 4);
	CHECK(recv_all(fd[1], in, 4) && !memcmp(in, "more", 4));
	EQ(sm_info(&sm).stats.frames_user, 32);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Receive slots with somebody else's buffer: payload comes nonetheless, in order */
TEST(rx_slot_wrong_buffer, 20)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);
	uint32_t seed = 9, at = 0, bufs[16], i, n;
	struct stackmap_stats st;
	uint8_t block[5000];
	struct sm sm;
	int fd[2];

	reg.pool_bufs = 256;
	sm_new(&sm, &reg);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	for (i = 0; i < 16; i++)
		bufs[i] = sm.rx->slots[i].buf;
	for (n = 0; n < 10; n++) {
		for (i = 0; i < 16; i++)
			sm.rx->slots[i].buf = rnd(&seed) % 2 ? UINT32_MAX - rnd(&seed) % 9 : sm.reg.frames;
		pat_fill(block, 5, at, sizeof(block));
		CHECK(send_all(fd[1], block, sizeof(block)));
		while (at < (n + 1) * sizeof(block)) {
			struct stackmap_slot *s = sm_wait(&sm, 1000);

			CHECK(s->buf < sm.reg.frames);
			CHECK(pat_is(sm_buf(&sm, s->buf) + s->off, 5, at, s->len));
			at += s->len;
			s->buf = UINT32_MAX;
			sm_next(&sm);
		}
		st = sm_info(&sm).stats;
		EQ(st.frames_user + st.frames_pool + st.frames_flight + st.frames_nic,
		   sm_buffers(&sm));
	}
	/* Its own buffers are still its own */
	for (i = 0; i < 16; i++)
		sm.rx->slots[i].buf = bufs[i];
	sm_settle(&sm);
	sm_close(&sm);
}

/* With no frame left to give, payload waits; it is not lost */
TEST(rx_no_buffer_at_all, 20)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);
	uint32_t bufs[16], used, i;
	struct sm sm;
	int fd[2];
	char b[4];

	reg.pool_bufs = 1;
	sm_new(&sm, &reg);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	for (i = 0; i < 16; i++) {
		bufs[i] = sm.rx->slots[i].buf;
		sm.rx->slots[i].buf = UINT32_MAX;
	}
	CHECK(send_all(fd[1], "one", 3));
	sm_read(&sm, fd[0], b, 3, 1000);
	/* It would be found in this slot, too */
	used = sm.rx->slots[0].buf;
	sm.rx->slots[0].buf = UINT32_MAX;
	CHECK(send_all(fd[1], "two", 3));
	sm_quiet(&sm, 50);
	sm.rx->slots[0].buf = used;
	sm_read(&sm, fd[0], b, 3, 1000);
	CHECK(!memcmp(b, "two", 3));
	for (i = 1; i < 16; i++)
		sm.rx->slots[i].buf = bufs[i];
	CHECK(send_all(fd[1], "two", 3));
	sm_read(&sm, fd[0], b, 3, 1000);
	CHECK(!memcmp(b, "two", 3));
	sm_settle(&sm);
	sm_close(&sm);
}

/* ------------------------------------------------- scribbling from a thread */

static struct sm *victim;
static bool stop;
static uint32_t scribble_seed;

/*
 * Anything anywhere, and now and then something that almost makes sense, as
 * that gets further
 */
static void scribble_once(struct sm *sm, uint32_t *seed)
{
	struct stackmap_ring *r = rnd(seed) % 2 ? sm->rx : sm->tx;
	struct stackmap_slot *s = &r->slots[rnd(seed) % sm->reg.rx_slots];

	switch (rnd(seed) % 10) {
	case 0:
		((uint32_t *)sm->map)[rnd(seed) % (sm->reg.frames_off / 4)] = rnd(seed);
		break;
	case 1:
		r->head = rnd(seed) % sm->reg.rx_slots;
		break;
	case 2:
		r->head = (r->tail + rnd(seed) % 3) & (sm->reg.rx_slots - 1);
		break;
	case 3:
		s->buf = rnd(seed) % (sm->reg.frames + 2);
		break;
	case 4:
		s->fd = rnd(seed) % 64;
		s->gen = 0;
		break;
	case 5:
		s->off = rnd(seed) % 4200;
		s->len = rnd(seed) % 4200;
		s->flags = rnd(seed) % 64;
		break;
	case 6:
		memset(sm_buf(sm, rnd(seed) % sm->reg.frames), rnd(seed), 4096);
		break;
	case 7:
		/* No payload: a buffer returned, a mark, credit */
		s->flags = 4 << rnd(seed) % 3;
		s->data = rnd(seed) % 4 ? rnd(seed) % 5000 : (uint64_t)-(rnd(seed) % 3);
		s->len = 0;
		break;
	default:
		s->len = 100;
		s->off = 0;
		s->flags = rnd(seed) % 16 & ~STACKMAP_TX_RETURN;
	}
}

static void *scribble(void *arg)
{
	uint32_t seed = scribble_seed;

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		scribble_once(victim, &seed);
	return NULL;
}

/*
 * Where nothing is delivered tail is not written again, and after it was
 * scribbled over nobody but the kernel knows which heads are right. Try all.
 */
static bool find_head(struct sm *sm)
{
	uint32_t h;

	for (h = 0; h < sm->reg.rx_slots; h++) {
		sm->rx->head = h;
		sm->tx->head = h;
		if (sm_try_sync(sm->fd, 0, 0) >= 0)
			return true;
		EQ(errno, EINVAL);
	}
	return false;
}

static void hostile(uint32_t slots, uint32_t seed, int ms, bool by_poll)
{
	struct stackmap_register reg = sm_reg(IFNAME, slots);
	int fd[16][2], i, l, port;
	struct stackmap_stats st;
	uint8_t block[4096] = "";
	struct ask a = { 0 };
	pthread_t thread;
	struct sm sm;
	double end;
	int synced = 0, failed = 0, before;

	reg.pool_bufs = 64;
	reg.extra_bufs = 10;
	sm_new(&sm, &reg);
	l = try_listen(here->guest4, 0);
	CHECK(l >= 0);
	nonblock(l);
	port = port_of(l);
	sm_attach(&sm, l, 0);
	for (i = 0; i < 16; i++) {
		pair_tcp(fd[i], i % 2 ? AF_INET : AF_INET6);
		nonblock(fd[i][1]);
		sm_attach(&sm, fd[i][0], i);
	}
	ask(&a, "flood %s %d %d", here->guest4, port, ms);
	victim = &sm;
	stop = false;
	scribble_seed = seed;
	CHECK(!pthread_create(&thread, NULL, scribble, NULL));
	end = mono() + ms / 1e3;
	/* On a busy machine it may take longer until enough has been tried */
	while (mono() < end || ((synced <= few(11) || failed <= 10) && mono() < end + 3 * ms / 1e3)) {
		for (i = 0; i < 16; i++) {
			send(fd[i][1], block, 1 + rnd(&seed) % sizeof(block),
			     MSG_NOSIGNAL | MSG_DONTWAIT);
			if (rnd(&seed) % 2)
				recv(fd[i][1], block, sizeof(block), MSG_DONTWAIT);
		}
		i = accept4(l, NULL, NULL, SOCK_NONBLOCK);
		if (i >= 0 && (i >= 60 || sm_try_attach(sm.fd, i, 0, NULL)))
			close(i);
		if (rnd(&seed) % 4 == 0) {
			i = 3 + rnd(&seed) % 57;
			sm_try_detach(sm.fd, i);
			if (i > fd[15][1] && i != a.fd)
				close(i);
			else if (rnd(&seed) % 2)
				sm_try_attach(sm.fd, i, 0, NULL);
		}
		before = synced;
		if (rnd(&seed) % 8 == 0)
			EQ(ioctl(sm.fd, STACKMAP_IOC_WAKE), 0);
		for (i = 0; i < 20; i++) {
			int k = rnd(&seed) % 8;

			/* The thread may not have its turn for long on one CPU */
			while (k--)
				scribble_once(&sm, &seed);
			if (rnd(&seed) % 2) {
				sm.rx->head = sm.rx->tail;
				sm.tx->head = rnd(&seed) & (slots - 1);
			}
			if (sm_try_sync(sm.fd, by_poll, rnd(&seed) % 200) < 0) {
				EQ(errno, EINVAL);
				failed++;
			} else {
				synced++;
			}
		}
		if (synced == before)
			synced += find_head(&sm);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	tap_note("seed %u: %d syncs, %d refused", scribble_seed, synced, failed);
	/* On another processor it may leave no head that is right for long */
	CHECK(failed > 10 && (synced > few(11) || sysconf(_SC_NPROCESSORS_ONLN) > 1));
	st = sm_info(&sm).stats;
	EQ(st.frames_user + st.frames_pool + st.frames_flight + st.frames_nic, sm_buffers(&sm));
	sm_close(&sm);
	/* The NIC is an ordinary one */
	ask(&a, "ping %s 3 100", here->guest4);
	ask_wait(&a, 10);
	CHECKF(!strncmp(a.answer, "ok 0 ", 5), "%s", a.answer);
}

TEST_BOTH(scribble_1, 60)
{
	hostile(16, 1, 5000, false);
}

TEST_NIC(scribble_2, 60)
{
	hostile(64, 2222, 5000, true);
}

TEST_NIC(scribble_3, 60)
{
	hostile(256, 333333, 5000, false);
}

/* Two threads sync at once, a third attaches and detaches */
static void *sync_for_ever(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		sm_try_sync(victim->fd, 0, 300);
	return NULL;
}

TEST(threads_sync_attach_detach, 30)
{
	pthread_t thread[2];
	int fd[8][2], i, n;
	uint32_t seed = 77;
	struct sm sm;

	sm_new_small(&sm, 64);
	victim = &sm;
	stop = false;
	for (i = 0; i < 8; i++)
		pair_tcp(fd[i], AF_INET);
	for (i = 0; i < 2; i++)
		CHECK(!pthread_create(&thread[i], NULL, sync_for_ever, NULL));
	for (n = 0; n < few(3000); n++) {
		i = rnd(&seed) % 8;
		if (rnd(&seed) % 8 == 0) {
			close(fd[i][0]);
			close(fd[i][1]);
			pair_tcp(fd[i], AF_INET);
		}
		if (rnd(&seed) % 2)
			sm_try_attach(sm.fd, fd[i][0], i, NULL);
		else
			sm_try_detach(sm.fd, fd[i][0]);
		send(fd[i][1], "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		__atomic_store_n(&sm.rx->head, __atomic_load_n(&sm.rx->tail, __ATOMIC_ACQUIRE),
				 __ATOMIC_RELEASE);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	sm.head = sm.rx->tail;
	sm_sync(&sm, 0);
	sm_settle(&sm);
	sm_close(&sm);
}
