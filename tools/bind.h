/* SPDX-License-Identifier: GPL-2.0 */
/* bind.h - stackmap bind and unbind */
#ifndef STACKMAP_TOOLS_BIND_H
#define STACKMAP_TOOLS_BIND_H

#include <stdbool.h>

/*
 * Have the virtio device of interface NAME (or called NAME) driven by the module (ours), or by
 * the kernel's virtio_net. Returns 0, or -1 with a line on standard error.
 */
int bind_device(const char *name, bool ours);

#endif
