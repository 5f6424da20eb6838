/* SPDX-License-Identifier: GPL-2.0 */
/*
 * acked.h - marks: tell when the peer has acknowledged what was sent
 *
 * All functions need the socket's lock, and a socket that is no listener.
 */
#ifndef SM_ACKED_H
#define SM_ACKED_H

#include <linux/types.h>

struct sm_sock;
struct sock;

/**
 * struct sm_marks - the marks of a socket, by position: see acked.c
 * @first: the first mark that was not told; valid while SM_WANT_ACKED is set
 * @last: the last one; likewise
 * @base: where the application's count of acknowledged bytes begins
 * @isn: which connection of the socket all this is about
 * @refused: number of the last sync in which TCP refused a slot of it. (No mark, but it fits here:
 *	a struct sm_sock is to be no larger than 192 bytes)
 *
 * Guarded by the socket's lock.
 */
struct sm_marks {
	u64 first;
	u64 last;
	u64 base;
	u32 isn;
	u32 refused;
};

void sm_acked_init(struct sm_sock *ss, struct sock *sk);
bool sm_acked_possible(const struct sm_sock *ss, const struct sock *sk);
void sm_acked_mark(struct sm_sock *ss, struct sock *sk);
bool sm_acked_reached(const struct sm_sock *ss, const struct sock *sk);
bool sm_acked_look(struct sm_sock *ss, struct sock *sk);
u32 sm_acked_tell(struct sm_sock *ss, struct sock *sk);

#endif /* SM_ACKED_H */
