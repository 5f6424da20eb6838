// SPDX-License-Identifier: GPL-2.0
/*
 * peer_main.c - the peer as a program of its own, for the host: peer ADDR, or peer --monitor LINE...
 */
#include <stdio.h>
#include <string.h>

#include "peer.h"

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "--monitor")) {
		for (int i = 2; i < argc; i++) {
			int err = peer_monitor(argv[i], stdout);

			if (err) {
				fprintf(stderr, "peer: QEMU's monitor: %s\n", strerror(err));
				return 1;
			}
		}
		return 0;
	}
	if (argc != 2) {
		fprintf(stderr, "usage: peer ADDR, or peer --monitor LINE...\n");
		return 2;
	}
	return peer_serve(argv[1]);
}
