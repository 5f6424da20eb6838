// SPDX-License-Identifier: GPL-2.0
/*
 * options.c - the command line
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include <stackmap_version.h>

#include "httpd.h"

#define KEPT_BUFS	(1 + HTTP_PERSIST_COUNT)	/* what reply_init() takes */
#define SPARE_BUFS	1024
#define LARGE_MIN	8192
#define SPIN_ALWAYS_US	10000	/* a look at the clock and for signals so often */

enum {
	REUSEPORT = 256, BINARY, SPIN, IDLE, TAKEOVER, DESCRIPTORS, RX_SLOTS, TX_SLOTS, EXTRA, POOL,
	LARGE, LARGE_SIZE, STALL
};

static const struct option options[] = {
	{ "interface", required_argument, NULL, 'i' },
	{ "queue", required_argument, NULL, 'q' },
	{ "addr", required_argument, NULL, 'a' },
	{ "port", required_argument, NULL, 'p' },
	{ "reuseport", no_argument, NULL, REUSEPORT },
	{ "size", required_argument, NULL, 's' },
	{ "binary", no_argument, NULL, BINARY },
	{ "root", required_argument, NULL, 'r' },
	{ "user", required_argument, NULL, 'u' },
	{ "spin", required_argument, NULL, SPIN },
	{ "idle-timeout", required_argument, NULL, IDLE },
	{ "takeover", required_argument, NULL, TAKEOVER },
	{ "descriptors", no_argument, NULL, DESCRIPTORS },
	{ "rx-slots", required_argument, NULL, RX_SLOTS },
	{ "tx-slots", required_argument, NULL, TX_SLOTS },
	{ "extra-bufs", required_argument, NULL, EXTRA },
	{ "pool-bufs", required_argument, NULL, POOL },
	{ "large-bufs", required_argument, NULL, LARGE },
	{ "large-size", required_argument, NULL, LARGE_SIZE },
	{ "stall-us", required_argument, NULL, STALL },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 }
};

static const char usage[] =
	"Usage: stackmap-httpd [OPTION]...\n"
	"An HTTP/1.1 server that owns a queue of a network interface, through stackmap.ko.\n"
	"\n"
	"  -i, --interface NAME  own this interface (eth0)\n"
	"  -q, --queue LIST      these receive queues of it, as '0-3' or '0,2': a thread for each (0)\n"
	"  -a, --addr ADDR       listen on this address (all, IPv6 and IPv4)\n"
	"  -p, --port PORT       listen on this port (8080)\n"
	"      --reuseport       share the port with other processes, one for each queue\n"
	"  -s, --size N          answer every request with N bytes from memory (64)\n"
	"      --binary          not HTTP: requests of 16 bytes that say how many bytes they want, up to\n"
	"                        the --size (apps/binary.h)\n"
	"  -r, --root DIR        serve the files in DIR instead; SIGHUP: look DIR up again\n"
	"  -u, --user NAME[:GROUP]  become this user when all is open that needs privileges\n"
	"      --spin USEC       poll the NIC for so long without traffic before sleeping (5000);\n"
	"                        'always': never sleep\n"
	"      --idle-timeout S  close connections after so many idle seconds, 0 for never (60)\n"
	"      --takeover SOCKET  take over from the server that was started with the same, if there is one,\n"
	"                        with all its connections; and let the next one do so\n"
	"      --descriptors     accept() each connection, instead of having it come without a descriptor\n"
	"      --rx-slots N      slots in the receive ring, a power of two (1024)\n"
	"      --tx-slots N      slots in the transmit ring, a power of two (1024)\n"
	"      --extra-bufs N    spare buffers (1028)\n"
	"      --pool-bufs N     buffers that may wait for their acknowledgement (the kernel's choice)\n"
	"      --large-bufs N    large buffers besides, to receive large bodies into (0)\n"
	"      --large-size N    bytes in one of those: 8192, 16384, 32768 or 65536 (65536)\n"
	"      --stall-us USEC   without a sync for so long the NIC is back on interrupts (10000)\n"
	"  -h, --help            show this\n"
	"  -V, --version         show the version\n"
	"\n"
	"stackmap-httpd(1) tells more.\n";

static int number(const char *option, unsigned long min, unsigned long max, unsigned long *out)
{
	char *end;

	errno = 0;
	*out = strtoul(optarg, &end, 10);
	if (errno || end == optarg || *end || *optarg < '0' || *optarg > '9' || *out < min ||
	    *out > max) {
		fprintf(stderr, "stackmap-httpd: %s takes a number from %lu to %lu, not '%s'\n",
			option, min, max, optarg);
		return -1;
	}
	return 0;
}

static int number32(const char *option, unsigned long min, unsigned long max, uint32_t *out)
{
	unsigned long value;

	if (number(option, min, max, &value))
		return -1;
	*out = value;
	return 0;
}

/* "0", "0,2", "0-3,8": adds to the queues */
static int queue_list(struct settings *set)
{
	const char *p = optarg;
	unsigned long first, last, i;
	char *end;

	do {
		if (*p < '0' || *p > '9')
			goto bad;
		first = strtoul(p, &end, 10);
		last = first;
		if (*end == '-') {
			p = end + 1;
			if (*p < '0' || *p > '9')
				goto bad;
			last = strtoul(p, &end, 10);
		}
		if (first > last || last > UINT16_MAX)
			goto bad;
		for (i = first; i <= last; i++) {
			if (set->nqueues == QUEUES_MAX) {
				fprintf(stderr, "stackmap-httpd: --queue: more than %d queues: run"
					" several processes, with --reuseport\n", QUEUES_MAX);
				return -1;
			}
			set->queues[set->nqueues++] = i;
		}
		p = end + 1;
	} while (*end == ',');
	if (!*end)
		return 0;
bad:
	fprintf(stderr, "stackmap-httpd: --queue takes numbers up to %d as '0-3' or '0,2', not"
		" '%s'\n", UINT16_MAX, optarg);
	return -1;
}

static int ring_size(const char *option, uint32_t *out)
{
	if (number32(option, STACKMAP_RING_MIN, STACKMAP_RING_MAX, out))
		return -1;
	if (*out & (*out - 1)) {
		fprintf(stderr, "stackmap-httpd: %s takes a power of two, not '%s'\n", option,
			optarg);
		return -1;
	}
	return 0;
}

/* One option, whose value is in optarg. Returns 0, or -1 after having said what is wrong */
static int take(int opt, struct settings *set)
{
	struct stackmap_options *sm = &set->options;

	switch (opt) {
	case 'i':
		set->ifname = optarg;
		return 0;
	case 'q':
		return queue_list(set);
	case 'a':
		set->addr = optarg;
		return 0;
	case 'p':
		return number("--port", 1, UINT16_MAX, &set->port);
	case REUSEPORT:
		set->reuseport = true;
		return 0;
	case 's':
		set->has_size = true;
		return number("--size", 0, 1ul << 40, &set->size);
	case BINARY:
		set->binary = true;
		return 0;
	case 'r':
		set->root = optarg;
		return 0;
	case 'u':
		set->user = optarg;
		return user_find(set);
	case SPIN:
		set->spin_always = !strcmp(optarg, "always");
		if (!set->spin_always)
			return number("--spin", 0, 1000000, &set->spin_us);
		set->spin_us = SPIN_ALWAYS_US;
		return 0;
	case IDLE:
		return number("--idle-timeout", 0, 1000000, &set->idle_s);
	case DESCRIPTORS:
		set->descriptors = true;
		return 0;
	case TAKEOVER:
		set->takeover = optarg;
		return 0;
	case RX_SLOTS:
		return ring_size("--rx-slots", &sm->rx_slots);
	case TX_SLOTS:
		return ring_size("--tx-slots", &sm->tx_slots);
	case EXTRA:
		return number32("--extra-bufs", KEPT_BUFS, STACKMAP_FRAMES_MAX, &sm->extra_bufs);
	case POOL:
		return number32("--pool-bufs", 1, STACKMAP_FRAMES_MAX, &sm->pool_bufs);
	case LARGE:
		return number32("--large-bufs", 1, STACKMAP_FRAMES_MAX, &sm->large_bufs);
	case LARGE_SIZE:
		if (number32("--large-size", LARGE_MIN, STACKMAP_LARGE_MAX, &sm->large_size))
			return -1;
		if (!(sm->large_size & (sm->large_size - 1)))
			return 0;
		fputs("stackmap-httpd: --large-size takes a power of two\n", stderr);
		return -1;
	default:	/* STALL */
		return number32("--stall-us", STACKMAP_STALL_MIN_US, STACKMAP_STALL_MAX_US,
				&sm->stall_us);
	}
}

/* What options mean together. Returns 0, or -1 after having said what is wrong */
static int check(const struct settings *set)
{
	if (set->root && (set->has_size || set->binary)) {
		fprintf(stderr, "stackmap-httpd: --%s and --root exclude each other: give one\n",
			set->binary ? "binary" : "size");
		return -1;
	}
	if (set->options.large_size && !set->options.large_bufs) {
		fputs("stackmap-httpd: --large-size is of no use without --large-bufs\n", stderr);
		return -1;
	}
	if (set->binary && !set->size) {
		fputs("stackmap-httpd: --binary needs a --size from 1\n", stderr);
		return -1;
	}
	return 0;
}

/* Returns 0 to go on, 1 when all was done, -1 on an error it has told */
int options_parse(int argc, char **argv, struct settings *set)
{
	int opt;

	*set = (struct settings){
		.ifname = "eth0",
		.port = 8080,
		.size = 64,
		.spin_us = 5000,
		.idle_s = 60,
		.options.extra_bufs = KEPT_BUFS + SPARE_BUFS,
	};
	while ((opt = getopt_long(argc, argv, ":i:q:a:p:s:r:u:hV", options, NULL)) != -1) {
		switch (opt) {
		case 'h':
			fputs(usage, stdout);
			return 1;
		case 'V':
			puts("stackmap-httpd " STACKMAP_VERSION);
			return 1;
		case ':':
			fprintf(stderr, "stackmap-httpd: %s needs a value: see --help\n",
				argv[optind - 1]);
			return -1;
		case '?':
			fprintf(stderr, "stackmap-httpd: no option '%s': see --help\n",
				argv[optind - 1]);
			return -1;
		default:
			if (take(opt, set))
				return -1;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "stackmap-httpd: '%s' is not an option: see --help\n", argv[optind]);
		return -1;
	}
	/* Files are read into buffers, which would all be one slow reader's; but what is taken over has to fit */
	if (!set->root || set->takeover)
		set->options.send_max = QUEUED_MAX;
	if (!set->nqueues)
		set->nqueues = 1;	/* 0 */
	if (set->options.large_bufs && !set->options.large_size)
		set->options.large_size = STACKMAP_LARGE_MAX;
	return check(set);
}
