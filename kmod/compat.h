/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h - every difference between kernel versions, and nothing else
 */
#ifndef SM_COMPAT_H
#define SM_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "stackmap needs Linux 6.12 or newer"
#endif

#endif /* SM_COMPAT_H */
