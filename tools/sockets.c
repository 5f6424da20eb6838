// SPDX-License-Identifier: GPL-2.0
/*
 * sockets.c - stackmap sockets: what is attached, as the kernel's sock_diag tells it
 *
 * It is what `ss -i` asks. That shows that a socket is a port's ("tcp-ulp-stackmap"); what it has received
 * and sent is in an attribute that ss does not know (struct stackmap_sock_info).
 */
#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "json.h"
#include "look.h"

/* As TCP's states are numbered */
static const char *const states[] = {
	"?", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT",
	"LAST-ACK", "LISTEN", "CLOSING",
};

struct sink {
	json_t *all;	/* or NULL: a line each */
	unsigned int n;
};

static const char *state_name(unsigned int state)
{
	return states[state < sizeof(states) / sizeof(*states) ? state : 0];
}

static void address(char to[static 64], int family, const __be32 *addr, __be16 port)
{
	char host[INET6_ADDRSTRLEN] = "?";

	inet_ntop(family, addr, host, sizeof(host));
	snprintf(to, 64, family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, ntohs(port));
}

/* Returns 0, or -1 and has said why */
static int found(struct sink *sink, const struct inet_diag_msg *m, const struct stackmap_sock_info *s)
{
	char ifname[IF_NAMESIZE], local[64], peer[64], fd[16];
	json_t *one;

	if_name(s->ifindex, ifname);
	address(local, m->idiag_family, m->id.idiag_src, m->id.idiag_sport);
	address(peer, m->idiag_family, m->id.idiag_dst, m->id.idiag_dport);
	if (!sink->all) {
		if (!sink->n++)
			printf("%-10s %5s %-10s %-28s %-28s %9s %12s %12s %9s %12s %12s\n", "PORT", "FD", "STATE", "LOCAL",
			       "PEER", "RX-SLOTS", "RX-BYTES", "RX-COPIED", "TX-SLOTS", "TX-BYTES", "TX-COPIED");
		/* A handle is no number that says anything to anybody */
		snprintf(fd, sizeof(fd), s->fd < STACKMAP_HANDLE_MIN ? "%d" : "h%d", s->fd & ~STACKMAP_HANDLE_MIN);
		printf("%s:%u %*s %-10s %-28s %-28s %9llu %12llu %12llu %9llu %12llu %12llu\n", plain_name(ifname), s->queue,
		       (int)(14 - strlen(ifname) - (s->queue > 9 ? 2 : 1)), fd, state_name(m->idiag_state), local, peer,
		       (unsigned long long)s->rx_slots, (unsigned long long)(s->rx_copied_bytes + s->rx_handed_bytes),
		       (unsigned long long)s->rx_copied_bytes, (unsigned long long)s->tx_slots,
		       (unsigned long long)(s->tx_copied_bytes + s->tx_handed_bytes),
		       (unsigned long long)s->tx_copied_bytes);
		return 0;
	}
	one = json_pack("{s:o,s:i,s:i,s:i,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "interface", json_text(ifname), "queue",
			s->queue, "fd", s->fd, "gen", s->gen, "state", state_name(m->idiag_state), "local", local, "peer", peer,
			"rx_slots", (json_int_t)s->rx_slots, "rx_copied_bytes", (json_int_t)s->rx_copied_bytes,
			"rx_handed_bytes", (json_int_t)s->rx_handed_bytes, "tx_slots", (json_int_t)s->tx_slots,
			"tx_copied_bytes", (json_int_t)s->tx_copied_bytes, "tx_handed_bytes", (json_int_t)s->tx_handed_bytes);
	return json_array_append_new(sink->all, one) ? look_failed("out of memory") : 0;
}

/* The attribute @type among @len bytes of them, or NULL */
static const struct rtattr *attribute(const void *first, int len, int type)
{
	const struct rtattr *a;

	for (a = first; RTA_OK(a, len); a = RTA_NEXT(a, len))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

static int look_at(struct sink *sink, const struct nlmsghdr *h)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	struct stackmap_sock_info info;
	const struct rtattr *a;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return 0;
	a = attribute(m + 1, (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m))), INET_DIAG_ULP_INFO);
	a = a ? attribute(RTA_DATA(a), (int)RTA_PAYLOAD(a), STACKMAP_ULP_INFO) : NULL;
	if (!a || RTA_PAYLOAD(a) < sizeof(info))
		return 0;
	memcpy(&info, RTA_DATA(a), sizeof(info));
	return found(sink, m, &info);
}

static int dump(struct sink *sink, int nl, int family)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} ask = {
		.h = { sizeof(ask), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 },
		/* All states; what an upper layer tells comes with TCP's own */
		.r = { .sdiag_family = (__u8)family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u,
		       .idiag_ext = 1 << (INET_DIAG_INFO - 1) },
	};
	static char buf[65536];

	if (send(nl, &ask, sizeof(ask), 0) != (ssize_t)sizeof(ask))
		return look_failed(strerror(errno));
	for (;;) {
		ssize_t n = recv(nl, buf, sizeof(buf), 0);
		const struct nlmsghdr *h;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return look_failed(strerror(n ? errno : EIO));
		for (h = (struct nlmsghdr *)buf; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR)
				return look_failed("the kernel has no sock_diag for TCP: modprobe tcp_diag");
			if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY && look_at(sink, h))
				return -1;
		}
	}
}

int sockets_show(bool json)
{
	struct timeval tv = { .tv_sec = 10 };
	struct sink sink = { .all = json ? json_array() : NULL };
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), ret;
	json_t *all;

	if (nl < 0)
		return look_failed(strerror(errno));
	setsockopt(nl, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	ret = dump(&sink, nl, AF_INET);
	if (!ret)
		ret = dump(&sink, nl, AF_INET6);
	close(nl);
	if (!json) {
		if (!ret && !sink.n)
			puts("no socket of this network namespace is attached to a port");
		return ret;
	}
	all = json_pack("{s:o}", "sockets", sink.all);
	if (!ret && !json_dumpf(all, stdout, JSON_COMPACT))
		putchar('\n');
	json_decref(all);
	return ret;
}
