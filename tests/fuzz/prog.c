// SPDX-License-Identifier: GPL-2.0
/*
 * prog.c - programs: text, generation, mutation
 *
 * A file has a call in each line: its thread, its name, three hexadecimal
 * numbers. What follows a '#' is a comment.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

const char *const call_names[CALLS_N] = {
#define X(name) #name,
	CALLS(X)
#undef X
};

/* How often a call is chosen. What disturbs the machine is slow, and rare */
static const uint8_t weight[CALLS_N] = {
	[CALL_open] = 16, [CALL_register] = 32, [CALL_mmap] = 24, [CALL_munmap] = 8,
	[CALL_attach] = 48, [CALL_detach] = 16, [CALL_sync] = 80, [CALL_info] = 4,
	[CALL_poll] = 12, [CALL_epoll] = 8, [CALL_socket] = 16, [CALL_pair] = 32,
	[CALL_listen] = 16, [CALL_connect] = 16, [CALL_accept] = 20, [CALL_send] = 32,
	[CALL_recv] = 12, [CALL_shutdown] = 12, [CALL_close] = 20, [CALL_dup] = 8,
	[CALL_setsockopt] = 24, [CALL_txfill] = 56, [CALL_rxtake] = 32,
	[CALL_scribble] = 32, [CALL_fork] = 3, [CALL_pass] = 8, [CALL_stop] = 3,
	[CALL_remap] = 8, [CALL_copy] = 8, [CALL_sleep] = 8, [CALL_disconnect] = 8,
	[CALL_unshare] = 3, [CALL_ioctl] = 4, [CALL_netdev] = 3, [CALL_module] = 1,
	[CALL_txask] = 40, [CALL_wake] = 8, [CALL_port] = 8, [CALL_handle] = 16, [CALL_memory] = 24,
};

/* splitmix64 */
uint32_t pick(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) >> 16;
}

uint32_t number(uint64_t *state)
{
	static const uint32_t odd[] = {
		0, 1, 2, 3, 15, 16, 17, 63, 64, 4095, 4096, 4097, 16384, 65535, 65536, 262144,
		0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffffe, 0xffffffff,
	};

	switch (pick(state) % 4) {
	case 0:
		return odd[pick(state) % (sizeof(odd) / sizeof(odd[0]))];
	case 1:
		return pick(state) % 16;
	case 2:
		return pick(state) % 65536;
	default:
		return pick(state);
	}
}

static void op_random(struct op *op, uint64_t *state)
{
	static uint32_t sum;
	uint32_t i, k;

	if (!sum)
		for (i = 0; i < CALLS_N; i++)
			sum += weight[i];
	k = pick(state) % sum;
	for (i = 0; k >= weight[i]; i++)
		k -= weight[i];
	op->call = i;
	op->thread = pick(state) % 3 ? 0 : pick(state) % THREADS;
	/* Descriptors are few, so that calls meet */
	op->a = pick(state) % 8 ? pick(state) % 6 : number(state);
	op->b = pick(state) % 3 ? pick(state) % 10 : number(state);
	op->c = number(state);
}

void prog_random(struct prog *p, uint64_t *state)
{
	uint32_t i;

	p->n = 8 + pick(state) % (OPS_MAX - 8);
	for (i = 0; i < p->n; i++)
		op_random(&p->op[i], state);
	/* Little happens without a port */
	if (pick(state) % 4) {
		uint32_t a = pick(state) % 4;

		p->op[0] = (struct op){ CALL_open, 0, a, 0, 0 };
		p->op[1] = (struct op){ CALL_register, 0, a, pick(state) % 6, pick(state) & 0xffff };
		p->op[2] = (struct op){ CALL_mmap, 0, a, 0, 0 };
	}
}

void prog_mutate(struct prog *p, const struct prog *other, uint64_t *state)
{
	uint32_t times = 1 + pick(state) % 6, i, k, n;

	while (times--) {
		i = p->n ? pick(state) % p->n : 0;
		switch (pick(state) % 8) {
		case 0:		/* leave out */
			if (p->n < 2)
				break;
			memmove(&p->op[i], &p->op[i + 1], (p->n - i - 1) * sizeof(p->op[0]));
			p->n--;
			break;
		case 1:
		case 2:		/* insert */
			if (p->n == OPS_MAX)
				break;
			memmove(&p->op[i + 1], &p->op[i], (p->n - i) * sizeof(p->op[0]));
			p->n++;
			op_random(&p->op[i], state);
			break;
		case 3:		/* in another thread */
			p->op[i].thread = pick(state) % THREADS;
			break;
		case 4:
			p->op[i].b = number(state);
			break;
		case 5:
			p->op[i].c = pick(state) % 2 ? number(state) : p->op[i].c ^ 1u << pick(state) % 32;
			break;
		case 6:		/* twice */
			if (p->n == OPS_MAX)
				break;
			memmove(&p->op[i + 1], &p->op[i], (p->n - i) * sizeof(p->op[0]));
			p->n++;
			break;
		default:	/* a piece of another one */
			k = other->n ? pick(state) % other->n : 0;
			n = other->n - k;
			if (n > OPS_MAX - i)
				n = OPS_MAX - i;
			memcpy(&p->op[i], &other->op[k], n * sizeof(p->op[0]));
			if (p->n < i + n)
				p->n = i + n;
		}
	}
}

static int call_of(const char *name)
{
	int i;

	for (i = 0; i < CALLS_N; i++)
		if (!strcmp(name, call_names[i]))
			return i;
	return -1;
}

bool prog_read(struct prog *p, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[256], name[32];
	struct op op;
	unsigned int t;
	int call;

	p->n = 0;
	if (!f)
		return false;
	while (p->n < OPS_MAX && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "#")] = 0;
		op.a = op.b = op.c = 0;
		if (sscanf(line, "%u %31s %x %x %x", &t, name, &op.a, &op.b, &op.c) < 2)
			continue;
		call = call_of(name);
		if (call < 0) {
			fprintf(stderr, "%s: no call '%s'\n", path, name);
			fclose(f);
			return false;
		}
		op.call = call;
		op.thread = t;
		p->op[p->n++] = op;
	}
	fclose(f);
	return p->n > 0;
}

void prog_write(const struct prog *p, const char *path)
{
	FILE *f = fopen(path, "w");
	uint32_t i;

	if (!f)
		return;
	for (i = 0; i < p->n; i++)
		fprintf(f, "%u %s %x %x %x\n", p->op[i].thread, call_names[p->op[i].call],
			p->op[i].a, p->op[i].b, p->op[i].c);
	fclose(f);
}

void prog_print(const struct prog *p)
{
	char line[OPS_MAX * 48], *s = line;
	uint32_t i;

	for (i = 0; i < p->n; i++)
		s += sprintf(s, "%s%u %s %x %x %x", i ? ";" : "", p->op[i].thread,
			     call_names[p->op[i].call], p->op[i].a, p->op[i].b, p->op[i].c);
	printf("program: %s\n", line);
	fflush(stdout);
}
