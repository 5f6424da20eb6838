/* SPDX-License-Identifier: GPL-2.0 */
/*
 * random.h - one random operation, as random.c makes it and random_op.c does it to a side
 */
#ifndef SAME_RANDOM_H
#define SAME_RANDOM_H

#include "ops.h"

enum kind {
	/* What leaves the fast one as it is */
	OP_WRITE,
	OP_READ,
	OP_WAIT,
	OP_CTL,
	OP_COUNT,	/* FIONREAD, SO_ERROR, TCP_INFO, options */
	OP_PEER_SAYS,
	OP_PEER_HEARS,
	OP_EVENTFD,
	OP_SLEEP,
	OP_PEER_ENDS,
	OP_PEER_CLOSES,
	OP_CLOSE,	/* and another connection */
	OP_NEW_SET,
	/* What has the kernel answer for a while */
	OP_POLL,
	OP_SHUTDOWN,
	OP_NONBLOCK,
	OP_FORK,
	OP_SPAWN,
	OP_MESSAGES,
	/* What has it answer for good */
	OP_DUP,
	OP_PASS,
	OP_TWO_SETS,
	OP_NESTED,
	OP_URGENT,
	OP_LOWAT,
	OPS,
};

/**
 * struct op - an operation
 * @how: which call it is
 * @n: bytes
 * @flags: of send() or recv(), or whatever @kind says
 * @shape: how bytes are divided among vectors
 * @text: in words, the same for both sides
 */
struct op {
	enum kind kind;
	uint32_t how;
	size_t n;
	int flags;
	uint32_t shape;
	uint32_t events;
	uint64_t data;
	int max;
	int ms;
	char text[88];
};

/**
 * struct rside - a side of random operations
 * @other: a second set
 * @efd: an eventfd, in the first set at times
 * @alt: another number of the app, or -1
 * @outer: a set that has the first one in it, or -1
 * @file: for sendfile()
 */
struct rside {
	struct side s;
	int other;
	int efd;
	int alt;
	int outer;
	int file;
};

void rside_open(struct rside *r, bool fast);
void rside_close(struct rside *r);
void op_do(const struct op *op, struct rside *r);
void few_bytes(const struct op *op, struct rside *fast, const struct rside *plain);

#endif /* SAME_RANDOM_H */
