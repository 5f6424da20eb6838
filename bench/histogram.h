/* SPDX-License-Identifier: GPL-2.0 */
/*
 * histogram.h - latencies in buckets that are at most 1/128 of their value wide (as HdrHistogram's)
 *
 * Values are nanoseconds. Below 256 each has a bucket of its own, above there are 128 to each power
 * of two. Recording is a shift and an increment, and nothing is ever allocated.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HIST_SUB_BITS	7
#define HIST_BUCKETS	((64 - HIST_SUB_BITS) << HIST_SUB_BITS)

struct histogram {
	uint64_t count;
	uint64_t max;
	uint64_t buckets[HIST_BUCKETS];
};

static inline unsigned int hist_index(uint64_t value)
{
	unsigned int shift;

	if (value < 2u << HIST_SUB_BITS)
		return (unsigned int)value;
	shift = 63 - (unsigned int)__builtin_clzll(value) - HIST_SUB_BITS;
	return (shift << HIST_SUB_BITS) + (unsigned int)(value >> shift);
}

/* The middle of a bucket */
static inline uint64_t hist_value(unsigned int index)
{
	unsigned int shift;

	if (index < 2u << HIST_SUB_BITS)
		return index;
	shift = (index >> HIST_SUB_BITS) - 1;
	return ((uint64_t)(index - (shift << HIST_SUB_BITS)) << shift) + (1ull << shift) / 2;
}

static inline void hist_record(struct histogram *h, uint64_t value)
{
	h->buckets[hist_index(value)]++;
	h->count++;
	if (value > h->max)
		h->max = value;
}

/* The value that @share (0.5, 0.99 ...) of all are not above; 0 of none */
static inline uint64_t hist_percentile(const struct histogram *h, double share)
{
	uint64_t want = (uint64_t)(share * (double)h->count + 0.999999), seen = 0;
	unsigned int i;

	if (!h->count)
		return 0;
	if (!want)
		want = 1;
	for (i = 0; i < HIST_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen >= want)
			return hist_value(i) < h->max ? hist_value(i) : h->max;
	}
	return h->max;
}

#endif
