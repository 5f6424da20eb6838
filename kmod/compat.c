// SPDX-License-Identifier: GPL-2.0
/*
 * compat.c - what older kernels lack and takes more than a macro; nothing on 6.11 and newer
 */
#define SM_COMPAT_C
#include "compat.h"

#include <linux/slab.h>

#include "limits.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
/* Of the SYN's payload and of a connection under repair nothing is sent by reference */
static bool sm_must_copy(const struct sock *sk)
{
	return !(sk->sk_route_caps & NETIF_F_SG) || inet_sk(sk)->defer_connect ||
	       tcp_sk(sk)->repair;
}

/*
 * do_tcp_sendpages() may leave an sk_buff without payload at the end of the queue, where
 * memory suffices for it and not for the payload, and then sends that (6.6 mended
 * it: "net: do not leave an empty skb in write queue"). With softirqs off and a cgroup's
 * limit near this would happen more often than anywhere else in this kernel. So what the
 * write may take is scheduled before, as sk_forward_alloc, where TCP finds it. The first
 * sk_buff of empty queues gets memory by force, as does its payload.
 */
static bool sm_has_memory(struct sock *sk, u32 bytes, u32 slots)
{
	return !sk_stream_memory_free(sk) || tcp_rtx_and_write_queues_empty(sk) ||
	       sk_wmem_schedule(sk, sm_reserve_need(sk, bytes, slots));
}

/**
 * sm_tcp_sendmsg_locked() - tcp_sendmsg_locked(), but with MSG_SPLICE_PAGES if told so
 * @sk: the socket, locked
 * @msg: with MSG_SPLICE_PAGES a message of pages (ITER_BVEC) of which nothing was sent yet,
 *	without control messages
 * @size: its length
 *
 * do_tcp_sendpages() is what sendfile() and splice() use before 6.5. It does to each page what
 * MSG_SPLICE_PAGES does: takes a reference, puts the page into the last sk_buff, or
 * enlarges that one's last fragment, marks it SKBFL_SHARED_FRAG, charges the same. What
 * differs: packets go out behind the last page, or where the socket has no room, not
 * each when it is full. And SO_TIMESTAMPING tells of each sk_buff in which a page ends.
 *
 * Return: bytes sent or a negative errno.
 */
int sm_tcp_sendmsg_locked(struct sock *sk, struct msghdr *msg, size_t size)
{
	const struct bio_vec *bv = msg->msg_iter.bvec;
	int flags = msg->msg_flags & ~MSG_SPLICE_PAGES;
	size_t sent = 0;
	int ret = 0;

	if (!(msg->msg_flags & MSG_SPLICE_PAGES) || unlikely(sm_must_copy(sk))) {
		msg->msg_flags = flags;
		return tcp_sendmsg_locked(sk, msg, size);
	}
	if (unlikely(!sm_has_memory(sk, size, msg->msg_iter.nr_segs))) {
		set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
		return -ENOMEM;
	}
	tcp_rate_check_app_limited(sk);
	for (; sent < size; bv++) {
		bool last = sent + bv->bv_len == size;

		ret = do_tcp_sendpages(sk, bv->bv_page, bv->bv_offset, bv->bv_len,
				       last ? flags : flags | MSG_SENDPAGE_NOTLAST);
		if (ret > 0)
			sent += ret;
		/* Then it has pushed what there is */
		if (ret != bv->bv_len)
			break;
	}
	return sent ?: ret;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
/**
 * sm_virtqueue_reset() - take all buffers back from a queue of a device that runs
 * @vq: the queue; nobody else uses it
 * @recycle: called for each buffer
 *
 * virtqueue_resize() does it, but not where the size stays the same. So the ring is halved,
 * and then becomes what it was. Where memory does not suffice for that, it works on with
 * the size that it has: then the next reset tries again.
 *
 * Return: 0, or as virtqueue_reset(): -ENOENT or -EPERM when it cannot be done, and
 * another errno when the queue is lost.
 */
int sm_virtqueue_reset(struct virtqueue *vq, void (*recycle)(struct virtqueue *vq, void *buf))
{
	u32 size = virtqueue_get_vring_size(vq);
	u32 whole = vq->num_max;
	int err;

	if (size < 2)
		return -ENOENT;
	err = virtqueue_resize(vq, size / 2, recycle);
	/* -ENOMEM: the ring is as it was, and empty */
	if (!err)
		err = virtqueue_resize(vq, min(2 * size, whole), recycle);
	return err == -ENOMEM ? 0 : err;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
/**
 * sm_find_vqs() - virtio_find_vqs() as it is from 6.11 on
 * @vdev: the device
 * @n: how many queues
 * @vqs: they are put here
 * @info: what is wanted of each
 * @desc: likewise, of their interrupts
 *
 * Return: 0 or a negative errno.
 */
int sm_find_vqs(struct virtio_device *vdev, unsigned int n, struct virtqueue *vqs[],
		struct virtqueue_info info[], struct irq_affinity *desc)
{
	vq_callback_t **callbacks = kcalloc(n, sizeof(*callbacks), GFP_KERNEL);
	const char **names = kcalloc(n, sizeof(*names), GFP_KERNEL);
	int err = -ENOMEM;
	unsigned int i;

	if (!callbacks || !names)
		goto out;
	for (i = 0; i < n; i++) {
		callbacks[i] = info[i].callback;
		names[i] = info[i].name;
	}
	err = virtio_find_vqs(vdev, n, vqs, callbacks, names, desc);
out:
	kfree(names);
	kfree(callbacks);
	return err;
}
#endif
