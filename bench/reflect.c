// SPDX-License-Identifier: GPL-2.0
/*
 * reflect.c - bench-reflect: sends UDP datagrams back from within the NIC's driver, by XDP_TX
 *
 * The floor: what a packet costs that comes in, is looked at for its ports and leaves, with no stack,
 * socket or process. An XDP program swaps the addresses (Ethernet, IPv4, ports: no checksum
 * changes) of IPv4 datagrams to the given port; everything else goes its ordinary way. It is
 * loaded here by hand, in the kernel's own instructions, so that it needs neither clang nor
 * libbpf, and hangs on a link, so that it goes when the process does.
 */
#include <errno.h>
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* Exchanges what is at two places of the packet, in r2 */
#define SWAP(size, a, b) \
	LOAD(size, 4, 2, a), LOAD(size, 5, 2, b), STORE(size, 2, 5, a), STORE(size, 2, 4, b)

enum { TYPE = 12, IP = 14, PROTOCOL = 23, FROM = 26, TO = 30, SPORT = 34, DPORT = 36, HEADERS = 42 };

static int load(uint16_t port, char *log, size_t log_size)
{
	/* Ports as they look when loaded from the packet */
	const struct bpf_insn prog[] = {
		LOAD(BPF_W, 2, 1, offsetof(struct xdp_md, data)),
		LOAD(BPF_W, 3, 1, offsetof(struct xdp_md, data_end)),
		MOV(4, 2),
		ADD_IMM(4, HEADERS),
		IF_GT(4, 3, 30),
		LOAD(BPF_H, 4, 2, TYPE),
		UNLESS_EQ(4, htons(0x0800), 28),
		LOAD(BPF_B, 4, 2, IP),			/* version 4, no options */
		UNLESS_EQ(4, 0x45, 26),
		LOAD(BPF_B, 4, 2, PROTOCOL),
		UNLESS_EQ(4, IPPROTO_UDP, 24),
		LOAD(BPF_H, 4, 2, DPORT),
		UNLESS_EQ(4, htons(port), 22),
		SWAP(BPF_H, 0, 6),
		SWAP(BPF_H, 2, 8),
		SWAP(BPF_H, 4, 10),
		SWAP(BPF_W, FROM, TO),
		SWAP(BPF_H, SPORT, DPORT),
		MOV_IMM(0, XDP_TX),
		EXIT,
		MOV_IMM(0, XDP_PASS),
		EXIT,
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insn_cnt = sizeof(prog) / sizeof(*prog),
		.insns = (uintptr_t)prog,
		.license = (uintptr_t)"GPL",
		.log_buf = (uintptr_t)log,
		.log_size = (uint32_t)log_size,
		.log_level = 1,
	};

	return (int)syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static int attach(int prog, unsigned int ifindex)
{
	union bpf_attr attr = {
		.link_create = {
			.prog_fd = prog, .target_ifindex = ifindex, .attach_type = BPF_XDP,
		},
	};

	return (int)syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

int main(int argc, char **argv)
{
	static char log[65536];
	unsigned long port = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	unsigned int ifindex;
	sigset_t stop;
	int prog, sig;

	if (!port || port > 65535) {
		fputs("Usage: bench-reflect INTERFACE PORT\n"
		      "Sends UDP datagrams to PORT back from within INTERFACE's driver.\n", stderr);
		return 2;
	}
	ifindex = if_nametoindex(argv[1]);
	prog = ifindex ? load((uint16_t)port, log, sizeof(log)) : -1;
	if (prog < 0 || attach(prog, ifindex) < 0) {
		fprintf(stderr, "bench-reflect: %s: %s\n%s", argv[1], strerror(errno),
			prog < 0 ? log : "");
		return 1;
	}
	printf("bench-reflect: UDP port %lu on %s\n", port, argv[1]);
	fflush(stdout);
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	sigwait(&stop, &sig);
	return 0;
}
