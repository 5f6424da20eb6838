// SPDX-License-Identifier: GPL-2.0
/*
 * detach.c - an attached socket becomes a plain one again
 *
 * By request; as its number was closed, or given to another; with its port. Or, in
 * hooks.c, as it is destroyed.
 */
#include <linux/file.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <net/tcp.h>

#include "port.h"
#include "trace.h"

/*
 * Detaching takes two steps. After the first no callback of ours is called any
 * more and no sync finds the socket, but the ULP stays. With a listener a grace
 * period must pass between the two: when it is cloned, the child copies the
 * callbacks and the ULP at different moments, and if it got our callbacks, it
 * must have the clone hook called.
 *
 * Return: whether the caller has to take the second step, and no one else.
 */
static bool sm_detach_begin_locked(struct sm_sock *ss, struct sock *sk, u32 why)
{
	if (rcu_access_pointer(inet_csk(sk)->icsk_ulp_data) != ss ||
	    test_and_set_bit(SM_DETACHING, &ss->bits))
		return false;
	sm_hooks_clear(sk);
	if (sk->sk_state == TCP_LISTEN)
		set_bit(SM_LISTENED, &ss->bits);
	trace_stackmap_detach(ss, why);
	sm_sock_unlink(ss);
	return true;
}

static bool sm_detach_begin(struct sm_sock *ss, struct sock *sk, u32 why)
{
	bool mine;

	lock_sock(sk);
	mine = sm_detach_begin_locked(ss, sk, why);
	release_sock(sk);
	return mine;
}

/*
 * Whether payload may go back to a socket. With it locked: before that nothing tells that
 * @ss is still its own, and has not been freed.
 */
static int sm_detach_may_unread(struct sm_sock *ss, struct sock *sk,
				const struct stackmap_unread *u)
{
	if (rcu_access_pointer(inet_csk(sk)->icsk_ulp_data) != ss || sm_sock_is_over(ss, sk))
		return -EBADF;
	if (u->gen && u->gen != ss->gen)
		return -ESTALE;
	return sm_unread_check(ss, sk, u->len);
}

/*
 * How a handle's socket is to be closed, if that comes next: without waiting for what is not sent yet
 * (SO_LINGER with a time), as a sync would, and who closes a port with many of them
 */
static void sm_close_linger(const struct sm_sock *ss, struct sock *sk)
{
	struct file *file = ss->sock->file;

	if (test_bit(SM_ABORT, &ss->bits)) {
		sk->sk_lingertime = 0;
		sock_set_flag(sk, SOCK_LINGER);
	} else if (sk->sk_lingertime && (!file || file_count(file) == 1)) {
		sock_reset_flag(sk, SOCK_LINGER);
	}
}

/* @owned: a thread has the socket locked. Returns whether the module's reference is to be put */
static bool sm_detach_end_locked(struct sm_sock *ss, struct sock *sk, bool owned)
{
	/* Otherwise it was destroyed meanwhile, and tcp_cleanup_ulp() did it */
	if (rcu_access_pointer(inet_csk(sk)->icsk_ulp_data) != ss)
		return false;
	RCU_INIT_POINTER(inet_csk(sk)->icsk_ulp_data, NULL);
	if (sm_sock_is_handle(ss))
		sm_close_linger(ss, sk);
	return !owned && sm_hooks_remove(ss, sk);
}

/* What a handle has of its socket: a reference to its file, or all there is */
static void sm_detach_sock(struct sm_port *port, struct socket *sock)
{
	if (sock->file) {
		fput(sock->file);
		return;
	}
	sm_sock_put_empty(port, sock);
}

static void sm_detach_free(struct sm_sock *ss, bool put)
{
	struct socket *sock = sm_sock_is_handle(ss) ? ss->sock : NULL;
	struct sm_port *port = ss->port;

	kfree_rcu(ss, rcu);
	if (sock) {
		sm_detach_sock(port, sock);
		sm_sock_handle_gone(port);
	}
	if (put)
		module_put(THIS_MODULE);
}

static void sm_detach_end(struct sm_sock *ss, struct sock *sk)
{
	bool put;

	lock_sock(sk);
	put = sm_detach_end_locked(ss, sk, false);
	release_sock(sk);
	sm_detach_free(ss, put);
}

static void sm_detach_finish(struct sm_sock *ss, struct sock *sk)
{
	if (test_bit(SM_LISTENED, &ss->bits))
		synchronize_rcu();
	sm_detach_end(ss, sk);
}

/* The caller holds @sk; its reference is dropped */
static void sm_detach(struct sm_sock *ss, struct sock *sk, u32 why)
{
	if (sm_detach_begin(ss, sk, why))
		sm_detach_finish(ss, sk);
	sock_put(sk);
}

/*
 * Likewise, and the payload is in the socket's queue before anybody can read from it as from a
 * plain one. Returns 0 or a negative errno, and then it is as it was before.
 *
 * It is looked at twice whether it may be: before there is memory for it, and when the
 * user's has been read, which takes as long as a userfaultfd likes.
 */
static int sm_detach_unread(struct sm_sock *ss, struct sock *sk, const struct stackmap_unread *u)
{
	struct sk_buff_head unread;
	int err;

	lock_sock(sk);
	err = sm_detach_may_unread(ss, sk, u);
	release_sock(sk);
	if (!err)
		err = sm_unread_copy(&unread, u64_to_user_ptr(u->addr), u->len);
	if (err)
		goto put_sock;

	lock_sock(sk);
	err = sm_detach_may_unread(ss, sk, u);
	if (!err)
		err = sm_unread_charge(sk, &unread);
	if (!err && !sm_detach_begin_locked(ss, sk, STACKMAP_DETACHED_ASKED))
		err = -EBADF;
	if (!err)
		sm_unread_put(ss, sk, &unread);
	release_sock(sk);
	__skb_queue_purge(&unread);
	if (!err)
		sm_detach_finish(ss, sk);
put_sock:
	sock_put(sk);
	return err;
}

/**
 * sm_sock_detach_stray() - detach a socket if the number that it is attached under is stale
 * @sk: the socket, held by its file
 *
 * That may name another socket by now, or nothing.
 */
void sm_sock_detach_stray(struct sock *sk)
{
	struct sm_sock *ss;
	bool stray;

	lock_sock(sk);
	rcu_read_lock();
	ss = sm_hooks_are_ours(sk) ? rcu_dereference(inet_csk(sk)->icsk_ulp_data) : NULL;
	stray = ss && sk->sk_socket && !sm_sock_is_named(ss, sk);
	rcu_read_unlock();
	release_sock(sk);
	if (stray) {
		sock_hold(sk);
		sm_detach(ss, sk, STACKMAP_DETACHED_STRAY);
	}
}

/**
 * sm_sock_detach_old() - detach what has a number that is now another socket's
 * @port: the port
 * @fd: the number
 * @sk: the socket that it names
 *
 * What had this number before is closed, or has another number too: the
 * application cannot mean it any more. A closed one that is still
 * exchanging its last segments goes by itself.
 */
void sm_sock_detach_old(struct sm_port *port, s32 fd, const struct sock *sk)
{
	struct sm_sock *old;
	struct sock *old_sk;

	rcu_read_lock();
	old = xa_load(&port->by_fd, fd);
	old_sk = old ? old->sk : NULL;
	if (old_sk && (old_sk == sk || !sm_sock_hold(old, old_sk)))
		old_sk = NULL;
	rcu_read_unlock();
	if (old_sk) {
		if (sock_flag(old_sk, SOCK_DEAD))
			sock_put(old_sk);
		else
			sm_detach(old, old_sk, STACKMAP_DETACHED_STRAY);
	}
}

/**
 * sm_sock_detach() - make an attached socket a plain one again
 * @port: the port
 * @fd: the number it was attached under
 * @unread: payload that goes back to it, or NULL
 *
 * Return: 0; -EBADF when no socket is attached under that number; with @unread
 * another errno as listed in stackmap.h, and then nothing has changed.
 */
int sm_sock_detach(struct sm_port *port, s32 fd, const struct stackmap_unread *unread)
{
	struct sm_sock *ss;
	struct sock *sk;

	rcu_read_lock();
	ss = xa_load(&port->by_fd, fd);
	sk = ss ? ss->sk : NULL;
	if (sk && !sm_sock_hold(ss, sk))
		sk = NULL;
	rcu_read_unlock();
	if (!sk)
		return -EBADF;
	if (unread)
		return sm_detach_unread(ss, sk, unread);
	sm_detach(ss, sk, STACKMAP_DETACHED_ASKED);
	return 0;
}

/**
 * sm_sock_close_begin() - a handle is given up, and its socket is to be closed
 * @ss: the handle
 * @sk: its socket, locked as by a softirq and not owned by a thread
 *
 * With the port locked. sm_sock_close() does the rest where it can sleep.
 *
 * Return: whether it was the caller who did it.
 */
bool sm_sock_close_begin(struct sm_sock *ss, struct sock *sk)
{
	if (!sm_detach_begin_locked(ss, sk, STACKMAP_DETACHED_CLOSED))
		return false;
	list_add_tail(&ss->ready, &ss->port->closing);
	return true;
}

/**
 * sm_sock_close() - a handle's socket goes
 * @ss: from the port's list of those that are to be closed; if it may have been a listener, by a
 *	descriptor of it, a grace period has passed since
 * @wait: for a thread that has it locked, which may be another process's, for as long as that likes
 *
 * Return: whether it was done.
 */
bool sm_sock_close(struct sm_sock *ss, bool wait)
{
	struct sock *sk = ss->sk;
	bool put = false, owned;

	if (wait)
		lock_sock(sk);
	local_bh_disable();
	bh_lock_sock(sk);
	owned = !wait && sock_owned_by_user(sk);
	if (!owned)
		put = sm_detach_end_locked(ss, sk, false);
	bh_unlock_sock(sk);
	local_bh_enable();
	if (wait)
		release_sock(sk);
	if (owned)
		return false;
	/* If it is the last reference, that is closed as the caller goes back to user space */
	if (ss->sock->file)
		ss->port->put_file = true;
	sm_detach_free(ss, put);
	return true;
}

/*
 * Begin to detach a stray, without waiting for whoever has it locked: another process may
 * be in a call on it for as long as it likes. Then it is put back, and @locked is set.
 * Under RCU, as it may be destroyed meanwhile. Returns whether the caller has to end it.
 */
static bool sm_stray_begin(struct sm_sock *ss, struct sock *sk, const struct sm_sock **locked)
{
	bool mine = false;

	local_bh_disable();
	bh_lock_sock(sk);
	if (!sock_owned_by_user(sk)) {
		mine = sm_detach_begin_locked(ss, sk, STACKMAP_DETACHED_STRAY);
	} else {
		sm_sock_stray(ss);
		*locked = *locked ?: ss;
	}
	bh_unlock_sock(sk);
	local_bh_enable();
	return mine;
}

static void sm_stray_end(struct sm_sock *ss, struct sock *sk)
{
	bool put;

	if (test_bit(SM_LISTENED, &ss->bits))
		synchronize_rcu();
	local_bh_disable();
	bh_lock_sock(sk);
	put = sm_detach_end_locked(ss, sk, sock_owned_by_user(sk));
	bh_unlock_sock(sk);
	local_bh_enable();
	sm_detach_free(ss, put);
}

/**
 * sm_sock_detach_strays() - detach what sm_sock_is_gone() has found
 * @port: the port
 *
 * What some thread has locked now is left for the next sync.
 */
void sm_sock_detach_strays(struct sm_port *port)
{
	const struct sm_sock *locked = NULL;
	u32 most = READ_ONCE(port->nsocks);	/* each once, should @locked go away */
	struct sm_sock *ss;
	struct sock *sk;
	bool mine;

	while (most--) {
		rcu_read_lock();
		spin_lock_bh(&port->list_lock);
		ss = list_first_entry_or_null(&port->strays, struct sm_sock, ready);
		if (ss == locked)	/* all around, or none at all */
			ss = NULL;
		sk = ss ? ss->sk : NULL;
		if (ss)
			list_del_init(&ss->ready);
		if (sk && !refcount_inc_not_zero(&sk->sk_refcnt))
			sk = NULL;
		spin_unlock_bh(&port->list_lock);
		mine = sk && sm_stray_begin(ss, sk, &locked);
		rcu_read_unlock();
		if (!ss)
			break;
		if (mine)
			sm_stray_end(ss, sk);
		if (sk)
			sock_put(sk);
		cond_resched();
	}
}

/**
 * sm_sock_detach_all() - detach every socket of a port that is being closed
 * @port: the port; nothing can attach to it any more
 *
 * After this no callback runs that knows the port.
 */
void sm_sock_detach_all(struct sm_port *port)
{
	LIST_HEAD(begun);
	struct sm_sock *ss;
	struct sock *sk;

	for (;;) {
		spin_lock_bh(&port->list_lock);
		ss = list_first_entry_or_null(&port->socks, struct sm_sock, all);
		sk = ss ? ss->sk : NULL;
		if (sk && !refcount_inc_not_zero(&sk->sk_refcnt))
			sk = NULL;
		spin_unlock_bh(&port->list_lock);
		if (!ss)
			break;
		if (sk && sm_detach_begin(ss, sk, STACKMAP_DETACHED_PORT))
			list_add_tail(&ss->ready, &begun);	/* ours alone now */
		else if (sk)
			sock_put(sk);
		cond_resched();
	}
	synchronize_rcu();
	while (!list_empty(&begun)) {
		ss = list_first_entry(&begun, struct sm_sock, ready);
		sk = ss->sk;
		list_del_init(&ss->ready);
		sm_detach_end(ss, sk);
		sock_put(sk);
		cond_resched();
	}
}
