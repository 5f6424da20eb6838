// SPDX-License-Identifier: GPL-2.0
/*
 * claim.c - whose a port's NIC is: its owner's, or its interrupts'
 *
 * An owner has it from a sync on, until it sleeps, stalls or dies, the interface
 * goes down, somebody wants to reconfigure it, or the machine goes to sleep.
 */
#include "port.h"

#include <linux/sched.h>

#include "trace.h"

/* So many stalls in so long are told in the kernel's log */
#define SM_STALLS	200
#define SM_STALLS_IN	(10 * HZ)

/* No claims: the machine goes to sleep, or down. Read with a port's lock held */
static bool sm_claims_frozen;

/* The NIC is not claimed any more. With the port's lock held */
static void sm_claim_ended(struct sm_port *port, u32 why)
{
	if (!port->held)
		return;
	port->held = false;
	port->count.released[why]++;
	trace_stackmap_release(port, why);
}

/* With the port's lock held */
static void sm_claim_release(struct sm_port *port, u32 why)
{
	if (port->nic.claimed)
		port->nic.ops->release(&port->nic);
	sm_claim_ended(port, why);
}

/**
 * sm_claim_lost() - the NIC's poll has found that the claim must be given up
 * @port: the port, locked
 */
void sm_claim_lost(struct sm_port *port)
{
	sm_claim_ended(port, STACKMAP_RELEASED_WANTED);
}

/*
 * Whether the owner sleeps somewhere in the kernel: it will not sync before it is
 * woken, and may be waiting for the very packets that nobody polls for, as close()
 * with SO_LINGER or a blocking connect() does. With the port's lock held.
 */
static bool sm_claim_owner_sleeps(const struct sm_port *port)
{
	return port->owner && READ_ONCE(port->owner->__state) != TASK_RUNNING;
}

/*
 * The owner has not synced for long, and may not do so for longer: it is elsewhere. What it
 * has committed goes to TCP without it. With the port's lock held, which guards the tail.
 */
static void sm_claim_send_early(struct sm_port *port)
{
	if (READ_ONCE(port->tx.shared->head) != port->tx.tail)
		schedule_work(&port->early_work);
}

/*
 * In a tick. What the owner commits shortly afterwards, as it has synced just before, is seen once more
 * after as long as it may stall
 */
static void sm_claim_give_up(struct sm_port *port, u32 why)
{
	sm_claim_release(port, why);
	sm_claim_send_early(port);
	mod_timer(&port->stall_timer, jiffies + port->stall);
}

/* An owner that stalls again and again is not what its author thinks it is: the log says so */
static void sm_claim_stalled(struct sm_port *port, u32 why)
{
	port->stats.stalls++;
	trace_stackmap_stall(port, why, jiffies_to_msecs(jiffies - port->drained));
	if (time_after(jiffies, port->stalls_since + SM_STALLS_IN)) {
		port->stalls_since = jiffies;
		port->stalls = 0;
	}
	/* Its next sync says so: here a console may want the NIC whose lock we have */
	if (++port->stalls == SM_STALLS)
		WRITE_ONCE(port->stalls_log, why + 1);
}

/**
 * sm_claim_log() - tell the administrator of an owner that stalls again and again
 * @port: the port; the owner calls, without a lock
 */
void sm_claim_log(struct sm_port *port)
{
	u8 why;

	/* Else its next sync tries again */
	if (!net_ratelimit())
		return;
	why = xchg(&port->stalls_log, 0);
	if (why)
		pr_notice("stackmap: the owner of queue %u of interface %u (%s, pid %d) has stalled %u times in %u s: it %s\n",
			  port->reg.queue, port->reg.ifindex, current->comm, current->tgid,
			  SM_STALLS, SM_STALLS_IN / HZ,
			  why == STACKMAP_RELEASED_BLOCKED + 1 ? "sleeps in other system calls" :
								 "syncs too seldom");
}

/*
 * At every tick while the NIC is claimed. Who waits for it is not made to wait
 * until the owner has stalled. And an owner has stalled if it has not emptied the
 * NIC for that long, though it may have synced: what others wait for is behind
 * what it left. When it is not claimed any more: a few times, for what it commits late.
 */
static void sm_stall_check(struct timer_list *timer)
{
	struct sm_port *port = timer_container_of(port, timer, stall_timer);
	struct sm_nic *nic = &port->nic;
	bool blocked;
	u32 why;

	/* A sync has it, and looks at the same */
	if (!spin_trylock(&port->lock)) {
		mod_timer(timer, jiffies + 1);
		return;
	}
	blocked = sm_claim_owner_sleeps(port);
	if (!nic->claimed) {
		sm_claim_lost(port);
		sm_claim_send_early(port);
		if (nic->dev && time_before(jiffies, port->drained + 2 * port->stall))
			mod_timer(timer, jiffies + port->stall);
	} else if (nic->ops->wanted(nic)) {
		sm_claim_give_up(port, STACKMAP_RELEASED_WANTED);
	} else if (!blocked && time_before(jiffies, port->drained + port->stall)) {
		mod_timer(timer, jiffies + 1);
	} else {
		why = blocked ? STACKMAP_RELEASED_BLOCKED : STACKMAP_RELEASED_STALL;
		sm_claim_stalled(port, why);
		sm_claim_give_up(port, why);
	}
	spin_unlock(&port->lock);
}

/**
 * sm_claim_sleep() - the application is going to sleep
 * @port: the port, locked
 */
void sm_claim_sleep(struct sm_port *port)
{
	if (port->nic.claimed) {
		port->stats.sleeps++;
		sm_claim_release(port, STACKMAP_RELEASED_SLEEP);
	}
}

/**
 * sm_claim_take() - take the NIC from its interrupts: see sm_claim()
 * @port: the port, locked
 *
 * Return: false when it cannot be had now: a softirq has it, say.
 */
bool sm_claim_take(struct sm_port *port)
{
	if (unlikely(READ_ONCE(sm_claims_frozen)) || !port->nic.ops->claim(&port->nic)) {
		port->count.unclaimed++;
		trace_stackmap_claim(port, false);
		if (!timer_pending(&port->stall_timer))
			mod_timer(&port->stall_timer, jiffies + port->stall);
		return false;
	}
	/* Its driver may have taken it back by itself */
	sm_claim_lost(port);
	port->held = true;
	port->count.claims++;
	trace_stackmap_claim(port, true);
	port->drained = jiffies;
	mod_timer(&port->stall_timer, jiffies + 1);
	return true;
}

/**
 * sm_claim_set_down() - have the NIC back, and say whether it may be claimed again
 * @port: the port
 * @down: its interface is going down, or else is up
 */
void sm_claim_set_down(struct sm_port *port, bool down)
{
	spin_lock_bh(&port->lock);
	port->nic.down = down;
	if (down)
		sm_claim_release(port, STACKMAP_RELEASED_DOWN);
	spin_unlock_bh(&port->lock);
}

/**
 * sm_claim_init() - of a new port
 * @port: the port
 */
void sm_claim_init(struct sm_port *port)
{
	port->stall = max(1ul, usecs_to_jiffies(port->reg.stall_us));
	timer_setup(&port->stall_timer, sm_stall_check, 0);
}

/**
 * sm_claim_end() - the interface is no longer the port's
 * @port: the port
 */
void sm_claim_end(struct sm_port *port)
{
	spin_lock_bh(&port->lock);
	sm_claim_release(port, STACKMAP_RELEASED_CLOSE);
	port->nic.dev = NULL;
	spin_unlock_bh(&port->lock);
	timer_delete_sync(&port->stall_timer);
}

/**
 * sm_claims_freeze() - whether any port may claim its NIC
 * @freeze: none may, from now on; those that have it are to be stopped
 */
void sm_claims_freeze(bool freeze)
{
	WRITE_ONCE(sm_claims_frozen, freeze);
}

/**
 * sm_claim_stop() - have the NIC back
 * @port: the port, which may claim it at once, or has been forbidden to before
 */
void sm_claim_stop(struct sm_port *port)
{
	spin_lock_bh(&port->lock);
	sm_claim_release(port, STACKMAP_RELEASED_SUSPEND);
	spin_unlock_bh(&port->lock);
}
