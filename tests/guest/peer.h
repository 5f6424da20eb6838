/* SPDX-License-Identifier: GPL-2.0 */
/*
 * peer.h - what is at the other end of the tests' connections
 *
 * A peer takes one line of command per control connection and answers one line,
 * "ok ..." or "fail ..."; "ready" comes before it where the test has to wait
 * for something. See peer.c for the commands.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stdio.h>

#include "tap.h"

#define PEER_PORT 9000

/* The server; in the guest for place_lo, on the host for place_nic */
int peer_serve(const char *host);
/* Say a line to QEMU's monitor (SM_MONITOR names its socket), on the host; what it answers goes to @out. 0 or errno */
int peer_monitor(const char *line, FILE *out);

/* The test's side (ask.c) */
struct ask {
	int fd;
	int len;
	bool done;
	char answer[256];
};

bool peer_there(const struct place *place);
/* The NIC, as the guest sees it, if nothing gets through it any more; to be called on the NIC's tests that failed */
void peer_tell_stuck(const struct place *place);
__attribute__((format(printf, 2, 3))) void ask(struct ask *a, const char *fmt, ...);
/* Whether the answer has come; "fail" fails the test. Does not wait */
bool ask_done(struct ask *a);
/* Wait for it */
void ask_wait(struct ask *a, int seconds);
void ask_ready(struct ask *a);

#endif /* PEER_H */
