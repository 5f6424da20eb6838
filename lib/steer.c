// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * steer.c - connections to the listener of the queue on which they arrive
 */
#include <linux/filter.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "lib.h"

/* Two instructions for each queue, and two more */
#define QUEUES_MAX	((BPF_MAXINSNS - 2u) / 2)

/* The kernel says 0 for a packet of no known queue, and 1 for queue 0 */
#define QUEUE_BASE	1u

int stackmap_steer(int listener, const unsigned int *queues, unsigned int n)
{
	struct sock_filter *insn, *p;
	struct sock_fprog prog;
	unsigned int i;
	int ret;

	if (!queues || !n || n > QUEUES_MAX) {
		errno = EINVAL;
		return -1;
	}
	insn = malloc((2 * n + 2) * sizeof(*insn));
	if (!insn)
		return -1;
	p = insn;
	*p++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					    (uint32_t)(SKF_AD_OFF + SKF_AD_QUEUE));
	for (i = 0; i < n; i++) {
		*p++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
						    queues[i] + QUEUE_BASE, 0, 1);
		*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, i);
	}
	/* None of them: the kernel takes one by the connection's hash */
	*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	prog.len = (unsigned short)(p - insn);
	prog.filter = insn;
	ret = setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof(prog));
	free(insn);
	return ret;
}
