// SPDX-License-Identifier: GPL-2.0
/*
 * head.c - memory for the heads of received packets, used again and again
 *
 * A head is allocated and freed for every packet, mostly within one sync: by the
 * slab allocator, which clears it each time where init_on_alloc is on, as in Debian.
 * These are pieces of a few pages of the driver's own, which are no application's to
 * see. An skb that is freed drops its reference to the page (page_frag_free()); once all
 * of a page's have, the driver's is the only one, and the page is used again. The
 * pages are taken in turn, but for those that are in use, and there are no more than were at
 * once, so that they stay in the cache. When all of them are there is one more; or when there
 * are enough, one is left to those who use it, and replaced.
 */
#include <linux/mm.h>
#include <linux/skbuff.h>

#include "virtio.h"

/* Whether nobody has a piece of the page any more */
static bool sm_virtio_head_idle(const struct page *page)
{
	/*
	 * Nobody gets a piece but from here. (Who walks through memory may have a reference
	 * for a moment: then it is taken for in use, or has one more)
	 */
	if (page_ref_count(page) != 1)
		return false;
	/* Whoever dropped the last one is done reading and writing */
	smp_acquire__after_ctrl_dep();
	return true;
}

/* One more page, or in place of the next one, as all are in use. Returns whether there is memory */
static bool sm_virtio_heads_add(struct sm_virtio_heads *h)
{
	struct page *page = alloc_page(GFP_ATOMIC | __GFP_NOWARN);

	if (unlikely(!page))
		return false;
	/* One of the reserves, for whoever frees memory */
	if (unlikely(page_is_pfmemalloc(page))) {
		put_page(page);
		return false;
	}
	set_page_private(page, SM_PAGE_HEADS);
	if (h->n < SM_VIRTIO_HEAD_PAGES) {
		h->at = h->n++;
	} else {
		h->at = (h->at + 1) % SM_VIRTIO_HEAD_PAGES;
		put_page(h->page[h->at]);
	}
	h->page[h->at] = page;
	return true;
}

/* The next idle page, with a reference for each of its pieces. Returns false when there is none */
static noinline bool sm_virtio_heads_turn(struct sm_virtio_heads *h)
{
	u32 at = h->at;
	u32 i;

	for (i = 0; i < h->n; i++) {
		at = at + 1 < h->n ? at + 1 : 0;
		if (likely(sm_virtio_head_idle(h->page[at])))
			break;
	}
	if (i < h->n)
		h->at = at;
	else if (!sm_virtio_heads_add(h))
		return false;
	page_ref_add(h->page[h->at], SM_VIRTIO_HEADS);
	h->left = SM_VIRTIO_HEADS;
	return true;
}

/**
 * sm_virtio_head_skb() - an skb for a received packet
 * @h: the heads; the caller has the pair's NAPI, with softirqs off
 *
 * It has room for SM_VIRTIO_HEAD bytes behind NET_SKB_PAD.
 *
 * Return: the skb, or NULL where memory is short.
 */
struct sk_buff *sm_virtio_head_skb(struct sm_virtio_heads *h)
{
	struct sk_buff *skb;
	void *head;

	BUILD_BUG_ON(NET_SKB_PAD + SM_VIRTIO_HEAD > SKB_WITH_OVERHEAD(SM_VIRTIO_HEAD_SIZE));
	if (!h->left && unlikely(!sm_virtio_heads_turn(h)))
		return NULL;
	head = page_address(h->page[h->at]) + --h->left * SM_VIRTIO_HEAD_SIZE;
	skb = napi_build_skb(head, SM_VIRTIO_HEAD_SIZE);
	if (unlikely(!skb)) {
		skb_free_frag(head);
		return NULL;
	}
	skb_reserve(skb, NET_SKB_PAD);
	return skb;
}

/**
 * sm_virtio_heads_free() - let the pages go; those in use live on until they are not
 * @h: the heads; nobody else uses them
 */
void sm_virtio_heads_free(struct sm_virtio_heads *h)
{
	u32 i;

	/* The pieces of the last page that no skb was given */
	while (h->left) {
		h->left--;
		put_page(h->page[h->at]);
	}
	for (i = 0; i < h->n; i++)
		put_page(h->page[i]);
	h->n = 0;
	h->at = 0;
}
