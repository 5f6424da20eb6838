/* SPDX-License-Identifier: GPL-2.0 */
/*
 * trace.h - what can be traced of ports: events of the system "stackmap"
 *
 * Their names and fields stay; new fields come behind the others. What they mean is in
 * stackmap(8). Numbers in fields "why" are of stackmap.h. An event that nobody has turned on is a
 * no-op in the code.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM stackmap

#if !defined(SM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define SM_TRACE_H

#include <linux/tracepoint.h>
#include <linux/inet.h>
#include <net/inet_sock.h>
#include <uapi/stackmap.h>

#include "port.h"

#define SM_SHOW_COPY(rx, why)								\
	((rx) ? __print_symbolic(why,							\
			{ STACKMAP_COPY_HEAD, "head" },					\
			{ STACKMAP_COPY_FOREIGN, "foreign" },				\
			{ STACKMAP_COPY_SHARED, "shared" },				\
			{ STACKMAP_COPY_CREDIT, "credit" },				\
			{ STACKMAP_COPY_FULL, "full" }) :				\
		__print_symbolic(why,							\
			{ STACKMAP_COPY_NO_BUFFER, "no_buffer" },			\
			{ STACKMAP_COPY_NO_SG, "no_sg" }))

#define SM_SHOW_REFUSED(why)								\
	__print_symbolic(why,								\
		{ STACKMAP_REFUSED_ROOM, "room" },					\
		{ STACKMAP_REFUSED_ORDER, "order" },					\
		{ STACKMAP_REFUSED_LOCKED, "locked" },					\
		{ STACKMAP_REFUSED_MEMORY, "memory" },					\
		{ STACKMAP_REFUSED_NO_BUFFER, "no_buffer" },				\
		{ STACKMAP_REFUSED_EBADF, "ebadf" },					\
		{ STACKMAP_REFUSED_ESTALE, "estale" },					\
		{ STACKMAP_REFUSED_EINVAL, "einval" },					\
		{ STACKMAP_REFUSED_EPIPE, "epipe" },					\
		{ STACKMAP_REFUSED_OTHER, "other" })

#define SM_SHOW_RELEASED(why)								\
	__print_symbolic(why,								\
		{ STACKMAP_RELEASED_SLEEP, "sleep" },					\
		{ STACKMAP_RELEASED_STALL, "stall" },					\
		{ STACKMAP_RELEASED_BLOCKED, "blocked" },				\
		{ STACKMAP_RELEASED_WANTED, "wanted" },					\
		{ STACKMAP_RELEASED_DOWN, "down" },					\
		{ STACKMAP_RELEASED_CLOSE, "close" },					\
		{ STACKMAP_RELEASED_SUSPEND, "suspend" })

#define SM_SHOW_DETACHED(why)								\
	__print_symbolic(why,								\
		{ STACKMAP_DETACHED_ASKED, "asked" },					\
		{ STACKMAP_DETACHED_CLOSED, "closed" },					\
		{ STACKMAP_DETACHED_STRAY, "stray" },					\
		{ STACKMAP_DETACHED_PORT, "port" })

#define SM_SHOW_DROP(why)								\
	__print_symbolic(why,								\
		{ STACKMAP_DROP_LENGTH, "length" },					\
		{ STACKMAP_DROP_MEMORY, "memory" },					\
		{ STACKMAP_DROP_HEADER, "header" },					\
		{ STACKMAP_DROP_SEND, "send" })

/* A port is named by its interface and queue in every event */
TRACE_EVENT(stackmap_register,
	TP_PROTO(const struct stackmap_register *reg, int err),
	TP_ARGS(reg, err),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(int, err)
		__field(u32, nic)
		__field(u32, rx_slots)
		__field(u32, tx_slots)
		__field(u32, frames)
		__field(u32, stall_us)
	),
	TP_fast_assign(
		__entry->ifindex = reg->ifindex;
		__entry->queue = reg->queue;
		__entry->err = err;
		__entry->nic = reg->nic;
		__entry->rx_slots = reg->rx_slots;
		__entry->tx_slots = reg->tx_slots;
		__entry->frames = reg->frames;
		__entry->stall_us = reg->stall_us;
	),
	TP_printk("ifindex=%u queue=%u err=%d nic=%s rx_slots=%u tx_slots=%u frames=%u stall_us=%u",
		  __entry->ifindex, __entry->queue, __entry->err,
		  __print_symbolic(__entry->nic, { 0, "none" }, { STACKMAP_NIC_NAPI, "napi" },
				   { STACKMAP_NIC_VIRTIO, "virtio" }),
		  __entry->rx_slots, __entry->tx_slots, __entry->frames, __entry->stall_us)
);

TRACE_EVENT(stackmap_close,
	TP_PROTO(const struct sm_port *port),
	TP_ARGS(port),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(u64, syncs)
		__field(u64, rx_slots)
		__field(u64, tx_slots)
		__field(u32, sockets)
	),
	TP_fast_assign(
		__entry->ifindex = port->reg.ifindex;
		__entry->queue = port->reg.queue;
		__entry->syncs = port->stats.syncs;
		__entry->rx_slots = port->stats.rx_slots;
		__entry->tx_slots = port->stats.tx_slots;
		__entry->sockets = port->nsocks;
	),
	TP_printk("ifindex=%u queue=%u syncs=%llu rx_slots=%llu tx_slots=%llu sockets=%u",
		  __entry->ifindex, __entry->queue, __entry->syncs, __entry->rx_slots,
		  __entry->tx_slots, __entry->sockets)
);

/* @sk is NULL where @fd is no TCP socket */
TRACE_EVENT(stackmap_attach,
	TP_PROTO(const struct sm_port *port, s32 fd, const struct sock *sk, u32 gen, int err),
	TP_ARGS(port, fd, sk, gen, err),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(s32, fd)
		__field(u32, gen)
		__field(int, err)
		__field(u16, family)
		__field(u16, state)
		__field(u16, sport)
		__field(u16, dport)
		__field(const void *, skaddr)
	),
	TP_fast_assign(
		__entry->ifindex = port->reg.ifindex;
		__entry->queue = port->reg.queue;
		__entry->fd = fd;
		__entry->gen = gen;
		__entry->err = err;
		__entry->family = sk ? sk->sk_family : 0;
		__entry->state = sk ? READ_ONCE(sk->sk_state) : 0;
		__entry->sport = sk ? sk->sk_num : 0;
		__entry->dport = sk ? ntohs(sk->sk_dport) : 0;
		__entry->skaddr = sk;
	),
	TP_printk("ifindex=%u queue=%u fd=%d gen=%u err=%d family=%u state=%u sport=%u dport=%u skaddr=%p",
		  __entry->ifindex, __entry->queue, __entry->fd, __entry->gen, __entry->err,
		  __entry->family, __entry->state, __entry->sport, __entry->dport, __entry->skaddr)
);

TRACE_EVENT(stackmap_detach,
	TP_PROTO(const struct sm_sock *ss, u32 why),
	TP_ARGS(ss, why),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(s32, fd)
		__field(u32, gen)
		__field(u32, why)
		__field(u64, rx_slots)
		__field(u64, tx_slots)
		__field(const void *, skaddr)
	),
	TP_fast_assign(
		__entry->ifindex = ss->port->reg.ifindex;
		__entry->queue = ss->port->reg.queue;
		__entry->fd = ss->fd;
		__entry->gen = ss->gen;
		__entry->why = why;
		__entry->rx_slots = ss->count.rx_slots;
		__entry->tx_slots = ss->count.tx_slots;
		__entry->skaddr = ss->sk;
	),
	TP_printk("ifindex=%u queue=%u fd=%d gen=%u why=%s rx_slots=%llu tx_slots=%llu skaddr=%p",
		  __entry->ifindex, __entry->queue, __entry->fd, __entry->gen,
		  SM_SHOW_DETACHED(__entry->why), __entry->rx_slots, __entry->tx_slots,
		  __entry->skaddr)
);

/* At its end. @rx_packets: the NIC received; @tx_segments: TCP sent from within its writes */
TRACE_EVENT(stackmap_sync,
	TP_PROTO(const struct sm_port *port, u32 tx_slots, u32 rx_slots, u32 tx_segments,
		 u32 rx_packets, u64 ns, int ret),
	TP_ARGS(port, tx_slots, rx_slots, tx_segments, rx_packets, ns, ret),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(u32, tx_slots)
		__field(u32, refused)
		__field(u32, rx_slots)
		__field(u32, tx_segments)
		__field(u32, rx_packets)
		__field(u64, ns)
		__field(int, ret)
		__field(bool, claimed)
	),
	TP_fast_assign(
		__entry->ifindex = port->reg.ifindex;
		__entry->queue = port->reg.queue;
		__entry->tx_slots = tx_slots;
		__entry->refused = port->refused;
		__entry->rx_slots = rx_slots;
		__entry->tx_segments = tx_segments;
		__entry->rx_packets = rx_packets;
		__entry->ns = ns;
		__entry->ret = ret;
		__entry->claimed = port->nic.claimed;
	),
	TP_printk("ifindex=%u queue=%u tx_slots=%u refused=%u rx_slots=%u tx_segments=%u rx_packets=%u ns=%llu ret=%d claimed=%d",
		  __entry->ifindex, __entry->queue, __entry->tx_slots, __entry->refused,
		  __entry->rx_slots, __entry->tx_segments, __entry->rx_packets, __entry->ns,
		  __entry->ret, __entry->claimed)
);

TRACE_EVENT(stackmap_claim,
	TP_PROTO(const struct sm_port *port, bool got),
	TP_ARGS(port, got),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(bool, got)
	),
	TP_fast_assign(
		__entry->ifindex = port->reg.ifindex;
		__entry->queue = port->reg.queue;
		__entry->got = got;
	),
	TP_printk("ifindex=%u queue=%u got=%d", __entry->ifindex, __entry->queue, __entry->got)
);

TRACE_EVENT(stackmap_release,
	TP_PROTO(const struct sm_port *port, u32 why),
	TP_ARGS(port, why),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(u32, why)
	),
	TP_fast_assign(
		__entry->ifindex = port->reg.ifindex;
		__entry->queue = port->reg.queue;
		__entry->why = why;
	),
	TP_printk("ifindex=%u queue=%u why=%s", __entry->ifindex, __entry->queue,
		  SM_SHOW_RELEASED(__entry->why))
);

/* @late_ms: since the NIC was last seen to be empty */
TRACE_EVENT(stackmap_stall,
	TP_PROTO(const struct sm_port *port, u32 why, u32 late_ms),
	TP_ARGS(port, why, late_ms),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(u32, why)
		__field(u32, late_ms)
		__field(pid_t, pid)
		__array(char, comm, TASK_COMM_LEN)
	),
	TP_fast_assign(
		__entry->ifindex = port->reg.ifindex;
		__entry->queue = port->reg.queue;
		__entry->why = why;
		__entry->late_ms = late_ms;
		__entry->pid = port->owner ? port->owner->pid : 0;
		if (port->owner)
			memcpy(__entry->comm, port->owner->comm, TASK_COMM_LEN);
		else
			memset(__entry->comm, 0, TASK_COMM_LEN);
	),
	TP_printk("ifindex=%u queue=%u why=%s late_ms=%u owner=%s:%d", __entry->ifindex,
		  __entry->queue, SM_SHOW_RELEASED(__entry->why), __entry->late_ms,
		  __entry->comm, __entry->pid)
);

TRACE_EVENT(stackmap_refuse,
	TP_PROTO(const struct sm_port *port, s32 fd, u32 why, int err, u32 len),
	TP_ARGS(port, fd, why, err, len),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(s32, fd)
		__field(u32, why)
		__field(int, err)
		__field(u32, len)
	),
	TP_fast_assign(
		__entry->ifindex = port->reg.ifindex;
		__entry->queue = port->reg.queue;
		__entry->fd = fd;
		__entry->why = why;
		__entry->err = err;
		__entry->len = len;
	),
	TP_printk("ifindex=%u queue=%u fd=%d why=%s err=%d len=%u", __entry->ifindex,
		  __entry->queue, __entry->fd, SM_SHOW_REFUSED(__entry->why), __entry->err,
		  __entry->len)
);

TRACE_EVENT(stackmap_copy,
	TP_PROTO(const struct sm_port *port, s32 fd, bool rx, u32 why, u32 len),
	TP_ARGS(port, fd, rx, why, len),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(s32, fd)
		__field(u32, why)
		__field(u32, len)
		__field(bool, rx)
	),
	TP_fast_assign(
		__entry->ifindex = port->reg.ifindex;
		__entry->queue = port->reg.queue;
		__entry->fd = fd;
		__entry->why = why;
		__entry->len = len;
		__entry->rx = rx;
	),
	TP_printk("ifindex=%u queue=%u fd=%d %s why=%s len=%u", __entry->ifindex,
		  __entry->queue, __entry->fd, __entry->rx ? "rx" : "tx",
		  SM_SHOW_COPY(__entry->rx, __entry->why), __entry->len)
);

/* By the module's own driver, with or without a port on the queue */
TRACE_EVENT(stackmap_drop,
	TP_PROTO(const struct net_device *dev, u32 queue, u32 why, u32 len),
	TP_ARGS(dev, queue, why, len),
	TP_STRUCT__entry(
		__field(u32, ifindex)
		__field(u32, queue)
		__field(u32, why)
		__field(u32, len)
	),
	TP_fast_assign(
		__entry->ifindex = dev->ifindex;
		__entry->queue = queue;
		__entry->why = why;
		__entry->len = len;
	),
	TP_printk("ifindex=%u queue=%u why=%s len=%u", __entry->ifindex, __entry->queue,
		  SM_SHOW_DROP(__entry->why), __entry->len)
);

#endif /* SM_TRACE_H */

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
