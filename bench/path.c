// SPDX-License-Identifier: GPL-2.0
/*
 * path.c - a QEMU plugin that counts what the guest executes between a request and its answer
 *
 *   -plugin build/path.so,cmd=FIFO
 *
 * A path begins where the driver is entered, passes its marks in order, and ends with the last: a packet was found, an
 * answer was handed to the driver, the doorbell rings. What is executed meanwhile is the path's, whoever it is for: a
 * timer's interrupt, too. Lines to the FIFO:
 *
 *   irq ADDRESS      an interrupt's entry: a path begins
 *   poll ADDRESS     a driver's poll begins: a path as well, unless an interrupt has begun it just before. A round of
 *                    polling that finds nothing is none: it is counted apart
 *   mark N ADDRESS   the N-th mark, from 1 on; several addresses may be the same. The one with the largest N is the end
 *   long N           paths of more than N instructions are counted for themselves, too
 *   forget           all of the above
 *   FILE             write to FILE of each block "ADDRESS INSTRUCTIONS EXECUTIONS EXECUTIONS-IN-LONG-ONES"
 *                    (hexadecimal, then decimal), of each path "#path INSTRUCTIONS", and "#rounds N" that found
 *                    nothing and "#polled INSTRUCTIONS" in them; create FILE.ok, and begin anew
 *
 * One processor runs at a time (-icount), so there is one path at a time.
 */
#include <stdlib.h>

#include "plugin.h"

enum { IRQ = 1, POLL = 2, MARK = 4 };	/* MARK << (N - 1) is the N-th */

struct block {
	uint64_t addr;
	uint64_t count, count_long;
	uint32_t insns;
	uint32_t is;
};

#define BLOCKS_MAX	(4u << 20)
#define BLOCKS_PATH	(1u << 18)	/* of one path: longer ones are given up */
#define PATHS_MAX	(1u << 20)
#define POINTS_MAX	32
/* From an interrupt to the poll that it asks for, at most so many instructions */
#define NEAR		4000

static struct block *blocks;
static size_t nblocks;
static struct {
	uint64_t addr;
	uint32_t is;
} points[POINTS_MAX];
static size_t npoints;
static uint32_t end;
/* Guards all above, and what finished paths add up to */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint32_t *totals;
static size_t npaths;
static uint64_t limit = UINT64_MAX, empty_rounds, empty_insns;

/* The path that is being gone: the processor's own. NULL: none has begun */
static struct block **path;
static size_t npath;
static uint64_t insns;
static uint32_t next;	/* the mark that comes next; 0: no path has begun */
static bool by_irq;

static void finish(void)
{
	size_t i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < npath; i++) {
		path[i]->count++;
		if (insns > limit)
			path[i]->count_long++;
	}
	if (npaths < PATHS_MAX)
		totals[npaths++] = (uint32_t)insns;
	pthread_mutex_unlock(&lock);
	next = 0;
}

static void begin(bool irq)
{
	if (next == MARK && !irq && !by_irq) {
		pthread_mutex_lock(&lock);
		empty_rounds++;
		empty_insns += insns;
		pthread_mutex_unlock(&lock);
	}
	next = MARK;
	by_irq = irq;
	npath = 0;
	insns = 0;
}

static void on_exec(unsigned int vcpu, void *data)
{
	struct block *b = data;
	uint32_t is = b->is;

	(void)vcpu;
	/* Once a packet was found, the next poll does not begin another path */
	if ((is & (IRQ | POLL)) && next <= MARK &&
	    ((is & IRQ) || next == 0 || !by_irq || insns > NEAR))
		begin(is & IRQ);
	if (!next)
		return;
	if (npath == BLOCKS_PATH) {
		next = 0;
		return;
	}
	path[npath++] = b;
	insns += b->insns;
	if (is & next) {
		if (next == end)
			finish();
		else
			next <<= 1;
	}
}

/* With the lock held */
static uint32_t what_is(uint64_t addr)
{
	uint32_t is = 0;
	size_t i;

	for (i = 0; i < npoints; i++)
		if (points[i].addr == addr)
			is |= points[i].is;
	return is;
}

/* The points are others now. With the lock held */
static void look_again(void)
{
	size_t i;

	for (i = 0; i < nblocks; i++)
		blocks[i].is = what_is(blocks[i].addr);
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *b = NULL;

	(void)id;
	pthread_mutex_lock(&lock);
	if (nblocks < BLOCKS_MAX) {
		b = &blocks[nblocks++];
		b->addr = qemu_plugin_tb_vaddr(tb);
		b->insns = (uint32_t)qemu_plugin_tb_n_insns(tb);
		b->is = what_is(b->addr);
	}
	pthread_mutex_unlock(&lock);
	if (b)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_exec, QEMU_PLUGIN_CB_NO_REGS, b);
}

static void add_point(uint64_t addr, uint32_t is)
{
	pthread_mutex_lock(&lock);
	if (npoints < POINTS_MAX) {
		points[npoints].addr = addr;
		points[npoints++].is = is;
	}
	if (is >= MARK && is > end)
		end = is;
	look_again();
	pthread_mutex_unlock(&lock);
}

static void forget_points(void)
{
	pthread_mutex_lock(&lock);
	npoints = 0;
	end = 0;
	limit = UINT64_MAX;
	look_again();
	pthread_mutex_unlock(&lock);
}

static void dump(const char *name)
{
	FILE *out = fopen(name, "w");
	size_t i;

	if (!out)
		return;
	pthread_mutex_lock(&lock);
	for (i = 0; i < nblocks; i++) {
		struct block *b = &blocks[i];

		if (b->count)
			fprintf(out, "%llx %u %llu %llu\n", (unsigned long long)b->addr, b->insns,
				(unsigned long long)b->count, (unsigned long long)b->count_long);
		b->count = 0;
		b->count_long = 0;
	}
	for (i = 0; i < npaths; i++)
		fprintf(out, "#path %u\n", totals[i]);
	npaths = 0;
	fprintf(out, "#rounds %llu\n#polled %llu\n", (unsigned long long)empty_rounds, (unsigned long long)empty_insns);
	empty_rounds = 0;
	empty_insns = 0;
	pthread_mutex_unlock(&lock);
	if (!fclose(out))
		plugin_done(name);
}

static void on_line(char *line)
{
	unsigned long long n;
	unsigned int mark;

	if (sscanf(line, "irq %llx", &n) == 1)
		add_point(n, IRQ);
	else if (sscanf(line, "poll %llx", &n) == 1)
		add_point(n, POLL);
	else if (sscanf(line, "mark %u %llx", &mark, &n) == 2 && mark >= 1 && mark <= 16)
		add_point(n, MARK << (mark - 1));
	else if (sscanf(line, "long %llu", &n) == 1)
		limit = n;
	else if (!strcmp(line, "forget"))
		forget_points();
	else
		dump(line);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	blocks = calloc(BLOCKS_MAX, sizeof(*blocks));
	path = calloc(BLOCKS_PATH, sizeof(*path));
	totals = calloc(PATHS_MAX, sizeof(*totals));
	if (!blocks || !path || !totals)
		return -1;
	if (argc != 1 || plugin_start(argv[0], on_line)) {
		fprintf(stderr, "path: usage: -plugin path.so,cmd=FIFO\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	return 0;
}
