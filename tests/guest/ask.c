// SPDX-License-Identifier: GPL-2.0
/*
 * ask.c - the tests' side of the control connection to a peer
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "peer.h"
#include "sh.h"
#include "sm.h"

bool peer_there(const struct place *place)
{
	static int known[3] = { -1, -1, -1 };
	int *k = &known[place == &place_nic ? 1 : place == &place_veth ? 2 : 0];
	int fd, try;

	for (try = 0; *k == -1 && try < 10; try++) {
		fd = try_connect(place->ctl, PEER_PORT, 1000);
		if (fd >= 0) {
			*k = 1;
			close(fd);
			break;
		}
		usleep(100000);
	}
	if (*k == -1)
		*k = 0;
	return *k;
}

/* tests/guest/run waits for the first line, and asks QEMU */
void peer_tell_stuck(const struct place *place)
{
	int fd = try_connect(place->ctl, PEER_PORT, 3000);

	if (fd >= 0) {
		close(fd);
		return;
	}
	tap_note("nothing gets through the NIC");
	sh("{ uptime; ip -s link show " IFNAME "; ip neigh; cat /proc/net/softnet_stat; grep virtio /proc/interrupts;"
	   " sleep 1; grep virtio /proc/interrupts; } | sed 's/^/# /'");
}

void ask(struct ask *a, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	memset(a, 0, sizeof(*a));
	a->fd = try_connect(here->ctl, PEER_PORT, 10000);
	CHECKF(a->fd >= 0, "no control connection: %s", strerror(errno));
	CHECK(send_all(a->fd, line, n));
}

bool ask_done(struct ask *a)
{
	ssize_t k;

	if (a->done)
		return true;
	k = recv(a->fd, a->answer + a->len, sizeof(a->answer) - 1 - a->len, MSG_DONTWAIT);
	if (k < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	CHECKF(k > 0, "the peer went away: %s", k ? strerror(errno) : "FIN");
	a->len += k;
	if (a->answer[a->len - 1] != '\n')
		return false;
	a->answer[a->len - 1] = 0;
	if (!strncmp(a->answer, "ready", 5)) {
		a->len = 0;
		return true;
	}
	a->done = true;
	close(a->fd);
	CHECKF(!strncmp(a->answer, "ok", 2), "peer: %s", a->answer);
	return true;
}

void ask_wait(struct ask *a, int seconds)
{
	double end = mono() + seconds * slow();

	while (!ask_done(a)) {
		struct pollfd p = { .fd = a->fd, .events = POLLIN };

		CHECKF(mono() < end, "no answer from the peer for %d s", seconds);
		poll(&p, 1, 100);
	}
}

void ask_ready(struct ask *a)
{
	ask_wait(a, 5);
	CHECK(!a->done);
}
