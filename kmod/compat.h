/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h - every difference between kernel versions, and nothing else
 */
#ifndef SM_COMPAT_H
#define SM_COMPAT_H

#include <linux/cgroup.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/poll.h>
#include <linux/rtnetlink.h>
#include <linux/timer.h>
#include <linux/version.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <net/inet_sock.h>
#include <net/sch_generic.h>
#include <net/sock.h>
#include <net/tcp.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#include <net/netdev_rx_queue.h>
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#include <net/gro.h>
#include <net/netdev_lock.h>
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "stackmap needs Linux 6.1 or newer"
#endif

/*
 * Whether somebody may be reconfiguring @dev: from 6.14 on a lock of its own can do for
 * RTNL. nic_napi.c has who holds which. Both are mutexes, and taken by a cmpxchg() also
 * when they were waited for (__mutex_trylock_common()); handed over they are never free.
 */
static inline bool sm_netdev_own_lock_is_held(const struct net_device *dev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
	return mutex_is_locked(&((struct net_device *)dev)->lock);
#else
	return false;
#endif
}

static inline bool sm_netdev_is_locked(const struct net_device *dev)
{
	return sm_netdev_own_lock_is_held(dev) || rtnl_is_locked();
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
/* virtqueue_reset() came with 6.6: see compat.c */
int sm_virtqueue_reset(struct virtqueue *vq, void (*recycle)(struct virtqueue *vq, void *buf));
#else
/* The third argument of virtqueue_reset() came with 6.13, and to some 6.12.y */
typedef void sm_recycle_fn(struct virtqueue *vq, void *buf);
typedef int sm_reset2_fn(struct virtqueue *vq, sm_recycle_fn *recycle);
typedef int sm_reset3_fn(struct virtqueue *vq, sm_recycle_fn *recycle,
			 void (*recycle_done)(struct virtqueue *vq));

static inline int sm_reset2(void *reset, struct virtqueue *vq, sm_recycle_fn *recycle)
{
	sm_reset2_fn *fn = reset;

	return fn(vq, recycle);
}

static inline int sm_reset3(void *reset, struct virtqueue *vq, sm_recycle_fn *recycle)
{
	sm_reset3_fn *fn = reset;

	return fn(vq, recycle, NULL);
}

#define sm_virtqueue_reset(vq, recycle)						\
	_Generic(&virtqueue_reset, sm_reset2_fn * : sm_reset2,			\
		 sm_reset3_fn * : sm_reset3)(virtqueue_reset, vq, recycle)
#endif

/*
 * The cgroup that a socket's memory is charged to, or NULL. Not on cgroup v1, where
 * it is charged to a counter of its own, and never by force. 6.18 keeps flags in the
 * pointer.
 */
static inline struct mem_cgroup *sm_sk_memcg(const struct sock *sk)
{
#ifndef CONFIG_MEMCG
	return NULL;
#else
	if (!mem_cgroup_sockets_enabled || !cgroup_subsys_on_dfl(memory_cgrp_subsys))
		return NULL;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
	return mem_cgroup_from_sk(sk);
#else
	return sk->sk_memcg;
#endif
#endif
}

/* --------------------------------------------------------------------- ULPs */

/*
 * Newer kernels ask a ULP also for those without CAP_NET_ADMIN, and say so in one more argument;
 * older ones do not ask it for them. Whichever of two functions fits.
 */
typedef int sm_ulp_info2_fn(struct sock *sk, struct sk_buff *skb);
typedef size_t sm_ulp_size1_fn(const struct sock *sk);

#define sm_ulp_info_fn(two, three)						\
	_Generic(((struct tcp_ulp_ops *)NULL)->get_info,			\
		 sm_ulp_info2_fn * : two, default : three)
#define sm_ulp_size_fn(one, two)						\
	_Generic(((struct tcp_ulp_ops *)NULL)->get_info_size,			\
		 sm_ulp_size1_fn * : one, default : two)

/* ------------------------------------------------------------------ timers */

/* The name from 6.16 on */
#ifndef timer_container_of
#define timer_container_of(var, timer, field)	container_of(timer, typeof(*(var)), field)
#endif

/* -------------------------------------------------------------------- poll */

/* Whether the caller of a file's poll() will sleep; poll_does_not_wait() is no more in 7.3 */
static inline bool sm_poll_waits(const poll_table *wait)
{
	return wait && wait->_qproc;
}

/* --------------------------------------------------------------------- GRO */

/* What GRO has of an instance is a structure of its own from 6.15 on: rx_list, rx_count */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#define sm_napi_gro(napi)	(&(napi)->gro)
#else
#define sm_napi_gro(napi)	(napi)
#endif

/* From 6.15 on it is in line, and looks whether there is anything */
static inline void sm_napi_gro_flush(struct napi_struct *napi)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 15, 0)
	if (!napi->gro_bitmask)
		return;
#endif
	napi_gro_flush(napi, false);
}

/* ----------------------------------------------------- queueing discipline */

/* The second argument came between 6.12 and 7.3: whether what waits there is dropped */
typedef void sm_deactivate1_fn(struct net_device *dev);
typedef void sm_deactivate2_fn(struct net_device *dev, bool reset_needed);

static inline void sm_deactivate1(void *deactivate, struct net_device *dev)
{
	((sm_deactivate1_fn *)deactivate)(dev);
}

static inline void sm_deactivate2(void *deactivate, struct net_device *dev)
{
	((sm_deactivate2_fn *)deactivate)(dev, true);
}

#define sm_dev_deactivate(dev)							\
	_Generic(&dev_deactivate, sm_deactivate1_fn * : sm_deactivate1,		\
		 sm_deactivate2_fn * : sm_deactivate2)(dev_deactivate, dev)

/* --------------------------------------------------------- sending pages */

/*
 * MSG_SPLICE_PAGES came with 6.5. The name is in 6.1.y, too, where it is ignored and TCP
 * copies: see compat.c
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
int sm_tcp_sendmsg_locked(struct sock *sk, struct msghdr *msg, size_t size);
#ifndef SM_COMPAT_C
#define tcp_sendmsg_locked	sm_tcp_sendmsg_locked
#endif
#endif

/* ------------------------------------------ sending with a ubuf_info */

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
struct ubuf_info_ops {
	void (*complete)(struct sk_buff *skb, struct ubuf_info *ubuf, bool success);
};
#endif

/* As io_uring sets up its own (io_alloc_notif()): TCP's clones of the sk_buff refer to the payload, too */
static inline void sm_ubuf_init(struct ubuf_info *ubuf, const struct ubuf_info_ops *ops)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
	ubuf->callback = ops->complete;
#else
	ubuf->ops = ops;
#endif
	ubuf->flags = SKBFL_ZEROCOPY_FRAG | SKBFL_DONT_ORPHAN;
}

/*
 * The function of a message that makes fragments of it was told the socket in 6.1, and charged it
 * itself; no more in 6.12. SM_SG_FROM_ITER() makes of a function that fills an sk_buff the one that fits.
 */
typedef int sm_sg4_fn(struct sock *sk, struct sk_buff *skb, struct iov_iter *from, size_t length);

static inline void sm_sg_charge(struct sock *sk, struct sk_buff *skb, unsigned int before)
{
	sk_wmem_queued_add(sk, skb->truesize - before);
	if (!skb_zcopy_pure(skb))
		sk_mem_charge(sk, skb->truesize - before);
}

#define SM_SG_FROM_ITER(name, fill)						\
	static __maybe_unused int name##3(struct sk_buff *skb, struct iov_iter *from,	\
					  size_t length)			\
	{									\
		return fill(skb, from, length);					\
	}									\
	static __maybe_unused int name##4(struct sock *sk, struct sk_buff *skb,	\
					  struct iov_iter *from, size_t length)	\
	{									\
		unsigned int before = skb->truesize;				\
		int ret = fill(skb, from, length);				\
										\
		sm_sg_charge(sk, skb, before);					\
		return ret;							\
	}									\
	static typeof(((struct msghdr *)NULL)->sg_from_iter) const name =	\
		_Generic(((struct msghdr *)NULL)->sg_from_iter,			\
			 sm_sg4_fn * : name##4, default : name##3)

/* ----------------------------------------------- bits of an Internet socket */

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define inet_test_bit(nr, sk)	sm_inet_test_##nr(sk)
#define sm_inet_test_DEFER_CONNECT(sk)	(inet_sk(sk)->defer_connect)
#endif

/* ------------------------------------------------------------------ accept */

/* What kernel_accept() does with a socket that is there already */
static inline int sm_sock_accept(struct socket *listener, struct socket *sock, int flags)
{
	const struct proto_ops *ops = READ_ONCE(listener->ops);
	int err;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
	err = ops->accept(listener, sock, &(struct proto_accept_arg){ .flags = flags, .kern = true });
#else
	err = ops->accept(listener, sock, flags, true);
#endif
	if (!err) {
		sock->ops = ops;
		__module_get(ops->owner);
	}
	return err;
}

/* ---------------------------------------------------------------- mappings */

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void sm_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}

#define vm_flags_mod	sm_vm_flags_mod
#endif

/* -------------------------------------------------------------------- NAPI */

/* The instance of which a driver said that it serves a receive queue; before 6.8 none could */
static inline struct napi_struct *sm_rx_queue_napi(struct net_device *dev, u32 queue)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
	return NULL;
#else
	return READ_ONCE(__netif_get_rx_queue(dev, queue)->napi);
#endif
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
enum { NETDEV_QUEUE_TYPE_RX, NETDEV_QUEUE_TYPE_TX };

static inline void netif_queue_set_napi(struct net_device *dev, unsigned int queue, int type,
					struct napi_struct *napi)
{
}
#endif

/* Whether a thread polls an instance without end: possible from 6.18 on */
static inline bool sm_napi_polled_busily(const struct napi_struct *napi)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
	return test_bit(NAPI_STATE_THREADED_BUSY_POLL, &napi->state);
#else
	return false;
#endif
}

/* What an XDP program redirects is in a per-CPU variable before 6.11, that needs no setting up */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
struct bpf_net_context {
};

static inline struct bpf_net_context *bpf_net_ctx_set(struct bpf_net_context *ctx)
{
	return NULL;
}

static inline void bpf_net_ctx_clear(struct bpf_net_context *ctx)
{
}
#endif

/* ---------------------------------------------------------- virtio devices */

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
struct virtqueue_info {
	const char *name;
	vq_callback_t *callback;
};

int sm_find_vqs(struct virtio_device *vdev, unsigned int n, struct virtqueue *vqs[],
		struct virtqueue_info info[], struct irq_affinity *desc);
#ifndef SM_COMPAT_C
#define virtio_find_vqs	sm_find_vqs
#endif
#endif

/*
 * A driver could not turn off the interrupt for a changed configuration before 6.12. It is
 * ignored while the interface is down; where it comes as that is closed, the carrier of an
 * interface that is down may change, and the next open finds it as it is.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
static inline void virtio_config_driver_enable(struct virtio_device *vdev)
{
}

static inline void virtio_config_driver_disable(struct virtio_device *vdev)
{
}
#endif

#endif /* SM_COMPAT_H */
