// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - a fuzzer of the ABI: choose a program, run it, see whether the system is well
 *
 *   sm-fuzz [-v] [-s SECONDS] [-S SEED] [-c CORPUS_DIR] [-o NEW_DIR] [-r FILE [-n TIMES]] [-V]
 *
 * With KCOV, programs that reach new code of the module are kept, mutated, and
 * written to NEW_DIR. Without, program number i depends on the seed, i and the
 * corpus only. -r runs one program, -V says that the NIC is on the module's own
 * driver, -v prints each program before it runs.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "mem.h"
#include "net.h"

#define POOL_MAX	4096
#define PROGRAM_MS	3000	/* then it is killed */
#define DIE_MS		20000	/* and is gone by then, or something hangs */
#define IDLE_MS		10000	/* until nobody uses the module */

struct shared *shared;

static struct prog pool[POOL_MAX], cur;
static uint32_t pool_n;
static bool verbose;

static long read_number(const char *path)
{
	FILE *f = fopen(path, "r");
	long n = -1;

	if (f && fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

static long mem_available(void)
{
	return mem_info("MemAvailable") + mem_percpu_free();
}

__attribute__((noreturn)) static void bad(const char *what)
{
	prog_print(&cur);
	prog_write(&cur, "/tmp/fuzz-failed");
	printf("not ok - %s\n", what);
	fflush(stdout);
	exit(1);
}

/* Closed connections that still exchange their last segments keep the module */
static bool orphans_there(void)
{
	static const char *const files[] = { "/proc/net/tcp", "/proc/net/tcp6" };
	unsigned int state, inode;
	bool found = false;
	char line[512];
	FILE *f;
	int i;

	for (i = 0; i < 2; i++) {
		f = fopen(files[i], "r");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "%*s %*s %*s %x %*s %*s %*s %*s %*s %u", &state, &inode) == 2 &&
			    !inode && state != 6 /* TIME_WAIT */ && state != 3 /* SYN_RECV */)
				found = true;
		if (f)
			fclose(f);
	}
	return found;
}

/* Nothing of the module is in use when nobody is there */
static bool module_is_idle(void)
{
	struct patience p = patience_of(IDLE_MS);
	int sv[2];

	do {
		if (read_number("/sys/module/stackmap/refcnt") <= 0)
			return true;
		/* Descriptors in a cycle of UNIX sockets wait for another one's end */
		if (!socketpair(AF_UNIX, SOCK_STREAM, 0, sv)) {
			close(sv[0]);
			close(sv[1]);
		}
	} while (still(&p));
	return orphans_there();
}

static void run(uint64_t seed)
{
	static long taint = -1;
	double t[4];
	pid_t pid;

	if (taint < 0)
		taint = read_number("/proc/sys/kernel/tainted");
	if (verbose)
		prog_print(&cur);
	fflush(stdout);
	t[0] = mono();
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		exec_prog(&cur, seed);
	}
	setpgid(pid, pid);
	if (!ends_in(pid, PROGRAM_MS)) {
		kill(-pid, SIGCONT);
		kill(-pid, SIGKILL);
		if (!ends_in(pid, DIE_MS)) {
			show_stuck(pid);
			bad("a program cannot be killed");
		}
	}
	t[1] = mono();
	if (!group_dies_in(pid, DIE_MS)) {
		show_stuck(pid);
		bad("a child of a program cannot be killed");
	}
	t[2] = mono();
	if (!module_is_idle())
		bad("the module is still in use after a program");
	t[3] = mono();
	/* An unsigned module, and one out of the tree, taint too */
	if (read_number("/proc/sys/kernel/tainted") != taint)
		bad("the kernel is tainted");
	if (shared->nic_dirty || shared->module_dirty) {
		nic_restore();
		kcov_module();
	}
	if (verbose)
		printf("took: %.2f s, %.2f s to die, %.2f s to be idle, %.2f s to restore\n", t[1] - t[0],
		       t[2] - t[1], t[3] - t[2], mono() - t[3]);
}

static void load(const char *dir)
{
	struct dirent **names;
	char path[512];
	int i, n = scandir(dir, &names, NULL, alphasort);

	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
		if (names[i]->d_name[0] != '.' && pool_n < POOL_MAX && prog_read(&pool[pool_n], path))
			pool_n++;
	}
}

static void choose(uint64_t number, uint64_t seed)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15 + number;

	pick(&state);
	if (number < pool_n) {
		cur = pool[number];
	} else if (!pool_n || pick(&state) % 3 == 0) {
		prog_random(&cur, &state);
	} else {
		cur = pool[pick(&state) % pool_n];
		prog_mutate(&cur, &pool[pick(&state) % pool_n], &state);
	}
}

static void keep(const char *dir, uint64_t number)
{
	char path[512];

	if (pool_n < POOL_MAX)
		pool[pool_n++] = cur;
	if (dir) {
		snprintf(path, sizeof(path), "%s/%06llu", dir, (unsigned long long)number);
		prog_write(&cur, path);
	}
}

int main(int argc, char **argv)
{
	const char *corpus = NULL, *out = NULL, *replay = NULL;
	uint64_t seed = time(NULL), i = 0, times = 20, first = 0;
	int seconds = 60, opt;
	bool virtio = false;
	double end, told;
	long mem;

	while ((opt = getopt(argc, argv, "vVs:S:c:o:r:n:f:")) != -1) {
		switch (opt) {
		case 'v': verbose = true; break;
		case 'V': virtio = true; break;
		case 's': seconds = atoi(optarg); break;
		case 'S': seed = strtoull(optarg, NULL, 0); break;
		case 'c': corpus = optarg; break;
		case 'o': out = optarg; break;
		case 'r': replay = optarg; break;
		case 'n': times = strtoull(optarg, NULL, 0); break;
		case 'f': first = strtoull(optarg, NULL, 0); break;
		default: return 2;
		}
	}
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	nic_init(virtio);
	kcov_init();
	if (corpus)
		load(corpus);
	printf("# seed %llu, %u programs in the corpus, %s\n", (unsigned long long)seed, pool_n,
	       kcov_there() ? "guided by KCOV" : "no KCOV: random");
	fflush(stdout);
	if (replay) {
		if (!prog_read(&cur, replay))
			return 2;
		for (i = 0; i < times; i++)
			run(seed + i);
		printf("%s - the program ran %llu times\n", nic_works() ? "ok" : "not ok", (unsigned long long)times);
		return 0;
	}
	told = mono();
	end = told + seconds;
	mem = 0;
	for (i = first; mono() < end; i++) {
		choose(i, seed);
		run(seed + i);
		if (kcov_new() && i >= pool_n)
			keep(out, i);
		if (i == first + 50)
			mem = mem_available();
		if (i % 100 == 99 && !nic_works()) {
			show_stuck(0);
			bad("the NIC does not work any more");
		}
		if (mono() > told + 20) {
			told = mono();
			printf("# %llu programs, %llu calls, %llu with success, %u places of the module, %u kept, %ld kB available\n",
			       (unsigned long long)i + 1, (unsigned long long)shared->calls,
			       (unsigned long long)shared->ok, kcov_total(), pool_n, mem_available());
			fflush(stdout);
		}
	}
	if (!nic_works())
		bad("the NIC does not work any more");
	usleep(2000000);
	printf("# %llu programs, %llu calls, %llu with success, %u places of the module reached\n",
	       (unsigned long long)i, (unsigned long long)shared->calls, (unsigned long long)shared->ok,
	       kcov_total());
	printf("# memory available: %ld kB, %ld kB after 50 programs\n", mem_available(), mem);
	if (mem && mem - mem_available() > 64 << 10)
		bad("memory was lost");
	printf("ok - fuzzed for %d s, seed %llu\n", seconds, (unsigned long long)seed);
	return 0;
}
