// SPDX-License-Identifier: GPL-2.0
/*
 * virtio.c - what a virtio NIC offers, what stackmap bind would bring, and whether packets fit in a buffer
 */
#include "doctor.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* Newer than the headers of the systems that this is built on */
#define RING_RESET	40

/* sm_virtio_set_features() in kmod/virtio/dev.c */
#define FRAME		4096
#define OVERHEAD	(12 + 14 + 4)	/* struct virtio_net_hdr_mrg_rxbuf, Ethernet, a VLAN tag */

static const struct {
	const char *name;
	int bit;
} features[] = {
	{ "csum", VIRTIO_NET_F_CSUM }, { "guest_csum", VIRTIO_NET_F_GUEST_CSUM }, { "mtu", VIRTIO_NET_F_MTU },
	{ "guest_tso4", VIRTIO_NET_F_GUEST_TSO4 }, { "guest_tso6", VIRTIO_NET_F_GUEST_TSO6 },
	{ "host_tso4", VIRTIO_NET_F_HOST_TSO4 }, { "host_tso6", VIRTIO_NET_F_HOST_TSO6 },
	{ "mrg_rxbuf", VIRTIO_NET_F_MRG_RXBUF }, { "ctrl_vq", VIRTIO_NET_F_CTRL_VQ }, { "mq", VIRTIO_NET_F_MQ },
	{ "indirect_desc", VIRTIO_RING_F_INDIRECT_DESC }, { "event_idx", VIRTIO_RING_F_EVENT_IDX },
	{ "version_1", VIRTIO_F_VERSION_1 }, { "ring_packed", VIRTIO_F_RING_PACKED }, { "ring_reset", RING_RESET },
};

/* A digit for each, the lowest bit first. Negotiated, that is: the driver may not know all the device has */
static bool has(const char *bits, int bit)
{
	return strlen(bits) > (size_t)bit && bits[bit] == '1';
}

static void say_bind(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic, const char *bits)
{
	if (!has(bits, VIRTIO_F_VERSION_1)) {
		doctor_say(p, DOCTOR_TIP, "virtio", "a legacy device: the module's own driver does not take it");
		doctor_remedy(p, "QEMU: -device virtio-net-pci,disable-modern=off,disable-legacy=on");
		return;
	}
	doctor_say(p, DOCTOR_TIP, "virtio", "its driver copies what is received; the module's own does not");
	doctor_remedy(p, "%sstackmap bind %s (the interface goes away for a moment)", d->loaded ? "" :
		      "modprobe stackmap && ", nic->name);
}

static void say_frames(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic)
{
	long mtu = 0;

	doctor_number(d, &mtu, "/sys/class/net/%s/mtu", nic->name);
	if (mtu + OVERHEAD <= FRAME) {
		doctor_say(p, DOCTOR_OK, "buffers", "a packet of the MTU fits in one of %d bytes", FRAME);
	} else {
		doctor_say(p, DOCTOR_TIP, "buffers", "a packet of the MTU takes %ld buffers and as many slots",
			   (mtu + OVERHEAD + FRAME - 1) / FRAME);
		doctor_remedy(p, "ip link set dev %s mtu %d or less, unless bulk counts more than latency", nic->name,
			      FRAME - OVERHEAD);
	}
}

void doctor_virtio(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic)
{
	json_t *names = json_array();
	char bits[128];
	size_t i;

	if (!nic->virtio || !doctor_line(d, bits, sizeof(bits), "/sys/class/net/%s/device/features", nic->name)) {
		json_decref(names);
		return;
	}
	for (i = 0; i < sizeof(features) / sizeof(*features); i++)
		if (has(bits, features[i].bit))
			json_array_append_new(names, json_string(features[i].name));
	doctor_fact(p, "virtio_features", names);
	if (!nic->own)
		say_bind(d, p, nic, bits);
	else
		say_frames(d, p, nic);
	if (nic->own && !has(bits, VIRTIO_NET_F_MRG_RXBUF)) {
		doctor_say(p, DOCTOR_TIP, "virtio", "no mergeable buffers: packets that the host has put together do not arrive"
			   " as one");
		doctor_remedy(p, "QEMU: -device virtio-net-pci,mrg_rxbuf=on");
	}
	if (nic->own && !has(bits, RING_RESET)) {
		doctor_say(p, DOCTOR_WARN, "virtio", "it cannot reset a ring: an interface moved to another network namespace"
			   " may leave packets in the old owner's buffers");
		doctor_remedy(p, "close the port before the interface is moved; QEMU 7.2 or newer can");
	}
}
