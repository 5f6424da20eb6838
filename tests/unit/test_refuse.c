// SPDX-License-Identifier: GPL-2.0
/*
 * test_refuse.c - tools/refuse.c and link.c: what the kernel tells in vain, or not at all, is no answer
 */
#include <dirent.h>
#include <errno.h>
#include <linux/nexthop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* tools/ has a function of this name */
#undef fail

#include "../../tools/carry.h"

#define INDEX	7

/* How often a dump is interrupted, what it ends with, and whether there is something in it */
static struct {
	int interrupted;
	int err;
	bool link;
	bool nexthop;
} kernel;

static char said[256];

int __wrap_rtnl_dump(int fd, struct rtnl_request *r, int (*each)(const struct nlmsghdr *h, void *arg), void *arg);
int __wrap_setns(int fd, int type);
DIR *__wrap_opendir(const char *name);

int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(said, sizeof(said), format, args);
	va_end(args);
	return -1;
}

const char *replay_qdisc_refused(const struct carried *c)
{
	(void)c;
	return NULL;
}

/* There is no other namespace */
int __wrap_setns(int fd, int type)
{
	(void)fd;
	(void)type;
	return 0;
}

DIR *__wrap_opendir(const char *name)
{
	(void)name;
	return NULL;
}

int __wrap_rtnl_dump(int fd, struct rtnl_request *r, int (*each)(const struct nlmsghdr *h, void *arg), void *arg)
{
	const struct ifinfomsg link = { .ifi_index = INDEX + 1 };
	const struct nhmsg nexthop = { 0 };
	const uint32_t index = INDEX, id = 33;
	struct rtnl_request m;

	(void)fd;
	if (kernel.interrupted) {
		kernel.interrupted--;
		return -EAGAIN;
	}
	if (kernel.err)
		return kernel.err;
	if (r->h.nlmsg_type == RTM_GETLINK && kernel.link) {
		rtnl_begin(&m, RTM_NEWLINK, 0, &link, sizeof(link));
		rtnl_put(&m, IFLA_IFNAME, "eth0.5", 7);
		rtnl_put(&m, IFLA_LINK, &index, sizeof(index));
		return each(&m.h, arg);
	}
	if (r->h.nlmsg_type == RTM_GETNEXTHOP && kernel.nexthop) {
		rtnl_begin(&m, RTM_NEWNEXTHOP, 0, &nexthop, sizeof(nexthop));
		rtnl_put(&m, NHA_OIF, &index, sizeof(index));
		rtnl_put(&m, NHA_ID, &id, sizeof(id));
		return each(&m.h, arg);
	}
	return 0;
}

static int ask(void)
{
	const struct ifinfomsg header = { .ifi_index = INDEX };
	struct carried c = { .rtnl = -1, .index = INDEX, .name = "eth0" };
	struct rtnl_request m;
	int ret;

	*said = 0;
	rtnl_begin(&m, RTM_NEWLINK, 0, &header, sizeof(header));
	assert_int_equal(rtnl_keep(&c.link, &m.h), 0);
	ret = refuse(&c);
	free(c.link.data);
	memset(&kernel, 0, sizeof(kernel));
	return ret;
}

static void test_nothing(void **state)
{
	(void)state;
	assert_int_equal(ask(), 0);
	assert_string_equal(said, "");
}

static void test_found(void **state)
{
	(void)state;
	kernel.link = true;
	assert_int_equal(ask(), -1);
	assert_non_null(strstr(said, "eth0.5"));
	kernel.nexthop = true;
	assert_int_equal(ask(), -1);
	assert_non_null(strstr(said, "nexthop 33"));
}

/* Somebody changes a link while they are told: what is told may lack one */
static void test_interrupted(void **state)
{
	(void)state;
	kernel.link = true;
	kernel.interrupted = 3;
	assert_int_equal(ask(), -1);
	assert_non_null(strstr(said, "eth0.5"));
	kernel.interrupted = 1000000;
	assert_int_equal(ask(), -1);
	assert_non_null(strstr(said, "cannot look"));
}

static void test_failed(void **state)
{
	(void)state;
	kernel.err = -ENOBUFS;
	assert_int_equal(ask(), -1);
	assert_non_null(strstr(said, strerror(ENOBUFS)));
}

static int find(void)
{
	struct rtnl_kept link = { 0 };
	int err = link_find(-1, "eth0.5", NULL, &link);

	assert_true(err || link_index(&link) == INDEX + 1);
	free(link.data);
	memset(&kernel, 0, sizeof(kernel));
	return err;
}

/* Or else nothing would be carried over */
static void test_find(void **state)
{
	(void)state;
	assert_int_equal(find(), -ENODEV);
	kernel.link = true;
	assert_int_equal(find(), 0);
	kernel.link = true;
	kernel.interrupted = 3;
	assert_int_equal(find(), 0);
	kernel.interrupted = 1000000;
	assert_int_equal(find(), -EAGAIN);
	kernel.err = -ENOBUFS;
	assert_int_equal(find(), -ENOBUFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
