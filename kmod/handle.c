// SPDX-License-Identifier: GPL-2.0
/*
 * handle.c - sockets without descriptors: named by a handle of the port
 *
 * A listener that is attached with STACKMAP_ATTACH_ACCEPT has its connections accepted
 * in sync: what accept() and attaching would do, but for the descriptor and its file. Such a
 * socket is as one of a kernel user (NFS, RDS): with an inode, which sock_diag names and
 * security modules label, and nothing that refers to it but its port. Whoever wants to use
 * it otherwise gets a descriptor made for it; from then on the handle is one of two
 * references to the file. Who hands in a descriptor keeps the file likewise.
 *
 * The port's sync_mutex guards what a handle is: as it is closed, detached, or has a file made.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/net.h>
#include <net/tcp.h>

#include "port.h"
#include "trace.h"

/* What one sync accepts at most, of all listeners */
#define SM_ACCEPT_BUDGET	256

/* The socket behind a handle. With sync_mutex held, by which it stays */
static struct socket *sm_handle_sock(struct sm_port *port, s32 handle, u32 gen)
{
	struct socket *sock;
	struct sm_sock *ss;

	if (handle < STACKMAP_HANDLE_MIN)
		return ERR_PTR(-EBADF);
	rcu_read_lock();
	ss = sm_port_sock(port, handle);
	if (!ss)
		sock = ERR_PTR(-EBADF);
	else if (gen && gen != ss->gen)
		sock = ERR_PTR(-ESTALE);
	else
		sock = ss->sock;
	rcu_read_unlock();
	return sock;
}

/* ------------------------------------------------------------------- accept */

/* A listener that has connections: what is known of it may be freed while they are accepted */
struct sm_accepting {
	const struct sm_sock *ss;	/* to compare with */
	struct sock *sk;		/* held */
	u64 data;
	u32 gen;
	s32 fd;
};

/* The next one, held. Returns false when there is none */
static bool sm_accepting_next(struct sm_port *port, struct sm_accepting *a)
{
	struct sm_sock *ss;

	a->sk = NULL;
	rcu_read_lock();
	spin_lock_bh(&port->list_lock);
	while (!a->sk) {
		ss = list_first_entry_or_null(&port->accepting, struct sm_sock, ready);
		if (!ss)
			break;
		list_del_init(&ss->ready);
		if (!refcount_inc_not_zero(&ss->sk->sk_refcnt))
			continue;
		*a = (struct sm_accepting){
			.ss = ss, .sk = ss->sk, .data = ss->data, .gen = ss->gen, .fd = ss->fd,
		};
	}
	spin_unlock_bh(&port->list_lock);
	rcu_read_unlock();
	return a->sk;
}

/* Tell of a new connection, and have what it has sent delivered. With the port locked */
static void sm_handle_tell(struct sm_sock *ss, const struct stackmap_accepted *about)
{
	struct sm_port *port = ss->port;

	sm_rx_accepted(ss, about);
	spin_lock(&port->list_lock);
	if (!list_empty(&ss->ready))
		list_move_tail(&ss->ready, &port->fresh);
	spin_unlock(&port->list_lock);
}

/* One connection of a listener. Returns 0, or an errno: -EAGAIN when there is no more */
static int sm_handle_accept(struct sm_port *port, struct socket *listener,
			    struct stackmap_accepted *about, u64 data)
{
	const struct proto_ops *ops;
	struct socket *sock;
	struct sm_sock *ss;
	int err;

	/* It is seen in time: who adds one tells afterwards (sk_data_ready) */
	if (reqsk_queue_empty(&inet_csk(listener->sk)->icsk_accept_queue))
		return -EAGAIN;
	ss = sm_sock_new_handle(port, data);
	if (IS_ERR(ss))
		return PTR_ERR(ss);
	sock = sm_sock_get_empty(port, listener->sk);
	if (IS_ERR(sock)) {
		err = PTR_ERR(sock);
		goto free_handle;
	}
	err = sm_sock_accept(listener, sock, O_NONBLOCK);
	if (err)
		goto put_sock;
	/* As accept() asks: also of a connection that has ended */
	ops = READ_ONCE(sock->ops);
	err = ops->getname(sock, (void *)about->addr, 2);
	about->addrlen = max(err, 0);
	ss->sock = sock;
	err = sm_sock_join(ss, sock);
	trace_stackmap_attach(port, ss->fd, sock->sk, err ? 0 : ss->gen, err);
	if (err) {
		/* It is over, and nobody has heard of it */
		err = err == -ENOTCONN ? 0 : err;
		goto put_sock;
	}
	spin_lock_bh(&port->lock);
	sm_handle_tell(ss, about);
	spin_unlock_bh(&port->lock);
	return 0;
put_sock:
	sm_sock_put_empty(port, sock);
free_handle:
	sm_sock_free_handle(ss);
	return err;
}

/* What a listener has. Returns an errno, or 0: the sync has no room, or has done enough */
static int sm_handle_accept_from(struct sm_port *port, const struct sm_accepting *a, int *budget)
{
	struct stackmap_accepted about = { .fd = a->fd, .gen = a->gen };
	struct socket *listener;
	int err;

	/* By its number, which is this task's: a reference to its file, and so it is not closed */
	listener = sockfd_lookup(a->fd, &err);
	if (!listener)
		return err;
	err = listener->sk == a->sk ? 0 : -EBADF;
	while (!err && *budget > 0 && sm_rx_room(port)) {
		(*budget)--;
		err = sm_handle_accept(port, listener, &about, a->data);
		/* What accept() returns for one connection says nothing of the others */
		if (err == -ECONNABORTED)
			err = 0;
		cond_resched();
	}
	sockfd_put(listener);
	return err;
}

/* What becomes of a listener from which @err, or all that there was room for, was accepted. Under RCU */
static void sm_handle_go_on(struct sm_sock *ss, int err)
{
	switch (err) {
	case -EAGAIN:
		break;
	case -EMFILE:
		sm_sock_wait_for_handle(ss);
		break;
	default:
		/* What may last is for its owner to see: accept() tells */
		set_bit(SM_BY_HAND, &ss->bits);
		fallthrough;
	case 0:
	case -ENOMEM:
		sm_sock_ready(ss);
	}
}

/**
 * sm_handles_accept() - accept what the listeners have that are attached for that
 * @port: the port, not locked, with sync_mutex held
 *
 * Return: the number of slots delivered: of the connections, and of what they have sent.
 */
u32 sm_handles_accept(struct sm_port *port)
{
	u32 most = READ_ONCE(port->nsocks);	/* each once, in whatever order */
	int budget = SM_ACCEPT_BUDGET;
	u32 tail = port->rx.tail;
	struct sm_accepting a;
	struct sm_sock *ss;
	bool full = false;
	int err;

	while (!full && most-- && sm_accepting_next(port, &a)) {
		err = sm_handle_accept_from(port, &a, &budget);
		/* Those that have had nothing come before this one the next time */
		full = budget <= 0 || !sm_rx_room(port);
		if (full) {
			spin_lock_bh(&port->list_lock);
			list_splice_tail_init(&port->accepting, &port->ready);
			spin_unlock_bh(&port->list_lock);
		}
		rcu_read_lock();
		ss = rcu_dereference(inet_csk(a.sk)->icsk_ulp_data);
		if (ss == a.ss && sm_hooks_are_ours(a.sk))
			sm_handle_go_on(ss, err);
		rcu_read_unlock();
		sock_put(a.sk);
	}
	spin_lock_bh(&port->lock);
	if (!list_empty(&port->fresh))
		sm_rx(port, &port->fresh);
	spin_unlock_bh(&port->lock);
	return (port->rx.tail - tail) & port->rx.mask;
}

/* -------------------------------------------------------------------- close */

/*
 * shutdown(SHUT_WR). Who has a descriptor of it may be in a system call on it for as long as he likes, with the
 * socket locked: he is not waited for. Then it is done as inet_shutdown() does it, with memory that is to be had without
 * sleeping. Returns false if it is to be tried again.
 */
static bool sm_handle_shutdown(struct socket *sock)
{
	struct sock *sk = sock->sk;
	bool owned;
	gfp_t gfp;

	if (!sock->file) {
		kernel_sock_shutdown(sock, SHUT_WR);
		return true;
	}
	local_bh_disable();
	bh_lock_sock(sk);
	owned = sock_owned_by_user(sk);
	if (!owned && !((1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN | TCPF_SYN_SENT))) {
		gfp = sk->sk_allocation;
		sk->sk_allocation = GFP_ATOMIC;
		WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | SEND_SHUTDOWN);
		READ_ONCE(sk->sk_prot)->shutdown(sk, SEND_SHUTDOWN);
		sk->sk_allocation = gfp;
		sk->sk_state_change(sk);
	}
	bh_unlock_sock(sk);
	local_bh_enable();
	return !owned;
}

/* Shut down what STACKMAP_TX_FIN was said of. By sync_mutex, a handle and its socket stay */
static void sm_handles_fin(struct sm_port *port)
{
	u32 i, left = 0;

	for (i = 0; i < port->nfins; i++) {
		struct socket *sock = sm_handle_sock(port, port->fins[i].fd, port->fins[i].gen);

		if (!IS_ERR(sock) && !sm_handle_shutdown(sock))
			port->fins[left++] = port->fins[i];
	}
	port->nfins = left;
}

/**
 * sm_handles_close() - end what STACKMAP_TX_CLOSE and STACKMAP_TX_FIN were said of
 * @port: the port, not locked, with sync_mutex held
 * @wait: for threads that have one of them locked; else that is left for the next time
 *
 * Not by who cannot wait for a socket's lock, see sm_port_flush(): it is done by the next sync
 * then, or with the port.
 */
void sm_handles_close(struct sm_port *port, bool wait)
{
	LIST_HEAD(closing);
	struct sm_sock *ss;
	bool listened = false;

	sm_handles_fin(port);
	spin_lock_bh(&port->lock);
	list_splice_init(&port->closing, &closing);
	spin_unlock_bh(&port->lock);
	list_for_each_entry(ss, &closing, ready)
		listened |= test_bit(SM_LISTENED, &ss->bits);
	if (unlikely(listened))
		synchronize_rcu();
	while (!list_empty(&closing)) {
		ss = list_first_entry(&closing, struct sm_sock, ready);
		list_del_init(&ss->ready);
		if (!sm_sock_close(ss, wait)) {
			spin_lock_bh(&port->lock);
			list_add_tail(&ss->ready, &port->closing);
			spin_unlock_bh(&port->lock);
		}
		cond_resched();
	}
}

/* -------------------------------------------------------------- descriptors */

/*
 * A file for a socket that has none. sock_alloc_file() gives up the whole socket where it fails; without
 * ops that is its inode only, of which we have one more reference.
 */
static struct file *sm_handle_file(struct socket *sock, int flags)
{
	const struct proto_ops *ops = sock->ops;
	struct inode *inode = SOCK_INODE(sock);
	struct file *file;

	ihold(inode);
	sock->ops = NULL;
	file = sock_alloc_file(sock, flags, NULL);
	sock->ops = ops;
	if (!IS_ERR(file))
		iput(inode);
	return file;
}

/**
 * sm_handle_fd() - STACKMAP_IOC_HANDLE_FD: a descriptor for a handle's socket
 * @port: the port
 * @req: what is asked for
 *
 * Return: the descriptor, or an errno as listed in stackmap.h.
 */
int sm_handle_fd(struct sm_port *port, const struct stackmap_handle_fd *req)
{
	struct socket *sock;
	struct file *file;
	int fd;

	if (req->flags & ~(O_CLOEXEC | O_NONBLOCK))
		return -EINVAL;
	if (mutex_lock_interruptible(&port->sync_mutex))
		return -EINTR;
	sock = sm_handle_sock(port, req->handle, req->gen);
	fd = PTR_ERR_OR_ZERO(sock);
	if (fd)
		goto unlock;
	fd = get_unused_fd_flags(req->flags & O_CLOEXEC);
	if (fd < 0)
		goto unlock;
	file = sock->file;
	if (!file) {
		file = sm_handle_file(sock, O_RDWR | (req->flags & O_NONBLOCK));
		if (IS_ERR(file)) {
			put_unused_fd(fd);
			fd = PTR_ERR(file);
			goto unlock;
		}
	}
	/* The one that it was made with is the handle's */
	get_file(file);
	fd_install(fd, file);
unlock:
	mutex_unlock(&port->sync_mutex);
	return fd;
}

/**
 * sm_handle_detach() - a handle is given up, not its socket
 * @port: the port
 * @handle: the handle
 * @unread: payload that goes back, or NULL
 *
 * Return: as sm_sock_detach(); -EINVAL when there is no descriptor of the socket.
 */
int sm_handle_detach(struct sm_port *port, s32 handle, const struct stackmap_unread *unread)
{
	struct socket *sock;
	int err;

	if (mutex_lock_interruptible(&port->sync_mutex))
		return -EINTR;
	sock = sm_handle_sock(port, handle, 0);
	err = PTR_ERR_OR_ZERO(sock);
	if (!err && (!sock->file || file_count(sock->file) < 2))
		err = -EINVAL;
	if (!err)
		err = sm_sock_detach(port, handle, unread);
	mutex_unlock(&port->sync_mutex);
	return err;
}

/**
 * sm_handle_undo() - nobody was told of a handle that a descriptor's socket was attached under
 * @port: the port
 * @handle: the handle
 * @gen: its socket's
 */
void sm_handle_undo(struct sm_port *port, s32 handle, u32 gen)
{
	mutex_lock(&port->sync_mutex);
	if (!IS_ERR(sm_handle_sock(port, handle, gen)))
		sm_sock_detach(port, handle, NULL);
	mutex_unlock(&port->sync_mutex);
}
