// SPDX-License-Identifier: GPL-2.0
/*
 * zcrx.c - of bench-iouring: whether a NIC's queue can receive without a copy by io_uring (Linux 6.15)
 *
 * A NIC that can puts payload in pages of the application, and headers elsewhere: its driver has to have
 * queue management operations, and header split. There is no server for it here, as virtio_net of 7.3 does
 * not take it (EOPNOTSUPP). So this only asks, as such a server would at its start, and says what was
 * answered: a rival that is missing with a reason.
 */
#include <errno.h>
#include <liburing.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zcrx.h"

/* linux/io_uring.h and linux/io_uring/zcrx.h; Debian 12's headers are older */
#define REGISTER_ZCRX_IFQ	32
#define MEM_REGION_TYPE_USER	1
#define REG_NODEV		2	/* no NIC: all is copied */

struct region_desc {
	uint64_t user_addr, size;
	uint32_t flags, id;
	uint64_t mmap_offset, resv[4];
};

struct zcrx_area_reg {
	uint64_t addr, len, rq_area_token;
	uint32_t flags, dmabuf_fd;
	uint64_t resv[2];
};

struct zcrx_ifq_reg {
	uint32_t if_idx, if_rxq, rq_entries, flags;
	uint64_t area_ptr, region_ptr;
	uint32_t head, tail, rqes, resv2;	/* struct io_uring_zcrx_offsets */
	uint64_t offsets_resv[2];
	uint32_t zcrx_id, rx_buf_len;
	uint64_t event_desc, resv[2];
};

#define RQ_ENTRIES	256
#define REGION_SIZE	(4096 + RQ_ENTRIES * 16)	/* a page of head and tail, and entries of 16 bytes */
#define AREA_SIZE	(4 << 20)

static int ask(const struct io_uring *ring, unsigned int if_idx, uint32_t flags)
{
	struct zcrx_area_reg area = { .len = AREA_SIZE };
	struct region_desc region = { .size = REGION_SIZE, .flags = MEM_REGION_TYPE_USER };
	struct zcrx_ifq_reg reg = {
		.if_idx = if_idx,
		.rq_entries = RQ_ENTRIES,
		.flags = flags,
		.area_ptr = (uintptr_t)&area,
		.region_ptr = (uintptr_t)&region,
	};
	void *mem = mmap(NULL, AREA_SIZE + REGION_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err = 0;

	if (mem == MAP_FAILED)
		return errno;
	area.addr = (uintptr_t)mem;
	region.user_addr = area.addr + AREA_SIZE;
	if (syscall(__NR_io_uring_register, ring->ring_fd, REGISTER_ZCRX_IFQ, &reg, 1))
		err = errno;
	munmap(mem, AREA_SIZE + REGION_SIZE);	/* the kernel has references of its own */
	return err;
}

static void say(const char *interface, const char *what, int err)
{
	if (err)
		printf("bench-iouring: %s: %s: refused: errno %d (%s)\n", interface, what, err, strerror(err));
	else
		printf("bench-iouring: %s: %s: taken\n", interface, what);
}

int zcrx_probe(const char *interface)
{
	/* What it wants of a ring */
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQE32,
	};
	unsigned int if_idx = if_nametoindex(interface);
	struct io_uring ring;
	int err, nic;

	if (!if_idx) {
		fprintf(stderr, "bench-iouring: --zcrx: no such interface: %s\n", interface);
		return 1;
	}
	err = -io_uring_queue_init_params(64, &ring, &params);
	if (err) {
		say(interface, "a ring", err);
		return 1;
	}
	nic = ask(&ring, if_idx, 0);
	say(interface, "zero-copy receive from its first queue (IORING_REGISTER_ZCRX_IFQ)", nic);
	/* Tells whether it was the kernel that refused, or the NIC's driver */
	say("no NIC", "the same interface with copies (ZCRX_REG_NODEV, newer)", ask(&ring, 0, REG_NODEV));
	io_uring_queue_exit(&ring);
	return nic ? 1 : 0;
}
