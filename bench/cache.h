/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache.h - a model of a processor's caches, for count.c: as large as those of a server's core of 2023 (Intel's Golden Cove)
 *
 * 32 KB of instructions in 8 ways, 48 KB of data in 12, and 2 MB of both in 16; lines of 64 bytes, the least recently used
 * one makes way. Lines are found by virtual addresses, nothing is fetched before it is wanted, and no other core and
 * no device takes a line away: on hardware some of these misses are hidden, and what a NIC has written is one more.
 */
#ifndef STACKMAP_BENCH_CACHE_H
#define STACKMAP_BENCH_CACHE_H

#include <stdint.h>

#define CACHE_LINE	6	/* bits */

struct cache {
	uint32_t sets;
	uint32_t ways;
	uint64_t misses;
	struct way { uint64_t line, used; } *way;
};

static struct way l1i_ways[64 * 8], l1d_ways[64 * 12], l2_ways[2048 * 16];
static struct cache l1i = { 64, 8, 0, l1i_ways }, l1d = { 64, 12, 0, l1d_ways }, l2 = { 2048, 16, 0, l2_ways };
static uint64_t cache_now;

/* Returns whether it was there; it is afterwards */
static inline int cache_look(struct cache *c, uint64_t line)
{
	struct way *set = &c->way[line % c->sets * c->ways], *oldest = set;
	uint32_t i;

	for (i = 0; i < c->ways; i++) {
		if (set[i].line == line && set[i].used) {
			set[i].used = ++cache_now;
			return 1;
		}
		if (set[i].used < oldest->used)
			oldest = &set[i];
	}
	c->misses++;
	oldest->line = line;
	oldest->used = ++cache_now;
	return 0;
}

static inline void cache_lines(struct cache *first, uint64_t addr, uint32_t bytes)
{
	uint64_t line = addr >> CACHE_LINE, last = (addr + bytes - 1) >> CACHE_LINE;

	for (; line <= last; line++)
		if (!cache_look(first, line))
			cache_look(&l2, line);
}

static inline void cache_fetch(uint64_t addr, uint32_t bytes)
{
	cache_lines(&l1i, addr, bytes);
}

static inline void cache_access(uint64_t addr, uint32_t bytes)
{
	cache_lines(&l1d, addr, bytes);
}

#endif
