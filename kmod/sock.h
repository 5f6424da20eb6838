/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sock.h - a socket attached to a port
 */
#ifndef SM_SOCK_H
#define SM_SOCK_H

#include <linux/fdtable.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <net/inet_connection_sock.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include <uapi/stackmap.h>

#include "acked.h"
#include "count.h"

/* Of sm_sock.credit: without bound */
#define SM_CREDIT_ALL	U64_MAX

struct sm_port;

/*
 * Bits of sm_sock.bits, for set_bit() and so on: a sync writes WANT_ROOM also
 * while a thread has the socket locked, and callbacks read them
 */
enum {
	SM_CONNECTING,	/* connect() has not finished, or is yet to come */
	SM_LISTENING,	/* was seen to be a listener: its end is to be told */
	SM_WANT_ROOM,	/* a slot was refused: tell when there is room */
	SM_WANT_ACKED,	/* a mark is to be told */
	SM_TOLD_FIN,	/* the event was delivered, maybe for shutdown() on this side */
	SM_TOLD_END,	/* ... for the peer's FIN */
	SM_TOLD_ERROR,	/* likewise; no more of this connection */
	SM_LISTENED,	/* was, or may have been, a listener while attached */
	SM_DETACHING,	/* whoever set it frees the structure */
	SM_ACCEPTS,	/* a listener whose connections come as handles */
	SM_BY_HAND,	/* ... but for the next, which accept() is to tell of */
	SM_WAITS,	/* there was none for them: it may be in the port's list of those that wait */
	SM_ABORT,	/* is to be closed with a reset */
};

/**
 * struct sm_sock - what a port knows of a socket
 * @sk: the socket. Not counted: the upper-layer hook clears every way to find
 *	this structure before the socket is destroyed. Whoever found it under RCU
 *	or the port's list lock takes a count with sm_sock_hold() before use.
 * @port: its port. Outlives it: a port detaches all before it goes
 * @ready: in the port's list of sockets with something to deliver
 * @all: in the port's list of all sockets
 * @data: the application's
 * @gen: told in every slot
 * @fd: the number that the application knows it by: a descriptor's, or a handle
 * @files: the table in which it was that; to compare with only
 * @sock: of a handle, which has a reference to its file, or where there is no file to it
 * @tgid: the process whose table that is
 * @bits: SM_*
 * @credit: how many bytes of payload it may deliver yet. A sync writes it, with the
 *	port's lock held; a callback reads it
 * @marks: what is to be told of sending
 * @taken: what had been taken out of its queue before, see unread.c
 * @count: what it has delivered and sent
 * @err: the error that has ended the connection, if that was told; else 0
 * @rcu: freed after a grace period, as callbacks run under RCU
 *
 * The two lists are guarded by the port's list_lock.
 */
struct sm_sock {
	struct sock *sk;
	struct sm_port *port;
	struct list_head ready;
	struct list_head all;
	u64 data;
	u32 gen;
	s32 fd;
	union {
		const struct files_struct *files;
		struct socket *sock;
	};
	pid_t tgid;
	int err;
	unsigned long bits;
	u64 credit;
	struct sm_marks marks;
	u64 taken;
	struct sm_sock_counts count;
	struct rcu_head rcu;
};

/*
 * Packets of @sk go out on the queue of its port, so that a NIC which steers by
 * that (as a virtio one does) has the answers come in there. The network core
 * forgets this when the socket's route changes, and newer ones when nobody has said it
 * for a second (net.core.txq_reselection_ms): so it is said with every write.
 */
static inline void sm_sock_use_queue(struct sock *sk, int queue)
{
	sk_tx_queue_set(sk, queue);
}

/**
 * sm_sock_hold() - make a socket that was found safe to lock
 * @ss: found under RCU or the port's list_lock, and still under it
 * @sk: its socket, as read from @ss
 *
 * Return: whether it is alive. The caller has to sock_put() it then.
 */
static inline bool sm_sock_hold(struct sm_sock *ss, struct sock *sk)
{
	if (unlikely(!refcount_inc_not_zero(&sk->sk_refcnt)))
		return false;
	/*
	 * TCP sockets are SLAB_TYPESAFE_BY_RCU: it may have been freed and be
	 * another one by now.
	 */
	if (likely(rcu_access_pointer(inet_csk(sk)->icsk_ulp_data) == ss))
		return true;
	sock_put(sk);
	return false;
}

/* Closed, or as good as: it delivers and sends nothing any more */
static inline bool sm_sock_is_over(const struct sm_sock *ss, const struct sock *sk)
{
	return sock_flag(sk, SOCK_DEAD) || !sk->sk_socket || test_bit(SM_DETACHING, &ss->bits);
}

/* Whether its number is a handle of the port, and no descriptor */
static inline bool sm_sock_is_handle(const struct sm_sock *ss)
{
	return ss->fd >= STACKMAP_HANDLE_MIN;
}

/*
 * Whether its number still names @sk. Where a descriptor was inherited or passed
 * on, the socket outlives that, and then its bytes are for whoever has it. Only
 * the process that attached it can be asked, in its own sync. Under RCU, with @sk
 * locked and not orphaned. The pointers are compared, never followed. (A handle, which names
 * it for as long as it is, has another one there, which is no task's table.)
 */
static inline bool sm_sock_is_named(const struct sm_sock *ss, const struct sock *sk)
{
	return current->files != ss->files ||
	       likely(files_lookup_fd_raw(current->files, ss->fd) == sk->sk_socket->file) ||
	       current->tgid != ss->tgid;	/* another's table, where that one was */
}

/* Never connected since the last connect(AF_UNSPEC) or the like; see tcp_disconnect() */
static inline bool sm_sock_is_unconnected(const struct sock *sk)
{
	return sk->sk_state == TCP_CLOSE && !inet_sk(sk)->inet_dport;
}

/* sock.c */
void sm_sock_ready(struct sm_sock *ss);
void sm_sock_stray(struct sm_sock *ss);
void sm_sock_accepting(struct sm_sock *ss);
void sm_sock_wait_for_handle(struct sm_sock *ss);
void sm_sock_put_empty(struct sm_port *port, struct socket *sock);
struct socket *sm_sock_get_empty(struct sm_port *port, const struct sock *like);
void sm_sock_handle_gone(struct sm_port *port);
s32 sm_sock_get_handle(struct sm_port *port);
void sm_sock_put_handle(struct sm_port *port, s32 handle, struct sm_sock *was);
int sm_sock_link(struct sm_sock *ss);
void sm_sock_unlink(struct sm_sock *ss);

/* hooks.c */
bool sm_hooks_are_ours(const struct sock *sk);
int sm_hooks_are_free(struct sock *sk);
void sm_hooks_set(struct sm_sock *ss, struct sock *sk);
void sm_hooks_clear(struct sock *sk);
bool sm_hooks_remove(const struct sm_sock *ss, struct sock *sk);
int sm_hooks_init(void);
void sm_hooks_exit(void);

/* detach.c */
int sm_sock_detach(struct sm_port *port, s32 fd, const struct stackmap_unread *unread);
void sm_sock_detach_all(struct sm_port *port);
void sm_sock_detach_old(struct sm_port *port, s32 fd, const struct sock *sk);
void sm_sock_detach_stray(struct sock *sk);
void sm_sock_detach_strays(struct sm_port *port);
bool sm_sock_close_begin(struct sm_sock *ss, struct sock *sk);
bool sm_sock_close(struct sm_sock *ss, bool wait);

/* unread.c */
void sm_unread_init(struct sm_sock *ss, const struct sock *sk);
int sm_unread_check(const struct sm_sock *ss, const struct sock *sk, u32 len);
int sm_unread_copy(struct sk_buff_head *unread, const void __user *from, u32 len);
int sm_unread_charge(struct sock *sk, const struct sk_buff_head *unread);
void sm_unread_put(const struct sm_sock *ss, struct sock *sk, struct sk_buff_head *unread);

/* attach.c */
struct sm_sock *sm_sock_new_handle(struct sm_port *port, u64 data);
void sm_sock_free_handle(struct sm_sock *ss);
bool sm_sock_handle_is_left(const struct sm_port *port);
int sm_sock_join(struct sm_sock *ss, struct socket *sock);
int sm_sock_attach(struct sm_port *port, struct stackmap_attach *a);

/* handle.c */
u32 sm_handles_accept(struct sm_port *port);
void sm_handles_close(struct sm_port *port, bool wait);
int sm_handle_fd(struct sm_port *port, const struct stackmap_handle_fd *req);
int sm_handle_detach(struct sm_port *port, s32 handle, const struct stackmap_unread *unread);
void sm_handle_undo(struct sm_port *port, s32 handle, u32 gen);

/*
 * Whether nothing of an attached socket is exchanged any more: it was closed, is being
 * detached, or its number does not name it any more, and then it is going to be
 * detached. Under RCU, with @sk locked as by a softirq and not owned by a thread.
 */
static inline bool sm_sock_is_gone(struct sm_sock *ss, struct sock *sk)
{
	if (unlikely(sm_sock_is_over(ss, sk)))
		return true;
	if (likely(sm_sock_is_named(ss, sk)))
		return false;
	sm_sock_stray(ss);
	return true;
}

#endif /* SM_SOCK_H */
