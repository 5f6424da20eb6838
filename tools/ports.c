// SPDX-License-Identifier: GPL-2.0
/*
 * ports.c - open ports, for this process or for another one: stackmap ports
 *
 * A program in a sandbox has no capabilities, no /dev/stackmap, and perhaps a user namespace of its own. It
 * asks at a UNIX socket (SOCK_SEQPACKET), in one message: "NIC LIST\n". The answer is one, too: the ports, as
 * SCM_RIGHTS, and what was not to be had as text. Who listens there is systemd (stackmap-ports.socket), which starts
 * `stackmap ports` with the connection as its standard input; who may ask is up to the socket's owner and mode.
 */
#include "ports.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <stackmap/stackmap.h>

/* How long the other end may take: who asks does so at once, opening takes the memory for all of them */
#define ASK_S		5
#define OPEN_S		60

bool ports_parse(const char *list, bool queue[static QUEUES_MAX])
{
	const char *p = list;

	do {
		unsigned long from, to;
		char *end;

		from = to = strtoul(p, &end, 10);
		if (end == p || *p == '-')
			return false;
		if (*end == '-') {
			p = end + 1;
			to = strtoul(p, &end, 10);
			if (end == p || *p == '-')
				return false;
		}
		if (to >= QUEUES_MAX || from > to || (*end && *end != ','))
			return false;
		for (; from <= to; from++)
			queue[from] = true;
		p = *end ? end + 1 : end;
	} while (*p);
	return true;
}

/* Returns a descriptor, or -1 */
static int open_port(const char *nic, unsigned int queue)
{
	struct stackmap_register reg = {
		.version = STACKMAP_ABI_VERSION, .ifindex = if_nametoindex(nic), .queue = queue,
	};
	int fd, err;

	if (!reg.ifindex) {
		errno = ENODEV;
		return -1;
	}
	fd = open(STACKMAP_DEVICE, O_RDWR);
	if (fd < 0 || !ioctl(fd, STACKMAP_IOC_REGISTER, &reg))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

void ports_open(struct ports *ports)
{
	bool given = ports->list && *ports->list, queue[QUEUES_MAX] = { false }, busy = false;
	unsigned int q;

	ports->n = 0;
	ports->why[0] = '\0';
	if (given && !ports_parse(ports->list, queue)) {
		snprintf(ports->why, sizeof(ports->why), "'%s' are no queues", ports->list);
		return;
	}
	for (q = 0; q < QUEUES_MAX; q++) {
		int fd;

		if (given && !queue[q])
			continue;
		fd = open_port(ports->nic, q);
		if (fd >= 0) {
			ports->fd[ports->n++] = fd;
			continue;
		}
		/* Past the last */
		if (!given && q && errno == EINVAL)
			break;
		busy = errno == EBUSY;
		snprintf(ports->why, sizeof(ports->why), "%s queue %u: %s", ports->nic, q, stackmap_open_hint(errno));
		if (!given && !busy)
			break;
	}
	/* That one is somebody else's is no news if it was not asked for, and there are others */
	if (!given && busy && ports->n)
		ports->why[0] = '\0';
}

static bool set_timeout(int fd, int seconds)
{
	struct timeval tv = { .tv_sec = seconds };

	return !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) &&
	       !setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/* ------------------------------------------------------------------- who asks */

static void no_ports(struct ports *ports, const char *path)
{
	snprintf(ports->why, sizeof(ports->why), "%s: %s", path, strerror(errno == EAGAIN ? ETIMEDOUT : errno));
}

static int receive(struct ports *ports, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(ports->fd))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { ports->why, sizeof(ports->why) - 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *c;
	ssize_t n = recvmsg(fd, &msg, 0);

	if (!n)
		errno = ECONNRESET;
	if (n <= 0)
		return -1;
	ports->why[n] = '\0';
	ports->why[strcspn(ports->why, "\n")] = '\0';
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		ports->n = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(ports->fd, CMSG_DATA(c), ports->n * sizeof(int));
	}
	return 0;
}

void ports_ask(struct ports *ports, const char *path)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char ask[512];

	ports->n = 0;
	snprintf(ask, sizeof(ask), "%s %s\n", ports->nic, ports->list ? ports->list : "");
	if (strlen(path) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		no_ports(ports, path);
	} else {
		strcpy(addr.sun_path, path);
		if (fd < 0 || !set_timeout(fd, OPEN_S) || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
		    send(fd, ask, strlen(ask), MSG_NOSIGNAL) < 0 || receive(ports, fd))
			no_ports(ports, path);
	}
	if (fd >= 0)
		close(fd);
}

/* -------------------------------------------------------------- who opens them */

static const char usage[] =
	"Usage: stackmap ports [OPTION...]\n"
	"Open ports for the program at the other end of standard input, a UNIX socket: for systemd's\n"
	"stackmap-ports.socket. Programs without privileges have them by stackmap run --from.\n"
	"\n"
	"  -i, --nic IFACE        queues of this NIC only; several times: of these\n"
	"  -q, --queues LIST      these only, as 0-3 or 0,2\n"
	"  -h, --help             show this\n";

struct offer {
	const char *nic[QUEUES_MAX];
	unsigned int nics;
	bool queue[QUEUES_MAX];
	const char *queues;
};

static bool is_offered(const struct offer *offer, struct ports *ports)
{
	bool wanted[QUEUES_MAX] = { false };
	unsigned int i;

	for (i = 0; i < offer->nics && strcmp(offer->nic[i], ports->nic); i++)
		;
	if (offer->nics && i == offer->nics) {
		snprintf(ports->why, sizeof(ports->why), "%.16s is not offered here", ports->nic);
		return false;
	}
	if (!offer->queues)
		return true;
	/* All that are free means all of these */
	if (!*ports->list)
		ports->list = offer->queues;
	if (!ports_parse(ports->list, wanted)) {
		snprintf(ports->why, sizeof(ports->why), "'%.100s' are no queues", ports->list);
		return false;
	}
	for (i = 0; i < QUEUES_MAX; i++) {
		if (!wanted[i] || offer->queue[i])
			continue;
		snprintf(ports->why, sizeof(ports->why), "%.16s queue %u is not offered here", ports->nic, i);
		return false;
	}
	return true;
}

static int answer(const struct ports *ports, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(ports->fd))];
		struct cmsghdr align;
	} control = { { 0 } };
	char text[sizeof(ports->why) + 1];
	struct iovec iov = { text, 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	iov.iov_len = (size_t)snprintf(text, sizeof(text), "%s\n", ports->why);
	if (ports->n) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(ports->n * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(ports->n * sizeof(int));
		memcpy(CMSG_DATA(c), ports->fd, ports->n * sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int serve(const struct offer *offer, int fd)
{
	struct ports ports = { .n = 0 };
	char ask[512], *list;
	ssize_t n;

	set_timeout(fd, ASK_S);
	n = recv(fd, ask, sizeof(ask) - 1, 0);
	if (n < 0) {
		fprintf(stderr, "stackmap ports: nobody asks: %s\n", strerror(errno));
		return 1;
	}
	ask[n] = '\0';
	list = strchr(ask, ' ');
	if (!list || strlen(ask) != (size_t)n || ask[n - 1] != '\n') {
		fputs("stackmap ports: what is asked is no 'NIC LIST'\n", stderr);
		return 1;
	}
	*list++ = '\0';
	ask[n - 1] = '\0';
	ports.nic = ask;
	ports.list = list;
	if (is_offered(offer, &ports))
		ports_open(&ports);
	if (ports.why[0])
		fprintf(stderr, "stackmap ports: %s\n", ports.why);
	if (!answer(&ports, fd))
		return 0;
	fprintf(stderr, "stackmap ports: who has asked is gone: %s\n", strerror(errno));
	return 1;
}

static bool is_unix_socket(int fd)
{
	int domain, type;
	socklen_t len = sizeof(int);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_UNIX &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_SEQPACKET;
}

int ports_pass(int argc, char **argv)
{
	static const struct option options[] = {
		{ "nic", required_argument, NULL, 'i' },
		{ "queues", required_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	struct offer offer = { .nics = 0 };
	int opt;

	while ((opt = getopt_long(argc, argv, ":i:q:h", options, NULL)) != -1) {
		switch (opt) {
		case 'i':
			if (offer.nics == QUEUES_MAX) {
				fputs("stackmap ports: too many NICs\n", stderr);
				return 2;
			}
			offer.nic[offer.nics++] = optarg;
			break;
		case 'q':
			if (!ports_parse(optarg, offer.queue)) {
				fprintf(stderr, "stackmap ports: --queues takes numbers below 64, as 0-3 or 0,2, not '%s'\n",
					optarg);
				return 2;
			}
			offer.queues = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case ':':
			fprintf(stderr, "stackmap ports: %s needs a value: see --help\n", argv[optind - 1]);
			return 2;
		default:
			fprintf(stderr, "stackmap ports: no option '%s': see --help\n", argv[optind - 1]);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "stackmap ports: what is '%s'? See --help\n", argv[optind]);
		return 2;
	}
	if (!is_unix_socket(STDIN_FILENO)) {
		fputs("stackmap ports: standard input is no UNIX socket (SOCK_SEQPACKET): "
		      "it is for stackmap-ports.socket of systemd\n", stderr);
		return 2;
	}
	return serve(&offer, STDIN_FILENO);
}
