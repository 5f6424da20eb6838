/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * stackmap.h - the ABI between stackmap.ko and the applications that use it
 *
 * This is the only file that kernel and user space share. An application
 * opens /dev/stackmap, registers one queue of one network interface (this
 * makes the file a *port*), maps the port's memory, attaches ordinary TCP
 * sockets by their file descriptors, and then exchanges payload for all of
 * them with one system call, STACKMAP_IOC_SYNC, per batch.
 *
 * The rings follow netmap (Rizzo, USENIX ATC '12) and its extension for TCP
 * sockets follows StackMap (Yasukata et al., USENIX ATC '16): a slot names a
 * buffer and a length as in netmap, and also a socket and a payload offset.
 *
 * All integers are in host byte order. Every reserved field must be zero:
 * a call with another value fails with EINVAL, so that it can get a meaning
 * later.
 */
#ifndef _UAPI_STACKMAP_H
#define _UAPI_STACKMAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define STACKMAP_ABI_VERSION	1

#define STACKMAP_DEVICE		"/dev/stackmap"

/* ------------------------------------------------------------------ rings */

/*
 * Receive: what the kernel reports in a slot. A slot carries either payload
 * (STACKMAP_RX_DATA: buf, off, len) or one or more events of its socket (any
 * of the others, len == 0). Events of a socket come after its payload; those
 * of sending (ROOM, CONNECTED, ACKED) do not wait for what STACKMAP_TX_CREDIT
 * holds back.
 */
#define STACKMAP_RX_DATA	0x0001	/* payload at [off, off + len) of buf */
/* The peer will send no more; or shutdown(SHUT_RD) here, after which more may come, and FIN behind it */
#define STACKMAP_RX_FIN		0x0002
/* The connection failed, or a listener was shut down or destroyed; or see IP_RECVERR: err */
#define STACKMAP_RX_ERROR	0x0004
/* A listener has connections waiting: at every sync until accept() took all */
#define STACKMAP_RX_ACCEPT	0x0008
#define STACKMAP_RX_ROOM	0x0010	/* after a refused slot: send again */
/* A connect() has finished that returned EINPROGRESS, or was made while attached */
#define STACKMAP_RX_CONNECTED	0x0020
/*
 * The peer has acknowledged all up to the end of a slot with STACKMAP_TX_ACKED.
 * taken: how many bytes it has acknowledged since attach (or since a later
 * connect()), modulo 2^32; the FIN is no byte, and what was sent before attach
 * does not count, though a mark waits for it too. Of the marks that are not told
 * yet the kernel keeps the first and the last: the event comes when the first is
 * reached, the last is always told, those in between no later than the last.
 * STACKMAP_RX_ERROR at the end of a connection drops what is not reached: it may
 * come in one slot with what is.
 */
#define STACKMAP_RX_ACKED	0x0040
/*
 * A listener that was attached with STACKMAP_ATTACH_ACCEPT has a new connection: fd is its handle, gen
 * its own, data the listener's. off and len say where in buf a struct stackmap_accepted lies; len is 0 if no
 * buffer was left for that. It is attached: its payload may follow in the same sync
 */
#define STACKMAP_RX_ACCEPTED	0x0080
/* With DATA: the payload lies where the NIC put it, it was not copied */
#define STACKMAP_RX_HANDED	0x0100

/*
 * Transmit: what the application asks for. A slot carries either payload (KEEP,
 * MORE, ACKED, MEMORY or none of them, len > 0), or one of the five requests without
 * payload, which are a mark (ACKED and len 0), RETURN, CREDIT, CLOSE and FIN. Slots are dealt
 * with in the order of the ring, whatever they are.
 */
/*
 * buf stays the application's, which promises not to change these bytes before
 * the peer has acknowledged them (responses kept in memory). STACKMAP_TX_ACKED
 * tells when that is; STACKMAP_TX_RETURN is for whoever does not want to wait.
 * The kernel keeps its side too: it never puts received payload into a buffer that
 * something refers to, though a receive slot names it: the slot gets an idle one
 * then, and the other goes back to the kernel, which has it when it is idle. Where the
 * kernel has no idle one either, it changes places with that of a free slot nearby
 */
#define STACKMAP_TX_KEEP	0x0001
/* More of this message follows in a later sync (as MSG_MORE) */
#define STACKMAP_TX_MORE	0x0002
/*
 * buf goes back to the kernel. If something still refers to it (it was sent with
 * STACKMAP_TX_KEEP and is not acknowledged, say) the kernel keeps it until it is
 * idle, and puts an idle one into the slot; else the slot's buf stays as it is.
 * Either way it is an idle buffer of the application's afterwards. No socket and no
 * payload: fd, gen, off and len are ignored. No other flag may be set with it
 * (EINVAL). Refused with EAGAIN when it is busy and no idle buffer is left: it is
 * the application's then as before, and busy
 */
#define STACKMAP_TX_RETURN	0x0004
/*
 * A mark: tell with STACKMAP_RX_ACKED when the peer has acknowledged all bytes of
 * the socket up to the end of this slot. With payload, and with KEEP and MORE, or
 * with len 0: a mark behind all that was sent before, by whomever; buf and off are
 * ignored then. If it is reached already, this very sync tells. The mark of a slot
 * that is not wholly taken is not set: it goes with the rest. It is also refused
 * as payload would be when a slot of the socket was refused before it (EAGAIN), and
 * with EPIPE where it could never be reached (a listener; a connection that has
 * ended by an error, or with bytes not acknowledged). After shutdown(SHUT_WR) it is in order.
 * A receiver on the same machine has the buffer itself in its queue, also when it has
 * acknowledged: what may be written to in every case is what STACKMAP_TX_RETURN leaves
 */
#define STACKMAP_TX_ACKED	0x0008
/*
 * How many more bytes of payload the socket may deliver, in the slot's data: 0:
 * none from now on; 2^64 - 1: without bound, as after attach; else so many more than
 * now, with 2^64 - 1 as the most. What credit holds back stays in the socket, whose
 * window closes; a plain read(), or one after detach, gets it. FIN, and an ERROR that
 * ends the connection, wait with the payload before them; all other events are told.
 * No payload: len must be 0, and no other flag may be set with it (EINVAL); buf and off
 * are ignored. Not refused for lack of room, and not by order. On a listener it changes
 * nothing. It outlives a connection of the socket, but not its detach. A grant makes the
 * socket ready: this very sync delivers
 */
#define STACKMAP_TX_CREDIT	0x0010
/*
 * A handle is given up, which may name another connection from then on. Its socket is closed, as close()
 * does it, but that SO_LINGER with a time is not waited for; unless there is a descriptor of it, or it is
 * another process's, too. No payload: len must be 0, and no other flag but ABORT set with it (EINVAL, also where
 * fd is a descriptor); buf and off are ignored. Refused with EAGAIN behind payload of it that was refused, and while
 * a thread is in a system call on it. The rest of its payload and its events are not delivered any more. Of
 * a slot that is sent early (see STACKMAP_IOC_SYNC) the next sync closes the socket, or the end of the port
 */
#define STACKMAP_TX_CLOSE	0x0020
/* With CLOSE: a reset. What is not sent yet is dropped, and it is not refused behind what was refused */
#define STACKMAP_TX_ABORT	0x0040
/*
 * shutdown(SHUT_WR) of a handle's socket: a FIN behind what was sent. It goes out as the sync ends: do not send
 * anything behind it. Else as CLOSE, also in what it is refused for
 */
#define STACKMAP_TX_FIN		0x0080
/*
 * The payload lies in memory of the application's own: buf is the number by which STACKMAP_IOC_MEMORY
 * has registered it, data the offset of the first byte there. There may be more of it than 65 535 bytes:
 * off is the upper half of the length, up to STACKMAP_TX_MEMORY_MAX. As with KEEP, which may be set, too, the
 * application promises not to change these bytes before the peer has acknowledged them (STACKMAP_TX_ACKED tells); here
 * that does for receivers on the same machine, too, which get a copy (but for net.ipv4.tcp_mtu_probing). In a refused
 * slot off, len and data are of what is left
 */
#define STACKMAP_TX_MEMORY	0x0100
#define STACKMAP_TX_MEMORY_MAX	(1u << 18)
/* Transmit: what the kernel answers */
/* Not taken, or not wholly: err tells why, off and len what is left */
#define STACKMAP_TX_REFUSED	0x8000

/**
 * struct stackmap_slot - one piece of payload, or one event, of one socket
 * @buf: the buffer, 0 <= buf < frames. The application may put another buffer
 *	of its own here (swap) in every slot that it owns, and in a refused slot
 *	until the next sync. After STACKMAP_TX_KEEP it is as it was.
 * @fd: the socket, by the number under which it was attached
 * @off: first byte of the payload in the buffer
 * @len: bytes of payload, 0 <= off + len <= frame_size, or large_size in a large buffer
 * @flags: STACKMAP_RX_* or STACKMAP_TX_*
 * @err: an errno, in receive slots with STACKMAP_RX_ERROR and in transmit
 *	slots with STACKMAP_TX_REFUSED: EAGAIN (the socket has no room; a
 *	STACKMAP_RX_ROOM event follows when it has; all later payload and marks of
 *	the socket in this sync are refused likewise, so that nothing overtakes it;
 *	a STACKMAP_TX_RETURN for which no idle buffer is left: no event), EBADF
 *	(fd is negative, or not attached),
 *	ESTALE (gen is not the attached socket's), EINVAL (a field out of range,
 *	or a buffer that is not the application's), EPIPE, ECONNRESET, ...
 * @data: receive: what the application gave at attach. Transmit: the number with
 *	STACKMAP_TX_CREDIT, the offset with STACKMAP_TX_MEMORY, else ignored.
 * @gen: tells two sockets apart that had the same fd one after the other. Never 0.
 *	Receive: what attach returned. Transmit: the same, or 0 not to check.
 * @taken: transmit, with STACKMAP_TX_REFUSED: bytes of this slot that TCP took.
 *	@off and @len have been advanced by as much already; @buf is still (or
 *	again) the application's and holds the rest. Receive: with
 *	STACKMAP_RX_ACKED: bytes acknowledged; else 0.
 */
struct stackmap_slot {
	__u32 buf;
	__s32 fd;
	__u16 off;
	__u16 len;
	__u16 flags;
	__u16 err;
	__u64 data;
	__u32 gen;
	__u32 taken;
};

/* What a sync tells beside slots */
#define STACKMAP_TOLD_WATCH	0x1	/* the watched descriptor is ready */
#define STACKMAP_TOLD_SIGNAL	0x2	/* a signal, or work of io_uring's, has cut the wait short */

/**
 * struct stackmap_ring - a ring of slots in memory shared with the kernel
 * @nslots: number of slots, a power of two. Written by the kernel once.
 * @head: the first slot that belongs to the application. Receive: it advances
 *	head past slots that it is done with. Transmit: past slots it has filled.
 * @tail: the first slot that belongs to the kernel again. Written by sync only.
 * @refused: transmit: how many slots the last sync marked STACKMAP_TX_REFUSED
 * @told: receive: STACKMAP_TOLD_*, by the last sync
 * @heir: receive: what an application leaves for the next one that has the port; the kernel does not look at it. Who
 *	does not leave it anything sets heir[0] to 0
 *
 * Slots from head up to but not including tail are the application's, as in
 * netmap. All indices are in [0, nslots). The kernel reads head once per sync;
 * a value out of range, or outside the application's own part, fails the sync
 * with EINVAL and changes nothing.
 */
struct stackmap_ring {
	__u32 nslots;
	__u32 reserved0[15];
	__u32 head;
	__u32 reserved1[15];
	__u32 tail;
	__u32 refused;
	__u32 told;
	__u32 reserved2[13];
	__u32 heir[2];
	__u32 reserved3[14];
	struct stackmap_slot slots[];
};

/* ----------------------------------------------------------------- reasons */

/* Why payload was copied: indices in @rx_copied of struct stackmap_detail ... */
#define STACKMAP_COPY_HEAD	0	/* so little that the driver had put it next to the headers */
#define STACKMAP_COPY_FOREIGN	1	/* the NIC has put it into memory that is not the port's */
#define STACKMAP_COPY_SHARED	2	/* somebody else looks at it: tcpdump, or the rest of the packet */
#define STACKMAP_COPY_CREDIT	3	/* credit holds back what follows in the same buffer */
#define STACKMAP_COPY_FULL	4	/* no slot is left, and in the one before there was room */
/* ... and in @tx_copied */
#define STACKMAP_COPY_NO_BUFFER	0	/* no idle buffer was left to take its place in the slot */
#define STACKMAP_COPY_NO_SG	1	/* the route's interface cannot send from more than one place */

/* Why a transmit slot was refused: indices in @refused. Up to NO_BUFFER with EAGAIN */
#define STACKMAP_REFUSED_ROOM		0	/* the socket's send buffer is full */
#define STACKMAP_REFUSED_ORDER		1	/* behind a slot of the same socket that was refused, or an error to be told */
#define STACKMAP_REFUSED_LOCKED		2	/* a thread is in a system call on the socket */
#define STACKMAP_REFUSED_MEMORY		3	/* the memory cgroup, TCP or the machine has no more */
#define STACKMAP_REFUSED_NO_BUFFER	4	/* STACKMAP_TX_RETURN, and no idle buffer is left */
#define STACKMAP_REFUSED_EBADF		5
#define STACKMAP_REFUSED_ESTALE		6
#define STACKMAP_REFUSED_EINVAL		7
#define STACKMAP_REFUSED_EPIPE		8
#define STACKMAP_REFUSED_OTHER		9	/* the error that has ended the connection */

/* Why the NIC went back to its interrupts: indices in @released */
#define STACKMAP_RELEASED_SLEEP		0	/* the owner waits in poll() */
#define STACKMAP_RELEASED_STALL		1	/* it has not emptied the NIC for stall_us */
#define STACKMAP_RELEASED_BLOCKED	2	/* it sleeps in another system call */
#define STACKMAP_RELEASED_WANTED	3	/* somebody reconfigures the interface, or may */
#define STACKMAP_RELEASED_DOWN		4	/* the interface goes down */
#define STACKMAP_RELEASED_CLOSE		5	/* the port is closed, or the interface is gone */
#define STACKMAP_RELEASED_SUSPEND	6	/* the machine goes to sleep, or down */

/* Why a socket was detached, in the trace event */
#define STACKMAP_DETACHED_ASKED		0	/* STACKMAP_IOC_DETACH */
#define STACKMAP_DETACHED_CLOSED	1	/* the socket was destroyed */
#define STACKMAP_DETACHED_STRAY		2	/* its number does not name it any more */
#define STACKMAP_DETACHED_PORT		3	/* the port was closed */

/* Why a packet was dropped, in the trace event: by the module's own driver */
#define STACKMAP_DROP_LENGTH		0	/* the device told an impossible length, or too many pieces */
#define STACKMAP_DROP_MEMORY		1	/* no memory for an skb */
#define STACKMAP_DROP_HEADER		2	/* the device's header makes no sense */
#define STACKMAP_DROP_SEND		3	/* the ring would never take it */

/* ----------------------------------------------------------------- handles */

/*
 * Numbers from here on name sockets of a port that have no descriptor: no descriptor is so large. They are
 * the port's, whoever syncs it, and are closed with it. Each port has as many as the process that syncs may have
 * descriptors (RLIMIT_NOFILE), and at most STACKMAP_HANDLES_MAX; beyond that, connections wait in their listener
 */
#define STACKMAP_HANDLE_MIN	0x40000000
#define STACKMAP_HANDLES_MAX	(1 << 20)

/**
 * struct stackmap_accepted - what is told of a new connection, see STACKMAP_RX_ACCEPTED
 * @fd: the listener
 * @gen: the listener's
 * @addrlen: bytes of @addr, 0 if it is not known any more
 * @reserved: 0
 * @addr: its peer: a struct sockaddr_in or sockaddr_in6
 */
struct stackmap_accepted {
	__s32 fd;
	__u32 gen;
	__u32 addrlen;
	__u32 reserved;
	__u8 addr[32];
};

/* ------------------------------------------------------------------ ioctls */

#define STACKMAP_RING_MIN	16u
#define STACKMAP_RING_MAX	16384u
#define STACKMAP_FRAMES_MAX	262144u
#define STACKMAP_LARGE_MAX	65536u
#define STACKMAP_STALL_MIN_US	1000u
#define STACKMAP_STALL_MAX_US	1000000u

/* What drives the NIC of a port */
#define STACKMAP_NIC_NAPI	1	/* its stock driver, polled by the port */
#define STACKMAP_NIC_VIRTIO	2	/* the module's own virtio driver */

/**
 * struct stackmap_register - STACKMAP_IOC_REGISTER: make the file a port
 * @version: in: STACKMAP_ABI_VERSION; else EPROTONOSUPPORT
 * @flags: in: 0
 * @ifindex: in: the interface, in the caller's network namespace; else ENODEV
 * @queue: in: its receive queue; EINVAL when the interface has not as many
 * @rx_slots: in: receive slots, a power of two in
 *	[STACKMAP_RING_MIN, STACKMAP_RING_MAX], 0 for 1024. out: as used
 * @tx_slots: in: transmit slots, likewise. out: as used
 * @extra_bufs: in: buffers beyond those in slots, for the application to swap
 * @pool_bufs: in: buffers for the kernel to give out while sent ones wait to
 *	be acknowledged, 0 for a default. out: as used. Their sum with the other
 *	three is at most STACKMAP_FRAMES_MAX
 * @stall_us: in: after this long without a sync that emptied the NIC it falls back to
 *	interrupts, in [STACKMAP_STALL_MIN_US, STACKMAP_STALL_MAX_US], 0 for
 *	10000. out: as used; the kernel rounds up to its clock tick
 * @nic: out: STACKMAP_NIC_*
 * @frame_size: out: bytes in a buffer that is no large one
 * @frames: out: number of buffers. A large one has large_size / frame_size numbers, of which
 *	the first is its name, and the others name nothing
 * @rx_off: out: where in the mapping the receive ring lies, in bytes
 * @tx_off: out: likewise the transmit ring
 * @extra_off: out: likewise an array of @extra_bufs __u32, the extra buffers
 * @frames_off: out: likewise buffer 0; buffer i is i * frame_size further on
 * @map_size: out: the size to mmap(), at offset 0, MAP_SHARED
 * @large_size: in: bytes in a large buffer: a power of two, more than a page and at most
 *	STACKMAP_LARGE_MAX; 0 with no @large_bufs
 * @large_bufs: in: how many there are besides those above, to receive into: a packet of 64 KB is one or two
 *	of them, and 17 of the others. They begin with the kernel, whose own driver gives them to the
 *	NIC, and come in receive slots, for which each other buffer that a slot names is as good.
 *	With their numbers the buffers are at most STACKMAP_FRAMES_MAX
 * @large_first: out: the number of the first of them; they are the last buffers
 * @reserved0: 0
 * @reserved: 0
 *
 * Needs CAP_NET_ADMIN and CAP_NET_RAW over the interface's network namespace
 * (EPERM). A queue has one owner at a time (EBUSY). The mapping's pages count
 * against RLIMIT_MEMLOCK of the caller's user, unless it has CAP_IPC_LOCK
 * (ENOBUFS), and are charged to the caller's memory cgroup. Other errors: EBUSY
 * (this file is a port already), EOPNOTSUPP (the interface has no pollable
 * driver, or one that is not known to bear an owner: the kernel's log says), ENETDOWN (it is down), ENOMEM (neither the cgroup nor the machine
 * has so much; nobody is killed for it).
 */
struct stackmap_register {
	__u32 version;
	__u32 flags;
	__u32 ifindex;
	__u32 queue;
	__u32 rx_slots;
	__u32 tx_slots;
	__u32 extra_bufs;
	__u32 pool_bufs;
	__u32 stall_us;
	__u32 nic;
	__u32 frame_size;
	__u32 frames;
	__u64 rx_off;
	__u64 tx_off;
	__u64 extra_off;
	__u64 frames_off;
	__u64 map_size;
	__u32 large_size;
	__u32 large_bufs;
	__u32 large_first;
	__u32 reserved0;
	__u64 reserved[2];
};

/* With STACKMAP_IOC_ATTACH */
/*
 * @fd is a listener. Its connections are accepted in syncs of this process, and attached under handles: see
 * STACKMAP_RX_ACCEPTED. STACKMAP_RX_ACCEPT is told only in syncs of another process, and where accept() has an error to
 * tell that may last
 */
#define STACKMAP_ATTACH_ACCEPT	0x1
/* @fd is no listener. It is attached under a handle, which has the socket as another descriptor would */
#define STACKMAP_ATTACH_HANDLE	0x2

/**
 * struct stackmap_attach - STACKMAP_IOC_ATTACH: have a socket's payload in rings
 * @fd: in: a TCP socket over IPv4 or IPv6, listening, connecting or connected.
 *	out: with STACKMAP_ATTACH_HANDLE the handle
 * @flags: in: 0 or one of STACKMAP_ATTACH_*
 * @data: in: comes back in every receive slot of the socket
 * @gen: out: comes back too; differs between any two attached sockets
 * @reserved: 0
 *
 * Errors: EBADF, ENOTSOCK, EOPNOTSUPP (not TCP, or MPTCP), EBUSY (an upper
 * layer such as kTLS or a sockmap uses the socket), EALREADY (it is attached
 * to a port), EINVAL (also a flag that is not for such a socket), EMFILE (no handle
 * is left), ENOTCONN (neither listening, connecting nor connected),
 * ENODEV (the port's interface is gone), ENXIO (the file is no port), ENOMEM, EACCES or
 * another errno of a security module that does not let the caller send or receive on it.
 * A plain close() detaches: a socket whose number does not name it any more in the process
 * that attached it is an ordinary one again for whoever else has it, see stackmap(7).
 */
struct stackmap_attach {
	__s32 fd;
	__u32 flags;
	__u64 data;
	__u32 gen;
	__u32 reserved[3];
};

/* With STACKMAP_IOC_DETACH */
/*
 * What was delivered and is not wanted goes back, in front of what was not delivered. A
 * FIN, and an error that has ended the connection, are read again behind it though they were told
 */
#define STACKMAP_DETACH_UNREAD	0x1
#define STACKMAP_UNREAD_MAX	(64u << 20)

/**
 * struct stackmap_detach - STACKMAP_IOC_DETACH: make it an ordinary socket again
 * @fd: in: the number under which it was attached, else EBADF. A handle: there has to be a
 *	descriptor of its socket, else EINVAL
 * @flags: in: STACKMAP_DETACH_*
 * @unread: in: with STACKMAP_DETACH_UNREAD the address of a struct stackmap_unread, else 0
 *
 * What has not been delivered stays on the socket for read().
 */
struct stackmap_detach {
	__s32 fd;
	__u32 flags;
	__u64 unread;
};

/**
 * struct stackmap_unread - payload that goes back to its socket
 * @addr: in: address of a copy of the last @len bytes that the socket has delivered
 * @len: in: how many, at most STACKMAP_UNREAD_MAX, else EMSGSIZE
 * @gen: in: the socket's, else ESTALE; 0 not to check
 * @reserved: 0
 *
 * Errors: EINVAL (it has not delivered so many since attach, or in this connection), EBADF
 * (it was closed meanwhile), ENOMEM, EFAULT, EINTR; EPERM (bytes for a socket of another
 * network namespace than the port's need CAP_NET_ADMIN there). After an error nothing has
 * changed. It is not looked at what the bytes are. What lies in a socket beyond its receive
 * buffer (SO_RCVBUF) closes its window.
 */
struct stackmap_unread {
	__u64 addr;
	__u32 len;
	__u32 gen;
	__u64 reserved[2];
};

/* With STACKMAP_IOC_SYNC */
/*
 * The caller will wait in poll() or epoll next: if nothing was delivered, leave
 * the NIC with its interrupts on
 */
#define STACKMAP_SYNC_SLEEP	0x1
/* The wait is for @watch, too */
#define STACKMAP_SYNC_WATCH	0x2

/**
 * struct stackmap_sync - STACKMAP_IOC_SYNC: exchange a batch, both ways
 * @flags: in: STACKMAP_SYNC_*
 * @wait_us: in: when there is nothing to deliver, poll the NIC for up to so
 *	many microseconds, at most 1000000. A signal ends the wait early
 * @watch: in: with STACKMAP_SYNC_WATCH a descriptor, else 0. The wait ends early
 *	when poll() would find EPOLLIN, EPOLLERR or EPOLLHUP on it: an epoll
 *	set, an eventfd ... It is asked once in any case, and takes as long as its
 *	poll() does. EBADF: it is none
 * @reserved: 0
 *
 * In the receive ring, @told says what there is beside slots: STACKMAP_TOLD_*.
 *
 * Gives the transmit slots to TCP, polls the NIC and runs the stack, delivers
 * receive slots, flushes the NIC once. Returns the number of receive slots
 * that are the application's now; every transmit slot up to head was dealt with
 * then, and none after an error but ENODEV. Errors: EINVAL (a reserved field, or a head
 * out of range), EINTR (a signal, while waiting for another thread's sync), EBADF (@watch),
 * ENODEV (the interface is gone: nothing is delivered any more), ENXIO. A NIC that is down is no error: it
 * receives nothing until it is up again. STACKMAP_IOC_WAKE ends the wait early, or
 * keeps the next sync from waiting. Slots that are committed as the last mapping of
 * the port goes, with munmap() or as the process ends or is killed, are given to TCP then
 * (an exec() closes what is close-on-exec before). What TCP has no room for is lost.
 *
 * Slots that are committed by moving head, and not synced as the owner of a claimed NIC stalls (it is busy,
 * or sleeps in another system call), are given to TCP then. What became of them the next
 * sync tells, as if it had done it.
 */
struct stackmap_sync {
	__u32 flags;
	__u32 wait_us;
	__s32 watch;
	__u32 reserved;
};

/**
 * struct stackmap_handle_fd - STACKMAP_IOC_HANDLE_FD: make a descriptor for a handle
 * @handle: in: the handle, else EBADF
 * @gen: in: its socket's, else ESTALE; 0 not to check
 * @flags: in: O_CLOEXEC, and O_NONBLOCK, which counts when the first is made
 * @reserved: 0
 *
 * For all that ordinary sockets can, and to pass it on. The handle stays what it is, and the socket
 * lives until both are closed; after STACKMAP_IOC_DETACH it is an ordinary one. Returns the descriptor. Errors:
 * EINVAL, EMFILE, ENFILE, ENOMEM, EINTR, ENXIO.
 */
struct stackmap_handle_fd {
	__s32 handle;
	__u32 gen;
	__u32 flags;
	__u32 reserved;
};

/* How much memory a port can have registered: pieces, and bytes in each */
#define STACKMAP_MEMORIES	64
#define STACKMAP_MEMORY_MAX	(1ull << 32)

/* With STACKMAP_IOC_MEMORY: give up @id. @addr and @len are 0 */
#define STACKMAP_MEMORY_FORGET	0x1

/**
 * struct stackmap_memory - STACKMAP_IOC_MEMORY: memory to send from, see STACKMAP_TX_MEMORY
 * @addr: in: where it begins in the calling process; need not be a page's beginning
 * @len: in: bytes, at most STACKMAP_MEMORY_MAX
 * @id: in: 0, or with STACKMAP_MEMORY_FORGET its number. out: the number for @buf of slots, in [0, STACKMAP_MEMORIES)
 * @flags: in: STACKMAP_MEMORY_*
 * @reserved: 0
 *
 * Its pages are pinned, and count against RLIMIT_MEMLOCK of the caller's user, unless it has CAP_IPC_LOCK, until it is
 * given up, or nobody has the port mapped any more: large pages as a whole. What is on its way then is as it was. What
 * is mapped at @addr afterwards is other memory. Large pages (MAP_HUGETLB, MADV_HUGEPAGE) make large fragments. It has
 * to be writable: ordinary memory, memfds and huge pages are, files are not but with MAP_PRIVATE (before 6.5 those of
 * MAP_SHARED are, too). Errors: EINVAL, ENOBUFS (the limit), ENOSPC (the port has as many as it can), EFAULT (it
 * is not all there, or is none that can be pinned), EOPNOTSUPP (likewise, of fsdax), ENOMEM, EINTR,
 * EBADF (there is none with this number), ENXIO (the file is no port).
 */
struct stackmap_memory {
	__u64 addr;
	__u64 len;
	__u32 id;
	__u32 flags;
	__u64 reserved[2];
};

/**
 * struct stackmap_stats - the counters of a port, since it was registered
 * @syncs: STACKMAP_IOC_SYNC calls
 * @empty_syncs: of these, with no slot sent and none delivered
 * @nic_polls: polls of the NIC
 * @nic_packets: packets which these polls received
 * @rx_slots: receive slots delivered, payload and events
 * @rx_copied_bytes: payload bytes that were copied into a buffer
 * @rx_handed_bytes: payload bytes handed over where they lay
 * @rx_full: syncs that left payload or events waiting as the ring was full
 * @tx_slots: transmit slots seen
 * @tx_copied_bytes: payload bytes TCP took as a copy (no idle buffer was left)
 * @tx_handed_bytes: payload bytes TCP took in the buffers themselves
 * @tx_refused: slots that came back with EAGAIN
 * @tx_bad: slots that came back with another error
 * @sleeps: times the NIC went back to interrupts as the owner waits in poll()
 * @stalls: likewise, as the owner had not emptied the NIC for stall_us, or slept
 *	in another system call
 * @sockets: sockets attached now
 * @frames_user: buffers in the application's hands now (slots, extra, kept)
 * @frames_pool: idle in the kernel's hands now
 * @frames_flight: sent and not yet acknowledged now
 * @frames_nic: in the NIC's receive ring, or in packets on their way now
 */
struct stackmap_stats {
	__u64 syncs;
	__u64 empty_syncs;
	__u64 nic_polls;
	__u64 nic_packets;
	__u64 rx_slots;
	__u64 rx_copied_bytes;
	__u64 rx_handed_bytes;
	__u64 rx_full;
	__u64 tx_slots;
	__u64 tx_copied_bytes;
	__u64 tx_handed_bytes;
	__u64 tx_refused;
	__u64 tx_bad;
	__u64 sleeps;
	__u64 stalls;
	__u64 sockets;
	__u64 frames_user;
	__u64 frames_pool;
	__u64 frames_flight;
	__u64 frames_nic;
	__u64 reserved[12];
};

/**
 * struct stackmap_info - STACKMAP_IOC_INFO: about a port, on any stackmap file
 * @version: in: STACKMAP_ABI_VERSION
 * @index: in: 0, 1, ... number of the port among those on interfaces of the
 *	caller's network namespace; ENOENT past the last
 * @ifindex: out: as in struct stackmap_register, and so on
 * @pid: out: the process that has synced it last, or else has registered it, in the caller's PID namespace; 0 if it
 *	is not there
 * @stats: out: its counters
 */
struct stackmap_info {
	__u32 version;
	__u32 index;
	__u32 ifindex;
	__u32 queue;
	__u32 nic;
	__s32 pid;
	__u32 rx_slots;
	__u32 tx_slots;
	__u32 extra_bufs;
	__u32 pool_bufs;
	__u32 stall_us;
	__u32 frames;
	__u32 large_size;
	__u32 large_bufs;
	__u64 reserved[1];
	struct stackmap_stats stats;
};

/* Times are counted by powers of two: see struct stackmap_detail */
#define STACKMAP_TIMES		24
#define STACKMAP_BATCHES	16

/**
 * struct stackmap_detail - STACKMAP_IOC_DETAIL: about a port, with what explains its counters
 * @info: in: version and index as with STACKMAP_IOC_INFO. out: the same as that tells, of the same moment
 * @rx_copied: bytes by STACKMAP_COPY_*; their sum is rx_copied_bytes
 * @tx_copied: likewise, tx_copied_bytes
 * @refused: slots by STACKMAP_REFUSED_*; their sum is tx_refused and tx_bad
 * @claims: times the NIC was taken from its interrupts
 * @unclaimed: rounds of syncs in which it could not be had: it is down, somebody reconfigures, a softirq has it
 * @released: times it went back to its interrupts by STACKMAP_RELEASED_*
 * @tx_segments: segments that TCP has sent from within its writes. More go out as acknowledgments come
 * @early_slots: transmit slots sent as the owner stalled or unmapped its rings, not by its sync
 * @sync_ns: nanoseconds within syncs, @wait_ns of them waiting for packets in vain
 * @away_ns: nanoseconds from the end of a sync to the beginning of the next
 * @sync_times: syncs by how long they took: [0] less than 1024 ns, [i] less than 2^(10 + i) ns, the last
 *	whatever takes longer
 * @away_times: likewise from one to the next
 * @batches: syncs by how many receive slots they delivered: [i] from 2^i to 2^(i + 1) - 1, the last more
 * @ready: sockets that have something to deliver now; it is not counted beyond 1024
 * @rx_waiting: receive slots that the application has not gone past
 * @tx_waiting: transmit slots that it has committed and not synced
 * @memory: bytes that the port has pinned: rings, buffers, and what STACKMAP_IOC_MEMORY has registered
 */
struct stackmap_detail {
	struct stackmap_info info;
	__u64 rx_copied[8];
	__u64 tx_copied[8];
	__u64 refused[16];
	__u64 claims;
	__u64 unclaimed;
	__u64 released[8];
	__u64 tx_segments;
	__u64 early_slots;
	__u64 sync_ns;
	__u64 wait_ns;
	__u64 away_ns;
	__u64 sync_times[STACKMAP_TIMES];
	__u64 away_times[STACKMAP_TIMES];
	__u64 batches[STACKMAP_BATCHES];
	__u32 ready;
	__u32 rx_waiting;
	__u32 tx_waiting;
	__u32 reserved0;
	__u64 memory;
	__u64 reserved[32];
};

/**
 * struct stackmap_sock_info - about an attached socket, by sock_diag
 * @ifindex: of its port, in the port's network namespace
 * @queue: likewise
 * @fd: the number under which it was attached
 * @gen: see struct stackmap_slot
 * @rx_slots: receive slots delivered of it, and so on, since it was attached; slots modulo 2^32
 *
 * It is the attribute STACKMAP_ULP_INFO in INET_DIAG_ULP_INFO of a socket whose INET_ULP_INFO_NAME is
 * "stackmap". `ss -i` shows the name, `stackmap sockets` all.
 */
struct stackmap_sock_info {
	__u32 ifindex;
	__u32 queue;
	__s32 fd;
	__u32 gen;
	__u64 rx_slots;
	__u64 rx_copied_bytes;
	__u64 rx_handed_bytes;
	__u64 tx_slots;
	__u64 tx_copied_bytes;
	__u64 tx_handed_bytes;
};

#define STACKMAP_ULP_INFO	0xB7

#define STACKMAP_IOC_REGISTER	_IOWR(0xB7, 1, struct stackmap_register)
#define STACKMAP_IOC_ATTACH	_IOWR(0xB7, 2, struct stackmap_attach)
#define STACKMAP_IOC_DETACH	_IOW(0xB7, 3, struct stackmap_detach)
#define STACKMAP_IOC_SYNC	_IOW(0xB7, 4, struct stackmap_sync)
#define STACKMAP_IOC_INFO	_IOWR(0xB7, 5, struct stackmap_info)
/*
 * End a wait, from any thread or process that has the file: the sync that waits
 * now, or else the next one, does not (go on to) wait for packets, and poll() says
 * EPOLLIN until the next sync begins. If that one has STACKMAP_SYNC_SLEEP, it hands
 * the wake on to the poll() after it, once. No argument. Error: ENXIO (the file is no port).
 */
#define STACKMAP_IOC_WAKE	_IO(0xB7, 6)
/*
 * What registering this file has answered, for a process that has got it from another one:
 * one that may register can open ports for those that may not. Whoever has the file can
 * do all that its owner can, but one at a time should. Error: ENXIO (the file is no port).
 */
#define STACKMAP_IOC_PORT	_IOR(0xB7, 7, struct stackmap_register)
#define STACKMAP_IOC_DETAIL	_IOWR(0xB7, 8, struct stackmap_detail)
#define STACKMAP_IOC_HANDLE_FD	_IOW(0xB7, 9, struct stackmap_handle_fd)
#define STACKMAP_IOC_MEMORY	_IOWR(0xB7, 10, struct stackmap_memory)

#endif /* _UAPI_STACKMAP_H */
