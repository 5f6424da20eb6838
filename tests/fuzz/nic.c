// SPDX-License-Identifier: GPL-2.0
/*
 * nic.c - what happens to interfaces and to the module while programs run
 *
 * Which interfaces there are to register: the guest's eth0, on the module's own
 * driver or on its stock one; smf0, one end of a veth pair with NAPI; smf1, its
 * other end; a dummy, without NAPI; and lo.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"
#include "net.h"

#define MODULE "/root/stackmap.ko"

static const char *const names[] = { "eth0", "smf0", "smf1", "smfd", "lo" };
static char driver[64], device[64];
static bool own_driver;

static int sh(const char *command)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execlp("timeout", "timeout", "-s", "KILL", "30", "bash", "-c", command, NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return status;
}

int nic_ifindex(uint32_t which)
{
	return if_nametoindex(which < 5 ? names[which] : "eth0");
}

static int if_do(const char *name, unsigned long call, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

	strncpy(ifr->ifr_name, name, sizeof(ifr->ifr_name) - 1);
	ret = ioctl(fd, call, ifr);
	close(fd);
	return ret;
}

static int set_flag(const char *name, int flag, bool on)
{
	struct ifreq ifr = { 0 };

	if (if_do(name, SIOCGIFFLAGS, &ifr))
		return -1;
	ifr.ifr_flags = on ? ifr.ifr_flags | flag : ifr.ifr_flags & ~flag;
	return if_do(name, SIOCSIFFLAGS, &ifr);
}

static int ethtool_do(const char *name, void *arg)
{
	struct ifreq ifr = { .ifr_data = arg };

	return if_do(name, SIOCETHTOOL, &ifr);
}

static int set_channels(const char *name, uint32_t n)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };

	if (ethtool_do(name, &ch))
		return -1;
	ch.cmd = ETHTOOL_SCHANNELS;
	if (ch.max_combined)
		ch.combined_count = 1 + n % ch.max_combined;
	return ethtool_do(name, &ch);
}

static int set_rings(const char *name, uint32_t n)
{
	struct ethtool_ringparam rg = { .cmd = ETHTOOL_GRINGPARAM };

	if (ethtool_do(name, &rg))
		return -1;
	rg.cmd = ETHTOOL_SRINGPARAM;
	rg.rx_pending = n % 2 ? rg.rx_max_pending : rg.rx_max_pending / 2;
	return ethtool_do(name, &rg);
}

static int set_value(const char *name, uint32_t cmd, uint32_t v)
{
	struct ethtool_value val = { .cmd = cmd, .data = v };

	return ethtool_do(name, &val);
}

/* ------------------------------------------------------------------- restoring */

static bool wait_for(const char *name, int ms)
{
	double end = mono() + ms / 1e3;

	while (!if_nametoindex(name)) {
		if (mono() > end)
			return false;
		usleep(2000);
	}
	return true;
}

/*
 * By a shell, which is slow, what can not be had otherwise. The module's driver only takes a device that is claimed for
 * it, and a program may have ended after it had unbound it
 */
static void restore_devices(void)
{
	char command[2048];

	snprintf(command, sizeof(command),
		 "exec 2>/dev/null; grep -q ^stackmap /proc/modules || insmod " MODULE
		 "; for i in {1..50}; do [ -e /sys/class/net/eth0 ] && break; [ -e %s/%s ] || { echo %s >%s/claim; echo %s >%s/bind; }; sleep 0.02; done"
		 "%s; [ -e /sys/class/net/smf0 ] || { ip link del smf1; ip link add smf0 type veth peer name smf1; }"
		 "; [ -e /sys/class/net/smfd ] || ip link add smfd type dummy; true",
		 driver, device, device, driver, device, driver,
		 own_driver ? "; readlink /sys/class/net/eth0/device/driver | grep -q stackmap || /root/stackmap bind eth0" : "");
	sh(command);
}

static void set_address(const char *name, const char *address)
{
	struct ifreq ifr = { 0 };
	struct sockaddr_in *sin = (void *)&ifr.ifr_addr;

	sin->sin_family = AF_INET;
	inet_pton(AF_INET, address, &sin->sin_addr);
	if_do(name, SIOCSIFADDR, &ifr);
	inet_pton(AF_INET, "255.255.255.0", &sin->sin_addr);
	if_do(name, SIOCSIFNETMASK, &ifr);
}

static void set_address6(const char *name, const char *address)
{
	struct { struct in6_addr a; uint32_t prefix; int ifindex; } req = { .prefix = 64, .ifindex = if_nametoindex(name) };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET6, address, &req.a);
	ioctl(fd, SIOCSIFADDR, &req);
	close(fd);
}

/* Everything as it was when the guest had booted */
void nic_restore(void)
{
	struct ifreq ifr = { 0 };
	char link[256] = "";
	uint32_t i;

	/* A namespace that ends gives its NIC back a while later */
	if (access("/sys/module/stackmap", F_OK) || !wait_for("eth0", 500) || !wait_for("smf0", 50) ||
	    !wait_for("smfd", 1) ||
	    (own_driver && (readlink("/sys/class/net/eth0/device/driver", link, sizeof(link) - 1) < 0 ||
			    !strstr(link, "stackmap"))))
		restore_devices();
	set_flag("lo", IFF_UP, true);
	for (i = 0; i < 4; i++) {
		set_flag(names[i], IFF_PROMISC | IFF_ALLMULTI, false);
		set_flag(names[i], IFF_UP, true);
		ifr.ifr_mtu = 1500;
		if_do(names[i], SIOCSIFMTU, &ifr);
	}
	set_value("eth0", ETHTOOL_STXCSUM, 1);
	set_value("eth0", ETHTOOL_SSG, 1);
	set_value("eth0", ETHTOOL_SGSO, 1);
	set_value("smf0", ETHTOOL_SGRO, 1);
	set_address("eth0", "10.77.0.2");
	set_address6("eth0", "fd77::2");
	set_address("smf0", "10.79.0.2");
	shared->nic_dirty = false;
	shared->module_dirty = false;
}

/* Whether the host can be talked to through it */
bool nic_works(void)
{
	int try, fd;

	for (try = 0; try < 8; try++) {
		fd = try_connect("10.77.0.1", 9000, 3000);
		if (fd >= 0) {
			close(fd);
			return true;
		}
		printf("# the host is not there\n");
		nic_restore();
	}
	sh("ip addr; ip route; ip neigh; ip -s link show eth0; grep virtio /proc/interrupts; ls -l /sys/class/net/eth0/device/driver");
	return false;
}

void nic_init(bool virtio)
{
	char link[256];
	ssize_t n;

	own_driver = virtio;
	n = readlink("/sys/class/net/eth0/device", link, sizeof(link) - 1);
	if (n > 0) {
		link[n] = 0;
		snprintf(device, sizeof(device), "%s", strrchr(link, '/') + 1);
	}
	n = readlink("/sys/class/net/eth0/device/driver", link, sizeof(link) - 1);
	if (n > 0) {
		link[n] = 0;
		snprintf(driver, sizeof(driver), "/sys/bus/virtio/drivers/%s", strrchr(link, '/') + 1);
	}
	nic_restore();
}

/* ------------------------------------------------------------------ disturbing */

/* Into the network namespace of process @pid, or of @fd when pid is 0 */
static int move(const char *name, pid_t pid, int fd)
{
	struct {
		struct nlmsghdr nh;
		struct ifinfomsg ifi;
		struct rtattr rta;
		uint32_t v;
	} msg = {
		.nh = { sizeof(msg), RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0 },
		.ifi = { .ifi_index = if_nametoindex(name) },
		.rta = { RTA_LENGTH(4), pid ? IFLA_NET_NS_PID : IFLA_NET_NS_FD },
		.v = pid ? pid : fd,
	};
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), ret;
	char b[512];

	if (!msg.ifi.ifi_index) {
		close(nl);
		return -1;
	}
	ret = send(nl, &msg, sizeof(msg), 0);
	if (ret > 0)
		recv(nl, b, sizeof(b), 0);
	close(nl);
	return ret < 0;
}

/* To another namespace, which goes away with the interface in it, or not */
static int move_away(const char *name, uint32_t c)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), p[2], status;
	char byte;
	pid_t pid;

	if (pipe(p))
		return -1;
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNET) || write(p[1], "", 1) != 1)
			_exit(1);
		usleep(2000 + c % 20000);
		/* A virtual interface ends with the namespace, a NIC goes back to the first one */
		if (c & 0x10000)
			move(name, 0, here);
		_exit(0);
	}
	close(p[1]);
	if (pid > 0 && read(p[0], &byte, 1) == 1)
		move(name, pid, 0);
	close(p[0]);
	close(here);
	waitpid(pid, &status, 0);
	return 0;
}

static int write_to(const char *dir, const char *file, const char *what)
{
	char path[256];
	int fd, ret;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ret = write(fd, what, strlen(what));
	close(fd);
	return ret < 0 ? -1 : 0;
}

int nic_disturb(uint32_t what, uint32_t b, uint32_t c)
{
	static const int mtus[] = { 68, 576, 1280, 1500, 1400, 9000, 65535 };
	const char *name = names[b % 3];
	struct ifreq ifr = { 0 };
	int ret;

	shared->nic_dirty = true;
	switch (what % 14) {
	case 0:
	case 1:
		ret = set_flag(name, IFF_UP, false);
		usleep(c % 5000);
		return ret | set_flag(name, IFF_UP, true);
	case 2:
		return set_flag(name, IFF_UP, c & 1);
	case 3:
		ifr.ifr_mtu = mtus[c % 7];
		return if_do(name, SIOCSIFMTU, &ifr);
	case 4:
		return set_flag(name, c & 1 ? IFF_PROMISC : IFF_ALLMULTI, c & 2);
	case 5:
		return set_channels(name, c);
	case 6:
		return set_rings(name, c);
	case 7:
		return set_value(name, c & 1 ? ETHTOOL_SGRO : ETHTOOL_SGSO, c & 2);
	case 8:
		return set_value(name, c & 1 ? ETHTOOL_STXCSUM : ETHTOOL_SSG, c & 2);
	case 9:
		ifr.ifr_qlen = c % 100;
		return if_do(name, SIOCSIFTXQLEN, &ifr);
	case 10:
	case 11:
		return move_away(name, c);
	case 12:
		if (b % 2 || !driver[0])
			return -1;
		ret = write_to(driver, "unbind", device);
		usleep(c % 5000);
		if (own_driver)
			write_to(driver, "claim", device);
		return ret | write_to(driver, "bind", device);
	default:
		ifr.ifr_hwaddr.sa_family = 1;
		memcpy(ifr.ifr_hwaddr.sa_data, "\x02\x00\x00\x00\x00", 5);
		ifr.ifr_hwaddr.sa_data[5] = c;
		return if_do("smf0", SIOCSIFHWADDR, &ifr);
	}
}

int nic_module(uint32_t what)
{
	int fd, ret;

	shared->module_dirty = true;
	if (what % 4) {
		ret = syscall(SYS_delete_module, "stackmap", O_NONBLOCK);
		if (ret || what % 4 == 1)
			return ret;
		shared->nic_dirty = true;
	}
	fd = open(MODULE, O_RDONLY | O_CLOEXEC);
	ret = syscall(SYS_finit_module, fd, "", 0);
	close(fd);
	return ret;
}
