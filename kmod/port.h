/* SPDX-License-Identifier: GPL-2.0 */
/*
 * port.h - a port: one owner, one queue of a NIC, its rings, frames, sockets
 *
 *   main.c      /dev/stackmap
 *   register.c  how a port begins, with its memory, and how it ends
 *   info.c      what is told of it; trace.h: what can be traced
 *   ports.c     all of them: whose queue is whose, interfaces that go, machines that sleep
 *   port.c      a sync, and waiting for what one would find
 *   handle.c    sockets without descriptors
 *   claim.c     whose the NIC is: its owner's, or its interrupts'
 *   rx.c, tx.c  from TCP to receive slots, from transmit slots to TCP
 *   attach.c, detach.c, unread.c, hooks.c, acked.c, sock.c  a port's sockets
 *   nic_napi.c, drivers.c, virtio/                NICs, as nic.h has them
 *   memory.c    memory of the application that it sends from
 *   frame.c, limits.c, lsm.c                      buffers; memory, and what may be had of it; LSMs
 *
 * Each uses only those below it (tests/layers.sh).
 *
 * Locks, outermost first:
 *   sync_mutex  one sync at a time; guards the transmit batch, the
 *		 reservation, owner, sync_no, early, and what handles are
 *   lock	 (softirqs off) guards the NIC's state, the frames, the rings'
 *		 kernel side and the counters
 *   slock	 of a socket, as a softirq takes it
 *   list_lock	 (softirqs off) guards the lists of sockets, polling and woken
 * ports_mutex, inside RTNL, guards the list of all ports and a port's device.
 */
#ifndef SM_PORT_H
#define SM_PORT_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/stackmap.h>

#include "compat.h"
#include "count.h"
#include "frame.h"
#include "limits.h"
#include "nic.h"
#include "sock.h"

/* Transmit slots of one socket that become one write */
#define SM_TX_BATCH	64
/* Slots that a round deals with at most */
#define SM_TX_ROUND	64

/* Numbers of closed handles that are kept for the next ones, and their empty sockets */
#define SM_HANDLES_FREE	1024
#define SM_SOCKS_FREE	64

/* Sockets that are found by their number at once: a power of two */
#define SM_NEAR		1024

/*
 * STACKMAP_IOC_WAKE: which syncs a wake has met. Who sleeps in poll() syncs before, with
 * STACKMAP_SYNC_SLEEP: if that took the wake, the sleep after it would not be woken.
 */
enum {
	SM_WOKEN_NO,
	SM_WOKEN_PASSED,	/* one that was to sleep afterwards: poll() still tells */
	SM_WOKEN,		/* none */
};

struct sm_memory;
struct sm_tx_batch;

/**
 * struct sm_ring - the kernel's side of a ring
 * @shared: the ring in shared memory; only sync reads and writes it
 * @mask: number of slots less one; never read from shared memory
 * @head: receive: the application's head as last checked
 * @tail: receive: the next slot to deliver into. Transmit: the next to send
 */
struct sm_ring {
	struct stackmap_ring *shared;
	u32 mask;
	u32 head;
	u32 tail;
	u32 look;	/* receive: where an idle frame is looked for the next time (sm_rx_swap()) */
};

struct sm_port {
	/* Set at registration, constant */
	struct list_head node;		/* in the list of all ports */
	struct stackmap_register reg;	/* as answered */
	u64 net_cookie;			/* of the network namespace it was registered in */
	void *mem;			/* rings and extra list: vmalloc */
	size_t mem_size;

	struct sm_pinned pinned;
	atomic_t mappings;		/* of it, in pieces; the last one's end is the owner's */

	struct mutex sync_mutex;	/* one sync at a time */
	struct task_struct *owner;	/* who has synced last; written with lock held, too */
	struct sm_tx_batch *batch;
	struct sm_reserve reserve;	/* memory for a write of this sync */
	u32 sync_no;			/* of this sync, never 0 */
	u32 refused;			/* slots, since the last sync */
	bool early;			/* some of the next sync's slots were sent already */
	struct work_struct early_work;	/* sends them */
	bool put_file;			/* a handle's: the sync that did is not to wait */
	u32 nempty;
	struct socket *empty[SM_SOCKS_FREE]; /* see sm_sock_put_empty() */

	spinlock_t lock;		/* guards all down to stall_timer */
	struct pid *pid;		/* the process that has synced last, or has registered it */
	struct sm_nic nic;
	struct sm_frames frames;
	struct sm_ring rx;
	struct sm_ring tx;
	struct stackmap_stats stats;
	struct sm_counts count;
	struct sm_memory *memory[STACKMAP_MEMORIES]; /* by the numbers that slots have */
	unsigned long memory_pages;	/* of all of it */
	bool held;			/* the NIC was claimed, and it is not counted yet that it is no more */
	unsigned long drained;		/* jiffies: when the NIC was last seen to have no more */
	unsigned long stall;		/* jiffies */
	unsigned long stalls_since;	/* jiffies; stalls counts those since then */
	u32 stalls;
	u8 stalls_log;			/* why + 1: to be told by the next sync, without the lock */
	u32 nfins;			/* handles that are to be shut down */
	struct {
		s32 fd;
		u32 gen;		/* the number may name another one by then */
	} fins[SM_TX_ROUND];
	struct list_head closing;	/* detached handles whose sockets are to be closed */
	struct timer_list stall_timer;	/* runs while the NIC is claimed, and shortly after */

	spinlock_t list_lock;		/* guards all down to woken */
	struct list_head ready;		/* sockets with something to deliver */
	struct list_head socks;		/* all attached sockets */
	struct list_head strays;	/* of these, what is to be detached, see sm_sock_is_gone() */
	struct list_head accepting;	/* listeners with connections for sm_handles_accept() */
	struct list_head waiting;	/* likewise, as there is no handle for them */
	struct list_head fresh;		/* handles that this sync delivers from at last */
	u32 nsocks;
	u32 nhandles;			/* of these */
	u32 nfree;			/* handles that have had a socket: a number costs less than a new one */
	s32 free[SM_HANDLES_FREE];
	bool polling;			/* a sync will look at ready: no wake-up */
	u8 woken;			/* SM_WOKEN_*; read without the lock, too */

	struct mutex lsm_mutex;		/* guards lsm_sock */
	struct socket *lsm_sock;	/* see lsm.c */

	struct xarray by_fd;		/* number -> attached socket, under RCU */
	struct sm_sock __rcu *near[SM_NEAR]; /* some of these, found without a walk */
	wait_queue_head_t *wait;	/* poll(); the file's */
};

/* The socket with a number, or NULL; under RCU */
static inline struct sm_sock *sm_port_sock(struct sm_port *port, s32 fd)
{
	struct sm_sock *ss;

	if (unlikely(fd < 0))
		return NULL;
	ss = rcu_dereference(port->near[fd % SM_NEAR]);
	return likely(ss && ss->fd == fd) ? ss : xa_load(&port->by_fd, fd);
}

/* register.c */
struct sm_port *sm_port_register(struct stackmap_register *reg, wait_queue_head_t *wait);
void sm_port_close(struct sm_port *port);
int sm_port_mmap(struct sm_port *port, struct vm_area_struct *vma);

/* port.c */
int sm_port_sync(struct sm_port *port, const struct stackmap_sync *sync);
void sm_port_flush(struct sm_port *port);
void sm_port_early_work(struct work_struct *work);
void sm_port_wake(struct sm_port *port);
__poll_t sm_port_poll(struct sm_port *port, poll_table *wait);

/* ports.c */
int sm_ports_may_add(const struct stackmap_register *reg);
int sm_ports_add(struct sm_port *port);
void sm_ports_remove(struct sm_port *port);
int sm_ports_info(struct stackmap_info *info);
int sm_ports_detail(struct stackmap_detail *d);
int sm_ports_init(void);
void sm_ports_exit(void);

/* claim.c */
void sm_claim_init(struct sm_port *port);
bool sm_claim_take(struct sm_port *port);
void sm_claim_sleep(struct sm_port *port);
void sm_claim_set_down(struct sm_port *port, bool down);
void sm_claim_stop(struct sm_port *port);
void sm_claim_end(struct sm_port *port);
void sm_claim_lost(struct sm_port *port);
void sm_claim_log(struct sm_port *port);
void sm_claims_freeze(bool freeze);

/**
 * sm_claim() - have the NIC
 * @port: the port, locked
 *
 * Return: false when it cannot be had now.
 */
static inline bool sm_claim(struct sm_port *port)
{
	return likely(port->nic.claimed) || sm_claim_take(port);
}

/* rx.c and tx.c, called with the port's lock held, but for sm_tx_init() */
int sm_rx_init(void);
void sm_rx_exit(void);
u32 sm_rx(struct sm_port *port, struct list_head *from);
bool sm_rx_room(const struct sm_port *port);
void sm_rx_accepted(struct sm_sock *ss, const struct stackmap_accepted *about);
bool sm_tx(struct sm_port *port, u32 head, bool ends);
int sm_tx_init(struct sm_port *port);

#endif /* SM_PORT_H */
