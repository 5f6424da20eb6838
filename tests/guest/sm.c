// SPDX-License-Identifier: GPL-2.0
/*
 * sm.c - the raw ABI, with as little in between as tests can bear
 */
#include "sm.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "net.h"
#include "tap.h"

int sm_open(void)
{
	int fd = open(STACKMAP_DEVICE, O_RDWR | O_CLOEXEC);

	CHECKF(fd >= 0, "%s", strerror(errno));
	return fd;
}

/* How many ports this network namespace has */
int sm_ports(void)
{
	struct stackmap_info info;
	int fd = open(STACKMAP_DEVICE, O_RDWR | O_CLOEXEC);
	int n;

	if (fd < 0)
		return -1;
	for (n = 0;; n++) {
		memset(&info, 0, sizeof(info));
		info.version = STACKMAP_ABI_VERSION;
		info.index = n;
		if (ioctl(fd, STACKMAP_IOC_INFO, &info))
			break;
	}
	close(fd);
	return n;
}

struct stackmap_register sm_reg(const char *ifname, uint32_t slots)
{
	struct stackmap_register reg = {
		.version = STACKMAP_ABI_VERSION,
		.ifindex = if_nametoindex(ifname),
		.rx_slots = slots,
		.tx_slots = slots,
	};
	const char *large = getenv("SM_LARGE");

	if (large && *large) {
		reg.large_size = atoi(large);
		reg.large_bufs = slots ? 2 * slots : 512;
	}
	return reg;
}

void sm_new(struct sm *sm, const struct stackmap_register *reg)
{
	memset(sm, 0, sizeof(*sm));
	sm->reg = *reg;
	sm->fd = sm_open();
	CHECKF(!ioctl(sm->fd, STACKMAP_IOC_REGISTER, &sm->reg), "%s", strerror(errno));
	sm->map = mmap(NULL, sm->reg.map_size, PROT_READ | PROT_WRITE, MAP_SHARED, sm->fd, 0);
	CHECKF(sm->map != MAP_FAILED, "%s", strerror(errno));
	sm->rx = (void *)(sm->map + sm->reg.rx_off);
	sm->tx = (void *)(sm->map + sm->reg.tx_off);
	sm->extra = (void *)(sm->map + sm->reg.extra_off);
	EQ(sm->rx->nslots, sm->reg.rx_slots);
	EQ(sm->tx->nslots, sm->reg.tx_slots);
	EQ(sm->rx->head, sm->rx->tail);
}

/* Small: quick to make, and soon full */
void sm_new_small(struct sm *sm, uint32_t slots)
{
	struct stackmap_register reg = sm_reg(here ? here->ifname : IFNAME, slots);

	reg.pool_bufs = 64;
	sm_new(sm, &reg);
}

/*
 * A packet that a local peer has read on another processor than the one that made it is freed as that one
 * next receives something (skb_attempt_defer_free()): so all of them do
 */
static void each_cpu_receives(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), i;
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, "127.0.0.1", 0);
	cpu_set_t all, one;

	CHECK(!sched_getaffinity(0, sizeof(all), &all));
	CHECK(!bind(fd, (void *)&ss, len) && !getsockname(fd, (void *)&ss, &len));
	for (i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		CHECK(!sched_setaffinity(0, sizeof(one), &one));
		sendto(fd, "", 1, 0, (void *)&ss, len);
	}
	CHECK(!sched_setaffinity(0, sizeof(all), &all));
	close(fd);
}

/* All frames are accounted for, and once nothing is in flight none is lost */
void sm_settle(struct sm *sm)
{
	double end = mono() + 30 * slow();
	struct stackmap_stats s;

	do {
		sm_try_sync(sm->fd, 0, 0);
		s = sm_info(sm).stats;
		EQ(s.frames_user + s.frames_pool + s.frames_flight + s.frames_nic, sm_buffers(sm));
		if (!s.frames_flight)
			return;
		each_cpu_receives();
		usleep(10000);
	} while (mono() < end);
	EQ(s.frames_flight, 0);
}

void sm_close(struct sm *sm)
{
	munmap(sm->map, sm->reg.map_size);
	close(sm->fd);
	sm->fd = -1;
}

int sm_try_attach(int port, int fd, uint64_t data, uint32_t *gen)
{
	struct stackmap_attach a = { .fd = fd, .data = data };
	int ret = ioctl(port, STACKMAP_IOC_ATTACH, &a);

	if (gen)
		*gen = a.gen;
	return ret;
}

int sm_try_detach(int port, int fd)
{
	struct stackmap_detach d = { .fd = fd };

	return ioctl(port, STACKMAP_IOC_DETACH, &d);
}

void (*sm_around_sync)(bool before);
bool sm_short_of_memory;

int sm_try_sync(int port, uint32_t flags, uint32_t wait_us)
{
	struct stackmap_sync s = { .flags = flags, .wait_us = wait_us };
	int ret, err;

	if (sm_around_sync)
		sm_around_sync(true);
	ret = ioctl(port, STACKMAP_IOC_SYNC, &s);
	err = errno;
	if (sm_around_sync)
		sm_around_sync(false);
	errno = err;
	return ret;
}

uint32_t sm_attach(struct sm *sm, int fd, uint64_t data)
{
	uint32_t gen;
	int ret;

	do
		ret = sm_try_attach(sm->fd, fd, data, &gen);
	while (ret && errno == ENOMEM && sm_short_of_memory);
	CHECKF(!ret, "fd %d: %s", fd, strerror(errno));
	CHECK(gen != 0);
	return gen;
}

int sm_sync(struct sm *sm, uint32_t wait_us)
{
	uint32_t mask = sm->rx->nslots - 1;
	int ret;

	__atomic_store_n(&sm->tx->head, sm->tx_head, __ATOMIC_RELEASE);
	__atomic_store_n(&sm->rx->head, sm->head, __ATOMIC_RELEASE);
	ret = sm_try_sync(sm->fd, 0, wait_us);
	CHECKF(ret >= 0, "%s", strerror(errno));
	EQ(ret, (__atomic_load_n(&sm->rx->tail, __ATOMIC_ACQUIRE) - sm->head) & mask);
	EQ(sm->tx->tail, (sm->tx_head - 1) & (sm->tx->nslots - 1));
	return ret;
}

struct stackmap_info sm_info(struct sm *sm)
{
	struct stackmap_info info;
	int i;

	for (i = 0;; i++) {
		memset(&info, 0, sizeof(info));
		info.version = STACKMAP_ABI_VERSION;
		info.index = i;
		CHECKF(!ioctl(sm->fd, STACKMAP_IOC_INFO, &info), "%s", strerror(errno));
		if (info.ifindex == sm->reg.ifindex && info.queue == sm->reg.queue)
			return info;
	}
}

struct stackmap_detail sm_detail(struct sm *sm)
{
	struct stackmap_detail d;
	int i;

	for (i = 0;; i++) {
		memset(&d, 0, sizeof(d));
		d.info.version = STACKMAP_ABI_VERSION;
		d.info.index = i;
		CHECKF(!ioctl(sm->fd, STACKMAP_IOC_DETAIL, &d), "%s", strerror(errno));
		if (d.info.ifindex == sm->reg.ifindex && d.info.queue == sm->reg.queue)
			return d;
	}
}

struct stackmap_slot *sm_peek(struct sm *sm)
{
	if (sm->head == __atomic_load_n(&sm->rx->tail, __ATOMIC_ACQUIRE))
		return NULL;
	return &sm->rx->slots[sm->head];
}

void sm_next(struct sm *sm)
{
	sm->head = (sm->head + 1) & (sm->rx->nslots - 1);
}

struct stackmap_slot *sm_wait(struct sm *sm, int ms)
{
	double end = mono() + slow() * ms / 1e3;

	while (!sm_peek(sm)) {
		if (sm_sync(sm, 1000) > 0)
			break;
		if (mono() > end)
			tap_fail(__FILE__, __LINE__, "no slot for %d ms", ms);
	}
	return sm_peek(sm);
}

void sm_read(struct sm *sm, int fd, void *to, uint32_t len, int ms)
{
	while (len) {
		struct stackmap_slot *s = sm_wait(sm, ms);

		EQ(s->fd, fd);
		EQ(s->flags & ~STACKMAP_RX_HANDED, STACKMAP_RX_DATA);
		CHECK(s->len > 0 && s->len <= len);
		CHECK(s->off + s->len <= sm_buf_size(sm, s->buf));
		memcpy(to, sm_buf(sm, s->buf) + s->off, s->len);
		to = (char *)to + s->len;
		len -= s->len;
		sm_next(sm);
	}
}

struct stackmap_slot sm_event(struct sm *sm, int fd, unsigned int flag, int ms)
{
	struct stackmap_slot s = *sm_wait(sm, ms);

	EQ(s.fd, fd);
	CHECKF(s.flags & flag, "flags are 0x%x, len %u, err %u", s.flags, s.len, s.err);
	EQ(s.len, 0);
	sm_next(sm);
	return s;
}

void sm_quiet(struct sm *sm, int ms)
{
	double end = mono() + ms / 1e3;
	struct stackmap_slot *s;

	do {
		sm_sync(sm, 1000);
		s = sm_peek(sm);
		if (s)
			tap_fail(__FILE__, __LINE__, "a slot: fd %d flags 0x%x len %u err %u",
				 s->fd, s->flags, s->len, s->err);
	} while (mono() < end);
}

struct stackmap_slot *sm_put(struct sm *sm, int fd, const void *from, uint16_t len)
{
	struct stackmap_slot *s = &sm->tx->slots[sm->tx_head];

	CHECK(sm->tx_head != sm->tx->tail);
	s->fd = fd;
	s->off = 0;
	s->len = len;
	s->flags = 0;
	s->err = 0;
	s->gen = 0;
	s->taken = 0;
	memcpy(sm_buf(sm, s->buf), from, len);
	sm->tx_head = (sm->tx_head + 1) & (sm->tx->nslots - 1);
	return s;
}

struct stackmap_slot *sm_request(struct sm *sm, int fd, uint16_t flags, uint64_t data)
{
	struct stackmap_slot *s = sm_put(sm, fd, "", 0);

	s->flags = flags;
	s->data = data;
	return s;
}

static void sm_request_now(struct sm *sm, int fd, uint16_t flags, uint64_t data)
{
	struct stackmap_slot *s = sm_request(sm, fd, flags, data);

	sm_sync(sm, 0);
	CHECKF(s->flags == flags, "flags 0x%x, not 0x%x, err %u", s->flags, flags, s->err);
}

void sm_credit(struct sm *sm, int fd, uint64_t n)
{
	sm_request_now(sm, fd, STACKMAP_TX_CREDIT, n);
}

void sm_mark(struct sm *sm, int fd)
{
	sm_request_now(sm, fd, STACKMAP_TX_ACKED, 0);
}

uint32_t sm_return(struct sm *sm, uint32_t buf, int *err)
{
	struct stackmap_slot *s = sm_request(sm, -1, STACKMAP_TX_RETURN, 0);
	uint32_t own = s->buf;

	s->buf = buf;
	sm_sync(sm, 0);
	*err = s->flags & STACKMAP_TX_REFUSED ? s->err : 0;
	buf = s->buf;
	s->buf = own;
	return buf;
}

void sm_account(struct sm *sm, uint32_t user)
{
	struct stackmap_stats s = sm_info(sm).stats;

	EQ(s.frames_user + s.frames_pool + s.frames_flight + s.frames_nic, sm_buffers(sm));
	EQ(s.frames_user, user);
}

void sm_send(struct sm *sm, int fd, const void *from, uint32_t len)
{
	while (len) {
		uint32_t n = len < sm->reg.frame_size ? len : sm->reg.frame_size;
		struct stackmap_slot *s = sm_put(sm, fd, from, n);

		sm_sync(sm, 0);
		CHECKF(!(s->flags & STACKMAP_TX_REFUSED), "err %u, taken %u", s->err, s->taken);
		EQ(sm->tx->refused, 0);
		from = (const char *)from + n;
		len -= n;
	}
}
