// SPDX-License-Identifier: GPL-2.0
/*
 * count.c - a QEMU plugin that counts what the guest executes
 *
 *   -plugin build/count.so,cmd=FIFO[,cache=on]
 *
 * Counts, for each translated block, how often it was executed. A file name written to the FIFO has
 * it write "ADDRESS INSTRUCTIONS EXECUTIONS" of each block (hexadecimal, then decimal) to
 * that file, and then create FILE.ok. With cache=on it runs all fetches and accesses through a model of caches (cache.h),
 * and writes "#l1i MISSES", "#l1d MISSES" and "#l2 MISSES" behind the blocks.
 */
#include <stdlib.h>

#include "plugin.h"
#include "cache.h"

struct block {
	uint64_t addr;
#ifndef SCOREBOARDS
	uint64_t count;
#endif
	uint32_t insns;
	uint32_t bytes;		/* with cache=on */
};

/* Never moves, as the translated code holds addresses in it */
#define BLOCKS_MAX	(8u << 20)
static struct block *blocks;
static size_t nblocks;
/* Guards nblocks, and is all there is to guard: counts are read as they are */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool caches;

#ifdef SCOREBOARDS
/* Room for so many blocks is made at a time, for 16 processors whether they are there or not */
#define BOARD_BLOCKS	4096u
static struct qemu_plugin_scoreboard *boards[BLOCKS_MAX / BOARD_BLOCKS];

static struct qemu_plugin_u64 counter(size_t i)
{
	return (struct qemu_plugin_u64){ boards[i / BOARD_BLOCKS], i % BOARD_BLOCKS * sizeof(uint64_t) };
}

/* With the lock held. As it is with it that blocks are dumped, a block has its board by then */
static void make_room(size_t i)
{
	if (!boards[i / BOARD_BLOCKS])
		boards[i / BOARD_BLOCKS] = qemu_plugin_scoreboard_new(BOARD_BLOCKS * sizeof(uint64_t));
}

static void count(struct qemu_plugin_tb *tb, size_t i)
{
	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64, counter(i), 1);
}

static uint64_t counted(size_t i)
{
	return qemu_plugin_u64_sum(counter(i));
}
#else
static void make_room(size_t i)
{
	(void)i;
}

static void count(struct qemu_plugin_tb *tb, size_t i)
{
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &blocks[i].count, 1);
}

static uint64_t counted(size_t i)
{
	return blocks[i].count;
}
#endif

/* One processor runs at a time (-icount): the model needs no lock */
static void on_fetch(unsigned int vcpu, void *data)
{
	const struct block *b = data;

	(void)vcpu;
	cache_fetch(b->addr, b->bytes);
}

static void on_access(unsigned int vcpu, uint32_t info, uint64_t addr, void *data)
{
	(void)vcpu;
	(void)data;
	cache_access(addr, 1u << qemu_plugin_mem_size_shift(info));
}

static void model(struct qemu_plugin_tb *tb, struct block *b)
{
	size_t n = b->insns, i;
	struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, n - 1);

	b->bytes = (uint32_t)(qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last) - b->addr);
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_fetch, QEMU_PLUGIN_CB_NO_REGS, b);
	for (i = 0; i < n; i++)
		qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_access, QEMU_PLUGIN_CB_NO_REGS,
						 QEMU_PLUGIN_MEM_RW, NULL);
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t i;

	(void)id;
	pthread_mutex_lock(&lock);
	i = nblocks;
	if (i < BLOCKS_MAX) {
		make_room(i);
		nblocks++;
	}
	pthread_mutex_unlock(&lock);
	if (i >= BLOCKS_MAX)
		return;
	blocks[i].addr = qemu_plugin_tb_vaddr(tb);
	blocks[i].insns = (uint32_t)qemu_plugin_tb_n_insns(tb);
	count(tb, i);
	if (caches)
		model(tb, &blocks[i]);
}

static void dump(char *name)
{
	FILE *out = fopen(name, "w");
	size_t i, n;

	if (!out)
		return;
	pthread_mutex_lock(&lock);
	n = nblocks;
	pthread_mutex_unlock(&lock);
	for (i = 0; i < n; i++) {
		uint64_t n_times = counted(i);

		if (n_times)
			fprintf(out, "%llx %u %llu\n", (unsigned long long)blocks[i].addr,
				blocks[i].insns, (unsigned long long)n_times);
	}
	if (caches)
		fprintf(out, "#l1i %llu\n#l1d %llu\n#l2 %llu\n", (unsigned long long)l1i.misses,
			(unsigned long long)l1d.misses, (unsigned long long)l2.misses);
	if (!fclose(out))
		plugin_done(name);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc < 1 || argc > 2 || (argc == 2 && strcmp(argv[1], "cache=on")))
		goto usage;
	caches = argc == 2;
	blocks = calloc(BLOCKS_MAX, sizeof(*blocks));
	if (!blocks)
		return -1;
	if (plugin_start(argv[0], dump))
		goto usage;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	return 0;
usage:
	fprintf(stderr, "count: usage: -plugin count.so,cmd=FIFO[,cache=on]\n");
	return -1;
}
