// SPDX-License-Identifier: GPL-2.0
/*
 * limits.c - the memory that a user may take, asked for before he has it
 *
 * Two things a port takes for its owner. Its buffers are pinned for as long as
 * it lives, as AF_XDP's are. And what sync sends is charged to the memory cgroup of
 * the socket: TCP does that itself, but with softirqs off it charges as a softirq
 * does, by force (gfp_memcg_charge() in net/sock.h). So what may not fit is charged
 * before, where the caller may sleep.
 */
#include "limits.h"

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <net/tcp.h>

#include "compat.h"

/* ------------------------------------------------------------ pinned pages */

/**
 * sm_limits_pin() - account pages as pinned by the calling task
 * @pinned: zeroed; says what sm_limits_unpin() has to undo
 * @pages: how many
 *
 * They are shown as VmPin of the process, and count against RLIMIT_MEMLOCK of its
 * user unless it has CAP_IPC_LOCK, as in xdp_umem_account_pages().
 *
 * Return: 0, or -ENOBUFS when there would be more than the limit.
 */
int sm_limits_pin(struct sm_pinned *pinned, unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	struct user_struct *user;
	long old;

	if (!capable(CAP_IPC_LOCK)) {
		user = current_user();
		old = atomic_long_read(&user->locked_vm);
		do {
			if (old + pages > limit)
				return -ENOBUFS;
		} while (!atomic_long_try_cmpxchg(&user->locked_vm, &old, old + pages));
		pinned->user = get_uid(user);
	}
	pinned->mm = current->mm;
	mmgrab(pinned->mm);
	atomic64_add(pages, &pinned->mm->pinned_vm);
	pinned->pages = pages;
	return 0;
}

/**
 * sm_limits_unpin() - the opposite; does nothing when none are accounted
 * @pinned: as sm_limits_pin() left it
 */
void sm_limits_unpin(struct sm_pinned *pinned)
{
	if (pinned->mm) {
		atomic64_sub(pinned->pages, &pinned->mm->pinned_vm);
		mmdrop(pinned->mm);
	}
	if (pinned->user) {
		atomic_long_sub(pinned->pages, &pinned->user->locked_vm);
		free_uid(pinned->user);
	}
	memset(pinned, 0, sizeof(*pinned));
}

/* -------------------------------------------------- memory that never fits */

#ifdef CONFIG_MEMCG
/* Whether a cgroup and all above it have so many pages left; or could, if @empty */
static bool sm_memcg_has(const struct mem_cgroup *memcg, unsigned long pages, bool empty)
{
	const struct page_counter *c;
	unsigned long used;

	for (c = &memcg->memory; c; c = READ_ONCE(c->parent)) {
		used = empty ? 0 : page_counter_read((struct page_counter *)c);
		if (used + pages > READ_ONCE(c->max))
			return false;
	}
	return true;
}

static bool sm_current_memcg_could_have(unsigned long pages)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(current->mm);
	bool fits = !memcg || sm_memcg_has(memcg, pages, true);

	mem_cgroup_put(memcg);
	return fits;
}
#else
static bool sm_memcg_has(const struct mem_cgroup *memcg, unsigned long pages, bool empty)
{
	return true;
}

static bool sm_current_memcg_could_have(unsigned long pages)
{
	return true;
}
#endif

/**
 * sm_limits_room() - whether the caller can have so many pages at all
 * @pages: how many
 *
 * Whoever takes all there is and gives it back when that is too little has
 * nevertheless taken it: a neighbour who needs a page meanwhile is killed for
 * want of it. So look before, where it is plain that it cannot be.
 *
 * Return: 0 or -ENOMEM.
 */
int sm_limits_room(unsigned long pages)
{
	long available = si_mem_available();

	if (available < 0 || pages > available || !sm_current_memcg_could_have(pages))
		return -ENOMEM;
	return 0;
}

/* --------------------------------------------------- what is sent in a sync */

/*
 * An sk_buff for TCP's transmit queue and its head, as the slab rounds them up:
 * 1280 bytes of truesize in 6.1 and 6.12
 */
#define SM_SKB_COST	1536
/* What TCP takes though the socket's send buffer is full: its last sk_buff's rest */
#define SM_SEGMENT_MAX	65536

/**
 * sm_reserve_need() - what TCP charges for a write at most
 * @sk: the socket
 * @bytes: its length
 * @slots: in how many fragments at most
 *
 * Return: bytes.
 */
u32 sm_reserve_need(const struct sock *sk, u32 bytes, u32 slots)
{
	const struct sk_buff *tail = tcp_write_queue_tail(sk);
	u32 mss = max(tcp_sk(sk)->mss_cache, 64u);
	u32 room = max(sk_stream_wspace(sk), 0);
	/*
	 * What is sent without a copy from an application's memory is charged to nobody, until
	 * anything else is put behind it in the same sk_buff: then all of that is
	 * (tcp_downgrade_zcopy_pure())
	 */
	u32 behind = tail && skb_zcopy_pure(tail) ? tail->truesize : 0;

	bytes = min_t(u64, bytes, (u64)room + SM_SEGMENT_MAX);
	return behind + bytes + (bytes / mss + 2 + slots / MAX_SKB_FRAGS) * SM_SKB_COST;
}

/**
 * sm_reserve_fits() - whether a write can be charged without force
 * @sk: the socket, locked
 * @bytes: the length of the write
 * @slots: in how many pieces
 *
 * Cheap, and on the safe side: pages that this CPU has charged in advance
 * (memcg's stock) are not seen.
 *
 * Return: true when the write can go ahead with softirqs off.
 */
bool sm_reserve_fits(const struct sock *sk, u32 bytes, u32 slots)
{
	struct mem_cgroup *memcg = sm_sk_memcg(sk);
	u32 need;

	if (likely(!memcg))
		return true;
	need = sm_reserve_need(sk, bytes, slots);
	if ((s64)need <= sk->sk_forward_alloc)
		return true;
	return sm_memcg_has(memcg, DIV_ROUND_UP(need, PAGE_SIZE), false);
}

/**
 * sm_reserve_want() - a write does not fit: is it worth trying?
 * @r: of the port
 * @sk: the socket, locked
 * @bytes: the length of the write
 * @slots: in how many pieces
 *
 * Trying means to reclaim, which takes long where there is nothing to be had. So
 * after a failure none of the port's writes is tried for 10 ms. And a round that
 * has a reservation must write something before it asks for another, or an
 * application that changes its slots meanwhile would keep the sync going for ever.
 *
 * Return: true when the caller has to leave the write for the next round; false
 * when it is to be refused.
 */
bool sm_reserve_want(struct sm_reserve *r, struct sock *sk, u32 bytes, u32 slots)
{
	if (r->sk)
		return r->sk != sk && r->used;
	/* Who is killed does not wait for memory */
	if (fatal_signal_pending(current))
		return false;
	if (r->failed && time_before(jiffies, r->failed + msecs_to_jiffies(10)))
		return false;
	sock_hold(sk);
	r->sk = sk;
	r->bytes = sm_reserve_need(sk, bytes, slots);
	r->tried = false;
	r->used = false;
	return true;
}

/* SO_RESERVE_MEM, the kernel's own way to charge a socket in advance */
static int sm_reserve_set(struct sock *sk, int bytes)
{
	/*
	 * The socket's file may be gone by now, and its struct socket with it.
	 * sock_setsockopt() reads nothing but sock->sk.
	 */
	struct socket sock = { .sk = sk };

	return sock_setsockopt(&sock, SOL_SOCKET, SO_RESERVE_MEM, KERNEL_SOCKPTR(&bytes),
			       sizeof(bytes));
}

/**
 * sm_reserve_work() - after each round, with no lock held: charge what was wanted
 * in this round, or end the reservation which the round had
 * @r: of the port
 *
 * sock_reserve_memory() charges with __GFP_RETRY_MAYFAIL: it reclaims, and does
 * not wake the OOM killer.
 */
void sm_reserve_work(struct sm_reserve *r)
{
	if (!r->sk)
		return;
	if (r->tried) {
		sm_reserve_end(r);
		return;
	}
	r->tried = true;
	/*
	 * It takes the socket's lock, for which it may have to wait as send() does: not for a
	 * thread that was seen to have it.
	 */
	r->given = !sock_owned_by_user_nocheck(r->sk) &&
		   !sm_reserve_set(r->sk, READ_ONCE(r->sk->sk_reserved_mem) + r->bytes);
	r->failed = r->given ? 0 : jiffies ?: 1;
}

/**
 * sm_reserve_end() - give back what is left of a reservation, if there is one
 * @r: of the port
 */
void sm_reserve_end(struct sm_reserve *r)
{
	if (!r->sk)
		return;
	/* What the application has reserved itself meanwhile stays */
	if (r->given)
		sm_reserve_set(r->sk, max_t(int, READ_ONCE(r->sk->sk_reserved_mem) - r->bytes, 0));
	sock_put(r->sk);
	r->sk = NULL;
	r->given = false;
}

/**
 * sm_reserve_refuse() - charge nothing for the next writes, for 10 ms
 * @r: of the port, between two syncs
 *
 * For who cannot take a socket's lock. What was wanted meanwhile is forgotten.
 */
void sm_reserve_refuse(struct sm_reserve *r)
{
	if (r->sk)
		sock_put(r->sk);
	r->sk = NULL;
	r->failed = jiffies ?: 1;
}
