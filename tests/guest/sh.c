// SPDX-License-Identifier: GPL-2.0
/*
 * sh.c - commands, by bash
 */
#include "sh.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"
#include "peer.h"
#include "sm.h"
#include "tap.h"

#define LIMIT 60

double sh_seconds;

static int sh_run(char *to, size_t size, const char *command)
{
	double start = mono();
	int status, p[2];
	char limit[16];
	size_t n = 0;
	ssize_t k;
	pid_t pid;

	snprintf(limit, sizeof(limit), "%d", LIMIT * slow());
	if (to)
		CHECK(!pipe(p));
	pid = fork();
	if (pid == 0) {
		if (to) {
			dup2(p[1], 1);
			close(p[0]);
			close(p[1]);
		}
		execlp("timeout", "timeout", "-s", "KILL", limit, "bash", "-c", command, NULL);
		_exit(127);
	}
	CHECK(pid > 0);
	if (to) {
		close(p[1]);
		while (n < size - 1 && (k = read(p[0], to + n, size - 1 - n)) > 0)
			n += k;
		to[n] = 0;
		close(p[0]);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	sh_seconds = mono() - start;
	CHECKF(!WIFSIGNALED(status) && WEXITSTATUS(status) != 137, "took too long: %s", command);
	return WEXITSTATUS(status);
}

int sh(const char *fmt, ...)
{
	char command[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return sh_run(NULL, 0, command);
}

int sh_read(char *to, size_t size, const char *fmt, ...)
{
	char command[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return sh_run(to, size, command);
}

int sh_pings(const char *addr)
{
	/* ping ends at the first error, as after three ARP requests without an answer */
	return !sh("tell() { { echo \"$out\"; ip -s -s link show " IFNAME "; ip addr show " IFNAME "; ip route; ip neigh"
		   "; tc -s qdisc show dev " IFNAME "; (cd /sys/class/net/" IFNAME "/queues && grep . tx-*/byte_queue_limits/*)"
		   "; ethtool -S " IFNAME "; cat /proc/net/softnet_stat; grep virtio /proc/interrupts; } 2>&1 | sed 's/^/# /'; }"
		   "; end=$((SECONDS + 10)); told=; until out=$(ping -n -c 1 -w 10 %s 2>&1)"
		   "; do [ $told ] || tell; told=1; ((SECONDS < end)) || exit 1; sleep 0.2; done", addr);
}

int sh_ring_turns(const char *ifname)
{
	char out[32] = "";
	int n;

	sh_read(out, sizeof(out), "ethtool -g %s 2>/dev/null | awk '/^Current/ { now = 1 } now && $1 == \"RX:\" { print $2; exit }'",
		ifname);
	n = atoi(out) / 256;
	return n > 1 ? n : 1;
}

void sh_restore_nic(void)
{
	sh("exec 2>/dev/null; [ ! -e /run/netns/smns ] || ip -n smns link set " IFNAME " netns 1; ip netns del smns"
	   "; tc qdisc del dev " IFNAME " root; tc qdisc del dev " IFNAME " ingress; ip link del smifb; tc qdisc del dev smn0 root"
	   "; tc -n smnet qdisc del dev smn1 root; ip -n smnet link set smn1 up; ip link set smn0 up; ip addr replace 10.78.0.2/24 dev smn0"
	   "; ip -6 addr replace fd78::2/64 dev smn0 nodad; ip route replace 10.98.0.0/24 via 10.78.0.1; ip route flush type unreachable"
	   "; ip route flush type blackhole; ip route flush cache; ip link del smv0; ip link del smdum; ip link set lo up; ip link set " IFNAME " up"
	   "; ip addr replace 10.77.0.2/24 dev " IFNAME "; ip -6 addr replace fd77::2/64 dev " IFNAME
	   " nodad; ip route replace default via 10.77.0.1; ip -6 route replace default via fd77::1");
}

static pid_t veth_peer;

void sh_veth(void)
{
	int ns;

	if (veth_peer)
		return;
	/* The test that comes next is skipped when it finds no peer */
	if (system("exec 2>/dev/null; bash -c 'ip netns del smnet; set -e"
		   "; ip netns add smnet; ip -n smnet link set lo up"
		   "; ip link add smn0 type veth peer name smn1 netns smnet"
		   "; ethtool -K smn0 gro on; ip netns exec smnet ethtool -K smn1 gro on"
		   "; sysctl -q -w net.ipv6.conf.smn0.accept_ra=0"
		   "; ip addr add 10.78.0.2/24 dev smn0; ip addr add fd78::2/64 dev smn0 nodad"
		   "; ip -n smnet addr add 10.78.0.1/24 dev smn1"
		   "; ip -n smnet addr add fd78::1/64 dev smn1 nodad"
		   "; ip -n smnet link set smn1 up; ip link set smn0 up"
		   "; ip route add 10.98.0.0/24 via 10.78.0.1'"))
		return;
	veth_peer = fork();
	if (veth_peer == 0) {
		ns = open("/run/netns/smnet", O_RDONLY | O_CLOEXEC);
		if (ns < 0 || setns(ns, CLONE_NEWNET))
			_exit(1);
		_exit(peer_serve(place_veth.ctl));
	}
	usleep(50000);
}

void sh_veth_end(void)
{
	if (!veth_peer)
		return;
	kill(veth_peer, SIGTERM);
	if (system("bash -c 'ip netns del smnet'"))
		printf("# the namespace of the veth peer is left behind\n");
}

int sh_meanwhile(const char *fmt, ...)
{
	char command[4096];
	va_list ap;
	pid_t pid;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	pid = fork();
	if (pid == 0) {
		execlp("timeout", "timeout", "-s", "KILL", "60", "bash", "-ec", command, NULL);
		_exit(127);
	}
	CHECK(pid > 0);
	return pid;
}

void sh_end(int pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	EQ(status, 0);
}
