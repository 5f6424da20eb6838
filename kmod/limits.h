/* SPDX-License-Identifier: GPL-2.0 */
/*
 * limits.h - the memory that a user may take, asked for before he has it
 */
#ifndef SM_LIMITS_H
#define SM_LIMITS_H

#include <linux/gfp.h>
#include <linux/types.h>

struct mm_struct;
struct sock;
struct user_struct;

/*
 * What a user makes the kernel allocate. It is charged to his memory cgroup, and
 * when there is too little, there or on the machine, the call fails. GFP_KERNEL
 * alone would wake the OOM killer, which does not see whose memory this is.
 */
#define SM_GFP_USER	(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/**
 * struct sm_pinned - pages that are accounted as pinned
 * @user: whose RLIMIT_MEMLOCK they count against, or NULL
 * @mm: where they are shown (VmPin), or NULL: none are accounted
 * @pages: how many
 */
struct sm_pinned {
	struct user_struct *user;
	struct mm_struct *mm;
	unsigned long pages;
};

int sm_limits_pin(struct sm_pinned *pinned, unsigned long pages);
void sm_limits_unpin(struct sm_pinned *pinned);
int sm_limits_room(unsigned long pages);

/**
 * struct sm_reserve - memory that is charged before a send
 * @sk: the socket, held, or NULL: there is none
 * @bytes: how much to charge
 * @tried: the last round has tried; what does not fit now is refused
 * @given: it was charged
 * @used: there was a write in the round that has it
 * @failed: when it could not be had, in jiffies, or 0
 */
struct sm_reserve {
	struct sock *sk;
	u32 bytes;
	bool tried;
	bool given;
	bool used;
	unsigned long failed;
};

u32 sm_reserve_need(const struct sock *sk, u32 bytes, u32 slots);
bool sm_reserve_fits(const struct sock *sk, u32 bytes, u32 slots);
bool sm_reserve_want(struct sm_reserve *r, struct sock *sk, u32 bytes, u32 slots);
void sm_reserve_work(struct sm_reserve *r);
void sm_reserve_end(struct sm_reserve *r);
void sm_reserve_refuse(struct sm_reserve *r);

#endif /* SM_LIMITS_H */
