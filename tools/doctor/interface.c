// SPDX-License-Identifier: GPL-2.0
/*
 * interface.c - whether an interface can be owned: what sm_driver_allowed() (kmod/drivers.c) will say
 *
 * The module is not asked, as it answers only by making the caller an owner.
 */
#include "doctor.h"

#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stackmap/stackmap.h>
#include <stackmap_drivers.h>

#include "../carry.h"
#include "../json.h"

/* How the driver was looked at; 0: not */
static unsigned int how(const char *driver)
{
	size_t i;

	for (i = 0; i < sizeof(sm_drivers) / sizeof(*sm_drivers); i++)
		if (!strcmp(driver, sm_drivers[i].name))
			return sm_drivers[i].how;
	return 0;
}

static const char *how_name(unsigned int how)
{
	return how & SM_REFUSED ? "refused" : how & SM_TESTED ? "tested" : how & SM_READ ? "read" : "unknown";
}

/*
 * What rtnetlink knows, and sysfs does not: the name itself, as @given may be an alternative one, the kind
 * of a virtual interface, XDP. Returns its index, 0 without one, or a negative errno
 */
static int ask_link(struct doctor_nic *nic, const char *given, char kind[static 32])
{
	const size_t header = sizeof(struct ifinfomsg);
	const struct rtattr *attr;
	struct rtnl_kept link = { 0 };
	const struct nlmsghdr *h;
	int rtnl = rtnl_open(), ret;

	if (rtnl < 0)
		return rtnl;
	ret = link_find(rtnl, given, NULL, &link);
	if (!ret) {
		h = rtnl_next(&link, NULL);
		snprintf(nic->name, sizeof(nic->name), "%s", link_text(&link, IFLA_IFNAME));
		attr = rtnl_nested(rtnl_attr(h, header, IFLA_LINKINFO), IFLA_INFO_KIND);
		if (attr)
			snprintf(kind, 32, "%.*s", (int)RTA_PAYLOAD(attr), (const char *)RTA_DATA(attr));
		attr = rtnl_nested(rtnl_attr(h, header, IFLA_XDP), IFLA_XDP_ATTACHED);
		nic->xdp = attr && RTA_PAYLOAD(attr) && *(const unsigned char *)RTA_DATA(attr);
		ret = link_index(&link);
	} else if (ret == -ENODEV) {
		ret = 0;
	}
	free(link.data);
	close(rtnl);
	return ret;
}

/* A driver that comes from outside the kernel's tree: its name says nothing */
static bool is_foreign(const struct doctor *d, const char *module)
{
	char taint[32];

	return *module && doctor_line(d, taint, sizeof(taint), "/sys/module/%s/taint", module) && strchr(taint, 'O');
}

static int count(const struct doctor *d, const char *name, const char *prefix)
{
	char **names;
	int n = doctor_names(d, &names, prefix, "/sys/class/net/%s/queues", name);

	doctor_free_names(names, n);
	return n;
}

/* Of a link that lies on others: the first of these */
static bool below(const struct doctor *d, const char *name, char *lower, size_t size)
{
	char **names;
	int n = doctor_names(d, &names, "lower_", "/sys/class/net/%s", name);

	if (n)
		snprintf(lower, size, "%s", names[0] + strlen("lower_"));
	doctor_free_names(names, n);
	return n;
}

/* The rule of the stock drivers. Returns whether it can be owned */
static bool say_stock(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic)
{
	char module[64] = "", lower[64];
	unsigned int known = how(nic->driver);
	bool foreign;

	if (nic->device)
		doctor_target(d, module, sizeof(module), "/sys/class/net/%s/device/driver/module", nic->name);
	foreign = is_foreign(d, module);
	/* xen-netback calls itself the same */
	if (foreign || (!strcmp(nic->driver, "vif") && strcmp(module, "xen_netfront")))
		known = 0;
	doctor_fact(p, "driver_was", json_string(how_name(known)));
	if (known & SM_REFUSED) {
		doctor_say(p, DOCTOR_FAIL, "driver", "%s cannot be owned safely", nic->driver);
		doctor_remedy(p, "use another NIC: docs/drivers.md has why, and those that can be owned");
	} else if ((known & SM_ONE_QUEUE) && nic->rx_queues > 1) {
		doctor_say(p, DOCTOR_FAIL, "driver", "%s can be owned with a single receive queue only", nic->driver);
		doctor_remedy(p, "ethtool -L %s rx 1", nic->name);
	} else if ((known & SM_NO_XDP) && nic->xdp) {
		doctor_say(p, DOCTOR_FAIL, "driver", "%s cannot be owned while an XDP program is attached", nic->driver);
		doctor_remedy(p, "ip link set dev %s xdp off", nic->name);
	} else if (!known && !nic->device) {
		bool on = below(d, nic->name, lower, sizeof(lower));

		doctor_say(p, DOCTOR_FAIL, "driver", "%s%s: no NIC, so there is nothing to own",
			   *nic->driver ? "a virtual interface, " : "a virtual interface", nic->driver);
		if (on)
			doctor_remedy(p, "own %s, on which it lies", lower);
		else
			doctor_remedy(p, "own a NIC: stackmap doctor without a name lists them");
	} else if (!known && !d->any_driver) {
		doctor_say(p, DOCTOR_FAIL, "driver", "%s%s was neither tested nor read%s", *nic->driver ? nic->driver : "?",
			   foreign ? ", from outside the kernel's tree," : "", d->loaded ? ": the module refuses it" : "");
		doctor_remedy(p, "use another NIC (docs/drivers.md); or at your own risk: modprobe stackmap any_driver=1");
	} else if (!known) {
		doctor_say(p, DOCTOR_WARN, "driver", "%s was neither tested nor read: owned as any_driver is set", nic->driver);
		doctor_remedy(p, "do not reconfigure it while it is owned: it may crash");
		return true;
	} else {
		doctor_say(p, DOCTOR_OK, "driver", "%s, which was %s", nic->driver,
			   known & SM_TESTED ? "tested" : "read, but not reconfigured under an owner");
		return true;
	}
	return false;
}

static bool say_state(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic)
{
	long flags = 0, carrier = 1, mtu = 0;

	doctor_number(d, &flags, "/sys/class/net/%s/flags", nic->name);
	doctor_number(d, &mtu, "/sys/class/net/%s/mtu", nic->name);
	doctor_fact(p, "up", json_boolean(flags & IFF_UP));
	doctor_fact(p, "mtu", json_integer(mtu));
	if (!(flags & IFF_UP)) {
		doctor_say(p, DOCTOR_FAIL, "link", "down: a port on it does not open");
		doctor_remedy(p, "ip link set dev %s up", nic->name);
		return false;
	}
	if (doctor_number(d, &carrier, "/sys/class/net/%s/carrier", nic->name) && !carrier) {
		doctor_say(p, DOCTOR_WARN, "link", "up, but without carrier: nothing is received");
		doctor_remedy(p, "plug it in, or set the peer up");
	} else {
		doctor_say(p, DOCTOR_OK, "link", "up, MTU %ld", mtu);
	}
	return true;
}

/* Its queues that have an owner now */
static void say_owners(struct doctor_part *p, int ifindex)
{
	json_t *owners = json_array();
	struct stackmap_info info;
	unsigned int i;

	for (i = 0; !stackmap_stats(i, &info); i++) {
		if ((int)info.ifindex != ifindex)
			continue;
		json_array_append_new(owners, json_pack("{s:i,s:i}", "queue", (int)info.queue, "pid", info.pid));
		doctor_say(p, DOCTOR_OK, "owner", "process %d owns queue %u", info.pid, info.queue);
		doctor_remedy(p, "stackmap stats has its counters");
	}
	doctor_fact(p, "owners", owners);
}

/* Without GRO or XDP veth has no NAPI instance: veth_set_features() in drivers/net/veth.c */
static bool say_offloads(struct doctor_part *p, const struct doctor_nic *nic, const struct doctor_ethtool *e)
{
	const struct {
		const char *name, *option;
		int on;
		const char *why;
	} offloads[] = {
		{ "GRO", "gro", e->gro, "each packet goes through the stack by itself" },
		{ "TSO", "tso", e->tso, "the kernel cuts what is sent into packets" },
		{ "receive checksums", "rx", e->rx_checksum, "the kernel sums up every packet" },
		{ "transmit checksums", "tx", e->tx_checksum, "the kernel sums up what is sent" },
		{ "scatter-gather", "sg", e->scatter_gather, "what is sent is copied once more" },
	};
	char on[DOCTOR_LINE] = "";
	json_t *facts = json_object();
	size_t i;

	for (i = 0; i < sizeof(offloads) / sizeof(*offloads); i++) {
		if (offloads[i].on < 0)
			continue;
		json_object_set_new(facts, offloads[i].option, json_boolean(offloads[i].on));
		if (offloads[i].on)
			snprintf(on + strlen(on), sizeof(on) - strlen(on), "%s%s", *on ? ", " : "", offloads[i].name);
	}
	doctor_fact(p, "offloads", facts);
	if (!strcmp(nic->driver, "veth") && !e->gro && !nic->xdp) {
		doctor_say(p, DOCTOR_FAIL, "offloads", "veth without GRO has no NAPI instance that could be claimed");
		doctor_remedy(p, "ethtool -K %s gro on", nic->name);
		return false;
	}
	if (*on)
		doctor_say(p, DOCTOR_OK, "offloads", "%s", on);
	for (i = 0; i < sizeof(offloads) / sizeof(*offloads); i++) {
		if (offloads[i].on)	/* or not known */
			continue;
		doctor_say(p, DOCTOR_TIP, "offloads", "no %s: %s", offloads[i].name, offloads[i].why);
		doctor_remedy(p, "ethtool -K %s %s on, if it can", nic->name, offloads[i].option);
	}
	return true;
}

static void say_rings(struct doctor_part *p, const struct doctor_nic *nic, const struct doctor_ethtool *e)
{
	if (e->rx_ring <= 0)
		return;
	doctor_fact(p, "rings", json_pack("{s:i,s:i,s:i,s:i}", "rx", e->rx_ring, "rx_max", e->rx_ring_max,
					  "tx", e->tx_ring, "tx_max", e->tx_ring_max));
	if (e->rx_ring < e->rx_ring_max) {
		doctor_say(p, DOCTOR_TIP, "ring", "room for %d packets of %d: it may fill while the owner is busy", e->rx_ring,
			   e->rx_ring_max);
		doctor_remedy(p, "ethtool -G %s rx %d, before it is owned", nic->name, e->rx_ring_max);
	} else {
		doctor_say(p, DOCTOR_OK, "ring", "room for %d packets, which is the most", e->rx_ring);
	}
}

static void say_channels(struct doctor_part *p, const struct doctor_nic *nic, const struct doctor_ethtool *e)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int want = e->channels_max < cpus ? e->channels_max : (int)cpus;

	doctor_fact(p, "queues_max", e->channels_max > 0 ? json_integer(e->channels_max) : json_null());
	if (e->channels_max > 0 && nic->rx_queues < want) {
		doctor_say(p, DOCTOR_TIP, "queues", "%d in use of the %d that it has: each can have an owner", nic->rx_queues,
			   e->channels_max);
		doctor_remedy(p, "ethtool -L %s combined %d, for as many threads", nic->name, want);
	} else {
		doctor_say(p, DOCTOR_OK, "queues", "%d to receive, %d to send: each of the former can have an owner",
			   nic->rx_queues, nic->tx_queues);
	}
}

/* Which interface it is: its index, or 0 and it was said why not */
static int identify(const struct doctor *d, struct doctor_part *p, struct doctor_nic *nic, const char *given,
		    char kind[static 32])
{
	long in_sysfs = 0;
	int index;

	/* A path would lead elsewhere */
	if (!*given || strchr(given, '/') || !strcmp(given, ".") || !strcmp(given, "..")) {
		doctor_say(p, DOCTOR_FAIL, "interface", "this is no name of an interface");
		doctor_remedy(p, "ip link shows those that are there");
		return 0;
	}
	snprintf(nic->name, sizeof(nic->name), "%s", given);
	index = *d->root ? 0 : ask_link(nic, given, kind);
	if (index < 0) {
		doctor_say(p, DOCTOR_FAIL, "interface", "rtnetlink does not answer: %s", strerror(-index));
		doctor_remedy(p, "let this process make AF_NETLINK sockets (RestrictAddressFamilies= in a systemd unit)");
		return 0;
	}
	doctor_number(d, &in_sysfs, "/sys/class/net/%s/ifindex", nic->name);
	if (*d->root && !strcmp(nic->name, given))
		index = in_sysfs;
	if (!index) {
		doctor_say(p, DOCTOR_FAIL, "interface", "there is none of this name in this network namespace");
		doctor_remedy(p, "ip link shows those that are there, ip -all netns exec ip link those in others");
		return 0;
	}
	/* It shows the interfaces of the namespace in which it was mounted */
	if (in_sysfs != index) {
		doctor_say(p, DOCTOR_FAIL, "interface", "/sys is that of another network namespace");
		doctor_remedy(p, "run this with ip netns exec, which mounts another; or mount one: mount -t sysfs sysfs /sys");
		return 0;
	}
	return index;
}

bool doctor_interface(const struct doctor *d, struct doctor_part *p, const char *given)
{
	char kind[32] = "", bus[32] = "";
	struct doctor_ethtool ethtool;
	struct doctor_nic nic = { 0 };
	const char *name = nic.name;
	bool owned = false;
	int index;

	index = identify(d, p, &nic, given, kind);
	doctor_fact(p, "name", json_text(index ? name : given));
	doctor_fact(p, "can_be_owned", json_false());
	if (!index)
		return false;
	nic.device = doctor_target(d, nic.driver, sizeof(nic.driver), "/sys/class/net/%s/device/driver", name);
	if (!nic.device)
		snprintf(nic.driver, sizeof(nic.driver), "%s", kind);
	nic.virtio = doctor_target(d, bus, sizeof(bus), "/sys/class/net/%s/device/subsystem", name) && !strcmp(bus, "virtio");
	nic.own = !strcmp(nic.driver, "stackmap_virtio");
	nic.rx_queues = count(d, name, "rx-");
	nic.tx_queues = count(d, name, "tx-");
	doctor_fact(p, "driver", *nic.driver ? json_text(nic.driver) : json_null());
	doctor_fact(p, "rx_queues", json_integer(nic.rx_queues));
	doctor_fact(p, "tx_queues", json_integer(nic.tx_queues));
	doctor_ethtool(d, name, &ethtool);
	if (nic.own) {
		doctor_say(p, DOCTOR_OK, "driver", "the module's own: payload is received without a copy");
		owned = true;
	} else {
		owned = say_stock(d, p, &nic);
	}
	if (owned) {
		owned = say_state(d, p, &nic);
		say_channels(p, &nic, &ethtool);
		owned &= say_offloads(p, &nic, &ethtool);
		say_rings(p, &nic, &ethtool);
		doctor_virtio(d, p, &nic);
		doctor_queues(d, p, &nic);
		doctor_speed(d, p, &nic);
		if (!*d->root && d->loaded)
			say_owners(p, index);
	}
	doctor_fact(p, "can_be_owned", json_boolean(owned));
	return owned;
}
