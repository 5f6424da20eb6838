// SPDX-License-Identifier: GPL-2.0
/*
 * ethtool.c - what sysfs does not tell of an interface: offloads, rings, channels
 */
#include "doctor.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool ask(int fd, const char *name, void *request)
{
	struct ifreq ifr = { .ifr_data = request };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return !ioctl(fd, SIOCETHTOOL, &ifr);
}

static int value(int fd, const char *name, uint32_t command)
{
	struct ethtool_value v = { .cmd = command };

	return ask(fd, name, &v) ? (int)v.data : -1;
}

void doctor_ethtool(const struct doctor *d, const char *name, struct doctor_ethtool *e)
{
	struct ethtool_ringparam ring = { .cmd = ETHTOOL_GRINGPARAM };
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	int fd;

	memset(e, -1, sizeof(*e));
	/* With another root the interfaces of this machine are not meant */
	fd = *d->root ? -1 : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	e->gro = value(fd, name, ETHTOOL_GGRO);
	e->tso = value(fd, name, ETHTOOL_GTSO);
	e->rx_checksum = value(fd, name, ETHTOOL_GRXCSUM);
	e->tx_checksum = value(fd, name, ETHTOOL_GTXCSUM);
	e->scatter_gather = value(fd, name, ETHTOOL_GSG);
	if (ask(fd, name, &ring)) {
		e->rx_ring = ring.rx_pending;
		e->rx_ring_max = ring.rx_max_pending;
		e->tx_ring = ring.tx_pending;
		e->tx_ring_max = ring.tx_max_pending;
	}
	/* A queue pair, or a receive queue of its own */
	if (ask(fd, name, &channels)) {
		e->channels = channels.combined_count + channels.rx_count;
		e->channels_max = channels.max_combined > channels.max_rx ? channels.max_combined : channels.max_rx;
	}
	close(fd);
}
