// SPDX-License-Identifier: GPL-2.0
/*
 * app.c - a small server on a port
 */
#include "app.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "tap.h"

struct app *app_new(const struct stackmap_register *reg)
{
	struct app *app = calloc(1, sizeof(*app));

	CHECK(app);
	sm_new(&app->sm, reg);
	app->placed = calloc(app->sm.reg.tx_slots, sizeof(*app->placed));
	app->on_slot = app_echo;
	app->rng = 12345;
	return app;
}

struct app *app_new_slots(uint32_t slots)
{
	struct stackmap_register reg = sm_reg(here ? here->ifname : IFNAME, slots);

	return app_new(&reg);
}

struct conn *app_add(struct app *app, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));

	CHECK(c && fd >= 0 && fd < APP_FDS && !app->conn[fd]);
	c->app = app;
	c->fd = fd;
	c->gen = sm_attach(&app->sm, fd, (uintptr_t)c);
	app->conn[fd] = c;
	app->nconns++;
	return c;
}

/* Listen on any port; returns it */
int app_listen(struct app *app, const char *host)
{
	int fd = try_listen(host, 0);
	struct conn *c;

	CHECKF(fd >= 0, "%s", strerror(errno));
	nonblock(fd);
	c = app_add(app, fd);
	c->listener = true;
	app->nconns--;
	return port_of(fd);
}

void app_drop(struct conn *c)
{
	struct app *app = c->app;
	struct conn **d;
	uint32_t i;

	for (d = &app->dirty; *d; d = &(*d)->next_dirty) {
		if (*d == c) {
			*d = c->next_dirty;
			break;
		}
	}
	for (i = 0; i < app->sm.reg.tx_slots; i++)
		if (app->placed[i].c == c)
			app->placed[i].c = NULL;
	app->conn[c->fd] = NULL;
	if (!c->listener)
		app->nconns--;
	close(c->fd);
	free(c->queue);
	free(c);
}

static void make_dirty(struct conn *c)
{
	if (c->dirty)
		return;
	c->dirty = true;
	c->next_dirty = c->app->dirty;
	c->app->dirty = c;
}

void app_send(struct conn *c, const void *p, size_t n)
{
	if (c->dead)
		return;
	if (c->start) {
		memmove(c->queue, c->queue + c->start, c->end - c->start);
		c->end -= c->start;
		c->start = 0;
	}
	if (c->end + n > c->cap) {
		c->cap = 2 * (c->end + n);
		c->queue = realloc(c->queue, c->cap);
		CHECK(c->queue);
	}
	memcpy(c->queue + c->end, p, n);
	c->end += n;
	make_dirty(c);
}

void app_echo(struct conn *c, const struct stackmap_slot *s, const uint8_t *p)
{
	if (s->flags & STACKMAP_RX_DATA)
		app_send(c, p, s->len);
	if (s->flags & STACKMAP_RX_FIN && !c->app->keep) {
		c->closing = true;
		make_dirty(c);
	}
	if ((s->flags & STACKMAP_RX_ERROR) && !c->app->soft)
		app_drop(c);
}

/* Place what is queued into the ring, at odd offsets and in odd pieces */
static void fill_one(struct app *app, struct conn *c)
{
	uint32_t mask = app->sm.tx->nslots - 1;
	size_t at = c->start;

	while (at < c->end && !c->blocked && app->sm.tx_head != app->sm.tx->tail) {
		uint32_t i = app->sm.tx_head;
		struct stackmap_slot *s = &app->sm.tx->slots[i];
		uint32_t size = sm_buf_size(&app->sm, s->buf);
		size_t n = c->end - at;

		/* A slot cannot tell of all of 64 KB */
		if (size > UINT16_MAX)
			size = UINT16_MAX;
		s->off = rnd(&app->rng) % 4 ? 0 : rnd(&app->rng) % size;
		if (n > size - s->off)
			n = size - s->off;
		if (n > 1 && rnd(&app->rng) % 8 == 0)
			n = 1 + rnd(&app->rng) % n;
		s->fd = c->fd;
		s->len = n;
		s->gen = rnd(&app->rng) % 2 ? c->gen : 0;
		s->flags = at + n < c->end && rnd(&app->rng) % 8 == 0 ? STACKMAP_TX_MORE : 0;
		s->err = 0;
		memcpy(sm_buf(&app->sm, s->buf) + s->off, c->queue + at, n);
		app->placed[i].c = c;
		app->placed[i].gen = c->gen;
		app->placed[i].len = n;
		app->placed[i].off = s->off;
		at += n;
		app->sm.tx_head = (i + 1) & mask;
	}
}

static void fill(struct app *app)
{
	struct conn *c, *list = app->dirty;

	app->dirty = NULL;
	while (list) {
		c = list;
		list = c->next_dirty;
		c->dirty = false;
		if (c->start == c->end) {
			if (c->closing)
				app_drop(c);
			continue;
		}
		if (!c->blocked) {
			fill_one(app, c);
			make_dirty(c);
		}
	}
}

/* What became of the slots [@from, tx_head) */
static void settle(struct app *app, uint32_t from)
{
	uint32_t mask = app->sm.tx->nslots - 1;
	uint32_t i, refused = 0;

	for (i = from; i != app->sm.tx_head; i = (i + 1) & mask) {
		const struct stackmap_slot *s = &app->sm.tx->slots[i];
		struct conn *c = app->placed[i].c;
		uint32_t taken = app->placed[i].len;

		app->placed[i].c = NULL;
		if (s->flags & STACKMAP_TX_REFUSED) {
			refused++;
			CHECKF(s->len > 0 && s->len <= taken, "len %u of %u", s->len, taken);
			taken -= s->len;
			EQ(s->taken, taken);
			EQ(s->off, app->placed[i].off + taken);
		}
		if (!c)
			continue;
		if (c->blocked)
			CHECKF(!taken, "fd %d: %u bytes taken after a refused slot", c->fd, taken);
		c->start += taken;
		CHECK(c->start <= c->end);
		if (!(s->flags & STACKMAP_TX_REFUSED))
			continue;
		app->refused++;
		c->blocked = true;
		if (s->err != EAGAIN) {
			CHECKF(s->err == EPIPE || s->err == ECONNRESET || s->err == ETIMEDOUT,
			       "refused with %s", strerror(s->err));
			c->dead = true;
			c->start = c->end;
			if (c->closing)
				make_dirty(c);
		}
	}
	EQ(app->sm.tx->refused, refused);
}

static void accept_all(struct app *app, struct conn *l)
{
	int fd;

	while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		app_add(app, fd);
		app->accepted++;
	}
	CHECKF(errno == EAGAIN || errno == ECONNABORTED, "accept: %s", strerror(errno));
}

static void take(struct app *app, const struct stackmap_slot *s, int *last_fd)
{
	struct conn *c;

	CHECKF(s->fd >= 0 && s->fd < APP_FDS, "fd %d", s->fd);
	CHECK(s->buf < app->sm.reg.frames);
	CHECK((unsigned int)s->off + s->len <= sm_buf_size(&app->sm, s->buf));
	c = app->conn[s->fd];
	if (!c || c->gen != s->gen) {
		app->stale++;
		return;
	}
	EQ(s->data, (uintptr_t)c);
	CHECKF(c->batch != app->batch || *last_fd == s->fd, "fd %d is twice in a batch", s->fd);
	c->batch = app->batch;
	*last_fd = s->fd;
	if (c->listener) {
		EQ(s->flags, STACKMAP_RX_ACCEPT);
		accept_all(app, c);
		return;
	}
	CHECK(s->flags && !(s->flags & ~(STACKMAP_RX_DATA | STACKMAP_RX_FIN | STACKMAP_RX_ERROR |
					 STACKMAP_RX_ROOM | STACKMAP_RX_CONNECTED |
					 STACKMAP_RX_HANDED)));
	if (s->flags & STACKMAP_RX_DATA) {
		CHECKF(s->len && !c->fin, "len %u, fin %d", s->len, c->fin);
		c->in += s->len;
	} else {
		EQ(s->len, 0);
	}
	if (s->flags & STACKMAP_RX_FIN) {
		CHECK(!c->fin);
		c->fin = true;
		app->fins++;
	}
	if (s->flags & STACKMAP_RX_ERROR) {
		app->errors++;
		app->last_err = s->err;
		CHECK(s->err);
	}
	if (s->flags & STACKMAP_RX_CONNECTED)
		app->connected++;
	if (s->flags & STACKMAP_RX_ROOM) {
		app->rooms++;
		CHECK(app->rooms <= app->refused);
		c->blocked = false;
		make_dirty(c);
	}
	app->on_slot(c, s, sm_buf(&app->sm, s->buf) + s->off);
}

void app_round(struct app *app)
{
	struct stackmap_slot *s;
	uint32_t from;
	int last = -1;
	int n;

	fill(app);
	/* Where head was at the last sync */
	from = (app->sm.tx->tail + 1) & (app->sm.tx->nslots - 1);
	n = sm_sync(&app->sm, app->spin ? 500 : 0);
	settle(app, from);
	app->batch++;
	while ((s = sm_peek(&app->sm))) {
		struct stackmap_slot copy = *s;

		take(app, &copy, &last);
		sm_next(&app->sm);
	}
	if (!n && !app->dirty && !app->spin) {
		struct pollfd p = { .fd = app->sm.fd, .events = POLLIN };

		__atomic_store_n(&app->sm.rx->head, app->sm.head, __ATOMIC_RELEASE);
		poll(&p, 1, 20);
	}
}

void app_run(struct app *app, struct ask *a, int seconds)
{
	double end = mono() + seconds * slow();

	while (!ask_done(a)) {
		CHECKF(mono() < end, "the peer is not done after %d s (%d connections)", seconds,
		       app->nconns);
		app_round(app);
	}
}

void app_run_ms(struct app *app, int ms)
{
	double end = mono() + ms / 1e3;

	while (mono() < end)
		app_round(app);
}

void app_end(struct app *app)
{
	double end = mono() + 30 * slow();
	struct stackmap_stats st;
	int fd;

	while (app->nconns && mono() < end)
		app_round(app);
	CHECKF(!app->nconns, "%d connections are left", app->nconns);
	for (fd = 0; fd < APP_FDS; fd++)
		if (app->conn[fd])
			app_drop(app->conn[fd]);
	sm_settle(&app->sm);
	st = sm_info(&app->sm).stats;
	/* Closed ones stay attached until their last segments are exchanged */
	while (st.sockets && mono() < end) {
		sm_sync(&app->sm, 1000);
		st = sm_info(&app->sm).stats;
	}
	EQ(st.sockets, 0);
	sm_settle(&app->sm);
	st = sm_info(&app->sm).stats;
	EQ(st.frames_user, app->sm.reg.rx_slots + app->sm.reg.tx_slots + app->sm.reg.extra_bufs);
	EQ(st.frames_pool + st.frames_nic, app->sm.reg.pool_bufs + app->sm.reg.large_bufs);
	sm_close(&app->sm);
	free(app->placed);
	free(app);
}
