// SPDX-License-Identifier: GPL-2.0
/*
 * metrics.c - stackmap metrics: ports, in the text format of Prometheus
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/ has it. Names and labels stay as they are;
 * units are the base ones: seconds, bytes. A counter begins anew with its port, as those of a process do.
 */
#include "metrics.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "look.h"

static const char usage[] =
	"Usage: stackmap metrics [OPTION...]\n"
	"Print the counters of all ports of this network namespace as metrics for Prometheus.\n"
	"\n"
	"  -t, --textfile FILE       replace FILE (*.prom), for node_exporter's textfile collector\n"
	"  -l, --listen [ADDR:]PORT  answer GET /metrics there (127.0.0.1) until it is ended\n"
	"  -h, --help                show this\n";

struct out {
	FILE *f;
	const struct look *look;
};

static void about(const struct out *o, const char *name, const char *type, const char *help)
{
	fprintf(o->f, "# HELP stackmap_%s %s\n# TYPE stackmap_%s %s\n", name, help, name, type);
}

/* The labels that name a port, without the brace behind them */
static void labels(const struct out *o, const char *name, const char *suffix, const struct stackmap_info *info)
{
	char ifname[IF_NAMESIZE];
	const char *p;

	fprintf(o->f, "stackmap_%s%s{interface=\"", name, suffix);
	for (p = plain_name((char *)if_name(info->ifindex, ifname)); *p; p++)
		fprintf(o->f, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
	fprintf(o->f, "\",queue=\"%u\"", info->queue);
}

/* The value that a metric has for a port */
typedef double get_fn(const struct stackmap_detail *d, size_t arg);

static void one(const struct out *o, const char *name, const char *type, const char *help, get_fn *get, size_t arg)
{
	unsigned int i;

	about(o, name, type, help);
	for (i = 0; i < o->look->count; i++) {
		labels(o, name, "", &o->look->ports[i].info);
		fprintf(o->f, "} %.17g\n", get(&o->look->ports[i], arg));
	}
}

static double get_u64(const struct stackmap_detail *d, size_t at)
{
	__u64 v;

	memcpy(&v, (const char *)d + at, sizeof(v));
	return (double)v;
}

static double get_u32(const struct stackmap_detail *d, size_t at)
{
	__u32 v;

	memcpy(&v, (const char *)d + at, sizeof(v));
	return (double)v;
}

static double get_seconds(const struct stackmap_detail *d, size_t at)
{
	return get_u64(d, at) / 1e9;
}

/* By reason: the elements of an array at @at */
static void by_reason(const struct out *o, const char *name, const char *help, const char *const names[], size_t at,
		      const char *more)
{
	unsigned int i;
	size_t k;

	if (help)
		about(o, name, "counter", help);
	for (i = 0; i < o->look->count; i++) {
		for (k = 0; names[k]; k++) {
			labels(o, name, "", &o->look->ports[i].info);
			fprintf(o->f, "%s,reason=\"%s\"} %.17g\n", more, names[k],
				get_u64(&o->look->ports[i], at + k * sizeof(__u64)));
		}
	}
}

/* @bound: of a bucket, its upper end; the last has none */
static void histogram(const struct out *o, const char *name, const char *help, size_t at, size_t buckets,
		      double (*bound)(size_t), get_fn *sum, size_t sum_at)
{
	unsigned int i;
	size_t k;

	about(o, name, "histogram", help);
	for (i = 0; i < o->look->count; i++) {
		const struct stackmap_detail *d = &o->look->ports[i];
		double n = 0;

		for (k = 0; k < buckets; k++) {
			n += get_u64(d, at + k * sizeof(__u64));
			labels(o, name, "_bucket", &d->info);
			if (k + 1 < buckets)
				fprintf(o->f, ",le=\"%.12g\"} %.17g\n", bound(k), n);
			else
				fprintf(o->f, ",le=\"+Inf\"} %.17g\n", n);
		}
		labels(o, name, "_sum", &d->info);
		fprintf(o->f, "} %.17g\n", sum(d, sum_at));
		labels(o, name, "_count", &d->info);
		fprintf(o->f, "} %.17g\n", n);
	}
}

/* Less than 2^(10 + i) ns, of whole nanoseconds */
static double time_bound(size_t i)
{
	return (double)((1024ull << i) - 1) / 1e9;
}

static double batch_bound(size_t i)
{
	return (double)((2ull << i) - 1);
}

#define DETAIL(field)	offsetof(struct stackmap_detail, field)
#define STATS(field)	(DETAIL(info.stats) + offsetof(struct stackmap_stats, field))

static void print(const struct out *o)
{
	unsigned int i;

	about(o, "port_info", "gauge", "A port: a queue of an interface that a program owns. Always 1.");
	for (i = 0; i < o->look->count; i++) {
		const struct stackmap_info *info = &o->look->ports[i].info;
		char comm[32];
		char *p;

		labels(o, "port_info", "", info);
		program_name(info->pid, comm);
		fprintf(o->f, ",nic=\"%s\",pid=\"%d\",program=\"", nic_name(info->nic), info->pid);
		for (p = plain_name(comm); *p; p++)
			fprintf(o->f, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
		fputs("\"} 1\n", o->f);
	}
	one(o, "sockets", "gauge", "Sockets attached.", get_u64, STATS(sockets));
	one(o, "memory_bytes", "gauge", "Memory that the port has pinned.", get_u64, DETAIL(memory));
	about(o, "buffers", "gauge", "Buffers by who has them.");
	for (i = 0; i < o->look->count; i++) {
		static const struct { const char *who; size_t at; } holders[] = {
			{ "user", STATS(frames_user) }, { "pool", STATS(frames_pool) },
			{ "flight", STATS(frames_flight) }, { "nic", STATS(frames_nic) },
		};
		size_t k;

		for (k = 0; k < sizeof(holders) / sizeof(*holders); k++) {
			labels(o, "buffers", "", &o->look->ports[i].info);
			fprintf(o->f, ",holder=\"%s\"} %.17g\n", holders[k].who,
				get_u64(&o->look->ports[i], holders[k].at));
		}
	}
	one(o, "sockets_ready", "gauge", "Sockets that have something to deliver (1024 or more: 1024).", get_u32, DETAIL(ready));
	one(o, "rx_waiting_slots", "gauge", "Receive slots that the program has not gone past.", get_u32, DETAIL(rx_waiting));
	one(o, "tx_waiting_slots", "gauge", "Transmit slots committed and not synced.", get_u32, DETAIL(tx_waiting));

	one(o, "empty_syncs_total", "counter", "Syncs that sent and delivered nothing.", get_u64, STATS(empty_syncs));
	one(o, "nic_polls_total", "counter", "Polls of the NIC by syncs.", get_u64, STATS(nic_polls));
	one(o, "nic_packets_total", "counter", "Packets that these received.", get_u64, STATS(nic_packets));
	one(o, "rx_slots_total", "counter", "Receive slots delivered: payload and events.", get_u64, STATS(rx_slots));
	one(o, "tx_slots_total", "counter", "Transmit slots seen.", get_u64, STATS(tx_slots));
	one(o, "tx_segments_total", "counter", "Segments that TCP sent from within writes of syncs.", get_u64, DETAIL(tx_segments));
	one(o, "rx_full_total", "counter", "Syncs that found the receive ring full.", get_u64, STATS(rx_full));
	about(o, "handed_bytes_total", "counter", "Payload that was not copied.");
	for (i = 0; i < o->look->count; i++) {
		labels(o, "handed_bytes_total", "", &o->look->ports[i].info);
		fprintf(o->f, ",direction=\"rx\"} %.17g\n", get_u64(&o->look->ports[i], STATS(rx_handed_bytes)));
		labels(o, "handed_bytes_total", "", &o->look->ports[i].info);
		fprintf(o->f, ",direction=\"tx\"} %.17g\n", get_u64(&o->look->ports[i], STATS(tx_handed_bytes)));
	}
	by_reason(o, "copied_bytes_total", "Payload that was copied, and why.", rx_copy_names, DETAIL(rx_copied),
		  ",direction=\"rx\"");
	by_reason(o, "copied_bytes_total", NULL, tx_copy_names, DETAIL(tx_copied), ",direction=\"tx\"");
	by_reason(o, "refused_slots_total", "Transmit slots that were refused, and why.", refused_names, DETAIL(refused), "");
	one(o, "claims_total", "counter", "Times the NIC was taken from its interrupts.", get_u64, DETAIL(claims));
	one(o, "unclaimed_rounds_total", "counter", "Rounds of syncs in which the NIC could not be had.", get_u64,
	    DETAIL(unclaimed));
	by_reason(o, "releases_total", "Times the NIC was given back to its interrupts, and why.", released_names,
		  DETAIL(released), "");
	one(o, "stalls_total", "counter", "Times the owner did not sync for too long, or slept elsewhere.", get_u64, STATS(stalls));
	one(o, "early_slots_total", "counter", "Transmit slots sent as the owner stalled.", get_u64, DETAIL(early_slots));
	one(o, "wait_seconds_total", "counter", "Time in syncs that waited for packets in vain.", get_seconds, DETAIL(wait_ns));
	histogram(o, "sync_seconds", "How long syncs took, waiting included.", DETAIL(sync_times), STACKMAP_TIMES,
		  time_bound, get_seconds, DETAIL(sync_ns));
	histogram(o, "away_seconds", "How long it was from one sync to the next.", DETAIL(away_times), STACKMAP_TIMES,
		  time_bound, get_seconds, DETAIL(away_ns));
	histogram(o, "batch_slots", "Receive slots that a sync delivered, if any.", DETAIL(batches), STACKMAP_BATCHES,
		  batch_bound, get_u64, STATS(rx_slots));
}

char *metrics_text(size_t *len)
{
	struct look look = { 0 };
	struct out o = { .look = &look };
	char *text = NULL;
	int err = -1;

	if (look_again(&look))
		goto out;
	o.f = open_memstream(&text, len);
	if (o.f) {
		print(&o);
		err = ferror(o.f);
		err |= fclose(o.f);
	}
	if (err)
		look_failed("out of memory");
out:
	look_free(&look);
	if (!err)
		return text;
	free(text);
	return NULL;
}

/* Whoever reads @path has the old text or the new one */
static int replace(const char *path, const char *text, size_t len)
{
	char tmp[PATH_MAX];
	FILE *f;
	int bad;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.%d", path, (int)getpid()) >= sizeof(tmp)) {
		fprintf(stderr, "stackmap metrics: %s: %s\n", path, strerror(ENAMETOOLONG));
		return -1;
	}
	f = fopen(tmp, "we");
	bad = !f || fwrite(text, 1, len, f) != len;
	bad |= f && fclose(f);
	bad = bad || rename(tmp, path);
	if (bad) {
		fprintf(stderr, "stackmap metrics: %s: %s\n", path, strerror(errno));
		unlink(tmp);
	}
	return bad ? -1 : 0;
}

int metrics(int argc, char **argv)
{
	static const struct option options[] = {
		{ "textfile", required_argument, NULL, 't' },
		{ "listen", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	const char *path = NULL, *where = NULL;
	size_t len = 0;
	char *text;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, ":t:l:h", options, NULL)) != -1) {
		switch (opt) {
		case 't':
			path = optarg;
			break;
		case 'l':
			where = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case ':':
			fprintf(stderr, "stackmap metrics: %s needs a value: see --help\n", argv[optind - 1]);
			return 2;
		default:
			fprintf(stderr, "stackmap metrics: no option '%s': see --help\n", argv[optind - 1]);
			return 2;
		}
	}
	if (optind < argc || (path && where)) {
		fprintf(stderr, "stackmap metrics: %s: see --help\n",
			optind < argc ? argv[optind] : "either --textfile or --listen");
		return 2;
	}
	if (where)
		return metrics_listen(where);
	text = metrics_text(&len);
	if (!text)
		return 1;
	if (path)
		ret = replace(path, text, len);
	else
		ret = fwrite(text, 1, len, stdout) == len ? 0 : -1;
	free(text);
	return ret ? 1 : 0;
}
