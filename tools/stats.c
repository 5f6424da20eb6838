// SPDX-License-Identifier: GPL-2.0
/*
 * stats.c - stackmap list and stats: ports as lines, and as JSON
 */
#include "stats.h"

#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "look.h"

static void print_port(const struct stackmap_info *info)
{
	char name[IF_NAMESIZE], comm[32];

	if_name(info->ifindex, name);
	program_name(info->pid, comm);
	printf("%s queue %u  nic %s  pid %d (%s)", plain_name(name), info->queue, nic_name(info->nic), info->pid,
	       plain_name(comm));
}

int stats_list(void)
{
	struct stackmap_detail d;
	unsigned int i;
	int ret;

	for (i = 0; (ret = look_port(i, &d)) > 0; i++) {
		print_port(&d.info);
		printf("  sockets %llu  slots %u/%u  buffers %u\n",
		       (unsigned long long)d.info.stats.sockets, d.info.rx_slots, d.info.tx_slots,
		       d.info.frames);
	}
	return ret;
}

/* Those of an array that are not 0, in a line of their own */
static void print_reasons(const char *what, const char *unit, const char *const names[], const __u64 *n)
{
	bool any = false;
	size_t i;

	for (i = 0; names[i]; i++) {
		if (!n[i])
			continue;
		printf("%s%s %llu", any ? ", " : what, names[i], (unsigned long long)n[i]);
		any = true;
	}
	if (any)
		printf("%s\n", unit);
}

static void print_times(const char *what, const __u64 times[STACKMAP_TIMES])
{
	uint64_t half = look_quantile(times, 0.5), most = look_quantile(times, 0.99);

	if (half)
		printf("  %-16s half of them less than %.3g us, 99 %% less than %.3g us\n", what, (double)half / 1e3,
		       (double)most / 1e3);
}

/* A large one has a number for each page, the others have one */
static uint32_t buffers(const struct stackmap_info *info)
{
	return info->frames - info->large_bufs * (info->large_size / (uint32_t)sysconf(_SC_PAGESIZE)) + info->large_bufs;
}

static void print_counters(const struct stackmap_detail *d)
{
	const struct stackmap_info *info = &d->info;
	size_t i;

	print_port(info);
	printf("\n  slots %u receive, %u transmit; buffers %u: %u extra, %u pool; stall %u us\n",
	       info->rx_slots, info->tx_slots, buffers(info), info->extra_bufs, info->pool_bufs,
	       info->stall_us);
	if (info->large_bufs)
		printf("  %u large buffers, of %u bytes\n", info->large_bufs, info->large_size);
	for (i = 0; i < counters_n; i++)
		printf("  %-16s %16llu  %s\n", counters[i].name,
		       (unsigned long long)counter_value(&info->stats, &counters[i]), counters[i].about);
	printf("  %-16s %16.2f  slots received per sync that was not empty\n", "average_batch",
	       look_batch(&info->stats));
	print_reasons("  rx_copied        ", " (bytes; stackmap(8) says why)", rx_copy_names, d->rx_copied);
	print_reasons("  tx_copied        ", " (bytes)", tx_copy_names, d->tx_copied);
	print_reasons("  refused          ", " (slots)", refused_names, d->refused);
	print_reasons("  released         ", " (times)", released_names, d->released);
	print_times("sync_times", d->sync_times);
	print_times("away_times", d->away_times);
	printf("  %-16s %16.1f  %% of the time in syncs, without waiting\n", "busy", 100 * look_busy(d));
	printf("  %-16s %16llu  kB pinned\n", "memory", (unsigned long long)d->memory / 1024);
}

static json_t *reasons_json(const char *const names[], const __u64 *n)
{
	json_t *all = json_object();
	size_t i;

	for (i = 0; names[i]; i++)
		json_object_set_new(all, names[i], json_integer((json_int_t)n[i]));
	return all;
}

static json_t *array_json(const __u64 *n, size_t len)
{
	json_t *all = json_array();
	size_t i;

	for (i = 0; i < len; i++)
		json_array_append_new(all, json_integer((json_int_t)n[i]));
	return all;
}

static json_t *detail_json(const struct stackmap_detail *d)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:i,s:i,s:i,s:I}",
			 "rx_copied", reasons_json(rx_copy_names, d->rx_copied),
			 "tx_copied", reasons_json(tx_copy_names, d->tx_copied),
			 "refused", reasons_json(refused_names, d->refused),
			 "released", reasons_json(released_names, d->released),
			 "claims", (json_int_t)d->claims, "unclaimed", (json_int_t)d->unclaimed,
			 "tx_segments", (json_int_t)d->tx_segments, "early_slots", (json_int_t)d->early_slots,
			 "sync_ns", (json_int_t)d->sync_ns, "wait_ns", (json_int_t)d->wait_ns,
			 "away_ns", (json_int_t)d->away_ns,
			 "sync_times", array_json(d->sync_times, STACKMAP_TIMES),
			 "away_times", array_json(d->away_times, STACKMAP_TIMES),
			 "batches", array_json(d->batches, STACKMAP_BATCHES),
			 "ready", d->ready, "rx_waiting", d->rx_waiting, "tx_waiting", d->tx_waiting,
			 "memory", (json_int_t)d->memory);
}

static json_t *port_json(const struct stackmap_detail *d)
{
	const struct stackmap_info *info = &d->info;
	char name[IF_NAMESIZE], comm[32];
	json_t *stats = json_object();
	size_t i;

	for (i = 0; i < counters_n; i++)
		json_object_set_new(stats, counters[i].name,
				    json_integer((json_int_t)counter_value(&info->stats, &counters[i])));
	/* Two digits */
	json_object_set_new(stats, "average_batch", json_real((double)(long)(look_batch(&info->stats) * 100 + 0.5) / 100));
	return json_pack("{s:o,s:i,s:i,s:s,s:i,s:o,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:o,s:o}",
			 "interface", json_text(if_name(info->ifindex, name)), "ifindex", info->ifindex,
			 "queue", info->queue, "nic", nic_name(info->nic), "pid", info->pid,
			 "program", json_text(program_name(info->pid, comm)), "rx_ring_slots", info->rx_slots,
			 "tx_ring_slots", info->tx_slots, "extra_bufs", info->extra_bufs, "pool_bufs", info->pool_bufs,
			 "stall_us", info->stall_us, "frames", info->frames, "large_bufs", info->large_bufs,
			 "large_size", info->large_size, "stats", stats,
			 "detail", detail_json(d));
}

int stats_json(void)
{
	json_t *ports = json_array(), *all;
	struct stackmap_detail d;
	unsigned int i;
	int ret;

	for (i = 0; (ret = look_port(i, &d)) > 0; i++) {
		if (json_array_append_new(ports, port_json(&d))) {
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
int stats_show(void)
{
	struct stackmap_detail d;
	unsigned int i;
	int ret;

	ret = look_port(0, &d);
	if (!ret)
		puts("no ports in this network namespace");
	for (i = 0; ret > 0; ret = look_port(++i, &d)) {
		if (i)
			putchar('\n');
		print_counters(&d);
	}
	return ret;
}

/* What a port did since it was looked at last, in a line */
static void print_change(const struct stackmap_detail *now, const struct stackmap_detail *before, double seconds)
{
	struct stackmap_detail since = look_since(now, before);
	const struct stackmap_stats *diff = &since.info.stats;
	char name[IF_NAMESIZE];

	if_name(now->info.ifindex, name);
	printf("%s:%u %8llu %10.0f %10.0f %10.0f %8.2f %10.2f %10.2f %8llu %6llu %6llu %6llu %6llu\n",
	       plain_name(name), now->info.queue, (unsigned long long)diff->sockets,
	       (double)(diff->syncs - diff->empty_syncs) / seconds,
	       (double)diff->rx_slots / seconds, (double)diff->tx_slots / seconds, look_batch(diff),
	       (double)(diff->rx_copied_bytes + diff->rx_handed_bytes) / 1e6 / seconds,
	       (double)(diff->tx_copied_bytes + diff->tx_handed_bytes) / 1e6 / seconds,
	       (unsigned long long)diff->tx_refused,
	       (unsigned long long)diff->frames_user, (unsigned long long)diff->frames_pool,
	       (unsigned long long)diff->frames_flight, (unsigned long long)diff->frames_nic);
}

int stats_watch(double seconds, bool json)
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
			print_change(&now.ports[i], look_find(&before, &now.ports[i]), now.at - before.at);
		look_swap(&before, &now);
	}
	look_free(&before);
	look_free(&now);
	return -1;
}
