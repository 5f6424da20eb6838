// SPDX-License-Identifier: GPL-2.0
/*
 * rawtcp.c - a TCP peer made of raw packets, for what no kernel would send
 *
 * Its address is nobody's, so no kernel answers for it: the tested machine has
 * a route to it, packets come in by AF_PACKET, and go out with headers made
 * here. It is odd, but it keeps to the letter of TCP wherever bytes could get
 * lost otherwise, so that all of them must come back.
 */
#include "rawtcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#define SECONDS 90
#define FIN	0x01
#define SYN	0x02
#define RST	0x04
#define PSH	0x08
#define ACK	0x10
#define URG	0x20

void (*raw_ready)(void);

struct raw {
	int in, out;
	uint32_t from, to;	/* network order */
	uint16_t sport, dport;
	int manner;
	uint32_t rng;
	uint32_t seed, bytes;
	uint32_t iss, una, nxt, max;	/* what we send */
	uint32_t irs, rcv, edge;	/* what we get; the end of the window we announced */
	uint32_t window;		/* the other's */
	bool fin;			/* the other's has come */
	bool bad;			/* wrong bytes */
	uint32_t closed;		/* how often the window was shut */
	double shut_until;
	uint32_t unsent;		/* packets that this machine did not take */
	uint8_t last[128];		/* the beginning of the last packet */
	uint32_t last_len;
};

static char why[160];

static uint32_t sum_add(uint32_t sum, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (; n > 1; n -= 2, b += 2)
		sum += b[0] << 8 | b[1];
	if (n)
		sum += b[0] << 8;
	return sum;
}

static uint16_t sum_end(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

static void ip_send(struct raw *r, uint8_t proto, uint32_t from, const void *p, size_t n)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = r->to };
	uint8_t b[2048];
	struct iphdr *ip = (void *)b;

	memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = proto;
	ip->saddr = from;
	ip->daddr = r->to;
	ip->tot_len = htons(sizeof(*ip) + n);
	memcpy(ip + 1, p, n);
	if (sendto(r->out, b, sizeof(*ip) + n, 0, (void *)&to, sizeof(to)) < 0)
		r->unsent++;
}

static void tcp_send(struct raw *r, uint32_t seq, uint32_t ack, uint8_t flags, uint16_t win,
		     const uint8_t *opt, uint32_t optlen, uint32_t len, bool bad_sum)
{
	uint8_t b[1600];
	struct tcphdr *th = (void *)b;
	struct { uint32_t s, d; uint16_t p, l; } pseudo;
	uint32_t sum, hlen = sizeof(*th) + optlen;

	memset(b, 0, hlen);
	th->source = htons(r->sport);
	th->dest = htons(r->dport);
	th->seq = htonl(seq);
	th->ack_seq = htonl(ack);
	th->doff = hlen / 4;
	b[13] = flags;
	th->window = htons(win);
	if (optlen)
		memcpy(th + 1, opt, optlen);
	if (len)
		pat_fill(b + hlen, r->seed, seq - r->iss - 1, len);
	pseudo.s = r->from;
	pseudo.d = r->to;
	pseudo.p = htons(IPPROTO_TCP);
	pseudo.l = htons(hlen + len);
	sum = sum_add(0, &pseudo, sizeof(pseudo));
	th->check = sum_end(sum_add(sum, b, hlen + len));
	if (bad_sum)
		th->check ^= htons(1 + rnd(&r->rng) % 65534);
	ip_send(r, IPPROTO_TCP, r->from, b, hlen + len);
}

static const char *raw_open(struct raw *r, const char *from, const char *to, int port)
{
	int one = 1, big = 8 << 20;

	memset(r, 0, sizeof(*r));
	r->in = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_IP));
	r->out = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (r->in < 0 || r->out < 0)
		return "no raw sockets";
	setsockopt(r->out, IPPROTO_IP, IP_HDRINCL, &one, sizeof(one));
	setsockopt(r->in, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	inet_pton(AF_INET, from, &r->from);
	inet_pton(AF_INET, to, &r->to);
	r->dport = port;
	r->rng = getpid() * 2654435761u + port;
	r->sport = 20000 + rnd(&r->rng) % 40000;
	r->iss = rnd(&r->rng);
	return NULL;
}

static void raw_close(struct raw *r)
{
	close(r->in);
	close(r->out);
}

/* The next packet of the connection, or 0 after @ms. Sets @th and @len */
static bool tcp_recv(struct raw *r, int ms, struct tcphdr *to_th, uint8_t **data, uint32_t *len)
{
	static uint8_t b[70000];
	struct pollfd p = { .fd = r->in, .events = POLLIN };
	double end = mono() + ms / 1e3;
	struct iphdr *ip = (void *)b;
	struct tcphdr *th;
	ssize_t n;

	while (poll(&p, 1, ms) > 0) {
		n = recv(r->in, b, sizeof(b), MSG_DONTWAIT);
		if (mono() > end + 1)
			return false;
		if (n < (ssize_t)(sizeof(*ip) + sizeof(*th)) || ip->protocol != IPPROTO_TCP ||
		    ip->saddr != r->to || ip->daddr != r->from)
			continue;
		th = (void *)(b + ip->ihl * 4);
		if (th->dest != htons(r->sport) || (r->dport && th->source != htons(r->dport)))
			continue;
		if (n > (ssize_t)ntohs(ip->tot_len) && ip->tot_len)
			n = ntohs(ip->tot_len);
		r->last_len = n < (ssize_t)sizeof(r->last) ? n : (ssize_t)sizeof(r->last);
		memcpy(r->last, b, r->last_len);
		*to_th = *th;
		*data = (uint8_t *)th + th->doff * 4;
		*len = b + n - *data;
		return true;
	}
	return false;
}

static void icmp_send(struct raw *r, uint8_t type, uint8_t code, uint16_t mtu, uint32_t quote)
{
	uint8_t b[256];
	struct icmphdr *ic = (void *)b;

	if (quote > r->last_len)
		quote = r->last_len;
	memset(ic, 0, sizeof(*ic));
	ic->type = type;
	ic->code = code;
	ic->un.frag.mtu = htons(mtu);
	memcpy(ic + 1, r->last, quote);
	ic->checksum = sum_end(sum_add(0, b, sizeof(*ic) + quote));
	/* From a router, or from the destination itself */
	ip_send(r, IPPROTO_ICMP, rnd(&r->rng) % 2 ? r->from : r->from ^ htonl(0x80), b,
		sizeof(*ic) + quote);
}

static void icmp_random(struct raw *r)
{
	static const uint16_t mtus[] = { 0, 1, 67, 68, 296, 552, 576, 1000, 1500, 9000, 65535 };
	static const uint8_t types[] = { 3, 3, 3, 4, 5, 11, 12 };
	uint32_t k = rnd(&r->rng) % 8;
	struct tcphdr *th = (void *)(r->last + 20);
	uint32_t seq = th->seq;

	if (k == 0)
		th->seq = rnd(&r->rng);
	if (k < 4)
		icmp_send(r, 3, 4, mtus[rnd(&r->rng) % 11], 28);
	else
		icmp_send(r, types[rnd(&r->rng) % 7], rnd(&r->rng) % 16, 0,
			  k == 7 ? rnd(&r->rng) % 60 : 28);
	th->seq = seq;
}

/* How much we are ready to get; it is going to be announced */
static uint16_t window(struct raw *r)
{
	uint32_t open = r->manner & RAW_TINY ? 1 + rnd(&r->rng) % (rnd(&r->rng) % 4 ? 3000 : 60) :
			r->manner & RAW_ZERO ? 8000 : 60000;

	if ((r->manner & RAW_ZERO) && mono() < r->shut_until)
		open = 0;
	/* What was announced is not taken back, but by who plays with it */
	if (!(r->manner & (RAW_ZERO | RAW_ACKS)) && (int32_t)(r->edge - r->rcv - open) > 0)
		open = r->edge - r->rcv;
	if ((int32_t)(r->rcv + open - r->edge) > 0)
		r->edge = r->rcv + open;
	return open;
}

static void send_ack(struct raw *r, uint32_t ack, const uint8_t *opt, uint32_t optlen)
{
	tcp_send(r, r->nxt, ack, ACK, window(r), opt, optlen, 0, false);
}

static void put32(uint8_t *to, uint32_t v)
{
	v = htonl(v);
	memcpy(to, &v, 4);
}

static void send_sack(struct raw *r)
{
	uint8_t opt[20] = { 1, 1, 5, 18 };
	uint32_t a = r->rcv, b = r->rcv;

	switch (rnd(&r->rng) % 8) {
	case 0:		/* sent, perhaps, and taken back later: reneging */
		a += 1 + rnd(&r->rng) % 500;
		b = a + 1 + rnd(&r->rng) % 3000;
		break;
	case 1:		/* the wrong way round */
		a += 500;
		b -= 500;
		break;
	case 2:		/* never sent */
		a += 0x200000;
		b = a + 1000;
		break;
	case 3:
		a = rnd(&r->rng);
		b = rnd(&r->rng);
		break;
	default:	/* D-SACK */
		a -= 1 + rnd(&r->rng) % 2000;
		b = a + 1 + rnd(&r->rng) % 500;
	}
	put32(opt + 4, a);
	put32(opt + 8, b);
	put32(opt + 12, rnd(&r->rng) % 2 ? a : b);
	put32(opt + 16, b);
	send_ack(r, r->rcv, opt, sizeof(opt));
}

static void acknowledge(struct raw *r, uint32_t before)
{
	uint32_t i;

	if ((r->manner & RAW_ZERO) && r->closed < 3 && r->rcv - r->irs > (r->closed + 1) * 9000) {
		r->closed++;
		r->shut_until = mono() + 0.7 + 0.5 * (r->closed % 2);
	}
	switch (r->manner & RAW_ACKS ? rnd(&r->rng) % 10 : 9) {
	case 0:		/* divided */
		if (r->rcv - before > 40)
			before = r->rcv - 40;
		for (; (int32_t)(r->rcv - before) > 0; before++)
			send_ack(r, before, NULL, 0);
		send_ack(r, r->rcv, NULL, 0);
		break;
	case 1:
		for (i = 3 + rnd(&r->rng) % 8; i; i--)
			send_ack(r, before, NULL, 0);
		break;
	case 2:		/* long acknowledged */
		send_ack(r, r->rcv - rnd(&r->rng) % 5000, NULL, 0);
		break;
	case 3:		/* never sent */
		tcp_send(r, r->nxt, r->rcv + 0x100000 + rnd(&r->rng) % 0x100000, ACK, 1000, NULL,
			 0, 0, false);
		break;
	case 4:
	case 5:
		send_sack(r);
		break;
	case 6:		/* later, by the timer */
		break;
	case 7:		/* the window shut, and open again */
		tcp_send(r, r->nxt, r->rcv, ACK, 0, NULL, 0, 0, false);
		send_ack(r, r->rcv, NULL, 0);
		break;
	default:
		send_ack(r, r->rcv, NULL, 0);
	}
}

/* What came: whose bytes are these? */
static void take(struct raw *r, const struct tcphdr *th, const uint8_t *data, uint32_t len)
{
	uint32_t seq = ntohl(th->seq), ack = ntohl(th->ack_seq), before = r->rcv;
	int32_t skip;

	if ((int32_t)(ack - r->una) > 0 && (int32_t)(ack - r->max) <= 0) {
		r->una = ack;
		if ((int32_t)(r->nxt - r->una) < 0)
			r->nxt = r->una;
	}
	r->window = ntohs(th->window);
	if (len && !pat_is(data, r->seed, seq - r->irs - 1, len)) {
		snprintf(why, sizeof(why), "wrong bytes at %u + %u", seq - r->irs - 1, len);
		r->bad = true;
	}
	/* A probe of a shut window is one byte more */
	if (len && (int32_t)(seq + len - r->edge) > 1) {
		snprintf(why, sizeof(why), "%u bytes beyond the window", seq + len - r->edge);
		r->bad = true;
	}
	skip = r->rcv - seq;
	if (skip < 0 || (r->manner & RAW_ZERO && mono() < r->shut_until)) {
		send_ack(r, r->rcv, NULL, 0);
		return;
	}
	if (skip < (int32_t)len)
		r->rcv = seq + len;
	if (th->fin && seq + len == r->rcv) {
		r->fin = true;
		r->rcv++;
	}
	if (len || th->fin)
		acknowledge(r, before);
	if ((r->manner & RAW_ICMP) && rnd(&r->rng) % 4 == 0)
		icmp_random(r);
}

static void chaos(struct raw *r)
{
	uint32_t n = r->max - r->una, len = 1 + rnd(&r->rng) % 500, off = r->una - r->iss - 1;

	if (off + len > r->bytes)
		len = off < r->bytes ? r->bytes - off : 0;
	switch (rnd(&r->rng) % 8) {
	case 0:		/* what was sent, once more, with new edges */
		if (n)
			tcp_send(r, r->una, r->rcv, ACK, window(r), NULL, 0, n < len ? n : len, false);
		break;
	case 1:
		tcp_send(r, r->una, r->rcv, ACK | PSH, window(r), NULL, 0, len, true);
		break;
	case 2:		/* outside the window */
		tcp_send(r, r->nxt + 0x10000000, r->rcv, ACK, window(r), NULL, 0, 0, false);
		break;
	case 3:		/* no meaning in an established connection */
		tcp_send(r, r->nxt + 0x100000, r->rcv, SYN | ACK | FIN, window(r), NULL, 0, 0, false);
		break;
	case 4:		/* a blind reset */
		tcp_send(r, r->nxt + 0x20000000, 0, RST, 0, NULL, 0, 0, false);
		break;
	case 5:		/* no flags at all */
		tcp_send(r, r->nxt, r->rcv, 0, window(r), NULL, 0, 0, false);
		break;
	case 6:		/* lengths of options that lie */
		tcp_send(r, r->nxt, r->rcv, ACK, window(r),
			 (uint8_t[]){ 5, 0, 2, 255, 8, 1, 254, 9 }, 8, 0, false);
		break;
	default:	/* old, long acknowledged data */
		if (r->una - r->iss > 200)
			tcp_send(r, r->una - 150, r->rcv, ACK, window(r), NULL, 0, 100, false);
	}
}

static void send_more(struct raw *r)
{
	uint32_t seg = r->manner & RAW_MSS1 ? 1 : 1 + rnd(&r->rng) % 1400;
	uint32_t limit = r->manner & RAW_MSS1 ? 64 : 8000;
	uint32_t len, off;

	if (limit > r->window)
		limit = r->window;
	while (r->nxt - r->una < limit) {
		off = r->nxt - r->iss - 1;
		if (off >= r->bytes) {
			if (off == r->bytes) {
				tcp_send(r, r->nxt, r->rcv, ACK | FIN, window(r), NULL, 0, 0, false);
				r->nxt++;
			}
			break;
		}
		len = r->bytes - off;
		if (len > seg)
			len = seg;
		if (len > limit - (r->nxt - r->una))
			len = limit - (r->nxt - r->una);
		tcp_send(r, r->nxt, r->rcv, ACK | (rnd(&r->rng) % 2 ? PSH : 0), window(r), NULL, 0,
			 len, false);
		r->nxt += len;
	}
	if ((int32_t)(r->nxt - r->max) > 0)
		r->max = r->nxt;
}

static const char *handshake(struct raw *r)
{
	static const uint8_t plain[] = { 2, 4, 1460 >> 8, 1460 & 255, 1, 1, 4, 2 };
	static const uint8_t mss1[] = { 2, 4, 0, 1, 1, 1, 4, 2 };
	struct tcphdr th;
	uint8_t *data;
	uint32_t len;
	int try;

	for (try = 0; try < 20; try++) {
		tcp_send(r, r->iss, 0, SYN, 1000, r->manner & RAW_MSS1 ? mss1 : plain, 8, 0, false);
		while (tcp_recv(r, 500, &th, &data, &len)) {
			if (!th.syn || !th.ack || ntohl(th.ack_seq) != r->iss + 1)
				continue;
			r->irs = ntohl(th.seq);
			r->rcv = r->irs + 1;
			r->edge = r->rcv + 1000;
			r->una = r->nxt = r->max = r->iss + 1;
			r->window = ntohs(th.window);
			send_ack(r, r->rcv, NULL, 0);
			return NULL;
		}
	}
	return "no SYN-ACK";
}

const char *raw_echo(const char *from, const char *to, int port, int manner, uint32_t seed,
		     uint32_t bytes)
{
	double end, progress, acked = 0;
	const char *err;
	struct tcphdr th;
	uint8_t *data;
	uint32_t len, una;
	struct raw r;

	err = raw_open(&r, from, to, port);
	if (err)
		return err;
	r.manner = manner;
	r.seed = seed;
	r.bytes = bytes;
	err = handshake(&r);
	if (err)
		return err;
	progress = mono();
	end = progress + SECONDS * slow();
	while (!r.fin || r.una != r.iss + bytes + 2) {
		una = r.una;
		send_more(&r);
		if ((manner & RAW_CHAOS) && rnd(&r.rng) % 4 == 0)
			chaos(&r);
		if (tcp_recv(&r, 10, &th, &data, &len)) {
			if (th.rst) {
				snprintf(why, sizeof(why), "reset after %u in, %u out",
					 r.rcv - r.irs - 1, r.una - r.iss - 1);
				return why;
			}
			if (!th.syn)
				take(&r, &th, data, len);
			if (r.bad)
				return why;
		}
		if ((manner & RAW_QUIT) && r.rcv - r.irs > bytes / 2) {
			tcp_send(&r, r.nxt, r.rcv, RST | ACK, 0, NULL, 0, 0, false);
			raw_close(&r);
			return NULL;
		}
		if (r.una != una)
			progress = mono();
		/* Go back, also to probe a window that was shut */
		if (mono() - progress > 0.3) {
			r.nxt = r.una;
			progress = mono();
			if (!r.window)
				r.window = 1;
		}
		/* For ACKs that were forgotten, and windows that are open again */
		if (mono() - acked > 0.05) {
			acked = mono();
			send_ack(&r, r.rcv, NULL, 0);
		}
		if (mono() > end) {
			snprintf(why, sizeof(why), "stuck at %u in, %u out of %u, FIN %d",
				 r.rcv - r.irs - 1, r.una - r.iss - 1, bytes, r.fin);
			return why;
		}
	}
	if (r.rcv != r.irs + bytes + 2) {
		snprintf(why, sizeof(why), "FIN after %u of %u", r.rcv - r.irs - 2, bytes);
		return why;
	}
	send_ack(&r, r.rcv, NULL, 0);
	raw_close(&r);
	return NULL;
}

const char *raw_syns(const char *from, const char *to, int port, uint32_t n, uint32_t rate)
{
	static const uint8_t opt[] = { 2, 4, 1460 >> 8, 1460 & 255, 1, 1, 4, 2 };
	double start = mono();
	const char *err;
	uint32_t i, base;
	struct raw r;

	err = raw_open(&r, from, to, port);
	if (err)
		return err;
	close(r.in);
	base = ntohl(r.from);
	for (i = 0; i < n; i++) {
		r.from = htonl(base + i % 200);
		r.sport = 1024 + i / 200;
		tcp_send(&r, r.iss + i * 7919, 0, SYN, 65535, opt, sizeof(opt), 0, false);
		while (i % 32 == 31 && i / (mono() - start + 1e-3) > rate)
			usleep(1000);
	}
	close(r.out);
	if (r.unsent > n / 2) {
		snprintf(why, sizeof(why), "%u of %u packets were not sent", r.unsent, n);
		return why;
	}
	return NULL;
}

const char *raw_refuse(const char *from, const char *to, int port, int code)
{
	struct tcphdr th;
	const char *err;
	uint8_t *data;
	uint32_t len;
	struct raw r;
	int i, n = 0;

	err = raw_open(&r, from, to, 0);
	if (err)
		return err;
	r.sport = port;
	raw_ready();
	/* The kernel forgets an error that comes while connect() has the socket: answer the next, too */
	for (i = 0; i < 10 && n < 3; i++) {
		if (tcp_recv(&r, n ? 1500 : 1000, &th, &data, &len) && th.syn) {
			icmp_send(&r, 3, code, 0, 28);
			n++;
		} else if (n) {
			break;
		}
	}
	raw_close(&r);
	return n ? NULL : "no SYN has come";
}
