/* SPDX-License-Identifier: GPL-2.0 */
/*
 * xdp.h - small XDP programs by hand: the kernel's instructions, loaded and attached with bpf(2)
 *
 * So that bench-reflect and bench-lwip need neither clang nor libbpf. A program hangs on a link and goes
 * with the process.
 */
#ifndef BENCH_XDP_H
#define BENCH_XDP_H

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INSN(c, d, s, o, i) \
	((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define LOAD(size, d, s, o)	INSN(BPF_LDX | BPF_MEM | (size), d, s, o, 0)
#define STORE(size, d, s, o)	INSN(BPF_STX | BPF_MEM | (size), d, s, o, 0)
#define MOV(d, s)		INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i)		INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD_IMM(d, i)		INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define UNLESS_EQ(d, i, o)	INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, o, i)
#define IF_GT(d, s, o)		INSN(BPF_JMP | BPF_JGT | BPF_X, d, s, o, 0)
#define EXIT			INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* Where things are in a frame of IPv4 without options, and UDP or TCP */
enum { TYPE = 12, IP = 14, PROTOCOL = 23, FROM = 26, TO = 30, SPORT = 34, DPORT = 36, HEADERS = 42 /* with UDP's */ };

/* How many instructions are skipped is told from the next one on */
static inline int xdp_load(const struct bpf_insn *prog, size_t count, char *log, size_t log_size)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insn_cnt = (uint32_t)count,
		.insns = (uintptr_t)prog,
		.license = (uintptr_t)"GPL",
		.log_buf = (uintptr_t)log,
		.log_size = (uint32_t)log_size,
		.log_level = 1,
	};

	return (int)syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static inline int xdp_attach(int prog, unsigned int ifindex)
{
	union bpf_attr attr = {
		.link_create = {
			.prog_fd = prog, .target_ifindex = ifindex, .attach_type = BPF_XDP,
		},
	};

	return (int)syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

#endif
