// SPDX-License-Identifier: GPL-2.0
/*
 * t_bind.c - stackmap bind and unbind: what an interface has is carried over, or nothing is done
 */
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app.h"
#include "life.h"
#include "peer.h"
#include "sh.h"
#include "tap.h"

/* All that is set on the interface, without what differs between drivers or in time, or is the kernel's own. $1: "ip netns exec NAME" */
#define SHOW									\
	"show() { {"								\
	" $1 ip -d link show dev " IFNAME " | sed -E 's/^[0-9]+: //; s/(min|max)mtu [0-9]+//g; s/ (state|qdisc) [^ ]+//g; s/,?LOWER_UP//; s/,?NO-CARRIER,?//'"\
	"  | sed -E 's/ (parent(bus|dev)|numtxqueues|numrxqueues|tso_max_size|tso_max_segs) [^ ]+//g';"\
	" $1 ip -o addr show dev " IFNAME " | sed -E 's/^[0-9]+: //; s/ (nodad|tentative)//g; s/[0-9]+sec/Nsec/g; s/proto kernel_ll//';"\
	" $1 ip -o route show table all | grep -E 'dev " IFNAME "|src 10.77.5.2' | grep -v 'proto kernel' | sort;"\
	" $1 ip -6 -o route show table all | grep 'dev " IFNAME "' | grep -v 'proto kernel' | sed -E 's/expires [0-9]+sec//; s/linkdown//' | sort;"\
	" $1 ip neigh show nud permanent dev " IFNAME "; $1 ip neigh show proxy dev " IFNAME "; $1 ip -6 neigh show proxy dev " IFNAME ";"\
	" $1 tc qdisc show dev " IFNAME " | grep -v ' 0: '; $1 ip maddr show dev " IFNAME " | grep static;"\
	" $1 bash -c 'cd /proc/sys/net; grep \"\" ipv?/conf/" IFNAME "/* ipv?/neigh/" IFNAME "/*' | grep -v /mtu:;"\
	" } 2>/dev/null | sed 's/ *$//'; }\n"

/* Of everything that ip(8) and tc(8) can set. $1 as above */
#define SET									\
	"set_all() { $1 bash -c 'cd /proc/sys/net; echo 1 >ipv4/conf/" IFNAME "/arp_ignore; echo 2 >ipv4/conf/" IFNAME "/rp_filter; echo 0 >ipv6/conf/" IFNAME "/accept_ra"\
	"; echo 77 >ipv6/conf/" IFNAME "/hop_limit; echo 77 >ipv4/neigh/" IFNAME "/gc_stale_time; echo 7 >ipv6/neigh/" IFNAME "/app_solicit"\
	"; tc qdisc replace dev " IFNAME " root fq_codel limit 777 target 7ms noecn; ip -batch /tmp/bind.batch'; }\n"

/* For ip -batch: much is set by one process, as starting one takes long in an emulated guest */
#define BATCH									\
	"link add smdum type dummy\naddr add 10.63.0.2/24 dev smdum\naddr add fd63::2/64 dev smdum nodad\nlink set smdum up\n"\
	"link set " IFNAME " down\nlink set " IFNAME " address 02:00:00:00:77:01 mtu 1400 txqueuelen 555 alias of-mine\n"\
	"link property add dev " IFNAME " altname smalt1 altname smalt2\nlink set " IFNAME " group 7 promisc on allmulticast on\n"\
	"link set " IFNAME " gso_max_size 30000\n"\
	"addr replace 10.77.0.2/24 dev " IFNAME "\naddr add 10.77.5.2/24 label " IFNAME ":1 dev " IFNAME "\n"\
	"addr add 10.64.0.1 peer 10.64.0.2 dev " IFNAME "\naddr add 10.77.6.2/24 valid_lft 7200 preferred_lft 3600 dev " IFNAME "\n"\
	"link set " IFNAME " up\naddr replace fd77::2/64 dev " IFNAME " nodad\naddr add fd78::7/64 home dev " IFNAME " nodad\n"\
	"route add 10.60.0.0/16 via 10.77.0.1 metric 5\nroute add 10.61.0.0/16 dev " IFNAME " table 77\n"\
	"route add 10.62.0.1 dev " IFNAME " scope link\nroute add 10.9.0.0/16 via 10.62.0.1 mtu 1300\n"\
	"route add 10.65.0.0/16 nexthop via 10.77.0.1 weight 2 nexthop via 10.63.0.1 dev smdum\nroute replace default via 10.77.0.1\n"\
	"route add 10.66.0.0/16 dev smdum src 10.77.5.2\nroute add local 10.67.0.1 dev " IFNAME " proto static\n"\
	"route add fd65::/64 nexthop via fd63::1 dev smdum nexthop via fd77::1 dev " IFNAME " weight 3\n"\
	"route add fd60::/64 via fd77::1 metric 99\nroute replace default via fd77::1\n"\
	"neigh add 10.77.0.99 lladdr 02:00:00:00:00:99 nud permanent dev " IFNAME "\nneigh add fd77::99 lladdr 02:00:00:00:00:99 nud permanent dev " IFNAME "\n"\
	"neigh add proxy 10.77.0.98 dev " IFNAME "\nneigh add proxy fd77::98 dev " IFNAME "\n"\
	/* (After this one ip(8) reads no more) */				\
	"maddr add 33:33:00:00:77:77 dev " IFNAME "\n"

#define OTHER	"$(ethtool -i " IFNAME " | grep -q stackmap_virtio && echo unbind || echo bind)"


/* What was set above, gone again, and the addresses as at boot */
static void undo(void)
{
	sh("exec 2>/dev/null; tc qdisc del dev " IFNAME " root; printf %%s\\\\n 'link del smdum' 'addr flush dev " IFNAME "'"
	   " 'link property del dev " IFNAME " altname smalt1 altname smalt2' 'neigh flush dev " IFNAME " nud permanent' 'route flush table 77'"
	   " 'neigh del proxy 10.77.0.98 dev " IFNAME "' 'neigh del proxy fd77::98 dev " IFNAME "'"
	   " 'link set " IFNAME " mtu 1500' 'link set " IFNAME " txqueuelen 1000' 'link set " IFNAME " alias \"\"' 'link set " IFNAME " group 0'"
	   " 'link set " IFNAME " promisc off allmulticast off' 'link set " IFNAME " gso_max_size 65536' 'maddr del 33:33:00:00:77:77 dev " IFNAME "' | ip -force -batch -");
	sh_restore_nic();
}

/* The scripts are longer than what sh() takes */
static void begin(void)
{
	FILE *f;

	if (sh("readlink /sys/class/net/" IFNAME "/device/driver | grep -q virtio"))
		tap_skip("not a virtio NIC");
	f = fopen("/tmp/bind.sh", "w");
	CHECK(f && fputs(SHOW SET, f) >= 0 && !fclose(f));
	f = fopen("/tmp/bind.batch", "w");
	CHECK(f && fputs(BATCH, f) >= 0 && !fclose(f));
	undo();
}

/* There and back: the same is shown, and the NIC works */
TEST_NIC(bind_carries_over, 180)
{
	char out[4096];
	int i;

	begin();
	EQ(sh(". /tmp/bind.sh; set_all && sleep 1 && show >/tmp/bind.before; grep -q 10.66.0.0 /tmp/bind.before && grep -q '^fd65.*fd77' /tmp/bind.before && grep -q static$ /tmp/bind.before"), 0);
	for (i = 0; i < 2; i++) {
		EQ(sh("./stackmap " OTHER " " IFNAME " >/dev/null"), 0);
		sh_read(out, sizeof(out), ". /tmp/bind.sh; sleep 1; show | diff /tmp/bind.before - | grep ^[-+]");
		CHECKF(!*out, "\n%s", out);
		CHECK(sh_pings(here->peer4));
	}
	undo();
	nic_is_ordinary();
}

/* An interface that is down stays down, and one without anything set has nothing set */
TEST_NIC(bind_carries_little, 120)
{
	char out[4096];
	int i;

	begin();
	EQ(sh(". /tmp/bind.sh; ip link set " IFNAME " down; show >/tmp/bind.before"), 0);
	for (i = 0; i < 2; i++) {
		EQ(sh("./stackmap " OTHER " " IFNAME " >/dev/null"), 0);
		sh_read(out, sizeof(out), ". /tmp/bind.sh; show | diff /tmp/bind.before - | grep ^[-+]");
		CHECKF(!*out, "\n%s", out);
	}
	sh_restore_nic();
	nic_is_ordinary();
}

/* In another network namespace, where the interface is not by itself; and not from outside it */
TEST_NIC(bind_in_namespace, 180)
{
	char out[4096];
	int i;

	begin();
	EQ(sh("readlink /sys/class/net/" IFNAME "/device | xargs basename >/tmp/bind.device; ip netns add smns; ip link set " IFNAME " netns smns"), 0);
	EQ(sh(". /tmp/bind.sh; set_all 'ip netns exec smns' && sleep 1 && show 'ip netns exec smns' >/tmp/bind.before; grep -q 10.66.0.0 /tmp/bind.before && grep -q '^fd65.*fd77' /tmp/bind.before && grep -q static$ /tmp/bind.before"), 0);
	CHECK(sh("c=$(readlink /sys/bus/virtio/devices/$(</tmp/bind.device)/driver | grep -q stackmap && echo unbind || echo bind)"
		 "; ./stackmap $c $(</tmp/bind.device) 2>/tmp/bind.said") != 0);
	EQ(sh("grep -q namespace /tmp/bind.said && ip -n smns link show " IFNAME " >/dev/null"), 0);
	for (i = 0; i < 2; i++) {
		EQ(sh("ip netns exec smns ./stackmap $(ip netns exec smns ethtool -i " IFNAME " | grep -q stackmap_virtio && echo unbind || echo bind) "
		      IFNAME " >/dev/null"), 0);
		sh_read(out, sizeof(out), ". /tmp/bind.sh; sleep 1; show 'ip netns exec smns' | diff /tmp/bind.before - | grep ^[-+]");
		CHECKF(!*out, "\n%s", out);
	}
	EQ(sh("ip -n smns link set " IFNAME " netns 1; ip netns del smns"), 0);
	undo();
	nic_is_ordinary();
}

/* An XDP program that lets all through. Returns a descriptor that keeps it attached */
static int attach_xdp(void)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 2 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;
	int prog;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_XDP;
	attr.insns = (uintptr_t)code;
	attr.insn_cnt = 2;
	attr.license = (uintptr_t)"GPL";
	prog = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (prog < 0)
		return -1;
	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = prog;
	attr.link_create.target_ifindex = if_nametoindex(IFNAME);
	attr.link_create.attach_type = BPF_XDP;
	attr.link_create.flags = 2; /* generic */
	return syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

/* Neither taken nor touched, and the message says WHAT would be lost */
static void refused(const char *what, const char *with)
{
	unsigned int index = if_nametoindex(IFNAME);
	char said[512];

	sh_read(said, sizeof(said), "./stackmap " OTHER " " IFNAME " 2>&1 >/dev/null && echo 'no refusal'");
	CHECKF(strstr(said, what) && strstr(said, "lost") && strchr(said, '\n') == said + strlen(said) - 1, "%s: %s", with, said);
	CHECKF(if_nametoindex(IFNAME) == index, "%s", with);
}

TEST_NIC(bind_refuses, 180)
{
	static const struct {
		const char *set, *what, *undo;
	} all[] = {
		{ "ip link add link " IFNAME " name smon type vlan id 5", "smon", "ip link del smon" },
		{ "ip link add link " IFNAME " name smon type macvlan mode bridge", "smon", "ip link del smon" },
		{ "ip netns add smns; ip link add link " IFNAME " name smon netns smns type macvlan", "smon", "ip -n smns link del smon; ip netns del smns" },
		{ "ip link add smon type vxlan id 5 group 239.1.1.1 dstport 4789 dev " IFNAME, "smon", "ip link del smon" },
		{ "ip link add smon type bridge && ip link set " IFNAME " master smon", "smon", "ip link del smon" },
		{ "tc qdisc replace dev " IFNAME " root netem delay 1ms", "netem", "tc qdisc del dev " IFNAME " root" },
		{ "tc qdisc add dev " IFNAME " ingress", "ingress", "tc qdisc del dev " IFNAME " ingress" },
		{ "ip nexthop add id 7 via 10.77.0.1 dev " IFNAME, "nexthop 7", "ip nexthop del id 7" },
	};
	unsigned int i, tried = 0;
	int xdp;

	begin();
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (sh("exec 2>/dev/null; modprobe -q sch_ingress; modprobe -q sch_netem; %s", all[i].set)) {
			tap_note("not here: %s", all[i].set);
			sh("exec 2>/dev/null; %s", all[i].undo);
			continue;
		}
		refused(all[i].what, all[i].set);
		EQ(sh("%s", all[i].undo), 0);
		tried++;
	}
	xdp = attach_xdp();
	if (xdp >= 0) {
		refused("XDP", "XDP");
		close(xdp);
		tried++;
	}
	tap_note("%u things", tried);
	CHECK(tried >= 6);
	nic_is_ordinary();
}

/* A device that the module's driver cannot have (tests/guest/run --nic disable-modern=on): nothing has changed */
TEST_NIC(bind_failed, 120)
{
	char out[4096];

	begin();
	if (!sh("[ $(cut -c 33 /sys/class/net/" IFNAME "/device/features) = 1 ]"))
		tap_skip("for a NIC of before virtio 1.0");
	EQ(sh(". /tmp/bind.sh; set_all && sleep 1 && show >/tmp/bind.before; grep -q 10.66.0.0 /tmp/bind.before && grep -q '^fd65.*fd77' /tmp/bind.before && grep -q static$ /tmp/bind.before"), 0);
	CHECK(sh("./stackmap bind " IFNAME " >/dev/null 2>&1") != 0);
	EQ(sh("ethtool -i " IFNAME " | grep -qx 'driver: virtio_net'; cat /sys/bus/virtio/drivers/stackmap_virtio/claim | grep -qx none"), 0);
	EQ(sh_read(out, sizeof(out), "echo $(($(cat /sys/class/net/" IFNAME "/device/status)))"), 0);
	/* Acknowledged, with a driver that is ready for it, and not FAILED */
	CHECKF(!strcmp(out, "7\n") || !strcmp(out, "15\n"), "status %s", out);
	sh_read(out, sizeof(out), ". /tmp/bind.sh; sleep 1; show | diff /tmp/bind.before - | grep ^[-+]");
	CHECKF(!*out, "\n%s", out);
	CHECK(sh_pings(here->peer4));
	undo();
	nic_is_ordinary();
}
