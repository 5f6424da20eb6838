// SPDX-License-Identifier: GPL-2.0
/*
 * lwip.c - bench-lwip, bench-lwip-dpdk: the HTTP server on a user-level stack, Debian's lwIP
 *
 * What lwIP's documentation recommends for throughput:
 *
 *  - lwIP's raw API: its code and the server's run in one thread, no locks or switches between
 *    them. The loop never sleeps, as in other user-level stacks.
 *  - Received frames are lwIP's buffers where they lie (lwip-xdp.c, lwip-dpdk.c). Responses are
 *    written by reference. Only the way out copies, a frame each, as lwIP keeps segments until they
 *    are acknowledged.
 *
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
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "binary.h"
#include "lwip-nic.h"

#include "lwip/init.h"
#include "lwip/ip4.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"

#define TIME_WAITS	256u		/* connections that may be in it */

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

/* ---------------------------------------------------------- lwIP and frames */

/* lwIP has a packet for us */
static err_t output(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
	char *frame = nic_frame(p->tot_len + ETH);

	(void)netif;
	(void)to;
	if (!frame) {
		server.dropped++;	/* TCP sends it again */
		return ERR_OK;
	}
	memcpy(frame, server.header, ETH);
	pbuf_copy_partial(p, frame + ETH, p->tot_len, 0);
	return ERR_OK;
}

/* A client may use a port again for which we are in TIME_WAIT. There are no IP options */
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

void nic_input(struct pbuf_custom *pbuf, char *at, size_t len)
{
	struct pbuf *p;

	memcpy(server.header, at + 6, 6);
	memcpy(server.header + 6, at, 6);
	reopen((void *)(at + ETH), (void *)(at + ETH + IP_HLEN));
	p = pbuf_alloced_custom(PBUF_RAW, (u16_t)(len - ETH), PBUF_REF, pbuf, at + ETH, (u16_t)(len - ETH));
	if (!p)
		pbuf->custom_free_function(&pbuf->pbuf);
	else if (ip4_input(p, &server.netif) != ERR_OK)
		pbuf_free(p);
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

/* An interface's */
static int address_of(const char *ifname, uint32_t *address)
{
	struct ifreq ifr = { .ifr_addr.sa_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (fd < 0 || ioctl(fd, 0x8915 /* SIOCGIFADDR */, &ifr))
		return fail(ifname);
	close(fd);
	memcpy(address, ifr.ifr_addr.sa_data + 2, sizeof(*address));
	return 0;
}

static int stack_init(uint32_t address, uint16_t port)
{
	ip4_addr_t addr = { .addr = address }, mask, gateway;
	struct tcp_pcb *listener;

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

/* A function of its own, as bench/instructions counts how often it was for nothing */
static __attribute__((noinline)) void nothing_came(void)
{
	__asm__ volatile("");
}

static int serve(void)
{
	unsigned int idle = 0;

	while (!stop) {
		int n = nic_poll();

		if (n < 0)
			return -1;
		if (!n)
			nothing_came();
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
	"An HTTP server on lwIP.\n"
	"\n"
	"%s"
	"  --address ADDR    our IPv4 address (the interface's)\n"
	"  --port PORT       listen on this port of it (8080)\n"
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
		{ "address", required_argument, NULL, 'a' },
		{ "port", required_argument, NULL, 'p' },
		{ "size", required_argument, NULL, 's' },
		{ "binary", no_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	struct sigaction action = { .sa_handler = on_signal };
	const char *ifname = "eth0", *how = "";
	uint32_t address = 0;
	uint16_t port = 8080;
	bool binary = false;
	int opt;

	server.size = 64;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'i':
			ifname = optarg;
			break;
		case 'a':
			if (inet_pton(AF_INET, optarg, &address) != 1) {
				fprintf(stderr, "bench-lwip: --address: not an IPv4 address: %s\n", optarg);
				return 2;
			}
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
			printf(usage, nic_usage);
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
	if ((!address && address_of(ifname, &address)) || stack_init(address, port) ||
	    nic_init(ifname, port, address, &how))
		return 1;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	printf("bench-lwip: %lu bytes on %s port %u%s\n", server.size, ifname, port, how);
	fflush(stdout);
	if (serve())
		return 1;
	printf("bench-lwip: %llu requests on %llu connections, %llu packets dropped\n",
	       (unsigned long long)server.requests, (unsigned long long)server.connections,
	       (unsigned long long)server.dropped);
	return 0;
}
