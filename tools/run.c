// SPDX-License-Identifier: GPL-2.0
/*
 * run.c - stackmap run: an unmodified program on ports of its own
 *
 * Opens a port on each queue and becomes the program, with libstackmap-preload before its libc. The program
 * inherits the ports, so it needs no privileges. Where there is none it runs as ever, and one line says why.
 */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ports.h"

#define LIBRARY		"libstackmap-preload.so"

static const char usage[] =
	"Usage: stackmap run [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
	"Run a program whose TCP connections go over queues of a NIC that it owns.\n"
	"\n"
	"  -i, --nic IFACE        the NIC; by default the only one that is up\n"
	"  -q, --queues LIST      its queues, as 0-3 or 0,2: as many as threads or processes of the program\n"
	"                         wait for connections; by default all that are free\n"
	"  -f, --from SOCKET      have the ports opened by who listens there, stackmap-ports.socket: for\n"
	"                         programs without privileges\n"
	"  -s, --spin US          poll so many microseconds after the last packet before sleeping; default 50\n"
	"      --strict           the program is ended where a socket would have to be an ordinary one\n"
	"      --trace            say on standard error which sockets are, and why\n"
	"  -u, --user USER        run the program as that user\n"
	"  -h, --help             show this\n";

struct run {
	const char *nic;
	const char *queues;
	const char *from;
	unsigned int spin_us;
	bool strict;
	bool trace;
	const char *user;
};

/* The only interface that is up and no loopback, or NULL and has said why */
static const char *only_nic(void)
{
	static char name[IF_NAMESIZE];
	struct ifaddrs *all, *a;
	int n = 0;

	if (getifaddrs(&all)) {
		perror("stackmap run: getifaddrs");
		return NULL;
	}
	for (a = all; a; a = a->ifa_next) {
		if (!(a->ifa_flags & IFF_UP) || (a->ifa_flags & IFF_LOOPBACK) || !strcmp(name, a->ifa_name))
			continue;
		snprintf(name, sizeof(name), "%s", a->ifa_name);
		n++;
	}
	freeifaddrs(all);
	if (n == 1)
		return name;
	fprintf(stderr, n ? "stackmap run: there are several network interfaces: say which with --nic\n" :
		"stackmap run: no network interface is up\n");
	return NULL;
}

/*
 * Out of the way of the program's own descriptors, which get the lowest numbers that are free. Programs
 * that change their limit do not lose it by that
 */
static int move_up(int fd)
{
	struct rlimit lim;
	int to;

	if (fd < 0 || getrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur < 4 * QUEUES_MAX)
		return fd;
	to = fcntl(fd, F_DUPFD, (int)(lim.rlim_cur < INT_MAX ? lim.rlim_cur : INT_MAX) - 2 * QUEUES_MAX);
	if (to < 0)
		return fd;
	close(fd);
	return to;
}

static int set_number(const char *name, unsigned int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	return setenv(name, text, 1);
}

/* Returns 0 also when there are none, or -1 and has said why */
static int open_ports(const struct run *run)
{
	struct ports ports = { .nic = run->nic, .list = run->queues };
	char list[QUEUES_MAX * 12] = "";
	unsigned int i;
	int lock;

	if (run->from)
		ports_ask(&ports, run->from);
	else
		ports_open(&ports);
	if (ports.why[0])
		fprintf(stderr, "stackmap run: %s: the program runs without\n", ports.why);
	if (!ports.n)
		return 0;
	for (i = 0; i < ports.n; i++)
		sprintf(list + strlen(list), "%s%d", i ? "," : "", move_up(ports.fd[i]));
	lock = move_up(memfd_create("stackmap-run", 0));
	if (lock < 0 || setenv("STACKMAP_PORTS", list, 1) || set_number("STACKMAP_LOCK", (unsigned int)lock)) {
		perror("stackmap run");
		return -1;
	}
	return 0;
}

/* Where the library is: beside this program as it is built, as it is installed, or where ld.so looks */
static void find_library(char path[static PATH_MAX])
{
	static const char *const places[] = { "", "../lib/stackmap/", "../lib/x86_64-linux-gnu/stackmap/" };
	char self[PATH_MAX / 2];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t i;

	self[n > 0 ? n : 0] = '\0';
	if (strrchr(self, '/'))
		strrchr(self, '/')[1] = '\0';
	for (i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(path, PATH_MAX, "%s%s%s", self, places[i], LIBRARY);
		if (!access(path, R_OK))
			return;
	}
	snprintf(path, PATH_MAX, "%s", LIBRARY);
}

static int set_environment(const struct run *run)
{
	const char *before = getenv("LD_PRELOAD");
	char path[PATH_MAX], all[2 * PATH_MAX];

	find_library(path);
	snprintf(all, sizeof(all), "%s%s%s", path, before && *before ? ":" : "", before ? before : "");
	if (setenv("LD_PRELOAD", all, 1) || set_number("STACKMAP_SPIN", run->spin_us) ||
	    set_number("STACKMAP_STRICT", run->strict) || set_number("STACKMAP_TRACE", run->trace)) {
		perror("stackmap run");
		return -1;
	}
	return 0;
}

/* All of it, or nothing was changed that lets the program do more than it should */
static int become(const char *name)
{
	const struct passwd *user;

	errno = 0;
	user = getpwnam(name);
	if (!user) {
		fprintf(stderr, "stackmap run: no user '%s'\n", name);
		return -1;
	}
	if (initgroups(name, user->pw_gid) || setgid(user->pw_gid) || setuid(user->pw_uid)) {
		fprintf(stderr, "stackmap run: cannot become %s: %s\n", name, strerror(errno));
		return -1;
	}
	return 0;
}

static int bad_value(const char *what, const char *value)
{
	fprintf(stderr, "stackmap run: %s, not '%s'\n", what, value);
	return 2;
}

int run_program(int argc, char **argv)
{
	static const struct option options[] = {
		{ "nic", required_argument, NULL, 'i' },
		{ "queues", required_argument, NULL, 'q' },
		{ "from", required_argument, NULL, 'f' },
		{ "spin", required_argument, NULL, 's' },
		{ "strict", no_argument, NULL, 'S' },
		{ "trace", no_argument, NULL, 'T' },
		{ "user", required_argument, NULL, 'u' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	bool queue[QUEUES_MAX] = { false };
	struct run run = { .spin_us = 50 };
	unsigned long spin;
	char *end;
	int opt;

	while ((opt = getopt_long(argc, argv, "+:i:q:f:s:u:h", options, NULL)) != -1) {
		switch (opt) {
		case 'i':
			run.nic = optarg;
			break;
		case 'q':
			if (!ports_parse(optarg, queue))
				return bad_value("--queues takes numbers below 64, as 0-3 or 0,2", optarg);
			run.queues = optarg;
			break;
		case 'f':
			run.from = optarg;
			break;
		case 's':
			spin = strtoul(optarg, &end, 10);
			if (end == optarg || *end || *optarg == '-' || spin > 1000000)
				return bad_value("--spin takes microseconds up to 1000000", optarg);
			run.spin_us = (unsigned int)spin;
			break;
		case 'S':
			run.strict = true;
			break;
		case 'T':
			run.trace = true;
			break;
		case 'u':
			run.user = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case ':':
			fprintf(stderr, "stackmap run: %s needs a value: see --help\n", argv[optind - 1]);
			return 2;
		default:
			fprintf(stderr, "stackmap run: no option '%s': see --help\n", argv[optind - 1]);
			return 2;
		}
	}
	if (optind == argc) {
		fputs("stackmap run: which program? See --help\n", stderr);
		return 2;
	}
	if (!run.nic)
		run.nic = only_nic();
	if (!run.nic)
		return 1;
	if (!if_nametoindex(run.nic)) {
		fprintf(stderr, "stackmap run: no interface '%s'\n", run.nic);
		return 1;
	}
	if (open_ports(&run) < 0 || set_environment(&run) || (run.user && become(run.user)))
		return 1;
	execvp(argv[optind], argv + optind);
	fprintf(stderr, "stackmap run: %s: %s\n", argv[optind], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}
