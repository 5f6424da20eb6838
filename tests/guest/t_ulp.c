// SPDX-License-Identifier: GPL-2.0
/*
 * t_ulp.c - the upper-layer protocol of an attached socket, and how it goes
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net.h"
#include "pair.h"
#include "sh.h"
#include "sm.h"
#include "tap.h"

#ifndef TCP_ULP
#define TCP_ULP 31
#endif

static char name[16];
static socklen_t *len;
static int asked;

/* Its name in @name; an errno */
static int ask_name(int fd)
{
	memset(name, 0, sizeof(name));
	*len = sizeof(name);
	return getsockopt(fd, IPPROTO_TCP, TCP_ULP, name, len) ? errno : 0;
}

static void *ask_name_thread(void *fd)
{
	asked = getsockopt(*(int *)fd, IPPROTO_TCP, TCP_ULP, name, len) ? errno : 0;
	return NULL;
}

static void protect(int uffd, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)len, .len = 4096 },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	CHECKF(!ioctl(uffd, UFFDIO_WRITEPROTECT, &wp), "%s", strerror(errno));
}

static void page(void)
{
	len = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(len != MAP_FAILED);
	*len = 0;
}

/* Whoever writes to the page of @len waits */
static int fault_on_write(void)
{
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)len, .len = 4096 },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		tap_skip("no userfaultfd that protects from writing");
	return uffd;
}

/*
 * getsockopt() has seen that there is a ULP, and waits to write its length: it is
 * detached now, and the name is read only then
 */
TEST(ulp_asked_while_detached, 20)
{
	struct uffd_msg msg;
	struct pollfd p;
	pthread_t thread;
	struct sm sm;
	int fd[2], uffd;

	page();
	uffd = fault_on_write();
	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 1);
	EQ(ask_name(fd[0]), 0);
	CHECKF(!strcmp(name, "stackmap"), "%s", name);

	memset(name, 0, sizeof(name));
	*len = sizeof(name);
	protect(uffd, true);
	CHECK(!pthread_create(&thread, NULL, ask_name_thread, &fd[0]));
	p = (struct pollfd){ .fd = uffd, .events = POLLIN };
	CHECK(poll(&p, 1, 2000 * slow()) == 1);
	CHECK(read(uffd, &msg, sizeof(msg)) == sizeof(msg));
	EQ(msg.event, UFFD_EVENT_PAGEFAULT);
	EQ(sm_try_detach(sm.fd, fd[0]), 0);
	protect(uffd, false);
	CHECK(!pthread_join(thread, NULL));
	EQ(asked, 0);
	CHECKF(!strcmp(name, "stackmap"), "%s", name);

	/* It is still there, does nothing, and does not keep from attaching */
	EQ(ask_name(fd[0]), 0);
	CHECKF(!strcmp(name, "stackmap"), "%s", name);
	CHECK(send_all(fd[1], "plain", 5));
	set_timeout(fd[0], 1000);
	CHECK(recv_all(fd[0], name, 5));
	sm_quiet(&sm, 5);
	sm_attach(&sm, fd[0], 1);
	CHECK(send_all(fd[1], "slots", 5));
	sm_read(&sm, fd[0], name, 5, 1000);
	/* Nobody is in the way now: it goes */
	EQ(sm_try_detach(sm.fd, fd[0]), 0);
	EQ(ask_name(fd[0]), 0);
	EQ(*len, 0);
	close(fd[0]);
	close(fd[1]);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Somebody else has the socket: the ULP stays, and is no obstacle to anything but another */
TEST(ulp_shared_socket, 20)
{
	int fd[2], copy;
	struct sm sm;
	char b[5];

	page();
	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 1);
	copy = dup(fd[0]);
	EQ(sm_try_detach(sm.fd, fd[0]), 0);
	EQ(ask_name(copy), 0);
	CHECKF(!strcmp(name, "stackmap"), "%s", name);
	if (!sh("modprobe -q tls"))
		FAILS(setsockopt(copy, IPPROTO_TCP, TCP_ULP, "tls", 3), EEXIST);
	CHECK(send_all(fd[1], "plain", 5));
	set_timeout(copy, 1000);
	CHECK(recv_all(copy, b, 5));
	close(copy);
	/* Attached and detached once more, by the only one who has it */
	sm_attach(&sm, fd[0], 1);
	EQ(sm_try_detach(sm.fd, fd[0]), 0);
	EQ(ask_name(fd[0]), 0);
	EQ(*len, 0);
	if (setsockopt(fd[0], IPPROTO_TCP, TCP_ULP, "tls", 3))
		EQ(errno, ENOENT);	/* no such module here */
	sm_close(&sm);
}
