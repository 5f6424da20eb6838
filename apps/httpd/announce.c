// SPDX-License-Identifier: GPL-2.0
/*
 * announce.c - the line that says what is served, and where
 */
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

#include "httpd.h"

/* Writes an address at which clients can reach us */
static void own_address(const struct settings *set, char *out, size_t cap)
{
	struct ifaddrs *all = NULL, *ifa;
	char host[INET6_ADDRSTRLEN + IFNAMSIZ + 1] = "localhost";
	int best = 0;

	if (set->addr && strcmp(set->addr, "0.0.0.0") && strcmp(set->addr, "::")) {
		snprintf(host, sizeof(host), "%s", set->addr);
	} else if (!getifaddrs(&all)) {
		for (ifa = all; ifa; ifa = ifa->ifa_next) {
			int family = ifa->ifa_addr ? ifa->ifa_addr->sa_family : AF_UNSPEC;
			int good = family == AF_INET ? 2 : family == AF_INET6 ? 1 : 0;

			if (good <= best || strcmp(ifa->ifa_name, set->ifname))
				continue;
			if (!getnameinfo(ifa->ifa_addr,
					 good == 2 ? sizeof(struct sockaddr_in) :
					 sizeof(struct sockaddr_in6),
					 host, sizeof(host), NULL, 0, NI_NUMERICHOST))
				best = good;
		}
		freeifaddrs(all);
	}
	snprintf(out, cap, strchr(host, ':') ? "[%s]" : "%s", host);
}

void announce(const struct settings *set)
{
	const struct stackmap_register *reg = stackmap_params(server.port);
	char host[INET6_ADDRSTRLEN + IFNAMSIZ + 4];
	unsigned int i;

	own_address(set, host, sizeof(host));
	printf("stackmap-httpd: owns %s queue%s %u", set->ifname, set->nqueues > 1 ? "s" : "",
	       set->queues[0]);
	for (i = 1; i < set->nqueues; i++)
		printf(",%u", set->queues[i]);
	printf(" (%s), serves ", reg->nic == STACKMAP_NIC_VIRTIO ? "virtio" : "napi");
	if (set->root)
		printf("%s", set->root);
	else
		printf("%lu bytes", set->size);
	printf(" at http://%s:%lu/\n", host, set->port);
	fflush(stdout);
}
