/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tap.h - named tests, each in a process of its own, told in TAP
 *
 * A test fails by a CHECK that does not hold, by dying, or by taking longer
 * than its bound. A test of TEST_BOTH runs twice, with its peers on the
 * loopback interface ("name/lo") and behind the NIC ("name/nic"). One of
 * TEST_NET runs behind the NIC and behind one end of a veth pair ("name/veth"),
 * and only when it is asked for by name, as it takes long.
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>
#include <stdint.h>

/* Where the peers of a test are, and where they find the test */
struct place {
	const char *name;
	const char *ifname;	/* what a port is opened on */
	const char *ctl;	/* the peer's control address */
	const char *guest4;
	const char *guest6;
	const char *peer4;
	const char *peer6;
	const char *raw;	/* addresses that a raw-socket peer has: raw.0 to raw.255 */
};

extern const struct place *here;
extern const struct place place_lo, place_nic, place_veth;

enum test_where { ON_NONE, ON_LO = 1, ON_NIC = 2, ON_BOTH = 3, ON_VETH = 4, ON_ASKED = 8 };

struct test {
	const char *name;
	void (*run)(void);
	int where;
	int seconds;
	struct test *next;
};

void test_register(struct test *t);

#define TEST_AT(id, place_, seconds_)						\
	static void test_##id(void);						\
	static struct test struct_##id = {					\
		.name = #id, .run = test_##id, .where = place_, .seconds = seconds_ };\
	__attribute__((constructor)) static void register_##id(void)		\
	{									\
		test_register(&struct_##id);					\
	}									\
	static void test_##id(void)

/* No peer, a peer behind the NIC, a peer in the guest, both in turn */
#define TEST(id, seconds) TEST_AT(id, ON_NONE, seconds)
#define TEST_NIC(id, seconds) TEST_AT(id, ON_NIC, seconds)
#define TEST_LO(id, seconds) TEST_AT(id, ON_LO, seconds)
#define TEST_BOTH(id, seconds) TEST_AT(id, ON_BOTH, seconds)
#define TEST_NET(id, seconds) TEST_AT(id, ON_NIC | ON_VETH | ON_ASKED, seconds)
#define TEST_ASKED(id, where, seconds) TEST_AT(id, (where) | ON_ASKED, seconds)

__attribute__((noreturn, format(printf, 3, 4)))
void tap_fail(const char *file, int line, const char *fmt, ...);
__attribute__((noreturn)) void tap_skip(const char *why);
__attribute__((format(printf, 1, 2))) void tap_note(const char *fmt, ...);

#define CHECK(cond) do {							\
	if (!(cond))								\
		tap_fail(__FILE__, __LINE__, "%s", #cond);			\
} while (0)

#define CHECKF(cond, fmt, ...) do {						\
	if (!(cond))								\
		tap_fail(__FILE__, __LINE__, "%s: " fmt, #cond, __VA_ARGS__);	\
} while (0)

#define EQ(a, b) do {								\
	long long eq_a = (a), eq_b = (b);					\
	if (eq_a != eq_b)							\
		tap_fail(__FILE__, __LINE__, "%s is %lld, not %s (%lld)", #a,	\
			 eq_a, #b, eq_b);					\
} while (0)

/* -1 with this errno */
#define FAILS(call, err) do {							\
	long long fails_r;							\
	errno = 0;								\
	fails_r = (call);							\
	if (fails_r != -1 || errno != (err))					\
		tap_fail(__FILE__, __LINE__, "%s: returned %lld, errno %d (%s), not %s",\
			 #call, fails_r, errno, strerror(errno), #err);		\
} while (0)

#endif /* TAP_H */
