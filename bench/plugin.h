/* SPDX-License-Identifier: GPL-2.0 */
/*
 * plugin.h - QEMU's interface for plugins, and what ours have in common
 *
 * Debian's QEMU has plugins enabled but packages no qemu-plugin.h. What is used of the interface is declared here,
 * from its documentation: https://www.qemu.org/docs/master/devel/tcg-plugins.html. There are two: version 1, in QEMU
 * 6.0 to 8.2, adds to a counter of ours; version 2, from 9.0 on, to one in a "scoreboard", an array with an element
 * for each processor. QEMU takes no plugin of the other: it is compiled for one, by -DSCOREBOARDS.
 *
 * A plugin takes a line at a time from a FIFO (plugin_serve()), and says by a file that it has done so.
 */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
#ifdef SCOREBOARDS
struct qemu_plugin_scoreboard;
struct qemu_plugin_u64 {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
};
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t element_size);
uint64_t qemu_plugin_u64_sum(struct qemu_plugin_u64 entry);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *tb, int op,
						       struct qemu_plugin_u64 entry, uint64_t imm);
#else
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *ptr,
					      uint64_t imm);
#endif
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);

struct qemu_plugin_insn;
enum { QEMU_PLUGIN_CB_NO_REGS };
enum { QEMU_PLUGIN_MEM_RW = 3 };
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*cb)(unsigned int vcpu, void *data),
					  int flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
				      void (*cb)(unsigned int vcpu, uint32_t info, uint64_t addr, void *data),
				      int flags, int rw, void *data);
unsigned int qemu_plugin_mem_size_shift(uint32_t info);

#define EXPORT __attribute__((visibility("default")))

#ifdef SCOREBOARDS
EXPORT int qemu_plugin_version = 2;
#else
EXPORT int qemu_plugin_version = 1;
#endif
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

static char plugin_fifo[4096];
static void (*plugin_line)(char *line);

/* FILE.ok, when FILE is whole */
static void plugin_done(const char *name)
{
	char done[4096 + 4];
	FILE *out;

	snprintf(done, sizeof(done), "%s.ok", name);
	out = fopen(done, "w");
	if (out)
		fclose(out);
}

/* A thread: each line that comes by the FIFO */
static void *plugin_serve(void *unused)
{
	char line[4096];
	FILE *in;

	(void)unused;
	while ((in = fopen(plugin_fifo, "r"))) {
		while (fgets(line, sizeof(line), in)) {
			line[strcspn(line, "\n")] = '\0';
			plugin_line(line);
		}
		fclose(in);
	}
	return NULL;
}

/* Begin to hand over the lines of the FIFO that @arg ("cmd=FIFO") names. Returns 0 or -1 */
static int plugin_start(const char *arg, void (*on_line)(char *line))
{
	pthread_t thread;

	if (strncmp(arg, "cmd=", 4) || strlen(arg + 4) >= sizeof(plugin_fifo))
		return -1;
	strcpy(plugin_fifo, arg + 4);
	plugin_line = on_line;
	if (pthread_create(&thread, NULL, plugin_serve, NULL))
		return -1;
	pthread_detach(thread);
	return 0;
}

#endif /* PLUGIN_H */
