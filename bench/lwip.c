// SPDX-License-Identifier: GPL-2.0
/*
 * lwip.c - bench-lwip: the HTTP server on a user-level stack, Debian's lwIP, over AF_XDP
 *
 * What lwIP's documentation and the kernel's (af_xdp.rst) recommend for throughput:
 *
 *  - lwIP's raw API: its code and the server's run in one thread, no locks or switches between
 *    them. The loop never sleeps, as in other user-level stacks.
 *  - Received frames are lwIP's buffers (custom pbufs) where they lie, and come back to the fill
 *    ring when it is done with them. Responses are written by reference. Only the way out copies, a
 *    frame each, as lwIP keeps segments until they are acknowledged.
 *  - AF_XDP with its own busy polling (SO_PREFER_BUSY_POLL): with one processor, the kernel works
 *    off the NIC in our system calls and interrupts stay off (the administrator sets
 *    gro_flush_timeout and napi_defer_hard_irqs, bench/lib.sh does). One call per batch each way.
 *
 * Only TCP to our port comes here; all else (ARP, ICMP) is the kernel's, whose address we share. So
 * lwIP's ARP is not used: frames go back to where the last one came from, which does for one client.
 * Debian's lwIP computes checksums in software, has no TSO and looks for a connection in a list.
 *
 * Connections that the server has closed stay in TIME_WAIT for two minutes. lwIP ends the oldest when
 * its pool of pcbs is empty, but Debian's has malloc() for a pool, so that its lists grow by all of
 * them; and it lets none begin anew: a client that comes back to a port is ignored. So the server
 * keeps no more than TIME_WAITS, and a SYN ends one at once, as in Linux.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "binary.h"
#include "xdp.h"

#include "lwip/init.h"
#include "lwip/ip4.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL	69
#define SO_BUSY_POLL_BUDGET	70
#endif

#define FRAME		2048u
#define RING		4096u		/* entries of each ring */
#define FRAMES		(2 * RING)	/* the first half for receiving, the second for sending */
#define BATCH		256u
#define ETH		14u
#define TIME_WAITS	256u		/* connections that may be in it */

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

struct conn {
	struct tcp_pcb *pcb;
	const char *at;		/* of the response */
	size_t len;
	size_t sent;		/* of the first of those pending */
	unsigned int pending;
	bool failed;
	struct binary_conn binary;
	struct http_conn http;
};

static struct {
	int xsk;
	char *umem;
	struct ring rx, tx, fill, done;
	uint64_t spare[RING];	/* frames to send */
	unsigned int spares;
	struct frame frames[RING];
	unsigned char header[ETH];	/* of what we send */
	struct netif netif;
	struct http_canned canned;
	char *binary;
	unsigned long size;
	uint64_t requests, connections, dropped;
} server = { .header = { [12] = 0x08 } };	/* IPv4 */

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static int fail(const char *what)
{
	fprintf(stderr, "bench-lwip: %s: %s\n", what, strerror(errno));
	return -1;
}

/* ------------------------------------------------------------------ AF_XDP */

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
	uint32_t head = *server.fill.producer;

	((uint64_t *)server.fill.desc)[head % RING] = addr;
	store_release(server.fill.producer, head + 1);
}

static void frame_free(struct pbuf *p)
{
	give_frame(((struct frame *)p)->addr);
}

static void reap_sent(void)
{
	uint32_t tail = *server.done.consumer, head = load_acquire(server.done.producer);

	for (; tail != head; tail++)
		server.spare[server.spares++] = ((uint64_t *)server.done.desc)[tail % RING];
	store_release(server.done.consumer, tail);
}

/* lwIP has a packet for us */
static err_t output(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
	uint32_t head = *server.tx.producer;
	struct xdp_desc *desc = (struct xdp_desc *)server.tx.desc + head % RING;
	uint64_t addr;

	(void)netif;
	(void)to;
	if (!server.spares)
		reap_sent();
	if (!server.spares || p->tot_len > FRAME - ETH) {
		server.dropped++;	/* TCP sends it again */
		return ERR_OK;
	}
	addr = server.spare[--server.spares];
	memcpy(server.umem + addr, server.header, ETH);
	pbuf_copy_partial(p, server.umem + addr + ETH, p->tot_len, 0);
	*desc = (struct xdp_desc){ .addr = addr, .len = p->tot_len + ETH };
	store_release(server.tx.producer, head + 1);
	return ERR_OK;
}

/* A client may use a port again for which we are in TIME_WAIT. The XDP program lets no IP options in */
static void reopen(const struct ip_hdr *ip, const struct tcp_hdr *tcp)
{
	struct tcp_pcb *pcb;

	if ((TCPH_FLAGS(tcp) & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return;
	for (pcb = tcp_tw_pcbs; pcb; pcb = pcb->next) {
		if (pcb->remote_port == lwip_ntohs(tcp->src) && pcb->local_port == lwip_ntohs(tcp->dest) &&
		    ip_addr_get_ip4_u32(&pcb->remote_ip) == ip->src.addr) {
			tcp_abort(pcb);		/* of one in TIME_WAIT: frees it, sends nothing */
			return;
		}
	}
}

/* One more connection: one in TIME_WAIT less, the oldest, if there are too many */
static void limit_time_waits(void)
{
	struct tcp_pcb *pcb = tcp_tw_pcbs;
	unsigned int n = 0;

	for (; pcb && pcb->next; pcb = pcb->next)
		n++;
	if (n >= TIME_WAITS)
		tcp_abort(pcb);
}

static void input(const struct xdp_desc *desc)
{
	uint64_t base = desc->addr & ~(uint64_t)(FRAME - 1);
	struct frame *frame = &server.frames[base / FRAME];
	char *at = server.umem + desc->addr;
	struct pbuf *p;

	memcpy(server.header, at + 6, 6);
	memcpy(server.header + 6, at, 6);
	reopen((void *)(at + ETH), (void *)(at + ETH + IP_HLEN));
	frame->addr = base;
	frame->pbuf.custom_free_function = frame_free;
	p = pbuf_alloced_custom(PBUF_RAW, (u16_t)(desc->len - ETH), PBUF_REF, &frame->pbuf,
				at + ETH, FRAME);
	if (!p)
		give_frame(base);
	else if (ip4_input(p, &server.netif) != ERR_OK)
		pbuf_free(p);
}

/* Returns how many frames came */
static unsigned int receive(void)
{
	uint32_t tail = *server.rx.consumer, head = load_acquire(server.rx.producer), n = head - tail;
	uint32_t i;

	if (n > BATCH)
		n = BATCH;
	for (i = 0; i < n; i++)
		input((struct xdp_desc *)server.rx.desc + (tail + i) % RING);
	store_release(server.rx.consumer, tail + n);
	return n;
}

static int map_ring(struct ring *ring, const struct xdp_ring_offset *off, size_t entry, off_t where)
{
	char *map = mmap(NULL, off->desc + RING * entry, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, server.xsk, where);

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

	server.umem = mmap(NULL, umem.len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (server.umem == MAP_FAILED)
		return fail("memory");
	umem.addr = (uintptr_t)server.umem;
	if (setsockopt(server.xsk, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)))
		return fail("XDP_UMEM_REG");
	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (setsockopt(server.xsk, SOL_XDP, names[i], &entries, sizeof(entries)))
			return fail("the rings");
	if (getsockopt(server.xsk, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len))
		return fail("XDP_MMAP_OFFSETS");
	if (map_ring(&server.fill, &off.fr, sizeof(uint64_t), XDP_UMEM_PGOFF_FILL_RING) ||
	    map_ring(&server.done, &off.cr, sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING) ||
	    map_ring(&server.rx, &off.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING) ||
	    map_ring(&server.tx, &off.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING))
		return -1;
	for (i = 0; i < RING; i++) {
		give_frame((uint64_t)i * FRAME);
		server.spare[server.spares++] = (uint64_t)(RING + i) * FRAME;
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
	uint32_t key = 0, value = (uint32_t)server.xsk;
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

/* Returns 0; *zero_copy says whether the driver uses our frames itself */
static int xsk_init(const char *ifname, uint16_t port, bool *zero_copy)
{
	struct sockaddr_xdp addr = {
		.sxdp_family = AF_XDP, .sxdp_flags = XDP_USE_NEED_WAKEUP,
		.sxdp_ifindex = if_nametoindex(ifname),
	};
	int one = 1, usecs = 20, budget = 64;
	struct xdp_options options;
	socklen_t len = sizeof(options);

	server.xsk = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (server.xsk < 0)
		return fail("AF_XDP");
	if (rings_init())
		return -1;
	if (setsockopt(server.xsk, SOL_SOCKET, SO_PREFER_BUSY_POLL, &one, sizeof(one)) ||
	    setsockopt(server.xsk, SOL_SOCKET, SO_BUSY_POLL, &usecs, sizeof(usecs)) ||
	    setsockopt(server.xsk, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof(budget)))
		return fail("busy polling");
	/* The kernel takes zero copy where the driver has it */
	if (bind(server.xsk, (struct sockaddr *)&addr, sizeof(addr)))
		return fail("bind");
	if (getsockopt(server.xsk, SOL_XDP, XDP_OPTIONS, &options, &len))
		return fail("XDP_OPTIONS");
	*zero_copy = options.flags & XDP_OPTIONS_ZEROCOPY;
	return redirect(addr.sxdp_ifindex, port);
}

/* -------------------------------------------------------------- the server */

static void conn_free(struct conn *conn)
{
	http_conn_free(&conn->http);
	free(conn);
}

/* Returns ERR_ABRT if lwIP must not touch the pcb again */
static err_t conn_close(struct conn *conn)
{
	struct tcp_pcb *pcb = conn->pcb;
	bool abort = conn->failed;

	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
	conn_free(conn);
	if (!abort && tcp_close(pcb) == ERR_OK)
		return ERR_OK;
	tcp_abort(pcb);
	return ERR_ABRT;
}

static int on_request(void *arg, const struct http_request *req)
{
	struct conn *conn = arg;
	const char *at = server.binary;
	size_t len = req->body_len;

	if (!server.binary)
		at = http_reply(&server.canned, req, &len);
	server.requests += !req->status;
	/* Other responses than those before it, in one batch: no client of ours does that */
	if (conn->pending && (conn->at != at || conn->len != len)) {
		conn->failed = true;
		return 1;
	}
	conn->at = at;
	conn->len = len;
	conn->pending++;
	return 0;
}

/* Gives lwIP what it takes */
static void conn_send(struct conn *conn)
{
	bool any = false;

	while (conn->pending) {
		size_t n = conn->len - conn->sent, room = tcp_sndbuf(conn->pcb);

		if (n > room)
			n = room;
		if (n > 0xffff)
			n = 0xffff;
		if (!n || tcp_write(conn->pcb, conn->at + conn->sent, (u16_t)n, 0) != ERR_OK)
			break;
		any = true;
		conn->sent += n;
		if (conn->sent == conn->len) {
			conn->sent = 0;
			conn->pending--;
		}
	}
	if (any)
		tcp_output(conn->pcb);
}

static err_t settle(struct conn *conn)
{
	if (!conn->failed)
		conn_send(conn);
	if (conn->failed || (!conn->pending && http_conn_done(&conn->http)))
		return conn_close(conn);
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	(void)pcb;
	(void)len;
	return arg ? settle(arg) : ERR_OK;
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct conn *conn = arg;
	struct pbuf *q;

	(void)err;
	if (!p)
		return conn_close(conn);
	for (q = p; q && !conn->failed; q = q->next) {
		if (server.binary)
			binary_feed(&conn->binary, q->payload, q->len, server.size, on_request, conn);
		else
			http_feed(&conn->http, q->payload, q->len, on_request, conn);
	}
	conn->failed |= conn->binary.done;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return settle(conn);
}

static void on_error(void *arg, err_t err)
{
	(void)err;
	if (arg)
		conn_free(arg);		/* the pcb is gone already */
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct conn *conn;

	(void)arg;
	if (err != ERR_OK || !pcb)
		return ERR_VAL;
	limit_time_waits();
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return ERR_MEM;
	conn->pcb = pcb;
	http_conn_init(&conn->http);
	tcp_nagle_disable(pcb);
	tcp_arg(pcb, conn);
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_error);
	server.connections++;
	return ERR_OK;
}

static err_t netif_setup(struct netif *netif)
{
	netif->name[0] = 'x';
	netif->name[1] = 'd';
	netif->mtu = 1500;
	netif->output = output;
	netif->flags = NETIF_FLAG_UP | NETIF_FLAG_LINK_UP;
	return ERR_OK;
}

/* Our address is the interface's */
static int stack_init(const char *ifname, uint16_t port)
{
	struct ifreq ifr = { .ifr_addr.sa_family = AF_INET };
	ip4_addr_t addr, mask, gateway;
	struct tcp_pcb *listener;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (fd < 0 || ioctl(fd, 0x8915 /* SIOCGIFADDR */, &ifr))
		return fail(ifname);
	close(fd);
	memcpy(&addr.addr, ifr.ifr_addr.sa_data + 2, 4);
	IP4_ADDR(&mask, 255, 255, 255, 0);
	gateway.addr = 0;
	lwip_init();
	if (!netif_add(&server.netif, &addr, &mask, &gateway, NULL, netif_setup, ip4_input)) {
		errno = ENOMEM;
		return fail("netif_add");
	}
	netif_set_default(&server.netif);
	listener = tcp_new();
	if (!listener || tcp_bind(listener, IP4_ADDR_ANY, port) != ERR_OK)
		return fail("tcp_bind");
	listener = tcp_listen_with_backlog(listener, 255);
	if (!listener)
		return fail("tcp_listen");
	tcp_accept(listener, on_accept);
	return 0;
}

static int serve(void)
{
	unsigned int idle = 0;

	while (!stop) {
		unsigned int n = receive();

		if (*server.tx.producer != load_acquire(server.tx.consumer) &&
		    sendto(server.xsk, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
		    errno != EBUSY && errno != ENOBUFS && errno != EINTR)
			return fail("sending");
		reap_sent();
		if (!n)
			recvfrom(server.xsk, NULL, 0, MSG_DONTWAIT, NULL, NULL);
		/* The clock: TCP's timers are of 250 ms */
		if (++idle % 64 == 0) {
			sys_check_timeouts();
			if (http_date_turn())
				http_canned_date(&server.canned);
		}
	}
	return 0;
}

static const char usage[] =
	"Usage: bench-lwip [OPTION]...\n"
	"An HTTP server on lwIP, on the first queue of a NIC through AF_XDP.\n"
	"\n"
	"  --interface NAME  (eth0)\n"
	"  --port PORT       listen on this port of the interface's IPv4 address (8080)\n"
	"  --size N          respond with N bytes (64)\n"
	"  --binary          not HTTP but requests of 16 bytes that say how many bytes they want, up\n"
	"                    to the --size (apps/binary.h)\n"
	"  --help            show this\n";

static unsigned long number(const char *option, unsigned long max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(optarg, &end, 10);
	if (errno || end == optarg || *end || *optarg == '-' || value < 1 || value > max) {
		fprintf(stderr, "bench-lwip: %s: not a number from 1 to %lu: %s\n", option, max, optarg);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "interface", required_argument, NULL, 'i' },
		{ "port", required_argument, NULL, 'p' },
		{ "size", required_argument, NULL, 's' },
		{ "binary", no_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	struct sigaction action = { .sa_handler = on_signal };
	const char *ifname = "eth0";
	bool binary = false, zero_copy = false;
	uint16_t port = 8080;
	int opt;

	server.size = 64;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'i':
			ifname = optarg;
			break;
		case 'p':
			port = (uint16_t)number("--port", 65535);
			break;
		case 's':
			server.size = number("--size", BINARY_SIZE_MAX);
			break;
		case 'b':
			binary = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try 'bench-lwip --help'.\n", stderr);
			return 2;
		}
	}
	if (binary) {
		server.binary = malloc(server.size);
		if (server.binary)
			memset(server.binary, 'x', server.size);
	}
	if (http_canned_fill(&server.canned, 200, "text/plain", 'x', server.size) ||
	    (binary && !server.binary)) {
		fputs("bench-lwip: out of memory\n", stderr);
		return 1;
	}
	if (stack_init(ifname, port) || xsk_init(ifname, port, &zero_copy))
		return 1;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	printf("bench-lwip: %lu bytes on %s port %u%s\n", server.size, ifname, port,
	       zero_copy ? ", zero copy" : "");
	fflush(stdout);
	if (serve())
		return 1;
	printf("bench-lwip: %llu requests on %llu connections, %llu packets dropped\n",
	       (unsigned long long)server.requests, (unsigned long long)server.connections,
	       (unsigned long long)server.dropped);
	return 0;
}
