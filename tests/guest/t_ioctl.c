// SPDX-License-Identifier: GPL-2.0
/*
 * t_ioctl.c - every call with every kind of wrong argument
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <linux/tls.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"
#include "pair.h"
#include "sh.h"
#include "sm.h"
#include "tap.h"

#ifndef SOL_TCP
#define SOL_TCP 6
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif

static void reg_fails(const struct stackmap_register *reg, int err)
{
	struct stackmap_register r = *reg;
	int fd = sm_open();

	errno = 0;
	if (ioctl(fd, STACKMAP_IOC_REGISTER, &r) != -1 || errno != err)
		tap_fail(__FILE__, __LINE__, "version %u flags %u ifindex %u queue %u slots %u %u bufs %u %u stall %u: %s, not %s",
			 reg->version, reg->flags, reg->ifindex, reg->queue, reg->rx_slots,
			 reg->tx_slots, reg->extra_bufs, reg->pool_bufs, reg->stall_us,
			 strerror(errno), strerror(err));
	close(fd);
	EQ(sm_ports(), 0);
}

#define REG_FAILS(field, value, err) do {					\
	struct stackmap_register r_ = sm_reg(IFNAME, 64);			\
	r_.field = (value);							\
	reg_fails(&r_, err);							\
} while (0)

TEST(register_wrong, 20)
{
	uint32_t sizes[] = { 1, 8, 15, 17, 24, 1000, 32768, 0x80000000, UINT32_MAX };
	unsigned int i;

	REG_FAILS(version, 0, EPROTONOSUPPORT);
	REG_FAILS(version, STACKMAP_ABI_VERSION + 1, EPROTONOSUPPORT);
	REG_FAILS(flags, 1, EINVAL);
	REG_FAILS(flags, 0x80000000, EINVAL);
	for (i = 0; i < 2; i++)
		REG_FAILS(reserved[i], 1, EINVAL);
	REG_FAILS(reserved0, 1, EINVAL);
	REG_FAILS(ifindex, 0, ENODEV);
	REG_FAILS(ifindex, 12345, ENODEV);
	REG_FAILS(ifindex, UINT32_MAX, ENODEV);
	REG_FAILS(queue, 64, EINVAL);
	REG_FAILS(queue, UINT32_MAX, EINVAL);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		REG_FAILS(rx_slots, sizes[i], EINVAL);
		REG_FAILS(tx_slots, sizes[i], EINVAL);
	}
	REG_FAILS(extra_bufs, STACKMAP_FRAMES_MAX, EINVAL);
	REG_FAILS(extra_bufs, UINT32_MAX, EINVAL);
	REG_FAILS(pool_bufs, STACKMAP_FRAMES_MAX, EINVAL);
	REG_FAILS(pool_bufs, UINT32_MAX, EINVAL);
	REG_FAILS(stall_us, STACKMAP_STALL_MIN_US - 1, EINVAL);
	REG_FAILS(stall_us, STACKMAP_STALL_MAX_US + 1, EINVAL);
	REG_FAILS(stall_us, UINT32_MAX, EINVAL);
	REG_FAILS(ifindex, if_nametoindex("lo"), EOPNOTSUPP);
}

TEST(register_interface_down, 20)
{
	CHECK(!sh("modprobe dummy numdummies=0; ip link add smdum type dummy"));
	REG_FAILS(ifindex, if_nametoindex("smdum"), ENETDOWN);
	CHECK(!sh("ip link set smdum up"));
	REG_FAILS(ifindex, if_nametoindex("smdum"), EOPNOTSUPP);
	CHECK(!sh("ip link del smdum"));
	CHECK(!sh("ip link set lo down"));
	REG_FAILS(ifindex, if_nametoindex("lo"), ENETDOWN);
	CHECK(!sh("ip link set lo up"));
}

TEST(register_answers, 20)
{
	struct stackmap_register reg = sm_reg(IFNAME, 0);
	struct stackmap_info info;
	struct sm sm;
	uint32_t i;

	reg.extra_bufs = 100;
	sm_new(&sm, &reg);
	EQ(sm.reg.rx_slots, 1024);
	EQ(sm.reg.tx_slots, 1024);
	EQ(sm.reg.stall_us, 10000);
	CHECK(sm.reg.pool_bufs >= 16);
	CHECK(sm.reg.nic == STACKMAP_NIC_NAPI || sm.reg.nic == STACKMAP_NIC_VIRTIO);
	tap_note("nic %u", sm.reg.nic);
	EQ(sm.reg.frame_size, 4096);
	CHECK(sm.reg.frames >= 1024 + 1024 + 100 + sm.reg.pool_bufs);
	CHECK(sm.reg.frames_off + (uint64_t)sm.reg.frames * sm.reg.frame_size <= sm.reg.map_size);
	CHECK(sm.reg.rx_off % 64 == 0 && sm.reg.tx_off % 64 == 0);
	for (i = 0; i < 100; i++)
		CHECK(sm.extra[i] < sm.reg.frames);
	/* No buffer is in two places, and all are zero */
	{
		uint8_t *seen = calloc(sm.reg.frames, 1);

		for (i = 0; i < 1024; i++) {
			CHECK(!seen[sm.rx->slots[i].buf]++);
			CHECK(!seen[sm.tx->slots[i].buf]++);
		}
		for (i = 0; i < 100; i++)
			CHECK(!seen[sm.extra[i]]++);
		for (i = 0; i < sm.reg.frames * 4096; i += 8)
			CHECK(!*(uint64_t *)(sm_buf(&sm, 0) + i));
		free(seen);
	}
	info = sm_info(&sm);
	EQ(info.pid, getpid());
	EQ(info.ifindex, reg.ifindex);
	EQ(info.rx_slots, 1024);
	EQ(info.extra_bufs, 100);
	EQ(info.pool_bufs, sm.reg.pool_bufs);
	EQ(info.frames, sm.reg.frames);
	EQ(info.nic, sm.reg.nic);
	EQ(info.stats.sockets, 0);
	sm_settle(&sm);
	sm_close(&sm);
}

TEST(register_extremes, 40)
{
	struct stackmap_register reg = sm_reg(IFNAME, STACKMAP_RING_MIN);
	struct sm sm;

	reg.pool_bufs = 1;
	reg.stall_us = STACKMAP_STALL_MIN_US;
	sm_new(&sm, &reg);
	sm_quiet(&sm, 10);
	sm_close(&sm);
	reg = sm_reg(IFNAME, STACKMAP_RING_MAX);
	reg.stall_us = STACKMAP_STALL_MAX_US;
	reg.extra_bufs = 1000;
	sm_new(&sm, &reg);
	sm_quiet(&sm, 10);
	sm_close(&sm);
}

TEST(register_owners, 20)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	struct sm sm;
	int fd;

	sm_new_small(&sm, 64);
	FAILS(ioctl(sm.fd, STACKMAP_IOC_REGISTER, &reg), EBUSY);
	fd = sm_open();
	FAILS(ioctl(fd, STACKMAP_IOC_REGISTER, &reg), EBUSY);
	EQ(sm_ports(), 1);
	sm_close(&sm);
	/* Free again, and the file that was refused may have it */
	reg = sm_reg(IFNAME, 64);
	EQ(ioctl(fd, STACKMAP_IOC_REGISTER, &reg), 0);
	close(fd);
	EQ(sm_ports(), 0);
}

TEST(not_registered, 10)
{
	struct stackmap_attach a = { .fd = 0 };
	struct stackmap_detach d = { .fd = 0 };
	struct stackmap_sync s = { 0 };
	int fd = sm_open();

	FAILS(ioctl(fd, STACKMAP_IOC_ATTACH, &a), ENXIO);
	FAILS(ioctl(fd, STACKMAP_IOC_DETACH, &d), ENXIO);
	FAILS(ioctl(fd, STACKMAP_IOC_SYNC, &s), ENXIO);
	FAILS(ioctl(fd, STACKMAP_IOC_WAKE), ENXIO);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	EQ(errno, ENXIO);
	close(fd);
}

TEST(unknown_ioctl, 10)
{
	struct sm sm;
	char b[64] = "";

	sm_new_small(&sm, 16);
	FAILS(ioctl(sm.fd, _IO(0xB7, 0), b), ENOTTY);
	FAILS(ioctl(sm.fd, _IOWR(0xB7, 6, b), b), ENOTTY);
	FAILS(ioctl(sm.fd, _IO(0xB7, 7), b), ENOTTY);
	FAILS(ioctl(sm.fd, _IOW(0xB7, 4, char), b), ENOTTY);
	FAILS(ioctl(sm.fd, TCGETS, b), ENOTTY);
	FAILS(ioctl(sm.fd, FIONREAD, b), ENOTTY);
	FAILS(read(sm.fd, b, 1), EINVAL);
	FAILS(write(sm.fd, b, 1), EINVAL);
	FAILS(lseek(sm.fd, 0, SEEK_SET), ESPIPE);
	sm_close(&sm);
}

TEST(bad_pointers, 10)
{
	unsigned long cmds[] = { STACKMAP_IOC_REGISTER, STACKMAP_IOC_ATTACH, STACKMAP_IOC_DETACH,
				 STACKMAP_IOC_SYNC, STACKMAP_IOC_INFO };
	struct stackmap_attach *a;
	struct stackmap_info *info;
	struct sm sm;
	unsigned int i;
	int fd[2];
	void *ro;

	ro = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(ro != MAP_FAILED && !mprotect((char *)ro + 4096, 4096, PROT_NONE));
	sm_new_small(&sm, 16);
	for (i = 0; i < 5; i++) {
		FAILS(ioctl(sm.fd, cmds[i], NULL), EFAULT);
		FAILS(ioctl(sm.fd, cmds[i], (void *)0xffff888000000000ul), EFAULT);
		FAILS(ioctl(sm.fd, cmds[i], (char *)ro + 4092), EFAULT);
	}
	/* Readable, not writable: what cannot be answered does not happen */
	pair_tcp(fd, AF_INET);
	a = ro;
	a->fd = fd[0];
	info = (void *)((char *)ro + 1024);
	info->version = STACKMAP_ABI_VERSION;
	mprotect(ro, 4096, PROT_READ);
	FAILS(ioctl(sm.fd, STACKMAP_IOC_ATTACH, a), EFAULT);
	FAILS(ioctl(sm.fd, STACKMAP_IOC_INFO, info), EFAULT);
	EQ(sm_info(&sm).stats.sockets, 0);
	sm_attach(&sm, fd[0], 0);
	sm_close(&sm);
	mprotect(ro, 4096, PROT_READ | PROT_WRITE);
	*(struct stackmap_register *)ro = sm_reg(IFNAME, 16);
	mprotect(ro, 4096, PROT_READ);
	i = sm_open();
	FAILS(ioctl(i, STACKMAP_IOC_REGISTER, ro), EFAULT);
	EQ(sm_ports(), 0);
}

TEST(mmap_wrong, 10)
{
	int rw = PROT_READ | PROT_WRITE;
	size_t size;
	struct sm sm;
	void *p;

	sm_new_small(&sm, 16);
	size = sm.reg.map_size;
	CHECK(mmap(NULL, size - 4096, rw, MAP_SHARED, sm.fd, 0) == MAP_FAILED);
	EQ(errno, EINVAL);
	CHECK(mmap(NULL, size + 4096, rw, MAP_SHARED, sm.fd, 0) == MAP_FAILED);
	CHECK(mmap(NULL, size, rw, MAP_SHARED, sm.fd, 4096) == MAP_FAILED);
	CHECK(mmap(NULL, size, rw, MAP_PRIVATE, sm.fd, 0) == MAP_FAILED);
	CHECK(mmap(NULL, size, PROT_READ, MAP_PRIVATE, sm.fd, 0) == MAP_FAILED);
	/* A second one is fine, and so is one to read only */
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, sm.fd, 0);
	CHECK(p != MAP_FAILED);
	EQ(((struct stackmap_ring *)((char *)p + sm.reg.rx_off))->nslots, 16);
	munmap(p, size);
	/* It cannot grow, or be inherited */
	CHECK(mremap(sm.map, size, size + 4096, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK(madvise(sm.map, size, MADV_DOFORK) == -1);
	/* A part may go, and the port lives on */
	EQ(munmap(sm.map + sm.reg.frames_off, 4096), 0);
	sm_quiet(&sm, 5);
	munmap(sm.map, size);
	sm_close(&sm);
}

TEST(mmap_exec, 10)
{
	int rwx = PROT_READ | PROT_WRITE | PROT_EXEC;
	struct sm sm;

	sm_new_small(&sm, 16);
	CHECK(mprotect(sm.map, sm.reg.map_size, rwx) == -1);
	CHECK(mmap(NULL, sm.reg.map_size, rwx, MAP_SHARED, sm.fd, 0) == MAP_FAILED);
	sm_close(&sm);
}

TEST(mmap_outlives_fd, 10)
{
	struct sm sm;

	sm_new_small(&sm, 16);
	close(sm.fd);
	/* The mapping holds the port */
	EQ(sm.rx->nslots, 16);
	*sm_buf(&sm, sm.reg.frames - 1) = 1;
	EQ(sm_ports(), 1);
	munmap(sm.map, sm.reg.map_size);
	EQ(sm_ports(), 0);
}

TEST(info_wrong, 10)
{
	struct stackmap_info info = { .version = STACKMAP_ABI_VERSION };
	int fd = sm_open();
	struct sm sm;

	FAILS(ioctl(fd, STACKMAP_IOC_INFO, &info), ENOENT);
	sm_new_small(&sm, 16);
	/* On any file */
	EQ(ioctl(fd, STACKMAP_IOC_INFO, &info), 0);
	EQ(info.pid, getpid());
	memset(&info, 0, sizeof(info));
	info.version = STACKMAP_ABI_VERSION;
	info.index = 1;
	FAILS(ioctl(fd, STACKMAP_IOC_INFO, &info), ENOENT);
	info.index = UINT32_MAX;
	FAILS(ioctl(fd, STACKMAP_IOC_INFO, &info), ENOENT);
	info.index = 0;
	info.version = 2;
	FAILS(ioctl(fd, STACKMAP_IOC_INFO, &info), EPROTONOSUPPORT);
	info.version = STACKMAP_ABI_VERSION;
	info.reserved[0] = 1;
	FAILS(ioctl(fd, STACKMAP_IOC_INFO, &info), EINVAL);
	sm_close(&sm);
}

/* Runs @f in a child; its checks count */
static void in_child(void (*f)(void *), void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		f(arg);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x", status);
}

static void as_nobody(void *arg)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);

	(void)arg;
	CHECK(!setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534));
	reg_fails(&reg, EPERM);
	/* More than there is: refused before it is allocated */
	reg.pool_bufs = 200000;
	reg_fails(&reg, EPERM);
	reg.ifindex = 12345678;
	reg_fails(&reg, ENODEV);
	reg = sm_reg(IFNAME, 16);
	/* Root of a user namespace is nobody over the network namespace outside */
	if (unshare(CLONE_NEWUSER)) {
		tap_note("no user namespaces: %s", strerror(errno));
		return;
	}
	reg_fails(&reg, EPERM);
	/* ... and is somebody over its own */
	CHECK(!unshare(CLONE_NEWNET));
	reg_fails(&reg, ENODEV);
	reg.ifindex = if_nametoindex("lo");
	reg.pool_bufs = 64;		/* within RLIMIT_MEMLOCK */
	reg_fails(&reg, ENETDOWN);
}

TEST(register_unprivileged, 20)
{
	/* As a udev rule may do (man 8 stackmap) */
	CHECK(!chmod(STACKMAP_DEVICE, 0666));
	in_child(as_nobody, NULL);
	CHECK(!chmod(STACKMAP_DEVICE, 0600));
}

static void without_cap(void *arg)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];
	struct stackmap_register reg = sm_reg(IFNAME, 16);

	(void)arg;
	CHECK(!syscall(SYS_capget, &h, d));
	d[0].effective &= ~(1u << CAP_NET_ADMIN);
	CHECK(!syscall(SYS_capset, &h, d));
	reg_fails(&reg, EPERM);
}

TEST(register_without_capability, 20)
{
	in_child(without_cap, NULL);
}

static void elsewhere(void *arg)
{
	struct stackmap_info info = { .version = STACKMAP_ABI_VERSION };
	struct stackmap_register reg = sm_reg(IFNAME, 16);
	struct sm *sm = arg;
	int fd;

	CHECK(!unshare(CLONE_NEWNET));
	fd = sm_open();
	FAILS(ioctl(fd, STACKMAP_IOC_REGISTER, &reg), ENODEV);
	FAILS(ioctl(fd, STACKMAP_IOC_INFO, &info), ENOENT);
	/* The port that was made outside still works here */
	CHECK(sm_try_sync(sm->fd, 0, 0) >= 0);
}

TEST(other_network_namespace, 20)
{
	struct sm sm;

	sm_new_small(&sm, 16);
	in_child(elsewhere, &sm);
	sm_close(&sm);
}

TEST(attach_wrong, 20)
{
	struct stackmap_attach a = { 0 };
	struct stackmap_detach d = { 0 };
	int fd[2], other, i;
	struct sm sm;

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	FAILS(sm_try_attach(sm.fd, -1, 0, NULL), EBADF);
	FAILS(sm_try_attach(sm.fd, 999, 0, NULL), EBADF);
	FAILS(sm_try_attach(sm.fd, INT32_MAX, 0, NULL), EBADF);
	FAILS(sm_try_attach(sm.fd, INT32_MIN, 0, NULL), EBADF);
	FAILS(sm_try_attach(sm.fd, sm.fd, 0, NULL), ENOTSOCK);
	other = open("/dev/null", O_RDWR);
	FAILS(sm_try_attach(sm.fd, other, 0, NULL), ENOTSOCK);
	close(other);
	other = open("/", O_PATH);
	FAILS(sm_try_attach(sm.fd, other, 0, NULL), EBADF);
	close(other);
	other = socket(AF_INET, SOCK_DGRAM, 0);
	FAILS(sm_try_attach(sm.fd, other, 0, NULL), EOPNOTSUPP);
	close(other);
	other = socket(AF_UNIX, SOCK_STREAM, 0);
	FAILS(sm_try_attach(sm.fd, other, 0, NULL), EOPNOTSUPP);
	close(other);
	other = socket(AF_NETLINK, SOCK_RAW, 0);
	FAILS(sm_try_attach(sm.fd, other, 0, NULL), EOPNOTSUPP);
	close(other);
	other = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
	if (other >= 0) {
		FAILS(sm_try_attach(sm.fd, other, 0, NULL), EOPNOTSUPP);
		close(other);
	}
	for (i = 0; i < 2; i++) {
		other = socket(i ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
		FAILS(sm_try_attach(sm.fd, other, 0, NULL), ENOTCONN);
		close(other);
	}
	a.fd = fd[0];
	a.flags = 1;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_ATTACH, &a), EINVAL);
	a.flags = 0;
	for (i = 0; i < 3; i++) {
		a.reserved[i] = 1;
		FAILS(ioctl(sm.fd, STACKMAP_IOC_ATTACH, &a), EINVAL);
		a.reserved[i] = 0;
	}
	FAILS(sm_try_detach(sm.fd, fd[0]), EBADF);
	EQ(ioctl(sm.fd, STACKMAP_IOC_ATTACH, &a), 0);
	FAILS(ioctl(sm.fd, STACKMAP_IOC_ATTACH, &a), EALREADY);
	/* By another number it is still the same socket */
	other = dup(fd[0]);
	FAILS(sm_try_attach(sm.fd, other, 0, NULL), EALREADY);
	close(other);
	FAILS(sm_try_detach(sm.fd, fd[1]), EBADF);
	FAILS(sm_try_detach(sm.fd, -1), EBADF);
	FAILS(sm_try_detach(sm.fd, INT32_MAX), EBADF);
	d.fd = fd[0];
	d.flags = 2;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_DETACH, &d), EINVAL);
	d.flags = 0;
	d.unread = 1;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_DETACH, &d), EINVAL);
	d.unread = 0;
	EQ(ioctl(sm.fd, STACKMAP_IOC_DETACH, &d), 0);
	FAILS(ioctl(sm.fd, STACKMAP_IOC_DETACH, &d), EBADF);
	EQ(sm_info(&sm).stats.sockets, 0);
	sm_settle(&sm);
	sm_close(&sm);
}

/* A closed connection has nothing to attach; one that was reset has an error to tell */
TEST(attach_ended, 10)
{
	struct linger l = { .l_onoff = 1 };
	struct stackmap_slot s;
	struct sm sm;
	int fd[2];
	char c;

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd[1]);
	FAILS(recv(fd[0], &c, 1, 0), ECONNRESET);
	FAILS(sm_try_attach(sm.fd, fd[0], 0, NULL), ENOTCONN);
	close(fd[0]);
	pair_tcp(fd, AF_INET);
	setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd[1]);
	sm_attach(&sm, fd[0], 0);
	s = sm_event(&sm, fd[0], STACKMAP_RX_ERROR, 1000);
	EQ(s.err, ECONNRESET);
	sm_quiet(&sm, 10);
	sm_close(&sm);
}

static const struct tls12_crypto_info_aes_gcm_128 tls_key = {
	.info = { .version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
};

TEST(attach_ktls, 20)
{
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	if (sh("modprobe -q tls") || setsockopt(fd[0], SOL_TCP, TCP_ULP, "tls", 4))
		tap_skip("no kTLS here");
	FAILS(sm_try_attach(sm.fd, fd[0], 0, NULL), EBUSY);
	setsockopt(fd[0], SOL_TLS, TLS_TX, &tls_key, sizeof(tls_key));
	FAILS(sm_try_attach(sm.fd, fd[0], 0, NULL), EBUSY);
	/* And the other way round */
	sm_attach(&sm, fd[1], 0);
	CHECK(setsockopt(fd[1], SOL_TCP, TCP_ULP, "tls", 4) == -1);
	EQ(sm_try_detach(sm.fd, fd[1]), 0);
	EQ(setsockopt(fd[1], SOL_TCP, TCP_ULP, "tls", 4), 0);
	FAILS(sm_try_attach(sm.fd, fd[1], 0, NULL), EBUSY);
	sm_close(&sm);
}

TEST(ulp_by_setsockopt, 10)
{
	int fd[2];

	pair_tcp(fd, AF_INET);
	/* Without a port there is nothing to attach to */
	CHECK(setsockopt(fd[0], SOL_TCP, TCP_ULP, "stackmap", 9) == -1);
	CHECK(send(fd[0], "x", 1, 0) == 1);
}

TEST(sync_wrong, 10)
{
	uint32_t bad[] = { 16, 17, 32, 0x80000000, UINT32_MAX };
	struct stackmap_sync s = { 0 };
	struct sm sm;
	unsigned int i;

	sm_new_small(&sm, 16);
	s.flags = 4;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_SYNC, &s), EINVAL);
	s.flags = 0;
	s.watch = 1;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_SYNC, &s), EINVAL);
	s.watch = 0;
	s.reserved = 1;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_SYNC, &s), EINVAL);
	s.reserved = 0;
	s.wait_us = 1000001;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_SYNC, &s), EINVAL);
	s.wait_us = 0;
	for (i = 0; i < 5; i++) {
		sm.rx->head = bad[i];
		FAILS(ioctl(sm.fd, STACKMAP_IOC_SYNC, &s), EINVAL);
		sm.rx->head = 0;
		sm.tx->head = bad[i];
		FAILS(ioctl(sm.fd, STACKMAP_IOC_SYNC, &s), EINVAL);
		sm.tx->head = 0;
	}
	/* No slot has been delivered, so none may be given back */
	sm.rx->head = 1;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_SYNC, &s), EINVAL);
	sm.rx->head = 15;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_SYNC, &s), EINVAL);
	sm.rx->head = 0;
	/* A failed one changes nothing */
	EQ(sm.rx->tail, 0);
	EQ(sm.tx->tail, 15);
	sm_quiet(&sm, 5);
	/* What the kernel wrote is not what it reads: nslots and tail are ours */
	sm.rx->nslots = 1 << 20;
	sm.tx->nslots = 1 << 20;
	sm.rx->tail = 12345;
	sm.tx->tail = 12345;
	EQ(ioctl(sm.fd, STACKMAP_IOC_SYNC, &s), 0);
	sm.rx->nslots = 16;
	sm.tx->nslots = 16;
	sm_close(&sm);
}

TEST(sync_wait, 20)
{
	struct sm sm;
	double t;

	sm_new_small(&sm, 16);
	t = mono();
	EQ(sm_try_sync(sm.fd, 0, 200000), 0);
	t = mono() - t;
	CHECKF(t >= 0.19 && t < 1, "%f s", t);
	sm_close(&sm);
}

static void nothing(int sig)
{
	(void)sig;
}

TEST(sync_wait_signal, 20)
{
	struct sigaction sa = { .sa_handler = nothing };
	struct sm sm;
	double t;

	sm_new_small(&sm, 16);
	sigaction(SIGALRM, &sa, NULL);
	ualarm(100000, 0);
	t = mono();
	sm_try_sync(sm.fd, 0, 1000000);
	t = mono() - t;
	CHECKF(t < 0.7, "%f s", t);
	sm_close(&sm);
}

static void inherited(void *arg)
{
	struct sm *sm = arg;
	unsigned char vec;

	/* No mapping, but the file works, and can be mapped */
	CHECK(mincore(sm->map, 4096, &vec) == -1 && errno == ENOMEM);
	CHECK(sm_try_sync(sm->fd, 0, 0) >= 0);
	sm->map = mmap(NULL, sm->reg.map_size, PROT_READ | PROT_WRITE, MAP_SHARED, sm->fd, 0);
	CHECK(sm->map != MAP_FAILED);
	EQ(*(uint32_t *)(sm->map + sm->reg.rx_off), 16);
	_exit(0);
}

TEST(fork_inherits_fd_not_mapping, 10)
{
	struct sm sm;

	sm_new_small(&sm, 16);
	in_child(inherited, &sm);
	sm_quiet(&sm, 5);
	sm_close(&sm);
}

/* The port goes to another process, with its socket; the first one dies */
TEST(fd_passed, 20)
{
	struct stackmap_register reg;
	int fd[2], un[2], sfd;
	struct sm sm;
	char b[4];
	pid_t pid;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, un));
	pair_tcp(fd, AF_INET);
	pid = fork();
	if (pid == 0) {
		sm_new_small(&sm, 16);
		sm_attach(&sm, fd[0], 7);
		pair_send_fd(un[1], sm.fd);
		CHECK(send(un[1], &sm.reg, sizeof(sm.reg), 0) == sizeof(sm.reg));
		_exit(0);
	}
	sfd = pair_recv_fd(un[0]);
	CHECK(recv(un[0], &reg, sizeof(reg), MSG_WAITALL) == sizeof(reg));
	waitpid(pid, NULL, 0);
	memset(&sm, 0, sizeof(sm));
	sm.fd = sfd;
	sm.reg = reg;
	sm.map = mmap(NULL, reg.map_size, PROT_READ | PROT_WRITE, MAP_SHARED, sfd, 0);
	CHECK(sm.map != MAP_FAILED);
	sm.rx = (void *)(sm.map + reg.rx_off);
	sm.tx = (void *)(sm.map + reg.tx_off);
	CHECK(send(fd[1], "ping", 4, 0) == 4);
	sm_read(&sm, fd[0], b, 4, 1000);
	sm_send(&sm, fd[0], "pong", 4);
	set_timeout(fd[1], 1000);
	CHECK(recv_all(fd[1], b, 4) && !memcmp(b, "pong", 4));
	sm_settle(&sm);
	sm_close(&sm);
}

/* A second NIC with NAPI: one end of a veth pair, with GRO on */
TEST(attached_to_another_port, 20)
{
	struct ethtool_value gro = { .cmd = ETHTOOL_SGRO, .data = 1 };
	struct ifreq ifr = { .ifr_name = "smv0", .ifr_data = (void *)&gro };
	struct stackmap_register reg;
	struct sm one, two;
	int fd[2], s;

	if (sh("modprobe veth && ip link add smv0 type veth peer name smv1"))
		tap_skip("no veth");
	CHECK(!sh("ip link set smv0 up; ip link set smv1 up"));
	s = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(!ioctl(s, SIOCETHTOOL, &ifr));
	pair_tcp(fd, AF_INET);
	sm_new_small(&one, 16);
	reg = sm_reg("smv0", 16);
	sm_new(&two, &reg);
	EQ(sm_ports(), 2);
	EQ(sm_info(&two).ifindex, reg.ifindex);
	sm_attach(&one, fd[0], 0);
	FAILS(sm_try_attach(two.fd, fd[0], 0, NULL), EALREADY);
	FAILS(sm_try_detach(two.fd, fd[0]), EBADF);
	EQ(sm_try_detach(one.fd, fd[0]), 0);
	sm_attach(&two, fd[0], 0);
	FAILS(sm_try_attach(one.fd, fd[0], 0, NULL), EALREADY);
	CHECK(send(fd[1], "x", 1, 0) == 1);
	sm_read(&two, fd[0], &s, 1, 1000);
	sm_quiet(&one, 10);
	/* The second interface goes, with its port */
	CHECK(!sh("ip link del smv0"));
	FAILS(sm_try_sync(two.fd, 0, 0), ENODEV);
	FAILS(sm_try_attach(two.fd, fd[1], 0, NULL), ENODEV);
	sm_quiet(&one, 10);
	sm_close(&two);
	sm_close(&one);
}
