// SPDX-License-Identifier: GPL-2.0
/*
 * register.c - how a port begins, with its memory, and how it ends
 */
#include "port.h"

#include <linux/cred.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "lsm.h"
#include "memory.h"
#include "trace.h"

#define SM_RING_DEFAULT		1024
#define SM_STALL_DEFAULT_US	10000

static bool sm_ring_size_ok(u32 *slots)
{
	if (!*slots)
		*slots = SM_RING_DEFAULT;
	return is_power_of_2(*slots) && *slots >= STACKMAP_RING_MIN &&
	       *slots <= STACKMAP_RING_MAX;
}

static bool sm_large_ok(const struct stackmap_register *reg)
{
	if (!reg->large_bufs)
		return !reg->large_size;
	return is_power_of_2(reg->large_size) && reg->large_size > SM_FRAME_SIZE &&
	       reg->large_size <= STACKMAP_LARGE_MAX;
}

/* Check what the application asks for, fill in defaults and the layout */
static int sm_register_check(struct stackmap_register *reg)
{
	u64 frames;

	if (reg->version != STACKMAP_ABI_VERSION)
		return -EPROTONOSUPPORT;
	if (reg->flags || reg->reserved0 || memchr_inv(reg->reserved, 0, sizeof(reg->reserved)))
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
	reg->large_first = frames;
	frames += (u64)reg->large_bufs * (reg->large_size / SM_FRAME_SIZE);
	if (!sm_large_ok(reg) || frames > STACKMAP_FRAMES_MAX)
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
	err = sm_frames_init(&port->frames, reg->large_first, reg->pool_bufs,
			     reg->large_bufs, reg->large_size);
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

	err = sm_register_check(reg) ?: sm_ports_may_add(reg);
	if (err)
		goto refused;
	err = -ENOMEM;
	port = kzalloc(sizeof(*port), SM_GFP_USER);
	if (!port)
		goto refused;
	port->reg = *reg;
	port->pid = get_task_pid(current, PIDTYPE_TGID);
	mutex_init(&port->sync_mutex);
	spin_lock_init(&port->lock);
	spin_lock_init(&port->list_lock);
	INIT_LIST_HEAD(&port->ready);
	INIT_LIST_HEAD(&port->socks);
	INIT_LIST_HEAD(&port->strays);
	INIT_LIST_HEAD(&port->accepting);
	INIT_LIST_HEAD(&port->waiting);
	INIT_LIST_HEAD(&port->fresh);
	INIT_LIST_HEAD(&port->closing);
	port->nic.lock = &port->lock;
	port->nic.frames = &port->frames;
	xa_init_flags(&port->by_fd, XA_FLAGS_LOCK_BH | XA_FLAGS_ALLOC);
	port->wait = wait;
	INIT_WORK(&port->early_work, sm_port_early_work);
	sm_claim_init(port);

	err = sm_limits_pin(&port->pinned, reg->map_size >> PAGE_SHIFT);
	if (!err)
		err = sm_limits_room(reg->map_size >> PAGE_SHIFT);
	if (!err)
		err = sm_lsm_init(port);
	if (!err)
		err = sm_port_alloc_memory(port);
	if (!err)
		err = sm_ports_add(port);
	if (err) {
		sm_port_free(port);
		goto refused;
	}
	*reg = port->reg;
	trace_stackmap_register(reg, 0);
	return port;
refused:
	trace_stackmap_register(reg, err);
	return ERR_PTR(err);
}

static void sm_vm_open(struct vm_area_struct *vma)
{
	struct sm_port *port = vma->vm_private_data;

	atomic_inc(&port->mappings);
}

/*
 * The owner unmaps it, or has died. Of a process that ends this is called by exit_mm(), before
 * exit_files() closes its sockets one by one and this port: what it has committed is
 * sent while they are there. (If something else still holds its memory it comes later,
 * or with the file: then it is for those sockets that another process has, too.)
 */
static void sm_vm_close(struct vm_area_struct *vma)
{
	struct sm_port *port = vma->vm_private_data;

	if (atomic_dec_and_test(&port->mappings))
		sm_port_flush(port);
}

static const struct vm_operations_struct sm_vm_ops = {
	.open = sm_vm_open,
	.close = sm_vm_close,
};

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
	size_t off, size;
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
	for (i = 0; i < port->frames.n; i += size >> PAGE_SHIFT, addr += size) {
		size = sm_frame_is_large(&port->frames, i) ? port->reg.large_size : PAGE_SIZE;
		err = remap_pfn_range(vma, addr, page_to_pfn(port->frames.tab[i].page),
				      size, vma->vm_page_prot);
		if (err)
			return err;
	}
	vma->vm_private_data = port;
	vma->vm_ops = &sm_vm_ops;
	atomic_inc(&port->mappings);
	return 0;
}

/**
 * sm_port_close() - the last reference to the file is gone
 * @port: the port, freed here
 */
void sm_port_close(struct sm_port *port)
{
	trace_stackmap_close(port);
	sm_ports_remove(port);
	/* Its timer was the last that could queue it */
	cancel_work_sync(&port->early_work);
	sm_handles_close(port, true);
	sm_sock_detach_all(port);
	sm_memory_close(port);
	while (port->nempty)
		sock_release(port->empty[--port->nempty]);
	sm_port_free(port);
}
