// SPDX-License-Identifier: GPL-2.0
/*
 * reflect.c - bench-reflect: sends UDP datagrams back from within the NIC's driver, by XDP_TX
 *
 * The floor: what a packet costs that comes in, is looked at for its ports and leaves, with no
 * stack, socket or process. An XDP program swaps the addresses (Ethernet, IPv4, ports: no checksum
 * changes) of IPv4 datagrams to the given port; everything else goes its ordinary way.
 *
 * --spin keeps the processor from going to sleep between packets, as servers that poll do: else,
 * with few packets, it is waking up that is measured.
 */
#include <errno.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xdp.h"

/* Exchanges what is at two places of the packet, in r2 */
#define SWAP(size, a, b) \
	LOAD(size, 4, 2, a), LOAD(size, 5, 2, b), STORE(size, 2, 5, a), STORE(size, 2, 4, b)

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

	return xdp_load(prog, sizeof(prog) / sizeof(*prog), log, log_size);
}

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

int main(int argc, char **argv)
{
	static char log[65536];
	bool spin = argc == 4 && !strcmp(argv[3], "--spin");
	unsigned long port = argc == 3 || spin ? strtoul(argv[2], NULL, 10) : 0;
	unsigned int ifindex;
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t signals, before;
	int prog;

	if (!port || port > 65535) {
		fputs("Usage: bench-reflect INTERFACE PORT [--spin]\n"
		      "Sends UDP datagrams to PORT back from within INTERFACE's driver.\n", stderr);
		return 2;
	}
	ifindex = if_nametoindex(argv[1]);
	prog = ifindex ? load((uint16_t)port, log, sizeof(log)) : -1;
	if (prog < 0 || xdp_attach(prog, ifindex) < 0) {
		fprintf(stderr, "bench-reflect: %s: %s\n%s", argv[1], strerror(errno),
			prog < 0 ? log : "");
		return 1;
	}
	printf("bench-reflect: UDP port %lu on %s\n", port, argv[1]);
	fflush(stdout);
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, &before);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (spin)
		sigprocmask(SIG_SETMASK, &before, NULL);
	while (!stop) {
		if (!spin)
			sigsuspend(&before);
	}
	return 0;
}
