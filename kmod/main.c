// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - /dev/stackmap: open, ioctl, mmap, poll, release -> port
 *
 * A file becomes a port with STACKMAP_IOC_REGISTER and stays one. The pointer
 * to the port is set once, so that every other call reads it without a lock.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "info.h"
#include "memory.h"
#include "port.h"
#include "stackmap_version.h"

#if LINUX_VERSION_CODE > STACKMAP_TESTED_UNTIL
#pragma message("this kernel is newer than those that stackmap was tested on (" STACKMAP_TESTED_KERNELS ")")
#endif

struct sm_file {
	struct mutex mutex;	/* one registration at a time */
	struct sm_port *port;
	wait_queue_head_t wait;	/* poll(), before there is a port and afterwards */
};

static struct sm_port *sm_port_of(struct file *file)
{
	struct sm_file *sf = file->private_data;

	/* Pairs with the release in sm_ioctl_register() */
	return smp_load_acquire(&sf->port);
}

static int sm_open(struct inode *inode, struct file *file)
{
	struct sm_file *sf = kzalloc(sizeof(*sf), SM_GFP_USER);

	if (!sf)
		return -ENOMEM;
	mutex_init(&sf->mutex);
	init_waitqueue_head(&sf->wait);
	file->private_data = sf;
	return nonseekable_open(inode, file);
}

static int sm_release(struct inode *inode, struct file *file)
{
	struct sm_file *sf = file->private_data;

	if (sf->port)
		sm_port_close(sf->port);
	kfree(sf);
	return 0;
}

static int sm_ioctl_register(struct sm_file *sf, void __user *arg)
{
	struct stackmap_register reg;
	struct sm_port *port;
	int err;

	if (copy_from_user(&reg, arg, sizeof(reg)))
		return -EFAULT;
	err = mutex_lock_interruptible(&sf->mutex);
	if (err)
		return err;
	err = -EBUSY;
	if (sf->port)
		goto unlock;
	port = sm_port_register(&reg, &sf->wait);
	err = PTR_ERR_OR_ZERO(port);
	if (err)
		goto unlock;
	if (copy_to_user(arg, &reg, sizeof(reg))) {
		sm_port_close(port);
		err = -EFAULT;
		goto unlock;
	}
	/* Pairs with sm_port_of(): the port is seen whole, or not at all */
	smp_store_release(&sf->port, port);
	/* Who has it in an epoll set already may write now */
	wake_up_interruptible_poll(&sf->wait, EPOLLOUT | EPOLLWRNORM);
unlock:
	mutex_unlock(&sf->mutex);
	return err;
}

/* Who has unmapped the port meanwhile, and found its sync_mutex taken by us, has left that to us */
static void sm_main_flush(struct sm_port *port)
{
	if (unlikely(!atomic_read(&port->mappings)))
		sm_port_flush(port);
}

static int sm_ioctl_attach(struct sm_port *port, void __user *arg)
{
	struct stackmap_attach a;
	int err;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if ((a.flags & ~(STACKMAP_ATTACH_ACCEPT | STACKMAP_ATTACH_HANDLE)) ||
	    memchr_inv(a.reserved, 0, sizeof(a.reserved)))
		return -EINVAL;
	err = sm_sock_attach(port, &a);
	if (err)
		return err;
	if (copy_to_user(arg, &a, sizeof(a))) {
		if (a.flags & STACKMAP_ATTACH_HANDLE)
			sm_handle_undo(port, a.fd, a.gen);
		else
			sm_sock_detach(port, a.fd, NULL);
		sm_main_flush(port);
		return -EFAULT;
	}
	return 0;
}

/* A descriptor is not given back where it is not taken: this one is in its table, as if dup() had made it */
static int sm_ioctl_handle_fd(struct sm_port *port, void __user *arg)
{
	struct stackmap_handle_fd req;
	int fd;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.reserved)
		return -EINVAL;
	fd = sm_handle_fd(port, &req);
	sm_main_flush(port);
	return fd;
}

static int sm_main_detach(struct sm_port *port, s32 fd, const struct stackmap_unread *unread)
{
	int err;

	if (fd < STACKMAP_HANDLE_MIN)
		return sm_sock_detach(port, fd, unread);
	err = sm_handle_detach(port, fd, unread);
	sm_main_flush(port);
	return err;
}

static int sm_ioctl_detach(struct sm_port *port, void __user *arg)
{
	struct stackmap_detach d;
	struct stackmap_unread u;

	if (copy_from_user(&d, arg, sizeof(d)))
		return -EFAULT;
	if ((d.flags & ~STACKMAP_DETACH_UNREAD) || (!d.flags && d.unread))
		return -EINVAL;
	if (d.fd < 0)
		return -EBADF;
	if (!d.flags)
		return sm_main_detach(port, d.fd, NULL);
	if (copy_from_user(&u, u64_to_user_ptr(d.unread), sizeof(u)))
		return -EFAULT;
	if (memchr_inv(u.reserved, 0, sizeof(u.reserved)))
		return -EINVAL;
	return sm_main_detach(port, d.fd, &u);
}

static int sm_ioctl_memory(struct sm_port *port, void __user *arg)
{
	struct stackmap_memory req;
	int err;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if ((req.flags & ~STACKMAP_MEMORY_FORGET) ||
	    memchr_inv(req.reserved, 0, sizeof(req.reserved)))
		return -EINVAL;
	if (req.flags)
		return req.addr || req.len ? -EINVAL : sm_memory_remove(port, req.id);
	if (req.id)
		return -EINVAL;
	err = sm_memory_add(port, &req);
	if (err)
		return err;
	if (copy_to_user(arg, &req, sizeof(req))) {
		sm_memory_remove(port, req.id);
		return -EFAULT;
	}
	return 0;
}

static int sm_ioctl_info(void __user *arg)
{
	struct stackmap_info info;
	int err;

	if (copy_from_user(&info, arg, sizeof(info)))
		return -EFAULT;
	err = sm_ports_info(&info);
	if (err)
		return err;
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

/* Too large for the stack */
static int sm_ioctl_detail(void __user *arg)
{
	struct stackmap_detail *d = memdup_user(arg, sizeof(*d));
	int err;

	if (IS_ERR(d))
		return PTR_ERR(d);
	err = sm_ports_detail(d);
	if (!err && copy_to_user(arg, d, sizeof(*d)))
		err = -EFAULT;
	kfree(d);
	return err;
}

static int sm_ioctl_sync(struct sm_port *port, void __user *arg)
{
	struct stackmap_sync sync;

	if (copy_from_user(&sync, arg, sizeof(sync)))
		return -EFAULT;
	return sm_port_sync(port, &sync);
}

/* Nothing in it changes after registration */
static int sm_ioctl_port(const struct sm_port *port, void __user *arg)
{
	return copy_to_user(arg, &port->reg, sizeof(port->reg)) ? -EFAULT : 0;
}

static long sm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct sm_port *port = sm_port_of(file);
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case STACKMAP_IOC_SYNC:
		return likely(port) ? sm_ioctl_sync(port, uarg) : -ENXIO;
	case STACKMAP_IOC_ATTACH:
		return port ? sm_ioctl_attach(port, uarg) : -ENXIO;
	case STACKMAP_IOC_DETACH:
		return port ? sm_ioctl_detach(port, uarg) : -ENXIO;
	case STACKMAP_IOC_REGISTER:
		return sm_ioctl_register(file->private_data, uarg);
	case STACKMAP_IOC_INFO:
		return sm_ioctl_info(uarg);
	case STACKMAP_IOC_DETAIL:
		return sm_ioctl_detail(uarg);
	case STACKMAP_IOC_WAKE:
		if (!port)
			return -ENXIO;
		sm_port_wake(port);
		return 0;
	case STACKMAP_IOC_HANDLE_FD:
		return port ? sm_ioctl_handle_fd(port, uarg) : -ENXIO;
	case STACKMAP_IOC_MEMORY:
		return port ? sm_ioctl_memory(port, uarg) : -ENXIO;
	case STACKMAP_IOC_PORT:
		return port ? sm_ioctl_port(port, uarg) : -ENXIO;
	default:
		return -ENOTTY;
	}
}

static __poll_t sm_poll(struct file *file, poll_table *wait)
{
	struct sm_file *sf = file->private_data;
	struct sm_port *port;

	poll_wait(file, &sf->wait, wait);
	port = sm_port_of(file);
	return port ? sm_port_poll(port, wait) : EPOLLERR;
}

static int sm_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct sm_port *port = sm_port_of(file);

	return port ? sm_port_mmap(port, vma) : -ENXIO;
}

static void sm_show_fdinfo(struct seq_file *seq, struct file *file)
{
	struct sm_port *port = sm_port_of(file);

	if (port)
		sm_info_show(seq, port);
}

static const struct file_operations sm_fops = {
	.owner = THIS_MODULE,
	.open = sm_open,
	.release = sm_release,
	.unlocked_ioctl = sm_ioctl,
	.poll = sm_poll,
	.mmap = sm_mmap,
	.show_fdinfo = sm_show_fdinfo,
};

static struct miscdevice sm_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "stackmap",
	.fops = &sm_fops,
	/*
	 * Registering asks for capabilities over the interface's namespace, which any
	 * user has over one of his own. So who else may try is the administrator's to say.
	 */
	.mode = 0600,
};

static int __init sm_init(void)
{
	int err;

	err = sm_hooks_init();
	if (err)
		return err;
	err = sm_ports_init();
	if (err)
		goto exit_hooks;
	err = sm_virtio_init();
	if (err)
		goto exit_ports;
	err = sm_rx_init();
	if (err)
		goto exit_virtio;
	err = misc_register(&sm_misc);
	if (err)
		goto exit_rx;
	return 0;
exit_rx:
	sm_rx_exit();
exit_virtio:
	sm_virtio_exit();
exit_ports:
	sm_ports_exit();
exit_hooks:
	sm_hooks_exit();
	return err;
}

static void __exit sm_exit(void)
{
	misc_deregister(&sm_misc);
	sm_rx_exit();
	sm_virtio_exit();
	sm_ports_exit();
	sm_hooks_exit();
}

module_init(sm_init);
module_exit(sm_exit);
MODULE_DESCRIPTION("StackMap: the kernel's TCP over a dedicated NIC, from one system call");
MODULE_AUTHOR("The StackMap maintainers");
MODULE_VERSION(STACKMAP_VERSION);
MODULE_INFO(tested, STACKMAP_TESTED_KERNELS);
MODULE_LICENSE("GPL");
