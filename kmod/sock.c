// SPDX-License-Identifier: GPL-2.0
/*
 * sock.c - the sockets of a port, as its table and its lists have them
 */
#include "sock.h"

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
	if (list_empty(&ss->ready) && !list_empty(&ss->all)) {
		list_add_tail(&ss->ready, &port->ready);
		wake = !port->polling;
	}
	spin_unlock_bh(&port->list_lock);
	if (wake && wq_has_sleeper(port->wait))
		wake_up_interruptible_poll(port->wait, EPOLLIN | EPOLLRDNORM);
}

/**
 * sm_sock_stray() - a socket is to be detached at the end of the sync, which can sleep
 * @ss: an attached socket, under RCU
 *
 * Until then it is on the list of strays by what would put it on the list of ready ones.
 */
void sm_sock_stray(struct sm_sock *ss)
{
	struct sm_port *port = ss->port;

	spin_lock_bh(&port->list_lock);
	if (!list_empty(&ss->all))
		list_move_tail(&ss->ready, &port->strays);
	spin_unlock_bh(&port->list_lock);
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

	/* Another socket may have this number by now */
	xa_cmpxchg_bh(&port->by_fd, ss->fd, ss, NULL, 0);
	unrcu_pointer(cmpxchg(&port->near[ss->fd % SM_NEAR], RCU_INITIALIZER(ss), NULL));
	spin_lock_bh(&port->list_lock);
	if (!list_empty(&ss->all)) {
		list_del_init(&ss->all);
		list_del_init(&ss->ready);
		port->nsocks--;
	}
	spin_unlock_bh(&port->list_lock);
}
