// SPDX-License-Identifier: GPL-2.0
/*
 * look.c - the ports of this network namespace, and what they have done since they were looked at last
 */
#include "look.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const struct counter counters[] = {
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
const size_t counters_n = sizeof(counters) / sizeof(*counters);

const char *const rx_copy_names[] = {
	[STACKMAP_COPY_HEAD] = "head",
	[STACKMAP_COPY_FOREIGN] = "foreign",
	[STACKMAP_COPY_SHARED] = "shared",
	[STACKMAP_COPY_CREDIT] = "credit",
	[STACKMAP_COPY_FULL] = "full", NULL
};
const char *const tx_copy_names[] = {
	[STACKMAP_COPY_NO_BUFFER] = "no_buffer",
	[STACKMAP_COPY_NO_SG] = "no_sg", NULL
};
const char *const refused_names[] = {
	[STACKMAP_REFUSED_ROOM] = "room",
	[STACKMAP_REFUSED_ORDER] = "order",
	[STACKMAP_REFUSED_LOCKED] = "locked",
	[STACKMAP_REFUSED_MEMORY] = "memory",
	[STACKMAP_REFUSED_NO_BUFFER] = "no_buffer",
	[STACKMAP_REFUSED_EBADF] = "ebadf",
	[STACKMAP_REFUSED_ESTALE] = "estale",
	[STACKMAP_REFUSED_EINVAL] = "einval",
	[STACKMAP_REFUSED_EPIPE] = "epipe",
	[STACKMAP_REFUSED_OTHER] = "other", NULL
};
const char *const released_names[] = {
	[STACKMAP_RELEASED_SLEEP] = "sleep",
	[STACKMAP_RELEASED_STALL] = "stall",
	[STACKMAP_RELEASED_BLOCKED] = "blocked",
	[STACKMAP_RELEASED_WANTED] = "wanted",
	[STACKMAP_RELEASED_DOWN] = "down",
	[STACKMAP_RELEASED_CLOSE] = "close",
	[STACKMAP_RELEASED_SUSPEND] = "suspend", NULL
};

uint64_t counter_value(const struct stackmap_stats *stats, const struct counter *counter)
{
	uint64_t v;

	memcpy(&v, (const char *)stats + counter->at, sizeof(v));
	return v;
}

char *look_say;
size_t look_say_size;

int look_failed(const char *why)
{
	if (look_say)
		snprintf(look_say, look_say_size, "stackmap: %s\n", why);
	else
		fprintf(stderr, "stackmap: %s\n", why);
	return -1;
}

int look_port(unsigned int index, struct stackmap_detail *d)
{
	int ret = stackmap_detail(index, d);

	/* A module that is older than this program */
	if (ret && errno == ENOTTY)
		ret = stackmap_stats(index, &d->info);
	if (!ret)
		return 1;
	if (errno == ENOENT && !access(STACKMAP_DEVICE, F_OK))
		return 0;
	return look_failed(stackmap_open_hint(errno));
}

int look_again(struct look *look)
{
	struct timespec t;
	int ret;

	clock_gettime(CLOCK_MONOTONIC, &t);
	look->at = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	for (look->count = 0;; look->count++) {
		if (look->count == look->cap) {
			unsigned int cap = 2 * look->cap + 4;
			void *ports = realloc(look->ports, cap * sizeof(*look->ports));

			if (!ports)
				return look_failed("out of memory");
			look->ports = ports;
			look->cap = cap;
		}
		ret = look_port(look->count, &look->ports[look->count]);
		if (ret <= 0)
			return ret;
	}
}

/* Another process may have it now; where less is counted of anything it is another port */
static bool has_counted_on(const struct stackmap_detail *before, const struct stackmap_detail *now)
{
	const __u64 *a = before->rx_copied, *b = now->rx_copied;
	size_t i, n = (offsetof(struct stackmap_detail, ready) - offsetof(struct stackmap_detail, rx_copied)) / sizeof(*a);

	for (i = 0; i < n; i++)
		if (a[i] > b[i])
			return false;
	for (i = 0; i < counters_n; i++)
		if (!counters[i].now && counter_value(&before->info.stats, &counters[i]) >
					counter_value(&now->info.stats, &counters[i]))
			return false;
	return true;
}

const struct stackmap_detail *look_find(const struct look *look, const struct stackmap_detail *d)
{
	unsigned int i;

	for (i = 0; i < look->count; i++) {
		const struct stackmap_info *before = &look->ports[i].info;

		if (before->ifindex == d->info.ifindex && before->queue == d->info.queue &&
		    has_counted_on(&look->ports[i], d))
			return &look->ports[i];
	}
	return NULL;
}

static void subtract(__u64 *to, const __u64 *from, size_t n)
{
	while (n--)
		*to++ -= *from++;
}

struct stackmap_detail look_since(const struct stackmap_detail *now, const struct stackmap_detail *before)
{
	struct stackmap_detail d = *now;
	size_t i;

	if (!before)
		return d;
	for (i = 0; i < counters_n; i++) {
		uint64_t v = counter_value(&now->info.stats, &counters[i]);

		if (!counters[i].now)
			v -= counter_value(&before->info.stats, &counters[i]);
		memcpy((char *)&d.info.stats + counters[i].at, &v, sizeof(v));
	}
	/* All between these two are counters of 64 bits */
	i = offsetof(struct stackmap_detail, rx_copied);
	subtract((__u64 *)((char *)&d + i), (const __u64 *)((const char *)before + i),
		 (offsetof(struct stackmap_detail, ready) - i) / sizeof(__u64));
	return d;
}

void look_swap(struct look *a, struct look *b)
{
	struct look swap = *a;

	*a = *b;
	*b = swap;
}

void look_free(struct look *look)
{
	free(look->ports);
	look->ports = NULL;
	look->count = look->cap = 0;
}

double look_batch(const struct stackmap_stats *stats)
{
	uint64_t syncs = stats->syncs - stats->empty_syncs;

	return syncs ? (double)stats->rx_slots / (double)syncs : 0;
}

double look_busy(const struct stackmap_detail *since)
{
	uint64_t all = since->sync_ns + since->away_ns;

	return all && since->wait_ns <= since->sync_ns ? (double)(since->sync_ns - since->wait_ns) / (double)all : 0;
}

double look_copied(const struct stackmap_detail *since)
{
	const struct stackmap_stats *s = &since->info.stats;
	uint64_t copied = s->rx_copied_bytes + s->tx_copied_bytes;
	uint64_t all = copied + s->rx_handed_bytes + s->tx_handed_bytes;

	return all ? (double)copied / (double)all : 0;
}

uint64_t look_quantile(const __u64 times[STACKMAP_TIMES], double share)
{
	uint64_t all = 0, sum = 0;
	int i;

	for (i = 0; i < STACKMAP_TIMES; i++)
		all += times[i];
	for (i = 0; all && i < STACKMAP_TIMES; i++) {
		sum += times[i];
		if ((double)sum >= share * (double)all)
			return 1024ull << i;
	}
	return 0;
}

const char *nic_name(uint32_t nic)
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

const char *if_name(uint32_t ifindex, char buf[static IF_NAMESIZE])
{
	if (!if_indextoname(ifindex, buf))
		snprintf(buf, IF_NAMESIZE, "if%u", ifindex);
	return buf;
}

const char *program_name(int pid, char buf[static 32])
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

char *plain_name(char *name)
{
	char *p;

	for (p = name; *p; p++)
		if (*p <= ' ' || *p >= 127)
			*p = '?';
	return name;
}
