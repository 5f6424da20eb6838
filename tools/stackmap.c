// SPDX-License-Identifier: GPL-2.0
/*
 * stackmap.c - the stackmap command: shows ports, changes the driver of a NIC, looks for what is missing
 */
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <stackmap/stackmap.h>
#include <stackmap_version.h>

#include "bind.h"
#include "doctor/doctor.h"
#include "json.h"
#include "ports.h"
#include "run.h"

static const char usage[] =
	"Usage: stackmap list\n"
	"       stackmap stats [--json] [-n SECONDS]\n"
	"       stackmap bind|unbind DEVICE\n"
	"       stackmap doctor [--json] [IFACE...]\n"
	"       stackmap run [OPTION...] PROGRAM [ARGUMENT...]\n"
	"       stackmap ports [OPTION...]\n"
	"Show the ports of this network namespace: which program owns which queue of a NIC.\n"
	"Give a virtio NIC to the module's own driver, or back to the kernel's.\n"
	"Find out what this machine lacks for owning NICs, and what would make it faster.\n"
	"\n"
	"  list                  one line a port\n"
	"  stats                 the counters of each port\n"
	"    -j, --json          as a JSON object; with --watch one a line\n"
	"    -n, --watch SECONDS again and again; not as JSON: what was counted meanwhile\n"
	"  bind DEVICE           the NIC (eth0, or virtio1) receives into the port's own buffers\n"
	"  unbind DEVICE         it is an ordinary NIC again\n"
	"  doctor [IFACE...]     line by line what works and what does not, with the remedy\n"
	"    -j, --json          as a JSON object\n"
	"  run PROGRAM           an unmodified program on a NIC of its own: see stackmap run --help\n"
	"  ports                 for programs in a sandbox, by systemd: see stackmap ports --help\n"
	"  -h, --help            show this\n"
	"  -V, --version         show the version\n";

/* The counters, in the order of struct stackmap_stats; now: not counted but held at the moment */
static const struct counter {
	const char *name;
	size_t at;
	bool now;
	const char *about;
} counters[] = {
#define COUNTER(name, now, about) { #name, offsetof(struct stackmap_stats, name), now, about }
	COUNTER(syncs, false, "sync calls"),
	COUNTER(empty_syncs, false, "which sent and delivered nothing"),
	COUNTER(nic_polls, false, "polls of the NIC"),
	COUNTER(nic_packets, false, "packets these received"),
	COUNTER(rx_slots, false, "slots received"),
	COUNTER(rx_copied_bytes, false, "bytes received by copying"),
	COUNTER(rx_handed_bytes, false, "bytes received without"),
	COUNTER(rx_full, false, "syncs that found the receive ring full"),
	COUNTER(tx_slots, false, "slots sent"),
	COUNTER(tx_copied_bytes, false, "bytes sent by copying"),
	COUNTER(tx_handed_bytes, false, "bytes sent without"),
	COUNTER(tx_refused, false, "slots refused, as TCP had no room"),
	COUNTER(tx_bad, false, "slots refused for an error"),
	COUNTER(sleeps, false, "times the owner went to sleep"),
	COUNTER(stalls, false, "times it did not sync for too long"),
	COUNTER(sockets, true, "sockets attached"),
	COUNTER(frames_user, true, "buffers held by the application"),
	COUNTER(frames_pool, true, "buffers idle"),
	COUNTER(frames_flight, true, "buffers sent, not yet acknowledged"),
	COUNTER(frames_nic, true, "buffers held by the NIC"),
#undef COUNTER
};

#define COUNTERS (sizeof(counters) / sizeof(*counters))

static uint64_t value(const struct stackmap_stats *stats, const struct counter *counter)
{
	uint64_t v;

	memcpy(&v, (const char *)stats + counter->at, sizeof(v));
	return v;
}

/* Receive slots per sync that did something */
static double batch(const struct stackmap_stats *stats)
{
	uint64_t syncs = stats->syncs - stats->empty_syncs;

	return syncs ? (double)stats->rx_slots / (double)syncs : 0;
}

static const char *nic_name(uint32_t nic)
{
	switch (nic) {
	case STACKMAP_NIC_NAPI:
		return "napi";
	case STACKMAP_NIC_VIRTIO:
		return "virtio";
	default:
		return "unknown";
	}
}

/* The interface's name, or its number if it is gone */
static const char *if_name(uint32_t ifindex, char buf[static IF_NAMESIZE])
{
	if (!if_indextoname(ifindex, buf))
		snprintf(buf, IF_NAMESIZE, "if%u", ifindex);
	return buf;
}

/* The name of the owner's program, or "?" */
static const char *program(int pid, char buf[static 32])
{
	char path[32];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(buf, 32, f))
		strcpy(buf, "?");
	if (f)
		fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
	return buf;
}

/* To a terminal, a name must not say more than it is */
static void print_name(const char *name)
{
	for (; *name; name++)
		putchar(*name > ' ' && *name < 127 ? *name : '?');
}

/* Returns 1 with a port, 0 past the last, -1 and has said why */
static int port_info(unsigned int index, struct stackmap_info *info)
{
	if (!stackmap_stats(index, info))
		return 1;
	if (errno == ENOENT && !access(STACKMAP_DEVICE, F_OK))
		return 0;
	fprintf(stderr, "stackmap: %s\n", stackmap_open_hint(errno));
	return -1;
}

static void print_port(const struct stackmap_info *info)
{
	char name[IF_NAMESIZE], comm[32];

	print_name(if_name(info->ifindex, name));
	printf(" queue %u  nic %s  pid %d (", info->queue, nic_name(info->nic), info->pid);
	print_name(program(info->pid, comm));
	putchar(')');
}

static int list(void)
{
	struct stackmap_info info;
	unsigned int i;
	int ret;

	for (i = 0; (ret = port_info(i, &info)) > 0; i++) {
		print_port(&info);
		printf("  sockets %llu  slots %u/%u  buffers %u\n",
		       (unsigned long long)info.stats.sockets, info.rx_slots, info.tx_slots,
		       info.frames);
	}
	return ret;
}

static void print_counters(const struct stackmap_info *info)
{
	size_t i;

	print_port(info);
	printf("\n  slots %u receive, %u transmit; buffers %u: %u extra, %u pool; stall %u us\n",
	       info->rx_slots, info->tx_slots, info->frames, info->extra_bufs, info->pool_bufs,
	       info->stall_us);
	for (i = 0; i < COUNTERS; i++)
		printf("  %-16s %16llu  %s\n", counters[i].name,
		       (unsigned long long)value(&info->stats, &counters[i]), counters[i].about);
	printf("  %-16s %16.2f  slots received per sync that was not empty\n", "average_batch",
	       batch(&info->stats));
}

static json_t *port_json(const struct stackmap_info *info)
{
	char name[IF_NAMESIZE], comm[32];
	json_t *stats = json_object();
	size_t i;

	for (i = 0; i < COUNTERS; i++)
		json_object_set_new(stats, counters[i].name, json_integer(value(&info->stats, &counters[i])));
	/* Two digits */
	json_object_set_new(stats, "average_batch", json_real((double)(long)(batch(&info->stats) * 100 + 0.5) / 100));
	return json_pack("{s:o,s:i,s:i,s:s,s:i,s:o,s:i,s:i,s:i,s:i,s:i,s:i,s:o}",
			 "interface", json_text(if_name(info->ifindex, name)), "ifindex", info->ifindex,
			 "queue", info->queue, "nic", nic_name(info->nic), "pid", info->pid,
			 "program", json_text(program(info->pid, comm)), "rx_ring_slots", info->rx_slots,
			 "tx_ring_slots", info->tx_slots, "extra_bufs", info->extra_bufs, "pool_bufs", info->pool_bufs,
			 "stall_us", info->stall_us, "frames", info->frames, "stats", stats);
}

static int stats_json(void)
{
	json_t *ports = json_array(), *all;
	struct stackmap_info info;
	unsigned int i;
	int ret;

	for (i = 0; (ret = port_info(i, &info)) > 0; i++) {
		if (json_array_append_new(ports, port_json(&info))) {
			fputs("stackmap: out of memory\n", stderr);
			ret = -1;
			break;
		}
	}
	all = json_pack("{s:I,s:o}", "time", (json_int_t)time(NULL), "ports", ports);
	if (!ret && !json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15)))
		putchar('\n');
	json_decref(all);
	return ret;
}

/* All ports, now */
static int stats(void)
{
	struct stackmap_info info;
	unsigned int i;
	int ret;

	ret = port_info(0, &info);
	if (!ret)
		puts("no ports in this network namespace");
	for (i = 0; ret > 0; ret = port_info(++i, &info)) {
		if (i)
			putchar('\n');
		print_counters(&info);
	}
	return ret;
}

/* What stats said at the last look at a port */
struct look {
	struct stackmap_info *infos;
	unsigned int count;
	unsigned int cap;
};

static struct stackmap_info *find(const struct look *look, const struct stackmap_info *info)
{
	unsigned int i;

	for (i = 0; i < look->count; i++) {
		struct stackmap_info *before = &look->infos[i];

		if (before->ifindex == info->ifindex && before->queue == info->queue &&
		    before->pid == info->pid && before->stats.syncs <= info->stats.syncs)
			return before;
	}
	return NULL;
}

static int look_again(struct look *look)
{
	int ret;

	for (look->count = 0;; look->count++) {
		if (look->count == look->cap) {
			unsigned int cap = 2 * look->cap + 4;
			void *infos = realloc(look->infos, cap * sizeof(*look->infos));

			if (!infos) {
				fputs("stackmap: out of memory\n", stderr);
				return -1;
			}
			look->infos = infos;
			look->cap = cap;
		}
		ret = port_info(look->count, &look->infos[look->count]);
		if (ret <= 0)
			return ret;
	}
}

/* What a port did since it was looked at last, in a line */
static void print_change(const struct stackmap_info *info, const struct stackmap_info *before,
			 double seconds)
{
	struct stackmap_stats diff = info->stats;
	char name[IF_NAMESIZE];
	size_t i;

	for (i = 0; before && i < COUNTERS; i++) {
		uint64_t v = value(&info->stats, &counters[i]);

		if (!counters[i].now)
			v -= value(&before->stats, &counters[i]);
		memcpy((char *)&diff + counters[i].at, &v, sizeof(v));
	}
	print_name(if_name(info->ifindex, name));
	printf(":%u %8llu %10.0f %10.0f %10.0f %8.2f %10.2f %10.2f %8llu %6llu %6llu %6llu %6llu\n",
	       info->queue, (unsigned long long)diff.sockets,
	       (double)(diff.syncs - diff.empty_syncs) / seconds,
	       (double)diff.rx_slots / seconds, (double)diff.tx_slots / seconds, batch(&diff),
	       (double)(diff.rx_copied_bytes + diff.rx_handed_bytes) / 1e6 / seconds,
	       (double)(diff.tx_copied_bytes + diff.tx_handed_bytes) / 1e6 / seconds,
	       (unsigned long long)diff.tx_refused,
	       (unsigned long long)diff.frames_user, (unsigned long long)diff.frames_pool,
	       (unsigned long long)diff.frames_flight, (unsigned long long)diff.frames_nic);
}

static int watch(double seconds, bool json)
{
	struct timespec wait = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
	struct look before = { 0 }, now = { 0 };
	unsigned int lines, i;
	int ret;

	if (json) {
		while (!(ret = stats_json()) && !fflush(stdout))
			nanosleep(&wait, NULL);
		return ret ? ret : -1;
	}
	ret = look_again(&before);
	for (lines = 0; !ret && !fflush(stdout); lines++) {
		struct look swap;

		nanosleep(&wait, NULL);
		ret = look_again(&now);
		if (ret)
			break;
		if (lines % 20 == 0)
			puts("port    sockets    syncs/s  rx slot/s  tx slot/s    batch    rx MB/s"
			     "    tx MB/s  refused   user   pool flight    nic");
		if (!now.count)
			puts("no ports");
		for (i = 0; i < now.count; i++)
			print_change(&now.infos[i], find(&before, &now.infos[i]), seconds);
		swap = before;
		before = now;
		now = swap;
	}
	free(before.infos);
	free(now.infos);
	return -1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "watch", required_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "sysroot", required_argument, NULL, 'R' },	/* doctor's tests */
		{ 0 }
	};
	const char *command, *root = "";
	double seconds = 0;
	bool json = false;
	char *end;
	int opt, ret;

	if (argc > 1 && !strcmp(argv[1], "run"))
		return run_program(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "ports"))
		return ports_pass(argc - 1, argv + 1);
	while ((opt = getopt_long(argc, argv, ":jn:hV", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'n':
			seconds = strtod(optarg, &end);
			if (end == optarg || *end || !(seconds >= 0.1 && seconds <= 1e6)) {
				fprintf(stderr, "stackmap: --watch takes seconds from 0.1 to 1000000,"
					" not '%s'\n", optarg);
				return 2;
			}
			break;
		case 'R':
			root = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts("stackmap " STACKMAP_VERSION);
			return 0;
		case ':':
			fprintf(stderr, "stackmap: %s needs a value: see --help\n", argv[optind - 1]);
			return 2;
		default:
			fprintf(stderr, "stackmap: no option '%s': see --help\n", argv[optind - 1]);
			return 2;
		}
	}
	command = optind < argc ? argv[optind] : "";
	if (!strcmp(command, "bind") || !strcmp(command, "unbind")) {
		if (json || seconds || optind + 2 != argc) {
			fprintf(stderr, "stackmap: %s takes the name of one device: see --help\n",
				command);
			return 2;
		}
		return bind_device(argv[optind + 1], *command == 'b') ? 1 : 0;
	}
	if (!strcmp(command, "doctor")) {
		if (seconds) {
			fputs("stackmap: doctor looks once: it takes no --watch\n", stderr);
			return 2;
		}
		ret = doctor(argv + optind + 1, argc - optind - 1, json, root);
		goto out;
	}
	if (*root) {
		fputs("stackmap: --sysroot is for doctor\n", stderr);
		return 2;
	}
	if (optind + 1 < argc) {
		fprintf(stderr, "stackmap: unexpected argument '%s': see --help\n",
			argv[optind + 1]);
		return 2;
	}
	if (!strcmp(command, "list") && !json && !seconds) {
		ret = list();
	} else if (!strcmp(command, "stats")) {
		ret = seconds ? watch(seconds, json) : json ? stats_json() : stats();
	} else if (!strcmp(command, "list")) {
		fputs("stackmap: list takes no options: did you mean stats?\n", stderr);
		return 2;
	} else {
		fprintf(stderr, *command ? "stackmap: no command '%s': see --help\n" :
			"stackmap: which command%s? See --help\n", command);
		return 2;
	}
	ret = ret ? 1 : 0;
out:
	if (fflush(stdout) || ferror(stdout)) {
		perror("stackmap: writing");
		return 1;
	}
	return ret;
}
