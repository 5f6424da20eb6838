/* SPDX-License-Identifier: GPL-2.0 */
/*
 * count.h - what explains a port's counters: by reason, and times by powers of two
 */
#ifndef SM_COUNT_H
#define SM_COUNT_H

#include <linux/bitops.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/types.h>

#include <uapi/stackmap.h>

/**
 * struct sm_counts - of a port, guarded by its lock; see struct stackmap_detail
 * @synced: when the last sync ended, by local_clock(); 0: there was none
 */
struct sm_counts {
	u64 rx_copied[STACKMAP_COPY_FULL + 1];
	u64 tx_copied[STACKMAP_COPY_NO_SG + 1];
	u64 refused[STACKMAP_REFUSED_OTHER + 1];
	u64 claims;
	u64 unclaimed;
	u64 released[STACKMAP_RELEASED_SUSPEND + 1];
	u64 tx_segments;
	u64 early_slots;
	u64 sync_ns;
	u64 wait_ns;
	u64 away_ns;
	u64 sync_times[STACKMAP_TIMES];
	u64 away_times[STACKMAP_TIMES];
	u64 batches[STACKMAP_BATCHES];
	u64 synced;
};

/* Of a socket; a sync writes them with the port's lock held, sock_diag reads them without */
struct sm_sock_counts {
	u64 rx_copied;
	u64 rx_handed;
	u64 tx_copied;
	u64 tx_handed;
	u32 rx_slots;
	u32 tx_slots;
};

/* From one reading of local_clock() to another: on two processors the later may be behind */
static inline u64 sm_ns_between(u64 from, u64 to)
{
	return likely(to > from) ? to - from : 0;
}

static inline void sm_count_time(u64 times[STACKMAP_TIMES], u64 ns)
{
	times[min_t(u32, fls64(ns >> 10), STACKMAP_TIMES - 1)]++;
}

static inline void sm_count_batch(struct sm_counts *c, u32 slots)
{
	c->batches[min_t(u32, ilog2(slots), STACKMAP_BATCHES - 1)]++;
}

#endif /* SM_COUNT_H */
