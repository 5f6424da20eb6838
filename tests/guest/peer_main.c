// SPDX-License-Identifier: GPL-2.0
/*
 * peer_main.c - the peer as a program of its own, for the host: peer ADDR
 */
#include <stdio.h>
#include <string.h>

#include "peer.h"

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: peer ADDR\n");
		return 2;
	}
	return peer_serve(argv[1]);
}
