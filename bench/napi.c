// SPDX-License-Identifier: GPL-2.0
/*
 * napi.c - for the rivals: how a NAPI instance is to be polled, by netlink (Linux 6.13)
 *
 * What its authors do with tools/net/ynl of the kernel's source (netdev genl, napi-set), which Debian 12 has not.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/genetlink.h>
#include <linux/netlink.h>

#include "napi.h"

/* linux/netdev.h, which Debian 12's headers have not */
enum {
	NETDEV_CMD_NAPI_SET = 14,
	NETDEV_A_NAPI_ID = 2,
	NETDEV_A_NAPI_DEFER_HARD_IRQS = 5,
	NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT = 6,
	NETDEV_A_NAPI_IRQ_SUSPEND_TIMEOUT = 7,
};

#define IDS_MAX		64	/* queues that connections come from */

struct message {
	struct nlmsghdr nl;
	struct genlmsghdr genl;
	char attrs[2048];	/* of a family it tells all operations */
} __attribute__((aligned(NLMSG_ALIGNTO)));

static int netlink = -1;
static uint16_t family;
static uint32_t ids[IDS_MAX];
static unsigned int nids;

static void begin(struct message *msg, uint16_t type, uint8_t cmd)
{
	memset(msg, 0, offsetof(struct message, attrs));
	msg->nl.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	msg->nl.nlmsg_type = type;
	msg->nl.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	msg->genl.cmd = cmd;
	msg->genl.version = 1;
}

static void put(struct message *msg, uint16_t type, const void *value, size_t len)
{
	struct nlattr *attr = (void *)((char *)msg + msg->nl.nlmsg_len);

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	memset(attr + 1, 0, NLA_ALIGN(len));
	memcpy(attr + 1, value, len);
	msg->nl.nlmsg_len += NLA_ALIGN(attr->nla_len);
}

/* Sends it, and waits for the acknowledgement. What comes before that is in msg. Returns 0 or -errno */
static int ask(struct message *msg)
{
	char buf[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
	ssize_t n;

	if (send(netlink, msg, msg->nl.nlmsg_len, 0) < 0)
		return -errno;
	while ((n = recv(netlink, buf, sizeof(buf), 0)) > 0) {
		struct nlmsghdr *nl = (void *)buf;

		for (; NLMSG_OK(nl, n); nl = NLMSG_NEXT(nl, n)) {
			if (nl->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(nl))->error;
			memcpy(msg, nl, nl->nlmsg_len < sizeof(*msg) ? nl->nlmsg_len : sizeof(*msg));
		}
	}
	return n ? -errno : -EIO;
}

static int find_family(void)
{
	struct message msg;
	struct nlattr *attr;
	size_t at, end;
	int err;

	begin(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	put(&msg, CTRL_ATTR_FAMILY_NAME, "netdev", sizeof("netdev"));
	err = ask(&msg);
	if (err)
		return err == -ENOENT ? -EOPNOTSUPP : err;
	end = msg.nl.nlmsg_len < sizeof(msg) ? msg.nl.nlmsg_len : sizeof(msg);
	for (at = offsetof(struct message, attrs); at + sizeof(*attr) <= end; at += NLA_ALIGN(attr->nla_len)) {
		attr = (void *)((char *)&msg + at);
		if (attr->nla_len < sizeof(*attr))
			break;
		if (attr->nla_type == CTRL_ATTR_FAMILY_ID && at + sizeof(*attr) + sizeof(family) <= end) {
			memcpy(&family, attr + 1, sizeof(family));
			return 0;
		}
	}
	return -EPROTO;
}

static int set(uint32_t id, const struct napi_settings *s)
{
	struct message msg;

	begin(&msg, family, NETDEV_CMD_NAPI_SET);
	put(&msg, NETDEV_A_NAPI_ID, &id, sizeof(id));
	put(&msg, NETDEV_A_NAPI_DEFER_HARD_IRQS, &s->defer_hard_irqs, sizeof(s->defer_hard_irqs));
	put(&msg, NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT, &s->gro_flush_ns, sizeof(s->gro_flush_ns));
	put(&msg, NETDEV_A_NAPI_IRQ_SUSPEND_TIMEOUT, &s->irq_suspend_ns, sizeof(s->irq_suspend_ns));
	return ask(&msg);
}

int napi_open(void)
{
	static const struct napi_settings none;
	int err;

	netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (netlink < 0)
		return -1;
	err = find_family();
	/* No instance has this number, as it would be a processor's: ENOENT, or so, if the kernel can */
	if (!err)
		err = set(1, &none);
	if (err == -EOPNOTSUPP || err == -EPERM) {
		errno = -err;
		return -1;
	}
	return 0;
}

uint32_t napi_of(int fd)
{
	uint32_t id = 0;
	socklen_t len = sizeof(id);

	return getsockopt(fd, SOL_SOCKET, SO_INCOMING_NAPI_ID, &id, &len) ? 0 : id;
}

int napi_claim(uint32_t id, const struct napi_settings *settings)
{
	unsigned int i;
	int err;

	for (i = 0; i < nids; i++) {
		if (ids[i] == id)
			return 0;
	}
	if (!id || nids == IDS_MAX)
		return 0;	/* of the loopback interface, say, and it has nothing to be set */
	err = set(id, settings);
	if (err) {
		errno = -err;
		return -1;
	}
	ids[nids++] = id;
	return 1;
}

void napi_close(void)
{
	static const struct napi_settings none;

	while (nids)
		set(ids[--nids], &none);	/* an instance that has gone has no settings either */
	if (netlink >= 0)
		close(netlink);
	netlink = -1;
}
