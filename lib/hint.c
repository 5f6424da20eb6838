// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hint.c - what to do about a port that does not open
 */
#include "lib.h"

const char *stackmap_open_hint(int err)
{
	switch (err) {
	case ENOENT:
	case ENXIO:
		return "no " STACKMAP_DEVICE
		       ": load the kernel module (modprobe stackmap; if that fails,"
		       " see stackmap doctor)";
	case EACCES:
		return "no permission to open " STACKMAP_DEVICE
		       ": run as root, or have an administrator give access by a"
		       " udev rule (see stackmap doctor)";
	case EPERM:
		return "CAP_NET_ADMIN and CAP_NET_RAW over the interface's network"
		       " namespace are needed: see stackmap doctor";
	case ENODEV:
		return "no such network interface in this network namespace"
		       " (stackmap doctor lists those that can be owned)";
	case EBUSY:
		return "another program owns this queue of the interface"
		       " (the stackmap command lists ports)";
	case EOPNOTSUPP:
		return "the driver of this interface cannot be polled, or is not known to"
		       " bear it: see stackmap doctor";
	case ENETDOWN:
		return "the interface is down: ip link set dev IFNAME up";
	case EPROTONOSUPPORT:
	case ENOTTY:
		return "the loaded kernel module and this libstackmap are of"
		       " different versions";
	case EINVAL:
		return "the interface has not so many queues, or an option is out"
		       " of range";
	case ENOMEM:
		return "not enough memory, on the machine or in the memory cgroup:"
		       " use fewer slots or buffers";
	case ENOBUFS:
		return "too much locked memory: raise the limit (ulimit -l), give"
		       " CAP_IPC_LOCK, or use fewer slots or buffers (see stackmap doctor)";
	case EMFILE:
	case ENFILE:
		return "too many open files: raise the limit (ulimit -n)";
	default:
		return "unexpected error: see the kernel log (dmesg) and stackmap doctor";
	}
}
