/* SPDX-License-Identifier: GPL-2.0 */
/* look.h - the ports of this network namespace, and what they have done since they were looked at last */
#ifndef STACKMAP_TOOLS_LOOK_H
#define STACKMAP_TOOLS_LOOK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stackmap/stackmap.h>

/* A number of struct stackmap_stats; now: not counted but held at the moment */
struct counter {
	const char *name;
	size_t at;
	bool now;
	const char *about;
};

extern const struct counter counters[];
extern const size_t counters_n;

uint64_t counter_value(const struct stackmap_stats *stats, const struct counter *counter);

/* The names of the reasons that arrays of struct stackmap_detail are indexed by, NULL behind the last */
extern const char *const rx_copy_names[], *const tx_copy_names[], *const refused_names[], *const released_names[];

/* All ports, as they were at one moment */
struct look {
	struct stackmap_detail *ports;
	unsigned int count;
	unsigned int cap;
	double at;	/* seconds, of CLOCK_MONOTONIC */
};

/* Where what goes wrong is said, instead of on standard error, unless NULL */
extern char *look_say;
extern size_t look_say_size;
/* Say it; returns -1 */
int look_failed(const char *why);

/* Returns 1 with a port, 0 past the last, -1 and has said why */
int look_port(unsigned int index, struct stackmap_detail *d);
/* Returns 0, or -1 and has said why */
int look_again(struct look *look);
/* The same port, in a look before; NULL if there was none */
const struct stackmap_detail *look_find(const struct look *look, const struct stackmap_detail *d);
/* What @now has counted since @before (NULL: since it was registered); what is held is as it is now */
struct stackmap_detail look_since(const struct stackmap_detail *now, const struct stackmap_detail *before);
void look_swap(struct look *a, struct look *b);
void look_free(struct look *look);

/* Receive slots per sync that did something */
double look_batch(const struct stackmap_stats *stats);
/* The share of time that was spent in syncs without waiting; 0 if there was none */
double look_busy(const struct stackmap_detail *since);
/* The share of payload that was copied, either way; 0 if there was none */
double look_copied(const struct stackmap_detail *since);
/* So many of STACKMAP_TIMES took less than this, in nanoseconds: a power of two. 0: there are none */
uint64_t look_quantile(const __u64 times[STACKMAP_TIMES], double share);

const char *nic_name(uint32_t nic);
/* The interface's name, or its number if it is gone */
const char *if_name(uint32_t ifindex, char buf[static IF_NAMESIZE]);
/* The name of a process's program, or "?" */
const char *program_name(int pid, char buf[static 32]);
/* To a terminal, a name must not say more than it is: what is not plain ASCII becomes "?" */
char *plain_name(char *name);

#endif
