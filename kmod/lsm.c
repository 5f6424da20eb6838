// SPDX-License-Identifier: GPL-2.0
/*
 * lsm.c - whether security modules let a task send and receive on a socket
 *
 * What a sync does, tcp_sendmsg_locked() and tcp_read_sock(), lies below the hooks
 * of the security modules (SELinux, AppArmor, BPF, ...). So they are asked at attach.
 * The hooks are not exported; sock_sendmsg() and sock_recvmsg() call them first. Done
 * on the socket itself these would go on into TCP, where even a call of zero bytes
 * does things: it consumes a pending error, it connects a socket of
 * TCP_FASTOPEN_CONNECT, and what it returns cannot be told from what a security
 * module does. So each port has a stand-in: a struct socket whose protocol does
 * nothing, and which names the other's struct sock while it is asked about. That
 * is where security modules keep what they know of a socket, and what they look at.
 */
#include "lsm.h"

#include <linux/module.h>
#include <linux/net.h>
#include <linux/socket.h>
#include <linux/uio.h>
#include <net/sock.h>

#include "port.h"

static int sm_lsm_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	return 0;
}

static int sm_lsm_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	return 0;
}

static const struct proto_ops sm_lsm_ops = {
	.family = PF_INET,
	.owner = THIS_MODULE,
	.sendmsg = sm_lsm_sendmsg,
	.recvmsg = sm_lsm_recvmsg,
};

/**
 * sm_lsm_init() - make the stand-in of a port
 * @port: the port
 *
 * Return: 0, or an errno; sm_lsm_exit() may be called after either.
 */
int sm_lsm_init(struct sm_port *port)
{
	mutex_init(&port->lsm_mutex);
	return sock_create_lite(PF_INET, SOCK_STREAM, IPPROTO_TCP, &port->lsm_sock);
}

/**
 * sm_lsm_exit() - free it
 * @port: the port
 */
void sm_lsm_exit(struct sm_port *port)
{
	if (port->lsm_sock)
		sock_release(port->lsm_sock);
	port->lsm_sock = NULL;
}

/**
 * sm_lsm_ask() - ask whether this task may send and receive on a socket
 * @port: the port
 * @sock: the socket, a TCP one, held by the caller
 *
 * Return: 0, or the errno of the security module that denies it.
 */
int sm_lsm_ask(struct sm_port *port, struct socket *sock)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT };
	struct socket *ask = port->lsm_sock;
	int err;

	mutex_lock(&port->lsm_mutex);
	ask->state = sock->state;
	ask->sk = sock->sk;
	ask->ops = &sm_lsm_ops;
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, NULL, 0, 0);
	err = sock_sendmsg(ask, &msg);
	if (!err) {
		iov_iter_kvec(&msg.msg_iter, ITER_DEST, NULL, 0, 0);
		err = sock_recvmsg(ask, &msg, MSG_DONTWAIT);
	}
	/* Without ops it is nothing to sock_release() but an inode */
	ask->ops = NULL;
	ask->sk = NULL;
	mutex_unlock(&port->lsm_mutex);
	return err;
}
