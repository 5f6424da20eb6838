// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_steer.c - stackmap_steer() with real sockets: what the kernel takes
 *
 * Which queue a packet came in on only shows in a guest: tests/queues.sh.
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <stackmap/stackmap.h>

static int listener(struct sockaddr_in *addr, int reuseport)
{
	socklen_t len = sizeof(*addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &reuseport,
				    sizeof(reuseport)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)addr, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)addr, &len), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void test_errors(void **state)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	unsigned int queues[4096] = { 0 };
	int fd = listener(&addr, 1);

	(void)state;
	assert_int_equal(stackmap_steer(fd, queues, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_steer(fd, queues, 2048), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_steer(fd, queues, 2047), 0);
	assert_int_equal(stackmap_steer(-1, queues, 1), -1);
	assert_int_equal(errno, EBADF);
	close(fd);
}

/* A connection of no queue, as over loopback, is still accepted by somebody */
static void test_elsewhere(void **state)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const unsigned int queues[] = { 5, 1 };
	int a = listener(&addr, 1);
	int b = listener(&addr, 1);
	int i;

	(void)state;
	assert_int_equal(stackmap_steer(a, queues, 2), 0);
	for (i = 0; i < 20; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		int got;

		assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
		got = accept(a, NULL, NULL);
		if (got < 0)
			got = accept(b, NULL, NULL);
		assert_true(got >= 0);
		close(got);
		close(fd);
	}
	close(a);
	close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
