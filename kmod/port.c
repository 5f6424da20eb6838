// SPDX-License-Identifier: GPL-2.0
/*
 * port.c - a port's sync loop, and waiting for what a sync would find
 *
 * The only file that knows the order in which things are done.
 */
#include "port.h"

#include <linux/file.h>
#include <linux/poll.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/pid.h>
#include <linux/sched/task.h>

#include "memory.h"
#include "trace.h"

/* Frames that are found to be in use still, before a sync stops to look for idle ones */
#define SM_REAP_BUSY	8

/* With sync_mutex held */
static noinline void sm_port_set_owner(struct sm_port *port)
{
	struct pid *pid = get_task_pid(current, PIDTYPE_TGID);
	struct task_struct *was = port->owner;

	spin_lock_bh(&port->lock);
	port->owner = get_task_struct(current);
	swap(port->pid, pid);
	spin_unlock_bh(&port->lock);
	put_pid(pid);
	if (was)
		put_task_struct(was);
}

/* Poll the NIC and run the stack. With the port's lock held */
static void sm_port_run_nic(struct sm_port *port)
{
	struct sm_nic *nic = &port->nic;
	int work = nic->ops->poll(nic, nic->ops->budget);

	if (work < nic->ops->budget)
		port->drained = jiffies;
	port->stats.nic_packets += work;
	port->stats.nic_polls++;
	if (unlikely(!nic->claimed))
		sm_claim_lost(port);
}

/* Whether from @from it is at most as far to @x as to @to, in a ring */
static bool sm_ring_between(u32 from, u32 x, u32 to, u32 mask)
{
	return x <= mask && ((x - from) & mask) <= ((to - from) & mask);
}

static void sm_port_set_polling(struct sm_port *port, bool polling)
{
	bool wake = false;

	spin_lock_bh(&port->list_lock);
	port->polling = polling;
	/* RLIMIT_NOFILE may have been raised */
	if (unlikely(!list_empty(&port->waiting)) && sm_sock_handle_is_left(port))
		list_splice_tail_init(&port->waiting, &port->ready);
	/* What came while polling was set has woken nobody */
	if (!polling)
		wake = !list_empty(&port->ready);
	spin_unlock_bh(&port->list_lock);
	if (wake && wq_has_sleeper(port->wait))
		wake_up_interruptible_poll(port->wait, EPOLLIN | EPOLLRDNORM);
}

/* A sync meets a wake: at its beginning, or as it waits. It does not (go on to) wait */
static noinline void sm_port_woken(struct sm_port *port, bool will_sleep)
{
	spin_lock_bh(&port->list_lock);
	WRITE_ONCE(port->woken,
		   port->woken == SM_WOKEN && will_sleep ? SM_WOKEN_PASSED : SM_WOKEN_NO);
	spin_unlock_bh(&port->list_lock);
}

/**
 * sm_port_wake() - STACKMAP_IOC_WAKE
 * @port: the port
 */
void sm_port_wake(struct sm_port *port)
{
	spin_lock_bh(&port->list_lock);
	WRITE_ONCE(port->woken, SM_WOKEN);
	spin_unlock_bh(&port->list_lock);
	/* Pairs with poll_wait(): who is to sleep is seen here, or sees woken */
	if (wq_has_sleeper(port->wait))
		wake_up_interruptible_poll(port->wait, EPOLLIN | EPOLLRDNORM);
}

/* What handles a round has closed or shut down, where it can sleep */
static void sm_port_handles(struct sm_port *port)
{
	if (unlikely(port->nfins || !list_empty_careful(&port->closing)))
		sm_handles_close(port, false);
}

/*
 * The interface is gone, and its sockets go on: what is committed becomes TCP's, as with write().
 * What has come stays in them, for whoever has them next. Returns -ENODEV
 */
static noinline int sm_port_round_gone(struct sm_port *port, u32 tx_head)
{
	bool more;

	do {
		spin_lock_bh(&port->lock);
		port->frames.dry = false;
		more = sm_tx(port, tx_head, true);
		spin_unlock_bh(&port->lock);
		if (unlikely(port->reserve.sk))
			sm_reserve_work(&port->reserve);
		sm_port_handles(port);
		cond_resched();
	} while (more);
	sm_reserve_end(&port->reserve);
	return -ENODEV;
}

/* Transmit, poll the NIC, deliver: one round. Returns slots delivered, or -ENODEV */
static int sm_port_round(struct sm_port *port, u32 tx_head)
{
	struct sm_nic *nic = &port->nic;
	bool more, begun;
	int n = 0;

	do {
		spin_lock_bh(&port->lock);
		if (unlikely(!nic->dev)) {
			spin_unlock_bh(&port->lock);
			return sm_port_round_gone(port, tx_head);
		}
		port->frames.dry = false;
		begun = sm_claim(port) && nic->ops->begin;
		if (begun)
			nic->ops->begin(nic);
		more = sm_tx(port, tx_head, true);
		if (begun && nic->ops->doorbell)
			nic->ops->doorbell(nic);
		if (nic->claimed)
			sm_port_run_nic(port);
		/* Once, so that what arrives in one batch is grouped by socket */
		if (!more)
			n = sm_rx(port, &port->ready);
		if (begun)
			nic->ops->flush(nic);
		/* Softirqs that are pending run here */
		spin_unlock_bh(&port->lock);
		if (unlikely(port->reserve.sk))
			sm_reserve_work(&port->reserve);
		sm_port_handles(port);
		cond_resched();
	} while (more);
	/* Behind the sockets that there were, as what it delivers is of others */
	if (!list_empty_careful(&port->accepting))
		n += sm_handles_accept(port);
	return n;
}

/* When a sync began to wait, or 0; and how far that got: by local_clock() */
struct sm_wait {
	u64 since;
	u64 now;
};

/*
 * Nothing came: whether the sync has waited for as long as it may. A function of
 * its own, as bench/instructions counts its calls: the rounds in vain.
 */
static noinline bool sm_port_waited(struct sm_wait *wait, u32 wait_us)
{
	wait->now = local_clock();
	if (wait->since)
		return sm_ns_between(wait->since, wait->now) >= wait_us * NSEC_PER_USEC;
	wait->since = wait->now;
	return false;
}

/* Whether what the sync watches is ready. May sleep, as an epoll set has a mutex */
static bool sm_port_watched(struct file *watch)
{
	return vfs_poll(watch, NULL) & (EPOLLIN | EPOLLRDNORM | EPOLLERR | EPOLLHUP);
}

/*
 * A batch of transmit slots begins, unless some of it was sent early: what follows a
 * slot that was refused then must not overtake it, and the sync tells of both. With sync_mutex held
 */
static void sm_port_begin_batch(struct sm_port *port)
{
	if (unlikely(port->early))
		return;
	port->sync_no = port->sync_no + 1 ?: 1;
	port->refused = 0;
}

/* What it did before the sync, to tell what it did in it */
struct sm_sync {
	u64 begin;
	u64 packets;
	u64 segments;
	u32 sent;
};

static void sm_port_sync_begins(struct sm_port *port, struct sm_sync *s)
{
	s->begin = local_clock();
	s->packets = port->stats.nic_packets;
	s->segments = port->count.tx_segments;
}

/* With the port's lock held. @got: receive slots, @ret: what the sync has come to */
static void sm_port_sync_ends(struct sm_port *port, const struct sm_sync *s,
			      const struct sm_wait *wait, u32 got, int ret)
{
	struct sm_counts *c = &port->count;
	u64 now = local_clock();
	u64 away = c->synced ? sm_ns_between(c->synced, s->begin) : 0;
	u64 took = sm_ns_between(s->begin, now);

	port->stats.syncs++;
	if (got)
		sm_count_batch(c, got);
	else if (!s->sent)
		port->stats.empty_syncs++;
	c->sync_ns += took;
	sm_count_time(c->sync_times, took);
	if (likely(c->synced)) {
		c->away_ns += away;
		sm_count_time(c->away_times, away);
	}
	c->synced = now;
	c->wait_ns += min(sm_ns_between(wait->since, wait->now), took);
	trace_stackmap_sync(port, s->sent, got, c->tx_segments - s->segments,
			    port->stats.nic_packets - s->packets, took, ret);
}

/**
 * sm_port_sync() - STACKMAP_IOC_SYNC
 * @port: the port
 * @sync: what the application asks for
 *
 * Return: the number of receive slots that are the application's, or an errno
 * as listed in stackmap.h.
 */
int sm_port_sync(struct sm_port *port, const struct stackmap_sync *sync)
{
	u32 tx_head, rx_head, got = 0;
	u32 wait_us = sync->wait_us, told = 0;
	struct sm_wait wait = { 0 };
	struct file *watch = NULL;
	struct sm_sync s;
	int n;

	if ((sync->flags & ~(STACKMAP_SYNC_SLEEP | STACKMAP_SYNC_WATCH)) || sync->reserved ||
	    wait_us > USEC_PER_SEC)
		return -EINVAL;
	if (unlikely(sync->flags & STACKMAP_SYNC_WATCH)) {
		watch = fget(sync->watch);
		if (!watch)
			return -EBADF;
	} else if (unlikely(sync->watch)) {
		return -EINVAL;
	}
	if (mutex_lock_interruptible(&port->sync_mutex)) {
		n = -EINTR;
		goto put_watch;
	}

	tx_head = READ_ONCE(port->tx.shared->head);
	/* Pairs with the application's release of head: slots are read after it */
	rx_head = smp_load_acquire(&port->rx.shared->head);
	if (tx_head > port->tx.mask ||
	    !sm_ring_between(port->rx.head, rx_head, port->rx.tail, port->rx.mask)) {
		n = -EINVAL;
		goto unlock;
	}
	if (unlikely(port->owner != current))
		sm_port_set_owner(port);
	port->rx.head = rx_head;
	sm_port_begin_batch(port);
	port->early = false;
	sm_port_sync_begins(port, &s);
	s.sent = (tx_head - port->tx.tail) & port->tx.mask;

	sm_port_set_polling(port, true);
	if (unlikely(READ_ONCE(port->woken))) {
		sm_port_woken(port, sync->flags & STACKMAP_SYNC_SLEEP);
		wait_us = 0;
	}
	spin_lock_bh(&port->lock);
	sm_frames_reap(&port->frames, min(32 + 2 * s.sent, 512u), SM_REAP_BUSY);
	spin_unlock_bh(&port->lock);
	/*
	 * No cpu_relax() between two rounds: each is some hundred instructions and
	 * so no tight loop. And an emulator (QEMU's TCG) leaves the CPU's loop for
	 * PAUSE and takes the lock that its NIC wants: round trips were 60 % longer.
	 */
	do {
		n = sm_port_round(port, tx_head);
		if (unlikely(port->put_file)) {
			port->put_file = false;
			wait_us = 0;
		}
		if (unlikely(watch) && sm_port_watched(watch))
			told |= STACKMAP_TOLD_WATCH;
		if (n || !wait_us || unlikely(told))
			break;
		if (unlikely(READ_ONCE(port->woken))) {
			sm_port_woken(port, sync->flags & STACKMAP_SYNC_SLEEP);
			break;
		}
		if (unlikely(signal_pending(current)))
			told = STACKMAP_TOLD_SIGNAL;
	} while (!told && !sm_port_waited(&wait, wait_us));
	WRITE_ONCE(port->rx.shared->told, told);
	if (n > 0)
		got = n;
	WRITE_ONCE(port->tx.shared->refused, port->refused);
	/* The application sees what became of its slots before it reuses them */
	smp_store_release(&port->tx.shared->tail,
			  (port->tx.tail + port->tx.mask) & port->tx.mask);

	spin_lock_bh(&port->lock);
	sm_port_sync_ends(port, &s, &wait, got, n);
	if ((sync->flags & STACKMAP_SYNC_SLEEP) && !got)
		sm_claim_sleep(port);
	spin_unlock_bh(&port->lock);
	sm_port_set_polling(port, false);
	if (n >= 0)
		n = (port->rx.tail - port->rx.head) & port->rx.mask;
unlock:
	mutex_unlock(&port->sync_mutex);
	if (unlikely(READ_ONCE(port->stalls_log)))
		sm_claim_log(port);
	/* Who unmaps it and finds the mutex taken was here before, and is seen; or finds it free */
	if (unlikely(!atomic_read(&port->mappings)))
		sm_port_flush(port);
	if (unlikely(!list_empty_careful(&port->strays)))
		sm_sock_detach_strays(port);
put_watch:
	if (unlikely(watch))
		fput(watch);
	return n;
}

/* Without charging in advance. Returns whether there was something. With sync_mutex held */
static bool sm_port_send_committed(struct sm_port *port)
{
	/* Pairs with the application's release of head: slots are read after it */
	u32 tx_head = smp_load_acquire(&port->tx.shared->head);
	u32 tail;
	bool more;

	if (tx_head > port->tx.mask || tx_head == port->tx.tail)
		return false;
	sm_port_begin_batch(port);
	do {
		sm_reserve_refuse(&port->reserve);
		spin_lock_bh(&port->lock);
		port->frames.dry = false;
		tail = port->tx.tail;
		more = sm_tx(port, tx_head, false);
		port->count.early_slots += (port->tx.tail - tail) & port->tx.mask;
		spin_unlock_bh(&port->lock);
		cond_resched();
	} while (more);
	sm_reserve_refuse(&port->reserve);
	return true;
}

/**
 * sm_port_early_work() - the owner has stalled: send what it has committed, and is not to wait for it
 * @work: of the port, which waits for it before it goes
 *
 * The slots stay what they are until the next sync tells what became of them. A sync that
 * goes on now does this itself. No fd is looked up in a table of the owner's here, and
 * none need be: what was committed before a descriptor was closed is to be sent.
 */
void sm_port_early_work(struct work_struct *work)
{
	struct sm_port *port = container_of(work, struct sm_port, early_work);

	if (!mutex_trylock(&port->sync_mutex))
		return;
	if (sm_port_send_committed(port))
		port->early = true;
	/* Who has unmapped it meanwhile has found the mutex taken: the rest of sm_port_flush() */
	if (!atomic_read(&port->mappings))
		sm_memory_close(port);
	mutex_unlock(&port->sync_mutex);
}

/**
 * sm_port_flush() - the application has unmapped its rings: send what is committed
 * @port: the port
 *
 * As a sync would, but for what comes back: what TCP does not take is lost, as what a
 * process has not written is.
 *
 * The caller has mmap_lock. A thread in send() has its socket's lock when it faults for
 * that, and a sync may wait for a socket's lock with sync_mutex held: so neither is waited for
 * here. If a sync goes on now, of another thread or process, it does this when it has
 * ended. And nothing is charged in advance, which needs a socket's lock: what might not
 * fit in a cgroup is not sent.
 */
void sm_port_flush(struct sm_port *port)
{
	/* It waits for nothing that the caller may have; and what it is at would be lost */
	cancel_work_sync(&port->early_work);
	if (!mutex_trylock(&port->sync_mutex))
		return;
	if (sm_port_send_committed(port) || port->early) {
		port->early = false;
		smp_store_release(&port->tx.shared->tail,
				  (port->tx.tail + port->tx.mask) & port->tx.mask);
	}
	/* It was this application's, which is gone perhaps; the port may have another one yet */
	sm_memory_close(port);
	mutex_unlock(&port->sync_mutex);
}

/**
 * sm_port_poll() - poll(), select() and epoll on a port
 * @port: the port
 * @wait: as for every poll; the caller has waited on the file's queue
 *
 * A caller that will sleep gives the NIC back to its interrupts. Sleepers in
 * epoll come here only when they are added, so they use STACKMAP_SYNC_SLEEP.
 *
 * Return: EPOLLIN with something to deliver or delivered, or a wake; EPOLLOUT always,
 * EPOLLERR and EPOLLHUP when the interface is gone.
 */
__poll_t sm_port_poll(struct sm_port *port, poll_table *wait)
{
	__poll_t mask = EPOLLOUT | EPOLLWRNORM;
	bool ready;

	spin_lock_bh(&port->lock);
	ready = READ_ONCE(port->rx.shared->head) != port->rx.tail;
	ready = ready || READ_ONCE(port->woken);
	if (!ready && sm_poll_waits(wait) && list_empty(&port->ready))
		sm_claim_sleep(port);
	if (!port->nic.dev)
		mask |= EPOLLERR | EPOLLHUP;
	spin_unlock_bh(&port->lock);
	if (ready || !list_empty_careful(&port->ready))
		mask |= EPOLLIN | EPOLLRDNORM;
	return mask;
}
