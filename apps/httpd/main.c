// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - an HTTP/1.1 server on a NIC of its own: command line and main loop
 *
 * One thread, one port, and as many of both as there are queues. In steady state a batch of
 * requests costs one system call: the sync that sends the last batch's responses, polls the NIC and
 * brings the next batch. Without traffic for --spin microseconds the loop sleeps, and the NIC is
 * back on interrupts.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <stackmap_version.h>

#include "httpd.h"

#define KEPT_BUFS	(1 + HTTP_PERSIST_COUNT)	/* what reply_init() takes */
#define SPARE_BUFS	1024
#define OTHER_FILES	16	/* descriptors for other things than connections */
#define SPIN_ALWAYS_US	10000	/* a look at the clock and for signals so often */

_Thread_local struct server server = { .listener = -1, .root = -1 };

static volatile sig_atomic_t stop;
static int reloads;	/* SIGHUPs so far */

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
	"      --rx-slots N      slots in the receive ring, a power of two (1024)\n"
	"      --tx-slots N      slots in the transmit ring, a power of two (1024)\n"
	"      --extra-bufs N    spare buffers (1028)\n"
	"      --pool-bufs N     buffers that may wait for their acknowledgement (the kernel's choice)\n"
	"      --stall-us USEC   without a sync for so long the NIC is back on interrupts (10000)\n"
	"  -h, --help            show this\n"
	"  -V, --version         show the version\n"
	"\n"
	"stackmap-httpd(1) tells more.\n";

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

/* One thread is told, and it wakes the others by a signal that tells nothing new */
static void on_hangup(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (info->si_code != SI_TKILL)
		__atomic_add_fetch(&reloads, 1, __ATOMIC_RELAXED);
}

bool server_told(void)
{
	return stop || __atomic_load_n(&reloads, __ATOMIC_RELAXED) != server.reloads;
}

void server_stop(void)
{
	stop = 1;
}

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

/* Returns 0 to go on, 1 when all was done, -1 on an error it has told */
static int parse(int argc, char **argv, struct settings *set)
{
	enum { REUSEPORT = 256, BINARY, SPIN, IDLE, RX_SLOTS, TX_SLOTS, EXTRA, POOL, STALL };
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
		{ "rx-slots", required_argument, NULL, RX_SLOTS },
		{ "tx-slots", required_argument, NULL, TX_SLOTS },
		{ "extra-bufs", required_argument, NULL, EXTRA },
		{ "pool-bufs", required_argument, NULL, POOL },
		{ "stall-us", required_argument, NULL, STALL },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	struct stackmap_options *sm = &set->options;
	int opt, err = 0;

	while (!err && (opt = getopt_long(argc, argv, ":i:q:a:p:s:r:u:hV", options, NULL)) != -1) {
		switch (opt) {
		case 'i':
			set->ifname = optarg;
			break;
		case 'q':
			err = queue_list(set);
			break;
		case 'a':
			set->addr = optarg;
			break;
		case 'p':
			err = number("--port", 1, UINT16_MAX, &set->port);
			break;
		case REUSEPORT:
			set->reuseport = true;
			break;
		case 's':
			err = number("--size", 0, 1ul << 40, &set->size);
			set->has_size = true;
			break;
		case BINARY:
			set->binary = true;
			break;
		case 'r':
			set->root = optarg;
			break;
		case 'u':
			set->user = optarg;
			err = user_find(set);
			break;
		case SPIN:
			set->spin_always = !strcmp(optarg, "always");
			if (set->spin_always)
				set->spin_us = SPIN_ALWAYS_US;
			else
				err = number("--spin", 0, 1000000, &set->spin_us);
			break;
		case IDLE:
			err = number("--idle-timeout", 0, 1000000, &set->idle_s);
			break;
		case RX_SLOTS:
			err = ring_size("--rx-slots", &sm->rx_slots);
			break;
		case TX_SLOTS:
			err = ring_size("--tx-slots", &sm->tx_slots);
			break;
		case EXTRA:
			err = number32("--extra-bufs", KEPT_BUFS, STACKMAP_FRAMES_MAX,
				       &sm->extra_bufs);
			break;
		case POOL:
			err = number32("--pool-bufs", 1, STACKMAP_FRAMES_MAX, &sm->pool_bufs);
			break;
		case STALL:
			err = number32("--stall-us", STACKMAP_STALL_MIN_US, STACKMAP_STALL_MAX_US,
				       &sm->stall_us);
			break;
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
		default:
			fprintf(stderr, "stackmap-httpd: no option '%s': see --help\n",
				argv[optind - 1]);
			return -1;
		}
	}
	if (!err && optind < argc) {
		fprintf(stderr, "stackmap-httpd: '%s' is not an option: see --help\n", argv[optind]);
		err = -1;
	}
	if (!set->nqueues)
		set->nqueues = 1;	/* 0 */
	if (!err && set->root && (set->has_size || set->binary)) {
		fprintf(stderr, "stackmap-httpd: --%s and --root exclude each other: give one\n",
			set->binary ? "binary" : "size");
		err = -1;
	}
	if (!err && set->binary && !set->size) {
		fputs("stackmap-httpd: --binary needs a --size from 1\n", stderr);
		err = -1;
	}
	return err;
}

/* As many descriptors as we may have; a connection with a file has two */
static void limit_conns(unsigned int threads)
{
	struct rlimit files = { .rlim_cur = 1024 };
	rlim_t most;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		rlim_t before = files.rlim_cur;

		files.rlim_cur = files.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files))
			files.rlim_cur = before;
	}
	most = files.rlim_cur > OTHER_FILES ? files.rlim_cur - OTHER_FILES : 1;
	if (server.root >= 0)
		most = (most + 1) / 2;
	most = (most + threads - 1) / threads;
	server.max_conns = most < INT32_MAX ? most : INT32_MAX;
}

static void set_timeouts(unsigned long idle_s)
{
	unsigned long ms = idle_s * 125;	/* an eighth */

	server.tick_ms = !ms || ms > 1000 ? 1000 : ms;
	server.idle_ticks = (idle_s * 1000 + server.tick_ms - 1) / server.tick_ms;
	server.linger_ticks = 5000 / server.tick_ms;
	if (server.idle_ticks && server.linger_ticks > server.idle_ticks)
		server.linger_ticks = server.idle_ticks;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Whether transmit slots wait for a sync */
static bool unsynced(void)
{
	return stackmap_tx_room(server.port) < stackmap_params(server.port)->tx_slots - 1;
}

/* Sleeps until something comes, timeout_ms have passed or a signal; *timed_out says which */
static int sleep_on_port(int timeout_ms, bool *timed_out)
{
	struct timespec ts = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };
	struct pollfd pfd = { .fd = stackmap_fd(server.port), .events = POLLIN };
	sigset_t block, before;
	int n = 0;

	/* A signal between the look at what we are told and ppoll() must not be slept over */
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &block, &before);
	if (!server_told())
		n = stackmap_idle(server.port);
	if (!n && !server_told())
		*timed_out = !ppoll(&pfd, 1, timeout_ms < 0 ? NULL : &ts, &before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return n;
}

static void handle_batch(void)
{
	struct stackmap_port *port = server.port;
	struct conn *first = NULL, **last = &first;
	struct stackmap_slot *slot;
	struct stackmap_conn *sm;

	reply_turn();
	while ((slot = stackmap_rx_next(port))) {
		sm = stackmap_rx_conn(slot);
		if (__builtin_expect(sm != NULL, 1))
			conn_receive((struct conn *)sm, slot);
		else if (slot->fd == server.listener)	/* somebody waits, or it is a listener no more */
			accept_all();
	}
	/* All at first: one may want to be writable again, and then has its turn after a sync */
	while ((sm = stackmap_next_writable(port))) {
		*last = (struct conn *)sm;
		last = &(*last)->turn;
	}
	*last = NULL;
	while (first) {
		struct conn *conn = first;

		first = conn->turn;
		conn_continue(conn);
	}
}

/*
 * The directory that has its name now: a new release, to which a symbolic link points, is served from
 * one request to the next. What is being sent is sent to its end.
 */
static void reload(const struct settings *set)
{
	int root;

	server.reloads = __atomic_load_n(&reloads, __ATOMIC_RELAXED);
	threads_wake();
	if (!set->root)
		return;
	root = open(set->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) {
		fprintf(stderr, "stackmap-httpd: --root %s: %s: goes on with the one that was there\n",
			set->root, strerror(errno));
		return;
	}
	close(server.root);
	server.root = root;
}

int server_run(const struct settings *set)
{
	unsigned int spin_us = set->spin_us;
	uint64_t next_tick = now_ms() + server.tick_ms;
	bool timed_out = false;

	while (!stop) {
		bool ticking = server.nconns || !server.accepting;
		uint64_t now = now_ms();
		int n = 0;

		if (__builtin_expect(server_told(), 0)) {
			if (!stop)
				reload(set);
			continue;
		}
		if (!ticking) {
			next_tick = now + server.tick_ms;
		} else if (now >= next_tick) {
			idle_tick();
			if (!server.accepting)
				listener_start();
			next_tick = now + server.tick_ms;
		}

		if (server.hurry || (spin_us && !timed_out)) {
			n = stackmap_sync(server.port, server.hurry ? 0 : spin_us);
			if (!n && (set->spin_always || server.hurry || unsynced())) {
				server.hurry = unsynced();
				continue;
			}
		}
		timed_out = false;
		if (!n)
			n = sleep_on_port(ticking ? (int)(next_tick - now) : -1, &timed_out);
		if (n < 0 && errno != EINTR) {
			fprintf(stderr, "stackmap-httpd: %s\n",
				errno == ENODEV ? "the interface is gone" : strerror(errno));
			return -1;
		}
		/* What the last sync moved from send queues to the ring: somebody waits for that */
		server.hurry = unsynced();
		if (n > 0)
			handle_batch();
	}
	/* Responses that are ready go out, too */
	stackmap_sync(server.port, 0);
	return 0;
}

/* Writes an address at which clients can reach us */
static void own_address(const struct settings *set, char *out, size_t cap)
{
	struct ifaddrs *all = NULL, *ifa;
	char host[INET6_ADDRSTRLEN + IFNAMSIZ + 1] = "localhost";
	int best = 0;

	if (set->addr && strcmp(set->addr, "0.0.0.0") && strcmp(set->addr, "::")) {
		snprintf(host, sizeof(host), "%s", set->addr);
	} else if (!getifaddrs(&all)) {
		for (ifa = all; ifa; ifa = ifa->ifa_next) {
			int family = ifa->ifa_addr ? ifa->ifa_addr->sa_family : AF_UNSPEC;
			int good = family == AF_INET ? 2 : family == AF_INET6 ? 1 : 0;

			if (good <= best || strcmp(ifa->ifa_name, set->ifname))
				continue;
			if (!getnameinfo(ifa->ifa_addr,
					 good == 2 ? sizeof(struct sockaddr_in) :
					 sizeof(struct sockaddr_in6),
					 host, sizeof(host), NULL, 0, NI_NUMERICHOST))
				best = good;
		}
		freeifaddrs(all);
	}
	snprintf(out, cap, strchr(host, ':') ? "[%s]" : "%s", host);
}

void announce(const struct settings *set)
{
	const struct stackmap_register *reg = stackmap_params(server.port);
	char host[INET6_ADDRSTRLEN + IFNAMSIZ + 4];
	unsigned int i;

	own_address(set, host, sizeof(host));
	printf("stackmap-httpd: owns %s queue%s %u", set->ifname, set->nqueues > 1 ? "s" : "",
	       set->queues[0]);
	for (i = 1; i < set->nqueues; i++)
		printf(",%u", set->queues[i]);
	printf(" (%s), serves ", reg->nic == STACKMAP_NIC_VIRTIO ? "virtio" : "napi");
	if (set->root)
		printf("%s", set->root);
	else
		printf("%lu bytes", set->size);
	printf(" at http://%s:%lu/\n", host, set->port);
	fflush(stdout);
}

/* Returns 0, or -1 and has told why */
int server_start(const struct settings *set, unsigned int queue)
{
	if (set->root) {
		server.root = open(set->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (server.root < 0) {
			fprintf(stderr, "stackmap-httpd: --root %s: %s\n", set->root,
				strerror(errno));
			return -1;
		}
	}
	limit_conns(set->nqueues);
	set_timeouts(set->idle_s);
	server.reloads = __atomic_load_n(&reloads, __ATOMIC_RELAXED);
	server.listener = listen_on(set->addr, set->port, set->reuseport || set->nqueues > 1);
	if (server.listener < 0)
		return -1;
	server.port = stackmap_open(set->ifname, queue, &set->options);
	if (!server.port) {
		fprintf(stderr, "stackmap-httpd: cannot own %s queue %u: %s\n", set->ifname,
			queue, stackmap_open_hint(errno));
		return -1;
	}
	server.binary_max = set->binary ? set->size : 0;
	server.seg = stackmap_frame_size(server.port);
	if (server.seg > REPLY_ROOM)
		server.seg = REPLY_ROOM;
	if (server.root < 0 && reply_init(set->size)) {
		fprintf(stderr, "stackmap-httpd: too few buffers: raise --extra-bufs\n");
		return -1;
	}
	if (listener_start()) {
		fprintf(stderr, "stackmap-httpd: cannot attach the listening socket: %s\n",
			strerror(errno));
		return -1;
	}
	return 0;
}

void server_end(void)
{
	if (server.port)
		conn_free_all();
	stackmap_close(server.port);
	if (server.listener >= 0)
		close(server.listener);
	if (server.root >= 0)
		close(server.root);
}

int main(int argc, char **argv)
{
	struct settings set = {
		.ifname = "eth0",
		.port = 8080,
		.size = 64,
		.spin_us = 5000,
		.idle_s = 60,
		.options.extra_bufs = KEPT_BUFS + SPARE_BUFS,
	};
	struct sigaction action = { .sa_handler = on_signal };
	struct sigaction hangup = { .sa_sigaction = on_hangup, .sa_flags = SA_SIGINFO };
	int ret;

	ret = parse(argc, argv, &set);
	if (ret)
		return ret > 0 ? 0 : 2;

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigemptyset(&hangup.sa_mask);
	sigaction(SIGHUP, &hangup, NULL);
	signal(SIGPIPE, SIG_IGN);

	return threads_run(&set) ? 1 : 0;
}
