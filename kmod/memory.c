// SPDX-License-Identifier: GPL-2.0
/*
 * memory.c - memory of the application that it sends from: pinned, and for how long
 *
 * A port's frames are pages, or large ones of up to 64 KB to receive into, of which TCP makes a
 * fragment of each page. So a packet of 64 KB has 16 fragments of them. What an application
 * has registered here may lie in huge pages, and is one fragment as far as its pages lie behind one another.
 * It stays the application's: nothing is received into it, and nothing takes its place.
 *
 * MSG_SPLICE_PAGES would do for it, but makes a fragment of each page of a large one
 * (skb_splice_from_iter() in 6.12: skb_can_coalesce() compares tail pages). So it is sent as
 * io_uring sends its registered buffers (io_send_zc() in io_uring/net.c): MSG_ZEROCOPY with
 * a ubuf_info and a function of ours that makes the fragments. An sk_buff with a ubuf_info
 * refers to that until its payload is done with; the fragments have references to the
 * pages besides, as those of frames in the same write do. So what is pinned is let go as
 * soon as no slot can name it: only what is in flight of it stays, however long a peer takes.
 *
 * What follows of it: a receiver on the same machine, and tcpdump, get a copy
 * (skb_orphan_frags_rx()); TCP charges the payload to nobody, as with MSG_ZEROCOPY
 * (SKBFL_PURE_ZEROCOPY): it is the application's anyway.
 */
#include "memory.h"

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/slab.h>

/* Pages that are pinned in one go */
#define SM_MEMORY_GO	512u

/**
 * struct sm_memory - some of an application's memory
 * @ubuf: what its sk_buffs refer to, of an allocation of its own
 * @pinned: how its pages are accounted
 * @len: bytes
 * @skip: bytes of the first page that are before it
 * @n: pages that are pinned
 * @pages: these, in order
 *
 * Nothing of it changes once a port has it, so that no lock guards it.
 */
struct sm_memory {
	struct ubuf_info *ubuf;
	struct sm_pinned pinned;
	u64 len;
	u32 skip;
	unsigned long n;
	struct page *pages[];
};

/*
 * In any context: of the last sk_buff in softirq. Who unloads the module waits for the last line of
 * this, in synchronize_rcu_tasks(): sm_hooks_exit()
 */
static void sm_memory_ubuf_put(struct ubuf_info *ubuf)
{
	if (!refcount_dec_and_test(&ubuf->refcnt))
		return;
	kfree(ubuf);
	module_put(THIS_MODULE);
}

static void sm_memory_complete(struct sk_buff *skb, struct ubuf_info *ubuf, bool success)
{
	sm_memory_ubuf_put(ubuf);
}

static const struct ubuf_info_ops sm_memory_ops = {
	.complete = sm_memory_complete,
};

static struct ubuf_info *sm_memory_ubuf_new(void)
{
	struct ubuf_info *ubuf = kzalloc(sizeof(*ubuf), SM_GFP_USER);

	if (!ubuf)
		return NULL;
	refcount_set(&ubuf->refcnt, 1);
	sm_ubuf_init(ubuf, &sm_memory_ops);
	/* The caller has it, too, by its file */
	__module_get(THIS_MODULE);
	return ubuf;
}

/* No slot can name it any more */
static void sm_memory_free(struct sm_memory *m)
{
	while (m->n) {
		unsigned long n = min_t(unsigned long, m->n, SM_MEMORY_GO);

		/* Nobody has written there: the NIC reads */
		m->n -= n;
		unpin_user_pages(&m->pages[m->n], n);
		cond_resched();
	}
	sm_limits_unpin(&m->pinned);
	if (m->ubuf)
		sm_memory_ubuf_put(m->ubuf);
	kvfree(m);
}

/*
 * Pin its pages. For writing, though nothing is written: else a page that was not written
 * to yet would be pinned as it is, and then the application's first write make another one
 * (6.1). And for long, so that it is none that others wait for (CMA, movable memory, files).
 */
static int sm_memory_pin(struct sm_memory *m, unsigned long addr, unsigned long n)
{
	while (m->n < n) {
		int go = min_t(unsigned long, n - m->n, SM_MEMORY_GO);
		int ret = pin_user_pages_fast(addr + (m->n << PAGE_SHIFT), go,
					      FOLL_WRITE | FOLL_LONGTERM, &m->pages[m->n]);

		if (ret > 0)
			m->n += ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (ret <= 0)
			return ret ?: -EFAULT;
		cond_resched();
	}
	return 0;
}

/*
 * Account what is pinned by it: one page of a large one has all of that stay, as it cannot be
 * split any more (io_uring counts so, too: headpage_already_acct()). Where the pages of one
 * are here and there, each place counts. Nothing is larger than a fragment can tell.
 */
static int sm_memory_account(struct sm_memory *m)
{
	struct page *head = NULL;
	unsigned long total = 0, i;

	for (i = 0; i < m->n; i++) {
		struct page *h = compound_head(m->pages[i]);

		if (h == head)
			continue;
		head = h;
		if (page_size(head) > U32_MAX)
			return -EINVAL;
		total += compound_nr(head);
	}
	if (total == m->n)
		return 0;
	sm_limits_unpin(&m->pinned);
	return sm_limits_pin(&m->pinned, total);
}

static struct sm_memory *sm_memory_new(const struct stackmap_memory *req)
{
	u32 skip = req->addr & ~PAGE_MASK;
	struct sm_pinned pinned = { };
	unsigned long n;
	struct sm_memory *m;
	int err;

	if (!req->len || req->len > STACKMAP_MEMORY_MAX || req->addr + req->len < req->addr)
		return ERR_PTR(-EINVAL);
	n = DIV_ROUND_UP(skip + req->len, PAGE_SIZE);
	err = sm_limits_pin(&pinned, n);
	if (err)
		return ERR_PTR(err);
	m = kvzalloc(struct_size(m, pages, n), SM_GFP_USER);
	if (!m) {
		sm_limits_unpin(&pinned);
		return ERR_PTR(-ENOMEM);
	}
	m->pinned = pinned;
	m->len = req->len;
	m->skip = skip;
	err = -ENOMEM;
	m->ubuf = sm_memory_ubuf_new();
	if (m->ubuf)
		err = sm_memory_pin(m, req->addr - skip, n) ?: sm_memory_account(m);
	if (err) {
		sm_memory_free(m);
		return ERR_PTR(err);
	}
	return m;
}

/* The first number that is free. With the port locked */
static u32 sm_memory_number(const struct sm_port *port)
{
	u32 id = 0;

	while (id < ARRAY_SIZE(port->memory) && port->memory[id])
		id++;
	return id;
}

/**
 * sm_memory_add() - STACKMAP_IOC_MEMORY: some of the calling process' memory is to be sent from
 * @port: the port
 * @req: where it is; gets the number that names it in slots
 *
 * Return: 0, or an errno as listed in stackmap.h.
 */
int sm_memory_add(struct sm_port *port, struct stackmap_memory *req)
{
	struct sm_memory *m;
	u32 id;

	spin_lock_bh(&port->lock);
	id = sm_memory_number(port);
	spin_unlock_bh(&port->lock);
	if (id == ARRAY_SIZE(port->memory))
		return -ENOSPC;
	m = sm_memory_new(req);
	if (IS_ERR(m))
		return PTR_ERR(m);
	spin_lock_bh(&port->lock);
	id = sm_memory_number(port);
	if (id < ARRAY_SIZE(port->memory)) {
		port->memory[id] = m;
		port->memory_pages += m->pinned.pages;
	}
	spin_unlock_bh(&port->lock);
	if (id == ARRAY_SIZE(port->memory)) {
		sm_memory_free(m);
		return -ENOSPC;
	}
	req->id = id;
	return 0;
}

/**
 * sm_memory_remove() - no slot can name it any more
 * @port: the port
 * @id: its number
 *
 * What is on its way of it is as it was.
 *
 * Return: 0, or -EBADF when there is none with this number.
 */
int sm_memory_remove(struct sm_port *port, u32 id)
{
	struct sm_memory *m;

	spin_lock_bh(&port->lock);
	m = sm_memory_of(port, id);
	if (m) {
		port->memory[id] = NULL;
		port->memory_pages -= m->pinned.pages;
	}
	spin_unlock_bh(&port->lock);
	if (!m)
		return -EBADF;
	sm_memory_free(m);
	return 0;
}

/**
 * sm_memory_close() - likewise all of them, as the application or the port ends
 * @port: the port, which nobody syncs now
 */
void sm_memory_close(struct sm_port *port)
{
	u32 id;

	for (id = 0; id < ARRAY_SIZE(port->memory); id++)
		sm_memory_remove(port, id);
}

/**
 * sm_memory_has() - whether some bytes are all in it
 * @m: the memory
 * @at: the first one
 * @len: how many
 */
bool sm_memory_has(const struct sm_memory *m, u64 at, u32 len)
{
	return at <= m->len && len <= m->len - at;
}

/**
 * sm_memory_pieces() - where bytes of it lie
 * @m: the memory, which has them
 * @at: the first one
 * @len: how many, in [1, STACKMAP_TX_MEMORY_MAX]
 * @bvec: gets as few pieces as can be, each within one large page; of SM_MEMORY_PIECES
 *
 * Of a large page all but the first are tail pages; a piece is told by the head, which is
 * what makes two of them one fragment (see sm_memory_fill()).
 *
 * Return: how many pieces.
 */
u32 sm_memory_pieces(const struct sm_memory *m, u64 at, u32 len, struct bio_vec *bvec)
{
	unsigned long i = array_index_nospec((m->skip + at) >> PAGE_SHIFT, m->n);
	u32 off = (m->skip + at) & ~PAGE_MASK;
	u32 n = 0;

	while (len) {
		struct page *head = compound_head(m->pages[i]);
		unsigned long pfn = page_to_pfn(m->pages[i]);
		u32 begin = ((pfn - page_to_pfn(head)) << PAGE_SHIFT) + off;
		u32 part = 0;

		/* (Not the whole of a large page need be mapped, nor in its order) */
		do {
			u32 more = min_t(u32, len, PAGE_SIZE - off);

			part += more;
			len -= more;
			off = 0;
			i++;
			pfn++;
		} while (len && page_to_pfn(m->pages[i]) == pfn &&
			 compound_head(m->pages[i]) == head);
		bvec_set_page(&bvec[n++], head, part, begin);
	}
	return n;
}

/*
 * Make fragments of what is next in a message; as __zerocopy_sg_from_iter() wants it. TCP has
 * asked that there are no more than @length bytes, and goes on with another sk_buff if this one
 * has not taken them all
 */
static int sm_memory_fill(struct sk_buff *skb, struct iov_iter *from, size_t length)
{
	struct skb_shared_info *shared = skb_shinfo(skb);
	int n = shared->nr_frags;
	size_t done = 0;

	length = min(length, iov_iter_count(from));
	while (done < length) {
		const struct bio_vec *bv = from->bvec;
		u32 off = bv->bv_offset + from->iov_offset;
		u32 part = min_t(size_t, bv->bv_len - from->iov_offset, length - done);
		skb_frag_t *last = n ? &shared->frags[n - 1] : NULL;

		if (last && skb_frag_page(last) == bv->bv_page &&
		    skb_frag_off(last) + skb_frag_size(last) == off) {
			skb_frag_size_add(last, part);
		} else if (n < MAX_SKB_FRAGS) {
			get_page(bv->bv_page);
			skb_fill_page_desc_noacc(skb, n++, bv->bv_page, off, part);
		} else {
			break;
		}
		done += part;
		/* (iov_iter_advance() does the same, piece by piece from the first one) */
		from->count -= part;
		from->iov_offset += part;
		if (from->iov_offset == bv->bv_len) {
			from->bvec++;
			from->nr_segs--;
			from->iov_offset = 0;
		}
	}
	skb->len += done;
	skb->data_len += done;
	skb->truesize += done;
	return done < length ? -EMSGSIZE : 0;
}

SM_SG_FROM_ITER(sm_memory_sg, sm_memory_fill);

/**
 * sm_memory_message() - have a message, of pieces of it and of frames, sent without a copy
 * @m: the memory
 * @msg: the message, of bvecs
 */
void sm_memory_message(struct sm_memory *m, struct msghdr *msg)
{
	msg->msg_flags |= MSG_ZEROCOPY;
	msg->msg_ubuf = m->ubuf;
	msg->sg_from_iter = sm_memory_sg;
}
