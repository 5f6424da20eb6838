/* SPDX-License-Identifier: GPL-2.0 */
/* ports.h - open ports, for this process or for another one: stackmap ports */
#ifndef STACKMAP_TOOLS_PORTS_H
#define STACKMAP_TOOLS_PORTS_H

#include <stdbool.h>
#include <stddef.h>

#define QUEUES_MAX 64

/**
 * struct ports - which queues are wanted, and their ports
 * @nic: the interface
 * @list: its queues, as 0-3 or 0,2; NULL or empty: all that are free
 * @fd: the ports
 * @n: how many
 * @why: what was not to be had, as one line without its end; or empty
 */
struct ports {
	const char *nic;
	const char *list;
	int fd[QUEUES_MAX];
	unsigned int n;
	char why[256];
};

/* Whether @list can be understood; queue[] becomes which are in it */
bool ports_parse(const char *list, bool queue[static QUEUES_MAX]);

/* Open them here, which needs privileges */
void ports_open(struct ports *ports);

/* Have them opened by who listens at @path */
void ports_ask(struct ports *ports, const char *path);

/*
 * stackmap ports: open ports for whoever is at the other end of standard input. argv[0] is the command's
 * name. Returns the status to exit with, with a line on standard error if that is not 0
 */
int ports_pass(int argc, char **argv);

#endif
