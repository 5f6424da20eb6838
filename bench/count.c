// SPDX-License-Identifier: GPL-2.0
/*
 * count.c - a QEMU plugin that counts what the guest executes
 *
 *   -plugin build/count.so,cmd=FIFO
 *
 * Counts, for each translated block, how often it was executed. A file name written to the FIFO has
 * it write "ADDRESS INSTRUCTIONS EXECUTIONS" of each block (hexadecimal, then decimal) to
 * that file, and then create FILE.ok.
 *
 * Debian's QEMU has plugins enabled but packages no qemu-plugin.h. What is used of the interface
 * (version 1, in QEMU from 6.0 on) is declared here, from its documentation:
 * https://www.qemu.org/docs/master/devel/tcg-plugins.html
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *ptr,
					      uint64_t imm);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);

#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

struct block {
	uint64_t addr;
	uint64_t count;
	uint32_t insns;
};

/* Never moves, as the translated code holds addresses in it */
#define BLOCKS_MAX	(8u << 20)
static struct block *blocks;
static size_t nblocks;
/* Guards nblocks, and is all there is to guard: counts are read as they are */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char fifo[4096];

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *b = NULL;

	(void)id;
	pthread_mutex_lock(&lock);
	if (nblocks < BLOCKS_MAX)
		b = &blocks[nblocks++];
	pthread_mutex_unlock(&lock);
	if (!b)
		return;
	b->addr = qemu_plugin_tb_vaddr(tb);
	b->insns = (uint32_t)qemu_plugin_tb_n_insns(tb);
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &b->count, 1);
}

static void dump(const char *name)
{
	FILE *out = fopen(name, "w");
	char done[4096 + 4];
	size_t i, n;

	if (!out)
		return;
	pthread_mutex_lock(&lock);
	n = nblocks;
	pthread_mutex_unlock(&lock);
	for (i = 0; i < n; i++) {
		if (blocks[i].count)
			fprintf(out, "%llx %u %llu\n", (unsigned long long)blocks[i].addr,
				blocks[i].insns, (unsigned long long)blocks[i].count);
	}
	if (fclose(out))
		return;
	snprintf(done, sizeof(done), "%s.ok", name);
	out = fopen(done, "w");
	if (out)
		fclose(out);
}

static void *serve(void *unused)
{
	char line[4096];
	FILE *in;

	(void)unused;
	while ((in = fopen(fifo, "r"))) {
		while (fgets(line, sizeof(line), in)) {
			line[strcspn(line, "\n")] = '\0';
			dump(line);
		}
		fclose(in);
	}
	return NULL;
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	pthread_t thread;

	(void)info;
	if (argc != 1 || strncmp(argv[0], "cmd=", 4) || strlen(argv[0] + 4) >= sizeof(fifo)) {
		fprintf(stderr, "count: usage: -plugin count.so,cmd=FIFO\n");
		return -1;
	}
	snprintf(fifo, sizeof(fifo), "%s", argv[0] + 4);
	blocks = calloc(BLOCKS_MAX, sizeof(*blocks));
	if (!blocks || pthread_create(&thread, NULL, serve, NULL))
		return -1;
	pthread_detach(thread);
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	return 0;
}
