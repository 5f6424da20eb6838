// SPDX-License-Identifier: GPL-2.0
/*
 * lwip-xdp.c - of bench-lwip: frames by AF_XDP, as the kernel's af_xdp.rst recommends for throughput
 *
 *  - Received frames are lwIP's buffers (custom pbufs) where they lie, and come back to the fill
 *    ring when it is done with them.
 *  - Its own busy polling (SO_PREFER_BUSY_POLL): with one processor, the kernel works off the NIC in
 *    our system calls and interrupts stay off (the administrator sets gro_flush_timeout and
 *    napi_defer_hard_irqs, bench/lib.sh does). One call per batch each way.
 *
 * Only TCP to our port comes here; all else (ARP, ICMP) is the kernel's, whose address we share.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "lwip-nic.h"
#include "xdp.h"

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL	69
#define SO_BUSY_POLL_BUDGET	70
#endif

#define FRAME		2048u
#define RING		4096u		/* entries of each ring */
#define FRAMES		(2 * RING)	/* the first half for receiving, the second for sending */
#define BATCH		256u

/* One of the four rings of an AF_XDP socket */
struct ring {
	uint32_t *producer;
	uint32_t *consumer;
	uint32_t *flags;
	void *desc;
};

/* A received frame as lwIP has it. The first member, so that a pbuf is a frame */
struct frame {
	struct pbuf_custom pbuf;
	uint64_t addr;
};

static struct {
	int xsk;
	char *umem;
	struct ring rx, tx, fill, done;
	uint64_t spare[RING];	/* frames to send */
	unsigned int spares;
	struct frame frames[RING];
} nic;

const char nic_usage[] = "  --interface NAME  its first queue, through AF_XDP (eth0)\n";

static int fail(const char *what)
{
	fprintf(stderr, "bench-lwip: %s: %s\n", what, strerror(errno));
	return -1;
}

static inline uint32_t load_acquire(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void store_release(uint32_t *p, uint32_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

/* A frame of ours to receive into. There is always room: the ring has an entry for each */
static void give_frame(uint64_t addr)
{
	uint32_t head = *nic.fill.producer;

	((uint64_t *)nic.fill.desc)[head % RING] = addr;
	store_release(nic.fill.producer, head + 1);
}

static void frame_free(struct pbuf *p)
{
	give_frame(((struct frame *)p)->addr);
}

static void reap_sent(void)
{
	uint32_t tail = *nic.done.consumer, head = load_acquire(nic.done.producer);

	for (; tail != head; tail++)
		nic.spare[nic.spares++] = ((uint64_t *)nic.done.desc)[tail % RING];
	store_release(nic.done.consumer, tail);
}

char *nic_frame(size_t len)
{
	uint32_t head = *nic.tx.producer;
	uint64_t addr;

	if (!nic.spares)
		reap_sent();
	if (!nic.spares || len > FRAME)
		return NULL;
	addr = nic.spare[--nic.spares];
	((struct xdp_desc *)nic.tx.desc)[head % RING] = (struct xdp_desc){ .addr = addr, .len = len };
	/* The kernel looks when nic_poll() has it do so, and by then the frame is filled */
	store_release(nic.tx.producer, head + 1);
	return nic.umem + addr;
}

static void input(const struct xdp_desc *desc)
{
	uint64_t base = desc->addr & ~(uint64_t)(FRAME - 1);
	struct frame *frame = &nic.frames[base / FRAME];

	frame->addr = base;
	frame->pbuf.custom_free_function = frame_free;
	nic_input(&frame->pbuf, nic.umem + desc->addr, desc->len);
}

/* Returns how many frames came */
static unsigned int receive(void)
{
	uint32_t tail = *nic.rx.consumer, head = load_acquire(nic.rx.producer), n = head - tail;
	uint32_t i;

	if (n > BATCH)
		n = BATCH;
	for (i = 0; i < n; i++)
		input((struct xdp_desc *)nic.rx.desc + (tail + i) % RING);
	store_release(nic.rx.consumer, tail + n);
	return n;
}

static int map_ring(struct ring *ring, const struct xdp_ring_offset *off, size_t entry, off_t where)
{
	char *map = mmap(NULL, off->desc + RING * entry, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, nic.xsk, where);

	if (map == MAP_FAILED)
		return fail("mmap");
	ring->producer = (uint32_t *)(map + off->producer);
	ring->consumer = (uint32_t *)(map + off->consumer);
	ring->flags = (uint32_t *)(map + off->flags);
	ring->desc = map + off->desc;
	return 0;
}

static int rings_init(void)
{
	struct xdp_umem_reg umem = { .len = FRAMES * FRAME, .chunk_size = FRAME };
	static const int names[] = {
		XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING,
	};
	struct xdp_mmap_offsets off;
	socklen_t len = sizeof(off);
	uint32_t entries = RING;
	unsigned int i;

	nic.umem = mmap(NULL, umem.len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (nic.umem == MAP_FAILED)
		return fail("memory");
	umem.addr = (uintptr_t)nic.umem;
	if (setsockopt(nic.xsk, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)))
		return fail("XDP_UMEM_REG");
	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (setsockopt(nic.xsk, SOL_XDP, names[i], &entries, sizeof(entries)))
			return fail("the rings");
	if (getsockopt(nic.xsk, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len))
		return fail("XDP_MMAP_OFFSETS");
	if (map_ring(&nic.fill, &off.fr, sizeof(uint64_t), XDP_UMEM_PGOFF_FILL_RING) ||
	    map_ring(&nic.done, &off.cr, sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING) ||
	    map_ring(&nic.rx, &off.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING) ||
	    map_ring(&nic.tx, &off.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING))
		return -1;
	for (i = 0; i < RING; i++) {
		give_frame((uint64_t)i * FRAME);
		nic.spare[nic.spares++] = (uint64_t)(RING + i) * FRAME;
	}
	return 0;
}

/* TCP to our port goes to socket 0 of a map, the rest its ordinary way */
static int redirect(unsigned int ifindex, uint16_t port)
{
	static char log[65536];
	union bpf_attr map = {
		.map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = 1,
	};
	uint32_t key = 0, value = (uint32_t)nic.xsk;
	int mapfd = (int)syscall(__NR_bpf, BPF_MAP_CREATE, &map, sizeof(map)), prog;
	union bpf_attr update = {
		.map_fd = (uint32_t)mapfd, .key = (uintptr_t)&key, .value = (uintptr_t)&value,
	};
	const struct bpf_insn insns[] = {
		LOAD(BPF_W, 2, 1, offsetof(struct xdp_md, data)),
		LOAD(BPF_W, 3, 1, offsetof(struct xdp_md, data_end)),
		MOV(4, 2),
		ADD_IMM(4, HEADERS),
		IF_GT(4, 3, 14),
		LOAD(BPF_H, 4, 2, TYPE),
		UNLESS_EQ(4, htons(0x0800), 12),
		LOAD(BPF_B, 4, 2, IP),
		UNLESS_EQ(4, 0x45, 10),
		LOAD(BPF_B, 4, 2, PROTOCOL),
		UNLESS_EQ(4, IPPROTO_TCP, 8),
		LOAD(BPF_H, 4, 2, DPORT),
		UNLESS_EQ(4, htons(port), 6),
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, mapfd),
		INSN(0, 0, 0, 0, 0),
		MOV_IMM(2, 0),
		MOV_IMM(3, XDP_PASS),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
		EXIT,
		MOV_IMM(0, XDP_PASS),
		EXIT,
	};

	if (mapfd < 0)
		return fail("XSKMAP");
	prog = xdp_load(insns, sizeof(insns) / sizeof(*insns), log, sizeof(log));
	if (prog < 0) {
		fputs(log, stderr);
		return fail("the XDP program");
	}
	if (syscall(__NR_bpf, BPF_MAP_UPDATE_ELEM, &update, sizeof(update)) ||
	    xdp_attach(prog, ifindex) < 0)
		return fail("attaching the XDP program");
	return 0;
}

int nic_init(const char *name, uint16_t port, uint32_t address, const char **how)
{
	struct sockaddr_xdp addr = {
		.sxdp_family = AF_XDP, .sxdp_flags = XDP_USE_NEED_WAKEUP,
		.sxdp_ifindex = if_nametoindex(name),
	};
	int one = 1, usecs = 20, budget = 64;
	struct xdp_options options;
	socklen_t len = sizeof(options);

	(void)address;
	nic.xsk = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (nic.xsk < 0)
		return fail("AF_XDP");
	if (rings_init())
		return -1;
	if (setsockopt(nic.xsk, SOL_SOCKET, SO_PREFER_BUSY_POLL, &one, sizeof(one)) ||
	    setsockopt(nic.xsk, SOL_SOCKET, SO_BUSY_POLL, &usecs, sizeof(usecs)) ||
	    setsockopt(nic.xsk, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof(budget)))
		return fail("busy polling");
	/* The kernel takes zero copy where the driver has it */
	if (bind(nic.xsk, (struct sockaddr *)&addr, sizeof(addr)))
		return fail("bind");
	if (getsockopt(nic.xsk, SOL_XDP, XDP_OPTIONS, &options, &len))
		return fail("XDP_OPTIONS");
	*how = options.flags & XDP_OPTIONS_ZEROCOPY ? ", zero copy" : "";
	return redirect(addr.sxdp_ifindex, port);
}

int nic_poll(void)
{
	unsigned int n = receive();

	if (*nic.tx.producer != load_acquire(nic.tx.consumer) &&
	    sendto(nic.xsk, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
	    errno != EBUSY && errno != ENOBUFS && errno != EINTR)
		return fail("sending");
	reap_sent();
	if (!n)
		recvfrom(nic.xsk, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	return (int)n;
}
