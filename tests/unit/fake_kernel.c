// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * fake_kernel.c - a model of stackmap.ko in the process
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
/* cmocka wants the headers above */
#include <cmocka.h>

#include "fake_kernel.h"

struct fk fk;

int __real_open(const char *path, int flags, ...);
int __real_close(int fd);
int __real_fcntl(int fd, int cmd, ...);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t off);
int __real_munmap(void *addr, size_t len);
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);

int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int fd);
int __wrap_fcntl(int fd, int cmd, ...);
int __wrap_ioctl(int fd, unsigned long cmd, ...);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t off);
int __wrap_munmap(void *addr, size_t len);
int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts,
		 const sigset_t *sigmask);
int __wrap_shutdown(int fd, int how);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
unsigned int __wrap_if_nametoindex(const char *name);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

/* ------------------------------------------------------------- its own memory */

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static bool out_of_memory(void)
{
	if (!fk.malloc_in || --fk.malloc_in)
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return out_of_memory() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return out_of_memory() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return out_of_memory() ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return out_of_memory() ? NULL : __real_aligned_alloc(align, size);
}

void fk_append(struct fk_bytes *bytes, const void *p, size_t len)
{
	if (bytes->len + len > bytes->cap) {
		bytes->cap = 2 * (bytes->len + len);
		bytes->p = must(__real_realloc(bytes->p, bytes->cap));
	}
	if (len)
		memcpy(bytes->p + bytes->len, p, len);
	bytes->len += len;
}

unsigned int fk_rand(unsigned int below)
{
	fk.seed = fk.seed * 1664525u + 1013904223u;
	return (unsigned int)(((uint64_t)fk.seed * below) >> 32);
}

/* ------------------------------------------------------------------- sockets */

struct fk_sock *fk_sock(int fd)
{
	if (fd >= STACKMAP_HANDLE_MIN && fd < STACKMAP_HANDLE_MIN + FK_FDS)
		return fk.handles[fd - STACKMAP_HANDLE_MIN];
	if (fd < FK_FD_MIN || fd >= FK_FD_MIN + FK_FDS)
		return NULL;
	return fk.socks[fd - FK_FD_MIN];
}

static struct fk_sock *new_sock(size_t room)
{
	struct fk_sock *sock = must(__real_calloc(1, sizeof(*sock)));

	sock->room = room;
	return sock;
}

/* One more reference: a number in a table that begins with @min */
static int name_sock(struct fk_sock **table, int min, struct fk_sock *sock)
{
	for (int i = 0; i < FK_FDS; i++) {
		if (table[i])
			continue;
		table[i] = sock;
		sock->refs++;
		return min + i;
	}
	abort();
}

int fk_socket(size_t room)
{
	struct fk_sock *sock = new_sock(room);

	sock->fd = name_sock(fk.socks, FK_FD_MIN, sock);
	return sock->fd;
}

struct fk_sock *fk_connect(int listener, size_t room)
{
	if (fk.waiting)
		return NULL;
	fk.waiting = new_sock(room);
	fk.waiting->listener = fk_sock(listener);
	return fk.waiting;
}

static void free_sock(struct fk_sock *sock)
{
	free(sock->out.p);
	free(sock->in.p);
	free(sock);
}

/* A number goes, and its socket with the last one */
static void unname_sock(int fd)
{
	struct fk_sock *sock = fk_sock(fd);

	if (fd >= STACKMAP_HANDLE_MIN)
		fk.handles[fd - STACKMAP_HANDLE_MIN] = NULL;
	else
		fk.socks[fd - FK_FD_MIN] = NULL;
	if (sock->fd == fd)
		sock->fd = 0;
	if (sock->name == fd)
		sock->attached = false;
	if (--sock->refs)
		return;
	if (fk.closed)
		fk.closed(sock);
	free_sock(sock);
}

void fk_receive(int fd, const void *p, size_t len)
{
	fk_append(&fk_sock(fd)->in, p, len);
}

void fk_grow(int fd, size_t room)
{
	struct fk_sock *sock = fk_sock(fd);

	sock->room += room;
	if (sock->want_room && sock->room) {
		sock->want_room = false;
		sock->events |= STACKMAP_RX_ROOM;
	}
}

/* ------------------------------------------------------------------- buffers */

static unsigned char *frame(uint32_t buf)
{
	return fk.frames + (size_t)buf * fk.reg.frame_size;
}

static uint32_t size_of(uint32_t buf)
{
	return fk.reg.large_bufs && buf >= fk.reg.large_first ? fk.reg.large_size : fk.reg.frame_size;
}

/* Whether TCP refers to a buffer */
static bool busy(uint32_t buf)
{
	for (size_t i = 0; i < fk.nflights; i++) {
		if (fk.flights[i].buf == buf)
			return true;
	}
	return false;
}

/* How much of a socket's out the peer has acknowledged: up to the first flight */
static size_t acked(const struct fk_sock *sock)
{
	size_t n = sock->out.len;

	for (size_t i = 0; i < fk.nflights; i++) {
		const struct fk_flight *f = &fk.flights[i];

		if (f->gen == sock->gen && f->end - f->len < n)
			n = f->end - f->len;
	}
	return n;
}

static uint32_t take_idle(void)
{
	uint32_t buf = fk.idle[--fk.idles];

	fk.ours[buf] = false;
	memset(frame(buf), 0xee, fk.reg.frame_size);
	return buf;
}

static void land(size_t i)
{
	struct fk_flight f = fk.flights[i];

	/* what was sent must be what is there when it was acknowledged */
	if (memcmp(frame(f.buf) + f.off, f.copy, f.len))
		fk.violations++;
	free(f.copy);
	fk.flights[i] = fk.flights[--fk.nflights];
	if (fk.ours[f.buf] && !busy(f.buf))
		fk.idle[fk.idles++] = f.buf;
}

void fk_ack_all(void)
{
	while (fk.nflights)
		land(fk.nflights - 1);
}

static void take_off(const struct stackmap_slot *slot, uint32_t len,
		     const struct fk_sock *sock)
{
	struct fk_flight *f;

	fk.flights = must(__real_realloc(fk.flights, (fk.nflights + 1) *
						     sizeof(*fk.flights)));
	f = &fk.flights[fk.nflights++];
	f->buf = slot->buf;
	f->off = slot->off;
	f->len = len;
	f->gen = sock->gen;
	f->end = sock->out.len;
	f->copy = must(__real_malloc(len + 1));
	memcpy(f->copy, frame(slot->buf) + slot->off, len);
}

/* What connections refer to */
static void audit_chunks(struct stackmap_conn **conns, uint32_t n, unsigned char *owned,
			 uint32_t *lent)
{
	for (uint32_t i = 0; i < n; i++) {
		struct stackmap_chunk *chunk = NULL;

		if (conns[i])
			chunk = conns[i]->first;
		for (; chunk; chunk = chunk->next) {
			if (chunk->buf == STACKMAP_NO_BUF)
				continue;
			if (chunk->flags & STACKMAP_TX_KEEP)
				lent[chunk->buf]++;
			else
				owned[chunk->buf]++;
		}
	}
}

void fk_audit(struct stackmap_port *port, const uint32_t *held, size_t n)
{
	unsigned char *owned = must(__real_calloc(fk.reg.frames, 1));
	uint32_t *lent = must(__real_calloc(fk.reg.frames, sizeof(*lent)));
	uint32_t i, total = 0;

	for (i = 0; i < fk.rx->nslots; i++)
		owned[fk.rx->slots[i].buf]++;
	for (i = 0; i < fk.tx->nslots; i++) {
		uint32_t own = port->tx_own[i];

		owned[own == STACKMAP_NO_BUF ? fk.tx->slots[i].buf : own]++;
	}
	for (i = 0; i < port->spares; i++) {
		owned[port->spare[i]]++;
		assert_int_equal(port->bufs[port->spare[i]].owner, BUF_SPARE);
		/* whoever takes it may write to it */
		assert_false(busy(port->spare[i]));
	}
	for (i = 0; i < n; i++) {
		owned[held[i]]++;
		assert_int_equal(port->bufs[held[i]].owner, BUF_CALLER);
	}
	audit_chunks(port->conns, port->fds, owned, lent);
	audit_chunks(port->handle_conns, port->handles, owned, lent);
	for (i = 0; i < fk.reg.frames; i++) {
		uint8_t owner = port->bufs[i].owner;

		assert_int_equal(port->bufs[i].chunks, lent[i]);
		if (owner == BUF_PARKED || owner == BUF_LISTED ||
		    owner == BUF_RETURNING)
			owned[i]++;
		assert_int_equal(owned[i], fk.ours[i] ? 0 : 1);
		total += owned[i];
	}
	assert_int_equal(total, fk.reg.rx_slots + fk.reg.tx_slots +
				fk.reg.extra_bufs);
	free(owned);
	free(lent);
}

/* ---------------------------------------------------------------------- sync */

static int violation(int err)
{
	fk.violations++;
	return err;
}

/* Whether it asks for the end of a handle */
static bool ends(const struct stackmap_slot *slot)
{
	return slot->flags == STACKMAP_TX_FIN ||
	       (slot->flags & ~STACKMAP_TX_ABORT) == STACKMAP_TX_CLOSE;
}

static uint32_t memory_len(const struct stackmap_slot *slot)
{
	return (uint32_t)slot->off << 16 | slot->len;
}

static int check_slot(const struct stackmap_slot *slot)
{
	uint32_t payload = STACKMAP_TX_KEEP | STACKMAP_TX_MORE | STACKMAP_TX_ACKED;
	struct fk_sock *sock = fk_sock(slot->fd);

	if (fk.old && (slot->flags & ~(STACKMAP_TX_KEEP | STACKMAP_TX_MORE)))
		return EINVAL;
	if (slot->flags & STACKMAP_TX_CREDIT) {
		if (slot->flags != STACKMAP_TX_CREDIT || slot->len)
			return violation(EINVAL);
	} else if (ends(slot)) {
		if (slot->len || (slot->fd >= 0 && slot->fd < STACKMAP_HANDLE_MIN))
			return violation(EINVAL);
	} else if (slot->flags & STACKMAP_TX_MEMORY) {
		uint32_t len = memory_len(slot);

		if ((slot->flags & ~(payload | STACKMAP_TX_MEMORY)) || !len || len > STACKMAP_TX_MEMORY_MAX ||
		    slot->buf >= STACKMAP_MEMORIES || slot->data > fk.memory[slot->buf].len ||
		    len > fk.memory[slot->buf].len - slot->data)
			return violation(EINVAL);
	} else if (slot->flags & ~payload) {
		return violation(EINVAL);
	} else if (!slot->len) {
		if (slot->flags != STACKMAP_TX_ACKED)
			return violation(EINVAL);
	} else if (slot->buf >= fk.reg.frames || fk.ours[slot->buf] ||
		   slot->off + slot->len > size_of(slot->buf)) {
		return violation(EINVAL);
	}
	if (!sock || !sock->attached)
		return EBADF;
	if (slot->gen && slot->gen != sock->gen)
		return ESTALE;
	if ((slot->flags & STACKMAP_TX_CREDIT) || ends(slot))
		return 0;
	if (sock->shut && (slot->len || (slot->flags & STACKMAP_TX_MEMORY)))
		return EPIPE;
	return sock->tx_err;
}

static void refuse(struct stackmap_slot *slot, int err, uint32_t taken)
{
	slot->flags |= STACKMAP_TX_REFUSED;
	slot->err = (uint16_t)err;
	slot->off = (uint16_t)(slot->off + taken);
	slot->len = (uint16_t)(slot->len - taken);
	slot->taken = taken;
	fk.tx->refused++;
}

static void mark(struct fk_sock *sock)
{
	if (!sock->marked)
		sock->mark_first = sock->out.len;
	sock->mark_last = sock->out.len;
	sock->marked = true;
}

/* Payload of the program's memory, all of it right */
static void send_memory(struct fk_sock *sock, struct stackmap_slot *slot)
{
	uint32_t len = memory_len(slot), taken = len;

	if (taken > sock->room)
		taken = (uint32_t)sock->room;
	sock->room -= taken;
	fk_append(&sock->out, fk.memory[slot->buf].addr + slot->data, taken);
	if (taken == len) {
		if (slot->flags & STACKMAP_TX_ACKED)
			mark(sock);
		return;
	}
	sock->refused_in = fk.syncs;
	sock->want_room = true;
	slot->data += taken;
	refuse(slot, EAGAIN, 0);
	slot->taken = taken;
	slot->off = (uint16_t)((len - taken) >> 16);
	slot->len = (uint16_t)(len - taken);
}

static void return_buf(struct stackmap_slot *slot)
{
	if (fk.old || slot->flags != STACKMAP_TX_RETURN ||
	    slot->buf >= fk.reg.frames || fk.ours[slot->buf]) {
		fk.violations += !fk.old;
		refuse(slot, EINVAL, 0);
	} else if (!busy(slot->buf)) {
		fk.returned++;
	} else if (!fk.idles) {
		fk.returned_not++;
		refuse(slot, EAGAIN, 0);
	} else {
		fk.returned_busy++;
		fk.ours[slot->buf] = true;
		slot->buf = take_idle();
	}
}

static void change_credit(struct fk_sock *sock, uint64_t n)
{
	if (!n)
		sock->credit = 0;
	else
		sock->credit = n > UINT64_MAX - sock->credit ?
			       UINT64_MAX : sock->credit + n;
}

static void send_slot(struct stackmap_slot *slot)
{
	struct fk_sock *sock = fk_sock(slot->fd);
	uint32_t taken = slot->len;
	int err;

	if (slot->flags & STACKMAP_TX_RETURN) {
		return_buf(slot);
		return;
	}
	err = check_slot(slot);
	if (err) {
		refuse(slot, err, 0);
		return;
	}
	if (slot->flags & STACKMAP_TX_CREDIT) {
		change_credit(sock, slot->data);
		return;
	}
	if (sock->refused_in == fk.syncs && !(slot->flags & STACKMAP_TX_ABORT)) {
		sock->want_room = true;
		refuse(slot, EAGAIN, 0);
		return;
	}
	if (slot->flags & STACKMAP_TX_CLOSE) {
		fk.closes++;
		unname_sock(slot->fd);
		return;
	}
	if (slot->flags & STACKMAP_TX_FIN) {
		sock->shut = true;
		return;
	}
	if (slot->flags & STACKMAP_TX_MEMORY) {
		send_memory(sock, slot);
		return;
	}
	if (taken > sock->room)
		taken = (uint32_t)sock->room;
	sock->room -= taken;
	if (taken)
		fk_append(&sock->out, frame(slot->buf) + slot->off, taken);
	if (taken < slot->len) {
		sock->refused_in = fk.syncs;
		sock->want_room = true;
		/* half of the time what was taken is a copy, else of a kept buffer */
		if (taken && (slot->flags & STACKMAP_TX_KEEP) && !(taken & 1))
			take_off(slot, taken, sock);
		refuse(slot, EAGAIN, taken);
		return;
	}
	if (slot->flags & STACKMAP_TX_ACKED)
		mark(sock);
	if (!taken)
		return;
	if (slot->flags & STACKMAP_TX_KEEP) {
		take_off(slot, taken, sock);
	} else if (fk.idles) {
		take_off(slot, taken, sock);
		fk.ours[slot->buf] = true;
		slot->buf = take_idle();
	}
}

static struct stackmap_slot *rx_slot(const struct fk_sock *sock)
{
	uint32_t mask = fk.rx->nslots - 1;
	struct stackmap_slot *slot = &fk.rx->slots[fk.rx->tail];

	if (((fk.rx->tail + 1) & mask) == fk.rx_head)
		return NULL;
	fk.rx->tail = (fk.rx->tail + 1) & mask;
	if (fk.ours[slot->buf])
		fk.violations++;
	slot->fd = sock->name;
	slot->off = 0;
	slot->len = 0;
	slot->err = 0;
	slot->data = sock->data;
	slot->gen = sock->gen;
	slot->taken = 0;
	return slot;
}

static bool deliver_payload(struct fk_sock *sock)
{
	struct stackmap_slot *slot;
	uint32_t cap, buf;
	size_t n;

	while (sock->in_done < sock->in.len && sock->credit) {
		slot = rx_slot(sock);
		if (!slot)
			return false;
		slot->flags = STACKMAP_RX_DATA;
		if (busy(slot->buf))
			fk.violations++;
		if (fk.random && fk.idles && fk_rand(2)) {
			buf = slot->buf;
			slot->buf = take_idle();
			fk.ours[buf] = true;
			fk.idle[fk.idles++] = buf;
			slot->flags |= STACKMAP_RX_HANDED;
			slot->off = (uint16_t)fk_rand(fk.reg.frame_size / 2);
		}
		cap = size_of(slot->buf) - slot->off;
		n = sock->in.len - sock->in_done;
		if (n > cap)
			n = cap;
		if (n > sock->credit)
			n = (size_t)sock->credit;
		slot->len = (uint16_t)n;
		memcpy(frame(slot->buf) + slot->off,
		       sock->in.p + sock->in_done, n);
		sock->in_done += n;
		if (sock->credit != UINT64_MAX)
			sock->credit -= n;
	}
	return true;
}

static bool deliver(struct fk_sock *sock)
{
	uint16_t events = sock->events;
	struct stackmap_slot *slot;
	size_t n = acked(sock);

	if (!deliver_payload(sock))
		return false;
	if (sock->in_done < sock->in.len)
		events &= (uint16_t)~(STACKMAP_RX_FIN | STACKMAP_RX_ERROR);
	if (sock->marked && n >= sock->mark_first)
		events |= STACKMAP_RX_ACKED;
	if (!events)
		return true;
	slot = rx_slot(sock);
	if (!slot)
		return false;
	slot->flags = events;
	slot->err = sock->err;
	if (events & STACKMAP_RX_ACKED) {
		slot->taken = (uint32_t)(n - sock->base);
		sock->marked = n < sock->mark_last;
		sock->mark_first = sock->mark_last;
	}
	if (events & STACKMAP_RX_ERROR)
		sock->marked = false;
	sock->events &= (uint16_t)~events;
	return true;
}

static void attach_as(struct fk_sock *sock, int name, uint64_t data)
{
	sock->attached = true;
	sock->name = name;
	sock->data = data;
	sock->gen = ++fk.gen;
	sock->base = sock->out.len;
	sock->credit = UINT64_MAX;
}

/* Who waits comes as a handle, if its listener is one for that and there is a slot */
static void accept_waiting(void)
{
	struct fk_sock *sock = fk.waiting;
	struct stackmap_accepted about = { .addrlen = 16 };
	struct stackmap_slot *slot;

	if (!sock || !sock->listener->attached || !sock->listener->accepts)
		return;
	if (((fk.rx->tail + 1) & (fk.rx->nslots - 1)) == fk.rx_head)
		return;
	fk.waiting = NULL;
	attach_as(sock, name_sock(fk.handles, STACKMAP_HANDLE_MIN, sock), sock->listener->data);
	slot = rx_slot(sock);
	slot->flags = STACKMAP_RX_ACCEPTED;
	about.fd = sock->listener->name;
	about.gen = sock->listener->gen;
	slot->len = sizeof(about);
	memcpy(frame(slot->buf), &about, sizeof(about));
}

/* Whether index is in the application's part [from, tail], of a ring */
static bool valid_head(const struct stackmap_ring *ring, uint32_t from)
{
	uint32_t mask = ring->nslots - 1;

	return ring->head < ring->nslots &&
	       ((ring->head - from) & mask) <= ((ring->tail - from) & mask);
}

static int do_sync(const struct stackmap_sync *req)
{
	uint32_t mask = fk.tx->nslots - 1;

	if (req->reserved || (req->watch && !(req->flags & STACKMAP_SYNC_WATCH)) || !valid_head(fk.rx, fk.rx_head) ||
	    !valid_head(fk.tx, fk.tx_head)) {
		fk.violations++;
		errno = EINVAL;
		return -1;
	}
	fk.syncs++;
	fk.last_wait_us = req->wait_us;
	fk.watched = req->flags & STACKMAP_SYNC_WATCH ? req->watch : -1;
	fk.rx->told = fk.told;
	if (req->flags & STACKMAP_SYNC_SLEEP)
		fk.sleeps++;
	fk.tx->refused = 0;
	for (; fk.tx_head != fk.tx->head; fk.tx_head = (fk.tx_head + 1) & mask)
		send_slot(&fk.tx->slots[fk.tx_head]);
	fk.tx->tail = (fk.tx_head - 1) & mask;
	while (fk.random && fk.nflights && fk_rand(8))
		land(fk_rand((unsigned int)fk.nflights));
	fk.rx_head = fk.rx->head;
	for (int i = 0; i < FK_FDS; i++) {
		if (fk.socks[i] && fk.socks[i]->attached && fk.socks[i]->name == FK_FD_MIN + i &&
		    !deliver(fk.socks[i]))
			break;
	}
	accept_waiting();
	for (int i = 0; i < FK_FDS; i++) {
		if (fk.handles[i] && fk.handles[i]->attached && !deliver(fk.handles[i]))
			break;
	}
	if (fk.after_sync) {
		fk.after_sync->buf = fk.after.buf;
		fk.after_sync->data = fk.after.data;
		fk.after_sync->off = fk.after.off;
		fk.after_sync = NULL;
	}
	return (int)((fk.rx->tail - fk.rx_head) & (fk.rx->nslots - 1));
}

/* -------------------------------------------------------------- opening a port */

static struct stackmap_ring *make_ring(uint64_t off, uint32_t slots,
				       uint32_t *buf)
{
	struct stackmap_ring *ring = (struct stackmap_ring *)(fk.map + off);

	ring->nslots = slots;
	for (uint32_t i = 0; i < slots; i++)
		ring->slots[i].buf = (*buf)++;
	return ring;
}

static int do_register(struct stackmap_register *reg)
{
	uint32_t *extra, buf = 0;

	if (reg->version != STACKMAP_ABI_VERSION || reg->flags) {
		errno = EINVAL;
		return -1;
	}
	if (!reg->rx_slots)
		reg->rx_slots = 1024;
	if (!reg->tx_slots)
		reg->tx_slots = 1024;
	if (!reg->pool_bufs)
		reg->pool_bufs = fk.pool;
	reg->frame_size = fk.frame_size;
	reg->large_first = reg->rx_slots + reg->tx_slots + reg->extra_bufs +
			   reg->pool_bufs;
	reg->frames = reg->large_first + reg->large_bufs * (reg->large_size / reg->frame_size);
	reg->rx_off = 0;
	reg->tx_off = sizeof(struct stackmap_ring) +
		      reg->rx_slots * sizeof(struct stackmap_slot);
	reg->extra_off = reg->tx_off + sizeof(struct stackmap_ring) +
			 reg->tx_slots * sizeof(struct stackmap_slot);
	reg->frames_off = reg->extra_off + 4ull * reg->extra_bufs;
	reg->map_size = reg->frames_off + (uint64_t)reg->frames * reg->frame_size;
	fk.reg = *reg;
	/* as the module's: a child does not inherit it */
	fk.map = __real_mmap(NULL, reg->map_size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fk.map == MAP_FAILED || madvise(fk.map, reg->map_size, MADV_DONTFORK))
		abort();
	fk.rx = make_ring(reg->rx_off, reg->rx_slots, &buf);
	fk.tx = make_ring(reg->tx_off, reg->tx_slots, &buf);
	fk.tx->tail = reg->tx_slots - 1;
	fk.rx_head = 0;
	fk.tx_head = 0;
	extra = (uint32_t *)(fk.map + reg->extra_off);
	for (uint32_t i = 0; i < reg->extra_bufs; i++)
		extra[i] = buf++;
	fk.frames = fk.map + reg->frames_off;
	fk.ours = must(__real_calloc(reg->frames, sizeof(*fk.ours)));
	fk.idle = must(__real_calloc(reg->frames, sizeof(*fk.idle)));
	fk.idles = 0;
	for (; buf < reg->large_first; buf++) {
		fk.ours[buf] = true;
		fk.idle[fk.idles++] = buf;
	}
	/* (Large ones are never idle here: a test that wants one takes it) */
	for (; buf < reg->frames; buf++)
		fk.ours[buf] = true;
	return 0;
}

static void drop_port(void)
{
	while (fk.nflights)
		free(fk.flights[--fk.nflights].copy);
	free(fk.flights);
	if (fk.map)
		__real_munmap(fk.map, fk.reg.map_size);
	free(fk.ours);
	free(fk.idle);
	fk.flights = NULL;
	fk.map = NULL;
	fk.ours = NULL;
	fk.idle = NULL;
}

void fk_reset(void)
{
	drop_port();
	fk.closed = NULL;
	for (int i = 0; i < FK_FDS; i++) {
		if (fk.socks[i])
			unname_sock(FK_FD_MIN + i);
		if (fk.handles[i])
			unname_sock(STACKMAP_HANDLE_MIN + i);
	}
	if (fk.waiting)
		free_sock(fk.waiting);
	memset(&fk, 0, sizeof(fk));
	fk.frame_size = 64;
	fk.pool = 64;
	fk.seed = 1;
}

static int do_port(struct stackmap_register *reg)
{
	if (!fk.map) {
		errno = ENXIO;
		return -1;
	}
	*reg = fk.reg;
	return 0;
}

static int do_attach(struct stackmap_attach *req)
{
	struct fk_sock *sock = fk_sock(req->fd);

	if (!sock || req->fd >= STACKMAP_HANDLE_MIN) {
		errno = EBADF;
		return -1;
	}
	if (sock->attached) {
		errno = EALREADY;
		return -1;
	}
	if (fk.old && req->flags) {
		errno = EINVAL;
		return -1;
	}
	if (req->flags & STACKMAP_ATTACH_HANDLE)
		req->fd = name_sock(fk.handles, STACKMAP_HANDLE_MIN, sock);
	sock->accepts = req->flags & STACKMAP_ATTACH_ACCEPT;
	attach_as(sock, req->fd, req->data);
	req->gen = sock->gen;
	return 0;
}

static int do_handle_fd(const struct stackmap_handle_fd *req)
{
	struct fk_sock *sock = fk_sock(req->handle);
	int fd;

	if (!sock || req->handle < STACKMAP_HANDLE_MIN) {
		errno = EBADF;
		return -1;
	}
	if (req->gen != sock->gen || req->reserved)
		fk.violations++;
	fd = name_sock(fk.socks, FK_FD_MIN, sock);
	sock->fd = fd;
	return fd;
}

static int do_memory(struct stackmap_memory *req)
{
	uint32_t id;

	if (fk.old) {
		errno = ENOTTY;
		return -1;
	}
	if (req->flags == STACKMAP_MEMORY_FORGET) {
		if (req->id >= STACKMAP_MEMORIES || !fk.memory[req->id].len || req->addr || req->len) {
			errno = EBADF;
			return -1;
		}
		fk.memory[req->id].len = 0;
		return 0;
	}
	if (req->flags || req->id)
		fk.violations++;
	if (!req->len) {
		errno = EINVAL;
		return -1;
	}
	for (id = 0; id < STACKMAP_MEMORIES && fk.memory[id].len; id++)
		;
	if (id == STACKMAP_MEMORIES) {
		errno = ENOSPC;
		return -1;
	}
	fk.memory[id].addr = (const unsigned char *)(uintptr_t)req->addr;
	fk.memory[id].len = req->len;
	req->id = id;
	return 0;
}

static int do_detach(const struct stackmap_detach *req)
{
	struct fk_sock *sock = fk_sock(req->fd);

	if (!sock || !sock->attached) {
		errno = EBADF;
		return -1;
	}
	if (req->flags & STACKMAP_DETACH_UNREAD) {
		const struct stackmap_unread *u = (const void *)(uintptr_t)req->unread;

		if (u->len > sizeof(fk.unread) || u->gen != sock->gen) {
			fk.violations++;
			return 0;
		}
		memcpy(fk.unread, (const void *)(uintptr_t)u->addr, u->len);
		fk.unread_len = u->len;
	}
	sock->attached = false;
	if (req->fd >= STACKMAP_HANDLE_MIN) {
		if (!sock->fd)
			fk.violations++;
		unname_sock(req->fd);
	}
	return 0;
}

static int do_info(struct stackmap_info *info)
{
	if (info->version != STACKMAP_ABI_VERSION || info->index) {
		errno = info->index ? ENOENT : EPROTONOSUPPORT;
		return -1;
	}
	*info = fk.info;
	return 0;
}

static int do_detail(struct stackmap_detail *detail)
{
	struct stackmap_detail zeros = { .info = detail->info };

	if (memcmp(detail, &zeros, sizeof(zeros)))
		return violation(EINVAL);
	if (do_info(&detail->info))
		return -1;
	detail->memory = 12345;
	return 0;
}

/* ---------------------------------------------------------------- system calls */

static bool fails(int *err)
{
	if (!*err)
		return false;
	errno = *err;
	*err = 0;
	return true;
}

int __wrap_ioctl(int fd, unsigned long cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = cmd == STACKMAP_IOC_WAKE ? NULL : va_arg(ap, void *);
	va_end(ap);
	assert_int_equal(fd, FK_PORT_FD);
	if (fails(&fk.ioctl_errno[_IOC_NR(cmd) & 15]))
		return -1;
	switch (cmd) {
	case STACKMAP_IOC_REGISTER:
		return do_register(arg);
	case STACKMAP_IOC_ATTACH:
		return do_attach(arg);
	case STACKMAP_IOC_DETACH:
		return do_detach(arg);
	case STACKMAP_IOC_SYNC:
		return do_sync(arg);
	case STACKMAP_IOC_INFO:
		return do_info(arg);
	case STACKMAP_IOC_DETAIL:
		return do_detail(arg);
	case STACKMAP_IOC_WAKE:
		fk.wakes++;
		return 0;
	case STACKMAP_IOC_PORT:
		return do_port(arg);
	case STACKMAP_IOC_HANDLE_FD:
		return do_handle_fd(arg);
	case STACKMAP_IOC_MEMORY:
		return do_memory(arg);
	default:
		errno = ENOTTY;
		return -1;
	}
}

int __wrap_open(const char *path, int flags, ...)
{
	if (strcmp(path, STACKMAP_DEVICE))
		return __real_open(path, flags);
	if (fails(&fk.open_errno))
		return -1;
	fk.opens++;
	return FK_PORT_FD;
}

int __wrap_close(int fd)
{
	struct fk_sock *sock = fk_sock(fd);

	if (fd == FK_PORT_FD) {
		fk.opens--;
		for (int i = 0; i < FK_FDS; i++) {
			if (fk.handles[i])
				unname_sock(STACKMAP_HANDLE_MIN + i);
		}
		return 0;
	}
	if (!sock)
		return __real_close(fd);
	/* Not with a handle's number, which the real one does not know */
	if (fd >= STACKMAP_HANDLE_MIN)
		fk.violations++;
	fk.closes++;
	unname_sock(fd);
	return 0;
}

int __wrap_fcntl(int fd, int cmd, ...)
{
	if (fk_sock(fd))
		return 0;
	return __real_fcntl(fd, cmd, 0);
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t off)
{
	if (fd != FK_PORT_FD)
		return __real_mmap(addr, len, prot, flags, fd, off);
	if (fails(&fk.mmap_errno))
		return MAP_FAILED;
	if (len != fk.reg.map_size || off)
		return MAP_FAILED;
	mprotect(fk.map, len, PROT_READ | PROT_WRITE);
	return fk.map;
}

int __wrap_munmap(void *addr, size_t len)
{
	/* Who writes to it afterwards is to be seen; it goes with the file */
	return addr == fk.map ? mprotect(fk.map, len, PROT_NONE) : __real_munmap(addr, len);
}

int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts,
		 const sigset_t *sigmask)
{
	if (!n) {
		assert_non_null(sigmask);
		return fk.signals();
	}
	assert_int_equal(n, 1);
	assert_int_equal(fds->fd, FK_PORT_FD);
	fds->revents = POLLIN;
	return fk.poll(ts ? (int)(ts->tv_sec * 1000 + ts->tv_nsec / 1000000) : -1);
}

int __wrap_shutdown(int fd, int how)
{
	assert_int_equal(how, SHUT_WR);
	fk_sock(fd)->shut = true;
	return 0;
}

unsigned int __wrap_if_nametoindex(const char *name)
{
	return strcmp(name, "fake0") ? 0 : 7;
}
