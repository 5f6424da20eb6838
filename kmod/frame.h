/* SPDX-License-Identifier: GPL-2.0 */
/*
 * frame.h - frames: the buffers that NIC, stack and application share
 *
 * A frame is one page, or, of the last ones, a compound page (a large frame). The port holds
 * one reference to it for as long as the port lives; TCP and the driver take and drop references
 * of their own, so a frame is idle exactly when its page has a single reference (one to
 * a part of a compound page counts for all of it). That is also why user space maps
 * frames by page frame number: such a mapping takes no references.
 *
 * A large frame has as many numbers as it has pages, so that the number tells where any
 * frame is mapped. The first is its name; the others are SM_INSIDE for ever.
 *
 * All functions need the port's lock, which guards the whole table.
 */
#ifndef SM_FRAME_H
#define SM_FRAME_H

#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/types.h>

#define SM_FRAME_SIZE	PAGE_SIZE
#define SM_NO_FRAME	U32_MAX

/*
 * What pages of our own driver have in page_private() that are no frames (they are not
 * taken for one then, nor for one of an owner that is gone, see sm_frames_free()): an
 * ordinary page of a receive ring, and one with heads of packets
 */
#define SM_PAGE_RING	ULONG_MAX
#define SM_PAGE_HEADS	(ULONG_MAX - 1)

/* Who holds a frame */
enum sm_holder {
	SM_USER,	/* the application: in a slot, extra, or kept */
	SM_POOL,	/* the kernel, idle */
	SM_FLIGHT,	/* TCP, until the peer has acknowledged it */
	SM_NIC,		/* the NIC's receive ring */
	SM_STACK,	/* a received packet, on its way up or in a socket's queue */
	SM_SENDING,	/* the write that sync is making now */
	SM_INSIDE,	/* no frame: a large one has begun before */
	SM_HOLDERS
};

struct sm_frame {
	struct page *page;
	u32 next;		/* in the pool, or the list of lent frames */
	u32 prev;		/* in the list of lent frames */
	enum sm_holder holder;
};

struct sm_frames {
	struct sm_frame *tab;
	u32 n;
	u32 small;		/* from here on they are large */
	u32 large_size;		/* bytes in a large one */
	u32 pool;		/* idle frames, last in first out: warm caches */
	u32 large_pool;		/* likewise, large ones */
	u32 large_idle;		/* how many these are */
	u32 lent_head;		/* SM_FLIGHT and SM_STACK, oldest first */
	u32 lent_tail;
	u32 keep;		/* so many are not for the NIC: it would have them all */
	u32 large_keep;		/* likewise, large ones */
	bool dry;		/* none was idle when last looked: do not look again in this round */
	u32 held[SM_HOLDERS];	/* how many frames each holds */
};

int sm_frames_init(struct sm_frames *f, u32 n, u32 pool, u32 large, u32 large_size);
void sm_frames_free(struct sm_frames *f);
u32 sm_frame_get(struct sm_frames *f, enum sm_holder to);
u32 sm_frame_get_large(struct sm_frames *f, enum sm_holder to);
u32 sm_frame_get_for_nic(struct sm_frames *f);
void sm_frame_put(struct sm_frames *f, u32 i);
void sm_frame_lend(struct sm_frames *f, u32 i, enum sm_holder to);
void sm_frame_take_back(struct sm_frames *f, u32 i, enum sm_holder to);
void sm_frames_reap(struct sm_frames *f, u32 most, u32 busy);

/* Whether there is a large one for the NIC, without looking for what has become idle */
static inline bool sm_large_for_nic(const struct sm_frames *f)
{
	return unlikely(f->large_idle > f->large_keep);
}

/* The same of any */
static inline bool sm_frames_for_nic(const struct sm_frames *f)
{
	return sm_large_for_nic(f) || f->held[SM_POOL] - f->large_idle > f->keep;
}

static inline bool sm_frame_is_large(const struct sm_frames *f, u32 i)
{
	return unlikely(i >= f->small);
}

/* Bytes in it. (A slot cannot tell of all 64 KB) */
static inline u32 sm_frame_size(const struct sm_frames *f, u32 i)
{
	return sm_frame_is_large(f, i) ? f->large_size : SM_FRAME_SIZE;
}

static inline void sm_frame_hold(struct sm_frames *f, u32 i, enum sm_holder to)
{
	f->held[f->tab[i].holder]--;
	f->held[to]++;
	f->tab[i].holder = to;
}

/* The frame that an application names in a slot, or SM_NO_FRAME when it may not */
static inline u32 sm_frame_of_user(const struct sm_frames *f, u32 i)
{
	if (unlikely(i >= f->n))
		return SM_NO_FRAME;
	i = array_index_nospec(i, f->n);
	return likely(f->tab[i].holder == SM_USER) ? i : SM_NO_FRAME;
}

/* The frame that a page is, or SM_NO_FRAME when it is none of this table's */
static inline u32 sm_frame_of_page(const struct sm_frames *f, struct page *page)
{
	unsigned long i = page_private(page);

	/* Any page may have any number there: only the table tells */
	return i < f->n && f->tab[i].page == page ? i : SM_NO_FRAME;
}

/*
 * Whether nothing but the port refers to a frame: then whoever did is done with it,
 * and what is written there from now on is seen by nobody else
 */
static inline bool sm_frame_is_idle(const struct sm_frames *f, u32 i)
{
	if (page_ref_count(f->tab[i].page) != 1)
		return false;
	smp_acquire__after_ctrl_dep();
	return true;
}

static inline void *sm_frame_addr(const struct sm_frames *f, u32 i)
{
	return page_address(f->tab[i].page);
}

#endif /* SM_FRAME_H */
