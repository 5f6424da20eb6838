// SPDX-License-Identifier: GPL-2.0
/*
 * port.c - a port: registration, its sync loop, waiting, closing
 *
 * The only file that knows the order in which things are done.
 */
#include "port.h"

#include "lsm.h"

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/nsproxy.h>
#include <linux/pid_namespace.h>
#include <linux/poll.h>
#include <linux/reboot.h>
#include <linux/rtnetlink.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/suspend.h>
#include <linux/vmalloc.h>
#include <net/net_namespace.h>

#define SM_RING_DEFAULT		1024
#define SM_STALL_DEFAULT_US	10000

static LIST_HEAD(sm_ports);
static DEFINE_MUTEX(sm_ports_mutex);
/* No claims: the machine goes to sleep, or down. Read with a port's lock held */
static bool sm_ports_frozen;

/* ------------------------------------------------------------ registration */

static bool sm_ring_size_ok(u32 *slots)
{
	if (!*slots)
		*slots = SM_RING_DEFAULT;
	return is_power_of_2(*slots) && *slots >= STACKMAP_RING_MIN &&
	       *slots <= STACKMAP_RING_MAX;
}

/* Check what the application asks for, fill in defaults and the layout */
static int sm_register_check(struct stackmap_register *reg)
{
	u64 frames;

	if (reg->version != STACKMAP_ABI_VERSION)
		return -EPROTONOSUPPORT;
	if (reg->flags || memchr_inv(reg->reserved, 0, sizeof(reg->reserved)))
		return -EINVAL;
	if (!sm_ring_size_ok(&reg->rx_slots) || !sm_ring_size_ok(&reg->tx_slots))
		return -EINVAL;
	if (!reg->stall_us)
		reg->stall_us = SM_STALL_DEFAULT_US;
	if (reg->stall_us < STACKMAP_STALL_MIN_US || reg->stall_us > STACKMAP_STALL_MAX_US)
		return -EINVAL;
	if (!reg->pool_bufs)
		reg->pool_bufs = max(2048u, 2 * reg->tx_slots);
	frames = (u64)reg->rx_slots + reg->tx_slots + reg->extra_bufs + reg->pool_bufs;
	if (frames > STACKMAP_FRAMES_MAX)
		return -EINVAL;

	reg->frame_size = SM_FRAME_SIZE;
	reg->frames = frames;
	reg->rx_off = 0;
	reg->tx_off = reg->rx_off +
		      PAGE_ALIGN(struct_size_t(struct stackmap_ring, slots, reg->rx_slots));
	reg->extra_off = reg->tx_off +
			 PAGE_ALIGN(struct_size_t(struct stackmap_ring, slots, reg->tx_slots));
	reg->frames_off = reg->extra_off + PAGE_ALIGN(reg->extra_bufs * sizeof(u32));
	reg->map_size = reg->frames_off + frames * SM_FRAME_SIZE;
	return 0;
}

static void sm_ring_init(struct sm_ring *ring, void *mem, u32 nslots, u32 *frame)
{
	u32 i;

	ring->shared = mem;
	ring->mask = nslots - 1;
	ring->shared->nslots = nslots;
	for (i = 0; i < nslots; i++)
		ring->shared->slots[i].buf = (*frame)++;
}

static int sm_port_alloc_memory(struct sm_port *port)
{
	struct stackmap_register *reg = &port->reg;
	u32 frame = 0;
	u32 *extra;
	int err;
	u32 i;

	port->mem_size = reg->frames_off;
	/* Its pages are allocated with these flags; only page tables are with GFP_KERNEL */
	port->mem = __vmalloc(port->mem_size, SM_GFP_USER | __GFP_ZERO);
	if (!port->mem)
		return -ENOMEM;
	err = sm_frames_init(&port->frames, reg->frames, reg->pool_bufs);
	if (err)
		return err;
	err = sm_tx_init(port);
	if (err)
		return err;
	sm_ring_init(&port->rx, port->mem + reg->rx_off, reg->rx_slots, &frame);
	sm_ring_init(&port->tx, port->mem + reg->tx_off, reg->tx_slots, &frame);
	extra = port->mem + reg->extra_off;
	for (i = 0; i < reg->extra_bufs; i++)
		extra[i] = frame++;
	/* All but one transmit slot are the application's */
	port->tx.shared->tail = port->tx.mask;
	return 0;
}

/* An owner configures the interface, and sees and makes raw packets on it */
static bool sm_may_own_in(const struct net *net)
{
	return ns_capable(net->user_ns, CAP_NET_ADMIN) && ns_capable(net->user_ns, CAP_NET_RAW);
}

static bool sm_queue_is_owned(const struct net_device *dev, u32 queue)
{
	struct sm_port *port;

	list_for_each_entry(port, &sm_ports, node)
		if (port->nic.dev == dev && port->nic.queue == queue)
			return true;
	return false;
}

/*
 * Before anything is allocated for someone who may not have it. It is looked at
 * again under RTNL, when the queue is taken.
 */
static int sm_register_allowed(const struct stackmap_register *reg)
{
	struct net *net = current->nsproxy->net_ns;
	bool there;

	rcu_read_lock();
	there = dev_get_by_index_rcu(net, reg->ifindex);
	rcu_read_unlock();
	if (!there)
		return -ENODEV;
	return sm_may_own_in(net) ? 0 : -EPERM;
}

/* Find the interface and make its queue this port's */
static int sm_port_take_queue(struct sm_port *port)
{
	struct net *net = current->nsproxy->net_ns;
	struct sm_nic *nic = &port->nic;
	struct net_device *dev;
	int err;

	rtnl_lock();
	mutex_lock(&sm_ports_mutex);
	err = -ENODEV;
	dev = __dev_get_by_index(net, port->reg.ifindex);
	if (!dev)
		goto out;
	err = -EPERM;
	if (!sm_may_own_in(net))
		goto out;
	err = -ENETDOWN;
	if (!netif_running(dev))
		goto out;
	err = -EBUSY;
	if (sm_queue_is_owned(dev, port->reg.queue))
		goto out;
	nic->ops = sm_virtio_is(dev) ? &sm_nic_virtio : &sm_nic_napi;
	nic->dev = dev;
	nic->queue = port->reg.queue;
	err = nic->ops->open(nic);
	if (err) {
		nic->dev = NULL;
		goto out;
	}
	netdev_hold(dev, &nic->tracker, GFP_KERNEL);
	port->reg.nic = nic->ops->kind;
	port->net = net;
	list_add_tail(&port->node, &sm_ports);
out:
	mutex_unlock(&sm_ports_mutex);
	rtnl_unlock();
	return err;
}

static void sm_port_free(struct sm_port *port)
{
	kfree(port->batch);
	sm_frames_free(&port->frames);
	vfree(port->mem);
	sm_limits_unpin(&port->pinned);
	xa_destroy(&port->by_fd);
	sm_lsm_exit(port);
	if (port->owner)
		put_task_struct(port->owner);
	put_pid(port->pid);
	kfree(port);
}

static void sm_stall_check(struct timer_list *timer);

/**
 * sm_port_register() - STACKMAP_IOC_REGISTER
 * @reg: what the application asks for; becomes what it gets
 * @wait: of the file, where poll() waits; it outlives the port
 *
 * Return: the port, or an errno as listed in stackmap.h.
 */
struct sm_port *sm_port_register(struct stackmap_register *reg, wait_queue_head_t *wait)
{
	struct sm_port *port;
	int err;

	err = sm_register_check(reg) ?: sm_register_allowed(reg);
	if (err)
		return ERR_PTR(err);
	port = kzalloc(sizeof(*port), SM_GFP_USER);
	if (!port)
		return ERR_PTR(-ENOMEM);
	port->reg = *reg;
	port->pid = get_task_pid(current, PIDTYPE_TGID);
	port->stall = max(1ul, usecs_to_jiffies(reg->stall_us));
	mutex_init(&port->sync_mutex);
	spin_lock_init(&port->lock);
	spin_lock_init(&port->list_lock);
	INIT_LIST_HEAD(&port->ready);
	INIT_LIST_HEAD(&port->socks);
	INIT_LIST_HEAD(&port->strays);
	port->nic.lock = &port->lock;
	port->nic.frames = &port->frames;
	xa_init_flags(&port->by_fd, XA_FLAGS_LOCK_BH);
	port->wait = wait;
	timer_setup(&port->stall_timer, sm_stall_check, 0);

	err = sm_limits_pin(&port->pinned, reg->map_size >> PAGE_SHIFT);
	if (!err)
		err = sm_limits_room(reg->map_size >> PAGE_SHIFT);
	if (!err)
		err = sm_lsm_init(port);
	if (!err)
		err = sm_port_alloc_memory(port);
	if (!err)
		err = sm_port_take_queue(port);
	if (err) {
		sm_port_free(port);
		return ERR_PTR(err);
	}
	*reg = port->reg;
	return port;
}

/* ----------------------------------------------------------- NIC and stall */

/* With the port's lock held */
static void sm_port_release_nic(struct sm_port *port)
{
	if (port->nic.claimed)
		port->nic.ops->release(&port->nic);
}

/* With RTNL and sm_ports_mutex held, and not the port's lock */
static void sm_port_drop_dev(struct sm_port *port)
{
	struct net_device *dev = port->nic.dev;

	if (!dev)
		return;
	spin_lock_bh(&port->lock);
	sm_port_release_nic(port);
	port->nic.dev = NULL;
	spin_unlock_bh(&port->lock);
	timer_delete_sync(&port->stall_timer);
	if (port->nic.ops->close)
		port->nic.ops->close(&port->nic, dev);
	netdev_put(dev, &port->nic.tracker);
	wake_up_interruptible_poll(port->wait, EPOLLERR | EPOLLHUP);
}

/*
 * Whether the owner sleeps somewhere in the kernel: it will not sync before it is
 * woken, and may be waiting for the very packets that nobody polls for, as close()
 * with SO_LINGER or a blocking connect() does. With the port's lock held.
 */
static bool sm_port_owner_sleeps(const struct sm_port *port)
{
	return port->owner && READ_ONCE(port->owner->__state) != TASK_RUNNING;
}

/* With sync_mutex held */
static noinline void sm_port_set_owner(struct sm_port *port)
{
	struct task_struct *was = port->owner;

	spin_lock_bh(&port->lock);
	port->owner = get_task_struct(current);
	spin_unlock_bh(&port->lock);
	if (was)
		put_task_struct(was);
}

/*
 * At every tick while the NIC is claimed. Who waits for it is not made to wait
 * until the owner has stalled. And an owner has stalled if it has not emptied the
 * NIC for that long, though it may have synced: what others wait for is behind
 * what it left.
 */
static void sm_stall_check(struct timer_list *timer)
{
	struct sm_port *port = from_timer(port, timer, stall_timer);
	struct sm_nic *nic = &port->nic;

	/* A sync has it, and looks at the same */
	if (!spin_trylock(&port->lock)) {
		mod_timer(timer, jiffies + 1);
		return;
	}
	if (nic->claimed) {
		if (nic->ops->wanted(nic)) {
			sm_port_release_nic(port);
		} else if (time_before(jiffies, port->drained + port->stall) &&
			   !sm_port_owner_sleeps(port)) {
			mod_timer(timer, jiffies + 1);
		} else {
			port->stats.stalls++;
			sm_port_release_nic(port);
		}
	}
	spin_unlock(&port->lock);
}

/* The application is going to sleep. With the port's lock held */
static void sm_port_sleep(struct sm_port *port)
{
	if (port->nic.claimed) {
		port->stats.sleeps++;
		sm_port_release_nic(port);
	}
}

/* Have the NIC, or false: a softirq has it now. With the port's lock held */
static bool sm_port_claim_nic(struct sm_port *port)
{
	if (port->nic.claimed)
		return true;
	if (unlikely(READ_ONCE(sm_ports_frozen)) || !port->nic.ops->claim(&port->nic))
		return false;
	port->drained = jiffies;
	mod_timer(&port->stall_timer, jiffies + 1);
	return true;
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
}

/* -------------------------------------------------------------------- sync */

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
			sm_reserve_end(&port->reserve);
			return -ENODEV;
		}
		begun = sm_port_claim_nic(port) && nic->ops->begin;
		if (begun)
			nic->ops->begin(nic);
		more = sm_tx(port, tx_head);
		if (begun && nic->ops->doorbell)
			nic->ops->doorbell(nic);
		if (nic->claimed)
			sm_port_run_nic(port);
		/* Once, so that what arrives in one batch is grouped by socket */
		if (!more)
			n = sm_rx(port);
		if (begun)
			nic->ops->flush(nic);
		/* Softirqs that are pending run here */
		spin_unlock_bh(&port->lock);
		if (unlikely(port->reserve.sk))
			sm_reserve_work(&port->reserve);
		cond_resched();
	} while (more);
	return n;
}

/*
 * Nothing came: whether the sync has waited for as long as it may. A function of
 * its own, as bench/instructions counts its calls: the rounds in vain.
 */
static noinline bool sm_port_waited(u64 *end, u32 wait_us)
{
	if (*end)
		return local_clock() >= *end;
	*end = local_clock() + wait_us * NSEC_PER_USEC;
	return false;
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
	u32 tx_head, rx_head, sent, got = 0;
	u32 wait_us = sync->wait_us;
	u64 end = 0;
	int n;

	if ((sync->flags & ~STACKMAP_SYNC_SLEEP) || sync->reserved ||
	    wait_us > USEC_PER_SEC)
		return -EINVAL;
	if (mutex_lock_interruptible(&port->sync_mutex))
		return -EINTR;

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
	port->sync_no = port->sync_no + 1 ?: 1;
	sent = (tx_head - port->tx.tail) & port->tx.mask;
	port->tx.shared->refused = 0;

	sm_port_set_polling(port, true);
	if (unlikely(READ_ONCE(port->woken))) {
		sm_port_woken(port, sync->flags & STACKMAP_SYNC_SLEEP);
		wait_us = 0;
	}
	spin_lock_bh(&port->lock);
	sm_frames_reap(&port->frames, min(32 + 2 * sent, 512u));
	spin_unlock_bh(&port->lock);
	/*
	 * No cpu_relax() between two rounds: each is some hundred instructions and
	 * so no tight loop. And an emulator (QEMU's TCG) leaves the CPU's loop for
	 * PAUSE and takes the lock that its NIC wants: round trips were 60 % longer.
	 */
	do {
		n = sm_port_round(port, tx_head);
		if (n || !wait_us)
			break;
		if (unlikely(READ_ONCE(port->woken))) {
			sm_port_woken(port, sync->flags & STACKMAP_SYNC_SLEEP);
			break;
		}
	} while (!signal_pending(current) && !sm_port_waited(&end, wait_us));
	if (n > 0)
		got = n;
	/* The application sees what became of its slots before it reuses them */
	smp_store_release(&port->tx.shared->tail,
			  (port->tx.tail + port->tx.mask) & port->tx.mask);

	spin_lock_bh(&port->lock);
	port->stats.syncs++;
	if (!sent && !got)
		port->stats.empty_syncs++;
	if ((sync->flags & STACKMAP_SYNC_SLEEP) && !got)
		sm_port_sleep(port);
	spin_unlock_bh(&port->lock);
	sm_port_set_polling(port, false);
	if (n >= 0)
		n = (port->rx.tail - port->rx.head) & port->rx.mask;
unlock:
	mutex_unlock(&port->sync_mutex);
	if (unlikely(!list_empty_careful(&port->strays)))
		sm_sock_detach_strays(port);
	return n;
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
	if (!ready && !poll_does_not_wait(wait) && list_empty(&port->ready))
		sm_port_sleep(port);
	if (!port->nic.dev)
		mask |= EPOLLERR | EPOLLHUP;
	spin_unlock_bh(&port->lock);
	if (ready || !list_empty_careful(&port->ready))
		mask |= EPOLLIN | EPOLLRDNORM;
	return mask;
}

/**
 * sm_port_mmap() - map rings and frames
 * @port: the port
 * @vma: must be all of it, shared
 *
 * Never executable. By page frame number, so that a mapping does not count in a frame's page
 * count (see frame.h). The file is held by the mapping, so the pages outlive
 * it.
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int sm_port_mmap(struct sm_port *port, struct vm_area_struct *vma)
{
	unsigned long addr = vma->vm_start;
	size_t off;
	int err;
	u32 i;

	if (vma->vm_pgoff || vma->vm_end - vma->vm_start != port->reg.map_size ||
	    !(vma->vm_flags & VM_SHARED) || (vma->vm_flags & VM_EXEC))
		return -EINVAL;
	vm_flags_mod(vma, VM_DONTCOPY, VM_MAYEXEC);
	for (off = 0; off < port->mem_size; off += PAGE_SIZE, addr += PAGE_SIZE) {
		err = remap_pfn_range(vma, addr, vmalloc_to_pfn(port->mem + off),
				      PAGE_SIZE, vma->vm_page_prot);
		if (err)
			return err;
	}
	for (i = 0; i < port->frames.n; i++, addr += PAGE_SIZE) {
		err = remap_pfn_range(vma, addr, page_to_pfn(port->frames.tab[i].page),
				      PAGE_SIZE, vma->vm_page_prot);
		if (err)
			return err;
	}
	return 0;
}

/**
 * sm_port_close() - the last reference to the file is gone
 * @port: the port, freed here
 */
void sm_port_close(struct sm_port *port)
{
	rtnl_lock();
	mutex_lock(&sm_ports_mutex);
	list_del(&port->node);
	sm_port_drop_dev(port);
	mutex_unlock(&sm_ports_mutex);
	rtnl_unlock();
	sm_sock_detach_all(port);
	sm_port_free(port);
}

/* -------------------------------------------------------------- all ports */

/**
 * sm_ports_info() - STACKMAP_IOC_INFO
 * @info: the question; becomes the answer
 *
 * Return: 0, or an errno as listed in stackmap.h.
 */
int sm_ports_info(struct stackmap_info *info)
{
	const struct stackmap_register *reg;
	struct sm_port *port, *found = NULL;
	u32 index = info->index;

	if (info->version != STACKMAP_ABI_VERSION)
		return -EPROTONOSUPPORT;
	if (memchr_inv(info->reserved, 0, sizeof(info->reserved)))
		return -EINVAL;
	mutex_lock(&sm_ports_mutex);
	list_for_each_entry(port, &sm_ports, node) {
		/* A port whose interface is gone is in no namespace any more */
		if (!port->nic.dev || !net_eq(port->net, current->nsproxy->net_ns))
			continue;
		if (!index--) {
			found = port;
			break;
		}
	}
	if (!found) {
		mutex_unlock(&sm_ports_mutex);
		return -ENOENT;
	}
	reg = &found->reg;
	info->ifindex = reg->ifindex;
	info->queue = reg->queue;
	info->nic = reg->nic;
	info->pid = pid_nr_ns(found->pid, task_active_pid_ns(current));
	info->rx_slots = reg->rx_slots;
	info->tx_slots = reg->tx_slots;
	info->extra_bufs = reg->extra_bufs;
	info->pool_bufs = reg->pool_bufs;
	info->stall_us = reg->stall_us;
	info->frames = reg->frames;
	spin_lock_bh(&found->lock);
	info->stats = found->stats;
	info->stats.frames_user = found->frames.held[SM_USER];
	info->stats.frames_pool = found->frames.held[SM_POOL];
	info->stats.frames_flight = found->frames.held[SM_FLIGHT] +
				    found->frames.held[SM_SENDING];
	info->stats.frames_nic = found->frames.held[SM_NIC] + found->frames.held[SM_STACK];
	spin_unlock_bh(&found->lock);
	spin_lock_bh(&found->list_lock);
	info->stats.sockets = found->nsocks;
	spin_unlock_bh(&found->list_lock);
	mutex_unlock(&sm_ports_mutex);
	return 0;
}

/* Have the queue of a port back, and say whether it may be claimed again */
static void sm_port_set_down(struct sm_port *port, bool down)
{
	spin_lock_bh(&port->lock);
	port->nic.down = down;
	if (down)
		sm_port_release_nic(port);
	spin_unlock_bh(&port->lock);
}

/*
 * An interface that goes down gets its queue back at once, and keeps it until it
 * is up. One that is unregistered or leaves its network namespace, which is
 * announced likewise, is gone for its port.
 */
static int sm_netdev_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct net_device *dev = netdev_notifier_info_to_dev(ptr);
	struct sm_port *port;

	if (event != NETDEV_GOING_DOWN && event != NETDEV_UP && event != NETDEV_UNREGISTER)
		return NOTIFY_DONE;
	mutex_lock(&sm_ports_mutex);
	list_for_each_entry(port, &sm_ports, node) {
		if (port->nic.dev != dev)
			continue;
		if (event == NETDEV_UNREGISTER)
			sm_port_drop_dev(port);
		else
			sm_port_set_down(port, event == NETDEV_GOING_DOWN);
	}
	mutex_unlock(&sm_ports_mutex);
	return NOTIFY_DONE;
}

static struct notifier_block sm_netdev_notifier = {
	.notifier_call = sm_netdev_event,
};

/*
 * Drivers suspend and shut down in ways of their own, some without RTNL: no queue is
 * claimed then. A claim is made with the port's lock held and looks at sm_ports_frozen
 * first, so that none is left after the loop.
 */
static void sm_ports_freeze(bool freeze)
{
	struct sm_port *port;

	mutex_lock(&sm_ports_mutex);
	WRITE_ONCE(sm_ports_frozen, freeze);
	list_for_each_entry(port, &sm_ports, node) {
		spin_lock_bh(&port->lock);
		if (freeze)
			sm_port_release_nic(port);
		spin_unlock_bh(&port->lock);
	}
	mutex_unlock(&sm_ports_mutex);
}

static int sm_pm_event(struct notifier_block *nb, unsigned long event, void *unused)
{
	switch (event) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		sm_ports_freeze(true);
		break;
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		sm_ports_freeze(false);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block sm_pm_notifier = {
	.notifier_call = sm_pm_event,
};

/* Down or over to another kernel: device_shutdown() comes next */
static int sm_reboot_event(struct notifier_block *nb, unsigned long event, void *unused)
{
	sm_ports_freeze(true);
	return NOTIFY_DONE;
}

static struct notifier_block sm_reboot_notifier = {
	.notifier_call = sm_reboot_event,
};

int sm_ports_init(void)
{
	int err;

	err = register_netdevice_notifier(&sm_netdev_notifier);
	if (err)
		return err;
	err = register_pm_notifier(&sm_pm_notifier);
	if (err)
		goto unregister_netdev;
	err = register_reboot_notifier(&sm_reboot_notifier);
	if (err)
		goto unregister_pm;
	return 0;
unregister_pm:
	unregister_pm_notifier(&sm_pm_notifier);
unregister_netdev:
	unregister_netdevice_notifier(&sm_netdev_notifier);
	return err;
}

void sm_ports_exit(void)
{
	unregister_reboot_notifier(&sm_reboot_notifier);
	unregister_pm_notifier(&sm_pm_notifier);
	unregister_netdevice_notifier(&sm_netdev_notifier);
}
