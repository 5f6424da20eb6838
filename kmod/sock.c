// SPDX-License-Identifier: GPL-2.0
/*
 * sock.c - the sockets of a port, as its table and its lists have them
 */
#include "sock.h"

#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/net.h>
#include <net/tcp.h>

#include "port.h"

/**
 * sm_sock_ready() - the next sync shall look at this socket
 * @ss: the socket
 */
void sm_sock_ready(struct sm_sock *ss)
{
	struct sm_port *port = ss->port;
	bool wake = false;

	spin_lock_bh(&port->list_lock);
	/* An ended one may still be called back, and is on no list any more */
	if ((list_empty(&ss->ready) || unlikely(test_bit(SM_WAITS, &ss->bits))) &&
	    !list_empty(&ss->all)) {
		list_move_tail(&ss->ready, &port->ready);
		wake = !port->polling;
	}
	spin_unlock_bh(&port->list_lock);
	if (wake && wq_has_sleeper(port->wait))
		wake_up_interruptible_poll(port->wait, EPOLLIN | EPOLLRDNORM);
}

/* To another list of its port, unless it has ended */
static void sm_sock_move(struct sm_sock *ss, struct list_head *to)
{
	struct sm_port *port = ss->port;

	spin_lock_bh(&port->list_lock);
	if (!list_empty(&ss->all))
		list_move_tail(&ss->ready, to);
	spin_unlock_bh(&port->list_lock);
}

/**
 * sm_sock_stray() - a socket is to be detached at the end of the sync, which can sleep
 * @ss: an attached socket, under RCU
 *
 * Until then it is on the list of strays by what would put it on the list of ready ones.
 */
void sm_sock_stray(struct sm_sock *ss)
{
	sm_sock_move(ss, &ss->port->strays);
}

/**
 * sm_sock_accepting() - a listener's connections are to be accepted by this sync, which can sleep then
 * @ss: the listener, under RCU, and on no list of those that are ready
 */
void sm_sock_accepting(struct sm_sock *ss)
{
	clear_bit(SM_WAITS, &ss->bits);
	sm_sock_move(ss, &ss->port->accepting);
}

/**
 * sm_sock_wait_for_handle() - a listener has connections, and the port no handle for them
 * @ss: the listener, under RCU
 *
 * It is ready again when one is given up, or something happens to it, and wakes nobody until then.
 */
void sm_sock_wait_for_handle(struct sm_sock *ss)
{
	set_bit(SM_WAITS, &ss->bits);
	sm_sock_move(ss, &ss->port->waiting);
}

/**
 * sm_sock_put_empty() - keep a socket for the next connection, if there are not enough
 * @port: the port, in its sync, or being closed
 * @sock: a socket of the kernel's, without a file, whose only reference is given up
 *
 * Its connection is closed. What is left, an inode, costs some 1 800 instructions to free and to make anew. Nobody but
 * its struct sock has referred to it; who is about to wake somebody who waits for that one finds an empty queue, or
 * wakes the next one's for nothing.
 */
void sm_sock_put_empty(struct sm_port *port, struct socket *sock)
{
	bool keep = port->nempty < SM_SOCKS_FREE;

	/* The reference that sock_release() drops */
	if (keep)
		ihold(SOCK_INODE(sock));
	sock_release(sock);
	if (keep)
		port->empty[port->nempty++] = sock;
}

/**
 * sm_sock_get_empty() - a socket without a connection, and without a file
 * @port: the port, in its sync
 * @like: of this kind
 *
 * Return: the socket, for sm_sock_accept(), or an errno.
 */
struct socket *sm_sock_get_empty(struct sm_port *port, const struct sock *like)
{
	struct socket *sock;
	int err;

	if (!port->nempty) {
		err = sock_create_lite(like->sk_family, like->sk_type, like->sk_protocol, &sock);
		return err ? ERR_PTR(err) : sock;
	}
	sock = port->empty[--port->nempty];
	sock->state = SS_UNCONNECTED;
	sock->flags = 0;
	/* As sock_alloc() does: whose the connection is, for `ss -e` and others */
	SOCK_INODE(sock)->i_uid = current_fsuid();
	SOCK_INODE(sock)->i_gid = current_fsgid();
	return sock;
}

/**
 * sm_sock_get_handle() - a handle that nothing is named by
 * @port: the port
 *
 * It is not given out again before it is used or put back.
 *
 * Return: the handle, or -ENOMEM; or -EMFILE, there is none.
 */
s32 sm_sock_get_handle(struct sm_port *port)
{
	s32 handle = 0;
	u32 id;
	int err;

	spin_lock_bh(&port->list_lock);
	if (port->nfree)
		handle = port->free[--port->nfree];
	spin_unlock_bh(&port->list_lock);
	if (handle)
		return handle;
	err = xa_alloc_bh(&port->by_fd, &id, NULL,
			  XA_LIMIT(STACKMAP_HANDLE_MIN,
				   STACKMAP_HANDLE_MIN + STACKMAP_HANDLES_MAX - 1), SM_GFP_USER);
	if (err)
		return err == -EBUSY ? -EMFILE : err;
	return id;
}

/**
 * sm_sock_put_handle() - a handle names nothing any more
 * @port: the port
 * @handle: the handle
 * @was: what it has named, or NULL
 */
void sm_sock_put_handle(struct sm_port *port, s32 handle, struct sm_sock *was)
{
	bool keep;

	/* Reserved: it is found no more, but its place in the array stays */
	xa_cmpxchg_bh(&port->by_fd, handle, was, XA_ZERO_ENTRY, 0);
	spin_lock_bh(&port->list_lock);
	keep = port->nfree < SM_HANDLES_FREE;
	if (keep)
		port->free[port->nfree++] = handle;
	spin_unlock_bh(&port->list_lock);
	if (!keep)
		xa_erase_bh(&port->by_fd, handle);
}

/**
 * sm_sock_handle_gone() - what a handle has had is given up: there may be another one
 * @port: the port
 *
 * Not before its socket or file is, or slots that are sent early would have more than there may be.
 */
void sm_sock_handle_gone(struct sm_port *port)
{
	bool wake;

	spin_lock_bh(&port->list_lock);
	port->nhandles--;
	wake = !list_empty(&port->waiting) && !port->polling;
	list_splice_tail_init(&port->waiting, &port->ready);
	spin_unlock_bh(&port->list_lock);
	if (wake && wq_has_sleeper(port->wait))
		wake_up_interruptible_poll(port->wait, EPOLLIN | EPOLLRDNORM);
}

/**
 * sm_sock_link() - have a port find a socket: by its number, and among all it has
 * @ss: the socket
 *
 * Return: 0 or -ENOMEM.
 */
int sm_sock_link(struct sm_sock *ss)
{
	struct sm_port *port = ss->port;
	int err;

	err = xa_err(xa_store_bh(&port->by_fd, ss->fd, ss, SM_GFP_USER));
	if (err)
		return err;
	rcu_assign_pointer(port->near[ss->fd % SM_NEAR], ss);
	spin_lock_bh(&port->list_lock);
	list_add_tail(&ss->all, &port->socks);
	port->nsocks++;
	if (sm_sock_is_handle(ss))
		port->nhandles++;
	spin_unlock_bh(&port->list_lock);
	return 0;
}

/**
 * sm_sock_unlink() - take a socket out of everything through which its port could find it
 * @ss: the socket
 */
void sm_sock_unlink(struct sm_sock *ss)
{
	struct sm_port *port = ss->port;

	unrcu_pointer(cmpxchg(&port->near[ss->fd % SM_NEAR], RCU_INITIALIZER(ss), NULL));
	/* Another socket may have this number by now, if it is a descriptor */
	if (sm_sock_is_handle(ss))
		sm_sock_put_handle(port, ss->fd, ss);
	else
		xa_cmpxchg_bh(&port->by_fd, ss->fd, ss, NULL, 0);
	spin_lock_bh(&port->list_lock);
	if (!list_empty(&ss->all)) {
		list_del_init(&ss->all);
		list_del_init(&ss->ready);
		port->nsocks--;
	}
	spin_unlock_bh(&port->list_lock);
}
