// SPDX-License-Identifier: GPL-2.0
/*
 * frame.c - who holds each shared buffer, and when one is idle again
 */
#include "frame.h"

#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "limits.h"

/* Idle frames that slots can have for what is in use, though the NIC has room for more */
#define SM_KEEP	32u

/* One more frame, with the next @pages numbers */
static bool sm_frames_add(struct sm_frames *f, u32 pages)
{
	gfp_t gfp = SM_GFP_USER | __GFP_ZERO | (pages > 1 ? __GFP_COMP : 0);
	struct page *page = alloc_pages(gfp, ilog2(pages));
	u32 i;

	if (!page)
		return false;
	set_page_private(page, f->n);
	f->tab[f->n].page = page;
	f->tab[f->n].holder = SM_USER;
	f->held[SM_USER]++;
	for (i = 1; i < pages; i++)
		f->tab[f->n + i].holder = SM_INSIDE;
	f->held[SM_INSIDE] += pages - 1;
	f->n += pages;
	return true;
}

/**
 * sm_frames_init() - allocate the frames of a port
 * @f: the table, zeroed
 * @n: number of frames of a page
 * @pool: how many of them (the last ones) start idle in the kernel's hands;
 *	the others start in the application's
 * @large: number of large frames behind them, all of them idle in the kernel's hands
 * @large_size: bytes in a large frame, a power of two of pages; with no @large 0
 *
 * Frames are zeroed: the application can read all of every one.
 *
 * They are shown in the cgroup's memory.stat, as "kernel".
 *
 * Return: 0, -ENOMEM, or -EINTR when the task is being killed (for memory that it
 * takes elsewhere, say); with nothing left allocated then.
 */
int sm_frames_init(struct sm_frames *f, u32 n, u32 pool, u32 large, u32 large_size)
{
	u32 pages = large_size / SM_FRAME_SIZE;
	u32 end = n + large * pages;

	f->tab = kvcalloc(end, sizeof(*f->tab), SM_GFP_USER);
	if (!f->tab)
		return -ENOMEM;
	f->small = n;
	f->large_size = large_size;
	f->pool = SM_NO_FRAME;
	f->large_pool = SM_NO_FRAME;
	f->lent_head = SM_NO_FRAME;
	f->lent_tail = SM_NO_FRAME;
	f->keep = min(pool / 4, SM_KEEP);
	f->large_keep = min(large / 4, SM_KEEP);
	while (f->n < end) {
		bool killed = fatal_signal_pending(current);
		u32 i = f->n;

		if (killed || !sm_frames_add(f, i < n ? 1 : pages)) {
			sm_frames_free(f);
			return killed ? -EINTR : -ENOMEM;
		}
		if (i >= n - pool)
			sm_frame_put(f, i);
		cond_resched();
	}
	return 0;
}

/**
 * sm_frames_free() - let all frames go
 * @f: the table
 *
 * A page that TCP or the driver still refers to lives on until they are done.
 */
void sm_frames_free(struct sm_frames *f)
{
	while (f->n) {
		struct page *page = f->tab[--f->n].page;

		if (!page)
			continue;	/* the inside of a large one */
		set_page_private(page, 0);
		put_page(page);
		cond_resched();
	}
	kvfree(f->tab);
	memset(f, 0, sizeof(*f));
}

/**
 * sm_frame_put() - a frame that nothing refers to any more becomes idle
 * @f: the table
 * @i: the frame
 */
void sm_frame_put(struct sm_frames *f, u32 i)
{
	sm_frame_hold(f, i, SM_POOL);
	if (sm_frame_is_large(f, i)) {
		f->tab[i].next = f->large_pool;
		f->large_pool = i;
		f->large_idle++;
	} else {
		f->tab[i].next = f->pool;
		f->pool = i;
	}
}

/**
 * sm_frame_get_large() - take an idle large frame
 * @f: the table
 * @to: who holds it from now on
 *
 * Return: as sm_frame_get().
 */
u32 sm_frame_get_large(struct sm_frames *f, enum sm_holder to)
{
	u32 i = f->large_pool;

	if (unlikely(i == SM_NO_FRAME)) {
		if (f->dry)
			return i;
		sm_frames_reap(f, 256, 256);
		i = f->large_pool;
		if (i == SM_NO_FRAME) {
			f->dry = true;
			return i;
		}
	}
	f->large_pool = f->tab[i].next;
	f->large_idle--;
	sm_frame_hold(f, i, to);
	return i;
}

/**
 * sm_frame_get() - take an idle frame that is not large
 * @f: the table
 * @to: who holds it from now on
 *
 * Return: the frame, or SM_NO_FRAME when none is idle; the caller copies then,
 * or waits for the next sync.
 */
u32 sm_frame_get(struct sm_frames *f, enum sm_holder to)
{
	u32 i = f->pool;

	if (unlikely(i == SM_NO_FRAME)) {
		if (f->dry)
			return i;
		sm_frames_reap(f, 256, 256);
		i = f->pool;
		if (i == SM_NO_FRAME) {
			f->dry = true;
			return i;
		}
	}
	f->pool = f->tab[i].next;
	sm_frame_hold(f, i, to);
	return i;
}

/**
 * sm_frame_get_for_nic() - take an idle frame for the receive ring, a large one if there is one
 * @f: the table
 *
 * Return: as sm_frame_get(). A few of each kind are left for others, as the ring gives
 * nothing back before a packet comes.
 */
u32 sm_frame_get_for_nic(struct sm_frames *f)
{
	if (unlikely(!sm_frames_for_nic(f))) {
		if (f->dry)
			return SM_NO_FRAME;
		sm_frames_reap(f, 256, 256);
		if (!sm_frames_for_nic(f)) {
			f->dry = true;
			return SM_NO_FRAME;
		}
	}
	if (sm_large_for_nic(f))
		return sm_frame_get_large(f, SM_NIC);
	return sm_frame_get(f, SM_NIC);
}

static void sm_lent_add(struct sm_frames *f, u32 i)
{
	f->tab[i].next = SM_NO_FRAME;
	f->tab[i].prev = f->lent_tail;
	if (f->lent_tail == SM_NO_FRAME)
		f->lent_head = i;
	else
		f->tab[f->lent_tail].next = i;
	f->lent_tail = i;
}

static void sm_lent_del(struct sm_frames *f, u32 i)
{
	u32 next = f->tab[i].next;
	u32 prev = f->tab[i].prev;

	if (next == SM_NO_FRAME)
		f->lent_tail = prev;
	else
		f->tab[next].prev = prev;
	if (prev == SM_NO_FRAME)
		f->lent_head = next;
	else
		f->tab[prev].next = next;
}

/**
 * sm_frame_lend() - a frame is the stack's until it has no use for it any more
 * @f: the table
 * @i: the frame, in no list
 * @to: SM_FLIGHT or SM_STACK
 */
void sm_frame_lend(struct sm_frames *f, u32 i, enum sm_holder to)
{
	sm_frame_hold(f, i, to);
	sm_lent_add(f, i);
}

/**
 * sm_frame_take_back() - end sm_frame_lend()
 * @f: the table
 * @i: a lent frame
 * @to: who holds it from now on
 */
void sm_frame_take_back(struct sm_frames *f, u32 i, enum sm_holder to)
{
	sm_lent_del(f, i);
	sm_frame_hold(f, i, to);
}

/**
 * sm_frames_reap() - find lent frames that have become idle
 * @f: the table
 * @most: how many to look at
 * @busy: or until so many more are found that are not
 *
 * Frames are acknowledged in the order they were sent only within a
 * connection. One that is still referred to goes to the end of the list, so
 * that a slow reader does not hide the frames of the others. Done once a sync,
 * which looks at few that are not idle, as what was sent later is not either, mostly;
 * and once more, at many, when the pool is empty.
 */
void sm_frames_reap(struct sm_frames *f, u32 most, u32 busy)
{
	f->dry = false;
	most = min(most, f->held[SM_FLIGHT] + f->held[SM_STACK]);
	while (most--) {
		u32 i = f->lent_head;

		/* Whoever dropped the last reference is done reading */
		if (sm_frame_is_idle(f, i)) {
			sm_lent_del(f, i);
			sm_frame_put(f, i);
			continue;
		}
		if (!busy--)
			break;
		sm_lent_del(f, i);
		sm_lent_add(f, i);
	}
}
