// SPDX-License-Identifier: GPL-2.0
/*
 * same.c - whether a program behaves with libstackmap-preload as without: calls on two sockets, one of
 * which the library has, give the same results. Prints TAP.
 *
 * To be run plain, with the library and no port, and by `stackmap run`. Usage: --help.
 */
#include "ops.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char usage[] =
	"Usage: same [OPTION...]\n"
	"  --seed N       of the first batch of random operations (by default 1)\n"
	"  --batches N    how many batches, with a seed each (20); 0: none\n"
	"  --steps N      operations in a batch (300)\n"
	"  --bulk N       how many large transfers (12)\n"
	"  --no-cases     no named scenarios\n"
	"  --case TEXT    only those whose name has this in it; and no batches\n"
	"  --not TEXT     but those (several times)\n"
	"  --exact        an edge that the kernel does not tell is wrong, too\n"
	"  --no-urgent    no urgent data from the peer among random operations: it is known to differ\n"
	"  --list         names of the scenarios\n"
	"  --verbose      each operation\n";

#define NOT_MAX		64

volatile sig_atomic_t sigpipes;
static unsigned int tests;
static unsigned int failed;
static const char *only;
static const char *not[NOT_MAX];
static int nots;
static bool listing;
static bool last_test;
static uint64_t last;

static void on_pipe(int sig)
{
	(void)sig;
	sigpipes++;
}

/* A hang, or a crash: say where, and end */
static void on_end(int sig)
{
	char text[400];
	int n = snprintf(text, sizeof(text), "not ok %u - %s\n# %s, side %s, in %s\n", tests + 1, where_case,
			 sig == SIGALRM ? "it hangs" : "it has crashed", where_side, where_op);

	n += snprintf(text + n, sizeof(text) - (size_t)n, last_test ? "1..%u\n" : "Bail out! It is test %u\n", tests + 1);

	if (raw(1 /* write */, 1, (long)text, n, 0, 0, 0) < 0)
		_exit(3);
	_exit(1);
}

static bool wanted(const char *name)
{
	int i;

	if (only && !strstr(name, only))
		return false;
	for (i = 0; i < nots; i++)
		if (strstr(name, not[i]))
			return false;
	if (listing)
		puts(name);
	return !listing;
}

/* A line of TAP; with fmt NULL only whether the one of that name is wanted */
static bool report(bool ok, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!fmt) {
		ok = wanted(va_arg(ap, const char *));
		va_end(ap);
		return ok;
	}
	printf("%sok %u - ", ok ? "" : "not ", ++tests);
	vprintf(fmt, ap);
	va_end(ap);
	if (ms_now() - last > 2000)
		printf(" # %llu ms", (unsigned long long)(ms_now() - last));
	last = ms_now();
	putchar('\n');
	failed += !ok;
	return ok;
}

static int open_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 1024; fd++)
		n += raw(72 /* fcntl */, fd, 1, 0, 0, 0, 0) >= 0;
	return n;
}

static void run_cases(const struct scenario *c)
{
	static struct side fast, plain;
	bool ok;

	for (; c->name; c++) {
		int before = open_fds(), i;

		if (!wanted(c->name))
			continue;
		where_case = c->name;
		for (i = 0; i < 2; i++) {
			struct side *s = i ? &fast : &plain;

			alarm(60);
			side_open(s, i, c->flags);
			c->run(s);
			side_close(s);
		}
		alarm(60);
		ok = same_logs(&fast, &plain);
		/* The port is opened by the first */
		if (open_fds() > before + 2)
			printf("# %d descriptors more than before\n", open_fds() - before);
		report(ok, "%s", c->name);
	}
}

static unsigned int number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 0);

	if (end == text || *end || n > UINT_MAX) {
		fprintf(stderr, "same: not a number: %s\n", text);
		exit(2);
	}
	return (unsigned int)n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "batches", required_argument, NULL, 'b' },
		{ "steps", required_argument, NULL, 'n' },
		{ "bulk", required_argument, NULL, 'u' },
		{ "no-cases", no_argument, NULL, 'C' },
		{ "case", required_argument, NULL, 'c' },
		{ "not", required_argument, NULL, 'N' },
		{ "exact", no_argument, NULL, 'e' },
		{ "no-urgent", no_argument, NULL, 'U' },
		{ "list", no_argument, NULL, 'l' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	static char self[PATH_MAX];
	unsigned int batches = 20, steps = 300, bulk = 12, i;
	struct sigaction sa = { .sa_handler = on_end };
	bool cases = true;
	int opt;

	config.seed = 1;
	config.self = self;
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 2;
	if (argc > 1 && !strcmp(argv[1], "--helper"))
		return process_helper(argc, argv);
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 's':
			config.seed = number(optarg);
			break;
		case 'b':
			batches = number(optarg);
			break;
		case 'n':
			steps = number(optarg);
			break;
		case 'u':
			bulk = number(optarg);
			break;
		case 'C':
			cases = false;
			break;
		case 'c':
			only = optarg;
			batches = bulk = 0;
			break;
		case 'N':
			if (nots < NOT_MAX)
				not[nots++] = optarg;
			break;
		case 'e':
			config.exact = true;
			break;
		case 'U':
			config.no_urgent = true;
			break;
		case 'l':
			listing = true;
			batches = bulk = 0;
			break;
		case 'v':
			config.verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	config.port = getenv("STACKMAP_PORTS") && *getenv("STACKMAP_PORTS");
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGABRT, &sa, NULL);
	sa.sa_handler = on_pipe;
	sa.sa_flags = SA_RESTART;
	sigaction(SIGPIPE, &sa, NULL);
	last = ms_now();
	if (!listing)
		printf("# %s\n", config.port ? "with a port" : getenv("LD_PRELOAD") ? "without a port" : "plain");
	if (cases) {
		process_all(report);
		run_cases(driver_cases);
	}
	if (!listing)
		pump_open();
	if (cases) {
		run_cases(bytes_cases);
		run_cases(event_cases);
		run_cases(end_cases);
		run_cases(connect_cases);
		run_cases(fd_cases);
		run_cases(poll_cases);
		run_cases(polled_cases);
		run_cases(full_cases);
		run_cases(signal_cases);
		run_cases(thread_cases);
	}
	for (i = 0; i < batches; i++) {
		uint64_t seed = config.seed + i;
		bool ok;

		/* Every other one syncs before each operation, so that no read gives less than there is */
		where_case = "random operations";
		ok = random_batch(seed, steps, !(seed & 1));
		report(ok, "%u random operations, --seed %llu", steps, (unsigned long long)seed);
	}
	if (batches && config.port) {
		printf("# attached in %u of %u operations\n", fast_share.fast, fast_share.in_set);
		report(fast_share.fast * 3 > fast_share.in_set, "the fast side was fast mostly");
	}
	for (i = 0; i < bulk; i++) {
		where_case = "large transfers";
		alarm(120);
		report(bulk_run(config.seed, i), "large transfers, --seed %llu, the %u%s",
		       (unsigned long long)config.seed, i, i == 1 ? "st" : i == 2 ? "nd" : i == 3 ? "rd" : "th");
	}
	last_test = true;
	if (cases)
		run_cases(last_cases);
	if (listing)
		return 0;
	if (extra_edges)
		printf("# %lu edges that the kernel does not tell\n", extra_edges);
	printf("1..%u\n", tests);
	return failed ? 1 : 0;
}
