/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * one_port.h - a port of a fake kernel, opened before each test, and looked at after it
 */
#ifndef ONE_PORT_H
#define ONE_PORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fake_kernel.h"

#define SLOTS	16u
#define EXTRA	4u
#define PLENTY	1000000u

static struct stackmap_port *port;

static int setup(void **state)
{
	struct stackmap_options opt = {
		.rx_slots = SLOTS, .tx_slots = SLOTS, .extra_bufs = EXTRA,
	};

	(void)state;
	fk_reset();
	port = stackmap_open("fake0", 0, &opt);
	assert_non_null(port);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fk_audit(port, NULL, 0);
	stackmap_close(port);
	assert_int_equal(fk.violations, 0);
	fk_reset();
	return 0;
}

static inline void connect_one(struct stackmap_conn *conn, size_t room)
{
	assert_int_equal(stackmap_conn_attach(conn, port, fk_socket(room)), 0);
}

#endif /* ONE_PORT_H */
