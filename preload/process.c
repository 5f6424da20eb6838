// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * process.c - how a process begins and ends, forks, and executes another program
 *
 * A port is one process's. So what is attached becomes plain before a fork, and before
 * another program is executed; the parent's next wait attaches it again. A child starts
 * with nothing, and its threads get ports of their own.
 */
#define _GNU_SOURCE 1

#include <pthread.h>
#include <stdlib.h>

#include "next.h"
#include "preload.h"

static void plain_for_fork(struct port *port)
{
	wait_all_plain(port, "fork()");
}

static void before_fork(void)
{
	ports_lock_all();
	ports_each(plain_for_fork);
}

static void after_fork_parent(void)
{
	ports_unlock_all();
}

static void after_fork_child(void)
{
	ports_reset_child();
	fd_reset();
	ports_mark_ours();
}

static void plain_for_exec(struct port *port)
{
	port_lock(port);
	wait_all_plain(port, "exec()");
	port_unlock(port);
}

static void plain_for_good(struct port *port)
{
	port_lock(port);
	stream_drain(port);
	wait_all_plain(port, "exec(), or the end");
	port_unlock(port);
}

/* What another process inherits of this one, which goes on, is plain */
void process_before_spawn(void)
{
	if (!stackmap_vforked && !self.busy)
		ports_each(plain_for_exec);
}

/* What is written is TCP's, and what was not read is in the socket, for the next program or the peer */
void process_before_exec(void)
{
	if (!stackmap_vforked && !self.busy)
		ports_each(plain_for_good);
}

static void drain(struct port *port)
{
	port_lock(port);
	stream_drain(port);
	port_unlock(port);
}

/* _exit(), which a signal handler may have called: nothing that is not needed, such as malloc() */
void process_before_end(void)
{
	if (!stackmap_vforked && !self.busy)
		ports_each(drain);
}

static bool is_set(const char *name)
{
	const char *s = getenv(name);

	return s && *s && *s != '0';
}

__attribute__((constructor)) static void begin(void)
{
	next();
	trace_on = is_set("STACKMAP_TRACE");
	strict_on = is_set("STACKMAP_STRICT");
	if (fd_init() || ports_init())
		return;
	if (ports_any())
		pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

/* What exit() leaves in the ring the kernel sends; what lies behind that goes on by itself here */
__attribute__((destructor)) static void end(void)
{
	process_before_exec();
}
