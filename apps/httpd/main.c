// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - an HTTP/1.1 server on a NIC of its own
 *
 * One thread, one port, and as many of both as there are queues.
 */
#include "httpd.h"

int main(int argc, char **argv)
{
	struct settings set;
	int ret;

	ret = options_parse(argc, argv, &set);
	if (ret)
		return ret > 0 ? 0 : 2;
	signals_init();
	return threads_run(&set) ? 1 : 0;
}
